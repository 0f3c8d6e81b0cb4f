//! What to run, and how.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Child};
use std::sync::Arc;

use rustix::process::Pid;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::exit::{Group, Process};
use super::stdio::Stream;
use super::{Error, Stdio, Subprocess, program};

/// A program with its arguments and surroundings, to be [spawned](Self::spawn).
///
/// Unless told otherwise the process gets the environment, the directory, the process group and the three standard streams of
/// its parent, and outlives it.
///
/// ```
/// # use libprocess::subprocess::{Command, Stdio};
/// # use tokio::io::AsyncReadExt;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut child = Command::shell("echo $GREETING; exit 3")
///     .env("GREETING", "hello")
///     .stdout(Stdio::Pipe)
///     .spawn()?;
/// let mut output = String::new();
/// if let Some(mut stdout) = child.stdout.take() {
///     stdout.read_to_string(&mut output).await?;
/// }
/// assert_eq!(output, "hello\n");
/// assert_eq!(child.wait().await?.code(), Some(3));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Command {
    program: OsString,
    name: Option<OsString>,
    arguments: Vec<OsString>,
    /// The whole environment, if it is not that of the parent.
    environment: Option<BTreeMap<OsString, OsString>>,
    variables: BTreeMap<OsString, OsString>,
    directory: Option<PathBuf>,
    stdin: Stdio,
    stdout: Stdio,
    stderr: Stdio,
    group: Group,
    kill_on_drop: bool,
}

impl Command {
    /// A program: a path, or a name to be looked up in the `PATH` that the process is given. A relative path is relative to the
    /// directory in which the process starts; relative directories in `PATH` are to that of the parent. A script has to begin with
    /// `#!`.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            name: None,
            arguments: Vec::new(),
            environment: None,
            variables: BTreeMap::new(),
            directory: None,
            stdin: Stdio::Inherit,
            stdout: Stdio::Inherit,
            stderr: Stdio::Inherit,
            group: Group::Inherited,
            kill_on_drop: false,
        }
    }

    /// A command line for `sh -c`.
    pub fn shell(command: impl Into<OsString>) -> Self {
        Self::new("/bin/sh")
            .argv0("sh")
            .args([OsString::from("-c"), command.into()])
    }

    /// Appends an argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Appends arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets the name under which the program sees itself; default what was given as the program.
    pub fn argv0(mut self, name: impl Into<OsString>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Replaces the whole environment, which otherwise is that of the parent.
    pub fn environment<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables.into_iter();
        self.environment = Some(variables.map(|(k, v)| (k.into(), v.into())).collect());
        self
    }

    /// Sets one variable of the environment.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Sets the directory in which the process starts.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets the standard input.
    pub fn stdin(mut self, stdin: Stdio) -> Self {
        self.stdin = stdin;
        self
    }

    /// Sets the standard output.
    pub fn stdout(mut self, stdout: Stdio) -> Self {
        self.stdout = stdout;
        self
    }

    /// Sets the standard error.
    pub fn stderr(mut self, stderr: Stdio) -> Self {
        self.stderr = stderr;
        self
    }

    /// Makes the process the leader of a new group, which can be [signalled](Subprocess::signal_group) as a whole.
    pub fn process_group(mut self) -> Self {
        if self.group == Group::Inherited {
            self.group = Group::Own;
        }
        self
    }

    /// Makes the process the leader of a new group, of which no process outlives it: when it ends, the others are killed.
    pub fn kill_group_at_exit(mut self) -> Self {
        self.group = Group::KilledWithLeader;
        self
    }

    /// Kills the process, and its group if it has one of its own, when the [`Subprocess`] is dropped.
    pub fn kill_on_drop(mut self) -> Self {
        self.kill_on_drop = true;
        self
    }

    /// Starts the process. To be called within a tokio runtime that drives input and output, which then watches it.
    ///
    /// # Errors
    /// See [`Error`]; then no process is left behind.
    pub fn spawn(self) -> Result<Subprocess, Error> {
        let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let (group, kill_on_drop) = (self.group, self.kill_on_drop);
        let mut child = self.start()?;
        let process = Arc::new(Process::new(Pid::from_child(&child), group));
        let pipes = Pipes::of(&mut child);
        let (sender, status) = watch::channel(None);
        let watched = process.clone();
        runtime.spawn(async move {
            if let Some(status) = watched.reap().await {
                sender.send_replace(Some(status));
            }
        });
        let Pipes {
            stdin,
            stdout,
            stderr,
        } = pipes.inspect_err(|_| process.kill())?;
        Ok(Subprocess {
            stdin,
            stdout,
            stderr,
            process,
            status,
            kill_on_drop,
        })
    }

    fn start(self) -> Result<Child, Error> {
        let found = program::find(&self.program, self.search_path())?;
        let mut command = process::Command::new(found);
        command
            .arg0(self.name.as_ref().unwrap_or(&self.program))
            .args(&self.arguments)
            .stdin(self.stdin.open(Stream::Stdin)?)
            .stdout(self.stdout.open(Stream::Stdout)?)
            .stderr(self.stderr.open(Stream::Stderr)?);
        if let Some(environment) = &self.environment {
            command.env_clear().envs(environment);
        }
        command.envs(&self.variables);
        if self.group != Group::Inherited {
            command.process_group(0);
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
            .spawn()
            .map_err(|error| start_error(self.program, self.directory, error))
    }

    /// The `PATH` of the process.
    fn search_path(&self) -> Option<OsString> {
        let name = OsStr::new("PATH");
        match (self.variables.get(name), &self.environment) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(environment)) => environment.get(name).cloned(),
            (None, None) => std::env::var_os(name),
        }
    }
}

/// The kernel does not say whether it was the program or the directory that was wrong.
fn start_error(program: OsString, directory: Option<PathBuf>, source: io::Error) -> Error {
    match directory {
        Some(directory) if !directory.is_dir() => Error::Directory {
            program,
            directory,
            source,
        },
        _ => Error::Start { program, source },
    }
}

/// The parent's ends.
struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Pipes {
    fn of(child: &mut Child) -> Result<Self, Error> {
        let failed = |stream: Stream| {
            let stream = stream.name();
            move |source| Error::Pipe { stream, source }
        };
        let stdin = child.stdin.take().map(ChildStdin::from_std);
        let stdout = child.stdout.take().map(ChildStdout::from_std);
        let stderr = child.stderr.take().map(ChildStderr::from_std);
        Ok(Self {
            stdin: stdin.transpose().map_err(failed(Stream::Stdin))?,
            stdout: stdout.transpose().map_err(failed(Stream::Stdout))?,
            stderr: stderr.transpose().map_err(failed(Stream::Stderr))?,
        })
    }
}
