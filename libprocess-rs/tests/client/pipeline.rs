//! Many requests on one connection, and its end.

use std::time::Duration;

use futures::FutureExt;
use libprocess::client::{ClientConfig, Connection, Disconnect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::block_on;
use crate::fixture::{Fixture, Server, body, connected, get, settle, url};

#[test]
fn requests_are_pipelined_in_order() {
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            let targets: Vec<String> = (0..100).map(|n| format!("/{n}")).collect();
            let responses: Vec<_> = targets.iter().map(|t| connection.send(get(t))).collect();
            // Nothing has been answered yet.
            let lines = server.requests(100).await;
            for (line, target) in lines.iter().zip(&targets) {
                assert_eq!(line, &format!("GET {target}"));
            }
            for target in &targets {
                server.ok(target).await;
            }
            // In any order.
            for (response, target) in responses.into_iter().zip(&targets).rev() {
                assert_eq!(body(response.await), *target);
            }
        },
    );
}

#[test]
fn the_end_of_a_pipeline_fails_what_was_not_answered() {
    let check = |answers: &str, reason: &str| {
        connected(
            ClientConfig::default(),
            |connection, mut server, _| async move {
                let first = connection.send(get("/1"));
                let second = connection.send(get("/2"));
                server.requests(2).await;
                let third = connection.send(get("/3").body(vec![0; 100_000]));
                server.answer(answers).await;
                assert_eq!(body(first.await), "1");
                assert_eq!(body(second.await), format!("GET /2 not answered: {reason}"));
                assert!(body(third.await).ends_with(&format!(": {reason}")));
                let late = connection.send(get("/4"));
                assert_eq!(body(late.await), format!("GET /4 not sent: {reason}"));
                let end = connection.disconnected().await;
                assert_eq!(end.reason.to_string(), reason);
                assert_eq!(end.unanswered, ["GET /2".into(), "GET /3".into()]);
            },
        );
    };
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1",
        "the server closed the connection after an earlier response",
    );
    check(
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1",
        "the server closed the connection after an earlier response",
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1nonsense\r\n\r\n",
        "the server sent a bad response: malformed head",
    );
}

#[test]
fn a_last_request_is_the_last() {
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            let first = connection.send(get("/1"));
            let last = connection.send(get("/2").close());
            let refused = "GET /3 not sent: an earlier request was the last on its connection";
            assert_eq!(body(connection.send(get("/3")).await), refused);
            server.requests(2).await;
            server.ok("1").await;
            server.ok("2").await;
            assert_eq!(body(first.await), "1");
            assert_eq!(body(last.await), "2");
            assert!(server.is_closed().await);
            let end = connection.disconnected().await;
            assert!(matches!(end.reason, Disconnect::LastRequest));
            assert!(end.unanswered.is_empty());
        },
    );
}

#[test]
fn connections_end_in_every_way() {
    let check = |end: fn(Option<Connection>, &mut Option<Server>), expected: &str| {
        connected(
            ClientConfig::default(),
            |connection, server, _| async move {
                let disconnected = connection.disconnected();
                let mut server = Some(server);
                end(Some(connection), &mut server);
                assert_eq!(disconnected.await.reason.to_string(), expected);
                if let Some(server) = &mut server {
                    assert!(server.is_closed().await);
                }
            },
        );
    };
    check(
        |connection, _| connection.unwrap().disconnect(),
        "disconnected on request",
    );
    check(|_, _| (), "the connection was no longer used");
    check(
        |connection, server| {
            server.take();
            std::mem::forget(connection);
        },
        "the server closed the connection",
    );
    check(
        |connection, server| {
            let answer = server.as_mut().unwrap().answer("HTTP/1.1 200 OK\r\n\r\n");
            answer.now_or_never().unwrap();
            std::mem::forget(connection);
        },
        "the server sent unexpected data",
    );
}

#[test]
fn a_dropped_connection_still_gets_its_answers() {
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            let response = connection.send(get("/1"));
            let streamed = connection.stream(get("/2"));
            drop(connection);
            server.requests(2).await;
            server.ok("1").await;
            server.ok("2").await;
            assert_eq!(body(response.await), "1");
            let streamed = streamed.await.unwrap().into_body();
            assert_eq!(streamed.collect(10).await.unwrap(), "2");
            assert!(server.is_closed().await);
        },
    );
}

#[test]
fn dropped_responses_do_not_disturb_others() {
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            drop(connection.send(get("/1")));
            drop(connection.stream(get("/2")));
            let third = connection.stream(get("/3"));
            let fourth = connection.send(get("/4"));
            server.requests(4).await;
            server.ok("1").await;
            server.ok("2").await;
            server
                .answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n3\r\n")
                .await;
            let mut third = third.await.unwrap().into_body();
            assert_eq!(third.next().await.unwrap().unwrap(), "3");
            drop(third);
            server.answer("5\r\nextra\r\n0\r\n\r\n").await;
            server.ok("4").await;
            assert_eq!(body(fourth.await), "4");
            let fifth = connection.send(get("/5"));
            server.requests(1).await;
            server.ok("5").await;
            assert_eq!(body(fifth.await), "5");
        },
    );
}

#[test]
fn an_abandoned_stream_without_end_ends_the_connection() {
    let stream = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    let abandoned = "an earlier response was abandoned";
    // Nothing can come after it: at once.
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            let response = connection.stream(get("/").close());
            server.requests(1).await;
            server.answer(stream).await;
            drop(response.await.unwrap());
            assert!(server.is_closed().await);
            assert_eq!(
                connection.disconnected().await.reason.to_string(),
                abandoned
            );
        },
    );
    // Else when it has taken too long.
    connected(
        ClientConfig::default(),
        |connection, mut server, clock| async move {
            let response = connection.stream(get("/1"));
            server.requests(1).await;
            server.answer(stream).await;
            drop(response.await.unwrap());
            let second = connection.send(get("/2"));
            settle().await;
            server.answer("1\r\ny\r\n").await;
            settle().await;
            clock.advance(Duration::from_secs(5));
            assert_eq!(
                body(second.await),
                format!("GET /2 not answered: {abandoned}")
            );
        },
    );
    // Or too much.
    connected(
        ClientConfig::default(),
        |connection, mut server, _| async move {
            let response = connection.stream(get("/1"));
            server.requests(1).await;
            server.answer(stream).await;
            drop(response.await.unwrap());
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            while server.0.write_all(chunk.as_bytes()).await.is_ok() {}
            assert_eq!(
                connection.disconnected().await.reason.to_string(),
                abandoned
            );
        },
    );
}

#[test]
fn timeouts_follow_the_clock() {
    let config = ClientConfig {
        response_timeout: Some(Duration::from_secs(60)),
        idle_timeout: Some(Duration::from_secs(10)),
        ..ClientConfig::default()
    };
    let second = Duration::from_secs(1);
    let stream = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    connected(config.clone(), |connection, mut server, clock| async move {
        let first = connection.send(get("/1"));
        let other = connection.send(get("/2").response_timeout(20 * second));
        server.requests(2).await;
        settle().await;
        clock.advance(59 * second);
        settle().await;
        server.ok("1").await;
        assert_eq!(body(first.await), "1");
        settle().await;
        clock.advance(20 * second);
        assert_eq!(
            body(other.await),
            "GET /2 not answered: no response within 20s"
        );
    });
    connected(config.clone(), |connection, mut server, clock| async move {
        // The time for the response begins when the request is complete.
        let (request, writer) = get("/").pipe();
        let response = connection.send(request);
        settle().await;
        clock.advance(100 * second);
        settle().await;
        drop(writer);
        server.until("0\r\n\r\n").await;
        server.ok("done").await;
        assert_eq!(body(response.await), "done");
        settle().await;
        clock.advance(100 * second);
        // Nothing is due, so nothing is late.
        let response = connection.send(get("/"));
        server.requests(1).await;
        server.ok("again").await;
        assert_eq!(body(response.await), "again");
    });
    connected(config, |connection, mut server, clock| async move {
        let response = connection.stream(get("/"));
        server.requests(1).await;
        server.answer(stream).await;
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.next().await.unwrap().unwrap(), "x");
        for _ in 0..3 {
            settle().await;
            clock.advance(9 * second);
            server.answer("1\r\ny\r\n").await;
            assert_eq!(body.next().await.unwrap().unwrap(), "y");
        }
        settle().await;
        clock.advance(10 * second);
        let error = body.next().await.unwrap().unwrap_err().to_string();
        let expected = "the response to GET / broke off: no progress of a response for 10s";
        assert_eq!(error, expected);
        assert!(body.next().await.is_none());
    });
}

#[test]
fn a_server_that_does_not_take_a_request_is_not_waited_for() {
    let second = Duration::from_secs(1);
    let config = ClientConfig {
        response_timeout: Some(60 * second),
        ..ClientConfig::default()
    };
    let large = || get("/large").body(vec![b'x'; 1_000_000]);
    connected(config.clone(), |connection, server, clock| async move {
        let _unread = server;
        let response = connection.send(large());
        settle().await;
        clock.advance(59 * second);
        settle().await;
        assert_eq!(connection.disconnected().now_or_never().map(|_| ()), None);
        clock.advance(second);
        let expected = "GET /large not answered: no response within 60s";
        assert_eq!(body(response.await), expected);
    });
    connected(config.clone(), |connection, server, clock| async move {
        let _unread = server;
        let (request, writer) = get("/piped").pipe();
        let response = connection.send(request.response_timeout(5 * second));
        settle().await;
        // The caller may take any time.
        clock.advance(100 * second);
        settle().await;
        writer.write(vec![b'x'; 1_000_000]).unwrap();
        settle().await;
        clock.advance(5 * second);
        let expected = "GET /piped not answered: no response within 5s";
        assert_eq!(body(response.await), expected);
    });
    // As long as it takes something, or is busy with another response, it has time.
    connected(config, |connection, mut server, clock| async move {
        let first = connection.stream(get("/1"));
        let response = connection.send(large());
        server.requests(1).await;
        server
            .answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            .await;
        let first = first.await.unwrap().into_body();
        settle().await;
        clock.advance(100 * second);
        settle().await;
        server.answer("0\r\n\r\n").await;
        assert_eq!(first.collect(1).await.unwrap(), "x");
        server.requests(1).await;
        let mut part = vec![0; 100_000];
        for _ in 0..10 {
            settle().await;
            clock.advance(50 * second);
            settle().await;
            server.0.read_exact(&mut part).await.unwrap();
        }
        server.ok("done").await;
        assert_eq!(body(response.await), "done");
    });
}

#[test]
fn a_connection_that_nobody_waits_for_ends() {
    let check = |leave: fn(Connection), expected: &str| {
        connected(
            ClientConfig {
                response_timeout: None,
                ..ClientConfig::default()
            },
            |connection, mut server, _| async move {
                let disconnected = connection.disconnected();
                leave(connection);
                assert!(server.is_closed().await);
                assert_eq!(disconnected.await.reason.to_string(), expected);
            },
        );
    };
    let abandoned = "an earlier response was abandoned";
    check(
        |connection| {
            let response = connection.send(get("/"));
            drop(connection);
            drop(response);
        },
        abandoned,
    );
    check(
        |connection| {
            drop((connection.send(get("/1")), connection.stream(get("/2"))));
        },
        abandoned,
    );
    block_on(async {
        let mut fixture = Fixture::new(ClientConfig::default());
        let url = url();
        let mut response = Box::pin(fixture.client.get(&url));
        let mut server = loop {
            assert!(futures::poll!(&mut response).is_pending());
            settle().await;
            if let Ok((_, stream)) = fixture.servers.try_recv() {
                break Server(stream);
            }
        };
        assert!(futures::poll!(&mut response).is_pending());
        server.requests(1).await;
        drop(response);
        assert!(server.is_closed().await);
    });
}
