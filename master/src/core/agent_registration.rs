//! Agents registering for the first time.
//!
//! Upstream: `registerSlave`, `_registerSlave`, `addSlave` of `src/master/master.cpp`.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};
use libprocess::Upid;
use mesos::ids::AgentId;
use mesos::proto::{self, internal};
use mesos::resources::{HasResources, Resources};

use super::capabilities::AgentCapabilities;
use super::effects::{
    AllocatorCall, Effects, LinkMode, RegistryContinuation, RegistryOperation, RemovalReason,
};
use super::metrics::Counter;
use super::operator_event::OperatorEvent;
use super::state::Agent;
use super::time::Timestamp;
use super::{Master, validation};

/// An agent whose (re-)registration is being stored, and what it told.
#[derive(Clone, Debug)]
pub struct PendingAdmission {
    /// Where it listens.
    pub pid: Upid,
    /// Its id.
    pub id: AgentId,
    /// Its description, with resources in the new format.
    pub info: proto::SlaveInfo,
    /// Its release.
    pub version: String,
    /// What it can handle.
    pub capabilities: AgentCapabilities,
    /// Dynamic reservations and volumes that it has written down.
    pub checkpointed: Resources,
    /// Version of its resources.
    pub resource_version: Option<Bytes>,
    /// What it runs; empty for a new agent.
    pub running: RunningWork,
}

/// What an agent that comes back says it runs.
#[derive(Clone, Debug, Default)]
pub struct RunningWork {
    /// Tasks.
    pub tasks: Vec<proto::Task>,
    /// Executors, apart from command executors.
    pub executors: Vec<proto::ExecutorInfo>,
    /// The frameworks of the tasks and executors.
    pub frameworks: Vec<proto::FrameworkInfo>,
    /// Frameworks, tasks and executors that ended on the agent.
    pub completed: Vec<internal::archive::Framework>,
}

impl PendingAdmission {
    /// Everything the agent has: what it is configured with, changed by what it has checkpointed.
    pub(super) fn total(&self) -> Result<Resources, String> {
        Resources::from_protos(&self.info.resources)
            .map_err(|error| error.to_string())?
            .apply_checkpointed(&self.checkpointed)
            .map_err(|error| error.to_string())
    }
}

impl Master {
    /// An agent registers.
    pub fn on_register_agent(
        &mut self,
        from: &Upid,
        message: internal::RegisterSlaveMessage,
        fx: &mut dyn Effects,
    ) {
        fx.count(Counter::MessagesRegisterSlave);
        if self.registering.contains(from) {
            tracing::info!("Ignoring register agent message from {from}: in progress");
            return;
        }
        if self.refuse_if_machine_is_down(from, &message.slave, fx) {
            return;
        }
        let version = message.version.as_deref().unwrap_or("");
        let checked = validation::agent::validate_register(&message)
            .and_then(|()| self.check_admissible(&message.slave, version));
        if let Err(error) = checked {
            tracing::warn!("Refusing registration of agent at {from}: {error}");
            fx.count(Counter::InvalidMessages);
            return;
        }
        if let Some(id) = self.agent_pids.get(from).cloned() {
            if self.agent(&id).is_some_and(|agent| agent.connected) {
                // Our answer was lost, or is still on its way.
                tracing::info!("Agent {id} at {from} is registered already, telling it again");
                self.send_registered(&id, fx);
                return;
            }
            if !self.removing.contains(&id) {
                self.start_removal(&id, RemovalReason::Replaced, fx);
            }
        }
        let id = self.new_agent_id();
        let mut info = message.slave;
        info.id = Some((&id).into());
        info.upgrade_resources();
        let pending = PendingAdmission {
            pid: from.clone(),
            id,
            version: version.to_owned(),
            capabilities: AgentCapabilities::of(&message.agent_capabilities),
            checkpointed: Resources::from_protos(&message.checkpointed_resources)
                .unwrap_or_default(),
            resource_version: message.resource_version_uuid.map(|uuid| uuid.value),
            running: RunningWork::default(),
            info,
        };
        tracing::info!("Registering agent at {from} as {}", pending.id);
        self.registering.insert(from.clone());
        fx.apply_registry(
            RegistryOperation::Admit(Box::new(pending.info.clone())),
            RegistryContinuation::Admitted(Box::new(pending)),
        );
    }

    /// Checks what every agent needs that registers, new or not.
    pub(super) fn check_admissible(
        &self,
        info: &proto::SlaveInfo,
        version: &str,
    ) -> Result<(), String> {
        validation::agent::validate_version(version)?;
        let has_domain = |domain: &Option<proto::DomainInfo>| {
            domain
                .as_ref()
                .is_some_and(|domain| domain.fault_domain.is_some())
        };
        if has_domain(&info.domain) && !has_domain(&self.state.info.domain) {
            return Err("The agent has a fault domain but the master has none".to_owned());
        }
        if self.config.require_agent_domain && !has_domain(&info.domain) {
            return Err(
                "The agent has no fault domain, which --require_agent_domain asks for".to_owned(),
            );
        }
        Ok(())
    }

    /// The registry answered an operation. `applied` is false if it refused it.
    pub fn on_registry_applied(
        &mut self,
        continuation: RegistryContinuation,
        applied: bool,
        fx: &mut dyn Effects,
    ) {
        match continuation {
            RegistryContinuation::Admitted(pending) => self.on_admitted(*pending, applied, fx),
            RegistryContinuation::Readmitted(pending) => self.on_readmitted(*pending, applied, fx),
            RegistryContinuation::Unreachable(agent, since) => {
                self.on_marked_unreachable(&agent, since, applied, fx);
            }
            RegistryContinuation::Removed { agent, reason } => {
                self.on_removed(&agent, reason, applied, fx);
            }
            RegistryContinuation::Pruned { unreachable, gone } => {
                self.on_pruned(&unreachable, &gone);
            }
            RegistryContinuation::QuotaStored(stored) => self.on_quota_stored(stored, fx),
            RegistryContinuation::WeightsStored(stored) => self.on_weights_stored(stored, fx),
            RegistryContinuation::Maintained(operation, request) => {
                self.on_maintained(&operation, applied, fx);
                fx.done(request, applied);
            }
        }
    }

    fn on_admitted(&mut self, pending: PendingAdmission, applied: bool, fx: &mut dyn Effects) {
        self.registering.remove(&pending.pid);
        let total = match pending.total() {
            Ok(total) if applied => total,
            Ok(_) => {
                tracing::warn!("Agent {} is admitted already, dropping it", pending.id);
                return;
            }
            Err(error) => {
                let text = format!("Agent has inconsistent checkpointed resources: {error}");
                self.shut_down_agent(&pending.pid, &text, fx);
                return;
            }
        };
        let (id, pid) = (pending.id.clone(), pending.pid.clone());
        self.insert_agent(new_agent(pending, total, fx.now()));
        fx.count(Counter::SlaveRegistrations);
        fx.link(&pid, LinkMode::Reuse);
        self.tell_allocator_of_agent(&id, fx);
        self.send_registered(&id, fx);
        fx.observe(&id, &pid);
        self.publish_agent(&id, fx);
        self.take_down_if_machine_is(&id, fx);
    }

    pub(super) fn tell_allocator_of_agent(&self, id: &AgentId, fx: &mut dyn Effects) {
        let Some(agent) = self.agent(id) else {
            return;
        };
        fx.allocator(AllocatorCall::AddAgent {
            id: id.clone(),
            info: agent.info.clone(),
            capabilities: agent.capabilities,
            total: agent.total.clone(),
            used: agent.used_by_framework(),
        });
        if let Some(unavailability) = self.unavailability_of(id) {
            fx.allocator(AllocatorCall::UpdateUnavailability {
                agent: id.clone(),
                unavailability: Some(unavailability),
            });
        }
        if agent.deactivated {
            fx.allocator(AllocatorCall::DeactivateAgent(id.clone()));
        }
    }

    fn send_registered(&self, id: &AgentId, fx: &mut dyn Effects) {
        let message = internal::SlaveRegisteredMessage {
            slave_id: id.into(),
            connection: Some(self.connection_settings()),
        };
        self.send_to_agent(id, &message, fx);
    }

    /// What agents must know about being pinged.
    pub(super) fn connection_settings(&self) -> internal::MasterSlaveConnection {
        let timeout = self.config.agent_ping_timeout * self.config.max_agent_ping_timeouts;
        internal::MasterSlaveConnection {
            total_ping_timeout_seconds: Some(timeout.as_secs_f64()),
        }
    }

    /// Tells an agent that is not wanted to end.
    pub(super) fn shut_down_agent(&self, pid: &Upid, message: &str, fx: &mut dyn Effects) {
        tracing::warn!("Shutting down agent at {pid}: {message}");
        let message = internal::ShutdownMessage {
            message: Some(message.to_owned()),
        };
        fx.send_message(pid, &message);
    }

    pub(super) fn publish_agent(&self, id: &AgentId, fx: &mut dyn Effects) {
        if fx.has_subscribers()
            && let Some(agent) = self.state.agents.get(id)
        {
            fx.publish(OperatorEvent::AgentAdded(Arc::clone(agent)));
        }
    }
}

/// An agent that is connected, active and runs nothing.
pub(super) fn new_agent(pending: PendingAdmission, total: Resources, now: Timestamp) -> Agent {
    Agent {
        id: pending.id,
        info: Arc::new(pending.info),
        pid: pending.pid,
        version: pending.version,
        capabilities: pending.capabilities,
        registered_time: now,
        reregistered_time: None,
        connected: true,
        active: true,
        deactivated: false,
        total,
        checkpointed: pending.checkpointed,
        offered: Resources::new(),
        used: IndexMap::new(),
        tasks: IndexMap::new(),
        killed_tasks: IndexMap::new(),
        executors: IndexMap::new(),
        offers: IndexSet::new(),
        inverse_offers: IndexSet::new(),
        operations: IndexMap::new(),
        resource_version: pending.resource_version,
        resource_providers: IndexMap::new(),
    }
}
