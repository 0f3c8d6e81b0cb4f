//! Which metrics there are.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::RwLock;

use super::gauge::{Question, Source};
use super::statistics::{QUANTILES, Statistics};
use super::timer::TimerReading;
use super::{Answers, Counter, DuplicateMetric, PullGauge, PushGauge, Timer};

/// A snapshot reads this many metrics at a time, so that an actor that adds or removes one waits for some microseconds and not
/// for all of it.
const SLICE: usize = 512;

/// A metric with statistics counts as this many, since its samples may have to be sorted.
const STATISTICS_WEIGHT: usize = 64;

/// A metric of any kind, for [`Metrics::add`](super::Metrics::add).
#[derive(Clone, Debug)]
pub enum Metric {
    /// Counts events.
    Counter(Counter),
    /// Is set by its owner.
    PushGauge(PushGauge),
    /// Is asked for.
    PullGauge(PullGauge),
    /// Shows how long something takes.
    Timer(Timer),
}

/// The kind of a [`Metric`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A [`Counter`].
    Counter,
    /// A [`PushGauge`].
    PushGauge,
    /// A [`PullGauge`].
    PullGauge,
    /// A [`Timer`].
    Timer,
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::PushGauge => "push gauge",
            Self::PullGauge => "pull gauge",
            Self::Timer => "timer",
        })
    }
}

impl Metric {
    fn kind(&self) -> MetricKind {
        match self {
            Self::Counter(_) => MetricKind::Counter,
            Self::PushGauge(_) => MetricKind::PushGauge,
            Self::PullGauge(_) => MetricKind::PullGauge,
            Self::Timer(_) => MetricKind::Timer,
        }
    }

    fn question(&self) -> Option<&Arc<Question>> {
        match self {
            Self::PullGauge(PullGauge(Source::Asked(question))) => Some(question),
            _ => None,
        }
    }
}

impl From<Counter> for Metric {
    fn from(counter: Counter) -> Self {
        Self::Counter(counter)
    }
}

impl From<PushGauge> for Metric {
    fn from(gauge: PushGauge) -> Self {
        Self::PushGauge(gauge)
    }
}

impl From<PullGauge> for Metric {
    fn from(gauge: PullGauge) -> Self {
        Self::PullGauge(gauge)
    }
}

impl From<Timer> for Metric {
    fn from(timer: Timer) -> Self {
        Self::Timer(timer)
    }
}

/// What a metric shows at one time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading {
    Count(i64, Option<Statistics>),
    Gauge(f64),
    Timer(TimerReading),
}

impl Reading {
    /// The value itself, if there is one and it is a number.
    pub(super) fn value(&self) -> Option<f64> {
        let value = match self {
            Self::Count(count, _) => Some(*count as f64),
            Self::Gauge(value) => Some(*value),
            Self::Timer(timer) => timer.last,
        };
        value.filter(|value| !value.is_nan())
    }

    /// How many plain metrics take as long to read.
    fn weight(&self) -> usize {
        match self {
            Self::Count(_, Some(_)) => STATISTICS_WEIGHT,
            Self::Timer(timer) if timer.statistics.is_some() => STATISTICS_WEIGHT,
            _ => 1,
        }
    }

    /// The statistics in order of their keys.
    pub(super) fn statistics(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let statistics = match self {
            Self::Count(_, statistics) => *statistics,
            Self::Gauge(_) => None,
            Self::Timer(timer) => timer.statistics,
        };
        statistics.into_iter().flat_map(|statistics| {
            let values = QUANTILES.map(|(key, _)| key).into_iter();
            let count = std::iter::once(("count", statistics.count as f64));
            count.chain(values.zip(statistics.values))
        })
    }
}

/// The metrics of one set by name.
#[derive(Default)]
pub(super) struct Registry {
    entries: RwLock<Entries>,
    /// Gauges that panicked when they were asked.
    pub(super) failed: Counter,
}

#[derive(Default)]
struct Entries {
    metrics: BTreeMap<String, Metric>,
    /// Those among the metrics that have to ask.
    questions: BTreeMap<String, Arc<Question>>,
}

impl Entries {
    fn insert(&mut self, name: String, metric: Metric) {
        if let Some(existing) = self.metrics.get(&name).map(Metric::kind)
            && existing != metric.kind()
        {
            tracing::warn!("Metric '{name}', a {existing}, becomes a {}", metric.kind());
        }
        match metric.question() {
            Some(question) => {
                self.questions.insert(name.clone(), question.clone());
            }
            None => {
                self.questions.remove(&name);
            }
        }
        self.metrics.insert(name, metric);
    }

    fn remove(&mut self, name: &str) -> bool {
        self.questions.remove(name);
        self.metrics.remove(name).is_some()
    }
}

/// Why a slice ends.
enum SliceEnd {
    /// Nothing is left.
    Done,
    /// After this name.
    Full(String),
    /// Before this gauge can be called, since it may use the metrics itself.
    Call(String, Arc<dyn Fn() -> f64 + Send + Sync>),
}

impl Registry {
    pub(super) fn add(&self, name: String, metric: Metric) -> Result<(), DuplicateMetric> {
        let mut entries = self.entries.write();
        if let Some(existing) = entries.metrics.get(&name).map(Metric::kind) {
            return Err(DuplicateMetric { name, existing });
        }
        entries.insert(name, metric);
        Ok(())
    }

    pub(super) fn kind(&self, name: &str) -> Option<MetricKind> {
        self.entries.read().metrics.get(name).map(Metric::kind)
    }

    pub(super) fn replace(&self, name: String, metric: impl Into<Metric>) {
        self.entries.write().insert(name, metric.into());
    }

    pub(super) fn get_or_add<T: Clone + Into<Metric>>(
        &self,
        name: String,
        get: impl Fn(&Metric) -> Option<T>,
        make: impl FnOnce() -> T,
    ) -> T {
        let mut entries = self.entries.write();
        match entries.metrics.entry(name) {
            Entry::Vacant(vacant) => {
                let made = make();
                vacant.insert(made.clone().into());
                made
            }
            Entry::Occupied(occupied) => {
                if let Some(found) = get(occupied.get()) {
                    return found;
                }
                let (name, made) = (occupied.key().clone(), make());
                entries.insert(name, made.clone().into());
                made
            }
        }
    }

    pub(super) fn remove(&self, name: &str) -> bool {
        self.entries.write().remove(name)
    }

    pub(super) fn remove_prefix(&self, prefix: &str) {
        let mut entries = self.entries.write();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let names: Vec<String> = entries
            .metrics
            .range::<str, _>(from)
            .map(|(name, _)| name)
            .take_while(|name| name.starts_with(prefix))
            .cloned()
            .collect();
        for name in names {
            entries.remove(&name);
        }
    }

    /// The gauges that have to ask.
    pub(super) fn questions(&self) -> Vec<(String, Arc<Question>)> {
        let entries = self.entries.read();
        let questions = entries.questions.iter();
        questions
            .map(|(name, question)| (name.clone(), question.clone()))
            .collect()
    }

    /// Shows all metrics in order of their names, without a copy of the set. What is added or removed meanwhile may or may not
    /// be among them.
    pub(super) fn read(&self, answers: &Answers, mut visit: impl FnMut(&str, Reading)) {
        let mut end = self.slice(Bound::Unbounded, answers, &mut visit);
        loop {
            let last = match end {
                SliceEnd::Done => return,
                SliceEnd::Full(last) => last,
                SliceEnd::Call(name, value) => {
                    match catch_unwind(AssertUnwindSafe(|| value())) {
                        Ok(value) => visit(&name, Reading::Gauge(value)),
                        Err(_) => self.has_failed(&name),
                    }
                    name
                }
            };
            end = self.slice(Bound::Excluded(&last), answers, &mut visit);
        }
    }

    /// A gauge panicked, which is a fault of its own and no reason to withhold the others.
    pub(super) fn has_failed(&self, name: &str) {
        tracing::error!("Gauge '{name}' panicked and is left out");
        self.failed.inc();
    }

    fn slice(
        &self,
        from: Bound<&str>,
        answers: &Answers,
        visit: &mut impl FnMut(&str, Reading),
    ) -> SliceEnd {
        let entries = self.entries.read();
        let range = entries.metrics.range::<str, _>((from, Bound::Unbounded));
        let mut weight = 0;
        for (name, metric) in range {
            let reading = match metric {
                Metric::Counter(counter) => {
                    Some(Reading::Count(counter.get(), counter.statistics()))
                }
                Metric::PushGauge(gauge) => Some(Reading::Gauge(gauge.get())),
                Metric::Timer(timer) => Some(Reading::Timer(timer.reading())),
                Metric::PullGauge(PullGauge(Source::Now(value))) => {
                    return SliceEnd::Call(name.clone(), value.clone());
                }
                Metric::PullGauge(PullGauge(Source::Asked(_))) => {
                    answers.get(name).copied().map(Reading::Gauge)
                }
            };
            weight += reading.as_ref().map_or(1, Reading::weight);
            if let Some(reading) = reading {
                visit(name, reading);
            }
            if weight >= SLICE {
                return SliceEnd::Full(name.clone());
            }
        }
        SliceEnd::Done
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Clock;

    /// How many metrics each slice shows.
    fn slices(registry: &Registry) -> Vec<usize> {
        let (mut slices, mut from) = (Vec::new(), None::<String>);
        loop {
            let mut shown = 0;
            let after = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let end = registry.slice(after, &Answers::new(), &mut |_, _| shown += 1);
            slices.push(shown);
            match end {
                SliceEnd::Full(last) | SliceEnd::Call(last, _) => from = Some(last),
                SliceEnd::Done => return slices,
            }
        }
    }

    #[test]
    fn no_slice_is_long() {
        let registry = |metric: &dyn Fn(usize) -> Metric| {
            let registry = Registry::default();
            for n in 0..2 * SLICE {
                registry.replace(format!("{n:05}"), metric(n));
            }
            registry
        };
        let check = |metric: &dyn Fn(usize) -> Metric, expected: &[usize]| {
            assert_eq!(slices(&registry(metric)), expected);
        };
        let counter = |_| Counter::default().into();
        check(&counter, &[SLICE, SLICE, 0]);
        // Where a slice would end there is nothing to show.
        let unanswered = |n| match n + 1 == SLICE {
            true => PullGauge::asking(std::future::pending).into(),
            false => Counter::default().into(),
        };
        check(&unanswered, &[SLICE - 1, SLICE, 0]);
        check(&|_| PullGauge::asking(std::future::pending).into(), &[0; 3]);
        let windowed = |_| {
            let counter = Counter::windowed(&Clock::paused(), Duration::from_secs(1));
            counter.inc();
            counter.into()
        };
        let slices = slices(&registry(&windowed));
        let expected = SLICE / STATISTICS_WEIGHT;
        assert!(slices.iter().all(|shown| *shown <= expected), "{slices:?}");
    }
}
