//! Laws that hold after any sequence of events.

use proptest::prelude::*;

use super::reference::Reference;
use super::*;
use mesos::resources::Scalar;

/// How many sequences of events are tried.
const CASES: u32 = 1_500;

const ROLES: [&str; 5] = ["*", "a", "a/b", "a/b/c", "d"];

/// An event, with small numbers to choose what it is about.
#[derive(Clone, Debug)]
enum Event {
    AddFramework(usize, u8),
    RemoveFramework(usize),
    UpdateFramework(usize, u8),
    Activate(usize, bool),
    Suppress(usize, u8),
    Revive(usize, u8),
    AddAgent(usize, u8, bool),
    RemoveAgent(usize),
    UpdateAgent(usize, u8),
    ActivateAgent(usize, bool),
    /// Which of the bundles that are out comes back, how much of it, and a filter.
    Recover(usize, u8, Option<u8>),
    Use(usize),
    Reserve(usize),
    Weight(usize, u8),
    /// A guarantee and a limit; large numbers mean none.
    Quota(usize, u8, u8),
    Whitelist(Option<u8>),
    Request(usize, u8),
    Run,
    RunRequested,
}

fn event() -> impl Strategy<Value = Event> {
    let index = || 0_usize..5;
    let bits = any::<u8>;
    prop_oneof![
        3 => (index(), bits()).prop_map(|(i, b)| Event::AddFramework(i, b)),
        1 => index().prop_map(Event::RemoveFramework),
        2 => (index(), bits()).prop_map(|(i, b)| Event::UpdateFramework(i, b)),
        1 => (index(), any::<bool>()).prop_map(|(i, b)| Event::Activate(i, b)),
        1 => (index(), bits()).prop_map(|(i, b)| Event::Suppress(i, b)),
        1 => (index(), bits()).prop_map(|(i, b)| Event::Revive(i, b)),
        3 => (index(), bits(), any::<bool>()).prop_map(|(i, b, u)| Event::AddAgent(i, b, u)),
        1 => index().prop_map(Event::RemoveAgent),
        1 => (index(), bits()).prop_map(|(i, b)| Event::UpdateAgent(i, b)),
        1 => (index(), any::<bool>()).prop_map(|(i, b)| Event::ActivateAgent(i, b)),
        6 => (any::<usize>(), bits(), prop::option::of(0_u8..9))
            .prop_map(|(i, b, f)| Event::Recover(i, b, f)),
        2 => any::<usize>().prop_map(Event::Use),
        1 => index().prop_map(Event::Reserve),
        1 => (index(), 1_u8..9).prop_map(|(i, w)| Event::Weight(i, w)),
        2 => (index(), 0_u8..12, 0_u8..12).prop_map(|(i, g, l)| Event::Quota(i, g, l)),
        1 => prop::option::of(bits()).prop_map(Event::Whitelist),
        1 => (index(), bits()).prop_map(|(i, b)| Event::Request(i, b)),
        4 => Just(Event::Run),
        2 => Just(Event::RunRequested),
    ]
}

fn roles(bits: u8) -> BTreeSet<String> {
    let chosen = ROLES.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
    chosen.map(|(_, role)| (*role).to_owned()).collect()
}

fn info(bits: u8) -> proto::FrameworkInfo {
    let roles: Vec<String> = roles(bits).into_iter().collect();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    let capabilities = [
        Capability::RevocableResources,
        Capability::SharedResources,
        Capability::GpuResources,
    ];
    let chosen = capabilities.into_iter().enumerate();
    let chosen = chosen.filter(|(i, _)| bits >> (i + 5) & 1 == 1);
    framework_info(&roles, &chosen.map(|(_, c)| c).collect::<Vec<_>>())
}

fn total(bits: u8) -> Resources {
    let mut total = parse("cpus:4;mem:128;ports:[1-100]");
    let extras = [
        ("cpus(a):2", false),
        ("cpus(a/b):1.5", false),
        ("gpus:1", false),
        ("cpus:1;mem:10", true),
        ("mem(d):64", false),
    ];
    for (index, (extra, revocable)) in extras.into_iter().enumerate() {
        if bits >> index & 1 == 1 {
            let extra = parse(extra).into_iter();
            total.extend(extra.map(|r| if revocable { r.with_revocable() } else { r }));
        }
    }
    total
}

/// A bundle that is out.
#[derive(Clone, Debug, PartialEq)]
struct Out {
    framework: String,
    agent: String,
    resources: Resources,
    /// Whether it was in use from the beginning.
    in_use: bool,
}

struct World {
    allocator: Allocator,
    reference: Reference,
    now: Duration,
    out: Vec<Out>,
    frameworks: BTreeSet<String>,
    agents: BTreeMap<String, u8>,
}

impl World {
    /// Roles and frameworks are ordered by the policies of these names.
    fn new(roles: &str, frameworks: &str) -> World {
        let options = Options {
            role_sorter: policy(roles).unwrap(),
            framework_sorter: policy(frameworks).unwrap(),
            ..Options::default()
        };
        World {
            allocator: Allocator::new(options.clone()),
            reference: Reference::new(options),
            now: Duration::ZERO,
            out: Vec::new(),
            frameworks: BTreeSet::new(),
            agents: BTreeMap::new(),
        }
    }

    /// Tells an event. Whether it is refused must agree with what is known.
    fn tell(&mut self, event: &Event) {
        let framework = |index: &usize| format!("f{index}");
        let agent = |index: &usize| format!("agent{index}");
        match event {
            Event::AddFramework(index, bits) => {
                let (id, options) = (framework(index), FrameworkOptions::default());
                let fresh = self.frameworks.insert(id.clone());
                let active = bits & 1 == 0;
                let none = BTreeMap::new();
                let result = self.allocator.add_framework(
                    id.as_str().into(),
                    &info(*bits),
                    &none,
                    active,
                    options,
                );
                assert_eq!(result.is_ok(), fresh);
                if fresh {
                    self.reference.add_framework(&id, &info(*bits), active);
                }
            }
            Event::RemoveFramework(index) => {
                let id = framework(index);
                let result = self.allocator.remove_framework(&id.as_str().into());
                let known = self.frameworks.remove(&id);
                assert_eq!(result.is_ok(), known);
                if known {
                    self.reference.remove_framework(&id);
                }
                self.out.retain(|out| !known || out.framework != id);
            }
            Event::AddAgent(index, bits, used) => self.add_agent(&agent(index), *bits, *used),
            Event::RemoveAgent(index) => {
                let id = agent(index);
                let result = self.allocator.remove_agent(&id.as_str().into());
                assert_eq!(result.is_ok(), self.agents.remove(&id).is_some());
                self.reference.remove_agent(&id);
                self.out.retain(|out| out.agent != id);
            }
            Event::Recover(index, bits, filter) => self.recover(*index, *bits, *filter),
            Event::Use(index) => self.use_some(*index),
            Event::Run => {
                self.now += Duration::from_secs(1);
                let round = self.allocator.allocate(self.now);
                self.note(round.offers, true);
            }
            Event::RunRequested => {
                let round = self.allocator.allocate_requested(self.now);
                self.note(round.offers, false);
            }
            Event::Whitelist(bits) => {
                let listed = bits.map(|bits| {
                    let agents = (0..5).filter(|index| bits >> index & 1 == 1);
                    agents
                        .map(|index| format!("agent{index}.example.org"))
                        .collect()
                });
                self.allocator.update_whitelist(Option::clone(&listed));
                self.reference.set_whitelist(listed);
            }
            _ => self.tell_small(event),
        }
    }

    fn tell_small(&mut self, event: &Event) {
        let (a, reference) = (&mut self.allocator, &mut self.reference);
        let framework = |index: &usize| FrameworkId::from(format!("f{index}").as_str());
        let agent = |index: &usize| AgentId::from(format!("agent{index}").as_str());
        let known = |id: &FrameworkId| self.frameworks.contains(&id.to_string());
        let (result, expected) = match event {
            Event::UpdateFramework(index, bits) => {
                let id = framework(index);
                let options = FrameworkOptions {
                    suppressed_roles: roles(bits.rotate_left(3)),
                    ..FrameworkOptions::default()
                };
                if known(&id) {
                    let suppressed = options.suppressed_roles.clone();
                    reference.update_framework(id.as_str(), &info(*bits), suppressed);
                }
                (a.update_framework(&id, &info(*bits), options), known(&id))
            }
            Event::Activate(index, true) => {
                let id = framework(index);
                if known(&id) {
                    reference.set_framework_active(id.as_str(), true);
                }
                (a.activate_framework(&id), known(&id))
            }
            Event::Activate(index, false) => {
                let id = framework(index);
                if known(&id) {
                    reference.set_framework_active(id.as_str(), false);
                }
                (a.deactivate_framework(&id), known(&id))
            }
            Event::Suppress(index, bits) => {
                let id = framework(index);
                if known(&id) {
                    reference.suppress(id.as_str(), &roles(*bits));
                }
                (a.suppress_offers(&id, &roles(*bits)), known(&id))
            }
            Event::Revive(index, bits) => {
                let id = framework(index);
                if known(&id) {
                    reference.revive(id.as_str(), &roles(*bits));
                }
                (a.revive_offers(&id, &roles(*bits)), known(&id))
            }
            Event::UpdateAgent(index, bits) => {
                let id = agent(index);
                let known = self.agents.contains_key(&id.to_string());
                let attribute = bits >> 7;
                let attributes = format!("rack:{attribute}");
                let attributes = mesos::attributes::Attributes::parse(&attributes).unwrap();
                let info = proto::SlaveInfo {
                    attributes: if attribute == 0 {
                        vec![]
                    } else {
                        attributes.to_protos()
                    },
                    ..agent_info(id.as_str())
                };
                if known {
                    reference.update_agent(id.as_str(), total(*bits), attribute);
                }
                (a.update_agent(&id, &info, Some(total(*bits)), None), known)
            }
            Event::ActivateAgent(index, active) => {
                let id = agent(index);
                let known = self.agents.contains_key(&id.to_string());
                if known {
                    reference.set_agent_active(id.as_str(), *active);
                }
                let result = if *active {
                    a.activate_agent(&id)
                } else {
                    a.deactivate_agent(&id)
                };
                (result, known)
            }
            Event::Weight(index, weight) => {
                reference.set_weight(ROLES[*index], f64::from(*weight));
                let weight = (ROLES[*index], f64::from(*weight));
                (a.update_weights([weight]), true)
            }
            Event::Quota(index, guarantee, limit) => {
                let role = ROLES[*index];
                let quota = quota(*guarantee, *limit);
                let expected = !role.contains('/');
                if expected {
                    reference.set_quota(role, quota.clone());
                }
                (a.update_quota(role, quota), expected)
            }
            Event::Request(index, bits) => {
                let id = framework(index);
                let resources = parse(&format!("cpus:{};mem:{}", bits % 8, bits / 8));
                let request = proto::Request {
                    resources: resources.to_protos(),
                    ..Default::default()
                };
                if known(&id) {
                    reference.request_resources(id.as_str(), resources.quantities());
                }
                (a.request_resources(&id, &[request]), known(&id))
            }
            Event::Reserve(index) => {
                let resources =
                    parse("cpus:0.5").push_reservation(&Reservation::dynamic("d", None));
                let operation = proto::offer::Operation {
                    r#type: Some(proto::offer::operation::Type::Reserve.into()),
                    reserve: Some(proto::offer::operation::Reserve {
                        resources: resources.to_protos(),
                        source: vec![],
                    }),
                    ..Default::default()
                };
                // Whether it fits is for the allocator to say.
                let result = a.update_available(&agent(index), std::slice::from_ref(&operation));
                if result.is_ok() {
                    reference.apply(agent(index).as_str(), &operation);
                }
                let expected = result.is_ok();
                (result, expected)
            }
            _ => return,
        };
        assert_eq!(result.is_ok(), expected, "{event:?}: {result:?}");
    }

    fn add_agent(&mut self, id: &str, bits: u8, used: bool) {
        let mut usage = BTreeMap::new();
        if used {
            // By a framework that may or may not be known.
            usage.insert("f0".into(), allocated("cpus:1;ports:[5-9]", "a/b"));
        }
        let fresh = !self.agents.contains_key(id);
        let info = agent_info(id);
        let result =
            self.allocator
                .add_agent(id.into(), &info, CAPABLE, total(bits), usage.clone());
        assert_eq!(result.is_ok(), fresh);
        if fresh {
            self.agents.insert(id.to_owned(), bits);
            self.reference.add_agent(id, total(bits), &usage);
            for (framework, used) in usage {
                self.out.push(Out {
                    framework: framework.to_string(),
                    agent: id.to_owned(),
                    resources: used,
                    in_use: true,
                });
            }
        }
    }

    fn pick(&mut self, index: usize) -> Option<Out> {
        (!self.out.is_empty()).then(|| self.out.swap_remove(index % self.out.len()))
    }

    fn recover(&mut self, index: usize, bits: u8, filter: Option<u8>) {
        let Some(mut out) = self.pick(index) else {
            return;
        };
        let chosen = out.resources.iter().enumerate();
        let chosen = chosen.filter(|(i, _)| bits >> (i % 8) & 1 == 1);
        let part: Resources = chosen.map(|(_, resource)| resource.clone()).collect();
        self.give_back(&out, &part, filter, out.in_use);
        out.resources -= &part;
        if !out.resources.is_empty() {
            self.out.push(out);
        }
    }

    fn give_back(&mut self, out: &Out, part: &Resources, filter: Option<u8>, in_use: bool) {
        let filters = filter.map(|seconds| proto::Filters {
            refuse_seconds: Some(f64::from(seconds)),
        });
        let (framework, agent) = (out.framework.as_str().into(), out.agent.as_str().into());
        let result = self.allocator.recover_resources(
            &framework,
            &agent,
            part,
            filters.as_ref(),
            in_use,
            self.now,
        );
        assert_eq!(result, Ok(()));
        let seconds = filter.map(f64::from);
        let (framework, agent) = (&out.framework, &out.agent);
        self.reference
            .recover(framework, agent, part, seconds, in_use, self.now);
    }

    /// A bundle goes into use, and back.
    fn use_some(&mut self, index: usize) {
        let Some(out) = self.pick(index) else {
            return;
        };
        if !out.in_use {
            let (framework, agent) = (out.framework.as_str().into(), out.agent.as_str().into());
            let used =
                self.allocator
                    .transition_offered_to_allocated(&framework, &agent, &out.resources);
            assert_eq!(used, Ok(()));
            assert_eq!(self.allocator.sanity_check(), Ok(()));
        }
        self.give_back(&out, &out.resources, None, true);
    }

    fn note(&mut self, allocations: Vec<Allocation>, batch: bool) {
        let mut offers = BTreeMap::new();
        for allocation in &allocations {
            for (role, agents) in &allocation.resources {
                for (agent, resources) in agents {
                    let framework = allocation.framework.to_string();
                    offers.insert(
                        (framework, role.clone(), agent.to_string()),
                        resources.clone(),
                    );
                }
            }
        }
        let expected = self.reference.run(batch, self.now);
        assert!(
            offers == expected,
            "\n{} but should be\n{}",
            shown(&offers),
            shown(&expected)
        );
        for allocation in allocations {
            for (role, agents) in allocation.resources {
                for (agent, resources) in agents {
                    assert!(resources.iter().all(|resource| {
                        resource.allocation_role() == Some(role.as_str())
                            && resource.is_allocatable_to(&role)
                    }));
                    self.out.push(Out {
                        framework: allocation.framework.to_string(),
                        agent: agent.to_string(),
                        resources,
                        in_use: false,
                    });
                }
            }
        }
    }

    /// What is out and what is still there make up each agent, unless its total has shrunk.
    fn check(&self, totals_kept: bool) {
        assert_eq!(self.allocator.sanity_check(), Ok(()));
        if !totals_kept {
            return;
        }
        for (_, id, agent) in self.allocator.agents.iter() {
            let out = self.out.iter().filter(|out| out.agent == id.to_string());
            let mut sum: Resources = out.map(|out| &out.resources).sum();
            sum.unallocate();
            assert_eq!(&sum + agent.available(), *agent.total(), "agent {id}");
        }
    }
}

fn shown(offers: &BTreeMap<(String, String, String), Resources>) -> String {
    let lines = offers.iter().map(|((framework, role, agent), resources)| {
        format!("{framework} {role} {agent} {resources}\n")
    });
    lines.collect()
}

fn quota(guarantee: u8, limit: u8) -> Quota {
    let amount = |number: u8| Scalar::from_millis(i64::from(number) * 700);
    let mut quota = Quota::default();
    if guarantee < 9 {
        quota.guarantees.increase("cpus", amount(guarantee));
        quota.guarantees.increase(
            "mem",
            Scalar::from_millis(i64::from(guarantee % 3) * 50_000),
        );
    }
    if limit < 9 {
        quota.limits.set("cpus", amount(limit.max(guarantee % 9)));
    }
    quota
}

const POLICIES: [&str; 4] = ["drf", "random", "fifo", "drc"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// Nothing is lost, and the allocator does what the reference does.
    #[test]
    fn resources_are_conserved(
        policies in (prop::sample::select(&POLICIES), prop::sample::select(&POLICIES)),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new(policies.0, policies.1);
        let mut totals_kept = true;
        for event in &events {
            totals_kept &= !matches!(event, Event::UpdateAgent(..));
            world.tell(event);
            world.check(totals_kept);
        }
    }

    #[test]
    fn runs_depend_on_the_seed_alone(events in prop::collection::vec(event(), 1..40)) {
        let run = || {
            let mut world = World::new("drf", "drf");
            events.iter().for_each(|event| world.tell(event));
            world.out
        };
        prop_assert_eq!(run(), run());
    }
}
