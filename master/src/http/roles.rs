//! `/roles` and GET_ROLES: who uses a role, and what for.

use std::collections::{BTreeMap, BTreeSet};

use mesos::model::{array, quantities};
use mesos::resources::{ResourceQuantities, Resources};
use mesos::roles;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::actor::PublicSettings;
use crate::core::state::ClusterState;

/// What is known of one role, its subtree included.
#[derive(Default)]
pub(super) struct RoleView<'a> {
    /// Weight; 1 unless set.
    pub(super) weight: Option<f64>,
    /// Frameworks subscribed to it or holding resources of it.
    pub(super) frameworks: BTreeSet<&'a str>,
    /// What tasks and executors use.
    pub(super) allocated: ResourceQuantities,
    /// What is offered.
    pub(super) offered: ResourceQuantities,
    /// What is reserved to it, used or not.
    pub(super) reserved: ResourceQuantities,
    /// Of the reserved, what is used; it must not count twice as consumed.
    allocated_reserved: ResourceQuantities,
}

/// All known roles by name.
pub(super) struct Roles<'a>(pub(super) BTreeMap<&'a str, RoleView<'a>>);

impl<'a> Roles<'a> {
    /// Sums up what frameworks and agents tell about roles.
    pub(super) fn new(state: &'a ClusterState, settings: &'a PublicSettings) -> Self {
        let mut known = Self(BTreeMap::new());
        for (role, weight) in &settings.weights {
            known.each(role, |view| {
                view.weight.get_or_insert(1.0);
            });
            known.0.entry(role).or_default().weight = Some(*weight);
        }
        for framework in state.frameworks.values() {
            for role in &framework.roles {
                known.each(role, |view| {
                    view.frameworks.insert(framework.id.as_str());
                });
            }
            for used in framework.used.values() {
                known.add_held(used, framework.id.as_str(), |view, amounts| {
                    view.allocated += amounts;
                });
                known.add_used_reservations(used);
            }
            for offered in framework.offered.values() {
                known.add_held(offered, framework.id.as_str(), |view, amounts| {
                    view.offered += amounts;
                });
            }
        }
        for agent in state.agents.values() {
            known.add_reservations(&agent.total);
        }
        known
    }

    /// Changes a role and those above it.
    fn each(&mut self, role: &'a str, mut change: impl FnMut(&mut RoleView<'a>)) {
        change(self.0.entry(role).or_default());
        for ancestor in roles::ancestors(role) {
            change(self.0.entry(ancestor).or_default());
        }
    }

    fn add_held(
        &mut self,
        resources: &'a Resources,
        framework: &'a str,
        add: impl Fn(&mut RoleView<'a>, &ResourceQuantities),
    ) {
        for resource in resources {
            let Some(role) = resource.allocation_role() else {
                continue;
            };
            let amounts = ResourceQuantities::of_scalars([resource]);
            self.each(role, |view| {
                add(view, &amounts);
                view.frameworks.insert(framework);
            });
        }
    }

    fn add_used_reservations(&mut self, resources: &'a Resources) {
        for resource in resources {
            if let Some(role) = resource.reservation_role() {
                let amounts = ResourceQuantities::of_scalars([resource]);
                self.each(role, |view| view.allocated_reserved += &amounts);
            }
        }
    }

    fn add_reservations(&mut self, resources: &'a Resources) {
        for resource in resources {
            if let Some(role) = resource.reservation_role() {
                let amounts = ResourceQuantities::of_scalars([resource]);
                self.each(role, |view| view.reserved += &amounts);
            }
        }
    }
}

impl RoleView<'_> {
    /// What counts against a quota: what is used, and reservations that are not.
    fn consumed(&self) -> ResourceQuantities {
        let idle = &self.reserved - &self.allocated_reserved;
        &self.allocated + &idle
    }
}

impl Serialize for Roles<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(1))?;
        let roles = array(|| self.0.iter().map(|(name, view)| Role { name, view }));
        out.serialize_entry("roles", &roles)?;
        out.end()
    }
}

struct Role<'a> {
    name: &'a str,
    view: &'a RoleView<'a>,
}

impl Serialize for Role<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let view = self.view;
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("name", self.name)?;
        out.serialize_entry("weight", &view.weight.unwrap_or(1.0))?;
        out.serialize_entry("quota", &Quota(self))?;
        let resources = &view.allocated + &view.offered;
        out.serialize_entry("resources", &quantities(&resources))?;
        out.serialize_entry("allocated", &quantities(&view.allocated))?;
        out.serialize_entry("offered", &quantities(&view.offered))?;
        out.serialize_entry("reserved", &quantities(&view.reserved))?;
        out.serialize_entry("frameworks", &view.frameworks)?;
        out.end()
    }
}

struct Quota<'a>(&'a Role<'a>);

impl Serialize for Quota<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let none = ResourceQuantities::new();
        let mut out = serializer.serialize_map(Some(4))?;
        out.serialize_entry("role", self.0.name)?;
        out.serialize_entry("guarantee", &quantities(&none))?;
        out.serialize_entry("limit", &quantities(&none))?;
        out.serialize_entry("consumed", &quantities(&self.0.view.consumed()))?;
        out.end()
    }
}
