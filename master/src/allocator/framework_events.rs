//! Facts about frameworks.

use std::collections::{BTreeMap, BTreeSet};

use mesos::proto;
use mesos::resources::Resources;

use super::core::Allocator;
use super::framework::{Framework, FrameworkOptions};
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
        let framework = Framework::new(info, options)?;
        let roles = framework.roles.clone();
        let key = self.frameworks.insert(id.clone(), framework);
        for role in &roles {
            self.track_in_role(key, role);
        }
        self.charge_known_agents(key, &id, used);
        if active {
            self.set_active(key, true);
            self.request_full_run();
        }
        Ok(())
    }

    /// Charges a new framework for what it uses on agents that are known. An agent's own account
    /// is the better one, as the agent may have come back since `used` was written down.
    fn charge_known_agents(
        &mut self,
        key: Key<Framework>,
        id: &FrameworkId,
        used: &BTreeMap<AgentId, Resources>,
    ) {
        let agents: Vec<_> = self
            .agents
            .iter()
            .map(|(agent, agent_id, _)| (agent, agent_id.clone()))
            .collect();
        for (agent, agent_id) in agents {
            let unclaimed = self.agents.get_mut(agent).and_then(|agent| agent.claim(id));
            if let Some(held) = unclaimed.as_ref().or_else(|| used.get(&agent_id)) {
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
        let agents: Vec<_> = self.agents.keys().collect();
        for agent in agents {
            self.take_all(agent, id);
        }
        self.remove_filters(key);
        let roles = self
            .frameworks
            .get_mut(key)
            .map(|framework| std::mem::take(&mut framework.roles))
            .unwrap_or_default();
        for role in self.role_keys(&roles) {
            self.untrack_in_role(key, role);
        }
        self.frameworks.remove(key);
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
        let mut updated = Framework::new(info, options)?;
        let Some(framework) = self.frameworks.get_mut(key) else {
            return Err(AllocatorError::UnknownFramework(id.clone()));
        };
        updated.active = framework.active;
        let old = std::mem::replace(framework, updated);
        let (roles, suppressed) = (framework.roles.clone(), framework.suppressed.clone());
        for role in &roles - &old.roles {
            self.track_in_role(key, &role);
        }
        for role in self.role_keys(&(&old.roles - &roles)) {
            self.filters.remove(key, role);
            self.untrack_in_role(key, role);
        }
        for role in self.role_keys(&(&(&old.suppressed - &suppressed) & &roles)) {
            self.filters.remove(key, role);
        }
        self.refresh_activity(key);
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
            framework.suppressed.extend(roles);
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
        framework.suppressed.retain(|role| !roles.contains(role));
        for role in self.role_keys(&roles) {
            self.filters.remove(key, role);
        }
        self.refresh_activity(key);
        self.request_full_run();
        Ok(())
    }

    /// A framework asked for resources. Accepted and without effect, as upstream.
    ///
    /// # Errors
    /// The framework is not known.
    pub fn request_resources(
        &mut self,
        id: &FrameworkId,
        _requests: &[proto::Request],
    ) -> Result<(), AllocatorError> {
        self.framework_key(id).map(|_| ())
    }

    fn role_keys(&self, roles: &BTreeSet<String>) -> Vec<Key<Role>> {
        roles
            .iter()
            .filter_map(|role| self.roles.key(role))
            .collect()
    }

    /// Forgets everything that a framework refused.
    fn remove_filters(&mut self, key: Key<Framework>) {
        let roles = self.frameworks.get(key).into_iter();
        let roles = roles.flat_map(|framework| &framework.roles);
        for role in roles.filter_map(|role| self.roles.key(role)) {
            self.filters.remove(key, role);
        }
    }

    fn set_active(&mut self, key: Key<Framework>, active: bool) {
        if let Some(framework) = self.frameworks.get_mut(key) {
            framework.active = active;
        }
        self.refresh_activity(key);
    }

    /// Brings the sorters in line with where a framework wants offers.
    fn refresh_activity(&mut self, key: Key<Framework>) {
        let Some(framework) = self.frameworks.get(key) else {
            return;
        };
        for path in &framework.roles {
            let role = self
                .roles
                .key(path)
                .and_then(|role| self.roles.get_mut(role));
            if let Some(role) = role {
                role.frameworks
                    .set_active(key, framework.wants_offers(path));
            }
        }
    }
}

/// The roles that a call means: those of the framework among the named ones, or all.
fn chosen(roles: &BTreeSet<String>, framework: &Framework) -> BTreeSet<String> {
    if roles.is_empty() {
        framework.roles.clone()
    } else {
        roles & &framework.roles
    }
}
