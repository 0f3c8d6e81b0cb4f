//! Child processes that do not outlive their test.

use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::wait::eventually_blocking;

/// How much of a log is printed when a test fails.
const LOG_LINES_PRINTED: usize = 100;
/// How long a killed process may take to disappear.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// A child process in a process group of its own, whose output goes to a file. Dropping it
/// kills the group, and prints the end of the output if the test is failing.
#[derive(Debug)]
pub struct ManagedProcess {
    name: String,
    child: Child,
    log: PathBuf,
}

impl ManagedProcess {
    /// Starts a command; standard output and error are appended to `<dir>/<name>.log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be executed.
    pub fn spawn(name: &str, command: &mut Command, dir: &Path) -> io::Result<ManagedProcess> {
        let log = dir.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(|error| {
                let program = command.get_program().to_string_lossy().into_owned();
                io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
            })?;
        Ok(ManagedProcess {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// The name given at start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id, which is also that of its group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything written so far to standard output and error.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends a signal to the process alone. One that has ended is not an error.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    /// Ends the process (not its group) with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The exit status if the process has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// When it is still running after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        eventually_blocking(what, deadline, || self.try_wait())
    }

    fn print_log(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let start = lines.len().saturating_sub(LOG_LINES_PRINTED);
        eprintln!("---- {} (pid {}) ----", self.name, self.child.id());
        for line in lines.iter().skip(start) {
            eprintln!("{line}");
        }
    }
}

impl Drop for ManagedProcess {
    fn drop(&mut self) {
        let _ = killpg(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGKILL,
        );
        self.kill();
        if std::thread::panicking() {
            self.print_log();
        }
    }
}

/// Kills every process that works in `dir` or below: executors and tasks of a killed agent have
/// process groups of their own, but all live in their sandboxes.
pub fn kill_all_in(dir: &Path) {
    let Ok(dir) = dir.canonicalize() else { return };
    eventually_blocking(
        format!("no process is left in {}", dir.display()),
        KILL_DEADLINE,
        || {
            let left = processes_in(&dir);
            for pid in &left {
                let _ = kill(*pid, Signal::SIGKILL);
            }
            left.is_empty().then_some(())
        },
    );
}

fn processes_in(dir: &Path) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let cwd = std::fs::read_link(entry.path().join("cwd")).ok()?;
            (pid != std::process::id().cast_signed() && cwd.starts_with(dir))
                .then(|| Pid::from_raw(pid))
        })
        .collect()
}

/// How a process ended, for messages.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}
