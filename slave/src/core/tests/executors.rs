use std::time::Duration;

use mesos::ids::ContainerId;
use mesos::proto;
use mesos::proto::TaskState;
use mesos::proto::internal as wire;
use mesos::proto::slave::ContainerTermination;
use mesos::proto::task_status::Reason;

use super::harness::*;
use crate::core::{ExecutorRun, ExecutorState, Message, Timer};

fn ends(harness: &mut Harness, run: &ExecutorRun, status: Option<i32>) -> Vec<Did> {
    let termination = status.map(|status| ContainerTermination {
        status: Some(status),
        ..Default::default()
    });
    harness.event(|agent, fx| agent.on_container_terminated(run, Ok(termination), fx))
}

#[test]
fn an_executor_that_ends_takes_its_tasks_with_it() {
    let (mut harness, run) = Harness::running(&[custom_task("t1", "e"), custom_task("t2", "e")]);
    harness.status(update("t1", "e", TaskState::TaskFinished, 1));
    let did = ends(&mut harness, &run, Some(256));
    assert_eq!(
        updates(&did),
        [(
            "t2".to_owned(),
            TaskState::TaskFailed,
            Some(Reason::ExecutorTerminated.into()),
            "Executor terminated".to_owned()
        )]
    );
    let exited: Vec<i32> = sent(&did, &master())
        .into_iter()
        .filter_map(|message| match message {
            Message::ExitedExecutor(message) => Some(message.status),
            _ => None,
        })
        .collect();
    assert_eq!(exited, [256]);
    assert_eq!(harness.agent.counters().executors_terminated, 1);
    // Its end a second time changes nothing.
    assert_eq!(updates(&ends(&mut harness, &run, None)), []);
}

#[test]
fn the_end_of_a_command_executor_is_not_the_masters_business() {
    let (mut harness, run) = Harness::running(&[command_task("t")]);
    harness.status(update("t", "t", TaskState::TaskFinished, 1));
    let did = ends(&mut harness, &run, Some(0));
    assert_eq!(sent(&did, &master()), []);
    assert_eq!(
        harness.agent.snapshot().frameworks[0].executors.len(),
        1,
        "not acknowledged yet"
    );
    harness.acknowledge("t", 1);
    let snapshot = harness.agent.snapshot();
    assert_eq!(snapshot.frameworks.len(), 0);
    assert_eq!(
        snapshot.completed_frameworks[0].completed_executors[0]
            .completed_tasks
            .len(),
        1
    );
}

#[test]
fn failed_launches() {
    let mut harness = Harness::registered();
    let run = launches(&harness.run(command_task("t"))).remove(0).run;
    let error = Err("no such user 'x'".to_owned());
    harness.event(|agent, fx| agent.on_container_launched(&run, error, fx));
    let did = ends(&mut harness, &run, None);
    assert_eq!(
        updates(&did),
        [(
            "t".to_owned(),
            TaskState::TaskFailed,
            Some(Reason::ContainerLaunchFailed.into()),
            "Failed to launch container: no such user 'x'".to_owned()
        )]
    );
    assert_eq!(harness.agent.counters().container_launch_errors, 1);
    assert_eq!(harness.agent.counters().tasks_failed, 1);
}

#[test]
fn an_executor_that_never_registers() {
    let mut harness = Harness::registered();
    let run = launches(&harness.run(command_task("t"))).remove(0).run;
    let timer = Timer::ExecutorRegistration(run.clone());
    let did = harness.launched(&run);
    assert_eq!(did, [Did::Start(timer.clone(), Duration::from_secs(60))]);
    assert_eq!(harness.time(&timer), [Did::Destroy(run.clone())]);
    let update = updates(&ends(&mut harness, &run, Some(9))).remove(0);
    assert_eq!(update.2, Some(Reason::ExecutorRegistrationTimeout.into()));
    assert_eq!(update.3, "Executor did not register within 1mins");
}

#[test]
fn executors_that_are_not_expected_are_shut_down() {
    let (mut harness, run) = Harness::running(&[command_task("t")]);
    let did = harness.register(&run);
    assert!(matches!(
        sent(&did, &executor_pid())[..],
        [Message::ShutdownExecutor(_)]
    ));
    let message = wire::ReregisterExecutorMessage::default();
    let did =
        harness.event(|agent, fx| agent.on_reregister_executor(&executor_pid(), &message, fx));
    assert!(matches!(
        sent(&did, &executor_pid())[..],
        [Message::ShutdownExecutor(_)]
    ));
}

#[test]
fn timers_of_an_earlier_run_do_nothing() {
    let (mut harness, run) = Harness::running(&[command_task("t")]);
    let earlier = ExecutorRun {
        container_id: ContainerId::new("earlier"),
        ..run
    };
    for timer in [
        Timer::ExecutorRegistration(earlier.clone()),
        Timer::ExecutorShutdown(earlier.clone()),
    ] {
        assert_eq!(harness.time(&timer), []);
    }
    let did = harness.launched(&earlier);
    assert_eq!(did, [Did::Destroy(earlier.clone())]);
    ends(&mut harness, &earlier, Some(0));
    let state = harness.agent.snapshot().frameworks[0].executors[0].state;
    assert_eq!(state, ExecutorState::Running);
}

#[test]
fn a_container_that_does_not_take_its_new_size() {
    let (mut harness, run) = Harness::running(&[custom_task("t1", "e")]);
    let did = harness.run(custom_task("t2", "e"));
    let [Did::Update(update)] = &did[..] else {
        panic!()
    };
    let update = update.clone();
    let did =
        harness.event(|agent, fx| agent.on_container_updated(*update, Err("no".to_owned()), fx));
    assert_eq!(did, [Did::Destroy(run.clone())]);
    let did = ends(&mut harness, &run, Some(9));
    for (task, update) in ["t1", "t2"].iter().zip(updates(&did)) {
        assert_eq!((update.0.as_str(), update.1), (*task, TaskState::TaskLost));
        assert_eq!(update.2, Some(Reason::ContainerUpdateFailed.into()));
    }
}

#[test]
fn messages_between_scheduler_and_executor() {
    let down = |executor: &str| wire::FrameworkToExecutorMessage {
        framework_id: proto::FrameworkId {
            value: FRAMEWORK.to_owned(),
        },
        executor_id: proto::ExecutorId {
            value: executor.to_owned(),
        },
        data: "x".into(),
        ..Default::default()
    };
    let up = || wire::ExecutorToFrameworkMessage {
        framework_id: proto::FrameworkId {
            value: FRAMEWORK.to_owned(),
        },
        data: "y".into(),
        ..Default::default()
    };
    let (mut harness, _) = Harness::running(&[custom_task("t", "e")]);
    let did = harness.event(|agent, fx| agent.on_framework_message(down("e"), fx));
    assert_eq!(sent(&did, &executor_pid()), [down("e").into()]);
    let did = harness.event(|agent, fx| agent.on_executor_message(up(), fx));
    assert_eq!(sent(&did, &upid("scheduler@10.0.0.3:6000")), [up().into()]);
    assert_eq!(
        harness.event(|agent, fx| agent.on_framework_message(down("other"), fx)),
        []
    );
    let counters = harness.agent.counters();
    assert_eq!(
        (
            counters.valid_framework_messages,
            counters.invalid_framework_messages
        ),
        (2, 1)
    );

    // A scheduler of the HTTP API has no address of its own.
    let message = wire::UpdateFrameworkMessage {
        framework_id: proto::FrameworkId {
            value: FRAMEWORK.to_owned(),
        },
        pid: None,
        framework_info: None,
    };
    harness.event(|agent, fx| agent.on_update_framework(&master(), message, fx));
    let did = harness.event(|agent, fx| agent.on_executor_message(up(), fx));
    assert_eq!(sent(&did, &master()), [up().into()]);
}

#[test]
fn the_history_is_bounded() {
    let mut harness = Harness::registered();
    for id in ["a", "b", "c"] {
        let run = launches(&harness.run(command_task(id))).remove(0).run;
        harness.launched(&run);
        let did = harness.register(&run);
        harness.finish_updates(&did);
        harness.status(update(id, id, TaskState::TaskFinished, id.as_bytes()[0]));
        harness.acknowledge(id, id.as_bytes()[0]);
        ends(&mut harness, &run, Some(0));
    }
    let snapshot = harness.agent.snapshot();
    let names: Vec<String> = snapshot.completed_frameworks[0]
        .completed_executors
        .iter()
        .map(|executor| executor.id().to_string())
        .collect();
    assert_eq!(names, ["b", "c"]);
}
