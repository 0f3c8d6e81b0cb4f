//! Routes, responses and the built-in endpoints, as a client sees them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Client, Log, Recorder, block_on, get, loopback, metric, start, sync, until};
use libprocess::{
    Clock, Context, ParamError, Process, Reply, Request, Response, RouteOptions, RuntimeConfig,
    StreamWriter, WriteError,
};
use parking_lot::Mutex;

const HOST: &str = "Host: x\r\n";

/// An actor with one route of each kind.
struct Web {
    log: Log,
    writer: Arc<Mutex<Option<StreamWriter>>>,
    directory: std::path::PathBuf,
}

impl Process for Web {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let plain = RouteOptions::default;
        ctx.route("/", plain(), |_, _, _| text("root"));
        ctx.route("/echo", plain(), |_, _, request| {
            let method = &request.method;
            let body = String::from_utf8_lossy(&request.body);
            let q = request.query.get("q").unwrap_or("-");
            let x = request.header("X").unwrap_or("-");
            text(&format!(
                "{method} {} {} {q} {x} {body}",
                request.path,
                request.url()
            ))
        });
        ctx.route("/echo/deep", plain(), |_, _, _| text("deep"));
        ctx.route("/later", plain(), |_, ctx, _| {
            let asked = ctx.pid().ask(|_, ctx| ctx.upid().id().to_owned());
            Reply::later(async move {
                match asked.await {
                    Ok(id) => Response::text(http::StatusCode::OK, id),
                    Err(_) => Response::status(http::StatusCode::INTERNAL_SERVER_ERROR),
                }
            })
        });
        ctx.route("/never", plain(), |web: &mut Web, _, _| {
            web.log.add("never");
            Reply::later(std::future::pending())
        });
        ctx.route("/large", plain(), |_, _, request| {
            let size: usize = request.query.get("size").unwrap().parse().unwrap();
            Response::json_text("x".repeat(size)).into()
        });
        ctx.route("/json", plain(), |_, _, request| {
            Response::json_or_jsonp(serde_json::json!({"a": 1}), &request).into()
        });
        ctx.route("/stream", plain(), |web: &mut Web, _, _| {
            let (response, writer) = Response::stream("application/json");
            *web.writer.lock() = Some(writer);
            response.into()
        });
        ctx.route("/upload", plain().streaming(), |_, _, mut request| {
            let mut stream = request.take_stream().unwrap();
            Reply::later(async move {
                let mut sizes = Vec::new();
                while let Some(chunk) = stream.next().await {
                    match chunk {
                        Ok(chunk) => sizes.push(chunk.len()),
                        Err(error) => return Response::json(error.to_string()),
                    }
                }
                Response::json(sizes.iter().sum::<usize>())
            })
        });
        ctx.route("/moved", plain(), |_, _, _| {
            Response::redirect("//x:1/state").into()
        });
        ctx.route("/teapot", plain(), |_, _, request| {
            Response::method_not_allowed(&["GET", "POST"], request.method.as_str()).into()
        });
        ctx.route("/tasks/{id}/log", plain(), |_, _, request| {
            log(&request).unwrap_or_else(Response::from).into()
        });
        ctx.route("/busy", plain(), |_, _, _| {
            Response::too_many_requests(Duration::from_millis(1500)).into()
        });
        ctx.route("/empty", plain(), |_, _, _| {
            Response::ok()
                .with_status(http::StatusCode::NO_CONTENT)
                .into()
        });
        ctx.provide("static", self.directory.clone());
        ctx.provide("app.js", self.directory.join("app.js"));
    }
}

#[derive(serde::Deserialize)]
struct Task {
    id: u32,
}

#[derive(serde::Deserialize)]
struct Page {
    #[serde(default)]
    offset: u64,
    limit: Option<u16>,
}

fn log(request: &Request) -> Result<Response, ParamError> {
    let task: Task = request.path_params()?;
    let page: Page = request.query_params()?;
    Ok(Response::json((task.id, page.offset, page.limit)))
}

fn text(text: &str) -> Reply {
    Response::text(http::StatusCode::OK, text).into()
}

struct Fixture {
    log: Log,
    runtime: common::Guard,
    writer: Arc<Mutex<Option<StreamWriter>>>,
    directory: tempfile::TempDir,
}

fn web(config: RuntimeConfig) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let runtime = start(RuntimeConfig {
        delegate: Some("web(1)".to_owned()),
        ..config
    });
    let writer = Arc::new(Mutex::new(None));
    let log = Log::default();
    let process = Web {
        log: log.clone(),
        writer: writer.clone(),
        directory: directory.path().to_owned(),
    };
    sync(&runtime.spawn("web(1)", process).unwrap());
    Fixture {
        log,
        runtime,
        writer,
        directory,
    }
}

#[test]
fn paths_lead_to_routes() {
    let Fixture { runtime, .. } = web(loopback());
    let mut client = Client::connect(runtime.address());
    let mut check = |target: &str, code: u16, body: &str| {
        client.send(format!("GET {target} HTTP/1.1\r\n{HOST}\r\n"));
        let answer = client.response();
        assert_eq!(
            (answer.code(), answer.text().as_str()),
            (code, body),
            "{target}"
        );
    };
    check("/", 200, "root");
    check("/web(1)", 200, "root");
    check("/web%281%29/", 200, "root");
    check("/echo", 200, "GET /web(1)/echo /web(1)/echo - - ");
    check("/web(1)/echo/", 200, "GET /web(1)/echo/ /web(1)/echo/ - - ");
    check(
        "/echo/x/y",
        200,
        "GET /web(1)/echo/x/y /web(1)/echo/x/y - - ",
    );
    check(
        "/echo?q=a+b%20c;q=d%26",
        200,
        "GET /web(1)/echo /web(1)/echo?q=a+b%20c;q=d%26 d& - ",
    );
    check("/echo/deep", 200, "deep");
    check("/echo/deep/er", 200, "deep");
    check("/later", 200, "web(1)");
    check("/echoes", 404, "404 Not Found.");
    check("/nothing", 404, "404 Not Found.");
    check("/web(2)/echo", 404, "404 Not Found.");
    check("/echo/../x", 404, "404 Not Found.");
    check("/%zz", 400, "400 Bad Request.");
    check("/echo?q=%zz", 400, "400 Bad Request.");
    check("http://x/echo/deep", 200, "deep");
    check("/tasks/7/log?offset=5", 200, "[7,5,null]");
    check("/web(1)/tasks/7/log/?limit=9", 200, "[7,0,9]");
    check("/tasks/7", 404, "404 Not Found.");
    check(
        "/tasks/x/log",
        400,
        "Invalid path parameter 'id': 'x' is not a whole number from 0 to 4294967295.\n",
    );
    check(
        "/tasks/7/log?limit=70000",
        400,
        "Invalid query parameter 'limit': '70000' is not a whole number from 0 to 65535.\n",
    );
    check("/json", 200, "{\"a\":1}");
    check("/json?jsonp=f", 200, "f({\"a\":1})");
    // Actors that exist win over the delegate.
    check("/metrics/nothing", 404, "404 Not Found.");
}

#[test]
fn responses_have_the_headers_of_upstream() {
    let Fixture { runtime, .. } = web(loopback());
    let check = |target: &str, status: &str, expected: &[(&str, &str)]| {
        let answer = get(&runtime, target);
        assert_eq!(answer.status, format!("HTTP/1.1 {status}"), "{target}");
        assert!(
            answer
                .header("date")
                .is_some_and(|date| date.ends_with(" GMT"))
        );
        for (name, value) in expected {
            assert_eq!(answer.header(name), Some(*value), "{name} of {target}");
        }
    };
    let text = ("content-type", "text/plain; charset=utf-8");
    check("/", "200 OK", &[text, ("content-length", "4")]);
    check(
        "/nothing",
        "404 Not Found",
        &[text, ("content-length", "14")],
    );
    check("/json", "200 OK", &[("content-type", "application/json")]);
    check(
        "/json?jsonp=f",
        "200 OK",
        &[("content-type", "text/javascript")],
    );
    check(
        "/moved",
        "307 Temporary Redirect",
        &[("location", "//x:1/state")],
    );
    check(
        "/teapot",
        "405 Method Not Allowed",
        &[("allow", "GET, POST")],
    );
    check("/busy", "429 Too Many Requests", &[("retry-after", "2")]);
}

#[test]
fn requests_arrive_whole() {
    let Fixture { runtime, .. } = web(loopback());
    let mut client = Client::connect(runtime.address());
    client
        .send("PUT /echo HTTP/1.1\r\nHost: x\r\nX: one\r\nX: two\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(
        client.response().text(),
        "PUT /web(1)/echo /web(1)/echo - two body"
    );
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nin\r\n6\r\n parts\r\n0\r\n\r\n");
    assert_eq!(
        client.response().text(),
        "POST /web(1)/echo /web(1)/echo - - in parts"
    );

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"zipped").unwrap();
    let zipped = encoder.finish().unwrap();
    client.send(format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        zipped.len()
    ));
    client.send(&zipped);
    assert_eq!(
        client.response().text(),
        "POST /web(1)/echo /web(1)/echo - - zipped"
    );

    // Larger than the buffers of the connection.
    for n in 0..100 {
        client.send(format!("GET /echo?q={n} HTTP/1.1\r\nHost: x\r\n\r\n"));
    }
    for n in 0..100 {
        let expected = format!("GET /web(1)/echo /web(1)/echo?q={n} {n} - ");
        assert_eq!(client.response().text(), expected);
    }
}

#[test]
fn head_has_no_body() {
    let Fixture { runtime, .. } = web(loopback());
    let mut client = Client::connect(runtime.address());
    let mut check = |target: &str, code: u16, length: Option<&str>| {
        client.send(format!("HEAD {target} HTTP/1.1\r\n{HOST}\r\n"));
        let answer = client.response_to("HEAD");
        assert_eq!(answer.code(), code, "{target}");
        assert_eq!(answer.header("content-length"), length, "{target}");
    };
    check("/", 200, Some("4"));
    check("/nothing", 404, Some("14"));
    check("/echo?q=%zz", 400, Some("16"));
    check("/echo/../x", 404, Some("14"));
    check("/large?size=100000", 200, Some("100000"));
    // The stream is not waited for, though its writer is never dropped.
    check("/stream", 200, None);
    check("/empty", 204, None);
    client.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(client.response().text(), "root");
}

#[test]
fn no_content_has_no_length() {
    let Fixture { runtime, .. } = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send(format!("GET /empty HTTP/1.1\r\n{HOST}\r\n"));
    let answer = client.response();
    assert_eq!(answer.code(), 204);
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.header("transfer-encoding"), None);
    client.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(client.response().text(), "root");
}

#[test]
fn gzip_only_if_asked_for_and_worth_it() {
    let Fixture { runtime, .. } = web(loopback());
    let check = |size: usize, accept: &str, compressed: bool| {
        let mut client = Client::connect(runtime.address());
        client.send(format!(
            "GET /large?size={size} HTTP/1.1\r\n{HOST}{accept}\r\n"
        ));
        let answer = client.response();
        let encoding = answer.header("content-encoding");
        assert_eq!(encoding, compressed.then_some("gzip"), "{size} {accept}");
        let vary = (size >= 1024).then_some("Accept-Encoding");
        assert_eq!(answer.header("vary"), vary, "{size} {accept}");
        let mut plain = Vec::new();
        match compressed {
            true => flate2::read::GzDecoder::new(&answer.body[..])
                .read_to_end(&mut plain)
                .unwrap(),
            false => answer.body.as_slice().read_to_end(&mut plain).unwrap(),
        };
        assert_eq!(plain.len(), size);
    };
    check(1023, "Accept-Encoding: gzip\r\n", false);
    check(1024, "Accept-Encoding: gzip\r\n", true);
    check(1024, "", false);
    check(1024, "Accept-Encoding: gzip;q=0\r\n", false);
    check(1_000_000, "Accept-Encoding: deflate, gzip\r\n", true);
}

#[test]
fn connections_persist_as_the_client_wants() {
    let Fixture { runtime, .. } = web(loopback());
    let check = |request: &str, closed: bool| {
        let mut client = Client::connect(runtime.address());
        client.send(request);
        assert_eq!(client.response().text(), "root");
        match closed {
            true => assert_eq!(client.read_to_end(), ""),
            false => assert_eq!(client.get("/").text(), "root"),
        }
    };
    check("GET / HTTP/1.1\r\nHost: x\r\n\r\n", false);
    check("GET / HTTP/1.1\r\n\r\n", false);
    check(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        true,
    );
    check("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", true);
    check("GET / HTTP/1.0\r\n\r\n", true);
    check("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false);
}

#[test]
fn a_client_that_closes_its_side_after_asking_is_answered() {
    let Fixture { runtime, .. } = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send(format!("GET /later HTTP/1.1\r\n{HOST}\r\n"));
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.response().text(), "web(1)");
    assert_eq!(client.read_to_end(), "");
}

/// The n-th of many requests, some with a body and some without, and what it is answered.
fn pipelined(n: usize) -> (String, u16, String) {
    let body = "x".repeat(2000);
    let echo = |method: &str, body: &str| {
        let text = format!("{method} /web(1)/echo /web(1)/echo?q={n} {n} - {body}");
        (200, text)
    };
    let (request, (code, answer)) = match n % 5 {
        0 => (
            format!("GET /echo?q={n} HTTP/1.1\r\n{HOST}\r\n"),
            echo("GET", ""),
        ),
        1 => (
            format!("GET /later HTTP/1.1\r\n{HOST}\r\n"),
            (200, "web(1)".to_owned()),
        ),
        2 => (
            format!("POST /echo?q={n} HTTP/1.1\r\n{HOST}Content-Length: 2000\r\n\r\n{body}"),
            echo("POST", &body),
        ),
        3 => (
            format!("POST /empty HTTP/1.1\r\n{HOST}Content-Length: 2000\r\n\r\n{body}"),
            (204, String::new()),
        ),
        _ => (
            format!(
                "POST /echo?q={n} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n\
                 1\r\nx\r\n7d0;a=b\r\n{body}\r\n0\r\n\r\n"
            ),
            echo("POST", &format!("x{body}")),
        ),
    };
    (request, code, answer)
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let Fixture { runtime, .. } = web(loopback());
    const REQUESTS: usize = 3000;
    for half_close in [false, true] {
        let mut client = Client::connect(runtime.address());
        let mut sender = client.stream.try_clone().unwrap();
        // More than fits into any buffer.
        let sending = std::thread::spawn(move || {
            let all: String = (0..REQUESTS).map(|n| pipelined(n).0).collect();
            sender.write_all(all.as_bytes()).unwrap();
            if half_close {
                sender.shutdown(std::net::Shutdown::Write).unwrap();
            }
        });
        for n in 0..REQUESTS {
            let (_, code, expected) = pipelined(n);
            let answer = client.response();
            assert_eq!((answer.code(), answer.text()), (code, expected));
            assert_eq!(answer.header("connection"), None, "request {n}");
        }
        sending.join().unwrap();
        if half_close {
            assert_eq!(client.read_to_end(), "");
        }
    }
}

#[test]
fn a_streaming_answer_blocks_later_ones_on_its_connection_only() {
    let Fixture {
        runtime, writer, ..
    } = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send(format!(
        "GET /stream HTTP/1.1\r\n{HOST}\r\nGET / HTTP/1.1\r\n{HOST}\r\n"
    ));
    client.until("\r\n\r\n");
    let stream = writer.lock().take().unwrap();
    assert_eq!(get(&runtime, "/").text(), "root");
    stream.write("piece").unwrap();
    assert_eq!(client.chunk().unwrap(), b"piece");
    drop(stream);
    assert_eq!(client.chunk(), None);
    assert_eq!(client.response().text(), "root");
}

#[test]
fn what_cannot_be_read_is_refused() {
    let Fixture { runtime, .. } = web(RuntimeConfig {
        max_head_bytes: 4096,
        max_body_bytes: 1000,
        ..loopback()
    });
    let check = |request: &str, code: u16| {
        let mut client = Client::connect(runtime.address());
        // The server may close before it has taken all.
        let _ = client.stream.write_all(request.as_bytes());
        assert_eq!(client.response().code(), code, "{request:.60}");
    };
    let long = "x".repeat(5000);
    check("nonsense\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: x\r\n bad\r\n\r\n", 400);
    check(&format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 431);
    check(
        &format!("POST /echo HTTP/1.1\r\n{HOST}Content-Length: 5000\r\n\r\n{long}"),
        413,
    );
    check(
        &format!(
            "POST /echo HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n1388\r\n{long}\r\n0\r\n\r\n"
        ),
        413,
    );
    // Also behind a request that was fine.
    let mut client = Client::connect(runtime.address());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n");
    assert_eq!(client.response().text(), "root");
    assert_eq!(client.response().code(), 400);
}

#[test]
fn requests_that_stall_are_given_up() {
    let clock = Clock::paused();
    let Fixture { runtime, .. } = web(RuntimeConfig {
        clock: clock.clone(),
        ..loopback()
    });
    let start = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab";
    let mut body = Client::connect(runtime.address());
    body.send(start);
    let mut head = Client::connect(runtime.address());
    assert_eq!(head.get("/").text(), "root");
    head.send("GET / HTTP/1.1\r\nHo");
    let mut quiet = Client::connect(runtime.address());
    assert_eq!(quiet.get("/").text(), "root");
    until("both are watched", || clock.next_deadline().is_some());
    let answered = std::thread::spawn(move || (body.response().code(), head.read_to_end()));
    until("both are given up", || {
        clock.advance(Duration::from_secs(10));
        answered.is_finished()
    });
    let (code, text) = answered.join().unwrap();
    assert_eq!(code, 408);
    assert!(
        text.starts_with("HTTP/1.1 408 Request Time-out\r\n"),
        "{text}"
    );
    assert_eq!(quiet.get("/").text(), "root");
}

#[test]
fn files() {
    let Fixture {
        runtime, directory, ..
    } = web(loopback());
    let large: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let write = |name: &str, content: &[u8]| {
        std::fs::write(directory.path().join(name), content).unwrap();
    };
    write("app.js", b"let x;");
    write("large", &large);
    write("empty", b"");
    std::fs::create_dir(directory.path().join("dir")).unwrap();
    let check = |target: &str, code: u16, content_type: Option<&str>, body: &[u8]| {
        let mut client = Client::connect(runtime.address());
        client.send(format!("GET {target} HTTP/1.1\r\n{HOST}\r\n"));
        let answer = client.response();
        assert_eq!(answer.code(), code, "{target}");
        assert_eq!(answer.header("content-type"), content_type, "{target}");
        let length = body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(length.as_str()));
        assert!(answer.body == body, "{target}");
    };
    let not_found = Some("text/plain; charset=utf-8");
    check(
        "/static/app.js",
        200,
        Some("application/x-javascript"),
        b"let x;",
    );
    check("/app.js", 200, Some("application/x-javascript"), b"let x;");
    check("/static/large", 200, None, &large);
    check("/static/empty", 200, None, b"");
    check("/static/dir", 404, not_found, b"404 Not Found.");
    check("/static/missing", 404, not_found, b"404 Not Found.");
    check("/static/../secret", 404, not_found, b"404 Not Found.");
}

#[test]
fn a_stream_sends_one_chunk_per_write_until_its_writer_goes() {
    let Fixture {
        runtime, writer, ..
    } = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send(format!("GET /stream HTTP/1.1\r\n{HOST}\r\n"));
    let head = client.until("\r\n\r\n").to_ascii_lowercase();
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/json\r\n"),
        "{head}"
    );
    let stream = writer.lock().take().unwrap();
    for piece in ["one", "", "two"] {
        stream.write(piece).unwrap();
    }
    assert_eq!(client.chunk().unwrap(), b"one");
    assert_eq!(client.chunk().unwrap(), b"two");
    assert!(!stream.is_closed());
    drop(stream);
    assert_eq!(client.chunk(), None);
    assert_eq!(client.get("/").text(), "root");
}

#[test]
fn the_writer_of_a_stream_learns_that_its_client_has_gone() {
    let Fixture {
        runtime, writer, ..
    } = web(loopback());
    let check = |leave: fn(Client)| {
        let mut client = Client::connect(runtime.address());
        client.send(format!("GET /stream HTTP/1.1\r\n{HOST}\r\n"));
        client.until("\r\n\r\n");
        let stream = writer.lock().take().unwrap();
        leave(client);
        block_on(stream.closed());
        assert_eq!(stream.write("x"), Err(WriteError::Closed));
        assert_eq!(block_on(stream.write_waiting("x")), Err(WriteError::Closed));
    };
    check(drop);
    check(|mut client| {
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        // What was sent breaks off without an end.
        assert_eq!(client.read_to_end(), "");
    });
}

#[test]
fn a_slow_reader_of_a_stream_fills_its_backlog_and_no_more() {
    let Fixture {
        runtime, writer, ..
    } = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send(format!("GET /stream HTTP/1.1\r\n{HOST}\r\n"));
    client.until("\r\n\r\n");
    let stream = writer.lock().take().unwrap();
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let mut written = 0;
    until("the backlog is full", || {
        stream.write(piece.clone()).is_err()
    });
    while stream.write("x").is_ok() {
        written += 1;
        assert!(written < 10_000);
    }
    assert_eq!(stream.write(piece.clone()), Err(WriteError::Full));
    // Another client is served in the meantime.
    assert_eq!(get(&runtime, "/").text(), "root");
    drop(stream);
    let mut total = 0;
    while let Some(chunk) = client.chunk() {
        total += chunk.len();
    }
    assert!(total > 32 * 1024 * 1024);
}

#[test]
fn bodies_can_be_taken_as_they_arrive() {
    let Fixture { runtime, .. } = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send("POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..50 {
        client.send("5\r\nhello\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().text(), "250");
    let mut client = Client::connect(runtime.address());
    client.send("POST /upload HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().text(), "5");

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&[b'x'; 100_000]).unwrap();
    let zipped = encoder.finish().unwrap();
    let mut client = Client::connect(runtime.address());
    let head = format!("POST /upload HTTP/1.1\r\n{HOST}Content-Encoding: gzip\r\n");
    let length = zipped.len();
    client.send(format!("{head}Content-Length: {length}\r\n\r\n"));
    client.send(&zipped);
    assert_eq!(client.response().text(), "100000");
    let mut client = Client::connect(runtime.address());
    client.send(
        "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n",
    );
    client.send(&zipped[..20]);
    assert_eq!(
        client.response().text(),
        "\"request body broke off: truncated gzip\""
    );
}

#[test]
fn an_actor_that_ends_answers_500() {
    let Fixture { runtime, log, .. } = web(loopback());
    let mut client = Client::connect(runtime.address());
    client.send(format!("GET /never HTTP/1.1\r\n{HOST}\r\n"));
    log.wait_for(&["never"]);
    runtime.terminate(&libprocess::Upid::new("web(1)", runtime.address()));
    let answer = client.response();
    assert_eq!(answer.text(), "500 Internal Server Error.");
    until("the actor has ended", || !runtime.contains("web(1)"));
    assert_eq!(get(&runtime, "/").code(), 404);
}

#[test]
fn one_worker_is_enough() {
    let Fixture { runtime, .. } = web(RuntimeConfig {
        workers: 1,
        ..loopback()
    });
    assert_eq!(get(&runtime, "/later").text(), "web(1)");
    assert_eq!(metric(&runtime, "libprocess/actor_panics"), 0.0);
    let log = Log::default();
    let recorder = Recorder { log: log.clone() };
    runtime.spawn("a", recorder).unwrap();
    let mut client = Client::connect(runtime.address());
    client.send(
        "POST /a/note HTTP/1.1\r\nLibprocess-From: x@1.2.3.4:5\r\nContent-Length: 1\r\n\r\n1",
    );
    assert_eq!(client.response().code(), 202);
    log.wait_for(&["x 1"]);
}

/// Keeps the writers of its streams.
#[derive(Default)]
struct Keeper {
    writers: Vec<StreamWriter>,
}

impl Process for Keeper {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route("/kept", RouteOptions::default(), |keeper, _, _| {
            let (response, writer) = Response::stream("text/plain");
            writer.write("piece").unwrap();
            keeper.writers.push(writer);
            response.into()
        });
        ctx.route("/spawned", RouteOptions::default(), |_, ctx, _| {
            let (response, writer) = Response::stream("text/plain");
            ctx.spawn(
                async move {
                    writer.write("piece").unwrap();
                    writer.closed().await;
                },
                |_, _, ()| (),
            );
            response.into()
        });
        ctx.route("/panic", RouteOptions::default(), |_, _, _| {
            panic!("asked to")
        });
    }
}

#[test]
fn a_stream_breaks_off_if_its_writer_fails_or_ends_with_its_actor() {
    let check = |target: &str, end: fn(&common::Guard, &libprocess::Pid<Keeper>), rest: &str| {
        let runtime = start(loopback());
        let keeper = runtime.spawn("k", Keeper::default()).unwrap();
        sync(&keeper);
        let mut client = Client::connect(runtime.address());
        client.send(format!(
            "GET {target} HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"
        ));
        client.until("\r\n\r\n");
        assert_eq!(client.chunk().unwrap(), b"piece");
        end(&runtime, &keeper);
        assert_eq!(client.read_to_end(), rest, "{target}");
    };
    let terminate = |runtime: &common::Guard, keeper: &libprocess::Pid<Keeper>| {
        runtime.terminate(keeper.upid());
    };
    check(
        "/k/kept",
        |_, keeper| keeper.dispatch(|keeper, _| keeper.writers.clear()),
        "0\r\n\r\n",
    );
    check(
        "/k/kept",
        |_, keeper| {
            keeper.dispatch(|keeper, _| keeper.writers.pop().unwrap().fail());
        },
        "",
    );
    check("/k/kept", terminate, "");
    check("/k/spawned", terminate, "");
    check(
        "/k/kept",
        |runtime, _| assert_eq!(get(runtime, "/k/panic").code(), 500),
        "",
    );
}

#[test]
fn requests_to_an_actor_that_ends_before_their_turn_are_answered_500() {
    let runtime = start(loopback());
    let keeper = runtime.spawn("k", Keeper::default()).unwrap();
    sync(&keeper);
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (began, begun) = std::sync::mpsc::channel();
    keeper.dispatch(move |_, _| {
        began.send(()).unwrap();
        // Ends when the other side is dropped.
        let _ = held.recv();
    });
    begun.recv_timeout(common::DEADLINE).unwrap();
    let mut client = Client::connect(runtime.address());
    client.send(format!("GET /k/kept HTTP/1.1\r\n{HOST}\r\n"));
    until("the request is queued", || {
        keeper.queued().http_requests == 1
    });
    runtime.terminate(keeper.upid());
    drop(hold);
    let answer = client.response();
    assert_eq!(
        (answer.code(), answer.text().as_str()),
        (500, "500 Internal Server Error.")
    );
}

#[test]
fn a_handler_that_panics_answers_500() {
    let runtime = start(loopback());
    let keeper = runtime.spawn("k", Keeper::default()).unwrap();
    sync(&keeper);
    let mut client = Client::connect(runtime.address());
    client.send(format!("GET /k/panic HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(client.response().code(), 500);
    until("the actor has ended", || !runtime.contains("k"));
    client.send(format!("GET /k/panic HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(client.response().code(), 404);
}
