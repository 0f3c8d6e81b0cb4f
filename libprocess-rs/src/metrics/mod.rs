//! Metrics of one runtime.
//!
//! They are shown as JSON at `/metrics/snapshot`, under their names, and as text for Prometheus at `/metrics`:
//!
//! | here | there |
//! |---|---|
//! | counter `master/tasks_lost` | counter `master_tasks_lost`, its sample with `_total` |
//! | gauge `master/elected` | gauge `master_elected` |
//! | gauge `master/cpus_total` | gauge `master_cpus_total_value`: `_total` and its like are reserved for other kinds |
//! | timer `registrar/state_store_ms` | summary `registrar_state_store_seconds` |
//!
//! Every character that a name may not have becomes `_`. The help of a metric is its name here. Metrics that would be called
//! the same get a label `name` with their name here; if they are of several kinds, those of all but the first kind (in the order
//! counter, timer, gauge) get `_value` appended too.
//!
//! A summary shows the statistics of the timer's window, with the quantiles 0 and 1 for minimum and maximum, and the number and
//! sum of all durations ever. A count below zero, which a counter may not have there, is a gauge. Statistics of windowed
//! counters are left out: Prometheus works them out itself.

mod counter;
mod gauge;
mod json;
mod openmetrics;
mod rate;
mod registry;
mod statistics;
mod timer;

pub use counter::Counter;
pub use gauge::{PullGauge, PushGauge};
pub use rate::{Rate, RateError};
pub use registry::{Metric, MetricKind};
pub use timer::{TimeUnit, Timer, Timing};

pub(crate) use openmetrics::{Exposition, Format};
pub(crate) use rate::Limiter;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use crate::{Clock, Context, Pid, Process};
use gauge::Panicked;
use registry::Registry;

/// A set of named metrics. Clones share the set.
///
/// Names are paths such as `master/uptime_secs`. Asking twice for the same name and kind gives the same metric; asking for a
/// name with another kind replaces it, with a warning in the log. [`add`](Self::add) refuses to do either.
///
/// Upstream: `process::metrics` in `3rdparty/libprocess/include/process/metrics/`.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    registry: Registry,
    /// The length of the last snapshot as JSON, which the next one will have too or nearly so.
    json_len: AtomicUsize,
}

/// A name that is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("metric '{name}' was already added, as a {existing}")]
pub struct DuplicateMetric {
    /// The name, for a timer with its unit.
    pub name: String,
    /// What has the name.
    pub existing: MetricKind,
}

/// Values by the names of their gauges, of those that were asked and have answered.
pub(crate) type Answers = HashMap<String, f64>;

impl Metrics {
    /// An empty set whose timers follow `clock`.
    pub fn new(clock: Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                registry: Registry::default(),
                json_len: AtomicUsize::new(0),
            }),
        }
    }

    /// Adds a metric that was made on its own. A timer's unit is appended to the name.
    ///
    /// Upstream: `process::metrics::add`.
    ///
    /// # Errors
    /// The name is taken, by a metric of whatever kind; then nothing is changed.
    pub fn add(
        &self,
        name: impl Into<String>,
        metric: impl Into<Metric>,
    ) -> Result<(), DuplicateMetric> {
        let metric = metric.into();
        let name = match &metric {
            Metric::Timer(timer) => with_unit(name.into(), timer.unit()),
            _ => name.into(),
        };
        self.shared.registry.add(name, metric)
    }

    /// The kind of the metric called `name`, if there is one.
    pub fn kind(&self, name: &str) -> Option<MetricKind> {
        self.shared.registry.kind(name)
    }

    /// The counter called `name`.
    pub fn counter(&self, name: impl Into<String>) -> Counter {
        self.shared
            .registry
            .get_or_add(name.into(), as_counter, Counter::default)
    }

    /// The counter called `name`, made with statistics over the last `window` if there is none yet. The initial 0 is among the
    /// values.
    pub fn windowed_counter(&self, name: impl Into<String>, window: Duration) -> Counter {
        self.shared
            .registry
            .get_or_add(name.into(), as_counter, || {
                Counter::windowed(&self.shared.clock, window)
            })
    }

    /// The gauge called `name`.
    pub fn push_gauge(&self, name: impl Into<String>) -> PushGauge {
        let existing = |metric: &Metric| match metric {
            Metric::PushGauge(gauge) => Some(gauge.clone()),
            _ => None,
        };
        self.shared
            .registry
            .get_or_add(name.into(), existing, PushGauge::default)
    }

    /// A gauge whose value is asked for at each snapshot, so it must be quick and must not block. It replaces a metric of the
    /// same name. If it panics it is left out.
    pub fn pull_gauge(
        &self,
        name: impl Into<String>,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.shared
            .registry
            .replace(name.into(), PullGauge::new(value));
    }

    /// A gauge whose value an actor works out in a turn of its own at each snapshot. It replaces a metric of the same name.
    ///
    /// An actor that does not get to it in time is left out of that snapshot, and is not asked again meanwhile. When the actor
    /// has ended the gauge has no value any more; [`remove`](Self::remove) it then.
    pub fn pull_gauge_from<P: Process>(
        &self,
        name: impl Into<String>,
        pid: &Pid<P>,
        value: impl Fn(&mut P, &mut Context<P>) -> f64 + Send + Sync + 'static,
    ) {
        self.shared
            .registry
            .replace(name.into(), PullGauge::of(pid, value));
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
        window: Option<Duration>,
    ) -> Timer {
        let existing = |metric: &Metric| match metric {
            Metric::Timer(timer) => Some(timer.clone()),
            _ => None,
        };
        let name = with_unit(name.into(), unit);
        self.shared.registry.get_or_add(name, existing, || {
            Timer::new(self.shared.clock.clone(), unit, window)
        })
    }

    /// Removes a metric; for a timer `name` includes the unit. True if there was one.
    pub fn remove(&self, name: &str) -> bool {
        self.shared.registry.remove(name)
    }

    /// Removes all metrics whose names begin with `prefix`.
    pub fn remove_prefix(&self, prefix: &str) {
        self.shared.registry.remove_prefix(prefix);
    }

    /// All values that are at hand, in order of their keys. Values that are not numbers are left out, and so are gauges that
    /// have to [ask](PullGauge::asking); for those see [`snapshot_within`](Self::snapshot_within).
    pub fn snapshot(&self) -> BTreeMap<String, f64> {
        self.values(&Answers::new())
    }

    /// All values, in order of their keys. Those that take time are asked for at the same time; what has not come within
    /// `limit` is left out.
    pub async fn snapshot_within(&self, limit: Duration) -> BTreeMap<String, f64> {
        self.values(&self.ask(limit).await)
    }

    fn values(&self, answers: &Answers) -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        self.shared.registry.read(answers, |name, reading| {
            if let Some(value) = reading.value() {
                // Statistics that are called like another metric hide it, as upstream.
                values.entry(name.to_owned()).or_insert(value);
            }
            for (key, value) in reading.statistics() {
                values.insert(format!("{name}/{key}"), value);
            }
        });
        values
    }

    /// Asks those who take time to answer, all at the same time, and waits for them for `limit` at most.
    pub(crate) async fn ask(&self, limit: Duration) -> Answers {
        let mut questions: FuturesUnordered<_> = self
            .shared
            .registry
            .questions()
            .into_iter()
            .map(|(name, question)| question.answer().map(|answer| (name, answer)))
            .collect();
        let mut answers = Answers::new();
        let all = async {
            while let Some((name, answer)) = questions.next().await {
                match answer {
                    Ok(value) => answers.extend(value.map(|value| (name, value))),
                    Err(Panicked) => self.shared.registry.has_failed(&name),
                }
            }
        };
        // What is missing then is left out.
        let _ = within(&self.shared.clock, limit, all).await;
        answers
    }

    /// Counts gauges that panic under this name.
    pub(crate) fn count_failures_as(&self, name: &str) {
        let failed = self.shared.registry.failed.clone();
        self.shared.registry.replace(name.to_owned(), failed);
    }

    /// A snapshot as one flat JSON object, sorted by key, every value a double.
    pub(crate) fn to_json(&self, answers: &Answers) -> String {
        let expected = self.shared.json_len.load(Ordering::Relaxed);
        let mut json = json::Writer::with_capacity(expected + expected / 8);
        self.shared
            .registry
            .read(answers, |name, reading| json.add(name, &reading));
        let json = json.finish();
        self.shared.json_len.store(json.len(), Ordering::Relaxed);
        json
    }

    /// A snapshot as Prometheus reads it, of at most `max_series` lines.
    pub(crate) fn expose(
        &self,
        answers: &Answers,
        format: Format,
        max_series: usize,
    ) -> Exposition {
        openmetrics::expose(format, max_series, |visit| {
            self.shared.registry.read(answers, visit);
        })
    }
}

/// The output of `future` if it comes within `limit`. No time at all is not worth a timer, which a paused clock would not fire.
pub(crate) async fn within<F: Future>(
    clock: &Clock,
    limit: Duration,
    future: F,
) -> Option<F::Output> {
    match limit.is_zero() {
        true => future.now_or_never(),
        false => clock.timeout(limit, future).await.ok(),
    }
}

fn as_counter(metric: &Metric) -> Option<Counter> {
    match metric {
        Metric::Counter(counter) => Some(counter.clone()),
        _ => None,
    }
}

fn with_unit(mut name: String, unit: TimeUnit) -> String {
    name.push('_');
    name.push_str(unit.suffix());
    name
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.snapshot()).finish()
    }
}

#[cfg(test)]
mod tests;
