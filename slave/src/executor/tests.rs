use std::time::Duration;

use bytes::Bytes;
use libprocess::Upid;
use mesos::proto;
use mesos::proto::TaskState;
use mesos::proto::internal as wire;
use mesos::proto::slave::ContainerLaunchInfo;
use mesos::proto::task_status::Reason;
use nix::sys::signal::Signal;
use uuid::Uuid;

use super::core::*;

#[derive(Clone, Debug, PartialEq)]
enum Did {
    Send(Message),
    Link(bool),
    Launch(Box<ContainerLaunchInfo>),
    Kill(u32, Signal),
    Start(Timer, Duration),
    Cancel(Timer),
    Exit(u8),
}

#[derive(Default)]
struct Recorder {
    did: Vec<Did>,
    now: f64,
    uuids: u128,
}

impl Effects for Recorder {
    fn now(&self) -> f64 {
        self.now
    }
    fn uuid(&mut self) -> Uuid {
        self.uuids += 1;
        Uuid::from_u128(self.uuids)
    }
    fn send(&mut self, _: &Upid, message: Message) {
        self.did.push(Did::Send(message));
    }
    fn link(&mut self, _: &Upid, fresh: bool) {
        self.did.push(Did::Link(fresh));
    }
    fn launch(&mut self, launch: ContainerLaunchInfo) {
        self.did.push(Did::Launch(Box::new(launch)));
    }
    fn kill_tree(&mut self, pid: u32, signal: Signal) {
        self.did.push(Did::Kill(pid, signal));
    }
    fn start_timer(&mut self, timer: Timer, after: Duration) {
        self.did.push(Did::Start(timer, after));
    }
    fn cancel_timer(&mut self, timer: Timer) {
        self.did.push(Did::Cancel(timer));
    }
    fn exit(&mut self, status: u8) {
        self.did.push(Did::Exit(status));
    }
}

struct Harness {
    core: CommandExecutor,
    fx: Recorder,
}

const PID: u32 = 4711;

fn agent() -> Upid {
    "slave(1)@10.0.0.2:5051".parse().unwrap()
}

fn task() -> proto::TaskInfo {
    proto::TaskInfo {
        task_id: proto::TaskId {
            value: "t".to_owned(),
        },
        command: Some(proto::CommandInfo {
            value: Some("sleep 1".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn duration(seconds: i64) -> proto::DurationInfo {
    proto::DurationInfo {
        nanoseconds: seconds * 1_000_000_000,
    }
}

impl Harness {
    fn registered() -> Self {
        Self::with(None, &[])
    }

    fn with(
        recovery_timeout: Option<Duration>,
        capabilities: &[proto::framework_info::capability::Type],
    ) -> Self {
        let config = Config {
            framework_id: "f".to_owned(),
            executor_id: "e".to_owned(),
            agent: agent(),
            shutdown_grace_period: seconds(5),
            recovery_timeout,
            working_directory: "/box".to_owned(),
            environment: vec![("HOME".to_owned(), "/root".to_owned())],
            pid: "executor(1)@10.0.0.2:4000".parse().unwrap(),
        };
        let mut harness = Harness {
            core: CommandExecutor::new(config),
            fx: Recorder::default(),
        };
        let did = harness.event(|core, fx| core.on_start(fx));
        assert!(matches!(
            did[..],
            [Did::Link(false), Did::Send(Message::Register(_))]
        ));
        let capabilities = capabilities
            .iter()
            .map(|capability| proto::framework_info::Capability {
                r#type: Some((*capability).into()),
            })
            .collect();
        harness.event(|core, _| {
            core.on_registered(wire::ExecutorRegisteredMessage {
                slave_id: proto::SlaveId {
                    value: "s".to_owned(),
                },
                framework_info: proto::FrameworkInfo {
                    capabilities,
                    ..Default::default()
                },
                ..Default::default()
            });
        });
        harness
    }

    fn event(&mut self, event: impl FnOnce(&mut CommandExecutor, &mut dyn Effects)) -> Vec<Did> {
        event(&mut self.core, &mut self.fx);
        std::mem::take(&mut self.fx.did)
    }

    fn run(&mut self, task: proto::TaskInfo) -> Vec<Did> {
        let mut did = self.event(|core, fx| core.on_run_task(task, fx));
        if did.iter().any(|did| matches!(did, Did::Launch(_))) {
            did.extend(self.event(|core, fx| core.on_task_launched(Ok(PID), fx)));
        }
        did
    }

    fn kill(&mut self, grace: Option<i64>) -> Vec<Did> {
        let policy = grace.map(|grace| proto::KillPolicy {
            grace_period: Some(duration(grace)),
        });
        self.event(|core, fx| core.on_kill_task(&task().task_id, policy, fx))
    }

    fn exits(&mut self, status: i32) -> Vec<Did> {
        self.event(|core, fx| core.on_task_exited(Ok(status), fx))
    }
}

fn statuses(did: &[Did]) -> Vec<proto::TaskStatus> {
    did.iter()
        .filter_map(|did| match did {
            Did::Send(Message::StatusUpdate(message)) => Some(message.update.status.clone()),
            _ => None,
        })
        .collect()
}

fn states(did: &[Did]) -> Vec<TaskState> {
    statuses(did).iter().map(proto::TaskStatus::state).collect()
}

#[test]
fn a_task_starts_runs_and_ends() {
    let mut harness = Harness::registered();
    let did = harness.run(task());
    assert_eq!(
        states(&did),
        [TaskState::TaskStarting, TaskState::TaskRunning]
    );
    let did = harness.exits(0);
    let status = statuses(&did).remove(0);
    assert_eq!(status.state(), TaskState::TaskFinished);
    assert_eq!(status.message(), "Command exited with status 0");
    assert_eq!(status.source(), proto::task_status::Source::Executor);
    assert_eq!(status.executor_id.unwrap().value, "e");
    assert_eq!(status.slave_id.unwrap().value, "s");
    let uuid = status.uuid.unwrap();
    assert_eq!(
        harness.event(|core, fx| core.on_acknowledged(&Bytes::from_static(&[9; 16]), fx)),
        []
    );
    assert_eq!(
        harness.event(|core, fx| core.on_acknowledged(&uuid, fx)),
        [Did::Exit(0)]
    );
}

#[test]
fn ends_of_a_task() {
    let check = |killed: bool, status: i32, state: TaskState, message: &str| {
        let mut harness = Harness::registered();
        harness.run(task());
        if killed {
            harness.kill(None);
        }
        let status = statuses(&harness.exits(status)).remove(0);
        assert_eq!((status.state(), status.message()), (state, message));
    };
    check(
        false,
        0,
        TaskState::TaskFinished,
        "Command exited with status 0",
    );
    check(
        false,
        256,
        TaskState::TaskFailed,
        "Command exited with status 1",
    );
    check(
        false,
        9,
        TaskState::TaskFailed,
        "Command terminated with signal Killed",
    );
    check(
        true,
        0,
        TaskState::TaskKilled,
        "Command exited with status 0",
    );
    check(
        true,
        15,
        TaskState::TaskKilled,
        "Command terminated with signal Terminated",
    );
}

#[test]
fn the_environment_of_a_task() {
    let mut info = task();
    let variable = |name: &str, value: &str| proto::environment::Variable {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..Default::default()
    };
    let mut secret = variable("S", "x");
    secret.r#type = Some(proto::environment::variable::Type::Secret.into());
    info.command.as_mut().unwrap().environment = Some(proto::Environment {
        variables: vec![
            variable("HOME", "/mine"),
            secret,
            variable("MESOS_ALLOCATION_ROLE", "fake"),
        ],
    });
    info.resources = vec![proto::Resource {
        allocation_info: Some(proto::resource::AllocationInfo {
            role: Some("dev".to_owned()),
        }),
        ..Default::default()
    }];
    let did = Harness::registered().run(info);
    let Some(Did::Launch(launch)) = did.into_iter().find(|did| matches!(did, Did::Launch(_)))
    else {
        panic!()
    };
    let variables: Vec<(String, String)> = launch
        .environment
        .unwrap()
        .variables
        .into_iter()
        .map(|variable| (variable.name, variable.value.unwrap()))
        .collect();
    let expected = [
        ("HOME", "/root"),
        ("HOME", "/mine"),
        ("MESOS_ALLOCATION_ROLE", "fake"),
        ("MESOS_ALLOCATION_ROLE", "dev"),
    ];
    assert_eq!(
        variables,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(launch.working_directory.as_deref(), Some("/box"));
}

#[test]
fn tasks_that_are_refused() {
    let check = |change: &dyn Fn(&mut proto::TaskInfo), expected: &str| {
        let mut info = task();
        change(&mut info);
        let did = Harness::registered().run(info);
        let status = statuses(&did).remove(0);
        assert_eq!(
            (status.state(), status.message()),
            (TaskState::TaskFailed, expected)
        );
        assert!(!did.iter().any(|did| matches!(did, Did::Launch(_))));
    };
    check(
        &|task| task.check = Some(Default::default()),
        "Checks are not supported by this command executor",
    );
    check(
        &|task| task.health_check = Some(Default::default()),
        "Health checks are not supported by this command executor",
    );
    check(
        &|task| task.command = None,
        "The command of the task is not specified",
    );
}

#[test]
fn one_task_only() {
    let mut harness = Harness::registered();
    harness.run(task());
    let mut second = task();
    second.task_id.value = "second".to_owned();
    let status = statuses(&harness.run(second)).remove(0);
    assert_eq!(
        (status.task_id.value.as_str(), status.state()),
        ("second", TaskState::TaskFailed)
    );
    assert_eq!(states(&harness.exits(0)), [TaskState::TaskFinished]);
}

#[test]
fn a_launch_that_fails() {
    let mut harness = Harness::registered();
    harness.event(|core, fx| core.on_run_task(task(), fx));
    let did = harness.event(|core, fx| core.on_task_launched(Err("no".to_owned()), fx));
    assert_eq!(statuses(&did)[0].message(), "Failed to launch the task: no");
}

#[test]
fn the_grace_of_a_kill() {
    let check = |of_task: Option<i64>, of_kill: Option<i64>, expected: u64| {
        let mut harness = Harness::registered();
        let mut info = task();
        info.kill_policy = of_task.map(|grace| proto::KillPolicy {
            grace_period: Some(duration(grace)),
        });
        harness.run(info);
        let did = harness.kill(of_kill);
        assert_eq!(
            did,
            [
                Did::Kill(PID, Signal::SIGTERM),
                Did::Start(Timer::Escalation, seconds(expected))
            ]
        );
        let did = harness.event(|core, fx| core.on_timer(Timer::Escalation, fx));
        assert_eq!(did, [Did::Kill(PID, Signal::SIGKILL)]);
    };
    check(None, None, 3);
    check(Some(7), None, 7);
    check(Some(7), Some(1), 1);
    check(None, Some(0), 0);
}

#[test]
fn another_kill_can_only_be_quicker() {
    let mut harness = Harness::registered();
    harness.run(task());
    harness.kill(Some(10));
    harness.fx.now = 2.0;
    assert_eq!(harness.kill(Some(20)), []);
    assert_eq!(harness.kill(Some(10)), []);
    assert_eq!(
        harness.kill(Some(5)),
        [Did::Start(Timer::Escalation, seconds(3))]
    );
    harness.fx.now = 4.0;
    assert_eq!(
        harness.kill(Some(1)),
        [Did::Start(Timer::Escalation, seconds(0))]
    );
}

#[test]
fn schedulers_that_want_to_know_hear_of_a_kill() {
    let mut harness = Harness::with(
        None,
        &[proto::framework_info::capability::Type::TaskKillingState],
    );
    harness.run(task());
    assert_eq!(states(&harness.kill(None)), [TaskState::TaskKilling]);
    assert_eq!(states(&harness.kill(None)), []);
}

#[test]
fn a_task_that_takes_too_long() {
    let mut harness = Harness::registered();
    let mut info = task();
    info.max_completion_time = Some(duration(60));
    assert!(
        harness
            .run(info)
            .contains(&Did::Start(Timer::Completion, seconds(60)))
    );
    let did = harness.event(|core, fx| core.on_timer(Timer::Completion, fx));
    assert_eq!(
        did,
        [
            Did::Kill(PID, Signal::SIGTERM),
            Did::Start(Timer::Escalation, seconds(0))
        ]
    );
    let status = statuses(&harness.exits(15)).remove(0);
    assert_eq!(
        (status.state(), status.reason()),
        (TaskState::TaskFailed, Reason::MaxCompletionTimeReached)
    );
}

#[test]
fn a_shutdown() {
    let mut harness = Harness::registered();
    assert_eq!(
        harness.event(|core, fx| core.on_shutdown(fx)),
        [Did::Exit(0)],
        "without a task"
    );

    let mut harness = Harness::registered();
    harness.run(task());
    let did = harness.event(|core, fx| core.on_shutdown(fx));
    assert_eq!(
        did,
        [
            Did::Start(Timer::Shutdown, seconds(5)),
            Did::Kill(PID, Signal::SIGTERM),
            Did::Start(Timer::Escalation, seconds(3))
        ]
    );
    assert_eq!(harness.event(|core, fx| core.on_shutdown(fx)), []);
    let did = harness.exits(15);
    assert_eq!(states(&did), [TaskState::TaskKilled]);
    assert!(did.contains(&Did::Start(Timer::Acknowledgement, seconds(1))));
}

#[test]
fn an_agent_that_is_lost() {
    let exited =
        |harness: &mut Harness| harness.event(|core, fx| core.on_agent_exited(&agent(), fx));
    // Nobody will come back: the task ends too.
    let mut harness = Harness::registered();
    harness.run(task());
    assert!(exited(&mut harness).contains(&Did::Kill(PID, Signal::SIGTERM)));
    assert!(harness.exits(15).contains(&Did::Exit(0)));

    // It may come back.
    let mut harness = Harness::with(Some(seconds(900)), &[]);
    harness.run(task());
    assert_eq!(
        exited(&mut harness),
        [Did::Start(Timer::Recovery, seconds(900))]
    );
    let did = harness.event(|core, fx| core.on_reconnect(&agent(), fx));
    let [Did::Link(true), Did::Send(Message::Reregister(message))] = &did[..] else {
        panic!("{did:?}")
    };
    assert_eq!(message.tasks.len(), 1);
    assert_eq!(message.updates.len(), 2);
    let did = harness.event(|core, fx| core.on_reregistered(Default::default(), fx));
    assert_eq!(did, [Did::Cancel(Timer::Recovery)]);

    // It did not.
    let mut harness = Harness::with(Some(seconds(900)), &[]);
    harness.run(task());
    exited(&mut harness);
    let did = harness.event(|core, fx| core.on_timer(Timer::Recovery, fx));
    assert!(did.contains(&Did::Kill(PID, Signal::SIGTERM)));
}
