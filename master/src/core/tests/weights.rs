//! Weights: what is refused, what is stored, and that offers are made anew.

use std::collections::{BTreeMap, BTreeSet};

use mesos::proto::internal::{self, registry};
use mesos::proto::{self, WeightInfo};

use crate::core::MasterConfig;
use crate::core::effects::{AllocatorCall, RequestId};
use crate::core::event::SchedulerEvent;
use crate::core::testing::*;
use crate::core::weights::WeightsError;

const REQUEST: RequestId = RequestId(3);

fn info(role: &str, weight: f64) -> WeightInfo {
    WeightInfo {
        weight,
        role: Some(role.to_owned()),
    }
}

fn update(world: &mut World, infos: &[WeightInfo]) -> Result<(), WeightsError> {
    world.step(|master, fx| master.on_update_weights(infos, REQUEST, fx))
}

fn weights<const N: usize>(weights: [(&str, f64); N]) -> BTreeMap<String, f64> {
    let weights = weights.into_iter();
    weights
        .map(|(role, weight)| (role.to_owned(), weight))
        .collect()
}

/// What the allocator was told about weights.
fn told(world: &mut World) -> Vec<BTreeMap<String, f64>> {
    let calls = world.take_allocator_calls().into_iter();
    calls
        .filter_map(|call| match call {
            AllocatorCall::UpdateWeights(weights) => Some(weights),
            _ => None,
        })
        .collect()
}

#[test]
fn all_are_set_or_none() {
    let mut world = World::with_config(MasterConfig {
        role_whitelist: Some(BTreeSet::from(["web".to_owned(), "db".to_owned()])),
        ..MasterConfig::default()
    });
    let mut check = |role: &str, weight: f64, expected: &str| {
        let error = update(&mut world, &[info("web", 2.0), info(role, weight)]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "'{text}' has no '{expected}'");
        assert!(world.master.state().weights.is_empty());
    };
    check("db", 0.0, "'db' is 0");
    check("db", -1.0, "above 0");
    check("db", f64::NAN, "is NaN");
    check("db", f64::INFINITY, "is inf");
    check("", 1.0, "empty");
    check("/db", 1.0, "slash");
    check("other", 1.0, "--roles");
    assert!(told(&mut world).is_empty() && world.fx.done.is_empty());

    update(&mut world, &[info(" web ", 2.0), info("db", 0.5)]).unwrap();
    let expected = weights([("db", 0.5), ("web", 2.0)]);
    assert_eq!(*world.master.state().weights, expected);
    assert_eq!(told(&mut world), [expected]);
    update(&mut world, &[info("db", 3.0), info("*", 1.0)]).unwrap();
    assert_eq!(told(&mut world), [weights([("*", 1.0), ("db", 3.0)])]);
    assert_eq!(world.fx.done, [(REQUEST, true), (REQUEST, true)]);
}

#[test]
fn all_offers_are_rescinded_if_a_role_is_in_use() {
    let mut world = World::new();
    let (agent, _) = world.agent(1);
    let (framework, stream) = world.framework_with(proto::FrameworkInfo {
        roles: vec!["web".to_owned(), "db".to_owned()],
        ..world.framework_info()
    });
    world.hand_out_to_role(&framework, "db", &agent, "cpus:1");
    world.take_event(stream);
    update(&mut world, &[info("other", 2.0)]).unwrap();
    world.assert_nothing_sent();
    update(&mut world, &[info("other", 3.0), info("web", 2.0)]).unwrap();
    assert!(matches!(
        world.take_event(stream),
        SchedulerEvent::Rescind(_)
    ));
}

#[test]
fn those_of_the_registry_win_over_the_flag() {
    let check = |stored: Vec<WeightInfo>, expected: BTreeMap<String, f64>| {
        let config = MasterConfig {
            weights: weights([("web", 2.5)]),
            ..MasterConfig::default()
        };
        let registry = internal::Registry {
            weights: stored
                .into_iter()
                .map(|info| registry::Weight { info })
                .collect(),
            ..Default::default()
        };
        let mut world = World::with_registry(config, registry);
        // Stores those of the flag.
        world.step(|_, _| ());
        assert_eq!(*world.master.state().weights, expected);
        assert_eq!(told(&mut world), [expected]);
        assert!(world.fx.done.is_empty());
    };
    check(Vec::new(), weights([("web", 2.5)]));
    check(vec![info("db", 4.0)], weights([("db", 4.0)]));
}
