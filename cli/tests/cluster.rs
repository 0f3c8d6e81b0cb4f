//! The commands against a cluster of real master and agent processes.

#![allow(clippy::unwrap_used, reason = "a failing test shall panic")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use common::{Ended, Sandbox};
use mesos_tests::cluster::Cluster;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

struct Env {
    sandbox: Sandbox,
    cluster: Cluster,
}

impl Env {
    async fn start() -> Self {
        Self::on(Cluster::builder().start().await)
    }

    fn on(cluster: Cluster) -> Self {
        Env {
            sandbox: Sandbox::new(),
            cluster,
        }
    }

    fn master(&self) -> String {
        format!("--master={}", self.cluster.master_url())
    }

    #[track_caller]
    fn run(&self, command: &str, arguments: &[&str]) -> Ended {
        self.sandbox
            .run(&[&[command, &self.master()][..], arguments].concat())
    }

    /// A task that runs until the child is told to end it.
    fn launch_sleeping(&self, name: &str) -> Child {
        let mut command = self.sandbox.command(&["launch", &self.master()]);
        command.args([
            "--name",
            name,
            "--cpus=0.1",
            "--mem=32MB",
            "--command=sleep 3600",
        ]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("TASK_RUNNING") {
            line.clear();
            assert_ne!(
                stderr.read_line(&mut line).unwrap(),
                0,
                "ended before the task ran"
            );
        }
        child.stderr = Some(stderr.into_inner());
        child
    }
}

fn interrupt(mut child: Child) {
    let _watchdog = common::watch(&child);
    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[tokio::test]
async fn launch_uses_the_cluster_it_is_told_of() {
    let env = Env::start().await;
    let ended = env.run("launch", &["--quiet", "--command", "echo here; exit 4"]);
    assert_eq!(ended.stdout_text(), "here\n", "{}", ended.stderr_text());
    assert_eq!(ended.code(), Some(4));
    let mut launch = env
        .sandbox
        .command(&["launch", "--quiet", "--command=echo by variable"]);
    launch.env("MESOS_MASTER", env.cluster.master_url());
    let ended = common::end(launch);
    assert_eq!(
        ended.stdout_text(),
        "by variable\n",
        "{}",
        ended.stderr_text()
    );
}

#[tokio::test]
async fn ps_and_state_show_what_runs() {
    let env = Env::start().await;
    let sleeping = env.launch_sleeping("long-one");
    env.run("launch", &["--quiet", "--name=short-one", "--command=true"]);

    let ended = env.run("ps", &[]);
    let table = ended.stdout_text();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ID "), "{table}");
    assert_eq!(lines.len(), 2, "{table}");
    let cells: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(cells[..2], ["long-one", "long-one"], "{table}");
    assert!(lines[1].contains("TASK_RUNNING"), "{table}");

    let list: Value = serde_json::from_slice(&env.run("ps", &["--json", "--all"]).stdout).unwrap();
    let find = |id: &str| {
        list.as_array()
            .unwrap()
            .iter()
            .find(|task| task["id"] == id)
            .unwrap()
    };
    assert_eq!(find("long-one")["state"], "TASK_RUNNING");
    assert_eq!(find("long-one")["cpus"], 0.1);
    assert_eq!(find("short-one")["state"], "TASK_FINISHED");

    let state: Value = serde_json::from_slice(&env.run("state", &[]).stdout).unwrap();
    assert_eq!(state["activated_slaves"], 1.0);
    interrupt(sleeping);
    assert_eq!(env.run("ps", &[]).stdout_text().lines().count(), 1);
}

#[tokio::test]
async fn explain_tells_why_nothing_is_offered() {
    let env = Env::start().await;
    let nobody = env.run("explain", &[]).stdout_text();
    assert!(nobody.ends_with(", agents: 1\n"), "{nobody}");
    // It suppresses offers once its task was launched.
    let sleeping = env.launch_sleeping("long-one");
    let text = env.run("explain", &["--role=*"]).stdout_text();
    assert!(text.contains(" in role *\n"), "{text}");
    assert!(text.contains("  agent "), "{text}");
    let ended = env.run("explain", &["--json", "--limit=1"]);
    let answer: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let agent = answer["frameworks"][0]["agents"][0]["agent"].as_str();
    let ended = env.run("explain", &["--agent", agent.unwrap()]);
    assert!(ended.stdout_text().contains(agent.unwrap()));
    let check = |argument: &str, parts: &[&str]| {
        let ended = env.run("explain", &[argument]);
        let text = ended.stderr_text();
        assert_eq!(ended.code(), Some(1), "{text}");
        for part in parts {
            assert!(text.contains(part), "'{part}' is not in '{text}'");
        }
    };
    check("--framework=x", &["404", "framework x is not known"]);
    check("--limit=5000", &["400", "allowed: 1 to 1000"]);
    check("--role=a b", &["'a b'", "--role"]);
    interrupt(sleeping);
}

#[tokio::test]
async fn mesos_execute_tells_what_upstream_tells() {
    let env = Env::start().await;
    let check = |arguments: &[&str], code: i32, parts: &[&str]| {
        let ended = env.run("execute", &[&["--quiet"], arguments].concat());
        let text = ended.stdout_text();
        assert_eq!(ended.code(), Some(code), "{text}{}", ended.stderr_text());
        let mut rest = text.as_str();
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else {
                panic!("'{part}' is missing, or in another order, in: {text}");
            };
            rest = after;
        }
    };
    let lines = [
        "Subscribed with ID ",
        "\nSubmitted task 't' to agent '",
        "\nReceived status update TASK_STARTING for task 't'\n  source: SOURCE_EXECUTOR\n",
        "Received status update TASK_RUNNING for task 't'\n  source: SOURCE_EXECUTOR\n",
        "Received status update TASK_FAILED for task 't'\n  message: 'Command exited with status 3'",
    ];
    check(&["--name=t", "--command=exit 3"], 0, &lines);
    check(
        &["--name=t", "--command=exit 3", "--exit_with_task_status"],
        3,
        &lines,
    );
    check(
        &["--name=k", "--command=sleep 3600", "--kill_after=1ms"],
        0,
        &["TASK_RUNNING for task 'k'", "TASK_KILLED for task 'k'"],
    );
    let task = r#"--task={
        "name": "named", "task_id": {"value": "by-json"}, "agent_id": {"value": ""},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}],
        "command": {"value": "test $X = y", "environment": {"variables": [{"name": "X", "value": "y"}]}}
    }"#;
    check(
        &[task],
        0,
        &["Submitted task 'named'", "TASK_FINISHED for task 'by-json'"],
    );
}

#[tokio::test]
async fn launch_survives_a_restart_of_the_master() {
    // The agent notices a restarted master by its silence; let that be short.
    let builder = Cluster::builder()
        .master_flag("--agent_ping_timeout=1secs")
        .master_flag("--max_agent_ping_timeouts=2");
    let mut env = Env::on(builder.start().await);
    let gate = env.sandbox.path().join("gate");
    let command = format!(
        "until test -e {}; do sleep 0.05; done; echo done",
        gate.display()
    );
    let mut launch = env
        .sandbox
        .command(&["launch", &env.master(), "--command", &command]);
    let mut child = launch
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _watchdog = common::watch(&child);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut wait_for = |part: &str| {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert_ne!(
                stderr.read_line(&mut line).unwrap(),
                0,
                "ended before '{part}'"
            );
        }
    };
    wait_for("TASK_RUNNING");
    env.cluster.master(0).kill();
    wait_for("the master is gone");
    env.cluster.master(0).restart();
    wait_for("connected to a master again");
    std::fs::write(gate, "").unwrap();
    wait_for("TASK_FINISHED");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"done\n");
    assert_eq!(output.status.code(), Some(0));
}
