//! What the agent tells the command executor by flags and environment.

use std::path::PathBuf;
use std::time::Duration;

use libprocess::{ConfigError, SpawnError, StartError, Upid};
use mesos::values::DurationValue;
use thiserror::Error;

use crate::containerizer::{ContainerizerError, PosixLauncher};

/// How long an executor may take to shut down, if the agent does not say.
const DEFAULT_SHUTDOWN_GRACE_PERIOD: Duration = Duration::from_secs(5);

mesos::flags! {
    /// The flags of the command executor.
    pub struct ExecutorFlags {
        /// Folder of the helper programs.
        pub launcher_dir: PathBuf,
    }
}

/// Why the executor cannot run.
#[derive(Debug, Error)]
pub(crate) enum ExecutorError {
    /// A variable that the agent sets is not there.
    #[error("expected '{0}' in the environment")]
    Missing(&'static str),
    /// A variable does not say what it should.
    #[error("'{variable}={value}': {reason}")]
    Invalid {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no helper to start tasks with.
    #[error(transparent)]
    Launcher(#[from] ContainerizerError),
    /// A variable of the runtime is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The runtime did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The actor did not start.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The current folder is not known.
    #[error("failed to find out the current directory: {0}")]
    Directory(std::io::Error),
    /// The actor ended before it was done.
    #[error("the executor ended unexpectedly")]
    Gone,
}

/// What the executor knows from the start.
#[derive(Debug)]
pub(crate) struct ExecutorEnvironment {
    pub(crate) launcher: PosixLauncher,
    pub(crate) framework_id: String,
    pub(crate) executor_id: String,
    pub(crate) agent: Upid,
    pub(crate) shutdown_grace_period: Duration,
    pub(crate) recovery_timeout: Option<Duration>,
    pub(crate) working_directory: String,
    pub(crate) variables: Vec<(String, String)>,
}

/// Reads the environment.
pub(crate) fn read(
    flags: &ExecutorFlags,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<ExecutorEnvironment, ExecutorError> {
    let variables: Vec<(String, String)> = environment.collect();
    let get = |name: &'static str| {
        variables
            .iter()
            .rev()
            .find(|(variable, _)| variable == name)
            .map(|(_, value)| value.clone())
    };
    let need = |name| get(name).ok_or(ExecutorError::Missing(name));
    let duration = |name| {
        get(name)
            .map(|value| parse_duration(name, value))
            .transpose()
    };

    let agent = need("MESOS_SLAVE_PID")?;
    let agent = agent.parse().map_err(|error| ExecutorError::Invalid {
        variable: "MESOS_SLAVE_PID",
        value: agent.clone(),
        reason: format!("{error}"),
    })?;
    let checkpoint = get("MESOS_CHECKPOINT").is_some_and(|value| value == "1");
    let recovery_timeout = duration("MESOS_RECOVERY_TIMEOUT")?.filter(|_| checkpoint);
    let working_directory = std::env::current_dir().map_err(ExecutorError::Directory)?;
    Ok(ExecutorEnvironment {
        launcher: PosixLauncher::new(&flags.launcher_dir)?,
        framework_id: need("MESOS_FRAMEWORK_ID")?,
        executor_id: need("MESOS_EXECUTOR_ID")?,
        agent,
        shutdown_grace_period: duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD")?
            .unwrap_or(DEFAULT_SHUTDOWN_GRACE_PERIOD),
        recovery_timeout,
        working_directory: working_directory.to_string_lossy().into_owned(),
        variables,
    })
}

fn parse_duration(variable: &'static str, value: String) -> Result<Duration, ExecutorError> {
    match value.parse::<DurationValue>() {
        Ok(duration) => Ok(duration.get()),
        Err(error) => Err(ExecutorError::Invalid {
            variable,
            reason: error.to_string(),
            value,
        }),
    }
}
