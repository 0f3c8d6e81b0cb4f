//! Quota and weights in the registry.
//!
//! Upstream: `src/master/quota.cpp`, `src/master/weights.cpp`.

use std::collections::BTreeMap;

use mesos::proto::WeightInfo;
use mesos::proto::internal::Registry;
use mesos::proto::internal::registry::{MinimumCapability, Weight};
use mesos::proto::master_info::capability::Type as Capability;

use crate::allocator::Quota;
use crate::core::quota::config;

/// Sets the quota of roles. What releases before 1.9 stored for them goes, and as long as there is
/// quota only masters that know this form of it may read the registry.
pub(super) fn update_quota(registry: &mut Registry, quotas: &BTreeMap<String, Quota>) {
    for (role, quota) in quotas {
        registry.quotas.retain(|legacy| legacy.info.role() != role);
        let stored = &mut registry.quota_configs;
        if quota.is_default() {
            stored.retain(|stored| stored.role != *role);
            continue;
        }
        let config = config(role, quota);
        match stored.iter_mut().find(|stored| stored.role == *role) {
            Some(stored) => *stored = config,
            None => stored.push(config),
        }
    }
    let needed = !registry.quota_configs.is_empty();
    require(registry, Capability::QuotaV2, needed);
}

/// Enters whether a master that reads the registry must have a capability.
fn require(registry: &mut Registry, capability: Capability, needed: bool) {
    let name = capability.as_str_name();
    let minimum = &mut registry.minimum_capabilities;
    minimum.retain(|each| each.capability != name);
    if needed {
        minimum.push(MinimumCapability {
            capability: name.to_owned(),
        });
    }
}

/// Sets weights of roles.
pub(super) fn update_weights(registry: &mut Registry, weights: &BTreeMap<String, f64>) {
    for (role, weight) in weights {
        let mut stored = registry.weights.iter_mut();
        match stored.find(|stored| stored.info.role() == role) {
            Some(stored) => stored.info.weight = *weight,
            None => registry.weights.push(Weight {
                info: WeightInfo {
                    weight: *weight,
                    role: Some(role.clone()),
                },
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use mesos::proto::internal::registry;
    use mesos::proto::quota::QuotaInfo;
    use mesos::resources::Scalar;

    use super::*;
    use crate::core::effects::RegistryOperation;
    use crate::registrar::operations::apply;

    fn legacy(role: &str) -> registry::Quota {
        registry::Quota {
            info: QuotaInfo {
                role: Some(role.to_owned()),
                ..Default::default()
            },
        }
    }

    #[test]
    fn quotas_are_set_replaced_and_removed() {
        let mut registry = Registry {
            quotas: vec![legacy("a"), legacy("z")],
            minimum_capabilities: vec![MinimumCapability {
                capability: "AGENT_DRAINING".to_owned(),
            }],
            ..Default::default()
        };
        let mut check = |limits: &[(&str, Option<i64>)], expected: &[(&str, f64)], old: &[&str]| {
            let limit = |limit: &Option<i64>| Quota {
                guarantees: Default::default(),
                limits: limit
                    .iter()
                    .map(|cpus| ("cpus", Scalar::from_millis(cpus * 1_000)))
                    .collect(),
            };
            let quotas = limits.iter();
            let quotas = quotas.map(|(role, cpus)| ((*role).to_owned(), limit(cpus)));
            let operation = RegistryOperation::UpdateQuota(quotas.collect());
            assert!(apply(&mut registry, &operation));
            let stored = registry.quota_configs.iter();
            let stored: Vec<_> = stored
                .map(|config| (config.role.as_str(), config.limits["cpus"].value))
                .collect();
            assert_eq!(stored, expected);
            let legacy = registry.quotas.iter();
            let legacy: Vec<_> = legacy.map(|legacy| legacy.info.role()).collect();
            assert_eq!(legacy, old);
            let minimum = registry.minimum_capabilities.iter();
            let minimum: Vec<_> = minimum.map(|each| each.capability.as_str()).collect();
            let of_quota: &[_] = match expected {
                [] => &[],
                _ => &["QUOTA_V2"],
            };
            assert_eq!(minimum, [&["AGENT_DRAINING"], of_quota].concat());
        };
        check(&[("b", None)], &[], &["a", "z"]);
        check(
            &[("a", Some(1)), ("b", Some(0))],
            &[("a", 1.0), ("b", 0.0)],
            &["z"],
        );
        check(&[("a", Some(4))], &[("a", 4.0), ("b", 0.0)], &["z"]);
        check(&[("a", None), ("b", Some(5))], &[("b", 5.0)], &["z"]);
        check(&[("b", None)], &[], &["z"]);
    }

    #[test]
    fn weights_are_set_and_replaced() {
        let mut registry = Registry::default();
        let mut check = |role: &str, weight: f64, expected: &[(&str, f64)]| {
            let weights = BTreeMap::from([(role.to_owned(), weight)]);
            assert!(apply(
                &mut registry,
                &RegistryOperation::UpdateWeights(weights)
            ));
            let stored: Vec<_> = registry
                .weights
                .iter()
                .map(|stored| (stored.info.role(), stored.info.weight))
                .collect();
            assert_eq!(stored, expected);
        };
        check("web", 2.0, &[("web", 2.0)]);
        check("db", 0.5, &[("web", 2.0), ("db", 0.5)]);
        check("web", 1.0, &[("web", 1.0), ("db", 0.5)]);
    }
}
