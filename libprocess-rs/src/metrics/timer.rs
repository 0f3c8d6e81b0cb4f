use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::statistics::{Statistics, TimeSeries};
use crate::{Clock, Instant};

pub(super) const DEFAULT_WINDOW: Duration = Duration::from_secs(60 * 60);

/// The unit in which a [`Timer`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// `_ns`
    Nanoseconds,
    /// `_us`
    Microseconds,
    /// `_ms`
    Milliseconds,
    /// `_secs`
    Seconds,
    /// `_mins`
    Minutes,
    /// `_hrs`
    Hours,
    /// `_days`
    Days,
    /// `_weeks`
    Weeks,
}

impl TimeUnit {
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::Seconds => "secs",
            Self::Minutes => "mins",
            Self::Hours => "hrs",
            Self::Days => "days",
            Self::Weeks => "weeks",
        }
    }

    pub(super) fn nanoseconds(self) -> f64 {
        match self {
            Self::Nanoseconds => 1.0,
            Self::Microseconds => 1e3,
            Self::Milliseconds => 1e6,
            Self::Seconds => 1e9,
            Self::Minutes => 60e9,
            Self::Hours => 3600e9,
            Self::Days => 86_400e9,
            Self::Weeks => 604_800e9,
        }
    }
}

/// A metric of the last duration of something. Clones share it.
///
/// Upstream: `process::metrics::Timer`.
#[derive(Clone, Debug)]
pub struct Timer {
    clock: Clock,
    unit: TimeUnit,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    last: Option<f64>,
    count: u64,
    total: Duration,
    history: Option<TimeSeries>,
}

/// A measurement that has begun.
#[derive(Debug)]
#[must_use = "a measurement counts when it is stopped"]
pub struct Timing {
    timer: Timer,
    start: Instant,
}

impl Timer {
    /// A timer that follows `clock` and reports in `unit`. With a window it keeps the durations of that time, of which a
    /// snapshot shows the statistics.
    pub fn new(clock: Clock, unit: TimeUnit, window: Option<Duration>) -> Self {
        let state = State {
            last: None,
            count: 0,
            total: Duration::ZERO,
            history: window.map(TimeSeries::new),
        };
        Self {
            clock,
            unit,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Begins a measurement; several may be under way.
    pub fn start(&self) -> Timing {
        Timing {
            timer: self.clone(),
            start: self.clock.now(),
        }
    }

    /// Records a duration that was measured elsewhere.
    pub fn record(&self, duration: Duration) {
        let value = duration.as_nanos() as f64 / self.unit.nanoseconds();
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.last = Some(value);
        state.count += 1;
        state.total = state.total.saturating_add(duration);
        if let Some(history) = &mut state.history {
            history.add(now, value);
        }
    }

    pub(super) fn unit(&self) -> TimeUnit {
        self.unit
    }

    pub(super) fn reading(&self) -> TimerReading {
        let mut state = self.state.lock();
        TimerReading {
            unit: self.unit,
            last: state.last,
            count: state.count,
            total: state.total,
            statistics: state.history.as_mut().and_then(TimeSeries::statistics),
        }
    }
}

/// What a timer shows at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimerReading {
    pub(super) unit: TimeUnit,
    /// The last duration, in the unit.
    pub(super) last: Option<f64>,
    /// How many durations there were.
    pub(super) count: u64,
    /// Their sum.
    pub(super) total: Duration,
    /// In the unit.
    pub(super) statistics: Option<Statistics>,
}

impl Timing {
    /// Ends the measurement, records it and returns it.
    pub fn stop(self) -> Duration {
        let duration = self.timer.clock.now() - self.start;
        self.timer.record(duration);
        duration
    }
}
