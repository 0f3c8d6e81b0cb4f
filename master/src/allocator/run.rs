//! One run: which framework is handed out what.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mesos::resources::{Resource, ResourceQuantities, Resources};
use rand::seq::SliceRandom;

use super::FrameworkId;
use super::agent::Agent;
use super::core::{Allocation, Allocator};
use super::framework::Framework;
use super::role_tree::Role;
use super::slots::Key;

/// What frameworks are handed out in a run.
type HandOuts = BTreeMap<FrameworkId, Allocation>;

/// What one agent has for the frameworks of one role.
struct Bundle {
    /// Everything that may be offered to a framework that can deal with all of it.
    resources: Resources,
    /// Whether some of it needs capabilities.
    special: bool,
    /// Whether it is enough for frameworks without a minimum of their own.
    enough: bool,
    /// The last refused bundle that `resources` was compared with, and whether it contains them:
    /// frameworks mostly refused the same one. Filters do not change during a run.
    compared: Cell<(*const Resources, bool)>,
}

impl Bundle {
    /// Whether a refused bundle contains an offer made of this one.
    fn is_refused(&self, offer: &Resources, refused: &Arc<Resources>) -> bool {
        if self.special {
            return refused.contains(offer);
        }
        let (compared, contained) = self.compared.get();
        if compared == Arc::as_ptr(refused) {
            return contained;
        }
        let contained = refused.contains(offer);
        self.compared.set((Arc::as_ptr(refused), contained));
        contained
    }
}

/// One agent in a run.
struct Visit {
    agent: Key<Agent>,
    /// A shared volume is available even while in use, but offered once in a run.
    offered_shared: Resources,
    /// The bundle for every role that has no limits, if nothing on the agent is reserved; until
    /// something is handed out.
    common: Option<Rc<Bundle>>,
}

impl Allocator {
    /// A run over all agents: once per allocation interval. Expired filters end.
    pub fn allocate(&mut self, now: Duration) -> Vec<Allocation> {
        self.end_recovery(now);
        if self.is_paused() {
            return Vec::new();
        }
        self.filters.expire(now, self.full_runs);
        self.full_runs += 1;
        self.candidates.clear();
        let agents = self.agents.keys().collect();
        self.run(agents)
    }

    /// A run over the agents that events named since the last run.
    pub fn allocate_requested(&mut self, now: Duration) -> Vec<Allocation> {
        self.end_recovery(now);
        if self.is_paused() {
            return Vec::new();
        }
        self.filters.expire(now, self.full_runs);
        let agents = std::mem::take(&mut self.candidates).into_iter().collect();
        self.run(agents)
    }

    /// Stops waiting for agents when the time is over.
    fn end_recovery(&mut self, now: Duration) {
        let timeout = self.options.recovery_timeout;
        self.recovery.take_if(|recovery| {
            let deadline = recovery.deadline.get_or_insert(now.saturating_add(timeout));
            *deadline <= now
        });
    }

    fn run(&mut self, mut agents: Vec<Key<Agent>>) -> Vec<Allocation> {
        self.runs += 1;
        agents.retain(|key| {
            self.agents
                .get(*key)
                .is_some_and(|agent| agent.active && self.is_whitelisted(agent))
        });
        agents.shuffle(&mut self.rng);
        let mut hand_outs = HandOuts::new();
        for agent in agents {
            self.offer_agent(agent, &mut hand_outs);
        }
        hand_outs.into_values().collect()
    }

    /// Offers what is left of an agent, role by role and framework by framework in fair order.
    fn offer_agent(&mut self, agent: Key<Agent>, hand_outs: &mut HandOuts) {
        let has_something = |allocator: &Allocator| {
            let agent = allocator.agents.get(agent);
            agent.is_some_and(|agent| !agent.available().is_empty())
        };
        let mut visit = Visit {
            agent,
            offered_shared: Resources::new(),
            common: None,
        };
        let roles = self.role_sorter.order(&self.totals);
        for role in roles.iter().copied() {
            if !has_something(self) {
                return;
            }
            self.offer_role(&mut visit, role, hand_outs);
        }
    }

    fn offer_role(&mut self, visit: &mut Visit, role: Key<Role>, hand_outs: &mut HandOuts) {
        let Some(node) = self.roles.get_mut(role) else {
            return;
        };
        let frameworks = node.frameworks.order(&self.totals);
        let mut bundle = None;
        for framework in frameworks.iter().copied() {
            if bundle.is_none() {
                bundle = self.bundle(visit, role);
            }
            let Some(current) = bundle.as_deref() else {
                return;
            };
            let Some(offer) = self.offer(visit.agent, role, framework, current) else {
                continue;
            };
            let offer = offer.into_owned();
            let offer = self.hand_out(visit.agent, role, framework, offer, hand_outs);
            visit.offered_shared += unallocated_shared(&offer);
            visit.common = None;
            bundle = None;
        }
    }

    /// What an agent has for a role, within the role's limits; none if there is nothing.
    fn bundle(&self, visit: &mut Visit, role: Key<Role>) -> Option<Rc<Bundle>> {
        let (agent, role) = (self.agents.get(visit.agent)?, self.roles.get(role)?);
        let limits = &role.quota.limits;
        let same_for_all = limits.is_empty() && agent.available().iter().all(|r| r.is_unreserved());
        if let Some(common) = visit.common.as_ref().filter(|_| same_for_all) {
            return Some(common.clone());
        }
        let mut resources = agent.available().allocatable_to(&role.path);
        if !visit.offered_shared.is_empty() {
            resources -= &visit.offered_shared;
        }
        if resources.is_empty() {
            return None;
        }
        if !limits.is_empty() {
            let rest = limits.minus(&role.consumed());
            let limited = resources.filter(counts_for_quota).shrink_to_limits(&rest);
            resources = resources.filter(|resource| !counts_for_quota(resource)) + limited;
        }
        let bundle = Rc::new(Bundle {
            special: resources.iter().any(|resource| {
                resource.is_shared()
                    || resource.is_revocable()
                    || resource.has_refined_reservations()
            }),
            enough: is_enough(&resources, &self.options.min_allocatable_resources),
            resources,
            compared: Cell::new((std::ptr::null(), false)),
        });
        if same_for_all {
            visit.common = Some(bundle.clone());
        }
        Some(bundle)
    }

    /// What of a bundle is to be offered to a framework, if anything.
    fn offer<'a>(
        &self,
        agent_key: Key<Agent>,
        role_key: Key<Role>,
        framework_key: Key<Framework>,
        bundle: &'a Bundle,
    ) -> Option<Cow<'a, Resources>> {
        let agent = self.agents.get(agent_key)?;
        let role = self.roles.get(role_key)?;
        let framework = self.frameworks.get(framework_key)?;
        if !self.may_see(framework, agent, &role.path) {
            return None;
        }
        let offer = if bundle.special {
            let capabilities = framework.capabilities;
            Cow::Owned(
                bundle
                    .resources
                    .filter(|resource| capabilities.can_take(resource)),
            )
        } else {
            Cow::Borrowed(&bundle.resources)
        };
        let enough = match framework.min_allocatable.get(&*role.path) {
            Some(minimum) => is_enough(&offer, minimum),
            None if bundle.special => is_enough(&offer, &self.options.min_allocatable_resources),
            None => bundle.enough,
        };
        let on_agent = self.filters.on(agent_key);
        let refused = on_agent.map(|on_agent| on_agent.refused(framework_key, role_key));
        let blocked = enough
            && refused
                .into_iter()
                .flatten()
                .any(|refused| bundle.is_refused(&offer, refused));
        (enough && !blocked).then_some(offer)
    }

    /// Whether a framework may be offered an agent in a role at all.
    fn may_see(&self, framework: &Framework, agent: &Agent, role: &str) -> bool {
        let capabilities = framework.capabilities;
        let hides_gpus =
            self.options.filter_gpu_resources && agent.has_gpus() && !capabilities.gpu_resources;
        let elsewhere = agent.region.is_some() && agent.region != self.options.region;
        !hides_gpus
            && (capabilities.region_aware || !elsewhere)
            && (agent.capabilities.multi_role || !capabilities.multi_role)
            && (agent.capabilities.hierarchical_role || !role.contains('/'))
            && !framework.constraints.exclude(role, agent)
    }

    /// Charges a framework for what it is offered, and notes the offer.
    fn hand_out(
        &mut self,
        agent: Key<Agent>,
        role: Key<Role>,
        framework: Key<Framework>,
        mut offer: Resources,
        hand_outs: &mut HandOuts,
    ) -> Resources {
        let path = self.roles.get(role).map(|role| role.path.clone());
        let framework_id = self.frameworks.id(framework).cloned();
        let agent_id = self.agents.id(agent).cloned();
        let (Some(path), Some(framework_id), Some(agent_id)) = (path, framework_id, agent_id)
        else {
            return Resources::new();
        };
        offer.allocate(path.clone());
        self.give(agent, framework, role, &offer);
        let allocation = hand_outs
            .entry(framework_id)
            .or_insert_with_key(|framework| Allocation {
                framework: framework.clone(),
                resources: BTreeMap::new(),
            });
        let in_role = allocation.resources.entry(path.to_string()).or_default();
        *in_role.entry(agent_id).or_default() += &offer;
        offer
    }
}

/// Whether a resource counts against quota when it is held: reservations count in any case.
fn counts_for_quota(resource: &Resource) -> bool {
    resource.as_scalar().is_some() && resource.is_unreserved() && !resource.is_revocable()
}

/// Whether a bundle contains one of several minimums, if there are any.
fn is_enough(resources: &Resources, minimums: &[ResourceQuantities]) -> bool {
    !resources.is_empty()
        && (minimums.is_empty()
            || minimums
                .iter()
                .any(|minimum| resources.contains_quantities(minimum)))
}

fn unallocated_shared(resources: &Resources) -> Resources {
    let mut shared = resources.shared();
    shared.unallocate();
    shared
}
