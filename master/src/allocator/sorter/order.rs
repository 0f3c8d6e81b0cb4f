//! Keeping the children of each node in order.

use std::cmp::Ordering;

use super::{Capacity, ROOT, Sorter, client_of};

/// Up to this many changed nodes are moved one by one; more are sorted and merged.
const MOVED_MAX: usize = 8;

impl<K> Sorter<K> {
    /// Recomputes the ranks that are out of date and moves their nodes to their places.
    pub(super) fn refresh(&mut self, capacity: &Capacity) {
        if self.version != Some(capacity.version) {
            self.version = Some(capacity.version);
            self.sort_all(capacity);
        } else if self.changed.len() <= MOVED_MAX {
            while let Some(index) = self.changed.pop() {
                if self.is_changed(index) {
                    self.replace(index, capacity);
                }
            }
        } else {
            self.sort_changed(capacity);
        }
    }

    fn is_changed(&self, index: u32) -> bool {
        self.node(index).is_some_and(|node| node.changed)
    }

    fn sort_all(&mut self, capacity: &Capacity) {
        self.changed.clear();
        let count = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        for index in ROOT..count {
            self.rank(index, capacity);
        }
        for index in ROOT..count {
            let mut children = self.take_active(index);
            children.sort_by(|left, right| self.compare(*left, *right));
            self.put_active(index, children);
        }
    }

    /// Computes the rank of a node, which must not be sorted with its siblings at the moment.
    fn rank(&mut self, index: u32, capacity: &Capacity) {
        let Some(node) = self.node(index) else {
            return;
        };
        let rank = self.policy.rank(&client_of(node, capacity));
        if node.rank != rank {
            self.lots = None;
        }
        if let Some(node) = self.node_mut(index) {
            node.rank = rank;
            node.changed = false;
        }
    }

    /// Moves one node to its place among its siblings.
    fn replace(&mut self, index: u32, capacity: &Capacity) {
        let Some(node) = self.node(index) else {
            return;
        };
        let (parent, inactive) = (node.parent, node.is_inactive());
        if inactive {
            self.rank(index, capacity);
            return;
        }
        self.remove_active(parent, index);
        self.rank(index, capacity);
        let Some(parent_node) = self.node(parent) else {
            return;
        };
        let sorted = parent_node.active.get(..parent_node.sorted).unwrap_or(&[]);
        let place = sorted.partition_point(|child| self.compare(*child, index).is_lt());
        if let Some(parent) = self.node_mut(parent) {
            parent.active.insert(place, index);
            parent.sorted += 1;
        }
    }

    /// Takes a node out of the list of its parent.
    pub(super) fn remove_active(&mut self, parent: u32, index: u32) {
        let Some(node) = self.node(parent) else {
            return;
        };
        let (sorted, new) = node.active.split_at(node.sorted.min(node.active.len()));
        let guess = sorted.partition_point(|child| self.compare(*child, index).is_lt());
        let place = if sorted.get(guess) == Some(&index) {
            Some(guess)
        } else {
            let place = new.iter().position(|child| *child == index);
            place.map(|place| place + sorted.len())
        };
        if let (Some(place), Some(node)) = (place, self.node_mut(parent)) {
            node.active.remove(place);
            node.sorted -= usize::from(place < node.sorted);
        }
    }

    fn sort_changed(&mut self, capacity: &Capacity) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|index| self.is_changed(*index));
        changed.sort_unstable_by_key(|index| (self.node(*index).map(|node| node.parent), *index));
        changed.dedup();
        let mut start = 0;
        while let Some(parent) = changed
            .get(start)
            .and_then(|index| self.node(*index))
            .map(|node| node.parent)
        {
            let rest = changed.get(start..).unwrap_or(&[]);
            let same = |index: &u32| self.node(*index).is_some_and(|node| node.parent == parent);
            let length = rest.iter().take_while(|index| same(index)).count();
            let group = rest.get(..length).unwrap_or(&[]).to_vec();
            self.sort_group(parent, &group, capacity);
            start += length.max(1);
        }
    }

    /// Moves several children of one node to their places.
    fn sort_group(&mut self, parent: u32, group: &[u32], capacity: &Capacity) {
        let mut rest = self.take_active(parent);
        rest.retain(|child| !self.is_changed(*child));
        for index in group {
            self.rank(*index, capacity);
        }
        let mut moved: Vec<u32> = group
            .iter()
            .copied()
            .filter(|index| self.node(*index).is_some_and(|node| !node.is_inactive()))
            .collect();
        moved.sort_by(|left, right| self.compare(*left, *right));
        let merged = self.merge(&rest, &moved);
        self.put_active(parent, merged);
    }

    fn merge(&self, mut left: &[u32], mut right: &[u32]) -> Vec<u32> {
        let mut merged = Vec::with_capacity(left.len() + right.len());
        while let (Some((first, left_rest)), Some((second, right_rest))) =
            (left.split_first(), right.split_first())
        {
            if self.compare(*first, *second).is_lt() {
                merged.push(*first);
                left = left_rest;
            } else {
                merged.push(*second);
                right = right_rest;
            }
        }
        merged.extend_from_slice(left);
        merged.extend_from_slice(right);
        merged
    }

    fn take_active(&mut self, index: u32) -> Vec<u32> {
        self.node_mut(index)
            .map(|node| std::mem::take(&mut node.active))
            .unwrap_or_default()
    }

    fn put_active(&mut self, index: u32, children: Vec<u32>) {
        if let Some(node) = self.node_mut(index) {
            node.sorted = children.len();
            node.active = children;
        }
    }

    fn compare(&self, left: u32, right: u32) -> Ordering {
        match (self.node(left), self.node(right)) {
            (Some(left), Some(right)) => left
                .rank
                .cmp(&right.rank)
                .then_with(|| left.name.cmp(&right.name)),
            _ => Ordering::Equal,
        }
    }
}
