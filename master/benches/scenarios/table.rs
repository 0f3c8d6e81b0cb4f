//! Every figure that the allocator has to reach, beside what the C++ original takes.

use std::fmt;
use std::time::Duration;

use super::cluster::Cluster;
use super::events::Busy;
use super::grid::{self, Size};
use super::quota::{LargeAndSmall, large_and_small};
use super::{explain, memory, upstream};

/// What is measured: a time in milliseconds or microseconds, or a size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unit {
    Millis,
    Micros,
    Bytes,
    Ratio,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) figure: f64,
    /// What must not be reached.
    pub(crate) target: Option<f64>,
    /// What the original takes, where that is known.
    pub(crate) original: Option<f64>,
}

impl Row {
    fn new(what: impl Into<String>, unit: Unit, figure: f64) -> Row {
        Row {
            what: what.into(),
            unit,
            figure,
            target: None,
            original: None,
        }
    }

    pub(crate) fn millis(what: impl Into<String>, time: Duration) -> Row {
        Row::new(what, Unit::Millis, time.as_secs_f64() * 1e3)
    }

    pub(crate) fn micros(what: impl Into<String>, time: Duration) -> Row {
        Row::new(what, Unit::Micros, time.as_secs_f64() * 1e6)
    }

    pub(crate) fn target(mut self, target: f64) -> Row {
        self.target = Some(target);
        self
    }

    fn original(mut self, original: f64) -> Row {
        self.original = Some(original);
        self
    }

    /// Whether the figure is what it should be.
    pub(crate) fn is_met(&self) -> bool {
        self.target.is_none_or(|target| self.figure < target)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Millis => "ms",
            Unit::Micros => "us",
            Unit::Bytes => "B",
            Unit::Ratio => "x",
        };
        let known = |value: Option<f64>| {
            value.map_or(String::new(), |value| format!("{} {unit}", short(value)))
        };
        let ratio = self.original.map(|original| original / self.figure);
        write!(
            formatter,
            "| {} | {} {unit} | {} | {} | {} | {} |",
            self.what,
            short(self.figure),
            known(self.target),
            if self.is_met() { "" } else { "MISSED" },
            known(self.original),
            ratio.map_or(String::new(), |ratio| format!("{} x", short(ratio))),
        )
    }
}

/// Three digits.
fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// The head of the table.
pub(crate) const HEAD: &str = "\
| What | Here | Target | | C++ | Times faster |
|---|---|---|---|---|---|";

/// How large clusters are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Divides all numbers of agents, frameworks and roles.
    pub(crate) divide: usize,
}

impl Scale {
    /// The sizes that targets are about.
    pub(crate) const FULL: Scale = Scale { divide: 1 };

    /// Sizes for a test.
    pub(crate) const TINY: Scale = Scale { divide: 200 };

    /// So many of something, in a smaller scale fewer.
    pub(crate) fn count(self, count: usize) -> usize {
        (count / self.divide).max(2)
    }

    pub(crate) fn size(self, agents: usize, frameworks: usize) -> Size {
        Size {
            agents: self.count(agents),
            frameworks: self.count(frameworks),
        }
    }
}

/// A part of the table.
pub(crate) type Section = fn(Scale) -> Vec<Row>;

/// All parts, by a name to choose them. Memory is measured first, before anything was freed.
pub(crate) const SECTIONS: [(&str, Section); 8] = [
    ("memory", memory_rows),
    ("filtered", filtered_rows),
    ("declined", declined_rows),
    ("first", first_rows),
    ("quota", quota_rows),
    ("events", event_rows),
    ("explain", explain::rows),
    ("upstream", upstream::rows),
];

fn memory_rows(scale: Scale) -> Vec<Row> {
    let Some(bytes) = memory::measure(scale.size(20_000, 5_000), 20) else {
        return Vec::new();
    };
    let row = |what, figure, target| Row::new(what, Unit::Bytes, figure).target(target);
    vec![
        row(
            "memory of an agent beyond its resources",
            bytes.agent,
            2_048.0,
        ),
        row(
            "memory of a framework with a role",
            bytes.framework,
            2_048.0,
        ),
        row(
            "memory of a filter, with its place in all indexes",
            bytes.filter,
            64.0,
        ),
    ]
}

/// The fastest of some runs, in which nothing is offered.
fn idle_run(cluster: &mut Cluster) -> Duration {
    let runs = (0..5).map(|_| {
        let time = cluster.run();
        assert_eq!(cluster.offer_count(), 0);
        time
    });
    runs.min().unwrap_or_default()
}

fn filtered_rows(scale: Scale) -> Vec<Row> {
    let rows = [
        (scale.size(1_000, 100), 4.0, Some(440.0)),
        (scale.size(10_000, 1_000), 20.0, None),
    ];
    let rows = rows.map(|(size, target, original)| {
        let mut cluster = grid::cluster(size);
        let filters = cluster.filter_everything();
        assert_eq!(filters, size.agents * size.frameworks);
        let what = format!("round, everything filtered: {size}");
        Row {
            original,
            ..Row::millis(what, idle_run(&mut cluster)).target(target)
        }
    });
    rows.into()
}

fn declined_rows(scale: Scale) -> Vec<Row> {
    let size = scale.size(5_000, 3_000);
    let rounds = 140 / scale.divide.min(70);
    let mut cluster = grid::declined(size, rounds);
    let run = cluster.run();
    let offers = cluster.offer_count();
    assert_eq!(offers, size.agents);
    let decline = cluster.decline_all(super::cluster::FOREVER);
    let filters = size.agents * rounds;
    let what = format!("{size}, {filters} filters");
    vec![
        Row::millis(format!("round of {offers} offers: {what}"), run)
            .target(40.0)
            .original(420.0),
        Row::millis(format!("the declines that follow: {what}"), decline),
    ]
}

fn first_rows(scale: Scale) -> Vec<Row> {
    let sizes = [
        (scale.size(10_000, 1_000), Some(300.0), Some(1_100.0)),
        (scale.size(20_000, 2_000), Some(1_000.0), Some(3_800.0)),
        (scale.size(50_000, 6_000), None, None),
    ];
    let mut rows: Vec<Row> = sizes
        .map(|(size, target, original)| {
            let mut cluster = grid::cluster(size);
            let run = cluster.run();
            assert_eq!(cluster.offer_count(), size.agents);
            Row {
                target,
                original,
                ..Row::millis(format!("first full round: {size}"), run)
            }
        })
        .into();
    if let [smallest, _, largest] = rows.as_slice() {
        let growth = largest.figure / smallest.figure / 5.0;
        let what = "growth per agent from the smallest to the largest first round";
        rows.push(Row::new(what, Unit::Ratio, growth).target(2.0));
    }
    rows
}

fn quota_rows(scale: Scale) -> Vec<Row> {
    let divide = |count: usize| (count / scale.divide).max(1);
    let size = LargeAndSmall {
        small_roles: divide(2_500),
        large_roles: divide(500),
    };
    let (mut cluster, told) = large_and_small(Cluster::new(), size);
    let run = cluster.run();
    let idle = idle_run(&mut cluster);
    vec![
        Row::millis(format!("quota: adding {size}, as many frameworks"), told)
            .target(500.0)
            .original(17_000.0),
        Row::millis("quota: the first round", run)
            .target(500.0)
            .original(15_000.0),
        Row::millis("quota: a round without change", idle)
            .target(20.0)
            .original(13_700.0),
    ]
}

fn event_rows(scale: Scale) -> Vec<Row> {
    let sizes = [
        scale.size(1_000, 100),
        scale.size(10_000, 1_000),
        scale.size(50_000, 6_000),
    ];
    let mut rows = Vec::new();
    for size in sizes {
        let mut busy = Busy::eager(size);
        let everyone = busy.agent_added();
        busy.suppress_others();
        let times = [
            ("one agent added, with its run, all want it", everyone),
            (
                "one agent added, with its run, one wants it",
                busy.agent_added(),
            ),
            ("one task finished", busy.task_finished()),
            ("one offer declined", busy.offer_declined()),
        ];
        rows.extend(
            times.map(|(what, time)| Row::micros(format!("{what}: {size}"), time).target(50.0)),
        );
    }
    rows
}
