//! RESERVE, UNRESERVE, CREATE and DESTROY, and what becomes of them on agents.
//!
//! These take effect in the master's view at once; the agent confirms them later. Upstream:
//! `_apply`, `updateOperationStatus`, `acknowledgeOperationStatus`, `reconcileOperations` of
//! `src/master/master.cpp`.

use std::sync::Arc;

use mesos::ids::{AgentId, FrameworkId};
use mesos::proto::scheduler::call;
use mesos::proto::{self, OperationState, internal, offer};
use mesos::resources::{ResourceConversion, conversions};
use uuid::Uuid;

use super::accept::Acceptance;
use super::effects::Effects;
use super::event::SchedulerEvent;
use super::metrics::{Counter, OperationGauge};
use super::state::{Connection, Framework, Operation};
use super::{Master, validation, wire};

impl Master {
    /// Applies an operation to accepted resources, or tells the scheduler why not.
    pub(super) fn convert(
        &mut self,
        acceptance: &mut Acceptance,
        operation: offer::Operation,
        fx: &mut dyn Effects,
    ) {
        let converted = self
            .validate_operation(acceptance, &operation)
            .and_then(|()| conversions(&operation).map_err(|error| error.to_string()))
            .and_then(|conversions| {
                let remaining = acceptance
                    .remaining
                    .apply_conversions(&conversions)
                    .map_err(|error| error.to_string())?;
                Ok((conversions, remaining))
            });
        let (conversions, remaining) = match converted {
            Ok(converted) => converted,
            Err(error) => {
                self.drop_operation(&acceptance.framework, &operation, &error, fx);
                return;
            }
        };
        if let Err(error) = self.convert_agent(&acceptance.agent, &conversions) {
            self.drop_operation(&acceptance.framework, &operation, &error, fx);
            return;
        }
        if operation.r#type() == offer::operation::Type::Destroy {
            self.rescind_offers_of_volumes(&acceptance.agent, &conversions, fx);
        }
        acceptance.remaining = remaining;
        acceptance.conversions.extend(conversions);
        self.send_operation(&acceptance.framework, &acceptance.agent, operation, fx);
    }

    /// Takes back offers, of any framework, of shared volumes that are destroyed.
    fn rescind_offers_of_volumes(
        &mut self,
        agent: &AgentId,
        conversions: &[ResourceConversion],
        fx: &mut dyn Effects,
    ) {
        let destroyed: Vec<_> = conversions
            .iter()
            .flat_map(|conversion| &conversion.consumed)
            .filter_map(validation::operation::persistence_key)
            .collect();
        let offers: Vec<_> = self
            .agent(agent)
            .into_iter()
            .flat_map(|agent| &agent.offers)
            .filter_map(|id| self.offer(id))
            .filter(|offer| {
                let mut keys = offer
                    .resources
                    .iter()
                    .filter_map(validation::operation::persistence_key);
                keys.any(|key| destroyed.contains(&key))
            })
            .map(|offer| offer.id.clone())
            .collect();
        for offer in offers {
            self.rescind_offer(&offer, None, fx);
        }
    }

    fn validate_operation(
        &self,
        acceptance: &Acceptance,
        operation: &offer::Operation,
    ) -> Result<(), String> {
        let (Some(framework), Some(agent)) = (
            self.framework(&acceptance.framework),
            self.agent(&acceptance.agent),
        ) else {
            return Err("The agent or framework is gone".to_owned());
        };
        validation::operation::validate(operation, framework, agent, agent.used.values().cloned())
    }

    /// Changes the total of an agent as the operation says.
    fn convert_agent(
        &mut self,
        id: &AgentId,
        conversions: &[ResourceConversion],
    ) -> Result<(), String> {
        let Some(agent) = self.agent(id) else {
            return Err(format!("Agent {id} is gone"));
        };
        let unallocated: Vec<_> = conversions
            .iter()
            .map(|conversion| {
                let (mut consumed, mut converted) =
                    (conversion.consumed.clone(), conversion.converted.clone());
                consumed.unallocate();
                converted.unallocate();
                ResourceConversion::new(consumed, converted)
            })
            .collect();
        let total = agent
            .total
            .apply_conversions(&unallocated)
            .map_err(|error| error.to_string())?;
        let checkpointed = total.filter(mesos::resources::Resource::needs_checkpointing);
        self.set_agent_total(id, total);
        if let Some(agent) = self.agent_mut(id) {
            agent.checkpointed = checkpointed;
        }
        Ok(())
    }

    /// Has the agent do what the master's view shows already.
    fn send_operation(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        mut operation: offer::Operation,
        fx: &mut dyn Effects,
    ) {
        let uuid = fx.new_uuid();
        let Some(agent) = self.agent(agent_id) else {
            return;
        };
        if !agent.capabilities.resource_provider {
            self.send_checkpoint_resources(agent_id, fx);
            return;
        }
        let version = proto::Uuid {
            value: agent.resource_version.clone().unwrap_or_default(),
        };
        let refinement = agent.capabilities.reservation_refinement;
        let tracked = new_operation(framework_id, agent_id, uuid, operation.clone());
        self.track_operation(agent_id, uuid, tracked, fx);
        wire::downgrade_unless(refinement, &mut operation);
        let message = internal::ApplyOperationMessage {
            framework_id: Some(framework_id.into()),
            operation_info: operation,
            operation_uuid: uuid_to_proto(uuid),
            resource_version_uuid: internal::ResourceVersionUuid {
                resource_provider_id: None,
                uuid: version,
            },
        };
        self.send_to_agent(agent_id, &message, fx);
    }

    /// Sends an agent that cannot apply operations all that it must write down.
    pub(super) fn send_checkpoint_resources(&self, id: &AgentId, fx: &mut dyn Effects) {
        let Some(agent) = self.agent(id) else {
            return;
        };
        let mut resources = agent.checkpointed.to_protos();
        wire::downgrade_unless(agent.capabilities.reservation_refinement, &mut resources);
        self.send_to_agent(id, &internal::CheckpointResourcesMessage { resources }, fx);
    }

    /// Remembers an operation until the agent ends it and that is acknowledged.
    pub(super) fn track_operation(
        &mut self,
        agent_id: &AgentId,
        uuid: Uuid,
        operation: proto::Operation,
        fx: &mut dyn Effects,
    ) {
        let kind = operation.info.r#type();
        fx.count_operations(kind, OperationGauge::Total, 1);
        fx.count_operations(kind, gauge_of(operation.latest_status.state()), 1);
        let operation = Operation {
            framework_id: operation.framework_id.as_ref().map(FrameworkId::from),
            info: operation,
        };
        if let Some(agent) = self.agent_mut(agent_id) {
            agent.operations.insert(uuid, Arc::new(operation));
        }
    }

    /// Refuses an operation: the scheduler hears of it if it gave the operation an id and speaks
    /// the HTTP API.
    pub(super) fn drop_operation(
        &mut self,
        id: &FrameworkId,
        operation: &offer::Operation,
        message: &str,
        fx: &mut dyn Effects,
    ) {
        let kind = operation.r#type();
        tracing::warn!(
            "Dropping {} of framework {id}: {message}",
            kind.as_str_name()
        );
        fx.count_operations(kind, OperationGauge::Total, 1);
        fx.count_operations(kind, OperationGauge::Error, 1);
        let v1 = self
            .framework(id)
            .is_some_and(|framework| matches!(framework.connection(), Some(Connection::Http(_))));
        if operation.id.is_none() || !v1 {
            return;
        }
        let status = proto::OperationStatus {
            operation_id: operation.id.clone(),
            state: OperationState::OperationError as i32,
            message: Some(message.to_owned()),
            ..Default::default()
        };
        self.send_operation_status(id, status, fx);
    }

    fn send_operation_status(
        &mut self,
        id: &FrameworkId,
        status: proto::OperationStatus,
        fx: &mut dyn Effects,
    ) {
        let update = internal::UpdateOperationStatusMessage {
            framework_id: Some(id.into()),
            status,
            ..Default::default()
        };
        self.send_to_framework(id, &SchedulerEvent::OperationUpdate(Box::new(update)), fx);
    }

    /// An agent reports on an operation.
    pub fn on_operation_update(
        &mut self,
        update: internal::UpdateOperationStatusMessage,
        fx: &mut dyn Effects,
    ) {
        fx.count(Counter::MessagesOperationStatusUpdate);
        let valid = self.handle_operation_update(update, fx);
        fx.count(if valid {
            Counter::ValidOperationStatusUpdates
        } else {
            Counter::InvalidOperationStatusUpdates
        });
    }

    fn handle_operation_update(
        &mut self,
        update: internal::UpdateOperationStatusMessage,
        fx: &mut dyn Effects,
    ) -> bool {
        let framework = update.framework_id.as_ref().map(FrameworkId::from);
        let Some(uuid) = update.operation_uuid.as_ref().and_then(uuid_from_proto) else {
            // The answer to a reconciliation of an operation only the agent could know.
            return self.forward_operation_update(framework.as_ref(), update, fx);
        };
        let Some(agent_id) = update.slave_id.as_ref().map(AgentId::from) else {
            return false;
        };
        let Some(agent) = self.agent(&agent_id) else {
            tracing::warn!("Ignoring operation status of unknown agent {agent_id}");
            return false;
        };
        let Some(operation) = agent.operations.get(&uuid).cloned() else {
            return framework.is_some()
                && self.forward_operation_update(framework.as_ref(), update, fx);
        };
        self.advance_operation(&agent_id, uuid, &operation, &update, fx);
        let wants_feedback = operation.info.info.id.is_some()
            && operation
                .framework_id
                .as_ref()
                .is_some_and(|id| self.framework(id).is_some());
        let terminal = is_terminal(update.status.state());
        if wants_feedback {
            let acknowledged_by_nobody = update.status.uuid.is_none();
            self.forward_operation_update(operation.framework_id.as_ref(), update, fx);
            if terminal && acknowledged_by_nobody {
                self.forget_operation(&agent_id, uuid, fx);
            }
        } else if let Some(status_uuid) = update.status.uuid {
            let message = internal::AcknowledgeOperationStatusMessage {
                status_uuid,
                operation_uuid: uuid_to_proto(uuid),
                resource_provider_id: None,
            };
            self.send_to_agent(&agent_id, &message, fx);
            if terminal {
                self.forget_operation(&agent_id, uuid, fx);
            }
        } else if terminal {
            self.forget_operation(&agent_id, uuid, fx);
        }
        true
    }

    fn forward_operation_update(
        &mut self,
        framework: Option<&FrameworkId>,
        update: internal::UpdateOperationStatusMessage,
        fx: &mut dyn Effects,
    ) -> bool {
        let Some(id) = framework.filter(|id| self.framework(id).is_some_and(Framework::connected))
        else {
            return false;
        };
        self.send_to_framework(id, &SchedulerEvent::OperationUpdate(Box::new(update)), fx);
        true
    }

    /// Records the latest status of an operation; once it has ended that is final.
    fn advance_operation(
        &mut self,
        agent_id: &AgentId,
        uuid: Uuid,
        operation: &Operation,
        update: &internal::UpdateOperationStatusMessage,
        fx: &mut dyn Effects,
    ) {
        let latest = update.latest_status.as_ref().unwrap_or(&update.status);
        let before = operation.info.latest_status.state();
        let Some(tracked) = self
            .agent_mut(agent_id)
            .and_then(|agent| agent.operations.get_mut(&uuid))
            .map(Arc::make_mut)
        else {
            return;
        };
        if tracked.info.statuses.last() != Some(&update.status) {
            tracked.info.statuses.push(update.status.clone());
        }
        if is_terminal(before) {
            return;
        }
        tracked.info.latest_status = latest.clone();
        let kind = operation.info.info.r#type();
        fx.count_operations(kind, gauge_of(before), -1);
        fx.count_operations(kind, gauge_of(latest.state()), 1);
        let failed =
            is_terminal(latest.state()) && latest.state() != OperationState::OperationFinished;
        if failed {
            // The agent tells its true total in an UpdateSlaveMessage next.
            tracing::warn!(
                "Operation {uuid} on agent {agent_id} ended with {}",
                latest.state().as_str_name()
            );
        }
    }

    /// Drops what the master knows about an operation.
    pub(super) fn forget_operation(&mut self, agent: &AgentId, uuid: Uuid, fx: &mut dyn Effects) {
        let Some(operation) = self
            .agent_mut(agent)
            .and_then(|agent| agent.operations.shift_remove(&uuid))
        else {
            return;
        };
        let state = operation.info.latest_status.state();
        if !is_terminal(state) {
            fx.count_operations(operation.info.info.r#type(), gauge_of(state), -1);
        }
    }

    /// A framework ended: nobody waits for the feedback of its operations any more.
    pub(super) fn orphan_operations(&mut self, id: &FrameworkId, fx: &mut dyn Effects) {
        let ended: Vec<_> = self
            .state
            .agents
            .values()
            .flat_map(|agent| {
                agent
                    .operations
                    .iter()
                    .filter(|(_, operation)| operation.framework_id.as_ref() == Some(id))
                    .filter(|(_, operation)| is_terminal(operation.info.latest_status.state()))
                    .map(|(uuid, _)| (agent.id.clone(), *uuid))
            })
            .collect();
        for (agent, uuid) in ended {
            self.forget_operation(&agent, uuid, fx);
        }
    }

    /// A scheduler acknowledges the status of an operation.
    pub(super) fn on_acknowledge_operation(
        &mut self,
        id: &FrameworkId,
        acknowledge: &call::AcknowledgeOperationStatus,
        fx: &mut dyn Effects,
    ) {
        fx.count(Counter::MessagesOperationStatusUpdateAcknowledgement);
        let valid = self.acknowledge_operation(id, acknowledge, fx).is_some();
        fx.count(if valid {
            Counter::ValidOperationStatusUpdateAcknowledgements
        } else {
            Counter::InvalidOperationStatusUpdateAcknowledgements
        });
    }

    fn acknowledge_operation(
        &mut self,
        id: &FrameworkId,
        acknowledge: &call::AcknowledgeOperationStatus,
        fx: &mut dyn Effects,
    ) -> Option<()> {
        let agent_id = AgentId::from(acknowledge.slave_id.as_ref()?);
        let agent = self.agent(&agent_id).filter(|agent| agent.connected)?;
        let (uuid, operation) = agent.operations.iter().find(|(_, operation)| {
            operation.framework_id.as_ref() == Some(id)
                && operation.info.info.id.as_ref() == Some(&acknowledge.operation_id)
        })?;
        let acknowledged = operation.info.statuses.iter().find(|status| {
            status
                .uuid
                .as_ref()
                .is_some_and(|uuid| uuid.value == acknowledge.uuid)
        })?;
        let terminal = is_terminal(acknowledged.state());
        let uuid = *uuid;
        let message = internal::AcknowledgeOperationStatusMessage {
            status_uuid: proto::Uuid {
                value: acknowledge.uuid.clone(),
            },
            operation_uuid: uuid_to_proto(uuid),
            resource_provider_id: acknowledge.resource_provider_id.clone(),
        };
        self.send_to_agent(&agent_id, &message, fx);
        if terminal {
            self.forget_operation(&agent_id, uuid, fx);
        }
        Some(())
    }

    /// A scheduler asks for the state of operations, or of all its operations if none are named.
    pub(super) fn on_reconcile_operations(
        &mut self,
        id: &FrameworkId,
        asked: &[call::reconcile_operations::Operation],
        fx: &mut dyn Effects,
    ) {
        fx.count(Counter::MessagesReconcileOperations);
        let known: Vec<_> = self
            .state
            .agents
            .values()
            .flat_map(|agent| agent.operations.values())
            .filter(|operation| operation.framework_id.as_ref() == Some(id))
            .cloned()
            .collect();
        let last = |operation: &Operation| {
            let mut status = operation
                .info
                .statuses
                .last()
                .unwrap_or(&operation.info.latest_status)
                .clone();
            status.uuid = None;
            status
        };
        let statuses: Vec<_> = if asked.is_empty() {
            known.iter().map(|operation| last(operation)).collect()
        } else {
            asked
                .iter()
                .map(|asked| {
                    known
                        .iter()
                        .find(|known| known.info.info.id.as_ref() == Some(&asked.operation_id))
                        .map_or_else(|| self.unknown_operation(asked), |known| last(known))
                })
                .collect()
        };
        for status in statuses {
            self.send_operation_status(id, status, fx);
        }
    }

    fn unknown_operation(
        &self,
        asked: &call::reconcile_operations::Operation,
    ) -> proto::OperationStatus {
        let agent = asked.slave_id.as_ref().map(AgentId::from);
        let state = match agent {
            Some(agent) if self.state.recovered_agents.contains_key(&agent) => {
                OperationState::OperationRecovering
            }
            Some(agent) if self.state.unreachable_agents.contains_key(&agent) => {
                OperationState::OperationUnreachable
            }
            Some(agent) if self.gone.contains_key(&agent) => {
                OperationState::OperationGoneByOperator
            }
            _ => OperationState::OperationUnknown,
        };
        proto::OperationStatus {
            operation_id: Some(asked.operation_id.clone()),
            state: state as i32,
            message: Some("Reconciliation: Operation is not known to the master".to_owned()),
            slave_id: asked.slave_id.clone(),
            resource_provider_id: asked.resource_provider_id.clone(),
            ..Default::default()
        }
    }
}

fn new_operation(
    framework: &FrameworkId,
    agent: &AgentId,
    uuid: Uuid,
    info: offer::Operation,
) -> proto::Operation {
    let status = proto::OperationStatus {
        operation_id: info.id.clone(),
        state: OperationState::OperationPending as i32,
        slave_id: Some(agent.into()),
        ..Default::default()
    };
    proto::Operation {
        framework_id: Some(framework.into()),
        slave_id: Some(agent.into()),
        info,
        latest_status: status,
        statuses: Vec::new(),
        uuid: uuid_to_proto(uuid),
    }
}

/// Whether an operation in this state has ended for good.
pub(super) fn is_terminal(state: OperationState) -> bool {
    matches!(
        state,
        OperationState::OperationFinished
            | OperationState::OperationFailed
            | OperationState::OperationError
            | OperationState::OperationDropped
            | OperationState::OperationGoneByOperator
    )
}

fn gauge_of(state: OperationState) -> OperationGauge {
    match state {
        OperationState::OperationFinished => OperationGauge::Finished,
        OperationState::OperationFailed => OperationGauge::Failed,
        OperationState::OperationError => OperationGauge::Error,
        OperationState::OperationDropped => OperationGauge::Dropped,
        OperationState::OperationGoneByOperator => OperationGauge::GoneByOperator,
        OperationState::OperationUnreachable => OperationGauge::Unreachable,
        OperationState::OperationRecovering => OperationGauge::Recovering,
        OperationState::OperationPending
        | OperationState::OperationUnknown
        | OperationState::OperationUnsupported => OperationGauge::Pending,
    }
}

pub(super) fn uuid_to_proto(uuid: Uuid) -> proto::Uuid {
    proto::Uuid {
        value: bytes::Bytes::copy_from_slice(uuid.as_bytes()),
    }
}

pub(super) fn uuid_from_proto(uuid: &proto::Uuid) -> Option<Uuid> {
    Uuid::from_slice(&uuid.value).ok()
}
