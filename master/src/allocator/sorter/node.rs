//! The nodes of a sorter, and the lists of their children.

use std::sync::Arc;

use mesos::resources::{Name, ResourceQuantities, Scalar};

use super::{NEVER, NONE, VIRTUAL_LEAF};
use crate::allocator::policy::{Client, Rank};
use crate::allocator::slots::Key;

use super::Capacity;

pub(super) enum Kind<K> {
    Internal(Box<Children>),
    Leaf {
        client: Key<K>,
        active: bool,
    },
    /// No node at all; the next place of this kind.
    Free(u32),
}

/// The children of a node, each in one of these lists.
#[derive(Default)]
pub(super) struct Children {
    /// Active ones that are sorted.
    pub(super) groups: Vec<Group>,
    /// Active ones that are not sorted yet.
    pub(super) new: Vec<u32>,
    /// The others, by index.
    pub(super) inactive: Vec<u32>,
}

impl Children {
    pub(super) fn active(&self) -> impl Iterator<Item = u32> {
        let sorted = self.groups.iter().flat_map(|group| &group.members);
        sorted.chain(&self.new).copied()
    }

    pub(super) fn has_active(&self) -> bool {
        self.active().next().is_some()
    }

    /// The only child, if there is no other one.
    pub(super) fn only(&self) -> Option<u32> {
        let mut all = self.active().chain(self.inactive.iter().copied());
        all.next().filter(|_| all.next().is_none())
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_active() && self.inactive.is_empty()
    }

    /// The group of a measure, made if there is none.
    pub(super) fn group(&mut self, measure: Measure) -> u32 {
        let found = self.groups.iter().position(|g| g.measure == measure);
        let place = found.unwrap_or_else(|| {
            self.groups.reserve_exact(1);
            self.groups.push(Group {
                measure,
                members: Vec::new(),
            });
            self.groups.len() - 1
        });
        u32::try_from(place).unwrap_or(NONE)
    }

    /// Forgets the last groups, as far as they have no members.
    pub(super) fn forget_empty_groups(&mut self) {
        while self
            .groups
            .pop_if(|group| group.members.is_empty())
            .is_some()
        {}
    }

    pub(super) fn members(&self, group: u32) -> &[u32] {
        self.groups
            .get(group as usize)
            .map_or(&[], |group| &group.members)
    }
}

/// Siblings whose order does not depend on the capacity of the cluster.
pub(super) struct Group {
    pub(super) measure: Measure,
    /// In order.
    pub(super) members: Vec<u32>,
}

/// What the keys of the members of a group are made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Measure {
    /// Each has a key of its own.
    Key,
    /// The fraction that an amount is of what the cluster has of a resource, divided by a weight.
    Share { name: Name, weight: f64 },
}

/// The place of a node among the members of its group, as it was sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Standing {
    pub(super) key: f64,
    pub(super) amount: Scalar,
    pub(super) tie: u64,
}

impl Measure {
    /// The measure of a client whose key is its dominant share by its weight, and the amount.
    pub(super) fn of(client: &Client<'_>) -> (Measure, Scalar) {
        match client.dominant_amount() {
            Some((name, amount)) => {
                let (name, weight) = (name.clone(), client.weight);
                (Measure::Share { name, weight }, amount)
            }
            None => (Measure::Key, Scalar::ZERO),
        }
    }

    /// The rank that a standing means now. The real one cannot be before it, as a share is the
    /// largest of several fractions.
    pub(super) fn rank(&self, standing: Standing, capacity: &Capacity) -> Rank {
        let key = match self {
            Measure::Key => standing.key,
            Measure::Share { name, weight } => {
                Client::fraction(name, standing.amount, &capacity.amounts) / weight
            }
        };
        Rank {
            key,
            tie: standing.tie,
        }
    }
}

pub(super) struct Node<K> {
    pub(super) path: Arc<str>,
    /// Where the name begins in the path.
    name_start: u32,
    pub(super) parent: u32,
    pub(super) kind: Kind<K>,
    pub(super) weight: f64,
    /// What the subtree holds.
    pub(super) held: ResourceQuantities,
    /// What the active leaves of the subtree want.
    pub(super) demand: Option<Box<ResourceQuantities>>,
    /// When the first of the active leaves of the subtree came.
    pub(super) registered: u64,
    /// How often the subtree was handed something.
    pub(super) hand_outs: u64,
    /// On how many agents a leaf holds anything, ports and the like included.
    pub(super) agents: u32,
    /// The list of its parent that it is in, and its place there.
    pub(super) group: u32,
    pub(super) standing: Standing,
    /// Whether the standing is out of date, or the node is not sorted yet.
    pub(super) changed: bool,
}

impl<K> Node<K> {
    pub(super) fn new(path: Arc<str>, name_start: usize, parent: u32, kind: Kind<K>) -> Node<K> {
        Node {
            path,
            name_start: u32::try_from(name_start).unwrap_or(0),
            parent,
            kind,
            weight: 1.0,
            held: ResourceQuantities::new(),
            demand: None,
            registered: NEVER,
            hand_outs: 0,
            agents: 0,
            group: NONE,
            standing: Standing::default(),
            changed: false,
        }
    }

    /// The leaf of a client that has children.
    pub(super) fn virtual_leaf(path: &str, parent: u32, kind: Kind<K>) -> Node<K> {
        let path = format!("{path}/{VIRTUAL_LEAF}");
        let name_start = path.len() - VIRTUAL_LEAF.len();
        Node::new(path.into(), name_start, parent, kind)
    }

    pub(super) fn name(&self) -> &str {
        self.path.get(self.name_start as usize..).unwrap_or("")
    }

    pub(super) fn is_virtual(&self) -> bool {
        self.name_start > 0 && self.name() == VIRTUAL_LEAF
    }

    /// Whether it has a place in the order: it is an active leaf, or has one below it.
    pub(super) fn is_active(&self) -> bool {
        match &self.kind {
            Kind::Internal(children) => children.has_active(),
            Kind::Leaf { active, .. } => *active,
            Kind::Free(_) => false,
        }
    }

    pub(super) fn client(&self) -> Option<Key<K>> {
        match self.kind {
            Kind::Leaf { client, .. } => Some(client),
            _ => None,
        }
    }
}
