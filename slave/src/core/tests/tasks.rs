use std::time::Duration;

use mesos::proto;
use mesos::proto::TaskState;
use mesos::proto::internal as wire;
use mesos::proto::task_status::Reason;

use super::harness::*;
use crate::core::{ExecutorState, Message, Timer};

#[test]
fn a_command_task_gets_an_executor() {
    let mut harness = Harness::registered();
    let did = harness.run(command_task("t1"));
    let launch = launches(&did).remove(0);
    assert_eq!(launch.run.executor_id.as_str(), "t1");
    let info = launch.config.executor_info.unwrap();
    assert_eq!(
        info.name(),
        "Command Executor (Task: t1) (Command: sh -c 'echo hello')"
    );
    let command = info.command.unwrap();
    assert_eq!(command.value(), "/l/mesos-executor");
    assert_eq!(command.arguments, ["mesos-executor", "--launcher_dir=/l"]);
    assert!(!command.shell());
    assert_eq!(launch.config.user.as_deref(), Some("root"));

    let amounts = |name: &str| -> Vec<f64> {
        let resources = launch.config.resources.iter();
        resources
            .filter(|resource| resource.name == name)
            .map(|resource| {
                assert_eq!(resource.allocation_info.as_ref().unwrap().role(), "dev");
                resource.scalar.unwrap().value
            })
            .collect()
    };
    assert_eq!(amounts("cpus"), [0.1, 1.0]);
    assert_eq!(amounts("mem"), [32.0, 64.0]);

    let runs = "/w/slaves/S0/frameworks/F0/executors/t1/runs";
    let container = launch.run.container_id.value();
    assert_eq!(
        launch.sandbox.to_str().unwrap(),
        format!("{runs}/{container}")
    );
    assert_eq!(launch.latest.to_str().unwrap(), format!("{runs}/latest"));
    let attached: Vec<&str> = did
        .iter()
        .filter_map(|did| match did {
            Did::Attach(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(
        attached,
        [
            format!("{runs}/{container}"),
            format!("{runs}/latest"),
            "/frameworks/F0/executors/t1/runs/latest".to_owned()
        ]
    );
}

#[test]
fn the_environment_of_executors() {
    let mut harness = Harness::registered();
    let launch = launches(&harness.run(command_task("t1"))).remove(0);
    let sandbox = launch.sandbox.to_str().unwrap();
    let expected = [
        ("A", "1"),
        ("LIBPROCESS_PORT", "0"),
        ("MESOS_FRAMEWORK_ID", "F0"),
        ("MESOS_EXECUTOR_ID", "t1"),
        ("MESOS_DIRECTORY", sandbox),
        ("MESOS_SLAVE_ID", "S0"),
        ("MESOS_SLAVE_PID", "slave(1)@10.0.0.2:5051"),
        ("MESOS_AGENT_ENDPOINT", "10.0.0.2:5051"),
        ("MESOS_CHECKPOINT", "0"),
        ("MESOS_HTTP_COMMAND_EXECUTOR", "0"),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs"),
    ];
    let environment: Vec<(&str, &str)> = launch
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(environment, expected);
}

#[test]
fn names_of_command_executors() {
    let check = |command: proto::CommandInfo, expected: &str| {
        let mut task = command_task("t");
        task.command = Some(command);
        let launch = launches(&Harness::registered().run(task)).remove(0);
        let name = launch.config.executor_info.unwrap().name.unwrap();
        assert_eq!(
            name,
            format!("Command Executor (Task: t) (Command: {expected})")
        );
    };
    let shell = |value: Option<&str>| proto::CommandInfo {
        value: value.map(str::to_owned),
        ..Default::default()
    };
    check(shell(Some("sleep 1")), "sh -c 'sleep 1'");
    check(shell(Some("123456789012345")), "sh -c '123456789012345'");
    check(shell(Some("1234567890123456")), "sh -c '123456789012...'");
    check(shell(Some("12345678901é23456")), "sh -c '12345678901...'");
    check(shell(None), "NO COMMAND");
    let argv = |value: Option<&str>, arguments: &[&str]| proto::CommandInfo {
        shell: Some(false),
        arguments: arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect(),
        ..shell(value)
    };
    check(argv(Some("ls"), &["ls", "-l"]), "[ls, ls, -l]");
    check(
        argv(Some("/bin/sleep"), &["sleep", "1000"]),
        "[/bin/sleep, ...]",
    );
    check(argv(None, &[]), "NO EXECUTABLE");
}

#[test]
fn a_kill_policy_gives_the_executor_more_time() {
    let mut task = command_task("t");
    task.kill_policy = Some(proto::KillPolicy {
        grace_period: Some(proto::DurationInfo {
            nanoseconds: 10_000_000_000,
        }),
    });
    let (mut harness, run) = Harness::running(&[task]);
    let did = shutdown(&mut harness, "t");
    assert!(did.contains(&Did::Start(
        Timer::ExecutorShutdown(run),
        Duration::from_secs(12)
    )));
}

fn shutdown(harness: &mut Harness, executor: &str) -> Vec<Did> {
    let message = wire::ShutdownExecutorMessage {
        framework_id: Some(proto::FrameworkId {
            value: FRAMEWORK.to_owned(),
        }),
        executor_id: Some(proto::ExecutorId {
            value: executor.to_owned(),
        }),
    };
    harness.event(|agent, fx| agent.on_shutdown_executor(&master(), &message, fx))
}

#[test]
fn tasks_wait_for_their_executor() {
    let mut harness = Harness::registered();
    let run = launches(&harness.run(custom_task("t1", "e"))).remove(0).run;
    assert_eq!(harness.run(custom_task("t2", "e")), []);
    harness.launched(&run);
    let did = harness.register(&run);
    let [Message::ExecutorRegistered(registered)] = &sent(&did, &executor_pid())[..] else {
        panic!("{did:?}")
    };
    assert_eq!(registered.slave_info.id.as_ref().unwrap().value, AGENT);
    let did = harness.finish_updates(&did);
    assert_eq!(delivered(&did), ["t1", "t2"]);
    // Now it runs, and the container grows before the task comes.
    let did = harness.run(custom_task("t3", "e"));
    assert!(matches!(did[..], [Did::Update(_)]));
    assert_eq!(delivered(&harness.finish_updates(&did)), ["t3"]);
}

#[test]
fn launches_that_are_refused() {
    let check = |change: &dyn Fn(&mut wire::RunTaskMessage),
                 expected: Option<(TaskState, Reason)>| {
        let mut harness = Harness::registered();
        let mut message = run_task(command_task("t"));
        change(&mut message);
        let did = harness.event(|agent, fx| agent.on_run_task(&master(), message, fx));
        assert_eq!(launches(&did).len(), usize::from(expected.is_none()));
        let update = updates(&did).first().map(|update| (update.1, update.2));
        assert_eq!(
            update,
            expected.map(|(state, reason)| (state, Some(reason.into())))
        );
        let exited = sent(&did, &master())
            .iter()
            .any(|message| matches!(message, Message::ExitedExecutor(_)));
        assert_eq!(exited, expected.is_some());
        // Acknowledged, the framework leaves nothing behind.
        if let Some((_, _)) = expected {
            assert_eq!(harness.agent.snapshot().frameworks.len(), 1);
        }
    };
    let aware = proto::framework_info::Capability {
        r#type: Some(proto::framework_info::capability::Type::PartitionAware.into()),
    };
    check(&|message| message.launch_executor = Some(true), None);
    check(
        &|message| {
            message.launch_executor = Some(true);
            message.task.command = None;
        },
        Some((TaskState::TaskError, Reason::TaskInvalid)),
    );
    check(
        &|message| {
            message.launch_executor = Some(true);
            message.resource_version_uuids = vec![wire::ResourceVersionUuid {
                resource_provider_id: None,
                uuid: proto::Uuid {
                    value: vec![1; 16].into(),
                },
            }];
        },
        Some((TaskState::TaskLost, Reason::InvalidOffers)),
    );
    check(
        &|message| {
            message.launch_executor = Some(true);
            message.framework.capabilities = vec![aware];
            message
                .task
                .limits
                .insert("cpus".to_owned(), proto::value::Scalar { value: 2.0 });
        },
        Some((TaskState::TaskDropped, Reason::GcError)),
    );
    check(
        &|message| {
            message.launch_executor = Some(true);
            message.task.resources[0].reservations = vec![proto::resource::ReservationInfo {
                r#type: Some(proto::resource::reservation_info::Type::Dynamic.into()),
                ..Default::default()
            }];
        },
        Some((TaskState::TaskLost, Reason::ResourcesUnknown)),
    );
}

#[test]
fn launches_that_contradict_the_agent() {
    let check =
        |running: bool, task: proto::TaskInfo, launch: Option<bool>, expected: Option<Reason>| {
            let mut harness = if running {
                Harness::running(&[custom_task("t0", "e")]).0
            } else {
                Harness::registered()
            };
            let mut message = run_task(task);
            message.launch_executor = launch;
            let did = harness.event(|agent, fx| agent.on_run_task(&master(), message, fx));
            let reason = updates(&did).first().and_then(|update| update.2);
            assert_eq!(reason, expected.map(Into::into), "{running} {launch:?}");
        };
    check(
        true,
        custom_task("t", "e"),
        Some(true),
        Some(Reason::ExecutorTerminated),
    );
    check(true, custom_task("t", "e"), Some(false), None);
    check(true, custom_task("t", "e"), None, None);
    check(
        false,
        custom_task("t", "e"),
        Some(false),
        Some(Reason::ExecutorTerminated),
    );
    check(false, custom_task("t", "e"), None, None);
    check(
        true,
        command_task("e"),
        Some(true),
        Some(Reason::TaskInvalid),
    );
    check(false, command_task("t"), Some(false), None);
}

#[test]
fn launches_nobody_may_ask_for() {
    let stranger = upid("master@10.9.9.9:5050");
    let mut harness = Harness::registered();
    let message = run_task(command_task("t"));
    assert_eq!(
        harness.event(|agent, fx| agent.on_run_task(&stranger, message, fx)),
        []
    );
    let mut task = command_task("t");
    task.slave_id.value = "S9".to_owned();
    assert_eq!(harness.run(task), []);
}

#[test]
fn groups_are_refused_clearly() {
    let mut harness = Harness::registered();
    let message = wire::RunTaskGroupMessage {
        framework: framework(),
        task_group: proto::TaskGroupInfo {
            tasks: vec![command_task("a"), command_task("b")],
        },
        launch_executor: Some(true),
        ..Default::default()
    };
    let did = harness.event(|agent, fx| agent.on_run_task_group(&master(), message, fx));
    let states: Vec<(String, TaskState)> = updates(&did)
        .into_iter()
        .map(|update| (update.0, update.1))
        .collect();
    assert_eq!(
        states,
        [
            ("a".to_owned(), TaskState::TaskError),
            ("b".to_owned(), TaskState::TaskError)
        ]
    );
}

fn kill(harness: &mut Harness, task: &str) -> Vec<Did> {
    let message = wire::KillTaskMessage {
        framework_id: proto::FrameworkId {
            value: FRAMEWORK.to_owned(),
        },
        task_id: proto::TaskId {
            value: task.to_owned(),
        },
        kill_policy: None,
    };
    let mut did = harness.event(|agent, fx| agent.on_kill_task(&master(), message, fx));
    did.extend(harness.finish_updates(&did.clone()));
    did
}

#[test]
fn kills() {
    // Delivered: the executor does it.
    let (mut harness, _) = Harness::running(&[command_task("t")]);
    let did = kill(&mut harness, "t");
    assert!(matches!(
        sent(&did, &executor_pid())[..],
        [Message::KillTask(_)]
    ));
    // Unknown: the master should know.
    let update = updates(&kill(&mut harness, "other")).remove(0);
    assert_eq!(
        (update.1, update.2),
        (TaskState::TaskLost, Some(Reason::ExecutorTerminated.into()))
    );
}

#[test]
fn a_kill_before_delivery_leaves_an_executor_without_work() {
    let mut harness = Harness::registered();
    let run = launches(&harness.run(command_task("t"))).remove(0).run;
    let update = updates(&kill(&mut harness, "t")).remove(0);
    assert_eq!(
        (update.1, update.2),
        (
            TaskState::TaskKilled,
            Some(Reason::TaskKilledDuringLaunch.into())
        )
    );
    harness.launched(&run);
    let did = harness.register(&run);
    assert!(matches!(
        sent(&did, &executor_pid())[..],
        [Message::ExecutorRegistered(_), Message::ShutdownExecutor(_)]
    ));
}

#[test]
fn a_framework_shuts_down() {
    let (mut harness, run) = Harness::running(&[command_task("t")]);
    let message = wire::ShutdownFrameworkMessage {
        framework_id: proto::FrameworkId {
            value: FRAMEWORK.to_owned(),
        },
    };
    let did = harness.event(|agent, fx| agent.on_shutdown_framework(&master(), &message, fx));
    assert!(matches!(
        sent(&did, &executor_pid())[..],
        [Message::ShutdownExecutor(_)]
    ));
    assert!(did.contains(&Did::Start(
        Timer::ExecutorShutdown(run.clone()),
        Duration::from_secs(5)
    )));

    // Nothing is reported any more, but the executor need not wait.
    let did = harness.status(update("t", "t", TaskState::TaskKilled, 9));
    assert_eq!(updates(&did), []);
    assert!(matches!(
        sent(&did, &executor_pid())[..],
        [Message::StatusUpdateAcknowledgement(_)]
    ));

    let did = harness.time(&Timer::ExecutorShutdown(run.clone()));
    assert_eq!(did, [Did::Destroy(run.clone())]);
    harness
        .event(|agent, fx| agent.on_container_terminated(&run, Ok(Some(Default::default())), fx));
    let snapshot = harness.agent.snapshot();
    assert_eq!(snapshot.frameworks.len(), 0);
    let completed = &snapshot.completed_frameworks[0].completed_executors[0];
    assert_eq!(completed.state, ExecutorState::Terminated);
    assert_eq!(completed.terminated_tasks.len(), 1);

    // The same framework may come back, and finds its history.
    harness.run(command_task("again"));
    let snapshot = harness.agent.snapshot();
    assert_eq!(snapshot.completed_frameworks.len(), 0);
    assert_eq!(snapshot.frameworks[0].completed_executors.len(), 1);
}
