//! The Mesos agent: containerizer, status update manager, executors.
// The declaration of the flags is one macro call that recurs once per flag.
#![recursion_limit = "512"]

mod actor;
pub mod containerizer;
pub mod core;
mod detection;
mod executor;
pub mod flags;
mod http;
pub mod paths;
mod program;
mod start;
pub mod status_update_manager;
pub mod tasks;

use std::process::ExitCode;

pub use flags::AgentFlags;
pub use start::{RunningAgent, StartError, start};

/// The program `mesos-agent`: `arguments` are those after the program name.
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    program::main(arguments)
}

/// The program `mesos-containerizer`: `arguments` are those after the program name.
pub fn containerizer_main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    containerizer::launch::main(arguments.into_iter())
}

/// The program `mesos-executor`, the command executor: `arguments` are those after the program name.
pub fn executor_main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    executor::main(arguments.into_iter())
}
