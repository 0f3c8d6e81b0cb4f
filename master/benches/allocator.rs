//! Rounds of the allocator and the cost of single events, with parameters of upstream's
//! `src/tests/hierarchical_allocator_tests.cpp`, `hierarchical_allocator_benchmarks.cpp` and
//! `sorter_tests.cpp`.
//!
//! A few sizes of upstream's grid are measured; with `ALLOCATOR_GRID=full` all of them, which takes
//! hours: choose a part by name, as in
//! `ALLOCATOR_GRID=full cargo bench -p mesos-master --bench allocator -- 'decline/50000'`.

#[allow(dead_code, reason = "every program uses a part")]
mod scenarios;

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use scenarios::cluster::{Cluster, FOREVER};
use scenarios::events::Busy;
use scenarios::grid::{self, Size};
use scenarios::profiles;
use scenarios::quota::{self, LargeAndSmall};
use scenarios::sorters::{CLIENTS, Sorted, TREES};

fn is_full() -> bool {
    std::env::var("ALLOCATOR_GRID").is_ok_and(|grid| grid == "full")
}

/// The sizes to measure.
fn sizes() -> Vec<Size> {
    let some = [(1_000, 100), (5_000, 500), (10_000, 1_000)];
    let all = grid::AGENTS
        .into_iter()
        .flat_map(|agents| grid::FRAMEWORKS.map(|frameworks| (agents, frameworks)));
    let sizes: Vec<(usize, usize)> = if is_full() {
        all.collect()
    } else {
        some.into()
    };
    let size = |(agents, frameworks)| Size { agents, frameworks };
    sizes.into_iter().map(size).collect()
}

/// Adds up times that a scenario takes itself.
fn timed(bencher: &mut Bencher<'_>, mut time: impl FnMut() -> Duration) {
    bencher.iter_custom(|repeats| (0..repeats).map(|_| time()).sum());
}

/// Measures a part of the grid: `prepare` makes a cluster that is measured again and again.
fn grid_group<T>(
    criterion: &mut Criterion,
    name: &str,
    prepare: impl Fn(Size) -> T,
    measure: impl Fn(&mut T, Size) -> Duration,
) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    for size in sizes() {
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            let mut cluster = prepare(size);
            timed(bencher, || measure(&mut cluster, size));
        });
    }
    group.finish();
}

/// A run after everything came back without filter.
fn run_again(cluster: &mut Cluster) -> Duration {
    cluster.decline_all(Some(0.0));
    cluster.run()
}

fn agents(criterion: &mut Criterion) {
    let nothing = |_| ();
    grid_group(criterion, "add agents", nothing, |(), size| {
        grid::add_and_update(size).0
    });
    grid_group(criterion, "update agents", nothing, |(), size| {
        grid::add_and_update(size).1
    });
    grid_group(criterion, "first round", nothing, |(), size| {
        grid::cluster(size).run()
    });
}

fn rounds(criterion: &mut Criterion) {
    grid_group(criterion, "hand out", grid::cluster, |cluster, _| {
        run_again(cluster)
    });
    grid_group(criterion, "labels", grid::labeled, |cluster, _| {
        run_again(cluster)
    });
    let declined = |size| grid::declined(size, 20);
    grid_group(criterion, "decline", declined, |cluster, _| {
        let run = cluster.run();
        cluster.decline_all(FOREVER);
        run
    });
    let suppressed = |size: Size| grid::suppressed(size, size.frameworks * 3 / 5);
    grid_group(criterion, "suppress", suppressed, |cluster, _| {
        run_again(cluster)
    });
    let extremely = |size: Size| grid::suppressed(size, size.frameworks * 99 / 100);
    grid_group(criterion, "extreme suppress", extremely, |cluster, _| {
        run_again(cluster)
    });
    grid_group(criterion, "backlog", grid::cluster, |cluster, size| {
        cluster.decline_all(Some(0.0));
        grid::drain_backlog(cluster, size)
    });
    grid_group(criterion, "metrics", grid::with_metrics, |cluster, _| {
        let start = std::time::Instant::now();
        black_box(cluster.allocator.metrics());
        start.elapsed()
    });
    let volumes = |size| grid::with_volumes(size, |agent| agent % 2 == 0);
    grid_group(criterion, "volumes", volumes, |cluster, _| {
        run_again(cluster)
    });
}

fn quotas(criterion: &mut Criterion) {
    for policy in ["drf", "random"] {
        let mut group = criterion.benchmark_group(format!("quota, {policy}"));
        group.sample_size(10);
        for scale in [1, 10, 100] {
            quotas_of_scale(&mut group, policy, scale);
        }
        group.finish();
    }
    let mut group = criterion.benchmark_group("mixed frameworks");
    group.sample_size(10);
    group.bench_function("50 rounds", |bencher| {
        timed(bencher, || profiles::launch_everything(1, 50).runs);
    });
    group.finish();
}

fn quotas_of_scale(group: &mut BenchmarkGroup<'_, WallTime>, policy: &'static str, scale: usize) {
    let size = LargeAndSmall {
        small_roles: 25 * scale,
        large_roles: 5 * scale,
    };
    let told = || quota::large_and_small(Cluster::sorted_by(policy), size).0;
    group.bench_function(BenchmarkId::new("large and small", size), |bencher| {
        timed(bencher, || told().run());
    });
    group.bench_function(BenchmarkId::new("without change", size), |bencher| {
        let mut cluster = told();
        cluster.run();
        timed(bencher, || cluster.run());
    });
    for (name, with_quota) in [("whole agents", true), ("no quota", false)] {
        let roles = 10 * scale;
        group.bench_function(BenchmarkId::new(name, roles), |bencher| {
            timed(bencher, || {
                quota::whole_agents(Cluster::sorted_by(policy), roles, with_quota).run()
            });
        });
    }
}

fn orders(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("order");
    group.sample_size(10);
    let agents = if is_full() { 50_000 } else { 1_000 };
    let mut measure = |name: String, make: &dyn Fn() -> Sorted| {
        group.bench_function(format!("{name}, full"), |bencher| {
            let mut sorted = make();
            timed(bencher, || sorted.order_anew());
        });
        group.bench_function(format!("{name}, no change"), |bencher| {
            let mut sorted = make();
            timed(bencher, || sorted.order_without_change());
        });
    };
    for clients in CLIENTS {
        measure(format!("{clients} roles"), &|| {
            Sorted::flat(agents, clients)
        });
    }
    for (height, children) in TREES {
        measure(format!("tree {height} of {children}"), &|| {
            Sorted::tree(agents, height, children)
        });
    }
    group.finish();
}

fn events(criterion: &mut Criterion) {
    grid_group(criterion, "event: agent added", Busy::new, |busy, _| {
        busy.agent_added()
    });
    grid_group(criterion, "event: task finished", Busy::new, |busy, _| {
        busy.task_finished()
    });
    grid_group(criterion, "event: offer declined", Busy::new, |busy, _| {
        busy.offer_declined()
    });
}

criterion_group!(benches, agents, rounds, quotas, orders, events);
criterion_main!(benches);
