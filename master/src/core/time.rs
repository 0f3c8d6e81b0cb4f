//! Wall-clock time as the core sees it.

use mesos::proto;

/// A point in wall-clock time, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time `nanoseconds` after the Unix epoch.
    #[must_use]
    pub fn from_nanos(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// The time `seconds` after the Unix epoch.
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * 1e9) as i64)
    }

    /// Seconds since the Unix epoch, as the JSON endpoints and status updates carry them.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        // Two steps keep microseconds exact; nanoseconds of today do not fit an f64.
        (self.0 / 1000) as f64 / 1e6
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub fn as_nanos(self) -> i64 {
        self.0
    }

    /// The wire form.
    #[must_use]
    pub fn to_proto(self) -> proto::TimeInfo {
        proto::TimeInfo {
            nanoseconds: self.0,
        }
    }
}
