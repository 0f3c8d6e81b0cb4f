use std::time::Duration;

use mesos::proto;
use mesos::proto::internal as wire;
use mesos::proto::task_status::Reason;
use mesos::proto::{ContainerId, TaskState};

use super::harness::*;
use crate::core::{AgentState, Exit, Message, Timer};

fn started(did: &[Did], timer: &Timer) -> Option<Duration> {
    did.iter().rev().find_map(|did| match did {
        Did::Start(started, after) if started == timer => Some(*after),
        _ => None,
    })
}

#[test]
fn registers_with_doubling_waits() {
    let mut harness = Harness::new();
    let did = harness.detect();
    assert_eq!(
        started(&did, &Timer::Registration),
        Some(Duration::from_millis(500))
    );
    let mut waits = Vec::new();
    for _ in 0..8 {
        let did = harness.time(&Timer::Registration);
        assert!(did.contains(&Did::Link(master())));
        assert!(matches!(
            sent(&did, &master())[..],
            [Message::RegisterSlave(_)]
        ));
        waits.push(started(&did, &Timer::Registration).unwrap().as_secs());
    }
    // Half of twice the factor, doubling, up to half a minute.
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
}

#[test]
fn tells_the_master_who_it_is() {
    let mut harness = Harness::new();
    harness.detect();
    let did = harness.time(&Timer::Registration);
    let [Message::RegisterSlave(message)] = &sent(&did, &master())[..] else {
        panic!()
    };
    assert_eq!(
        message.slave.resources[0].role.as_deref(),
        Some("*"),
        "the form of old"
    );
    assert_eq!(message.agent_capabilities.len(), 8);
    assert_eq!(message.version.as_deref(), Some("1.11.0"));
    assert_eq!(message.slave.id, None);
}

#[test]
fn a_registered_agent_reports_its_totals_and_waits_for_pings() {
    let mut harness = Harness::new();
    harness.detect();
    let register = |id: &str| wire::SlaveRegisteredMessage {
        slave_id: proto::SlaveId {
            value: id.to_owned(),
        },
        connection: None,
    };
    let stranger = upid("master@10.9.9.9:5050");
    let did = harness.event(|agent, fx| agent.on_slave_registered(&stranger, register("S0"), fx));
    assert_eq!(did, []);
    let did = harness.event(|agent, fx| agent.on_slave_registered(&master(), register("S0"), fx));
    assert!(matches!(
        sent(&did, &master())[..],
        [Message::UpdateSlave(_)]
    ));
    assert_eq!(started(&did, &Timer::Ping), Some(Duration::from_secs(75)));
    assert_eq!(harness.agent.state(), AgentState::Running);

    let did = harness.event(|agent, fx| agent.on_slave_registered(&master(), register("S0"), fx));
    assert_eq!(did, []);
    let did = harness.event(|agent, fx| agent.on_slave_registered(&master(), register("S1"), fx));
    assert!(matches!(did[..], [Did::Exit(Exit::Failure(_))]));
}

#[test]
fn pings_are_answered_and_keep_the_master() {
    let mut harness = Harness::registered();
    let observer = upid("slave-observer(1)@10.0.0.1:5050");
    let did = harness.event(|agent, fx| agent.on_ping(&observer, true, fx));
    assert!(matches!(sent(&did, &observer)[..], [Message::PongSlave(_)]));
    assert_eq!(started(&did, &Timer::Ping), Some(Duration::from_secs(30)));

    for lost in [Some(false), None] {
        let mut harness = Harness::registered();
        let did = match lost {
            Some(connected) => harness.event(|agent, fx| agent.on_ping(&observer, connected, fx)),
            None => harness.time(&Timer::Ping),
        };
        assert!(started(&did, &Timer::Registration).is_some());
        assert_eq!(harness.agent.state(), AgentState::Disconnected);
        let did = harness.time(&Timer::Registration);
        assert!(matches!(
            sent(&did, &master())[..],
            [Message::ReregisterSlave(_)]
        ));
    }
}

#[test]
fn a_broken_connection_to_the_master_is_registered_over_again() {
    let mut harness = Harness::registered();
    let stranger = upid("master@10.9.9.9:5050");
    assert_eq!(
        harness.event(|agent, fx| agent.on_exited(&stranger, fx)),
        []
    );
    let did = harness.event(|agent, fx| agent.on_exited(&master(), fx));
    assert!(started(&did, &Timer::Registration).is_some());
    assert_eq!(harness.agent.state(), AgentState::Disconnected);
    let did = harness.time(&Timer::Registration);
    assert!(did.contains(&Did::Link(master())));
    assert!(matches!(
        sent(&did, &master())[..],
        [Message::ReregisterSlave(_)]
    ));
    // An attempt against a dead master breaks its connection too; only the timer goes on.
    assert_eq!(
        harness.event(|agent, fx| agent.on_exited(&master(), fx)),
        []
    );
}

#[test]
fn re_registration_tells_everything() {
    let (mut harness, run) = Harness::running(&[custom_task("t1", "e1"), custom_task("t2", "e1")]);
    harness.status(update("t1", "e1", TaskState::TaskRunning, 1));
    harness.status(update("t2", "e1", TaskState::TaskFinished, 2));
    harness.run(command_task("t3"));
    harness.detect();
    let did = harness.time(&Timer::Registration);
    let [Message::ReregisterSlave(message)] = &sent(&did, &master())[..] else {
        panic!()
    };
    assert_eq!(message.slave.id.as_ref().unwrap().value, AGENT);
    let mut tasks: Vec<(&str, TaskState, Option<TaskState>)> = message
        .tasks
        .iter()
        .map(|task| {
            let in_flight = task.status_update_state.map(|_| task.status_update_state());
            (task.task_id.value.as_str(), task.state(), in_flight)
        })
        .collect();
    tasks.sort_unstable_by_key(|task| task.0);
    assert_eq!(
        tasks,
        [
            ("t1", TaskState::TaskRunning, Some(TaskState::TaskRunning)),
            ("t2", TaskState::TaskFinished, Some(TaskState::TaskFinished)),
            ("t3", TaskState::TaskStaging, None),
        ]
    );
    // The command executor is the agent's own affair.
    let executors: Vec<&str> = message
        .executor_infos
        .iter()
        .map(|info| info.executor_id.value.as_str())
        .collect();
    assert_eq!(executors, ["e1"]);
    assert_eq!(message.frameworks.len(), 1);

    let reregistered = wire::SlaveReregisteredMessage {
        slave_id: proto::SlaveId {
            value: AGENT.to_owned(),
        },
        ..Default::default()
    };
    let did = harness.event(|agent, fx| agent.on_slave_reregistered(&master(), reregistered, fx));
    let mut resent: Vec<String> = updates(&did).into_iter().map(|update| update.0).collect();
    resent.sort();
    assert_eq!(resent, ["t1", "t2"], "what is not acknowledged comes again");
    let id: ContainerId = (&run.container_id).into();
    let Some(Message::StatusUpdate(message)) = sent(&did, &master())
        .into_iter()
        .find(|message| matches!(message, Message::StatusUpdate(_)))
    else {
        panic!()
    };
    assert_eq!(
        message.update.status.container_status.unwrap().container_id,
        Some(id)
    );
}

#[test]
fn unknown_tasks_of_the_master_are_reported() {
    let mut harness = Harness::registered();
    let status = |id: &str| proto::TaskStatus {
        task_id: proto::TaskId {
            value: id.to_owned(),
        },
        state: TaskState::TaskRunning.into(),
        ..Default::default()
    };
    harness.run(command_task("known"));
    let message = wire::SlaveReregisteredMessage {
        slave_id: proto::SlaveId {
            value: AGENT.to_owned(),
        },
        reconciliations: vec![wire::ReconcileTasksMessage {
            framework_id: proto::FrameworkId {
                value: FRAMEWORK.to_owned(),
            },
            statuses: vec![status("known"), status("unknown")],
            framework: None,
        }],
        connection: None,
    };
    let did = harness.event(|agent, fx| agent.on_slave_reregistered(&master(), message, fx));
    let updates = updates(&did);
    assert_eq!(updates.len(), 1);
    assert_eq!(
        (updates[0].0.as_str(), updates[0].1),
        ("unknown", TaskState::TaskLost)
    );
    assert_eq!(updates[0].2, Some(Reason::Reconciliation.into()));
}

#[test]
fn a_shutdown_ends_executors_first() {
    let (mut harness, run) = Harness::running(&[command_task("t")]);
    let shutdown = wire::ShutdownMessage::default();
    let stranger = upid("scheduler@10.0.0.3:6000");
    assert_eq!(
        harness.event(|agent, fx| agent.on_shutdown(&stranger, shutdown.clone(), fx)),
        []
    );
    let did = harness.event(|agent, fx| agent.on_shutdown(&master(), shutdown, fx));
    assert!(matches!(
        sent(&did, &executor_pid())[..],
        [Message::ShutdownExecutor(_)]
    ));
    let did = harness
        .event(|agent, fx| agent.on_container_terminated(&run, Ok(Some(Default::default())), fx));
    assert!(did.contains(&Did::Exit(Exit::Shutdown)), "{did:?}");
}

#[test]
fn a_graceful_end_says_goodbye() {
    let mut harness = Harness::registered();
    let did = harness.event(|agent, fx| agent.on_unregister_requested(fx));
    assert!(matches!(
        sent(&did, &master())[..],
        [Message::UnregisterSlave(_)]
    ));
    assert!(did.contains(&Did::Exit(Exit::Shutdown)));
}
