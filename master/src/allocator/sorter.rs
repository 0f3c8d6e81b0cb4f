//! Clients in the order of a policy, as a tree.
//!
//! A client is a role, or a framework within a role. Roles form a tree by their names: `eng/web`
//! competes with `eng/db` for what the subtree of `eng` gets, and the subtree competes as a whole
//! with its siblings. A client that is also an ancestor of others (`eng` itself) stands as a leaf
//! named `.` beside its children.
//!
//! Changes only mark nodes. [`Sorter::begin`] brings the order up to date where something is
//! marked, and the order stays as it is while a [`Walk`] goes through it.
//!
//! Every agent that comes or goes changes all shares. That need not sort anything: siblings that
//! have the same dominant resource and the same weight stay in the same order whatever the cluster
//! has, so they are kept as groups, and a walk compares the first ones of the groups. See
//! [`order`].
//! Upstream: `src/master/allocator/mesos/sorter/drf/sorter.cpp`.

mod node;
mod order;
mod walk;
mod wishes;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mesos::resources::ResourceQuantities;

use super::lots::Lots;
use super::policy::{Client, Drf, SortPolicy};
use super::slots::{Key, KeyMap};
use node::{Children, Kind, Node};

/// The name of the leaf of a client that has children.
const VIRTUAL_LEAF: &str = ".";

/// Up to so many nodes there is no room for more, and no index, as most roles have one framework.
const NODES_FEW: usize = 4;

/// The parent of the nodes at the top, which is no node itself.
const ROOT: u32 = u32::MAX;

/// No group, or no node.
const NONE: u32 = u32::MAX;

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

/// What only a tree has.
#[derive(Default)]
struct Tree {
    /// Nodes by path, without virtual leaves.
    paths: HashMap<Arc<str>, u32>,
    weights: HashMap<String, f64>,
    /// What all clients hold.
    held: ResourceQuantities,
}

/// How to find clients where they are many.
struct Index<K> {
    leaves: KeyMap<Key<K>, u32>,
    /// When the active clients came.
    registered: BTreeSet<(u64, u32)>,
}

/// Clients in order. `K` is what the keys of the clients are keys of.
pub(super) struct Sorter<K> {
    policy: Arc<dyn SortPolicy>,
    /// None if all clients compete with each other directly, whatever their paths.
    tree: Option<Box<Tree>>,
    nodes: Vec<Node<K>>,
    /// The first free place among the nodes.
    free: u32,
    /// How many clients there are.
    count: u32,
    top: Children,
    /// What all active clients want.
    demand: Option<Box<ResourceQuantities>>,
    index: Option<Box<Index<K>>>,
    /// Nodes whose `changed` mark is set; some that are gone, and some twice.
    changed: Vec<u32>,
    /// The version of the capacity for which all nodes are in the right groups.
    verified: u64,
    /// The last version that was seen, and how many walks began since.
    seen: u64,
    walks: u32,
    /// The active clients and their lots, if the policy draws.
    lots: Option<Box<(Vec<Key<K>>, Lots)>>,
}

impl<K> Sorter<K> {
    /// What a client takes.
    #[cfg(test)]
    pub(super) const NODE_BYTES: usize = size_of::<Node<K>>();

    /// Clients that compete with each other directly.
    pub(super) fn flat(policy: Arc<dyn SortPolicy>) -> Sorter<K> {
        Sorter {
            policy,
            tree: None,
            nodes: Vec::new(),
            free: NONE,
            count: 0,
            top: Children::default(),
            demand: None,
            index: None,
            changed: Vec::new(),
            verified: 0,
            seen: 0,
            walks: 0,
            lots: None,
        }
    }

    /// Clients that form a tree by the components of their paths.
    pub(super) fn hierarchical(policy: Arc<dyn SortPolicy>) -> Sorter<K> {
        Sorter {
            tree: Some(Box::default()),
            ..Sorter::flat(policy)
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    pub(super) fn contains(&self, client: Key<K>) -> bool {
        self.find(client).is_some()
    }

    /// What a client holds, without the clients below it.
    pub(super) fn held(&self, client: Key<K>) -> Option<&ResourceQuantities> {
        self.leaf(client).map(|leaf| &leaf.held)
    }

    /// What all clients hold; only of a tree.
    pub(super) fn held_by_all(&self) -> Option<&ResourceQuantities> {
        self.tree.as_ref().map(|tree| &tree.held)
    }

    /// The dominant share of a client, without the clients below it, divided by its weight.
    pub(super) fn share(&self, client: Key<K>, capacity: &Capacity) -> f64 {
        self.leaf(client)
            .map_or(0.0, |leaf| Drf.rank(&client_of(leaf, capacity)).key)
    }

    /// The active clients in no particular order; not of a tree.
    pub(super) fn active(&self) -> impl Iterator<Item = Key<K>> {
        self.top
            .active()
            .filter_map(|leaf| self.node(leaf)?.client())
    }

    /// Whether any client is active.
    pub(super) fn has_active(&self) -> bool {
        self.top.has_active()
    }

    fn node(&self, index: u32) -> Option<&Node<K>> {
        self.nodes.get(index as usize)
    }

    fn node_mut(&mut self, index: u32) -> Option<&mut Node<K>> {
        self.nodes.get_mut(index as usize)
    }

    fn children(&self, index: u32) -> Option<&Children> {
        if index == ROOT {
            return Some(&self.top);
        }
        match &self.node(index)?.kind {
            Kind::Internal(children) => Some(children),
            _ => None,
        }
    }

    fn children_mut(&mut self, index: u32) -> Option<&mut Children> {
        if index == ROOT {
            return Some(&mut self.top);
        }
        match &mut self.node_mut(index)?.kind {
            Kind::Internal(children) => Some(children),
            _ => None,
        }
    }

    /// The node of a client.
    fn find(&self, client: Key<K>) -> Option<u32> {
        if let Some(index) = &self.index {
            return index.leaves.get(&client).copied();
        }
        let found = self.nodes.iter().position(|n| n.client() == Some(client));
        found.and_then(|place| u32::try_from(place).ok())
    }

    fn leaf(&self, client: Key<K>) -> Option<&Node<K>> {
        self.node(self.find(client)?)
    }

    /// Notes where a client is now.
    fn set_place(&mut self, client: Key<K>, leaf: u32) {
        if let Some(index) = &mut self.index {
            index.leaves.insert(client, leaf);
        } else if self.tree.is_some() || self.nodes.len() > NODES_FEW {
            self.make_index();
        }
    }

    fn make_index(&mut self) {
        let mut index = Index {
            leaves: KeyMap::default(),
            registered: BTreeSet::new(),
        };
        for (place, node) in (0_u32..).zip(&self.nodes) {
            if let Kind::Leaf { client, active } = node.kind {
                index.leaves.insert(client, place);
                if active && self.tree.is_none() {
                    index.registered.insert((node.registered, place));
                }
            }
        }
        self.index = Some(Box::new(index));
    }

    fn node_at(&self, path: &str) -> Option<u32> {
        self.tree.as_ref()?.paths.get(path).copied()
    }

    /// Sets the weight of the subtree at `path`, which need not exist yet.
    pub(super) fn set_weight(&mut self, path: &str, weight: f64) {
        if let Some(tree) = &mut self.tree {
            tree.weights.insert(path.to_owned(), weight);
        }
        if let Some(index) = self.node_at(path) {
            if let Some(node) = self.node_mut(index) {
                node.weight = weight;
            }
            self.lots = None;
            self.mark(index);
        }
    }

    /// Adds a client, inactive and holding nothing. Does nothing if it is there.
    pub(super) fn add(&mut self, client: Key<K>, path: &Arc<str>, registered: u64) {
        if self.contains(client) {
            return;
        }
        let mut parent = ROOT;
        if self.tree.is_some() {
            for (end, _) in path.match_indices('/') {
                let prefix = path.get(..end).unwrap_or(path);
                parent = self.internal_node(prefix, parent);
            }
        }
        let kind = Kind::Leaf {
            client,
            active: false,
        };
        let mut leaf = match self.node_at(path) {
            Some(existing) => Node::virtual_leaf(path, existing, kind),
            None => Node::new(path.clone(), self.name_start(path), parent, kind),
        };
        leaf.registered = registered;
        let leaf = self.attach(leaf);
        self.count += 1;
        self.set_place(client, leaf);
    }

    fn name_start(&self, path: &str) -> usize {
        let last = path.rfind('/').filter(|_| self.tree.is_some());
        last.map_or(0, |slash| slash + 1)
    }

    /// The node at `path`, made if it is not there; a client there moves to a virtual leaf.
    fn internal_node(&mut self, path: &str, parent: u32) -> u32 {
        let children = || Kind::Internal(Box::default());
        let Some(index) = self.node_at(path) else {
            let node = Node::new(path.into(), self.name_start(path), parent, children());
            return self.attach(node);
        };
        let Some(Kind::Leaf { client, active }) = self.node(index).map(|node| &node.kind) else {
            return index;
        };
        let (client, active) = (*client, *active);
        self.unlist(index);
        let mut leaf = Node::virtual_leaf(path, index, Kind::Leaf { client, active });
        if let Some(node) = self.node_mut(index) {
            node.kind = children();
            leaf.held.clone_from(&node.held);
            leaf.demand.clone_from(&node.demand);
            leaf.registered = node.registered;
            leaf.hand_outs = node.hand_outs;
            leaf.agents = std::mem::take(&mut node.agents);
            if !active {
                (node.demand, node.registered) = (None, NEVER);
            }
        }
        self.list(index);
        let leaf = self.attach(leaf);
        self.set_place(client, leaf);
        index
    }

    /// Stores a node and lists it with its parent.
    fn attach(&mut self, mut node: Node<K>) -> u32 {
        let mut path = None;
        if let Some(tree) = self.tree.as_ref().filter(|_| !node.is_virtual()) {
            node.weight = tree.weights.get(&*node.path).copied().unwrap_or(1.0);
            path = Some(node.path.clone());
        }
        let free = self.free;
        let index = match self.node_mut(free) {
            Some(slot) => {
                let old = std::mem::replace(slot, node);
                self.free = match old.kind {
                    Kind::Free(next) => next,
                    _ => NONE,
                };
                free
            }
            None => {
                if self.nodes.len() < NODES_FEW {
                    self.nodes.reserve_exact(1);
                }
                self.nodes.push(node);
                // The allocator's keys are 32 bits wide as well.
                u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
            }
        };
        if let Some((tree, path)) = self.tree.as_mut().zip(path) {
            tree.paths.insert(path, index);
        }
        self.list(index);
        index
    }

    /// Removes a client with what it holds. Does nothing if it is not there.
    pub(super) fn remove(&mut self, client: Key<K>) {
        self.set_active(client, false);
        let Some(leaf) = self.find(client) else {
            return;
        };
        self.count -= 1;
        if let Some(index) = &mut self.index {
            index.leaves.remove(&client);
        }
        let held = self
            .node_mut(leaf)
            .map(|node| std::mem::take(&mut node.held))
            .unwrap_or_default();
        let mut index = leaf;
        while let Some(parent) = self.node(index).map(|node| node.parent) {
            if index != leaf
                && let Some(node) = self.node_mut(index)
            {
                node.held -= &held;
            }
            if self.children(index).is_none_or(Children::is_empty) {
                self.detach(index);
            } else {
                self.collapse(index);
                self.mark(index);
            }
            index = parent;
        }
        if let Some(tree) = &mut self.tree {
            tree.held -= &held;
        }
    }

    fn detach(&mut self, index: u32) {
        self.unlist(index);
        let free = self.free;
        let Some(node) = self.node_mut(index) else {
            return;
        };
        node.changed = false;
        node.kind = Kind::Free(free);
        let path = (!node.is_virtual()).then(|| node.path.clone());
        self.free = index;
        if let Some((tree, path)) = self.tree.as_mut().zip(path) {
            tree.paths.remove(&path);
        }
    }

    /// Turns a node whose only child is its virtual leaf back into a leaf.
    fn collapse(&mut self, index: u32) {
        let Some(only) = self.children(index).and_then(Children::only) else {
            return;
        };
        let Some(child) = self.node(only).filter(|child| child.is_virtual()) else {
            return;
        };
        let Kind::Leaf { client, active } = child.kind else {
            return;
        };
        let (registered, demand, agents) = (child.registered, child.demand.clone(), child.agents);
        self.detach(only);
        self.unlist(index);
        if let Some(node) = self.node_mut(index) {
            node.kind = Kind::Leaf { client, active };
            (node.registered, node.demand, node.agents) = (registered, demand, agents);
        }
        self.set_place(client, index);
        self.list(index);
    }

    /// Includes a client in the order, or leaves it out. What it holds counts in any case.
    pub(super) fn set_active(&mut self, client: Key<K>, wanted: bool) {
        let Some(index) = self.find(client) else {
            return;
        };
        if self
            .node(index)
            .is_none_or(|node| node.is_active() == wanted)
        {
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
        self.change(client, 1, |held| *held += amounts);
    }

    /// Discharges a client of what it returned.
    pub(super) fn take_back(&mut self, client: Key<K>, amounts: &ResourceQuantities) {
        self.change(client, 0, |held| *held -= amounts);
    }

    /// Changes what a client is charged for, without a new hand-out.
    pub(super) fn exchange(
        &mut self,
        client: Key<K>,
        before: &ResourceQuantities,
        after: &ResourceQuantities,
    ) {
        self.change(client, 0, |held| {
            *held -= before;
            *held += after;
        });
    }

    fn change(&mut self, client: Key<K>, hand_outs: u64, change: impl Fn(&mut ResourceQuantities)) {
        let Some(leaf) = self.find(client) else {
            return;
        };
        let mut index = leaf;
        while let Some(node) = self.node_mut(index) {
            change(&mut node.held);
            node.hand_outs += hand_outs;
            index = node.parent;
        }
        if let Some(tree) = &mut self.tree {
            change(&mut tree.held);
        }
        self.mark(leaf);
    }

    /// Notes whether a client held anything on an agent before a change, and after it.
    pub(super) fn count_agent(&mut self, client: Key<K>, before: bool, after: bool) {
        let leaf = self.find(client);
        if let Some(node) = leaf.and_then(|leaf| self.node_mut(leaf)) {
            match (before, after) {
                (false, true) => node.agents += 1,
                (true, false) => node.agents -= 1,
                _ => {}
            }
        }
    }

    /// On how many agents a client holds anything.
    pub(super) fn agents(&self, client: Key<K>) -> u32 {
        self.leaf(client).map_or(0, |leaf| leaf.agents)
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
