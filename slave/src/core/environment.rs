//! The environment of executors.

use std::time::Duration;

use libprocess::duration;
use mesos::ids::AgentId;

use super::{Agent, Executor};

impl Agent {
    /// The variables that the agent gives to an executor; later ones win.
    ///
    /// `MESOS_CHECKPOINT` is 0 whatever the framework asked for: an agent that does not recover would leave executors waiting.
    pub(super) fn executor_environment(
        &self,
        executor: &Executor,
        id: &AgentId,
    ) -> Vec<(String, String)> {
        let pid = &self.config.pid;
        let own = [
            ("LIBPROCESS_PORT", "0".to_owned()),
            ("MESOS_FRAMEWORK_ID", executor.run.framework_id.to_string()),
            ("MESOS_EXECUTOR_ID", executor.id().to_string()),
            (
                "MESOS_DIRECTORY",
                executor.directory.to_string_lossy().into_owned(),
            ),
            ("MESOS_SLAVE_ID", id.to_string()),
            ("MESOS_SLAVE_PID", pid.to_string()),
            ("MESOS_AGENT_ENDPOINT", pid.address().to_string()),
            ("MESOS_CHECKPOINT", "0".to_owned()),
            ("MESOS_HTTP_COMMAND_EXECUTOR", "0".to_owned()),
            (
                "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD",
                duration::to_string(self.shutdown_grace_period(executor)),
            ),
        ];
        self.config
            .executor_environment
            .iter()
            .cloned()
            .chain(own.map(|(name, value)| (name.to_owned(), value)))
            .collect()
    }

    /// How long an executor may take to shut down.
    pub(super) fn shutdown_grace_period(&self, executor: &Executor) -> Duration {
        executor
            .info
            .shutdown_grace_period
            .map_or(self.config.executor_shutdown_grace_period, |grace| {
                Duration::from_nanos(u64::try_from(grace.nanoseconds).unwrap_or(0))
            })
    }
}
