//! Child processes: how they are started, what they get, and that their ends are known exactly.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use common::{block_on, until};
use futures::future::join_all;
use libprocess::Clock;
use libprocess::subprocess::{Command, Error, Reaper, Signal, Stdio, Subprocess, redirect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn output(command: Command) -> String {
    let mut child = command.stdout(Stdio::Pipe).spawn().unwrap();
    let mut text = String::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut text).await.unwrap();
    assert!(child.wait().await.unwrap().success());
    text
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// True if a descriptor of this process stands for that one.
fn is_watched(pid: u32) -> bool {
    let line = format!("Pid:\t{pid}");
    let descriptors = fs::read_dir("/proc/self/fdinfo").unwrap();
    let mut infos = descriptors.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    infos.any(|info| info.lines().any(|found| found == line))
}

#[test]
fn exit_statuses_are_exact() {
    block_on(async {
        for (script, code, signal) in [
            ("true", Some(0), None),
            ("exit 7", Some(7), None),
            ("exit 255", Some(255), None),
            ("kill -TERM $$", None, Some(15)),
            ("kill -KILL $$", None, Some(9)),
        ] {
            let child = Command::shell(script).spawn().unwrap();
            let (first, second) = (child.wait(), child.wait());
            let status = first.await.unwrap();
            assert_eq!((status.code(), status.signal()), (code, signal), "{script}");
            assert_eq!(second.await.unwrap(), status);
            assert_eq!(child.status(), Some(status));
            assert!(!exists(child.id()));
            let late = child.signal(Signal::TERM).unwrap_err();
            assert_eq!(late.kind(), io::ErrorKind::NotFound);
        }
    });
}

#[test]
fn many_children_are_all_reaped_with_their_own_status() {
    block_on(async {
        // Each needs a descriptor while it is waited for, and other tests need some too.
        for batch in 0..5 {
            let numbers = (0..200).map(|number| (batch * 200 + number) % 256);
            let children: Vec<_> = numbers
                .clone()
                .map(|number| Command::shell(format!("exit {number}")).spawn().unwrap())
                .collect();
            let statuses = join_all(children.iter().map(Subprocess::wait)).await;
            let codes = statuses.into_iter().map(|status| status.unwrap().code());
            assert!(codes.eq(numbers.map(Some)));
            assert!(children.iter().all(|child| !exists(child.id())));
        }
    });
}

#[test]
fn errors_name_what_was_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "not a program").unwrap();
    let missing = directory.path().join("missing");
    let (file, missing) = (file.to_str().unwrap(), missing.to_str().unwrap());
    let check = |command: Command, expected: String| {
        let error = block_on(async { command.spawn().unwrap_err() });
        assert_eq!(error.to_string(), expected);
    };
    let no_file = "No such file or directory (os error 2)";
    check(
        Command::new(missing),
        format!("failed to start '{missing}': {no_file}"),
    );
    check(
        Command::new(file),
        format!("failed to start '{file}': Permission denied (os error 13)"),
    );
    check(
        Command::new("no-such-program").env("PATH", "/bin:/usr/bin"),
        "program 'no-such-program' not found in PATH '/bin:/usr/bin'".to_owned(),
    );
    check(
        Command::new("true").current_dir(missing),
        format!("failed to start 'true' in directory '{missing}': {no_file}"),
    );
    check(
        Command::new("true").stdin(Stdio::Path(missing.into())),
        format!("failed to open '{missing}' for stdin: {no_file}"),
    );
    let unreachable = format!("{missing}/x");
    check(
        Command::new("true").stderr(Stdio::Path(unreachable.clone().into())),
        format!("failed to open '{unreachable}' for stderr: {no_file}"),
    );
    assert!(matches!(
        Command::new("true").spawn(),
        Err(Error::NoRuntime)
    ));
}

#[test]
fn arguments_environment_and_directory() {
    block_on(async {
        let printf = Command::new("printf").args(["%s,", "a", "b c"]).arg("$d");
        assert_eq!(output(printf).await, "a,b c,$d,");
        let named = Command::shell("echo $0").argv0("renamed");
        assert_eq!(output(named).await, "renamed\n");

        let whole = BTreeMap::from([("ONE", "1"), ("PATH", "/usr/bin:/bin")]);
        let env = Command::new("env").environment(whole).env("TWO", "2");
        assert_eq!(output(env).await, "ONE=1\nPATH=/usr/bin:/bin\nTWO=2\n");
        let inherited = Command::shell("echo $PATH $TWO").env("TWO", "2");
        let path = std::env::var("PATH").unwrap();
        assert_eq!(output(inherited).await, format!("{path} 2\n"));

        let pwd = Command::shell("pwd -P").current_dir("/usr/bin");
        assert_eq!(output(pwd).await, "/usr/bin\n");
    });
}

#[test]
fn what_the_parent_opened_is_not_passed_on() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("opened-by-the-parent");
        let _file = fs::File::create(&path).unwrap();
        let mut child = Command::new("cat").stdin(Stdio::Pipe).spawn().unwrap();
        let opened = |pid: &str| {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
            let targets = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
            targets.collect::<Vec<_>>()
        };
        assert!(opened("self").contains(&path));
        assert!(!opened(&child.id().to_string()).contains(&path));
        drop(child.stdin.take());
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn streams_go_where_they_are_told() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, "before\n").unwrap();
        let input = directory.path().join("input");
        fs::write(&input, "input\n").unwrap();
        let (mut errors, theirs) = io::pipe().unwrap();
        let child = Command::shell("cat; echo wrong >&2")
            .stdin(Stdio::Path(input))
            .stdout(Stdio::Path(log.clone()))
            .stderr(Stdio::Fd(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        assert!(child.wait().await.unwrap().success());
        assert_eq!(fs::read_to_string(&log).unwrap(), "before\ninput\n");
        let mut text = String::new();
        io::Read::read_to_string(&mut errors, &mut text).unwrap();
        assert_eq!(text, "wrong\n");

        assert_eq!(output(Command::new("cat").stdin(Stdio::Null)).await, "");
    });
}

#[test]
fn more_than_fits_a_pipe_goes_through_both_ways() {
    block_on(async {
        let mut child = Command::new("cat")
            .stdin(Stdio::Pipe)
            .stdout(Stdio::Pipe)
            .spawn()
            .unwrap();
        let data: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let write = async {
            stdin.write_all(&data).await.unwrap();
            drop(stdin);
        };
        let (mut copy, mut seen) = (Vec::new(), 0);
        let read = redirect(&mut stdout, &mut copy, |chunk| seen += chunk.len());
        let ((), copied) = futures::join!(write, read);
        assert_eq!(copied.unwrap(), 1_000_000);
        assert_eq!(seen, 1_000_000);
        assert!(copy == data);
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn groups_are_signalled_as_a_whole() {
    block_on(async {
        // The grandchild holds the pipe open until it is killed.
        let mut child = Command::shell("sleep 1000 & echo $!; wait")
            .stdout(Stdio::Pipe)
            .process_group()
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut line = [0; 1];
        stdout.read_exact(&mut line).await.unwrap();
        child.signal_group(Signal::TERM).unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(15));
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).await.unwrap();

        let alone = Command::new("true").spawn().unwrap();
        let refused = alone.signal_group(Signal::TERM).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
    });
}

#[test]
fn a_group_ends_with_its_leader_if_wanted() {
    block_on(async {
        let script = Command::shell("sleep 1000 & echo started").kill_group_at_exit();
        // Reads to the end, which comes when the grandchild has been killed.
        assert_eq!(output(script).await, "started\n");
    });
}

#[test]
fn dropping_kills_only_if_wanted() {
    block_on(async {
        for kill in [false, true] {
            let command = Command::new("sleep").arg("1000");
            let command = match kill {
                true => command.kill_on_drop(),
                false => command,
            };
            let child = command.spawn().unwrap();
            let wait = child.wait();
            let pid = child.id();
            drop(child);
            assert!(exists(pid));
            if !kill {
                let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
                rustix::process::kill_process(pid, Signal::TERM).unwrap();
            }
            let signal = wait.await.unwrap().signal();
            assert_eq!(signal, Some(if kill { 9 } else { 15 }));
        }
    });
}

#[test]
#[expect(clippy::zombie_processes, reason = "it is reaped by its number")]
fn reaps_by_number() {
    let reaper = Reaper::new(Clock::system());
    block_on(async {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "read line; exit 9"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let waits = [reaper.reap(child.id()), reaper.clone().reap(child.id())];
        drop(child.stdin.take());
        for status in join_all(waits).await {
            assert_eq!(status.unwrap().code(), Some(9));
        }
        assert!(!exists(child.id()));
        assert_eq!(reaper.reap(child.id()).await, None);
        assert_eq!(reaper.reap(0).await, None);
        assert_eq!(reaper.reap(u32::MAX).await, None);
        assert_eq!(reaper.reap(i32::MAX as u32).await, None);
    });
}

#[test]
fn reaps_the_children_of_others() {
    let reaper = Reaper::new(Clock::system());
    block_on(async {
        let mut child = Command::shell("sleep 1000 >/dev/null & echo $!; wait; sleep 1000")
            .stdout(Stdio::Pipe)
            .kill_group_at_exit()
            .kill_on_drop()
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.push(stdout.read_u8().await.unwrap());
        }
        let grandchild: u32 = String::from_utf8(line).unwrap().trim().parse().unwrap();
        let wait = reaper.reap(grandchild);
        assert!(is_watched(grandchild));
        let pid = rustix::process::Pid::from_raw(grandchild as i32).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        assert_eq!(wait.await, None);
    });
}

#[test]
fn children_are_reaped_though_nobody_waits() {
    let runtime = common::start(common::loopback());
    let (sender, receiver) = std::sync::mpsc::channel();
    runtime.handle().spawn(async move {
        let child = Command::new("true").spawn().unwrap();
        sender.send(child.id()).unwrap();
    });
    let pid = receiver.recv().unwrap();
    until("the child has been reaped", || !exists(pid));
}
