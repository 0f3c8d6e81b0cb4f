//! Status updates, acknowledgements, kills and reconciliation.

use mesos::ids::{AgentId, FrameworkId};
use mesos::proto::scheduler::{Call, call};
use mesos::proto::task_status::{Reason, Source};
use mesos::proto::{self, TaskState, internal};

use crate::core::MasterConfig;
use crate::core::effects::{AllocatorCall, StreamId};
use crate::core::event::SchedulerEvent;
use crate::core::metrics::{Counter, Gauge};
use crate::core::operator_event::OperatorEvent;
use crate::core::testing::*;

struct Running {
    agent: (AgentId, libprocess::Upid),
    framework: FrameworkId,
    stream: StreamId,
}

fn running() -> (World, Running) {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    world.launch(&framework, stream, &agent, "t");
    let running = Running {
        agent,
        framework,
        stream,
    };
    (world, running)
}

#[test]
fn updates_are_forwarded_and_applied() {
    let (mut world, task) = running();
    let uuid = world.report(&task.framework, &task.agent, "t", TaskState::TaskRunning);
    let SchedulerEvent::Update {
        update,
        acknowledgee,
    } = world.take_event(task.stream)
    else {
        panic!("expected UPDATE");
    };
    assert_eq!(update.status.state(), TaskState::TaskRunning);
    assert_eq!(update.uuid.as_deref(), Some(&uuid.as_bytes()[..]));
    assert_eq!(acknowledgee, Some(task.agent.1.clone()));
    assert_eq!(world.master.gauge(Gauge::TasksRunning), 1.0);
    assert_eq!(
        world.fx.counters.get(&Counter::ValidStatusUpdates),
        Some(&1)
    );
    assert!(matches!(
        world.fx.published.last(),
        Some(OperatorEvent::TaskUpdated {
            state: TaskState::TaskRunning,
            ..
        })
    ));
}

#[test]
fn a_task_is_completed_once_its_end_is_acknowledged() {
    let (mut world, task) = running();
    world.take_allocator_calls();
    let uuid = world.report(&task.framework, &task.agent, "t", TaskState::TaskFinished);
    world.drain();
    assert!(matches!(
        world.take_allocator_calls().as_slice(),
        [AllocatorCall::RecoverResources {
            filters: None,
            allocated: true,
            ..
        }]
    ));
    assert!(world.master.state().agents[&task.agent.0].used.is_empty());
    assert_eq!(
        world.master.state().frameworks[&task.framework].tasks.len(),
        1
    );
    let (framework, agent) = (&task.framework, &task.agent.0);
    world.acknowledge(framework, agent, "t", uuid::Uuid::from_u128(1234));
    let _: internal::StatusUpdateAcknowledgementMessage = world.take(&task.agent.1);
    assert_eq!(world.master.state().frameworks[framework].tasks.len(), 1);
    world.acknowledge(framework, agent, "t", uuid);
    let forwarded: internal::StatusUpdateAcknowledgementMessage = world.take(&task.agent.1);
    assert_eq!(forwarded.uuid, &uuid.as_bytes()[..]);
    let framework = &world.master.state().frameworks[framework];
    assert!(framework.tasks.is_empty());
    assert_eq!(framework.completed_tasks.len(), 1);
    assert_eq!(world.fx.counters.get(&Counter::TasksFinished), Some(&1));
}

#[test]
fn acknowledging_an_earlier_update_keeps_the_task() {
    let (mut world, task) = running();
    let running = world.report(&task.framework, &task.agent, "t", TaskState::TaskRunning);
    // The agent holds back the end until the first update is acknowledged, but says how far it is.
    let uuid = running;
    let mut update = agent_update(
        &task.framework,
        &task.agent.0,
        "t",
        TaskState::TaskRunning,
        uuid,
    );
    update.latest_state = Some(TaskState::TaskFinished as i32);
    let message = internal::StatusUpdateMessage { update, pid: None };
    world.step(|master, fx| master.on_status_update(message, fx));
    world.drain();
    assert_eq!(
        world.master.state().frameworks[&task.framework].tasks[0].state,
        TaskState::TaskFinished
    );
    world.acknowledge(&task.framework, &task.agent.0, "t", uuid);
    world.drain();
    assert_eq!(
        world.master.state().frameworks[&task.framework].tasks.len(),
        1
    );
    // It ended once, when the agent said so.
    world.report(&task.framework, &task.agent, "t", TaskState::TaskFinished);
    world.drain();
    assert_eq!(world.fx.counters.get(&Counter::TasksFinished), Some(&1));
}

#[test]
fn a_terminal_state_is_final() {
    let (mut world, task) = running();
    world.report(&task.framework, &task.agent, "t", TaskState::TaskFailed);
    world.report(&task.framework, &task.agent, "t", TaskState::TaskRunning);
    world.drain();
    let task = &world.master.state().frameworks[&task.framework].tasks[0];
    assert_eq!(task.state, TaskState::TaskFailed);
}

#[test]
fn history_keeps_one_status_of_each_state_without_data() {
    let (mut world, task) = running();
    for (state, data) in [
        (TaskState::TaskStarting, "a"),
        (TaskState::TaskRunning, "b"),
        (TaskState::TaskRunning, "c"),
    ] {
        let uuid = uuid::Uuid::from_u128(7);
        let mut update = agent_update(&task.framework, &task.agent.0, "t", state, uuid);
        update.status.data = Some(data.as_bytes().to_vec().into());
        let message = internal::StatusUpdateMessage { update, pid: None };
        world.step(|master, fx| master.on_status_update(message, fx));
    }
    world.drain();
    let statuses = &world.master.state().frameworks[&task.framework].tasks[0]
        .info
        .statuses;
    let states: Vec<_> = statuses.iter().map(|status| status.state()).collect();
    assert_eq!(states, [TaskState::TaskStarting, TaskState::TaskRunning]);
    assert!(statuses.iter().all(|status| status.data.is_none()));
}

#[test]
fn invalid_updates_are_counted() {
    let (mut world, task) = running();
    let check = |world: &mut World, change: &dyn Fn(&mut internal::StatusUpdate)| {
        let before = world
            .fx
            .counters
            .get(&Counter::InvalidStatusUpdates)
            .copied();
        let uuid = uuid::Uuid::from_u128(1);
        let mut update = agent_update(
            &task.framework,
            &task.agent.0,
            "t",
            TaskState::TaskRunning,
            uuid,
        );
        change(&mut update);
        let message = internal::StatusUpdateMessage { update, pid: None };
        world.step(|master, fx| master.on_status_update(message, fx));
        world.drain();
        let after = world
            .fx
            .counters
            .get(&Counter::InvalidStatusUpdates)
            .copied();
        assert_eq!(after, Some(before.unwrap_or(0) + 1));
    };
    check(&mut world, &|update| update.slave_id = None);
    check(&mut world, &|update| {
        update.slave_id = Some(proto::SlaveId {
            value: "other".to_owned(),
        });
    });
    check(&mut world, &|update| update.uuid = None);
    check(&mut world, &|update| {
        update.latest_state = Some(TaskState::TaskUnreachable as i32);
    });
    check(&mut world, &|update| {
        update.status.state = TaskState::TaskUnknown as i32;
    });
    check(&mut world, &|update| update.uuid = Some(vec![1].into()));
    check(&mut world, &|update| {
        update.status.task_id = task_id("other")
    });
}

#[test]
fn updates_wait_at_the_agent_while_the_framework_is_away() {
    let (mut world, task) = running();
    world.step(|master, fx| master.on_stream_closed(task.stream, fx));
    world.report(&task.framework, &task.agent, "t", TaskState::TaskRunning);
    assert_eq!(world.master.gauge(Gauge::TasksRunning), 1.0);
    assert_eq!(
        world.fx.counters.get(&Counter::InvalidStatusUpdates),
        Some(&1)
    );
}

#[test]
fn kills_go_to_the_agent_each_time() {
    let (mut world, task) = running();
    for _ in 0..2 {
        world.kill(&task.framework, "t");
        let message: internal::KillTaskMessage = world.take(&task.agent.1);
        assert_eq!(message.task_id.value, "t");
    }
    world.kill(&task.framework, "unknown");
    let status = world.take_update(task.stream);
    assert_eq!(status.state(), TaskState::TaskUnknown);
    assert_eq!(status.reason(), Reason::Reconciliation);
}

#[test]
fn messages_pass_both_ways() {
    let (mut world, task) = running();
    let message = call::Message {
        slave_id: (&task.agent.0).into(),
        executor_id: proto::ExecutorId {
            value: "e".to_owned(),
        },
        data: "ping".into(),
    };
    world.call(
        &task.framework,
        Call {
            r#type: Some(call::Type::Message as i32),
            message: Some(message),
            ..Default::default()
        },
    );
    let forwarded: internal::FrameworkToExecutorMessage = world.take(&task.agent.1);
    assert_eq!(forwarded.data, "ping");
    let back = internal::ExecutorToFrameworkMessage {
        slave_id: (&task.agent.0).into(),
        framework_id: (&task.framework).into(),
        executor_id: forwarded.executor_id,
        data: "pong".into(),
    };
    world.step(|master, fx| master.on_executor_message(back, fx));
    assert!(matches!(
        world.take_event(task.stream),
        SchedulerEvent::Message { data, .. } if data == "pong"
    ));
}

fn reconcile(world: &mut World, framework: &FrameworkId, tasks: &[(&str, Option<&AgentId>)]) {
    let tasks = tasks
        .iter()
        .map(|(task, agent)| call::reconcile::Task {
            task_id: task_id(task),
            slave_id: agent.map(Into::into),
        })
        .collect();
    world.call(
        framework,
        Call {
            r#type: Some(call::Type::Reconcile as i32),
            reconcile: Some(call::Reconcile { tasks }),
            ..Default::default()
        },
    );
}

#[test]
fn implicit_reconciliation_lists_live_tasks() {
    let (mut world, task) = running();
    world.launch(&task.framework, task.stream, &task.agent, "u");
    world.report(&task.framework, &task.agent, "t", TaskState::TaskRunning);
    world.drain();
    reconcile(&mut world, &task.framework, &[]);
    let first = world.take_update(task.stream);
    let second = world.take_update(task.stream);
    assert_eq!(first.state(), TaskState::TaskRunning);
    assert_eq!(second.state(), TaskState::TaskStaging);
    for status in [first, second] {
        assert_eq!(status.reason(), Reason::Reconciliation);
        assert_eq!(status.source(), Source::Master);
        assert_eq!(status.uuid, None);
    }
}

#[test]
fn explicit_reconciliation_tells_where_a_task_went() {
    let (mut world, task) = running();
    let (lost, _) = world.agent(2);
    world.step(|master, fx| master.on_agent_unresponsive(&lost, fx));
    world.drain();
    let check = |world: &mut World, id: &str, agent: Option<&AgentId>, expected: TaskState| {
        reconcile(world, &task.framework, &[(id, agent)]);
        let status = world.take_update(task.stream);
        assert_eq!(status.state(), expected);
        assert_eq!(
            status.unreachable_time.is_some(),
            expected == TaskState::TaskUnreachable
        );
    };
    let nobody = AgentId::from("nobody");
    check(&mut world, "t", None, TaskState::TaskStaging);
    check(&mut world, "t", Some(&nobody), TaskState::TaskStaging);
    check(&mut world, "x", Some(&task.agent.0), TaskState::TaskGone);
    check(&mut world, "x", Some(&lost), TaskState::TaskUnreachable);
    check(&mut world, "x", Some(&nobody), TaskState::TaskUnknown);
    check(&mut world, "x", None, TaskState::TaskUnknown);
}

#[test]
fn remembered_tasks_are_bounded() {
    let mut world = World::with_config(MasterConfig {
        max_completed_tasks_per_framework: 2,
        ..MasterConfig::default()
    });
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    for id in ["a", "b", "c"] {
        world.launch(&framework, stream, &agent, id);
        let uuid = world.report(&framework, &agent, id, TaskState::TaskFinished);
        world.acknowledge(&framework, &agent.0, id, uuid);
        world.drain();
    }
    let completed = &world.master.state().frameworks[&framework].completed_tasks;
    let ids: Vec<_> = completed.iter().map(|task| task.id.as_str()).collect();
    assert_eq!(ids, ["b", "c"]);
}

#[test]
fn snapshots_do_not_change() {
    let (mut world, task) = running();
    let before = world.master.snapshot();
    world.report(&task.framework, &task.agent, "t", TaskState::TaskFinished);
    world.drain();
    assert_eq!(
        before.frameworks[&task.framework].tasks[0].state,
        TaskState::TaskStaging
    );
    assert!(!before.agents[&task.agent.0].used.is_empty());
    assert!(world.master.state().agents[&task.agent.0].used.is_empty());
}
