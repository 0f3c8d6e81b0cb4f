//! Containers: the interface the agent sees, and the Mesos containerizer behind it.
//!
//! Upstream: `src/slave/containerizer/containerizer.hpp`.

pub mod launch;
mod launcher;
mod mesos;
mod process_table;
pub(crate) mod sandbox;

use std::io;
use std::path::PathBuf;

use ::mesos::ids::ContainerId;
use ::mesos::proto;
use ::mesos::proto::slave::{ContainerConfig, ContainerTermination};
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use thiserror::Error;

pub use launcher::{Helper, Output, PosixLauncher, Prepared};
pub use mesos::MesosContainerizer;
pub use process_table::{ProcessTable, kill_tree};

/// Why something could not be done with a container.
#[derive(Debug, Error)]
pub enum ContainerizerError {
    /// There is a container of this id.
    #[error("container {0} exists already")]
    AlreadyLaunched(ContainerId),
    /// There is no container of this id.
    #[error("container {0} does not exist")]
    Unknown(ContainerId),
    /// The container asks for something that this agent cannot do.
    #[error("{0} not supported by this agent")]
    NotSupported(String),
    /// The user to run as does not exist here.
    #[error("no such user '{0}'")]
    NoSuchUser(String),
    /// A file of the sandbox could not be made.
    #[error("failed to {action} '{path}': {source}", path = path.display())]
    Sandbox {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The helper process could not be started or given its orders.
    #[error("failed to start '{path}': {source}", path = path.display())]
    Spawn {
        /// The helper.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The processes of a container do not go away.
    #[error("processes of container {0} are still there after they were killed: {1:?}")]
    Undead(ContainerId, Vec<i32>),
    /// A container that ended could not be cleaned up.
    #[error("failed to clean up the container: {0}")]
    Cleanup(String),
    /// The process file system cannot be read.
    #[error("failed to read /proc: {0}")]
    Proc(io::Error),
}

/// The outcome of something done with a container, later.
pub type ContainerFuture<T> = BoxFuture<'static, Result<T, ContainerizerError>>;

/// What runs executors and their tasks.
///
/// After `launch` the caller always calls `wait`; when `launch` failed it answers at once.
pub trait Containerizer: Send + Sync + 'static {
    /// Starts a container in its sandbox, which exists. `environment` is what the agent gives to the executor.
    fn launch(
        &self,
        id: ContainerId,
        config: ContainerConfig,
        environment: Vec<(String, String)>,
    ) -> ContainerFuture<proto::ContainerStatus>;

    /// Changes what the container may use to the sum of `requests`. A container that is not there is no error.
    fn update(&self, id: &ContainerId, requests: Vec<proto::Resource>) -> ContainerFuture<()>;

    /// What the container uses at this moment.
    fn usage(&self, id: &ContainerId) -> ContainerFuture<proto::ResourceStatistics>;

    /// What is known about the container itself.
    fn status(&self, id: &ContainerId) -> ContainerFuture<proto::ContainerStatus>;

    /// Waits until the container is gone and cleaned up; `None` if it is not known.
    fn wait(&self, id: &ContainerId) -> ContainerFuture<Option<ContainerTermination>>;

    /// Kills everything in the container; otherwise like `wait`.
    fn destroy(&self, id: &ContainerId) -> ContainerFuture<Option<ContainerTermination>>;

    /// Sends a signal to the first process of the container; false if the container is not known.
    fn kill(&self, id: &ContainerId, signal: Signal) -> bool;

    /// The containers that are not gone.
    fn containers(&self) -> Vec<ContainerId>;
}
