//! Statistics over a window of time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Instant;

/// More samples than this are thinned out.
const CAPACITY: usize = 1000;

/// The samples of a window of time.
///
/// Upstream: `process::TimeSeries` and `process::Statistics`.
#[derive(Debug)]
pub(super) struct TimeSeries {
    window: Duration,
    samples: VecDeque<(Instant, f64)>,
    /// Index, within the older half, of the next sample to give up.
    next_thinned: usize,
    /// The statistics of the samples as they are, once someone has asked for them.
    statistics: Option<Statistics>,
}

/// The exported figures of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Statistics {
    /// How many samples there are.
    pub(super) count: usize,
    /// Their values at [`QUANTILES`].
    pub(super) values: [f64; 8],
}

/// What is exported, in order of the keys: name, and the share of samples below.
pub(super) const QUANTILES: [(&str, f64); 8] = [
    ("max", 1.0),
    ("min", 0.0),
    ("p50", 0.5),
    ("p90", 0.90),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p999", 0.999),
    ("p9999", 0.9999),
];

impl TimeSeries {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            samples: VecDeque::new(),
            next_thinned: 1,
            statistics: None,
        }
    }

    pub(super) fn add(&mut self, now: Instant, value: f64) {
        self.statistics = None;
        self.samples.push_back((now, value));
        let oldest = now - self.window;
        while self.samples.len() > 1 && self.samples.front().is_some_and(|(at, _)| *at <= oldest) {
            self.samples.pop_front();
            self.next_thinned = self.next_thinned.saturating_sub(1).max(1);
        }
        if self.samples.len() > CAPACITY {
            self.thin();
        }
    }

    /// Drops one sample of the older half, every other one in turn, so that old times are known less exactly than new ones.
    fn thin(&mut self) {
        if self.next_thinned > self.samples.len() / 2 {
            self.next_thinned = 1;
        }
        self.samples.remove(self.next_thinned);
        self.next_thinned += 1;
    }

    /// The exported figures; none below two samples.
    pub(super) fn statistics(&mut self) -> Option<Statistics> {
        if self.statistics.is_none() && self.samples.len() >= 2 {
            let mut sorted: Vec<f64> = self.samples.iter().map(|(_, value)| *value).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            self.statistics = Some(Statistics {
                count: sorted.len(),
                values: QUANTILES.map(|(_, share)| percentile(&sorted, share)),
            });
        }
        self.statistics
    }
}

/// Linear interpolation at position p * (n - 1).
fn percentile(sorted: &[f64], p: f64) -> f64 {
    let position = p * (sorted.len().saturating_sub(1)) as f64;
    let below = position.floor();
    let value = |index: f64| sorted.get(index as usize).copied();
    let low = value(below).unwrap_or(f64::NAN);
    let high = value(below + 1.0).unwrap_or(low);
    low + (high - low) * (position - below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_unix(Duration::from_secs(secs))
    }

    #[test]
    fn percentiles_interpolate() {
        let check = |values: &[f64], p: f64, expected: f64| {
            assert!((percentile(values, p) - expected).abs() < 1e-9, "{p}");
        };
        check(&[1.0, 2.0], 0.5, 1.5);
        check(&[1.0, 2.0, 3.0], 0.5, 2.0);
        check(&[1.0, 2.0, 3.0], 0.25, 1.5);
        check(&[1.0, 2.0, 3.0], 1.0, 3.0);
        check(&[5.0], 0.99, 5.0);
    }

    #[test]
    fn samples_leave_the_window_but_one_stays() {
        let mut series = TimeSeries::new(Duration::from_secs(10));
        series.add(at(0), 1.0);
        series.add(at(5), 2.0);
        series.add(at(12), 3.0);
        assert_eq!(series.samples.len(), 2);
        assert_eq!(series.statistics().unwrap().values[0], 3.0);
        series.add(at(12), 4.0);
        assert_eq!(series.statistics().unwrap().values[0], 4.0);
        series.add(at(15), 5.0);
        assert_eq!(series.samples.len(), 3);
        series.add(at(100), 4.0);
        assert_eq!(series.samples.len(), 1);
        assert!(series.statistics().is_none());
    }

    #[test]
    fn history_is_bounded() {
        let mut series = TimeSeries::new(Duration::from_secs(1_000_000));
        for n in 0..10_000 {
            series.add(at(n), n as f64);
        }
        assert_eq!(series.samples.len(), CAPACITY);
        let newest = series.samples.iter().rev().map(|(_, value)| *value);
        let newest: Vec<f64> = newest.take(CAPACITY / 4).collect();
        assert!(newest.windows(2).all(|pair| pair[0] - pair[1] == 1.0));
    }
}
