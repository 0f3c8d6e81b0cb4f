//! Who is charged for which resources, in the agent, the sorters and the tree of roles at once.

use std::sync::Arc;

use mesos::resources::{Resource, ResourceQuantities, Resources};

use super::agent::Agent;
use super::core::Allocator;
use super::framework::Framework;
use super::role_tree::{Holdings, Role};
use super::slots::Key;
use super::{AllocatorError, FrameworkId};

/// What charging resources of one role adds to the accounts. A shared volume counts once for each
/// client and agent, however often it is held.
struct Charge {
    framework: ResourceQuantities,
    role: ResourceQuantities,
    holdings: Holdings,
}

impl Charge {
    /// The charge of a framework for resources of an agent, where it holds what it holds but `beside`.
    fn new(
        agent: &Agent,
        framework: &FrameworkId,
        resources: &Resources,
        beside: &Resources,
    ) -> Charge {
        if !resources.iter().any(Resource::is_shared) {
            let amounts = resources.quantities();
            return Charge {
                framework: amounts.clone(),
                role: amounts,
                holdings: Holdings::of(resources),
            };
        }
        let (mut of_framework, mut of_all) = (Vec::new(), Vec::new());
        for resource in resources {
            let (by_framework, by_all) = if resource.is_shared() {
                agent.shares(framework, resource, beside)
            } else {
                (false, false)
            };
            of_framework.extend((!by_framework).then_some(resource));
            of_all.extend((!by_all).then_some(resource));
        }
        Charge {
            framework: ResourceQuantities::of_scalars(of_framework),
            role: ResourceQuantities::of_scalars(of_all.iter().copied()),
            holdings: Holdings::of(of_all),
        }
    }
}

impl Allocator {
    /// Notes that a framework is in a role, unless that is known.
    pub(super) fn track_in_role(
        &mut self,
        framework: Key<Framework>,
        role: &str,
        registered: u64,
    ) -> Key<Role> {
        let key = self.roles.get_or_insert(role);
        let id = self.frameworks.id(framework);
        let Some((node, id)) = self.roles.get_mut(key).zip(id) else {
            return key;
        };
        if !node.frameworks.contains(framework) {
            node.frameworks
                .add(framework, &id.as_str().into(), registered);
        }
        if !self.role_sorter.contains(key) {
            self.role_sorter.add(key, &node.path, u64::MAX);
        }
        key
    }

    /// When a framework came.
    pub(super) fn registered(&self, framework: Key<Framework>) -> u64 {
        let framework = self.frameworks.get(framework);
        framework.map_or(0, |framework| framework.registered)
    }

    /// Tells the order of roles whether frameworks in a role want offers, which ones, and when they
    /// came. Roles in which nobody wants any have no place in the order.
    pub(super) fn describe_role(&mut self, key: Key<Role>) {
        if let Some(role) = self.roles.get(key) {
            let active = role.frameworks.has_active();
            self.role_sorter.set_active(key, active);
            let registered = role.frameworks.first_registered();
            self.role_sorter.set_registered(key, registered);
            self.role_sorter.set_demand(key, role.frameworks.demand());
        }
    }

    /// Forgets that a framework is in a role, unless it is subscribed to it or holds something.
    pub(super) fn untrack_in_role(&mut self, framework: Key<Framework>, key: Key<Role>) {
        let Some(role) = self.roles.get_mut(key) else {
            return;
        };
        let subscribed = self
            .frameworks
            .get(framework)
            .is_some_and(|framework| framework.roles.contains(&role.path));
        if subscribed || role.frameworks.agents(framework) > 0 {
            return;
        }
        role.frameworks.remove(framework);
        if role.frameworks.len() == 0 {
            self.role_sorter.remove(key);
        } else {
            self.describe_role(key);
        }
        self.roles.remove_if_unneeded(key);
    }

    /// Charges a framework for resources of one role that its agent gives to it.
    pub(super) fn give(
        &mut self,
        agent_key: Key<Agent>,
        framework: Key<Framework>,
        role: Key<Role>,
        resources: &Resources,
    ) {
        let (Some(agent), Some((id, owner)), Some(node)) = (
            self.agents.get_mut(agent_key),
            self.frameworks.get_mut_with_id(framework),
            self.roles.get_mut(role),
        ) else {
            return;
        };
        owner.agents.insert(agent_key);
        let charge = Charge::new(agent, id, resources, &Resources::new());
        let held = agent.holds(id, &node.path);
        agent.change(&mut self.revocable, |agent| agent.give(id, resources));
        let holds = agent.holds(id, &node.path);
        node.frameworks.count_agent(framework, held, holds);
        node.frameworks.hand_out(framework, &charge.framework);
        self.role_sorter.hand_out(role, &charge.role);
        self.roles.hold(role, &charge.holdings);
    }

    /// Charges a framework for resources of any roles that are in use on an agent.
    pub(super) fn give_used(
        &mut self,
        agent: Key<Agent>,
        framework: Key<Framework>,
        used: &Resources,
    ) {
        for (path, resources) in used.allocations() {
            let registered = self.registered(framework);
            let role = self.track_in_role(framework, &path, registered);
            self.give(agent, framework, role, &resources);
        }
        self.start_use(agent, framework, used);
    }

    /// Notes that a framework uses resources that it holds on an agent.
    pub(super) fn start_use(
        &mut self,
        agent: Key<Agent>,
        framework: Key<Framework>,
        resources: &Resources,
    ) {
        if let (Some(agent), Some(id)) = (self.agents.get_mut(agent), self.frameworks.id(framework))
        {
            agent.start_use(id, resources);
            self.roles.add_allocated(resources);
        }
    }

    /// Notes that a framework does not use resources any more.
    pub(super) fn end_use(
        &mut self,
        agent: Key<Agent>,
        framework: &FrameworkId,
        resources: &Resources,
    ) {
        if let Some(agent) = self.agents.get_mut(agent) {
            let ended = agent.end_use(framework, resources);
            self.roles.remove_allocated(&ended);
        }
    }

    /// Discharges a framework of resources of one role that go back to their agent.
    pub(super) fn take(
        &mut self,
        agent_key: Key<Agent>,
        framework: Key<Framework>,
        role: Key<Role>,
        resources: &Resources,
    ) {
        let (Some(agent), Some((id, owner)), Some(node)) = (
            self.agents.get_mut(agent_key),
            self.frameworks.get_mut_with_id(framework),
            self.roles.get_mut(role),
        ) else {
            return;
        };
        let charge = Charge::new(agent, id, resources, resources);
        let held = agent.holds(id, &node.path);
        let ended = agent.change(&mut self.revocable, |agent| agent.take(id, resources));
        if agent.held_by(id).is_none() {
            owner.agents.remove(&agent_key);
        }
        let holds = agent.holds(id, &node.path);
        node.frameworks.count_agent(framework, held, holds);
        node.frameworks.take_back(framework, &charge.framework);
        self.role_sorter.take_back(role, &charge.role);
        self.roles.release(role, &charge.holdings);
        self.roles.remove_allocated(&ended);
        self.note_return(agent_key, framework, role);
    }

    /// Exchanges resources of one role that a framework holds, without a new hand-out.
    pub(super) fn exchange(
        &mut self,
        agent_key: Key<Agent>,
        framework: Key<Framework>,
        role: Key<Role>,
        before: &Resources,
        after: &Resources,
    ) {
        self.unsettle(agent_key);
        let (Some(agent), Some((id, owner)), Some(node)) = (
            self.agents.get_mut(agent_key),
            self.frameworks.get_mut_with_id(framework),
            self.roles.get_mut(role),
        ) else {
            return;
        };
        let held = agent.holds(id, &node.path);
        let old = Charge::new(agent, id, before, before);
        let new = Charge::new(agent, id, after, before);
        let ended = agent.change(&mut self.revocable, |agent| {
            agent.exchange(id, before, after)
        });
        if agent.held_by(id).is_none() {
            owner.agents.remove(&agent_key);
        }
        let holds = agent.holds(id, &node.path);
        node.frameworks.count_agent(framework, held, holds);
        node.frameworks
            .exchange(framework, &old.framework, &new.framework);
        self.role_sorter.exchange(role, &old.role, &new.role);
        self.roles.release(role, &old.holdings);
        self.roles.hold(role, &new.holdings);
        self.roles.remove_allocated(&ended);
    }

    /// Discharges a framework of everything it holds on an agent.
    pub(super) fn take_all(&mut self, agent: Key<Agent>, id: &FrameworkId) {
        let held = self
            .agents
            .get(agent)
            .and_then(|agent| agent.held_by(id))
            .cloned();
        let (Some(held), Some(framework)) = (held, self.frameworks.key(id)) else {
            return;
        };
        for (path, resources) in held.allocations() {
            if let Some(role) = self.roles.key(&path) {
                self.take(agent, framework, role, &resources);
                self.untrack_in_role(framework, role);
            }
        }
    }

    /// Checks that a framework holds resources on an agent.
    pub(super) fn check_held(
        &self,
        agent: Key<Agent>,
        framework: &FrameworkId,
        resources: &Resources,
    ) -> Result<Arc<str>, AllocatorError> {
        let role = super::core::allocation_role(resources)?;
        let holds = self
            .agents
            .get(agent)
            .and_then(|agent| agent.held_by(framework))
            .is_some_and(|held| held.contains(resources));
        match self.agents.id(agent) {
            Some(agent) if !holds => Err(AllocatorError::NotHeld {
                framework: framework.clone(),
                agent: agent.clone(),
                resources: resources.to_string(),
            }),
            _ => Ok(role),
        }
    }
}
