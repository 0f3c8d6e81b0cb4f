//! The life cycle of a driver.

use std::fmt;

/// Where a driver is in its life: `NotStarted -> Running -> Aborted -> Stopped`, where aborting may
/// be left out. A stopped driver cannot be started again.
///
/// Every driver method returns the status it left the driver in; methods other than `start` and
/// `stop` do nothing unless the driver is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Built, not started.
    NotStarted,
    /// Started; calls go out and callbacks come in (whether or not a master is known right now).
    Running,
    /// Given up by `abort`, by an error of the master or agent, or by a panic in a callback.
    Aborted,
    /// Ended by `stop`.
    Stopped,
}

impl Status {
    /// The name of the status in the upstream protocol, such as `DRIVER_RUNNING`.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::NotStarted => "DRIVER_NOT_STARTED",
            Status::Running => "DRIVER_RUNNING",
            Status::Aborted => "DRIVER_ABORTED",
            Status::Stopped => "DRIVER_STOPPED",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
