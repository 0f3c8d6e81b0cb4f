//! Being elected, and reading the registry.

use std::sync::Arc;
use std::time::Duration;

use mesos::ids::AgentId;
use mesos::proto::{self, internal};
use mesos::resources::HasResources;

use super::effects::{AllocatorCall, Effects, RegistryOperation, Timer};
use super::time::Timestamp;
use super::{Leadership, Master, quota};
use crate::registrar::maintenance::machines_of;

/// What follows when a leading master is detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// This master leads now: read the registry, then call [`Master::on_recovered`].
    Recover,
    /// Nothing changes.
    Nothing,
}

impl Master {
    /// The leading master was detected, or that there is none.
    pub fn on_leader_detected(
        &mut self,
        leader: Option<proto::MasterInfo>,
        fx: &mut dyn Effects,
    ) -> Detected {
        let was_leading = self.leadership != Leadership::Follower;
        self.state.leader = leader.map(Arc::new);
        if !self.state.elected() {
            if was_leading {
                fx.exit("Lost leadership... committing suicide!".to_owned());
            } else {
                tracing::info!("The leading master is {:?}", self.leader_pid());
            }
            return Detected::Nothing;
        }
        self.state.elected_time = Some(fx.now());
        if was_leading {
            tracing::info!("Re-elected as the leading master");
            return Detected::Nothing;
        }
        tracing::info!("Elected as the leading master!");
        self.leadership = Leadership::Recovering;
        Detected::Recover
    }

    fn leader_pid(&self) -> Option<&str> {
        self.state.leader.as_ref()?.pid.as_deref()
    }

    /// This master is no candidate any more. A leader must not go on.
    pub fn on_candidacy_lost(&mut self, fx: &mut dyn Effects) {
        if self.leadership != Leadership::Follower {
            fx.exit("Lost leadership: the candidacy of this master ended".to_owned());
        }
    }

    /// The registry is read: messages are accepted from now on. If this master cannot go by it,
    /// the process ends.
    pub fn on_recovered(&mut self, registry: internal::Registry, fx: &mut dyn Effects) {
        let missing = self.missing_capabilities(&registry);
        if !missing.is_empty() {
            fx.exit(format!(
                "The registry needs a master with the capabilities {}: start a newer release",
                missing.join(", ")
            ));
            return;
        }
        let quotas = match quota::recover(&registry) {
            Ok(quotas) => quotas,
            Err(error) => {
                fx.exit(format!(
                    "Failed to recover quota from the registry: {error}"
                ));
                return;
            }
        };
        if let Err(error) = self.recover_weights(&registry, fx) {
            fx.exit(format!(
                "Failed to recover weights from the registry: {error}"
            ));
            return;
        }
        self.recover_agents(registry, fx);
        self.state.quotas = Arc::new(quotas.clone());
        fx.start_timer(Timer::RegistryGc, self.config.registry_gc_interval);
        fx.allocator(AllocatorCall::Recover {
            expected_agents: self.recovered_count,
            quotas,
        });
        self.leadership = Leadership::Leading;
    }

    /// Capabilities that the registry wants of its master and that this one does not have.
    fn missing_capabilities(&self, registry: &internal::Registry) -> Vec<String> {
        let mine = &self.state.info.capabilities;
        registry
            .minimum_capabilities
            .iter()
            .map(|minimum| &minimum.capability)
            .filter(|name| mine.iter().all(|own| own.r#type().as_str_name() != *name))
            .cloned()
            .collect()
    }

    fn recover_agents(&mut self, registry: internal::Registry, fx: &mut dyn Effects) {
        self.state.machines = Arc::new(machines_of(&registry));
        let mut admitted = indexmap::IndexMap::new();
        for slave in registry.slaves.unwrap_or_default().slaves {
            let mut info = slave.info;
            info.upgrade_resources();
            if let Some(id) = &info.id {
                admitted.insert(AgentId::from(id), Arc::new(info));
            }
        }
        let time = |time: &proto::TimeInfo| Timestamp::from_nanos(time.nanoseconds);
        self.state.unreachable_agents = Arc::new(
            registry
                .unreachable
                .unwrap_or_default()
                .slaves
                .iter()
                .map(|agent| (AgentId::from(&agent.id), time(&agent.timestamp)))
                .collect(),
        );
        self.gone = registry
            .gone
            .unwrap_or_default()
            .slaves
            .iter()
            .map(|agent| (AgentId::from(&agent.id), time(&agent.timestamp)))
            .collect();
        self.recovered_count = admitted.len();
        tracing::info!("Recovered {} agents from the registry", admitted.len());
        if !admitted.is_empty() {
            fx.start_timer(Timer::RecoveredAgents, self.config.agent_reregister_timeout);
        }
        self.state.recovered_agents = Arc::new(admitted);
    }

    /// Agents of the registry had their time to come back.
    pub(super) fn on_recovered_agents_timeout(&mut self, fx: &mut dyn Effects) {
        let missing: Vec<_> = self.state.recovered_agents.keys().cloned().collect();
        if missing.is_empty() {
            return;
        }
        let share = missing.len() as f64 / self.recovered_count.max(1) as f64;
        if share > self.config.recovery_agent_removal_limit {
            fx.exit(format!(
                "Post-recovery agent removal limit exceeded: {} of {} agents did not come back; --recovery_agent_removal_limit allows {}%",
                missing.len(),
                self.recovered_count,
                self.config.recovery_agent_removal_limit * 100.0
            ));
            return;
        }
        for agent in missing {
            if !self.reregistering.contains(&agent) {
                self.schedule_unreachable(&agent, fx);
            }
        }
    }

    /// Drops agents from the registry's memory that are too many or too old.
    pub(super) fn on_registry_gc(&mut self, fx: &mut dyn Effects) {
        fx.start_timer(Timer::RegistryGc, self.config.registry_gc_interval);
        let now = fx.now();
        let unreachable = self.expired(self.state.unreachable_agents.iter(), now);
        let gone = self.expired(self.gone.iter(), now);
        if unreachable.is_empty() && gone.is_empty() {
            return;
        }
        fx.apply_registry(
            RegistryOperation::Prune {
                unreachable: unreachable.clone(),
                gone: gone.clone(),
            },
            super::effects::RegistryContinuation::Pruned { unreachable, gone },
        );
    }

    /// Of agents in the order they left, those beyond the limits.
    fn expired<'a>(
        &self,
        agents: impl ExactSizeIterator<Item = (&'a AgentId, &'a Timestamp)>,
        now: Timestamp,
    ) -> Vec<AgentId> {
        let mut remaining = agents.len();
        let mut expired = Vec::new();
        for (id, since) in agents {
            let age =
                Duration::from_nanos(u64::try_from(now.as_nanos() - since.as_nanos()).unwrap_or(0));
            if remaining > self.config.registry_max_agent_count
                || age > self.config.registry_max_agent_age
            {
                remaining -= 1;
                expired.push(id.clone());
            }
        }
        expired
    }

    pub(super) fn on_pruned(&mut self, unreachable: &[AgentId], gone: &[AgentId]) {
        for id in unreachable {
            Arc::make_mut(&mut self.state.unreachable_agents).shift_remove(id);
            for (framework, task) in self.tasks_of_unreachable.remove(id).unwrap_or_default() {
                self.forget_unreachable(&framework, &task);
            }
        }
        for id in gone {
            self.gone.shift_remove(id);
        }
    }
}
