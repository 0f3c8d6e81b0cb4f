//! The metrics of the master. Upstream: `src/master/metrics.cpp`, `src/master/framework.cpp`.

use std::collections::{BTreeSet, HashMap};

use libprocess::client::percent_encode;
use libprocess::{Context, Counter as CounterMetric, Metrics, PushGauge, QueuedEvents, Runtime};
use mesos::ids::FrameworkId;
use mesos::proto::offer::operation::Type as OperationType;
use mesos::proto::scheduler::call::Type as CallType;
use mesos::proto::task_status::{Reason, Source};
use mesos::proto::{self, TaskState};

use super::MasterProcess;
use crate::core::Master;
use crate::core::metrics::{
    CALL_NAMES, Counter, EventKind, FrameworkCounter, Gauge, OPERATION_NAMES, OperationGauge,
};
use crate::core::resource_gauges::{GAUGED_RESOURCES, ResourceGauges};
use crate::core::task_state::{TASK_STATES, is_terminal};

/// All metrics of one master.
pub(super) struct MasterMetrics {
    metrics: Metrics,
    counters: Vec<CounterMetric>,
    gauges: Vec<PushGauge>,
    resources: Vec<[PushGauge; 3]>,
    /// What the resource gauges show, to save setting them when nothing changed.
    shown: Option<ResourceGauges>,
    operations: HashMap<&'static str, Vec<PushGauge>>,
    all_operations: Vec<PushGauge>,
    /// None if frameworks have no metrics of their own.
    frameworks: Option<HashMap<FrameworkId, FrameworkMetrics>>,
    principals: HashMap<String, (CounterMetric, CounterMetric)>,
}

impl MasterMetrics {
    pub(super) fn new(runtime: &Runtime, per_framework: bool) -> Self {
        let metrics = runtime.metrics().clone();
        let clock = runtime.clock().clone();
        let started = clock.now();
        metrics.pull_gauge("master/uptime_secs", move || {
            clock.now().duration_since(started).as_secs_f64()
        });
        let resources = GAUGED_RESOURCES
            .iter()
            .flat_map(|name| [(*name).to_owned(), format!("{name}_revocable")])
            .map(|name| {
                ["total", "used", "percent"]
                    .map(|part| metrics.push_gauge(format!("master/{name}_{part}")))
            })
            .collect();
        let operation_gauges = |prefix: &str| {
            OperationGauge::ALL
                .iter()
                .map(|gauge| metrics.push_gauge(format!("{prefix}{}", gauge.name())))
                .collect::<Vec<_>>()
        };
        let operations = OPERATION_NAMES
            .iter()
            .filter(|(kind, _)| !matches!(kind, OperationType::Launch | OperationType::LaunchGroup))
            .map(|(_, name)| {
                (
                    *name,
                    operation_gauges(&format!("master/operations/{name}/")),
                )
            })
            .collect();
        Self {
            counters: Counter::ALL
                .iter()
                .map(|counter| metrics.counter(counter.name()))
                .collect(),
            gauges: Gauge::ALL
                .iter()
                .map(|gauge| metrics.push_gauge(gauge.name()))
                .collect(),
            resources,
            shown: None,
            operations,
            all_operations: operation_gauges("master/operations/"),
            frameworks: per_framework.then(HashMap::new),
            principals: HashMap::new(),
            metrics,
        }
    }

    pub(super) fn count(&self, counter: Counter) {
        if let Some(metric) = self.counters.get(counter as usize) {
            metric.inc();
        }
    }

    pub(super) fn stream_dropped(&self) {
        self.count(Counter::StreamsDropped);
    }

    /// Shows the present values of what the core keeps.
    pub(super) fn publish(&mut self, core: &Master) {
        for (gauge, metric) in Gauge::ALL.iter().zip(&self.gauges) {
            metric.set(core.gauge(*gauge));
        }
        let sums = core.resource_gauges();
        if self.shown.as_ref() == Some(sums) {
            return;
        }
        for (index, [total, used, percent]) in self.resources.iter().enumerate() {
            let (have, taken) = sums.amounts(index);
            total.set(have);
            used.set(taken);
            percent.set(if have > 0.0 { taken / have } else { 0.0 });
        }
        self.shown = Some(sums.clone());
    }

    pub(super) fn count_task_state(&self, state: TaskState, source: Source, reason: Reason) {
        let name = format!(
            "master/{}/{}/{}",
            state.as_str_name(),
            source.as_str_name(),
            reason.as_str_name()
        );
        self.metrics.counter(name.to_lowercase()).inc();
    }

    pub(super) fn count_operations(&self, kind: OperationType, gauge: OperationGauge, delta: i64) {
        let name = operation_name(kind);
        let of_kind = self.operations.get(name).into_iter();
        for gauges in of_kind.chain([&self.all_operations]) {
            if let Some(metric) = gauges.get(gauge as usize) {
                metric.add(delta as f64);
            }
        }
    }

    /// Counts a message of the framework of `principal`, before it is known whether it is dropped.
    pub(super) fn message_received(&self, principal: Option<&str>) {
        if let Some((received, _)) = principal.and_then(|name| self.principals.get(name)) {
            received.inc();
        }
    }

    /// Counts a message that was handled.
    pub(super) fn message_processed(&self, principal: Option<&str>) {
        if let Some((_, processed)) = principal.and_then(|name| self.principals.get(name)) {
            processed.inc();
        }
    }

    pub(super) fn add_framework(&mut self, id: &FrameworkId, info: &proto::FrameworkInfo) {
        if let Some(principal) = &info.principal {
            let metrics = &self.metrics;
            self.principals.entry(principal.clone()).or_insert_with(|| {
                let counter =
                    |what: &str| metrics.counter(format!("frameworks/{principal}/messages_{what}"));
                (counter("received"), counter("processed"))
            });
        }
        if let Some(frameworks) = &mut self.frameworks {
            let metrics = FrameworkMetrics::new(&self.metrics, id, info);
            frameworks.insert(id.clone(), metrics);
        }
    }

    pub(super) fn remove_framework(&mut self, id: &FrameworkId) {
        let removed = self
            .frameworks
            .as_mut()
            .and_then(|frameworks| frameworks.remove(id));
        if let Some(framework) = removed {
            self.metrics.remove_prefix(&framework.prefix);
        }
    }

    pub(super) fn count_framework(&self, id: &FrameworkId, counter: FrameworkCounter) {
        let framework = self
            .frameworks
            .as_ref()
            .and_then(|frameworks| frameworks.get(id));
        if let Some(framework) = framework {
            framework.count(counter);
        }
    }

    /// Shows which roles of a framework are suppressed, and no more those that it left.
    pub(super) fn show_suppressed(
        &mut self,
        id: &FrameworkId,
        roles: &BTreeSet<String>,
        suppressed: &BTreeSet<String>,
    ) {
        let frameworks = self.frameworks.as_mut();
        let Some(framework) = frameworks.and_then(|frameworks| frameworks.get_mut(id)) else {
            return;
        };
        let name = |role: &str| format!("{}roles/{role}/suppressed", framework.prefix);
        for left in framework.roles.difference(roles) {
            self.metrics.remove(&name(left));
        }
        for role in roles {
            let gauge = self.metrics.push_gauge(name(role));
            gauge.set(f64::from(u8::from(suppressed.contains(role))));
        }
        framework.roles.clone_from(roles);
    }
}

fn operation_name(kind: OperationType) -> &'static str {
    OPERATION_NAMES
        .iter()
        .find_map(|(known, name)| (*known == kind).then_some(*name))
        .unwrap_or("unknown")
}

/// The metrics of one framework.
struct FrameworkMetrics {
    prefix: String,
    subscribed: PushGauge,
    calls: CounterMetric,
    calls_of_kind: Vec<(CallType, CounterMetric)>,
    events: CounterMetric,
    events_of_kind: Vec<CounterMetric>,
    offers_sent: CounterMetric,
    offers_accepted: CounterMetric,
    offers_declined: CounterMetric,
    offers_rescinded: CounterMetric,
    operations: CounterMetric,
    operations_of_kind: Vec<(OperationType, CounterMetric)>,
    tasks: Vec<TaskMetric>,
    /// The roles of which it is shown whether they are suppressed.
    roles: BTreeSet<String>,
}

enum TaskMetric {
    Active(PushGauge),
    Terminal(CounterMetric),
}

impl FrameworkMetrics {
    fn new(metrics: &Metrics, id: &FrameworkId, info: &proto::FrameworkInfo) -> Self {
        let prefix = format!("master/frameworks/{}/{id}/", percent_encode(&info.name));
        let counter = |name: &str| metrics.counter(format!("{prefix}{name}"));
        let tasks = (0..TASK_STATES)
            .filter_map(|number| TaskState::try_from(i32::try_from(number).ok()?).ok())
            .map(|state| {
                let name = state.as_str_name().to_lowercase();
                if is_terminal(state) {
                    TaskMetric::Terminal(counter(&format!("tasks/terminal/{name}")))
                } else {
                    let gauge = metrics.push_gauge(format!("{prefix}tasks/active/{name}"));
                    TaskMetric::Active(gauge)
                }
            })
            .collect();
        Self {
            subscribed: metrics.push_gauge(format!("{prefix}subscribed")),
            calls: counter("calls"),
            calls_of_kind: CALL_NAMES
                .iter()
                .map(|(kind, name)| (*kind, counter(&format!("calls/{name}"))))
                .collect(),
            events: counter("events"),
            events_of_kind: EventKind::ALL
                .iter()
                .map(|kind| counter(&format!("events/{}", kind.name())))
                .collect(),
            offers_sent: counter("offers/sent"),
            offers_accepted: counter("offers/accepted"),
            offers_declined: counter("offers/declined"),
            offers_rescinded: counter("offers/rescinded"),
            operations: counter("operations"),
            operations_of_kind: OPERATION_NAMES
                .iter()
                .map(|(kind, name)| (*kind, counter(&format!("operations/{name}"))))
                .collect(),
            tasks,
            roles: BTreeSet::new(),
            prefix,
        }
    }

    fn count(&self, counter: FrameworkCounter) {
        match counter {
            FrameworkCounter::Call(kind) => {
                self.calls.inc();
                inc_of(&self.calls_of_kind, kind);
            }
            FrameworkCounter::Event(kind) => {
                self.events.inc();
                if let Some(metric) = self.events_of_kind.get(kind as usize) {
                    metric.inc();
                }
            }
            FrameworkCounter::OffersSent(count) => self.offers_sent.add(count),
            FrameworkCounter::OffersAccepted(count) => self.offers_accepted.add(count),
            FrameworkCounter::OffersDeclined(count) => self.offers_declined.add(count),
            FrameworkCounter::OfferRescinded => self.offers_rescinded.inc(),
            FrameworkCounter::Operation(kind) => {
                self.operations.inc();
                inc_of(&self.operations_of_kind, kind);
            }
            FrameworkCounter::TaskEntered(state) => match self.tasks.get(state as usize) {
                Some(TaskMetric::Active(gauge)) => gauge.add(1.0),
                Some(TaskMetric::Terminal(counter)) => counter.inc(),
                None => {}
            },
            FrameworkCounter::TaskLeft(state) => {
                if let Some(TaskMetric::Active(gauge)) = self.tasks.get(state as usize) {
                    gauge.add(-1.0);
                }
            }
            FrameworkCounter::Subscribed(subscribed) => {
                self.subscribed.set(f64::from(u8::from(subscribed)));
            }
        }
    }
}

fn inc_of<K: PartialEq + Copy>(metrics: &[(K, CounterMetric)], kind: K) {
    if let Some((_, metric)) = metrics.iter().find(|(known, _)| *known == kind) {
        metric.inc();
    }
}
/// Shows what waits for a turn of the master.
pub(super) fn show_queue(ctx: &Context<MasterProcess>) {
    let metrics = ctx.runtime().metrics();
    let gauge = |name: &str, count: fn(QueuedEvents) -> usize| {
        let master = ctx.pid();
        metrics.pull_gauge(format!("master/event_queue_{name}"), move || {
            count(master.queued()) as f64
        });
    };
    gauge("messages", |queued| queued.messages);
    gauge("dispatches", |queued| queued.dispatches);
    gauge("http_requests", |queued| queued.http_requests);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_frameworks_are_encoded() {
        let check = |text: &str, expected: &str| assert_eq!(percent_encode(text), expected);
        check("marathon", "marathon");
        check(
            "Long Lived Framework (C++)",
            "Long%20Lived%20Framework%20(C%2B%2B)",
        );
        check("a/b", "a%2Fb");
        check("ä", "%C3%A4");
    }
}
