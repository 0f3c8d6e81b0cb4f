//! The end of a process: noticed by a pidfd, then reaped.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use parking_lot::Mutex;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, kill_process_group,
    pidfd_open, waitid,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::descriptor;

/// A child of ours. Its number is its own until it has been reaped, which the lock keeps from happening in between.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    group: Group,
    reaped: Mutex<bool>,
}

/// The processes that belong to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// It is in the group of its parent.
    Inherited,
    /// It leads a group.
    Own,
    /// It leads a group, which is killed when it ends.
    KilledWithLeader,
}

impl Process {
    pub(super) fn new(pid: Pid, group: Group) -> Self {
        Self {
            pid,
            group,
            reaped: Mutex::new(false),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.unless_reaped(|| kill_process(self.pid, signal))
    }

    pub(super) fn signal_group(&self, signal: Signal) -> io::Result<()> {
        match self.group {
            Group::Inherited => Err(io::ErrorKind::Unsupported.into()),
            Group::Own | Group::KilledWithLeader => {
                self.unless_reaped(|| kill_process_group(self.pid, signal))
            }
        }
    }

    /// Kills it, and its group if it has one; nothing if it has been reaped.
    pub(super) fn kill(&self) {
        let killed = match self.group {
            Group::Inherited => self.signal(Signal::KILL),
            Group::Own | Group::KilledWithLeader => self.signal_group(Signal::KILL),
        };
        match killed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("Failed to kill process {}: {error}", self.id());
            }
            _ => {}
        }
    }

    fn unless_reaped(&self, send: impl FnOnce() -> rustix::io::Result<()>) -> io::Result<()> {
        let reaped = self.reaped.lock();
        match *reaped {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(send()?),
        }
    }

    /// Waits for its end, then reaps it; `None` if something else has done that, or if there is no way to wait.
    pub(super) async fn reap(&self) -> Option<ExitStatus> {
        self.reap_after(end(self.pid)).await
    }

    async fn reap_after(&self, end: impl Future<Output = io::Result<()>>) -> Option<ExitStatus> {
        if let Err(error) = end.await {
            tracing::error!("Lost sight of process {}: {error}", self.id());
            return None;
        }
        if self.group == Group::KilledWithLeader {
            self.kill();
        }
        let mut reaped = self.reaped.lock();
        *reaped = true;
        take_status(WaitId::Pid(self.pid))
    }
}

/// A descriptor that becomes readable when the process ends.
pub(super) fn open(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    descriptor::readable(pidfd)
}

pub(super) async fn wait_readable(pidfd: &AsyncFd<OwnedFd>) -> io::Result<()> {
    pidfd.readable().await.map(drop)
}

/// The status of an ended child, which is reaped by it; `None` if it is no child of ours, or no longer.
pub(super) fn take_status(id: WaitId<'_>) -> Option<ExitStatus> {
    let status = waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    status.ok().flatten().as_ref().and_then(to_exit_status)
}

/// The same in the form of wait(2): the exit code in the second byte, or the signal, and 0x80 for a core dump, in the first.
fn to_exit_status(status: &WaitIdStatus) -> Option<ExitStatus> {
    let raw = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) if status.dumped() => signal | 0x80,
        (None, Some(signal)) => signal,
        (None, None) => return None,
    };
    Some(ExitStatus::from_raw(raw))
}

async fn end(pid: Pid) -> io::Result<()> {
    match open(pid) {
        Ok(pidfd) => wait_readable(&pidfd).await,
        Err(error) => {
            tracing::warn!("No pidfd for process {}: {error}", pid.as_raw_pid());
            wait_on_thread(pid).await
        }
    }
}

/// For want of a pidfd, as with a kernel before 5.3 or too many open files: a thread of its own waits, and leaves the process
/// to be reaped.
async fn wait_on_thread(pid: Pid) -> io::Result<()> {
    let (ended, end) = oneshot::channel::<()>();
    let wait = move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(
            waitid(WaitId::Pid(pid), options),
            Err(rustix::io::Errno::INTR)
        ) {}
        drop(ended);
    };
    let thread = std::thread::Builder::new().name(format!("wait-{}", pid.as_raw_pid()));
    thread.spawn(wait)?;
    // The other end is dropped when the process has ended.
    let _ = end.await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[expect(clippy::zombie_processes, reason = "it is reaped by its number")]
    async fn a_thread_waits_where_there_is_no_pidfd() {
        let child = std::process::Command::new("/bin/sh")
            .args(["-c", "exit 7"])
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        wait_on_thread(pid).await.unwrap();
        let status = take_status(WaitId::Pid(pid)).unwrap();
        assert_eq!(status.code(), Some(7));
        assert_eq!(take_status(WaitId::Pid(pid)), None);
    }

    #[tokio::test]
    #[expect(clippy::zombie_processes, reason = "it is reaped by its number")]
    async fn a_child_that_cannot_be_watched_is_not_taken_for_dead() {
        let child = std::process::Command::new("/bin/sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let process = Process::new(Pid::from_child(&child), Group::Inherited);
        let lost = async { Err(io::ErrorKind::OutOfMemory.into()) };
        assert_eq!(process.reap_after(lost).await, None);
        process.signal(Signal::TERM).unwrap();
        let status = process.reap().await.unwrap();
        assert_eq!(status.signal(), Some(15));
    }
}
