//! The status of a driver, shared by its handles, its actor and its callback thread.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::Status;

/// Status, end and last error of one driver.
pub(crate) struct Lifecycle {
    status: watch::Sender<Status>,
    /// True when the driver has left RUNNING and no callback is being made any more.
    finished: watch::Sender<bool>,
    error: Mutex<Option<String>>,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Lifecycle {
            status: watch::Sender::new(Status::NotStarted),
            finished: watch::Sender::new(false),
            error: Mutex::new(None),
        }
    }

    pub(crate) fn status(&self) -> Status {
        *self.status.borrow()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.status() == Status::Running
    }

    /// Moves to `to` if the status is one of `from`; says what it was before.
    fn advance(&self, from: &[Status], to: Status) -> Result<Status, Status> {
        let mut before = to;
        let moved = self.status.send_if_modified(|status| {
            before = *status;
            let moves = from.contains(status);
            if moves {
                *status = to;
            }
            moves
        });
        if moved { Ok(before) } else { Err(before) }
    }

    /// NOT_STARTED -> RUNNING; the status it was in otherwise.
    pub(crate) fn start(&self) -> Result<(), Status> {
        self.advance(&[Status::NotStarted], Status::Running)
            .map(drop)
    }

    /// RUNNING or ABORTED -> STOPPED; the status that it was in is the answer either way.
    pub(crate) fn stop(&self) -> Result<Status, Status> {
        self.advance(&[Status::Running, Status::Aborted], Status::Stopped)
    }

    /// RUNNING -> ABORTED; false when it was not running.
    pub(crate) fn abort(&self) -> bool {
        self.advance(&[Status::Running], Status::Aborted).is_ok()
    }

    pub(crate) fn set_error(&self, message: &str) {
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        error.get_or_insert_with(|| message.to_owned());
    }

    pub(crate) fn error(&self) -> Option<String> {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        error.clone()
    }

    pub(crate) fn finish(&self) {
        self.finished.send_replace(true);
    }

    /// Resolves when the driver has ended; at once when it was never started.
    pub(crate) async fn wait(&self) -> Status {
        if self.status() != Status::NotStarted {
            let mut finished = self.finished.subscribe();
            // The sender is in `self`, so the channel cannot be closed.
            let _ = finished.wait_for(|finished| *finished).await;
        }
        self.status()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_status_machine() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.stop(), Err(Status::NotStarted));
        assert!(!lifecycle.abort());
        assert_eq!(lifecycle.start(), Ok(()));
        assert_eq!(lifecycle.start(), Err(Status::Running));
        assert!(lifecycle.abort());
        assert!(!lifecycle.abort());
        assert_eq!(lifecycle.start(), Err(Status::Aborted));
        assert_eq!(lifecycle.stop(), Ok(Status::Aborted));
        assert_eq!(lifecycle.stop(), Err(Status::Stopped));
        assert_eq!(lifecycle.status(), Status::Stopped);
    }

    #[test]
    fn keeps_the_first_error() {
        let lifecycle = Lifecycle::new();
        lifecycle.set_error("first");
        lifecycle.set_error("second");
        assert_eq!(lifecycle.error().as_deref(), Some("first"));
    }

    #[test]
    fn waiting_for_a_driver_that_never_ran_returns_at_once() {
        let lifecycle = Lifecycle::new();
        assert_eq!(
            futures::executor::block_on(lifecycle.wait()),
            Status::NotStarted
        );
    }
}
