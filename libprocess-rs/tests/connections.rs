//! How one connection is served: limits, the order of answers, bodies that arrive slowly, clients that leave or do not read.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use common::{Client, Guard, Log, block_on, get, loopback, metric, start, sync, until};
use http::StatusCode;
use libprocess::{
    BodyStream, Clock, Context, Process, Reply, Request, Response, RouteOptions, RuntimeConfig,
    StreamWriter,
};

const GET: &str = "GET /a/hello HTTP/1.1\r\nHost: x\r\n\r\n";

struct Web {
    log: Log,
    writers: Vec<StreamWriter>,
}

/// Says when it is dropped.
struct Dropped(Log);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

impl Process for Web {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let plain = RouteOptions::default;
        let streaming = || RouteOptions {
            streaming: true,
            ..RouteOptions::default()
        };
        ctx.route("/hello", plain(), |_, _, _| text("hello"));
        ctx.route("/echo", plain(), |_, _, request| {
            text(&String::from_utf8_lossy(&request.body))
        });
        ctx.route("/note", plain(), |web: &mut Self, _, request| {
            web.log.add(request.url());
            text("noted")
        });
        ctx.route("/bye", plain(), |_, _, _| {
            let response = Response::text(StatusCode::OK, "bye");
            response.header("Connection", "close").into()
        });
        ctx.route("/never", plain(), |web: &mut Self, _, _| {
            let dropped = Dropped(web.log.clone());
            web.log.add("never");
            Reply::later(async move {
                std::future::pending::<()>().await;
                drop(dropped);
                Response::ok()
            })
        });
        ctx.route("/large", plain(), |_, _, _| {
            Response::json_text(vec![b'x'; LARGE_BYTES]).into()
        });
        ctx.route("/stream", plain(), |web: &mut Self, _, _| {
            let (response, writer) = Response::stream("text/plain");
            web.writers.push(writer);
            response.into()
        });
        ctx.route("/end", plain(), |web: &mut Self, _, _| {
            web.writers.clear();
            text("ended")
        });
        ctx.route("/upload", streaming(), |web: &mut Self, _, mut request| {
            let stream = request.take_stream().unwrap();
            Reply::later(upload(web.log.clone(), stream))
        });
        ctx.route("/unread", streaming(), |_, _, _| text("unread"));
    }
}

/// More than the buffers of a socket hold.
const LARGE_BYTES: usize = 32 * 1024 * 1024;

async fn upload(log: Log, mut stream: BodyStream) -> Response {
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => log.add(String::from_utf8_lossy(&piece)),
            Err(error) => log.add(error.to_string()),
        }
    }
    log.add("end");
    Response::ok()
}

fn text(text: &str) -> Reply {
    Response::text(StatusCode::OK, text).into()
}

fn web(config: RuntimeConfig) -> (Guard, Log) {
    let runtime = start(config);
    let log = Log::default();
    let process = Web {
        log: log.clone(),
        writers: Vec::new(),
    };
    sync(&runtime.spawn("a", process).unwrap());
    (runtime, log)
}

fn on_a_paused_clock() -> (Guard, Log, Clock) {
    let clock = Clock::paused();
    let (runtime, log) = web(RuntimeConfig {
        workers: 1,
        clock: clock.clone(),
        ..loopback()
    });
    (runtime, log, clock)
}

/// Lets the time pass until `condition` holds.
fn until_later(clock: &Clock, what: &str, condition: impl Fn() -> bool) {
    until(what, || {
        clock.advance(Duration::from_secs(1));
        condition()
    });
}

fn is_closed(runtime: &Guard) -> bool {
    metric(runtime, "libprocess/connections_open") == 0.0
}

#[test]
fn limits_hold_for_every_request() {
    let (runtime, _) = web(RuntimeConfig {
        max_head_bytes: 1000,
        max_body_bytes: 1000,
        ..loopback()
    });
    let check = |bytes: &str, status: &str, name: &str| {
        for ahead in ["", GET, &GET.repeat(3)] {
            let name = format!("libprocess/requests_{name}");
            let before = metric(&runtime, &name);
            let mut client = Client::connect(runtime.address());
            client.send(ahead).send(bytes);
            for _ in 0..ahead.matches("GET").count() {
                assert_eq!(client.response().text(), "hello");
            }
            let answer = client.response();
            assert_eq!(answer.status, format!("HTTP/1.1 {status}"), "{bytes:.60}");
            assert_eq!(answer.header("connection"), Some("close"), "{bytes:.60}");
            assert!(answer.text().starts_with(&status[..3]), "{bytes:.60}");
            assert_eq!(client.read_to_end(), "");
            assert_eq!(metric(&runtime, &name), before + 1.0, "{bytes:.60}");
        }
    };
    let bad = "400 Bad Request";
    check("nonsense\r\n\r\n", bad, "malformed");
    check("\x16\x03\x01\0", bad, "malformed");
    check("GET /a/hello HTTP/2.0\r\n\r\n", bad, "malformed");
    let post = "POST /a/echo HTTP/1.1\r\nHost: x\r\n";
    check(
        &format!("{post}Content-Length: x\r\n\r\n"),
        bad,
        "malformed",
    );
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n");
    check(&format!("{chunked}zz\r\n"), bad, "malformed");
    let zipped = format!("{post}Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc");
    check(&zipped, bad, "malformed");
    let long = "431 Request Header Fields Too Large";
    let head = format!("{post}X: {}\r\n\r\n", "x".repeat(1000));
    check(&head, long, "oversized");
    check(&head[..1000], long, "oversized");
    let large = "413 Request Entity Too Large";
    let length = format!("{post}Content-Length: 1001\r\n\r\n");
    check(&length, large, "oversized");
    // The client goes on sending what is not read any more.
    let chunk = format!("3e9\r\n{}\r\n", "x".repeat(1001));
    check(&format!("{chunked}{}", chunk.repeat(5)), large, "oversized");
}

#[test]
fn what_stalls_is_told_and_closed() {
    let post = "POST /a/echo HTTP/1.1\r\nHost: x\r\n";
    for part in [
        "GET /a/hello HTTP/1.1\r\nHo".to_owned(),
        format!("{post}Content-Length: 5\r\n\r\nab"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n5\r\nab"),
        // Of a body that nobody takes.
        "POST /nobody HTTP/1.1\r\nContent-Length: 5\r\n\r\nab".to_owned(),
    ] {
        let (runtime, _, clock) = on_a_paused_clock();
        let mut client = Client::connect(runtime.address());
        assert_eq!(client.get("/a/hello").text(), "hello");
        client.send(&part);
        until("it is watched", || clock.next_deadline().is_some());
        clock.advance(Duration::from_secs(29));
        block_on(clock.settle());
        assert_eq!(metric(&runtime, "libprocess/requests_timed_out"), 0.0);
        until_later(&clock, "it is given up", || {
            metric(&runtime, "libprocess/requests_timed_out") == 1.0
        });
        let mut text = client.read_to_end();
        if part.contains("nobody") {
            text = text.split_off(text.rfind("HTTP/1.1").unwrap());
        }
        assert!(
            text.starts_with("HTTP/1.1 408 Request Time-out\r\n"),
            "{text}"
        );
        assert!(text.contains("Connection: close\r\n"), "{text}");
    }
}

#[test]
fn a_body_may_take_long_if_it_goes_on() {
    let (runtime, _, clock) = on_a_paused_clock();
    let mut client = Client::connect(runtime.address());
    client.send("POST /a/echo HTTP/1.1\r\nContent-Length: 5\r\n\r\n");
    for byte in ["a", "b", "c", "d"] {
        client.send(byte);
        until("it is watched", || clock.next_deadline().is_some());
        // After these, the byte has been read too.
        for _ in 0..10 {
            assert_eq!(get(&runtime, "/a/hello").text(), "hello");
        }
        clock.advance(Duration::from_secs(20));
    }
    client.send("e");
    assert_eq!(client.response().text(), "abcde");
}

#[test]
fn requests_are_worked_on_at_the_same_time_and_answered_in_order() {
    let (runtime, log) = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send("GET /a/stream HTTP/1.1\r\n\r\nGET /a/note?1 HTTP/1.1\r\n\r\n");
    client.send("POST /a/note?2 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
    client
        .send("POST /a/n HTTP/1.1\r\nLibprocess-From: b@127.0.0.1:1\r\nContent-Length: 0\r\n\r\n");
    log.wait_for(&["/a/note?1", "/a/note?2"]);
    let head = client.until("\r\n\r\n");
    assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    assert_eq!(get(&runtime, "/a/end").text(), "ended");
    assert_eq!(client.chunk(), None);
    assert_eq!(client.response().text(), "noted");
    assert_eq!(client.response().text(), "noted");
    assert_eq!(client.response().code(), 202);
}

#[test]
fn only_so_many_requests_of_a_connection_are_worked_on_at_once() {
    let (runtime, log) = web(loopback());
    let mut client = Client::connect(runtime.address());
    let all: String = (0..20)
        .map(|n| format!("GET /a/note?{n} HTTP/1.1\r\n\r\n"))
        .collect();
    client.send(format!("GET /a/never HTTP/1.1\r\n\r\n{all}"));
    until("as many as possible are served", || log.len() == 8);
    // By the time another client has been answered many times, more would have been served.
    for _ in 0..100 {
        assert_eq!(get(&runtime, "/a/hello").text(), "hello");
    }
    assert_eq!(log.len(), 8);
}

#[test]
fn a_handler_may_have_the_connection_closed() {
    let (runtime, _) = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send(format!("{GET}GET /a/bye HTTP/1.1\r\n\r\n{GET}{GET}"));
    assert_eq!(client.response().text(), "hello");
    let answer = client.response();
    assert_eq!(
        (answer.header("connection"), answer.text()),
        (Some("close"), "bye".to_owned())
    );
    assert_eq!(client.read_to_end(), "");
}

#[test]
fn upgrades_are_not_offered_and_do_no_harm() {
    let (runtime, _) = web(loopback());
    let mut client = Client::connect(runtime.address());
    for headers in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "",
    ] {
        client.send(format!("GET /a/hello HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
        let answer = client.response();
        assert_eq!(
            (answer.code(), answer.text()),
            (200, "hello".to_owned()),
            "{headers}"
        );
        assert_eq!(answer.header("connection"), None, "{headers}");
    }
}

#[test]
fn http_1_0_is_answered_as_1_1() {
    let (runtime, _) = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send("POST /a/echo HTTP/1.0\r\n\r\n");
    let text = client.read_to_end();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
}

#[test]
fn a_client_may_ask_whether_to_send_its_body() {
    let (runtime, _) = web(RuntimeConfig {
        max_body_bytes: 1000,
        ..loopback()
    });
    let ask = |target: &str, length: usize| {
        let mut client = Client::connect(runtime.address());
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n");
        client.send(format!("{head}Content-Length: {length}\r\n\r\n"));
        client
    };
    for target in ["/a/echo", "/a/upload"] {
        let mut client = ask(target, 5);
        assert_eq!(client.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("hello");
        assert_eq!(client.response().code(), 200);
        assert_eq!(client.get("/a/hello").text(), "hello");
    }
    // Not if it would be of no use.
    for (target, length, code) in [("/a/echo", 1001, 413), ("/nobody", 5, 404)] {
        let mut client = ask(target, length);
        let answer = client.response();
        assert_eq!(
            (answer.code(), answer.header("connection")),
            (code, Some("close"))
        );
        assert_eq!(client.read_to_end(), "");
    }
}

#[test]
fn a_body_that_nobody_takes_is_skipped() {
    let (runtime, _) = web(loopback());
    let mut client = Client::connect(runtime.address());
    let body = "x".repeat(1_000_000);
    for target in ["/nobody", "/%zz"] {
        client.send(format!(
            "POST {target} HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n{body}"
        ));
        assert!(client.response().code() >= 400);
        assert_eq!(client.get("/a/hello").text(), "hello");
    }
}

#[test]
fn trailers_are_skipped() {
    let (runtime, _) = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send(
        "POST /a/echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n",
    );
    assert_eq!(client.response().text(), "ab");
    assert_eq!(client.get("/a/hello").text(), "hello");
}

#[test]
fn a_handler_gets_a_body_as_it_arrives() {
    let (runtime, log) = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send("POST /a/upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    log.wait_for(&["one"]);
    client.send("3\r\ntwo\r\n");
    log.wait_for(&["one", "two"]);
    client.send("0\r\n\r\n");
    log.wait_for(&["one", "two", "end"]);
    assert_eq!(client.response().code(), 200);
    assert_eq!(client.get("/a/hello").text(), "hello");
}

#[test]
fn the_last_body_of_a_connection_arrives_whole() {
    let (runtime, log) = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send(
        "POST /a/upload HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1",
    );
    for n in 0..200 {
        client.send(format!("\r\nx\r\n{}", if n < 199 { 1 } else { 0 }));
    }
    client.send("\r\n\r\n");
    assert_eq!(client.response().header("connection"), Some("close"));
    assert_eq!(client.read_to_end(), "");
    let mut expected = vec!["x"; 200];
    expected.push("end");
    assert_eq!(log.lines(), expected);
}

#[test]
fn a_handler_learns_that_a_body_has_broken_off() {
    let check = |rest: &str, gzip: bool, error: &str| {
        let (runtime, log) = web(loopback());
        let mut client = Client::connect(runtime.address());
        let encoding = if gzip {
            "Content-Encoding: gzip\r\n"
        } else {
            ""
        };
        client.send(format!(
            "POST /a/upload HTTP/1.1\r\n{encoding}Transfer-Encoding: chunked\r\n\r\n"
        ));
        client.send(rest);
        client.stream.shutdown(Shutdown::Write).unwrap();
        until("the handler has ended", || {
            log.lines().contains(&"end".to_owned())
        });
        let expected = format!("request body broke off: {error}");
        assert!(log.lines().contains(&expected), "{:?}", log.lines());
    };
    check("3\r\none\r\n", false, "the connection ended before it");
    check("3\r\none\r\nx\r\n", false, "malformed chunk size");
    check("14\r\nthis is no gzip body\r\n", true, "malformed gzip");
    check("", true, "the connection ended before it");
}

#[test]
fn a_body_that_a_handler_does_not_read() {
    let (runtime, _) = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send("POST /a/unread HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.response().text(), "unread");
    // If it goes on and on, the connection is closed.
    let mut client = Client::connect(runtime.address());
    client.send("POST /a/unread HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let answer = client.response();
    assert_eq!(answer.text(), "unread");
    assert_eq!(client.read_to_end(), "");
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    for target in ["/a/never", "/a/stream"] {
        for close in ["", "Connection: close\r\n"] {
            let (runtime, log, clock) = on_a_paused_clock();
            let mut client = Client::connect(runtime.address());
            client.send(format!("GET {target} HTTP/1.1\r\n{close}\r\n"));
            match target {
                "/a/never" => log.wait_for(&["never"]),
                _ => assert!(client.until("\r\n\r\n").contains("200 OK")),
            }
            drop(client);
            until_later(&clock, "the connection has ended", || is_closed(&runtime));
        }
    }
}

#[test]
fn a_client_that_vanishes_is_forgotten_at_once() {
    let (runtime, log, clock) = on_a_paused_clock();
    let mut client = Client::connect(runtime.address());
    client.send("GET /a/large HTTP/1.1\r\n\r\nGET /a/never HTTP/1.1\r\n\r\n");
    log.wait_for(&["never"]);
    // It closes with unread bytes, so the kernel resets the connection.
    let mut some = [0; 10];
    client.stream.read_exact(&mut some).unwrap();
    let before = clock.now();
    drop(client);
    until("the connection has ended", || is_closed(&runtime));
    assert_eq!(clock.now(), before);
}

#[test]
fn a_client_that_does_not_read_its_answers_is_given_up() {
    let (runtime, _, clock) = on_a_paused_clock();
    let mut client = Client::connect(runtime.address());
    client.send("GET /a/large HTTP/1.1\r\n\r\nGET /a/hel");
    until("the answer is on its way", || {
        clock.next_deadline().is_some()
    });
    until_later(&clock, "the connection has ended", || is_closed(&runtime));
    assert_eq!(metric(&runtime, "libprocess/requests_timed_out"), 1.0);
}

#[test]
fn a_client_may_read_slowly() {
    let (runtime, _, clock) = on_a_paused_clock();
    let mut client = Client::connect(runtime.address());
    client.send("GET /a/large HTTP/1.1\r\n\r\n");
    client.until("\r\n\r\n");
    let mut part = vec![0; LARGE_BYTES / 8];
    for _ in 0..7 {
        client.stream.read_exact(&mut part).unwrap();
        clock.advance(Duration::from_secs(20));
    }
    assert_eq!(metric(&runtime, "libprocess/requests_timed_out"), 0.0);
}

#[test]
fn a_request_may_come_before_the_first_turn_of_its_actor() {
    struct Late(mpsc::Receiver<()>);
    impl Process for Late {
        fn initialize(&mut self, ctx: &mut Context<Self>) {
            self.0.recv().unwrap();
            ctx.route("/", RouteOptions::default(), |_, _, request: Request| {
                text(&String::from_utf8_lossy(&request.body))
            });
        }
    }
    let runtime = start(RuntimeConfig {
        workers: 4,
        ..loopback()
    });
    let (go, wait) = mpsc::channel();
    runtime.spawn("late", Late(wait)).unwrap();
    let mut client = Client::connect(runtime.address());
    client.send("POST /late HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(get(&runtime, "/nobody").code(), 404);
    go.send(()).unwrap();
    assert_eq!(client.response().text(), "body");
}

#[test]
fn large_gzip_bodies_are_decompressed_elsewhere() {
    let (runtime, _) = web(RuntimeConfig {
        workers: 1,
        max_body_bytes: 64 * 1024 * 1024,
        ..loopback()
    });
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder
        .write_all(&Bytes::from(vec![0; 63 * 1024 * 1024]))
        .unwrap();
    let zipped = encoder.finish().unwrap();
    let mut client = Client::connect(runtime.address());
    let head =
        "POST /nobody/x HTTP/1.1\r\nLibprocess-From: b@127.0.0.1:1\r\nContent-Encoding: gzip\r\n";
    client.send(format!("{head}Content-Length: {}\r\n\r\n", zipped.len()));
    client.send(&zipped).send(GET);
    assert_eq!(get(&runtime, "/a/hello").text(), "hello");
    assert_eq!(client.response().code(), 404);
    assert_eq!(client.response().text(), "hello");
}
