//! The metrics of the agent.
//!
//! Upstream: `src/slave/metrics.cpp`.

use std::time::Instant;

use libprocess::Metrics;
use mesos::proto::TaskState;
use mesos::resources::Resources;

use super::state::allocated;
use crate::actor::Published;
use crate::core::{AgentState, Counters, ExecutorState, Snapshot};

/// The amounts that have gauges of their own.
const RESOURCES: [&str; 4] = ["cpus", "gpus", "mem", "disk"];

/// Metrics of parts that this agent does not have. They are there, as they stand when such a part does nothing.
const ALWAYS_ZERO: [&str; 16] = [
    "containerizer/fetcher/cache_size_used_bytes",
    "containerizer/fetcher/task_fetches_failed",
    "containerizer/fetcher/task_fetches_succeeded",
    "containerizer/mesos/container_destroy_errors",
    "containerizer/mesos/provisioner/bind/remove_rootfs_errors",
    "containerizer/mesos/provisioner/remove_container_errors",
    "gc/path_removals_failed",
    "gc/path_removals_pending",
    "gc/path_removals_succeeded",
    "resource_provider_manager/events/disconnect",
    "resource_provider_manager/events/subscribe",
    "resource_provider_manager/subscribed",
    "slave/executors_preempted",
    "slave/recovery_errors",
    "slave/recovery_time_secs",
    "slave/executor_directory_max_allowed_age_secs",
];

/// A gauge, and how it is read off the state.
type Gauge = (&'static str, fn(&Snapshot) -> f64);

const GAUGES: [Gauge; 21] = [
    ("slave/registered", |snapshot| {
        f64::from(snapshot.state == AgentState::Running)
    }),
    ("slave/frameworks_active", |snapshot| {
        snapshot.frameworks.len() as f64
    }),
    ("slave/tasks_staging", |snapshot| {
        queued(snapshot) + tasks(snapshot, TaskState::TaskStaging)
    }),
    ("slave/tasks_starting", |snapshot| {
        tasks(snapshot, TaskState::TaskStarting)
    }),
    ("slave/tasks_running", |snapshot| {
        tasks(snapshot, TaskState::TaskRunning)
    }),
    ("slave/tasks_killing", |snapshot| {
        tasks(snapshot, TaskState::TaskKilling)
    }),
    ("slave/executors_registering", |snapshot| {
        executors(snapshot, ExecutorState::Registering)
    }),
    ("slave/executors_running", |snapshot| {
        executors(snapshot, ExecutorState::Running)
    }),
    ("slave/executors_terminating", |snapshot| {
        executors(snapshot, ExecutorState::Terminating)
    }),
    ("slave/tasks_finished", |snapshot| {
        count(snapshot, |counters| counters.tasks_finished)
    }),
    ("slave/tasks_failed", |snapshot| {
        count(snapshot, |counters| counters.tasks_failed)
    }),
    ("slave/tasks_killed", |snapshot| {
        count(snapshot, |counters| counters.tasks_killed)
    }),
    ("slave/tasks_lost", |snapshot| {
        count(snapshot, |counters| counters.tasks_lost)
    }),
    ("slave/tasks_gone", |snapshot| {
        count(snapshot, |counters| counters.tasks_gone)
    }),
    ("slave/executors_terminated", |snapshot| {
        count(snapshot, |counters| counters.executors_terminated)
    }),
    ("slave/valid_status_updates", |snapshot| {
        count(snapshot, |counters| counters.valid_status_updates)
    }),
    ("slave/invalid_status_updates", |snapshot| {
        count(snapshot, |counters| counters.invalid_status_updates)
    }),
    ("slave/valid_framework_messages", |snapshot| {
        count(snapshot, |counters| counters.valid_framework_messages)
    }),
    ("slave/invalid_framework_messages", |snapshot| {
        count(snapshot, |counters| counters.invalid_framework_messages)
    }),
    ("slave/container_launch_errors", |snapshot| {
        count(snapshot, |counters| counters.container_launch_errors)
    }),
    // The only part of the fetcher's cache that there is.
    ("containerizer/fetcher/cache_size_total_bytes", |_| {
        2.0 * 1024.0 * 1024.0 * 1024.0
    }),
];

/// Registers all metrics of an agent, to be read off its newest state.
pub(crate) fn register(metrics: &Metrics, published: &Published) {
    let started = Instant::now();
    metrics.pull_gauge("slave/uptime_secs", move || started.elapsed().as_secs_f64());
    for name in ALWAYS_ZERO {
        metrics.push_gauge(name).set(0.0);
    }
    for (name, read) in GAUGES {
        let published = published.clone();
        metrics.pull_gauge(name, move || read(&published.read().clone()));
    }
    for resource in RESOURCES {
        resource_gauges(metrics, published, resource);
    }
}

fn resource_gauges(metrics: &Metrics, published: &Published, resource: &'static str) {
    let gauge = |name: String, read: fn(&Snapshot, &str) -> f64| {
        let published = published.clone();
        metrics.pull_gauge(name, move || read(&published.read().clone(), resource));
    };
    gauge(format!("slave/{resource}_total"), total);
    gauge(format!("slave/{resource}_used"), used);
    gauge(format!("slave/{resource}_percent"), |snapshot, resource| {
        share(used(snapshot, resource), total(snapshot, resource))
    });
    gauge(format!("slave/{resource}_revocable_total"), |_, _| 0.0);
    gauge(format!("slave/{resource}_revocable_used"), revocable_used);
    gauge(format!("slave/{resource}_revocable_percent"), |_, _| 0.0);
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn amount(resources: &Resources, name: &str) -> f64 {
    resources
        .get_scalar(name)
        .map_or(0.0, |scalar| scalar.to_f64())
}

fn total(snapshot: &Snapshot, name: &str) -> f64 {
    amount(
        &Resources::from_valid_protos(&snapshot.info.resources),
        name,
    )
}

fn used(snapshot: &Snapshot, name: &str) -> f64 {
    amount(&allocated(snapshot).non_revocable(), name)
}

fn revocable_used(snapshot: &Snapshot, name: &str) -> f64 {
    amount(&allocated(snapshot).revocable(), name)
}

fn count(snapshot: &Snapshot, read: fn(&Counters) -> u64) -> f64 {
    read(&snapshot.counters) as f64
}

fn queued(snapshot: &Snapshot) -> f64 {
    let executors = snapshot
        .frameworks
        .iter()
        .flat_map(|framework| framework.executors.values());
    executors
        .map(|executor| executor.queued_tasks.len())
        .sum::<usize>() as f64
}

fn tasks(snapshot: &Snapshot, state: TaskState) -> f64 {
    let executors = snapshot
        .frameworks
        .iter()
        .flat_map(|framework| framework.executors.values());
    executors
        .flat_map(|executor| executor.launched_tasks.values())
        .filter(|task| task.state() == state)
        .count() as f64
}

fn executors(snapshot: &Snapshot, state: ExecutorState) -> f64 {
    let executors = snapshot
        .frameworks
        .iter()
        .flat_map(|framework| framework.executors.values());
    executors.filter(|executor| executor.state == state).count() as f64
}
