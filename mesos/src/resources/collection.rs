//! Resources as a whole: sums, differences, containment.

use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::sync::Arc;

use smallvec::SmallVec;

use super::name::Name;
use super::ranges::Ranges;
use super::resource::Resource;
use super::scalar::Scalar;
use super::set::Set;
use super::value::Value;

/// How many entries need no memory of their own: cpus, mem, disk and ports.
const INLINE_ENTRIES: usize = 4;

/// A bundle of resources, such as an offer, the total of an agent or the needs of a task.
///
/// Entries that can be joined are joined, so that there is one entry for each kind; things that
/// exist once (volumes, mounted disks) have an entry each. Empty resources are never kept.
///
/// The bundle behaves like a mathematical set with amounts: `a + b - b == a`. Subtracting more
/// than there is leaves nothing rather than a debt; ask [`Resources::contains`] first, or use
/// [`Resources::checked_sub`]. Equality ignores the order of entries.
/// Upstream: `include/mesos/resources.hpp`, `src/common/resources.cpp`.
#[derive(Clone, Default, Debug)]
pub struct Resources(SmallVec<[Resource; INLINE_ENTRIES]>);

impl Resources {
    /// No resources.
    #[must_use]
    pub fn new() -> Resources {
        Resources::default()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many entries there are; shared ones count once.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The entries. Their order has no meaning.
    pub fn iter(&self) -> std::slice::Iter<'_, Resource> {
        self.0.iter()
    }

    /// Adds one resource.
    pub fn insert(&mut self, resource: Resource) {
        if resource.is_empty() {
            return;
        }
        match self.0.iter_mut().find(|mine| mine.is_addable(&resource)) {
            Some(mine) if mine.is_shared() => {
                mine.shared_count = mine.shared_count.saturating_add(resource.shared_count);
            }
            Some(mine) => mine.value.add(&resource.value),
            None => self.0.push(resource),
        }
    }

    /// Takes one resource out, as far as it is there.
    pub fn remove(&mut self, resource: &Resource) {
        if resource.is_empty() {
            return;
        }
        let found = self
            .0
            .iter()
            .position(|mine| mine.is_subtractable(resource));
        let Some(index) = found else { return };
        let Some(mine) = self.0.get_mut(index) else {
            return;
        };
        if mine.is_shared() {
            mine.shared_count = mine.shared_count.saturating_sub(resource.shared_count);
        } else {
            mine.value.subtract(&resource.value);
        }
        let exhausted =
            mine.is_empty() || matches!(mine.value, Value::Scalar(amount) if amount < Scalar::ZERO);
        if exhausted {
            self.0.swap_remove(index);
        }
    }

    /// The difference, or nothing if `other` is not contained.
    #[must_use]
    pub fn checked_sub(&self, other: &Resources) -> Option<Resources> {
        self.contains(other).then(|| self - other)
    }

    /// Whether all of `other` is here.
    #[must_use]
    pub fn contains(&self, other: &Resources) -> bool {
        // Equal volumes have an entry each, so that each must be matched by another one. All other
        // entries of `other` are of different kinds and cannot claim the same thing twice.
        if !other.iter().any(Resource::is_indivisible) {
            return other
                .iter()
                .all(|resource| self.contains_resource(resource));
        }
        let mut remaining = self.clone();
        other.iter().all(|resource| {
            let contained = remaining.contains_resource(resource);
            if contained && resource.is_indivisible() {
                remaining.remove(resource);
            }
            contained
        })
    }

    /// Whether one entry has all of `resource`.
    #[must_use]
    pub fn contains_resource(&self, resource: &Resource) -> bool {
        self.0.iter().any(|mine| mine.contains(resource))
    }

    /// How many times exactly this resource is here: the count of a shared one, else 0 or 1.
    #[must_use]
    pub fn count(&self, resource: &Resource) -> u32 {
        self.0
            .iter()
            .find(|mine| *mine == resource)
            .map_or(0, |mine| mine.shared_count)
    }

    /// Marks everything as offered or allocated to `role`.
    pub fn allocate(&mut self, role: impl Into<Arc<str>>) {
        let role = role.into();
        self.reassign(|_| Some(role.clone()));
    }

    /// Marks everything as available.
    pub fn unallocate(&mut self) {
        self.reassign(|_| None);
    }

    /// Marks as allocated to `role` what is not allocated yet.
    pub fn allocate_unallocated(&mut self, role: impl Into<Arc<str>>) {
        let role = role.into();
        self.reassign(|resource| {
            let current = resource.allocation.take();
            Some(current.unwrap_or_else(|| role.clone()))
        });
    }

    /// Changes the allocations, joining entries that differed in nothing else.
    fn reassign(&mut self, mut allocation: impl FnMut(&mut Resource) -> Option<Arc<str>>) {
        let mut uniform = true;
        let mut first: Option<Option<Arc<str>>> = None;
        for resource in &mut self.0 {
            let before = resource.allocation.clone();
            uniform &= *first.get_or_insert_with(|| before.clone()) == before;
            resource.allocation = allocation(resource);
        }
        if !uniform {
            *self = std::mem::take(self).into_iter().collect();
        }
    }

    /// The sum of the scalars of a name, if there are any.
    #[must_use]
    pub fn get_scalar(&self, name: &str) -> Option<Scalar> {
        let mut amounts = self
            .0
            .iter()
            .filter(|resource| resource.name == *name)
            .filter_map(Resource::as_scalar)
            .peekable();
        amounts.peek()?;
        Some(amounts.sum())
    }

    /// The union of the ranges of a name, if there are any.
    #[must_use]
    pub fn get_ranges(&self, name: &str) -> Option<Ranges> {
        self.0
            .iter()
            .filter(|resource| resource.name == *name)
            .filter_map(Resource::as_ranges)
            .fold(None, |union: Option<Ranges>, ranges| match union {
                Some(mut union) => {
                    union.add(ranges);
                    Some(union)
                }
                None => Some(ranges.clone()),
            })
    }

    /// The union of the sets of a name, if there are any.
    #[must_use]
    pub fn get_set(&self, name: &str) -> Option<Set> {
        self.0
            .iter()
            .filter(|resource| resource.name == *name)
            .filter_map(Resource::as_set)
            .fold(None, |union: Option<Set>, set| match union {
                Some(mut union) => {
                    union.add(set);
                    Some(union)
                }
                None => Some(set.clone()),
            })
    }

    /// Processors, of all reservations and kinds.
    #[must_use]
    pub fn cpus(&self) -> Option<f64> {
        self.get_scalar(Name::CPUS.as_str()).map(Scalar::to_f64)
    }

    /// Graphics processors.
    #[must_use]
    pub fn gpus(&self) -> Option<f64> {
        self.get_scalar(Name::GPUS.as_str()).map(Scalar::to_f64)
    }

    /// Memory in megabytes (2^20 bytes).
    #[must_use]
    pub fn mem(&self) -> Option<f64> {
        self.get_scalar(Name::MEM.as_str()).map(Scalar::to_f64)
    }

    /// Disk space in megabytes (2^20 bytes), including volumes.
    #[must_use]
    pub fn disk(&self) -> Option<f64> {
        self.get_scalar(Name::DISK.as_str()).map(Scalar::to_f64)
    }

    /// Ports.
    #[must_use]
    pub fn ports(&self) -> Option<Ranges> {
        self.get_ranges(Name::PORTS.as_str())
    }

    /// Finds `targets` here, whatever they are reserved to: first what the target itself is
    /// reserved to, then unreserved resources, then any. The result carries the reservations that
    /// were found. None if not everything is there.
    #[must_use]
    pub fn find(&self, targets: &Resources) -> Option<Resources> {
        let mut total = Resources::new();
        for target in targets {
            total += &self.find_resource(target)?;
        }
        Some(total)
    }

    fn find_resource(&self, target: &Resource) -> Option<Resources> {
        let role = target.reservation_role();
        let mut found = Resources::new();
        let mut total = self.clone();
        let mut remaining = Resources::from(target.clone().to_unreserved());
        let preferences: [&dyn Fn(&Resource) -> bool; 3] = [
            &|resource| role.is_some() && resource.is_reserved(role),
            &Resource::is_unreserved,
            &|_| true,
        ];
        for preferred in preferences {
            for resource in total.filter(preferred) {
                let unreserved = Resources::from(resource.clone().to_unreserved());
                if unreserved.contains(&remaining) {
                    let reservations = resource.reservations();
                    found.extend(
                        remaining
                            .into_iter()
                            .map(|rest| rest.with_reservations(reservations)),
                    );
                    return Some(found);
                }
                if remaining.contains(&unreserved) {
                    total.remove(&resource);
                    remaining -= &unreserved;
                    found.insert(resource);
                }
            }
        }
        None
    }

    /// Sorts the entries with a comparison; their order has no meaning for the algebra.
    pub fn sort_by(&mut self, compare: impl FnMut(&Resource, &Resource) -> std::cmp::Ordering) {
        self.0.sort_by(compare);
    }

    /// Entries that are known to be of different kinds and not empty.
    pub(super) fn from_distinct(entries: impl Iterator<Item = Resource>) -> Resources {
        Resources(entries.collect())
    }
}

impl PartialEq for Resources {
    fn eq(&self, other: &Resources) -> bool {
        self.contains(other) && other.contains(self)
    }
}

impl From<Resource> for Resources {
    fn from(resource: Resource) -> Resources {
        let mut resources = Resources::new();
        resources.insert(resource);
        resources
    }
}

impl FromIterator<Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = Resource>>(iter: I) -> Resources {
        let mut resources = Resources::new();
        resources.extend(iter);
        resources
    }
}

impl Extend<Resource> for Resources {
    fn extend<I: IntoIterator<Item = Resource>>(&mut self, iter: I) {
        for resource in iter {
            self.insert(resource);
        }
    }
}

impl IntoIterator for Resources {
    type Item = Resource;
    type IntoIter = smallvec::IntoIter<[Resource; INLINE_ENTRIES]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Resource;
    type IntoIter = std::slice::Iter<'a, Resource>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, other: &Resources) {
        for resource in other {
            self.insert_ref(resource);
        }
    }
}

impl Resources {
    /// Like `insert`, cloning only what becomes a new entry.
    fn insert_ref(&mut self, resource: &Resource) {
        match self.0.iter_mut().find(|mine| mine.is_addable(resource)) {
            Some(mine) if mine.is_shared() => {
                mine.shared_count = mine.shared_count.saturating_add(resource.shared_count);
            }
            Some(mine) => mine.value.add(&resource.value),
            None if resource.is_empty() => {}
            None => self.0.push(resource.clone()),
        }
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, other: Resources) {
        if self.is_empty() {
            *self = other;
        } else {
            self.extend(other);
        }
    }
}

impl AddAssign<Resource> for Resources {
    fn add_assign(&mut self, resource: Resource) {
        self.insert(resource);
    }
}

impl SubAssign<&Resources> for Resources {
    fn sub_assign(&mut self, other: &Resources) {
        for resource in other {
            self.remove(resource);
        }
    }
}

impl SubAssign for Resources {
    fn sub_assign(&mut self, other: Resources) {
        *self -= &other;
    }
}

impl SubAssign<&Resource> for Resources {
    fn sub_assign(&mut self, resource: &Resource) {
        self.remove(resource);
    }
}

impl Add<&Resources> for &Resources {
    type Output = Resources;

    fn add(self, other: &Resources) -> Resources {
        self.clone() + other
    }
}

impl Add<&Resources> for Resources {
    type Output = Resources;

    fn add(mut self, other: &Resources) -> Resources {
        self += other;
        self
    }
}

impl Add for Resources {
    type Output = Resources;

    fn add(mut self, other: Resources) -> Resources {
        self += other;
        self
    }
}

impl Sub<&Resources> for &Resources {
    type Output = Resources;

    fn sub(self, other: &Resources) -> Resources {
        self.clone() - other
    }
}

impl Sub<&Resources> for Resources {
    type Output = Resources;

    fn sub(mut self, other: &Resources) -> Resources {
        self -= other;
        self
    }
}

impl Sub for Resources {
    type Output = Resources;

    fn sub(self, other: Resources) -> Resources {
        self - &other
    }
}

impl std::iter::Sum for Resources {
    fn sum<I: Iterator<Item = Resources>>(iter: I) -> Resources {
        iter.fold(Resources::new(), Add::add)
    }
}

impl<'a> std::iter::Sum<&'a Resources> for Resources {
    fn sum<I: Iterator<Item = &'a Resources>>(iter: I) -> Resources {
        iter.fold(Resources::new(), |total, resources| total + resources)
    }
}
