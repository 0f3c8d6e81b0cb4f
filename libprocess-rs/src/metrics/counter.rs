use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::statistics::{Statistics, TimeSeries};
use crate::Clock;

/// A number that counts events. Clones count together.
///
/// Upstream: `process::metrics::Counter`.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    value: AtomicI64,
    history: Option<Box<History>>,
}

/// The values that a windowed counter has had.
struct History {
    clock: Clock,
    series: Mutex<TimeSeries>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").finish_non_exhaustive()
    }
}

impl Counter {
    /// A counter that keeps the values of the last `window` of `clock`, of which a snapshot shows the statistics. The initial 0
    /// is the first of them.
    pub fn windowed(clock: &Clock, window: Duration) -> Self {
        let mut series = TimeSeries::new(window);
        series.add(clock.now(), 0.0);
        let history = History {
            clock: clock.clone(),
            series: Mutex::new(series),
        };
        Self(Arc::new(Count {
            value: AtomicI64::new(0),
            history: Some(Box::new(history)),
        }))
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add_signed(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.add_signed(i64::try_from(n).unwrap_or(i64::MAX));
    }

    /// Adds `n`, which may be negative.
    pub fn add_signed(&self, n: i64) {
        let value = &self.0.value;
        match &self.0.history {
            None => {
                value.fetch_add(n, Ordering::Relaxed);
            }
            Some(history) => {
                history.record(|| value.fetch_add(n, Ordering::Relaxed).wrapping_add(n));
            }
        }
    }

    /// The count.
    pub fn get(&self) -> i64 {
        self.0.value.load(Ordering::Relaxed)
    }

    /// Starts again from zero.
    pub fn reset(&self) {
        let value = &self.0.value;
        match &self.0.history {
            None => value.store(0, Ordering::Relaxed),
            Some(history) => history.record(|| {
                value.store(0, Ordering::Relaxed);
                0
            }),
        }
    }

    pub(super) fn statistics(&self) -> Option<Statistics> {
        self.0.history.as_ref()?.series.lock().statistics()
    }
}

impl History {
    /// Makes a change and keeps the value after it. Under the lock, so that values are kept in the order of their changes.
    fn record(&self, change: impl FnOnce() -> i64) {
        let mut series = self.series.lock();
        let value = change();
        series.add(self.clock.now(), value as f64);
    }
}
