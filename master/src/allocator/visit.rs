//! One agent in a run: what of it a framework may be offered.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use mesos::resources::{Resource, ResourceQuantities, Resources};

use super::agent::Agent;
use super::core::Allocator;
use super::filters::AgentFilters;
use super::framework::Framework;
use super::lots::{mix, shuffle};
use super::quota::Headroom;
use super::role_tree::Role;
use super::run::counts_for_quota;
use super::slots::Key;

/// The stages of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Roles get what they are guaranteed.
    Guarantees = 1,
    /// What is left goes to all roles.
    FairShare = 2,
}

/// What one agent has for the frameworks of one role.
pub(super) struct Bundle {
    /// Everything that may be offered to a framework that can deal with all of it.
    pub(super) resources: Resources,
    /// Which of it counts as guaranteed.
    pub(super) guaranteed: ResourceQuantities,
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

/// One agent in one stage of a run.
pub(super) struct Visit {
    pub(super) agent: Key<Agent>,
    pub(super) stage: Stage,
    /// What decides about the agent where chance does.
    pub(super) order: u64,
    run: u64,
    /// A shared volume is available even while in use, but offered once in a run.
    offered_shared: Resources,
    /// The bundle for every role that has no limits, if nothing on the agent is reserved; until
    /// something is handed out.
    common: Option<Rc<Bundle>>,
    /// Whether headroom was in the way.
    pub(super) limited: bool,
    /// Whether a run may come to another result although nothing has changed.
    pub(super) differs_next_time: bool,
}

impl Visit {
    pub(super) fn new(key: Key<Agent>, agent: &Agent, run: u64) -> Visit {
        let offered = agent.shared_in.as_ref().filter(|offered| offered.0 == run);
        let offered_shared = offered.map_or_else(Resources::new, |offered| offered.1.clone());
        Visit {
            agent: key,
            stage: Stage::FairShare,
            order: agent.order,
            run,
            differs_next_time: !offered_shared.is_empty(),
            offered_shared,
            common: None,
            limited: false,
        }
    }

    /// The shared volumes that were offered to someone in this run.
    pub(super) fn offered_shared(&self) -> &Resources {
        &self.offered_shared
    }

    /// Notes what was offered.
    pub(super) fn note_offer(&mut self, offer: &Resources) {
        self.common = None;
        if offer.iter().any(Resource::is_shared) {
            let mut shared = offer.shared();
            shared.unallocate();
            self.offered_shared += shared;
            self.differs_next_time = true;
        }
    }

    /// The part of a bundle that fits. Where entries of the same name compete, chance decides, so
    /// that not always the same ones are left.
    fn cut(&mut self, resources: Resources, fit: impl Fn(&Resources) -> Resources) -> Resources {
        let names = resources.names().len();
        if names == resources.len() {
            return fit(&resources);
        }
        let mut entries: Vec<Resource> = resources.clone().into_iter().collect();
        entries.sort_by_cached_key(ToString::to_string);
        shuffle(
            &mut entries,
            mix(mix(self.run, self.order), self.stage as u64),
        );
        let cut = fit(&entries.into_iter().collect());
        self.differs_next_time |= cut != resources;
        cut
    }
}

impl Allocator {
    /// What an agent has for a role in a stage of a run; none if there is nothing.
    pub(super) fn bundle(
        &self,
        visit: &mut Visit,
        role: Key<Role>,
        headroom: &Headroom,
    ) -> Option<Rc<Bundle>> {
        let (agent, role) = (self.agents.get(visit.agent)?, self.roles.get(role)?);
        let same_for_all = visit.stage == Stage::FairShare
            && !role.is_limited()
            && agent.available().iter().all(Resource::is_unreserved);
        if let Some(common) = visit.common.as_ref().filter(|_| same_for_all) {
            return Some(common.clone());
        }
        if !has_something(visit, agent, role, headroom) {
            return None;
        }
        let mut resources = agent.available().allocatable_to(&role.path);
        if !visit.offered_shared.is_empty() {
            resources -= &visit.offered_shared;
        }
        let (resources, guaranteed) = match visit.stage {
            Stage::Guarantees => self.guaranteed_part(visit, role, resources, headroom)?,
            Stage::FairShare => {
                let part = fair_part(visit, role, resources, headroom);
                (part, ResourceQuantities::new())
            }
        };
        if resources.is_empty() {
            return None;
        }
        let bundle = Rc::new(Bundle {
            special: resources.iter().any(|resource| {
                resource.is_shared()
                    || resource.is_revocable()
                    || resource.has_refined_reservations()
            }),
            enough: is_enough(&resources, &self.options.min_allocatable_resources),
            resources,
            guaranteed,
            compared: Cell::new((std::ptr::null(), false)),
        });
        if same_for_all {
            visit.common = Some(bundle.clone());
        }
        Some(bundle)
    }

    /// Whether an agent may have anything for a role: much cheaper than to find out what.
    pub(super) fn may_have_something(
        &self,
        visit: &mut Visit,
        role: Key<Role>,
        headroom: &Headroom,
    ) -> bool {
        if visit.common.is_some() && headroom.margin().is_none() {
            return true;
        }
        let found = self.agents.get(visit.agent).zip(self.roles.get(role));
        found.is_some_and(|(agent, role)| has_something(visit, agent, role, headroom))
    }

    /// Whether any framework may be offered something of what is left of an agent, as far as the
    /// least goes that is worth an offer, and in the second stage the headroom.
    pub(super) fn is_worth_offering(&self, visit: &mut Visit, headroom: &Headroom) -> bool {
        let Some(agent) = self.agents.get(visit.agent) else {
            return false;
        };
        let minimums = &self.options.min_allocatable_resources;
        let available = agent.available();
        if self.own_minimums > 0 {
            return !available.is_empty();
        }
        if !is_enough(available, minimums) {
            return false;
        }
        let Some(margin) = headroom
            .margin()
            .filter(|_| visit.stage == Stage::FairShare)
        else {
            return true;
        };
        let counted =
            ResourceQuantities::of_scalars(available.iter().filter(|r| counts_for_quota(r)));
        if margin.contains(&counted) {
            return true;
        }
        visit.limited = true;
        let mut most = available.quantities();
        most -= &(&counted - margin);
        minimums.iter().any(|minimum| most.contains(minimum))
            || minimums.is_empty() && !most.is_empty()
    }

    /// What a role is guaranteed of the resources that it may use, with everything that goes along
    /// with it; none if nothing of it is guaranteed.
    fn guaranteed_part(
        &self,
        visit: &mut Visit,
        role: &Role,
        resources: Resources,
        headroom: &Headroom,
    ) -> Option<(Resources, ResourceQuantities)> {
        let account = role.quota.as_ref()?;
        let counted = resources.filter(counts_for_quota);
        let part = visit.cut(counted.clone(), |counted| {
            counted.shrink_to_quantities(&account.unsatisfied)
        });
        if part.is_empty() {
            return None;
        }
        let guaranteed = part.quantities();
        let mut extra = counted - &part;
        if !account.quota.limits.is_empty() {
            let rest = account.rest.minus(&guaranteed);
            extra = visit.cut(extra, |extra| extra.shrink_to_limits(&rest));
        }
        let extra = within_headroom(visit, extra, headroom);
        let others = resources.filter(|resource| !counts_for_quota(resource));
        Some((others + part + extra, guaranteed))
    }

    /// What of a bundle is to be offered to a framework, if anything.
    pub(super) fn offer<'a>(
        &self,
        agent_key: Key<Agent>,
        role_key: Key<Role>,
        framework_key: Key<Framework>,
        bundle: &'a Bundle,
    ) -> Option<Cow<'a, Resources>> {
        let agent = self.agents.get(agent_key)?;
        let role = self.roles.get(role_key)?;
        let framework = self.frameworks.get(framework_key)?;
        if self.obstacle(framework, agent, &role.path).is_some() {
            return None;
        }
        let offer = if bundle.special {
            let capabilities = framework.capabilities;
            let part = |resource: &Resource| capabilities.can_take(resource);
            Cow::Owned(bundle.resources.filter(part))
        } else {
            Cow::Borrowed(&bundle.resources)
        };
        let enough = match framework.min_allocatable.get(&*role.path) {
            Some(minimum) => is_enough(&offer, minimum),
            None if bundle.special => is_enough(&offer, &self.options.min_allocatable_resources),
            None => bundle.enough,
        };
        if !enough {
            return None;
        }
        let refused = self
            .filters
            .on(agent_key)
            .is_some_and(|on_agent: &AgentFilters| {
                self.filters
                    .client(framework_key, role_key)
                    .is_some_and(|client| {
                        let mut refused = on_agent.refused(client);
                        refused.any(|refused| bundle.is_refused(&offer, refused))
                    })
            });
        (!refused).then_some(offer)
    }

    /// Why a framework must not see an agent in a role at all, if it must not.
    pub(super) fn obstacle(
        &self,
        framework: &Framework,
        agent: &Agent,
        role: &str,
    ) -> Option<Obstacle> {
        let capabilities = framework.capabilities;
        let elsewhere = agent.region.is_some() && agent.region != self.options.region;
        if self.options.filter_gpu_resources && agent.has_gpus() && !capabilities.gpu_resources {
            Some(Obstacle::Gpus)
        } else if elsewhere && !capabilities.region_aware {
            Some(Obstacle::Region)
        } else if capabilities.multi_role && !agent.capabilities.multi_role {
            Some(Obstacle::AgentMultiRole)
        } else if !agent.capabilities.hierarchical_role && role.contains('/') {
            Some(Obstacle::AgentHierarchicalRole)
        } else if framework.constraints.exclude(role, agent) {
            Some(Obstacle::Constraints)
        } else {
            None
        }
    }
}

/// Why a framework must not see an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The agent has GPUs.
    Gpus,
    /// The agent is in another region.
    Region,
    /// The agent does not know allocation roles.
    AgentMultiRole,
    /// The agent does not know roles with `/`.
    AgentHierarchicalRole,
    /// The framework's own constraints.
    Constraints,
}

fn has_something(visit: &mut Visit, agent: &Agent, role: &Role, headroom: &Headroom) -> bool {
    let account = role.quota.as_deref();
    let guarantees = visit.stage == Stage::Guarantees;
    if guarantees && account.is_none_or(|account| account.unsatisfied.is_empty()) {
        return false;
    }
    let mut something = false;
    for resource in agent.available() {
        let name = resource.name().as_str();
        if !counts_for_quota(resource) {
            something |= !guarantees && resource.is_allocatable_to(&role.path);
        } else if guarantees {
            let unsatisfied = account.map(|account| account.unsatisfied.get(name));
            something |= unsatisfied.is_some_and(|amount| amount.is_positive());
        } else if headroom
            .margin()
            .is_some_and(|margin| margin.get(name).is_zero())
        {
            visit.limited = true;
        } else {
            let rest = account.and_then(|account| account.rest.get(name));
            something |= rest.is_none_or(|rest| rest.is_positive());
        }
    }
    something
}

/// What quota and headroom leave to a role of the resources that it may use.
fn fair_part(
    visit: &mut Visit,
    role: &Role,
    resources: Resources,
    headroom: &Headroom,
) -> Resources {
    let limits = role.quota.as_ref().filter(|_| role.is_limited());
    if limits.is_none() && headroom.margin().is_none() {
        return resources;
    }
    let mut counted = resources.filter(counts_for_quota);
    if let Some(account) = limits {
        counted = visit.cut(counted, |counted| counted.shrink_to_limits(&account.rest));
    }
    let counted = within_headroom(visit, counted, headroom);
    resources.filter(|resource| !counts_for_quota(resource)) + counted
}

fn within_headroom(visit: &mut Visit, resources: Resources, headroom: &Headroom) -> Resources {
    let Some(margin) = headroom.margin() else {
        return resources;
    };
    if margin.contains(&resources.quantities()) {
        return resources;
    }
    visit.limited = true;
    visit.cut(resources, |resources| {
        resources.shrink_to_quantities(margin)
    })
}

/// Whether a bundle contains one of several minimums, if there are any.
pub(super) fn is_enough(resources: &Resources, minimums: &[ResourceQuantities]) -> bool {
    !resources.is_empty()
        && (minimums.is_empty()
            || minimums
                .iter()
                .any(|minimum| resources.contains_quantities(minimum)))
}
