//! Resources that change their form.

use super::*;
use mesos::resources::{ResourceConversion, conversions};
use proto::offer::Operation;
use proto::offer::operation;

fn reserve(resources: &Resources) -> Operation {
    Operation {
        r#type: Some(operation::Type::Reserve.into()),
        reserve: Some(operation::Reserve {
            resources: resources.to_protos(),
            source: vec![],
        }),
        ..Default::default()
    }
}

fn reserved(text: &str) -> Resources {
    parse(text).push_reservation(&Reservation::dynamic("a", None))
}

#[test]
fn accepted_operations_change_charge_and_total() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.framework("g", &["b"]);
    env.agent("agent", "cpus:4;mem:100");
    env.expect_run(&["f a agent cpus:4; mem:100"]);
    let offered = allocated("cpus:4;mem:100", "a");
    let mut new = reserved("cpus:3");
    new.allocate("a");
    let conversions = conversions(&reserve(&new)).unwrap();
    let (f, agent) = ("f".into(), "agent".into());
    env.tell(|a| a.update_allocation(&f, &agent, &offered, &conversions));
    let rest = offered.apply_conversions(&conversions).unwrap();
    env.recover("f", "agent", &rest, None);
    env.tell(|a| a.suppress_offers(&f, &set(&[])));
    env.expect_run(&["g b agent cpus:1; mem:100"]);
    env.tell(|a| a.revive_offers(&f, &set(&[])));
    env.expect_run(&["f a agent cpus(reservations: [(DYNAMIC,a)]):3"]);
    let metrics = env.allocator.metrics();
    assert_eq!(metrics["allocator/mesos/resources/cpus/total"], 4.0);
    assert_eq!(
        metrics["allocator/mesos/quota/roles/a/resources/cpus/consumed"],
        3.0
    );
}

#[test]
fn conversions_may_take_away_all_that_is_held() {
    let mut env = Env::with(Options {
        min_allocatable_resources: vec![],
        ..Options::default()
    });
    env.framework("f", &["a"]);
    env.agent("agent", "disk:10");
    env.expect_run(&["f a agent disk:10"]);
    let offered = allocated("disk:10", "a");
    let removal = ResourceConversion::new(offered.clone(), Resources::new());
    let other_role = framework_info(&["b"], &[]);
    env.tell(|a| a.update_framework(&"f".into(), &other_role, Default::default()));
    env.tell(|a| a.update_allocation(&"f".into(), &"agent".into(), &offered, &[removal]));
    env.expect_run(&[]);
}

#[test]
fn conversions_may_remove_or_copy() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("agent", "cpus:4;disk:10");
    env.expect_run(&["f a agent cpus:4; disk:10"]);
    let offered = allocated("cpus:4;disk:10", "a");
    let (f, agent) = ("f".into(), "agent".into());
    let removal = ResourceConversion::new(allocated("disk:10", "a"), Resources::new());
    env.tell(|a| a.update_allocation(&f, &agent, &offered, &[removal]));
    let metrics = env.allocator.metrics();
    assert_eq!(metrics["allocator/mesos/resources/disk/total"], 0.0);
    assert_eq!(
        metrics["allocator/mesos/resources/disk/offered_or_allocated"],
        0.0
    );

    let volume =
        mesos::resources::Resource::scalar("disk", mesos::resources::Scalar::from_millis(5))
            .with_disk(proto::resource::DiskInfo {
                persistence: Some(Default::default()),
                ..Default::default()
            })
            .with_shared()
            .with_allocation("a");
    let copy = ResourceConversion::new(Resources::new(), volume.clone().into());
    env.tell(|a| a.update_allocation(&f, &agent, &allocated("cpus:1", "a"), &[copy]));
    assert_eq!(
        env.allocator.metrics()["allocator/mesos/resources/disk/total"],
        0.0
    );
    env.recover("f", "agent", &volume.into(), None);
}

#[test]
fn conversions_that_cannot_be_are_refused() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("agent", "cpus:4");
    env.expect_run(&["f a agent cpus:4"]);
    let update = |offered: Resources, consumed: Resources, converted: Resources| {
        move |a: &mut Allocator| {
            let conversion = ResourceConversion::new(consumed, converted);
            a.update_allocation(&"f".into(), &"agent".into(), &offered, &[conversion])
        }
    };
    let cpus = |text| allocated(text, "a");
    assert_eq!(
        env.refused(update(cpus("cpus:5"), cpus("cpus:1"), cpus("cpus:1"))),
        "framework f does not hold cpus(allocated: a):5 on agent agent"
    );
    assert_eq!(
        env.refused(update(cpus("cpus:1"), cpus("cpus:2"), cpus("cpus:2"))),
        "cpus(allocated: a):1 does not contain cpus(allocated: a):2"
    );
    assert_eq!(
        env.refused(update(cpus("cpus:2"), cpus("cpus:2"), cpus("cpus:1"))),
        "a conversion on agent agent changes amounts"
    );
    assert_eq!(
        env.refused(update(
            cpus("cpus:2"),
            cpus("cpus:2"),
            allocated("cpus:2", "b")
        )),
        "cpus(allocated: b):2 is not allocated to exactly one role"
    );
}

#[test]
fn operators_change_what_is_available() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.framework("g", &["b"]);
    env.agent("agent", "cpus:4");
    let agent = "agent".into();
    env.tell(|a| a.update_available(&agent, &[reserve(&reserved("cpus:3"))]));
    env.expect_run(&["f a agent cpus:1; cpus(reservations: [(DYNAMIC,a)]):3"]);
    let error = env.refused(|a| a.update_available(&agent, &[reserve(&reserved("cpus:1"))]));
    assert_eq!(error, "{} does not contain cpus:1");
    env.decline("f", "agent", Some(100.0));
    env.expect_run(&["g b agent cpus:1"]);
    env.decline("g", "agent", None);
    env.tell(|a| a.update_available(&agent, &[reserve(&reserved("cpus:1"))]));
    // More is reserved than the framework refused.
    env.expect_run(&["f a agent cpus(reservations: [(DYNAMIC,a)]):4"]);
}

#[test]
fn resources_in_use_are_shown_as_consumed() {
    let mut env = Env::new();
    env.framework("f", &["a/b"]);
    env.agent("agent", "cpus:4");
    env.expect_run(&["f a/b agent cpus:4"]);
    let consumed = |env: &Env, role: &str| {
        let name = format!("allocator/mesos/quota/roles/{role}/resources/cpus/consumed");
        env.allocator.metrics().get(&name).copied()
    };
    assert_eq!(consumed(&env, "a"), None);
    let (f, agent, task) = ("f".into(), "agent".into(), allocated("cpus:1.5", "a/b"));
    env.tell(|a| a.transition_offered_to_allocated(&f, &agent, &task));
    for role in ["a", "a/b", ""] {
        assert_eq!(consumed(&env, role), Some(1.5), "{role}");
    }
    let now = env.now;
    env.tell(|a| a.recover_resources(&f, &agent, &task, None, true, now));
    assert_eq!(consumed(&env, "a"), None);
}
