//! Frameworks and agents coming, changing and going.

use super::*;
use mesos::resources::ResourceQuantities;

#[test]
fn agents_are_offered_whole() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("agent", "cpus:4;mem:1024;disk:10;ports:[1-9]");
    assert!(env.allocator.run_requested());
    assert_eq!(
        env.run_requested(),
        ["f a agent cpus:4; mem:1024; disk:10; ports:[1-9]"]
    );
    assert!(!env.allocator.run_requested());
    env.expect_run(&[]);
    env.recover("f", "agent", &allocated("cpus:1;ports:[2-3]", "a"), None);
    assert!(!env.allocator.run_requested(), "recovery asks for no run");
    env.expect_run(&["f a agent cpus:1; ports:[2-3]"]);
}

#[test]
fn requested_runs_visit_the_named_agents() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.run_requested();
    env.agent("one", "cpus:1");
    env.agent("two", "cpus:1");
    assert_eq!(env.run_requested().len(), 2);
    env.decline("f", "one", None);
    let info = agent_info("two");
    env.tell(|a| a.update_agent(&"two".into(), &info, Some(parse("cpus:2")), None));
    assert_eq!(env.run_requested(), ["f a two cpus:1"]);
    env.tell(|a| a.update_agent(&"two".into(), &info, Some(parse("cpus:2")), Some(CAPABLE)));
    assert!(!env.allocator.run_requested(), "nothing has changed");
}

#[test]
fn inactive_and_unlisted_agents_are_not_offered() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("one", "cpus:1");
    env.agent("two", "cpus:1");
    env.tell(|a| a.deactivate_agent(&"one".into()));
    env.expect_run(&["f a two cpus:1"]);
    env.decline("f", "two", None);
    env.tell(|a| a.activate_agent(&"one".into()));
    env.allocator
        .update_whitelist(Some(set(&["one.example.org"])));
    env.expect_run(&["f a one cpus:1"]);
    env.decline("f", "one", None);
    env.allocator.update_whitelist(Some(set(&[])));
    env.expect_run(&[]);
    env.allocator.update_whitelist(None);
    assert_eq!(env.run().len(), 2);
}

#[test]
fn frameworks_without_roles_or_activity_get_nothing() {
    let mut env = Env::new();
    env.framework("none", &[]);
    env.agent("agent", "cpus:1");
    let info = framework_info(&["a"], &[]);
    env.tell(|a| {
        let options = FrameworkOptions::default();
        a.add_framework("f".into(), &info, &BTreeMap::new(), false, options)
    });
    env.expect_run(&[]);
    env.tell(|a| a.activate_framework(&"f".into()));
    env.expect_run(&["f a agent cpus:1"]);
}

#[test]
fn used_resources_are_charged_whoever_comes_first() {
    let used = allocated("cpus:3", "a");
    let share = |env: &Env| env.allocator.metrics()["allocator/mesos/roles/a/shares/dominant"];
    let agent = |env: &mut Env, total: &str| {
        let (info, total) = (agent_info("agent"), parse(total));
        let used = BTreeMap::from([("f".into(), used.clone())]);
        env.tell(|a| a.add_agent("agent".into(), &info, CAPABLE, total, used));
    };
    let framework = |env: &mut Env| {
        let used = BTreeMap::from([("agent".into(), used.clone())]);
        let (info, options) = (framework_info(&["a"], &[]), FrameworkOptions::default());
        env.tell(|a| a.add_framework("f".into(), &info, &used, true, options));
    };
    let mut env = Env::new();
    agent(&mut env, "cpus:4");
    framework(&mut env);
    assert_eq!(share(&env), 0.75);
    env.expect_run(&["f a agent cpus:1"]);

    let mut env = Env::new();
    framework(&mut env);
    agent(&mut env, "cpus:4");
    assert_eq!(share(&env), 0.75);
    env.expect_run(&["f a agent cpus:1"]);
    let consumed = "allocator/mesos/quota/roles/a/resources/cpus/consumed";
    assert_eq!(env.allocator.metrics()[consumed], 3.0);

    // Before the framework is known, what it holds is not available either.
    let mut env = Env::new();
    agent(&mut env, "cpus:4");
    env.framework("g", &["a"]);
    env.expect_run(&["g a agent cpus:1"]);
    env.recover("f", "agent", &allocated("cpus:2", "a"), None);
    env.expect_run(&["g a agent cpus:2"]);
    framework(&mut env);
    assert_eq!(share(&env), 1.0);
}

/// An agent may claim that two frameworks use the same ports; they are free once neither does.
#[test]
fn ports_that_are_used_twice_come_back_once() {
    let mut env = Env::new();
    let ports = |text: &str| allocated(&format!("ports:[{text}]"), "a");
    let used = [("f", "1-5"), ("g", "4-8"), ("unknown", "5-6")];
    let used = used.map(|(framework, text)| (framework.into(), ports(text)));
    env.framework("f", &["a"]);
    env.framework("g", &["a"]);
    env.tell(|a| a.suppress_offers(&"g".into(), &set(&[])));
    env.tell(|a| {
        let (total, info) = (parse("cpus:1;ports:[1-9]"), agent_info("agent"));
        a.add_agent("agent".into(), &info, CAPABLE, total, used.into())
    });
    env.expect_run(&["f a agent cpus:1; ports:[9-9]"]);
    let mut check = |framework: &str, returned: &str, expected: &str| {
        env.recover(framework, "agent", &ports(returned), None);
        env.decline("f", "agent", None);
        env.expect_run(&[expected]);
    };
    check("f", "1-5", "f a agent cpus:1; ports:[1-3, 9-9]");
    check("unknown", "5-6", "f a agent cpus:1; ports:[1-3, 9-9]");
    check("g", "4-8", "f a agent ports:[1-9]; cpus:1");
}

#[test]
fn removal_of_frameworks_and_agents() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.framework("g", &["b"]);
    env.agent("agent", "cpus:4;mem:100");
    env.expect_run(&["f a agent cpus:4; mem:100"]);
    let in_use = allocated("cpus:4", "a");
    env.tell(|a| a.transition_offered_to_allocated(&"f".into(), &"agent".into(), &in_use));
    env.tell(|a| a.remove_framework(&"f".into()));
    env.expect_run(&["g b agent cpus:4; mem:100"]);
    env.tell(|a| a.remove_agent(&"agent".into()));
    env.expect_run(&[]);
    let metrics = env.allocator.metrics();
    assert_eq!(metrics["allocator/mesos/resources/cpus/total"], 0.0);
    assert_eq!(metrics.get("allocator/mesos/roles/a/shares/dominant"), None);
    assert_eq!(metrics["allocator/mesos/roles/b/shares/dominant"], 0.0);
    // What comes back after a removal is no error.
    env.recover("f", "agent", &allocated("cpus:1", "a"), Some(5.0));
    env.recover("g", "agent", &allocated("cpus:1", "b"), None);
}

#[test]
fn shrinking_totals() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("agent", "cpus:4");
    env.expect_run(&["f a agent cpus:4"]);
    let info = agent_info("agent");
    env.tell(|a| a.update_agent(&"agent".into(), &info, Some(parse("cpus:2")), None));
    env.recover("f", "agent", &allocated("cpus:1", "a"), None);
    env.expect_run(&[]);
    env.recover("f", "agent", &allocated("cpus:3", "a"), None);
    env.expect_run(&["f a agent cpus:2"]);
}

#[test]
fn resource_providers() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("agent", "cpus:4");
    let used = BTreeMap::from([
        ("f".into(), allocated("disk:3", "a")),
        ("later".into(), allocated("disk:2", "b")),
    ]);
    env.tell(|a| a.add_resource_provider(&"agent".into(), &parse("disk:10"), &used));
    env.expect_run(&["f a agent cpus:4; disk:5"]);
    env.framework("later", &["b"]);
    assert_eq!(
        env.allocator.metrics()["allocator/mesos/roles/b/shares/dominant"],
        0.2
    );
}

#[test]
fn pauses_nest() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.allocator.pause();
    env.allocator.pause();
    env.agent("agent", "cpus:4");
    env.allocator.resume();
    assert!(env.allocator.is_paused() && !env.allocator.run_requested());
    env.expect_run(&[]);
    env.allocator.resume();
    assert!(
        !env.allocator.run_requested(),
        "triggers while paused are dropped"
    );
    env.expect_run(&["f a agent cpus:4"]);
}

#[test]
fn recovery_waits_for_agents_if_there_is_quota() {
    let quota = || Quota {
        guarantees: parse("cpus:1").quantities(),
        ..Quota::default()
    };
    let quotas = || BTreeMap::from([("a".to_owned(), quota())]);
    let start = |agents: usize, quotas: BTreeMap<String, Quota>| {
        let mut env = Env::new();
        env.tell(|a| a.recover(agents, quotas));
        env.framework("f", &["a"]);
        env.agent("one", "cpus:1");
        env
    };
    assert_eq!(start(5, BTreeMap::new()).run().len(), 1);
    assert_eq!(
        start(1, quotas()).run().len(),
        1,
        "80 % of one agent is none"
    );
    let mut env = start(3, quotas());
    env.expect_run(&[]);
    env.agent("two", "cpus:1");
    assert!(env.allocator.run_requested());
    assert_eq!(env.run().len(), 2);
    let mut env = start(5, quotas());
    env.expect_run(&[]);
    env.now += Duration::from_secs(600);
    assert_eq!(env.run().len(), 1);
}

#[test]
fn mistakes_are_refused_and_change_nothing() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("agent", "cpus:4");
    env.expect_run(&["f a agent cpus:4"]);
    let (none, options) = (BTreeMap::new(), FrameworkOptions::default);
    let (framework, agent) = (framework_info(&["a"], &[]), agent_info("agent"));
    let now = env.now;
    let invalid = framework_info(&["a/"], &[]);
    let recover = |framework: &'static str, agent: &'static str, resources: Resources| {
        move |a: &mut Allocator| {
            let (framework, agent) = (framework.into(), agent.into());
            a.recover_resources(&framework, &agent, &resources, None, false, now)
        }
    };
    let quota =
        |role: &'static str| move |a: &mut Allocator| a.update_quota(role, Quota::default());
    let weight = |role: &'static str, weight: f64| {
        move |a: &mut Allocator| a.update_weights([(role, weight)])
    };
    type Event<'a> = Box<dyn Fn(&mut Allocator) -> Result<(), AllocatorError> + 'a>;
    let table: Vec<(Event<'_>, &str)> = vec![
        (
            Box::new(|a| a.add_framework("f".into(), &framework, &none, true, options())),
            "framework f is already known",
        ),
        (
            Box::new(|a| a.add_framework("g".into(), &invalid, &none, true, options())),
            "Role 'a/' cannot end with a slash",
        ),
        (
            Box::new(|a| a.remove_framework(&"g".into())),
            "framework g is not known",
        ),
        (
            Box::new(|a| a.revive_offers(&"g".into(), &set(&[]))),
            "framework g is not known",
        ),
        (
            Box::new(|a| {
                let used = BTreeMap::new();
                a.add_agent("agent".into(), &agent, CAPABLE, parse("cpus:1"), used)
            }),
            "agent agent is already known",
        ),
        (
            Box::new(|a| {
                let total = allocated("cpus:1", "a");
                a.add_agent("two".into(), &agent, CAPABLE, total, BTreeMap::new())
            }),
            "the total of agent two is allocated: cpus(allocated: a):1",
        ),
        (
            Box::new(|a| a.remove_agent(&"two".into())),
            "agent two is not known",
        ),
        (
            Box::new(recover("f", "agent", allocated("cpus:5", "a"))),
            "framework f does not hold cpus(allocated: a):5 on agent agent",
        ),
        (
            Box::new(recover("f", "agent", parse("cpus:1"))),
            "cpus:1 is not allocated to exactly one role",
        ),
        (
            Box::new(recover(
                "f",
                "agent",
                allocated("cpus:1", "a") + allocated("cpus:1", "b"),
            )),
            "cpus(allocated: a):1; cpus(allocated: b):1 is not allocated to exactly one role",
        ),
        (
            Box::new(|a| {
                let resources = allocated("cpus:5", "a");
                a.transition_offered_to_allocated(&"f".into(), &"agent".into(), &resources)
            }),
            "framework f does not hold cpus(allocated: a):5 on agent agent",
        ),
        (
            Box::new(quota("a/b")),
            "quota cannot be set for 'a/b', which is not a top-level role",
        ),
        (Box::new(quota("")), "Role names cannot be the empty string"),
        (
            Box::new(weight("a", f64::NAN)),
            "weight NaN of role 'a' is not a number greater than 0",
        ),
        (
            Box::new(weight("a", 0.0)),
            "weight 0 of role 'a' is not a number greater than 0",
        ),
    ];
    let before = env.allocator.metrics();
    for (event, expected) in table {
        assert_eq!(env.refused(event), expected);
    }
    assert_eq!(env.allocator.metrics(), before);
}

#[test]
fn more_than_can_be_counted_is_refused() {
    let mut env = Env::new();
    let total = |index: usize| format!("agent{index}");
    for index in 0..9 {
        env.agent(&total(index), "x:1e15");
    }
    let info = agent_info("last");
    let error = env.refused(|a| {
        a.add_agent(
            "last".into(),
            &info,
            CAPABLE,
            parse("x:1e15"),
            BTreeMap::new(),
        )
    });
    assert_eq!(
        error,
        "the resources of agent last exceed what the cluster can count"
    );
}

#[test]
fn deep_roles_are_no_danger() {
    let mut env = Env::new();
    let deep = vec!["r"; 5_000].join("/");
    env.framework("f", &[&deep]);
    env.agent("agent", "cpus:1");
    assert_eq!(env.run().len(), 1);
    env.tell(|a| a.remove_framework(&"f".into()));
}

/// The keys and values of a snapshot of the original in the same situation, apart from those that
/// belong to the actor.
#[test]
fn metrics_are_those_of_mesos() {
    let mut env = Env::new();
    env.framework("f", &["*"]);
    let total = parse("cpus:4;mem:4032;disk:10112;mem(web):64;disk(web):128");
    let used = allocated("cpus:0.901;mem:193;disk:32", "*");
    let used = BTreeMap::from([("f".into(), used)]);
    env.tell(|a| a.add_agent("agent".into(), &agent_info("agent"), CAPABLE, total, used));
    env.tell(|a| {
        let guarantees = parse("cpus:0.1").quantities();
        let limits = parse("cpus:2;mem:1024").quantities();
        let limits = limits
            .iter()
            .map(|(name, amount)| (name.clone(), amount))
            .collect();
        a.update_quota("web", Quota { guarantees, limits })
    });
    let metrics = env.allocator.metrics();
    let shown = metrics.iter().map(|(name, value)| {
        let name = name.strip_prefix("allocator/mesos/").unwrap();
        (name, *value)
    });
    let expected = [
        ("offer_filters/roles/*/active", 0.0),
        ("offer_filters/roles/web/active", 0.0),
        ("quota/roles/*/resources/cpus/consumed", 0.901),
        ("quota/roles/*/resources/disk/consumed", 32.0),
        ("quota/roles/*/resources/mem/consumed", 193.0),
        ("quota/roles//resources/cpus/consumed", 0.901),
        ("quota/roles//resources/disk/consumed", 160.0),
        ("quota/roles//resources/mem/consumed", 257.0),
        ("quota/roles/web/resources/cpus/guarantee", 0.1),
        ("quota/roles/web/resources/cpus/limit", 2.0),
        ("quota/roles/web/resources/cpus/offered_or_allocated", 0.0),
        ("quota/roles/web/resources/disk/consumed", 128.0),
        ("quota/roles/web/resources/mem/consumed", 64.0),
        ("quota/roles/web/resources/mem/limit", 1024.0),
        ("quota/roles/web/resources/mem/offered_or_allocated", 0.0),
        ("resources/cpus/offered_or_allocated", 0.901),
        ("resources/cpus/total", 4.0),
        ("resources/disk/offered_or_allocated", 32.0),
        ("resources/disk/total", 10240.0),
        ("resources/mem/offered_or_allocated", 193.0),
        ("resources/mem/total", 4096.0),
        ("roles/*/shares/dominant", 0.22525),
    ];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_offered_counts_for_quota() {
    let mut env = Env::new();
    env.framework("f", &["web"]);
    env.agent("agent", "cpus:4;mem:100");
    let limits = parse("cpus:2;mem:1024").quantities();
    let limits = limits.iter();
    let limits = limits
        .map(|(name, amount)| (name.clone(), amount))
        .collect();
    let guarantees = ResourceQuantities::new();
    env.tell(|a| a.update_quota("web", Quota { guarantees, limits }));
    env.run();
    let metrics = env.allocator.metrics();
    for (name, value) in [("cpus", 2.0), ("mem", 100.0)] {
        let prefix = format!("allocator/mesos/quota/roles/web/resources/{name}");
        assert_eq!(metrics[&format!("{prefix}/offered_or_allocated")], value);
        assert_eq!(metrics.get(&format!("{prefix}/consumed")), None, "not used");
    }
}
