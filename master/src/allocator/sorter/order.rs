//! Keeping the children of each node in order.
//!
//! Active children are sorted in groups whose order does not depend on the capacity of the
//! cluster. With a policy that goes by dominant shares, a group are those of the same dominant
//! resource and weight, by the amount that they hold of it. When the capacity changes, another
//! resource may become dominant for some. They are then in the wrong group, but only too early: the
//! share of the old resource is a lower bound of theirs. So a walk that computes the real rank of
//! each node it comes to finds them out, and they are moved before the next walk. If walks are
//! many, all nodes are verified once instead.

use std::cmp::Ordering;

use super::node::{Measure, Standing};
use super::{Capacity, NONE, ROOT, Sorter, client_of};
use crate::allocator::policy::{Basis, Rank};

/// Up to this many changed nodes are moved one by one; more are sorted and merged.
const MOVED_MAX: usize = 8;

/// So many walks after a change of the capacity verify only what they come to.
const UNVERIFIED_WALKS_MAX: u32 = 16;

impl<K> Sorter<K> {
    /// Moves the nodes whose ranks are out of date to their places.
    pub(super) fn refresh(&mut self, capacity: &Capacity) {
        self.follow(capacity);
        if self.changed.len() > MOVED_MAX {
            self.sort_changed(capacity);
            return;
        }
        while let Some(index) = self.changed.pop() {
            let Some(node) = self.node_mut(index).filter(|node| node.changed) else {
                continue;
            };
            node.changed = false;
            if node.is_active() {
                self.remove_sorted(index);
                self.insert_sorted(index, capacity);
            } else {
                self.note_lots(index, capacity);
            }
        }
    }

    /// Takes note of a change of the capacity.
    fn follow(&mut self, capacity: &Capacity) {
        if self.seen != capacity.version {
            (self.seen, self.walks) = (capacity.version, 0);
        }
        if self.verified == self.seen {
            return;
        }
        self.walks += 1;
        let due = match self.policy.basis() {
            Basis::Client => {
                self.verified = self.seen;
                return;
            }
            Basis::DominantShare => {
                self.lots = None;
                self.walks > UNVERIFIED_WALKS_MAX
            }
            Basis::Cluster => true,
        };
        if due {
            self.verify(capacity);
            self.verified = self.seen;
        }
    }

    /// Whether every node has the rank by which it is sorted.
    pub(super) fn is_verified(&self) -> bool {
        self.verified == self.seen
    }

    /// Marks the nodes whose ranks are not what they are sorted by.
    fn verify(&mut self, capacity: &Capacity) {
        let count = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        for index in 0..count {
            let in_order = self.node(index).is_some_and(|node| node.group != NONE);
            if in_order && self.sorted_rank(index, capacity) != self.real_rank(index, capacity) {
                self.mark(index);
            }
        }
    }

    /// The rank of a node.
    pub(super) fn real_rank(&self, index: u32, capacity: &Capacity) -> Option<Rank> {
        let node = self.node(index)?;
        Some(self.policy.rank(&client_of(node, capacity)))
    }

    /// The rank by which a node is sorted, which may be too small if it is not verified.
    pub(super) fn sorted_rank(&self, index: u32, capacity: &Capacity) -> Option<Rank> {
        let node = self.node(index)?;
        let group = self
            .children(node.parent)?
            .groups
            .get(node.group as usize)?;
        Some(group.measure.rank(node.standing, capacity))
    }

    /// Computes the standing of a node, which must not be sorted at the moment.
    fn measure(&mut self, index: u32, capacity: &Capacity) {
        let Some(node) = self.node(index) else {
            return;
        };
        let client = client_of(node, capacity);
        let rank = self.policy.rank(&client);
        let (measure, amount) = match self.policy.basis() {
            Basis::DominantShare => Measure::of(&client),
            Basis::Client | Basis::Cluster => (Measure::Key, Default::default()),
        };
        let standing = Standing {
            key: if measure == Measure::Key {
                rank.key
            } else {
                0.0
            },
            amount,
            tie: rank.tie,
        };
        let (parent, changed) = (node.parent, node.standing != standing);
        let group = self.children_mut(parent);
        let group = group.map_or(NONE, |children| children.group(measure));
        if changed {
            self.lots = None;
        }
        if let Some(node) = self.node_mut(index) {
            (node.standing, node.group) = (standing, group);
        }
    }

    /// Notes how many lots an inactive node has, which its siblings do not get.
    fn note_lots(&mut self, index: u32, capacity: &Capacity) {
        if !self.policy.draws_lots() {
            return;
        }
        let key = self.real_rank(index, capacity).map_or(0.0, |rank| rank.key);
        if let Some(node) = self.node_mut(index).filter(|n| n.standing.key != key) {
            node.standing.key = key;
            self.lots = None;
        }
    }

    /// Puts an active node into its place among its siblings.
    fn insert_sorted(&mut self, index: u32, capacity: &Capacity) {
        self.measure(index, capacity);
        let Some((parent, group)) = self.node(index).map(|node| (node.parent, node.group)) else {
            return;
        };
        let place = self.place(parent, group, index);
        let children = self.children_mut(parent);
        if let Some(group) = children.and_then(|all| all.groups.get_mut(group as usize)) {
            group.members.insert(place, index);
        }
    }

    /// Where a node is in its group, or belongs.
    fn place(&self, parent: u32, group: u32, index: u32) -> usize {
        let members = self.children(parent).map(|all| all.members(group));
        let members = members.unwrap_or(&[]);
        members.partition_point(|child| self.compare(*child, index).is_lt())
    }

    /// Takes an active node out of the list of its parent.
    fn remove_sorted(&mut self, index: u32) {
        let Some((parent, group)) = self.node(index).map(|node| (node.parent, node.group)) else {
            return;
        };
        let place = self.place(parent, group, index);
        let Some(children) = self.children_mut(parent) else {
            return;
        };
        if let Some(group) = children.groups.get_mut(group as usize) {
            if group.members.get(place) == Some(&index) {
                group.members.remove(place);
                children.forget_empty_groups();
            }
        } else if let Some(place) = children.new.iter().rposition(|child| *child == index) {
            children.new.remove(place);
        }
        if let Some(node) = self.node_mut(index) {
            node.group = NONE;
        }
    }

    fn sort_changed(&mut self, capacity: &Capacity) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|index| self.node(*index).is_some_and(|node| node.changed));
        changed.sort_unstable_by_key(|index| (self.node(*index).map(|node| node.parent), *index));
        changed.dedup();
        let parent = |sorter: &Sorter<K>, index: &u32| sorter.node(*index).map(|node| node.parent);
        let mut rest = changed.as_slice();
        while let Some(first) = rest.first() {
            let of = parent(self, first);
            let count = rest.iter().take_while(|index| parent(self, index) == of);
            let (siblings, others) = rest.split_at(count.count());
            self.sort_siblings(of.unwrap_or(ROOT), siblings, capacity);
            rest = others;
        }
    }

    /// Moves several children of one node to their places.
    fn sort_siblings(&mut self, parent: u32, siblings: &[u32], capacity: &Capacity) {
        let mut groups = self
            .children_mut(parent)
            .map(|children| {
                children.new = Vec::new();
                std::mem::take(&mut children.groups)
            })
            .unwrap_or_default();
        for group in &mut groups {
            let is_changed = |index: &u32| self.node(*index).is_some_and(|node| node.changed);
            group.members.retain(|index| !is_changed(index));
        }
        if let Some(children) = self.children_mut(parent) {
            children.groups = groups;
            children.forget_empty_groups();
        }
        let mut moved = Vec::with_capacity(siblings.len());
        for index in siblings {
            if let Some(node) = self.node_mut(*index) {
                (node.changed, node.group) = (false, NONE);
                if node.is_active() {
                    self.measure(*index, capacity);
                    moved.push(*index);
                } else {
                    self.note_lots(*index, capacity);
                }
            }
        }
        let group_of = |index: &u32| self.node(*index).map_or(NONE, |node| node.group);
        moved.sort_by(|left, right| {
            let groups = group_of(left).cmp(&group_of(right));
            groups.then_with(|| self.compare(*left, *right))
        });
        let mut merged = Vec::new();
        for moved in moved.chunk_by(|left, right| group_of(left) == group_of(right)) {
            let group = moved.first().map_or(NONE, group_of);
            let rest = self.children(parent).map(|all| all.members(group));
            merged.push((group, self.merge(rest.unwrap_or(&[]), moved)));
        }
        for (group, members) in merged {
            let children = self.children_mut(parent);
            if let Some(group) = children.and_then(|all| all.groups.get_mut(group as usize)) {
                group.members = members;
            }
        }
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

    /// The order within a group.
    fn compare(&self, left: u32, right: u32) -> Ordering {
        let (Some(left), Some(right)) = (self.node(left), self.node(right)) else {
            return Ordering::Equal;
        };
        let (a, b) = (&left.standing, &right.standing);
        a.key
            .total_cmp(&b.key)
            .then_with(|| a.amount.cmp(&b.amount))
            .then_with(|| a.tie.cmp(&b.tie))
            .then_with(|| left.name().cmp(right.name()))
    }

    /// Lists a node with its parent, which may become active by that.
    pub(super) fn list(&mut self, index: u32) {
        let Some(node) = self.node(index) else {
            return;
        };
        let (parent, active) = (node.parent, node.is_active());
        self.lots = None;
        if active {
            let joins = self.node(parent).is_some_and(|parent| !parent.is_active());
            if joins {
                self.unlist_inactive(parent);
            }
            if let Some(children) = self.children_mut(parent) {
                children.new.push(index);
            }
            if joins {
                self.list(parent);
            }
        } else if let Some(children) = self.children_mut(parent) {
            let place = children.inactive.partition_point(|other| *other < index);
            children.inactive.insert(place, index);
        }
        self.mark(index);
    }

    /// Takes a node out of the list of its parent, which may become inactive by that.
    pub(super) fn unlist(&mut self, index: u32) {
        self.lots = None;
        let Some(node) = self.node(index) else {
            return;
        };
        let parent = node.parent;
        if !node.is_active() {
            self.unlist_inactive(index);
            return;
        }
        self.remove_sorted(index);
        let leaves = self.node(parent).is_some_and(|parent| !parent.is_active());
        if leaves {
            self.deactivate(parent);
        }
    }

    /// Moves a node that has no active children any more to the inactive ones.
    fn deactivate(&mut self, index: u32) {
        self.remove_sorted(index);
        let Some(parent) = self.node(index).map(|node| node.parent) else {
            return;
        };
        if let Some(children) = self.children_mut(parent) {
            let place = children.inactive.partition_point(|other| *other < index);
            children.inactive.insert(place, index);
        }
        if self.node(parent).is_some_and(|parent| !parent.is_active()) {
            self.deactivate(parent);
        }
    }

    fn unlist_inactive(&mut self, index: u32) {
        let parent = self.node(index).map_or(ROOT, |node| node.parent);
        if let Some(children) = self.children_mut(parent)
            && let Ok(place) = children.inactive.binary_search(&index)
        {
            children.inactive.remove(place);
        }
    }

    /// Notes that the rank of a node, and hence those of its ancestors, are out of date.
    pub(super) fn mark(&mut self, mut index: u32) {
        while let Some(node) = self.node_mut(index) {
            let parent = node.parent;
            if !node.changed {
                node.changed = true;
                self.changed.push(index);
            }
            index = parent;
        }
    }
}
