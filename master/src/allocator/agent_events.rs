//! Facts about agents.

use std::collections::BTreeMap;

use mesos::proto;
use mesos::resources::{ResourceQuantities, Resources};

use super::agent::{Agent, Description};
use super::core::{Allocator, Candidates};
use super::slots::Key;
use super::{AgentCapabilities, AgentId, AllocatorError, FrameworkId};

impl Allocator {
    /// An agent registered. `used` is what frameworks hold on it, including frameworks that are
    /// added only later.
    ///
    /// # Errors
    /// The agent is known, or its total is allocated to roles or more than can be counted.
    pub fn add_agent(
        &mut self,
        id: AgentId,
        info: &proto::SlaveInfo,
        capabilities: AgentCapabilities,
        total: Resources,
        used: BTreeMap<FrameworkId, Resources>,
    ) -> Result<(), AllocatorError> {
        if self.agents.key(&id).is_some() {
            return Err(AllocatorError::DuplicateAgent(id));
        }
        check_total(&id, &total)?;
        used.values().try_for_each(check_used)?;
        let sum = self
            .total
            .checked_add(&total.quantities())
            .ok_or_else(|| AllocatorError::TooLarge(id.clone()))?;
        self.change_total(sum);
        self.roles.add_reservations(&total);
        let agent = Agent::new(&id, Description::of(info), capabilities, total, used);
        agent.count_revocable(&mut self.revocable);
        let users: Vec<FrameworkId> = agent.unclaimed().keys().cloned().collect();
        let key = self.agents.insert(id, agent);
        for framework in users {
            self.claim(key, framework);
        }
        self.unsettle(key);
        let arrived = self.agents.len();
        self.recovery
            .take_if(|recovery| arrived >= recovery.expected_agents);
        self.request_run(key);
        Ok(())
    }

    /// Charges a framework, if it is known, for what it uses on an agent.
    fn claim(&mut self, agent: Key<Agent>, framework: FrameworkId) {
        let Some(key) = self.frameworks.key(&framework) else {
            self.unclaimed.entry(framework).or_default().insert(agent);
            return;
        };
        let revocable = &mut self.revocable;
        let known = self.agents.get_mut(agent);
        let claimed = known.and_then(|known| known.change(revocable, |a| a.claim(&framework)));
        if let Some(claimed) = claimed {
            self.give_used(agent, key, &claimed);
        }
    }

    /// An agent is gone, with everything that frameworks held on it.
    ///
    /// # Errors
    /// The agent is not known.
    pub fn remove_agent(&mut self, id: &AgentId) -> Result<(), AllocatorError> {
        let key = self.agent_key(id)?;
        self.filters.remove_agent(key);
        if let Candidates::Some(agents) = &mut self.candidates {
            agents.remove(&key);
        }
        self.maintained.remove(&key);
        let Some(agent) = self.agents.get(key) else {
            return Ok(());
        };
        let holders: Vec<FrameworkId> = agent.holders();
        for framework in &holders {
            self.take_all(key, framework);
        }
        if let Some((_, agent)) = self.agents.remove(key) {
            agent.uncount_revocable(&mut self.revocable);
            for framework in agent.unclaimed().keys() {
                if let Some(agents) = self.unclaimed.get_mut(framework) {
                    agents.remove(&key);
                    if agents.is_empty() {
                        self.unclaimed.remove(framework);
                    }
                }
            }
            self.roles.remove_reservations(agent.total());
            let rest = &self.total - &agent.total().quantities();
            self.change_total(rest);
        }
        Ok(())
    }

    /// An agent changed its description, total or capabilities. Other attributes make all filters
    /// on it void, since frameworks may have refused it for what it lacked.
    ///
    /// # Errors
    /// The agent is not known, or its total is allocated to roles or more than can be counted.
    pub fn update_agent(
        &mut self,
        id: &AgentId,
        info: &proto::SlaveInfo,
        total: Option<Resources>,
        capabilities: Option<AgentCapabilities>,
    ) -> Result<(), AllocatorError> {
        let key = self.agent_key(id)?;
        let mut changed = match total {
            Some(total) => self.change_agent_total(key, id, total)?,
            None => false,
        };
        let Some(agent) = self.agents.get_mut(key) else {
            return Err(AllocatorError::UnknownAgent(id.clone()));
        };
        let (old, new) = (agent.description(), Description::of(info));
        if old != new {
            if old.attributes != new.attributes {
                self.filters.remove_agent(key);
            }
            agent.describe(new);
            changed = true;
        }
        if let Some(capabilities) = capabilities.filter(|new| *new != agent.capabilities) {
            agent.capabilities = capabilities;
            changed = true;
        }
        if changed {
            self.unsettle(key);
            self.request_run(key);
        }
        Ok(())
    }

    /// A resource provider of an agent added its part.
    ///
    /// # Errors
    /// The agent is not known, or its total is allocated to roles or more than can be counted.
    pub fn add_resource_provider(
        &mut self,
        id: &AgentId,
        total: &Resources,
        used: &BTreeMap<FrameworkId, Resources>,
    ) -> Result<(), AllocatorError> {
        let key = self.agent_key(id)?;
        let Some(agent) = self.agents.get(key) else {
            return Err(AllocatorError::UnknownAgent(id.clone()));
        };
        used.values().try_for_each(check_used)?;
        let sum = agent.total() + total;
        self.change_agent_total(key, id, sum)?;
        for (framework, used) in used {
            match self.frameworks.key(framework) {
                Some(framework) => self.give_used(key, framework, used),
                None => {
                    if let Some(agent) = self.agents.get_mut(key) {
                        agent.change(&mut self.revocable, |agent| {
                            agent.add_unclaimed(framework, used);
                        });
                    }
                    let agents = self.unclaimed.entry(framework.clone()).or_default();
                    agents.insert(key);
                }
            }
        }
        Ok(())
    }

    /// An agent may be offered.
    ///
    /// # Errors
    /// The agent is not known.
    pub fn activate_agent(&mut self, id: &AgentId) -> Result<(), AllocatorError> {
        self.set_agent_active(id, true)
    }

    /// An agent must not be offered. What is offered of it already is the master's to take back.
    ///
    /// # Errors
    /// The agent is not known.
    pub fn deactivate_agent(&mut self, id: &AgentId) -> Result<(), AllocatorError> {
        self.set_agent_active(id, false)
    }

    fn set_agent_active(&mut self, id: &AgentId, active: bool) -> Result<(), AllocatorError> {
        let key = self.agent_key(id)?;
        self.unsettle(key);
        if let Some(agent) = self.agents.get_mut(key) {
            agent.active = active;
        }
        Ok(())
    }

    /// Replaces the total of an agent. Returns whether it is another one.
    pub(super) fn change_agent_total(
        &mut self,
        key: Key<Agent>,
        id: &AgentId,
        total: Resources,
    ) -> Result<bool, AllocatorError> {
        check_total(id, &total)?;
        let Some(agent) = self.agents.get_mut(key) else {
            return Ok(false);
        };
        if *agent.total() == total {
            return Ok(false);
        }
        let (old, new): (ResourceQuantities, _) = (agent.total().quantities(), total.quantities());
        if old != new {
            let sum = (&self.total - &old)
                .checked_add(&new)
                .ok_or_else(|| AllocatorError::TooLarge(id.clone()))?;
            self.change_total(sum);
        }
        let Some(agent) = self.agents.get_mut(key) else {
            return Ok(false);
        };
        // The new reservations come first, so that no role disappears in between.
        self.roles.add_reservations(&total);
        self.roles.remove_reservations(agent.total());
        agent.change(&mut self.revocable, |agent| agent.set_total(total));
        self.unsettle(key);
        Ok(true)
    }
}

/// Checks what a framework is said to use on an agent.
pub(super) fn check_used(used: &Resources) -> Result<(), AllocatorError> {
    for resource in used {
        let Some(role) = resource.allocation_role() else {
            return Err(AllocatorError::AllocationRole(resource.to_string()));
        };
        mesos::roles::validate(role)?;
    }
    Ok(())
}

fn check_total(id: &AgentId, total: &Resources) -> Result<(), AllocatorError> {
    if total
        .iter()
        .any(|resource| resource.allocation_role().is_some())
    {
        return Err(AllocatorError::AllocatedTotal {
            agent: id.clone(),
            total: total.to_string(),
        });
    }
    Ok(())
}
