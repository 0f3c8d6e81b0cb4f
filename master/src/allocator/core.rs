//! The state of the allocator, and facts about the cluster as a whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mesos::resources::{ResourceQuantities, Resources};

use super::agent::Agent;
use super::filters::FilterTable;
use super::framework::Framework;
use super::maintenance::InverseOffer;
use super::news::News;
use super::quota::{Quota, Sum};
use super::role_tree::{Role, RoleTree, can_have_quota};
use super::slots::{Key, Slots};
use super::sorter::{Capacity, Sorter};
use super::{AgentId, AllocatorError, FrameworkId, Options};

/// What one framework is handed out in a run: resources by role and agent. They carry the role as
/// their allocation.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// The framework.
    pub framework: FrameworkId,
    /// Role, agent, resources.
    pub resources: BTreeMap<String, BTreeMap<AgentId, Resources>>,
}

/// What a run hands out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// What each framework is offered, by ascending id of the framework.
    pub offers: Vec<Allocation>,
    /// Which frameworks are asked to leave which agents.
    pub inverse_offers: Vec<InverseOffer>,
}

impl Round {
    /// Whether nothing is handed out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offers.is_empty() && self.inverse_offers.is_empty()
    }
}

/// Waiting, after a failover of the master, for agents to come back.
pub(super) struct Recovery {
    pub(super) expected_agents: usize,
    /// When to stop waiting; set by the first run, which knows the time.
    pub(super) deadline: Option<Duration>,
}

/// The number of the first framework of this master. Smaller ones are left for those of others.
const FIRST_OWN: u64 = 1 << 32;

/// Which agents the next run is about.
pub(super) enum Candidates {
    Some(BTreeSet<Key<Agent>>),
    All,
}

impl Candidates {
    pub(super) fn contains(&self, agent: Key<Agent>) -> bool {
        match self {
            Candidates::Some(agents) => agents.contains(&agent),
            Candidates::All => true,
        }
    }
}

/// The allocator. See the [module](super).
///
/// Times are durations since any fixed moment, and never go back.
pub struct Allocator {
    pub(super) options: Options,
    pub(super) frameworks: Slots<FrameworkId, Framework>,
    pub(super) agents: Slots<AgentId, Agent>,
    pub(super) roles: RoleTree,
    /// Agents with frameworks on them that are not known yet.
    pub(super) unclaimed: HashMap<FrameworkId, BTreeSet<Key<Agent>>>,
    /// The order of roles that have frameworks.
    pub(super) role_sorter: Sorter<Role>,
    /// Amounts of all agents.
    pub(super) total: ResourceQuantities,
    /// `total` without the names that do not count in shares.
    pub(super) capacity: Capacity,
    /// What is available and revocable of all agents.
    pub(super) revocable: Sum,
    pub(super) filters: FilterTable,
    /// How many frameworks have a minimum of their own.
    pub(super) own_minimums: usize,
    /// Agents that are to be unavailable.
    pub(super) maintained: BTreeSet<Key<Agent>>,
    pub(super) news: News,
    /// The number that the next framework gets that comes without one of its own.
    pub(super) next_registered: u64,
    /// Host names of agents to offer; none offers all.
    whitelist: Option<BTreeSet<String>>,
    /// Agents that events named since the last run.
    pub(super) candidates: Candidates,
    pauses: u32,
    pub(super) recovery: Option<Recovery>,
    /// How many runs there were.
    pub(super) runs: u64,
}

impl Allocator {
    /// An allocator that knows no frameworks and agents.
    #[must_use]
    pub fn new(options: Options) -> Allocator {
        Allocator {
            frameworks: Slots::new(),
            agents: Slots::new(),
            roles: RoleTree::new(options.framework_sorter.clone()),
            unclaimed: HashMap::new(),
            role_sorter: Sorter::hierarchical(options.role_sorter.clone()),
            total: ResourceQuantities::new(),
            capacity: Capacity::default(),
            revocable: Sum::default(),
            filters: FilterTable::default(),
            own_minimums: 0,
            maintained: BTreeSet::new(),
            news: News::default(),
            next_registered: FIRST_OWN,
            whitelist: None,
            candidates: Candidates::Some(BTreeSet::new()),
            pauses: 0,
            recovery: None,
            runs: 0,
            options,
        }
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Starts after a failover of the master, before any agent is added. If there are quotas,
    /// nothing is allocated until a part of the agents is back or a time has passed: what quota
    /// leaves for others cannot be judged before.
    ///
    /// # Errors
    /// A quota is for a role that cannot have one.
    pub fn recover(
        &mut self,
        expected_agents: usize,
        quotas: BTreeMap<String, Quota>,
    ) -> Result<(), AllocatorError> {
        for role in quotas.keys() {
            check_quota_role(role)?;
        }
        if quotas.is_empty() {
            return Ok(());
        }
        for (role, quota) in quotas {
            self.update_quota(&role, quota)?;
        }
        let expected = expected_agents as f64 * self.options.agent_recovery_factor;
        if expected >= 1.0 {
            self.recovery = Some(Recovery {
                expected_agents: expected as usize,
                deadline: None,
            });
        }
        Ok(())
    }

    /// Sets the quota of a role; the default quota removes it. The next run uses it.
    ///
    /// # Errors
    /// The role is not valid, or below another role.
    pub fn update_quota(&mut self, role: &str, quota: Quota) -> Result<(), AllocatorError> {
        check_quota_role(role)?;
        let key = self.roles.get_or_insert(role);
        self.roles.set_quota(key, quota);
        self.note_eager_role(key);
        self.roles.remove_if_unneeded(key);
        Ok(())
    }

    /// Sets the weights of roles, which need not exist yet. The next run uses them.
    ///
    /// # Errors
    /// A role is not valid, or a weight is not a number greater than 0.
    pub fn update_weights<'a>(
        &mut self,
        weights: impl IntoIterator<Item = (&'a str, f64)> + Clone,
    ) -> Result<(), AllocatorError> {
        for (role, weight) in weights.clone() {
            mesos::roles::validate(role)?;
            if !weight.is_finite() || weight <= 0.0 {
                let role = role.to_owned();
                return Err(AllocatorError::Weight { role, weight });
            }
        }
        for (role, weight) in weights {
            let key = self.roles.get_or_insert(role);
            if let Some(node) = self.roles.get_mut(key) {
                node.weight = weight;
            }
            self.role_sorter.set_weight(role, weight);
            self.roles.remove_if_unneeded(key);
        }
        Ok(())
    }

    /// Sets the host names of the agents to offer; none offers all agents.
    pub fn update_whitelist(&mut self, whitelist: Option<BTreeSet<String>>) {
        self.whitelist = whitelist;
    }

    pub(super) fn is_whitelisted(&self, agent: &Agent) -> bool {
        self.whitelist
            .as_ref()
            .is_none_or(|hostnames| hostnames.contains(&agent.hostname))
    }

    /// Holds back runs until resumed as often as paused, so that several facts become visible
    /// together.
    pub fn pause(&mut self) {
        self.pauses += 1;
    }

    /// Allows runs again.
    pub fn resume(&mut self) {
        self.pauses = self.pauses.saturating_sub(1);
    }

    /// Whether runs are held back.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.pauses > 0 || self.recovery.is_some()
    }

    /// Whether an event asks for a run: the actor then calls
    /// [`Allocator::allocate_requested`] after the messages that already wait for it, so that a
    /// burst of events costs one run.
    #[must_use]
    pub fn run_requested(&self) -> bool {
        !matches!(&self.candidates, Candidates::Some(agents) if agents.is_empty())
            && !self.is_paused()
    }

    /// Asks for a run over one agent. While paused this is forgotten; the next full run covers it.
    pub(super) fn request_run(&mut self, agent: Key<Agent>) {
        if !self.is_paused()
            && let Candidates::Some(agents) = &mut self.candidates
        {
            agents.insert(agent);
        }
    }

    /// Asks for a run over all agents.
    pub(super) fn request_full_run(&mut self) {
        if !self.is_paused() && self.agents.len() > 0 {
            self.candidates = Candidates::All;
        }
    }

    pub(super) fn framework_key(&self, id: &FrameworkId) -> Result<Key<Framework>, AllocatorError> {
        self.frameworks
            .key(id)
            .ok_or_else(|| AllocatorError::UnknownFramework(id.clone()))
    }

    pub(super) fn agent_key(&self, id: &AgentId) -> Result<Key<Agent>, AllocatorError> {
        self.agents
            .key(id)
            .ok_or_else(|| AllocatorError::UnknownAgent(id.clone()))
    }

    /// Replaces a part of the cluster's amounts.
    pub(super) fn change_total(&mut self, total: ResourceQuantities) {
        self.total = total;
        let excluded = &self.options.fair_sharing_excluded_resource_names;
        let fair = self
            .total
            .iter()
            .filter(|(name, _)| !excluded.contains(name.as_str()))
            .map(|(name, amount)| (name.clone(), amount));
        self.capacity.set(fair.collect());
    }
}

fn check_quota_role(role: &str) -> Result<(), AllocatorError> {
    mesos::roles::validate(role)?;
    if can_have_quota(role) {
        Ok(())
    } else {
        Err(AllocatorError::QuotaRole(role.to_owned()))
    }
}

/// The one role that resources are allocated to.
pub(super) fn allocation_role(resources: &Resources) -> Result<Arc<str>, AllocatorError> {
    let mut roles = resources.iter().map(|r| r.allocation_role());
    match roles.next().flatten() {
        Some(role) if roles.all(|other| other == Some(role)) => Ok(role.into()),
        _ => Err(AllocatorError::AllocationRole(resources.to_string())),
    }
}
