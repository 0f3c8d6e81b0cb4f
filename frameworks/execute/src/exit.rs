//! The exit status of a command, read from the last status of its task.

use mesos::proto::{TaskState, TaskStatus};

/// The exit status for a task whose end says nothing about an exit status.
const FAILURE: u8 = 1;

/// What the exit status of a program ended by signal 0 would be, by the convention of shells.
const SIGNAL_BASE: u8 = 128;

/// The first real-time signal that glibc leaves to programs.
const FIRST_REALTIME_SIGNAL: u8 = 34;

const EXITED: &str = "Command exited with status ";
const SIGNALED: &str = "Command terminated with signal ";

/// The exit status of the command behind a terminal `status`: its own where it exited, 128 + n
/// where signal n ended it, 0 for TASK_FINISHED, else 1.
///
/// There is no field for it in a TaskStatus: command executors put it into the message, as
/// `Command exited with status 3` or `Command terminated with signal Killed`.
pub fn exit_status(status: &TaskStatus) -> u8 {
    let message = status.message();
    let own = if let Some(code) = message.strip_prefix(EXITED) {
        first_word(code).parse().ok()
    } else if let Some(signal) = message.strip_prefix(SIGNALED) {
        signal_number(signal).map(|number| SIGNAL_BASE.saturating_add(number))
    } else {
        None
    };
    match (status.state(), own) {
        (TaskState::TaskFinished, None) => 0,
        (TaskState::TaskFinished, Some(code)) => code,
        // A command that caught the signal of a kill may well exit with 0, but it was killed.
        (_, Some(0) | None) => FAILURE,
        (_, Some(code)) => code,
    }
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// The number of a signal by its description, as the C library words it.
fn signal_number(text: &str) -> Option<u8> {
    let name = text.strip_suffix(" (core dumped)").unwrap_or(text);
    if let Some(number) = name.strip_prefix("Real-time signal ") {
        return number
            .parse::<u8>()
            .ok()
            .map(|number| FIRST_REALTIME_SIGNAL.saturating_add(number));
    }
    if let Some(number) = name.strip_prefix("Unknown signal ") {
        return number.parse().ok();
    }
    SIGNALS
        .iter()
        .find(|(_, known)| *known == name)
        .map(|(number, _)| *number)
}

/// Signals of Linux on x86-64 and ARM as strsignal(3) of glibc describes them.
const SIGNALS: [(u8, &str); 31] = [
    (1, "Hangup"),
    (2, "Interrupt"),
    (3, "Quit"),
    (4, "Illegal instruction"),
    (5, "Trace/breakpoint trap"),
    (6, "Aborted"),
    (7, "Bus error"),
    (8, "Floating point exception"),
    (9, "Killed"),
    (10, "User defined signal 1"),
    (11, "Segmentation fault"),
    (12, "User defined signal 2"),
    (13, "Broken pipe"),
    (14, "Alarm clock"),
    (15, "Terminated"),
    (16, "Stack fault"),
    (17, "Child exited"),
    (18, "Continued"),
    (19, "Stopped (signal)"),
    (20, "Stopped"),
    (21, "Stopped (tty input)"),
    (22, "Stopped (tty output)"),
    (23, "Urgent I/O condition"),
    (24, "CPU time limit exceeded"),
    (25, "File size limit exceeded"),
    (26, "Virtual timer expired"),
    (27, "Profiling timer expired"),
    (28, "Window changed"),
    (29, "I/O possible"),
    (30, "Power failure"),
    (31, "Bad system call"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_exit_status_from_the_message() {
        fn check(state: TaskState, message: &str, expected: u8) {
            let status = TaskStatus {
                state: state.into(),
                message: Some(message.to_owned()),
                ..TaskStatus::default()
            };
            assert_eq!(exit_status(&status), expected, "{message}");
        }
        use TaskState::{TaskError, TaskFailed, TaskFinished, TaskKilled};
        check(TaskFinished, "Command exited with status 0", 0);
        check(TaskFinished, "", 0);
        check(TaskFailed, "Command exited with status 3", 3);
        check(TaskFailed, "Command exited with status 255", 255);
        check(TaskFailed, "Command exited with status 999", 1);
        check(TaskFailed, "Command terminated with signal Killed", 137);
        check(
            TaskFailed,
            "Command terminated with signal Aborted (core dumped)",
            134,
        );
        check(
            TaskFailed,
            "Command terminated with signal Unknown signal 33",
            161,
        );
        check(
            TaskFailed,
            "Command terminated with signal Real-time signal 1",
            163,
        );
        check(TaskFailed, "Command terminated with signal of some kind", 1);
        check(TaskKilled, "Command terminated with signal Terminated", 143);
        check(TaskKilled, "Command exited with status 0", 1);
        check(TaskFailed, "Container limit exceeded", 1);
        check(TaskError, "Task uses more resources than available", 1);
    }
}
