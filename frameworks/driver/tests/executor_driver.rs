//! The executor driver against a scripted agent, over real sockets.
#![allow(clippy::unwrap_used, reason = "a failing test shall panic")]

mod common;

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use common::{DEADLINE, Peer};
use libprocess::{Runtime, Upid};
use mesos_driver::proto::internal::{
    ExecutorRegisteredMessage, ExecutorToFrameworkMessage, FrameworkToExecutorMessage,
    KillTaskMessage, ReconnectExecutorMessage, RegisterExecutorMessage, ReregisterExecutorMessage,
    RunTaskMessage, ShutdownExecutorMessage, StatusUpdateAcknowledgementMessage,
    StatusUpdateMessage,
};
use mesos_driver::proto::{
    ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo, Resource, SlaveId, SlaveInfo, TaskId,
    TaskInfo, TaskState, TaskStatus,
};
use mesos_driver::{Bytes, Executor, ExecutorDriver, ExecutorEnvironment, Status, task};

const AGENT_HEARS: [&str; 4] = [
    "mesos.internal.RegisterExecutorMessage",
    "mesos.internal.ReregisterExecutorMessage",
    "mesos.internal.StatusUpdateMessage",
    "mesos.internal.ExecutorToFrameworkMessage",
];

/// Reports its tasks as running and killed, echoes messages, and tells the test of its callbacks.
struct Reporter(Sender<String>);

impl Reporter {
    fn say(&self, line: impl Into<String>) {
        self.0.send(line.into()).unwrap();
    }
}

fn report(driver: &ExecutorDriver, task_id: &TaskId, state: TaskState) {
    driver.send_status_update(TaskStatus {
        task_id: task_id.clone(),
        state: state.into(),
        ..TaskStatus::default()
    });
}

impl Executor for Reporter {
    fn registered(
        &mut self,
        _: &ExecutorDriver,
        _: &ExecutorInfo,
        framework: &FrameworkInfo,
        _: &SlaveInfo,
    ) {
        self.say(format!("registered for {}", framework.name));
    }
    fn launch_task(&mut self, driver: &ExecutorDriver, task: TaskInfo) {
        report(driver, &task.task_id, TaskState::TaskRunning);
    }
    fn kill_task(&mut self, driver: &ExecutorDriver, task_id: &TaskId) {
        report(driver, task_id, TaskState::TaskKilled);
    }
    fn framework_message(&mut self, driver: &ExecutorDriver, data: &Bytes) {
        driver.send_framework_message(data.clone());
    }
    fn shutdown(&mut self, driver: &ExecutorDriver) {
        report(driver, &TaskId { value: "t".into() }, TaskState::TaskKilled);
        driver.stop();
    }
    fn error(&mut self, _: &ExecutorDriver, message: &str) {
        self.say(message);
    }
}

struct Env {
    agent: Peer,
    driver: ExecutorDriver,
    executor: Upid,
    runtime: Runtime,
    said: Receiver<String>,
}

impl Env {
    fn registered() -> Self {
        let agent = Peer::start("slave(1)", 0, &AGENT_HEARS);
        let runtime = common::loopback();
        let (sender, said) = mpsc::channel();
        let driver = ExecutorDriver::builder(Reporter(sender))
            .environment(environment(agent.upid().clone()))
            .runtime(runtime.clone())
            .build();
        assert_eq!(driver.start(), Status::Running);
        let (executor, register) = agent.expect::<RegisterExecutorMessage>();
        assert_eq!(register.executor_id.value, "E");
        let message = ExecutorRegisteredMessage {
            framework_info: framework(),
            ..ExecutorRegisteredMessage::default()
        };
        agent.send(&executor, &message);
        let env = Env {
            agent,
            driver,
            executor,
            runtime,
            said,
        };
        assert_eq!(env.said.recv_timeout(DEADLINE).unwrap(), "registered for f");
        env
    }

    fn run_task(&self) {
        let message = RunTaskMessage {
            framework: framework(),
            task: TaskInfo {
                resources: vec![Resource::default()],
                ..task("t").build()
            },
            ..RunTaskMessage::default()
        };
        self.agent.send(&self.executor, &message);
    }

    /// The next message, an update to this state.
    #[track_caller]
    fn update(&self, state: TaskState) -> StatusUpdateMessage {
        let (_, message) = self.agent.expect::<StatusUpdateMessage>();
        assert_eq!(message.update.status.state(), state);
        message
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        self.driver.stop();
        self.driver.join();
        self.runtime.shutdown();
    }
}

fn framework() -> FrameworkInfo {
    FrameworkInfo {
        name: "f".into(),
        user: "u".into(),
        ..FrameworkInfo::default()
    }
}

/// Local, so that a shutdown does not kill the test.
fn environment(agent: Upid) -> ExecutorEnvironment {
    ExecutorEnvironment {
        agent,
        agent_id: SlaveId { value: "S".into() },
        framework_id: FrameworkId { value: "F".into() },
        executor_id: ExecutorId { value: "E".into() },
        directory: "/".into(),
        local: true,
        checkpoint: true,
        recovery_timeout: Duration::from_secs(60),
        shutdown_grace_period: Duration::from_secs(60),
    }
}

#[test]
fn runs_and_kills_a_task() {
    let env = Env::registered();
    env.run_task();
    let running = env.update(TaskState::TaskRunning);
    assert_eq!(running.pid, Some(env.executor.to_string()));
    let kill = KillTaskMessage {
        task_id: TaskId { value: "t".into() },
        ..KillTaskMessage::default()
    };
    env.agent.send(&env.executor, &kill);
    let killed = env.update(TaskState::TaskKilled);
    assert_ne!(running.update.uuid, killed.update.uuid);
}

#[test]
fn tells_a_restarted_agent_what_it_missed() {
    let mut env = Env::registered();
    env.run_task();
    let running = env.update(TaskState::TaskRunning);
    env.driver.send_status_update(TaskStatus {
        task_id: TaskId { value: "t".into() },
        state: TaskState::TaskFinished.into(),
        ..TaskStatus::default()
    });
    let finished = env.update(TaskState::TaskFinished);
    let acknowledgement = StatusUpdateAcknowledgementMessage {
        task_id: TaskId { value: "t".into() },
        uuid: running.update.uuid.unwrap_or_default(),
        ..StatusUpdateAcknowledgementMessage::default()
    };
    env.agent.send(&env.executor, &acknowledgement);
    // In order behind the acknowledgement, so that it is known to have been seen.
    echo(&env);
    let port = env.agent.port();
    env.agent = Peer::start("other", 0, &[]);
    env.agent = Peer::start("slave(1)", port, &AGENT_HEARS);
    env.agent
        .send(&env.executor, &ReconnectExecutorMessage::default());
    let (_, message) = env.agent.expect::<ReregisterExecutorMessage>();
    assert_eq!(message.updates, [finished.update]);
    assert_eq!(message.tasks, []);
}

fn echo(env: &Env) {
    let message = FrameworkToExecutorMessage {
        data: Bytes::from_static(b"ping\0"),
        ..FrameworkToExecutorMessage::default()
    };
    env.agent.send(&env.executor, &message);
    let (_, echo) = env.agent.expect::<ExecutorToFrameworkMessage>();
    assert_eq!(echo.data, Bytes::from_static(b"ping\0"));
}

#[test]
fn sends_last_updates_while_shutting_down() {
    let env = Env::registered();
    env.agent
        .send(&env.executor, &ShutdownExecutorMessage::default());
    env.update(TaskState::TaskKilled);
    assert_eq!(env.driver.join(), Status::Stopped);
}

#[test]
fn outside_of_an_agent_there_is_nothing_to_do() {
    let (sender, said) = mpsc::channel();
    let driver = ExecutorDriver::new(Reporter(sender));
    assert_eq!(driver.run(), Status::Aborted);
    let expected = "Expecting 'MESOS_SLAVE_PID' to be set in the environment; is this program run \
                    by an agent?";
    assert_eq!(said.recv_timeout(DEADLINE).unwrap(), expected);
    assert_eq!(driver.error().as_deref(), Some(expected));
}
