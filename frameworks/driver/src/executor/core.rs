//! What the executor driver knows and decides, without runtime, clock or sockets.
//!
//! Upstream counterpart: `src/exec/exec.cpp`.

use std::time::Duration;

use bytes::Bytes;
use libprocess::Upid;
use mesos::proto::internal::{
    ExecutorRegisteredMessage, ExecutorToFrameworkMessage, RegisterExecutorMessage,
    ReregisterExecutorMessage, StatusUpdate,
};
use mesos::proto::{self, ExecutorId, FrameworkId, SlaveId, TaskInfo, TaskState, TaskStatus};

use super::environment::ExecutorEnvironment;

/// One callback to be made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExecutorEvent {
    Registered(Box<ExecutorRegisteredMessage>),
    Reregistered(Box<proto::SlaveInfo>),
    Disconnected,
    LaunchTask(Box<TaskInfo>),
    KillTask(proto::TaskId),
    FrameworkMessage(Bytes),
    Shutdown,
    Error(String),
}

/// What the core asks of the world around it.
pub(crate) trait Effects {
    /// Opens a connection to the agent, whose loss is reported to `on_exited`; with `renew`, a
    /// fresh one even if one is open.
    fn link(&mut self, agent: &Upid, renew: bool);
    /// Registers with the agent.
    fn send_register(&mut self, agent: &Upid, message: RegisterExecutorMessage);
    /// Registers again, with what the agent did not acknowledge.
    fn send_reregister(&mut self, agent: &Upid, message: ReregisterExecutorMessage);
    /// Sends a status update.
    fn send_update(&mut self, agent: &Upid, update: StatusUpdate);
    /// Sends a message for the scheduler.
    fn send_framework_message(&mut self, agent: &Upid, message: ExecutorToFrameworkMessage);
    /// Asks for `on_recovery_timeout(connection)` after `delay`.
    fn start_recovery_timer(&mut self, delay: Duration, connection: u64);
    /// Kills the process group of this executor when it still runs after `grace`.
    fn start_kill_timer(&mut self, grace: Duration);
    /// Queues a callback for the executor.
    fn callback(&mut self, event: ExecutorEvent);
    /// Makes the driver's status ABORTED; no callback but `error` follows.
    fn abort(&mut self);
    /// 16 random bytes.
    fn uuid(&mut self) -> Bytes;
    /// Seconds since the epoch.
    fn timestamp(&mut self) -> f64;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The executor was told to shut down: it may still send its last updates, but hears nothing
    /// more.
    ShuttingDown,
    Ended,
}

/// The state of one executor driver.
pub(crate) struct ExecutorCore {
    agent: Upid,
    agent_id: SlaveId,
    framework_id: FrameworkId,
    executor_id: ExecutorId,
    local: bool,
    checkpoint: bool,
    recovery_timeout: Duration,
    shutdown_grace_period: Duration,
    phase: Phase,
    connected: bool,
    /// Counts registrations, so that a recovery timer of an earlier one is ignored.
    connection: u64,
    /// Unacknowledged updates, oldest first.
    updates: Vec<StatusUpdate>,
    /// Tasks of which no update was acknowledged yet.
    tasks: Vec<TaskInfo>,
}

impl ExecutorCore {
    pub(crate) fn new(environment: ExecutorEnvironment) -> Self {
        ExecutorCore {
            agent: environment.agent,
            agent_id: environment.agent_id,
            framework_id: environment.framework_id,
            executor_id: environment.executor_id,
            local: environment.local,
            checkpoint: environment.checkpoint,
            recovery_timeout: environment.recovery_timeout,
            shutdown_grace_period: environment.shutdown_grace_period,
            phase: Phase::Running,
            connected: false,
            connection: 0,
            updates: Vec::new(),
            tasks: Vec::new(),
        }
    }

    /// The driver was started.
    pub(crate) fn on_start(&mut self, fx: &mut impl Effects) {
        fx.link(&self.agent, false);
        let message = RegisterExecutorMessage {
            framework_id: self.framework_id.clone(),
            executor_id: self.executor_id.clone(),
        };
        fx.send_register(&self.agent, message);
    }

    fn listens(&self) -> bool {
        self.phase == Phase::Running
    }

    /// ExecutorRegisteredMessage.
    pub(crate) fn on_registered(
        &mut self,
        message: ExecutorRegisteredMessage,
        fx: &mut impl Effects,
    ) {
        if !self.listens() {
            return;
        }
        tracing::info!("executor registered on agent {}", message.slave_id.value);
        self.connected = true;
        self.connection += 1;
        fx.callback(ExecutorEvent::Registered(Box::new(message)));
    }

    /// ExecutorReregisteredMessage.
    pub(crate) fn on_reregistered(&mut self, agent: proto::SlaveInfo, fx: &mut impl Effects) {
        if !self.listens() {
            return;
        }
        tracing::info!("executor re-registered on agent {}", self.agent_id.value);
        self.connected = true;
        self.connection += 1;
        fx.callback(ExecutorEvent::Reregistered(Box::new(agent)));
    }

    /// ReconnectExecutorMessage: the agent was restarted, and asks what it has missed.
    pub(crate) fn on_reconnect(&mut self, from: &Upid, agent_id: SlaveId, fx: &mut impl Effects) {
        if !self.listens() {
            return;
        }
        tracing::info!("agent {} asks to reconnect at {from}", agent_id.value);
        self.agent = from.clone();
        fx.link(&self.agent, true);
        let message = ReregisterExecutorMessage {
            executor_id: self.executor_id.clone(),
            framework_id: self.framework_id.clone(),
            tasks: self.tasks.clone(),
            updates: self.updates.clone(),
        };
        fx.send_reregister(&self.agent, message);
    }

    /// RunTaskMessage.
    ///
    /// Upstream's driver kills its process when a task id comes twice; here the repetition is
    /// ignored, because the first task still runs.
    pub(crate) fn on_run_task(&mut self, task: TaskInfo, fx: &mut impl Effects) {
        let id = &task.task_id.value;
        if !self.listens() || !self.connected {
            tracing::warn!("ignoring task '{id}': not connected to the agent");
        } else if self.tasks.iter().any(|known| known.task_id == task.task_id) {
            tracing::error!("ignoring task '{id}': a task of this id is running");
        } else {
            self.tasks.push(task.clone());
            fx.callback(ExecutorEvent::LaunchTask(Box::new(task)));
        }
    }

    /// KillTaskMessage, delivered even while disconnected.
    pub(crate) fn on_kill_task(&mut self, task_id: proto::TaskId, fx: &mut impl Effects) {
        if self.listens() {
            fx.callback(ExecutorEvent::KillTask(task_id));
        }
    }

    /// StatusUpdateAcknowledgementMessage.
    pub(crate) fn on_acknowledgement(&mut self, task_id: &proto::TaskId, uuid: &Bytes) {
        let known = self.updates.len();
        self.updates
            .retain(|update| update.uuid.as_ref() != Some(uuid));
        if self.updates.len() < known {
            self.tasks.retain(|task| task.task_id != *task_id);
        } else {
            tracing::debug!(
                "ignoring the acknowledgement of an unknown update of '{}'",
                task_id.value
            );
        }
    }

    /// FrameworkToExecutorMessage.
    pub(crate) fn on_framework_message(&mut self, data: Bytes, fx: &mut impl Effects) {
        if self.listens() {
            fx.callback(ExecutorEvent::FrameworkMessage(data));
        }
    }

    /// ShutdownExecutorMessage, or the loss of an agent that will not come back.
    pub(crate) fn on_shutdown(&mut self, fx: &mut impl Effects) {
        if !self.listens() {
            return;
        }
        tracing::info!("executor asked to shut down");
        if !self.local {
            fx.start_kill_timer(self.shutdown_grace_period);
        }
        self.phase = Phase::ShuttingDown;
        fx.callback(ExecutorEvent::Shutdown);
    }

    /// The connection to a linked process broke.
    pub(crate) fn on_exited(&mut self, pid: &Upid, fx: &mut impl Effects) {
        if !self.listens() || *pid != self.agent {
            return;
        }
        if self.checkpoint && self.connected {
            tracing::info!(
                "agent {pid} exited; waiting {:?} for it",
                self.recovery_timeout
            );
            self.connected = false;
            fx.callback(ExecutorEvent::Disconnected);
            fx.start_recovery_timer(self.recovery_timeout, self.connection);
        } else if !self.checkpoint || self.connection == 0 {
            tracing::info!("agent {pid} exited; shutting down");
            self.connected = false;
            self.on_shutdown(fx);
        }
    }

    /// The agent did not come back within the recovery timeout.
    pub(crate) fn on_recovery_timeout(&mut self, connection: u64, fx: &mut impl Effects) {
        if self.listens() && !self.connected && connection == self.connection {
            tracing::info!("the agent did not come back in time");
            self.on_shutdown(fx);
        }
    }

    /// Sends `status` and keeps it until the agent acknowledges it.
    pub(crate) fn send_status_update(&mut self, mut status: TaskStatus, fx: &mut impl Effects) {
        if self.phase == Phase::Ended {
            return;
        }
        if status.state() == TaskState::TaskStaging {
            let message = format!(
                "Executor is not allowed to send TASK_STAGING for task '{}'",
                status.task_id.value
            );
            return self.on_error(message, fx);
        }
        let uuid = fx.uuid();
        let timestamp = fx.timestamp();
        status.uuid = Some(uuid.clone());
        status.timestamp = Some(timestamp);
        status.slave_id = Some(self.agent_id.clone());
        status.executor_id = Some(self.executor_id.clone());
        status.source = Some(proto::task_status::Source::Executor.into());
        let update = StatusUpdate {
            framework_id: self.framework_id.clone(),
            executor_id: Some(self.executor_id.clone()),
            slave_id: Some(self.agent_id.clone()),
            status,
            timestamp,
            uuid: Some(uuid),
            latest_state: None,
        };
        self.updates.push(update.clone());
        fx.send_update(&self.agent, update);
    }

    /// Sends bytes to the scheduler, best effort.
    pub(crate) fn send_framework_message(&mut self, data: Bytes, fx: &mut impl Effects) {
        if self.phase == Phase::Ended {
            return;
        }
        let message = ExecutorToFrameworkMessage {
            slave_id: self.agent_id.clone(),
            framework_id: self.framework_id.clone(),
            executor_id: self.executor_id.clone(),
            data,
        };
        fx.send_framework_message(&self.agent, message);
    }

    fn on_error(&mut self, message: String, fx: &mut impl Effects) {
        tracing::error!("driver aborted: {message}");
        self.phase = Phase::Ended;
        fx.abort();
        fx.callback(ExecutorEvent::Error(message));
    }

    /// No message is handled and nothing is sent from now on.
    pub(crate) fn end(&mut self) {
        self.phase = Phase::Ended;
    }
}
