//! Going through clients in order.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::{Capacity, ROOT, Sorter};
use crate::allocator::lots::{Draw, Lots};
use crate::allocator::policy::Rank;
use crate::allocator::slots::Key;

/// How deep a tree may be for a walk to need no memory.
const INLINE_DEPTH: usize = 4;

/// If so many were met too early, all are looked at.
const WAITING_MAX: usize = 32;

/// A place in the order of clients. The order must not change on the way: only
/// [`Sorter::begin`] and adding, removing and activating clients do that.
pub(in crate::allocator) enum Walk {
    /// The nodes from the root down.
    Ranks(SmallVec<[Level; INLINE_DEPTH]>),
    /// Draws by lot.
    Lots(Draw),
}

/// A place among siblings.
pub(in crate::allocator) struct Level {
    parent: u32,
    /// How many are done, if they are in one list that is in order.
    done: u32,
    /// Otherwise, where in each group.
    groups: Option<Box<Groups>>,
}

/// A place among siblings that are in several groups, or of which some may be in a wrong one.
struct Groups {
    heads: Vec<Head>,
    /// Those that were met too early, the first in order last.
    waiting: Vec<(Rank, u32)>,
}

/// The first member of a group that is not done, and the rank by which it is sorted.
#[derive(Clone, Copy)]
struct Head {
    done: u32,
    first: Option<(Rank, u32)>,
}

impl Level {
    fn new(parent: u32) -> Level {
        Level {
            parent,
            done: 0,
            groups: None,
        }
    }
}

impl<K> Sorter<K> {
    /// Brings the order up to date and starts at its beginning. `seed` decides draws by lot.
    pub(in crate::allocator) fn begin(&mut self, capacity: &Capacity, seed: u64) -> Walk {
        // A client that was always the only one needs no rank; most roles have one framework.
        if self.count > 1 || !self.top.groups.is_empty() {
            self.refresh(capacity);
            if self.policy.draws_lots() {
                self.draw_from_active(capacity);
                return Walk::Lots(Draw::new(seed));
            }
        }
        Walk::Ranks(SmallVec::from_iter([Level::new(ROOT)]))
    }

    /// The next active client. The first subtree comes first as a block.
    pub(in crate::allocator) fn next(
        &mut self,
        walk: &mut Walk,
        capacity: &Capacity,
    ) -> Option<Key<K>> {
        match walk {
            Walk::Ranks(path) => self.next_by_rank(path, capacity),
            Walk::Lots(draw) => {
                let (clients, lots) = self.lots.as_deref()?;
                clients.get(draw.next(lots)?).copied()
            }
        }
    }

    /// The active ones of some clients in order, without the others. Of a subtree at the top there
    /// must not be two.
    pub(in crate::allocator) fn in_order(
        &self,
        clients: impl Iterator<Item = Key<K>>,
        capacity: &Capacity,
    ) -> Vec<Key<K>> {
        let ranked = clients.filter_map(|client| {
            let leaf = self.find(client)?;
            self.node(leaf).filter(|node| node.is_active())?;
            let top = self.top_of(leaf);
            Some(((self.real_rank(top, capacity)?, top), client))
        });
        let mut ranked: Vec<((Rank, u32), Key<K>)> = ranked.collect();
        ranked.sort_by(|(left, _), (right, _)| self.order(*left, *right));
        ranked.into_iter().map(|(_, client)| client).collect()
    }

    /// The node at the top that a node is below, or is.
    fn top_of(&self, mut index: u32) -> u32 {
        while let Some(node) = self.node(index).filter(|node| node.parent != ROOT) {
            index = node.parent;
        }
        index
    }

    fn next_by_rank(
        &mut self,
        path: &mut SmallVec<[Level; INLINE_DEPTH]>,
        capacity: &Capacity,
    ) -> Option<Key<K>> {
        while let Some(level) = path.last_mut() {
            let Some(child) = self.next_sibling(level, capacity) else {
                path.pop();
                continue;
            };
            match self.node(child)?.client() {
                Some(client) => return Some(client),
                None => path.push(Level::new(child)),
            }
        }
        None
    }

    /// The next node among siblings.
    fn next_sibling(&mut self, level: &mut Level, capacity: &Capacity) -> Option<u32> {
        let verified = self.is_verified();
        let children = self.children(level.parent)?;
        let list = match children.groups.as_slice() {
            [] => &children.new,
            [only] if verified => &only.members,
            _ => {
                let mut groups = level
                    .groups
                    .take()
                    .unwrap_or_else(|| self.groups_below(level.parent, capacity));
                let next = self.next_of_groups(level.parent, &mut groups, capacity);
                level.groups = Some(groups);
                return next;
            }
        };
        let next = list.get(level.done as usize).copied();
        level.done += 1;
        next
    }

    fn groups_below(&self, parent: u32, capacity: &Capacity) -> Box<Groups> {
        let count = self.children(parent).map_or(0, |all| all.groups.len());
        let heads = (0..count).map(|group| self.head(parent, group, 0, capacity));
        Box::new(Groups {
            heads: heads.collect(),
            waiting: Vec::new(),
        })
    }

    /// The next node among siblings in several groups, or of which some may be in a wrong one.
    fn next_of_groups(
        &mut self,
        parent: u32,
        groups: &mut Groups,
        capacity: &Capacity,
    ) -> Option<u32> {
        loop {
            let heads = groups.heads.iter().enumerate();
            let firsts = heads.filter_map(|(group, head)| Some((head.first?, head.done, group)));
            let first = firsts.min_by(|(left, ..), (right, ..)| self.order(*left, *right));
            let Some((first, done, group)) = first else {
                return groups.waiting.pop().map(|(_, member)| member);
            };
            if let Some(waiting) = groups.waiting.last()
                && self.order(*waiting, first).is_lt()
            {
                return groups.waiting.pop().map(|(_, member)| member);
            }
            let next = self.head(parent, group, done + 1, capacity);
            if let Some(head) = groups.heads.get_mut(group) {
                *head = next;
            }
            let (rank, member) = first;
            if self.is_verified() {
                return Some(member);
            }
            let real = self.real_rank(member, capacity)?;
            if real == rank {
                return Some(member);
            }
            self.mark(member);
            let place = groups
                .waiting
                .partition_point(|waiting| self.order(*waiting, (real, member)).is_gt());
            groups.waiting.insert(place, (real, member));
            if groups.waiting.len() > WAITING_MAX {
                self.meet_all(parent, groups, capacity);
            }
        }
    }

    fn head(&self, parent: u32, group: usize, done: u32, capacity: &Capacity) -> Head {
        let group = self.children(parent).and_then(|all| all.groups.get(group));
        let first = group.and_then(|group| {
            let member = *group.members.get(done as usize)?;
            let standing = self.node(member)?.standing;
            Some((group.measure.rank(standing, capacity), member))
        });
        Head { done, first }
    }

    /// Computes the ranks of all that were not met yet.
    fn meet_all(&mut self, parent: u32, groups: &mut Groups, capacity: &Capacity) {
        let Some(children) = self.children(parent) else {
            return;
        };
        let lists = children.groups.iter().zip(&groups.heads);
        let rest = lists.flat_map(|(list, head)| list.members.iter().skip(head.done as usize));
        let rest: Vec<u32> = rest.copied().collect();
        for head in &mut groups.heads {
            head.first = None;
        }
        for member in rest {
            let Some(real) = self.real_rank(member, capacity) else {
                continue;
            };
            if self.sorted_rank(member, capacity) != Some(real) {
                self.mark(member);
            }
            groups.waiting.push((real, member));
        }
        let waiting = &mut groups.waiting;
        waiting.sort_by(|left, right| self.order(*right, *left));
    }

    /// The order of siblings with their ranks.
    fn order(&self, left: (Rank, u32), right: (Rank, u32)) -> Ordering {
        let name = |index| self.node(index).map(|node| node.name());
        let by_rank = left.0.cmp(&right.0);
        by_rank.then_with(|| name(left.1).cmp(&name(right.1)))
    }

    /// The lots of an active leaf are the product, along its path, of the fractions that a node has
    /// of the lots of its siblings, whether they are active or not.
    fn draw_from_active(&mut self, capacity: &Capacity) {
        if self.lots.is_some() {
            return;
        }
        let mut clients = Vec::with_capacity(self.len());
        let mut weights = Vec::with_capacity(self.len());
        let mut pending = vec![(ROOT, 1.0)];
        while let Some((index, fraction)) = pending.pop() {
            if let Some(client) = self.node(index).and_then(|node| node.client()) {
                clients.push(client);
                weights.push(fraction);
                continue;
            }
            let Some(children) = self.children(index) else {
                continue;
            };
            let all = children.active().chain(children.inactive.iter().copied());
            let ranks = all.filter_map(|child| Some((self.real_rank(child, capacity)?, child)));
            let mut ranks: Vec<(Rank, u32)> = ranks.collect();
            ranks.sort_by(|left, right| self.order(*left, *right));
            let sum: f64 = ranks.iter().map(|(rank, _)| lots(rank.key)).sum();
            for (rank, child) in ranks.into_iter().rev() {
                if self.node(child).is_some_and(|node| node.is_active()) {
                    let part = if sum > 0.0 {
                        fraction * lots(rank.key) / sum
                    } else {
                        0.0
                    };
                    pending.push((child, part));
                }
            }
        }
        self.lots = Some(Box::new((clients, Lots::new(weights.into_iter()))));
    }
}

fn lots(key: f64) -> f64 {
    if key.is_finite() && key > 0.0 {
        key
    } else {
        0.0
    }
}
