//! Draining: an agent empties itself, by order of the master.
//!
//! Upstream: `src/slave/slave.cpp` (`Slave::drain`).

use libprocess::Upid;
use mesos::ids::TaskId;
use mesos::proto;
use mesos::proto::TaskState;
use mesos::proto::framework_info::capability::Type as Capability;
use mesos::proto::internal as wire;
use mesos::proto::task_status::Reason;
use tracing::{info, warn};

use super::{Agent, Effects, Executor, ExecutorState};
use crate::tasks::has_capability;

/// An agent that is being emptied.
#[derive(Clone, Debug, PartialEq)]
pub struct Drain {
    /// How it is to be done.
    pub config: proto::DrainConfig,
    /// When it began, in seconds since the epoch.
    pub started: f64,
}

impl Agent {
    /// `DrainSlaveMessage`: kills all tasks, and takes no others until it is empty.
    pub fn on_drain(&mut self, from: &Upid, config: proto::DrainConfig, fx: &mut dyn Effects) {
        if !self.is_from_master(from) {
            warn!("Ignoring a request of {from} to drain, which is not the leading master");
            return;
        }
        if self.frameworks.is_empty() {
            info!("Nothing to drain");
            return;
        }
        info!("Draining");
        self.drain = Some(Drain {
            config,
            started: fx.now(),
        });
        let executors: Vec<_> = self
            .frameworks
            .values()
            .flat_map(|framework| framework.executors.values())
            .cloned()
            .collect();
        for executor in executors {
            self.drain_executor(&executor, &config, fx);
        }
    }

    fn drain_executor(
        &mut self,
        executor: &Executor,
        config: &proto::DrainConfig,
        fx: &mut dyn Effects,
    ) {
        if !matches!(
            executor.state,
            ExecutorState::Registering | ExecutorState::Running
        ) {
            return;
        }
        for task_id in executor.queued_tasks.keys() {
            self.kill_queued_task(&executor.run, task_id, fx);
        }
        let Some(pid) = &executor.pid else { return };
        for (task_id, task) in &executor.launched_tasks {
            let message = kill_message(executor, task_id, task, config);
            fx.send(pid, message.into());
        }
    }

    /// Why a task that came now must not be launched.
    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Lets an update tell that the agent itself is why the task ends.
    pub(super) fn mark_drained(
        &self,
        framework: &proto::FrameworkInfo,
        status: &mut proto::TaskStatus,
    ) {
        let Some(drain) = &self.drain else { return };
        if !matches!(
            status.state(),
            TaskState::TaskKilling | TaskState::TaskKilled
        ) {
            return;
        }
        status.set_reason(Reason::SlaveDraining);
        let gone =
            drain.config.mark_gone() && has_capability(framework, Capability::PartitionAware);
        if gone && status.state() == TaskState::TaskKilled {
            status.set_state(TaskState::TaskGoneByOperator);
        }
    }

    /// Ends draining once nothing is left; the master concludes as much from the updates.
    pub(super) fn finish_drain_if_empty(&mut self) {
        if self.frameworks.is_empty() && self.drain.take().is_some() {
            info!("Drained");
        }
    }
}

/// The kill of one task; its own kill policy holds unless the drain is in more of a hurry.
fn kill_message(
    executor: &Executor,
    task_id: &TaskId,
    task: &proto::Task,
    config: &proto::DrainConfig,
) -> wire::KillTaskMessage {
    let own = task.kill_policy.and_then(|policy| policy.grace_period);
    let shorter = config
        .max_grace_period
        .filter(|limit| own.is_none_or(|own| own.nanoseconds > limit.nanoseconds));
    wire::KillTaskMessage {
        framework_id: (&executor.run.framework_id).into(),
        task_id: task_id.into(),
        kill_policy: shorter.map(|limit| proto::KillPolicy {
            grace_period: Some(limit),
        }),
    }
}
