//! Child processes: started without copying the parent, watched without polling.
//!
//! A [`Command`] says what to run and becomes a [`Subprocess`]. The exit status is exact and arrives as soon as the process
//! ends: the kernel tells by a pidfd. [`Reaper`] does the same for any process by its number, and [`redirect`] carries output
//! on, to a file or nowhere, with a look at it on the way.
//!
//! # How a process is started
//! By `posix_spawn`, which shares the memory of the parent until the new program runs, so that it costs the same however big
//! the parent has grown. The standard library falls back to a plain `fork` for whatever `posix_spawn` cannot do, so none of that
//! is offered here: hooks between fork and exec, another user or group, a new session. What needs those starts a helper program
//! that does them to itself and then becomes the wanted program, as the agent does with `mesos-containerizer`. For the same
//! reason the program is looked up in the child's `PATH` here and not by the standard library.
//!
//! Of the parent's descriptors the child gets 0, 1 and 2 and no others: Rust opens everything close-on-exec. (What the parent
//! itself was started with beyond those is passed on, if it was meant to be.) All signals of the child are unblocked, and a
//! broken pipe kills it, whatever the parent does.
//!
//! Upstream: `3rdparty/libprocess/include/process/{subprocess,reap}.hpp`; there the reaper polls, and its whitelist of
//! descriptors, its hooks and its supervisor are left to a helper program.

mod command;
mod exit;
mod program;
mod reaper;
mod redirect;
mod stdio;

pub use command::Command;
pub use reaper::Reaper;
pub use redirect::redirect;
pub use rustix::process::Signal;
pub use stdio::Stdio;

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;

use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::watch;

use exit::Process;

/// Why a process was not started, or its end is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such program in the directories of `PATH`.
    #[error("program '{}' not found in PATH '{}'", program.display(), path.display())]
    NotInPath {
        /// The program.
        program: OsString,
        /// The directories searched, separated by colons.
        path: OsString,
    },
    /// The program was not started.
    #[error("failed to start '{}': {source}", program.display())]
    Start {
        /// The program.
        program: OsString,
        /// Why.
        source: io::Error,
    },
    /// The directory to start in is not usable.
    #[error("failed to start '{}' in directory '{}': {source}", program.display(), directory.display())]
    Directory {
        /// The program.
        program: OsString,
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file for input or output was not opened.
    #[error("failed to open '{}' for {stream}: {source}", path.display())]
    Open {
        /// `stdin`, `stdout` or `stderr`.
        stream: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A pipe to the child was not set up; the child has been killed.
    #[error("failed to set up a pipe for {stream}: {source}")]
    Pipe {
        /// `stdin`, `stdout` or `stderr`.
        stream: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Not called within a tokio runtime, which has to watch the process.
    #[error("a process can only be started within a tokio runtime")]
    NoRuntime,
    /// The tokio runtime in which the process was started ended before it did, or something else took its exit status, or the
    /// system had neither descriptors nor threads left to wait for it.
    #[error("the exit status of process {0} is lost")]
    StatusLost(u32),
}

/// A process that was started.
///
/// It is reaped when it ends, whether or not anyone waits, as long as the tokio runtime lives in which it was started. Dropping
/// this leaves it running, unless [`Command::kill_on_drop`] was chosen.
#[derive(Debug)]
pub struct Subprocess {
    /// The end of the pipe to its standard input, if that is a pipe. Dropping it is the end of the input.
    pub stdin: Option<ChildStdin>,
    /// The end of the pipe from its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// The end of the pipe from its standard error, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    process: Arc<Process>,
    status: watch::Receiver<Option<ExitStatus>>,
    kill_on_drop: bool,
}

impl Subprocess {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it has ended. May be called any number of times; dropping the future changes nothing.
    ///
    /// # Errors
    /// [`Error::StatusLost`].
    pub fn wait(&self) -> impl Future<Output = Result<ExitStatus, Error>> + Send + use<> {
        let (mut status, id) = (self.status.clone(), self.id());
        async move {
            let ended = status.wait_for(Option::is_some).await;
            ended
                .ok()
                .and_then(|status| *status)
                .ok_or(Error::StatusLost(id))
        }
    }

    /// Its exit status if it has ended.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.status.borrow()
    }

    /// Sends it a signal. Never reaches another process: once this one has been reaped nothing is sent.
    ///
    /// # Errors
    /// What the kernel says, such as that the process now belongs to another user; `NotFound` once it has been reaped.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.process.signal(signal)
    }

    /// Sends a signal to all processes of its group, of which it is the leader if [`Command::process_group`] was chosen.
    ///
    /// # Errors
    /// As [`signal`](Self::signal); `Unsupported` if it has no group of its own. What is left of a group whose leader has been
    /// reaped can no longer be told from a new group of the same number: see [`Command::kill_group_at_exit`].
    pub fn signal_group(&self, signal: Signal) -> io::Result<()> {
        self.process.signal_group(signal)
    }
}

impl Drop for Subprocess {
    fn drop(&mut self) {
        if self.kill_on_drop {
            self.process.kill();
        }
    }
}
