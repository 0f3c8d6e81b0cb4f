//! What cannot be true is refused, and nothing changes.

use super::*;
use mesos::resources::{Resource, Scalar};

#[test]
fn events_that_cannot_be_true() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("one", "cpus:4");
    let (info, host) = (framework_info(&["a"], &[]), agent_info("one"));
    let bad = framework_info(&["a//b"], &[]);
    let options = FrameworkOptions::default;
    let none = BTreeMap::<AgentId, Resources>::new();
    let huge = || Resources::from(Resource::scalar("cpus", Scalar::MAX));
    let used = |used: Resources| BTreeMap::from([(FrameworkId::from("f"), used)]);
    let (f, one, unknown) = ("f".into(), AgentId::from("one"), AgentId::from("unknown"));
    let stranger = FrameworkId::from("stranger");
    let now = env.now;
    type Event<'a> = &'a dyn Fn(&mut Allocator) -> Result<(), AllocatorError>;
    let table: [(&str, Event<'_>); 17] = [
        ("is already known", &|a| {
            a.add_framework("f".into(), &info, &none, true, options())
        }),
        ("framework stranger is not known", &|a| {
            a.remove_framework(&stranger)
        }),
        ("framework stranger is not known", &|a| {
            a.revive_offers(&stranger, &set(&[]))
        }),
        ("agent unknown is not known", &|a| a.remove_agent(&unknown)),
        ("agent unknown is not known", &|a| {
            a.update_unavailability(&unknown, None)
        }),
        ("agent one is already known", &|a| {
            a.add_agent(
                "one".into(),
                &host,
                CAPABLE,
                Resources::new(),
                BTreeMap::new(),
            )
        }),
        ("ole", &|a| {
            a.add_framework("g".into(), &bad, &none, true, options())
        }),
        ("ole", &|a| a.update_framework(&f, &bad, options())),
        ("exceed", &|a| {
            a.add_agent("two".into(), &host, CAPABLE, huge(), BTreeMap::new())
        }),
        ("is allocated", &|a| {
            a.add_agent(
                "two".into(),
                &host,
                CAPABLE,
                allocated("cpus:1", "a"),
                BTreeMap::new(),
            )
        }),
        ("not allocated to exactly one role", &|a| {
            a.add_agent(
                "two".into(),
                &host,
                CAPABLE,
                parse("cpus:1"),
                used(parse("cpus:1")),
            )
        }),
        ("ole", &|a| {
            let used = used(allocated("cpus:1", "/a"));
            a.add_agent("two".into(), &host, CAPABLE, parse("cpus:1"), used)
        }),
        ("does not hold", &|a| {
            a.recover_resources(&f, &one, &allocated("cpus:9", "a"), None, false, now)
        }),
        ("does not hold", &|a| {
            a.transition_offered_to_allocated(&f, &one, &allocated("cpus:1", "a"))
        }),
        ("not a number greater than 0", &|a| {
            a.update_weights([("a", f64::NAN)])
        }),
        ("not a top-level role", &|a| {
            a.update_quota("a/b", Quota::default())
        }),
        ("ole", &|a| a.update_quota("", Quota::default())),
    ];
    for (expected, event) in table {
        let error = env.refused(event);
        assert!(
            error.contains(expected),
            "{error} should contain {expected}"
        );
    }
    env.expect_run(&["f a one cpus:4"]);
}

/// So many times an agent is handed out, used in part and returned.
const CYCLES: usize = 16_000;

/// A framework is handed an agent in odd parts and returns them, again and again.
#[test]
fn nothing_drifts() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("one", "cpus:0.7;mem:100.1;ports:[1-20]");
    for cycle in 0..CYCLES {
        let now = env.now;
        let round = env.allocator.allocate(now);
        let (agent, offered) = round.offers[0].resources["a"].iter().next().unwrap();
        let mut rest = offered.clone();
        for part in ["cpus:0.1;ports:[3-5]", "cpus:0.2;mem:33.333", "cpus:0.333"] {
            let part = allocated(part, "a");
            rest = rest.checked_sub(&part).unwrap();
            let framework = "f".into();
            let used = cycle % 2 == 0;
            if used {
                env.allocator
                    .transition_offered_to_allocated(&framework, agent, &part)
                    .unwrap();
            }
            env.allocator
                .recover_resources(&framework, agent, &part, None, used, now)
                .unwrap();
        }
        let framework = "f".into();
        env.allocator
            .recover_resources(&framework, agent, &rest, None, false, now)
            .unwrap();
    }
    env.check();
    let metrics = env.allocator.metrics();
    assert_eq!(
        metrics["allocator/mesos/resources/cpus/offered_or_allocated"],
        0.0
    );
    assert_eq!(metrics["allocator/mesos/roles/a/shares/dominant"], 0.0);
    env.expect_run(&["f a one cpus:0.7; ports:[1-20]; mem:100.1"]);
}
