//! What `mesos launch` says about the task, on the standard error output.

use std::io::Write;

use mesos::proto::{Offer, TaskStatus};

/// Tells a person how the task fares, unless told to be quiet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    quiet: bool,
}

impl Output {
    pub(crate) fn new(quiet: bool) -> Self {
        Output { quiet }
    }

    /// Something worth knowing.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            self.problem(text);
        }
    }

    /// Something that must be known.
    pub(crate) fn problem(self, text: &str) {
        // Without a standard error output there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "mesos: {text}");
    }

    /// Where the task runs.
    pub(crate) fn submitted(self, name: &str, offer: &Offer) {
        self.note(&format!(
            "task {name}: submitted to agent {}",
            offer.hostname
        ));
    }

    /// The state of the task.
    pub(crate) fn state(self, name: &str, status: &TaskStatus) {
        self.note(&state_line(name, status));
    }

    /// The task ended in another way than by its command: to be known even by those who do not
    /// want to hear of states.
    pub(crate) fn ended_oddly(self, name: &str, status: &TaskStatus) {
        if self.quiet {
            self.problem(&state_line(name, status));
        }
    }
}

fn state_line(name: &str, status: &TaskStatus) -> String {
    let mut line = format!("task {name}: {}", status.state().as_str_name());
    let message = status.message.as_deref().unwrap_or_default();
    if !message.is_empty() {
        line.push_str(&format!(" ({message})"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos::proto::TaskState;

    #[test]
    fn states_come_with_their_message() {
        let check = |message: Option<&str>, expected: &str| {
            let status = TaskStatus {
                state: TaskState::TaskFailed.into(),
                message: message.map(str::to_owned),
                ..TaskStatus::default()
            };
            assert_eq!(state_line("t", &status), expected);
        };
        check(None, "task t: TASK_FAILED");
        check(Some(""), "task t: TASK_FAILED");
        check(Some("why"), "task t: TASK_FAILED (why)");
    }
}
