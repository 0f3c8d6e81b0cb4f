//! Links between runtimes, and the sockets behind them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{DEADLINE, Log, Recorder, block_on, loopback, record, start, sync, until};
use libprocess::{Clock, Pid, RuntimeConfig, Upid};

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let start = Instant::now();
    listener.set_nonblocking(true).unwrap();
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(start.elapsed() < DEADLINE, "nobody connects");
        std::thread::sleep(Duration::from_millis(1));
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Accepts connections and closes them at once.
fn close_all(listener: TcpListener) {
    listener.set_nonblocking(false).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
        }
    });
}

/// Reads one message with a body of one digit and returns the digit.
fn message(stream: &mut TcpStream) -> char {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n0\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    char::from(text[text.len() - 8])
}

fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_))
}

fn link(pid: &Pid<Recorder>, to: &Upid) {
    let to = to.clone();
    pid.dispatch(move |_, ctx| ctx.link(&to));
    sync(pid);
}

fn relink(pid: &Pid<Recorder>, to: &Upid) {
    let to = to.clone();
    pid.dispatch(move |_, ctx| ctx.relink(&to));
    sync(pid);
}

fn send(pid: &Pid<Recorder>, to: &Upid, body: &'static str) {
    let to = to.clone();
    pid.dispatch(move |_, ctx| ctx.send_raw(&to, "note", Bytes::from(body)));
    sync(pid);
}

#[test]
fn the_end_of_a_runtime_is_noticed_once_per_linked_actor() {
    let near = start(loopback());
    let far = start(loopback());
    let (first, first_log) = record(&near, "first");
    let (second, second_log) = record(&near, "second");
    let (a, _) = record(&far, "a");
    link(&first, a.upid());
    link(&first, a.upid());
    // Whether the actor exists over there is not known here.
    link(&first, &Upid::new("nobody", far.address()));
    link(&second, a.upid());
    // An actor that ends while its runtime lives is not noticed.
    a.terminate();
    block_on(far.wait(a.upid()));
    sync(&first);
    assert!(first_log.lines().is_empty());
    far.shutdown();
    second_log.wait_for(&["exited a"]);
    until("both links are lost", || first_log.len() == 2);
    let mut lines = first_log.lines();
    lines.sort();
    assert_eq!(lines, ["exited a", "exited nobody"]);
}

#[test]
fn a_connection_that_cannot_be_made_is_an_exit() {
    let runtime = start(loopback());
    let (pid, log) = record(&runtime, "a");
    let (gone, address) = listen();
    drop(gone);
    link(&pid, &Upid::new("x", address));
    log.wait_for(&["exited x"]);
    relink(&pid, &Upid::new("y", address));
    log.wait_for(&["exited x", "exited y"]);
    link(&pid, &Upid::default());
    sync(&pid);
    assert_eq!(log.len(), 2);
}

#[test]
fn a_peer_that_closes_its_side_is_an_exit() {
    let check = |close: fn(TcpStream)| {
        let runtime = start(loopback());
        let (pid, log) = record(&runtime, "a");
        let (listener, address) = listen();
        link(&pid, &Upid::new("x", address));
        close(accept(&listener));
        log.wait_for(&["exited x"]);
        // The link has to be made again.
        link(&pid, &Upid::new("x", address));
        close(accept(&listener));
        log.wait_for(&["exited x", "exited x"]);
    };
    check(drop);
    check(|stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(is_closed(&mut { stream }));
    });
    check(|mut stream| {
        // What is read on a sending socket is discarded.
        stream
            .write_all(b"HTTP/1.1 202 Accepted\r\nnonsense")
            .unwrap();
    });
}

#[test]
fn messages_to_one_address_share_one_connection() {
    let runtime = start(loopback());
    let (a, _) = record(&runtime, "a");
    let (b, log) = record(&runtime, "b");
    let (listener, address) = listen();
    let peer = Upid::new("x", address);
    send(&a, &peer, "1");
    let mut stream = accept(&listener);
    // A link turns the connection that is there into a lasting one.
    link(&b, &peer);
    send(&b, &Upid::new("y", address), "2");
    send(&a, &peer, "3");
    let received: String = (0..3).map(|_| message(&mut stream)).collect();
    assert_eq!(received, "123");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
    drop(stream);
    log.wait_for(&["exited x"]);
}

#[test]
fn only_connections_without_links_close_when_idle() {
    let clock = Clock::paused();
    let runtime = start(RuntimeConfig {
        clock: clock.clone(),
        ..loopback()
    });
    let (pid, log) = record(&runtime, "a");
    let (listener, address) = listen();
    let (linked_listener, linked) = listen();
    send(&pid, &Upid::new("x", address), "1");
    link(&pid, &Upid::new("x", linked));
    send(&pid, &Upid::new("x", linked), "2");
    let mut stream = accept(&listener);
    let mut kept = accept(&linked_listener);
    assert_eq!(message(&mut stream), '1');
    assert_eq!(message(&mut kept), '2');
    block_on(clock.settle());
    clock.advance(Duration::from_secs(60));
    assert!(is_closed(&mut stream));
    send(&pid, &Upid::new("x", linked), "3");
    assert_eq!(message(&mut kept), '3');
    send(&pid, &Upid::new("x", address), "4");
    assert_eq!(message(&mut accept(&listener)), '4');
    assert!(log.lines().is_empty());
}

#[test]
fn relinking_replaces_the_connection_without_an_exit() {
    let runtime = start(loopback());
    let (pid, log) = record(&runtime, "a");
    let (other, others_log) = record(&runtime, "b");
    let (listener, address) = listen();
    let peer = Upid::new("x", address);
    link(&pid, &peer);
    link(&other, &peer);
    let mut old = accept(&listener);
    send(&pid, &peer, "1");
    assert_eq!(message(&mut old), '1');
    relink(&pid, &peer);
    let mut new = accept(&listener);
    assert!(is_closed(&mut old));
    send(&pid, &peer, "2");
    assert_eq!(message(&mut new), '2');
    drop(old);
    sync(&pid);
    assert!(log.lines().is_empty());
    // All linkers are linked through the new connection.
    drop(new);
    log.wait_for(&["exited x"]);
    others_log.wait_for(&["exited x"]);
}

#[test]
fn relinking_moves_what_is_queued() {
    let runtime = start(loopback());
    let (pid, log) = record(&runtime, "a");
    let (listener, address) = listen();
    let peer = Upid::new("x", address);
    // The old connection is not read, so it takes a few megabytes and then no more.
    link(&pid, &peer);
    let old = accept(&listener);
    let to = peer.clone();
    pid.dispatch(move |_, ctx| {
        let body = Bytes::from(vec![b'x'; 16 * 1024 * 1024]);
        ctx.send_raw(&to, "large", body);
    });
    sync(&pid);
    // Wait until the large one is on its way, so that it is not what is queued.
    old.peek(&mut [0; 1]).unwrap();
    send(&pid, &peer, "1");
    send(&pid, &peer, "2");
    relink(&pid, &peer);
    let mut new = accept(&listener);
    send(&pid, &peer, "3");
    let received: String = (0..3).map(|_| message(&mut new)).collect();
    assert_eq!(received, "123");
    assert!(log.lines().is_empty());
}

#[test]
fn nothing_is_kept_after_many_links_and_ends() {
    let runtime = start(loopback());
    let (watcher, log) = record(&runtime, "watcher");
    let (listener, address) = listen();
    close_all(listener);
    let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    for n in 0..20 {
        link(&watcher, &Upid::new("x", address));
        until("the exit is known", || log.len() == n + 1);
    }
    let before = open_files();
    for n in 20..300 {
        link(&watcher, &Upid::new("x", address));
        until("the exit is known", || log.len() == n + 1);
    }
    // Other tests of this program open files too.
    until("sockets are closed", || open_files() < before + 100);
}

#[test]
fn linkers_that_end_are_not_told() {
    let runtime = start(loopback());
    let log = Log::default();
    let (listener, address) = listen();
    let recorder = Recorder { log: log.clone() };
    let pid = runtime.spawn("a", recorder).unwrap();
    link(&pid, &Upid::new("x", address));
    let stream = accept(&listener);
    pid.terminate();
    block_on(runtime.wait(pid.upid()));
    let (again, again_log) = record(&runtime, "a");
    drop(stream);
    close_all(listener);
    link(&again, &Upid::new("y", address));
    again_log.wait_for(&["exited y"]);
    assert_eq!(log.lines(), ["finalized"]);
}
