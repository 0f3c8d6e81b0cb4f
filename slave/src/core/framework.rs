//! Frameworks and executors as an agent knows them.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use libprocess::Upid;
use mesos::ids::{ContainerId, ExecutorId, FrameworkId, TaskId};
use mesos::proto;
use mesos::proto::TaskState;
use mesos::proto::framework_info::capability::Type as Capability;

use super::effects::ExecutorRun;
use crate::tasks::{create_task, has_capability, is_terminal};

/// How many ended tasks of an executor are remembered.
///
/// Upstream: `MAX_COMPLETED_TASKS_PER_EXECUTOR`.
pub const MAX_COMPLETED_TASKS_PER_EXECUTOR: usize = 200;

/// Whether a framework still takes tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameworkState {
    /// Tasks may come and updates are delivered.
    Running,
    /// Its executors are being shut down and nothing is reported any more.
    Terminating,
}

/// A framework with something on this agent.
#[derive(Clone, Debug)]
pub struct Framework {
    /// Its description; `id` is set.
    pub info: proto::FrameworkInfo,
    /// Where its driver listens; schedulers of the HTTP API have none.
    pub pid: Option<Upid>,
    /// Whether it still takes tasks.
    pub state: FrameworkState,
    /// Executors that have not ended, or whose last updates are not acknowledged.
    pub executors: IndexMap<ExecutorId, Arc<Executor>>,
    /// Executors that have ended, oldest first.
    pub completed_executors: VecDeque<Arc<Executor>>,
}

impl Framework {
    /// A framework without executors.
    pub fn new(info: proto::FrameworkInfo, pid: Option<Upid>) -> Self {
        Framework {
            info,
            pid,
            state: FrameworkState::Running,
            executors: IndexMap::new(),
            completed_executors: VecDeque::new(),
        }
    }

    /// Whether the framework declared the capability.
    pub fn has_capability(&self, capability: Capability) -> bool {
        has_capability(&self.info, capability)
    }

    /// The state of a task that never started: what `TASK_DROPPED` is called depends on the framework.
    pub fn dropped_state(&self) -> TaskState {
        dropped_state(&self.info)
    }

    /// The state of a task that was started and is gone.
    pub fn gone_state(&self) -> TaskState {
        if self.has_capability(Capability::PartitionAware) {
            TaskState::TaskGone
        } else {
            TaskState::TaskLost
        }
    }

    /// The executor, to be changed.
    pub fn executor_mut(&mut self, id: &ExecutorId) -> Option<&mut Executor> {
        self.executors.get_mut(id).map(Arc::make_mut)
    }

    /// The executor which has, or had and still remembers as not acknowledged, the task.
    pub fn executor_of(&self, task_id: &TaskId) -> Option<&Arc<Executor>> {
        self.executors
            .values()
            .find(|executor| executor.has_task(task_id))
    }

    /// Whether nothing of the framework is left on this agent but its history.
    pub fn is_idle(&self) -> bool {
        self.executors.is_empty()
    }
}

/// The state of a task that never started, for a framework with this description.
pub(crate) fn dropped_state(info: &proto::FrameworkInfo) -> TaskState {
    if has_capability(info, Capability::PartitionAware) {
        TaskState::TaskDropped
    } else {
        TaskState::TaskLost
    }
}

/// How far an executor is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorState {
    /// Its container starts; it has not yet said that it is there.
    Registering,
    /// It takes tasks.
    Running,
    /// It was told to stop, or is being killed.
    Terminating,
    /// Its container is gone; some task updates may not be acknowledged.
    Terminated,
}

/// What the agent already knows to be the reason for the coming end of an executor.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingTermination {
    /// The state its tasks will get.
    pub state: TaskState,
    /// The reason they will get.
    pub reason: proto::task_status::Reason,
    /// The message they will get.
    pub message: String,
}

/// One run of an executor and its tasks.
#[derive(Clone, Debug)]
pub struct Executor {
    /// Its description, with the framework's id.
    pub info: proto::ExecutorInfo,
    /// The executor, its framework and the container of this run.
    pub run: ExecutorRun,
    /// The sandbox.
    pub directory: PathBuf,
    /// Whether this agent made it up for a task that came with a command only.
    pub generated_for_command_task: bool,
    /// How far it is.
    pub state: ExecutorState,
    /// Where its driver listens, once it has registered.
    pub pid: Option<Upid>,
    /// What the containerizer says of the container.
    pub container_status: Option<proto::ContainerStatus>,
    /// Why it is about to end.
    pub pending_termination: Option<PendingTermination>,
    /// Tasks it was not yet given, in order of arrival.
    pub queued_tasks: IndexMap<TaskId, Arc<proto::TaskInfo>>,
    /// Tasks it was given.
    pub launched_tasks: IndexMap<TaskId, Arc<proto::Task>>,
    /// Ended tasks with updates that are not acknowledged.
    pub terminated_tasks: IndexMap<TaskId, Arc<proto::Task>>,
    /// Ended and acknowledged tasks, oldest first.
    pub completed_tasks: VecDeque<Arc<proto::Task>>,
}

/// Why a status does not change a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleStatus {
    /// The executor never got the task, so it cannot know better than "ended".
    NotDelivered,
    /// The task has ended before.
    AlreadyTerminated,
    /// The executor has no such task.
    Unknown,
}

impl Executor {
    /// A new run, whose container is about to start.
    pub fn new(info: proto::ExecutorInfo, run: ExecutorRun, directory: PathBuf) -> Self {
        Executor {
            info,
            run,
            directory,
            generated_for_command_task: false,
            state: ExecutorState::Registering,
            pid: None,
            container_status: None,
            pending_termination: None,
            queued_tasks: IndexMap::new(),
            launched_tasks: IndexMap::new(),
            terminated_tasks: IndexMap::new(),
            completed_tasks: VecDeque::new(),
        }
    }

    /// The executor's id.
    pub fn id(&self) -> &ExecutorId {
        &self.run.executor_id
    }

    /// The container of this run.
    pub fn container_id(&self) -> &ContainerId {
        &self.run.container_id
    }

    /// Whether the task is queued, launched or terminated here.
    pub fn has_task(&self, id: &TaskId) -> bool {
        self.queued_tasks.contains_key(id)
            || self.launched_tasks.contains_key(id)
            || self.terminated_tasks.contains_key(id)
    }

    /// Whether a task has not ended, or its end is not acknowledged.
    pub fn has_incomplete_tasks(&self) -> bool {
        !(self.queued_tasks.is_empty()
            && self.launched_tasks.is_empty()
            && self.terminated_tasks.is_empty())
    }

    /// Whether the executor was given at least one task in its life.
    ///
    /// Tasks that ended in the queue do not count; those the executor spoke about do.
    pub fn was_ever_sent_a_task(&self) -> bool {
        let from_executor = |task: &Arc<proto::Task>| {
            task.statuses
                .iter()
                .any(|status| status.source() == proto::task_status::Source::Executor)
        };
        !self.launched_tasks.is_empty()
            || self.terminated_tasks.values().any(from_executor)
            || self.completed_tasks.iter().any(from_executor)
    }

    /// What its container holds: its own resources and those of the tasks that have not ended.
    pub fn allocated_resources(&self) -> Vec<proto::Resource> {
        let queued = self.queued_tasks.values().map(|task| &task.resources);
        let launched = self.launched_tasks.values().map(|task| &task.resources);
        std::iter::once(&self.info.resources)
            .chain(queued)
            .chain(launched)
            .flatten()
            .cloned()
            .collect()
    }

    /// Moves a queued task to the launched ones; answers what to send.
    pub fn launch_task(
        &mut self,
        id: &TaskId,
        framework_id: &FrameworkId,
    ) -> Option<Arc<proto::TaskInfo>> {
        let info = self.queued_tasks.shift_remove(id)?;
        let task = create_task(&info, TaskState::TaskStaging, framework_id);
        self.launched_tasks.insert(id.clone(), Arc::new(task));
        Some(info)
    }

    /// Records a status with its task, which ends with the first terminal one.
    pub fn update_task(&mut self, status: &proto::TaskStatus) -> Result<(), StaleStatus> {
        let id = TaskId::from(&status.task_id);
        let terminal = is_terminal(status.state());

        if self.queued_tasks.contains_key(&id) {
            if !terminal {
                return Err(StaleStatus::NotDelivered);
            }
            let framework_id = self.run.framework_id.clone();
            if let Some(info) = self.queued_tasks.shift_remove(&id) {
                let mut task = create_task(&info, status.state(), &framework_id);
                task.statuses.push(status.clone());
                self.terminated_tasks.insert(id, Arc::new(task));
            }
            return Ok(());
        }
        if self.terminated_tasks.contains_key(&id) {
            return Err(StaleStatus::AlreadyTerminated);
        }
        let task = self
            .launched_tasks
            .get_mut(&id)
            .map(Arc::make_mut)
            .ok_or(StaleStatus::Unknown)?;

        // Repeated states would grow without end with health check updates.
        if task
            .statuses
            .last()
            .is_some_and(|last| last.state() == status.state())
        {
            task.statuses.pop();
        }
        task.statuses.push(status.clone());
        task.set_state(status.state());
        if terminal && let Some(task) = self.launched_tasks.shift_remove(&id) {
            self.terminated_tasks.insert(id, task);
        }
        Ok(())
    }

    /// Moves a terminated task to the history.
    pub fn complete_task(&mut self, id: &TaskId) {
        if let Some(task) = self.terminated_tasks.shift_remove(id) {
            if self.completed_tasks.len() >= MAX_COMPLETED_TASKS_PER_EXECUTOR {
                self.completed_tasks.pop_front();
            }
            self.completed_tasks.push_back(task);
        }
    }

    /// The launched or terminated task, to be changed.
    pub fn task_mut(&mut self, id: &TaskId) -> Option<&mut proto::Task> {
        self.launched_tasks
            .get_mut(id)
            .or_else(|| self.terminated_tasks.get_mut(id))
            .map(Arc::make_mut)
    }
}
