//! Settings of a scheduler driver that come from the environment.

use std::time::Duration;

use crate::executor::environment::{EnvironmentError, parse_duration};

/// Why the environment holds no valid options.
pub type OptionsError = EnvironmentError;

/// How long registration attempts are apart at first, unless the environment says otherwise.
const REGISTRATION_BACKOFF_FACTOR_DEFAULT: Duration = Duration::from_secs(2);

/// Settings that operators may change without touching the framework, by `MESOS_*` environment
/// variables as with upstream's driver. Unknown variables of that prefix are ignored, since tasks
/// inherit many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerOptions {
    /// The first registration attempts are a random part of this apart; the span doubles with each
    /// attempt up to a minute. `MESOS_REGISTRATION_BACKOFF_FACTOR`, 2 seconds.
    pub registration_backoff_factor: Duration,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        SchedulerOptions {
            registration_backoff_factor: REGISTRATION_BACKOFF_FACTOR_DEFAULT,
        }
    }
}

impl SchedulerOptions {
    /// Reads the environment of this process.
    pub fn from_env() -> Result<Self, OptionsError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Reads the variables that `get` gives.
    pub fn from_vars(get: impl Fn(&str) -> Option<String>) -> Result<Self, OptionsError> {
        let mut options = SchedulerOptions::default();
        let name = "MESOS_REGISTRATION_BACKOFF_FACTOR";
        if let Some(value) = get(name) {
            options.registration_backoff_factor = parse_duration(name, value)?;
        }
        Ok(options)
    }
}
