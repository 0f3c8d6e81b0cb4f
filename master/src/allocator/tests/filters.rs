//! Refusals, suppression and role changes.

use super::*;

/// One framework and one agent; the framework has refused the agent's first offer.
fn refused(refuse_seconds: f64) -> Env {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("agent", "cpus:4;mem:100");
    assert_eq!(env.run().len(), 1);
    env.decline("f", "agent", Some(refuse_seconds));
    env
}

/// After how many further runs, one second apart, the framework is offered the agent again.
#[track_caller]
fn check_runs(refuse_seconds: f64, expected: usize) {
    let mut env = refused(refuse_seconds);
    let runs = (1..=20).find(|_| !env.run().is_empty());
    assert_eq!(runs, Some(expected), "{refuse_seconds} s");
}

#[test]
fn filters_last_at_least_one_run() {
    check_runs(0.0, 1);
    check_runs(0.001, 2);
    check_runs(1.0, 2);
    check_runs(3.0, 4);
    check_runs(-1.0, 6);
    check_runs(f64::NAN, 6);
}

#[test]
fn other_frameworks_are_not_concerned() {
    let mut env = refused(100.0);
    env.expect_run(&[]);
    env.framework("g", &["a"]);
    env.expect_run(&["g a agent cpus:4; mem:100"]);
}

#[test]
fn filters_block_what_they_contain() {
    let mut env = refused(100.0);
    let update = |env: &mut Env, total: &str| {
        let (info, total) = (agent_info("agent"), parse(total));
        env.tell(|a| a.update_agent(&"agent".into(), &info, Some(total), None));
        env.run().len()
    };
    assert_eq!(update(&mut env, "cpus:3;mem:100"), 0);
    assert_eq!(update(&mut env, "cpus:4;mem:100;ports:[1-1]"), 1);
}

#[test]
fn what_ends_filters() {
    let info = agent_info("agent");
    let other = proto::SlaveInfo {
        attributes: mesos::attributes::Attributes::parse("rack:r1")
            .unwrap()
            .to_protos(),
        ..info.clone()
    };
    let renamed = agent_info("renamed");
    type Event<'a> = &'a dyn Fn(&mut Allocator) -> Result<(), AllocatorError>;
    let options = FrameworkOptions::default;
    let table: [(&str, Event<'_>, bool); 9] = [
        ("revive", &|a| a.revive_offers(&"f".into(), &set(&[])), true),
        (
            "revive role",
            &|a| a.revive_offers(&"f".into(), &set(&["a"])),
            true,
        ),
        (
            "revive other role",
            &|a| a.revive_offers(&"f".into(), &set(&["b"])),
            false,
        ),
        (
            "suppress",
            &|a| a.suppress_offers(&"f".into(), &set(&[])),
            false,
        ),
        (
            "reconnect",
            &|a| {
                a.deactivate_framework(&"f".into())?;
                a.activate_framework(&"f".into())
            },
            true,
        ),
        ("activate", &|a| a.activate_framework(&"f".into()), false),
        (
            "attributes",
            &|a| a.update_agent(&"agent".into(), &other, None, None),
            true,
        ),
        (
            "host name",
            &|a| a.update_agent(&"agent".into(), &renamed, None, None),
            false,
        ),
        (
            "role left and joined",
            &|a| {
                a.update_framework(&"f".into(), &framework_info(&["b"], &[]), options())?;
                a.update_framework(&"f".into(), &framework_info(&["a"], &[]), options())
            },
            true,
        ),
    ];
    for (name, event, ended) in table {
        let mut env = refused(100.0);
        env.tell(event);
        assert_eq!(env.run().len(), usize::from(ended), "{name}");
    }
}

#[test]
fn removed_agents_and_frameworks_leave_no_filters() {
    let active = |env: &Env| {
        env.allocator
            .metrics()
            .get("allocator/mesos/offer_filters/roles/a/active")
            .copied()
    };
    let mut env = refused(100.0);
    assert_eq!(active(&env), Some(1.0));
    env.tell(|a| a.remove_agent(&"agent".into()));
    assert_eq!(active(&env), Some(0.0));
    let mut env = refused(100.0);
    env.tell(|a| a.remove_framework(&"f".into()));
    assert_eq!(active(&env), None);
    env.framework("g", &["a"]);
    assert_eq!(env.run().len(), 1, "keys are used again, filters are not");
}

#[test]
fn suppressed_roles_get_no_offers() {
    let mut env = Env::new();
    env.framework("f", &["a", "b"]);
    env.agent("agent", "cpus:4");
    env.tell(|a| a.suppress_offers(&"f".into(), &set(&["a"])));
    env.expect_run(&["f b agent cpus:4"]);
    env.decline("f", "agent", None);
    env.tell(|a| a.suppress_offers(&"f".into(), &set(&[])));
    env.expect_run(&[]);
    // Suppression outlives a lost connection.
    env.tell(|a| a.deactivate_framework(&"f".into()));
    env.tell(|a| a.activate_framework(&"f".into()));
    env.expect_run(&[]);
    env.tell(|a| a.revive_offers(&"f".into(), &set(&["b"])));
    assert!(env.allocator.run_requested());
    assert_eq!(env.run_requested(), ["f b agent cpus:4"]);
}

#[test]
fn updates_replace_suppressed_roles() {
    let mut env = Env::new();
    env.framework("f", &["a", "b"]);
    env.agent("agent", "cpus:4");
    let info = framework_info(&["a", "b"], &[]);
    let suppress = |env: &mut Env, roles: &[&str]| {
        let options = FrameworkOptions {
            suppressed_roles: set(roles),
            ..FrameworkOptions::default()
        };
        env.tell(|a| a.update_framework(&"f".into(), &info, options));
    };
    suppress(&mut env, &["a"]);
    env.expect_run(&["f b agent cpus:4"]);
    env.decline("f", "agent", Some(100.0));
    suppress(&mut env, &["b"]);
    env.expect_run(&["f a agent cpus:4"]);
    env.decline("f", "agent", None);
    suppress(&mut env, &["a"]);
    env.expect_run(&["f b agent cpus:4"]);
}

#[test]
fn roles_are_left_once_nothing_is_held_in_them() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("agent", "cpus:4;ports:[1-9]");
    env.expect_run(&["f a agent cpus:4; ports:[1-9]"]);
    let info = framework_info(&["b"], &[]);
    env.tell(|a| a.update_framework(&"f".into(), &info, FrameworkOptions::default()));
    let shared = |env: &Env, role: &str| {
        let name = format!("allocator/mesos/roles/{role}/shares/dominant");
        env.allocator.metrics().get(&name).copied()
    };
    assert_eq!(
        (shared(&env, "a"), shared(&env, "b")),
        (Some(1.0), Some(0.0))
    );
    env.recover("f", "agent", &allocated("cpus:4", "a"), None);
    assert_eq!(shared(&env, "a"), Some(0.0), "ports are held still");
    env.recover("f", "agent", &allocated("ports:[1-9]", "a"), None);
    assert_eq!(shared(&env, "a"), None);
    env.expect_run(&["f b agent cpus:4; ports:[1-9]"]);
}
