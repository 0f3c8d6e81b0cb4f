//! Rounds of the allocator and the cost of single events. `master/examples/allocator_table.rs`
//! prints the same, larger, beside the figures of the original.

mod workloads;

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use mesos::proto;
use workloads::{
    FOREVER_SECS, NOW, TOTAL, add_agent, agent_id, cluster, decline, filter_everything,
    framework_id, parse, quota,
};

fn rounds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round");
    group.sample_size(10);
    for (agents, frameworks) in [(1_000, 100), (5_000, 1_000), (10_000, 1_000)] {
        let size = format!("{agents} agents, {frameworks} frameworks");
        group.bench_function(BenchmarkId::new("first", &size), |bencher| {
            bencher.iter_batched_ref(
                || cluster(agents, frameworks),
                |allocator| black_box(allocator.allocate(NOW)),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("hand out and decline", &size), |bencher| {
            let mut allocator = cluster(agents, frameworks);
            bencher.iter(|| {
                let offers = allocator.allocate(NOW).offers;
                decline(&mut allocator, &offers, 0.0, NOW);
            });
        });
    }
    group.bench_function("all filtered/1000 agents, 100 frameworks", |bencher| {
        let mut allocator = cluster(1_000, 100);
        filter_everything(&mut allocator, usize::MAX);
        bencher.iter(|| black_box(allocator.allocate(NOW)));
    });
    // One agent in a hundred changed, so that everybody is asked about it.
    group.bench_function("all filtered, 10 agents changed/1000 agents", |bencher| {
        let mut allocator = cluster(1_000, 100);
        filter_everything(&mut allocator, usize::MAX);
        bencher.iter(|| {
            for index in 0..10 {
                allocator.deactivate_agent(&agent_id(index)).expect("known");
                allocator.activate_agent(&agent_id(index)).expect("known");
            }
            black_box(allocator.allocate(NOW))
        });
    });
    group.finish();
}

/// Upstream: `LargeAndSmallQuota`.
fn quotas(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("quota");
    group.sample_size(10);
    for sorter in ["drf", "random"] {
        for (small, large, agents) in [(25, 5, 30), (250, 50, 300)] {
            let size = format!("{sorter}/{} roles, {agents} agents", small + large);
            group.bench_function(size, |bencher| {
                bencher.iter_custom(|times| {
                    (0..times)
                        .map(|_| quota(sorter, small, large, agents).first)
                        .sum()
                });
            });
        }
    }
    group.finish();
}

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    let (agents, frameworks) = (10_000, 1_000);
    let mut allocator = cluster(agents, frameworks);
    allocator.allocate(NOW);
    group.bench_function("agent added and removed", |bencher| {
        bencher.iter(|| {
            add_agent(&mut allocator, agents, TOTAL, None);
            allocator.remove_agent(&agent_id(agents))
        });
    });
    group.bench_function("suppress and revive", |bencher| {
        bencher.iter(|| {
            let (framework, all) = (framework_id(1), BTreeSet::new());
            allocator.suppress_offers(&framework, &all).expect("known");
            allocator.revive_offers(&framework, &all)
        });
    });
    // Only the first framework wants offers, so that what it returns comes back to it.
    for index in 1..frameworks {
        let all = BTreeSet::new();
        allocator
            .suppress_offers(&framework_id(index), &all)
            .expect("known");
    }
    let mut task = parse("cpus:1;mem:32");
    task.allocate("role-0");
    let mut hostnames = ["even", "odd"].into_iter().cycle();
    group.bench_function("task ended, its agent named, one run", |bencher| {
        bencher.iter(|| {
            let (framework, agent) = (framework_id(0), agent_id(0));
            let ended = allocator.recover_resources(&framework, &agent, &task, None, false, NOW);
            ended.expect("held");
            let info = proto::SlaveInfo {
                hostname: hostnames.next().unwrap_or_default().to_owned(),
                ..Default::default()
            };
            allocator
                .update_agent(&agent, &info, None, None)
                .expect("known");
            assert_eq!(allocator.allocate_requested(NOW).offers.len(), 1);
        });
    });
    group.bench_function("offer declined for good", |bencher| {
        bencher.iter_batched_ref(
            || {
                let mut allocator = cluster(100, 1);
                let offers = allocator.allocate(NOW).offers;
                (allocator, offers)
            },
            |(allocator, offers)| decline(allocator, offers, FOREVER_SECS, NOW),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, rounds, quotas, events);
criterion_main!(benches);
