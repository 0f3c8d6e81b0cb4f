//! The command executor: runs one command and reports on it.
//!
//! Upstream: `src/launcher/executor.cpp`.

mod actor;
mod core;
mod environment;
mod status;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::sync::mpsc;

use libprocess::{Runtime, RuntimeConfig};
use mesos::flags::Flags;
use tracing::error;

use self::actor::ExecutorActor;
use self::environment::{ExecutorError, ExecutorFlags};

/// What the program calls itself.
const PROGRAM: &str = "mesos-executor";

/// The prefix of the executor's id.
const EXECUTOR: &str = "executor";

/// The program `mesos-executor`: `arguments` are those after the program name.
pub(crate) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    // `MESOS_` variables are for the driver, not flags.
    let flags = match ExecutorFlags::load(arguments, []) {
        Ok(loaded) => loaded.flags,
        Err(error) => return ExecutorFlags::exit(PROGRAM, &error),
    };
    match run(&flags) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("{PROGRAM}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &ExecutorFlags) -> Result<u8, ExecutorError> {
    let environment = environment::read(flags, mesos::flags::environment())?;
    let config = RuntimeConfig {
        workers: 1,
        ..RuntimeConfig::from_env()?
    };
    let runtime = Runtime::start(config)?;
    let id = runtime.generate_id(EXECUTOR);
    let (exit, exited) = mpsc::channel();
    runtime.spawn(id, ExecutorActor::new(environment, exit))?;
    // The runtime is not shut down: what matters has been acknowledged, and the agent waits for this process.
    exited.recv().map_err(|_| {
        error!("The executor ended without a word");
        ExecutorError::Gone
    })
}
