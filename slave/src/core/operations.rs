//! Offer operations. This agent performs none yet, and says so to everyone who asks.

use bytes::Bytes;
use libprocess::Upid;
use mesos::proto;
use mesos::proto::internal as wire;
use tracing::warn;

use super::{Agent, Effects};

impl Agent {
    /// `ApplyOperationMessage`: dropped, without a uuid, so that nobody has to acknowledge it.
    pub fn on_apply_operation(
        &mut self,
        from: &Upid,
        message: wire::ApplyOperationMessage,
        fx: &mut dyn Effects,
    ) {
        if !self.is_from_master(from) {
            warn!("Ignoring an operation from {from}, which is not the leading master");
            return;
        }
        let update = self.dropped(
            message.framework_id,
            message.operation_info.id,
            Some(message.operation_uuid),
            "Offer operations are not supported by this agent",
        );
        self.send_to_master(update, fx);
    }

    /// `ReconcileOperationsMessage`: no operation is known here.
    pub fn on_reconcile_operations(
        &mut self,
        from: &Upid,
        message: wire::ReconcileOperationsMessage,
        fx: &mut dyn Effects,
    ) {
        if !self.is_from_master(from) {
            warn!("Ignoring a reconciliation from {from}, which is not the leading master");
            return;
        }
        for operation in message.operations {
            let update = self.dropped(
                message.framework_id.clone(),
                operation.operation_id,
                operation.operation_uuid,
                "Reconciliation: operation unknown to the agent",
            );
            self.send_to_master(update, fx);
        }
    }

    fn dropped(
        &self,
        framework_id: Option<proto::FrameworkId>,
        operation_id: Option<proto::OperationId>,
        operation_uuid: Option<proto::Uuid>,
        why: &str,
    ) -> wire::UpdateOperationStatusMessage {
        let slave_id = self.id.as_ref().map(proto::SlaveId::from);
        wire::UpdateOperationStatusMessage {
            framework_id,
            slave_id: slave_id.clone(),
            status: proto::OperationStatus {
                operation_id,
                state: proto::OperationState::OperationDropped.into(),
                message: Some(why.to_owned()),
                slave_id,
                ..Default::default()
            },
            latest_status: None,
            operation_uuid,
        }
    }

    /// `CheckpointResourcesMessage`, by which masters before operation feedback set the agent's reservations and volumes.
    pub fn on_checkpoint_resources(
        &mut self,
        from: &Upid,
        message: &wire::CheckpointResourcesMessage,
    ) {
        if !message.resources.is_empty() {
            warn!(
                "{from} asks to checkpoint {} resources, which this agent does not support",
                message.resources.len()
            );
        }
    }

    /// `AcknowledgeOperationStatusMessage`: nothing is ever sent that would have to be acknowledged.
    pub fn on_operation_acknowledged(&mut self, from: &Upid, uuid: &Bytes) {
        warn!("{from} acknowledges unknown operation {}", hex(uuid));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
