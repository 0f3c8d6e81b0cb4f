//! Facts about frameworks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesos::proto;
use mesos::resources::{ResourceQuantities, Resources};

use super::agent_events::check_used;
use super::core::Allocator;
use super::framework::{Demand, Framework, FrameworkOptions, Roles};
use super::role_tree::Role;
use super::slots::Key;
use super::{AgentId, AllocatorError, FrameworkId};

impl Allocator {
    /// A framework subscribed for the first time, or was recovered from its agents. `used` is what
    /// its tasks and executors hold, on agents that may or may not be known yet.
    ///
    /// # Errors
    /// The framework is known, or its roles, minimum or constraints are not valid.
    pub fn add_framework(
        &mut self,
        id: FrameworkId,
        info: &proto::FrameworkInfo,
        used: &BTreeMap<AgentId, Resources>,
        active: bool,
        options: FrameworkOptions,
    ) -> Result<(), AllocatorError> {
        if self.frameworks.key(&id).is_some() {
            return Err(AllocatorError::DuplicateFramework(id));
        }
        used.values().try_for_each(check_used)?;
        let registered = options.registered.or_else(|| self.registered_before(&id));
        let registered = registered.unwrap_or(self.next_registered);
        let mut framework = Framework::new(info, options, self.options.regex_limits)?;
        framework.registered = registered;
        self.next_registered = self.next_registered.saturating_add(1);
        let roles = framework.roles.clone();
        self.own_minimums += usize::from(framework.has_minimum());
        let key = self.frameworks.insert(id.clone(), framework);
        for role in roles.iter() {
            self.track_in_role(key, role, registered);
        }
        self.share_paths(key);
        self.charge_known_agents(key, &id, used);
        if active {
            self.set_active(key, true);
            self.request_full_run();
        }
        Ok(())
    }

    /// When a framework of another master registered, as far as its id tells.
    fn registered_before(&self, id: &FrameworkId) -> Option<u64> {
        let (master, number) = id.as_str().rsplit_once('-')?;
        let own = self.options.master_id.as_deref()?;
        let number: u32 = number.parse().ok()?;
        (master != own).then_some(number.into())
    }

    /// Charges a new framework for what it uses on agents that are known. An agent's own account
    /// is the better one, as the agent may have come back since `used` was written down.
    fn charge_known_agents(
        &mut self,
        key: Key<Framework>,
        id: &FrameworkId,
        used: &BTreeMap<AgentId, Resources>,
    ) {
        let mut agents = self.unclaimed.remove(id).unwrap_or_default();
        agents.extend(used.keys().filter_map(|agent| self.agents.key(agent)));
        for agent in agents {
            let revocable = &mut self.revocable;
            let known = self.agents.get_mut(agent);
            let unclaimed = known.and_then(|known| known.change(revocable, |a| a.claim(id)));
            let used = self.agents.id(agent).and_then(|id| used.get(id));
            if let Some(held) = unclaimed.as_ref().or(used) {
                self.give_used(agent, key, held);
            }
        }
    }

    /// A framework ended. Everything it held is available again.
    ///
    /// # Errors
    /// The framework is not known.
    pub fn remove_framework(&mut self, id: &FrameworkId) -> Result<(), AllocatorError> {
        let key = self.framework_key(id)?;
        let agents = self.frameworks.get(key).map(|f| f.agents.clone());
        for agent in agents.into_iter().flatten() {
            self.take_all(agent, id);
        }
        self.remove_filters(key);
        self.remove_from_maintenance(key);
        let roles = self
            .frameworks
            .get_mut(key)
            .map(|framework| std::mem::take(&mut framework.roles))
            .unwrap_or_default();
        for role in self.role_keys(&roles) {
            self.untrack_in_role(key, role);
        }
        if let Some((_, framework)) = self.frameworks.remove(key) {
            self.own_minimums -= usize::from(framework.has_minimum());
        }
        Ok(())
    }

    /// A framework may get offers again, except in suppressed roles.
    ///
    /// # Errors
    /// The framework is not known.
    pub fn activate_framework(&mut self, id: &FrameworkId) -> Result<(), AllocatorError> {
        let key = self.framework_key(id)?;
        self.set_active(key, true);
        self.request_full_run();
        Ok(())
    }

    /// A framework must not get offers. It keeps what it holds, and its filters are forgotten.
    ///
    /// # Errors
    /// The framework is not known.
    pub fn deactivate_framework(&mut self, id: &FrameworkId) -> Result<(), AllocatorError> {
        let key = self.framework_key(id)?;
        self.set_active(key, false);
        self.remove_filters(key);
        self.remove_inverse_filters(key);
        Ok(())
    }

    /// A framework changed its description, or the roles in which it wants offers. Roles that are
    /// not suppressed any more lose their filters.
    ///
    /// # Errors
    /// The framework is not known, or its roles, minimum or constraints are not valid.
    pub fn update_framework(
        &mut self,
        id: &FrameworkId,
        info: &proto::FrameworkInfo,
        options: FrameworkOptions,
    ) -> Result<(), AllocatorError> {
        let key = self.framework_key(id)?;
        let mut updated = Framework::new(info, options, self.options.regex_limits)?;
        let Some(framework) = self.frameworks.get_mut(key) else {
            return Err(AllocatorError::UnknownFramework(id.clone()));
        };
        updated.active = framework.active;
        updated.registered = framework.registered;
        updated.agents = std::mem::take(&mut framework.agents);
        updated.demand = framework.demand.take();
        let old = std::mem::replace(framework, updated);
        self.own_minimums += usize::from(framework.has_minimum());
        self.own_minimums -= usize::from(old.has_minimum());
        let (roles, suppressed) = (framework.roles.clone(), framework.suppressed.clone());
        let joined = self.next_registered;
        self.next_registered = joined.saturating_add(1);
        for role in roles.without(&old.roles).iter() {
            self.track_in_role(key, role, joined);
        }
        self.share_paths(key);
        for role in self.role_keys(&old.roles.without(&roles)) {
            self.filters.remove(key, role);
            if let Some(node) = self.roles.get_mut(role) {
                node.frameworks.set_active(key, false);
            }
            self.describe_role(role);
            self.untrack_in_role(key, role);
        }
        for role in self.role_keys(&old.suppressed.without(&suppressed).among(&roles)) {
            self.filters.remove(key, role);
        }
        self.remove_inverse_filters(key);
        self.refresh_activity(key);
        // Roles that it joined do not know yet what it asked for.
        self.tell_demand(key);
        self.note_all_eager(key);
        Ok(())
    }

    /// A framework wants no offers in some roles; none names all of its roles. Filters stay.
    ///
    /// # Errors
    /// The framework is not known.
    pub fn suppress_offers(
        &mut self,
        id: &FrameworkId,
        roles: &BTreeSet<String>,
    ) -> Result<(), AllocatorError> {
        let key = self.framework_key(id)?;
        if let Some(framework) = self.frameworks.get_mut(key) {
            let roles = chosen(roles, framework);
            framework.suppressed = framework.suppressed.with(&roles);
        }
        self.refresh_activity(key);
        Ok(())
    }

    /// A framework wants offers in some roles, and forgets what it refused there; none names all
    /// of its roles.
    ///
    /// # Errors
    /// The framework is not known.
    pub fn revive_offers(
        &mut self,
        id: &FrameworkId,
        roles: &BTreeSet<String>,
    ) -> Result<(), AllocatorError> {
        let key = self.framework_key(id)?;
        let Some(framework) = self.frameworks.get_mut(key) else {
            return Err(AllocatorError::UnknownFramework(id.clone()));
        };
        let roles = chosen(roles, framework);
        framework.suppressed = framework.suppressed.without(&roles);
        for role in self.role_keys(&roles) {
            self.filters.remove(key, role);
            self.note_eager(key, role);
        }
        self.remove_inverse_filters(key);
        self.refresh_activity(key);
        self.request_full_run();
        Ok(())
    }

    /// A framework asked for resources, in place of what it asked for before. This matters to
    /// policies that look at demand, such as [`Drc`](super::Drc), in all of its roles.
    ///
    /// # Errors
    /// The framework is not known, or the resources are not valid.
    pub fn request_resources(
        &mut self,
        id: &FrameworkId,
        requests: &[proto::Request],
    ) -> Result<(), AllocatorError> {
        let key = self.framework_key(id)?;
        let mut asked = ResourceQuantities::new();
        for request in requests {
            let amounts = Resources::from_protos(&request.resources)?.quantities();
            asked = asked
                .checked_add(&amounts)
                .ok_or_else(|| AllocatorError::DemandTooLarge(id.clone()))?;
        }
        if let Some(framework) = self.frameworks.get_mut(key) {
            framework.demand = (!asked.is_empty()).then(|| {
                Box::new(Demand {
                    asked,
                    ..Demand::default()
                })
            });
        }
        self.tell_demand(key);
        Ok(())
    }

    /// Notes that a framework was offered something of what it asked for.
    pub(super) fn note_granted(&mut self, key: Key<Framework>, offer: &Resources) {
        self.change_granted(key, |granted| *granted += &offer.quantities());
    }

    /// Notes that a framework returned something unused.
    pub(super) fn note_returned(&mut self, key: Key<Framework>, returned: &Resources) {
        self.change_granted(key, |granted| *granted -= &returned.quantities());
    }

    fn change_granted(
        &mut self,
        key: Key<Framework>,
        change: impl FnOnce(&mut ResourceQuantities),
    ) {
        let framework = self.frameworks.get_mut(key);
        if let Some(demand) = framework.and_then(|framework| framework.demand.as_mut()) {
            change(&mut demand.granted);
            self.tell_demand(key);
        }
    }

    /// Tells the orders of a framework's roles what it wants.
    fn tell_demand(&mut self, key: Key<Framework>) {
        let Some(framework) = self.frameworks.get(key) else {
            return;
        };
        let demand = framework.demand.as_ref().map(|demand| demand.open());
        let roles = framework.roles.clone();
        for role in self.role_keys(&roles) {
            if let Some(node) = self.roles.get_mut(role) {
                node.frameworks.set_demand(key, demand.as_ref());
            }
            self.describe_role(role);
        }
    }

    fn role_keys(&self, roles: &Roles) -> Vec<Key<Role>> {
        roles
            .iter()
            .filter_map(|role| self.roles.key(role))
            .collect()
    }

    /// Lets a framework have the names of its roles in common with the roles.
    fn share_paths(&mut self, key: Key<Framework>) {
        let Some(framework) = self.frameworks.get_mut(key) else {
            return;
        };
        let roles = &self.roles;
        let path = |role: &Arc<str>| {
            let known = roles.key(role).and_then(|key| roles.get(key));
            known.map_or_else(|| role.clone(), |known| known.path.clone())
        };
        framework.roles = framework.roles.iter().map(path).collect();
        framework.suppressed = framework.suppressed.iter().map(path).collect();
    }

    /// Forgets everything that a framework refused.
    fn remove_filters(&mut self, key: Key<Framework>) {
        let roles = self.frameworks.get(key).into_iter();
        let roles = roles.flat_map(|framework| framework.roles.iter());
        for role in roles.filter_map(|role| self.roles.key(role)) {
            self.filters.remove(key, role);
        }
    }

    fn set_active(&mut self, key: Key<Framework>, active: bool) {
        if let Some(framework) = self.frameworks.get_mut(key) {
            framework.active = active;
        }
        self.refresh_activity(key);
        if active {
            self.note_all_eager(key);
        }
    }

    /// Notes that a framework may be able to take more than before in each of its roles.
    fn note_all_eager(&mut self, key: Key<Framework>) {
        let roles = self
            .frameworks
            .get(key)
            .map(|framework| framework.roles.clone());
        for role in self.role_keys(&roles.unwrap_or_default()) {
            self.note_eager(key, role);
        }
    }

    /// Brings the sorters in line with where a framework wants offers.
    fn refresh_activity(&mut self, key: Key<Framework>) {
        let Some(framework) = self.frameworks.get(key) else {
            return;
        };
        let wanted: Vec<(Key<Role>, bool)> = framework
            .roles
            .iter()
            .filter_map(|path| Some((self.roles.key(path)?, framework.wants_offers(path))))
            .collect();
        for (role, wanted) in wanted {
            if let Some(node) = self.roles.get_mut(role) {
                node.frameworks.set_active(key, wanted);
            }
            self.describe_role(role);
        }
    }
}

/// The roles that a call means: those of the framework among the named ones, or all.
fn chosen(roles: &BTreeSet<String>, framework: &Framework) -> Roles {
    if roles.is_empty() {
        framework.roles.clone()
    } else {
        roles.iter().collect::<Roles>().among(&framework.roles)
    }
}
