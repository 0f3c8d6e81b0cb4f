//! The end of any process, by its number.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, test_kill_process, waitid};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::exit::{open, take_status, wait_readable};
use crate::Clock;

/// How often a process is looked at for which the kernel gives no pidfd.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Waits for processes by number: those recovered from a checkpoint, or started by something else.
///
/// Clones share their waits, so that each of several waiters for a child gets its status. A child started by
/// [`Command`](super::Command) is reaped there and should be waited for there.
///
/// Only if the kernel gives no pidfd, before Linux 5.3 or when there are too many open files, is a process looked at ten times a
/// second of the clock; upstream does so for all.
///
/// Upstream: `process::reap`.
#[derive(Clone, Debug)]
pub struct Reaper {
    clock: Clock,
    waits: Arc<Mutex<HashMap<Pid, watch::Receiver<End>>>>,
}

/// `None` while the process lives; then its status if that is known.
type End = Option<Option<ExitStatus>>;

impl Reaper {
    /// A reaper of its own set of waits.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            waits: Arc::default(),
        }
    }

    /// Waits until the process has ended. If it was a child of ours it is reaped, and its status is the output. Else the output
    /// is `None`: at once if there is no such process, otherwise when it has ended.
    ///
    /// To be called within a tokio runtime, which has to live until then, or else the output is `None`. The process is watched
    /// from now on, whether or not the future is polled.
    pub fn reap(&self, pid: u32) -> impl Future<Output = Option<ExitStatus>> + Send + use<> {
        let wait = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .map(|pid| self.wait(pid));
        async move {
            let mut wait = wait?;
            let end = wait.wait_for(Option::is_some).await.ok()?;
            end.flatten()
        }
    }

    fn wait(&self, pid: Pid) -> watch::Receiver<End> {
        let mut waits = self.waits.lock();
        if let Some(wait) = waits.get(&pid).filter(|wait| wait.has_changed().is_ok()) {
            return wait.clone();
        }
        let (ended, wait) = watch::channel(None);
        waits.insert(pid, wait.clone());
        let (clock, waits) = (self.clock.clone(), self.waits.clone());
        // Now and not in the task: until it runs, the process could end and another one get its number.
        let pidfd = open(pid);
        tokio::spawn(async move {
            let end = end(pid, pidfd, &clock).await;
            // The number may belong to another process from now on.
            waits.lock().remove(&pid);
            ended.send_replace(Some(end));
        });
        wait
    }
}

async fn end(pid: Pid, pidfd: io::Result<AsyncFd<OwnedFd>>, clock: &Clock) -> Option<ExitStatus> {
    match pidfd {
        Ok(pidfd) => {
            wait_readable(&pidfd).await.ok()?;
            take_status(WaitId::PidFd(pidfd.get_ref().as_fd()))
        }
        Err(error) => match Errno::from_io_error(&error) {
            // There is no such process, or it is a thread.
            Some(Errno::SRCH | Errno::INVAL) => None,
            _ => {
                tracing::warn!("No pidfd for process {}: {error}", pid.as_raw_pid());
                poll(pid, clock).await
            }
        },
    }
}

async fn poll(pid: Pid, clock: &Clock) -> Option<ExitStatus> {
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        match waitid(WaitId::Pid(pid), peek) {
            Ok(Some(_)) => return take_status(WaitId::Pid(pid)),
            Err(Errno::CHILD) if test_kill_process(pid) == Err(Errno::SRCH) => return None,
            _ => clock.sleep(POLL_INTERVAL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[expect(clippy::zombie_processes, reason = "it is reaped by its number")]
    async fn polls_where_there_is_no_pidfd() {
        let child = std::process::Command::new("/bin/sh")
            .args(["-c", "exit 7"])
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let status = poll(pid, &Clock::system()).await.unwrap();
        assert_eq!(status.code(), Some(7));
        assert_eq!(poll(pid, &Clock::system()).await, None);
    }
}
