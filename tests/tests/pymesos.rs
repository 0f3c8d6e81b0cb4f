//! A scheduler library that nobody here wrote, pymesos from PyPI, against a real cluster.
//!
//! `tests/python/install` puts it into `target/python`; the ZooKeeper test needs the Debian
//! packages `zookeeper` and `default-jre-headless`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mesos_tests::cluster::{Cluster, ClusterBuilder};
use mesos_tests::http;
use mesos_tests::process::{ManagedProcess, describe};
use serde_json::Value;

/// The scenario waits a few times for offers to stay away.
const DEADLINE: Duration = Duration::from_secs(180);
/// What the scenario reports, in this order.
const STEPS: [&str; 13] = [
    "registered",
    "declined and offered again",
    "finished",
    "failed",
    "running",
    "suppressed",
    "filtered",
    "revived",
    "reconciled all",
    "reconciled some",
    "killed",
    "idle connection reused",
    "done",
];

#[tokio::test(flavor = "multi_thread")]
async fn goes_through_every_call_with_a_fixed_master() {
    play(Cluster::builder()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_through_every_call_with_an_elected_master() {
    play(Cluster::builder().masters(2).zookeeper()).await;
}

async fn play(builder: ClusterBuilder) {
    let python = python();
    let cluster = builder.start().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/scheduler_scenario.py");
    let mut command = Command::new(python);
    command.arg(script).arg(cluster.master_url());
    let mut scheduler = ManagedProcess::spawn("pymesos", &mut command, cluster.dir()).unwrap();
    let status = tokio::task::block_in_place(|| scheduler.wait(DEADLINE));
    assert!(status.success(), "pymesos: {}", describe(status));

    let log = scheduler.log();
    let reports: Vec<Value> = log
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let steps: Vec<&str> = reports
        .iter()
        .filter_map(|report| report["step"].as_str())
        .collect();
    assert_eq!(steps, STEPS);
    assert_eq!(reports[0]["version"], "1.11.0");

    // Stopping the driver tears the framework down.
    let state = cluster.state().await;
    assert_eq!(state["frameworks"], serde_json::json!([]));
    assert_eq!(
        state["completed_frameworks"][0]["id"],
        reports[0]["framework_id"]
    );
    let metrics = http::get_json(cluster.leader_address().await, "/metrics/snapshot")
        .await
        .unwrap();
    let counter = |name: &str| metrics[name].as_f64().unwrap();
    assert_eq!(counter("master/tasks_finished"), 1.0);
    assert_eq!(counter("master/tasks_failed"), 1.0);
    assert_eq!(counter("master/tasks_killed"), 1.0);
    assert_eq!(
        counter("master/invalid_status_update_acknowledgements"),
        0.0
    );
    assert!(counter("master/valid_status_update_acknowledgements") >= 8.0);
}

/// The interpreter of the environment that `tests/python/install` made.
fn python() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/<profile>/deps/<test>
    let target = test.ancestors().nth(3).unwrap();
    let python = target.join("python/bin/python");
    assert!(
        python.exists(),
        "{} is missing; install pymesos with: tests/python/install",
        python.display()
    );
    python
}
