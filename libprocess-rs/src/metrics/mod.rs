//! Metrics of one runtime.

mod statistics;
mod timer;

pub use timer::{TimeUnit, Timer, Timing};

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::Clock;

/// A set of named metrics. Clones share the set.
///
/// Names are paths such as `master/uptime_secs`. Asking twice for the same name and kind gives the same metric; asking for a
/// name with another kind replaces it.
///
/// Upstream: `process::metrics` in `3rdparty/libprocess/include/process/metrics/`.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    entries: RwLock<BTreeMap<String, Metric>>,
}

#[derive(Clone)]
enum Metric {
    Counter(Counter),
    PushGauge(PushGauge),
    PullGauge(Arc<dyn Fn() -> f64 + Send + Sync>),
    Timer(Timer),
}

/// A number that counts events. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicI64>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Starts again from zero.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A value that its owner sets. Clones share the value.
#[derive(Clone, Debug, Default)]
pub struct PushGauge(Arc<AtomicU64>);

impl PushGauge {
    /// Replaces the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds to the value.
    pub fn add(&self, by: f64) {
        let sum = |bits| Some((f64::from_bits(bits) + by).to_bits());
        // The closure never refuses.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }

    /// The value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl Metrics {
    /// An empty set whose timers follow `clock`.
    pub fn new(clock: Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                entries: RwLock::default(),
            }),
        }
    }

    /// The counter called `name`.
    pub fn counter(&self, name: impl Into<String>) -> Counter {
        self.get_or_add(
            name.into(),
            |metric| match metric {
                Metric::Counter(counter) => Some(counter.clone()),
                _ => None,
            },
            Counter::default,
            Metric::Counter,
        )
    }

    /// The gauge called `name`.
    pub fn push_gauge(&self, name: impl Into<String>) -> PushGauge {
        self.get_or_add(
            name.into(),
            |metric| match metric {
                Metric::PushGauge(gauge) => Some(gauge.clone()),
                _ => None,
            },
            PushGauge::default,
            Metric::PushGauge,
        )
    }

    /// A gauge whose value is asked for at each snapshot, so it must be quick and must not block. It replaces a metric of the
    /// same name.
    pub fn pull_gauge(
        &self,
        name: impl Into<String>,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let metric = Metric::PullGauge(Arc::new(value));
        self.shared.entries.write().insert(name.into(), metric);
    }

    /// A timer in milliseconds, with statistics over the last hour. Its key is `name` with `_ms` appended.
    pub fn timer(&self, name: impl Into<String>) -> Timer {
        let window = Some(timer::DEFAULT_WINDOW);
        self.timer_with(name, TimeUnit::Milliseconds, window)
    }

    /// A timer in `unit`; its key is `name` with the unit appended. With a window, statistics over it are added.
    pub fn timer_with(
        &self,
        name: impl Into<String>,
        unit: TimeUnit,
        window: Option<std::time::Duration>,
    ) -> Timer {
        let name = format!("{}_{}", name.into(), unit.suffix());
        let clock = self.shared.clock.clone();
        self.get_or_add(
            name,
            |metric| match metric {
                Metric::Timer(timer) => Some(timer.clone()),
                _ => None,
            },
            || Timer::new(clock, unit, window),
            Metric::Timer,
        )
    }

    fn get_or_add<T: Clone>(
        &self,
        name: String,
        get: impl Fn(&Metric) -> Option<T>,
        make: impl FnOnce() -> T,
        wrap: impl Fn(T) -> Metric,
    ) -> T {
        let mut entries = self.shared.entries.write();
        if let Some(found) = entries.get(&name).and_then(&get) {
            return found;
        }
        let made = make();
        entries.insert(name, wrap(made.clone()));
        made
    }

    /// Removes a metric; for a timer `name` includes the unit. True if there was one.
    pub fn remove(&self, name: &str) -> bool {
        self.shared.entries.write().remove(name).is_some()
    }

    /// Removes all metrics whose names begin with `prefix`.
    pub fn remove_prefix(&self, prefix: &str) {
        let mut entries = self.shared.entries.write();
        let names: Vec<String> = entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(name, _)| name)
            .take_while(|name| name.starts_with(prefix))
            .cloned()
            .collect();
        for name in names {
            entries.remove(&name);
        }
    }

    /// All values now, in order of their keys. Values that are not numbers are left out.
    pub fn snapshot(&self) -> BTreeMap<String, f64> {
        // Gauges may use this set, so they are not called under its lock.
        let entries: Vec<(String, Metric)> = {
            let entries = self.shared.entries.read();
            entries
                .iter()
                .map(|(name, metric)| (name.clone(), metric.clone()))
                .collect()
        };
        let mut values = BTreeMap::new();
        for (name, metric) in entries {
            match metric {
                Metric::Counter(counter) => {
                    values.insert(name, counter.get() as f64);
                }
                Metric::PushGauge(gauge) => {
                    values.insert(name, gauge.get());
                }
                Metric::PullGauge(value) => {
                    values.insert(name, value());
                }
                Metric::Timer(timer) => timer.snapshot(&name, &mut values),
            }
        }
        values.retain(|_, value| !value.is_nan());
        values
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.snapshot()).finish()
    }
}

/// A snapshot as one flat JSON object, every value a double.
pub(crate) fn snapshot_json(values: &BTreeMap<String, f64>) -> String {
    let mut json = String::with_capacity(2 + values.len() * 48);
    json.push('{');
    for (name, value) in values {
        if json.len() > 1 {
            json.push(',');
        }
        // A name is always representable; were it not, the empty key is still valid JSON.
        let name = serde_json::to_string(name).unwrap_or_else(|_| "\"\"".to_owned());
        let _ = write!(json, "{name}:");
        push_double(&mut json, *value);
    }
    json.push('}');
    json
}

/// Writes a double as upstream does: always with a fraction, in plain notation from 1e-6 up to 1e21.
fn push_double(json: &mut String, value: f64) {
    let magnitude = value.abs();
    let _ = if value.is_infinite() {
        let sign = if value < 0.0 { "-" } else { "" };
        write!(json, "\"{sign}Infinity\"")
    } else if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        let start = json.len();
        let written = write!(json, "{value}");
        if !json.get(start..).is_some_and(|text| text.contains('.')) {
            json.push_str(".0");
        }
        written
    } else {
        write!(json, "{value:e}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn doubles_print_like_upstream() {
        let check = |value: f64, expected: &str| {
            let mut json = String::new();
            push_double(&mut json, value);
            assert_eq!(json, expected);
        };
        check(0.0, "0.0");
        check(-0.0, "-0.0");
        check(42.0, "42.0");
        check(-1.5, "-1.5");
        check(0.1, "0.1");
        check(1e16, "10000000000000000.0");
        check(25276502016.0, "25276502016.0");
        check(1e21, "1e21");
        check(1.5e-7, "1.5e-7");
        check(0.000001, "0.000001");
        check(f64::INFINITY, "\"Infinity\"");
        check(f64::NEG_INFINITY, "\"-Infinity\"");
    }

    #[test]
    fn snapshot_is_flat_and_sorted() {
        let metrics = Metrics::new(Clock::paused());
        metrics.counter("b/count").add(2);
        metrics.counter("b/count").inc();
        metrics.push_gauge("a/gauge").set(0.5);
        metrics.pull_gauge("c/pulled", || 7.0);
        metrics.pull_gauge("c/nan", || f64::NAN);
        assert_eq!(
            snapshot_json(&metrics.snapshot()),
            r#"{"a/gauge":0.5,"b/count":3.0,"c/pulled":7.0}"#
        );
        assert!(metrics.remove("a/gauge"));
        assert!(!metrics.remove("a/gauge"));
        metrics.remove_prefix("c/");
        assert_eq!(snapshot_json(&metrics.snapshot()), r#"{"b/count":3.0}"#);
        metrics.push_gauge("b/count").add(1.0);
        assert_eq!(snapshot_json(&metrics.snapshot()), r#"{"b/count":1.0}"#);
    }

    #[test]
    fn timers_show_the_last_duration_and_statistics() {
        let clock = Clock::paused();
        let metrics = Metrics::new(clock.clone());
        let timer = metrics.timer("x/store");
        assert!(metrics.snapshot().is_empty());
        timer.record(Duration::from_millis(10));
        assert_eq!(snapshot_json(&metrics.snapshot()), r#"{"x/store_ms":10.0}"#);
        let timing = timer.start();
        clock.advance(Duration::from_millis(30));
        timing.stop();
        assert_eq!(
            snapshot_json(&metrics.snapshot()),
            "{\"x/store_ms\":30.0,\"x/store_ms/count\":2.0,\"x/store_ms/max\":30.0,\"x/store_ms/min\":10.0,\
             \"x/store_ms/p50\":20.0,\"x/store_ms/p90\":28.0,\"x/store_ms/p95\":29.0,\"x/store_ms/p99\":29.8,\
             \"x/store_ms/p999\":29.98,\"x/store_ms/p9999\":29.998}"
        );
    }
}
