//! Why a framework gets nothing.

use super::*;
use mesos::resources::{ResourceQuantities, Scalar};

/// An event that gets in the way.
type Event<'a> = &'a dyn Fn(&mut Env);

/// Framework `f` in role `a`, and what is said about agent `one` after an event and a run.
#[track_caller]
fn check(name: &str, total: &str, event: Event<'_>, expected: &[&str]) {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("one", total);
    event(&mut env);
    env.run();
    let question = Question {
        framework: "f".into(),
        role: "a".into(),
        agent: Some("one".into()),
    };
    let explanation = env.allocator.explain(&question).unwrap();
    let on_agent = explanation.agents.iter().flat_map(|agent| &agent.reasons);
    let reasons = explanation.anywhere.iter().chain(on_agent);
    let texts: Vec<String> = reasons.map(Reason::to_string).collect();
    assert_eq!(texts, expected, "{name}");
    let json = serde_json::to_value(&explanation).unwrap();
    let kinds = explanation.agents[0].reasons.iter().map(Reason::kind);
    for (index, kind) in kinds.enumerate() {
        assert_eq!(json["agents"][0]["reasons"][index]["reason"], kind);
        assert_eq!(json["counts"][kind], 1);
    }
}

fn limits(text: &str) -> Quota {
    let (name, cpus) = text.split_once(':').unwrap();
    let limit = Scalar::from_f64(cpus.parse().unwrap()).unwrap();
    Quota {
        limits: [(name, limit)].into_iter().collect(),
        ..Quota::default()
    }
}

#[test]
fn reasons() {
    let none = |_: &mut Env| {};
    check("offered", "cpus:4", &none, &["handed out in the last run"]);
    check(
        "filtered",
        "cpus:4",
        &|env| {
            env.run();
            env.decline("f", "one", Some(60.0));
        },
        &["refused until 1061 s"],
    );
    check(
        "suppressed",
        "cpus:4",
        &|env| env.tell(|a| a.suppress_offers(&"f".into(), &set(&[]))),
        &[
            "the framework suppressed offers in the role",
            "to be offered in its turn: cpus:4",
        ],
    );
    check(
        "not connected",
        "cpus:4",
        &|env| env.tell(|a| a.deactivate_framework(&"f".into())),
        &[
            "the framework is not connected",
            "to be offered in its turn: cpus:4",
        ],
    );
    check(
        "paused",
        "cpus:4",
        &|env| env.allocator.pause(),
        &[
            "the allocator is paused",
            "to be offered in its turn: cpus:4",
        ],
    );
    check(
        "agent",
        "cpus:4",
        &|env| env.tell(|a| a.deactivate_agent(&"one".into())),
        &["the agent is deactivated"],
    );
    check(
        "whitelist",
        "cpus:4",
        &|env| env.allocator.update_whitelist(Some(set(&[]))),
        &["the agent is not on the whitelist"],
    );
    check(
        "limit",
        "cpus:4",
        &|env| env.tell(|a| a.update_quota("a", limits("cpus:0"))),
        &["the quota limit of the role: cpus"],
    );
    check(
        "headroom",
        "cpus:4",
        &|env| {
            let quota = Quota {
                guarantees: ResourceQuantities::parse("cpus:4").unwrap(),
                ..Quota::default()
            };
            env.tell(|a| a.update_quota("q", quota.clone()));
        },
        &["held back for the guarantees of other roles: cpus"],
    );
    check("reserved", "cpus(b):4", &none, &["reserved for role b"]);
    check(
        "minimum",
        "cpus:0.001",
        &none,
        &["too little to offer: cpus:0.001"],
    );
    check(
        "gpus",
        "cpus:4;gpus:1",
        &none,
        &["the agent has GPUs, the framework lacks GPU_RESOURCES"],
    );
    check(
        "first",
        "cpus:4",
        &|env| {
            env.tell(|a| a.update_quota("a", limits("cpus:1")));
            env.run();
            env.tell(|a| a.update_quota("a", Quota::default()));
            env.decline("f", "one", None);
            env.framework("g", &["Z"]);
        },
        &["framework g in role Z came first"],
    );
    check(
        "in use",
        "cpus:4",
        &|env| {
            env.run();
            env.run();
        },
        &["nothing is available"],
    );
}

#[test]
fn answers_are_bounded() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    for index in 0..120 {
        env.agent(&format!("agent{index}"), "cpus(b):4");
    }
    let question = Question {
        framework: "f".into(),
        role: "a".into(),
        agent: None,
    };
    let explanation = env.allocator.explain(&question).unwrap();
    assert_eq!(
        (explanation.agents.len(), explanation.more_agents),
        (100, 20)
    );
    assert_eq!(explanation.counts["reserved_for"], 120);
    assert!(explanation.to_string().ends_with("and 20 more agents\n"));
    for (framework, agent) in [("none", None), ("f", Some("none"))] {
        let question = Question {
            framework: framework.into(),
            role: "a".into(),
            agent: agent.map(Into::into),
        };
        assert!(env.allocator.explain(&question).is_err());
    }
}
