//! Going through clients in order.

use smallvec::SmallVec;

use super::{Capacity, Kind, ROOT, Sorter};
use crate::allocator::lots::{Draw, Lots};
use crate::allocator::slots::Key;

/// How deep a tree may be for a walk to need no memory.
const INLINE_DEPTH: usize = 4;

/// A place in the order of clients. The order must not change on the way: only
/// [`Sorter::begin`] and adding, removing and activating clients do that.
pub(in crate::allocator) enum Walk {
    /// The nodes from the root down, and how many of their children are done.
    Ranks(SmallVec<[(u32, usize); INLINE_DEPTH]>),
    /// Draws by lot.
    Lots(Draw),
}

impl<K> Sorter<K> {
    /// Brings the order up to date and starts at its beginning. `seed` decides draws by lot.
    pub(in crate::allocator) fn begin(&mut self, capacity: &Capacity, seed: u64) -> Walk {
        // A single client needs no rank; most roles have one framework.
        if self.leaves.len() > 1 {
            self.refresh(capacity);
            if self.policy.draws_lots() {
                self.draw_from_active();
                return Walk::Lots(Draw::new(seed));
            }
        }
        Walk::Ranks(SmallVec::from_slice(&[(ROOT, 0)]))
    }

    /// The next active client. The first subtree comes first as a block.
    pub(in crate::allocator) fn next(&self, walk: &mut Walk) -> Option<Key<K>> {
        match walk {
            Walk::Ranks(path) => self.next_by_rank(path),
            Walk::Lots(draw) => {
                let (clients, lots) = self.lots.as_ref()?;
                clients.get(draw.next(lots)?).copied()
            }
        }
    }

    fn next_by_rank(&self, path: &mut SmallVec<[(u32, usize); INLINE_DEPTH]>) -> Option<Key<K>> {
        while let Some((index, done)) = path.last_mut() {
            let child = self
                .node(*index)
                .and_then(|node| node.active.get(*done).copied());
            let Some(child) = child else {
                path.pop();
                continue;
            };
            *done += 1;
            match self.node(child)?.kind {
                Kind::Leaf { client, .. } => return Some(client),
                Kind::Internal => path.push((child, 0)),
            }
        }
        None
    }

    /// The lots of an active leaf are the product, along its path, of the fractions that a node has
    /// of the lots of its active siblings.
    fn draw_from_active(&mut self) {
        if self.lots.is_some() {
            return;
        }
        let mut clients = Vec::with_capacity(self.leaves.len());
        let mut weights = Vec::with_capacity(self.leaves.len());
        let mut pending = vec![(ROOT, 1.0)];
        while let Some((index, fraction)) = pending.pop() {
            let Some(node) = self.node(index) else {
                continue;
            };
            if let Kind::Leaf { client, .. } = node.kind {
                clients.push(client);
                weights.push(fraction);
                continue;
            }
            let children: Vec<(u32, f64)> = node
                .active
                .iter()
                .filter(|child| self.has_active_leaf(**child))
                .filter_map(|child| Some((*child, lots(self.node(*child)?.rank.key))))
                .collect();
            let sum: f64 = children.iter().map(|(_, lots)| lots).sum();
            let share = |lots: f64| {
                if sum > 0.0 {
                    fraction * lots / sum
                } else {
                    0.0
                }
            };
            pending.extend(
                children
                    .iter()
                    .rev()
                    .map(|(child, lots)| (*child, share(*lots))),
            );
        }
        self.lots = Some((clients, Lots::new(weights.into_iter())));
    }

    fn has_active_leaf(&self, index: u32) -> bool {
        let mut pending = vec![index];
        while let Some(node) = pending.pop().and_then(|index| self.node(index)) {
            match node.kind {
                Kind::Leaf { active: true, .. } => return true,
                Kind::Leaf { active: false, .. } => {}
                Kind::Internal => pending.extend(&node.active),
            }
        }
        false
    }
}

fn lots(key: f64) -> f64 {
    if key.is_finite() && key > 0.0 {
        key
    } else {
        0.0
    }
}
