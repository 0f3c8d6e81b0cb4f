//! How the end of a process is put into words.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Says how a process ended, like `exited with status 1`.
///
/// Upstream: `WSTRINGIFY` in `3rdparty/stout/include/stout/os/posix/...`; signals by the words of the C library.
pub(crate) fn describe_exit(wait_status: i32) -> String {
    let status = ExitStatus::from_raw(wait_status);
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => {
            let core = if status.core_dumped() {
                " (core dumped)"
            } else {
                ""
            };
            format!("terminated with signal {}{core}", signal_name(signal))
        }
        (None, None) => format!("ended with wait status {wait_status}"),
    }
}

fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 31] = [
        "Hangup",
        "Interrupt",
        "Quit",
        "Illegal instruction",
        "Trace/breakpoint trap",
        "Aborted",
        "Bus error",
        "Floating point exception",
        "Killed",
        "User defined signal 1",
        "Segmentation fault",
        "User defined signal 2",
        "Broken pipe",
        "Alarm clock",
        "Terminated",
        "Stack fault",
        "Child exited",
        "Continued",
        "Stopped (signal)",
        "Stopped",
        "Stopped (tty input)",
        "Stopped (tty output)",
        "Urgent I/O condition",
        "CPU time limit exceeded",
        "File size limit exceeded",
        "Virtual timer expired",
        "Profiling timer expired",
        "Window changed",
        "I/O possible",
        "Power failure",
        "Bad system call",
    ];
    /// The first signal for free use, as the C library counts.
    const REAL_TIME_MIN: i32 = 34;
    const REAL_TIME_MAX: i32 = 64;

    let known = usize::try_from(signal - 1)
        .ok()
        .and_then(|index| NAMES.get(index));
    match known {
        Some(name) => (*name).to_owned(),
        None if (REAL_TIME_MIN..=REAL_TIME_MAX).contains(&signal) => {
            format!("Real-time signal {}", signal - REAL_TIME_MIN)
        }
        None => format!("Unknown signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_in_words() {
        let check = |status, expected| assert_eq!(describe_exit(status), expected);
        check(0, "exited with status 0");
        check(1 << 8, "exited with status 1");
        check(255 << 8, "exited with status 255");
        check(9, "terminated with signal Killed");
        check(15, "terminated with signal Terminated");
        check(
            11 | 0x80,
            "terminated with signal Segmentation fault (core dumped)",
        );
        check(31, "terminated with signal Bad system call");
        check(34, "terminated with signal Real-time signal 0");
    }
}
