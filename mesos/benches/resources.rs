//! The resource algebra, with the parameters of upstream's `src/tests/resources_tests.cpp`.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mesos::resources::{Range, Ranges, Reservation, Resource, Resources, Scalar, Value};

const SCALARS: &str = "cpus:1;gpus:1;mem:128;disk:256";
const AGENT: &str = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]";
const TASK: &str = "cpus:0.1;mem:32;disk:16;ports:[31500-31510]";

fn parse(text: &str) -> Resources {
    Resources::parse(text, "*").expect("a valid text")
}

/// Every second range of two ports from 1 up, so that nothing coalesces.
fn fragmented(count: u64, first: u64) -> Ranges {
    (0..count)
        .map(|index| Range {
            begin: first + index * 4,
            end: first + index * 4 + 1,
        })
        .collect()
}

fn ports(ranges: Ranges) -> Resources {
    Resource::ranges("ports", ranges).into()
}

/// One reservation of each of `count` roles.
fn reservations(count: usize) -> Resources {
    (0..count)
        .map(|index| {
            let amount = Scalar::from_millis(1_000);
            let role = format!("role{index}");
            Resource::scalar("cpus", amount).with_reservation(Reservation::dynamic(role, None))
        })
        .collect()
}

fn arithmetic(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("arithmetic");
    for (name, resources) in [
        ("scalars", parse(SCALARS)),
        ("agent", parse(AGENT)),
        ("10 reservations", reservations(10)),
        ("100 reservations", reservations(100)),
    ] {
        let mut total = &resources + &resources;
        group.bench_function(BenchmarkId::new("add and subtract", name), |bencher| {
            bencher.iter(|| {
                total += black_box(&resources);
                total -= black_box(&resources);
            });
        });
    }
    let (agent, task) = (parse(AGENT), parse(TASK));
    group.bench_function("take task from agent", |bencher| {
        bencher.iter(|| black_box(&agent) - black_box(&task));
    });
    group.finish();
}

fn contains(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("contains");
    let mut case = |name: &str, left: Resources, right: Resources| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(&left).contains(black_box(&right)));
        });
    };
    case("scalars", parse(SCALARS), parse(SCALARS));
    case("task in agent", parse(AGENT), parse(TASK));
    case(
        "ports 1-16000 and 100 fragments",
        parse("ports:[1-16000]"),
        ports(fragmented(100, 1)),
    );
    case(
        "8000 fragments of ports and 100",
        ports(fragmented(8_000, 1)),
        ports(fragmented(100, 1)),
    );
    group.finish();
}

fn filters(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("filter");
    let resources = parse(AGENT) + &reservations(10);
    group.bench_function("unreserved", |bencher| {
        bencher.iter(|| black_box(&resources).unreserved());
    });
    group.bench_function("allocatable to role", |bencher| {
        bencher.iter(|| black_box(&resources).allocatable_to("role5/a"));
    });
    group.bench_function("quantities", |bencher| {
        bencher.iter(|| black_box(&resources).quantities());
    });
    let agent = parse(AGENT);
    group.bench_function("clone", |bencher| {
        bencher.iter(|| black_box(&agent).clone())
    });
    group.bench_function("allocate", |bencher| {
        let role: std::sync::Arc<str> = "role".into();
        bencher.iter_batched_ref(
            || agent.clone(),
            |agent| agent.allocate(role.clone()),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.bench_function("agent", |bencher| {
        bencher.iter(|| Resources::parse(black_box(AGENT), "*"));
    });
    let names: String = (0..100)
        .map(|index| format!("res{index}:{index};"))
        .collect();
    group.throughput(Throughput::Elements(100));
    group.bench_function("100 resources", |bencher| {
        bencher.iter(|| Resources::parse(black_box(&names), "*"));
    });
    let messages = parse(AGENT).to_protos();
    group.throughput(Throughput::Elements(1));
    group.bench_function("messages", |bencher| {
        bencher.iter(|| Resources::from_protos(black_box(&messages)));
    });
    group.finish();
}

fn ranges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ranges");
    for count in [10, 100, 1_000] {
        let (even, odd) = (fragmented(count, 1), fragmented(count, 3));
        let overlapping: Vec<Range> = (0..count)
            .map(|index| Range {
                begin: index,
                end: index + count,
            })
            .collect();
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("add interleaved", count), |bencher| {
            bencher.iter_batched_ref(
                || even.clone(),
                |ranges| ranges.add(black_box(&odd)),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("subtract half", count), |bencher| {
            let half = fragmented(count / 2, 1);
            bencher.iter_batched_ref(
                || even.clone(),
                |ranges| ranges.subtract(black_box(&half)),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("coalesce overlapping", count), |bencher| {
            bencher.iter(|| {
                let ranges: Ranges = black_box(&overlapping).iter().copied().collect();
                Value::Ranges(ranges)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, arithmetic, contains, filters, parsing, ranges);
criterion_main!(benches);
