//! The agent as a pure state machine: events in, effects out.
//!
//! Nothing here waits, reads a clock, rolls dice, or touches a socket or a file; see [`Effects`].
//!
//! Upstream: `src/slave/slave.cpp`.

mod drain;
mod effects;
mod environment;
mod executors;
mod framework;
mod kill;
mod message;
mod operations;
mod registration;
mod run;
mod sanity;
mod status;
mod synthesis;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use libprocess::Upid;
use mesos::ids::{AgentId, ExecutorId, FrameworkId};
use mesos::proto;
use uuid::Uuid;

pub use drain::Drain;
pub use effects::{
    AfterUpdate, ContainerLaunch, ContainerUpdate, Effects, ExecutorRun, Exit, Timer,
};
pub use framework::{
    Executor, ExecutorState, Framework, FrameworkState, MAX_COMPLETED_TASKS_PER_EXECUTOR,
    PendingTermination, StaleStatus,
};
pub use message::Message;
pub use synthesis::ExecutorCommand;

pub(crate) use registration::capabilities;
pub(crate) use synthesis::MESOS_EXECUTOR;

use crate::status_update_manager::TaskStatusUpdateManager;

/// How many frameworks that left are remembered.
///
/// Upstream: `MAX_COMPLETED_FRAMEWORKS`.
pub const MAX_COMPLETED_FRAMEWORKS: usize = 50;

/// The time without a ping after which the master is taken for lost, unless the master says otherwise.
///
/// Upstream: `DEFAULT_MASTER_PING_TIMEOUT`.
pub const DEFAULT_MASTER_PING_TIMEOUT: Duration = Duration::from_secs(75);

/// What an agent knows about itself from the start.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Its description, without an id.
    pub info: proto::SlaveInfo,
    /// Where it listens.
    pub pid: Upid,
    /// The address its containers share with it.
    pub ip: IpAddr,
    /// The version it reports to the master.
    pub version: String,
    /// Identifies the state of its resources; new at each start.
    pub resource_version: Uuid,
    /// `--work_dir`
    pub work_dir: PathBuf,
    /// `--launcher_dir` and what is found in it.
    pub executor_command: ExecutorCommand,
    /// `--switch_user`
    pub switch_user: bool,
    /// `--executor_environment_variables`, and the `LIBPROCESS_IP` of the agent before them.
    pub executor_environment: Vec<(String, String)>,
    /// `--registration_backoff_factor`
    pub registration_backoff_factor: Duration,
    /// `--executor_registration_timeout`
    pub executor_registration_timeout: Duration,
    /// `--executor_shutdown_grace_period`
    pub executor_shutdown_grace_period: Duration,
    /// `--max_completed_executors_per_framework`
    pub max_completed_executors_per_framework: usize,
}

/// Whether the agent has a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentState {
    /// Not registered with the present master, or without one.
    Disconnected,
    /// Registered.
    Running,
    /// Shutting down.
    Terminating,
}

/// The master an agent belongs to.
#[derive(Clone, Debug)]
pub struct Master {
    /// What the detector said.
    pub info: proto::MasterInfo,
    /// Where it listens.
    pub pid: Upid,
}

/// What an agent counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tasks that ended as `TASK_FINISHED`.
    pub tasks_finished: u64,
    /// Tasks that ended as `TASK_FAILED`.
    pub tasks_failed: u64,
    /// Tasks that ended as `TASK_KILLED`.
    pub tasks_killed: u64,
    /// Tasks that ended as `TASK_LOST`.
    pub tasks_lost: u64,
    /// Tasks that ended as `TASK_GONE`.
    pub tasks_gone: u64,
    /// Executors whose container ended.
    pub executors_terminated: u64,
    /// Status updates that were taken.
    pub valid_status_updates: u64,
    /// Status updates that were dropped.
    pub invalid_status_updates: u64,
    /// Framework messages that were passed on.
    pub valid_framework_messages: u64,
    /// Framework messages that were dropped.
    pub invalid_framework_messages: u64,
    /// Containers that could not be started.
    pub container_launch_errors: u64,
}

/// The agent. See the [module](self).
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    id: Option<AgentId>,
    state: AgentState,
    master: Option<Master>,
    registration_backoff: Option<Duration>,
    ping_timeout: Duration,
    frameworks: IndexMap<FrameworkId, Arc<Framework>>,
    completed_frameworks: IndexMap<FrameworkId, Arc<Framework>>,
    status_updates: TaskStatusUpdateManager,
    drain: Option<Drain>,
    counters: Counters,
}

/// The state of an agent at one moment, to be read at leisure.
///
/// Shares everything with the agent until the agent changes it, so taking one is cheap.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The agent's description; `id` is set once it has registered.
    pub info: proto::SlaveInfo,
    /// Whether it has a master.
    pub state: AgentState,
    /// Its master.
    pub master: Option<proto::MasterInfo>,
    /// Frameworks with something on this agent.
    pub frameworks: Vec<Arc<Framework>>,
    /// Frameworks that left, oldest first.
    pub completed_frameworks: Vec<Arc<Framework>>,
    /// Set while it is being emptied.
    pub drain: Option<Drain>,
    /// What it counted so far.
    pub counters: Counters,
}

impl Agent {
    /// An agent that waits for a master.
    pub fn new(config: AgentConfig) -> Self {
        Agent {
            config,
            id: None,
            state: AgentState::Disconnected,
            master: None,
            registration_backoff: None,
            ping_timeout: DEFAULT_MASTER_PING_TIMEOUT,
            frameworks: IndexMap::new(),
            completed_frameworks: IndexMap::new(),
            status_updates: TaskStatusUpdateManager::paused(),
            drain: None,
            counters: Counters::default(),
        }
    }

    /// Whether it has a master.
    pub fn state(&self) -> AgentState {
        self.state
    }

    /// What it counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The state right now; see [`Snapshot`].
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            info: self.info(),
            state: self.state,
            master: self.master.as_ref().map(|master| master.info.clone()),
            frameworks: self.frameworks.values().cloned().collect(),
            completed_frameworks: self.completed_frameworks.values().cloned().collect(),
            drain: self.drain.clone(),
            counters: self.counters,
        }
    }

    fn info(&self) -> proto::SlaveInfo {
        let mut info = self.config.info.clone();
        info.id = self.id.as_ref().map(Into::into);
        info
    }

    fn framework_mut(&mut self, id: &FrameworkId) -> Option<&mut Framework> {
        self.frameworks.get_mut(id).map(Arc::make_mut)
    }

    fn executor(&self, framework_id: &FrameworkId, id: &ExecutorId) -> Option<&Arc<Executor>> {
        self.frameworks.get(framework_id)?.executors.get(id)
    }

    fn executor_mut(
        &mut self,
        framework_id: &FrameworkId,
        id: &ExecutorId,
    ) -> Option<&mut Executor> {
        self.framework_mut(framework_id)?.executor_mut(id)
    }

    /// The executor, if its present run is this one.
    fn run_mut(&mut self, run: &ExecutorRun) -> Option<&mut Executor> {
        self.executor_mut(&run.framework_id, &run.executor_id)
            .filter(|executor| executor.run.container_id == run.container_id)
    }

    fn is_from_master(&self, from: &Upid) -> bool {
        self.master
            .as_ref()
            .is_some_and(|master| master.pid == *from)
    }

    fn send_to_master(&self, message: impl Into<Message>, fx: &mut dyn Effects) {
        if let Some(master) = &self.master {
            fx.send(&master.pid, message.into());
        }
    }
}
