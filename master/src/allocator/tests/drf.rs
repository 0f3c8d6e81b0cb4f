//! Fair sharing.

use super::*;

/// One agent is offered again and again; frameworks launch one task of their size from an offer
/// and return the rest. Returns how many tasks each has when neither has room for another.
fn tasks(total: &str, demands: &[(&str, &str)], weights: &[(&str, f64)]) -> Vec<usize> {
    let mut env = Env::new();
    env.tell(|a| a.update_weights(weights.iter().copied()));
    for (framework, _) in demands {
        env.framework(framework, &[framework]);
    }
    env.agent("agent", total);
    let mut tasks = vec![0; demands.len()];
    loop {
        let offers = env.run();
        let Some(offer) = offers.first() else {
            return tasks;
        };
        let index = demands
            .iter()
            .position(|(framework, _)| offer.starts_with(framework))
            .unwrap();
        let (framework, demand) = demands[index];
        let key = (framework.to_owned(), "agent".to_owned());
        let offer = env.held.remove(&key).unwrap();
        let task = allocated(demand, framework);
        match offer.checked_sub(&task) {
            Some(rest) => {
                tasks[index] += 1;
                env.recover(framework, "agent", &rest, None);
            }
            None => env.recover(framework, "agent", &offer, Some(1e6)),
        }
    }
}

#[test]
fn worked_example_of_the_paper() {
    // 9 CPUs and 18 GB: each task of A takes 2/9 of memory, each task of B 1/3 of the CPUs.
    let demands = [("a", "cpus:1;mem:4096"), ("b", "cpus:3;mem:1024")];
    let total = "cpus:9;mem:18432";
    assert_eq!(tasks(total, &demands, &[]), [3, 2]);
    assert_eq!(tasks(total, &demands, &[("a", 3.0)]), [4, 1]);
    // B comes first, but has no room for a third task; the rest goes to A.
    assert_eq!(tasks(total, &demands, &[("b", 10.0)]), [3, 2]);
}

#[test]
fn equal_demands_converge_to_the_weights() {
    let demands = [("a", "cpus:1;mem:100"), ("b", "cpus:1;mem:100")];
    assert_eq!(tasks("cpus:30;mem:9000", &demands, &[]), [15, 15]);
    assert_eq!(tasks("cpus:30;mem:9000", &demands, &[("a", 2.0)]), [20, 10]);
}

/// Which framework of several gets one further agent, after each was charged.
#[track_caller]
fn check_next(frameworks: &[(&str, &str, &str)], weights: &[(&str, f64)], expected: &str) {
    let mut env = Env::new();
    env.tell(|a| a.update_weights(weights.iter().copied()));
    let used: BTreeMap<FrameworkId, Resources> = frameworks
        .iter()
        .map(|(id, role, used)| ((*id).into(), allocated(used, role)))
        .collect();
    let info = agent_info("used");
    env.tell(|a| {
        a.add_agent(
            "used".into(),
            &info,
            CAPABLE,
            parse("cpus:100;mem:1000"),
            used,
        )
    });
    for (id, role, _) in frameworks {
        env.framework(id, &[role]);
    }
    env.tell(|a| a.deactivate_agent(&"used".into()));
    env.agent("next", "cpus:10;mem:100");
    assert_eq!(env.run(), [format!("{expected} next cpus:10; mem:100")]);
}

#[test]
fn order_of_roles_and_frameworks() {
    check_next(&[("f", "a", "cpus:10"), ("g", "a", "cpus:5")], &[], "g a");
    check_next(&[("f", "a", "cpus:10"), ("g", "a", "mem:200")], &[], "f a");
    check_next(&[("f", "a", "cpus:10"), ("g", "b", "cpus:5")], &[], "g b");
    check_next(
        &[("f", "a", "cpus:10"), ("g", "b", "cpus:5")],
        &[("a", 3.0)],
        "f a",
    );
    // Equal shares, equally often charged: by name.
    check_next(&[("f", "b", "cpus:5"), ("g", "a", "cpus:5")], &[], "g a");
    // The subtree of `a` holds more than `b`, although `a/x` holds nothing.
    check_next(
        &[
            ("f", "a/x", ""),
            ("g", "a/y", "cpus:9"),
            ("h", "b", "cpus:5"),
        ],
        &[],
        "h b",
    );
    // Within `a`, the role itself competes with those below it.
    check_next(
        &[("f", "a", "cpus:9"), ("g", "a/y", "cpus:5")],
        &[],
        "g a/y",
    );
    check_next(&[("f", "a", "cpus:4"), ("g", "a/y", "cpus:5")], &[], "f a");
    // The weight of a subtree does not count within it.
    check_next(
        &[
            ("f", "a", "cpus:9"),
            ("g", "a/y", "cpus:5"),
            ("h", "b", "cpus:10"),
        ],
        &[("a", 2.0)],
        "g a/y",
    );
}

#[test]
fn ties_go_to_whoever_was_handed_out_less() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.framework("g", &["a"]);
    env.agent("agent", "cpus:1;mem:100");
    for expected in ["f", "g", "f", "g"] {
        env.expect_run(&[&format!("{expected} a agent cpus:1; mem:100")]);
        env.decline(expected, "agent", None);
    }
}

#[test]
fn excluded_names_do_not_count() {
    let mut env = Env::with(Options {
        fair_sharing_excluded_resource_names: set(&["gpus"]),
        filter_gpu_resources: false,
        ..Options::default()
    });
    env.framework("f", &["a"]);
    env.agent("gpu", "gpus:1");
    env.tell(|a| a.update_weights([("a", 1.0)]));
    env.framework("g", &["b"]);
    let metrics = env.allocator.metrics();
    assert_eq!(metrics["allocator/mesos/roles/a/shares/dominant"], 0.0);
}

#[test]
fn unallocated_reservations_are_not_charged() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.framework("g", &["b"]);
    env.agent("agent", "cpus(b):90;cpus:10;mem:100");
    let role = |share: &str| env.allocator.metrics()[&format!("allocator/mesos/roles/{share}")];
    assert_eq!(role("b/shares/dominant"), 0.0);
}
