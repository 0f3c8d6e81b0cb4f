//! What an agent tells its executors through their environment.

use std::time::Duration;

use libprocess::Upid;
use mesos::proto::{ExecutorId, FrameworkId, SlaveId};
use mesos::values::DurationValue;

/// How long to wait for a restarted agent when the environment does not say.
const RECOVERY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15 * 60);

/// How long a shutdown may take when the environment does not say.
const SHUTDOWN_GRACE_PERIOD_DEFAULT: Duration = Duration::from_secs(5);

/// Why the environment does not describe an executor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A variable that every agent sets is missing.
    #[error("Expecting '{name}' to be set in the environment; is this program run by an agent?")]
    Missing {
        /// The variable.
        name: &'static str,
    },
    /// A variable has a value that means nothing.
    #[error("Bad value '{value}' of environment variable '{name}': {expected}")]
    Bad {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would be allowed.
        expected: String,
    },
}

/// The parameters of an executor, as set by the agent that starts it.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutorEnvironment {
    /// The agent's process, from `MESOS_SLAVE_PID`.
    pub agent: Upid,
    /// The agent's id, from `MESOS_SLAVE_ID`.
    pub agent_id: SlaveId,
    /// The framework, from `MESOS_FRAMEWORK_ID`.
    pub framework_id: FrameworkId,
    /// This executor, from `MESOS_EXECUTOR_ID`.
    pub executor_id: ExecutorId,
    /// The sandbox, from `MESOS_DIRECTORY`.
    pub directory: String,
    /// Whether agent and executor share an OS process, from the presence of `MESOS_LOCAL`: then a
    /// shutdown must not kill it.
    pub local: bool,
    /// Whether the framework checkpoints, from `MESOS_CHECKPOINT`: then the executor outlives
    /// restarts of its agent.
    pub checkpoint: bool,
    /// How long to wait for a restarted agent, from `MESOS_RECOVERY_TIMEOUT` (15 minutes).
    pub recovery_timeout: Duration,
    /// How long a shutdown may take before the process group is killed, from
    /// `MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD` (5 seconds).
    pub shutdown_grace_period: Duration,
}

impl ExecutorEnvironment {
    /// Reads the environment of this process.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Reads the variables that `get` gives.
    pub fn from_vars(get: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let required = |name| get(name).ok_or(EnvironmentError::Missing { name });
        let duration = |name, default| match get(name) {
            None => Ok(default),
            Some(value) => parse_duration(name, value),
        };
        let pid = required("MESOS_SLAVE_PID")?;
        let agent = pid.parse().map_err(|_| EnvironmentError::Bad {
            name: "MESOS_SLAVE_PID",
            value: pid,
            expected: "expected an address such as 'slave(1)@127.0.0.1:5051'".to_owned(),
        })?;
        Ok(ExecutorEnvironment {
            agent,
            agent_id: SlaveId {
                value: required("MESOS_SLAVE_ID")?,
            },
            framework_id: FrameworkId {
                value: required("MESOS_FRAMEWORK_ID")?,
            },
            executor_id: ExecutorId {
                value: required("MESOS_EXECUTOR_ID")?,
            },
            directory: required("MESOS_DIRECTORY")?,
            local: get("MESOS_LOCAL").is_some(),
            checkpoint: get("MESOS_CHECKPOINT").as_deref() == Some("1"),
            recovery_timeout: duration("MESOS_RECOVERY_TIMEOUT", RECOVERY_TIMEOUT_DEFAULT)?,
            shutdown_grace_period: duration(
                "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD",
                SHUTDOWN_GRACE_PERIOD_DEFAULT,
            )?,
        })
    }
}

/// A duration such as `15mins` in variable `name`.
pub(crate) fn parse_duration(
    name: &'static str,
    value: String,
) -> Result<Duration, EnvironmentError> {
    match value.parse::<DurationValue>() {
        Ok(duration) => Ok(duration.into()),
        Err(_) => Err(EnvironmentError::Bad {
            name,
            value,
            expected: "expected a duration such as '500ms', '2secs' or '15mins'".to_owned(),
        }),
    }
}
