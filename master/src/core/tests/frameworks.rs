//! Frameworks subscribing, failing over, and ending.

use std::time::Duration;

use mesos::ids::FrameworkId;
use mesos::proto::framework_info::capability::Type as Capability;
use mesos::proto::scheduler::{Call, call};
use mesos::proto::{self, TaskState, internal};

use crate::core::MasterConfig;
use crate::core::effects::{AllocatorCall, StreamId, Timer};
use crate::core::event::SchedulerEvent;
use crate::core::metrics::Gauge;
use crate::core::operator_event::OperatorEvent;
use crate::core::state::Connection;
use crate::core::testing::*;

fn resubscribe(world: &mut World, connection: Connection, id: &FrameworkId, force: bool) {
    let framework_info = proto::FrameworkInfo {
        id: Some(id.into()),
        ..world.framework_info()
    };
    let subscribe = call::Subscribe {
        framework_info,
        force: Some(force),
        ..Default::default()
    };
    world.step(|master, fx| master.on_subscribe(connection, subscribe, fx));
}

#[test]
fn ids_count_up_with_four_digits() {
    let mut world = World::new();
    assert_eq!(world.framework().0.as_str(), "M-0000");
    assert_eq!(world.driver(1).0.as_str(), "M-0001");
    assert_eq!(world.master.gauge(Gauge::FrameworksActive), 2.0);
}

#[test]
fn a_stream_gets_heartbeats() {
    let mut world = World::new();
    let (_, stream) = world.framework();
    for _ in 0..3 {
        assert_eq!(
            world.fx.timers.get(&Timer::Heartbeat(stream)),
            Some(&Duration::from_secs(15))
        );
        world.fire(Timer::Heartbeat(stream));
        assert_eq!(world.take_event(stream), SchedulerEvent::Heartbeat);
    }
}

#[test]
fn refusals_are_told_and_end_the_stream() {
    let mut world = World::new();
    let check = |world: &mut World, change: fn(&mut proto::FrameworkInfo), text: &str| {
        let mut framework_info = world.framework_info();
        change(&mut framework_info);
        let stream = StreamId(uuid::Uuid::from_u128(99));
        let subscribe = call::Subscribe {
            framework_info: framework_info.clone(),
            ..Default::default()
        };
        world.step(|master, fx| {
            master.on_subscribe(Connection::Http(stream), subscribe.clone(), fx);
        });
        let SchedulerEvent::Error(error) = world.take_event(stream) else {
            panic!("expected ERROR");
        };
        assert!(error.contains(text), "{error}");
        assert_eq!(world.fx.closed_streams.pop(), Some(stream));
        let pid = driver_pid(9);
        world.step(|master, fx| master.on_subscribe(Connection::Pid(pid.clone()), subscribe, fx));
        let refusal: internal::FrameworkErrorMessage = world.take(&pid);
        assert_eq!(refusal.message, error);
    };
    check(
        &mut world,
        |info| info.role = Some("web".to_owned()),
        "role",
    );
    check(
        &mut world,
        |info| info.roles = vec!["a b".to_owned()],
        "role",
    );
    check(
        &mut world,
        |info| info.failover_timeout = Some(f64::INFINITY),
        "failover_timeout",
    );
    assert!(world.master.state().frameworks.is_empty());
}

#[test]
fn a_driver_that_repeats_itself_keeps_its_id() {
    let mut world = World::new();
    let (id, pid) = world.driver(1);
    let subscribe = call::Subscribe {
        framework_info: world.framework_info(),
        ..Default::default()
    };
    world.step(|master, fx| master.on_subscribe(Connection::Pid(pid.clone()), subscribe, fx));
    let answer: internal::FrameworkRegisteredMessage = world.take(&pid);
    assert_eq!(answer.framework_id.value, id.as_str());
    assert_eq!(world.master.state().frameworks.len(), 1);
}

#[test]
fn a_driver_re_registers_over_its_pid() {
    let mut world = World::new();
    let (agent, _) = world.agent(1);
    let (id, pid) = world.driver(1);
    world.hand_out(&id, &agent, "cpus:1");
    let offers: internal::ResourceOffersMessage = world.take(&pid);
    assert_eq!(offers.pids, [agent_pid(1).to_string()]);
    resubscribe(&mut world, Connection::Pid(pid.clone()), &id, false);
    let rescinded: internal::RescindResourceOfferMessage = world.take(&pid);
    assert_eq!(rescinded.offer_id, offers.offers[0].id);
    let _: internal::FrameworkReregisteredMessage = world.take(&pid);
    let _: internal::UpdateFrameworkMessage = world.take(&agent_pid(1));
}

#[test]
fn another_driver_needs_force() {
    let mut world = World::new();
    let (id, old) = world.driver(1);
    let new = driver_pid(2);
    resubscribe(&mut world, Connection::Pid(new.clone()), &id, false);
    let refusal: internal::FrameworkErrorMessage = world.take(&new);
    assert_eq!(refusal.message, "Framework failed over");
    assert_eq!(world.master.framework_of(&old), Some(&id));

    resubscribe(&mut world, Connection::Pid(new.clone()), &id, true);
    let refusal: internal::FrameworkErrorMessage = world.take(&old);
    assert_eq!(refusal.message, "Framework failed over");
    let _: internal::FrameworkRegisteredMessage = world.take(&new);
    assert_eq!(world.master.framework_of(&old), None);
    assert_eq!(world.master.framework_of(&new), Some(&id));
}

#[test]
fn a_new_stream_takes_over_and_offers_vanish_silently() {
    let mut world = World::new();
    let (agent, agent_pid) = world.agent(1);
    let (id, old) = world.framework();
    world.offer(&id, old, &agent, "cpus:1");
    let new = StreamId(uuid::Uuid::from_u128(77));
    resubscribe(&mut world, Connection::Http(new), &id, false);
    assert_eq!(
        world.take_event(old),
        SchedulerEvent::Error("Framework failed over".to_owned())
    );
    assert_eq!(world.fx.closed_streams, [old]);
    assert!(matches!(
        world.take_event(new),
        SchedulerEvent::Subscribed { .. }
    ));
    assert_eq!(world.take_event(new), SchedulerEvent::Heartbeat);
    let update: internal::UpdateFrameworkMessage = world.take(&agent_pid);
    assert_eq!(update.pid.as_deref(), Some("@0.0.0.0:0"));
    assert!(world.master.state().offers.is_empty());
    // The end of the old stream must not disconnect the framework.
    world.step(|master, fx| master.on_stream_closed(old, fx));
    assert_eq!(world.master.gauge(Gauge::FrameworksConnected), 1.0);
}

#[test]
fn a_driver_may_upgrade_to_http() {
    let mut world = World::new();
    let (id, pid) = world.driver(1);
    let stream = StreamId(uuid::Uuid::from_u128(5));
    resubscribe(&mut world, Connection::Http(stream), &id, false);
    let told: internal::FrameworkErrorMessage = world.take(&pid);
    assert_eq!(told.message, "Framework failed over");
    assert!(matches!(
        world.take_event(stream),
        SchedulerEvent::Subscribed { .. }
    ));
    assert_eq!(world.take_event(stream), SchedulerEvent::Heartbeat);
    assert_eq!(world.master.framework_of(&pid), None);
}

#[test]
fn user_and_checkpoint_stay_and_the_principal_must() {
    let mut world = World::new();
    let (id, _) = world.framework();
    let stream = StreamId(uuid::Uuid::from_u128(8));
    let framework_info = proto::FrameworkInfo {
        id: Some((&id).into()),
        user: "other".to_owned(),
        checkpoint: Some(false),
        ..world.framework_info()
    };
    let subscribe = call::Subscribe {
        framework_info: framework_info.clone(),
        ..Default::default()
    };
    world.step(|master, fx| master.on_subscribe(Connection::Http(stream), subscribe, fx));
    world.drain();
    let info = &world.master.state().frameworks[&id].info;
    assert_eq!((info.user.as_str(), info.checkpoint()), ("user", true));

    let subscribe = call::Subscribe {
        framework_info: proto::FrameworkInfo {
            principal: Some("me".to_owned()),
            ..framework_info
        },
        ..Default::default()
    };
    let other = StreamId(uuid::Uuid::from_u128(9));
    world.step(|master, fx| master.on_subscribe(Connection::Http(other), subscribe, fx));
    assert!(matches!(world.take_event(other), SchedulerEvent::Error(_)));
}

#[test]
fn a_framework_that_does_not_come_back_ends() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (id, stream) = world.framework();
    world.launch(&id, stream, &agent, "t");
    world.step(|master, fx| master.on_stream_closed(stream, fx));
    let timer = Timer::FrameworkFailover(id.clone());
    assert_eq!(world.fx.timers.get(&timer), Some(&Duration::from_secs(60)));
    assert_eq!(world.master.gauge(Gauge::FrameworksActive), 0.0);
    world.fire(timer);
    let shutdown: internal::ShutdownFrameworkMessage = world.take(&agent.1);
    assert_eq!(shutdown.framework_id.value, id.as_str());
    let completed = &world.master.state().completed_frameworks[&id];
    assert_eq!(completed.completed_tasks.len(), 1);
    assert_eq!(completed.completed_tasks[0].state, TaskState::TaskKilled);
    assert!(completed.unregistered_time.is_some());
}

#[test]
fn coming_back_stops_the_failover_timer() {
    let mut world = World::new();
    let (id, stream) = world.framework();
    world.step(|master, fx| master.on_stream_closed(stream, fx));
    let new = StreamId(uuid::Uuid::from_u128(6));
    resubscribe(&mut world, Connection::Http(new), &id, false);
    world.drain();
    assert!(!world.fx.timers.contains_key(&Timer::FrameworkFailover(id)));
}

#[test]
fn a_broken_link_disconnects_a_driver() {
    let mut world = World::new();
    let (id, pid) = world.driver(1);
    world.step(|master, fx| master.on_exited(&pid, fx));
    let told: internal::FrameworkErrorMessage = world.take(&pid);
    assert_eq!(told.message, "Framework disconnected");
    assert_eq!(world.master.gauge(Gauge::FrameworksDisconnected), 1.0);

    let call = Call {
        framework_id: Some((&id).into()),
        r#type: Some(call::Type::Revive as i32),
        ..Default::default()
    };
    world.step(|master, fx| master.on_driver_call(&pid, call, fx));
    let told: internal::FrameworkErrorMessage = world.take(&pid);
    assert_eq!(told.message, "Framework disconnected");
}

#[test]
fn teardown_tells_agents_and_operators_but_not_the_scheduler() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (id, stream) = world.framework();
    world.launch(&id, stream, &agent, "t");
    assert!(world.step(|master, fx| master.on_teardown(&id, fx)));
    let _: internal::ShutdownFrameworkMessage = world.take(&agent.1);
    assert_eq!(world.fx.closed_streams, [stream]);
    assert!(matches!(
        world.fx.published.last(),
        Some(OperatorEvent::FrameworkRemoved(info)) if info.name == "framework"
    ));
    assert!(!world.step(|master, fx| master.on_teardown(&id, fx)));
    let used: Vec<_> = world
        .take_allocator_calls()
        .into_iter()
        .filter(|call| {
            matches!(
                call,
                AllocatorCall::RecoverResources {
                    allocated: true,
                    ..
                }
            )
        })
        .collect();
    assert_eq!(used.len(), 1);
}

#[test]
fn an_ended_framework_cannot_come_back_while_remembered() {
    let mut world = World::with_config(MasterConfig {
        max_completed_frameworks: 1,
        ..MasterConfig::default()
    });
    let (first, _) = world.framework();
    let (second, _) = world.framework();
    world.step(|master, fx| master.on_teardown(&first, fx));
    let stream = StreamId(uuid::Uuid::from_u128(4));
    resubscribe(&mut world, Connection::Http(stream), &first, false);
    assert_eq!(
        world.take_event(stream),
        SchedulerEvent::Error("Framework has been removed".to_owned())
    );
    world.step(|master, fx| master.on_teardown(&second, fx));
    resubscribe(&mut world, Connection::Http(stream), &first, false);
    assert!(matches!(
        world.take_event(stream),
        SchedulerEvent::Subscribed { .. }
    ));
    assert_eq!(world.take_event(stream), SchedulerEvent::Heartbeat);
}

#[test]
fn calls_of_strangers_are_dropped() {
    let mut world = World::new();
    let (id, _) = world.driver(1);
    let call = Call {
        framework_id: Some((&id).into()),
        r#type: Some(call::Type::Teardown as i32),
        ..Default::default()
    };
    world.step(|master, fx| master.on_driver_call(&driver_pid(2), call, fx));
    assert_eq!(world.master.state().frameworks.len(), 1);
}

#[test]
fn suppress_and_revive_need_subscribed_roles() {
    let mut world = World::new();
    let (id, _) = world.framework();
    world.take_allocator_calls();
    let roles = |roles: &[&str]| roles.iter().map(|role| (*role).to_owned()).collect();
    let call = |kind: call::Type| Call {
        r#type: Some(kind as i32),
        ..Default::default()
    };
    world.call(
        &id,
        Call {
            suppress: Some(call::Suppress {
                roles: roles(&["other"]),
            }),
            ..call(call::Type::Suppress)
        },
    );
    assert!(world.take_allocator_calls().is_empty());
    world.call(&id, call(call::Type::Suppress));
    assert!(
        world.master.state().frameworks[&id]
            .suppressed_roles
            .contains("*")
    );
    world.call(&id, call(call::Type::Revive));
    assert!(
        world.master.state().frameworks[&id]
            .suppressed_roles
            .is_empty()
    );
    assert!(matches!(
        world.take_allocator_calls().as_slice(),
        [
            AllocatorCall::SuppressOffers { .. },
            AllocatorCall::ReviveOffers { .. }
        ]
    ));
}

#[test]
fn update_framework_changes_roles_and_tells_agents() {
    let mut world = World::new();
    let (agent, agent_pid) = world.agent(1);
    let (id, stream) = world.framework();
    let offer = world.offer(&id, stream, &agent, "cpus:1");
    let framework_info = proto::FrameworkInfo {
        id: Some((&id).into()),
        roles: vec!["web".to_owned()],
        ..world.framework_info()
    };
    let update = |framework_info| Call {
        r#type: Some(call::Type::UpdateFramework as i32),
        update_framework: Some(call::UpdateFramework {
            framework_info,
            ..Default::default()
        }),
        ..Default::default()
    };
    world.call(&id, update(framework_info.clone()));
    assert_eq!(world.take_event(stream), SchedulerEvent::Rescind(offer));
    let _: internal::UpdateFrameworkMessage = world.take(&agent_pid);

    let call = update(proto::FrameworkInfo {
        user: "other".to_owned(),
        ..framework_info
    });
    let error = world.step(|master, fx| master.on_call(&id, call, fx));
    assert!(error.unwrap_err().contains("user"));
}

#[test]
fn deactivated_drivers_keep_their_connection() {
    let mut world = World::new();
    let (agent, _) = world.agent(1);
    let (id, pid) = world.driver(1);
    world.hand_out(&id, &agent, "cpus:1");
    let _: internal::ResourceOffersMessage = world.take(&pid);
    world.step(|master, fx| master.on_deactivate_framework(&pid, &id, fx));
    let _: internal::RescindResourceOfferMessage = world.take(&pid);
    assert_eq!(world.master.gauge(Gauge::FrameworksActive), 0.0);
    assert_eq!(world.master.gauge(Gauge::FrameworksConnected), 1.0);
}

#[test]
fn offers_follow_the_capabilities_of_the_framework() {
    let mut world = World::new();
    world.set_framework_capabilities(&[]);
    let (agent, _) = world.agent(1);
    let (id, stream) = world.framework();
    world.hand_out(&id, &agent, "cpus:1");
    let SchedulerEvent::Offers { offers, .. } = world.take_event(stream) else {
        panic!("expected OFFERS");
    };
    assert_eq!(offers[0].allocation_info, None);
    assert_eq!(offers[0].resources[0].allocation_info, None);
    assert_eq!(offers[0].resources[0].role(), "*");
    assert!(offers[0].resources[0].role.is_some());

    world.set_framework_capabilities(&[Capability::MultiRole, Capability::ReservationRefinement]);
    let (id, stream) = world.framework();
    world.hand_out(&id, &agent, "cpus:1");
    let SchedulerEvent::Offers { offers, .. } = world.take_event(stream) else {
        panic!("expected OFFERS");
    };
    assert_eq!(offers[0].resources[0].role, None);
    assert!(offers[0].resources[0].allocation_info.is_some());
}
