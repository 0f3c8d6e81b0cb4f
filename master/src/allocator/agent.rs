//! Agents as the allocator sees them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mesos::attributes::Attributes;
use mesos::proto;
use mesos::resources::{Resource, ResourceQuantities, Resources, Scalar};
use proto::slave_info::capability::Type as Capability;

use super::framework::Framework;
use super::lots::hash;
use super::maintenance::Maintenance;
use super::news::Standing;
use super::quota::Sum;
use super::role_tree::Role;
use super::slots::Key;
use super::{AgentId, FrameworkId};

/// The capabilities of an agent that matter for offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentCapabilities {
    /// It knows allocation roles.
    pub multi_role: bool,
    /// It knows roles with `/`.
    pub hierarchical_role: bool,
}

impl AgentCapabilities {
    /// Reads the capabilities that an agent announces.
    pub fn of<'a>(
        capabilities: impl IntoIterator<Item = &'a proto::slave_info::Capability>,
    ) -> AgentCapabilities {
        let mut result = AgentCapabilities::default();
        for capability in capabilities {
            match capability.r#type() {
                Capability::MultiRole => result.multi_role = true,
                Capability::HierarchicalRole => result.hierarchical_role = true,
                _ => {}
            }
        }
        result
    }
}

/// The description of an agent as far as it matters for offers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Description {
    pub(super) hostname: String,
    pub(super) attributes: Attributes,
    pub(super) region: Option<String>,
    pub(super) zone: Option<String>,
}

impl Description {
    /// Attributes that cannot be understood match no constraint and are left out.
    pub(super) fn of(info: &proto::SlaveInfo) -> Description {
        let fault_domain = info
            .domain
            .as_ref()
            .and_then(|domain| domain.fault_domain.as_ref());
        Description {
            hostname: info.hostname.clone(),
            attributes: Attributes::from_valid_protos(&info.attributes),
            region: fault_domain.map(|domain| domain.region.name.clone()),
            zone: fault_domain.map(|domain| domain.zone.name.clone()),
        }
    }
}

/// Up to so many frameworks on an agent there is no room for more.
const HOLDINGS_FEW: usize = 4;

/// What frameworks hold that are not known.
pub(super) type Unclaimed = BTreeMap<FrameworkId, Box<Resources>>;

/// What one framework holds on an agent; the resources carry their allocation roles.
pub(super) struct Holding {
    pub(super) framework: FrameworkId,
    pub(super) held: Resources,
    /// The part of `held` that is only offered rather than in use; none if nothing is. Mostly all
    /// is in use, or all is offered.
    offered: Option<Box<Resources>>,
}

impl Holding {
    /// What is in use.
    pub(super) fn in_use(&self) -> Cow<'_, Resources> {
        match &self.offered {
            None => Cow::Borrowed(&self.held),
            Some(offered) => Cow::Owned(&self.held - &**offered),
        }
    }

    fn set_in_use(&mut self, in_use: &Resources) {
        let offered = &self.held - in_use;
        self.offered = (!offered.is_empty()).then(|| Box::new(offered));
    }

    /// Makes something that is held offered rather than in use.
    fn offer(&mut self, resources: &Resources) {
        match &mut self.offered {
            Some(offered) => **offered += resources,
            None => self.offered = Some(Box::new(resources.clone())),
        }
    }

    /// Takes something out of what is only offered, if it is there.
    fn take_offered(&mut self, resources: &Resources) -> bool {
        let Some(offered) = self.offered.as_mut().filter(|o| o.contains(resources)) else {
            return false;
        };
        **offered -= resources;
        if offered.is_empty() {
            self.offered = None;
        }
        true
    }

    fn give(&mut self, resources: &Resources) {
        self.held += resources;
        self.offer(resources);
    }

    /// Exchanges something that is held. What is in use but not held any more is returned.
    fn exchange(&mut self, before: &Resources, after: &Resources) -> Resources {
        let mut ended = Resources::new();
        if self.take_offered(before) {
            self.held -= before;
            if !after.is_empty() {
                self.give(after);
            }
        } else {
            let mut in_use = self.in_use().into_owned();
            self.held = &self.held - before + after;
            if !self.held.contains(&in_use) {
                ended = &in_use - &self.held;
                in_use -= &ended;
            }
            self.set_in_use(&in_use);
        }
        ended
    }
}

/// An agent, what it has and who holds it.
pub(super) struct Agent {
    pub(super) hostname: String,
    pub(super) attributes: Attributes,
    pub(super) region: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) capabilities: AgentCapabilities,
    /// Whether it is to be offered.
    pub(super) active: bool,
    /// Everything it has, not allocated to anyone.
    total: Resources,
    /// What is offered or allocated, by framework.
    holdings: Vec<Holding>,
    /// What frameworks hold that are not known yet: agents come back from a failover of the master
    /// before the schedulers do.
    unclaimed: Unclaimed,
    /// `total` without what is held, but with all shared resources.
    available: Resources,
    /// Whether more is held than there is, or the same ports by several frameworks, so that what
    /// comes back is not all available.
    overcommitted: bool,
    has_gpus: bool,
    has_revocable: bool,
    /// Decides when it is its turn in a run.
    pub(super) order: u64,
    /// Whether anyone could take what is available of it.
    pub(super) standing: Standing,
    /// Who was handed something of it last, and in which run.
    pub(super) taker: Option<(u64, Key<Framework>, Key<Role>)>,
    /// Which shared volumes were offered last, and in which run.
    pub(super) shared_in: Option<Box<(u64, Resources)>>,
    /// When it will not be there, and what frameworks say to that.
    pub(super) maintenance: Option<Box<Maintenance>>,
}

impl Agent {
    pub(super) fn new(
        id: &AgentId,
        description: Description,
        capabilities: AgentCapabilities,
        total: Resources,
        used: BTreeMap<FrameworkId, Resources>,
    ) -> Agent {
        let mut agent = Agent {
            hostname: String::new(),
            attributes: Attributes::default(),
            region: None,
            zone: None,
            capabilities,
            active: true,
            total,
            holdings: Vec::new(),
            unclaimed: used
                .into_iter()
                .map(|(id, used)| (id, Box::new(used)))
                .collect(),
            available: Resources::new(),
            overcommitted: false,
            has_gpus: false,
            has_revocable: false,
            order: hash(id.as_str()),
            standing: Standing::default(),
            taker: None,
            shared_in: None,
            maintenance: None,
        };
        agent.unclaimed.retain(|_, resources| !resources.is_empty());
        agent.describe(description);
        agent.recompute();
        agent
    }

    pub(super) fn describe(&mut self, description: Description) {
        self.hostname = description.hostname;
        self.attributes = description.attributes;
        self.region = description.region;
        self.zone = description.zone;
    }

    pub(super) fn description(&self) -> Description {
        Description {
            hostname: self.hostname.clone(),
            attributes: self.attributes.clone(),
            region: self.region.clone(),
            zone: self.zone.clone(),
        }
    }

    pub(super) fn total(&self) -> &Resources {
        &self.total
    }

    pub(super) fn available(&self) -> &Resources {
        &self.available
    }

    /// What frameworks hold, by ascending id.
    pub(super) fn holdings(&self) -> &[Holding] {
        &self.holdings
    }

    pub(super) fn holders(&self) -> Vec<FrameworkId> {
        let holdings = self.holdings.iter();
        holdings.map(|holding| holding.framework.clone()).collect()
    }

    fn place_of(&self, framework: &FrameworkId) -> Result<usize, usize> {
        self.holdings
            .binary_search_by(|holding| holding.framework.cmp(framework))
    }

    fn holding(&self, framework: &FrameworkId) -> Option<&Holding> {
        self.holdings.get(self.place_of(framework).ok()?)
    }

    fn holding_mut(&mut self, framework: &FrameworkId) -> Option<&mut Holding> {
        let place = self.place_of(framework).ok()?;
        self.holdings.get_mut(place)
    }

    pub(super) fn held_by(&self, framework: &FrameworkId) -> Option<&Resources> {
        self.holding(framework).map(|holding| &holding.held)
    }

    /// Whether a framework holds a shared resource beside some of what it holds, and whether it or
    /// any other one does.
    pub(super) fn shares(
        &self,
        framework: &FrameworkId,
        shared: &Resource,
        beside: &Resources,
    ) -> (bool, bool) {
        let own = self.held_by(framework).map_or(0, |held| held.count(shared));
        let by_framework = own > beside.count(shared);
        let mut others = self.holdings.iter().filter(|h| h.framework != *framework);
        let by_all = by_framework || others.any(|other| other.held.count(shared) > 0);
        (by_framework, by_all)
    }

    /// Whether a framework holds anything that is allocated to `role`.
    pub(super) fn holds(&self, framework: &FrameworkId, role: &str) -> bool {
        self.held_by(framework).is_some_and(|held| {
            held.iter()
                .any(|resource| resource.allocation_role() == Some(role))
        })
    }

    /// How much of a scalar is held by all frameworks. What they share counts once.
    pub(super) fn held_amount(&self, name: &str) -> Scalar {
        let held = || self.holdings.iter().map(|holding| &holding.held);
        if held().flatten().any(Resource::is_shared) {
            let sum: Resources = held().sum();
            return sum.get_scalar(name).unwrap_or(Scalar::ZERO);
        }
        held().filter_map(|held| held.get_scalar(name)).sum()
    }

    pub(super) fn has_gpus(&self) -> bool {
        self.has_gpus
    }

    /// The amounts that are available and may be taken back at any time; none if nothing may be.
    fn available_revocable(&self) -> Option<ResourceQuantities> {
        let revocable = || self.available.iter().filter(|r| r.is_revocable());
        self.has_revocable
            .then(|| ResourceQuantities::of_scalars(revocable()))
    }

    /// Changes an agent, and with it the sum of what is available and revocable of all agents.
    pub(super) fn change<R>(
        &mut self,
        revocable: &mut Sum,
        change: impl FnOnce(&mut Agent) -> R,
    ) -> R {
        self.uncount_revocable(revocable);
        let result = change(self);
        self.count_revocable(revocable);
        result
    }

    /// Adds what is available and revocable to a sum.
    pub(super) fn count_revocable(&self, sum: &mut Sum) {
        if let Some(amounts) = self.available_revocable() {
            sum.add(&amounts);
        }
    }

    /// Takes what is available and revocable out of a sum.
    pub(super) fn uncount_revocable(&self, sum: &mut Sum) {
        if let Some(amounts) = self.available_revocable() {
            sum.subtract(&amounts);
        }
    }

    /// What frameworks hold that are not known yet.
    pub(super) fn unclaimed(&self) -> &Unclaimed {
        &self.unclaimed
    }

    pub(super) fn set_total(&mut self, total: Resources) {
        self.total = total;
        self.recompute();
    }

    /// Gives resources, allocated to a role, to a framework.
    pub(super) fn give(&mut self, framework: &FrameworkId, resources: &Resources) {
        if resources.is_empty() {
            return;
        }
        let place = self.place_of(framework).unwrap_or_else(|place| {
            // Most agents have few frameworks.
            if self.holdings.len() < HOLDINGS_FEW {
                self.holdings.reserve_exact(1);
            }
            let holding = Holding {
                framework: framework.clone(),
                held: Resources::new(),
                offered: None,
            };
            self.holdings.insert(place, holding);
            place
        });
        if let Some(holding) = self.holdings.get_mut(place) {
            holding.give(resources);
        }
        self.make_unavailable(resources);
    }

    /// Takes resources, allocated to a role, back from a framework that holds them. Returns what
    /// of them was in use.
    pub(super) fn take(&mut self, framework: &FrameworkId, resources: &Resources) -> Resources {
        self.exchange(framework, resources, &Resources::new())
    }

    /// Exchanges resources, allocated to a role, that a framework holds. Returns what was in use
    /// and is not held any more.
    pub(super) fn exchange(
        &mut self,
        framework: &FrameworkId,
        before: &Resources,
        after: &Resources,
    ) -> Resources {
        let Ok(place) = self.place_of(framework) else {
            return Resources::new();
        };
        let Some(holding) = self.holdings.get_mut(place) else {
            return Resources::new();
        };
        let ended = holding.exchange(before, after);
        if holding.held.is_empty() {
            self.holdings.remove(place);
            if self.holdings.is_empty() {
                self.holdings = Vec::new();
            }
        }
        if self.overcommitted {
            self.recompute();
        } else {
            self.available += unallocated_non_shared(before);
            self.make_unavailable(after);
        }
        ended
    }

    fn make_unavailable(&mut self, resources: &Resources) {
        if resources.is_empty() {
            return;
        }
        let taken = unallocated_non_shared(resources);
        if self.available.contains(&taken) {
            self.available -= &taken;
        } else {
            self.recompute();
        }
    }

    /// Whether a framework holds so much beside what it uses already.
    pub(super) fn is_offered(&self, framework: &FrameworkId, resources: &Resources) -> bool {
        let holding = self.holding(framework);
        let offered = holding.is_some_and(|holding| {
            let in_use = holding.in_use().into_owned();
            holding.held.contains(&(in_use + resources))
        });
        offered || resources.is_empty()
    }

    /// Notes that a framework uses resources that it holds.
    pub(super) fn start_use(&mut self, framework: &FrameworkId, resources: &Resources) {
        if let Some(holding) = self.holding_mut(framework)
            && !holding.take_offered(resources)
        {
            let in_use = holding.in_use().into_owned() + resources;
            holding.set_in_use(&in_use);
        }
    }

    /// Notes that a framework does not use resources any more. Returns what it did use of them.
    pub(super) fn end_use(&mut self, framework: &FrameworkId, resources: &Resources) -> Resources {
        let Some(holding) = self.holding_mut(framework) else {
            return Resources::new();
        };
        let in_use = holding.in_use();
        let ended = if in_use.contains(resources) {
            resources.clone()
        } else {
            let rest = &*in_use - resources;
            &*in_use - &rest
        };
        if !ended.is_empty() {
            holding.offer(&ended);
        }
        ended
    }

    /// Adds what a framework holds that is not known yet.
    pub(super) fn add_unclaimed(&mut self, framework: &FrameworkId, resources: &Resources) {
        let unclaimed = self.unclaimed.entry(framework.clone()).or_default();
        **unclaimed += resources;
        self.recompute();
    }

    /// Hands over what a framework holds that has become known. Until given to it, it is
    /// available.
    pub(super) fn claim(&mut self, framework: &FrameworkId) -> Option<Resources> {
        let claimed = self.unclaimed.remove(framework)?;
        self.recompute();
        Some(*claimed)
    }

    /// Takes back what a framework holds that is not known yet.
    pub(super) fn take_unclaimed(&mut self, framework: &FrameworkId, resources: &Resources) {
        if let Some(unclaimed) = self.unclaimed.get_mut(framework) {
            **unclaimed -= resources;
            if unclaimed.is_empty() {
                self.unclaimed.remove(framework);
            }
            self.recompute();
        }
    }

    fn recompute(&mut self) {
        let held = self.unavailable();
        let total = self.total.non_shared();
        self.overcommitted = !total.contains(&held) || self.has_overlaps();
        self.available = total - held + self.total.shared();
        self.has_gpus = self.total.get_scalar("gpus").is_some();
        self.has_revocable = self.total.iter().any(Resource::is_revocable);
    }

    fn unavailable(&self) -> Resources {
        self.all_held().map(unallocated_non_shared).sum()
    }

    /// Whether several frameworks hold the same ports or items of a set.
    fn has_overlaps(&self) -> bool {
        let mut sum = Resources::new();
        self.all_held().any(|held| {
            let items = held.filter(|resource| resource.as_scalar().is_none());
            let items = unallocated_non_shared(&items);
            let before = std::mem::take(&mut sum);
            sum = &before + &items;
            !(&sum - &items).contains(&before)
        })
    }

    /// What each framework holds, whether it is known or not.
    fn all_held(&self) -> impl Iterator<Item = &Resources> {
        let held = self.holdings.iter().map(|holding| &holding.held);
        held.chain(self.unclaimed.values().map(Box::as_ref))
    }

    /// What would be available if it were computed anew.
    pub(super) fn expected_available(&self) -> Resources {
        self.total.non_shared() - self.unavailable() + self.total.shared()
    }
}

fn unallocated_non_shared(resources: &Resources) -> Resources {
    let mut result = if resources.iter().any(Resource::is_shared) {
        resources.non_shared()
    } else {
        resources.clone()
    };
    result.unallocate();
    result
}
