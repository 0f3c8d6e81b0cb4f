//! What clients want, and when they came, for policies that go by it.

use mesos::resources::ResourceQuantities;

use super::node::Children;
use super::{NEVER, ROOT, Sorter};
use crate::allocator::slots::Key;

impl<K> Sorter<K> {
    /// When the first of the active clients came.
    pub(in crate::allocator) fn first_registered(&self) -> u64 {
        match &self.index {
            Some(index) => index.registered.first().map_or(NEVER, |(first, _)| *first),
            None => self.first_of(&self.top),
        }
    }

    /// What all active clients want.
    pub(in crate::allocator) fn demand(&self) -> Option<&ResourceQuantities> {
        self.demand.as_deref()
    }

    /// When the first of the active children came.
    fn first_of(&self, children: &Children) -> u64 {
        let active = children.active().filter_map(|child| self.node(child));
        active.map(|child| child.registered).min().unwrap_or(NEVER)
    }

    /// Adds what a leaf wants, and when it came, to its ancestors, or takes it away.
    pub(super) fn count_wishes(&mut self, leaf: u32, active: bool) {
        let Some(node) = self.node(leaf) else {
            return;
        };
        let (demand, registered) = (node.demand.clone(), node.registered);
        if self.tree.is_none()
            && let Some(index) = &mut self.index
        {
            let entry = (registered, leaf);
            if active {
                index.registered.insert(entry);
            } else {
                index.registered.remove(&entry);
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
        let change = |demand: &mut Option<Box<ResourceQuantities>>| {
            let mut sum = demand.take().unwrap_or_default();
            *sum -= before.unwrap_or(&ResourceQuantities::new());
            *sum += after.unwrap_or(&ResourceQuantities::new());
            *demand = (!sum.is_empty()).then_some(sum);
        };
        let mut above = self.node(leaf).map(|node| node.parent);
        while let Some(node) = above.and_then(|index| self.node_mut(index)) {
            change(&mut node.demand);
            above = Some(node.parent);
        }
        change(&mut self.demand);
        self.mark(leaf);
    }

    fn find_first_registered_above(&mut self, leaf: u32) {
        let mut above = self.node(leaf).map(|node| node.parent);
        while let Some(index) = above.filter(|index| *index != ROOT) {
            let first = self.children(index).map(|children| self.first_of(children));
            above = self.node_mut(index).map(|node| {
                node.registered = first.unwrap_or(NEVER);
                node.parent
            });
        }
        self.mark(leaf);
    }

    /// Says when the first framework of a role came.
    pub(in crate::allocator) fn set_registered(&mut self, client: Key<K>, registered: u64) {
        let Some(index) = self.find(client) else {
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
        let Some(index) = self.find(client) else {
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
        if !node.is_active() {
            self.mark(index);
        } else {
            self.change_demand_above(index, before.as_deref(), demand);
        }
    }
}
