//! How fast the allocator is, as a table with the figures of the C++ original on a machine of the
//! same kind, and the goals. `cargo run --release -p mesos-master --example allocator_table`,
//! with the names of sections (`events`, `quota`, `filtered`, `declines`,
//! `first`, `memory`) for these alone. With
//! `--small` everything is small and the figures mean nothing.

#[path = "../benches/workloads/mod.rs"]
mod workloads;

use std::time::Duration;

use mesos_master::allocator::{Allocator, Options};
use workloads::{
    QuotaTimes, add_framework, all_filtered, cluster, decline_all, events, first_round, quota,
};

/// One measurement.
struct Row {
    what: String,
    ours: Duration,
    goal: Option<Duration>,
    cpp: Option<Duration>,
}

impl Row {
    fn new(what: impl Into<String>, ours: Duration) -> Row {
        Row {
            what: what.into(),
            ours,
            goal: None,
            cpp: None,
        }
    }

    fn goal(mut self, goal_micros: u64) -> Row {
        self.goal = Some(Duration::from_micros(goal_micros));
        self
    }

    fn cpp(mut self, millis: u64) -> Row {
        self.cpp = Some(Duration::from_millis(millis));
        self
    }

    fn print(&self) {
        let show = |time: Option<Duration>| {
            time.map_or("-".to_owned(), |time| {
                format!("{:.3} ms", time.as_secs_f64() * 1e3)
            })
        };
        let ratio = self.cpp.map_or("-".to_owned(), |cpp| {
            format!(
                "{:.0}",
                cpp.as_secs_f64() / self.ours.as_secs_f64().max(1e-9)
            )
        });
        println!(
            "| {} | {} | {} | {} | {ratio} |",
            self.what,
            show(Some(self.ours)),
            show(self.goal),
            show(self.cpp)
        );
    }
}

/// What to leave of a size.
type Scale = fn(usize) -> usize;

/// A part of the table.
type Section = fn(Scale);

fn filtered(scale: Scale) {
    let (quiet, one) = all_filtered(scale(1_000), scale(100));
    Row::new("all refused, 1,000 agents, 100 frameworks", quiet)
        .goal(4_000)
        .cpp(440)
        .print();
    Row::new("the same after one framework revived", one).print();
    let (quiet, one) = all_filtered(scale(10_000), scale(1_000));
    Row::new("all refused, 10,000 agents, 1,000 frameworks", quiet)
        .goal(20_000)
        .print();
    Row::new("the same after one framework revived", one).print();
}

fn declines(scale: Scale) {
    let declined = decline_all(scale(5_000), scale(3_000), scale(140));
    Row::new(
        "5,000 offers out and declined, 3,000 frameworks, 700,000 filters",
        declined,
    )
    .goal(40_000)
    .cpp(420)
    .print();
}

fn first_rounds(scale: Scale) {
    for (agents, frameworks, goal) in [
        (10_000, 1_000, Some(300_000)),
        (20_000, 2_000, Some(1_000_000)),
        (50_000, 6_000, None),
    ] {
        let (add, round) = first_round(scale(agents), scale(frameworks));
        let size = format!("{agents} agents, {frameworks} frameworks");
        Row::new(format!("adding {size}"), add).print();
        let row = Row::new(format!("first round, {size}"), round);
        goal.map_or(row, |goal| {
            Row::new(format!("first round, {size}"), round).goal(goal)
        })
        .print();
    }
}

fn quotas(scale: Scale) {
    for sorter in ["drf", "random", "fifo", "drc"] {
        let QuotaTimes { add, first, quiet } =
            quota(sorter, scale(2_500), scale(500), scale(3_000));
        let size = "3,000 agents, roles with quota and frameworks";
        Row::new(format!("{sorter}: adding {size}"), add)
            .goal(500_000)
            .cpp(17_000)
            .print();
        Row::new("a round", first).goal(500_000).cpp(15_000).print();
        Row::new("a round without change", quiet)
            .goal(20_000)
            .cpp(13_700)
            .print();
    }
}

fn single_events(scale: Scale) {
    for (agents, frameworks) in [(1_000, 100), (10_000, 1_000), (50_000, 6_000)] {
        let times = events(scale(agents), scale(frameworks));
        let size = format!("{agents} agents, {frameworks} frameworks");
        for (what, time) in [
            ("an agent added", times.agent_added),
            ("a task ended", times.task_ended),
            ("an offer declined", times.declined),
            ("its part of the round that follows", times.named_round),
        ] {
            Row::new(format!("{what}, {size}"), time).goal(50).print();
        }
    }
}

/// Resident memory in bytes; none where there is no `/proc`.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

fn memory(scale: Scale) {
    let count = scale(10_000);
    let measure = |of_what: &str, make: &dyn Fn() -> Allocator| {
        let before = resident();
        let allocator = make();
        let used = before.zip(resident());
        if let Some((before, after)) = used {
            let each = after.saturating_sub(before) / count;
            println!("{each} bytes for each {of_what}");
        }
        // What is freed would be used again and not be seen to grow.
        std::mem::forget(allocator);
    };
    measure("framework, in its own role", &|| cluster(0, count));
    measure("framework, all in one role", &|| {
        let mut allocator = Allocator::new(Options::default());
        for index in 0..count {
            add_framework(&mut allocator, index, "role");
        }
        allocator
    });
    measure("agent of 4 resources, of which 3 are used", &|| {
        cluster(count, 1)
    });
}

fn main() {
    let small = std::env::args().any(|argument| argument == "--small");
    let scale: Scale = if small {
        |size| (size / 100).max(3)
    } else {
        |size| size
    };
    println!("| what | here | goal | C++ | times faster |\n|---|---|---|---|---|");
    let sections: [(&str, Section); 6] = [
        ("events", single_events),
        ("quota", quotas),
        ("filtered", filtered),
        ("declines", declines),
        ("first", first_rounds),
        ("memory", memory),
    ];
    let named = |name: &&str| sections.iter().any(|(section, _)| section == name);
    let arguments: Vec<String> = std::env::args().collect();
    let wanted: Vec<&str> = arguments.iter().map(String::as_str).filter(named).collect();
    for (name, section) in sections {
        if wanted.is_empty() || wanted.contains(&name) {
            section(scale);
        }
    }
}
