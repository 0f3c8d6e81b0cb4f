//! `/roles` and GET_ROLES: who uses a role, and what for.

use std::collections::{BTreeMap, BTreeSet};

use mesos::model::{array, object, quantities};
use mesos::resources::ResourceQuantities;
use mesos::roles::{STAR, ancestors};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::View;
use crate::allocator::Quota;
use crate::core::role_usage::{RoleUsage, usage_by_role};
use crate::core::state::ClusterState;

/// The weight of roles that were given none.
const DEFAULT_WEIGHT: f64 = 1.0;

/// All known roles: those of `--roles` if that is set, else those with frameworks, resources,
/// weight or quota; and those above them.
pub(super) struct Roles<'a> {
    state: &'a ClusterState,
    names: BTreeSet<&'a str>,
    usage: BTreeMap<&'a str, RoleUsage<'a>>,
    unused: RoleUsage<'a>,
    no_quota: Quota,
}

/// What is known of one role.
pub(super) struct Role<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its weight.
    pub(super) weight: f64,
    /// Its quota.
    pub(super) quota: &'a Quota,
    /// Who uses it.
    pub(super) usage: &'a RoleUsage<'a>,
}

impl<'a> Roles<'a> {
    /// Sums up what frameworks and agents tell about roles.
    pub(super) fn new(view: &'a View) -> Self {
        let state = &view.state;
        let usage = usage_by_role(state);
        let mut names: BTreeSet<&str> = BTreeSet::new();
        match &view.settings.role_whitelist {
            Some(whitelist) => {
                names.insert(STAR);
                names.extend(whitelist.iter().map(String::as_str));
            }
            None => {
                names.extend(usage.keys());
                names.extend(state.weights.keys().map(String::as_str));
                names.extend(state.quotas.keys().map(String::as_str));
            }
        }
        let above: Vec<_> = names.iter().flat_map(|name| ancestors(name)).collect();
        names.extend(above);
        Self {
            state,
            names,
            usage,
            unused: RoleUsage::default(),
            no_quota: Quota::default(),
        }
    }

    /// The roles by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = Role<'_>> {
        self.names.iter().map(|name| Role {
            name,
            weight: *self.state.weights.get(*name).unwrap_or(&DEFAULT_WEIGHT),
            quota: self.state.quotas.get(*name).unwrap_or(&self.no_quota),
            usage: self.usage.get(name).unwrap_or(&self.unused),
        })
    }
}

impl Serialize for Roles<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(1))?;
        out.serialize_entry("roles", &array(|| self.iter()))?;
        out.end()
    }
}

impl Role<'_> {
    /// What is in use and offered.
    pub(super) fn held(&self) -> ResourceQuantities {
        &self.usage.allocated + &self.usage.offered
    }
}

impl Serialize for Role<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let usage = self.usage;
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("name", self.name)?;
        out.serialize_entry("weight", &self.weight)?;
        out.serialize_entry("quota", &QuotaOf(self))?;
        out.serialize_entry("resources", &quantities(&self.held()))?;
        out.serialize_entry("allocated", &quantities(&usage.allocated))?;
        out.serialize_entry("offered", &quantities(&usage.offered))?;
        out.serialize_entry("reserved", &quantities(&usage.reserved))?;
        out.serialize_entry("frameworks", &usage.frameworks)?;
        out.end()
    }
}

struct QuotaOf<'a>(&'a Role<'a>);

impl Serialize for QuotaOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Role { quota, usage, .. } = self.0;
        let limits = || {
            let limits = quota.limits.iter();
            limits.map(|(name, limit)| (name.as_str(), limit.to_f64()))
        };
        let mut out = serializer.serialize_map(Some(4))?;
        out.serialize_entry("role", self.0.name)?;
        out.serialize_entry("guarantee", &quantities(&quota.guarantees))?;
        out.serialize_entry("limit", &object(limits))?;
        out.serialize_entry("consumed", &quantities(&usage.consumed()))?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mesos::proto;

    use super::*;
    use crate::actor::PublicSettings;
    use crate::core::time::Timestamp;

    #[test]
    fn roles_are_known_by_weight_and_quota_or_by_the_flag() {
        let mut state = ClusterState::new(proto::MasterInfo::default(), Timestamp::default());
        state.weights = Arc::new(BTreeMap::from([("eng/web".to_owned(), 2.0)]));
        let quota = Quota {
            guarantees: ResourceQuantities::parse("cpus:1").unwrap(),
            ..Quota::default()
        };
        state.quotas = Arc::new(BTreeMap::from([("db".to_owned(), quota)]));
        let check = |whitelist: Option<&[&str]>, expected: &[(&str, f64)]| {
            let whitelist = whitelist.map(|roles| roles.iter().map(|&role| role.to_owned()));
            let settings = PublicSettings {
                role_whitelist: whitelist.map(Iterator::collect),
                ..PublicSettings::default()
            };
            let view = View {
                state: state.clone(),
                settings: Arc::new(settings),
            };
            let roles = Roles::new(&view);
            let known: Vec<_> = roles.iter().map(|role| (role.name, role.weight)).collect();
            assert_eq!(known, expected);
        };
        check(None, &[("db", 1.0), ("eng", 1.0), ("eng/web", 2.0)]);
        check(Some(&["a/b"]), &[("*", 1.0), ("a", 1.0), ("a/b", 1.0)]);
    }
}
