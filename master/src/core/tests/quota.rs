//! Quota: what is refused, what is stored, which offers make room.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos::ids::FrameworkId;
use mesos::proto;
use mesos::proto::internal::{self, registry};
use mesos::proto::quota::{QuotaConfig, QuotaInfo, QuotaRequest};
use mesos::resources::{ResourceQuantities, Resources, Scalar};

use crate::allocator::{Allocator, Options, Quota};
use crate::allocator_actor::apply;
use crate::core::MasterConfig;
use crate::core::effects::{AllocatorCall, RequestId, StreamId};
use crate::core::event::SchedulerEvent;
use crate::core::role_usage::{usage_by_role, usage_of};
use crate::core::testing::*;
use crate::core::time::Timestamp;
use crate::core::validation::quota::QuotaError;
use crate::core::{Leadership, Master};

const REQUEST: RequestId = RequestId(7);

fn quantities(text: &str) -> ResourceQuantities {
    ResourceQuantities::parse(text).unwrap()
}

fn quota(guarantees: &str, limits: &str) -> Quota {
    let limits = limits.split(';').filter_map(|limit| limit.split_once(':'));
    let amount = |text: &str| Scalar::from_f64(text.parse().unwrap()).unwrap();
    Quota {
        guarantees: quantities(guarantees),
        limits: limits.map(|(name, limit)| (name, amount(limit))).collect(),
    }
}

fn config(role: &str, guarantees: &str, limits: &str) -> QuotaConfig {
    crate::core::quota::config(role, &quota(guarantees, limits))
}

fn update(world: &mut World, configs: &[QuotaConfig], force: bool) -> Result<(), QuotaError> {
    world.step(|master, fx| master.on_update_quota(configs, force, REQUEST, fx))
}

fn set(world: &mut World, role: &str, guarantee: &str, force: bool) -> Result<(), QuotaError> {
    let asked = QuotaRequest {
        force: Some(force),
        role: Some(role.to_owned()),
        guarantee: Resources::parse(guarantee, "*").unwrap().to_protos(),
    };
    world.step(|master, fx| master.on_set_quota(&asked, REQUEST, fx))
}

/// Subscribes a framework to one role.
fn framework(world: &mut World, role: &str) -> (FrameworkId, StreamId) {
    let info = proto::FrameworkInfo {
        roles: vec![role.to_owned()],
        ..world.framework_info()
    };
    world.framework_with(info)
}

/// What the allocator was told about quota.
fn told(world: &mut World) -> Vec<(String, Quota)> {
    let calls = world.take_allocator_calls().into_iter();
    calls
        .filter_map(|call| match call {
            AllocatorCall::UpdateQuota { role, quota } => Some((role, quota)),
            _ => None,
        })
        .collect()
}

#[test]
fn several_roles_are_updated_at_once_or_none() {
    let mut world = World::new();
    world.agent(1);
    let wrong = [config("web", "cpus:1", ""), config("a/b", "", "cpus:1")];
    let error = update(&mut world, &wrong, true).unwrap_err();
    assert_eq!(error, QuotaError::Nested("a/b".to_owned()));
    assert!(world.master.state().quotas.is_empty());
    assert!(told(&mut world).is_empty() && world.fx.done.is_empty());

    let right = [config("web", "cpus:1", "cpus:2"), config("*", "", "mem:64")];
    update(&mut world, &right, false).unwrap();
    let expected = [
        ("*".to_owned(), quota("", "mem:64")),
        ("web".to_owned(), quota("cpus:1", "cpus:2")),
    ];
    assert_eq!(told(&mut world), expected);
    assert_eq!(*world.master.state().quotas, BTreeMap::from(expected));
    assert_eq!(world.fx.done, [(REQUEST, true)]);

    update(&mut world, &[config("web", "", "")], false).unwrap();
    assert_eq!(told(&mut world), [("web".to_owned(), Quota::default())]);
    let left: Vec<_> = world.master.state().quotas.keys().collect();
    assert_eq!(left, ["*"]);
}

#[test]
fn a_change_counts_at_once_and_is_told_when_stored() {
    let mut world = World::new();
    world.agent(1);
    world.take_allocator_calls();
    let first = QuotaRequest {
        force: None,
        role: Some("web".to_owned()),
        guarantee: Resources::parse("cpus:1", "*").unwrap().to_protos(),
    };
    let set = |master: &mut Master, fx: &mut Recorder| master.on_set_quota(&first, REQUEST, fx);
    world.step_without_registry(set).unwrap();
    assert!(world.take_allocator_calls().is_empty() && world.fx.done.is_empty());
    let again = world.step_without_registry(set);
    assert_eq!(again, Err(QuotaError::Exists("web".to_owned())));
    world.step(|_, _| ());
    assert_eq!(
        told(&mut world),
        [("web".to_owned(), quota("cpus:1", "cpus:1"))]
    );
    assert_eq!(world.fx.done, [(REQUEST, true)]);
}

#[test]
fn guarantees_must_fit_the_cluster_unless_forced() {
    let mut world = World::new();
    world.agent(1);
    let (_, pid) = world.agent(2);
    // Disconnected agents count.
    world.step(|master, fx| master.on_exited(&pid, fx));
    let mut check = |role: &str, guarantees: &str, force: bool, fits: bool| {
        let result = update(&mut world, &[config(role, guarantees, "")], force);
        match result {
            Ok(()) => assert!(fits, "{role} {guarantees}"),
            Err(QuotaError::Overcommitted { capacity, .. }) => {
                assert!(!fits, "{role} {guarantees}");
                assert_eq!(*capacity, quantities("cpus:16;mem:8192;disk:2048"));
            }
            Err(error) => panic!("{role} {guarantees}: {error}"),
        }
    };
    check("web", "cpus:16.001", false, false);
    check("web", "gpus:1", false, false);
    check("web", "cpus:10;disk:2048", false, true);
    check("db", "cpus:6.001", false, false);
    check("db", "cpus:6", false, true);
    check("web", "cpus:12", true, true);
    // Anything that leaves it overcommitted.
    check("db", "cpus:5", false, false);
    check("db", "cpus:4", false, true);
    // An amount that sums cannot exceed.
    for role in 0..10 {
        check(&format!("role{role}"), "mem:1000000000000", true, true);
    }
    check("last", "cpus:1", false, false);
}

#[test]
fn set_quota_conflicts_only_with_quota_and_capacity() {
    let mut world = World::new();
    world.agent(1);
    let error = set(&mut world, "web", "cpus:9", false).unwrap_err();
    assert!(matches!(error, QuotaError::Overcommitted { .. }), "{error}");
    set(&mut world, "web", "cpus:9", true).unwrap();
    let error = set(&mut world, "web", "cpus:1", true).unwrap_err();
    assert_eq!(error, QuotaError::Exists("web".to_owned()));
    let error = set(&mut world, "a/b", "cpus:1", true).unwrap_err();
    assert_eq!(error, QuotaError::Nested("a/b".to_owned()));
    // UPDATE_QUOTA may change what SET_QUOTA set; the guarantee was the limit too.
    let stored = &world.master.state().quotas["web"];
    assert_eq!(*stored, quota("cpus:9", "cpus:9"));
    update(&mut world, &[config("web", "cpus:1", "")], false).unwrap();

    let remove = |world: &mut World, role: &str| {
        world.step(|master, fx| master.on_remove_quota(role, REQUEST, fx))
    };
    assert_eq!(
        remove(&mut world, "db"),
        Err(QuotaError::Absent("db".to_owned()))
    );
    remove(&mut world, "web").unwrap();
    assert_eq!(
        remove(&mut world, "web"),
        Err(QuotaError::Absent("web".to_owned()))
    );
    set(&mut world, "web", "cpus:1", false).unwrap();
}

#[test]
fn only_allowed_roles_have_quota() {
    let mut world = World::with_config(MasterConfig {
        role_whitelist: Some(BTreeSet::from(["web".to_owned()])),
        ..MasterConfig::default()
    });
    let error = update(&mut world, &[config("db", "", "cpus:1")], true).unwrap_err();
    assert_eq!(error, QuotaError::NotAllowed("db".to_owned()));
    update(&mut world, &[config("web", "", "cpus:1")], false).unwrap();
    update(&mut world, &[config("*", "", "cpus:1")], false).unwrap();
}

#[test]
fn use_counts_subroles_and_idle_reservations() {
    let mut world = World::new();
    let pid = agent_pid(1);
    let mut message = register_agent(1);
    message.slave.resources =
        Resources::parse("cpus:4;cpus(eng):2;mem(eng/web):64;ports:[1-9]", "*")
            .unwrap()
            .to_protos();
    world.step(|master, fx| master.on_register_agent(&pid, message, fx));
    world.drain();
    let agent = world.master.state().agents.keys().next().unwrap().clone();
    let (id, _) = framework(&mut world, "eng/web");
    world.hand_out_to_role(&id, "eng/web", &agent, "cpus:1;ports:[1-4]");
    world.drain();

    let state = world.master.snapshot();
    let usage = usage_of(&state, "eng");
    assert_eq!(usage.offered, quantities("cpus:1;ports:4"));
    assert_eq!(usage.reserved, quantities("cpus:2;mem:64"));
    assert_eq!(usage.consumed(), quantities("cpus:2;mem:64"));
    assert!(usage.frameworks.is_empty());
    let all = usage_by_role(&state);
    assert_eq!(all["eng"], usage);
    assert_eq!(all["eng/web"].consumed(), quantities("mem:64"));
    assert_eq!(all["eng/web"].frameworks, BTreeSet::from([id.as_str()]));
    assert_eq!(usage_of(&state, "en"), Default::default());

    let check = |world: &mut World, limits: &str, force: bool, ok: bool| {
        let result = update(world, &[config("eng", "", limits)], force);
        assert_eq!(result.is_ok(), ok, "{limits}: {result:?}");
        world.drain();
    };
    check(&mut world, "cpus:1.5", false, false);
    check(&mut world, "cpus:1.5", true, true);
    check(&mut world, "cpus:2;mem:64", false, true);
    check(&mut world, "gpus:0", false, true);
}

/// Offers of 2 CPUs each to role `web` (and one below it) and to `db`, on two agents; which of the
/// two frameworks lost how many.
fn rescinded(change: impl FnOnce(&mut World)) -> [usize; 2] {
    let mut world = World::new();
    let agents = [world.agent(1).0, world.agent(2).0];
    let (web, at_web) = framework(&mut world, "web");
    let (web_sub, at_web_sub) = framework(&mut world, "web/sub");
    let (db, at_db) = framework(&mut world, "db");
    for agent in &agents {
        world.hand_out_to_role(&web, "web", agent, "cpus:2");
        world.hand_out_to_role(&web_sub, "web/sub", agent, "cpus:2");
        world.hand_out_to_role(&db, "db", agent, "cpus:2");
    }
    world.drain();
    change(&mut world);
    let lost = |world: &mut World, stream: StreamId| {
        let mut lost = 0;
        while world.has_event(stream) {
            assert!(matches!(
                world.take_event(stream),
                SchedulerEvent::Rescind(_)
            ));
            lost += 1;
        }
        lost
    };
    let of_web = lost(&mut world, at_web) + lost(&mut world, at_web_sub);
    [of_web, lost(&mut world, at_db)]
}

#[test]
fn updates_rescind_as_far_as_needed() {
    let check = |guarantees: &str, limits: &str, expected: [usize; 2]| {
        let lost = rescinded(|world| {
            update(world, &[config("web", guarantees, limits)], false).unwrap();
        });
        assert_eq!(lost, expected, "{guarantees} {limits}");
    };
    check("", "", [0, 0]);
    check("", "cpus:8", [0, 0]);
    check("", "cpus:7.999", [1, 0]);
    check("", "cpus:4", [2, 0]);
    check("", "cpus:0", [4, 0]);
    check("cpus:8", "", [0, 0]);
    check("cpus:9", "", [0, 1]);
    check("cpus:11", "", [0, 2]);
    check("cpus:4", "cpus:4", [2, 0]);
}

#[test]
fn setting_rescinds_whole_agents() {
    let check = |role: &str, guarantee: &str, expected: [usize; 2]| {
        let lost = rescinded(|world| set(world, role, guarantee, false).unwrap());
        assert_eq!(lost, expected, "{role} {guarantee}");
    };
    check("db", "cpus:1", [2, 1]);
    check("db", "cpus:6", [2, 1]);
    check("db", "cpus:7", [4, 2]);
    // Nobody waits for it.
    check("other", "cpus:1", [2, 1]);
}

fn registry_with(configs: Vec<QuotaConfig>) -> internal::Registry {
    internal::Registry {
        quota_configs: configs,
        ..Default::default()
    }
}

#[test]
fn quota_is_recovered_before_agents_come_back() {
    let legacy = |role: &str, guarantee: &str| registry::Quota {
        info: QuotaInfo {
            role: Some(role.to_owned()),
            principal: None,
            guarantee: Resources::parse(guarantee, "*").unwrap().to_protos(),
        },
    };
    let registry = internal::Registry {
        quotas: vec![legacy("old", "cpus:1"), legacy("web", "cpus:9")],
        minimum_capabilities: vec![registry::MinimumCapability {
            capability: "QUOTA_V2".to_owned(),
        }],
        ..registry_with(vec![config("web", "", "cpus:2")])
    };
    let mut world = World::with_registry(MasterConfig::default(), registry);
    let expected = BTreeMap::from([
        ("old".to_owned(), quota("cpus:1", "cpus:1")),
        ("web".to_owned(), quota("", "cpus:2")),
    ]);
    assert_eq!(*world.master.state().quotas, expected);
    let calls = world.take_allocator_calls();
    let [AllocatorCall::Recover { quotas, .. }] = calls.as_slice() else {
        panic!("{calls:?}");
    };
    assert_eq!(*quotas, expected);
    let mut allocator = Allocator::new(Options::default());
    for call in calls {
        apply(&mut allocator, call, Duration::ZERO).unwrap();
    }
    let limit = "allocator/mesos/quota/roles/web/resources/cpus/limit";
    assert_eq!(allocator.metrics()[limit], 2.0);
}

#[test]
fn a_registry_that_cannot_be_obeyed_ends_the_master() {
    let check = |registry: internal::Registry, expected: &str| {
        let mut fx = Recorder::default();
        let info = proto::MasterInfo {
            capabilities: mesos::detector::master_capabilities(),
            ..Default::default()
        };
        let mut master = Master::new(MasterConfig::default(), info.clone(), Timestamp::default());
        master.on_leader_detected(Some(info), &mut fx);
        master.on_recovered(registry, &mut fx);
        let reason = fx.exit.unwrap_or_default();
        assert!(reason.contains(expected), "'{reason}' has no '{expected}'");
        assert_ne!(master.leadership(), Leadership::Leading);
    };
    let needs = |capability: &str| internal::Registry {
        minimum_capabilities: vec![registry::MinimumCapability {
            capability: capability.to_owned(),
        }],
        ..Default::default()
    };
    check(needs("FLYING"), "FLYING: start a newer release");
    check(registry_with(vec![config("a/b", "", "cpus:1")]), "'a/b'");
    let negative = QuotaConfig {
        limits: BTreeMap::from([("cpus".to_owned(), proto::value::Scalar { value: -1.0 })]),
        ..config("web", "", "")
    };
    check(registry_with(vec![negative]), "Limit 'cpus'");
}
