//! The agent as a process of its own: how it starts, ends, and is killed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use mesos::proto::internal as wire;
use mesos_agent::containerizer::ProcessTable;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Master, eventually, flags, sandbox, task};

const AGENT: &str = env!("CARGO_BIN_EXE_mesos-agent");

fn start(master: &Master, work_dir: &Path) -> Child {
    Command::new(AGENT)
        .args(flags(master, work_dir))
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The process id that a task wrote to a file of its sandbox.
fn pid_in(work_dir: &Path, executor: &str, file: &str) -> i32 {
    let path = sandbox(work_dir, executor).join(file);
    let read = || fs::read_to_string(&path).unwrap_or_default();
    eventually("the process id is written", || read().ends_with('\n'));
    read().trim().parse().unwrap()
}

#[test]
fn executors_do_not_outlive_a_killed_agent() {
    let master = Master::start();
    let work_dir = tempfile::tempdir().unwrap();
    let mut agent = start(&master, work_dir.path());
    let upid = master.register();
    let command = "echo $PPID > executor; echo $$ > task; exec sleep 1000";
    master.run(&upid, task("t", command));
    let task = pid_in(work_dir.path(), "t", "task");
    let executor = pid_in(work_dir.path(), "t", "executor");
    agent.kill().unwrap();
    agent.wait().unwrap();
    for pid in [task, executor] {
        eventually("it has ended", || {
            !ProcessTable::read().unwrap().is_alive(pid)
        });
    }
    master.runtime.shutdown();
}

#[test]
fn a_signal_asks_for_a_graceful_end() {
    let master = Master::start();
    let work_dir = tempfile::tempdir().unwrap();
    let mut agent = start(&master, work_dir.path());
    let upid = master.register();
    master.run(&upid, task("t", "echo $$ > task; exec sleep 1000"));
    let task = pid_in(work_dir.path(), "t", "task");
    kill(
        Pid::from_raw(i32::try_from(agent.id()).unwrap()),
        Signal::SIGUSR1,
    )
    .unwrap();
    master.expect::<wire::UnregisterSlaveMessage>("UnregisterSlaveMessage");
    assert_eq!(agent.wait().unwrap().code(), Some(0));
    assert!(!ProcessTable::read().unwrap().is_alive(task));
    master.runtime.shutdown();
}

#[test]
fn a_master_that_shuts_the_agent_down() {
    let master = Master::start();
    let work_dir = tempfile::tempdir().unwrap();
    let mut agent = start(&master, work_dir.path());
    let upid = master.register();
    master.send(&upid, &wire::ShutdownMessage::default());
    assert_eq!(agent.wait().unwrap().code(), Some(0));
    master.runtime.shutdown();
}

fn run(arguments: &[&str]) -> Output {
    Command::new(AGENT).args(arguments).output().unwrap()
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let work_dir = tempfile::tempdir().unwrap();
    let work_dir = format!("--work_dir={}", work_dir.path().display());
    let check = |arguments: &[&str], expected: &str| {
        let mut all = vec![work_dir.as_str(), "--ip=127.0.0.1", "--port=0"];
        all.extend(arguments);
        let output = run(&all);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        let last = text.lines().last().unwrap();
        assert_eq!(last, format!("mesos-agent: {expected}"));
    };
    let somewhere = "--master=127.0.0.1:5050";
    check(
        &[],
        "--master is missing: expected host:port, zk://host1:port1,.../path or file:///path",
    );
    check(
        &[somewhere, "--launcher_dir=/nonexistent"],
        "--launcher_dir=/nonexistent: failed to start '/nonexistent/mesos-containerizer': \
         '/nonexistent/mesos-containerizer' does not exist",
    );
    check(
        &[somewhere, "--gc_delay=1days"],
        "--gc_delay=1days: not supported by this agent (allowed: its default, '1weeks')",
    );
    check(
        &[somewhere, "--domain={}"],
        "--domain: expected a 'fault_domain' with region and zone",
    );
    check(
        &[somewhere, "--resources=gpus:1"],
        "--resources=gpus:1: gpus are not supported by this agent",
    );
}

#[test]
fn help_and_version() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("--work_dir=VALUE"), "{text}");
    let output = run(&["--version"]);
    assert_eq!(output.stdout, b"mesos 1.11.0\n");
}
