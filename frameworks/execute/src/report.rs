//! What mesos-execute prints about a status update.

use std::fmt::Write;

use mesos::proto::TaskStatus;

/// The lines for one status update, in upstream's form.
pub(crate) fn update_lines(status: &TaskStatus) -> String {
    let mut text = format!(
        "Received status update {} for task '{}'\n",
        status.state().as_str_name(),
        status.task_id.value
    );
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name}: {value}");
    };
    if let Some(message) = &status.message {
        line("message", &format_args!("'{message}'"));
    }
    if status.source.is_some() {
        line("source", &status.source().as_str_name());
    }
    if status.reason.is_some() {
        line("reason", &status.reason().as_str_name());
    }
    if let Some(healthy) = status.healthy {
        line("healthy?", &u8::from(healthy));
    }
    if let Some(check) = &status.check_status {
        let check = mesos::json::to_string(check);
        line("check status", &check);
    }
    if let Some(limitation) = &status.limitation
        && !limitation.resources.is_empty()
    {
        let resources = mesos::resources::Resources::from_valid_protos(&limitation.resources);
        line("resource limit violation", &resources);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos::proto::{TaskId, TaskState, task_status};

    #[test]
    fn prints_what_is_set() {
        let check = |status: TaskStatus, expected: &str| {
            assert_eq!(update_lines(&status), expected);
        };
        let base = TaskStatus {
            task_id: TaskId {
                value: "t".to_owned(),
            },
            state: TaskState::TaskRunning.into(),
            ..TaskStatus::default()
        };
        check(
            base.clone(),
            "Received status update TASK_RUNNING for task 't'\n",
        );
        check(
            TaskStatus {
                state: TaskState::TaskFailed.into(),
                message: Some("Command exited with status 3".to_owned()),
                source: Some(task_status::Source::Executor.into()),
                reason: Some(task_status::Reason::CommandExecutorFailed.into()),
                healthy: Some(false),
                ..base
            },
            "Received status update TASK_FAILED for task 't'
  message: 'Command exited with status 3'
  source: SOURCE_EXECUTOR
  reason: REASON_COMMAND_EXECUTOR_FAILED
  healthy?: 0
",
        );
    }
}
