//! The programs that the `mesos` file holds.

#![allow(clippy::unwrap_used, reason = "a failing test shall panic")]

mod common;

use std::net::TcpListener;
use std::process::Command;

use common::Sandbox;

/// Those for people; agents know how to call the others.
const PROGRAMS: [(&str, &str); 4] = [
    ("mesos-master", "master"),
    ("mesos-agent", "agent"),
    ("mesos-slave", "slave"),
    ("mesos-execute", "execute"),
];

#[test]
fn are_called_by_file_name_and_by_subcommand() {
    let sandbox = Sandbox::new();
    for (file, subcommand) in PROGRAMS {
        let by_subcommand = sandbox.run(&[subcommand, "--help"]);
        assert_eq!(
            by_subcommand.code(),
            Some(0),
            "{}",
            by_subcommand.stderr_text()
        );
        assert!(!by_subcommand.stdout.is_empty(), "{subcommand}");

        let link = sandbox.path().join(file);
        std::os::unix::fs::symlink(common::mesos(), &link).unwrap();
        let mut by_file = Command::new(link);
        by_file.arg("--help");
        assert_eq!(
            common::end(by_file).stdout_text(),
            by_subcommand.stdout_text()
        );
    }
}

#[test]
fn help_and_version() {
    let sandbox = Sandbox::new();
    let help = sandbox.run(&["--help"]);
    assert_eq!(help.code(), Some(0));
    for command in [
        "launch", "ps", "state", "version", "master", "agent", "execute",
    ] {
        assert!(help.stdout_text().contains(command), "{command}");
    }
    for arguments in [&["version"][..], &["--version"]] {
        let version = sandbox.run(arguments);
        assert_eq!(version.stdout_text(), "mesos 1.11.0\n");
        assert_eq!(version.code(), Some(0));
    }
}

#[test]
fn daemons_say_in_one_line_why_they_do_not_start() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let check = |arguments: &[&str], parts: &[&str]| {
        let sandbox = Sandbox::new();
        let ended = sandbox.run(arguments);
        assert_eq!(ended.code(), Some(1), "{}", ended.stderr_text());
        let text = ended.stderr_text();
        let told = text
            .lines()
            .any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(told, "no line with {parts:?} in: {text}");
    };
    let taken = format!("--port={port}");
    let master = [
        "master",
        "--ip=127.0.0.1",
        "--registry=in_memory",
        "--work_dir=work",
    ];
    let agent = [
        "agent",
        "--ip=127.0.0.1",
        "--master=127.0.0.1:1",
        "--work_dir=work",
    ];
    check(
        &[&master[..], &[&taken]].concat(),
        &["port", &port, "in use"],
    );
    check(
        &[&agent[..], &[&taken]].concat(),
        &["port", &port, "in use"],
    );
    check(&[&master[..], &["--prot=1"]].concat(), &["prot"]);
    check(
        &[&agent[..], &["--resources=cpus:x"]].concat(),
        &["resources", "cpus:x"],
    );
    check(&["execute", "--master=m:1", "--name=t"], &["command"]);
    check(
        &["execute", "--master=:0", "--name=t", "--command=true"],
        &["'master'", "':0'"],
    );
}
