use std::time::Duration;

use mesos::ids::{FrameworkId, TaskId};
use mesos::proto;
use mesos::proto::TaskState;
use mesos::proto::task_status::Source;

use super::harness::*;
use crate::core::{Message, Timer};

fn timer(task: &str) -> Timer {
    Timer::StatusUpdate(FrameworkId::from(FRAMEWORK), TaskId::from(task))
}

#[test]
fn an_update_goes_to_the_master_and_is_acknowledged_to_the_executor() {
    let (mut harness, run) = Harness::running(&[command_task("t")]);
    let did = harness.status(update("t", "t", TaskState::TaskRunning, 1));
    let [Message::StatusUpdate(message)] = &sent(&did, &master())[..] else {
        panic!("{did:?}")
    };
    assert_eq!(message.pid.as_deref(), Some("slave(1)@10.0.0.2:5051"));
    assert_eq!(
        message.update.latest_state,
        Some(TaskState::TaskRunning.into())
    );
    let status = &message.update.status;
    assert_eq!(status.source(), Source::Executor);
    assert_eq!(status.uuid, message.update.uuid);
    let container = status.container_status.as_ref().unwrap();
    assert_eq!(container.executor_pid, Some(99));
    assert_eq!(
        container.container_id.as_ref().unwrap().value,
        run.container_id.value()
    );
    assert_eq!(
        container.network_infos[0].ip_addresses[0].ip_address(),
        "10.0.0.2"
    );

    let [Message::StatusUpdateAcknowledgement(message)] = &sent(&did, &executor_pid())[..] else {
        panic!("{did:?}")
    };
    assert_eq!(message.uuid.as_ref(), [1; 16]);
    assert!(did.contains(&Did::Start(timer("t"), Duration::from_secs(10))));
}

#[test]
fn one_update_of_a_task_is_in_flight() {
    let (mut harness, _) = Harness::running(&[command_task("t")]);
    harness.status(update("t", "t", TaskState::TaskStarting, 1));
    let did = harness.status(update("t", "t", TaskState::TaskRunning, 2));
    assert_eq!(updates(&did), []);
    assert_eq!(sent(&did, &executor_pid()).len(), 1, "the agent has it");

    // Not acknowledged: it comes again, later each time, with what is known by now.
    let did = harness.time(&timer("t"));
    let [Message::StatusUpdate(message)] = &sent(&did, &master())[..] else {
        panic!()
    };
    assert_eq!(message.update.status.state(), TaskState::TaskStarting);
    assert_eq!(
        message.update.latest_state,
        Some(TaskState::TaskRunning.into())
    );
    assert!(did.contains(&Did::Start(timer("t"), Duration::from_secs(20))));

    assert_eq!(updates(&harness.acknowledge("t", 2)), [], "not that one");
    let did = harness.acknowledge("t", 1);
    assert_eq!(updates(&did)[0].1, TaskState::TaskRunning);
    assert!(did.contains(&Did::Start(timer("t"), Duration::from_secs(10))));
    assert_eq!(updates(&harness.acknowledge("t", 1)), [], "not twice");
}

#[test]
fn an_ended_task_gives_its_resources_back_first() {
    let (mut harness, _) = Harness::running(&[custom_task("t1", "e"), custom_task("t2", "e")]);
    let did = harness.event(|agent, fx| {
        agent.on_status_update(
            Some(&executor_pid()),
            update("t1", "e", TaskState::TaskFinished, 1),
            fx,
        );
    });
    let [Did::Update(size)] = &did[..] else {
        panic!("{did:?}")
    };
    let cpus: f64 = size
        .requests
        .iter()
        .filter(|resource| resource.name == "cpus")
        .map(|resource| resource.scalar.unwrap().value)
        .sum();
    assert_eq!(cpus, 1.5);
    let did = harness.finish_updates(&did);
    assert_eq!(updates(&did)[0].1, TaskState::TaskFinished);
    assert_eq!(harness.agent.counters().tasks_finished, 1);
}

#[test]
fn a_task_ends_once() {
    let (mut harness, _) = Harness::running(&[custom_task("t", "e")]);
    harness.status(update("t", "e", TaskState::TaskFinished, 1));
    let did = harness.status(update("t", "e", TaskState::TaskFailed, 2));
    assert_eq!(updates(&did), []);
    assert_eq!(
        sent(&did, &executor_pid()).len(),
        1,
        "but the executor may forget it"
    );
    assert_eq!(harness.agent.counters().tasks_failed, 0);
}

#[test]
fn updates_that_cannot_be_taken() {
    let check = |change: &dyn Fn(&mut mesos::proto::internal::StatusUpdate)| {
        let (mut harness, _) = Harness::running(&[command_task("t")]);
        let mut update = update("t", "t", TaskState::TaskRunning, 1);
        change(&mut update);
        assert_eq!(harness.status(update), []);
        assert_eq!(harness.agent.counters().invalid_status_updates, 1);
        assert_eq!(harness.agent.counters().valid_status_updates, 0);
    };
    check(&|update| update.uuid = None);
    check(&|update| update.uuid = Some(Default::default()));
    check(&|update| {
        update.slave_id = Some(proto::SlaveId {
            value: "S9".to_owned(),
        })
    });
    check(&|update| {
        update.status.slave_id = Some(proto::SlaveId {
            value: "S9".to_owned(),
        })
    });
    check(&|update| update.framework_id.value = "F9".to_owned());
}

#[test]
fn staging_is_nothing_an_executor_may_say() {
    let (mut harness, _) = Harness::running(&[command_task("t")]);
    let did = harness.status(update("t", "t", TaskState::TaskStaging, 1));
    assert!(matches!(
        sent(&did, &executor_pid())[..],
        [Message::ShutdownExecutor(_)]
    ));
}

#[test]
fn updates_wait_for_a_master() {
    let (mut harness, _) = Harness::running(&[command_task("t")]);
    harness.event(|agent, fx| agent.on_master_detected(None, fx));
    let did = harness.status(update("t", "t", TaskState::TaskRunning, 1));
    assert_eq!(updates(&did), []);
    assert_eq!(sent(&did, &executor_pid()).len(), 1);
    assert_eq!(harness.time(&timer("t")), []);
}

#[test]
fn equal_states_are_kept_once() {
    let (mut harness, _) = Harness::running(&[command_task("t")]);
    for uuid in 1..4 {
        harness.status(update("t", "t", TaskState::TaskRunning, uuid));
    }
    let snapshot = harness.agent.snapshot();
    let task = snapshot.frameworks[0].executors[0].launched_tasks[0].clone();
    assert_eq!(task.statuses.len(), 1);
    assert_eq!(task.statuses[0].uuid.as_deref(), Some(&[3; 16][..]));
}
