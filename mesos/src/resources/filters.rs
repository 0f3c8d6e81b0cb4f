//! Parts of a bundle by reservation, allocation and kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::collection::Resources;
use super::metadata::Reservation;
use super::name::Name;
use super::resource::Resource;
use super::value::Value;

impl Resources {
    /// The entries that satisfy a condition.
    #[must_use]
    pub fn filter(&self, predicate: impl Fn(&Resource) -> bool) -> Resources {
        Resources::from_distinct(self.iter().filter(|entry| predicate(entry)).cloned())
    }

    /// What is reserved, to exactly `role` if one is given.
    #[must_use]
    pub fn reserved(&self, role: Option<&str>) -> Resources {
        self.filter(|resource| resource.is_reserved(role))
    }

    /// What is reserved to nobody.
    #[must_use]
    pub fn unreserved(&self) -> Resources {
        self.filter(Resource::is_unreserved)
    }

    /// What is reserved, by role.
    #[must_use]
    pub fn reservations(&self) -> BTreeMap<Arc<str>, Resources> {
        self.group_by(|resource| resource.reservations().last().map(|last| last.role.clone()))
    }

    /// What is reserved to `role` or the roles below it.
    #[must_use]
    pub fn reserved_to_subtree(&self, role: &str) -> Resources {
        self.filter(|resource| resource.is_reserved_to_subtree(role))
    }

    /// What `role` may use: unreserved, or reserved to it or a role above it.
    #[must_use]
    pub fn allocatable_to(&self, role: &str) -> Resources {
        self.filter(|resource| resource.is_allocatable_to(role))
    }

    /// What is allocated to `role` or the roles below it.
    #[must_use]
    pub fn allocated_to_subtree(&self, role: &str) -> Resources {
        self.filter(|resource| resource.is_allocated_to_subtree(role))
    }

    /// What is allocated, by role. What is not allocated is left out.
    #[must_use]
    pub fn allocations(&self) -> BTreeMap<Arc<str>, Resources> {
        self.group_by(|resource| resource.allocation.clone())
    }

    fn group_by(
        &self,
        key: impl Fn(&Resource) -> Option<Arc<str>>,
    ) -> BTreeMap<Arc<str>, Resources> {
        let mut groups = BTreeMap::<Arc<str>, Resources>::new();
        for resource in self {
            if let Some(key) = key(resource) {
                groups.entry(key).or_default().insert(resource.clone());
            }
        }
        groups
    }

    /// What may be taken back at any time.
    #[must_use]
    pub fn revocable(&self) -> Resources {
        self.filter(Resource::is_revocable)
    }

    /// What is there to stay.
    #[must_use]
    pub fn non_revocable(&self) -> Resources {
        self.filter(|resource| !resource.is_revocable())
    }

    /// What several tasks may use at once.
    #[must_use]
    pub fn shared(&self) -> Resources {
        self.filter(Resource::is_shared)
    }

    /// What only one task may use.
    #[must_use]
    pub fn non_shared(&self) -> Resources {
        self.filter(|resource| !resource.is_shared())
    }

    /// Disks whose data outlive tasks.
    #[must_use]
    pub fn persistent_volumes(&self) -> Resources {
        self.filter(Resource::is_persistent_volume)
    }

    /// Amounts, without ranges and sets.
    #[must_use]
    pub fn scalars(&self) -> Resources {
        self.filter(|resource| matches!(resource.value, Value::Scalar(_)))
    }

    /// Everything of one name.
    #[must_use]
    pub fn get(&self, name: &str) -> Resources {
        self.filter(|resource| resource.name == *name)
    }

    /// The names, each once, in ascending order.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        let mut names: Vec<Name> = self.iter().map(|entry| entry.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The same, reserved once more, within any earlier reservations.
    #[must_use]
    pub fn push_reservation(&self, reservation: &Reservation) -> Resources {
        self.iter()
            .map(|resource| resource.clone().with_reservation(reservation.clone()))
            .collect()
    }

    /// The same without the deciding reservation of each entry.
    #[must_use]
    pub fn pop_reservation(&self) -> Resources {
        self.iter()
            .map(|resource| resource.clone().without_last_reservation())
            .collect()
    }

    /// The same without reservations.
    #[must_use]
    pub fn to_unreserved(&self) -> Resources {
        self.iter()
            .map(|resource| resource.clone().to_unreserved())
            .collect()
    }
}
