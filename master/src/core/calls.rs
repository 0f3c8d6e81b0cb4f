//! Calls of schedulers that are subscribed.
//!
//! v0 drivers send [`Call`] or older messages that mean the same; v1 schedulers send
//! their calls over HTTP. Both arrive here as the v0 form.

use std::collections::BTreeSet;

use bytes::Bytes;
use libprocess::Upid;
use mesos::ids::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId};
use mesos::proto::scheduler::{Call, call};
use mesos::proto::{self, internal};

use super::Master;
use super::effects::{AllocatorCall, Effects};
use super::event::SchedulerEvent;
use super::metrics::{Counter, FrameworkCounter};
use super::state::Connection;
use super::task_state::is_terminal;
use super::validation;
use crate::constants::{DEFAULT_REFUSE_SECONDS, STATUS_UUID_BYTES};

impl Master {
    /// A v0 driver makes a call. Calls that are not valid, or not from the framework's own PID,
    /// are dropped.
    pub fn on_driver_call(&mut self, from: &Upid, call: Call, fx: &mut dyn Effects) {
        if let Err(error) = validation::scheduler_call::validate(&call) {
            tracing::warn!("Dropping call of {from}: {error}");
            fx.count(Counter::InvalidMessages);
            return;
        }
        if call.r#type() == call::Type::Subscribe {
            if let Some(subscribe) = call.subscribe {
                self.on_subscribe(Connection::Pid(from.clone()), subscribe, fx);
            }
            return;
        }
        let Some(id) = call.framework_id.as_ref().map(FrameworkId::from) else {
            return;
        };
        let Some(framework) = self.framework(&id) else {
            tracing::warn!("Dropping call of unknown framework {id}");
            return;
        };
        if framework.pid() != Some(from) {
            tracing::warn!("Dropping call of framework {id}: not from {from}");
            return;
        }
        if !framework.connected() {
            // The driver missed that it was disconnected; told so, it aborts or subscribes anew.
            let event = SchedulerEvent::Error("Framework disconnected".to_owned());
            if let Some(message) = event.to_message() {
                fx.send(from, message);
            }
            return;
        }
        let feedback = matches!(
            call.r#type(),
            call::Type::AcknowledgeOperationStatus | call::Type::ReconcileOperations
        );
        if feedback {
            tracing::warn!("Dropping call of framework {id}: not supported by the v0 API");
            return;
        }
        if let Err(error) = self.on_call(&id, call, fx)
            && let Some(message) = SchedulerEvent::Error(error).to_message()
        {
            fx.send(from, message);
        }
    }

    /// A subscribed scheduler makes a call that is valid in itself.
    ///
    /// # Errors
    /// Only UPDATE_FRAMEWORK fails, with a text for the scheduler.
    pub fn on_call(
        &mut self,
        id: &FrameworkId,
        call: Call,
        fx: &mut dyn Effects,
    ) -> Result<(), String> {
        let kind = call.r#type();
        fx.count_framework(id, FrameworkCounter::Call(kind));
        match kind {
            call::Type::Teardown => {
                fx.count(Counter::MessagesUnregisterFramework);
                self.remove_framework(id, fx);
            }
            call::Type::Accept => self.on_accept(id, call.accept.unwrap_or_default(), fx),
            call::Type::Decline => self.on_decline(id, &call.decline.unwrap_or_default(), fx),
            call::Type::Revive => self.on_revive(id, call.revive.unwrap_or_default().roles, fx),
            call::Type::Suppress => {
                self.on_suppress(id, call.suppress.unwrap_or_default().roles, fx);
            }
            call::Type::Reconcile => {
                self.on_reconcile(id, &call.reconcile.unwrap_or_default().tasks, fx);
            }
            call::Type::Request => {
                fx.count(Counter::MessagesResourceRequest);
                fx.allocator(AllocatorCall::RequestResources {
                    framework: id.clone(),
                    requests: call.request.unwrap_or_default().requests,
                });
            }
            call::Type::UpdateFramework => {
                if let Some(update) = call.update_framework {
                    return self.on_update_framework(id, update, fx);
                }
            }
            _ => self.on_work_call(id, call, fx),
        }
        Ok(())
    }

    /// Calls about tasks, executors and operations.
    fn on_work_call(&mut self, id: &FrameworkId, call: Call, fx: &mut dyn Effects) {
        match call.r#type() {
            call::Type::Kill => {
                if let Some(kill) = call.kill {
                    self.on_kill(id, kill, fx);
                }
            }
            call::Type::Shutdown => {
                if let Some(shutdown) = call.shutdown {
                    self.on_shutdown_executor(id, &shutdown, fx);
                }
            }
            call::Type::Acknowledge => {
                if let Some(acknowledge) = call.acknowledge {
                    self.on_acknowledge(id, acknowledge, fx);
                }
            }
            call::Type::Message => {
                if let Some(message) = call.message {
                    self.on_framework_message(id, message, fx);
                }
            }
            call::Type::AcknowledgeOperationStatus => {
                if let Some(acknowledge) = call.acknowledge_operation_status {
                    self.on_acknowledge_operation(id, &acknowledge, fx);
                }
            }
            call::Type::ReconcileOperations => {
                let asked = call.reconcile_operations.unwrap_or_default();
                self.on_reconcile_operations(id, &asked.operations, fx);
            }
            call::Type::AcceptInverseOffers | call::Type::DeclineInverseOffers => {
                self.on_inverse_offers_answered(id, call, fx);
            }
            // Handled before.
            _ => {}
        }
    }

    fn on_decline(&mut self, id: &FrameworkId, decline: &call::Decline, fx: &mut dyn Effects) {
        fx.count(Counter::MessagesDeclineOffers);
        fx.count_framework(
            id,
            FrameworkCounter::OffersDeclined(decline.offer_ids.len() as u64),
        );
        for offer in &decline.offer_ids {
            let offer = OfferId::from(offer);
            match self.offer(&offer) {
                Some(found) if found.framework_id == *id => {
                    let filters = filters_or_default(decline.filters);
                    self.discard_offer(&offer, Some(filters), fx);
                }
                Some(_) => tracing::warn!("Framework {id} declined offer {offer} of another"),
                None => tracing::debug!("Framework {id} declined unknown offer {offer}"),
            }
        }
    }

    fn on_revive(&mut self, id: &FrameworkId, roles: Vec<String>, fx: &mut dyn Effects) {
        fx.count(Counter::MessagesReviveOffers);
        let Some(roles) = self.subscribed_roles(id, roles, "REVIVE") else {
            return;
        };
        self.change_framework(id, |framework| {
            if roles.is_empty() {
                framework.suppressed_roles.clear();
            } else {
                framework
                    .suppressed_roles
                    .retain(|role| !roles.contains(role));
            }
        });
        self.show_suppressed(id, fx);
        fx.allocator(AllocatorCall::ReviveOffers {
            framework: id.clone(),
            roles,
        });
    }

    fn on_suppress(&mut self, id: &FrameworkId, roles: Vec<String>, fx: &mut dyn Effects) {
        fx.count(Counter::MessagesSuppressOffers);
        let Some(roles) = self.subscribed_roles(id, roles, "SUPPRESS") else {
            return;
        };
        self.change_framework(id, |framework| {
            let suppressed = if roles.is_empty() {
                framework.roles.clone()
            } else {
                roles.clone()
            };
            framework.suppressed_roles.extend(suppressed);
        });
        self.show_suppressed(id, fx);
        fx.allocator(AllocatorCall::SuppressOffers {
            framework: id.clone(),
            roles,
        });
    }

    /// The roles as a set, if the framework subscribes to all of them.
    fn subscribed_roles(
        &self,
        id: &FrameworkId,
        roles: Vec<String>,
        call: &str,
    ) -> Option<BTreeSet<String>> {
        let framework = self.framework(id)?;
        if let Some(role) = roles.iter().find(|role| !framework.roles.contains(*role)) {
            tracing::warn!("Dropping {call} of framework {id}: not subscribed to role '{role}'");
            return None;
        }
        Some(roles.into_iter().collect())
    }

    fn on_kill(&mut self, id: &FrameworkId, kill: call::Kill, fx: &mut dyn Effects) {
        fx.count(Counter::MessagesKillTask);
        let task_id = TaskId::from(&kill.task_id);
        let Some(task) = self.task(id, &task_id) else {
            tracing::info!("Framework {id} kills unknown task {task_id}: reconciling it");
            let asked = call::reconcile::Task {
                task_id: kill.task_id,
                slave_id: kill.slave_id,
            };
            self.on_reconcile(id, &[asked], fx);
            return;
        };
        let agent_id = task.agent_id.clone();
        if kill
            .slave_id
            .as_ref()
            .is_some_and(|agent| AgentId::from(agent) != agent_id)
        {
            tracing::warn!("Dropping kill of task {task_id}: it runs on agent {agent_id}");
            return;
        }
        let Some(agent) = self.agent_mut(&agent_id) else {
            return;
        };
        // Sent again should the agent lose its connection meanwhile.
        agent
            .killed_tasks
            .entry(id.clone())
            .or_default()
            .insert(task_id);
        if agent.connected {
            let message = internal::KillTaskMessage {
                framework_id: id.into(),
                task_id: kill.task_id,
                kill_policy: kill.kill_policy,
            };
            self.send_to_agent(&agent_id, &message, fx);
        } else {
            tracing::warn!("Kill waits for agent {agent_id} to come back");
        }
    }

    fn on_shutdown_executor(
        &mut self,
        id: &FrameworkId,
        shutdown: &call::Shutdown,
        fx: &mut dyn Effects,
    ) {
        let agent_id = AgentId::from(&shutdown.slave_id);
        if self.agent(&agent_id).is_none() {
            tracing::warn!("Dropping SHUTDOWN of framework {id}: agent {agent_id} is unknown");
            return;
        }
        let message = internal::ShutdownExecutorMessage {
            executor_id: Some(shutdown.executor_id.clone()),
            framework_id: Some(id.into()),
        };
        self.send_to_agent(&agent_id, &message, fx);
    }

    fn on_acknowledge(
        &mut self,
        id: &FrameworkId,
        acknowledge: call::Acknowledge,
        fx: &mut dyn Effects,
    ) {
        fx.count(Counter::MessagesStatusUpdateAcknowledgement);
        let valid = self.acknowledge(id, acknowledge, fx);
        fx.count(if valid {
            Counter::ValidStatusUpdateAcknowledgements
        } else {
            Counter::InvalidStatusUpdateAcknowledgements
        });
    }

    fn acknowledge(
        &mut self,
        id: &FrameworkId,
        acknowledge: call::Acknowledge,
        fx: &mut dyn Effects,
    ) -> bool {
        let agent_id = AgentId::from(&acknowledge.slave_id);
        let task_id = TaskId::from(&acknowledge.task_id);
        if acknowledge.uuid.len() != STATUS_UUID_BYTES
            || !self.agent(&agent_id).is_some_and(|agent| agent.connected)
        {
            tracing::warn!("Dropping acknowledgement of task {task_id} of framework {id}");
            return false;
        }
        let task = self
            .task(id, &task_id)
            .filter(|task| task.agent_id == agent_id);
        if let Some(task) = task {
            let (Some(state), Some(uuid)) = (
                task.info.status_update_state,
                task.info.status_update_uuid.as_ref(),
            ) else {
                tracing::warn!("Dropping acknowledgement of an update this master never sent");
                return false;
            };
            let ended = proto::TaskState::try_from(state).is_ok_and(is_terminal);
            if ended
                && *uuid == acknowledge.uuid
                && let Some(task) = self.take_task(id, &task_id)
            {
                self.remember_completed(task);
            }
        }
        let message = internal::StatusUpdateAcknowledgementMessage {
            slave_id: acknowledge.slave_id,
            framework_id: id.into(),
            task_id: acknowledge.task_id,
            uuid: acknowledge.uuid,
        };
        self.send_to_agent(&agent_id, &message, fx);
        true
    }

    /// A scheduler sends a message to one of its executors.
    fn on_framework_message(
        &mut self,
        id: &FrameworkId,
        message: call::Message,
        fx: &mut dyn Effects,
    ) {
        fx.count(Counter::MessagesFrameworkToExecutor);
        let agent_id = AgentId::from(&message.slave_id);
        if !self.agent(&agent_id).is_some_and(|agent| agent.connected) {
            tracing::warn!("Dropping message of framework {id}: agent {agent_id} is away");
            fx.count(Counter::InvalidFrameworkToExecutor);
            return;
        }
        let forwarded = internal::FrameworkToExecutorMessage {
            slave_id: message.slave_id,
            framework_id: id.into(),
            executor_id: message.executor_id,
            data: message.data,
        };
        self.send_to_agent(&agent_id, &forwarded, fx);
        fx.count(Counter::ValidFrameworkToExecutor);
    }

    /// An executor sends a message to its scheduler.
    pub fn on_executor_message(
        &mut self,
        message: internal::ExecutorToFrameworkMessage,
        fx: &mut dyn Effects,
    ) {
        fx.count(Counter::MessagesExecutorToFramework);
        let agent_id = AgentId::from(&message.slave_id);
        let framework_id = FrameworkId::from(&message.framework_id);
        let deliverable = self.agent(&agent_id).is_some()
            && self
                .framework(&framework_id)
                .is_some_and(super::state::Framework::connected);
        if !deliverable {
            tracing::warn!("Dropping message of an executor to framework {framework_id}");
            fx.count(Counter::InvalidExecutorToFramework);
            return;
        }
        let event = SchedulerEvent::Message {
            framework_id: framework_id.clone(),
            agent_id,
            executor_id: ExecutorId::from(&message.executor_id),
            data: Bytes::clone(&message.data),
        };
        self.send_to_framework(&framework_id, &event, fx);
        fx.count(Counter::ValidExecutorToFramework);
    }

    /// An executor ended.
    pub fn on_exited_executor(
        &mut self,
        message: &internal::ExitedExecutorMessage,
        fx: &mut dyn Effects,
    ) {
        fx.count(Counter::MessagesExitedExecutor);
        let agent_id = AgentId::from(&message.slave_id);
        let framework_id = FrameworkId::from(&message.framework_id);
        let executor_id = ExecutorId::from(&message.executor_id);
        let Some(executor) = self.take_executor(&framework_id, &agent_id, &executor_id) else {
            tracing::warn!("Ignoring the end of unknown executor {executor_id}");
            return;
        };
        let resources = executor.resources.clone();
        self.recover_resources(&framework_id, &agent_id, resources, None, true, fx);
        let connected = self
            .framework(&framework_id)
            .is_some_and(super::state::Framework::connected);
        if connected {
            let event = SchedulerEvent::ExecutorExited {
                framework_id: framework_id.clone(),
                agent_id,
                executor_id,
                status: message.status,
            };
            self.send_to_framework(&framework_id, &event, fx);
        }
    }
}

/// The filters of a call; a scheduler that sends none gets the default ones.
pub(super) fn filters_or_default(filters: Option<proto::Filters>) -> proto::Filters {
    filters.unwrap_or(proto::Filters {
        refuse_seconds: Some(DEFAULT_REFUSE_SECONDS),
    })
}
