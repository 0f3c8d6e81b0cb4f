//! Why a framework gets nothing.

use super::*;
use mesos::resources::{ResourceQuantities, Scalar};
use proto::scheduler::attribute_constraint::{self, predicate, selector::Selector};
use proto::scheduler::{AttributeConstraint, OfferConstraints, offer_constraints};

/// An event that gets in the way.
type Event<'a> = &'a dyn Fn(&mut Env);

/// A question; empty texts leave it open.
fn about(framework: &str, role: &str, agent: &str) -> Question {
    let is_said = |text: &&str| !text.is_empty();
    Question {
        framework: Some(framework).filter(is_said).map(Into::into),
        role: Some(role).filter(is_said).map(Into::into),
        agent: Some(agent).filter(is_said).map(Into::into),
        ..Question::default()
    }
}

#[track_caller]
fn explain(env: &Env, question: &Question) -> Answer {
    env.allocator.explain(question, env.now).unwrap()
}

/// Framework `f` in role `a`, and what is said about agent `one` after an event and a run.
#[track_caller]
fn check(name: &str, total: &str, event: Event<'_>, expected: &[&str]) {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.agent("one", total);
    event(&mut env);
    env.run();
    let explanation = explain(&env, &about("f", "a", "one")).frameworks.remove(0);
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
        &["refused for another 59.0 s"],
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

/// Frameworks `f` in `a` and `b` and `g` in `b`, on 120 agents that are reserved for nobody's role.
fn large() -> Env {
    let mut env = Env::new();
    env.framework("f", &["a", "b"]);
    env.framework("g", &["b"]);
    for index in 0..120 {
        env.agent(&format!("agent{index}"), "cpus(z):4");
    }
    env
}

#[test]
fn answers_are_about_what_is_asked() {
    /// The frameworks and roles of the answer, how many agents are named for each, and whether
    /// anything is left out.
    #[track_caller]
    fn check(question: Question, expected: &[&str], named: usize, truncated: bool) {
        let answer = explain(&large(), &question);
        let clients = answer.frameworks.iter();
        let clients = clients.map(|each| format!("{} {}", each.framework, each.role));
        assert_eq!(clients.collect::<Vec<_>>(), expected, "{question:?}");
        for each in &answer.frameworks {
            assert_eq!(each.agents.len(), named, "{question:?}");
            assert_eq!(each.agents.len() + each.more_agents, answer.examined);
            assert_eq!(each.counts["reserved_for"], answer.examined);
        }
        assert_eq!(answer.truncated, truncated, "{question:?}");
    }
    let limit = |limit, question| Question { limit, ..question };
    check(about("f", "a", ""), &["f a"], 100, true);
    check(limit(120, about("f", "a", "")), &["f a"], 120, false);
    check(about("f", "", "agent7"), &["f a", "f b"], 1, false);
    check(about("", "b", "agent7"), &["f b", "g b"], 1, false);
    check(about("", "", ""), &["f a", "f b", "g b"], 33, true);
    check(limit(2, about("", "", "agent7")), &["f a", "f b"], 1, true);
    check(limit(1, about("", "", "")), &["f a"], 1, true);
    let of_both = limit(2, about("", "", ""));
    let answer = explain(&large(), &of_both);
    assert_eq!(answer.more_frameworks, 1);
    let text = answer.to_string();
    assert!(text.starts_with("after run 0, agents: 120\n"), "{text}");
    assert!(
        text.contains("  and 119 more agents; of all: 120 reserved_for\n"),
        "{text}"
    );
    assert!(
        text.ends_with("and 1 more frameworks in a role\n"),
        "{text}"
    );
}

#[test]
fn unknown_things_are_named() {
    #[track_caller]
    fn check(question: Question, expected: &str) {
        let refused = large().allocator.explain(&question, Duration::ZERO);
        assert_eq!(refused.unwrap_err().to_string(), expected);
    }
    check(about("none", "", ""), "framework none is not known");
    check(about("f", "", "none"), "agent none is not known");
    check(
        about("", "none", ""),
        "no framework is subscribed to role 'none'",
    );
    check(about("", "/a", ""), "Role '/a' cannot start with a slash");
}

#[test]
fn portions_give_the_same_answer() {
    let env = large();
    let question = about("", "", "");
    for portion in [1, 7, 120, 10_000] {
        let mut survey = env.allocator.survey(&question).unwrap();
        while !env.allocator.examine(&mut survey, portion, env.now) {}
        assert_eq!(survey.into_answer(), explain(&env, &question), "{portion}");
    }
}

#[test]
fn what_leaves_meanwhile_is_not_looked_at() {
    let mut env = large();
    let mut survey = env.allocator.survey(&about("", "b", "")).unwrap();
    assert!(!env.allocator.examine(&mut survey, 20, env.now));
    env.tell(|a| a.remove_framework(&"f".into()));
    env.tell(|a| a.remove_agent(&"agent119".into()));
    while !env.allocator.examine(&mut survey, 20, env.now) {}
    let answer = survey.into_answer();
    let counts = answer.frameworks.iter();
    let counts: Vec<_> = counts.map(|each| each.counts["reserved_for"]).collect();
    assert_eq!(counts, [10, 119]);
}

#[test]
fn exclusions_are_listed_in_portions() {
    let mut env = Env::new();
    let exists = predicate::Predicate::Exists(predicate::Exists {});
    let constraint = AttributeConstraint {
        selector: attribute_constraint::Selector {
            selector: Some(Selector::AttributeName("rack".to_owned())),
        },
        predicate: attribute_constraint::Predicate {
            predicate: Some(exists),
        },
    };
    let group = offer_constraints::role_constraints::Group {
        attribute_constraints: vec![constraint],
    };
    let constraints = offer_constraints::RoleConstraints {
        groups: vec![group],
    };
    let options = FrameworkOptions {
        suppressed_roles: set(&["b"]),
        offer_constraints: Some(OfferConstraints {
            role_constraints: [("a".to_owned(), constraints)].into(),
        }),
        ..FrameworkOptions::default()
    };
    let info = framework_info(&["a", "b"], &[]);
    env.tell(|a| a.add_framework("f".into(), &info, &BTreeMap::new(), true, options));
    env.framework("g", &["a"]);
    (0..3).for_each(|index| env.agent(&format!("agent{index}"), "cpus:4"));
    for portion in [1, 2, 100] {
        let mut survey = env.allocator.exclusions();
        while !env
            .allocator
            .examine_exclusions(&mut survey, portion)
            .unwrap()
        {}
        let listed = serde_json::to_value(survey.into_exclusions()).unwrap();
        let expected = serde_json::json!({"frameworks": {
            "f": {
                "suppressed_roles": ["b"],
                "excluded_by_attribute_constraints": {
                    "a": ["agent0", "agent1", "agent2"],
                    "b": [],
                },
            },
            "g": {"suppressed_roles": [], "excluded_by_attribute_constraints": {"a": []}},
        }});
        assert_eq!(listed, expected, "{portion}");
    }
}
