//! Which metrics there are.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;

use super::gauge::{Question, Source};
use super::statistics::{QUANTILES, Statistics};
use super::timer::TimerReading;
use super::{Answers, Counter, DuplicateMetric, PullGauge, PushGauge, Timer};

/// A snapshot reads this many metrics at a time, so that an actor that adds or removes one waits for some microseconds and not
/// for all of it.
const SLICE: usize = 512;

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
}

#[derive(Default)]
struct Entries {
    metrics: BTreeMap<String, Metric>,
    /// Those among the metrics that have to ask.
    questions: BTreeMap<String, Arc<Question>>,
}

impl Entries {
    fn insert(&mut self, name: String, metric: Metric) {
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
                let (metric, existing) = (made.clone().into(), occupied.get().kind());
                tracing::warn!("Metric '{name}', a {existing}, becomes a {}", metric.kind());
                entries.insert(name, metric);
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
                    visit(&name, Reading::Gauge(value()));
                    name
                }
            };
            end = self.slice(Bound::Excluded(&last), answers, &mut visit);
        }
    }

    fn slice(
        &self,
        from: Bound<&str>,
        answers: &Answers,
        visit: &mut impl FnMut(&str, Reading),
    ) -> SliceEnd {
        let entries = self.entries.read();
        let range = entries.metrics.range::<str, _>((from, Bound::Unbounded));
        for (index, (name, metric)) in range.enumerate() {
            let reading = match metric {
                Metric::Counter(counter) => Reading::Count(counter.get(), counter.statistics()),
                Metric::PushGauge(gauge) => Reading::Gauge(gauge.get()),
                Metric::Timer(timer) => Reading::Timer(timer.reading()),
                Metric::PullGauge(PullGauge(Source::Now(value))) => {
                    return SliceEnd::Call(name.clone(), value.clone());
                }
                Metric::PullGauge(PullGauge(Source::Asked(_))) => match answers.get(name) {
                    Some(value) => Reading::Gauge(*value),
                    None => continue,
                },
            };
            visit(name, reading);
            if index + 1 == SLICE {
                return SliceEnd::Full(name.clone());
            }
        }
        SliceEnd::Done
    }
}
