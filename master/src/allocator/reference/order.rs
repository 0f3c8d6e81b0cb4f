//! Who comes first. Computed anew for every question.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use mesos::resources::{ResourceQuantities, Resources};

use super::choices::{Choices, Stage};
use super::{Agent, AgentId, FrameworkId, Reference};

/// The names of policies, and what they are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::allocator) enum Policy {
    Drf,
    Random,
    Fifo,
    Drc,
}

impl Policy {
    pub(in crate::allocator) const ALL: [(Policy, &str); 4] = [
        (Policy::Drf, "drf"),
        (Policy::Random, "random"),
        (Policy::Fifo, "fifo"),
        (Policy::Drc, "drc"),
    ];
}

/// Where and when an order is asked for.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) choices: Choices,
    pub(super) agent: &'a AgentId,
    pub(super) stage: Stage,
}

/// How often clients were handed something. A role with roles below it is two clients: the
/// subtree, and the role itself.
#[derive(Default)]
pub(super) struct HandOutCounts {
    /// By path of a role, with all roles below.
    subtrees: BTreeMap<String, u64>,
    /// Of a role without those below it, where there are any.
    own: BTreeMap<String, u64>,
    frameworks: BTreeMap<(String, FrameworkId), u64>,
    /// The roles that had frameworks.
    clients: BTreeSet<String>,
}

/// What an order is made of.
#[derive(Clone, Debug)]
struct Standing {
    name: String,
    share: f64,
    weight: f64,
    count: u64,
    registered: u64,
    demand: f64,
}

impl Standing {
    /// Who comes first of two siblings.
    fn compare(&self, other: &Standing, policy: Policy) -> Ordering {
        let number = |left: f64, right: f64| left.partial_cmp(&right).unwrap_or(Ordering::Equal);
        let by_share = number(self.share / self.weight, other.share / other.weight)
            .then(self.count.cmp(&other.count));
        let by_age = self.registered.cmp(&other.registered);
        let by_policy = match policy {
            Policy::Drf => by_share,
            Policy::Random => number(self.weight, other.weight),
            Policy::Fifo => by_age,
            Policy::Drc => match (self.demand > 0.0, other.demand > 0.0) {
                (true, true) => number(other.demand, self.demand).then(by_age),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => by_share,
            },
        };
        by_policy.then_with(|| self.name.cmp(&other.name))
    }
}

/// A competitor among siblings.
struct Node {
    standing: Standing,
    kind: Kind,
}

enum Kind {
    /// A role, without the roles below it.
    Role(String),
    /// All roles below one.
    Below(String),
}

impl Reference {
    /// Begins counting for clients that are new, and forgets those that are gone. New clients have
    /// the age `registered`, unless that is the age of their framework.
    pub(super) fn update_clients(&mut self, registered: Option<u64>) {
        let tracked = self.tracked();
        self.update_counts(&tracked);
        let is_tracked = |role: &str, framework: &FrameworkId| {
            let frameworks = tracked.get(role);
            frameworks.is_some_and(|frameworks| frameworks.contains(framework))
        };
        let counts = &mut self.counts.frameworks;
        counts.retain(|(role, framework), _| is_tracked(role, framework));
        let joined = &mut self.joined;
        joined.retain(|(role, framework), _| is_tracked(role, framework));
        for (role, frameworks) in &tracked {
            for id in frameworks {
                let own = self.frameworks.get(id).map_or(0, |own| own.registered);
                let key = (role.clone(), id.clone());
                joined.entry(key).or_insert(registered.unwrap_or(own));
            }
        }
    }

    fn update_counts(&mut self, tracked: &BTreeMap<String, BTreeSet<FrameworkId>>) {
        let counts = &mut self.counts;
        let clients: BTreeSet<String> = tracked.keys().cloned().collect();
        let paths: BTreeSet<String> = clients
            .iter()
            .flat_map(|role| mesos::roles::ancestors(role).chain([role.as_str()]))
            .map(str::to_owned)
            .collect();
        let own: BTreeSet<String> = clients
            .iter()
            .filter(|role| has_roles_below(&clients, role))
            .cloned()
            .collect();
        counts.own.retain(|role, _| own.contains(role));
        for role in own {
            // What was a leaf takes its count along.
            let was_leaf = counts.clients.contains(&role);
            let count = counts.subtrees.get(&role).filter(|_| was_leaf);
            let count = count.copied().unwrap_or(0);
            counts.own.entry(role).or_insert(count);
        }
        counts.subtrees.retain(|path, _| paths.contains(path));
        for path in paths {
            counts.subtrees.entry(path).or_insert(0);
        }
        counts.clients = clients;
    }

    pub(super) fn count_hand_out(&mut self, framework: &FrameworkId, role: &str) {
        self.update_clients(None);
        for path in mesos::roles::ancestors(role).chain([role]) {
            *self.counts.subtrees.entry(path.to_owned()).or_default() += 1;
        }
        if let Some(count) = self.counts.own.get_mut(role) {
            *count += 1;
        }
        let key = (role.to_owned(), framework.clone());
        *self.counts.frameworks.entry(key).or_default() += 1;
    }

    /// The largest part of the cluster that so much is, of any resource that counts.
    fn dominant_share(&self, amounts: &ResourceQuantities) -> f64 {
        let mut share = 0.0;
        for (name, total) in self.total().iter() {
            let excluded = &self.options.fair_sharing_excluded_resource_names;
            if total.is_positive() && !excluded.contains(name.as_str()) {
                let part = amounts.get(name.as_str()).to_f64() / total.to_f64();
                share = f64::max(share, part);
            }
        }
        share
    }

    /// What is held on all agents; a shared resource counts once for an agent and client.
    fn held_by(&self, on_agent: impl Fn(&Agent) -> Resources) -> ResourceQuantities {
        let mut sum = ResourceQuantities::new();
        for agent in self.agents.values() {
            sum += &on_agent(agent).quantities();
        }
        sum
    }

    fn held_in_roles(&self, is_meant: impl Fn(&str) -> bool) -> ResourceQuantities {
        self.held_by(|agent| {
            let held: Resources = agent.held.values().sum();
            held.filter(|resource| resource.allocation_role().is_some_and(&is_meant))
        })
    }

    /// The share of a role without the roles below it, by its weight if there are none.
    pub(in crate::allocator) fn share_of_role(&self, role: &str) -> f64 {
        let clients: BTreeSet<String> = self.tracked().into_keys().collect();
        let share = self.dominant_share(&self.held_in_roles(|other| other == role));
        let weight = self
            .weights
            .get(role)
            .filter(|_| !has_roles_below(&clients, role));
        share / weight.copied().unwrap_or(1.0)
    }

    /// Who wants offers in which role.
    fn wanting(&self) -> Vec<(String, &FrameworkId)> {
        let frameworks = self.frameworks.iter();
        let wanting = frameworks.flat_map(|(id, framework)| {
            let roles = framework.roles().into_iter();
            let roles = roles.filter(|role| framework.wants_offers(role));
            roles.map(move |role| (role, id))
        });
        wanting.collect()
    }

    /// The standing of some roles as one client.
    fn role_standing(&self, path: &str, is_meant: impl Fn(&str) -> bool) -> Standing {
        let mut demand = ResourceQuantities::new();
        let mut registered = u64::MAX;
        for (role, id) in self.wanting() {
            if is_meant(&role) {
                demand += &self.frameworks[id].demand();
                registered = registered.min(self.joined[&(role, id.clone())]);
            }
        }
        Standing {
            name: path.to_owned(),
            share: self.dominant_share(&self.held_in_roles(is_meant)),
            weight: self.weights.get(path).copied().unwrap_or(1.0),
            count: 0,
            registered,
            demand: self.dominant_share(&demand),
        }
    }

    /// The roles that have frameworks, in order; if it is drawn, those in which anyone wants offers.
    pub(super) fn role_order(&self, moment: Moment<'_>) -> Vec<String> {
        let clients: BTreeSet<String> = self.tracked().into_keys().collect();
        let mut order = Vec::new();
        self.order_below(None, &clients, 1.0, &mut order);
        if self.role_policy == Policy::Random {
            let wanted: BTreeSet<String> = self.wanting().into_iter().map(|(r, _)| r).collect();
            order.retain(|(role, _)| wanted.contains(role));
            return moment.choices.draw(moment.agent, moment.stage, "", order);
        }
        order.into_iter().map(|(role, _)| role).collect()
    }

    /// Lists the roles below one, or all, with the fraction of all chances that each has.
    fn order_below(
        &self,
        parent: Option<&str>,
        clients: &BTreeSet<String>,
        fraction: f64,
        order: &mut Vec<(String, f64)>,
    ) {
        let mut nodes = self.nodes_below(parent, clients);
        nodes.sort_by(|left, right| left.standing.compare(&right.standing, self.role_policy));
        let sum: f64 = nodes.iter().map(|node| node.standing.weight).sum();
        for node in nodes {
            let fraction = fraction * node.standing.weight / sum;
            match node.kind {
                Kind::Role(role) => order.push((role, fraction)),
                Kind::Below(role) => self.order_below(Some(&role), clients, fraction, order),
            }
        }
    }

    /// The competitors directly below a role, or at the top.
    fn nodes_below(&self, parent: Option<&str>, clients: &BTreeSet<String>) -> Vec<Node> {
        let mut nodes = Vec::new();
        if let Some(role) = parent.filter(|role| clients.contains(*role)) {
            let standing = self.role_standing(&format!("{role}/."), |other| other == role);
            let count = self.counts.own.get(role).copied().unwrap_or(0);
            nodes.push(Node {
                standing: Standing { count, ..standing },
                kind: Kind::Role(role.to_owned()),
            });
        }
        let prefix = parent.map_or(String::new(), |role| format!("{role}/"));
        let names = clients.iter().filter_map(|client| {
            let rest = client.strip_prefix(&prefix)?;
            rest.split('/').next()
        });
        for name in names.collect::<BTreeSet<&str>>() {
            let path = format!("{prefix}{name}");
            let in_subtree = |other: &str| mesos::roles::is_in_subtree(other, &path);
            let standing = self.role_standing(&path, in_subtree);
            let count = self.counts.subtrees.get(&path).copied().unwrap_or(0);
            nodes.push(Node {
                standing: Standing { count, ..standing },
                kind: if has_roles_below(clients, &path) {
                    Kind::Below(path)
                } else {
                    Kind::Role(path)
                },
            });
        }
        nodes
    }

    /// The frameworks that want offers in a role, in order.
    pub(super) fn framework_order(&self, role: &str, moment: Moment<'_>) -> Vec<FrameworkId> {
        let wanting = self.frameworks.iter();
        let wanting = wanting.filter(|(_, framework)| framework.wants_offers(role));
        let mut order: Vec<(Standing, FrameworkId)> = wanting
            .map(|(id, framework)| {
                let key = (role.to_owned(), id.clone());
                let held = self.held_by(|agent| agent.held_in(id, role));
                let standing = Standing {
                    name: id.to_string(),
                    share: self.dominant_share(&held),
                    weight: 1.0,
                    count: self.counts.frameworks.get(&key).copied().unwrap_or(0),
                    registered: self.joined[&key],
                    demand: self.dominant_share(&framework.demand()),
                };
                (standing, id.clone())
            })
            .collect();
        order.sort_by(|left, right| left.0.compare(&right.0, self.framework_policy));
        if self.framework_policy == Policy::Random {
            let part = 1.0 / order.len() as f64;
            let clients = order.into_iter().map(|(_, id)| (id, part)).collect();
            let Moment {
                choices,
                agent,
                stage,
            } = moment;
            return choices.draw(agent, stage, role, clients);
        }
        order.into_iter().map(|(_, id)| id).collect()
    }
}

fn has_roles_below(clients: &BTreeSet<String>, path: &str) -> bool {
    let mut clients = clients.iter();
    clients.any(|other| mesos::roles::is_strict_subrole(other, path))
}
