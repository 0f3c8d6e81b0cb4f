//! Small facts about tasks and their states.

use mesos::ids::{ExecutorId, FrameworkId};
use mesos::proto;
use mesos::proto::TaskState;

/// Whether a task in this state has ended for good.
pub fn is_terminal(state: TaskState) -> bool {
    match state {
        TaskState::TaskFinished
        | TaskState::TaskFailed
        | TaskState::TaskKilled
        | TaskState::TaskError
        | TaskState::TaskLost
        | TaskState::TaskDropped
        | TaskState::TaskGone
        | TaskState::TaskGoneByOperator => true,
        TaskState::TaskStaging
        | TaskState::TaskStarting
        | TaskState::TaskRunning
        | TaskState::TaskKilling
        | TaskState::TaskUnreachable
        | TaskState::TaskUnknown => false,
    }
}

/// Whether the framework has a capability.
pub fn has_capability(
    framework: &proto::FrameworkInfo,
    capability: proto::framework_info::capability::Type,
) -> bool {
    framework
        .capabilities
        .iter()
        .any(|candidate| candidate.r#type() == capability)
}

/// The record the agent keeps of a task that was described by a `TaskInfo`.
pub fn create_task(
    info: &proto::TaskInfo,
    state: TaskState,
    framework_id: &FrameworkId,
) -> proto::Task {
    let executor = info.executor.as_ref();
    let user = info
        .command
        .as_ref()
        .or(executor.and_then(|executor| executor.command.as_ref()))
        .and_then(|command| command.user.clone());
    proto::Task {
        name: info.name.clone(),
        task_id: info.task_id.clone(),
        framework_id: framework_id.into(),
        executor_id: executor.map(|executor| executor.executor_id.clone()),
        slave_id: info.slave_id.clone(),
        state: state.into(),
        resources: info.resources.clone(),
        statuses: Vec::new(),
        status_update_state: None,
        status_update_uuid: None,
        labels: info.labels.clone(),
        discovery: info.discovery.clone(),
        container: info.container.clone(),
        user,
        health_check: info.health_check.clone(),
        kill_policy: info.kill_policy,
        limits: info.limits.clone(),
    }
}

/// The id of the executor that runs the task: its own, or for a command task one named like the task.
pub fn executor_id_of(info: &proto::TaskInfo) -> ExecutorId {
    match &info.executor {
        Some(executor) => ExecutorId::from(&executor.executor_id),
        None => ExecutorId::from(info.task_id.value.as_str()),
    }
}
