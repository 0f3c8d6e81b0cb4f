//! Status updates on their way from executors (and from this agent) to the master, and their acknowledgements.

use bytes::Bytes;
use libprocess::Upid;
use mesos::ids::{ExecutorId, FrameworkId, TaskId};
use mesos::proto;
use mesos::proto::TaskState;
use mesos::proto::internal as wire;
use mesos::proto::task_status::{Reason, Source};
use tracing::{debug, info, warn};

use super::{
    AfterUpdate, Agent, AgentState, ContainerUpdate, Effects, Executor, ExecutorState,
    FrameworkState, StaleStatus, Timer,
};
use crate::status_update_manager::{Accepted, Forward};
use crate::tasks::is_terminal;

/// A status update that this agent makes up itself; not yet with all its parts.
pub(super) struct AgentUpdate(wire::StatusUpdate);

impl AgentUpdate {
    /// Adds why.
    pub(super) fn with(mut self, reason: Reason, message: impl Into<String>) -> Self {
        self.0.status.set_reason(reason);
        self.0.status.message = Some(message.into());
        self
    }

    /// Adds the executor that the task was meant for.
    pub(super) fn of(mut self, executor: &ExecutorId) -> Self {
        self.0.executor_id = Some(executor.into());
        self
    }

    /// Adds the resources whose limit ended the task.
    pub(super) fn limited_by(mut self, resources: Vec<proto::Resource>) -> Self {
        if !resources.is_empty() {
            self.0.status.limitation = Some(proto::TaskResourceLimitation { resources });
        }
        self
    }
}

impl Agent {
    /// A status update from this agent for a task, with a new uuid.
    pub(super) fn agent_update(
        &self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        state: TaskState,
        fx: &mut dyn Effects,
    ) -> AgentUpdate {
        let now = fx.now();
        let uuid = Bytes::copy_from_slice(fx.uuid().as_bytes());
        let slave_id = self.id.as_ref().map(proto::SlaveId::from);
        let status = proto::TaskStatus {
            task_id: task_id.into(),
            state: state.into(),
            slave_id: slave_id.clone(),
            timestamp: Some(now),
            source: Some(Source::Slave.into()),
            uuid: Some(uuid.clone()),
            ..Default::default()
        };
        AgentUpdate(wire::StatusUpdate {
            framework_id: framework_id.into(),
            executor_id: None,
            slave_id,
            status,
            timestamp: now,
            uuid: Some(uuid),
            latest_state: None,
        })
    }

    /// Takes an update that this agent made for a task it owns, or owned.
    pub(super) fn on_agent_update(&mut self, update: AgentUpdate, fx: &mut dyn Effects) {
        self.on_status_update(None, update.0, fx);
    }

    /// Sends an update for a task of which nothing is known here, reliably.
    pub(super) fn forward_unowned(&mut self, update: AgentUpdate, fx: &mut dyn Effects) {
        self.counters.valid_status_updates += 1;
        self.enqueue(update.0, None, fx);
    }

    /// `StatusUpdateMessage` of an executor, or (without a sender) an update of this agent.
    pub fn on_status_update(
        &mut self,
        from: Option<&Upid>,
        mut update: wire::StatusUpdate,
        fx: &mut dyn Effects,
    ) {
        if let Err(why) = self.validate(&update) {
            warn!(
                "Ignoring status update {} for task '{}' of framework {}: {why}",
                update.status.state().as_str_name(),
                update.status.task_id.value,
                update.framework_id.value
            );
            self.counters.invalid_status_updates += 1;
            // Upstream leaves such executors without an answer; they may as well end now.
            if self.is_terminating(&update) {
                self.acknowledge_executor(from, &update, fx);
            }
            return;
        }
        self.counters.valid_status_updates += 1;
        self.complete_status(&mut update, from.is_some());
        let task_id = TaskId::from(&update.status.task_id);
        let executor = self
            .frameworks
            .get(&FrameworkId::from(&update.framework_id))
            .and_then(|framework| framework.executor_of(&task_id))
            .cloned();
        let Some(executor) = executor else {
            self.enqueue(update, from, fx);
            return;
        };
        if from.is_some() && update.status.state() == TaskState::TaskStaging {
            warn!(
                "Executor {} sent TASK_STAGING; shutting it down",
                executor.run
            );
            self.shutdown_run(&executor.run, fx);
            return;
        }
        self.merge_container_status(&executor, &mut update, from.is_none());
        self.apply_status(&executor, update, from, fx);
    }

    /// Makes the status say by itself what the update around it says.
    fn complete_status(&self, update: &mut wire::StatusUpdate, from_executor: bool) {
        update.status.uuid = update.uuid.clone();
        update.status.executor_id = update.executor_id.clone();
        update.status.set_source(if from_executor {
            Source::Executor
        } else {
            Source::Slave
        });
        let framework_id = FrameworkId::from(&update.framework_id);
        if let Some(framework) = self.frameworks.get(&framework_id) {
            self.mark_drained(&framework.info, &mut update.status);
        }
    }

    fn validate(&self, update: &wire::StatusUpdate) -> Result<(), &'static str> {
        let own = self.id.as_ref().map(|id| id.as_str());
        let foreign = |id: &Option<proto::SlaveId>| {
            id.as_ref().is_some_and(|id| Some(id.value.as_str()) != own)
        };
        if update.uuid.as_ref().is_none_or(|uuid| uuid.is_empty()) {
            return Err("it has no uuid");
        }
        if foreign(&update.slave_id) || foreign(&update.status.slave_id) {
            return Err("it names another agent");
        }
        match self
            .frameworks
            .get(&FrameworkId::from(&update.framework_id))
        {
            None => Err("the framework is unknown"),
            Some(framework) if framework.state == FrameworkState::Terminating => {
                Err("the framework is terminating")
            }
            Some(_) => Ok(()),
        }
    }

    fn is_terminating(&self, update: &wire::StatusUpdate) -> bool {
        self.frameworks
            .get(&FrameworkId::from(&update.framework_id))
            .is_some_and(|framework| framework.state == FrameworkState::Terminating)
    }

    /// Adds what is known of the container to what the executor said about it.
    fn merge_container_status(
        &self,
        executor: &Executor,
        update: &mut wire::StatusUpdate,
        from_agent: bool,
    ) {
        let task_id = TaskId::from(&update.status.task_id);
        let never_started = from_agent
            && matches!(
                update.status.state(),
                TaskState::TaskDropped | TaskState::TaskLost
            );
        if never_started || executor.queued_tasks.contains_key(&task_id) {
            return;
        }

        let status = update.status.container_status.get_or_insert_default();
        let container_id: proto::ContainerId = executor.container_id().into();
        // A status about a nested container is not ours to complete.
        if status
            .container_id
            .as_ref()
            .is_none_or(|id| *id == container_id)
        {
            status.container_id = Some(container_id);
            if let Some(known) = &executor.container_status {
                status.executor_pid = status.executor_pid.or(known.executor_pid);
                status.cgroup_info = status.cgroup_info.take().or(known.cgroup_info);
                status
                    .network_infos
                    .extend(known.network_infos.iter().cloned());
            }
        }
        if status.network_infos.is_empty() {
            status.network_infos.push(proto::NetworkInfo {
                ip_addresses: vec![proto::network_info::IpAddress {
                    protocol: None,
                    ip_address: Some(self.config.ip.to_string()),
                }],
                ..Default::default()
            });
        }
    }

    fn apply_status(
        &mut self,
        executor: &Executor,
        update: wire::StatusUpdate,
        from: Option<&Upid>,
        fx: &mut dyn Effects,
    ) {
        let run = executor.run.clone();
        let Some(executor) = self.run_mut(&run) else {
            return;
        };
        match executor.update_task(&update.status) {
            Ok(()) => {}
            // The executor may forget an update that changes nothing any more.
            Err(
                stale @ (StaleStatus::AlreadyTerminated
                | StaleStatus::NotDelivered
                | StaleStatus::Unknown),
            ) => {
                warn!(
                    "Discarding status update {} for task '{}': {stale:?}",
                    update.status.state().as_str_name(),
                    update.status.task_id.value
                );
                self.acknowledge_executor(from, &update, fx);
                return;
            }
        }
        if !is_terminal(update.status.state()) {
            self.enqueue(update, from, fx);
            return;
        }

        let requests = executor.allocated_resources();
        let alive = executor.state != ExecutorState::Terminated;
        self.count_terminal(update.status.state());
        if alive {
            // What the task held is free before anyone hears that it is.
            fx.update_container(ContainerUpdate {
                run,
                requests,
                then: AfterUpdate::Forward(Box::new(update), from.cloned()),
            });
        } else {
            self.enqueue(update, from, fx);
        }
    }

    fn count_terminal(&mut self, state: TaskState) {
        let counter = match state {
            TaskState::TaskFinished => &mut self.counters.tasks_finished,
            TaskState::TaskFailed => &mut self.counters.tasks_failed,
            TaskState::TaskKilled => &mut self.counters.tasks_killed,
            TaskState::TaskLost => &mut self.counters.tasks_lost,
            TaskState::TaskGone => &mut self.counters.tasks_gone,
            _ => return,
        };
        *counter += 1;
    }

    /// Hands an update to the status update manager, which may let it out at once, and tells the executor that it is safe here.
    pub(super) fn enqueue(
        &mut self,
        update: wire::StatusUpdate,
        from: Option<&Upid>,
        fx: &mut dyn Effects,
    ) {
        match self.status_updates.update(update.clone()) {
            Ok(Accepted::Forward(forward)) => self.forward(forward, fx),
            Ok(Accepted::Queued) => {}
            Ok(Accepted::Duplicate) => debug!(
                "Status update for task '{}' came again",
                update.status.task_id.value
            ),
            Err(error) => {
                warn!("{error}");
                return;
            }
        }
        self.acknowledge_executor(from, &update, fx);
    }

    fn acknowledge_executor(
        &self,
        to: Option<&Upid>,
        update: &wire::StatusUpdate,
        fx: &mut dyn Effects,
    ) {
        let (Some(to), Some(id), Some(uuid)) = (to, &self.id, &update.uuid) else {
            return;
        };
        let message = wire::StatusUpdateAcknowledgementMessage {
            slave_id: id.into(),
            framework_id: update.framework_id.clone(),
            task_id: update.status.task_id.clone(),
            uuid: uuid.clone(),
        };
        fx.send(to, message.into());
    }

    /// Sends an update to the master, with the newest state of the task beside it.
    fn forward(&mut self, forward: Forward, fx: &mut dyn Effects) {
        let Forward {
            framework_id,
            task_id,
            mut update,
            retry_after,
        } = forward;
        if self.state == AgentState::Running {
            let (state, uuid) = (update.status.state, update.uuid.clone());
            let task = self.framework_mut(&framework_id).and_then(|framework| {
                let id = framework.executor_of(&task_id)?.id().clone();
                framework.executor_mut(&id)?.task_mut(&task_id)
            });
            if let Some(task) = task {
                task.status_update_state = Some(state);
                task.status_update_uuid = uuid;
                update.latest_state = Some(task.state);
            } else {
                update.latest_state = Some(state);
            }
            let message = wire::StatusUpdateMessage {
                update: *update,
                pid: Some(self.config.pid.to_string()),
            };
            self.send_to_master(message, fx);
        }
        fx.start_timer(Timer::StatusUpdate(framework_id, task_id), retry_after);
    }

    pub(super) fn resume_status_updates(&mut self, fx: &mut dyn Effects) {
        for forward in self.status_updates.resume() {
            self.forward(forward, fx);
        }
    }

    pub(super) fn on_status_update_timer(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        fx: &mut dyn Effects,
    ) {
        if let Some(forward) = self.status_updates.retry(framework_id, task_id) {
            info!("Resending status update for task '{task_id}' of framework {framework_id}");
            self.forward(forward, fx);
        }
    }

    /// `StatusUpdateAcknowledgementMessage`, from the master or, for old drivers, from a scheduler itself.
    pub fn on_status_update_acknowledgement(
        &mut self,
        from: &Upid,
        message: &wire::StatusUpdateAcknowledgementMessage,
        fx: &mut dyn Effects,
    ) {
        let is_master = from.id().starts_with("master");
        if is_master && !(self.is_from_master(from) && self.state == AgentState::Running) {
            warn!(
                "Ignoring an acknowledgement from {from}, with which this agent is not registered"
            );
            return;
        }
        let framework_id = FrameworkId::from(&message.framework_id);
        let task_id = TaskId::from(&message.task_id);
        let acknowledged =
            match self
                .status_updates
                .acknowledge(&framework_id, &task_id, &message.uuid)
            {
                Ok(acknowledged) => acknowledged,
                Err(error) => {
                    warn!("Ignoring an acknowledgement from {from}: {error}");
                    return;
                }
            };
        fx.cancel_timer(&Timer::StatusUpdate(framework_id.clone(), task_id.clone()));
        if let Some(next) = acknowledged.next {
            self.forward(next, fx);
        }
        if acknowledged.terminal {
            self.complete_task(&framework_id, &task_id, fx);
        }
    }

    fn complete_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        fx: &mut dyn Effects,
    ) {
        let Some(framework) = self.framework_mut(framework_id) else {
            return;
        };
        if let Some(id) = framework
            .executor_of(task_id)
            .map(|executor| executor.id().clone())
            && let Some(executor) = framework.executor_mut(&id)
        {
            executor.complete_task(task_id);
            if executor.state == ExecutorState::Terminated && !executor.has_incomplete_tasks() {
                self.remove_executor(framework_id, &id, fx);
            }
        }
        self.remove_framework_if_idle(framework_id, fx);
    }
}
