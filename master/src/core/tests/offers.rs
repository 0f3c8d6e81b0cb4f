//! Offers and their answers.

use std::time::Duration;

use mesos::ids::OfferId;
use mesos::proto::scheduler::{Call, call};
use mesos::proto::{self, TaskState, offer};

use crate::core::MasterConfig;
use crate::core::effects::{AllocatorCall, Timer};
use crate::core::event::SchedulerEvent;
use crate::core::metrics::Gauge;
use crate::core::testing::*;

#[test]
fn describes_the_agent() {
    let mut world = World::new();
    let (agent, _) = world.agent(1);
    let (framework, stream) = world.framework();
    world.hand_out(&framework, &agent, "cpus:1;mem:64");
    let SchedulerEvent::Offers { offers, pids } = world.take_event(stream) else {
        panic!("expected OFFERS");
    };
    assert_eq!(pids, [agent_pid(1)]);
    let offer = &offers[0];
    assert_eq!(offer.id.value, "M-O0");
    assert_eq!(offer.hostname, "agent1");
    let url = offer.url.as_ref().unwrap();
    assert_eq!(url.path(), "/slave(1)");
    assert_eq!(url.address.ip(), "10.0.0.1");
    assert_eq!(offer.allocation_info.as_ref().unwrap().role(), "*");
    assert_eq!(world.master.gauge(Gauge::OutstandingOffers), 1.0);
}

#[test]
fn what_cannot_be_offered_returns_without_filter() {
    let mut world = World::new();
    let (agent, pid) = world.agent(1);
    let (framework, stream) = world.framework();
    let check = |world: &mut World| {
        world.take_allocator_calls();
        world.hand_out(&framework, &agent, "cpus:1");
        assert!(matches!(
            world.take_allocator_calls().as_slice(),
            [AllocatorCall::RecoverResources {
                filters: None,
                allocated: false,
                ..
            }]
        ));
    };
    world.step(|master, fx| master.on_exited(&pid, fx));
    check(&mut world);
    world.step(|master, fx| master.on_stream_closed(stream, fx));
    check(&mut world);
}

#[test]
fn unanswered_offers_time_out() {
    let mut world = World::with_config(MasterConfig {
        offer_timeout: Some(Duration::from_secs(30)),
        ..MasterConfig::default()
    });
    let (agent, _) = world.agent(1);
    let (framework, stream) = world.framework();
    let offer = world.offer(&framework, stream, &agent, "cpus:1");
    world.fire(Timer::OfferTimeout(offer.clone()));
    assert_eq!(world.take_event(stream), SchedulerEvent::Rescind(offer));
    let offer = world.offer(&framework, stream, &agent, "cpus:1");
    world.accept(&framework, &[&offer], Vec::new());
    assert!(!world.fx.timers.contains_key(&Timer::OfferTimeout(offer)));
}

fn decline(offers: &[&OfferId], refuse_seconds: Option<f64>) -> Call {
    Call {
        r#type: Some(call::Type::Decline as i32),
        decline: Some(call::Decline {
            offer_ids: offers.iter().map(|offer| (*offer).into()).collect(),
            filters: refuse_seconds.map(|seconds| proto::Filters {
                refuse_seconds: Some(seconds),
            }),
        }),
        ..Default::default()
    }
}

#[test]
fn declining_installs_filters() {
    let check = |given: Option<f64>, expected: f64| {
        let mut world = World::new();
        let (agent, _) = world.agent(1);
        let (framework, stream) = world.framework();
        let offer = world.offer(&framework, stream, &agent, "cpus:1");
        world.take_allocator_calls();
        world.call(&framework, decline(&[&offer], given));
        let calls = world.take_allocator_calls();
        let [
            AllocatorCall::RecoverResources {
                filters: Some(filters),
                ..
            },
        ] = calls.as_slice()
        else {
            panic!("expected one recovery with filters: {calls:?}");
        };
        assert_eq!(filters.refuse_seconds(), expected);
    };
    check(None, 5.0);
    check(Some(60.0), 60.0);
    check(Some(0.0), 0.0);
}

#[test]
fn only_the_owner_declines() {
    let mut world = World::new();
    let (agent, _) = world.agent(1);
    let (owner, stream) = world.framework();
    let (other, _) = world.framework();
    let offer = world.offer(&owner, stream, &agent, "cpus:1");
    world.call(&other, decline(&[&offer], None));
    world.call(&other, decline(&[&OfferId::from("M-O99")], None));
    assert_eq!(world.master.state().offers.len(), 1);
}

#[test]
fn accepting_without_operations_declines() {
    let mut world = World::new();
    let (agent, _) = world.agent(1);
    let (framework, stream) = world.framework();
    let offer = world.offer(&framework, stream, &agent, "cpus:1");
    world.take_allocator_calls();
    world.accept(&framework, &[&offer], Vec::new());
    let calls = world.take_allocator_calls();
    assert!(
        matches!(
            calls.as_slice(),
            [
                AllocatorCall::Pause,
                AllocatorCall::RecoverResources {
                    filters: Some(_),
                    allocated: false,
                    ..
                },
                AllocatorCall::Resume
            ]
        ),
        "{calls:?}"
    );
}

#[test]
fn invalid_offers_drop_tasks_and_free_the_valid_ones() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (other_agent, _) = world.agent(2);
    let (framework, stream) = world.framework();
    let (stranger, other_stream) = world.framework();
    let foreign = world.offer(&stranger, other_stream, &agent.0, "cpus:1");
    let elsewhere = world.offer(&framework, stream, &other_agent, "cpus:1");
    let gone = OfferId::from("M-O77");
    let check = |world: &mut World, bad: &[&OfferId]| {
        let good = world.offer(&framework, stream, &agent.0, "cpus:1;mem:64");
        let mut offers = vec![&good];
        offers.extend(bad);
        let task = task_info("t", &agent.0, "cpus:1;mem:64");
        world.accept(&framework, &offers, vec![launch(vec![task])]);
        let status = world.take_update(stream);
        assert_eq!(status.state(), TaskState::TaskDropped);
        assert_eq!(status.reason(), proto::task_status::Reason::InvalidOffers);
        assert!(
            status
                .message()
                .starts_with("Task launched with invalid offers")
        );
        assert!(!world.master.state().offers.contains_key(&good));
    };
    check(&mut world, &[&gone]);
    check(&mut world, &[&foreign]);
    check(&mut world, &[&elsewhere]);
    // What belongs to somebody else is left alone.
    assert!(world.master.state().offers.contains_key(&foreign));
}

#[test]
fn reserving_changes_the_agent_and_launching_can_follow() {
    let mut world = World::new();
    let agent = world.agent(1);
    let info = proto::FrameworkInfo {
        roles: vec!["web".to_owned()],
        principal: Some("me".to_owned()),
        ..world.framework_info()
    };
    let (framework, stream) = world.framework_with(info);
    let mut offered = mesos::resources::Resources::parse("cpus:2;mem:256", "*").unwrap();
    offered.allocate("web");
    let hand_out = std::collections::BTreeMap::from([(
        "web".to_owned(),
        std::collections::BTreeMap::from([(agent.0.clone(), offered)]),
    )]);
    world.step(|master, fx| master.on_offer(&framework, hand_out, fx));
    let SchedulerEvent::Offers { offers, .. } = world.take_event(stream) else {
        panic!("expected OFFERS");
    };
    let reserved = |amounts: &str| {
        let mut resources = mesos::resources::Resources::parse(amounts, "*")
            .unwrap()
            .to_protos();
        for resource in &mut resources {
            resource
                .reservations
                .push(proto::resource::ReservationInfo {
                    role: Some("web".to_owned()),
                    r#type: Some(proto::resource::reservation_info::Type::Dynamic as i32),
                    principal: Some("me".to_owned()),
                    labels: None,
                });
        }
        resources
    };
    let reserve = offer::Operation {
        r#type: Some(offer::operation::Type::Reserve as i32),
        reserve: Some(offer::operation::Reserve {
            resources: reserved("cpus:1;mem:128"),
            source: Vec::new(),
        }),
        ..Default::default()
    };
    let mut task = task_info("t", &agent.0, "cpus:1");
    task.resources = reserved("cpus:1;mem:128");
    let offer = OfferId::from(&offers[0].id);
    world.take_allocator_calls();
    world.accept(&framework, &[&offer], vec![reserve, launch(vec![task])]);
    let apply: proto::internal::ApplyOperationMessage = world.take(&agent.1);
    assert_eq!(
        apply.operation_info.r#type(),
        offer::operation::Type::Reserve
    );
    let run: proto::internal::RunTaskMessage = world.take(&agent.1);
    assert_eq!(run.task.task_id.value, "t");
    let record = &world.master.state().agents[&agent.0];
    assert_eq!(record.total.reserved(Some("web")).cpus(), Some(1.0));
    assert_eq!(record.operations.len(), 1);
    assert!(
        world
            .take_allocator_calls()
            .iter()
            .any(|call| matches!(call, AllocatorCall::UpdateAllocation { conversions, .. } if !conversions.is_empty()))
    );
}

#[test]
fn refused_operations_are_told_if_they_have_an_id() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    let refused = |id: Option<&str>| offer::Operation {
        r#type: Some(offer::operation::Type::Unreserve as i32),
        unreserve: Some(offer::operation::Unreserve {
            resources: allocated("cpus:1").to_protos(),
        }),
        id: id.map(|id| proto::OperationId {
            value: id.to_owned(),
        }),
        ..Default::default()
    };
    let offer = world.offer(&framework, stream, &agent.0, "cpus:1");
    world.accept(
        &framework,
        &[&offer],
        vec![refused(None), refused(Some("op"))],
    );
    let SchedulerEvent::OperationUpdate(update) = world.take_event(stream) else {
        panic!("expected UPDATE_OPERATION_STATUS");
    };
    assert_eq!(update.status.state(), proto::OperationState::OperationError);
    assert_eq!(update.status.operation_id.as_ref().unwrap().value, "op");
    assert!(update.status.uuid.is_none());
}
