//! The allocator as the specification describes it: every answer worked out anew from plain lists,
//! however long that takes. Only what an event says is kept.
//!
//! Shared with the real one are the algebra of resources, the rank that a policy gives to a
//! client, and how chance is derived from the seed.

mod run;

use super::super::agent_events::check_used;
use super::super::framework::Framework;
use super::super::lots::{Draw, Lots, hash, mix};
use super::super::run::counts_for_quota;
use super::super::visit::is_enough;
use super::*;
use mesos::resources::{ResourceLimits, ResourceQuantities};
use mesos::roles::is_in_subtree;

/// The first registration number of the real one.
const FIRST_REGISTERED: u64 = 1 << 32;

/// What a framework holds on an agent in a role.
#[derive(Clone)]
struct Held {
    framework: String,
    role: String,
    agent: String,
    resources: Resources,
}

struct Filter {
    framework: String,
    role: String,
    agent: String,
    refused: Resources,
    until: Duration,
    /// Whether a run over all agents has seen it.
    seen: bool,
}

struct Agent {
    total: Resources,
    hostname: String,
    attribute: u8,
    active: bool,
}

#[derive(Default)]
struct Demand {
    asked: ResourceQuantities,
    granted: ResourceQuantities,
}

/// A framework in a role, for as long as it is subscribed or holds something there.
struct Member {
    registered: u64,
    hand_outs: u64,
}

pub(super) struct Reference {
    options: Options,
    frameworks: BTreeMap<String, Framework>,
    demands: BTreeMap<String, Demand>,
    agents: BTreeMap<String, Agent>,
    held: Vec<Held>,
    /// Of frameworks that are not known.
    unclaimed: Vec<Held>,
    filters: Vec<Filter>,
    /// By role and framework.
    members: BTreeMap<(String, String), Member>,
    /// How often something was handed out to nodes of the tree of roles.
    hand_outs: BTreeMap<String, u64>,
    quotas: BTreeMap<String, Quota>,
    weights: BTreeMap<String, f64>,
    whitelist: Option<BTreeSet<String>>,
    /// Agents to look at on request; none for all.
    candidates: Option<BTreeSet<String>>,
    next_registered: u64,
    runs: u64,
}

/// What is left of quota in a run.
struct Account {
    unsatisfied: ResourceQuantities,
    rest: ResourceLimits,
    limited: bool,
}

struct Headroom {
    available: ResourceQuantities,
    required: ResourceQuantities,
}

type Offers = BTreeMap<(String, String, String), Resources>;

impl Reference {
    pub(super) fn new(options: Options) -> Reference {
        Reference {
            options,
            frameworks: BTreeMap::new(),
            demands: BTreeMap::new(),
            agents: BTreeMap::new(),
            held: Vec::new(),
            unclaimed: Vec::new(),
            filters: Vec::new(),
            members: BTreeMap::new(),
            hand_outs: BTreeMap::new(),
            quotas: BTreeMap::new(),
            weights: BTreeMap::new(),
            whitelist: None,
            candidates: Some(BTreeSet::new()),
            next_registered: FIRST_REGISTERED,
            runs: 0,
        }
    }

    fn next_registered(&mut self) -> u64 {
        self.next_registered += 1;
        self.next_registered - 1
    }

    fn request_all(&mut self) {
        if !self.agents.is_empty() {
            self.candidates = None;
        }
    }

    fn request(&mut self, agent: &str) {
        if let Some(candidates) = &mut self.candidates {
            candidates.insert(agent.to_owned());
        }
    }

    // Frameworks.

    pub(super) fn add_framework(&mut self, id: &str, info: &proto::FrameworkInfo, active: bool) {
        let options = FrameworkOptions::default();
        let mut framework = Framework::new(info, options, RegexLimits::default()).unwrap();
        framework.active = active;
        let registered = self.next_registered();
        for role in framework.roles.clone() {
            self.join(&role, id, registered);
        }
        framework.registered = registered;
        self.frameworks.insert(id.to_owned(), framework);
        let (mine, others) = std::mem::take(&mut self.unclaimed)
            .into_iter()
            .partition(|held| held.framework == id);
        self.unclaimed = others;
        self.claim(mine);
        if active {
            self.request_all();
        }
    }

    /// Charges frameworks for what they hold.
    fn claim(&mut self, held: Vec<Held>) {
        for held in held {
            let registered = self.frameworks[&held.framework].registered;
            self.join(&held.role, &held.framework, registered);
            self.count(&held.role, &held.framework);
            self.held.push(held);
        }
    }

    pub(super) fn remove_framework(&mut self, id: &str) {
        self.frameworks.remove(id);
        self.demands.remove(id);
        self.held.retain(|held| held.framework != id);
        self.filters.retain(|filter| filter.framework != id);
        self.leave_where_nothing_is_held();
    }

    pub(super) fn update_framework(
        &mut self,
        id: &str,
        info: &proto::FrameworkInfo,
        suppressed: BTreeSet<String>,
    ) {
        let options = FrameworkOptions {
            suppressed_roles: suppressed,
            ..FrameworkOptions::default()
        };
        let mut updated = Framework::new(info, options, RegexLimits::default()).unwrap();
        let old = self.frameworks.remove(id).unwrap();
        (updated.active, updated.registered) = (old.active, old.registered);
        let joined = self.next_registered();
        for role in &updated.roles - &old.roles {
            self.join(&role, id, joined);
        }
        let left = &old.roles - &updated.roles;
        let revived = &old.suppressed - &updated.suppressed;
        self.filters.retain(|filter| {
            filter.framework != id
                || !(left.contains(&filter.role) || revived.contains(&filter.role))
        });
        self.frameworks.insert(id.to_owned(), updated);
        self.leave_where_nothing_is_held();
    }

    pub(super) fn set_framework_active(&mut self, id: &str, active: bool) {
        self.frameworks.get_mut(id).unwrap().active = active;
        if active {
            self.request_all();
        } else {
            self.filters.retain(|filter| filter.framework != id);
        }
    }

    fn chosen(&self, id: &str, roles: &BTreeSet<String>) -> BTreeSet<String> {
        let mine = &self.frameworks[id].roles;
        if roles.is_empty() {
            mine.clone()
        } else {
            roles & mine
        }
    }

    pub(super) fn suppress(&mut self, id: &str, roles: &BTreeSet<String>) {
        let roles = self.chosen(id, roles);
        self.frameworks
            .get_mut(id)
            .unwrap()
            .suppressed
            .extend(roles);
    }

    pub(super) fn revive(&mut self, id: &str, roles: &BTreeSet<String>) {
        let roles = self.chosen(id, roles);
        let framework = self.frameworks.get_mut(id).unwrap();
        framework.suppressed.retain(|role| !roles.contains(role));
        self.filters
            .retain(|filter| filter.framework != id || !roles.contains(&filter.role));
        self.request_all();
    }

    pub(super) fn request_resources(&mut self, id: &str, asked: ResourceQuantities) {
        let demand = Demand {
            asked,
            ..Demand::default()
        };
        self.demands.insert(id.to_owned(), demand);
    }

    // Agents.

    pub(super) fn add_agent(
        &mut self,
        id: &str,
        total: Resources,
        used: &BTreeMap<FrameworkId, Resources>,
    ) {
        let agent = Agent {
            total,
            hostname: agent_info(id).hostname,
            attribute: 0,
            active: true,
        };
        self.agents.insert(id.to_owned(), agent);
        for (framework, used) in used {
            check_used(used).unwrap();
            for (role, resources) in used.allocations() {
                let held = Held {
                    framework: framework.to_string(),
                    role: role.to_string(),
                    agent: id.to_owned(),
                    resources,
                };
                if self.frameworks.contains_key(&held.framework) {
                    self.claim(vec![held]);
                } else {
                    self.unclaimed.push(held);
                }
            }
        }
        self.request(id);
    }

    pub(super) fn remove_agent(&mut self, id: &str) {
        self.agents.remove(id);
        self.held.retain(|held| held.agent != id);
        self.unclaimed.retain(|held| held.agent != id);
        self.filters.retain(|filter| filter.agent != id);
        if let Some(candidates) = &mut self.candidates {
            candidates.remove(id);
        }
        self.leave_where_nothing_is_held();
    }

    pub(super) fn update_agent(&mut self, id: &str, total: Resources, attribute: u8) {
        let agent = self.agents.get_mut(id).unwrap();
        let changed = agent.total != total || agent.attribute != attribute;
        agent.total = total;
        if agent.attribute != attribute {
            agent.attribute = attribute;
            self.filters.retain(|filter| filter.agent != id);
        }
        if changed {
            self.request(id);
        }
    }

    pub(super) fn apply(&mut self, id: &str, operation: &proto::offer::Operation) {
        let agent = self.agents.get_mut(id).unwrap();
        agent.total = agent.total.apply(operation).unwrap();
    }

    pub(super) fn set_agent_active(&mut self, id: &str, active: bool) {
        self.agents.get_mut(id).unwrap().active = active;
    }

    pub(super) fn set_whitelist(&mut self, whitelist: Option<BTreeSet<String>>) {
        self.whitelist = whitelist;
    }

    pub(super) fn available(&self, agent: &str) -> Resources {
        let mut available = self.agents[agent].total.clone();
        let mut out = Resources::new();
        for held in self.held.iter().chain(&self.unclaimed) {
            if held.agent == agent {
                let mut resources = held.resources.clone();
                resources.unallocate();
                out += resources;
            }
        }
        available -= out;
        available
    }

    pub(super) fn recover(
        &mut self,
        framework: &str,
        agent: &str,
        resources: &Resources,
        filters: Option<f64>,
        in_use: bool,
        now: Duration,
    ) {
        for (role, part) in resources.allocations() {
            let known = self.frameworks.contains_key(framework);
            let list = if known {
                &mut self.held
            } else {
                &mut self.unclaimed
            };
            let mut left = part.clone();
            for held in list.iter_mut() {
                if held.framework == framework && held.agent == agent && *held.role == *role {
                    let before = held.resources.clone();
                    held.resources -= &left;
                    left -= before;
                }
            }
            list.retain(|held| !held.resources.is_empty());
            if !known {
                continue;
            }
            if let (Some(demand), false) = (self.demands.get_mut(framework), in_use) {
                demand.granted -= &part.quantities();
            }
            let subscribed = self.frameworks[framework].roles.contains(&*role);
            if let Some(seconds) = filters.filter(|seconds| *seconds > 0.0 && subscribed) {
                let mut refused = part.clone();
                refused.unallocate();
                let seconds = seconds.max(self.options.allocation_interval.as_secs_f64());
                self.filters.push(Filter {
                    framework: framework.to_owned(),
                    role: role.to_string(),
                    agent: agent.to_owned(),
                    refused,
                    until: now + Duration::from_secs_f64(seconds),
                    seen: false,
                });
            }
        }
        self.leave_where_nothing_is_held();
    }

    pub(super) fn set_weight(&mut self, role: &str, weight: f64) {
        self.weights.insert(role.to_owned(), weight);
    }

    pub(super) fn set_quota(&mut self, role: &str, quota: Quota) {
        self.quotas.insert(role.to_owned(), quota);
    }

    // The tree of roles with frameworks in them, and how often each node was handed something.

    fn roles(&self) -> BTreeSet<String> {
        self.members.keys().map(|(role, _)| role.clone()).collect()
    }

    fn join(&mut self, role: &str, framework: &str, registered: u64) {
        let roles = self.roles();
        let key = (role.to_owned(), framework.to_owned());
        self.members.entry(key).or_insert(Member {
            registered,
            hand_outs: 0,
        });
        if roles.contains(role) {
            return;
        }
        let has_below = |path: &str| {
            roles
                .iter()
                .any(|role| role != path && is_in_subtree(role, path))
        };
        let ends = role.match_indices('/').map(|(end, _)| end);
        for prefix in ends.map(|end| &role[..end]) {
            if roles.contains(prefix) && !has_below(prefix) {
                let count = self.hand_outs[prefix];
                self.hand_outs.insert(format!("{prefix}/."), count);
            }
            self.hand_outs.entry(prefix.to_owned()).or_default();
        }
        let leaf = if has_below(role) {
            format!("{role}/.")
        } else {
            role.to_owned()
        };
        self.hand_outs.insert(leaf, 0);
    }

    fn leave_where_nothing_is_held(&mut self) {
        let before = self.roles();
        let (frameworks, held) = (&self.frameworks, &self.held);
        self.members.retain(|(role, framework), _| {
            let subscribed = frameworks
                .get(framework)
                .is_some_and(|f| f.roles.contains(role));
            subscribed
                || held
                    .iter()
                    .any(|h| h.framework == *framework && h.role == *role)
        });
        let after = self.roles();
        for gone in before.difference(&after) {
            self.hand_outs.remove(&format!("{gone}/."));
        }
        self.hand_outs.retain(|path, _| {
            let node = path.strip_suffix("/.").unwrap_or(path);
            let below = |role: &&String| is_in_subtree(role, node);
            let others = after.iter().filter(below).any(|role| role != node);
            // A virtual leaf is there only beside others.
            if node == path {
                after.iter().any(|role| below(&role))
            } else {
                others && after.contains(node)
            }
        });
    }

    /// Counts a hand-out.
    fn count(&mut self, role: &str, framework: &str) {
        let key = (role.to_owned(), framework.to_owned());
        self.members.get_mut(&key).unwrap().hand_outs += 1;
        for (path, count) in &mut self.hand_outs {
            let own_leaf = path.strip_suffix("/.") == Some(role);
            if own_leaf || (!path.ends_with("/.") && is_in_subtree(role, path)) {
                *count += 1;
            }
        }
    }
}
