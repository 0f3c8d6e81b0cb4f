//! What is sent, and what is not.

use futures::stream;
use libprocess::client::{ClientConfig, Request};
use tokio::io::AsyncReadExt;

use crate::common::block_on;
use crate::fixture::{Fixture, Server, body, connected, get, settle};

#[test]
fn one_request() {
    let check = |request: Request, expected: &str| {
        block_on(async {
            let mut fixture = Fixture::new(ClientConfig::default());
            let serve = async {
                let mut server = Server(fixture.servers.recv().await.unwrap().1);
                assert_eq!(server.until("\r\n\r\n").await, expected);
                server.ok("hello").await;
                assert!(server.is_closed().await);
            };
            let client = fixture.client.clone();
            let (response, ()) = futures::join!(client.request(request), serve);
            assert_eq!(body(response), "hello");
        });
    };
    check(
        get("/x?y=z"),
        "GET /x?y=z HTTP/1.1\r\nHost: 10.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    check(
        Request::delete(&"http://[::1]:5050".parse().unwrap()),
        "DELETE / HTTP/1.1\r\nHost: [::1]:5050\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    check(
        Request::post(&"http://localhost:5050/x".parse().unwrap(), "").header("X-Y", "z"),
        "POST /x HTTP/1.1\r\nHost: localhost:5050\r\nx-y: z\r\nConnection: close\r\n\
         Content-Length: 0\r\n\r\n",
    );
}

#[test]
fn too_many_requests_are_refused() {
    let config = ClientConfig {
        max_pipelined: 2,
        ..ClientConfig::default()
    };
    connected(config, |connection, mut server, _| async move {
        let first = connection.send(get("/1"));
        let _second = connection.send(get("/2"));
        let third = connection.send(get("/3"));
        let busy = "GET /3 not sent: too many requests wait on the connection";
        assert_eq!(body(third.await), busy);
        server.requests(2).await;
        server.ok("1").await;
        assert_eq!(body(first.await), "1");
        settle().await;
        let fourth = connection.send(get("/4"));
        server.requests(1).await;
        server.ok("2").await;
        server.ok("4").await;
        assert_eq!(body(fourth.await), "4");
    });
    let config = ClientConfig {
        max_queue_bytes: 100_000,
        ..ClientConfig::default()
    };
    connected(config, |connection, _server, _| async move {
        let _first = connection.send(get("/1").body(vec![0; 200_000]));
        let second = connection.send(get("/2"));
        assert!(body(second.await).starts_with("GET /2 not sent: too many"));
    });
    connected(
        ClientConfig::default(),
        |connection, _server, _| async move {
            let invalid = connection.send(get("/").header("Transfer-Encoding", "chunked"));
            let expected = "GET / not sent: header 'transfer-encoding' is set by the client";
            assert_eq!(body(invalid.await), expected);
        },
    );
}

#[test]
fn bodies_are_sent_piece_by_piece() {
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            let (request, writer) = get("/1").pipe();
            let first = connection.send(request);
            let second = connection.send(get("/2").body("x".repeat(20_000)));
            let head = server.until("\r\n\r\n").await;
            assert!(
                head.ends_with("\r\nTransfer-Encoding: chunked\r\n\r\n"),
                "{head}"
            );
            writer.write("hello").unwrap();
            assert_eq!(server.until("hello\r\n").await, "5\r\nhello\r\n");
            // The response may begin before the request is complete.
            server.ok("1").await;
            assert_eq!(body(first.await), "1");
            writer.write(vec![b'y'; 0x12345]).unwrap();
            drop(writer);
            let rest = server.until("0\r\n\r\n").await;
            assert!(rest.starts_with("12345\r\nyyy"));
            assert_eq!(server.requests(1).await, ["GET /2"]);
            assert_eq!(server.until("x").await.len(), 1);
            let mut large = vec![0; 19_999];
            server.0.read_exact(&mut large).await.unwrap();
            server.ok("2").await;
            assert_eq!(body(second.await), "2");
        },
    );
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            let pieces = stream::iter([Ok("a"), Ok(""), Err("the disk is full")]);
            let response = connection.send(get("/").stream(pieces));
            let text = server.until("a\r\n").await;
            assert!(text.ends_with("\r\n\r\n1\r\na\r\n"));
            let expected = "GET / not answered: the body of a request failed: the disk is full";
            assert_eq!(body(response.await), expected);
            // Without the last chunk, so that the server knows.
            let mut rest = String::new();
            server.0.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "");
        },
    );
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            let (request, writer) = get("/").pipe();
            let response = connection.send(request);
            writer.write("a").unwrap();
            writer.fail();
            let mut text = String::new();
            server.0.read_to_string(&mut text).await.unwrap();
            assert!(text.ends_with("\r\n\r\n1\r\na\r\n"), "{text}");
            let expected = "GET / not answered: the body of a request failed: the writer of the stream gave up";
            assert_eq!(body(response.await), expected);
        },
    );
}

#[test]
fn an_early_answer_is_heard_though_the_rest_cannot_be_sent() {
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            let response = connection.send(get("/").body(vec![0; 1_000_000]));
            server.requests(1).await;
            server
                .answer("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
                .await;
            drop(server);
            let response = response.await.unwrap();
            assert_eq!(response.status(), 413);
            assert_eq!(response.body(), "no");
            let late = connection.send(get("/2"));
            assert!(body(late.await).starts_with("GET /2 not sent: "));
        },
    );
}
