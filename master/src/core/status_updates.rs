//! Status updates of tasks: from agents, and made by the master itself.

use libprocess::Upid;
use mesos::ids::{AgentId, FrameworkId, TaskId};
use mesos::proto::task_status::{Reason, Source};
use mesos::proto::{self, TaskState, internal};

use super::Master;
use super::effects::Effects;
use super::event::SchedulerEvent;
use super::metrics::{Counter, terminal_counter};
use super::operator_event::OperatorEvent;
use super::state::{Framework, Task};
use super::task_state::{for_framework, is_reportable, is_terminal, releases_resources};
use crate::constants::STATUS_UUID_BYTES;

impl Master {
    /// An agent reports the state of a task. Upstream: `statusUpdate` of `src/master/master.cpp`.
    pub fn on_status_update(
        &mut self,
        message: internal::StatusUpdateMessage,
        fx: &mut dyn Effects,
    ) {
        fx.count(Counter::MessagesStatusUpdate);
        let valid = self.handle_status_update(message, fx);
        fx.count(if valid {
            Counter::ValidStatusUpdates
        } else {
            Counter::InvalidStatusUpdates
        });
    }

    fn handle_status_update(
        &mut self,
        message: internal::StatusUpdateMessage,
        fx: &mut dyn Effects,
    ) -> bool {
        let mut update = message.update;
        let Some(agent) = update
            .slave_id
            .as_ref()
            .and_then(|id| self.agent(&AgentId::from(id)))
        else {
            tracing::warn!("Ignoring status update of an agent that is not registered");
            return false;
        };
        // The agent may have moved to another address since it sent this.
        let acknowledgee = message
            .pid
            .as_deref()
            .and_then(|pid| pid.parse::<Upid>().ok())
            .unwrap_or_else(|| agent.pid.clone());
        let Some(uuid) = update
            .uuid
            .clone()
            .filter(|uuid| uuid.len() == STATUS_UUID_BYTES)
        else {
            tracing::warn!("Ignoring status update without a valid uuid");
            return false;
        };
        let latest = update
            .latest_state
            .and_then(|state| TaskState::try_from(state).ok())
            .unwrap_or_else(|| update.status.state());
        if !is_reportable(latest) || !is_reportable(update.status.state()) {
            tracing::warn!("Ignoring status update with {}", latest.as_str_name());
            return false;
        }
        if update.status.uuid.is_none() {
            update.status.uuid = Some(uuid.clone());
        }
        let framework_id = FrameworkId::from(&update.framework_id);
        let task_id = TaskId::from(&update.status.task_id);
        let connected = self
            .framework(&framework_id)
            .is_some_and(Framework::connected);
        if connected {
            if let Some(task) = self.task_mut(&framework_id, &task_id) {
                task.info.status_update_state = Some(update.status.state);
                task.info.status_update_uuid = Some(uuid);
            }
            self.forward(&framework_id, update.clone(), Some(acknowledgee), fx);
        } else {
            tracing::warn!("Status update of task {task_id}: framework {framework_id} is away");
        }
        if self.task(&framework_id, &task_id).is_none() {
            tracing::warn!("Status update of unknown task {task_id} of framework {framework_id}");
            return false;
        }
        self.apply_update(&update, fx);
        connected
    }

    /// Sends an update to the scheduler.
    fn forward(
        &mut self,
        framework: &FrameworkId,
        update: internal::StatusUpdate,
        acknowledgee: Option<Upid>,
        fx: &mut dyn Effects,
    ) {
        tracing::debug!(
            "Forwarding {:?} of task {} of framework {framework}",
            update.status.state(),
            update.status.task_id.value
        );
        let event = SchedulerEvent::Update {
            update: Box::new(update),
            acknowledgee,
        };
        self.send_to_framework(framework, &event, fx);
    }

    /// Sends an update that the master made to the scheduler, if that is connected.
    pub(super) fn send_master_update(
        &mut self,
        update: internal::StatusUpdate,
        fx: &mut dyn Effects,
    ) {
        let framework = FrameworkId::from(&update.framework_id);
        if self.framework(&framework).is_some_and(Framework::connected) {
            self.forward(&framework, update, None, fx);
        }
    }

    /// Applies an update to its task, if that is known: state, history, resources and metrics.
    pub(super) fn apply_update(&mut self, update: &internal::StatusUpdate, fx: &mut dyn Effects) {
        let framework_id = FrameworkId::from(&update.framework_id);
        let task_id = TaskId::from(&update.status.task_id);
        let Some(task) = self.task_mut(&framework_id, &task_id) else {
            return;
        };
        let status = &update.status;
        let new_in_history = record_status(task, status);
        let before = task.state;
        let agent_id = task.agent_id.clone();
        let state = update
            .latest_state
            .and_then(|state| TaskState::try_from(state).ok())
            .unwrap_or_else(|| status.state());
        if !is_terminal(before) {
            let released = self.change_task_state(&framework_id, &task_id, state, fx);
            if let Some(released) = released {
                self.recover_resources(&framework_id, &agent_id, released, None, true, fx);
            }
            if !releases_resources(before) && releases_resources(state) {
                count_ended(state, status, fx);
            }
        }
        let checked = matches!(
            status
                .reason
                .and_then(|reason| Reason::try_from(reason).ok()),
            Some(Reason::TaskCheckStatusUpdated | Reason::TaskHealthCheckStatusUpdated)
        );
        if (new_in_history || checked) && fx.has_subscribers() {
            let state = self
                .task(&framework_id, &task_id)
                .map_or(state, |task| task.state);
            fx.publish(OperatorEvent::TaskUpdated {
                framework_id,
                status: Box::new(status.clone()),
                state,
            });
        }
    }

    /// An update about a task made by the master, stamped with the present time.
    pub(super) fn master_update(
        &self,
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
        update
    }

    /// Tells the scheduler that a task it launched could not be: the task is not known to the
    /// master afterwards.
    pub(super) fn refuse_task(&mut self, refusal: &TaskRefusal<'_>, fx: &mut dyn Effects) {
        let partition_aware = self
            .framework(refusal.framework)
            .is_some_and(|framework| framework.capabilities.partition_aware);
        let state = for_framework(refusal.state, partition_aware);
        let id = TaskId::from(&refusal.task.task_id);
        let mut update = status_update(
            refusal.framework,
            &id,
            state,
            Some(refusal.reason),
            refusal.message,
            fx,
        );
        update.slave_id = Some(refusal.task.slave_id.clone());
        update.status.slave_id = Some(refusal.task.slave_id.clone());
        count_ended(state, &update.status, fx);
        self.send_master_update(update, fx);
    }
}

/// Why a task is not launched.
pub(super) struct TaskRefusal<'a> {
    pub(super) framework: &'a FrameworkId,
    pub(super) task: &'a proto::TaskInfo,
    /// State for a scheduler that is partition aware.
    pub(super) state: TaskState,
    pub(super) reason: Reason,
    pub(super) message: &'a str,
}

/// An update made by the master: no uuid, since nobody waits for its acknowledgement.
pub(super) fn status_update(
    framework: &FrameworkId,
    task: &TaskId,
    state: TaskState,
    reason: Option<Reason>,
    message: &str,
    fx: &mut dyn Effects,
) -> internal::StatusUpdate {
    let now = fx.now().as_secs_f64();
    internal::StatusUpdate {
        framework_id: framework.into(),
        executor_id: None,
        slave_id: None,
        status: proto::TaskStatus {
            task_id: task.into(),
            state: state as i32,
            message: Some(message.to_owned()),
            source: Some(Source::Master as i32),
            reason: reason.map(|reason| reason as i32),
            timestamp: Some(now),
            ..Default::default()
        },
        timestamp: now,
        uuid: None,
        latest_state: None,
    }
}

/// Adds a status to the history of a task, replacing the last one of the same state. True if the
/// state is new.
fn record_status(task: &mut Task, status: &proto::TaskStatus) -> bool {
    let statuses = &mut task.info.statuses;
    let repeated = statuses
        .last()
        .is_some_and(|last| last.state == status.state);
    if repeated {
        statuses.pop();
    }
    let mut status = status.clone();
    // May be large, and nobody reads it here.
    status.data = None;
    statuses.push(status);
    !repeated
}

/// Counts a task that entered `state`, which ends it or makes it unreachable. `status` tells of it, or of an earlier
/// state if the agent is ahead of the acknowledgements; upstream counts by that one and misses short tasks.
fn count_ended(state: TaskState, status: &proto::TaskStatus, fx: &mut dyn Effects) {
    if let Some(counter) = terminal_counter(state) {
        fx.count(counter);
    }
    let source = status
        .source
        .and_then(|source| Source::try_from(source).ok());
    let reason = status
        .reason
        .and_then(|reason| Reason::try_from(reason).ok());
    if let (Some(source), Some(reason)) = (source, reason) {
        fx.count_task_state(state, source, reason);
    }
}
