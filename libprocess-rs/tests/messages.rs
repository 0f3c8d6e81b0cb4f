//! Messages over the wire, both ways.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use bytes::Bytes;
use common::{Client, DEADLINE, block_on, loopback, metric, record, start, sync, until};
use libprocess::{
    BoxFuture, ByteStream, Clock, Context, Listener, Process, RuntimeConfig, TcpTransport,
    Transport, Upid,
};
use parking_lot::Mutex;

/// A peer that is no runtime: a listening socket.
fn peer() -> (TcpListener, Upid) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    (listener, Upid::new("peer", address))
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn post(target: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: \r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

const FROM: &str = "Libprocess-From: sender@127.0.0.1:1\r\n";

#[test]
fn a_message_leaves_exactly_as_from_upstream() {
    let runtime = start(loopback());
    let (listener, peer) = peer();
    let from = Upid::new("slave(1)", runtime.address());
    let address = runtime.address();
    let body = Bytes::from("hello, world");
    runtime.send(&from, &peer, "mesos.internal.PingSlaveMessage", body);
    runtime.send(&from, &peer, "empty", Bytes::new());
    let expected = format!(
        "POST /peer/mesos.internal.PingSlaveMessage HTTP/1.1\r\nUser-Agent: libprocess/slave(1)@{address}\r\n\
         Libprocess-From: slave(1)@{address}\r\nConnection: Keep-Alive\r\nHost: \r\nTransfer-Encoding: chunked\r\n\r\n\
         c\r\nhello, world\r\n0\r\n\r\n\
         POST /peer/empty HTTP/1.1\r\nUser-Agent: libprocess/slave(1)@{address}\r\n\
         Libprocess-From: slave(1)@{address}\r\nConnection: Keep-Alive\r\nHost: \r\n\r\n"
    );
    let mut received = vec![0; expected.len()];
    accept(&listener).read_exact(&mut received).unwrap();
    assert_eq!(String::from_utf8_lossy(&received), expected);
    assert_eq!(metric(&runtime, "libprocess/messages_sent"), 2.0);
}

#[test]
fn crosses_ipv6_between_runtimes() {
    let config = || RuntimeConfig {
        ip: std::net::Ipv6Addr::LOCALHOST.into(),
        ..loopback()
    };
    let (near, far) = (start(config()), start(config()));
    let (pid, log) = record(&far, "receiver");
    assert!(pid.upid().to_string().starts_with("receiver@[::1]:"));
    let to: Upid = pid.upid().to_string().parse().unwrap();
    let from = Upid::new("sender", near.address());
    near.send(&from, &to, "note", Bytes::from("over six"));
    log.wait_for(&["sender over six"]);
}

#[test]
fn a_port_of_both_families_knows_ipv4_clients_by_their_address() {
    let runtime = start(RuntimeConfig {
        ip: std::net::Ipv6Addr::UNSPECIFIED.into(),
        advertise_ip: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        require_peer_address_ip_match: true,
        ..loopback()
    });
    let (_pid, log) = record(&runtime, "receiver");
    let mut client = Client::connect(runtime.address());
    client.send(post("/receiver/note", FROM, "over four"));
    assert_eq!(client.response().code(), 202);
    log.wait_for(&["sender over four"]);
}

#[test]
fn answers_come_in_order() {
    let runtime = start(loopback());
    let (_pid, log) = record(&runtime, "slave(1)");
    let mut client = Client::connect(runtime.address());
    client
        .send(post("/slave(1)/note", FROM, "one"))
        .send(post("/nobody/note", FROM, "two"))
        .send(post(
            "/slave%281%29/note",
            "User-Agent: libprocess/agent@1.2.3.4:5\r\n",
            "three",
        ))
        .send(post("/slave%zz/note", FROM, ""))
        .send(post("slave/note", FROM, ""))
        .send(post("/slave(1)/unknown", FROM, "four"))
        .send(post(
            "/slave(1)/note",
            "Libprocess-From: nonsense\r\n",
            "five",
        ));
    let expected = [202, 404, 202, 500, 400, 202, 202];
    for code in expected {
        let answer = client.response();
        assert_eq!(answer.code(), code);
        assert!(
            answer
                .header("date")
                .is_some_and(|date| date.ends_with(" GMT"))
        );
    }
    log.wait_for(&["sender one", "agent three", " five"]);
    // Order and form of what upstream writes.
    client.send(post("/slave(1)/note", FROM, ""));
    let raw = client.until("\r\n\r\n");
    assert!(raw.starts_with("HTTP/1.1 202 Accepted\r\nDate: "), "{raw}");
    assert!(raw.ends_with("\r\nContent-Length: 0\r\n\r\n"), "{raw}");
}

#[test]
fn all_framings_of_a_body_are_understood() {
    let runtime = start(loopback());
    let (_pid, log) = record(&runtime, "a");
    let mut client = Client::connect(runtime.address());
    let chunked = format!("POST /a/note HTTP/1.1\r\n{FROM}Transfer-Encoding: chunked\r\n\r\n");
    client.send(format!("{chunked}5\r\nwhole\r\n0\r\n\r\n"));
    for part in ["2\r\nin", "\r\n6\r\n par", "ts\r\n0\r", "\n\r\n"] {
        if part.starts_with('2') {
            client.send(&chunked);
        }
        client.send(part);
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"zipped").unwrap();
    let zipped = encoder.finish().unwrap();
    let length = zipped.len();
    client.send(format!(
        "POST /a/note HTTP/1.1\r\n{FROM}Content-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
    ));
    client.send(zipped);
    for _ in 0..3 {
        assert_eq!(client.response().code(), 202);
    }
    log.wait_for(&["sender whole", "sender in parts", "sender zipped"]);
}

/// Checks that the messages named `n` carry 0, 1, 2, ...
struct Counting {
    next: usize,
    wrong: usize,
}

impl Process for Counting {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("n", |counting: &mut Counting, _, _, body| {
            let n: usize = std::str::from_utf8(&body[..6]).unwrap().parse().unwrap();
            counting.wrong += usize::from(n != counting.next);
            counting.next += 1;
        });
    }
}

/// More messages than any buffer on the way holds.
fn pipelined(count: usize, read_answers: bool) {
    let runtime = start(loopback());
    let counting = Counting { next: 0, wrong: 0 };
    let pid = runtime.spawn("counting", counting).unwrap();
    let mut bytes = bytes::BytesMut::new();
    let from: Upid = "sender@127.0.0.1:1".parse().unwrap();
    let filler = "x".repeat(506);
    for n in 0..count {
        let body = format!("{n:06}{filler}");
        libprocess::fuzzing::encode_message(&mut bytes, &from, pid.upid(), "n", body.as_bytes());
    }
    let mut client = Client::connect(runtime.address());
    client.send(&bytes);
    if read_answers {
        for _ in 0..count {
            assert_eq!(client.response().code(), 202);
        }
    }
    until("all have been received", || {
        metric(&runtime, "libprocess/messages_received") == count as f64
    });
    let result = block_on(pid.ask(|counting, _| (counting.next, counting.wrong)));
    assert_eq!(result, Ok((count, 0)));
}

#[test]
fn a_hundred_thousand_pipelined_messages_arrive_in_order() {
    pipelined(100_000, true);
}

#[test]
fn a_sender_that_never_reads_is_served() {
    pipelined(100_000, false);
}

#[test]
fn a_hundred_thousand_messages_between_runtimes_arrive_in_order() {
    const COUNT: usize = 100_000;
    let (near, far) = (start(loopback()), start(loopback()));
    let counting = Counting { next: 0, wrong: 0 };
    let pid = far.spawn("counting", counting).unwrap();
    let (sender, _) = record(&near, "sender");
    let to = pid.upid().clone();
    sender.dispatch(move |_, ctx| {
        for n in 0..COUNT {
            if n == COUNT / 2 {
                ctx.link(&to);
            }
            ctx.send_raw(&to, "n", Bytes::from(format!("{n:06}")));
        }
    });
    sync(&sender);
    until("all have been received", || {
        metric(&far, "libprocess/messages_received") == COUNT as f64
    });
    let result = block_on(pid.ask(|counting, _| (counting.next, counting.wrong)));
    assert_eq!(result, Ok((COUNT, 0)));
}

/// Sends messages of `size` bytes to a busy actor, for which `limit` of them may wait.
fn held_back(count: usize, size: usize, limit: usize) {
    let runtime = start(RuntimeConfig {
        workers: 2,
        ..loopback()
    });
    let counting = Counting { next: 0, wrong: 0 };
    let pid = runtime.spawn("counting", counting).unwrap();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (begin, begun) = std::sync::mpsc::channel();
    pid.dispatch(move |_, _| {
        begin.send(()).unwrap();
        gone.recv().unwrap();
    });
    begun.recv().unwrap();
    let address = runtime.address();
    let to = pid.upid().clone();
    let sender = std::thread::spawn(move || {
        let mut client = Client::connect(address);
        let from = Upid::default();
        let filler = "x".repeat(size - 6);
        for n in 0..count {
            let body = format!("{n:06}{filler}");
            let mut bytes = bytes::BytesMut::new();
            libprocess::fuzzing::encode_message(&mut bytes, &from, &to, "n", body.as_bytes());
            client.send(&bytes);
        }
        client
    });
    let received = || metric(&runtime, "libprocess/messages_received") as usize;
    until("the reader waits", || received() >= limit);
    // The one thread of the network serves another connection, so it would also read on from this one.
    const ROUND_TRIPS: usize = 100;
    let mut other = Client::connect(address);
    for _ in 0..ROUND_TRIPS {
        other.send(post("/nobody/note", FROM, ""));
        assert_eq!(other.response().code(), 404);
    }
    assert_eq!(received(), limit + ROUND_TRIPS);
    assert_eq!(metric(&runtime, "libprocess/senders_held_back"), 1.0);
    assert!(!sender.is_finished());
    go.send(()).unwrap();
    until("all have been received", || {
        received() == count + ROUND_TRIPS
    });
    sender.join().unwrap();
    let result = block_on(pid.ask(|counting, _| (counting.next, counting.wrong)));
    assert_eq!(result, Ok((count, 0)));
}

#[test]
fn a_slow_receiver_holds_its_senders_back() {
    held_back(200_000, 100, 65_536);
}

#[test]
fn a_slow_receiver_of_large_messages_holds_its_senders_back() {
    held_back(150, 1024 * 1024, 64);
}

#[test]
fn kinds_of_requests_may_share_a_connection() {
    let check = |first: &str, second: &str, codes: [u16; 2]| {
        let runtime = start(loopback());
        let (pid, log) = record(&runtime, "a");
        sync(&pid);
        let mut client = Client::connect(runtime.address());
        client.send(first);
        assert_eq!(client.response().code(), codes[0]);
        client.send(second);
        let answer = client.response();
        assert_eq!(answer.code(), codes[1]);
        client.send(first).send(second);
        assert_eq!(client.response().code(), codes[0]);
        assert_eq!(client.response().code(), codes[1]);
        log.wait_for(&["sender x", "sender x"]);
    };
    let get = "GET /metrics/snapshot HTTP/1.1\r\nHost: x\r\n\r\n";
    let message = post("/a/note", FROM, "x");
    check(&message, get, [202, 200]);
    check(get, &message, [200, 202]);
}

#[test]
fn what_cannot_be_served_is_answered_counted_and_closed() {
    let runtime = start(RuntimeConfig {
        max_head_bytes: 1000,
        max_body_bytes: 1000,
        ..loopback()
    });
    let check = |bytes: &str, code: &str, name: &str| {
        for ahead in ["", &post("/nobody/x", FROM, "")] {
            let before = metric(&runtime, name);
            let mut client = Client::connect(runtime.address());
            client.send(ahead).send(bytes);
            let text = client.read_to_end();
            let answers = text.matches("HTTP/1.1 ").count();
            assert_eq!(answers, 1 + usize::from(!ahead.is_empty()), "{text}");
            let last = text.rfind("HTTP/1.1 ").map(|at| &text[at..]).unwrap();
            assert!(
                last.starts_with(&format!("HTTP/1.1 {code}\r\n")),
                "{bytes:?}: {text}"
            );
            assert!(last.contains("Connection: close\r\n"), "{text}");
            assert_eq!(metric(&runtime, name), before + 1.0, "{bytes:?}");
        }
    };
    let malformed = "libprocess/requests_malformed";
    let oversized = "libprocess/requests_oversized";
    check("nonsense\r\n\r\n", "400 Bad Request", malformed);
    check("\u{1}\u{2}\r\n\r\n", "400 Bad Request", malformed);
    let head = format!("POST /a/n HTTP/1.1\r\n{FROM}");
    check(
        &format!("{head}Content-Length: x\r\n\r\n"),
        "400 Bad Request",
        malformed,
    );
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    check(&format!("{chunked}zz\r\n"), "400 Bad Request", malformed);
    let too_long = format!("{head}X: {}\r\n\r\n", "x".repeat(1000));
    check(&too_long, "431 Request Header Fields Too Large", oversized);
    check(
        &"x".repeat(1000),
        "431 Request Header Fields Too Large",
        oversized,
    );
    let large = format!("{head}Content-Length: 1001\r\n\r\n");
    check(&large, "413 Request Entity Too Large", oversized);
    check(
        &format!("{chunked}3e9\r\n"),
        "413 Request Entity Too Large",
        oversized,
    );

    // An ordinary request that is too large is refused too.
    let mut client = Client::connect(runtime.address());
    client.send(post("/metrics/snapshot", "", &"x".repeat(1001)));
    assert_eq!(client.response().code(), 413);
}

#[test]
fn slow_requests_time_out_but_silent_connections_live() {
    let clock = Clock::paused();
    let runtime = start(RuntimeConfig {
        clock: clock.clone(),
        ..loopback()
    });
    let (_pid, log) = record(&runtime, "a");
    let mut silent = Client::connect(runtime.address());
    let mut drip = Client::connect(runtime.address());
    let mut slow_body = Client::connect(runtime.address());
    let mut idle = Client::connect(runtime.address());
    drip.send("POST /a/note HT");
    slow_body.send(format!(
        "POST /a/note HTTP/1.1\r\n{FROM}Content-Length: 5\r\n\r\nh"
    ));
    idle.send(post("/a/note", FROM, "idle"));
    assert_eq!(idle.response().code(), 202);
    let step = |seconds| {
        block_on(clock.settle());
        clock.advance(Duration::from_secs(seconds));
        block_on(clock.settle());
    };
    step(20);
    drip.send("TP/1.1\r\n");
    slow_body.send("e");
    step(20);
    assert!(
        drip.read_to_end()
            .starts_with("HTTP/1.1 408 Request Time-out\r\n")
    );
    slow_body.send("llo");
    assert_eq!(slow_body.response().code(), 202);
    slow_body.send("POST");
    step(31);
    assert!(slow_body.read_to_end().starts_with("HTTP/1.1 408 "));
    silent.send(post("/a/note", FROM, "silent"));
    assert_eq!(silent.response().code(), 202);
    idle.send(post("/a/note", FROM, "again"));
    assert_eq!(idle.response().code(), 202);
    log.wait_for(&[
        "sender idle",
        "sender hello",
        "sender silent",
        "sender again",
    ]);
    assert_eq!(metric(&runtime, "libprocess/requests_timed_out"), 2.0);
}

#[test]
fn too_many_connections_are_refused() {
    let runtime = start(RuntimeConfig {
        max_connections: 2,
        ..loopback()
    });
    let mut one = Client::connect(runtime.address());
    let two = Client::connect(runtime.address());
    assert_eq!(one.get("/metrics/snapshot").code(), 200);
    let mut three = Client::connect(runtime.address());
    assert_eq!(three.read_to_end(), "");
    assert_eq!(metric(&runtime, "libprocess/connections_refused"), 1.0);
    drop((one, two));
    until("there is room again", || {
        let mut client = Client::connect(runtime.address());
        let sent = client
            .stream
            .write_all(b"GET /metrics/snapshot HTTP/1.0\r\n\r\n");
        let mut text = String::new();
        sent.is_ok() && client.stream.read_to_string(&mut text).is_ok() && text.contains(" 200 OK")
    });
}

#[test]
fn claimed_and_real_ip_of_a_sender_must_match_if_required() {
    let runtime = start(RuntimeConfig {
        require_peer_address_ip_match: true,
        ..loopback()
    });
    let (_pid, log) = record(&runtime, "a");
    let mut client = Client::connect(runtime.address());
    let check = |client: &mut Client, headers: &str, code: u16| {
        client.send(post("/a/note", headers, "x"));
        assert_eq!(client.response().code(), code, "{headers}");
    };
    check(&mut client, "Libprocess-From: a@10.9.8.7:1\r\n", 400);
    check(&mut client, "Libprocess-From: nonsense\r\n", 400);
    check(&mut client, FROM, 202);
    log.wait_for(&["sender x"]);
}

#[derive(Clone, PartialEq, prost::Message)]
struct Note {
    #[prost(string, tag = "1")]
    text: String,
}

impl prost::Name for Note {
    const NAME: &'static str = "Note";
    const PACKAGE: &'static str = "test.internal";
}

#[test]
fn protobuf_messages_travel_by_their_full_name() {
    let (near, far) = (start(loopback()), start(loopback()));
    let (receiver, log) = record(&far, "receiver");
    receiver.dispatch(|_, ctx| {
        ctx.install(|recorder: &mut common::Recorder, _, from, note: Note| {
            recorder.log.add(format!("{} {}", from.id(), note.text));
        });
    });
    sync(&receiver);
    let (sender, _) = record(&near, "sender");
    let (local, remote) = (Upid::new("sender", far.address()), receiver.upid().clone());
    let to = remote.clone();
    sender.dispatch(move |_, ctx| {
        ctx.send(
            &to,
            &Note {
                text: "far".to_owned(),
            },
        );
    });
    log.wait_for(&["sender far"]);
    far.send_message(
        &local,
        &remote,
        &Note {
            text: "near".to_owned(),
        },
    );
    log.wait_for(&["sender far", "sender near"]);
    let raw = Bytes::from_static(&[0xff; 3]);
    far.send(&local, &remote, "test.internal.Note", raw);
    sync(&receiver);
    assert_eq!(metric(&far, "libprocess/messages_undecodable"), 1.0);
    assert_eq!(log.len(), 2);
}

#[test]
fn messages_to_nowhere_vanish() {
    let runtime = start(loopback());
    let (gone, peer) = peer();
    drop(gone);
    runtime.send(&Upid::default(), &Upid::default(), "x", Bytes::new());
    runtime.send(
        &Upid::default(),
        &Upid::new("nobody", runtime.address()),
        "x",
        Bytes::new(),
    );
    runtime.send(&Upid::default(), &peer, "x", Bytes::new());
    until("the message is dropped", || {
        metric(&runtime, "libprocess/messages_dropped") == 1.0
    });
}

#[test]
fn a_queue_that_is_full_drops_messages() {
    let runtime = start(RuntimeConfig {
        max_queue_bytes: 1024 * 1024,
        ..loopback()
    });
    let (listener, peer) = peer();
    // Nobody reads: sooner or later the buffers of the system are full, then the queue.
    let body = Bytes::from(vec![b' '; 512 * 1024]);
    until("messages are dropped", || {
        runtime.send(&Upid::default(), &peer, "x", body.clone());
        metric(&runtime, "libprocess/messages_dropped") > 0.0
    });
    let sent = metric(&runtime, "libprocess/messages_sent") as usize;
    // All others arrive.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        accept(&listener).read_to_string(&mut text).unwrap();
        text
    });
    until("there is room again", || {
        runtime.send(&Upid::default(), &peer, "last", Bytes::new());
        metric(&runtime, "libprocess/messages_sent") as usize > sent
    });
    runtime.shutdown();
    let text = reader.join().unwrap();
    assert_eq!(text.matches("POST /peer/x ").count(), sent);
    assert_eq!(text.matches("POST /peer/last ").count(), 1);
}

/// TCP that notes which threads connect to which address.
#[derive(Clone, Default)]
struct Noting(Arc<Mutex<Vec<(SocketAddr, ThreadId)>>>);

impl Transport for Noting {
    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        TcpTransport::default().bind(address)
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<io::Result<Box<dyn ByteStream>>> {
        self.0.lock().push((to, std::thread::current().id()));
        TcpTransport::default().connect(to)
    }
}

#[test]
fn each_destination_has_its_thread() {
    let noting = Noting::default();
    let runtime = start(RuntimeConfig {
        workers: 8,
        transport: Arc::new(noting.clone()),
        ..loopback()
    });
    let peers: Vec<_> = (0..32).map(|_| peer()).collect();
    let (pid, _) = record(&runtime, "sender");
    for round in [1, 2] {
        for (_, peer) in &peers {
            let peer = peer.clone();
            pid.dispatch(move |_, ctx| ctx.relink(&peer));
        }
        until("all are connected to", || {
            noting.0.lock().len() == round * peers.len()
        });
    }
    let mut threads: HashMap<SocketAddr, HashSet<ThreadId>> = HashMap::new();
    for (to, thread) in noting.0.lock().iter() {
        threads.entry(*to).or_default().insert(*thread);
    }
    assert!(threads.values().all(|threads| threads.len() == 1));
    // Two of the eight are for the network.
    let all: HashSet<_> = threads.values().flatten().collect();
    assert_eq!(all.len(), 2);
}

#[test]
fn a_shutdown_sends_what_is_queued() {
    let (listener, peer) = peer();
    let runtime = start(loopback());
    let body = "x".repeat(1000);
    for _ in 0..100 {
        runtime.send(&Upid::default(), &peer, "x", Bytes::from(body.clone()));
    }
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        accept(&listener).read_to_string(&mut text).unwrap();
        text
    });
    runtime.shutdown();
    assert_eq!(reader.join().unwrap().matches("POST /peer/x ").count(), 100);
}
