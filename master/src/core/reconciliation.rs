//! Answering schedulers that ask where their tasks stand.
//!
//! Upstream: `reconcile` of `src/master/master.cpp`, `docs/reconciliation.md`.

use std::sync::Arc;

use mesos::ids::{AgentId, FrameworkId, TaskId};
use mesos::proto::scheduler::call;
use mesos::proto::task_status::Reason;
use mesos::proto::{TaskState, internal};

use super::Master;
use super::effects::Effects;
use super::metrics::Counter;
use super::state::Task;
use super::status_updates::status_update;
use super::task_state::for_framework;
use super::time::Timestamp;

/// Why the master says what it says about a task it does not list.
enum Whereabouts {
    /// Too early to tell: the agent, or some agent, may still come back.
    Pending,
    /// Known state, with the text of the update and when the agent became unreachable.
    Known(TaskState, &'static str, Option<Timestamp>),
}

impl Master {
    /// A scheduler asks for the state of `tasks`, or of all its tasks if that is empty.
    pub fn on_reconcile(
        &mut self,
        framework_id: &FrameworkId,
        tasks: &[call::reconcile::Task],
        fx: &mut dyn Effects,
    ) {
        fx.count(Counter::MessagesReconcileTasks);
        let Some(framework) = self.framework(framework_id) else {
            return;
        };
        let updates: Vec<_> = if tasks.is_empty() {
            tracing::info!("Performing implicit reconciliation for framework {framework_id}");
            let live: Vec<_> = framework.tasks.values().cloned().collect();
            live.iter().map(|task| latest_update(task, fx)).collect()
        } else {
            tracing::info!(
                "Performing explicit reconciliation of {} tasks for framework {framework_id}",
                tasks.len()
            );
            tasks
                .iter()
                .filter_map(|task| self.reconcile_task(framework_id, task, fx))
                .collect()
        };
        for update in updates {
            self.send_master_update(update, fx);
        }
    }

    fn reconcile_task(
        &self,
        framework_id: &FrameworkId,
        asked: &call::reconcile::Task,
        fx: &mut dyn Effects,
    ) -> Option<internal::StatusUpdate> {
        let framework = self.framework(framework_id)?;
        let id = TaskId::from(&asked.task_id);
        if let Some(task) = framework.tasks.get(&id) {
            return Some(latest_update(task, fx));
        }
        let agent = asked.slave_id.as_ref().map(AgentId::from);
        match self.whereabouts(agent.as_ref()) {
            Whereabouts::Pending => {
                tracing::info!("Not answering for task {id}: agents are still coming back");
                None
            }
            Whereabouts::Known(state, message, unreachable_time) => {
                let aware = framework.capabilities.partition_aware;
                let mut update = status_update(
                    framework_id,
                    &id,
                    for_framework(state, aware),
                    Some(Reason::Reconciliation),
                    message,
                    fx,
                );
                update.slave_id.clone_from(&asked.slave_id);
                update.status.slave_id.clone_from(&asked.slave_id);
                update.status.unreachable_time = unreachable_time.map(Timestamp::to_proto);
                Some(update)
            }
        }
    }

    fn whereabouts(&self, agent: Option<&AgentId>) -> Whereabouts {
        let Some(agent) = agent else {
            return if self.state.recovered_agents.is_empty() {
                Whereabouts::Known(
                    TaskState::TaskUnknown,
                    "Reconciliation: Task is unknown",
                    None,
                )
            } else {
                Whereabouts::Pending
            };
        };
        if self.state.recovered_agents.contains_key(agent) {
            return Whereabouts::Pending;
        }
        if self.state.agents.contains_key(agent) {
            return Whereabouts::Known(
                TaskState::TaskGone,
                "Reconciliation: Task is unknown to the agent",
                None,
            );
        }
        if let Some(since) = self.state.unreachable_agents.get(agent) {
            return Whereabouts::Known(
                TaskState::TaskUnreachable,
                "Reconciliation: Task is unreachable",
                Some(*since),
            );
        }
        if self.gone.contains_key(agent) {
            return Whereabouts::Known(
                TaskState::TaskGoneByOperator,
                "Reconciliation: Task is gone",
                None,
            );
        }
        Whereabouts::Known(
            TaskState::TaskUnknown,
            "Reconciliation: Task is unknown",
            None,
        )
    }
}

/// What the scheduler was told last about a live task, or would be.
pub(super) fn latest_update(task: &Arc<Task>, fx: &mut dyn Effects) -> internal::StatusUpdate {
    let state = task
        .info
        .status_update_state
        .and_then(|state| TaskState::try_from(state).ok())
        .unwrap_or(task.state);
    task_update(
        task,
        state,
        Reason::Reconciliation,
        "Reconciliation: Latest task state",
        fx,
    )
}

/// An update on a live task with what its history tells about health and container.
pub(super) fn task_update(
    task: &Task,
    state: TaskState,
    reason: Reason,
    message: &str,
    fx: &mut dyn Effects,
) -> internal::StatusUpdate {
    let mut update = status_update(
        &task.framework_id,
        &task.id,
        state,
        Some(reason),
        message,
        fx,
    );
    update.slave_id = Some((&task.agent_id).into());
    update.status.slave_id = Some((&task.agent_id).into());
    update.executor_id = task.executor_id.as_ref().map(Into::into);
    update.status.executor_id.clone_from(&update.executor_id);
    if let Some(last) = task.info.statuses.last() {
        update.status.healthy = last.healthy;
        update.status.check_status.clone_from(&last.check_status);
        update
            .status
            .container_status
            .clone_from(&last.container_status);
    }
    update
}
