//! Files: parts of them, and answers that depend on what the client has already.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, SystemTime};

use common::{Answer, Client, loopback, start, sync};
use libprocess::{Context, Process, Response, RouteOptions, Runtime};

const HOST: &str = "Host: x\r\n";

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

struct Downloads {
    directory: std::path::PathBuf,
}

impl Process for Downloads {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.provide("files", self.directory.clone());
        ctx.route("/tagged", RouteOptions::default(), |_, _, _| {
            let text = "x".repeat(2000);
            let response = Response::text(http::StatusCode::OK, text);
            response.header("ETag", "\"v1\"").into()
        });
        ctx.route("/failed", RouteOptions::default(), |_, _, _| {
            let status = http::StatusCode::INTERNAL_SERVER_ERROR;
            Response::status(status).header("ETag", "\"v1\"").into()
        });
    }
}

struct Fixture {
    runtime: common::Guard,
    directory: tempfile::TempDir,
}

fn downloads() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let digits = directory.path().join("digits.txt");
    std::fs::write(&digits, "0123456789").unwrap();
    let file = std::fs::File::options().write(true).open(&digits).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    file.set_modified(time).unwrap();
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(directory.path().join("large"), large).unwrap();
    std::fs::write(directory.path().join("empty"), "").unwrap();
    let runtime = start(loopback());
    let process = Downloads {
        directory: directory.path().to_owned(),
    };
    sync(&runtime.spawn("d", process).unwrap());
    Fixture { runtime, directory }
}

fn fetch(runtime: &Runtime, target: &str, headers: &str) -> Answer {
    let mut client = Client::connect(runtime.address());
    client.send(format!("GET {target} HTTP/1.1\r\n{HOST}{headers}\r\n"));
    let answer = client.response();
    // The connection is in order after whatever it was.
    client.send(format!("GET /d/files/empty HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(client.response().code(), 200, "after {target} {headers}");
    answer
}

#[test]
fn files_say_what_they_are() {
    let Fixture {
        runtime,
        directory: _directory,
    } = downloads();
    let answer = fetch(&runtime, "/d/files/digits.txt", "");
    assert_eq!(answer.header("last-modified"), Some(DATE));
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert!(answer.header("etag").unwrap().starts_with('"'));
}

#[test]
fn one_range() {
    let Fixture {
        runtime,
        directory: _directory,
    } = downloads();
    let check = |range: &str, expected: Option<(&str, &str)>| {
        let headers = format!("Range: {range}\r\n");
        let answer = fetch(&runtime, "/d/files/digits.txt", &headers);
        let (code, body) = match expected {
            Some((_, body)) => (206, body),
            None => (200, "0123456789"),
        };
        assert_eq!((answer.code(), answer.text().as_str()), (code, body));
        let content_range = expected.map(|(range, _)| range);
        assert_eq!(answer.header("content-range"), content_range, "{range}");
        let length = body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(length.as_str()));
    };
    check("bytes=2-4", Some(("bytes 2-4/10", "234")));
    check("bytes=7-", Some(("bytes 7-9/10", "789")));
    check("bytes=-2", Some(("bytes 8-9/10", "89")));
    check("bytes=0-99", Some(("bytes 0-9/10", "0123456789")));
    check("lines=1-2", None);
    check("bytes=4-2", None);
}

#[test]
fn ranges_that_the_file_does_not_have() {
    let Fixture {
        runtime,
        directory: _directory,
    } = downloads();
    let answer = fetch(&runtime, "/d/files/digits.txt", "Range: bytes=10-\r\n");
    assert_eq!(answer.code(), 416);
    assert_eq!(answer.header("content-range"), Some("bytes */10"));
    assert_eq!(answer.text(), "416 Requested range not satisfiable.");
    let answer = fetch(&runtime, "/d/files/empty", "Range: bytes=0-\r\n");
    assert_eq!(answer.code(), 416);
}

#[test]
fn several_ranges() {
    let Fixture {
        runtime,
        directory: _directory,
    } = downloads();
    let headers = "Range: bytes=0-1, -2,4-4\r\n";
    let answer = fetch(&runtime, "/d/files/digits.txt", headers);
    assert_eq!(answer.code(), 206);
    let content_type = answer.header("content-type").unwrap();
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary.unwrap();
    let part = |range: &str, body: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{body}"
        )
    };
    let expected = [
        part("0-1", "01"),
        part("8-9", "89"),
        part("4-4", "4"),
        format!("\r\n--{boundary}--\r\n"),
    ];
    assert_eq!(answer.text(), expected.concat());
}

#[test]
fn a_range_of_a_large_file() {
    let Fixture {
        runtime,
        directory: _directory,
    } = downloads();
    let headers = "Range: bytes=100000-249999\r\n";
    let answer = fetch(&runtime, "/d/files/large", headers);
    assert_eq!(answer.code(), 206);
    let expected: Vec<u8> = (100_000..250_000_u32).map(|n| (n % 251) as u8).collect();
    assert!(answer.body == expected);
}

#[test]
fn conditions() {
    let Fixture { runtime, directory } = downloads();
    let tag = |runtime: &Runtime| {
        let answer = fetch(runtime, "/d/files/digits.txt", "");
        answer.header("etag").unwrap().to_owned()
    };
    let known = tag(&runtime);
    let check = |headers: &str, code: u16, body: &str| {
        let answer = fetch(&runtime, "/d/files/digits.txt", headers);
        let found = (answer.code(), answer.text());
        assert_eq!(found, (code, body.to_owned()), "{headers}");
        if code == 304 {
            assert_eq!(answer.header("etag"), Some(known.as_str()));
            assert_eq!(answer.header("content-length"), None);
            assert_eq!(answer.header("transfer-encoding"), None);
            assert_eq!(answer.header("content-type"), None);
        }
    };
    let all = "0123456789";
    check(&format!("If-None-Match: {known}\r\n"), 304, "");
    check("If-None-Match: \"other\"\r\n", 200, all);
    check(&format!("If-Modified-Since: {DATE}\r\n"), 304, "");
    check(
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n",
        200,
        all,
    );
    check("If-Match: \"other\"\r\n", 412, "412 Precondition Failed.");
    check(
        &format!("If-Range: {known}\r\nRange: bytes=1-2\r\n"),
        206,
        "12",
    );
    check("If-Range: \"other\"\r\nRange: bytes=1-2\r\n", 200, all);
    check(
        &format!("If-None-Match: {known}\r\nRange: bytes=1-2\r\n"),
        304,
        "",
    );
    std::fs::write(directory.path().join("digits.txt"), "other").unwrap();
    assert_ne!(tag(&runtime), known);
}

#[test]
fn conditions_on_what_a_handler_tags() {
    let Fixture {
        runtime,
        directory: _directory,
    } = downloads();
    let condition = "If-None-Match: \"v1\"\r\n";
    let answer = fetch(&runtime, "/d/tagged", condition);
    assert_eq!((answer.code(), answer.text().as_str()), (304, ""));
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
    let gzip = format!("{condition}Accept-Encoding: gzip\r\n");
    assert_eq!(fetch(&runtime, "/d/tagged", &gzip).code(), 304);
    let answer = fetch(&runtime, "/d/tagged", "Range: bytes=0-1\r\n");
    assert_eq!(answer.code(), 200);
    assert_eq!(fetch(&runtime, "/d/failed", condition).code(), 500);
}

#[test]
fn head_of_a_file() {
    let Fixture {
        runtime,
        directory: _directory,
    } = downloads();
    let mut client = Client::connect(runtime.address());
    let head = format!("HEAD /d/files/digits.txt HTTP/1.1\r\n{HOST}");
    client.send(format!("{head}Range: bytes=0-1\r\n\r\n"));
    let answer = client.response_to("HEAD");
    assert_eq!(answer.code(), 200);
    assert_eq!(answer.header("content-length"), Some("10"));
    assert_eq!(answer.header("last-modified"), Some(DATE));
    client.send(format!("{head}If-Modified-Since: {DATE}\r\n\r\n"));
    assert_eq!(client.response_to("HEAD").code(), 304);
    client.send(format!("GET /d/files/empty HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(client.response().code(), 200);
}

#[test]
fn what_is_no_file_or_cannot_be_read() {
    let Fixture { runtime, directory } = downloads();
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("folder")).unwrap();
    // Opening it for reading would wait for a writer.
    nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("loop", path("loop")).unwrap();
    let check = |name: &str, code: u16| {
        let answer = fetch(&runtime, &format!("/d/files/{name}"), "");
        assert_eq!(answer.code(), code, "{name}");
    };
    check("missing", 404);
    check("digits.txt/below", 404);
    check("folder", 404);
    check("pipe", 404);
    check("loop", 500);
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_breaks_off() {
    // More than the buffers of a connection hold.
    const LENGTH: u64 = 64 * 1024 * 1024;
    let Fixture { runtime, directory } = downloads();
    let file = std::fs::File::create(directory.path().join("shrinking")).unwrap();
    file.set_len(LENGTH).unwrap();
    let mut client = Client::connect(runtime.address());
    client.send(format!("GET /d/files/shrinking HTTP/1.1\r\n{HOST}\r\n"));
    let head = client.until("\r\n\r\n").to_ascii_lowercase();
    assert!(
        head.contains(&format!("content-length: {LENGTH}\r\n")),
        "{head}"
    );
    file.set_len(1).unwrap();
    assert!((client.read_to_end().len() as u64) < LENGTH);
}
