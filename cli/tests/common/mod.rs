//! Running the `mesos` program in surroundings of its own.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses a part of this"
)]

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long a program may take until it is killed, and the test has failed.
const DEADLINE: Duration = Duration::from_secs(120);

/// The program under test.
pub fn mesos() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mesos"))
}

/// A home and a folder for temporary files that nobody else uses.
pub struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("mesos-cli-")
            .tempdir()
            .unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        Sandbox { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn tmp(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    /// Digits that are in the command line of no other process.
    pub fn marker(&self) -> u64 {
        let name = self.folder.path().file_name().unwrap().to_string_lossy();
        name.bytes()
            .fold(u64::from(std::process::id()), |hash, byte| {
                hash.wrapping_mul(31).wrapping_add(u64::from(byte)) % 1_000_000_000_000
            })
    }

    /// The program with `arguments`, told nothing by the environment of the test.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(mesos());
        command.args(arguments).current_dir(self.path());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("MESOS_") || text.starts_with("LIBPROCESS_") {
                command.env_remove(&name);
            }
        }
        command.env("HOME", self.path()).env("TMPDIR", self.tmp());
        command
    }

    /// Runs the program with `arguments` to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        end(self.command(arguments))
    }

    /// Nothing is left: no temporary file, and no process that was started here.
    #[track_caller]
    pub fn assert_clean(&self) {
        let left: Vec<_> = std::fs::read_dir(self.tmp())
            .unwrap()
            .map(|it| it.unwrap())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        let processes = processes_with(&self.tmp().to_string_lossy());
        assert!(processes.is_empty(), "still running: {processes:?}");
        let processes = processes_with(&self.marker().to_string());
        assert!(processes.is_empty(), "still running: {processes:?}");
    }
}

/// The command lines of the processes whose command line or environment holds `text`, if they do
/// not end very soon.
fn processes_with(text: &str) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let found = find_processes(text);
        if found.is_empty() || Instant::now() > deadline {
            return found;
        }
        thread::yield_now();
    }
}

fn find_processes(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let is_process = entry.file_name().to_string_lossy().parse::<u32>().is_ok();
        if !is_process || entry.file_name() == *std::process::id().to_string() {
            continue;
        }
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let (line, environment) = (read("cmdline"), read("environ"));
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) || String::from_utf8_lossy(&environment).contains(text) {
            found.push(line);
        }
    }
    found
}

/// What a program left.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Ended {
    #[track_caller]
    pub fn code(&self) -> Option<i32> {
        assert_eq!(self.status.signal(), None, "{}", self.stderr_text());
        self.status.code()
    }

    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Exit status 1, and one line with all of `parts`.
    #[track_caller]
    pub fn assert_error(&self, parts: &[&str]) {
        let text = self.stderr_text();
        assert_eq!(self.code(), Some(1), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in parts {
            assert!(text.contains(part), "'{part}' is not in '{text}'");
        }
    }
}

/// Runs `command` to its end.
#[track_caller]
pub fn end(mut command: Command) -> Ended {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let _watchdog = watch(&child);
    let output = child.wait_with_output().unwrap();
    Ended {
        status: output.status,
        stdout: output.stdout,
        stderr: output.stderr,
    }
}

/// Kills `child` when it does not end in time, unless what is returned is dropped before.
pub fn watch(child: &Child) -> mpsc::Sender<()> {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        if receiver.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = kill(pid, Signal::SIGABRT);
        }
    });
    sender
}

/// A loopback address that nothing listens on.
pub fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
