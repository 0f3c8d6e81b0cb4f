//! What an operator can get wrong when starting a daemon: one clear line, exit status 1.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mesos_tests::binary;
use mesos_tests::net::free_port;
use mesos_tests::process::{ManagedProcess, describe};
use mesos_tests::wait::eventually_blocking;
use mesos_tests::zookeeper::ZooKeeperServer;

const DEADLINE: Duration = Duration::from_secs(30);
/// A folder that nobody can make, not even root.
const UNWRITABLE: &str = "/proc/mesos";

fn start(role: &str, flags: &[String], dir: &Path) -> ManagedProcess {
    let mut command = Command::new(binary::mesos());
    command
        .arg(role)
        .args(["--ip=127.0.0.1", "--hostname=127.0.0.1"])
        .args(flags);
    ManagedProcess::spawn(role, &mut command, dir).unwrap()
}

/// Starts a daemon and checks that it refuses, with all of `expected` in one line.
fn check(role: &str, flags: &[&str], expected: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let work_dir = dir.path().join("work");
    let mut all = vec![
        format!("--port={}", free_port()),
        format!("--work_dir={}", work_dir.display()),
    ];
    // A flag may be given once only.
    let name_of = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
    all.retain(|flag| flags.iter().all(|other| name_of(other) != name_of(flag)));
    all.extend(flags.iter().map(|flag| (*flag).to_owned()));
    let mut process = start(role, &all, dir.path());
    let status = process.wait(DEADLINE);
    let log = process.log();
    let what = format!("{role} {flags:?}");
    assert_eq!(
        status.code(),
        Some(1),
        "{what}: {}: {log}",
        describe(status)
    );
    let told = log
        .lines()
        .any(|line| expected.iter().all(|text| line.contains(text)));
    assert!(told, "{what}: no line names all of {expected:?}: {log}");
    assert!(!log.contains("panicked"), "{what}: {log}");
}

#[test]
fn masters_refuse_wrong_flags() {
    let master = |flags: &[&str], expected: &[&str]| {
        let mut all = vec!["--registry=in_memory"];
        all.extend(flags);
        check("master", &all, expected);
    };
    master(&["--no_such_flag=1"], &["no_such_flag"]);
    master(
        &["--allocation_interval=5parsecs"],
        &["allocation_interval", "5parsecs"],
    );
    master(&["--port=http"], &["port", "http"]);
    master(
        &["--zk=zk://127.0.0.1:2181"],
        &["zk", "('/' is not supported)"],
    );
    master(
        &["--zk=http://127.0.0.1/mesos"],
        &["zk", "http://127.0.0.1/mesos"],
    );
    master(
        &["--zk=zk://u:secret@host:port/mesos"],
        &["zk", "host:port"],
    );
    master(
        &[&format!("--work_dir={UNWRITABLE}")],
        &["work_dir", UNWRITABLE],
    );
    master(&["--registry=paper"], &["registry", "paper"]);
}

#[test]
fn agents_refuse_wrong_flags() {
    let agent = |flags: &[&str], expected: &[&str]| check("agent", flags, expected);
    agent(&[], &["master"]);
    let somewhere = "--master=127.0.0.1:5050";
    agent(&[somewhere, "--no_such_flag=1"], &["no_such_flag"]);
    agent(
        &[somewhere, "--resources=cpus:many"],
        &["resources", "many"],
    );
    agent(&[somewhere, "--attributes=rack"], &["attributes", "rack"]);
    agent(
        &[somewhere, "--executor_shutdown_grace_period=soon"],
        &["executor_shutdown_grace_period", "soon"],
    );
    let unwritable = format!("--work_dir={UNWRITABLE}");
    agent(&[somewhere, &unwritable], &["work_dir", UNWRITABLE]);
    agent(
        &["--master=ftp://127.0.0.1"],
        &["master", "ftp://127.0.0.1"],
    );
    agent(&["--master=127.0.0.1:http"], &["master", "127.0.0.1:http"]);
    agent(
        &["--master=zk://127.0.0.1:2181"],
        &["master", "('/' is not supported)"],
    );
    agent(
        &["--master=file:///no/such/file"],
        &["master", "/no/such/file"],
    );
}

#[test]
fn an_occupied_port_is_named() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let flag = format!("--port={port}");
    let address = format!("127.0.0.1:{port}");
    check("master", &["--registry=in_memory", &flag], &[&address]);
    check("agent", &["--master=127.0.0.1:5050", &flag], &[&address]);
}

#[test]
fn an_unreachable_zookeeper_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = format!("127.0.0.1:{}", free_port());
    let flags = [
        format!("--port={}", free_port()),
        "--registry=in_memory".to_owned(),
        "--quorum=1".to_owned(),
        format!("--work_dir={}", dir.path().join("work").display()),
        format!("--zk=zk://{zookeeper}/mesos"),
    ];
    let mut master = start("master", &flags, dir.path());
    let complaint = format!("Cannot reach ZooKeeper at '{zookeeper}'");
    eventually_blocking("the master complains twice", DEADLINE, || {
        assert_eq!(master.try_wait(), None, "{}", master.log());
        (master.log().matches(&complaint).count() >= 2).then_some(())
    });
}

#[test]
fn a_zookeeper_that_refuses_is_fatal() {
    let zookeeper = ZooKeeperServer::start();
    let address = zookeeper.address();
    let dir = tempfile::tempdir().unwrap();
    let owner = format!("--zk=zk://owner:secret@{address}/mesos");
    let flags = [
        format!("--port={}", free_port()),
        "--registry=in_memory".to_owned(),
        "--quorum=1".to_owned(),
        format!("--work_dir={}", dir.path().join("work").display()),
        owner,
    ];
    let master = start("master", &flags, dir.path());
    eventually_blocking("the owner is in", DEADLINE, || {
        master.log().contains("Entered the election").then_some(())
    });
    let stranger = format!("--zk=zk://{address}/mesos");
    check(
        "master",
        &["--registry=in_memory", "--quorum=1", &stranger],
        &["not authorized", "/mesos"],
    );
}
