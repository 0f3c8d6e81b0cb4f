//! What the agent core asks of the world around it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use libprocess::Upid;
use mesos::ids::{ContainerId, ExecutorId, FrameworkId, TaskId};
use mesos::proto;
use mesos::proto::internal::StatusUpdate;
use uuid::Uuid;

use super::message::Message;

/// The outside world of [`Agent`](super::Agent): the only way out of the core.
///
/// None of the calls answers; what they lead to comes back as an event (`on_timer`, `on_container_launched`, ...).
pub trait Effects {
    /// The present, in seconds since the epoch.
    fn now(&self) -> f64;

    /// A new random (version 4) UUID.
    fn uuid(&mut self) -> Uuid;

    /// A random duration, uniform in `[0, limit]`.
    fn jitter(&mut self, limit: Duration) -> Duration;

    /// Sends a message; delivery is not guaranteed.
    fn send(&mut self, to: &Upid, message: Message);

    /// Keeps a connection to the process open.
    fn link(&mut self, to: &Upid);

    /// Starts a timer; one that runs under the same name is replaced.
    fn start_timer(&mut self, timer: Timer, after: Duration);

    /// Stops a timer, if it runs.
    fn cancel_timer(&mut self, timer: &Timer);

    /// Creates the sandbox and starts the container, and then waits for its end.
    ///
    /// Leads to `on_container_launched` and then, in every case, to `on_container_terminated`.
    fn launch_container(&mut self, launch: ContainerLaunch);

    /// Tells the containerizer the new size of a container; leads to `on_container_updated`.
    fn update_container(&mut self, update: ContainerUpdate);

    /// Kills everything in a container; leads to `on_container_terminated` if it was there.
    fn destroy_container(&mut self, run: &ExecutorRun);

    /// Offers a path under a name at the files endpoints.
    fn attach(&mut self, virtual_path: String, path: PathBuf);

    /// Takes a name off the files endpoints.
    fn detach(&mut self, virtual_path: &str);

    /// The agent is done and the process should end.
    fn exit(&mut self, exit: Exit);
}

/// One run of an executor: the executor and the container of this run.
///
/// Timers and container events carry it, so that what belongs to an earlier run of the same executor is told apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExecutorRun {
    /// The framework of the executor.
    pub framework_id: FrameworkId,
    /// The executor.
    pub executor_id: ExecutorId,
    /// The container of this run.
    pub container_id: ContainerId,
}

impl fmt::Display for ExecutorRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' of framework {} in container {}",
            self.executor_id, self.framework_id, self.container_id
        )
    }
}

/// The timers of an agent, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// The next attempt to register.
    Registration,
    /// No ping from the master for too long.
    Ping,
    /// The executor did not register in time.
    ExecutorRegistration(ExecutorRun),
    /// The executor did not end in time after it was asked to.
    ExecutorShutdown(ExecutorRun),
    /// No acknowledgement for the task's status update yet.
    StatusUpdate(FrameworkId, TaskId),
}

/// Everything needed to start the container of an executor.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerLaunch {
    /// Which executor, and in which container.
    pub run: ExecutorRun,
    /// What the containerizer gets.
    pub config: proto::slave::ContainerConfig,
    /// The environment that the agent gives to executors, in order; later entries win.
    pub environment: Vec<(String, String)>,
    /// The sandbox to create.
    pub sandbox: PathBuf,
    /// The symbolic link that is to point to it.
    pub latest: PathBuf,
}

/// A container changes its size.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerUpdate {
    /// The container.
    pub run: ExecutorRun,
    /// The sum of this is the new request.
    pub requests: Vec<proto::Resource>,
    /// What waits for the change.
    pub then: AfterUpdate,
}

/// What waits until a container has its new size.
#[derive(Clone, Debug, PartialEq)]
pub enum AfterUpdate {
    /// These queued tasks go to the executor.
    Deliver(Vec<TaskId>),
    /// This terminal update goes on its way; the executor that sent it is acknowledged.
    Forward(Box<StatusUpdate>, Option<Upid>),
}

/// Why the agent ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All frameworks are gone after a request to shut down.
    Shutdown,
    /// The master contradicts what this agent knows; the text says how.
    Failure(String),
}
