//! Facts that the allocator is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos::proto;
use mesos::resources::{ResourceConversion, ResourceQuantities, Resources};

use super::rules::{check_framework, refusal};
use super::{Agent, Answer, Filter, Framework, Reference};
use crate::allocator::{AgentCapabilities, AgentId, FrameworkId, FrameworkOptions, Quota};

pub(super) const UNKNOWN_FRAMEWORK: &str = "the framework is not known";
pub(super) const UNKNOWN_AGENT: &str = "the agent is not known";

impl Reference {
    pub(in crate::allocator) fn add_framework(
        &mut self,
        id: &FrameworkId,
        info: &proto::FrameworkInfo,
        used: &BTreeMap<AgentId, Resources>,
        active: bool,
        options: &FrameworkOptions,
    ) -> Answer {
        if self.frameworks.contains_key(id) {
            return Err("the framework is known");
        }
        let mut reported = used.values();
        reported.try_for_each(check_used)?;
        let registered = options.registered.unwrap_or(self.next_registered);
        self.describe_framework(id, info, options)?;
        self.next_registered += 1;
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.active = active;
            framework.registered = registered;
        }
        self.update_clients(None);
        let agents: Vec<AgentId> = self.agents.keys().cloned().collect();
        for agent in agents {
            // What the agent said goes before what the master remembers.
            let claimed = self.agents.get_mut(&agent);
            let claimed = claimed.and_then(|agent| agent.unclaimed.remove(id));
            if let Some(held) = claimed.as_ref().or(used.get(&agent)) {
                self.give_in_use(&agent, id, held);
            }
        }
        if active {
            self.request_full_run();
        }
        Ok(())
    }

    fn describe_framework(
        &mut self,
        id: &FrameworkId,
        info: &proto::FrameworkInfo,
        options: &FrameworkOptions,
    ) -> Answer {
        check_framework(info, options)?;
        let framework = self.frameworks.entry(id.clone()).or_default();
        framework.info = info.clone();
        framework.suppressed = &options.suppressed_roles & &framework.roles();
        framework.constraints = options.offer_constraints.clone();
        Ok(())
    }

    pub(in crate::allocator) fn remove_framework(&mut self, id: &FrameworkId) -> Answer {
        self.frameworks.remove(id).ok_or(UNKNOWN_FRAMEWORK)?;
        for agent in self.agents.values_mut() {
            agent.held.remove(id);
            agent.in_use.remove(id);
            if let Some(maintenance) = &mut agent.maintenance {
                maintenance.forget(id);
            }
        }
        self.inverse_filters
            .retain(|filter| filter.framework != *id);
        self.filters.retain(|filter| filter.framework != *id);
        self.update_clients(None);
        Ok(())
    }

    pub(in crate::allocator) fn activate_framework(&mut self, id: &FrameworkId) -> Answer {
        self.framework(id)?.active = true;
        self.request_full_run();
        Ok(())
    }

    pub(in crate::allocator) fn deactivate_framework(&mut self, id: &FrameworkId) -> Answer {
        self.framework(id)?.active = false;
        self.inverse_filters
            .retain(|filter| filter.framework != *id);
        self.filters.retain(|filter| filter.framework != *id);
        Ok(())
    }

    pub(in crate::allocator) fn update_framework(
        &mut self,
        id: &FrameworkId,
        info: &proto::FrameworkInfo,
        options: &FrameworkOptions,
    ) -> Answer {
        let suppressed = self.framework(id)?.suppressed.clone();
        self.describe_framework(id, info, options)?;
        self.inverse_filters
            .retain(|filter| filter.framework != *id);
        self.update_clients(Some(self.next_registered));
        self.next_registered += 1;
        let after = self.framework(id)?;
        let roles = after.roles();
        let revived = &suppressed - &after.suppressed;
        self.filters.retain(|filter| {
            filter.framework != *id
                || (roles.contains(&filter.role) && !revived.contains(&filter.role))
        });
        Ok(())
    }

    pub(in crate::allocator) fn suppress_offers(
        &mut self,
        id: &FrameworkId,
        roles: &BTreeSet<String>,
    ) -> Answer {
        let framework = self.framework(id)?;
        let mine = framework.roles();
        let chosen = if roles.is_empty() { &mine } else { roles };
        framework.suppressed.extend(chosen & &mine);
        Ok(())
    }

    pub(in crate::allocator) fn revive_offers(
        &mut self,
        id: &FrameworkId,
        roles: &BTreeSet<String>,
    ) -> Answer {
        let framework = self.framework(id)?;
        let mine = framework.roles();
        let chosen = if roles.is_empty() { &mine } else { roles };
        framework.suppressed.retain(|role| !chosen.contains(role));
        self.inverse_filters
            .retain(|filter| filter.framework != *id);
        self.filters
            .retain(|filter| filter.framework != *id || !chosen.contains(&filter.role));
        self.request_full_run();
        Ok(())
    }

    pub(in crate::allocator) fn request_resources(
        &mut self,
        id: &FrameworkId,
        requests: &[proto::Request],
    ) -> Answer {
        let framework = self.framework(id)?;
        let mut asked = ResourceQuantities::new();
        for request in requests {
            let resources = Resources::from_protos(&request.resources);
            asked += &resources
                .map_err(|_| "resources are not valid")?
                .quantities();
        }
        (framework.asked, framework.granted) = (asked, ResourceQuantities::new());
        Ok(())
    }

    pub(in crate::allocator) fn add_agent(
        &mut self,
        id: &AgentId,
        info: &proto::SlaveInfo,
        capabilities: AgentCapabilities,
        total: &Resources,
        used: &BTreeMap<FrameworkId, Resources>,
    ) -> Answer {
        if self.agents.contains_key(id) {
            return Err("the agent is known");
        }
        self.check_total(id, total)?;
        let mut reported = used.values();
        reported.try_for_each(check_used)?;
        let agent = Agent {
            maintenance: None,
            info: info.clone(),
            capabilities,
            active: true,
            total: total.clone(),
            held: BTreeMap::new(),
            in_use: BTreeMap::new(),
            unclaimed: BTreeMap::new(),
        };
        self.agents.insert(id.clone(), agent);
        self.give_reported(id, used);
        let arrived = self.agents.len();
        if self
            .recovery
            .is_some_and(|(expected, _)| arrived >= expected)
        {
            self.recovery = None;
        }
        self.request_run(id);
        Ok(())
    }

    /// An agent reports what frameworks hold, known ones or not.
    fn give_reported(&mut self, agent: &AgentId, used: &BTreeMap<FrameworkId, Resources>) {
        for (framework, used) in used.iter().filter(|(_, used)| !used.is_empty()) {
            if self.frameworks.contains_key(framework) {
                self.give_in_use(agent, framework, used);
            } else if let Some(agent) = self.agents.get_mut(agent) {
                *agent.unclaimed.entry(framework.clone()).or_default() += used;
            }
        }
    }

    pub(in crate::allocator) fn remove_agent(&mut self, id: &AgentId) -> Answer {
        self.agents.remove(id).ok_or(UNKNOWN_AGENT)?;
        self.filters.retain(|filter| filter.agent != *id);
        self.inverse_filters.retain(|filter| filter.agent != *id);
        self.candidates.remove(id);
        self.update_clients(None);
        Ok(())
    }

    pub(in crate::allocator) fn update_agent(
        &mut self,
        id: &AgentId,
        info: &proto::SlaveInfo,
        total: Option<&Resources>,
        capabilities: Option<AgentCapabilities>,
    ) -> Answer {
        if let Some(total) = total {
            self.check_total(id, total)?;
        }
        let agent = self.agents.get_mut(id).ok_or(UNKNOWN_AGENT)?;
        let other_attributes = agent.info.attributes != info.attributes;
        let mut changed = agent.info != *info;
        agent.info = info.clone();
        if let Some(total) = total {
            changed |= agent.total != *total;
            agent.total = total.clone();
        }
        if let Some(capabilities) = capabilities {
            changed |= agent.capabilities != capabilities;
            agent.capabilities = capabilities;
        }
        if other_attributes {
            self.inverse_filters.retain(|filter| filter.agent != *id);
            self.filters.retain(|filter| filter.agent != *id);
        }
        if changed {
            self.request_run(id);
        }
        Ok(())
    }

    pub(in crate::allocator) fn add_resource_provider(
        &mut self,
        id: &AgentId,
        total: &Resources,
        used: &BTreeMap<FrameworkId, Resources>,
    ) -> Answer {
        let known = self.agents.get(id).ok_or(UNKNOWN_AGENT)?;
        let sum = &known.total + total;
        self.check_total(id, &sum)?;
        let mut reported = used.values();
        reported.try_for_each(check_used)?;
        self.agents.get_mut(id).ok_or(UNKNOWN_AGENT)?.total = sum;
        self.give_reported(id, used);
        Ok(())
    }

    pub(in crate::allocator) fn set_agent_active(&mut self, id: &AgentId, active: bool) -> Answer {
        self.agents.get_mut(id).ok_or(UNKNOWN_AGENT)?.active = active;
        Ok(())
    }

    pub(in crate::allocator) fn update_quota(&mut self, role: &str, quota: &Quota) -> Answer {
        check_role(role)?;
        if role.contains('/') {
            return Err("the role is below another");
        }
        self.quotas.insert(role.to_owned(), quota.clone());
        Ok(())
    }

    pub(in crate::allocator) fn update_weights(&mut self, weights: &[(&str, f64)]) -> Answer {
        for (role, weight) in weights {
            check_role(role)?;
            if !(*weight > 0.0 && *weight < f64::INFINITY) {
                return Err("the weight is not a positive number");
            }
        }
        for (role, weight) in weights {
            self.weights.insert((*role).to_owned(), *weight);
        }
        Ok(())
    }

    pub(in crate::allocator) fn update_whitelist(&mut self, hostnames: Option<BTreeSet<String>>) {
        self.whitelist = hostnames;
    }

    pub(in crate::allocator) fn recover(
        &mut self,
        expected: usize,
        quotas: &BTreeMap<String, Quota>,
    ) -> Answer {
        for role in quotas.keys() {
            check_role(role)?;
            if role.contains('/') {
                return Err("the role is below another");
            }
        }
        self.quotas.extend(quotas.clone());
        let expected = (expected as f64 * self.options.agent_recovery_factor).floor() as usize;
        if !quotas.is_empty() && expected > 0 {
            self.recovery = Some((expected, None));
        }
        Ok(())
    }

    pub(in crate::allocator) fn pause(&mut self) {
        self.pauses += 1;
    }

    pub(in crate::allocator) fn resume(&mut self) {
        self.pauses = self.pauses.saturating_sub(1);
    }

    pub(in crate::allocator) fn update_allocation(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        offered: &Resources,
        conversions: &[ResourceConversion],
    ) -> Answer {
        self.framework(framework)?;
        let known = self.agents.get_mut(agent).ok_or(UNKNOWN_AGENT)?;
        let role = allocation_role(offered)?;
        let held = known.held.get(framework).cloned().unwrap_or_default();
        if !held.contains(offered) {
            return Err("the framework does not hold the resources");
        }
        let converted = offered.apply_conversions(conversions);
        let converted = converted.map_err(|_| "a conversion cannot be made")?;
        if !converted.is_empty() && allocation_role(&converted)? != role {
            return Err("a conversion changes the role");
        }
        let mut total = known.total.clone();
        for conversion in conversions {
            let (mut consumed, mut converted) =
                (conversion.consumed.clone(), conversion.converted.clone());
            if consumed.is_empty() {
                continue;
            }
            consumed.unallocate();
            converted.unallocate();
            if !converted.is_empty() && consumed.quantities() != converted.quantities() {
                return Err("a conversion changes amounts");
            }
            let rest = total.checked_sub(&consumed);
            total = rest.ok_or("the agent does not have what is converted")? + converted;
        }
        known.total = total;
        known
            .held
            .insert(framework.clone(), held - offered + converted);
        known.forget_empty();
        self.update_clients(None);
        Ok(())
    }

    pub(in crate::allocator) fn update_available(
        &mut self,
        agent: &AgentId,
        operations: &[proto::offer::Operation],
    ) -> Answer {
        let agent = self.agents.get_mut(agent).ok_or(UNKNOWN_AGENT)?;
        let (mut available, mut total) = (agent.available(), agent.total.clone());
        for operation in operations {
            let done = |resources: &Resources| resources.apply(operation);
            available = done(&available).map_err(|_| "not available")?;
            total = done(&total).map_err(|_| "not there")?;
        }
        agent.total = total;
        Ok(())
    }

    pub(in crate::allocator) fn transition_offered_to_allocated(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: &Resources,
    ) -> Answer {
        self.framework(framework)?;
        let agent = self.agents.get_mut(agent).ok_or(UNKNOWN_AGENT)?;
        let none = Resources::new();
        let held = agent.held.get(framework).unwrap_or(&none);
        let in_use = agent.in_use.get(framework).unwrap_or(&none) + resources;
        if !resources.is_empty() && !held.contains(&in_use) {
            return Err("the framework does not hold so much beside what it uses");
        }
        agent.in_use.insert(framework.clone(), in_use);
        agent.forget_empty();
        Ok(())
    }

    pub(in crate::allocator) fn recover_resources(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: &Resources,
        filters: Option<&proto::Filters>,
        in_use: bool,
        now: Duration,
    ) -> Answer {
        let Some(known) = self.agents.get_mut(agent).filter(|_| !resources.is_empty()) else {
            return Ok(());
        };
        if !self.frameworks.contains_key(framework) {
            if let Some(unclaimed) = known.unclaimed.get_mut(framework) {
                *unclaimed -= resources;
            }
            known.forget_empty();
            return Ok(());
        }
        let role = allocation_role(resources)?;
        let held = known.held.get_mut(framework);
        let Some(held) = held.filter(|held| held.contains(resources)) else {
            return Err("the framework does not hold the resources");
        };
        *held -= resources;
        if let Some(used) = known.in_use.get_mut(framework).filter(|_| in_use) {
            *used -= resources;
        }
        if let Some(framework) = self.frameworks.get_mut(framework).filter(|_| !in_use) {
            framework.granted -= &resources.quantities();
        }
        known.forget_empty();
        self.update_clients(None);
        let refusal = filters.and_then(|filters| refusal(&self.options, filters));
        let subscribed = self.frameworks[framework].roles().contains(&role);
        if let Some(refusal) = refusal.filter(|_| subscribed) {
            let mut refused = resources.clone();
            refused.unallocate();
            self.filters.push(Filter {
                framework: framework.clone(),
                role,
                agent: agent.clone(),
                refused,
                until: now.saturating_add(refusal),
                since_run: self.full_runs,
            });
        }
        Ok(())
    }

    /// Ends filters whose time is over, if a run over all agents has seen them.
    pub(super) fn expire_filters(&mut self, now: Duration) {
        let runs = self.full_runs;
        self.filters
            .retain(|filter| filter.until >= now || filter.since_run >= runs);
    }

    /// The total of an agent is not allocated, and the cluster can count it.
    fn check_total(&self, id: &AgentId, total: &Resources) -> Answer {
        let mut resources = total.iter();
        if resources.any(|resource| resource.allocation_role().is_some()) {
            return Err("the total is allocated");
        }
        let mut sum = total.quantities();
        for (_, other) in self.agents.iter().filter(|(other, _)| *other != id) {
            let more = sum.checked_add(&other.total.quantities());
            sum = more.ok_or("the total is too large")?;
        }
        Ok(())
    }

    fn framework(&mut self, id: &FrameworkId) -> Result<&mut Framework, &'static str> {
        self.frameworks.get_mut(id).ok_or(UNKNOWN_FRAMEWORK)
    }

    pub(super) fn give(&mut self, agent: &AgentId, framework: &FrameworkId, given: &Resources) {
        if let Some(agent) = self.agents.get_mut(agent) {
            *agent.held.entry(framework.clone()).or_default() += given;
        }
    }

    fn give_in_use(&mut self, agent: &AgentId, framework: &FrameworkId, used: &Resources) {
        for (role, used) in used.allocations() {
            self.give(agent, framework, &used);
            if let Some(agent) = self.agents.get_mut(agent) {
                *agent.in_use.entry(framework.clone()).or_default() += &used;
            }
            self.count_hand_out(framework, &role);
        }
    }

    pub(super) fn request_run(&mut self, agent: &AgentId) {
        if !self.is_paused() {
            self.candidates.insert(agent.clone());
        }
    }

    fn request_full_run(&mut self) {
        if !self.is_paused() {
            self.all_are_candidates |= !self.agents.is_empty();
        }
    }
}

impl Agent {
    /// Drops empty entries; what is not held is not in use.
    fn forget_empty(&mut self) {
        let none = Resources::new();
        for (framework, in_use) in &mut self.in_use {
            let held = self.held.get(framework).unwrap_or(&none);
            let excess = &*in_use - held;
            *in_use -= excess;
        }
        for accounts in [&mut self.held, &mut self.in_use, &mut self.unclaimed] {
            accounts.retain(|_, resources| !resources.is_empty());
        }
    }
}

fn check_role(role: &str) -> Answer {
    mesos::roles::validate(role).map_err(|_| "the role is not valid")
}

/// What a framework is said to hold is allocated to roles.
fn check_used(used: &Resources) -> Answer {
    let mut resources = used.iter();
    let valid = resources.all(|resource| {
        let role = resource.allocation_role();
        role.is_some_and(|role| mesos::roles::validate(role).is_ok())
    });
    if valid {
        Ok(())
    } else {
        Err("what is used is not allocated")
    }
}

/// The one role that resources are allocated to.
fn allocation_role(resources: &Resources) -> Result<String, &'static str> {
    let roles: BTreeSet<Option<&str>> = resources.iter().map(|r| r.allocation_role()).collect();
    match (roles.len(), roles.first()) {
        (1, Some(Some(role))) => Ok((*role).to_owned()),
        _ => Err("the resources are not of exactly one role"),
    }
}
