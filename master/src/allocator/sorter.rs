//! Clients in the order of a policy, as a tree.
//!
//! A client is a role, or a framework within a role. Roles form a tree by their names: `eng/web`
//! competes with `eng/db` for what the subtree of `eng` gets, and the subtree competes as a whole
//! with its siblings. A client that is also an ancestor of others (`eng` itself) stands as a leaf
//! named `.` beside its children.
//!
//! Changes only mark nodes. [`Sorter::begin`] brings the order up to date where something is
//! marked, and the order stays as it is while a [`Walk`] goes through it.
//! Upstream: `src/master/allocator/mesos/sorter/drf/sorter.cpp`.

mod order;
mod walk;
mod wishes;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use mesos::resources::ResourceQuantities;

use super::lots::Lots;
use super::policy::{Client, Drf, Rank, SortPolicy};
use super::slots::{Key, KeyMap};

/// The name of the leaf of a client that has children.
const VIRTUAL_LEAF: &str = ".";

/// Up to so many nodes there is no room for more, as most roles have one framework.
const NODES_EXACT: usize = 4;

/// The index of the root.
const ROOT: u32 = 0;

/// When a client came that nobody wants offers for.
const NEVER: u64 = u64::MAX;

/// The amounts of the whole cluster that shares are fractions of.
#[derive(Default)]
pub(super) struct Capacity {
    amounts: ResourceQuantities,
    /// Grows with every change, so that sorters see that all ranks are out of date.
    version: u64,
    /// What clients want that want nothing in particular.
    nothing: ResourceQuantities,
}

impl Capacity {
    pub(super) fn set(&mut self, amounts: ResourceQuantities) {
        self.amounts = amounts;
        self.version += 1;
    }
}

enum Kind<K> {
    Internal,
    Leaf { client: Key<K>, active: bool },
}

struct Node<K> {
    name: Arc<str>,
    path: Arc<str>,
    parent: u32,
    kind: Kind<K>,
    /// Internal nodes and active leaves: `sorted` ones in order, then new ones.
    active: Vec<u32>,
    sorted: usize,
    /// Inactive leaves, by index.
    inactive: Vec<u32>,
    weight: f64,
    /// What the subtree holds.
    held: ResourceQuantities,
    /// What the active leaves of the subtree want.
    demand: Option<Box<ResourceQuantities>>,
    /// When the first of the active leaves of the subtree came.
    registered: u64,
    /// How often the subtree was handed something.
    hand_outs: u64,
    /// The rank by which the node is sorted in its parent's list.
    rank: Rank,
    /// Whether the rank is out of date, or the node is not sorted yet.
    changed: bool,
}

impl<K> Node<K> {
    fn new(name: &str, path: Arc<str>, parent: u32, kind: Kind<K>) -> Node<K> {
        Node {
            name: if *name == *path {
                path.clone()
            } else {
                name.into()
            },
            path,
            parent,
            kind,
            active: Vec::new(),
            sorted: 0,
            inactive: Vec::new(),
            weight: 1.0,
            held: ResourceQuantities::new(),
            demand: None,
            registered: NEVER,
            hand_outs: 0,
            rank: Rank { key: 0.0, tie: 0 },
            changed: false,
        }
    }

    fn is_inactive(&self) -> bool {
        matches!(self.kind, Kind::Leaf { active: false, .. })
    }

    fn is_virtual(&self) -> bool {
        &*self.name == VIRTUAL_LEAF
    }

    fn has_children(&self) -> bool {
        !(self.active.is_empty() && self.inactive.is_empty())
    }
}

/// Clients in order. `K` is what the keys of the clients are keys of.
pub(super) struct Sorter<K> {
    policy: Arc<dyn SortPolicy>,
    /// Whether `/` in the path of a client separates levels.
    hierarchical: bool,
    nodes: Vec<Node<K>>,
    free: Vec<u32>,
    leaves: KeyMap<Key<K>, u32>,
    /// Nodes by path, without virtual leaves; only if hierarchical.
    paths: HashMap<Arc<str>, u32>,
    weights: HashMap<String, f64>,
    /// When the active clients came, sorted; only if not hierarchical.
    registered: Vec<(u64, u32)>,
    /// Nodes whose `changed` mark is set; some that are gone, and some twice.
    changed: Vec<u32>,
    /// The version of the capacity that the ranks are computed with; none asks for all of them.
    version: Option<u64>,
    /// The active clients and their lots, if the policy draws.
    lots: Option<(Vec<Key<K>>, Lots)>,
}

impl<K> Sorter<K> {
    /// Clients that compete with each other directly.
    pub(super) fn flat(policy: Arc<dyn SortPolicy>) -> Sorter<K> {
        let root = Node::new("", "".into(), ROOT, Kind::Internal);
        Sorter {
            policy,
            hierarchical: false,
            nodes: vec![root],
            free: Vec::new(),
            leaves: KeyMap::default(),
            paths: HashMap::new(),
            weights: HashMap::new(),
            registered: Vec::new(),
            changed: Vec::new(),
            version: None,
            lots: None,
        }
    }

    /// Clients that form a tree by the components of their paths.
    pub(super) fn hierarchical(policy: Arc<dyn SortPolicy>) -> Sorter<K> {
        Sorter {
            hierarchical: true,
            ..Sorter::flat(policy)
        }
    }

    pub(super) fn len(&self) -> usize {
        self.leaves.len()
    }

    pub(super) fn contains(&self, client: Key<K>) -> bool {
        self.leaves.contains_key(&client)
    }

    /// What a client holds, without the clients below it.
    pub(super) fn held(&self, client: Key<K>) -> Option<&ResourceQuantities> {
        self.leaf(client).map(|leaf| &leaf.held)
    }

    /// What all clients hold.
    pub(super) fn held_by_all(&self) -> Option<&ResourceQuantities> {
        self.node(ROOT).map(|root| &root.held)
    }

    /// The dominant share of a client, without the clients below it, divided by its weight.
    pub(super) fn share(&self, client: Key<K>, capacity: &Capacity) -> f64 {
        self.leaf(client)
            .map_or(0.0, |leaf| Drf.rank(&client_of(leaf, capacity)).key)
    }

    /// The active clients in no particular order; only if not hierarchical.
    pub(super) fn active(&self) -> impl Iterator<Item = Key<K>> {
        let leaves = self.node(ROOT).into_iter().flat_map(|root| &root.active);
        leaves.filter_map(|leaf| match self.node(*leaf)?.kind {
            Kind::Leaf { client, .. } => Some(client),
            Kind::Internal => None,
        })
    }

    fn node(&self, index: u32) -> Option<&Node<K>> {
        self.nodes.get(index as usize)
    }

    fn node_mut(&mut self, index: u32) -> Option<&mut Node<K>> {
        self.nodes.get_mut(index as usize)
    }

    fn leaf(&self, client: Key<K>) -> Option<&Node<K>> {
        self.node(*self.leaves.get(&client)?)
    }

    /// Sets the weight of the subtree at `path`, which need not exist yet.
    pub(super) fn set_weight(&mut self, path: &str, weight: f64) {
        self.weights.insert(path.to_owned(), weight);
        if let Some(&index) = self.paths.get(path) {
            if let Some(node) = self.node_mut(index) {
                node.weight = weight;
            }
            self.mark(index);
        }
    }

    /// Adds a client, inactive and holding nothing. Does nothing if it is there.
    pub(super) fn add(&mut self, client: Key<K>, path: &Arc<str>, registered: u64) {
        if self.contains(client) {
            return;
        }
        let mut parent = ROOT;
        if self.hierarchical {
            for (end, _) in path.match_indices('/') {
                let prefix = path.get(..end).unwrap_or(path);
                parent = self.internal_node(prefix, parent);
            }
        }
        let kind = Kind::Leaf {
            client,
            active: false,
        };
        let mut leaf = if let Some(&existing) = self.paths.get(path) {
            let path = format!("{path}/{VIRTUAL_LEAF}").into();
            Node::new(VIRTUAL_LEAF, path, existing, kind)
        } else {
            Node::new(self.name_of(path), path.clone(), parent, kind)
        };
        leaf.registered = registered;
        let leaf = self.attach(leaf);
        self.leaves.insert(client, leaf);
    }

    fn name_of<'a>(&self, path: &'a str) -> &'a str {
        match path.rsplit_once('/') {
            Some((_, name)) if self.hierarchical => name,
            _ => path,
        }
    }

    /// The node at `path`, made if it is not there; a client there moves to a virtual leaf.
    fn internal_node(&mut self, path: &str, parent: u32) -> u32 {
        let Some(&index) = self.paths.get(path) else {
            let node = Node::new(self.name_of(path), path.into(), parent, Kind::Internal);
            return self.attach(node);
        };
        let Some(node) = self.node(index) else {
            return index;
        };
        if let Kind::Leaf { client, active } = node.kind {
            self.unlist(index);
            let virtual_path = format!("{path}/{VIRTUAL_LEAF}").into();
            let kind = Kind::Leaf { client, active };
            let mut leaf = Node::new(VIRTUAL_LEAF, virtual_path, index, kind);
            if let Some(node) = self.node_mut(index) {
                node.kind = Kind::Internal;
                leaf.held.clone_from(&node.held);
                leaf.demand.clone_from(&node.demand);
                leaf.registered = node.registered;
                leaf.hand_outs = node.hand_outs;
                if !active {
                    (node.demand, node.registered) = (None, NEVER);
                }
            }
            self.list(index);
            let leaf = self.attach(leaf);
            self.leaves.insert(client, leaf);
        }
        index
    }

    /// Stores a node and lists it with its parent.
    fn attach(&mut self, mut node: Node<K>) -> u32 {
        if !node.is_virtual() {
            node.weight = self.weights.get(&*node.path).copied().unwrap_or(1.0);
        }
        let path = (self.hierarchical && !node.is_virtual()).then(|| node.path.clone());
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(slot) = self.node_mut(index) {
                    *slot = node;
                }
                index
            }
            None => {
                if self.nodes.len() < NODES_EXACT {
                    self.nodes.reserve_exact(1);
                }
                self.nodes.push(node);
                // The allocator's keys are 32 bits wide as well.
                u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(path) = path {
            self.paths.insert(path, index);
        }
        self.list(index);
        index
    }

    /// Lists a node with its parent according to its kind.
    fn list(&mut self, index: u32) {
        let Some(node) = self.node(index) else {
            return;
        };
        let (parent, inactive) = (node.parent, node.is_inactive());
        if let Some(parent) = self.node_mut(parent) {
            if inactive {
                let place = parent.inactive.partition_point(|other| *other < index);
                parent.inactive.insert(place, index);
            } else {
                parent.active.push(index);
            }
        }
        self.lots = None;
        self.mark(index);
    }

    fn unlist(&mut self, index: u32) {
        let Some(node) = self.node(index) else {
            return;
        };
        let (parent, inactive) = (node.parent, node.is_inactive());
        self.lots = None;
        if !inactive {
            self.remove_active(parent, index);
        } else if let Some(parent) = self.node_mut(parent)
            && let Ok(place) = parent.inactive.binary_search(&index)
        {
            parent.inactive.remove(place);
        }
    }

    /// Notes that the rank of a node, and hence those of its ancestors, are out of date.
    fn mark(&mut self, mut index: u32) {
        while index != ROOT {
            let Some(node) = self.node_mut(index) else {
                return;
            };
            let parent = node.parent;
            if !node.changed {
                node.changed = true;
                self.changed.push(index);
            }
            index = parent;
        }
    }

    /// Removes a client with what it holds. Does nothing if it is not there.
    pub(super) fn remove(&mut self, client: Key<K>) {
        self.set_active(client, false);
        let Some(leaf) = self.leaves.remove(&client) else {
            return;
        };
        let held = self
            .node_mut(leaf)
            .map(|node| std::mem::take(&mut node.held))
            .unwrap_or_default();
        let mut index = leaf;
        while index != ROOT {
            let Some(node) = self.node(index) else {
                return;
            };
            let parent = node.parent;
            if index == leaf || !node.has_children() {
                self.detach(index);
            } else {
                self.collapse(index);
                self.mark(index);
            }
            if let Some(parent) = self.node_mut(parent) {
                parent.held -= &held;
            }
            index = parent;
        }
    }

    fn detach(&mut self, index: u32) {
        self.unlist(index);
        if let Some(node) = self.node_mut(index) {
            node.changed = false;
            let path = (!node.is_virtual()).then(|| node.path.clone());
            if let Some(path) = path {
                self.paths.remove(&path);
            }
            self.free.push(index);
        }
    }

    /// Turns a node whose only child is its virtual leaf back into a leaf.
    fn collapse(&mut self, index: u32) {
        let Some(node) = self.node(index) else {
            return;
        };
        let (([only], []) | ([], [only])) = (node.active.as_slice(), node.inactive.as_slice())
        else {
            return;
        };
        let only = *only;
        let Some(child) = self.node(only).filter(|child| child.is_virtual()) else {
            return;
        };
        let Kind::Leaf { client, active } = child.kind else {
            return;
        };
        let (registered, demand) = (child.registered, child.demand.clone());
        self.detach(only);
        self.unlist(index);
        if let Some(node) = self.node_mut(index) {
            node.kind = Kind::Leaf { client, active };
            (node.registered, node.demand) = (registered, demand);
        }
        self.leaves.insert(client, index);
        self.list(index);
    }

    /// Includes a client in the order, or leaves it out. What it holds counts in any case.
    pub(super) fn set_active(&mut self, client: Key<K>, wanted: bool) {
        let Some(&index) = self.leaves.get(&client) else {
            return;
        };
        let Some(node) = self.node(index) else {
            return;
        };
        if matches!(node.kind, Kind::Leaf { active, .. } if active == wanted) {
            return;
        }
        self.unlist(index);
        if let Some(node) = self.node_mut(index) {
            node.kind = Kind::Leaf {
                client,
                active: wanted,
            };
        }
        self.list(index);
        self.count_wishes(index, wanted);
    }

    /// Charges a client for what it was handed.
    pub(super) fn hand_out(&mut self, client: Key<K>, amounts: &ResourceQuantities) {
        self.change(client, |node| {
            node.held += amounts;
            node.hand_outs += 1;
        });
    }

    /// Discharges a client of what it returned.
    pub(super) fn take_back(&mut self, client: Key<K>, amounts: &ResourceQuantities) {
        self.change(client, |node| node.held -= amounts);
    }

    /// Changes what a client is charged for, without a new hand-out.
    pub(super) fn exchange(
        &mut self,
        client: Key<K>,
        before: &ResourceQuantities,
        after: &ResourceQuantities,
    ) {
        self.change(client, |node| {
            node.held -= before;
            node.held += after;
        });
    }

    fn change(&mut self, client: Key<K>, change: impl Fn(&mut Node<K>)) {
        let Some(&leaf) = self.leaves.get(&client) else {
            return;
        };
        let mut index = leaf;
        while let Some(node) = self.node_mut(index) {
            change(node);
            if index == ROOT {
                break;
            }
            index = node.parent;
        }
        self.mark(leaf);
    }
}

fn client_of<'a, K>(node: &'a Node<K>, capacity: &'a Capacity) -> Client<'a> {
    Client {
        path: &node.path,
        weight: node.weight,
        held: &node.held,
        hand_outs: node.hand_outs,
        registered: node.registered,
        demand: node.demand.as_deref().unwrap_or(&capacity.nothing),
        capacity: &capacity.amounts,
    }
}
