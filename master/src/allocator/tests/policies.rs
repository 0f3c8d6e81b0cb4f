//! Who comes first, by policy.

use std::sync::Arc;

use super::*;

/// The frameworks that are offered one agent after the other, each of which is taken for good.
#[track_caller]
fn check(
    roles: &str,
    frameworks: &str,
    clients: &[(&str, &str, &str)],
    weights: &[(&str, f64)],
    expected: &[&str],
) {
    let mut env = Env::with(Options {
        role_sorter: policy(roles).unwrap(),
        framework_sorter: policy(frameworks).unwrap(),
        ..Options::default()
    });
    env.tell(|a| a.update_weights(weights.iter().copied()));
    for (framework, role, demand) in clients {
        env.framework(framework, &[role]);
        let request = proto::Request {
            resources: parse(demand).to_protos(),
            ..Default::default()
        };
        env.tell(|a| a.request_resources(&(*framework).into(), std::slice::from_ref(&request)));
    }
    let mut taken = Vec::new();
    for index in 0..expected.len() {
        env.agent(&format!("agent{index}"), "cpus:1;mem:100");
        let lines = env.run();
        taken.extend(
            lines
                .iter()
                .map(|line| line.split(' ').next().unwrap().to_owned()),
        );
    }
    assert_eq!(taken, expected, "{roles} and {frameworks}: {clients:?}");
}

#[test]
fn orders() {
    let roles = [("f", "b", ""), ("g", "a", ""), ("h", "c", "")];
    check("drf", "drf", &roles, &[], &["g", "f", "h", "g"]);
    check("drf", "drf", &roles, &[("c", 2.0)], &["g", "f", "h", "h"]);
    check("fifo", "drf", &roles, &[], &["f", "f", "f"]);
    let frameworks = [("z", "a", ""), ("y", "a", ""), ("x", "b", "")];
    check("fifo", "fifo", &frameworks, &[], &["z", "z"]);
    check("drf", "fifo", &frameworks, &[], &["z", "x", "z"]);
    check("fifo", "drf", &frameworks, &[], &["y", "z", "y"]);
}

#[test]
fn largest_open_demand_first() {
    // The order changes as demands are met; who asked for nothing comes last.
    let clients = [("f", "a", "cpus:1"), ("g", "b", "cpus:3"), ("h", "c", "")];
    check("drc", "drf", &clients, &[], &["g", "g", "f", "g", "h", "f"]);
    let clients = [("f", "a", "cpus:1"), ("g", "a", "cpus:2"), ("h", "a", "")];
    check("drf", "drc", &clients, &[], &["g", "f", "g", "h"]);
    // Subtrees ask for what all in them ask for.
    let clients = [
        ("f", "a/x", "cpus:2"),
        ("g", "a/y", "cpus:1"),
        ("h", "b", "cpus:2"),
    ];
    check("drc", "drc", &clients, &[], &["f", "f", "h"]);
}

#[test]
fn returned_offers_leave_the_demand() {
    let mut env = Env::with(Options {
        role_sorter: policy("drc").unwrap(),
        ..Options::default()
    });
    env.framework("f", &["a"]);
    env.framework("g", &["b"]);
    let request = |demand: &str| proto::Request {
        resources: parse(demand).to_protos(),
        ..Default::default()
    };
    env.tell(|a| a.request_resources(&"g".into(), &[request("cpus:2"), request("cpus:1")]));
    env.agent("agent", "cpus:3");
    for _ in 0..3 {
        env.expect_run(&["g b agent cpus:3"]);
        env.decline("g", "agent", None);
    }
    // Each call replaces the one before.
    env.tell(|a| a.request_resources(&"g".into(), &[]));
    env.expect_run(&["f a agent cpus:3"]);
    let invalid = proto::Request {
        resources: vec![proto::Resource::default()],
        ..Default::default()
    };
    assert!(
        env.refused(|a| a.request_resources(&"g".into(), &[invalid]))
            .starts_with("requested")
    );
}

#[test]
fn registration_survives_failovers() {
    let mut env = Env::with(Options {
        role_sorter: policy("fifo").unwrap(),
        framework_sorter: policy("fifo").unwrap(),
        master_id: Some("new".into()),
        ..Options::default()
    });
    // In the order in which they come back, which says nothing.
    for id in ["new-0000", "old-0007", "old-0003", "other"] {
        env.framework(id, &["a"]);
    }
    for expected in ["old-0003", "old-0007", "new-0000", "other"] {
        env.agent(expected, "cpus:1");
        env.expect_run(&[&format!("{expected} a {expected} cpus:1")]);
        env.tell(|a| a.deactivate_framework(&expected.into()));
    }
    // A lost connection changes nothing.
    for id in ["other", "old-0003"] {
        env.tell(|a| a.activate_framework(&id.into()));
    }
    env.agent("agent", "cpus:1");
    env.expect_run(&["old-0003 a agent cpus:1"]);
}

#[test]
fn lots_follow_weights() {
    let mut env = Env::with(Options {
        role_sorter: policy("random").unwrap(),
        framework_sorter: policy("random").unwrap(),
        ..Options::default()
    });
    env.tell(|a| a.update_weights([("b", 3.0)]));
    env.framework("f", &["a"]);
    env.framework("g", &["b/x"]);
    env.framework("h", &["b/y"]);
    for index in 0..40 {
        env.agent(&format!("agent{index}"), "cpus:1");
    }
    let (mut taken, runs) = (BTreeMap::<String, usize>::new(), 25);
    for _ in 0..runs {
        for line in env.run() {
            *taken.entry(line[..1].to_owned()).or_default() += 1;
        }
        let held: Vec<(String, String)> = env.held.keys().cloned().collect();
        for (framework, agent) in held {
            env.decline(&framework, &agent, None);
        }
    }
    assert!((200..300).contains(&taken["f"]), "{taken:?}");
    assert!((320..430).contains(&taken["g"]), "{taken:?}");
    assert_eq!(taken.values().sum::<usize>(), 40 * runs);
}

/// A policy of one's own: the last name first.
#[derive(Debug)]
struct Backwards;

impl SortPolicy for Backwards {
    fn rank(&self, client: &Client<'_>) -> Rank {
        let first = client.path.bytes().next().unwrap_or_default();
        Rank {
            key: -f64::from(first),
            tie: 0,
        }
    }
}

#[test]
fn policies_of_others() {
    let mut env = Env::with(Options {
        role_sorter: Arc::new(Backwards),
        ..Options::default()
    });
    env.framework("f", &["a"]);
    env.framework("g", &["b"]);
    env.agent("agent", "cpus:1");
    env.expect_run(&["g b agent cpus:1"]);
}
