//! Which framework may be offered which agent and which of its resources.

use super::*;
use mesos::resources::{Name, Resource, Scalar};
use proto::resource::DiskInfo;
use proto::resource::disk_info::Persistence;

fn cpus(units: i64) -> Resource {
    Resource::scalar(Name::CPUS, Scalar::from_millis(units * 1_000))
}

fn volume() -> Resource {
    Resource::scalar(Name::DISK, Scalar::from_millis(5_000))
        .with_reservation(Reservation::dynamic("a", None))
        .with_disk(DiskInfo {
            persistence: Some(Persistence {
                id: "v".into(),
                principal: None,
            }),
            ..Default::default()
        })
}

/// What a framework in role `a` is offered of an agent, without and with a capability.
#[track_caller]
fn check(total: &Resources, capability: Capability, without: &[&str], with: &[&str]) {
    for (capabilities, expected) in [(&[][..], without), (&[capability], with)] {
        let mut env = Env::new();
        env.add_framework("f", &framework_info(&["a"], capabilities));
        env.agent_with("agent", total.clone());
        let expected: Vec<_> = expected.iter().map(|e| format!("f a agent {e}")).collect();
        assert_eq!(env.run(), expected, "{capabilities:?}");
    }
}

#[test]
fn kinds_of_resources() {
    let plain = Resources::from(cpus(1));
    check(
        &(&plain + &cpus(2).with_revocable().into()),
        Capability::RevocableResources,
        &["cpus:1"],
        &["cpus:1; cpus{REV}:2"],
    );
    check(
        &(&plain + &volume().with_shared().into()),
        Capability::SharedResources,
        &["cpus:1"],
        &["cpus:1; disk(reservations: [(DYNAMIC,a)])[v]<SHARED>:5<1>"],
    );
    let refined = cpus(2)
        .with_reservation(Reservation::fixed("x"))
        .with_reservation(Reservation::dynamic("x/y", None));
    let mut env = Env::new();
    env.add_framework("f", &framework_info(&["x/y"], &[]));
    env.add_framework(
        "g",
        &framework_info(&["x/y"], &[Capability::ReservationRefinement]),
    );
    env.agent_with("agent", refined.into());
    let refined = "cpus(reservations: [(STATIC,x),(DYNAMIC,x/y)]):2";
    env.expect_run(&[&format!("g x/y agent {refined}")]);
    let gpus = parse("cpus:1;gpus:2");
    check(&gpus, Capability::GpuResources, &[], &["cpus:1; gpus:2"]);
}

#[test]
fn gpu_agents_without_the_option() {
    let mut env = Env::with(Options {
        filter_gpu_resources: false,
        ..Options::default()
    });
    env.framework("f", &["a"]);
    env.agent("agent", "cpus:1;gpus:2");
    env.expect_run(&["f a agent cpus:1; gpus:2"]);
}

#[test]
fn regions() {
    let agent = |region: Option<&str>| {
        use proto::domain_info::{FaultDomain, fault_domain};
        proto::SlaveInfo {
            domain: region.map(|region| proto::DomainInfo {
                fault_domain: Some(FaultDomain {
                    region: fault_domain::RegionInfo {
                        name: region.into(),
                    },
                    zone: fault_domain::ZoneInfo { name: "z".into() },
                }),
            }),
            ..Default::default()
        }
    };
    // Region of the agent, capability of the framework, whether there is an offer.
    let table = [
        (None, false, true),
        (Some("here"), false, true),
        (Some("there"), false, false),
        (Some("there"), true, true),
    ];
    for (region, aware, offered) in table {
        let mut env = Env::with(Options {
            region: Some("here".into()),
            ..Options::default()
        });
        let capabilities = [Capability::RegionAware];
        let capabilities = if aware { &capabilities[..] } else { &[] };
        env.add_framework("f", &framework_info(&["a"], capabilities));
        let (info, total) = (agent(region), parse("cpus:1"));
        env.tell(|a| a.add_agent("agent".into(), &info, CAPABLE, total, BTreeMap::new()));
        assert_eq!(env.run().len(), usize::from(offered), "{region:?} {aware}");
    }
}

#[test]
fn capabilities_of_agents() {
    let single_role = proto::FrameworkInfo {
        roles: vec![],
        capabilities: vec![],
        ..framework_info(&[], &[])
    };
    // Capabilities of the agent, framework, whether there is an offer.
    let table = [
        (true, true, framework_info(&["a/b"], &[]), true),
        (true, false, framework_info(&["a/b"], &[]), false),
        (true, false, framework_info(&["a"], &[]), true),
        (false, true, framework_info(&["a"], &[]), false),
        (false, false, single_role, true),
    ];
    for (multi_role, hierarchical_role, framework, offered) in table {
        let mut env = Env::new();
        env.add_framework("f", &framework);
        let capabilities = AgentCapabilities {
            multi_role,
            hierarchical_role,
        };
        let (info, total) = (agent_info("agent"), parse("cpus:1"));
        env.tell(|a| a.add_agent("agent".into(), &info, capabilities, total, BTreeMap::new()));
        assert_eq!(
            env.run().len(),
            usize::from(offered),
            "{capabilities:?} {framework:?}"
        );
        env.tell(|a| a.update_agent(&"agent".into(), &info, None, Some(CAPABLE)));
        assert_eq!(env.run().len(), usize::from(!offered));
    }
}

#[test]
fn reservations() {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.framework("g", &["b"]);
    env.framework("h", &["b/c"]);
    env.agent("agent", "cpus(b):1;cpus(b/c):2;cpus(x):4");
    env.expect_run(&[
        "g b agent cpus(reservations: [(STATIC,b)]):1",
        "h b/c agent cpus(reservations: [(STATIC,b/c)]):2",
    ]);
    env.decline("g", "agent", Some(100.0));
    env.expect_run(&["h b/c agent cpus(reservations: [(STATIC,b)]):1"]);
}

#[test]
fn shared_volumes_stay_available() {
    let mut env = Env::new();
    for framework in ["f", "g"] {
        env.add_framework(
            framework,
            &framework_info(&["a"], &[Capability::SharedResources]),
        );
    }
    env.agent_with(
        "agent",
        [cpus(1), volume().with_shared()].into_iter().collect(),
    );
    let shared = "disk(reservations: [(DYNAMIC,a)])[v]<SHARED>:5<1>";
    let share = |env: &Env| env.allocator.metrics()["allocator/mesos/roles/a/shares/dominant"];
    env.expect_run(&[&format!("f a agent cpus:1; {shared}")]);
    assert_eq!(
        env.run(),
        Vec::<String>::new(),
        "a volume alone is below the minimum"
    );
    env.decline("f", "agent", None);
    assert_eq!(share(&env), 0.0);

    let mut env = Env::with(Options {
        min_allocatable_resources: vec![],
        ..Options::default()
    });
    env.add_framework("f", &framework_info(&["a"], &[Capability::SharedResources]));
    env.add_framework("g", &framework_info(&["a"], &[Capability::SharedResources]));
    env.agent_with("agent", [volume().with_shared()].into_iter().collect());
    env.expect_run(&[&format!("f a agent {shared}")]);
    env.expect_run(&[&format!("g a agent {shared}")]);
    env.expect_run(&[&format!("f a agent {shared}")]);
    assert_eq!(share(&env), 1.0, "held three times, charged once");
    env.decline("f", "agent", None);
    assert_eq!(share(&env), 1.0);
    env.decline("g", "agent", None);
    assert_eq!(share(&env), 0.0);
}

#[test]
fn minimum_of_offers() {
    let quantities = |text: &str| {
        let quantities = parse(text).quantities();
        proto::offer_filters::ResourceQuantities {
            quantities: quantities
                .iter()
                .map(|(name, amount)| {
                    let value = amount.to_f64();
                    (name.to_string(), proto::value::Scalar { value })
                })
                .collect(),
        }
    };
    let override_with = |alternatives: Option<&[&str]>| {
        let mut info = framework_info(&["a"], &[]);
        if let Some(alternatives) = alternatives {
            let minimum = proto::offer_filters::MinAllocatableResources {
                quantities: alternatives.iter().map(|text| quantities(text)).collect(),
            };
            let filters = proto::OfferFilters {
                min_allocatable_resources: Some(minimum),
            };
            info.offer_filters.insert("a".into(), filters);
        }
        info
    };
    // Total of the agent, override of the framework, whether there is an offer.
    let table: [(&str, Option<&[&str]>, bool); 9] = [
        ("cpus:0.01", None, true),
        ("cpus:0.009", None, false),
        ("mem:32", None, true),
        ("mem:31;disk:1000;ports:[1-9]", None, false),
        ("cpus(a):0.005;cpus:0.005", None, true),
        ("cpus:1", Some(&["cpus:2"]), false),
        ("cpus:1", Some(&["cpus:2", "cpus:1"]), true),
        ("cpus:1", Some(&["cpus:1;mem:1"]), false),
        ("disk:1", Some(&[]), true),
    ];
    for (total, alternatives, offered) in table {
        let mut env = Env::new();
        env.add_framework("f", &override_with(alternatives));
        env.agent("agent", total);
        assert_eq!(
            env.run().len(),
            usize::from(offered),
            "{total} {alternatives:?}"
        );
    }
}

#[test]
fn offer_constraints() {
    use proto::scheduler::attribute_constraint::{Predicate, Selector, predicate, selector};
    use proto::scheduler::offer_constraints::{RoleConstraints, role_constraints::Group};
    use proto::scheduler::{AttributeConstraint, OfferConstraints};
    let attribute = |name: &str| selector::Selector::AttributeName(name.into());
    let pseudo =
        |kind: selector::PseudoattributeType| selector::Selector::PseudoattributeType(kind.into());
    let options = |groups: Vec<Group>| FrameworkOptions {
        offer_constraints: Some(OfferConstraints {
            role_constraints: [("a".to_owned(), RoleConstraints { groups })].into(),
        }),
        ..FrameworkOptions::default()
    };
    let group = |selector, predicate| Group {
        attribute_constraints: vec![AttributeConstraint {
            selector: Selector {
                selector: Some(selector),
            },
            predicate: Predicate {
                predicate: Some(predicate),
            },
        }],
    };
    use predicate::Predicate::{
        Exists, NotExists, TextEquals, TextMatches, TextNotEquals, TextNotMatches,
    };
    let exists = || Exists(predicate::Exists {});
    let absent = || NotExists(predicate::NotExists {});
    let equals = |value: &str| {
        TextEquals(predicate::TextEquals {
            value: value.into(),
        })
    };
    let differs = |value: &str| {
        TextNotEquals(predicate::TextNotEquals {
            value: value.into(),
        })
    };
    let matches = |regex: &str| {
        TextMatches(predicate::TextMatches {
            regex: regex.into(),
        })
    };
    let matches_not = |regex: &str| {
        TextNotMatches(predicate::TextNotMatches {
            regex: regex.into(),
        })
    };
    let table = [
        (attribute("rack"), matches("r."), true),
        (attribute("rack"), matches(r"r\d+"), true),
        (attribute("rack"), matches("r"), false),
        (attribute("rack"), matches("r1|r"), true),
        (attribute("rack"), matches("(r)[0-9é]"), true),
        (attribute("none"), matches("r."), false),
        (attribute("level"), matches("x"), true),
        (attribute("rack"), matches_not("r."), false),
        (attribute("rack"), matches_not("r"), true),
        (attribute("none"), matches_not("r."), true),
        (attribute("level"), matches_not("r."), true),
        (
            pseudo(selector::PseudoattributeType::Hostname),
            matches(r"agent\.[a-z]+\.org"),
            true,
        ),
        (attribute("rack"), exists(), true),
        (attribute("none"), exists(), false),
        (attribute("rack"), absent(), false),
        (attribute("none"), absent(), true),
        (attribute("rack"), equals("r1"), true),
        (attribute("rack"), equals("r2"), false),
        (attribute("none"), equals("r1"), false),
        (attribute("level"), equals("r1"), true),
        (attribute("rack"), differs("r1"), false),
        (attribute("none"), differs("r1"), true),
        (attribute("level"), differs("r1"), true),
        (
            pseudo(selector::PseudoattributeType::Hostname),
            equals("agent.example.org"),
            true,
        ),
        (
            pseudo(selector::PseudoattributeType::Region),
            exists(),
            false,
        ),
        (
            pseudo(selector::PseudoattributeType::Zone),
            differs("z"),
            true,
        ),
    ];
    let attributes = mesos::attributes::Attributes::parse("rack:r1;level:5;rack:r2").unwrap();
    let info = proto::SlaveInfo {
        attributes: attributes.to_protos(),
        ..agent_info("agent")
    };
    let run = |options: FrameworkOptions| {
        let mut env = Env::new();
        env.tell(|a| {
            let framework = framework_info(&["a"], &[]);
            a.add_framework("f".into(), &framework, &BTreeMap::new(), true, options)?;
            a.add_agent(
                "agent".into(),
                &info,
                CAPABLE,
                parse("cpus:1"),
                BTreeMap::new(),
            )
        });
        env.run().len()
    };
    for (selector, predicate, offered) in table {
        let text = format!("{selector:?} {predicate:?}");
        assert_eq!(
            run(options(vec![group(selector, predicate)])),
            usize::from(offered),
            "{text}"
        );
    }
    // One of the groups is enough; in a group all constraints must hold.
    let yes = || group(attribute("rack"), equals("r1"));
    let no = || group(attribute("rack"), equals("r2"));
    assert_eq!(run(options(vec![no(), yes()])), 1);
    let both = [yes(), no()]
        .into_iter()
        .flat_map(|group| group.attribute_constraints);
    let both = Group {
        attribute_constraints: both.collect(),
    };
    assert_eq!(run(options(vec![both])), 0);

    let regex = |regex| vec![group(attribute("rack"), matches(regex))];
    let long = "x".repeat(200);
    let invalid = [
        (vec![], "offer constraints of role 'a' have no groups"),
        (
            vec![Group::default()],
            "a group of the offer constraints of role 'a' is empty",
        ),
        (
            regex("r)(1"),
            "regular expression 'r)(1' that cannot be used: ",
        ),
        (regex("a{50}b{50}c{50}"), "too complex: its program has 1"),
        (regex(&long), "are allowed"),
        (
            vec![group(
                pseudo(selector::PseudoattributeType::Unknown),
                exists(),
            )],
            "an offer constraint of role 'a' has no selector that is known",
        ),
    ];
    for (groups, expected) in invalid {
        let framework = framework_info(&["a"], &[]);
        let error = Env::new().refused(|a| {
            a.add_framework(
                "f".into(),
                &framework,
                &BTreeMap::new(),
                true,
                options(groups),
            )
        });
        assert!(error.contains(expected), "{error}");
    }
}
