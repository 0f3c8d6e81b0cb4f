//! Maintenance of machines, and inverse offers.

use std::collections::BTreeMap;
use std::time::Duration;

use libprocess::Upid;
use mesos::ids::{AgentId, FrameworkId, OfferId};
use mesos::proto::allocator::inverse_offer_status::Status;
use mesos::proto::machine_info::Mode;
use mesos::proto::scheduler::{Call, call};
use mesos::proto::{self, TaskState, internal};

use crate::allocator::InverseOffer;
use crate::core::MasterConfig;
use crate::core::effects::{AllocatorCall, RequestId, StreamId, Timer};
use crate::core::event::SchedulerEvent;
use crate::core::machines::MaintenanceOperation;
use crate::core::machines::testing::{machine, schedule, window};
use crate::core::metrics::Counter;
use crate::core::operator_event::OperatorEvent;
use crate::core::state::Connection;
use crate::core::testing::*;
use crate::core::validation::maintenance::MaintenanceError;

const REQUEST: RequestId = RequestId(3);

/// The machine of an agent of the tests.
fn machine_of(number: u16) -> proto::MachineId {
    machine(&format!("AGENT{number}"), &format!("10.0.0.{number}"))
}

fn unavailability(duration: Option<i64>) -> proto::Unavailability {
    window(&[], duration).unavailability
}

impl World {
    /// An operator asks for something that is acceptable.
    fn maintain(&mut self, operation: MaintenanceOperation) {
        self.step(|master, fx| master.on_maintain(operation, REQUEST, fx))
            .unwrap();
    }

    fn start(&mut self, number: u16) {
        self.maintain(MaintenanceOperation::Start(vec![machine_of(number)]));
    }

    fn stop(&mut self, number: u16) {
        self.maintain(MaintenanceOperation::Stop(vec![machine_of(number)]));
    }

    /// The allocator asks frameworks to leave an agent that is scheduled for 1 ns.
    fn ask_to_leave(&mut self, agent: &AgentId, frameworks: &[&FrameworkId]) {
        let asked = frameworks
            .iter()
            .map(|framework| InverseOffer {
                framework: (*framework).clone(),
                agent: agent.clone(),
                unavailability: unavailability(Some(1)),
            })
            .collect();
        self.step(|master, fx| master.on_inverse_offers(asked, fx));
    }

    fn inverse_offer(
        &mut self,
        framework: &FrameworkId,
        stream: StreamId,
        agent: &AgentId,
    ) -> OfferId {
        self.ask_to_leave(agent, &[framework]);
        match self.take_event(stream) {
            SchedulerEvent::InverseOffers { inverse_offers, .. } => {
                assert_eq!(inverse_offers.len(), 1);
                OfferId::from(&inverse_offers[0].id)
            }
            other => panic!("expected INVERSE_OFFERS, got {other:?}"),
        }
    }

    /// An agent that is scheduled, a v1 framework, and an inverse offer to it.
    fn with_inverse_offer(config: MasterConfig) -> (Self, Asked) {
        let mut world = Self::with_config(config);
        let (agent, pid) = world.agent(1);
        let (framework, stream) = world.framework();
        world.maintain(schedule(&[machine_of(1)], Some(1)));
        let offer = world.inverse_offer(&framework, stream, &agent);
        world.take_allocator_calls();
        let asked = Asked {
            agent,
            pid,
            framework,
            stream,
            offer,
        };
        (world, asked)
    }
}

struct Asked {
    agent: AgentId,
    pid: Upid,
    framework: FrameworkId,
    stream: StreamId,
    offer: OfferId,
}

/// What the allocator was told, in short.
fn told(calls: &[AllocatorCall]) -> Vec<String> {
    calls
        .iter()
        .map(|call| match call {
            AllocatorCall::UpdateUnavailability {
                agent,
                unavailability,
            } => format!("{agent} unavailable: {}", unavailability.is_some()),
            AllocatorCall::UpdateInverseOffer { agent, status, .. } => {
                format!("{agent} answered: {}", status.is_some())
            }
            other => {
                let text = format!("{other:?}");
                text.split([' ', '(']).next().unwrap_or_default().to_owned()
            }
        })
        .collect()
}

#[test]
fn a_schedule_takes_offers_back_and_tells_the_allocator() {
    let mut world = World::new();
    let (agent, _) = world.agent(1);
    let (other, _) = world.agent(2);
    let (framework, stream) = world.framework();
    let offer = world.offer(&framework, stream, &agent, "cpus:1");
    let kept = world.offer(&framework, stream, &other, "cpus:1");
    world.take_allocator_calls();

    world.maintain(schedule(&[machine_of(1)], Some(1)));
    assert_eq!(world.take_event(stream), SchedulerEvent::Rescind(offer));
    assert_eq!(
        told(&world.take_allocator_calls()),
        ["RecoverResources", "M-S0 unavailable: true"]
    );
    world.hand_out(&framework, &agent, "cpus:1");
    let SchedulerEvent::Offers { offers, .. } = world.take_event(stream) else {
        panic!("expected OFFERS");
    };
    assert_eq!(offers[0].unavailability, Some(unavailability(Some(1))));
    let offer = OfferId::from(&offers[0].id);

    // Only agents whose window changes are touched.
    world.maintain(schedule(&[machine_of(1), machine_of(3)], Some(1)));
    assert!(world.take_allocator_calls().is_empty());

    world.maintain(MaintenanceOperation::UpdateSchedule(
        proto::maintenance::Schedule::default(),
    ));
    assert_eq!(world.take_event(stream), SchedulerEvent::Rescind(offer));
    assert_eq!(
        told(&world.take_allocator_calls()),
        ["RecoverResources", "M-S0 unavailable: false"]
    );
    assert!(world.master.state().offers.contains_key(&kept));
}

#[test]
fn agents_that_register_are_unavailable_at_once() {
    let mut world = World::new();
    world.maintain(schedule(&[machine_of(1)], None));
    world.take_allocator_calls();
    let (agent, pid) = world.agent(1);
    let expected = ["AddAgent", "M-S0 unavailable: true"];
    assert_eq!(told(&world.take_allocator_calls()), expected);
    // Also when they come back to another master.
    let mut other = World::new();
    other.maintain(schedule(&[machine_of(1)], None));
    let message = reregister_agent(1, &agent);
    other.step(|master, fx| master.on_reregister_agent(&pid, message, fx));
    let _: internal::SlaveReregisteredMessage = other.take(&pid);
    let calls = told(&other.take_allocator_calls());
    assert!(calls.ends_with(&expected.map(str::to_owned)), "{calls:?}");
}

#[test]
fn inverse_offers_say_what_to_leave_and_when() {
    let mut world = World::new();
    let (agent, pid) = world.agent(1);
    let (framework, stream) = world.framework();
    let (v0, driver) = world.driver(1);
    world.maintain(schedule(&[machine_of(1)], Some(1)));
    world.ask_to_leave(&agent, &[&framework, &v0]);
    let SchedulerEvent::InverseOffers {
        inverse_offers,
        pids,
    } = world.take_event(stream)
    else {
        panic!("expected INVERSE_OFFERS");
    };
    assert_eq!(pids, std::slice::from_ref(&pid));
    let [offer] = inverse_offers.as_slice() else {
        panic!("expected one inverse offer: {inverse_offers:?}");
    };
    assert_eq!(offer.id.value, "M-O0");
    assert_eq!(offer.framework_id, (&framework).into());
    assert_eq!(offer.slave_id, Some((&agent).into()));
    assert_eq!(offer.unavailability, unavailability(Some(1)));
    assert_eq!(offer.url.as_ref().unwrap().path(), "/slave(1)");
    assert!(offer.resources.is_empty());
    let shown = crate::http::describe::frameworks(world.master.state());
    assert_eq!(shown.frameworks[0].inverse_offers, inverse_offers);
    let message: internal::InverseOffersMessage = world.take(&driver);
    assert_eq!(message.inverse_offers[0].id.value, "M-O1");
    assert_eq!(message.pids, [pid.to_string()]);

    world.maintain(schedule(&[machine_of(1)], Some(2)));
    assert_eq!(
        world.take_event(stream),
        SchedulerEvent::RescindInverseOffer("M-O0".into())
    );
    let message: internal::RescindInverseOfferMessage = world.take(&driver);
    assert_eq!(message.inverse_offer_id.value, "M-O1");
}

#[test]
fn frameworks_that_cannot_be_asked_are_asked_later() {
    let mut world = World::new();
    let (agent, pid) = world.agent(1);
    let (framework, stream) = world.framework();
    let check = |world: &mut World, expected: &[&str]| {
        world.take_allocator_calls();
        world.ask_to_leave(&agent, &[&framework]);
        assert_eq!(told(&world.take_allocator_calls()), expected);
        assert!(world.master.state().inverse_offers.is_empty());
    };
    // The allocator knows by now that the window is another one.
    check(&mut world, &[]);
    world.maintain(schedule(&[machine_of(1)], Some(2)));
    check(&mut world, &[]);
    world.maintain(schedule(&[machine_of(1)], Some(1)));
    world.step(|master, fx| master.on_stream_closed(stream, fx));
    check(&mut world, &["M-S0 answered: false"]);
    world.step(|master, fx| master.on_exited(&pid, fx));
    check(&mut world, &["M-S0 answered: false"]);
    world.step(|master, fx| master.on_teardown(&framework, fx));
    world.drain();
    check(&mut world, &[]);
}

fn answer(accept: bool, offers: &[&OfferId], refuse_seconds: Option<f64>) -> Call {
    let inverse_offer_ids = offers.iter().map(|offer| (*offer).into()).collect();
    let filters = refuse_seconds.map(|seconds| proto::Filters {
        refuse_seconds: Some(seconds),
    });
    if accept {
        Call {
            r#type: Some(call::Type::AcceptInverseOffers as i32),
            accept_inverse_offers: Some(call::AcceptInverseOffers {
                inverse_offer_ids,
                filters,
            }),
            ..Default::default()
        }
    } else {
        Call {
            r#type: Some(call::Type::DeclineInverseOffers as i32),
            decline_inverse_offers: Some(call::DeclineInverseOffers {
                inverse_offer_ids,
                filters,
            }),
            ..Default::default()
        }
    }
}

#[test]
fn answers_are_passed_on_with_their_filters() {
    let check = |accept: bool, given: Option<f64>, expected: (Status, f64)| {
        let (mut world, asked) = World::with_inverse_offer(MasterConfig::default());
        let unknown = OfferId::from("unknown");
        world.advance(Duration::from_secs(1));
        world.call(
            &asked.framework,
            answer(accept, &[&unknown, &asked.offer], given),
        );
        let calls = world.take_allocator_calls();
        let [
            AllocatorCall::UpdateInverseOffer {
                agent,
                framework,
                status: Some(status),
                filters: Some(filters),
            },
        ] = calls.as_slice()
        else {
            panic!("expected one answer: {calls:?}");
        };
        assert_eq!((agent, framework), (&asked.agent, &asked.framework));
        assert_eq!(status.framework_id, framework.into());
        assert_eq!(status.timestamp.nanoseconds, 1_001_000_000_000);
        assert_eq!((status.status(), filters.refuse_seconds()), expected);
        assert!(world.master.state().inverse_offers.is_empty());
        // Answered once is answered.
        world.call(&asked.framework, answer(accept, &[&asked.offer], given));
        assert!(world.take_allocator_calls().is_empty());
    };
    check(true, None, (Status::Accept, 5.0));
    check(true, Some(60.0), (Status::Accept, 60.0));
    check(false, None, (Status::Decline, 5.0));
    check(false, Some(0.0), (Status::Decline, 0.0));
}

#[test]
fn only_who_was_asked_answers() {
    let (mut world, asked) = World::with_inverse_offer(MasterConfig::default());
    let (other, _) = world.framework();
    world.take_allocator_calls();
    for accept in [true, false] {
        world.call(&other, answer(accept, &[&asked.offer], None));
    }
    assert!(world.take_allocator_calls().is_empty());
    assert!(
        world
            .master
            .state()
            .inverse_offers
            .contains_key(&asked.offer)
    );
}

#[test]
fn unanswered_inverse_offers_time_out() {
    let (mut world, asked) = World::with_inverse_offer(MasterConfig {
        offer_timeout: Some(Duration::from_secs(30)),
        ..MasterConfig::default()
    });
    world.fire(Timer::InverseOfferTimeout(asked.offer.clone()));
    assert_eq!(
        world.take_event(asked.stream),
        SchedulerEvent::RescindInverseOffer(asked.offer)
    );
    assert_eq!(
        told(&world.take_allocator_calls()),
        ["M-S0 answered: false"]
    );
    let offer = world.inverse_offer(&asked.framework, asked.stream, &asked.agent);
    world.call(&asked.framework, answer(true, &[&offer], None));
    let timer = Timer::InverseOfferTimeout(offer);
    assert!(!world.fx.timers.contains_key(&timer));
}

#[test]
fn inverse_offers_go_with_their_framework_or_agent() {
    let check = |event: fn(&mut World, &Asked), rescinded: bool, expected: &[&str]| {
        let (mut world, asked) = World::with_inverse_offer(MasterConfig::default());
        event(&mut world, &asked);
        if rescinded {
            assert_eq!(
                world.take_event(asked.stream),
                SchedulerEvent::RescindInverseOffer(asked.offer)
            );
        }
        let calls = told(&world.take_allocator_calls());
        assert_eq!(calls, expected);
        assert!(world.master.state().inverse_offers.is_empty());
        world.drain();
    };
    check(
        |world, asked| world.step(|master, fx| master.on_stream_closed(asked.stream, fx)),
        false,
        &["DeactivateFramework", "M-S0 answered: false"],
    );
    check(
        |world, asked| {
            world.step(|master, fx| master.on_teardown(&asked.framework, fx));
        },
        false,
        &[
            "DeactivateFramework",
            "M-S0 answered: false",
            "Pause",
            "RemoveFramework",
            "Resume",
        ],
    );
    check(
        |world, asked| world.step(|master, fx| master.on_exited(&asked.pid, fx)),
        true,
        &["DeactivateAgent", "M-S0 answered: false"],
    );
    check(
        |world, asked| {
            world.step(|master, fx| master.on_unregister_agent(&asked.pid, &asked.agent, fx));
        },
        true,
        &["M-S0 answered: false", "RemoveAgent"],
    );
}

#[test]
fn schedulers_that_subscribe_again_begin_without_inverse_offers() {
    // Another instance of a v1 scheduler never saw them.
    let (mut world, asked) = World::with_inverse_offer(MasterConfig::default());
    let info = proto::FrameworkInfo {
        id: Some((&asked.framework).into()),
        ..world.framework_info()
    };
    world.framework_with(info);
    assert!(matches!(
        world.take_event(asked.stream),
        SchedulerEvent::Error(_)
    ));
    assert!(world.master.state().inverse_offers.is_empty());
    world.drain();

    // The driver that comes back may have lost its answer.
    let (driver_id, driver) = world.driver(1);
    world.ask_to_leave(&asked.agent, &[&driver_id]);
    let _: internal::InverseOffersMessage = world.take(&driver);
    let subscribe = call::Subscribe {
        framework_info: proto::FrameworkInfo {
            id: Some((&driver_id).into()),
            ..world.framework_info()
        },
        ..Default::default()
    };
    world.step(|master, fx| master.on_subscribe(Connection::Pid(driver.clone()), subscribe, fx));
    let _: internal::RescindInverseOfferMessage = world.take(&driver);
    let _: internal::FrameworkReregisteredMessage = world.take(&driver);
    world.drain();
}

#[test]
fn agents_of_a_machine_that_goes_down_are_lost_and_refused_until_it_is_up() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (other, _) = world.agent(2);
    let (framework, stream) = world.framework();
    world.launch(&framework, stream, &agent, "t");
    world.maintain(schedule(&[machine_of(1), machine_of(2)], Some(1)));
    let offer = world.inverse_offer(&framework, stream, &agent.0);
    world.fx.published.clear();
    world.start(1);

    let message: internal::ShutdownMessage = world.take(&agent.1);
    assert_eq!(message.message(), "Operator initiated 'Machine DOWN'");
    assert_eq!(
        world.take_event(stream),
        SchedulerEvent::RescindInverseOffer(offer)
    );
    let status = world.take_update(stream);
    assert_eq!(status.state(), TaskState::TaskLost);
    assert_eq!(
        status.message(),
        "Agent was removed: Operator initiated 'Machine DOWN'"
    );
    assert_eq!(
        world.take_event(stream),
        SchedulerEvent::AgentLost(agent.0.clone())
    );
    let published = world.fx.published.iter();
    let removed = published.filter(|event| matches!(event, OperatorEvent::AgentRemoved(_)));
    assert_eq!(removed.count(), 1);
    assert_eq!(world.fx.counters[&Counter::SlaveRemovals], 1);
    assert!(
        !world
            .fx
            .counters
            .contains_key(&Counter::SlaveRemovalsUnregistered)
    );
    let left: Vec<_> = world.master.state().agents.keys().cloned().collect();
    assert_eq!(left, [other]);

    let message = register_agent(1);
    world.step(|master, fx| master.on_register_agent(&agent.1, message, fx));
    let refused: internal::ShutdownMessage = world.take(&agent.1);
    assert_eq!(refused.message(), "Machine is `DOWN`");
    let message = reregister_agent(1, &agent.0);
    world.step(|master, fx| master.on_reregister_agent(&agent.1, message, fx));
    let refused: internal::ShutdownMessage = world.take(&agent.1);
    assert_eq!(refused.message(), "Machine is `DOWN`");

    world.stop(1);
    world.agent(1);
    assert_eq!(world.master.state().agents.len(), 2);
    let windows = world.master.state().machines.schedule().windows;
    assert_eq!(windows, [window(&[machine_of(2)], Some(1))]);
}

#[test]
fn an_agent_that_is_being_admitted_goes_down_with_its_machine() {
    let mut world = World::new();
    world.maintain(schedule(&[machine_of(1)], None));
    let start = MaintenanceOperation::Start(vec![machine_of(1)]);
    let pid = agent_pid(1);
    let message = register_agent(1);
    world.step(|master, fx| {
        master.on_maintain(start, REQUEST, fx).unwrap();
        master.on_register_agent(&pid, message, fx);
    });
    let _: internal::SlaveRegisteredMessage = world.take(&pid);
    let _: internal::ShutdownMessage = world.take(&pid);
    assert!(world.master.state().agents.is_empty());
}

#[test]
fn what_does_not_apply_any_more_changes_nothing() {
    let mut world = World::new();
    world.maintain(schedule(&[machine_of(1)], None));
    let start = MaintenanceOperation::Start(vec![machine_of(1)]);
    let drop = MaintenanceOperation::UpdateSchedule(proto::maintenance::Schedule::default());
    world.fx.done.clear();
    world.step(|master, fx| {
        for (number, operation) in [&start, &drop].into_iter().enumerate() {
            let request = RequestId(number as u64);
            master.on_maintain(operation.clone(), request, fx).unwrap();
        }
    });
    assert_eq!(world.fx.done, [(RequestId(0), true), (RequestId(1), false)]);
    let modes: Vec<_> = world
        .master
        .state()
        .machines
        .iter()
        .map(|info| info.mode())
        .collect();
    assert_eq!(modes, [Mode::Down]);
    let mut refused = |operation| {
        world
            .step(|master, fx| master.on_maintain(operation, REQUEST, fx))
            .unwrap_err()
    };
    let shown = mesos::json::to_string(&machine_of(1));
    assert_eq!(refused(drop), MaintenanceError::Down(shown.clone()));
    assert_eq!(refused(start), MaintenanceError::NotDraining(shown));
}

#[test]
fn machines_survive_a_failover() {
    let mut registry = internal::Registry::default();
    for operation in [
        schedule(&[machine_of(1), machine_of(2)], Some(1)),
        MaintenanceOperation::Start(vec![machine_of(1)]),
    ] {
        let operation = crate::core::effects::RegistryOperation::Maintenance(operation.into());
        assert!(crate::registrar::operations::apply(
            &mut registry,
            &operation
        ));
    }
    let mut world = World::with_registry(MasterConfig::default(), registry);
    let modes: BTreeMap<_, _> = world
        .master
        .state()
        .machines
        .iter()
        .map(|info| (info.id.ip().to_owned(), info.mode()))
        .collect();
    let expected = [("10.0.0.1", Mode::Down), ("10.0.0.2", Mode::Draining)];
    assert_eq!(
        modes,
        expected.map(|(ip, mode)| (ip.to_owned(), mode)).into()
    );
    let message = reregister_agent(1, &"old".into());
    let pid = agent_pid(1);
    world.step(|master, fx| master.on_reregister_agent(&pid, message, fx));
    let _: internal::ShutdownMessage = world.take(&pid);
}
