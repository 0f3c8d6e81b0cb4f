//! Drivers for Mesos frameworks: the v0 interface, spoken over libprocess messages, and in [`v1`]
//! the HTTP interface.
//!
//! A framework consists of a scheduler, which takes resource offers and launches tasks with them,
//! and optionally of executors, which run tasks in their own way. Implement [`Scheduler`] and give
//! it to a [`SchedulerDriver`]; implement [`Executor`] and give it to an [`ExecutorDriver`]. The
//! drivers find the master, register, come back after failures, and turn messages into callbacks.
//!
//! Start with `examples/` and `docs/drivers.md`.

mod builders;
mod callbacks;
mod executor;
mod lifecycle;
mod local;
mod scheduler;
mod status;
pub mod v1;

pub use builders::{FrameworkBuilder, TaskBuilder, framework, offered, scalar, task};
pub use executor::{
    EnvironmentError, Executor, ExecutorDriver, ExecutorDriverBuilder, ExecutorEnvironment,
};
pub use scheduler::{
    OptionsError, Scheduler, SchedulerDriver, SchedulerDriverBuilder, SchedulerOptions,
};
pub use status::Status;

/// The messages of Mesos.
pub use mesos::proto;

/// The bytes that framework messages and task data are made of.
pub use bytes::Bytes;
