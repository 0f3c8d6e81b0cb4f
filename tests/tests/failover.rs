//! Masters and agents that die under a running workload.
//!
//! Needs the Debian packages `zookeeper` and `default-jre-headless`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use mesos_tests::cluster::Cluster;
use mesos_tests::wait::eventually;
use mesos_tests::workload::{Api, Progress, Workload};

/// Tasks of the workload; two agents have room for all of them at once.
const TASKS: usize = 50;
/// For what depends on the speed of the machine only.
const DEADLINE: Duration = Duration::from_secs(120);
/// For a new leader: the session timeout of the harness is 2 s, to which come the start of
/// recovery and the patience of a busy machine.
const ELECTION_DEADLINE: Duration = Duration::from_secs(15);

fn all(states: usize) -> bool {
    states == TASKS
}

#[tokio::test(flavor = "multi_thread")]
async fn no_task_is_lost_or_run_twice_when_the_leader_of_a_v1_scheduler_dies() {
    leaders_die(Api::Http).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_task_is_lost_or_run_twice_when_the_leader_of_a_driver_dies() {
    leaders_die(Api::Driver).await;
}

async fn leaders_die(api: Api) {
    let mut cluster = Cluster::builder()
        .masters(3)
        .agents(2)
        .zookeeper()
        .start()
        .await;
    let workload = Workload::start(api, &cluster.master_url(), cluster.dir(), TASKS);
    workload
        .until("all tasks run", DEADLINE, |progress| {
            all(progress.count("TASK_RUNNING"))
        })
        .await;

    for death in 1..=2 {
        let leader = cluster.leader().await;
        cluster.master(leader).kill();
        let next = eventually("another master leads", ELECTION_DEADLINE, || async {
            Some(cluster.leader().await)
        })
        .await;
        assert_ne!(next, leader, "a dead master leads");
        cluster.wait_for_agents(2).await;
        workload
            .until("the framework is back", DEADLINE, |progress| {
                progress.subscriptions > death
            })
            .await;
        eventually("the new leader knows all tasks", DEADLINE, || async {
            let state = cluster.state().await;
            (running_tasks(&state) == TASKS).then_some(())
        })
        .await;
        cluster.master(leader).restart();
    }

    workload.release();
    let progress = workload
        .until("all tasks finish", DEADLINE, |progress| {
            all(progress.count("TASK_FINISHED"))
        })
        .await;
    assert_eq!(
        progress.framework_ids.len(),
        1,
        "{:?}",
        progress.framework_ids
    );
    assert!(progress.launches.values().all(|launches| *launches == 1));
    assert_eq!(progress.states.len(), TASKS, "unknown tasks were reported");
    for (task, states) in &progress.states {
        let odd = states.iter().find(|state| {
            ![
                "TASK_STAGING",
                "TASK_STARTING",
                "TASK_RUNNING",
                "TASK_FINISHED",
            ]
            .contains(&state.as_str())
        });
        assert_eq!(odd, None, "{task} went through {states:?}");
    }
    let starts = workload.starts();
    assert_eq!(starts.len(), TASKS);
    assert!(starts.values().all(|starts| *starts == 1), "{starts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_a_dead_agent_are_reported_in_time() {
    // Neither agent has room for all tasks.
    let mut cluster = Cluster::builder()
        .agents(2)
        .agent_flag("--resources=cpus:3;mem:4096;disk:4096;ports:[31000-32000]")
        .master_flag("--agent_ping_timeout=1secs")
        .master_flag("--max_agent_ping_timeouts=2")
        .start()
        .await;
    let workload = Workload::start(Api::Http, &cluster.master_url(), cluster.dir(), TASKS);
    workload
        .until("all tasks run", DEADLINE, |progress| {
            all(progress.count("TASK_RUNNING"))
        })
        .await;

    cluster.agent(0).kill();
    // Two pings of a second, and the patience of a busy machine.
    let in_time = Duration::from_secs(20);
    let what = "all tasks of one agent are unreachable, those of the other run on";
    workload
        .until(what, in_time, |progress| {
            let unreachable = agents_of(progress, "TASK_UNREACHABLE");
            let running = agents_of(progress, "TASK_RUNNING");
            unreachable.len() == 1 && running.len() == 1 && unreachable != running
        })
        .await;
    cluster.wait_for_agents(1).await;
}

/// The agents that have tasks in a state.
fn agents_of(progress: &Progress, state: &str) -> BTreeSet<String> {
    let in_state = |states: &Vec<String>| states.last().is_some_and(|last| last == state);
    progress
        .states
        .iter()
        .filter(|(_, states)| in_state(states))
        .filter_map(|(task, _)| progress.agents.get(task).cloned())
        .collect()
}

fn running_tasks(state: &serde_json::Value) -> usize {
    let frameworks = state["frameworks"].as_array().cloned().unwrap_or_default();
    frameworks
        .iter()
        .filter_map(|framework| framework["tasks"].as_array())
        .flatten()
        .filter(|task| task["state"] == "TASK_RUNNING")
        .count()
}
