//! What is left of many connections over real TCP: nothing. In a process of its own, which counts its file descriptors.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use common::{loopback, metric, record, start, sync, until};
use libprocess::{Runtime, Upid};

/// Connects and disconnects.
const CONNECTIONS: usize = 10_000;

/// After these, what is allocated once is there.
const WARM_UP: usize = 1_000;

/// Connections that may be under way at one time.
const AT_ONCE: usize = 50;

/// What memory may grow by, for all connections together: less than one KiB each would be if they left something.
const MAX_GROWTH_BYTES: usize = 4 * 1024 * 1024;

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn memory_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

fn connections(runtime: &Runtime) -> f64 {
    metric(runtime, "libprocess/connections_open")
}

fn sockets(runtime: &Runtime) -> f64 {
    metric(runtime, "libprocess/sockets_open")
}

/// One connection, with all kinds of use and of ends in turn.
fn visit(runtime: &Runtime, number: usize) {
    let mut stream = TcpStream::connect(runtime.address()).unwrap();
    let message =
        b"POST /a/note HTTP/1.1\r\nLibprocess-From: x@1.2.3.4:5\r\nContent-Length: 1\r\n\r\n1";
    match number % 5 {
        // Not a byte.
        0 => {}
        // Closed with the answer unread, which is a reset.
        1 => stream.write_all(message).unwrap(),
        // In the middle of a message.
        2 => stream.write_all(&message[..message.len() - 1]).unwrap(),
        3 => {
            stream.write_all(b"GET /a HTTP/1.1\r\n\r\n").unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
        }
        _ => {
            stream.write_all(message).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
    }
}

fn check(runtimes: &[&Runtime], mut one: impl FnMut(usize), rest: (f64, f64)) {
    let at_rest = || {
        let all = runtimes.iter();
        all.map(|runtime| connections(runtime)).sum::<f64>() == rest.0
            && runtimes.iter().map(|runtime| sockets(runtime)).sum::<f64>() == rest.1
    };
    (0..WARM_UP).for_each(&mut one);
    until("the first connections are closed", at_rest);
    let (files, memory) = (open_files(), memory_bytes());
    let tasks = || -> Vec<_> { runtimes.iter().map(|runtime| runtime.tasks()).collect() };
    let before = tasks();
    (0..CONNECTIONS).for_each(&mut one);
    until("all connections are closed", at_rest);
    until("all files are closed", || open_files() <= files);
    until("all tasks have ended", || tasks() == before);
    let grown = memory_bytes().saturating_sub(memory);
    assert!(grown < MAX_GROWTH_BYTES, "grown by {grown} bytes");
}

/// Without this the others would prove nothing.
fn tasks_are_counted(runtime: &Runtime) {
    let before = runtime.tasks();
    let (actor, _) = record(runtime, "counted");
    sync(&actor);
    assert_eq!(runtime.tasks(), before + 1);
    let open: Vec<_> = (0..AT_ONCE)
        .map(|_| TcpStream::connect(runtime.address()).unwrap())
        .collect();
    let all = before + 1 + AT_ONCE;
    until("there is a task for each", || runtime.tasks() == all);
    drop(open);
    actor.terminate();
    until("there are none", || runtime.tasks() == before);
}

/// One test, for two at a time would count each other's files.
#[test]
fn nothing_is_left_of_many_connections() {
    let near = start(loopback());
    let far = start(loopback());
    let (a, log) = record(&near, "a");
    let (b, _) = record(&far, "b");
    sync(&a);
    sync(&b);
    tasks_are_counted(&near);

    check(&[&near], |number| visit(&near, number), (0.0, 0.0));
    assert!(log.len() > 0);

    // Each relink is a new connection, and the end of the old one.
    let relink = |number| {
        let to: Upid = b.upid().clone();
        a.dispatch(move |_, ctx| {
            ctx.relink(&to);
            ctx.send_raw(&to, "note", Bytes::from("1"));
        });
        sync(&a);
        if number % AT_ONCE == 0 {
            until("the old connections are closed", || sockets(&near) <= 2.0);
        }
    };
    check(&[&near, &far], relink, (1.0, 1.0));
}
