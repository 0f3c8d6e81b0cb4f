//! Limits of roles.

use super::*;

fn limits(text: &str) -> Quota {
    let limits = parse(text).quantities();
    Quota {
        limits: limits
            .iter()
            .map(|(name, amount)| (name.clone(), amount))
            .collect(),
        ..Quota::default()
    }
}

/// What the one framework of role `a` is offered of one agent under limits.
#[track_caller]
fn check(total: &str, quota: &str, expected: &[&str]) {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.tell(|a| a.update_quota("a", limits(quota)));
    env.agent("agent", total);
    let expected: Vec<_> = expected.iter().map(|e| format!("f a agent {e}")).collect();
    assert_eq!(env.run(), expected, "{total} under {quota}");
    env.expect_run(&[]);
}

#[test]
fn limits_cut_what_is_offered() {
    check(
        "cpus:4;mem:100;ports:[1-9]",
        "cpus:1",
        &["ports:[1-9]; cpus:1; mem:100"],
    );
    check("cpus:4;mem:100", "cpus:8", &["cpus:4; mem:100"]);
    check(
        "cpus:4;cpus(a):2",
        "cpus:3",
        &["cpus(reservations: [(STATIC,a)]):2; cpus:1"],
    );
    check(
        "cpus:4;cpus(a):5",
        "cpus:3",
        &["cpus(reservations: [(STATIC,a)]):5"],
    );
}

#[test]
fn the_rest_goes_to_others() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.framework("g", &["b"]);
    env.tell(|a| a.update_quota("a", limits("cpus:1")));
    env.agent("one", "cpus:4;mem:100");
    env.expect_run(&["f a one cpus:1; mem:100", "g b one cpus:3"]);
    env.agent("two", "cpus:4");
    env.expect_run(&["g b two cpus:4"]);
    // What was offered counts until it comes back.
    env.decline("f", "one", None);
    env.tell(|a| a.deactivate_framework(&"g".into()));
    env.expect_run(&["f a one cpus:1; mem:100"]);
    env.tell(|a| a.update_quota("a", Quota::default()));
    env.decline("g", "two", None);
    env.expect_run(&["f a two cpus:4"]);
}

#[test]
fn roles_below_count_for_the_limit() {
    let mut env = Env::new();
    env.framework("f", &["a/b"]);
    env.framework("g", &["a"]);
    env.tell(|a| a.update_quota("a", limits("cpus:5")));
    env.agent("one", "cpus:4");
    env.expect_run(&["g a one cpus:4"]);
    env.agent("two", "cpus:4");
    // The limit of `a` does not bind `a/b`, but what `a/b` holds counts for `a`.
    env.expect_run(&["f a/b two cpus:4"]);
    env.decline("g", "one", None);
    env.tell(|a| a.suppress_offers(&"f".into(), &set(&[])));
    env.expect_run(&["g a one cpus:1"]);
}
