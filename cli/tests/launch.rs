//! `mesos launch` as people use it: the real program, with the cluster that it brings along.

#![allow(clippy::unwrap_used, reason = "a failing test shall panic")]

mod common;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

use common::Sandbox;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn shows_the_output_and_exits_with_the_status_of_the_command() {
    fn check(command: &str, stdout: &str, stderr: &str, code: i32) {
        let sandbox = Sandbox::new();
        let ended = sandbox.run(&["launch", "--quiet", "--command", command]);
        assert_eq!(
            ended.stdout_text(),
            stdout,
            "{command}: {}",
            ended.stderr_text()
        );
        assert_eq!(ended.stderr_text(), stderr, "{command}");
        assert_eq!(ended.code(), Some(code), "{command}");
        sandbox.assert_clean();
    }
    check("echo Hello Mesos!", "Hello Mesos!\n", "", 0);
    check("echo out; echo err >&2; exit 7", "out\n", "err\n", 7);
    check("kill -9 $$", "", "", 137);
    check("kill -TERM $$", "", "", 143);
}

#[test]
fn a_command_that_does_not_exist() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["launch", "--command", "no-such-command-here"]);
    assert_eq!(ended.code(), Some(127), "{}", ended.stderr_text());
    assert!(
        ended.stderr_text().contains("no-such-command-here"),
        "{}",
        ended.stderr_text()
    );
    let ended = sandbox.run(&["launch", "--", "/no/such/program"]);
    assert_ne!(ended.code(), Some(0), "{}", ended.stderr_text());
    assert!(
        ended.stderr_text().contains("TASK_FAILED"),
        "{}",
        ended.stderr_text()
    );
    sandbox.assert_clean();
}

#[test]
fn tells_the_states_on_the_standard_error_output() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["launch", "--name", "hello", "--command", "exit 3"]);
    let text = ended.stderr_text();
    let states: Vec<&str> = text.lines().collect();
    let find = |part: &str| states.iter().position(|line| line.contains(part));
    let running = find("mesos: task hello: TASK_RUNNING");
    let failed = find("mesos: task hello: TASK_FAILED (Command exited with status 3)");
    assert!(running.is_some() && running < failed, "{text}");
    assert_eq!(ended.stdout_text(), "");
}

#[test]
fn passes_on_environment_arguments_and_resources() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&[
        "launch",
        "--quiet",
        "--cpus",
        "0.2",
        "--mem",
        "64MB",
        "--env",
        "A=b c",
        "--",
        "/bin/sh",
        "-c",
        "printf '%s|%s|%s' \"$A\" \"$0\" \"$1\"",
        "it's",
        "$A",
    ]);
    assert_eq!(
        ended.stdout_text(),
        "b c|it's|$A",
        "{}",
        ended.stderr_text()
    );
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn output_is_complete_and_in_order() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["launch", "--quiet", "--command", "seq 1 2000000"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr_text());
    let mut expected = String::new();
    for number in 1..=2_000_000 {
        writeln!(expected, "{number}").unwrap();
    }
    assert!(expected.len() > 10 * 1024 * 1024);
    assert_eq!(ended.stdout.len(), expected.len());
    assert!(
        ended.stdout == expected.as_bytes(),
        "of the right length, but not the same"
    );
    sandbox.assert_clean();
}

#[test]
fn output_may_be_any_bytes() {
    let sandbox = Sandbox::new();
    let command = r"printf '\377\303\000\n\342\202'; printf '\254'";
    let ended = sandbox.run(&["launch", "--quiet", "--command", command]);
    assert_eq!(
        ended.stdout,
        b"\xff\xc3\0\n\xe2\x82\xac",
        "{}",
        ended.stderr_text()
    );
}

#[test]
fn signals_kill_the_task() {
    fn check(signal: Signal, code: i32) {
        let sandbox = Sandbox::new();
        // The marker makes the process recognizable, the trap shows that it was asked kindly.
        let command = format!("exec sleep 3600.{}", sandbox.marker());
        let mut launch = sandbox.command(&["launch", "--command", &command]);
        let mut child = launch
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _watchdog = common::watch(&child);
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
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{rest}");
        assert!(rest.contains("TASK_KILLED"), "{rest}");
        sandbox.assert_clean();
    }
    check(Signal::SIGINT, 130);
    check(Signal::SIGTERM, 143);
}

#[test]
fn a_task_that_does_not_fit_is_refused() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["launch", "--cpus", "100000", "--command", "true"]);
    ended.assert_error(&["does not fit", "cpus:100000"]);
    sandbox.assert_clean();
}

#[test]
fn mistakes_are_told_in_one_line() {
    fn check(arguments: &[&str], parts: &[&str]) {
        let sandbox = Sandbox::new();
        sandbox.run(arguments).assert_error(parts);
        sandbox.assert_clean();
    }
    check(&["launch"], &["--command"]);
    check(
        &["launch", "--cpus=x", "--command=true"],
        &["--cpus", "'x'", "a number"],
    );
    check(
        &["launch", "--mem=1", "--command=true"],
        &["--mem", "'1'", "64MB"],
    );
    check(&["launch", "--what", "--command=true"], &["--what"]);
    check(&["lunch"], &["lunch", "launch"]);
    let unreachable = format!("--master={}", common::closed_port());
    check(
        &["launch", &unreachable, "--command=true"],
        &["--master", "failed to connect", "refused"],
    );
    check(
        &["launch", "--master=here", "--command=true"],
        &["--master", "'here'"],
    );
    check(
        &["launch", "--master=zk://", "--command=true"],
        &["--master", "'zk://'"],
    );
    check(&["ps", &unreachable], &["--master", "failed to connect"]);
    check(&["state", &unreachable], &["--master", "failed to connect"]);
}

#[test]
fn an_address_that_is_no_master() {
    fn check(answer: &'static str, parts: &[&str]) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let master = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let sandbox = Sandbox::new();
        let flag = format!("--master={master}");
        let ended = sandbox.run(&["launch", &flag, "--command=true"]);
        ended.assert_error(&[&["--master", &master], parts].concat());
    }
    check(
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        &["no Mesos master", "404"],
    );
    check("220 smtp.example.org ESMTP\r\n", &["bad response"]);
}

#[test]
fn the_environment_names_the_master() {
    let sandbox = Sandbox::new();
    let mut ps = sandbox.command(&["ps"]);
    ps.env("MESOS_MASTER", common::closed_port());
    common::end(ps).assert_error(&["MESOS_MASTER", "failed to connect"]);
}
