//! What clients want, and when they came, for policies that go by it.

use mesos::resources::ResourceQuantities;

use super::{NEVER, ROOT, Sorter};
use crate::allocator::slots::Key;

impl<K> Sorter<K> {
    /// When the first of the active clients came.
    pub(in crate::allocator) fn first_registered(&self) -> u64 {
        self.registered.first().map_or(NEVER, |(first, _)| *first)
    }

    /// What all active clients want.
    pub(in crate::allocator) fn demand(&self) -> Option<&ResourceQuantities> {
        self.node(ROOT).and_then(|root| root.demand.as_deref())
    }

    /// Adds what a leaf wants, and when it came, to its ancestors, or takes it away.
    pub(super) fn count_wishes(&mut self, leaf: u32, active: bool) {
        let Some(node) = self.node(leaf) else {
            return;
        };
        let (demand, registered) = (node.demand.clone(), node.registered);
        if !self.hierarchical {
            let entry = (registered, leaf);
            match self.registered.binary_search(&entry) {
                Ok(place) if !active => {
                    self.registered.remove(place);
                }
                Err(place) if active => self.registered.insert(place, entry),
                _ => {}
            }
        }
        let (before, after) = if active {
            (None, demand)
        } else {
            (demand, None)
        };
        self.change_demand_above(leaf, before.as_deref(), after.as_deref());
        self.find_first_registered_above(leaf);
    }

    fn change_demand_above(
        &mut self,
        leaf: u32,
        before: Option<&ResourceQuantities>,
        after: Option<&ResourceQuantities>,
    ) {
        if before.is_none() && after.is_none() {
            return;
        }
        let mut index = leaf;
        while index != ROOT
            && let Some(parent) = self.node(index).map(|node| node.parent)
        {
            if let Some(node) = self.node_mut(parent) {
                let mut demand = node.demand.take().unwrap_or_default();
                *demand -= before.unwrap_or(&ResourceQuantities::new());
                *demand += after.unwrap_or(&ResourceQuantities::new());
                node.demand = (!demand.is_empty()).then_some(demand);
            }
            index = parent;
        }
        self.mark(leaf);
    }

    fn find_first_registered_above(&mut self, leaf: u32) {
        let mut index = leaf;
        while let Some(parent) = self.node(index).map(|node| node.parent)
            && parent != ROOT
            && let Some(node) = self.node(parent)
        {
            let children = node.active.iter().filter_map(|child| self.node(*child));
            let first = children.map(|child| child.registered).min();
            if let Some(node) = self.node_mut(parent) {
                node.registered = first.unwrap_or(NEVER);
            }
            index = parent;
        }
        self.mark(leaf);
    }

    /// Says when the first framework of a role came.
    pub(in crate::allocator) fn set_registered(&mut self, client: Key<K>, registered: u64) {
        let Some(&index) = self.leaves.get(&client) else {
            return;
        };
        let Some(node) = self.node_mut(index).filter(|n| n.registered != registered) else {
            return;
        };
        node.registered = registered;
        self.find_first_registered_above(index);
    }

    /// Says what a client wants.
    pub(in crate::allocator) fn set_demand(
        &mut self,
        client: Key<K>,
        demand: Option<&ResourceQuantities>,
    ) {
        let Some(&index) = self.leaves.get(&client) else {
            return;
        };
        let Some(node) = self.node_mut(index) else {
            return;
        };
        let demand = demand.filter(|demand| !demand.is_empty());
        if node.demand.as_deref() == demand {
            return;
        }
        let after = demand.cloned().map(Box::new);
        let before = std::mem::replace(&mut node.demand, after);
        if node.is_inactive() {
            self.mark(index);
        } else {
            self.change_demand_above(index, before.as_deref(), demand);
        }
    }
}
