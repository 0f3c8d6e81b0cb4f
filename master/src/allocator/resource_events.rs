//! Facts about resources that were offered or allocated.

use std::sync::Arc;
use std::time::Duration;

use mesos::proto;
use mesos::resources::{ResourceConversion, Resources};
use proto::offer::Operation;

use super::agent::Agent;
use super::core::{Allocator, allocation_role};
use super::filters::{Place, offer_refusal};
use super::framework::Framework;
use super::role_tree::Role;
use super::slots::Key;
use super::{AgentId, AllocatorError, FrameworkId};

impl Allocator {
    /// Operations of an accepted offer exchanged resources: the charge of the framework and the
    /// total of the agent change accordingly. A conversion that consumes nothing means further
    /// copies of shared resources, which the total does not count; one that yields nothing takes
    /// resources away, as operations on disks do while they last.
    ///
    /// # Errors
    /// The framework or agent is not known, the offered resources are not held or of several
    /// roles, a conversion cannot be made or changes amounts. Nothing has changed then.
    pub fn update_allocation(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        offered: &Resources,
        conversions: &[ResourceConversion],
    ) -> Result<(), AllocatorError> {
        let framework_key = self.framework_key(framework)?;
        let key = self.agent_key(agent)?;
        let path = self.check_held(key, framework, offered)?;
        let updated = offered.apply_conversions(conversions)?;
        if !updated.is_empty() && *allocation_role(&updated)? != *path {
            return Err(AllocatorError::AllocationRole(updated.to_string()));
        }
        let lasting: Vec<ResourceConversion> = conversions
            .iter()
            .filter(|conversion| !conversion.consumed.is_empty())
            .map(unallocated)
            .collect();
        if lasting.iter().any(changes_amounts) {
            return Err(AllocatorError::Amounts(agent.clone()));
        }
        let total = match self.agents.get(key) {
            Some(agent) => agent.total().apply_conversions(&lasting)?,
            None => return Err(AllocatorError::UnknownAgent(agent.clone())),
        };
        self.change_agent_total(key, agent, total)?;
        let registered = self.registered(framework_key);
        let role = self.track_in_role(framework_key, &path, registered);
        self.exchange(key, framework_key, role, offered, &updated);
        self.untrack_in_role(framework_key, role);
        Ok(())
    }

    /// An operator reserves, unreserves, creates or destroys on what is available of an agent.
    ///
    /// # Errors
    /// The agent is not known, or the operations do not fit what is available (the master answers
    /// 409 then). Nothing has changed.
    pub fn update_available(
        &mut self,
        agent: &AgentId,
        operations: &[Operation],
    ) -> Result<(), AllocatorError> {
        let key = self.agent_key(agent)?;
        let Some(known) = self.agents.get(key) else {
            return Err(AllocatorError::UnknownAgent(agent.clone()));
        };
        let apply = |resources: &Resources| {
            operations
                .iter()
                .try_fold(resources.clone(), |resources, operation| {
                    resources.apply(operation)
                })
        };
        apply(known.available())?;
        let total = apply(known.total())?;
        self.change_agent_total(key, agent, total)?;
        Ok(())
    }

    /// Resources offered to a framework are in use now. This matters for the consumption of quota
    /// that is shown; shares count offers already.
    ///
    /// # Errors
    /// The framework or agent is not known, or the framework does not hold so much beside what it
    /// uses already.
    pub fn transition_offered_to_allocated(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: &Resources,
    ) -> Result<(), AllocatorError> {
        let framework_key = self.framework_key(framework)?;
        let key = self.agent_key(agent)?;
        let offered = self
            .agents
            .get(key)
            .is_some_and(|agent| agent.is_offered(framework, resources));
        if !offered {
            return Err(AllocatorError::NotHeld {
                framework: framework.clone(),
                agent: agent.clone(),
                resources: resources.to_string(),
            });
        }
        self.start_use(key, framework_key, resources);
        Ok(())
    }

    /// Resources come back: an offer was declined or rescinded, a task ended. With `filters` the
    /// framework is not offered the same, or less, on the agent in the role for some time.
    /// `in_use` tells whether the resources were in use rather than only offered. No run follows.
    ///
    /// Frameworks and agents that are not known are no error, as they may just have been removed.
    ///
    /// # Errors
    /// The framework does not hold the resources, or they are of several roles.
    pub fn recover_resources(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: &Resources,
        filters: Option<&proto::Filters>,
        in_use: bool,
        now: Duration,
    ) -> Result<(), AllocatorError> {
        let Some(key) = self.agents.key(agent).filter(|_| !resources.is_empty()) else {
            return Ok(());
        };
        let Some(framework_key) = self.frameworks.key(framework) else {
            self.take_unclaimed(key, framework, resources);
            return Ok(());
        };
        let path = self.check_held(key, framework, resources)?;
        let Some(role) = self.roles.key(&path) else {
            return Ok(());
        };
        if in_use {
            self.end_use(key, framework, resources);
        }
        self.take(key, framework_key, role, resources);
        if !in_use {
            self.note_returned(framework_key, resources);
        }
        self.untrack_in_role(framework_key, role);
        if let Some(filters) = filters {
            self.install_filter(framework_key, key, &path, resources, filters, now);
        }
        Ok(())
    }

    /// Takes back what a framework held that is not known yet.
    fn take_unclaimed(&mut self, key: Key<Agent>, framework: &FrameworkId, resources: &Resources) {
        self.unsettle(key);
        let Some(agent) = self.agents.get_mut(key) else {
            return;
        };
        agent.change(&mut self.revocable, |agent| {
            agent.take_unclaimed(framework, resources);
        });
        if !agent.unclaimed().contains_key(framework)
            && let Some(agents) = self.unclaimed.get_mut(framework)
        {
            agents.remove(&key);
            if agents.is_empty() {
                self.unclaimed.remove(framework);
            }
        }
    }

    fn install_filter(
        &mut self,
        framework: Key<Framework>,
        agent: Key<Agent>,
        path: &Arc<str>,
        resources: &Resources,
        filters: &proto::Filters,
        now: Duration,
    ) {
        // Without a subscription to the role there are no offers to filter.
        let subscribed = self
            .frameworks
            .get(framework)
            .is_some_and(|framework| framework.roles.contains(path));
        let role: Option<Key<Role>> = self.roles.key(path).filter(|_| subscribed);
        let refusal = offer_refusal(filters, self.options.allocation_interval);
        if let (Some(role), Some(refusal)) = (role, refusal) {
            let place = Place {
                framework,
                role,
                agent,
            };
            let mut refused = resources.clone();
            refused.unallocate();
            let until = now.saturating_add(refusal);
            self.filters.insert(place, refused, until);
        }
    }
}

fn unallocated(conversion: &ResourceConversion) -> ResourceConversion {
    let mut conversion = conversion.clone();
    conversion.consumed.unallocate();
    conversion.converted.unallocate();
    // Copies of a shared volume that others hold do not concern the total.
    conversion.must_be_gone = None;
    conversion
}

/// Whether a conversion neither keeps all amounts nor takes resources away as a whole.
fn changes_amounts(conversion: &ResourceConversion) -> bool {
    !conversion.converted.is_empty()
        && conversion.consumed.quantities() != conversion.converted.quantities()
}
