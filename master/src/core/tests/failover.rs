//! A new master: election, the registry, and agents and frameworks coming back.

use std::time::Duration;

use mesos::ids::{AgentId, FrameworkId};
use mesos::proto::internal::{self, registry};
use mesos::proto::scheduler::call;
use mesos::proto::{self, TaskState};

use crate::core::effects::{StreamId, Timer};
use crate::core::event::SchedulerEvent;
use crate::core::recovery::Detected;
use crate::core::state::Connection;
use crate::core::testing::*;
use crate::core::time::Timestamp;
use crate::core::{Leadership, Master, MasterConfig};

fn registry_of(agents: &[(u16, &str)]) -> internal::Registry {
    internal::Registry {
        slaves: Some(registry::Slaves {
            slaves: agents
                .iter()
                .map(|(number, id)| registry::Slave {
                    info: proto::SlaveInfo {
                        id: Some(proto::SlaveId {
                            value: (*id).to_owned(),
                        }),
                        ..slave_info(*number)
                    },
                    drain_info: None,
                    deactivated: None,
                })
                .collect(),
        }),
        ..Default::default()
    }
}

fn info(id: &str) -> proto::MasterInfo {
    proto::MasterInfo {
        id: id.to_owned(),
        ..Default::default()
    }
}

#[test]
fn a_follower_remembers_the_leader_and_a_leader_does_not_step_down() {
    let mut fx = Recorder::default();
    let mut master = Master::new(MasterConfig::default(), info("M"), Timestamp::default());
    assert_eq!(master.leadership(), Leadership::Follower);
    assert_eq!(
        master.on_leader_detected(Some(info("other")), &mut fx),
        Detected::Nothing
    );
    master.on_candidacy_lost(&mut fx);
    assert_eq!(fx.exit, None);
    assert_eq!(
        master.on_leader_detected(Some(info("M")), &mut fx),
        Detected::Recover
    );
    assert_eq!(master.leadership(), Leadership::Recovering);
    master.on_recovered(internal::Registry::default(), &mut fx);
    assert_eq!(master.leadership(), Leadership::Leading);
    assert_eq!(
        master.on_leader_detected(Some(info("M")), &mut fx),
        Detected::Nothing
    );
    assert_eq!(fx.exit, None);
    master.on_leader_detected(None, &mut fx);
    assert!(fx.exit.is_some());
}

#[test]
fn losing_the_candidacy_ends_a_leader() {
    let mut world = World::new();
    world.step(|master, fx| master.on_candidacy_lost(fx));
    assert!(world.fx.exit.is_some());
}

/// A new master, to which an agent with a running task of an unknown framework comes back.
fn recovered() -> (World, AgentId, FrameworkId) {
    let agent = AgentId::from("old-S0");
    let framework = FrameworkId::from("old-0000");
    let registry = registry_of(&[(1, agent.as_str())]);
    let mut world = World::with_registry(MasterConfig::default(), registry);
    let mut message = reregister_agent(1, &agent);
    message.frameworks = vec![proto::FrameworkInfo {
        id: Some((&framework).into()),
        ..world.framework_info()
    }];
    message.tasks = vec![running_task(&framework, &agent, "t")];
    world.step(|master, fx| master.on_reregister_agent(&agent_pid(1), message, fx));
    let _: internal::SlaveReregisteredMessage = world.take(&agent_pid(1));
    (world, agent, framework)
}

#[test]
fn agents_bring_their_frameworks_and_tasks() {
    let (world, agent, framework) = recovered();
    let state = world.master.state();
    assert!(state.recovered_agents.is_empty());
    assert_eq!(state.agents[&agent].used_total().cpus(), Some(1.0));
    let framework = &state.frameworks[&framework];
    assert!(framework.recovered());
    assert!(!framework.active);
    assert_eq!(framework.tasks.len(), 1);
}

#[test]
fn a_recovered_framework_subscribes() {
    let (mut world, agent, framework) = recovered();
    let stream = StreamId(uuid::Uuid::from_u128(3));
    let subscribe = call::Subscribe {
        framework_info: proto::FrameworkInfo {
            id: Some((&framework).into()),
            ..world.framework_info()
        },
        ..Default::default()
    };
    world.advance(Duration::from_secs(9));
    world.step(|master, fx| master.on_subscribe(Connection::Http(stream), subscribe, fx));
    assert!(matches!(
        world.take_event(stream),
        SchedulerEvent::Subscribed {
            reregistered: true,
            ..
        }
    ));
    assert_eq!(world.take_event(stream), SchedulerEvent::Heartbeat);
    let _: internal::UpdateFrameworkMessage = world.take(&agent_pid(1));
    let record = &world.master.state().frameworks[&framework];
    assert!(record.active && record.connected());
    assert_eq!(record.registered_time.as_secs_f64(), 1009.0);
    world.report(
        &framework,
        &(agent, agent_pid(1)),
        "t",
        TaskState::TaskFinished,
    );
    assert_eq!(world.take_update(stream).state(), TaskState::TaskFinished);
}

#[test]
fn nothing_is_said_about_tasks_while_agents_may_come_back() {
    let mut world = World::with_registry(MasterConfig::default(), registry_of(&[(1, "old-S0")]));
    let (framework, stream) = world.framework();
    let ask = |world: &mut World, agent: Option<&str>| {
        let tasks = [call::reconcile::Task {
            task_id: task_id("t"),
            slave_id: agent.map(|value| proto::SlaveId {
                value: value.to_owned(),
            }),
        }];
        world.step(|master, fx| master.on_reconcile(&framework, &tasks, fx));
    };
    ask(&mut world, None);
    ask(&mut world, Some("old-S0"));
    world.assert_nothing_sent();
    world.fire(Timer::RecoveredAgents);
    assert_eq!(
        world.take_event(stream),
        SchedulerEvent::AgentLost("old-S0".into())
    );
    ask(&mut world, Some("old-S0"));
    let status = world.take_update(stream);
    assert_eq!(status.state(), TaskState::TaskUnreachable);
}

#[test]
fn too_many_missing_agents_end_the_master() {
    let check = |limit: f64, ends: bool| {
        let config = MasterConfig {
            recovery_agent_removal_limit: limit,
            ..MasterConfig::default()
        };
        let registry = registry_of(&[(1, "a"), (2, "b")]);
        let mut world = World::with_registry(config, registry);
        let message = reregister_agent(1, &"a".into());
        world.step(|master, fx| master.on_reregister_agent(&agent_pid(1), message, fx));
        world.drain();
        world.fire(Timer::RecoveredAgents);
        assert_eq!(world.fx.exit.is_some(), ends);
    };
    check(1.0, false);
    check(0.5, false);
    check(0.4, true);
}

#[test]
fn the_registry_forgets_old_agents() {
    let unreachable = |id: &str, secs: f64| registry::UnreachableSlave {
        id: proto::SlaveId {
            value: id.to_owned(),
        },
        timestamp: Timestamp::from_secs_f64(secs).to_proto(),
        ..Default::default()
    };
    let config = MasterConfig {
        registry_max_agent_count: 2,
        registry_max_agent_age: Duration::from_secs(100),
        ..MasterConfig::default()
    };
    let registry = internal::Registry {
        unreachable: Some(registry::UnreachableSlaves {
            slaves: vec![
                unreachable("a", 990.0),
                unreachable("b", 890.0),
                unreachable("c", 995.0),
                unreachable("d", 999.0),
            ],
        }),
        ..Default::default()
    };
    let mut world = World::with_registry(config, registry);
    world.fire(Timer::RegistryGc);
    let left: Vec<_> = world
        .master
        .state()
        .unreachable_agents
        .keys()
        .cloned()
        .collect();
    assert_eq!(left, ["c".into(), "d".into()]);
}

#[test]
fn a_gone_agent_is_shut_down() {
    let registry = internal::Registry {
        gone: Some(registry::GoneSlaves {
            slaves: vec![registry::GoneSlave {
                id: proto::SlaveId {
                    value: "old-S0".to_owned(),
                },
                timestamp: proto::TimeInfo { nanoseconds: 1 },
            }],
        }),
        ..Default::default()
    };
    let mut world = World::with_registry(MasterConfig::default(), registry);
    let message = reregister_agent(1, &"old-S0".into());
    world.step(|master, fx| master.on_reregister_agent(&agent_pid(1), message, fx));
    let shutdown: internal::ShutdownMessage = world.take(&agent_pid(1));
    assert_eq!(shutdown.message(), "Agent has been marked gone");
}

#[test]
fn tasks_of_ended_frameworks_are_shut_down_with_them() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    world.launch(&framework, stream, &agent, "t");
    let info = world.master.state().frameworks[&framework]
        .info
        .as_ref()
        .clone();
    world.step(|master, fx| master.on_agent_unresponsive(&agent.0, fx));
    world.step(|master, fx| master.on_teardown(&framework, fx));
    world.drain();
    let mut message = reregister_agent(1, &agent.0);
    message.frameworks = vec![info];
    message.tasks = vec![running_task(&framework, &agent.0, "t")];
    world.step(|master, fx| master.on_reregister_agent(&agent.1, message, fx));
    let _: internal::SlaveReregisteredMessage = world.take(&agent.1);
    let shutdown: internal::ShutdownFrameworkMessage = world.take(&agent.1);
    assert_eq!(shutdown.framework_id.value, framework.as_str());
    assert!(world.master.state().agents[&agent.0].tasks.is_empty());
}
