//! Every benchmark of upstream's `HierarchicalAllocator_BENCHMARK_Test` and its kin in
//! `src/tests/hierarchical_allocator_tests.cpp` at one size of the grid, by its name there. Those of
//! `hierarchical_allocator_benchmarks.cpp` are in [`super::profiles`] and [`super::quota`].

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, FOREVER, large_agent};
use super::grid::{self, Size};
use super::reservations::{ROLES, Reserved};
use super::table::{Row, Scale};

/// How many rounds upstream measures where everything comes back without filters.
const ROUNDS: usize = 5;

/// The same for persistent volumes.
const VOLUME_ROUNDS: usize = 6;

/// All of them.
pub(crate) fn rows(scale: Scale) -> Vec<Row> {
    let size = scale.size(1_000, 100);
    let (added, updated) = grid::add_and_update(size);
    let mut rows = vec![
        Row::millis(format!("AddAndUpdateSlave, add: {size}"), added),
        Row::millis(format!("AddAndUpdateSlave, update: {size}"), updated),
    ];
    let mut row = |name: &str, time| rows.push(Row::millis(format!("{name}: {size}"), time));
    row(
        "DeclineOffers, a round",
        declining(grid::cluster(size), size),
    );
    row(
        "ResourceLabels, a round",
        declining(grid::labeled(size), size),
    );
    row("SuppressOffers, a round", suppressing(size));
    let suppressed = grid::suppressed(size, size.frameworks * 99 / 100);
    row(
        "ExtremeSuppressOffers, a round",
        returning(suppressed, ROUNDS),
    );
    row("Metrics, a snapshot", snapshot(size));
    row("AllocatorBacklog, every framework revives", backlog(size));
    for (name, every) in [("regular", None), ("shared", Some(1)), ("mixed", Some(2))] {
        let is_shared = |agent: usize| every.is_some_and(|every| agent.is_multiple_of(every));
        let cluster = grid::with_volumes(size, is_shared);
        let name = format!("PersistentVolumes, {name}, a round");
        row(&name, returning(cluster, VOLUME_ROUNDS));
    }
    for roles in ROLES {
        let mut reserved = Reserved::new(scale.count(roles));
        let (reserving, unreserving) = reserved.reserve_and_unreserve();
        let what = format!("{} resources on the agent", 4 * scale.count(roles));
        rows.push(Row::micros(
            format!("UpdateAllocation, reserve: {what}"),
            reserving,
        ));
        rows.push(Row::micros(
            format!("UpdateAllocation, unreserve: {what}"),
            unreserving,
        ));
    }
    rows
}

/// A mean round when everything is declined for good, until everyone was offered everything.
fn declining(mut cluster: Cluster, size: Size) -> Duration {
    let rounds = 2 * size.frameworks;
    let mut time = Duration::ZERO;
    for _ in 0..rounds {
        time += cluster.run();
        cluster.decline_all(FOREVER);
    }
    mean(time, rounds)
}

/// A mean round when everything comes back without filter.
fn returning(mut cluster: Cluster, rounds: usize) -> Duration {
    let mut time = Duration::ZERO;
    for _ in 0..rounds {
        cluster.decline_all(Some(0.0));
        time += cluster.run();
    }
    mean(time, rounds)
}

/// The same when another fifth of the frameworks wants nothing in each round.
fn suppressing(size: Size) -> Duration {
    let mut cluster = grid::cluster(size);
    let batch = size.frameworks / ROUNDS;
    let mut time = Duration::ZERO;
    for round in 0..ROUNDS {
        cluster.decline_all(Some(0.0));
        (round * batch..(round + 1) * batch).for_each(|framework| cluster.suppress(framework));
        time += cluster.run();
    }
    mean(time, ROUNDS)
}

fn snapshot(size: Size) -> Duration {
    let cluster = grid::with_metrics(size);
    let start = Instant::now();
    black_box(cluster.allocator.metrics());
    start.elapsed()
}

/// Every framework revives once everything is offered.
fn backlog(size: Size) -> Duration {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(size.frameworks, |_| "*".to_owned());
    let total = large_agent();
    (0..size.agents).for_each(|agent| cluster.add_agent(agent, &total, None));
    cluster.run();
    grid::drain_backlog(&mut cluster, size)
}

fn mean(time: Duration, rounds: usize) -> Duration {
    time / u32::try_from(rounds.max(1)).unwrap_or(u32::MAX)
}
