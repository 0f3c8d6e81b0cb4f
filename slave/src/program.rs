//! The program `mesos-agent`.

use std::process::ExitCode;
use std::sync::Arc;

use libprocess::RuntimeConfig;
use mesos::flags::Flags;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::core::Exit;
use crate::flags::AgentFlags;
use crate::start::{MESOS_AGENT, RunningAgent, start};

/// Runs an agent until it is told to end. `arguments` are those after the program name.
pub(crate) fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let loaded = match AgentFlags::load_or_exit(MESOS_AGENT, arguments) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let logging = match mesos::logging::init(MESOS_AGENT, &loaded.flags.logging) {
        Ok(logging) => logging,
        Err(error) => return fail(&error.to_string()),
    };
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    let config = match RuntimeConfig::from_env() {
        Ok(config) => RuntimeConfig {
            logging: Some(Arc::new(logging)),
            ..config
        },
        Err(error) => return fail(&error.to_string()),
    };
    let agent = match start(loaded.flags, config) {
        Ok(agent) => agent,
        Err(error) => return fail(&error.to_string()),
    };
    unregister_on_signal(&agent);
    let exit = agent.wait();
    // Sends what still waits to be sent.
    agent.runtime.shutdown();
    match exit {
        Exit::Shutdown => ExitCode::SUCCESS,
        Exit::Failure(reason) => fail(&reason),
    }
}

fn fail(reason: &str) -> ExitCode {
    eprintln!("{MESOS_AGENT}: {reason}");
    ExitCode::FAILURE
}

/// `SIGUSR1` asks for a graceful end. `SIGTERM` just ends the process, and executors see to themselves.
fn unregister_on_signal(agent: &RunningAgent) {
    let requested = agent.unregister_handle();
    agent.runtime.handle().spawn(async move {
        match signal(SignalKind::user_defined1()) {
            Ok(mut signals) => {
                while signals.recv().await.is_some() {
                    info!("Received SIGUSR1");
                    requested();
                }
            }
            Err(error) => warn!("SIGUSR1 will not be noticed: {error}"),
        }
    });
}
