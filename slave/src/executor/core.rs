//! The command executor as a pure state machine.
//!
//! Upstream: `src/launcher/executor.cpp`, `src/exec/exec.cpp`.

use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use libprocess::Upid;
use mesos::proto;
use mesos::proto::framework_info::capability::Type as Capability;
use mesos::proto::internal as wire;
use mesos::proto::task_status::{Reason, Source};
use mesos::proto::{TaskState, slave::ContainerLaunchInfo};
use nix::sys::signal::Signal;
use tracing::{info, warn};
use uuid::Uuid;

use super::status::describe_exit;
use crate::tasks::has_capability;

/// How long a killed task may take to end, if neither the kill nor the task says otherwise.
///
/// Upstream: `DEFAULT_KILL_GRACE_PERIOD` of the command executor.
pub(crate) const DEFAULT_KILL_GRACE_PERIOD: Duration = Duration::from_secs(3);

/// What the executor keeps of the time it has to shut down, to report the end of its task.
pub(crate) const SHUTDOWN_REPORT_ALLOWANCE: Duration = Duration::from_secs(2);

/// How long the last update may wait for its acknowledgement.
pub(crate) const ACKNOWLEDGEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The same after the agent asked to shut down, when it may not be interested in updates any more.
pub(crate) const ACKNOWLEDGEMENT_TIMEOUT_IN_SHUTDOWN: Duration = Duration::from_secs(1);

/// What leaves the executor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// The first word to the agent.
    Register(wire::RegisterExecutorMessage),
    /// The first word to an agent that has been restarted.
    Reregister(wire::ReregisterExecutorMessage),
    /// The state of the task.
    StatusUpdate(Box<wire::StatusUpdateMessage>),
}

/// The outside world of the executor.
pub(crate) trait Effects {
    /// The present, in seconds since the epoch.
    fn now(&self) -> f64;
    /// A new random (version 4) UUID.
    fn uuid(&mut self) -> Uuid;
    /// Sends a message to the agent.
    fn send(&mut self, agent: &Upid, message: Message);
    /// Keeps a connection to the agent; with `fresh` a new one.
    fn link(&mut self, agent: &Upid, fresh: bool);
    /// Starts the task; leads to `on_task_launched` and then `on_task_exited`.
    fn launch(&mut self, launch: ContainerLaunchInfo);
    /// Sends a signal to the task's process and all that belongs to it.
    fn kill_tree(&mut self, pid: u32, signal: Signal);
    /// Starts a timer; one that runs under the same name is replaced.
    fn start_timer(&mut self, timer: Timer, after: Duration);
    /// Stops a timer, if it runs.
    fn cancel_timer(&mut self, timer: Timer);
    /// Ends the process.
    fn exit(&mut self, status: u8);
}

/// The timers of the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Timer {
    /// The task has run for as long as it may.
    Completion,
    /// A killed task has had its time.
    Escalation,
    /// The agent has been away for too long.
    Recovery,
    /// The agent's time for the shutdown is over.
    Shutdown,
    /// The last update was not acknowledged.
    Acknowledgement,
}

/// What the agent told the executor by its environment.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `MESOS_FRAMEWORK_ID`
    pub(crate) framework_id: String,
    /// `MESOS_EXECUTOR_ID`
    pub(crate) executor_id: String,
    /// `MESOS_SLAVE_PID`
    pub(crate) agent: Upid,
    /// `MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD`
    pub(crate) shutdown_grace_period: Duration,
    /// `MESOS_RECOVERY_TIMEOUT`, if the framework checkpoints.
    pub(crate) recovery_timeout: Option<Duration>,
    /// Where the task runs.
    pub(crate) working_directory: String,
    /// The environment of the executor, which the task inherits.
    pub(crate) environment: Vec<(String, String)>,
    /// The address by which the agent reaches the executor.
    pub(crate) pid: Upid,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Kill {
    started: f64,
    deadline: f64,
}

#[derive(Clone, Debug)]
struct Task {
    info: proto::TaskInfo,
    pid: Option<u32>,
    acknowledged: bool,
    kill: Option<Kill>,
    timed_out: bool,
    terminal: Option<Bytes>,
}

/// The command executor. See the [module](self).
#[derive(Debug)]
pub(crate) struct CommandExecutor {
    config: Config,
    agent: Upid,
    connected: bool,
    shutting_down: bool,
    slave_id: Option<proto::SlaveId>,
    framework: Option<proto::FrameworkInfo>,
    task: Option<Task>,
    unacknowledged: IndexMap<Bytes, wire::StatusUpdate>,
}

impl CommandExecutor {
    pub(crate) fn new(config: Config) -> Self {
        CommandExecutor {
            agent: config.agent.clone(),
            config,
            connected: false,
            shutting_down: false,
            slave_id: None,
            framework: None,
            task: None,
            unacknowledged: IndexMap::new(),
        }
    }

    /// The process has started.
    pub(crate) fn on_start(&mut self, fx: &mut dyn Effects) {
        fx.link(&self.agent, false);
        let message = wire::RegisterExecutorMessage {
            framework_id: self.framework_id(),
            executor_id: self.executor_id(),
        };
        fx.send(&self.agent, Message::Register(message));
    }

    fn framework_id(&self) -> proto::FrameworkId {
        proto::FrameworkId {
            value: self.config.framework_id.clone(),
        }
    }

    fn executor_id(&self) -> proto::ExecutorId {
        proto::ExecutorId {
            value: self.config.executor_id.clone(),
        }
    }

    pub(crate) fn on_registered(&mut self, message: wire::ExecutorRegisteredMessage) {
        info!("Registered with agent {}", message.slave_id.value);
        self.connected = true;
        self.slave_id = Some(message.slave_id);
        self.framework = Some(message.framework_info);
    }

    pub(crate) fn on_reregistered(
        &mut self,
        message: wire::ExecutorReregisteredMessage,
        fx: &mut dyn Effects,
    ) {
        info!("Re-registered with agent {}", message.slave_id.value);
        self.connected = true;
        self.slave_id = Some(message.slave_id);
        fx.cancel_timer(Timer::Recovery);
    }

    /// A restarted agent looks for its executors.
    pub(crate) fn on_reconnect(&mut self, from: &Upid, fx: &mut dyn Effects) {
        self.agent = from.clone();
        fx.link(from, true);
        let task = self.task.as_ref().filter(|task| !task.acknowledged);
        let message = wire::ReregisterExecutorMessage {
            executor_id: self.executor_id(),
            framework_id: self.framework_id(),
            tasks: task.map(|task| task.info.clone()).into_iter().collect(),
            updates: self.unacknowledged.values().cloned().collect(),
        };
        fx.send(&self.agent, Message::Reregister(message));
    }

    pub(crate) fn on_run_task(&mut self, info: proto::TaskInfo, fx: &mut dyn Effects) {
        if self.task.is_some() {
            let failure = "Attempted to run multiple tasks using a \"command\" executor";
            self.refuse(&info.task_id, failure, fx);
            return;
        }
        self.task = Some(Task {
            info: info.clone(),
            pid: None,
            acknowledged: false,
            kill: None,
            timed_out: false,
            terminal: None,
        });
        if let Some(reason) = unsupported(&info) {
            self.finish(TaskState::TaskFailed, None, reason.to_owned(), fx);
            return;
        }
        info!("Starting task {}", info.task_id.value);
        self.update(TaskState::TaskStarting, None, None, fx);
        let limit = info.max_completion_time.and_then(positive);
        if let Some(limit) = limit {
            fx.start_timer(Timer::Completion, limit);
        }
        fx.launch(self.launch_info(&info));
    }

    fn launch_info(&self, task: &proto::TaskInfo) -> ContainerLaunchInfo {
        let command = task.command.clone().unwrap_or_default();
        let variable = |name: &str, value: &str| proto::environment::Variable {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            ..Default::default()
        };
        let own = command
            .environment
            .iter()
            .flat_map(|environment| &environment.variables);
        let role = task
            .resources
            .first()
            .and_then(|resource| resource.allocation_info.as_ref())
            .map(|allocation| variable("MESOS_ALLOCATION_ROLE", allocation.role()));
        let variables = self
            .config
            .environment
            .iter()
            .map(|(name, value)| variable(name, value))
            .chain(own.filter(|variable| !is_secret(variable)).cloned())
            .chain(role)
            .collect();
        ContainerLaunchInfo {
            command: Some(proto::CommandInfo {
                shell: command.shell,
                value: command.value,
                arguments: command.arguments,
                ..Default::default()
            }),
            environment: Some(proto::Environment { variables }),
            working_directory: Some(self.config.working_directory.clone()),
            ..Default::default()
        }
    }

    /// The task's process exists, or could not be made.
    pub(crate) fn on_task_launched(&mut self, result: Result<u32, String>, fx: &mut dyn Effects) {
        let Some(task) = &mut self.task else { return };
        match result {
            Ok(pid) => {
                task.pid = Some(pid);
                let killed = task.kill.is_some();
                self.update(TaskState::TaskRunning, None, None, fx);
                if killed {
                    fx.kill_tree(pid, Signal::SIGTERM);
                }
            }
            Err(error) => {
                let message = format!("Failed to launch the task: {error}");
                self.finish(TaskState::TaskFailed, None, message, fx);
            }
        }
    }

    pub(crate) fn on_kill_task(
        &mut self,
        task_id: &proto::TaskId,
        policy: Option<proto::KillPolicy>,
        fx: &mut dyn Effects,
    ) {
        let Some(task) = &self.task else {
            // The agent kills what it has not delivered itself, so something is badly wrong.
            warn!(
                "Asked to kill task {} before any was started",
                task_id.value
            );
            fx.exit(1);
            return;
        };
        if task.info.task_id != *task_id {
            warn!("Asked to kill unknown task {}", task_id.value);
            return;
        }
        let grace = |policy: Option<proto::KillPolicy>| {
            let nanoseconds = policy?.grace_period?.nanoseconds;
            Some(Duration::from_nanos(
                u64::try_from(nanoseconds).unwrap_or(0),
            ))
        };
        let grace = grace(policy)
            .or_else(|| grace(task.info.kill_policy))
            .unwrap_or(DEFAULT_KILL_GRACE_PERIOD);
        self.kill(grace, true, fx);
    }

    fn kill(&mut self, grace: Duration, announce: bool, fx: &mut dyn Effects) {
        let now = fx.now();
        let Some(task) = self.task.as_mut().filter(|task| task.terminal.is_none()) else {
            return;
        };
        if let Some(kill) = &mut task.kill {
            // A later kill can only shorten what the task was promised.
            let deadline = kill.started + grace.as_secs_f64();
            if deadline < kill.deadline {
                kill.deadline = deadline;
                let left = Duration::try_from_secs_f64(deadline - now).unwrap_or_default();
                fx.start_timer(Timer::Escalation, left);
            }
            return;
        }
        task.kill = Some(Kill {
            started: now,
            deadline: now + grace.as_secs_f64(),
        });
        let pid = task.pid;
        if announce
            && self
                .framework
                .as_ref()
                .is_some_and(|info| has_capability(info, Capability::TaskKillingState))
        {
            self.update(TaskState::TaskKilling, None, None, fx);
        }
        if let Some(pid) = pid {
            fx.kill_tree(pid, Signal::SIGTERM);
        }
        fx.start_timer(Timer::Escalation, grace);
    }

    pub(crate) fn on_shutdown(&mut self, fx: &mut dyn Effects) {
        if self.shutting_down {
            return;
        }
        self.shutting_down = true;
        info!("Shutting down");
        match &self.task {
            None => fx.exit(0),
            Some(task) if task.terminal.is_some() => {
                fx.start_timer(Timer::Acknowledgement, ACKNOWLEDGEMENT_TIMEOUT_IN_SHUTDOWN);
            }
            Some(_) => {
                let grace = self.config.shutdown_grace_period;
                fx.start_timer(Timer::Shutdown, grace);
                self.kill(grace.saturating_sub(SHUTDOWN_REPORT_ALLOWANCE), true, fx);
            }
        }
    }

    /// The task's process has ended, with its wait status if that is known.
    pub(crate) fn on_task_exited(&mut self, status: Result<i32, String>, fx: &mut dyn Effects) {
        let Some(task) = self.task.as_ref().filter(|task| task.terminal.is_none()) else {
            return;
        };
        let (killed, timed_out) = (task.kill.is_some(), task.timed_out);
        let (state, reason, message) = match status {
            Err(error) => {
                let message = format!("Failed to get exit status for Command: {error}");
                (TaskState::TaskFailed, None, message)
            }
            Ok(status) => {
                let message = format!("Command {}", describe_exit(status));
                if timed_out {
                    let reason = Reason::MaxCompletionTimeReached;
                    (TaskState::TaskFailed, Some(reason), message)
                } else if killed {
                    (TaskState::TaskKilled, None, message)
                } else if status == 0 {
                    (TaskState::TaskFinished, None, message)
                } else {
                    (TaskState::TaskFailed, None, message)
                }
            }
        };
        info!("{message}");
        self.finish(state, reason, message, fx);
    }

    fn finish(
        &mut self,
        state: TaskState,
        reason: Option<Reason>,
        message: String,
        fx: &mut dyn Effects,
    ) {
        for timer in [Timer::Completion, Timer::Escalation] {
            fx.cancel_timer(timer);
        }
        let uuid = self.update(state, reason, Some(message), fx);
        if let Some(task) = &mut self.task {
            task.terminal = uuid;
        }
        if self.shutting_down && !self.connected {
            fx.exit(0);
            return;
        }
        let timeout = if self.shutting_down {
            ACKNOWLEDGEMENT_TIMEOUT_IN_SHUTDOWN
        } else {
            ACKNOWLEDGEMENT_TIMEOUT
        };
        fx.start_timer(Timer::Acknowledgement, timeout);
    }

    fn update(
        &mut self,
        state: TaskState,
        reason: Option<Reason>,
        message: Option<String>,
        fx: &mut dyn Effects,
    ) -> Option<Bytes> {
        let task_id = self.task.as_ref()?.info.task_id.clone();
        Some(self.send_update(task_id, state, reason, message, fx))
    }

    fn refuse(&mut self, task_id: &proto::TaskId, why: &str, fx: &mut dyn Effects) {
        warn!("Refusing task {}: {why}", task_id.value);
        self.send_update(
            task_id.clone(),
            TaskState::TaskFailed,
            None,
            Some(why.to_owned()),
            fx,
        );
    }

    fn send_update(
        &mut self,
        task_id: proto::TaskId,
        state: TaskState,
        reason: Option<Reason>,
        message: Option<String>,
        fx: &mut dyn Effects,
    ) -> Bytes {
        let now = fx.now();
        let uuid = Bytes::copy_from_slice(fx.uuid().as_bytes());
        let update = wire::StatusUpdate {
            framework_id: self.framework_id(),
            executor_id: Some(self.executor_id()),
            slave_id: self.slave_id.clone(),
            status: proto::TaskStatus {
                task_id,
                state: state.into(),
                message,
                slave_id: self.slave_id.clone(),
                timestamp: Some(now),
                executor_id: Some(self.executor_id()),
                source: Some(Source::Executor.into()),
                reason: reason.map(Into::into),
                uuid: Some(uuid.clone()),
                ..Default::default()
            },
            timestamp: now,
            uuid: Some(uuid.clone()),
            latest_state: None,
        };
        self.unacknowledged.insert(uuid.clone(), update.clone());
        let message = wire::StatusUpdateMessage {
            update,
            pid: Some(self.config.pid.to_string()),
        };
        fx.send(&self.agent, Message::StatusUpdate(Box::new(message)));
        uuid
    }

    /// The agent has an update.
    pub(crate) fn on_acknowledged(&mut self, uuid: &Bytes, fx: &mut dyn Effects) {
        self.unacknowledged.shift_remove(uuid);
        let Some(task) = &mut self.task else { return };
        task.acknowledged = true;
        if task.terminal.as_ref() == Some(uuid) {
            fx.exit(0);
        }
    }

    /// The connection to the agent broke.
    pub(crate) fn on_agent_exited(&mut self, pid: &Upid, fx: &mut dyn Effects) {
        if *pid != self.agent {
            return;
        }
        match self.config.recovery_timeout {
            Some(timeout) if self.connected => {
                info!("Lost the agent; waiting {timeout:?} for it to come back");
                fx.start_timer(Timer::Recovery, timeout);
            }
            _ => self.on_agent_gone(fx),
        }
        self.connected = false;
    }

    /// Nobody is there to report to any more.
    fn on_agent_gone(&mut self, fx: &mut dyn Effects) {
        self.connected = false;
        if self
            .task
            .as_ref()
            .is_some_and(|task| task.terminal.is_some())
        {
            fx.exit(0);
        } else {
            self.on_shutdown(fx);
        }
    }

    pub(crate) fn on_timer(&mut self, timer: Timer, fx: &mut dyn Effects) {
        match timer {
            Timer::Completion => {
                if let Some(task) = &mut self.task {
                    info!("The task has reached its maximum completion time");
                    task.timed_out = true;
                    self.kill(Duration::ZERO, false, fx);
                }
            }
            Timer::Escalation => {
                if let Some(pid) = self.task.as_ref().and_then(|task| task.pid) {
                    fx.kill_tree(pid, Signal::SIGKILL);
                }
            }
            Timer::Recovery => {
                if !self.connected {
                    self.on_agent_gone(fx);
                }
            }
            Timer::Shutdown => {
                if let Some(pid) = self.task.as_ref().and_then(|task| task.pid) {
                    fx.kill_tree(pid, Signal::SIGKILL);
                }
                fx.exit(1);
            }
            Timer::Acknowledgement => {
                warn!("The last status update was not acknowledged in time");
                fx.exit(1);
            }
        }
    }
}

fn is_secret(variable: &proto::environment::Variable) -> bool {
    variable.r#type() == proto::environment::variable::Type::Secret
}

fn positive(duration: proto::DurationInfo) -> Option<Duration> {
    let nanoseconds = u64::try_from(duration.nanoseconds).ok()?;
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

/// What a task asks for that would otherwise be silently left out.
fn unsupported(task: &proto::TaskInfo) -> Option<&'static str> {
    if task.check.is_some() {
        return Some("Checks are not supported by this command executor");
    }
    if task.health_check.is_some() {
        return Some("Health checks are not supported by this command executor");
    }
    let value = task.command.as_ref().map(|command| command.value.is_some());
    match value {
        Some(true) => None,
        _ => Some("The command of the task is not specified"),
    }
}
