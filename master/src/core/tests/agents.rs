//! Agents registering, leaving, and getting lost.

use std::time::Duration;

use mesos::proto::{self, TaskState, internal};

use crate::core::MasterConfig;
use crate::core::effects::{AllocatorCall, StreamId, Timer};
use crate::core::event::SchedulerEvent;
use crate::core::metrics::{Counter, Gauge};
use crate::core::operator_event::OperatorEvent;
use crate::core::testing::*;

#[test]
fn registers() {
    let mut world = World::new();
    let (id, pid) = world.agent(1);
    assert_eq!(id.as_str(), "M-S0");
    assert_eq!(world.fx.links, std::slice::from_ref(&pid));
    assert_eq!(world.fx.observed.get(&id), Some(&true));
    assert_eq!(world.master.gauge(Gauge::SlavesActive), 1.0);
    assert!(matches!(
        world.fx.published.as_slice(),
        [OperatorEvent::AgentAdded(agent)] if agent.id == id
    ));
    let calls = world.take_allocator_calls();
    assert!(
        matches!(calls.last(), Some(AllocatorCall::AddAgent { id: added, .. }) if *added == id)
    );
    let (second, _) = world.agent(2);
    assert_eq!(second.as_str(), "M-S1");
}

#[test]
fn tells_ping_timeout() {
    let mut world = World::new();
    let pid = agent_pid(1);
    world.step(|master, fx| master.on_register_agent(&pid, register_agent(1), fx));
    let answer: internal::SlaveRegisteredMessage = world.take(&pid);
    let timeout = answer.connection.unwrap().total_ping_timeout_seconds;
    assert_eq!(timeout, Some(75.0));
}

#[test]
fn registering_twice_gives_the_same_id() {
    let mut world = World::new();
    let (id, pid) = world.agent(1);
    world.step(|master, fx| master.on_register_agent(&pid, register_agent(1), fx));
    let answer: internal::SlaveRegisteredMessage = world.take(&pid);
    assert_eq!(answer.slave_id.value, id.as_str());
}

#[test]
fn registering_while_being_stored_is_ignored() {
    let mut world = World::new();
    let pid = agent_pid(1);
    world.step_without_registry(|master, fx| {
        master.on_register_agent(&pid, register_agent(1), fx);
    });
    world.step(|master, fx| master.on_register_agent(&pid, register_agent(1), fx));
    let _: internal::SlaveRegisteredMessage = world.take(&pid);
    assert_eq!(world.master.state().agents.len(), 1);
}

#[test]
fn a_restarted_agent_replaces_the_one_before() {
    let mut world = World::new();
    let (old, pid) = world.agent(1);
    world.step(|master, fx| master.on_exited(&pid, fx));
    let (new, _) = world.agent(1);
    assert_ne!(old, new);
    assert_eq!(world.master.state().agents.len(), 1);
    assert_eq!(
        world.fx.counters.get(&Counter::SlaveRemovalsRegistered),
        Some(&1)
    );
}

#[test]
fn refuses_wrong_registrations() {
    let check = |change: fn(&mut internal::RegisterSlaveMessage)| {
        let mut world = World::new();
        let mut message = register_agent(1);
        change(&mut message);
        world.step(|master, fx| master.on_register_agent(&agent_pid(1), message, fx));
        assert!(world.master.state().agents.is_empty());
        assert_eq!(world.fx.counters.get(&Counter::InvalidMessages), Some(&1));
    };
    check(|message| message.version = None);
    check(|message| message.version = Some("0.28.0".to_owned()));
    check(|message| message.slave.resources[0].scalar = None);
    check(|message| {
        message.slave.checkpoint = Some(false);
        message.checkpointed_resources = message.slave.resources.clone();
    });
    check(|message| {
        message.slave.domain = Some(proto::DomainInfo {
            fault_domain: Some(proto::domain_info::FaultDomain::default()),
        });
    });
}

#[test]
fn unregisters() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    world.launch(&framework, stream, &agent, "t");
    world.step(|master, fx| master.on_unregister_agent(&agent.1, &agent.0, fx));
    let status = world.take_update(stream);
    assert_eq!(status.state(), TaskState::TaskLost);
    assert_eq!(status.uuid, None);
    assert_eq!(
        world.take_event(stream),
        SchedulerEvent::AgentLost(agent.0.clone())
    );
    assert!(world.master.state().agents.is_empty());
    assert!(world.fx.observed.is_empty());
    assert!(matches!(
        world.fx.published.last(),
        Some(OperatorEvent::AgentRemoved(id)) if *id == agent.0
    ));
}

#[test]
fn strangers_cannot_unregister_an_agent() {
    let mut world = World::new();
    let (id, _) = world.agent(1);
    world.step(|master, fx| master.on_unregister_agent(&agent_pid(2), &id, fx));
    assert_eq!(world.master.state().agents.len(), 1);
}

#[test]
fn a_broken_link_takes_offers_back() {
    let mut world = World::new();
    let (agent, pid) = world.agent(1);
    let (framework, stream) = world.framework();
    let offer = world.offer(&framework, stream, &agent, "cpus:1");
    world.step(|master, fx| master.on_exited(&pid, fx));
    assert_eq!(world.take_event(stream), SchedulerEvent::Rescind(offer));
    assert_eq!(world.master.gauge(Gauge::SlavesDisconnected), 1.0);
    assert_eq!(world.fx.observed.get(&agent), Some(&false));
    let timer = Timer::AgentReregistration(agent);
    assert_eq!(world.fx.timers.get(&timer), Some(&Duration::from_secs(600)));
}

#[test]
fn tasks_without_checkpointing_end_with_the_link() {
    let mut world = World::new();
    let agent = world.agent(1);
    let info = proto::FrameworkInfo {
        checkpoint: Some(false),
        ..world.framework_info()
    };
    let (framework, stream) = world.framework_with(info);
    world.launch(&framework, stream, &agent, "t");
    world.step(|master, fx| master.on_exited(&agent.1, fx));
    let status = world.take_update(stream);
    assert_eq!(status.state(), TaskState::TaskLost);
    assert_eq!(
        status.reason(),
        proto::task_status::Reason::SlaveDisconnected
    );
    let framework = &world.master.state().frameworks[&framework];
    assert!(framework.tasks.is_empty());
    assert_eq!(framework.completed_tasks.len(), 1);
}

/// An agent with a running task that has become unreachable.
fn unreachable_world(partition_aware: bool) -> (World, TaskOnAgent) {
    use proto::framework_info::capability::Type;
    let mut world = World::new();
    if !partition_aware {
        world.set_framework_capabilities(&[Type::MultiRole, Type::ReservationRefinement]);
    }
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    world.launch(&framework, stream, &agent, "t");
    world.step(|master, fx| master.on_agent_unresponsive(&agent.0, fx));
    let on_agent = TaskOnAgent {
        agent,
        framework,
        stream,
    };
    (world, on_agent)
}

struct TaskOnAgent {
    agent: (mesos::ids::AgentId, libprocess::Upid),
    framework: mesos::ids::FrameworkId,
    stream: StreamId,
}

#[test]
fn unanswered_pings_make_an_agent_unreachable() {
    let check = |partition_aware: bool, expected: TaskState| {
        let (mut world, task) = unreachable_world(partition_aware);
        let status = world.take_update(task.stream);
        assert_eq!(status.state(), expected);
        assert!(status.unreachable_time.is_some());
        assert_eq!(
            world.take_event(task.stream),
            SchedulerEvent::AgentLost(task.agent.0.clone())
        );
        let state = world.master.state();
        assert!(state.unreachable_agents.contains_key(&task.agent.0));
        assert_eq!(state.frameworks[&task.framework].unreachable_tasks.len(), 1);
        // Only operators who subscribed would see an agent leave for good.
        assert!(
            !world
                .fx
                .published
                .iter()
                .any(|event| matches!(event, OperatorEvent::AgentRemoved(_)))
        );
    };
    check(true, TaskState::TaskUnreachable);
    check(false, TaskState::TaskLost);
}

#[test]
fn an_unreachable_agent_brings_its_tasks_back() {
    let (mut world, task) = unreachable_world(true);
    world.drain();
    let (id, pid) = &task.agent;
    let mut message = reregister_agent(1, id);
    message.frameworks = vec![
        world.master.state().frameworks[&task.framework]
            .info
            .as_ref()
            .clone(),
    ];
    message.tasks = vec![running_task(&task.framework, id, "t")];
    world.step(|master, fx| master.on_reregister_agent(pid, message, fx));
    let _: internal::SlaveReregisteredMessage = world.take(pid);
    let _: internal::UpdateFrameworkMessage = world.take(pid);
    let status = world.take_update(task.stream);
    assert_eq!(status.state(), TaskState::TaskRunning);
    assert_eq!(
        status.reason(),
        proto::task_status::Reason::SlaveReregistered
    );
    assert_eq!(status.uuid, None);
    let framework = &world.master.state().frameworks[&task.framework];
    assert_eq!(framework.tasks.len(), 1);
    assert!(framework.unreachable_tasks.is_empty());
    assert!(world.master.state().unreachable_agents.is_empty());
}

#[test]
fn the_rate_limiter_spaces_unreachable_agents() {
    let mut world = World::with_config(MasterConfig {
        agent_removal_interval: Some(Duration::from_secs(60)),
        ..MasterConfig::default()
    });
    let (first, _) = world.agent(1);
    let (second, _) = world.agent(2);
    let (third, _) = world.agent(3);
    for agent in [&first, &second, &third] {
        world.step(|master, fx| master.on_agent_unresponsive(agent, fx));
    }
    assert_eq!(world.master.state().unreachable_agents.len(), 1);
    world.step(|master, fx| master.on_agent_responsive(&second, fx));
    assert_eq!(
        world.fx.counters.get(&Counter::SlaveUnreachableCanceled),
        Some(&1)
    );
    world.fire(Timer::UnreachablePermit(third.clone()));
    let unreachable: Vec<_> = world
        .master
        .state()
        .unreachable_agents
        .keys()
        .cloned()
        .collect();
    assert_eq!(unreachable, [first, third]);
}

#[test]
fn a_disconnected_agent_that_stays_away_is_unreachable() {
    let mut world = World::new();
    let (agent, pid) = world.agent(1);
    world.step(|master, fx| master.on_exited(&pid, fx));
    world.fire(Timer::AgentReregistration(agent.clone()));
    assert!(world.master.state().unreachable_agents.contains_key(&agent));
}

#[test]
fn a_known_agent_reconciles_when_it_comes_back() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    world.launch(&framework, stream, &agent, "t");
    world.step(|master, fx| master.on_exited(&agent.1, fx));
    let message = reregister_agent(1, &agent.0);
    world.step(|master, fx| master.on_reregister_agent(&agent.1, message, fx));
    let answer: internal::SlaveReregisteredMessage = world.take(&agent.1);
    assert_eq!(answer.reconciliations.len(), 1);
    assert_eq!(answer.reconciliations[0].statuses[0].task_id.value, "t");
    assert_eq!(world.master.gauge(Gauge::SlavesActive), 1.0);
    assert_eq!(world.fx.observed.get(&agent.0), Some(&true));
    assert!(
        !world
            .fx
            .timers
            .contains_key(&Timer::AgentReregistration(agent.0))
    );
}

#[test]
fn kills_are_sent_again_when_the_agent_comes_back() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    world.launch(&framework, stream, &agent, "t");
    world.step(|master, fx| master.on_exited(&agent.1, fx));
    world.kill(&framework, "t");
    let mut message = reregister_agent(1, &agent.0);
    message.frameworks = vec![
        world.master.state().frameworks[&framework]
            .info
            .as_ref()
            .clone(),
    ];
    message.tasks = vec![running_task(&framework, &agent.0, "t")];
    world.step(|master, fx| master.on_reregister_agent(&agent.1, message, fx));
    let _: internal::SlaveReregisteredMessage = world.take(&agent.1);
    let kill: internal::KillTaskMessage = world.take(&agent.1);
    assert_eq!(kill.task_id.value, "t");
    let _: internal::UpdateFrameworkMessage = world.take(&agent.1);
}

#[test]
fn an_agent_cannot_move_to_another_host() {
    let mut world = World::new();
    let (id, pid) = world.agent(1);
    let check = |world: &mut World, number: u16, message: internal::ReregisterSlaveMessage| {
        let from = agent_pid(number);
        world.step(|master, fx| master.on_reregister_agent(&from, message, fx));
        let refused: internal::ShutdownMessage = world.take(&from);
        assert!(refused.message().contains("different IP / hostname"));
    };
    let message = reregister_agent(1, &id);
    check(&mut world, 2, message);
    let mut message = reregister_agent(1, &id);
    message.slave.hostname = "other".to_owned();
    check(&mut world, 1, message);
    assert_eq!(world.master.state().agents[&id].pid, pid);
}

#[test]
fn an_agent_may_come_back_on_another_port() {
    let mut world = World::new();
    let (id, old) = world.agent(1);
    let new: libprocess::Upid = "slave(1)@10.0.0.1:6000".parse().unwrap();
    let message = reregister_agent(1, &id);
    world.step(|master, fx| master.on_reregister_agent(&new, message, fx));
    let _: internal::SlaveReregisteredMessage = world.take(&new);
    assert_eq!(world.master.state().agents[&id].pid, new);
    assert_eq!(world.fx.observed_at.get(&id), Some(&new));
    // What becomes of the old address does not matter any more.
    world.step(|master, fx| master.on_exited(&old, fx));
    assert_eq!(world.master.gauge(Gauge::SlavesConnected), 1.0);
}

#[test]
fn oversubscribed_resources_replace_the_ones_before() {
    let mut world = World::new();
    let (id, _) = world.agent(1);
    let revocable = |cpus: &str| {
        let mut resources = mesos::resources::Resources::parse(cpus, "*")
            .unwrap()
            .to_protos();
        resources[0].revocable = Some(proto::resource::RevocableInfo {});
        resources
    };
    let update = |world: &mut World, cpus: &str| {
        let message = internal::UpdateSlaveMessage {
            slave_id: (&id).into(),
            oversubscribed_resources: revocable(cpus),
            ..Default::default()
        };
        world.step(|master, fx| master.on_update_agent(message, fx));
        let total = &world.master.state().agents[&id].total;
        (total.revocable().cpus(), total.non_revocable().cpus())
    };
    assert_eq!(update(&mut world, "cpus:4"), (Some(4.0), Some(8.0)));
    assert_eq!(update(&mut world, "cpus:1"), (Some(1.0), Some(8.0)));
}
