//! ACCEPT: operations on offers.
//!
//! Upstream: `accept` and `_accept` of `src/master/master.cpp`.

use std::sync::Arc;

use mesos::ids::{AgentId, FrameworkId, OfferId};
use mesos::proto;
use mesos::proto::offer::operation::Type;
use mesos::proto::scheduler::call;
use mesos::proto::task_status::Reason;
use mesos::proto::{TaskState, offer};
use mesos::resources::{HasResources, ResourceConversion, Resources};

use super::Master;
use super::calls::filters_or_default;
use super::effects::{AllocatorCall, Effects};
use super::event::SchedulerEvent;
use super::metrics::{Counter, FrameworkCounter};
use super::state::{Connection, Offer};
use super::status_updates::TaskRefusal;
use super::validation::checks::infer_health_check_type;
use super::{validation, wire};

/// What is left of accepted offers while operations are applied in order.
pub(super) struct Acceptance {
    pub(super) framework: FrameworkId,
    pub(super) agent: AgentId,
    pub(super) role: String,
    /// Everything that was offered.
    pub(super) offered: Resources,
    /// What operations have left over, converted resources included.
    pub(super) remaining: Resources,
    /// What operations exchanged.
    pub(super) conversions: Vec<ResourceConversion>,
    /// What tasks and executors took.
    pub(super) launched: Resources,
}

impl Acceptance {
    fn new(offers: &[Arc<Offer>]) -> Option<Self> {
        let first = offers.first()?;
        let offered: Resources = offers.iter().map(|offer| &offer.resources).sum();
        Some(Self {
            framework: first.framework_id.clone(),
            agent: first.agent_id.clone(),
            role: first.role.clone(),
            remaining: offered.clone(),
            offered,
            conversions: Vec::new(),
            launched: Resources::new(),
        })
    }

    /// What tasks may use: what remains, and shared volumes of the offers however often they are
    /// in use already.
    pub(super) fn available(&self) -> Resources {
        &self.remaining.non_shared() + &self.available_shared()
    }

    fn available_shared(&self) -> Resources {
        let mut shared = self.remaining.shared();
        for resource in &self.offered.shared() {
            if !shared.contains_resource(resource) {
                shared += resource.clone();
            }
        }
        shared
    }

    /// Takes resources for a task or executor.
    pub(super) fn take(&mut self, resources: &Resources) {
        for resource in resources {
            if resource.is_shared() && !self.remaining.contains_resource(resource) {
                // Another copy of a volume that an earlier task of this call took.
                self.conversions.push(ResourceConversion::new(
                    Resources::new(),
                    resource.clone().into(),
                ));
            } else {
                self.remaining -= resource;
            }
        }
        self.launched += resources;
    }
}

impl Master {
    /// A scheduler accepts offers.
    pub fn on_accept(&mut self, id: &FrameworkId, accept: call::Accept, fx: &mut dyn Effects) {
        self.count_accept(id, &accept, fx);
        let ids: Vec<_> = accept.offer_ids.iter().map(OfferId::from).collect();
        let offers = match validation::offer::validate(&ids, id, &self.state) {
            Ok(offers) => offers,
            Err(error) => {
                self.refuse_accept(id, &ids, &accept.operations, &error, fx);
                return;
            }
        };
        let Some(mut acceptance) = Acceptance::new(&offers) else {
            return;
        };
        let operations: Vec<_> = accept
            .operations
            .into_iter()
            .filter_map(|operation| self.prepare_operation(&acceptance, operation, fx))
            .collect();
        for offer in &ids {
            self.consume_offer(offer, fx);
        }
        for operation in operations {
            self.apply(&mut acceptance, operation, fx);
        }
        self.settle(acceptance, filters_or_default(accept.filters), fx);
    }

    fn count_accept(&mut self, id: &FrameworkId, accept: &call::Accept, fx: &mut dyn Effects) {
        for operation in &accept.operations {
            if let Some(launch) = &operation.launch {
                fx.count(if launch.task_infos.is_empty() {
                    Counter::MessagesDeclineOffers
                } else {
                    Counter::MessagesLaunchTasks
                });
            }
        }
        fx.count_framework(
            id,
            FrameworkCounter::OffersAccepted(accept.offer_ids.len() as u64),
        );
    }

    /// Gives back the offers of a call that names an invalid one, and refuses its operations.
    fn refuse_accept(
        &mut self,
        id: &FrameworkId,
        offers: &[OfferId],
        operations: &[offer::Operation],
        error: &str,
        fx: &mut dyn Effects,
    ) {
        tracing::warn!("ACCEPT of framework {id} uses invalid offers: {error}");
        for offer in offers {
            if self
                .offer(offer)
                .is_some_and(|offer| offer.framework_id == *id)
            {
                self.discard_offer(offer, None, fx);
            }
        }
        for operation in operations {
            if tasks_of(operation).is_none() {
                let text = format!("Operation attempted with invalid offers: {error}");
                self.drop_operation(id, operation, &text, fx);
                continue;
            }
            self.refuse_tasks(
                id,
                operation,
                TaskState::TaskDropped,
                Reason::InvalidOffers,
                &format!("Task launched with invalid offers: {error}"),
                fx,
            );
        }
    }

    /// Refuses all tasks of LAUNCH or LAUNCH_GROUP.
    pub(super) fn refuse_tasks(
        &mut self,
        framework: &FrameworkId,
        operation: &offer::Operation,
        state: TaskState,
        reason: Reason,
        message: &str,
        fx: &mut dyn Effects,
    ) {
        for task in tasks_of(operation).unwrap_or_default() {
            let refusal = TaskRefusal {
                framework,
                task,
                state,
                reason,
                message,
            };
            self.refuse_task(&refusal, fx);
        }
    }

    /// Checks an operation by itself and fills in what schedulers may leave out.
    fn prepare_operation(
        &mut self,
        acceptance: &Acceptance,
        mut operation: offer::Operation,
        fx: &mut dyn Effects,
    ) -> Option<offer::Operation> {
        if let Err(error) = validation::operation::validate_payload(&operation) {
            self.refuse_operation(&acceptance.framework, &operation, &error, fx);
            return None;
        }
        operation.upgrade_resources();
        if operation.id.is_some() && !self.may_have_id(acceptance, &operation, fx) {
            return None;
        }
        wire::inject_allocation(&mut operation, &acceptance.role);
        let framework_id = Some((&acceptance.framework).into());
        if let Some(launch) = &mut operation.launch {
            for task in &mut launch.task_infos {
                if let Some(executor) = &mut task.executor
                    && executor.framework_id.is_none()
                {
                    executor.framework_id.clone_from(&framework_id);
                }
                if let Some(check) = &mut task.health_check {
                    infer_health_check_type(check);
                }
            }
        }
        if let Some(group) = &mut operation.launch_group {
            for task in &mut group.task_group.tasks {
                task.executor.get_or_insert_with(|| group.executor.clone());
            }
        }
        Some(operation)
    }

    /// Refuses an operation in the way its type is refused.
    fn refuse_operation(
        &mut self,
        framework: &FrameworkId,
        operation: &offer::Operation,
        error: &str,
        fx: &mut dyn Effects,
    ) {
        let reason = match operation.r#type() {
            Type::Launch => Reason::TaskInvalid,
            Type::LaunchGroup => Reason::TaskGroupInvalid,
            _ => {
                self.drop_operation(framework, operation, error, fx);
                return;
            }
        };
        self.refuse_tasks(
            framework,
            operation,
            TaskState::TaskError,
            reason,
            error,
            fx,
        );
    }

    /// Whether an operation with an id, hence with feedback, can be applied.
    fn may_have_id(
        &mut self,
        acceptance: &Acceptance,
        operation: &offer::Operation,
        fx: &mut dyn Effects,
    ) -> bool {
        let id = &acceptance.framework;
        let name = operation.r#type().as_str_name();
        if tasks_of(operation).is_some() {
            let text = format!("The `id` field cannot be set on {name} operations");
            self.refuse_operation(id, operation, &text, fx);
            return false;
        }
        let v0 = self
            .framework(id)
            .is_some_and(|framework| matches!(framework.connection(), Some(Connection::Pid(_))));
        if v0 {
            let text = format!(
                "The 'id' field was set in an offer operation, but operation feedback is not supported for the SchedulerDriver API; {name} dropped"
            );
            self.send_to_framework(id, &SchedulerEvent::Error(text), fx);
            return false;
        }
        let capabilities = self
            .agent(&acceptance.agent)
            .map(|agent| agent.capabilities);
        let able = capabilities
            .is_some_and(|agent| agent.resource_provider && agent.agent_operation_feedback);
        if !able {
            let text = format!(
                "Operation requested feedback, but agent {} is not capable of it",
                acceptance.agent
            );
            self.drop_operation(id, operation, &text, fx);
        }
        able
    }

    fn apply(
        &mut self,
        acceptance: &mut Acceptance,
        operation: offer::Operation,
        fx: &mut dyn Effects,
    ) {
        let kind = operation.r#type();
        fx.count_framework(&acceptance.framework, FrameworkCounter::Operation(kind));
        match kind {
            Type::Launch => {
                for task in operation.launch.unwrap_or_default().task_infos {
                    self.launch(acceptance, task, fx);
                }
            }
            Type::LaunchGroup => self.launch_group(acceptance, operation, fx),
            Type::Reserve | Type::Unreserve | Type::Create | Type::Destroy => {
                self.convert(acceptance, operation, fx);
            }
            Type::GrowVolume | Type::ShrinkVolume | Type::CreateDisk | Type::DestroyDisk => {
                let text = format!("{} is not supported in this release", kind.as_str_name());
                self.drop_operation(&acceptance.framework, &operation, &text, fx);
            }
            Type::Unknown => tracing::warn!("Ignoring unknown operation"),
        }
    }

    /// Tells the allocator what became of accepted offers.
    fn settle(&mut self, acceptance: Acceptance, filters: proto::Filters, fx: &mut dyn Effects) {
        let (framework, agent) = (&acceptance.framework, &acceptance.agent);
        // Untouched resources are declined; converted ones are wanted, so they get no filter.
        let declined = acceptance
            .remaining
            .filter(|resource| acceptance.offered.contains_resource(resource));
        let converted = &acceptance.remaining - &declined;
        fx.allocator(AllocatorCall::Pause);
        if !acceptance.conversions.is_empty() {
            fx.allocator(AllocatorCall::UpdateAllocation {
                framework: framework.clone(),
                agent: agent.clone(),
                offered: acceptance.offered.clone(),
                conversions: acceptance.conversions,
            });
        }
        self.recover_resources(framework, agent, converted, None, false, fx);
        self.recover_resources(framework, agent, declined, Some(filters), false, fx);
        if !acceptance.launched.is_empty() {
            fx.allocator(AllocatorCall::TransitionOfferedToAllocated {
                framework: framework.clone(),
                agent: agent.clone(),
                resources: acceptance.launched,
            });
        }
        fx.allocator(AllocatorCall::Resume);
    }
}

/// The tasks of LAUNCH or LAUNCH_GROUP; none for other operations.
fn tasks_of(operation: &offer::Operation) -> Option<&[proto::TaskInfo]> {
    match operation.r#type() {
        Type::Launch => Some(
            operation
                .launch
                .as_ref()
                .map_or(&[], |launch| &launch.task_infos),
        ),
        Type::LaunchGroup => Some(
            operation
                .launch_group
                .as_ref()
                .map_or(&[], |group| &group.task_group.tasks),
        ),
        _ => None,
    }
}
