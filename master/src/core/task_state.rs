//! Properties of task states.

use mesos::proto::TaskState;

/// Number of task states; states are numbered from 0 without gaps.
pub const TASK_STATES: usize = 14;

/// Whether a task in this state has ended for good.
#[must_use]
pub fn is_terminal(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::TaskFinished
            | TaskState::TaskFailed
            | TaskState::TaskKilled
            | TaskState::TaskLost
            | TaskState::TaskError
            | TaskState::TaskDropped
            | TaskState::TaskGone
            | TaskState::TaskGoneByOperator
    )
}

/// Whether a task in this state no longer holds resources.
#[must_use]
pub fn releases_resources(state: TaskState) -> bool {
    is_terminal(state) || state == TaskState::TaskUnreachable
}

/// Whether an agent can know this state of a task. The others are what masters say about tasks that
/// no agent tells them of; an agent that reports one is wrong.
#[must_use]
pub fn is_reportable(state: TaskState) -> bool {
    !matches!(state, TaskState::TaskUnreachable | TaskState::TaskUnknown)
}

/// The state a scheduler is told: frameworks that are not partition aware only know TASK_LOST.
#[must_use]
pub fn for_framework(state: TaskState, partition_aware: bool) -> TaskState {
    if partition_aware {
        return state;
    }
    match state {
        TaskState::TaskDropped
        | TaskState::TaskUnreachable
        | TaskState::TaskGone
        | TaskState::TaskGoneByOperator
        | TaskState::TaskUnknown => TaskState::TaskLost,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_aware_states_become_lost() {
        let check = |state, expected| assert_eq!(for_framework(state, false), expected);
        check(TaskState::TaskDropped, TaskState::TaskLost);
        check(TaskState::TaskUnreachable, TaskState::TaskLost);
        check(TaskState::TaskGone, TaskState::TaskLost);
        check(TaskState::TaskGoneByOperator, TaskState::TaskLost);
        check(TaskState::TaskUnknown, TaskState::TaskLost);
        check(TaskState::TaskRunning, TaskState::TaskRunning);
        check(TaskState::TaskError, TaskState::TaskError);
    }

    #[test]
    fn unreachable_is_not_terminal_but_holds_nothing() {
        assert!(!is_terminal(TaskState::TaskUnreachable));
        assert!(releases_resources(TaskState::TaskUnreachable));
        assert!(!releases_resources(TaskState::TaskStaging));
    }
}
