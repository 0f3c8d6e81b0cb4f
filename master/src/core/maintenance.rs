//! Maintenance of machines: what operators may ask for, and what becomes of the agents there.
//!
//! Upstream: `___updateMaintenanceSchedule`, `_startMaintenance`, `_stopMaintenance` of
//! `src/master/http.cpp`, `updateUnavailability` of `src/master/master.cpp`.

use std::sync::Arc;

use libprocess::Upid;
use mesos::ids::AgentId;
use mesos::proto;

use super::Master;
use super::effects::{
    AllocatorCall, Effects, RegistryContinuation, RegistryOperation, RemovalReason, RequestId,
};
use super::machines::{MachineId, MaintenanceOperation};
use super::validation::maintenance::MaintenanceError;

/// What an agent is told whose machine is down.
const MACHINE_IS_DOWN: &str = "Machine is `DOWN`";

impl Master {
    /// An operator asks for maintenance.
    ///
    /// # Errors
    /// What is wrong with it: nothing was changed; the request has to be answered then.
    pub fn on_maintain(
        &mut self,
        operation: MaintenanceOperation,
        request: RequestId,
        fx: &mut dyn Effects,
    ) -> Result<(), MaintenanceError> {
        self.state.machines.check(&operation)?;
        let operation = Arc::new(operation);
        fx.apply_registry(
            RegistryOperation::Maintenance(operation.clone()),
            RegistryContinuation::Maintained(operation, request),
        );
        Ok(())
    }

    /// Maintenance is stored: agents whose machine changed its window or went down follow.
    pub(super) fn on_maintained(
        &mut self,
        operation: &MaintenanceOperation,
        applied: bool,
        fx: &mut dyn Effects,
    ) {
        if !applied {
            return;
        }
        let before = Arc::clone(&self.state.machines);
        if let Err(error) = Arc::make_mut(&mut self.state.machines).apply(operation) {
            tracing::error!("The registry took what this master refuses: {error}");
            return;
        }
        let after = Arc::clone(&self.state.machines);
        let agents: Vec<(AgentId, MachineId)> = self
            .state
            .agents
            .values()
            .map(|agent| (agent.id.clone(), agent.machine()))
            .collect();
        for (agent, machine) in agents {
            let unavailability = after.unavailability(&machine);
            if before.unavailability(&machine) != unavailability {
                self.update_unavailability(&agent, unavailability, fx);
            }
            if after.is_down(&machine) {
                self.take_down(&agent, fx);
            }
        }
    }

    /// Tells frameworks, by new offers, and the allocator of a new window of an agent.
    fn update_unavailability(
        &mut self,
        id: &AgentId,
        unavailability: Option<proto::Unavailability>,
        fx: &mut dyn Effects,
    ) {
        tracing::info!("Agent {id} is to be unavailable: {unavailability:?}");
        self.rescind_offers_of_agent(id, fx);
        self.rescind_inverse_offers_of_agent(id, fx);
        fx.allocator(AllocatorCall::UpdateUnavailability {
            agent: id.clone(),
            unavailability,
        });
    }

    /// Ends an agent and removes it without waiting for it, since it may not hear that.
    fn take_down(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        if self.removing.contains(id) {
            return;
        }
        let Some(pid) = self.agent(id).map(|agent| agent.pid.clone()) else {
            return;
        };
        self.shut_down_agent(&pid, RemovalReason::MachineDown.text(), fx);
        self.start_removal(id, RemovalReason::MachineDown, fx);
    }

    /// Takes down an agent whose machine went down while the agent was being admitted.
    pub(super) fn take_down_if_machine_is(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        let machines = &self.state.machines;
        let down = !machines.is_empty()
            && self
                .agent(id)
                .is_some_and(|agent| machines.is_down(&agent.machine()));
        if down {
            self.take_down(id, fx);
        }
    }

    /// Refuses an agent whose machine is down.
    pub(super) fn refuse_if_machine_is_down(
        &self,
        from: &Upid,
        info: &proto::SlaveInfo,
        fx: &mut dyn Effects,
    ) -> bool {
        let machines = &self.state.machines;
        let down = !machines.is_empty()
            && machines.is_down(&MachineId::of_agent(&info.hostname, from.address().ip()));
        if down {
            self.shut_down_agent(from, MACHINE_IS_DOWN, fx);
        }
        down
    }

    /// When and for how long an agent is to be unavailable, if it is.
    pub(super) fn unavailability_of(&self, id: &AgentId) -> Option<proto::Unavailability> {
        if self.state.machines.is_empty() {
            return None;
        }
        self.state
            .machines
            .unavailability(&self.agent(id)?.machine())
    }
}
