//! The fair order of clients: dominant resource fairness over a tree.
//!
//! A client is a role, or a framework within a role. The share of a client is the largest fraction
//! of the cluster's amount of any resource that it holds, divided by its weight; whoever has the
//! smallest share comes first. Roles form a tree by their names: `eng/web` competes with `eng/db`
//! for what the subtree of `eng` holds, and the subtree competes as a whole with its siblings.
//!
//! A client that is also an ancestor of others (`eng` itself) stands as a leaf named `.` beside
//! its children. Orders are computed when asked for, and only where something changed since.
//! Upstream: `src/master/allocator/mesos/sorter/drf/sorter.cpp`.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use mesos::resources::ResourceQuantities;

use super::slots::{Key, KeyMap};

/// The name of the leaf of a client that has children.
const VIRTUAL_LEAF: &str = ".";

/// Up to this many changed siblings are moved one by one; more are sorted.
const MOVED_MAX: usize = 8;

/// The index of the root.
const ROOT: usize = 0;

/// The amounts of the whole cluster that shares are fractions of.
#[derive(Default)]
pub(super) struct Totals {
    amounts: ResourceQuantities,
    /// Grows with every change, so that sorters see that all shares are out of date.
    version: u64,
}

impl Totals {
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
    parent: usize,
    kind: Kind<K>,
    /// Internal nodes and active leaves, in fair order once sorted.
    active: Vec<usize>,
    /// Inactive leaves.
    inactive: Vec<usize>,
    /// What the subtree holds.
    held: ResourceQuantities,
    /// How often the subtree was handed something; breaks ties.
    hand_outs: u64,
    share: f64,
    /// Whether the share or the place among the siblings is out of date.
    changed: bool,
}

impl<K> Node<K> {
    fn new(name: &str, path: &str, parent: usize, kind: Kind<K>) -> Node<K> {
        Node {
            name: name.into(),
            path: path.into(),
            parent,
            kind,
            active: Vec::new(),
            inactive: Vec::new(),
            held: ResourceQuantities::new(),
            hand_outs: 0,
            share: 0.0,
            changed: false,
        }
    }

    fn is_inactive(&self) -> bool {
        matches!(self.kind, Kind::Leaf { active: false, .. })
    }

    fn precedes(&self, other: &Node<K>) -> Ordering {
        self.share
            .total_cmp(&other.share)
            .then_with(|| self.hand_outs.cmp(&other.hand_outs))
            .then_with(|| self.name.cmp(&other.name))
    }
}

/// Clients in fair order. `K` is what the keys of the clients are keys of.
pub(super) struct Sorter<K> {
    /// Whether `/` in the path of a client separates levels.
    hierarchical: bool,
    nodes: Vec<Node<K>>,
    free: Vec<usize>,
    leaves: KeyMap<Key<K>, usize>,
    /// Nodes by path, without virtual leaves.
    paths: HashMap<Arc<str>, usize>,
    weights: HashMap<String, f64>,
    /// Nodes whose `changed` mark is set, possibly several times.
    changed: Vec<usize>,
    /// The version of the totals that the shares are computed with; none asks for all of them.
    version: Option<u64>,
    order: Option<Arc<[Key<K>]>>,
}

impl<K> Sorter<K> {
    /// Clients that compete with each other directly.
    pub(super) fn flat() -> Sorter<K> {
        Sorter {
            hierarchical: false,
            nodes: vec![Node::new("", "", ROOT, Kind::Internal)],
            free: Vec::new(),
            leaves: KeyMap::default(),
            paths: HashMap::new(),
            weights: HashMap::new(),
            changed: Vec::new(),
            version: None,
            order: None,
        }
    }

    /// Clients that form a tree by the components of their paths.
    pub(super) fn hierarchical() -> Sorter<K> {
        Sorter {
            hierarchical: true,
            ..Sorter::flat()
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

    /// The dominant share of a client, without the clients below it.
    pub(super) fn share(&self, client: Key<K>, totals: &Totals) -> f64 {
        self.leaf(client)
            .map_or(0.0, |leaf| self.share_of(leaf, totals))
    }

    fn leaf(&self, client: Key<K>) -> Option<&Node<K>> {
        self.nodes.get(*self.leaves.get(&client)?)
    }

    fn share_of(&self, node: &Node<K>, totals: &Totals) -> f64 {
        let dominant = node
            .held
            .iter()
            .filter_map(|(name, held)| {
                let total = totals.amounts.get(name.as_str());
                total.is_positive().then(|| held.to_f64() / total.to_f64())
            })
            .fold(0.0, f64::max);
        // The weight of a path belongs to the subtree; its virtual leaf has the default.
        let weight = if &*node.name == VIRTUAL_LEAF {
            None
        } else {
            self.weights.get(&*node.path)
        };
        dominant / weight.copied().unwrap_or(1.0)
    }

    /// Sets the weight of the subtree at `path`, which need not exist yet. Shares are divided by
    /// it.
    pub(super) fn set_weight(&mut self, path: &str, weight: f64) {
        self.weights.insert(path.to_owned(), weight);
        if let Some(&index) = self.paths.get(path) {
            self.mark(index);
        }
    }

    /// Adds a client, inactive and holding nothing. Does nothing if it is there.
    pub(super) fn add(&mut self, client: Key<K>, path: &str) {
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
        let leaf = if let Some(&existing) = self.paths.get(path) {
            let name = format!("{path}/{VIRTUAL_LEAF}");
            self.attach(Node::new(VIRTUAL_LEAF, &name, existing, kind))
        } else {
            let name = self.name_of(path);
            self.attach(Node::new(name, path, parent, kind))
        };
        self.leaves.insert(client, leaf);
    }

    fn name_of<'a>(&self, path: &'a str) -> &'a str {
        match path.rsplit_once('/') {
            Some((_, name)) if self.hierarchical => name,
            _ => path,
        }
    }

    /// The node at `path`, made if it is not there; a client there moves to a virtual leaf.
    fn internal_node(&mut self, path: &str, parent: usize) -> usize {
        let Some(&index) = self.paths.get(path) else {
            let node = Node::new(self.name_of(path), path, parent, Kind::Internal);
            return self.attach(node);
        };
        let Some(node) = self.nodes.get_mut(index) else {
            return index;
        };
        if let Kind::Leaf { client, .. } = node.kind {
            let kind = std::mem::replace(&mut node.kind, Kind::Internal);
            let path = format!("{path}/{VIRTUAL_LEAF}");
            let mut leaf = Node::new(VIRTUAL_LEAF, &path, index, kind);
            leaf.held.clone_from(&node.held);
            leaf.hand_outs = node.hand_outs;
            self.relist(index);
            let leaf = self.attach(leaf);
            self.leaves.insert(client, leaf);
        }
        index
    }

    /// Stores a node and lists it with its parent.
    fn attach(&mut self, node: Node<K>) -> usize {
        let path = (&*node.name != VIRTUAL_LEAF).then(|| node.path.clone());
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(slot) = self.nodes.get_mut(index) {
                    *slot = node;
                }
                index
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        if let Some(path) = path {
            self.paths.insert(path, index);
        }
        self.relist(index);
        index
    }

    /// Lists a node with its parent according to its kind.
    fn relist(&mut self, index: usize) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let (parent, inactive) = (node.parent, node.is_inactive());
        self.unlist(index);
        if let Some(parent) = self.nodes.get_mut(parent) {
            if inactive {
                parent.inactive.push(index);
            } else {
                parent.active.push(index);
            }
        }
        self.mark(index);
    }

    fn unlist(&mut self, index: usize) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let parent = node.parent;
        if let Some(parent) = self.nodes.get_mut(parent) {
            for list in [&mut parent.active, &mut parent.inactive] {
                if let Some(position) = list.iter().position(|child| *child == index) {
                    list.remove(position);
                }
            }
        }
        self.order = None;
    }

    /// Notes that the share of a node, and hence those of its ancestors, are out of date.
    fn mark(&mut self, mut index: usize) {
        self.order = None;
        while let Some(node) = self.nodes.get_mut(index) {
            if !node.changed {
                node.changed = true;
                self.changed.push(index);
            }
            if index == ROOT {
                return;
            }
            index = node.parent;
        }
    }

    /// Removes a client with what it holds. Does nothing if it is not there.
    pub(super) fn remove(&mut self, client: Key<K>) {
        let Some(leaf) = self.leaves.remove(&client) else {
            return;
        };
        let held = self
            .nodes
            .get_mut(leaf)
            .map(|node| std::mem::take(&mut node.held))
            .unwrap_or_default();
        let mut index = leaf;
        while index != ROOT {
            let Some(node) = self.nodes.get(index) else {
                return;
            };
            let parent = node.parent;
            if index == leaf || (node.active.is_empty() && node.inactive.is_empty()) {
                self.detach(index);
            } else {
                self.collapse(index);
                self.mark(index);
            }
            if let Some(parent) = self.nodes.get_mut(parent) {
                parent.held -= &held;
            }
            index = parent;
        }
        self.mark(ROOT);
    }

    fn detach(&mut self, index: usize) {
        self.unlist(index);
        if let Some(node) = self.nodes.get_mut(index) {
            node.changed = false;
            if &*node.name != VIRTUAL_LEAF {
                self.paths.remove(&node.path);
            }
            self.free.push(index);
        }
    }

    /// Turns a node whose only child is its virtual leaf back into a leaf.
    fn collapse(&mut self, index: usize) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let (([only], []) | ([], [only])) = (node.active.as_slice(), node.inactive.as_slice())
        else {
            return;
        };
        let only = *only;
        let Some(child) = self.nodes.get_mut(only) else {
            return;
        };
        let Kind::Leaf { client, active } = child.kind else {
            return;
        };
        if &*child.name != VIRTUAL_LEAF {
            return;
        }
        self.detach(only);
        if let Some(node) = self.nodes.get_mut(index) {
            node.kind = Kind::Leaf { client, active };
        }
        self.leaves.insert(client, index);
        self.relist(index);
    }

    /// Includes a client in the order, or leaves it out. What it holds counts in any case.
    pub(super) fn set_active(&mut self, client: Key<K>, wanted: bool) {
        let Some(&index) = self.leaves.get(&client) else {
            return;
        };
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if let Kind::Leaf { active, .. } = &mut node.kind
            && *active != wanted
        {
            *active = wanted;
            self.relist(index);
        }
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
        while let Some(node) = self.nodes.get_mut(index) {
            change(node);
            if index == ROOT {
                break;
            }
            index = node.parent;
        }
        self.mark(leaf);
    }

    /// The active clients, those with the smallest share first: shares, then fewer hand-outs, then
    /// names. The poorest subtree comes first as a block.
    pub(super) fn order(&mut self, totals: &Totals) -> Arc<[Key<K>]> {
        let stale = self.version != Some(totals.version);
        if let Some(order) = self.order.as_ref().filter(|_| !stale) {
            return order.clone();
        }
        if stale {
            self.sort_all(totals);
        } else {
            self.sort_changed(totals);
        }
        let order: Arc<[Key<K>]> = self.active_leaves().into();
        self.order = Some(order.clone());
        order
    }

    fn sort_all(&mut self, totals: &Totals) {
        self.version = Some(totals.version);
        self.changed.clear();
        for index in 0..self.nodes.len() {
            self.refresh(index, totals);
        }
        for index in 0..self.nodes.len() {
            self.sort_children(index);
        }
    }

    fn refresh(&mut self, index: usize, totals: &Totals) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let share = self.share_of(node, totals);
        if let Some(node) = self.nodes.get_mut(index) {
            node.share = share;
            node.changed = false;
        }
    }

    fn sort_children(&mut self, index: usize) {
        let mut children = self.take_active(index);
        children.sort_by(|left, right| self.compare(*left, *right));
        self.put_active(index, children);
    }

    fn take_active(&mut self, index: usize) -> Vec<usize> {
        self.nodes
            .get_mut(index)
            .map(|node| std::mem::take(&mut node.active))
            .unwrap_or_default()
    }

    fn put_active(&mut self, index: usize, children: Vec<usize>) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.active = children;
        }
    }

    fn compare(&self, left: usize, right: usize) -> Ordering {
        match (self.nodes.get(left), self.nodes.get(right)) {
            (Some(left), Some(right)) => left.precedes(right),
            _ => Ordering::Equal,
        }
    }

    /// Recomputes the shares of marked nodes and moves them to their places.
    fn sort_changed(&mut self, totals: &Totals) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|index| self.nodes.get(*index).is_some_and(|node| node.changed));
        changed.sort_unstable_by_key(|index| (self.nodes.get(*index).map(|n| n.parent), *index));
        changed.dedup();
        let same_parent = |left: &usize, right: &usize| {
            self.nodes.get(*left).map(|n| n.parent) == self.nodes.get(*right).map(|n| n.parent)
        };
        let groups: Vec<Vec<usize>> = changed.chunk_by(same_parent).map(<[_]>::to_vec).collect();
        for group in groups {
            let parent = group.first().and_then(|index| self.nodes.get(*index));
            let Some(parent) = parent.map(|node| node.parent) else {
                continue;
            };
            self.move_children(parent, &group, totals);
        }
    }

    fn move_children(&mut self, parent: usize, moved: &[usize], totals: &Totals) {
        let mut children = self.take_active(parent);
        if moved.len() <= MOVED_MAX {
            let mut places = Vec::with_capacity(moved.len());
            for index in moved {
                if let Some(position) = children.iter().position(|child| child == index) {
                    children.remove(position);
                    places.push(*index);
                }
            }
            moved.iter().for_each(|index| self.refresh(*index, totals));
            for index in places {
                let place = children.partition_point(|child| self.compare(*child, index).is_lt());
                children.insert(place, index);
            }
        } else {
            moved.iter().for_each(|index| self.refresh(*index, totals));
            children.sort_by(|left, right| self.compare(*left, *right));
        }
        self.put_active(parent, children);
    }

    /// The clients of the active leaves in the order of the tree. Names choose the depth of the
    /// tree, so that it is walked without recursion.
    fn active_leaves(&self) -> Vec<Key<K>> {
        let mut clients = Vec::with_capacity(self.leaves.len());
        let mut pending = vec![ROOT];
        while let Some(node) = pending.pop().and_then(|index| self.nodes.get(index)) {
            match node.kind {
                Kind::Leaf { client, .. } => clients.push(client),
                Kind::Internal => pending.extend(node.active.iter().rev()),
            }
        }
        clients
    }
}

#[cfg(test)]
mod tests;
