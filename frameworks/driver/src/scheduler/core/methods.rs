//! The driver's methods, as far as the core is concerned.

use mesos::proto::internal::FrameworkToExecutorMessage;
use mesos::proto::scheduler::{Call, OfferConstraints, call};
use mesos::proto::{self, FrameworkId, FrameworkInfo, TaskStatus};

use super::{Effects, SchedulerCore};
use crate::scheduler::calls;
use crate::scheduler::event::Acknowledgement;

impl SchedulerCore {
    /// Ends the driver; unless another instance is to take over, the framework is torn down.
    pub(crate) fn stop(&mut self, failover: bool, fx: &mut impl Effects) {
        if self.connected && !failover {
            self.send(calls::of_type(call::Type::Teardown), fx);
        }
        self.running = false;
        self.connected = false;
    }

    /// Ends all traffic, but leaves the framework to the master's failover timeout.
    pub(crate) fn abort(&mut self, fx: &mut impl Effects) {
        if let (true, Some(leader), Some(id)) = (self.connected, &self.leader, &self.framework.id) {
            fx.send_deactivate(&leader.pid, id.clone());
        }
        self.running = false;
    }

    /// Sends a call with our framework id; dropped while disconnected.
    fn send(&self, mut call: Call, fx: &mut impl Effects) {
        match (&self.leader, self.connected) {
            (Some(leader), true) => {
                call.framework_id = self.framework.id.clone();
                fx.send_call(&leader.pid, call);
            }
            _ => tracing::debug!(
                "dropping {}: master disconnected",
                call.r#type().as_str_name()
            ),
        }
    }

    /// Any call that has no meaning for the driver itself.
    pub(crate) fn simple_call(&mut self, call: Call, fx: &mut impl Effects) {
        if self.running {
            self.send(call, fx);
        }
    }

    /// ACCEPT. While disconnected every task is answered with a made-up lost status.
    pub(crate) fn accept_offers(
        &mut self,
        offer_ids: Vec<proto::OfferId>,
        operations: Vec<proto::offer::Operation>,
        filters: proto::Filters,
        fx: &mut impl Effects,
    ) {
        if !self.running {
            return;
        }
        if operations.iter().any(|operation| operation.id.is_some()) {
            let message = "An operation of acceptOffers has 'id' set, but the v0 scheduler driver \
                           cannot deliver operation feedback; leave 'id' out or use the v1 API";
            return self.on_error(message.to_owned(), fx);
        }
        if !self.connected {
            return self.drop_tasks(&operations, fx);
        }
        for offer_id in &offer_ids {
            self.remember_agents(offer_id, &operations);
        }
        self.send(calls::accept(offer_ids, operations, filters), fx);
    }

    /// Keeps the address of the agents that tasks are launched on, for framework messages.
    fn remember_agents(
        &mut self,
        offer_id: &proto::OfferId,
        operations: &[proto::offer::Operation],
    ) {
        let Some(saved) = self.saved_offers.remove(&offer_id.value) else {
            tracing::warn!("accepting an unknown offer '{}'", offer_id.value);
            return;
        };
        let launches = calls::tasks(operations).any(|task| task.slave_id.value == saved.agent_id);
        if launches {
            self.agent_pids.insert(saved.agent_id, saved.agent_pid);
        }
    }

    fn drop_tasks(&mut self, operations: &[proto::offer::Operation], fx: &mut impl Effects) {
        let partition_aware = self.framework.capabilities.iter().any(|capability| {
            capability.r#type() == proto::framework_info::capability::Type::PartitionAware
        });
        let state = if partition_aware {
            proto::TaskState::TaskDropped
        } else {
            proto::TaskState::TaskLost
        };
        for task in calls::tasks(operations) {
            let status = TaskStatus {
                task_id: task.task_id.clone(),
                state: state.into(),
                source: Some(proto::task_status::Source::Master.into()),
                reason: Some(proto::task_status::Reason::MasterDisconnected.into()),
                message: Some("Master disconnected".to_owned()),
                timestamp: Some(fx.timestamp()),
                ..TaskStatus::default()
            };
            self.deliver_status(status, fx);
        }
    }

    /// DECLINE of one offer.
    pub(crate) fn decline_offer(
        &mut self,
        offer_id: proto::OfferId,
        filters: proto::Filters,
        fx: &mut impl Effects,
    ) {
        if self.running {
            self.saved_offers.remove(&offer_id.value);
            self.send(calls::decline(offer_id, filters), fx);
        }
    }

    /// REVIVE for `roles`, or for all with `None`; also forgets that they were suppressed.
    pub(crate) fn revive_offers(&mut self, roles: Option<Vec<String>>, fx: &mut impl Effects) {
        if !self.running {
            return;
        }
        match &roles {
            Some(roles) if roles.is_empty() => return,
            Some(roles) => self.suppressed_roles.retain(|role| !roles.contains(role)),
            None => self.suppressed_roles.clear(),
        }
        self.send(calls::revive(roles.unwrap_or_default()), fx);
    }

    /// SUPPRESS for `roles`, or for all with `None`; repeated with every registration.
    pub(crate) fn suppress_offers(&mut self, roles: Option<Vec<String>>, fx: &mut impl Effects) {
        if !self.running {
            return;
        }
        match &roles {
            Some(roles) if roles.is_empty() => return,
            Some(roles) => self.suppressed_roles.extend(roles.iter().cloned()),
            None => self.suppressed_roles.extend(calls::roles(&self.framework)),
        }
        self.send(calls::suppress(roles.unwrap_or_default()), fx);
    }

    /// ACKNOWLEDGE by the scheduler itself.
    pub(crate) fn acknowledge_status_update(&mut self, status: &TaskStatus, fx: &mut impl Effects) {
        if !self.running {
            return;
        }
        if self.implicit_acknowledgements {
            let message = "acknowledgeStatusUpdate was called, but the driver acknowledges \
                           implicitly; build it with explicit acknowledgements";
            return self.on_error(message.to_owned(), fx);
        }
        // An update without both was made up by the master or the driver: nobody waits for it.
        if let (Some(uuid), Some(agent_id)) = (&status.uuid, &status.slave_id) {
            let ack = Acknowledgement {
                agent_id: agent_id.clone(),
                task_id: status.task_id.clone(),
                uuid: uuid.clone(),
            };
            self.acknowledge(ack, fx);
        }
    }

    pub(super) fn acknowledge(&mut self, ack: Acknowledgement, fx: &mut impl Effects) {
        if self.running {
            self.send(calls::acknowledge(ack), fx);
        }
    }

    /// A message to an executor: directly when its agent's address is known, else by the master.
    pub(crate) fn send_framework_message(
        &mut self,
        executor_id: proto::ExecutorId,
        agent_id: proto::SlaveId,
        data: bytes::Bytes,
        fx: &mut impl Effects,
    ) {
        if !self.running || !self.connected {
            tracing::debug!("dropping a framework message: master disconnected");
            return;
        }
        match (self.agent_pids.get(&agent_id.value), &self.framework.id) {
            (Some(pid), Some(framework_id)) => {
                let message = FrameworkToExecutorMessage {
                    slave_id: agent_id,
                    framework_id: framework_id.clone(),
                    executor_id,
                    data,
                };
                fx.send_to_agent(pid, message);
            }
            _ => self.send(calls::message(executor_id, agent_id, data), fx),
        }
    }

    /// UPDATE_FRAMEWORK: new roles, capabilities, suppressed roles and offer constraints.
    pub(crate) fn update_framework(
        &mut self,
        framework: FrameworkInfo,
        suppressed_roles: Vec<String>,
        constraints: OfferConstraints,
        fx: &mut impl Effects,
    ) {
        if !self.running {
            return;
        }
        if framework.id != self.framework.id {
            let text = |id: &Option<FrameworkId>| id.clone().unwrap_or_default().value;
            let message = format!(
                "updateFramework must not change the framework's id '{}' to '{}'",
                text(&self.framework.id),
                text(&framework.id),
            );
            return self.on_error(message, fx);
        }
        self.framework = framework;
        self.suppressed_roles = suppressed_roles.into_iter().collect();
        self.offer_constraints = constraints;
        self.send(self.update_framework_call(), fx);
    }

    fn update_framework_call(&self) -> Call {
        Call {
            update_framework: Some(call::UpdateFramework {
                framework_info: self.framework.clone(),
                suppressed_roles: self.suppressed_roles.iter().cloned().collect(),
                offer_constraints: Some(self.offer_constraints.clone()),
            }),
            ..calls::of_type(call::Type::UpdateFramework)
        }
    }
}
