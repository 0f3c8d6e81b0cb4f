//! One resource.

use std::sync::Arc;

use super::disk;
use super::metadata::{Metadata, Reservation, ReservationKind, SharedMetadata};
use super::name::Name;
use super::ranges::Ranges;
use super::scalar::Scalar;
use super::set::Set;
use super::value::Value;
use crate::{proto, roles};

/// A named amount of something, with whom it is reserved for and allocated to.
///
/// Cloning is cheap: names, roles and metadata are shared. Equality is that of the wire form and
/// does not look at [`Resource::shared_count`], nor at how a disk is mounted.
#[derive(Clone, Debug)]
pub struct Resource {
    pub(super) name: Name,
    pub(super) value: Value,
    /// The role that the resource is offered or allocated to.
    pub(super) allocation: Option<Arc<str>>,
    pub(super) metadata: SharedMetadata,
    /// How many times a shared resource is held; 1 for all others.
    pub(super) shared_count: u32,
}

impl Resource {
    /// An unreserved resource.
    pub fn new(name: impl Into<Name>, value: Value) -> Resource {
        Resource {
            name: name.into(),
            value,
            allocation: None,
            metadata: SharedMetadata::default(),
            shared_count: 1,
        }
    }

    /// An unreserved amount.
    pub fn scalar(name: impl Into<Name>, amount: Scalar) -> Resource {
        Resource::new(name, Value::Scalar(amount))
    }

    /// Unreserved integers.
    pub fn ranges(name: impl Into<Name>, ranges: impl Into<Ranges>) -> Resource {
        Resource::new(name, Value::Ranges(ranges.into()))
    }

    /// An unreserved set of items.
    pub fn set(name: impl Into<Name>, set: Set) -> Resource {
        Resource::new(name, Value::Set(set))
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// How much there is.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The amount, if the resource is a scalar.
    #[must_use]
    pub fn as_scalar(&self) -> Option<Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(*scalar),
            _ => None,
        }
    }

    /// The integers, if the resource is made of ranges.
    #[must_use]
    pub fn as_ranges(&self) -> Option<&Ranges> {
        match &self.value {
            Value::Ranges(ranges) => Some(ranges),
            _ => None,
        }
    }

    /// The items, if the resource is a set.
    #[must_use]
    pub fn as_set(&self) -> Option<&Set> {
        match &self.value {
            Value::Set(set) => Some(set),
            _ => None,
        }
    }

    /// Whether there is nothing of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.value.is_empty() || self.shared_count == 0
    }

    /// The role that the resource is offered or allocated to.
    #[must_use]
    pub fn allocation_role(&self) -> Option<&str> {
        self.allocation.as_deref()
    }

    /// The stack of reservations, the deciding one last; empty for unreserved resources.
    #[must_use]
    pub fn reservations(&self) -> &[Reservation] {
        self.metadata
            .get()
            .map_or(&[], |metadata| metadata.reservations.as_slice())
    }

    /// The role that the resource is reserved to.
    #[must_use]
    pub fn reservation_role(&self) -> Option<&str> {
        self.reservations().last().map(|last| &*last.role)
    }

    /// Source, persistence and use of a disk.
    #[must_use]
    pub fn disk(&self) -> Option<&proto::resource::DiskInfo> {
        self.metadata
            .get()
            .and_then(|metadata| metadata.disk.as_ref())
    }

    /// The id of the resource provider; none for the agent's own resources.
    #[must_use]
    pub fn provider_id(&self) -> Option<&str> {
        self.metadata
            .get()
            .and_then(|metadata| metadata.provider_id.as_deref())
    }

    /// How many times a shared resource is held; 1 for all others.
    #[must_use]
    pub fn shared_count(&self) -> u32 {
        self.shared_count
    }

    /// Whether nobody has reserved it.
    #[must_use]
    pub fn is_unreserved(&self) -> bool {
        self.reservations().is_empty()
    }

    /// Whether it is reserved, to exactly `role` if one is given.
    #[must_use]
    pub fn is_reserved(&self, role: Option<&str>) -> bool {
        self.reservation_role()
            .is_some_and(|mine| role.is_none_or(|role| role == mine))
    }

    /// Whether the deciding reservation was made while running.
    #[must_use]
    pub fn is_dynamically_reserved(&self) -> bool {
        self.reservations()
            .last()
            .is_some_and(|last| last.kind == ReservationKind::Dynamic)
    }

    /// Whether there is a reservation within a reservation.
    #[must_use]
    pub fn has_refined_reservations(&self) -> bool {
        self.reservations().len() > 1
    }

    /// Whether `role` may use it: unreserved, or reserved to the role or one above it.
    #[must_use]
    pub fn is_allocatable_to(&self, role: &str) -> bool {
        self.reservation_role()
            .is_none_or(|mine| roles::is_in_subtree(role, mine))
    }

    /// Whether it is reserved to `role` or one below it.
    #[must_use]
    pub fn is_reserved_to_subtree(&self, role: &str) -> bool {
        self.reservation_role()
            .is_some_and(|mine| roles::is_in_subtree(mine, role))
    }

    /// Whether it is allocated to `role` or one below it.
    #[must_use]
    pub fn is_allocated_to_subtree(&self, role: &str) -> bool {
        self.allocation_role()
            .is_some_and(|mine| roles::is_in_subtree(mine, role))
    }

    /// Whether it may be taken back at any time.
    #[must_use]
    pub fn is_revocable(&self) -> bool {
        self.metadata
            .get()
            .is_some_and(|metadata| metadata.revocable)
    }

    /// Whether several tasks may use it at once.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.metadata.get().is_some_and(|metadata| metadata.shared)
    }

    /// Whether it is a disk whose data outlive tasks.
    #[must_use]
    pub fn is_persistent_volume(&self) -> bool {
        self.disk().is_some_and(|disk| disk.persistence.is_some())
    }

    /// Whether it is a disk with a source of the given type.
    #[must_use]
    pub fn is_disk(&self, source: proto::resource::disk_info::source::Type) -> bool {
        self.disk().and_then(disk::source_type) == Some(source)
    }

    /// Whether it can only be handed out whole and not be joined with an equal one: a persistent
    /// volume, a mounted or block disk, or an identified raw disk.
    #[must_use]
    pub fn is_indivisible(&self) -> bool {
        self.disk().is_some_and(disk::is_indivisible)
    }

    /// Marks the resource as offered or allocated to `role`.
    pub fn allocate(&mut self, role: impl Into<Arc<str>>) {
        self.allocation = Some(role.into());
    }

    /// Marks the resource as available.
    pub fn unallocate(&mut self) {
        self.allocation = None;
    }

    /// The same, reserved once more, within any earlier reservation.
    #[must_use]
    pub fn with_reservation(mut self, reservation: Reservation) -> Resource {
        self.metadata
            .update(|metadata| metadata.reservations.push(reservation));
        self
    }

    /// The same without its deciding reservation.
    #[must_use]
    pub fn without_last_reservation(self) -> Resource {
        self.with_metadata(|metadata| {
            metadata.reservations.pop();
        })
    }

    /// The same without reservations.
    #[must_use]
    pub fn to_unreserved(self) -> Resource {
        self.with_metadata(|metadata| metadata.reservations.clear())
    }

    /// The same, with other reservations.
    #[must_use]
    pub fn with_reservations(mut self, reservations: &[Reservation]) -> Resource {
        self.metadata
            .update(|metadata| metadata.reservations = reservations.to_vec());
        self
    }

    /// The same, as a disk of the given description.
    #[must_use]
    pub fn with_disk(mut self, disk: proto::resource::DiskInfo) -> Resource {
        self.metadata.update(|metadata| metadata.disk = Some(disk));
        self
    }

    /// The same, to be taken back at any time.
    #[must_use]
    pub fn with_revocable(mut self) -> Resource {
        self.metadata.update(|metadata| metadata.revocable = true);
        self
    }

    /// The same, usable by several tasks at once. Only persistent volumes can be.
    #[must_use]
    pub fn with_shared(mut self) -> Resource {
        self.metadata.update(|metadata| metadata.shared = true);
        self
    }

    /// The same, of a resource provider.
    #[must_use]
    pub fn with_provider(mut self, provider_id: impl Into<String>) -> Resource {
        self.metadata
            .update(|metadata| metadata.provider_id = Some(provider_id.into()));
        self
    }

    /// The same, with another value.
    #[must_use]
    pub fn with_value(mut self, value: Value) -> Resource {
        self.value = value;
        self
    }

    /// The same, offered or allocated to `role`.
    #[must_use]
    pub fn with_allocation(mut self, role: impl Into<Arc<str>>) -> Resource {
        self.allocate(role);
        self
    }

    /// The disk that a persistent volume was made of, not shared.
    #[must_use]
    pub fn without_volume(self) -> Resource {
        let mut resource = self.with_metadata(|metadata| {
            metadata.disk = metadata.disk.as_ref().and_then(disk::without_volume);
            metadata.shared = false;
        });
        resource.shared_count = 1;
        resource
    }

    fn with_metadata(mut self, change: impl FnOnce(&mut Metadata)) -> Resource {
        if self.metadata.get().is_some() {
            self.metadata.update(change);
        }
        self
    }

    /// Whether both differ in nothing but how much there is.
    #[must_use]
    pub fn same_kind(&self, other: &Resource) -> bool {
        self.name == other.name
            && self.value.same_type(&other.value)
            && self.allocation == other.allocation
            && self.metadata == other.metadata
    }

    /// Whether the two can become one entry. Things that exist once, such as a mounted disk, stay
    /// apart even from equal ones; shared resources are counted when they are equal.
    pub(super) fn is_addable(&self, other: &Resource) -> bool {
        self.same_kind(other)
            && if self.is_shared() {
                self.value == other.value
            } else {
                !self.is_indivisible()
            }
    }

    /// Whether `other` can be taken out of this one. That `other` is contained is not implied.
    pub(super) fn is_subtractable(&self, other: &Resource) -> bool {
        self.same_kind(other)
            && (self.value == other.value || !(self.is_shared() || self.is_indivisible()))
    }

    /// Whether this one has all of `other`.
    #[must_use]
    pub fn contains(&self, other: &Resource) -> bool {
        if !self.is_subtractable(other) {
            return false;
        }
        if self.is_shared() {
            return self.shared_count >= other.shared_count;
        }
        self.value.contains(&other.value)
    }

    /// Cuts a scalar to `target` if there is more of it. Returns false, changing nothing, if it
    /// cannot be divided.
    pub fn shrink(&mut self, target: Scalar) -> bool {
        let indivisible = self.is_indivisible();
        match &mut self.value {
            Value::Scalar(amount) if *amount > target => {
                if !indivisible {
                    *amount = target;
                }
                !indivisible
            }
            _ => true,
        }
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Resource) -> bool {
        self.same_kind(other) && self.value == other.value
    }
}
