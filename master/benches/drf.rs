//! Rounds of the allocator and the cost of single events, with parameters of upstream's
//! `src/tests/hierarchical_allocator_benchmarks.cpp` and `hierarchical_allocator_tests.cpp`.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use mesos::proto;
use mesos::resources::Resources;
use mesos_master::allocator::{
    AgentCapabilities, AgentId, Allocation, Allocator, FrameworkId, FrameworkOptions, Options,
};

const TOTAL: &str = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]";
/// In use by frameworks on every agent, in fragments.
const USED: &str = "cpus:16;mem:2014;disk:1024";
const FOREVER_SECS: f64 = 1e6;

fn parse(text: &str) -> Resources {
    Resources::parse(text, "*").expect("a valid text")
}

fn framework_id(index: usize) -> FrameworkId {
    FrameworkId::from(format!("framework-{index:05}").as_str())
}

fn agent_id(index: usize) -> AgentId {
    AgentId::from(format!("agent-{index:05}").as_str())
}

fn framework_info(role: &str) -> proto::FrameworkInfo {
    let multi_role = proto::framework_info::capability::Type::MultiRole;
    proto::FrameworkInfo {
        roles: vec![role.to_owned()],
        capabilities: vec![proto::framework_info::Capability {
            r#type: Some(multi_role.into()),
        }],
        ..Default::default()
    }
}

/// A cluster before its first round; each framework has its own role.
fn cluster(agents: usize, frameworks: usize) -> Allocator {
    let mut allocator = Allocator::new(Options::default());
    for index in 0..frameworks {
        let info = framework_info(&format!("role-{index}"));
        let (id, options) = (framework_id(index), FrameworkOptions::default());
        let added = allocator.add_framework(id, &info, &BTreeMap::new(), true, options);
        added.expect("a new framework");
    }
    for index in 0..agents {
        add_agent(&mut allocator, index, frameworks);
    }
    allocator
}

fn add_agent(allocator: &mut Allocator, index: usize, frameworks: usize) {
    let capabilities = AgentCapabilities {
        multi_role: true,
        hierarchical_role: true,
    };
    let user = index % frameworks;
    let mut used = parse(USED);
    used.allocate(format!("role-{user}"));
    let used = BTreeMap::from([(framework_id(user), used)]);
    let info = proto::SlaveInfo {
        hostname: format!("host-{index}"),
        ..Default::default()
    };
    let added = allocator.add_agent(agent_id(index), &info, capabilities, parse(TOTAL), used);
    added.expect("a new agent");
}

fn decline(allocator: &mut Allocator, allocations: &[Allocation], seconds: f64, now: Duration) {
    let filters = proto::Filters {
        refuse_seconds: Some(seconds),
    };
    for allocation in allocations {
        for (agent, resources) in allocation.resources.values().flatten() {
            let framework = &allocation.framework;
            let recovered = allocator.recover_resources(
                framework,
                agent,
                resources,
                Some(&filters),
                false,
                now,
            );
            recovered.expect("what was handed out");
        }
    }
}

/// Rounds until every framework has refused every agent for good.
fn filter_everything(allocator: &mut Allocator, now: Duration) {
    loop {
        let allocations = allocator.allocate(now);
        if allocations.is_empty() {
            return;
        }
        decline(allocator, &allocations, FOREVER_SECS, now);
    }
}

fn rounds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round");
    group.sample_size(10);
    let now = Duration::from_secs(1);
    for (agents, frameworks) in [(1_000, 100), (5_000, 1_000)] {
        let size = format!("{agents} agents, {frameworks} frameworks");
        group.bench_function(BenchmarkId::new("first", &size), |bencher| {
            bencher.iter_batched_ref(
                || cluster(agents, frameworks),
                |allocator| black_box(allocator.allocate(now)),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("hand out and decline", &size), |bencher| {
            let mut allocator = cluster(agents, frameworks);
            bencher.iter(|| {
                let allocations = allocator.allocate(now);
                decline(&mut allocator, &allocations, 0.0, now);
            });
        });
    }
    group.bench_function("all filtered/1000 agents, 100 frameworks", |bencher| {
        let mut allocator = cluster(1_000, 100);
        filter_everything(&mut allocator, now);
        bencher.iter(|| black_box(allocator.allocate(now)));
    });
    group.finish();
}

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    let now = Duration::from_secs(1);
    let (agents, frameworks) = (10_000, 1_000);
    let mut allocator = cluster(agents, frameworks);
    allocator.allocate(now);
    group.bench_function("agent added and removed", |bencher| {
        bencher.iter(|| {
            add_agent(&mut allocator, agents, frameworks);
            allocator.remove_agent(&agent_id(agents))
        });
    });
    group.bench_function("suppress and revive", |bencher| {
        bencher.iter(|| {
            allocator
                .suppress_offers(&framework_id(1), &BTreeSet::new())
                .expect("known");
            allocator.revive_offers(&framework_id(1), &BTreeSet::new())
        });
    });
    // Only the first framework wants offers, so that what it returns comes back to it.
    for index in 1..frameworks {
        allocator
            .suppress_offers(&framework_id(index), &BTreeSet::new())
            .expect("known");
    }
    let mut task = parse("cpus:1;mem:32");
    task.allocate("role-0");
    let mut hostnames = ["even", "odd"].into_iter().cycle();
    group.bench_function("task ended, its agent named, one run", |bencher| {
        bencher.iter(|| {
            let (framework, agent) = (framework_id(0), agent_id(0));
            let ended = allocator.recover_resources(&framework, &agent, &task, None, false, now);
            ended.expect("held");
            let info = proto::SlaveInfo {
                hostname: hostnames.next().unwrap_or_default().to_owned(),
                ..Default::default()
            };
            allocator
                .update_agent(&agent, &info, None, None)
                .expect("known");
            assert_eq!(allocator.allocate_requested(now).len(), 1);
        });
    });
    group.finish();
}

criterion_group!(benches, rounds, events);
criterion_main!(benches);
