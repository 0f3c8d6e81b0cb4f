//! What operations do to the registry. Pure: the actor around it stores the result.
//!
//! Upstream: `src/master/registry_operations.cpp`.

use mesos::ids::AgentId;
use mesos::proto::{self, internal::Registry, internal::registry};

use super::maintenance;
use super::quota;
use crate::core::effects::RegistryOperation;
use crate::core::time::Timestamp;

/// Applies `operation`. False if it does not apply to the registry as it is.
pub fn apply(registry: &mut Registry, operation: &RegistryOperation) -> bool {
    match operation {
        RegistryOperation::Admit(info) => admit(registry, info),
        RegistryOperation::Update(info) => update(registry, info),
        RegistryOperation::MarkUnreachable(id, since) => mark_unreachable(registry, id, *since),
        RegistryOperation::MarkReachable(info) => {
            mark_reachable(registry, info);
            true
        }
        RegistryOperation::Remove(id) => take_admitted(registry, id).is_some(),
        RegistryOperation::Prune { unreachable, gone } => {
            prune(registry, unreachable, gone);
            true
        }
        RegistryOperation::UpdateQuota(configs) => {
            quota::update_quota(registry, configs);
            true
        }
        RegistryOperation::UpdateWeights(weights) => {
            quota::update_weights(registry, weights);
            true
        }
        RegistryOperation::Maintenance(operation) => maintenance::apply(registry, operation),
    }
}

/// The registry of a new leader: the same, but for who leads.
pub fn set_master(registry: &mut Registry, info: proto::MasterInfo) {
    registry.master = Some(registry::Master { info });
}

fn is(id: Option<&proto::SlaveId>, wanted: &AgentId) -> bool {
    id.is_some_and(|id| id.value == wanted.as_str())
}

fn position(registry: &Registry, id: Option<&proto::SlaveId>) -> Option<usize> {
    let slaves = &registry.slaves.as_ref()?.slaves;
    slaves.iter().position(|slave| slave.info.id.as_ref() == id)
}

fn admit(registry: &mut Registry, info: &proto::SlaveInfo) -> bool {
    if position(registry, info.id.as_ref()).is_some() {
        return false;
    }
    registry
        .slaves
        .get_or_insert_default()
        .slaves
        .push(registry::Slave {
            info: info.clone(),
            drain_info: None,
            deactivated: None,
        });
    true
}

fn update(registry: &mut Registry, info: &proto::SlaveInfo) -> bool {
    let Some(index) = position(registry, info.id.as_ref()) else {
        return false;
    };
    let slaves = &mut registry.slaves.get_or_insert_default().slaves;
    if let Some(slave) = slaves.get_mut(index) {
        slave.info = info.clone();
    }
    true
}

fn take_admitted(registry: &mut Registry, id: &AgentId) -> Option<registry::Slave> {
    let slaves = &mut registry.slaves.as_mut()?.slaves;
    let index = slaves
        .iter()
        .position(|slave| is(slave.info.id.as_ref(), id))?;
    Some(slaves.remove(index))
}

fn mark_unreachable(registry: &mut Registry, id: &AgentId, since: Timestamp) -> bool {
    let Some(slave) = take_admitted(registry, id) else {
        return false;
    };
    registry
        .unreachable
        .get_or_insert_default()
        .slaves
        .push(registry::UnreachableSlave {
            id: id.into(),
            timestamp: since.to_proto(),
            drain_info: slave.drain_info,
            deactivated: slave.deactivated,
        });
    true
}

fn mark_reachable(registry: &mut Registry, info: &proto::SlaveInfo) {
    if position(registry, info.id.as_ref()).is_some() {
        return;
    }
    let unreachable = &mut registry.unreachable.get_or_insert_default().slaves;
    let known = unreachable
        .iter()
        .position(|slave| info.id.as_ref() == Some(&slave.id))
        .map(|index| unreachable.remove(index));
    let (drain_info, deactivated) =
        known.map_or((None, None), |slave| (slave.drain_info, slave.deactivated));
    registry
        .slaves
        .get_or_insert_default()
        .slaves
        .push(registry::Slave {
            info: info.clone(),
            drain_info,
            deactivated,
        });
}

fn prune(registry: &mut Registry, unreachable: &[AgentId], gone: &[AgentId]) {
    let listed = |list: &[AgentId], id: &proto::SlaveId| {
        list.iter().any(|wanted| wanted.as_str() == id.value)
    };
    if let Some(slaves) = &mut registry.unreachable {
        slaves
            .slaves
            .retain(|slave| !listed(unreachable, &slave.id));
    }
    if let Some(slaves) = &mut registry.gone {
        slaves.slaves.retain(|slave| !listed(gone, &slave.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: &str) -> Box<proto::SlaveInfo> {
        Box::new(proto::SlaveInfo {
            hostname: "host".to_owned(),
            id: Some(proto::SlaveId {
                value: id.to_owned(),
            }),
            ..Default::default()
        })
    }

    fn admitted(registry: &Registry) -> Vec<&str> {
        registry
            .slaves
            .iter()
            .flat_map(|slaves| &slaves.slaves)
            .filter_map(|slave| slave.info.id.as_ref())
            .map(|id| id.value.as_str())
            .collect()
    }

    fn unreachable(registry: &Registry) -> Vec<&str> {
        registry
            .unreachable
            .iter()
            .flat_map(|slaves| &slaves.slaves)
            .map(|slave| slave.id.value.as_str())
            .collect()
    }

    #[test]
    fn agents_move_between_lists() {
        let mut registry = Registry::default();
        let mut check = |operation, applied, admitted_now: &[&str], unreachable_now: &[&str]| {
            assert_eq!(apply(&mut registry, &operation), applied, "{operation:?}");
            assert_eq!(admitted(&registry), admitted_now);
            assert_eq!(unreachable(&registry), unreachable_now);
        };
        let now = Timestamp::from_nanos(1);
        check(RegistryOperation::Admit(info("a")), true, &["a"], &[]);
        check(RegistryOperation::Admit(info("a")), false, &["a"], &[]);
        check(RegistryOperation::Update(info("b")), false, &["a"], &[]);
        check(RegistryOperation::Update(info("a")), true, &["a"], &[]);
        check(
            RegistryOperation::MarkUnreachable("b".into(), now),
            false,
            &["a"],
            &[],
        );
        check(
            RegistryOperation::MarkUnreachable("a".into(), now),
            true,
            &[],
            &["a"],
        );
        check(
            RegistryOperation::MarkReachable(info("a")),
            true,
            &["a"],
            &[],
        );
        check(
            RegistryOperation::MarkReachable(info("new")),
            true,
            &["a", "new"],
            &[],
        );
        check(RegistryOperation::Remove("a".into()), true, &["new"], &[]);
        check(RegistryOperation::Remove("a".into()), false, &["new"], &[]);
    }

    #[test]
    fn pruning_removes_exactly_what_is_listed() {
        let mut registry = Registry::default();
        for id in ["a", "b", "c"] {
            apply(&mut registry, &RegistryOperation::Admit(info(id)));
            let unreachable =
                RegistryOperation::MarkUnreachable(id.into(), Timestamp::from_nanos(1));
            apply(&mut registry, &unreachable);
        }
        let prune = RegistryOperation::Prune {
            unreachable: vec!["b".into()],
            gone: Vec::new(),
        };
        assert!(apply(&mut registry, &prune));
        assert_eq!(unreachable(&registry), ["a", "c"]);
    }
}
