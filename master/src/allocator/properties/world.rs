//! The allocator and its reference, told the same.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos::proto;
use mesos::resources::{Reservation, Resource, ResourceConversion, Resources, Scalar, Value};
use proto::offer::Operation;
use proto::offer::operation::{self, Type};

use super::super::reference::{Answer, HandedOut, InverseOffers, Policy, Reference};
use super::super::{
    AgentCapabilities, AgentId, Allocator, AllocatorError, FrameworkId, FrameworkOptions, Options,
    Quota, Round, policy,
};
use super::generate::{
    Event, ROLES, agent_id, allocated, framework_id, hostnames, parse, persistent_disk, roles,
};
use super::laws::Before;

pub(super) struct World {
    pub(super) allocator: Allocator,
    pub(super) reference: Reference,
    pub(super) now: Duration,
    shows_shares: bool,
}

/// What a framework holds on an agent in a role.
struct Out {
    framework: FrameworkId,
    agent: AgentId,
    role: String,
    /// Only offered.
    offered: Resources,
    in_use: Resources,
}

impl World {
    /// A world whose roles and frameworks are ordered by policies.
    pub(super) fn new(roles: Policy, frameworks: Policy) -> World {
        let named = |wanted: Policy| {
            let mut policies = Policy::ALL.into_iter();
            let (_, name) = policies.find(|(policy, _)| *policy == wanted).unwrap();
            policy(name).unwrap()
        };
        let options = Options {
            role_sorter: named(roles),
            framework_sorter: named(frameworks),
            region: Some("here".into()),
            recovery_timeout: Duration::from_secs(20),
            ..Options::default()
        };
        World {
            shows_shares: roles == Policy::Drf,
            allocator: Allocator::new(options.clone()),
            reference: Reference::new(options, roles, frameworks),
            now: Duration::from_secs(100),
        }
    }

    /// Tells an event, and compares everything.
    pub(super) fn tell(&mut self, event: &Event) {
        self.apply(event);
        self.compare();
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Run(seconds) => {
                self.now += Duration::from_secs(u64::from(*seconds));
                self.run();
            }
            Event::RunRequested => self.run_requested(),
            Event::Decline(index, part, refuse) => self.decline(*index, *part, *refuse),
            Event::Launch(index, part) => self.launch(*index, *part),
            Event::End(index, part) => self.end(*index, *part),
            Event::Convert(index, kind) => self.convert(*index, *kind),
            Event::Operate(index, kind) => self.operate(*index, *kind),
            Event::Nonsense(index, kind) => self.nonsense(*index, *kind),
            Event::AddFramework(..)
            | Event::RemoveFramework(..)
            | Event::UpdateFramework(..)
            | Event::ActivateFramework(..)
            | Event::Suppress(..)
            | Event::Revive(..)
            | Event::Request(..) => self.framework_event(event),
            Event::Unavailable(index, is) => self.unavailable(*index, *is),
            Event::AnswerInverse(agent, framework, bits) => {
                self.answer_inverse(*agent, *framework, *bits);
            }
            Event::Quota(..)
            | Event::Weight(..)
            | Event::Whitelist(..)
            | Event::Pause
            | Event::Resume
            | Event::Recover(..) => self.policy_event(event),
            _ => self.agent_event(event),
        }
    }

    fn framework_event(&mut self, event: &Event) {
        let (a, r) = (&mut self.allocator, &mut self.reference);
        match event {
            Event::AddFramework(index, spec, active, used) => {
                let id = framework_id(*index);
                let used = used.then(|| (agent_id(0), allocated("cpus:0.25;mem:1.5", "a/b")));
                let used = BTreeMap::from_iter(used);
                let (info, options) = (spec.info(), spec.options());
                let expected = r.add_framework(&id, &info, &used, *active, &options);
                same(
                    a.add_framework(id, &info, &used, *active, options),
                    expected,
                );
            }
            Event::RemoveFramework(index) => {
                let id = framework_id(*index);
                same(a.remove_framework(&id), r.remove_framework(&id));
            }
            Event::UpdateFramework(index, spec) => {
                let (id, info, options) = (framework_id(*index), spec.info(), spec.options());
                let expected = r.update_framework(&id, &info, &options);
                same(a.update_framework(&id, &info, options), expected);
            }
            Event::ActivateFramework(index, true) => {
                let id = framework_id(*index);
                same(a.activate_framework(&id), r.activate_framework(&id));
            }
            Event::ActivateFramework(index, false) => {
                let id = framework_id(*index);
                same(a.deactivate_framework(&id), r.deactivate_framework(&id));
            }
            Event::Suppress(index, bits) => {
                let (id, roles) = (framework_id(*index), roles(*bits));
                same(
                    a.suppress_offers(&id, &roles),
                    r.suppress_offers(&id, &roles),
                );
            }
            Event::Revive(index, bits) => {
                let (id, roles) = (framework_id(*index), roles(*bits));
                same(a.revive_offers(&id, &roles), r.revive_offers(&id, &roles));
            }
            Event::Request(index, bits) => {
                let id = framework_id(*index);
                let asked = format!("cpus:{};mem:{}", bits % 16, bits);
                let request = proto::Request {
                    resources: parse(&asked).to_protos(),
                    ..Default::default()
                };
                let requests = if *bits == 0 { vec![] } else { vec![request] };
                same(
                    a.request_resources(&id, &requests),
                    r.request_resources(&id, &requests),
                );
            }
            _ => unreachable!("{event:?}"),
        }
    }

    fn agent_event(&mut self, event: &Event) {
        let (a, r) = (&mut self.allocator, &mut self.reference);
        match event {
            Event::AddAgent(index, spec, used) => {
                let (id, info, total) = (agent_id(*index), spec.info(*index), spec.total());
                let (capabilities, used) = (spec.capabilities(), usage(*used));
                let expected = r.add_agent(&id, &info, capabilities, &total, &used);
                same(a.add_agent(id, &info, capabilities, total, used), expected);
            }
            Event::RemoveAgent(index) => {
                let id = agent_id(*index);
                same(a.remove_agent(&id), r.remove_agent(&id));
            }
            Event::UpdateAgent(index, spec, with_total) => {
                let (id, info) = (agent_id(*index), spec.info(*index));
                let total = with_total.then(|| spec.total());
                let capabilities = Some(spec.capabilities());
                let expected = r.update_agent(&id, &info, total.as_ref(), capabilities);
                same(a.update_agent(&id, &info, total, capabilities), expected);
            }
            Event::AddProvider(index, used) => {
                let id = agent_id(*index);
                let disk = parse("disk:30").into_iter();
                let total: Resources = disk.map(|disk| disk.with_provider("p")).collect();
                let mut held = total.clone();
                held.allocate("d");
                let used = (used % 2 == 1).then(|| (framework_id(1), held));
                let used = BTreeMap::from_iter(used);
                let expected = r.add_resource_provider(&id, &total, &used);
                same(a.add_resource_provider(&id, &total, &used), expected);
            }
            Event::ActivateAgent(index, active) => {
                let id = agent_id(*index);
                let result = if *active {
                    a.activate_agent(&id)
                } else {
                    a.deactivate_agent(&id)
                };
                same(result, r.set_agent_active(&id, *active));
            }
            _ => unreachable!("{event:?}"),
        }
    }

    fn policy_event(&mut self, event: &Event) {
        let (a, r) = (&mut self.allocator, &mut self.reference);
        match event {
            Event::Quota(index, spec) => {
                let (role, quota) = (ROLES[*index], spec.quota());
                let expected = r.update_quota(role, &quota);
                same(a.update_quota(role, quota), expected);
            }
            Event::Weight(index, weight) => {
                let weights = [(ROLES[*index], f64::from(*weight) / 2.0)];
                same(a.update_weights(weights), r.update_weights(&weights));
            }
            Event::Whitelist(bits) => {
                a.update_whitelist(bits.map(hostnames));
                r.update_whitelist(bits.map(hostnames));
            }
            Event::Pause => {
                a.pause();
                r.pause();
            }
            Event::Resume => {
                a.resume();
                r.resume();
            }
            Event::Recover(expected, spec) => {
                let quotas = BTreeMap::from([("d".to_owned(), spec.quota())]);
                let answer = r.recover(usize::from(*expected), &quotas);
                same(a.recover(usize::from(*expected), quotas), answer);
            }
            _ => unreachable!("{event:?}"),
        }
    }

    fn unavailable(&mut self, index: usize, is: bool) {
        let id = agent_id(index);
        let nanoseconds = i64::try_from(self.now.as_nanos()).unwrap();
        let unavailability = is.then_some(proto::Unavailability {
            start: proto::TimeInfo { nanoseconds },
            duration: None,
        });
        let expected = self.reference.update_unavailability(&id, unavailability);
        same(
            self.allocator.update_unavailability(&id, unavailability),
            expected,
        );
    }

    fn answer_inverse(&mut self, agent: usize, framework: usize, bits: u8) {
        let (agent, framework, now) = (agent_id(agent), framework_id(framework), self.now);
        let status = (bits & 3 < 3).then(|| proto::allocator::InverseOfferStatus {
            status: i32::from(bits & 3),
            framework_id: proto::FrameworkId {
                value: framework.to_string(),
            },
            timestamp: proto::TimeInfo { nanoseconds: 0 },
        });
        let filters = (bits & 4 == 0).then(|| proto::Filters {
            refuse_seconds: (bits & 8 == 0).then(|| f64::from(bits >> 4) / 2.0),
        });
        let (r, a) = (&mut self.reference, &mut self.allocator);
        let answer = (status.clone(), filters.as_ref());
        let expected = r.update_inverse_offer(&agent, &framework, answer.0, answer.1, now);
        let result = a.update_inverse_offer(&agent, &framework, status, filters.as_ref(), now);
        same(result, expected);
    }

    /// What is out, by framework, agent and role.
    fn outs(&self) -> Vec<Out> {
        let mut outs = Vec::new();
        for (agent_id, agent) in &self.reference.agents {
            for (framework, held) in &agent.held {
                let in_use = agent.in_use.get(framework).cloned().unwrap_or_default();
                let mut in_use = in_use.allocations();
                for (role, held) in held.allocations() {
                    let in_use = in_use.remove(&role).unwrap_or_default();
                    outs.push(Out {
                        framework: framework.clone(),
                        agent: agent_id.clone(),
                        role: role.to_string(),
                        offered: &held - &in_use,
                        in_use,
                    });
                }
            }
        }
        outs
    }

    fn pick(&self, index: usize) -> Option<Out> {
        let mut outs = self.outs();
        let count = outs.len();
        (count > 0).then(|| outs.swap_remove(index % count))
    }

    fn give_back(&mut self, out: &Out, part: &Resources, refuse: Option<i8>, in_use: bool) {
        let filters = refuse.map(|seconds| proto::Filters {
            refuse_seconds: (seconds < 11).then(|| f64::from(seconds) / 2.0),
        });
        let (filters, now) = (filters.as_ref(), self.now);
        let (framework, agent) = (&out.framework, &out.agent);
        let r = &mut self.reference;
        let expected = r.recover_resources(framework, agent, part, filters, in_use, now);
        let a = &mut self.allocator;
        let result = a.recover_resources(framework, agent, part, filters, in_use, now);
        same(result, expected);
    }

    fn decline(&mut self, index: usize, bits: u8, refuse: Option<i8>) {
        if let Some(out) = self.pick(index) {
            self.give_back(&out, &part(&out.offered, bits), refuse, false);
        }
    }

    fn end(&mut self, index: usize, bits: u8) {
        if let Some(out) = self.pick(index) {
            self.give_back(&out, &part(&out.in_use, bits), None, true);
        }
    }

    fn launch(&mut self, index: usize, bits: u8) {
        if let Some(out) = self.pick(index) {
            let task = part(&out.offered, bits);
            self.transition(&out.framework, &out.agent, &task);
        }
    }

    fn transition(&mut self, framework: &FrameworkId, agent: &AgentId, task: &Resources) {
        let r = &mut self.reference;
        let expected = r.transition_offered_to_allocated(framework, agent, task);
        let a = &mut self.allocator;
        let result = a.transition_offered_to_allocated(framework, agent, task);
        same(result, expected);
    }

    /// An operation of an accepted offer.
    fn convert(&mut self, index: usize, kind: u8) {
        let Some(out) = self.pick(index) else {
            return;
        };
        if let Some(conversion) = conversion(&out, kind) {
            self.update_allocation(&out.framework, &out.agent, &out.offered, &[conversion]);
        }
    }

    fn update_allocation(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        offered: &Resources,
        conversions: &[ResourceConversion],
    ) {
        let r = &mut self.reference;
        let expected = r.update_allocation(framework, agent, offered, conversions);
        let a = &mut self.allocator;
        let result = a.update_allocation(framework, agent, offered, conversions);
        same(result, expected);
    }

    /// An operation of an operator.
    fn operate(&mut self, index: usize, kind: u8) {
        let role = if kind & 1 == 0 { "d" } else { "a/b" };
        let reserved = parse("cpus:0.5;mem:10");
        let reserved = reserved.push_reservation(&Reservation::dynamic(role, None));
        let operation = if kind & 2 == 0 {
            Operation {
                r#type: Some(Type::Reserve.into()),
                reserve: Some(operation::Reserve {
                    resources: reserved.to_protos(),
                    source: vec![],
                }),
                ..Default::default()
            }
        } else {
            Operation {
                r#type: Some(Type::Unreserve.into()),
                unreserve: Some(operation::Unreserve {
                    resources: reserved.to_protos(),
                }),
                ..Default::default()
            }
        };
        let (id, operations) = (agent_id(index), [operation]);
        let expected = self.reference.update_available(&id, &operations);
        same(self.allocator.update_available(&id, &operations), expected);
    }

    /// What can never be true is refused, and changes nothing.
    fn nonsense(&mut self, index: usize, kind: u8) {
        let a = &mut self.allocator;
        let none = BTreeMap::new();
        let bad_roles = [
            "", "/", "a//b", "a/", "../a", "-a", "a b", "a/./b", "a/*", "x\ty",
        ];
        let bad_role = bad_roles[index % bad_roles.len()];
        let info = proto::FrameworkInfo {
            role: Some(bad_role.to_owned()),
            ..Default::default()
        };
        let options = FrameworkOptions::default();
        let huge = Resources::from(Resource::scalar("cpus", Scalar::MAX));
        let result = match kind % 8 {
            0 => a.add_framework("bad".into(), &info, &BTreeMap::new(), true, options),
            1 => a.update_quota(bad_role, Quota::default()),
            2 => {
                let weights = [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
                a.update_weights([("a", 1.0), ("d", weights[index % weights.len()])])
            }
            3 => {
                let (info, capabilities) = (Default::default(), AgentCapabilities::default());
                let total = allocated("cpus:1", "a");
                a.add_agent("bad".into(), &info, capabilities, total, none)
            }
            4 if a.agents.len() > 0 && a.total.get("cpus").is_positive() => {
                let (info, capabilities) = (Default::default(), AgentCapabilities::default());
                a.add_agent("bad".into(), &info, capabilities, huge, none)
            }
            5 => a.update_framework(&"nobody".into(), &Default::default(), options),
            6 => a.update_agent(&"nowhere".into(), &Default::default(), None, None),
            _ => return self.bad_bundle(index),
        };
        assert!(result.is_err(), "nonsense {index} {kind} was accepted");
    }

    /// Resources that the framework does not hold, or of several roles.
    fn bad_bundle(&mut self, index: usize) {
        let Some(out) = self.pick(index) else {
            return;
        };
        let more = &out.offered + &out.in_use + allocated("cpus:1000", &out.role);
        let two_roles = &out.offered + &allocated("cpus:1", "nobody's");
        let none = Resources::new();
        let both = ResourceConversion::new(out.offered.clone(), allocated("cpus:9", &out.role));
        let (framework, agent) = (&out.framework, &out.agent);
        for bundle in [&more, &two_roles] {
            self.give_back(&out, bundle, Some(1), false);
            self.transition(framework, agent, bundle);
            self.update_allocation(framework, agent, bundle, &[]);
        }
        self.update_allocation(framework, agent, &out.offered, &[both]);
        self.update_allocation(framework, agent, &none, &[]);
    }

    fn run(&mut self) {
        let before = Before::new(self);
        let expected = self.reference.allocate(self.now);
        let round = flatten(self.allocator.allocate(self.now));
        assert_eq!(round, expected);
        before.check(self, &round.0, true);
        self.compare_metrics();
    }

    fn run_requested(&mut self) {
        let before = Before::new(self);
        let r = &self.reference;
        let requested = r.all_are_candidates || !r.candidates.is_empty();
        assert_eq!(
            self.allocator.run_requested(),
            requested && !r.is_paused(),
            "a run is requested"
        );
        let expected = self.reference.allocate_requested(self.now);
        let round = flatten(self.allocator.allocate_requested(self.now));
        assert_eq!(round, expected);
        before.check(self, &round.0, false);
    }

    /// What is shown agrees with the reference.
    fn compare_metrics(&self) {
        let (metrics, r) = (self.allocator.metrics(), &self.reference);
        let shown = |name: String| metrics.get(&format!("allocator/mesos/{name}")).copied();
        let tracked = r.tracked();
        for role in ROLES {
            let share = shown(format!("roles/{role}/shares/dominant"));
            if let Some(share) = share {
                assert_eq!(share, r.share_of_role(role), "share of {role}");
            }
            let is_shown = self.shows_shares && tracked.contains_key(role);
            assert_eq!(share.is_some(), is_shown, "share of {role}");
            let consumed = |name: &str| {
                let name = format!("quota/roles/{role}/resources/{name}/consumed");
                shown(name).unwrap_or(0.0)
            };
            for name in ["cpus", "mem", "disk"] {
                let expected = r.allocated(role).get(name).to_f64();
                assert_eq!(consumed(name), expected, "{name} consumed in {role}");
            }
        }
        let total = r.total();
        for name in ["cpus", "mem", "disk"] {
            let shown = shown(format!("resources/{name}/total"));
            assert_eq!(shown, Some(total.get(name).to_f64()), "{name}");
        }
    }

    /// The accounts agree with each other and with the reference.
    pub(super) fn compare(&self) {
        let (a, r) = (&self.allocator, &self.reference);
        assert_eq!(a.sanity_check(), Ok(()));
        assert_eq!(a.is_paused(), r.is_paused());
        assert_eq!(a.agents.len(), r.agents.len());
        for (key, id, agent) in a.agents.iter() {
            let expected = &r.agents[id];
            assert_eq!(*agent.total(), expected.total, "total of {id}");
            assert_eq!(*agent.available(), expected.available(), "{id}");
            let holdings = agent.holdings().iter();
            let held = holdings.map(|holding| (holding.framework.clone(), holding.held.clone()));
            let held: BTreeMap<FrameworkId, Resources> = held.collect();
            assert_eq!(held, expected.held, "held on {id}");
            let in_use = agent.holdings().iter().filter_map(|holding| {
                let in_use = holding.in_use().into_owned();
                (!in_use.is_empty()).then(|| (holding.framework.clone(), in_use))
            });
            let in_use: BTreeMap<FrameworkId, Resources> = in_use.collect();
            assert_eq!(in_use, expected.in_use, "in use on {id}");
            let is_candidate = a.candidates.contains(key);
            let expected = r.all_are_candidates || r.candidates.contains(id);
            assert_eq!(is_candidate, expected, "candidate {id}");
        }
        for (id, statuses) in a.inverse_offer_statuses() {
            let maintenance = r.agents[&id].maintenance.as_ref();
            assert_eq!(statuses, maintenance.unwrap().statuses, "answers on {id}");
        }
        for role in ROLES {
            let key = a.roles.key(role);
            let count = key.map_or(0, |key| a.filters.count(key));
            assert_eq!(count, r.filters_in(role), "filters in {role}");
            assert_eq!(a.role_sorter.len(), r.tracked().len());
        }
    }
}

#[track_caller]
fn same(result: Result<(), AllocatorError>, expected: Answer) {
    assert_eq!(result.is_ok(), expected.is_ok(), "{result:?}, {expected:?}");
}

/// What is in use of a new agent, by frameworks that may or may not be known.
fn usage(bits: u8) -> BTreeMap<FrameworkId, Resources> {
    let usage = [
        (framework_id(0), allocated("cpus:0.5;ports:[5-9]", "a/b")),
        (framework_id(1), allocated("cpus:0.1;mem:8", "d")),
    ];
    let chosen = usage.into_iter().enumerate();
    let chosen = chosen.filter(|(i, _)| bits >> (2 * i) & 3 == 3);
    chosen.map(|(_, usage)| usage).collect()
}

/// Some of the entries of a bundle, scalars halved if there is a reason to believe they can be.
fn part(bundle: &Resources, bits: u8) -> Resources {
    let chosen = bundle.iter().enumerate();
    let chosen = chosen.filter(|(i, _)| bits >> (i % 8) & 1 == 1);
    chosen
        .map(|(index, resource)| match resource.as_scalar() {
            Some(amount) if divides(resource) && bits >> (7 - index % 8) & 1 == 1 => {
                let half = Scalar::from_millis((amount.millis() + 1) / 2);
                resource.clone().with_value(Value::Scalar(half))
            }
            _ => resource.clone(),
        })
        .collect()
}

fn divides(resource: &Resource) -> bool {
    !resource.is_shared() && !resource.is_persistent_volume()
}

/// An exchange of some of what is offered, if there is something to exchange.
fn conversion(out: &Out, kind: u8) -> Option<ResourceConversion> {
    let find = |wanted: &dyn Fn(&Resource) -> bool| {
        let found = out.offered.iter().find(|resource| wanted(resource));
        found.cloned()
    };
    let exchange = |consumed: Resource, converted: Resource| {
        ResourceConversion::new(consumed.into(), converted.into())
    };
    let is_cpus = |resource: &Resource| *resource.name() == *"cpus" && !resource.is_revocable();
    let is_plain_disk = |resource: &Resource| {
        let reserved = !resource.is_unreserved() && resource.disk().is_none();
        *resource.name() == *"disk" && reserved && resource.provider_id().is_none()
    };
    match kind % 7 {
        // Reserve to the role or refine; `*` has no reservations.
        0 | 1 if out.role != "*" => {
            let cpus = find(&|r| is_cpus(r) && r.reservations().len() < 2)?;
            let reservation = Reservation::dynamic(out.role.as_str(), Some("f".into()));
            let refines = cpus
                .reservation_role()
                .is_none_or(|role| mesos::roles::is_strict_subrole(&out.role, role));
            let reserved = cpus.clone().with_reservation(reservation);
            refines.then(|| exchange(cpus, reserved))
        }
        2 => {
            let reserved = find(&|r| r.is_dynamically_reserved() && !r.is_shared())?;
            let rest = reserved.clone().without_last_reservation();
            Some(exchange(reserved, rest))
        }
        3 => {
            let disk = find(&is_plain_disk)?;
            let volume = disk.clone().with_disk(persistent_disk("created"));
            let volume = if kind & 8 == 0 {
                volume
            } else {
                volume.with_shared()
            };
            Some(exchange(disk, volume))
        }
        4 => {
            let volume = find(&|r| r.is_persistent_volume())?;
            let disk = volume.clone().without_volume();
            Some(ResourceConversion {
                consumed: volume.clone().into(),
                converted: disk.into(),
                must_be_gone: Some(volume),
            })
        }
        // One more copy of a shared volume.
        5 => {
            let volume = find(&|r| r.is_shared())?;
            Some(ResourceConversion::new(Resources::new(), volume.into()))
        }
        // A disk that is being worked on is gone until then.
        _ => {
            let disk = find(&|r| *r.name() == *"disk" && !r.is_shared())?;
            Some(ResourceConversion::new(disk.into(), Resources::new()))
        }
    }
}

/// What a run handed out, by framework, role and agent.
pub(super) fn flatten(round: Round) -> (HandedOut, InverseOffers) {
    let mut handed_out = HandedOut::new();
    for allocation in round.offers {
        for (role, agents) in allocation.resources {
            for (agent, resources) in agents {
                let key = (allocation.framework.clone(), role.clone(), agent);
                let old = handed_out.insert(key, resources);
                assert_eq!(old, None, "one bundle for framework, role and agent");
            }
        }
    }
    let mut inverse_offers = InverseOffers::new();
    for offer in round.inverse_offers {
        let old = inverse_offers.insert((offer.framework, offer.agent), offer.unavailability);
        assert_eq!(old, None, "one inverse offer for framework and agent");
    }
    (handed_out, inverse_offers)
}
