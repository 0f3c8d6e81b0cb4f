//! The core of the executor driver, driven by hand; every effect is recorded as one line.

use std::time::Duration;

use bytes::Bytes;
use libprocess::Upid;
use mesos::proto::internal::{
    ExecutorRegisteredMessage, ExecutorToFrameworkMessage, RegisterExecutorMessage,
    ReregisterExecutorMessage, StatusUpdate,
};
use mesos::proto::{self, TaskInfo, TaskState, TaskStatus};

use super::core::{Effects, ExecutorCore, ExecutorEvent};
use super::environment::ExecutorEnvironment;
use crate::task;

const AGENT: &str = "slave(1)@10.0.0.9:5051";
const RESTARTED_AGENT: &str = "slave(1)@10.0.0.9:6061";

#[derive(Default)]
struct Log {
    lines: Vec<String>,
    updates: Vec<StatusUpdate>,
    reregistered: Vec<ReregisterExecutorMessage>,
    uuids: u8,
}

impl Effects for Log {
    fn link(&mut self, agent: &Upid, renew: bool) {
        let verb = if renew { "relink" } else { "link" };
        self.lines.push(format!("{verb} {agent}"));
    }
    fn send_register(&mut self, agent: &Upid, message: RegisterExecutorMessage) {
        let (framework, executor) = (message.framework_id.value, message.executor_id.value);
        self.lines
            .push(format!("register {executor} of {framework} with {agent}"));
    }
    fn send_reregister(&mut self, agent: &Upid, message: ReregisterExecutorMessage) {
        self.lines.push(format!("reregister with {agent}"));
        self.reregistered.push(message);
    }
    fn send_update(&mut self, agent: &Upid, update: StatusUpdate) {
        let state = update.status.state().as_str_name();
        self.lines.push(format!(
            "{} {state} to {agent}",
            update.status.task_id.value
        ));
        self.updates.push(update);
    }
    fn send_framework_message(&mut self, agent: &Upid, message: ExecutorToFrameworkMessage) {
        self.lines
            .push(format!("message {:?} to {agent}", message.data));
    }
    fn start_recovery_timer(&mut self, delay: Duration, connection: u64) {
        self.lines
            .push(format!("recovery {connection} in {delay:?}"));
    }
    fn start_kill_timer(&mut self, grace: Duration) {
        self.lines.push(format!("kill in {grace:?}"));
    }
    fn callback(&mut self, event: ExecutorEvent) {
        self.lines.push(match event {
            ExecutorEvent::Registered(_) => "registered".to_owned(),
            ExecutorEvent::Reregistered(_) => "reregistered".to_owned(),
            ExecutorEvent::Disconnected => "disconnected".to_owned(),
            ExecutorEvent::LaunchTask(task) => format!("launch {}", task.task_id.value),
            ExecutorEvent::KillTask(id) => format!("kill {}", id.value),
            ExecutorEvent::FrameworkMessage(data) => format!("message {data:?}"),
            ExecutorEvent::Shutdown => "shutdown".to_owned(),
            ExecutorEvent::Error(message) => format!("error: {message}"),
        });
    }
    fn abort(&mut self) {
        self.lines.push("abort".to_owned());
    }
    fn uuid(&mut self) -> Bytes {
        self.uuids += 1;
        Bytes::copy_from_slice(&[self.uuids; 16])
    }
    fn timestamp(&mut self) -> f64 {
        7.0
    }
}

struct Env {
    core: ExecutorCore,
    log: Log,
}

impl Env {
    /// Registered with [`AGENT`].
    fn registered(change: impl FnOnce(&mut ExecutorEnvironment)) -> Self {
        let mut env = Self::started(change);
        env.core
            .on_registered(ExecutorRegisteredMessage::default(), &mut env.log);
        env.log.lines.clear();
        env
    }

    fn started(change: impl FnOnce(&mut ExecutorEnvironment)) -> Self {
        let mut environment = environment(&[]).unwrap();
        change(&mut environment);
        let mut env = Env {
            core: ExecutorCore::new(environment),
            log: Log::default(),
        };
        env.core.on_start(&mut env.log);
        env.expect(&[
            &format!("link {AGENT}"),
            &format!("register E of F with {AGENT}"),
        ]);
        env
    }

    fn update(&mut self, id: &str, state: TaskState) {
        let status = TaskStatus {
            task_id: task_id(id),
            state: state.into(),
            ..TaskStatus::default()
        };
        self.core.send_status_update(status, &mut self.log);
    }

    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.log.lines, expected);
        self.log.lines.clear();
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.log.lines, Vec::<String>::new(), "unexpected effects");
        }
    }
}

/// The variables that every agent sets, and `changes`; `None` takes a variable away.
fn environment(changes: &[(&str, Option<&str>)]) -> Result<ExecutorEnvironment, String> {
    let base = [
        ("MESOS_SLAVE_PID", AGENT),
        ("MESOS_SLAVE_ID", "S0"),
        ("MESOS_FRAMEWORK_ID", "F"),
        ("MESOS_EXECUTOR_ID", "E"),
        ("MESOS_DIRECTORY", "/sandbox"),
    ];
    let get = |name: &str| {
        let changed = changes
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value);
        let value = base
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value);
        changed.unwrap_or(value).map(str::to_owned)
    };
    ExecutorEnvironment::from_vars(get).map_err(|error| error.to_string())
}

fn task_id(id: &str) -> proto::TaskId {
    proto::TaskId {
        value: id.to_owned(),
    }
}

fn info(id: &str) -> TaskInfo {
    task(id).build()
}

fn upid(text: &str) -> Upid {
    text.parse().unwrap()
}

#[test]
fn reads_what_the_agent_sets() {
    let plain = environment(&[]).unwrap();
    assert_eq!(plain.agent.to_string(), AGENT);
    assert_eq!((plain.local, plain.checkpoint), (false, false));
    assert_eq!(plain.recovery_timeout, Duration::from_secs(900));
    assert_eq!(plain.shutdown_grace_period, Duration::from_secs(5));
    let full = environment(&[
        ("MESOS_LOCAL", Some("")),
        ("MESOS_CHECKPOINT", Some("1")),
        ("MESOS_RECOVERY_TIMEOUT", Some("2mins")),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", Some("3secs")),
    ])
    .unwrap();
    assert_eq!((full.local, full.checkpoint), (true, true));
    assert_eq!(full.recovery_timeout, Duration::from_secs(120));
    assert_eq!(full.shutdown_grace_period, Duration::from_secs(3));
}

#[test]
fn says_which_variable_is_missing_or_bad() {
    let check = |name: &str, value: Option<&str>, expected: &str| {
        assert_eq!(environment(&[(name, value)]).unwrap_err(), expected);
    };
    check(
        "MESOS_SLAVE_PID",
        None,
        "Expecting 'MESOS_SLAVE_PID' to be set in the environment; is this program run by an agent?",
    );
    check(
        "MESOS_SLAVE_PID",
        Some("here"),
        "Bad value 'here' of environment variable 'MESOS_SLAVE_PID': expected an address such as \
         'slave(1)@127.0.0.1:5051'",
    );
    check(
        "MESOS_RECOVERY_TIMEOUT",
        Some("later"),
        "Bad value 'later' of environment variable 'MESOS_RECOVERY_TIMEOUT': expected a duration \
         such as '500ms', '2secs' or '15mins'",
    );
}

#[test]
fn tasks_run_once_and_only_while_connected() {
    let mut env = Env::started(|_| ());
    env.core.on_run_task(info("early"), &mut env.log);
    env.expect(&[]);
    env.core
        .on_registered(ExecutorRegisteredMessage::default(), &mut env.log);
    env.core.on_run_task(info("a"), &mut env.log);
    env.core.on_run_task(info("a"), &mut env.log);
    env.expect(&["registered", "launch a"]);
}

#[test]
fn updates_carry_what_the_agent_needs() {
    let mut env = Env::registered(|_| ());
    env.update("a", TaskState::TaskRunning);
    env.expect(&[&format!("a TASK_RUNNING to {AGENT}")]);
    let update = env.log.updates.pop().unwrap();
    let status = update.status;
    assert_eq!(update.uuid, status.uuid);
    assert_eq!(update.uuid.unwrap().len(), 16);
    assert_eq!((update.timestamp, status.timestamp), (7.0, Some(7.0)));
    assert_eq!(status.slave_id.unwrap().value, "S0");
    assert_eq!(status.executor_id.unwrap().value, "E");
    assert_eq!(
        status.source,
        Some(proto::task_status::Source::Executor.into())
    );
}

#[test]
fn staging_is_not_an_executors_to_send() {
    let mut env = Env::registered(|_| ());
    env.update("a", TaskState::TaskStaging);
    env.expect(&[
        "abort",
        "error: Executor is not allowed to send TASK_STAGING for task 'a'",
    ]);
    env.update("a", TaskState::TaskRunning);
    env.core.on_run_task(info("b"), &mut env.log);
}

#[test]
fn a_restarted_agent_gets_what_it_did_not_acknowledge() {
    let mut env = Env::registered(|environment| environment.checkpoint = true);
    for id in ["a", "b"] {
        env.core.on_run_task(info(id), &mut env.log);
        env.update(id, TaskState::TaskRunning);
    }
    let uuids: Vec<Bytes> = env
        .log
        .updates
        .iter()
        .filter_map(|u| u.uuid.clone())
        .collect();
    env.core.on_acknowledgement(&task_id("a"), &uuids[0]);
    env.core
        .on_acknowledgement(&task_id("b"), &Bytes::from_static(b"unknown"));
    env.update("a", TaskState::TaskFinished);
    env.log.lines.clear();

    env.core.on_exited(&upid(AGENT), &mut env.log);
    env.expect(&["disconnected", "recovery 1 in 900s"]);
    env.core.on_exited(&upid(AGENT), &mut env.log);
    env.core.on_run_task(info("c"), &mut env.log);
    env.core.on_kill_task(task_id("b"), &mut env.log);
    env.expect(&["kill b"]);

    let agent_id = proto::SlaveId::default();
    env.core
        .on_reconnect(&upid(RESTARTED_AGENT), agent_id, &mut env.log);
    let reregister = format!("reregister with {RESTARTED_AGENT}");
    env.expect(&[&format!("relink {RESTARTED_AGENT}"), &reregister]);
    let message = env.log.reregistered.pop().unwrap();
    let ids = |id: &proto::TaskId| id.value.clone();
    let tasks: Vec<_> = message
        .tasks
        .iter()
        .map(|task| ids(&task.task_id))
        .collect();
    assert_eq!(tasks, ["b"]);
    let updates: Vec<_> = message
        .updates
        .iter()
        .map(|update| (ids(&update.status.task_id), update.status.state()))
        .collect();
    let expected = [
        ("b".to_owned(), TaskState::TaskRunning),
        ("a".to_owned(), TaskState::TaskFinished),
    ];
    assert_eq!(updates, expected);

    env.core
        .on_reregistered(proto::SlaveInfo::default(), &mut env.log);
    env.expect(&["reregistered"]);
    // The timer of before the reconnection has nothing to say any more.
    env.core.on_recovery_timeout(1, &mut env.log);
}

#[test]
fn a_lost_agent_is_waited_for_only_with_checkpointing() {
    fn check(checkpoint: bool, registered: bool, expected: &[&str]) {
        let change = |environment: &mut ExecutorEnvironment| environment.checkpoint = checkpoint;
        let mut env = if registered {
            Env::registered(change)
        } else {
            Env::started(change)
        };
        env.core.on_exited(&upid(RESTARTED_AGENT), &mut env.log);
        env.core.on_exited(&upid(AGENT), &mut env.log);
        env.expect(expected);
    }
    check(false, true, &["kill in 5s", "shutdown"]);
    check(false, false, &["kill in 5s", "shutdown"]);
    check(true, false, &["kill in 5s", "shutdown"]);
    check(true, true, &["disconnected", "recovery 1 in 900s"]);
}

#[test]
fn an_agent_that_stays_away_ends_the_executor() {
    let mut env = Env::registered(|environment| environment.checkpoint = true);
    env.core.on_exited(&upid(AGENT), &mut env.log);
    env.log.lines.clear();
    env.core.on_recovery_timeout(1, &mut env.log);
    env.expect(&["kill in 5s", "shutdown"]);
}

#[test]
fn last_updates_can_be_sent_during_shutdown() {
    let mut env = Env::registered(|environment| environment.local = true);
    env.core.on_shutdown(&mut env.log);
    env.expect(&["shutdown"]);
    env.core.on_shutdown(&mut env.log);
    env.core.on_run_task(info("late"), &mut env.log);
    env.core.on_kill_task(task_id("a"), &mut env.log);
    env.update("a", TaskState::TaskKilled);
    env.expect(&[&format!("a TASK_KILLED to {AGENT}")]);
    env.core.end();
    env.update("b", TaskState::TaskKilled);
    env.core.send_framework_message(Bytes::new(), &mut env.log);
}

#[test]
fn messages_pass_both_ways() {
    let mut env = Env::registered(|_| ());
    env.core
        .on_framework_message(Bytes::from_static(b"in"), &mut env.log);
    env.core
        .send_framework_message(Bytes::from_static(b"out"), &mut env.log);
    env.expect(&["message b\"in\"", &format!("message b\"out\" to {AGENT}")]);
}
