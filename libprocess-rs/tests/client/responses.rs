//! What becomes of responses, good and bad.

use std::fmt::Write as _;
use std::io::Write as _;

use futures::FutureExt;
use http::Method;
use libprocess::client::{ClientConfig, Request};
use tokio::io::AsyncWriteExt;

use crate::fixture::{body, connected, get, settle, url};

/// What becomes of one GET if the server answers `answer` and closes, in short and as a stream.
fn check_answer(answer: &str, expected: &str) {
    check_answer_to(get("/x"), get("/x"), answer, expected);
}

fn check_answer_to(whole: Request, streamed: Request, answer: &str, expected: &str) {
    let limits = || ClientConfig {
        max_head_bytes: 200,
        max_body_bytes: 1000,
        ..ClientConfig::default()
    };
    connected(limits(), |connection, mut server, _| async move {
        let response = connection.send(whole);
        server.requests(1).await;
        server.answer(answer).await;
        drop(server);
        let shown = match response.await {
            Ok(response) => {
                let status = response.status().as_u16();
                format!("{status} {}", String::from_utf8_lossy(response.body()))
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{answer:?}");
    });
    connected(limits(), |connection, mut server, _| async move {
        let response = connection.stream(streamed);
        server.requests(1).await;
        for byte in answer.bytes() {
            // The client may have heard enough.
            let _ = server.0.write_all(&[byte]).await;
            tokio::task::yield_now().await;
        }
        drop(server);
        let shown = match response.await {
            Ok(response) => {
                let status = response.status().as_u16();
                match response.into_body().collect(1000).await {
                    Ok(body) => format!("{status} {}", String::from_utf8_lossy(&body)),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{answer:?} as a stream");
    });
}

#[test]
fn framings() {
    let check = |head: &str, body: &str, expected: &str| {
        check_answer(&format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}"), expected);
    };
    check("Content-Length: 5\r\n", "hello", "200 hello");
    check("Content-Length: 0\r\n", "", "200 ");
    check("", "hello", "200 hello");
    check("", "", "200 ");
    let chunked = "Transfer-Encoding: chunked\r\n";
    check(
        chunked,
        "5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
        "200 hello!",
    );
    check(chunked, "0\r\nX: y\r\n\r\n", "200 ");
    check_answer(
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        "204 ",
    );
    check_answer("HTTP/1.1 304 Not Modified\r\n\r\n", "304 ");
    check_answer(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!",
        "200 !",
    );
    check_answer("HTTP/1.0 404\r\n\r\nnot here", "404 not here");
    let head = || Request::new(Method::HEAD, &url());
    check_answer_to(
        head(),
        head(),
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "200 ",
    );
}

#[test]
fn broken_answers() {
    let not_answered = |answer: &str, reason: &str| {
        check_answer(answer, &format!("GET /x not answered: {reason}"));
    };
    not_answered("", "the server closed the connection");
    let bad = "the server sent a bad response";
    not_answered(
        "HTTP/1.1 200 OK\r\nX: y\r\n",
        &format!("{bad}: incomplete head"),
    );
    not_answered(
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        &format!("{bad}: malformed head"),
    );
    not_answered(&"x".repeat(201), &format!("{bad}: head too large"));
    not_answered(
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        &format!("{bad}: it switches the protocol"),
    );
    not_answered(
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        &format!("{bad}: malformed content length"),
    );
    not_answered(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        &format!("{bad}: both chunked and content length"),
    );
    let broke_off = |answer: &str, reason: &str| {
        check_answer(
            answer,
            &format!("the response to GET /x broke off: {reason}"),
        );
    };
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    broke_off(length, "the server closed the connection");
    broke_off(&format!("{length}hell"), "the server closed the connection");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    broke_off(
        &format!("{chunked}5\r\nhello\r\n0\r\n"),
        "the server closed the connection",
    );
    broke_off(
        &format!("{chunked}5\r\nhelloX"),
        &format!("{bad}: malformed chunk end"),
    );
    broke_off(
        &format!("{chunked}x\r\n"),
        &format!("{bad}: malformed chunk size"),
    );
    let many = "x".repeat(1001);
    let too_large = "the response to GET /x has a body of more than 1000 bytes";
    check_answer(
        &format!("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n{many}"),
        too_large,
    );
    check_answer(
        &format!(
            "{chunked}258\r\n{}\r\n258\r\n{}\r\n0\r\n\r\n",
            &many[..600],
            &many[..600]
        ),
        too_large,
    );
    check_answer(&format!("HTTP/1.1 200 OK\r\n\r\n{many}"), too_large);
}

#[test]
fn a_slow_reader_slows_the_server() {
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            let response = connection.stream(get("/"));
            server.requests(1).await;
            server.answer("HTTP/1.1 200 OK\r\n\r\n").await;
            let mut body = response.await.unwrap().into_body();
            let (mut sent, piece) = (0, [b'x'; 1000]);
            loop {
                settle().await;
                match server.0.write(&piece).now_or_never() {
                    Some(written) => sent += written.unwrap(),
                    None => break,
                }
            }
            // The pipe, sixteen pieces and two buffers.
            assert!(sent < 1_000_000, "{sent} bytes sent that nobody reads");
            let mut received = body.next().await.unwrap().unwrap().len();
            settle().await;
            sent += server.0.write(&piece).await.unwrap();
            drop(server);
            while let Some(piece) = body.next().await {
                received += piece.unwrap().len();
            }
            assert_eq!(received, sent);
        },
    );
}

#[test]
fn gzip_only_if_asked_for() {
    let plain: String = (0..10_000).fold(String::new(), |mut text, n| {
        write!(text, "{n} ").unwrap();
        text
    });
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let answer = |packed: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            packed.len()
        );
        [head.as_bytes(), packed].concat()
    };
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            let whole = connection.send(get("/1").accept_gzip());
            let streamed = connection.stream(get("/2").accept_gzip());
            let unasked = connection.send(get("/3"));
            let plain_answer = connection.send(get("/4").accept_gzip());
            let small = connection.send(get("/5").accept_gzip().max_body_bytes(100));
            let truncated = connection.stream(get("/6").accept_gzip());
            let broken = connection.send(get("/7").accept_gzip());
            let head = server.until("\r\n\r\n").await;
            assert!(head.contains("\r\nAccept-Encoding: gzip\r\n"));
            server.requests(6).await;
            server.answer(answer(&packed)).await;
            server.answer(answer(&packed)).await;
            server.answer(answer(&packed)).await;
            server.ok("plain").await;
            let whole = whole.await.unwrap();
            // They are those of the compressed body.
            assert_eq!(whole.headers().get("content-encoding"), None);
            assert_eq!(whole.headers().get("content-length"), None);
            assert_eq!(whole.body(), plain.as_bytes());
            let streamed = streamed.await.unwrap();
            assert_eq!(streamed.headers().get("content-length"), None);
            let streamed = streamed.into_body();
            assert_eq!(streamed.collect(plain.len()).await.unwrap(), plain);
            let unasked = unasked.await.unwrap();
            assert!(unasked.headers().contains_key("content-length"));
            assert_eq!(unasked.headers()["content-encoding"], "gzip");
            assert_eq!(unasked.body(), &packed);
            assert_eq!(body(plain_answer.await), "plain");

            let tiny = answer(&packed[..90]);
            server.answer(&tiny).await;
            let not_gzip = "the response to GET /5 has a body that is not gzip";
            assert_eq!(body(small.await), not_gzip);
            server.answer(&tiny).await;
            server.answer(answer(b"nonsense")).await;
            let truncated = truncated.await.unwrap().into_body();
            let error = truncated.collect(plain.len()).await.unwrap_err();
            let not_gzip = "the response to GET /6 has a body that is not gzip";
            assert_eq!(error.to_string(), not_gzip);
            let not_gzip = "the response to GET /7 has a body that is not gzip";
            assert_eq!(body(broken.await), not_gzip);
        },
    );
}

#[test]
fn large_compressed_bodies_are_decompressed_up_to_the_limit() {
    // What does not get smaller is large when compressed, too.
    let plain: Vec<u8> = (0..40_000_u64)
        .flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20).to_le_bytes())
        .collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&plain).unwrap();
    let packed = encoder.finish().unwrap();
    assert!(packed.len() > 64 * 1024);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: GZIP\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    );
    let answer = [head.as_bytes(), &packed].concat();
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            let limited = |limit| get("/").accept_gzip().max_body_bytes(limit);
            let whole = connection.send(limited(plain.len()));
            server.requests(1).await;
            let (whole, ()) = futures::join!(whole, server.answer(&answer));
            assert!(whole.unwrap().body() == &plain);
            let small = connection.send(limited(plain.len() - 1));
            server.requests(1).await;
            let (small, ()) = futures::join!(small, server.answer(&answer));
            let expected = "the response to GET / has a body of more than 319999 bytes";
            assert_eq!(body(small), expected);
        },
    );
}
