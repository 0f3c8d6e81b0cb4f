//! Guarantees of quota and headroom.

use super::*;
use mesos::resources::{ResourceQuantities, Scalar};
use proptest::prelude::*;

fn quota(guarantees: &str, limits: &str) -> Quota {
    let amounts = |text: &str| ResourceQuantities::parse(text).unwrap();
    let limits = amounts(limits);
    Quota {
        guarantees: amounts(guarantees),
        limits: limits
            .iter()
            .map(|(name, amount)| (name.clone(), amount))
            .collect(),
    }
}

/// What is offered in one run over agents `one`, `two`, ...: by role, quotas and totals.
#[track_caller]
fn check(roles: &[&str], quotas: &[(&str, &str, &str)], totals: &[&str], expected: &[&str]) {
    let mut env = Env::new();
    for (role, guarantees, limits) in quotas {
        env.tell(|a| a.update_quota(role, quota(guarantees, limits)));
    }
    for role in roles {
        env.framework(&format!("in-{role}"), &[role]);
    }
    for (name, total) in ["one", "two", "three"].iter().zip(totals) {
        env.agent(name, total);
    }
    let lines: Vec<String> = env
        .run()
        .iter()
        .map(|line| line.replacen("in-", "", 1))
        .collect();
    assert_eq!(lines, expected, "{quotas:?} on {totals:?}");
    env.expect_run(&[]);
}

#[test]
fn guarantees_come_first() {
    // Without quota `a` would come first, by name.
    check(
        &["a", "b"],
        &[("b", "cpus:2", "")],
        &["cpus:4;mem:100"],
        &["b b one cpus:4; mem:100"],
    );
    // A satisfied role waits for the second stage.
    check(
        &["a", "b"],
        &[("b", "cpus:2", "cpus:2")],
        &["cpus:4;mem:100"],
        &["a a one cpus:2", "b b one cpus:2; mem:100"],
    );
    // Ports and what is not guaranteed go along, up to the limits.
    check(
        &["a", "b"],
        &[("b", "cpus:1", "cpus:3;mem:60")],
        &["cpus:4;mem:100;ports:[1-9]"],
        &[
            "a a one cpus:1; mem:40",
            "b b one ports:[1-9]; cpus:3; mem:60",
        ],
    );
    // Reservations count as consumed, so that nothing is left to guarantee.
    check(
        &["a", "b"],
        &[("b", "cpus:2", "")],
        &["cpus:4;cpus(b):2"],
        &[
            "a a one cpus:4",
            "b b one cpus(reservations: [(STATIC,b)]):2",
        ],
    );
    // More is guaranteed than there is.
    check(
        &["a", "b"],
        &[("b", "cpus:100", "")],
        &["cpus:4"],
        &["b b one cpus:4"],
    );
}

#[test]
fn headroom_is_held_back_for_guarantees() {
    // Nobody asks for what is guaranteed to `q`.
    check(
        &["a"],
        &[("q", "cpus:3", "")],
        &["cpus:4;mem:100"],
        &["a a one cpus:1; mem:100"],
    );
    check(
        &["a"],
        &[("q", "cpus:4", "")],
        &["cpus:4;mem:100"],
        &["a a one mem:100"],
    );
    check(
        &["a"],
        &[("q", "cpus:9", "")],
        &["cpus:4;mem:100"],
        &["a a one mem:100"],
    );
    // Reserved and revocable resources and ports are not held back.
    check(
        &["a"],
        &[("q", "cpus:4", "")],
        &["cpus:4;cpus(a):1;ports:[1-9]"],
        &["a a one cpus(reservations: [(STATIC,a)]):1; ports:[1-9]"],
    );
    // Reservations for others are no headroom.
    check(
        &["a"],
        &[("q", "cpus:2", "")],
        &["cpus:3;cpus(z):9"],
        &["a a one cpus:1"],
    );
    // Other frameworks of the first stage leave the headroom as well.
    check(
        &["b"],
        &[("b", "cpus:1", ""), ("q", "cpus:2", "")],
        &["cpus:4"],
        &["b b one cpus:2"],
    );
}

#[test]
fn headroom_follows_what_is_used_and_returned() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.tell(|a| a.update_quota("q", quota("cpus:2", "")));
    env.agent("one", "cpus:4;mem:100");
    env.expect_run(&["f a one cpus:2; mem:100"]);
    // A larger cluster leaves more.
    env.agent("two", "cpus:4");
    env.expect_run(&["f a one cpus:2", "f a two cpus:2"]);
    // Without quota, nothing is held back any more.
    env.tell(|a| a.update_quota("q", Quota::default()));
    env.expect_run(&["f a two cpus:2"]);
    env.decline("f", "one", None);
    env.tell(|a| a.update_quota("q", quota("cpus:3", "")));
    env.expect_run(&["f a one cpus:1; mem:100"]);
    // A guaranteed role comes and takes what was held back.
    env.framework("g", &["q"]);
    env.expect_run(&["g q one cpus:3"]);
}

/// More is in use on `one` than it has, so that the cluster seems to have no CPUs left.
#[test]
fn headroom_is_released_in_the_run_that_meets_all_guarantees() {
    let mut env = Env::new();
    env.tell(|a| a.update_quota("q", quota("mem:50", "mem:50")));
    env.framework("f", &["a"]);
    env.agent("two", "cpus:4;mem:50");
    let used = BTreeMap::from([("f".into(), allocated("cpus:5", "a"))]);
    env.tell(|a| {
        let (total, info) = (parse("cpus:1"), agent_info("one"));
        a.add_agent("one".into(), &info, CAPABLE, total, used)
    });
    env.expect_run(&[]);
    env.framework("g", &["q"]);
    env.expect_run(&["f a two cpus:4", "g q two mem:50"]);
}

#[test]
fn roles_below_count_from_the_next_run_on() {
    let mut env = Env::new();
    env.tell(|a| a.update_quota("q", quota("cpus:2", "cpus:4")));
    env.framework("f", &["q/x"]);
    env.agent("one", "cpus:6");
    // It is not served first, and sees the surplus only.
    env.expect_run(&["f q/x one cpus:4"]);
    env.tell(|a| a.deactivate_framework(&"f".into()));
    // What `q/x` holds is consumption of `q`: its guarantee is met and its limit reached.
    env.framework("g", &["q"]);
    env.expect_run(&[]);
    env.framework("h", &["a"]);
    env.expect_run(&["h a one cpus:2"]);
}

#[test]
fn filters_and_minimums_hold_for_guarantees() {
    let mut env = Env::new();
    env.tell(|a| a.update_quota("q", quota("cpus:2", "cpus:2")));
    env.framework("f", &["q"]);
    env.agent("one", "cpus:4");
    env.expect_run(&["f q one cpus:2"]);
    env.decline("f", "one", Some(3.0));
    // What was refused is 2 CPUs, and no more can be offered.
    env.expect_run(&[]);
    env.tell(|a| a.update_quota("q", quota("cpus:2", "cpus:3")));
    env.expect_run(&["f q one cpus:3"]);
}

#[test]
fn indivisible_disks_are_offered_whole_or_not() {
    use mesos::resources::{Resource, Resources};
    let mount = |amount: i64, root: &str| {
        let source = proto::resource::disk_info::Source {
            r#type: proto::resource::disk_info::source::Type::Mount.into(),
            mount: Some(proto::resource::disk_info::source::Mount {
                root: Some(root.into()),
            }),
            ..Default::default()
        };
        let disk = proto::resource::DiskInfo {
            source: Some(source),
            ..Default::default()
        };
        Resource::scalar("disk", Scalar::from_millis(amount * 1_000)).with_disk(disk)
    };
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.tell(|a| a.update_quota("a", quota("", "disk:150")));
    let mut total: Resources = parse("cpus:1");
    total.extend([mount(100, "/x"), mount(100, "/y"), mount(200, "/z")]);
    env.agent_with("one", total);
    env.run();
    let held = env.held.values().next().unwrap();
    assert_eq!(held.get_scalar("disk"), Some(Scalar::from_millis(100_000)));
}

proptest! {
    /// A guarantee that can be met is met within one round if anyone asks for it; limits hold; and
    /// nobody takes what is guaranteed to roles that nobody is in.
    #[test]
    fn guarantees_are_met_in_one_round(
        agents in prop::collection::vec(1_i64..8_000, 1..12),
        guarantees in prop::collection::vec((0_i64..4_000, 0_i64..4_000, any::<bool>()), 1..6),
        seed in any::<u64>(),
    ) {
        let mut env = Env::with(Options {
            min_allocatable_resources: vec![],
            seed,
            ..Options::default()
        });
        let cpus = |millis: i64| format!("cpus:{}", Scalar::from_millis(millis));
        for (index, millis) in agents.iter().enumerate() {
            env.agent(&format!("agent{index}"), &cpus(*millis));
        }
        env.framework("other", &["other"]);
        for (index, (guarantee, extra, present)) in guarantees.iter().enumerate() {
            let role = format!("role{index}");
            let limits = cpus(guarantee + extra);
            env.tell(|a| a.update_quota(&role, quota(&cpus(*guarantee), &limits)));
            if *present {
                env.framework(&role, &[&role]);
            }
        }
        env.run();
        let mut held = BTreeMap::<String, i64>::new();
        for ((framework, _), resources) in &env.held {
            let amount = resources.get_scalar("cpus").unwrap_or_default();
            *held.entry(framework.clone()).or_default() += amount.millis();
        }
        let total: i64 = agents.iter().sum();
        let guaranteed: i64 = guarantees.iter().map(|(guarantee, ..)| guarantee).sum();
        let feasible = guaranteed <= total;
        let mut unclaimed = 0;
        for (index, (guarantee, extra, present)) in guarantees.iter().enumerate() {
            let has = held.get(&format!("role{index}")).copied().unwrap_or(0);
            prop_assert!(has <= guarantee + extra, "limit of role{index}");
            prop_assert!(!feasible || !present || has >= *guarantee, "guarantee of role{index}");
            if !present {
                unclaimed += guarantee;
            }
        }
        let used: i64 = held.values().sum();
        prop_assert!(!feasible || total - used >= unclaimed, "headroom");
    }
}
