//! The allocator once more, as plainly as possible, to compare the real one with.
//!
//! Written from the description of the algorithm alone. It keeps facts (who is registered, who
//! holds what, what was refused) and derives everything else from scratch whenever it is needed:
//! shares, consumption of quota, headroom, what is available. Nothing is cached, nothing is fast.
//! Only two things are state beside facts, since the description makes them so: how often a client
//! was handed something, and the order of registration.

mod choices;
mod events;
mod maintenance;
mod order;
pub(super) mod rules;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos::proto;
use mesos::resources::{Resource, ResourceQuantities, Resources};

pub(super) use order::Policy;
pub(super) use run::{HandedOut, InverseOffers};

use super::{AgentCapabilities, AgentId, FrameworkId, Options, Quota};
use maintenance::{InverseFilter, Maintenance};
use order::HandOutCounts;

/// Whether an event was accepted; if not, why, and nothing has changed.
pub(super) type Answer = Result<(), &'static str>;

#[derive(Default)]
pub(super) struct Framework {
    pub(super) info: proto::FrameworkInfo,
    pub(super) suppressed: BTreeSet<String>,
    pub(super) constraints: Option<proto::scheduler::OfferConstraints>,
    pub(super) active: bool,
    /// When it came: smaller numbers came first.
    pub(super) registered: u64,
    /// What it asked for, and what it was offered since without what it returned unused.
    pub(super) asked: ResourceQuantities,
    pub(super) granted: ResourceQuantities,
}

impl Framework {
    /// `roles` with MULTI_ROLE, else the one `role`, by default `*`.
    pub(super) fn roles(&self) -> BTreeSet<String> {
        rules::roles_of(&self.info)
    }

    pub(super) fn demand(&self) -> ResourceQuantities {
        &self.asked - &self.granted
    }

    pub(super) fn wants_offers(&self, role: &str) -> bool {
        self.active && self.roles().contains(role) && !self.suppressed.contains(role)
    }
}

pub(super) struct Agent {
    pub(super) info: proto::SlaveInfo,
    pub(super) capabilities: AgentCapabilities,
    pub(super) active: bool,
    pub(super) total: Resources,
    /// What known frameworks hold, offered or in use, with allocation roles.
    pub(super) held: BTreeMap<FrameworkId, Resources>,
    /// The part of `held` that is in use.
    pub(super) in_use: BTreeMap<FrameworkId, Resources>,
    /// What frameworks hold that are not known yet.
    pub(super) unclaimed: BTreeMap<FrameworkId, Resources>,
    pub(super) maintenance: Option<Maintenance>,
}

impl Agent {
    /// What is left, and all shared resources.
    pub(super) fn available(&self) -> Resources {
        self.total.non_shared() - self.taken() + self.total.shared()
    }

    fn taken(&self) -> Resources {
        let held = self.held.values().chain(self.unclaimed.values());
        let mut taken: Resources = held.map(Resources::non_shared).sum();
        taken.unallocate();
        taken
    }

    /// Whether more is held than there is, as happens when its total shrinks.
    pub(super) fn is_overcommitted(&self) -> bool {
        !self.total.contains(&self.taken())
    }

    pub(super) fn held_in(&self, framework: &FrameworkId, role: &str) -> Resources {
        let held = self.held.get(framework).cloned().unwrap_or_default();
        held.filter(|resource| resource.allocation_role() == Some(role))
    }
}

/// One refusal.
pub(super) struct Filter {
    pub(super) framework: FrameworkId,
    pub(super) role: String,
    pub(super) agent: AgentId,
    pub(super) refused: Resources,
    pub(super) until: Duration,
    /// How many runs over all agents there had been.
    pub(super) since_run: u64,
}

/// The allocator, slow.
pub(super) struct Reference {
    pub(super) options: Options,
    pub(super) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(super) agents: BTreeMap<AgentId, Agent>,
    pub(super) quotas: BTreeMap<String, Quota>,
    pub(super) weights: BTreeMap<String, f64>,
    pub(super) whitelist: Option<BTreeSet<String>>,
    pub(super) filters: Vec<Filter>,
    pub(super) candidates: BTreeSet<AgentId>,
    /// Whether an event asked for a run over all agents.
    pub(super) all_are_candidates: bool,
    role_policy: Policy,
    framework_policy: Policy,
    inverse_filters: Vec<InverseFilter>,
    counts: HandOutCounts,
    /// When frameworks joined roles.
    joined: BTreeMap<(String, FrameworkId), u64>,
    next_registered: u64,
    pauses: u32,
    /// How many agents are expected after a failover, and since when the wait has a deadline.
    recovery: Option<(usize, Option<Duration>)>,
    full_runs: u64,
    runs: u64,
}

impl Reference {
    /// `role_policy` and `framework_policy` say what the sorters of the options are.
    pub(super) fn new(
        options: Options,
        role_policy: Policy,
        framework_policy: Policy,
    ) -> Reference {
        Reference {
            options,
            role_policy,
            framework_policy,
            all_are_candidates: false,
            inverse_filters: Vec::new(),
            joined: BTreeMap::new(),
            next_registered: 1 << 32,
            runs: 0,
            frameworks: BTreeMap::new(),
            agents: BTreeMap::new(),
            quotas: BTreeMap::new(),
            weights: BTreeMap::new(),
            whitelist: None,
            filters: Vec::new(),
            candidates: BTreeSet::new(),
            counts: HandOutCounts::default(),
            pauses: 0,
            recovery: None,
            full_runs: 0,
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pauses > 0 || self.recovery.is_some()
    }

    /// Every role with frameworks, and the frameworks in it.
    pub(super) fn tracked(&self) -> BTreeMap<String, BTreeSet<FrameworkId>> {
        let mut tracked = BTreeMap::<String, BTreeSet<FrameworkId>>::new();
        for (id, framework) in &self.frameworks {
            for role in framework.roles() {
                tracked.entry(role).or_default().insert(id.clone());
            }
        }
        for (id, resource) in self.agents.values().flat_map(|agent| {
            let held = agent.held.iter();
            held.flat_map(|(id, held)| held.iter().map(move |resource| (id, resource)))
        }) {
            if let Some(role) = resource.allocation_role() {
                let role = tracked.entry(role.to_owned()).or_default();
                role.insert(id.clone());
            }
        }
        tracked
    }

    /// The amounts of the whole cluster.
    pub(super) fn total(&self) -> ResourceQuantities {
        let mut total = ResourceQuantities::new();
        for agent in self.agents.values() {
            total += &agent.total.quantities();
        }
        total
    }

    pub(super) fn quota(&self, role: &str) -> Quota {
        self.quotas.get(role).cloned().unwrap_or_default()
    }

    /// What counts against the quota of a role: everything reserved for it or a role below it, in
    /// use or not, and what they hold that is neither reserved nor revocable.
    pub(super) fn consumed(&self, role: &str) -> ResourceQuantities {
        let mut consumed = ResourceQuantities::new();
        for agent in self.agents.values() {
            consumed += &agent.total.reserved_to_subtree(role).quantities();
            for held in agent.held.values() {
                let held = held.filter(|resource| {
                    resource.is_allocated_to_subtree(role) && counts_for_quota(resource)
                });
                consumed += &held.quantities();
            }
        }
        consumed
    }

    /// What is reserved for a role, or in use without being reserved: shown as consumed.
    pub(super) fn allocated(&self, role: &str) -> ResourceQuantities {
        let mut allocated = ResourceQuantities::new();
        for agent in self.agents.values() {
            allocated += &agent.total.reserved_to_subtree(role).quantities();
            for in_use in agent.in_use.values() {
                let in_use = in_use.filter(|resource| {
                    resource.is_allocated_to_subtree(role) && counts_for_quota(resource)
                });
                allocated += &in_use.quantities();
            }
        }
        allocated
    }

    /// What guarantees still need.
    pub(super) fn required_headroom(&self) -> ResourceQuantities {
        let mut required = ResourceQuantities::new();
        for (role, quota) in &self.quotas {
            required += &(&quota.guarantees - &self.consumed(role));
        }
        required
    }

    /// What is there to meet guarantees, on agents of all kinds: neither held, nor reserved, nor
    /// revocable.
    pub(super) fn available_headroom(&self) -> ResourceQuantities {
        let (mut held, mut reserved) = (ResourceQuantities::new(), ResourceQuantities::new());
        let (mut held_reserved, mut revocable) = (held.clone(), held.clone());
        for agent in self.agents.values() {
            let all: Resources = agent.held.values().sum();
            held += &all.quantities();
            held_reserved += &all.reserved(None).quantities();
            reserved += &agent.total.reserved(None).quantities();
            revocable += &agent.available().revocable().quantities();
        }
        let rest = &(&self.total() - &held) - &(&reserved - &held_reserved);
        &rest - &revocable
    }

    /// How many filters there are in a role.
    pub(super) fn filters_in(&self, role: &str) -> usize {
        self.filters.iter().filter(|f| f.role == role).count()
    }
}

/// Quota regulates unreserved, non-revocable scalars.
pub(super) fn counts_for_quota(resource: &Resource) -> bool {
    resource.as_scalar().is_some() && resource.is_unreserved() && !resource.is_revocable()
}
