//! The posix launcher: a container is a session of its own, started through the helper.
//!
//! Upstream: `src/slave/containerizer/mesos/launcher.cpp`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mesos::ids::ContainerId;
use mesos::proto::slave::ContainerLaunchInfo;
use nix::sys::signal::Signal;
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::ContainerizerError;
use super::launch::{KILL_WITH_PARENT, LAUNCH, MESOS_CONTAINERIZER};
use super::process_table::{ProcessTable, send};

/// How long killed processes may take to disappear.
const DESTROY_TIMEOUT: Duration = Duration::from_secs(60);

/// The first and the longest pause between looks at killed processes; there is no event for processes of others.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// The multi-call binary that can stand in for the helper programs.
const MULTI_CALL: &str = "mesos";

/// A helper program: a file, and the name to call it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// The file to execute.
    pub path: PathBuf,
    /// Its `argv[0]`, by which the multi-call binary knows what to be.
    pub name: &'static str,
}

impl Helper {
    /// Finds a helper program in `launcher_dir`.
    ///
    /// If it is not there, the multi-call binary `mesos` does its work: the one in that folder, or the running one.
    pub fn find(launcher_dir: &Path, name: &'static str) -> Result<Helper, io::Error> {
        let own = launcher_dir.join(name);
        if own.is_file() {
            return Ok(Helper {
                path: own.canonicalize()?,
                name,
            });
        }
        let multi_call = launcher_dir.join(MULTI_CALL);
        if multi_call.is_file() {
            return Ok(Helper {
                path: multi_call.canonicalize()?,
                name,
            });
        }
        let running = std::env::current_exe()?;
        if running.file_name().is_some_and(|file| file == MULTI_CALL) {
            return Ok(Helper {
                path: running,
                name,
            });
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("'{}' does not exist", own.display()),
        ))
    }
}

/// Where the output of a container goes.
#[derive(Debug)]
pub struct Output {
    /// Its standard output.
    pub stdout: Stdio,
    /// Its standard error.
    pub stderr: Stdio,
}

impl Output {
    /// Output to two files.
    pub fn files(stdout: File, stderr: File) -> Self {
        Output {
            stdout: stdout.into(),
            stderr: stderr.into(),
        }
    }

    /// The same output as this process.
    pub fn inherited() -> Self {
        Output {
            stdout: Stdio::inherit(),
            stderr: Stdio::inherit(),
        }
    }
}

/// Starts and destroys the processes of containers.
#[derive(Clone, Debug)]
pub struct PosixLauncher {
    helper: Helper,
}

/// A container whose first process exists, but waits.
#[derive(Debug)]
pub struct Prepared {
    child: Child,
    helper: PathBuf,
}

impl PosixLauncher {
    /// A launcher with the helper in `launcher_dir`.
    pub fn new(launcher_dir: &Path) -> Result<Self, ContainerizerError> {
        let helper = Helper::find(launcher_dir, MESOS_CONTAINERIZER).map_err(|source| {
            ContainerizerError::Spawn {
                path: launcher_dir.join(MESOS_CONTAINERIZER),
                source,
            }
        })?;
        Ok(PosixLauncher { helper })
    }

    /// Starts the helper, which then waits to be [released](Prepared::release). Needs a tokio runtime.
    ///
    /// The standard library starts it by `posix_spawn`, which does not copy the page tables of a big agent.
    pub fn prepare(
        &self,
        output: Output,
        kill_with_parent: bool,
    ) -> Result<Prepared, ContainerizerError> {
        let mut command = Command::new(&self.helper.path);
        command
            .arg0(self.helper.name)
            .arg(LAUNCH)
            .args(kill_with_parent.then_some(KILL_WITH_PARENT))
            .stdin(Stdio::piped())
            .stdout(output.stdout)
            .stderr(output.stderr);
        let child = command
            .spawn()
            .map_err(|source| ContainerizerError::Spawn {
                path: self.helper.path.clone(),
                source,
            })?;
        Ok(Prepared {
            child,
            helper: self.helper.path.clone(),
        })
    }
}

impl Prepared {
    /// The first process of the container.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Gives the helper its orders: the container runs.
    pub async fn release(
        mut self,
        info: &ContainerLaunchInfo,
    ) -> Result<Child, ContainerizerError> {
        let orders = info.encode_length_delimited_to_vec();
        let written = match self.child.stdin.take() {
            Some(mut input) => input.write_all(&orders).await,
            None => Ok(()),
        };
        match written {
            // A helper that ended early has said why in the container's stderr, and its exit status tells.
            Ok(()) => Ok(self.child),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(self.child),
            Err(source) => Err(ContainerizerError::Spawn {
                path: self.helper,
                source,
            }),
        }
    }
}

/// How the processes of a container are told from others.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    /// The first process, leader of the container's session.
    pub(crate) leader: i32,
    /// An entry that every process of the container has in its environment, unless it removed it.
    pub(crate) environment: String,
    /// When the first process was started, in clock ticks since boot.
    pub(crate) started: u64,
}

impl Membership {
    /// The live processes of the container. Those that left their session and whose parents have died are found by
    /// their environment.
    pub(crate) fn find(&self, table: &ProcessTable) -> BTreeSet<i32> {
        let mut roots = table.with_environment(&self.environment, self.started);
        roots.extend(self.leader(table));
        table.closure(&roots)
    }

    /// The live processes that are found without looking at every environment.
    pub(crate) fn find_family(&self, table: &ProcessTable) -> BTreeSet<i32> {
        table.closure(&self.leader(table).into_iter().collect())
    }

    fn leader(&self, table: &ProcessTable) -> Option<i32> {
        // Once it was reaped and its session is empty, its number may go to a stranger.
        table
            .get(self.leader)
            .is_none_or(|leader| leader.started == self.started)
            .then_some(self.leader)
    }

    /// Kills every process of the container, and waits until they are gone.
    pub(crate) async fn destroy(&self, id: &ContainerId) -> Result<(), ContainerizerError> {
        let deadline = Instant::now() + DESTROY_TIMEOUT;
        let (mut pause, longest) = LOOK_AGAIN;
        loop {
            let membership = self.clone();
            let members = tokio::task::spawn_blocking(move || {
                ProcessTable::read().map(|table| membership.find(&table))
            })
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(ContainerizerError::Proc)?;
            if members.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(ContainerizerError::Undead(
                    id.clone(),
                    members.into_iter().collect(),
                ));
            }
            for pid in &members {
                send(*pid, Signal::SIGKILL);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }
}
