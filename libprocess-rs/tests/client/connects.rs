//! How connections are made.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use libprocess::client::{Client, Url};
use libprocess::{BoxFuture, ByteStream, Clock, Listener, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::block_on;
use crate::fixture::{body, settle, url};

/// Never connects.
struct Nowhere;

impl Transport for Nowhere {
    fn bind(&self, _: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect(&self, _: SocketAddr) -> BoxFuture<io::Result<Box<dyn ByteStream>>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn failed_connects_say_where_to() {
    block_on(async {
        let clock = Clock::paused();
        let client = Client::standalone(Arc::new(Nowhere), clock.clone());
        let url: Url = "http://10.0.0.1:5050/x".parse().unwrap();
        let mut response = Box::pin(client.get(&url));
        assert!(futures::poll!(&mut response).is_pending());
        settle().await;
        clock.advance(Duration::from_secs(10));
        let timed_out = "failed to connect to http://10.0.0.1:5050: no connection within 10s";
        assert_eq!(body(response.await), timed_out);

        let tls: Url = "https://host/x".parse().unwrap();
        let unsupported = "failed to connect to https://host: the client is not set up for TLS";
        assert_eq!(body(client.get(&tls).await), unsupported);
        let missing: Url = "http+unix://%2Fno%2Fsocket/x".parse().unwrap();
        assert!(body(client.get(&missing).await).starts_with("failed to connect to http+unix://"));
    });
    let client = Client::standalone(Arc::new(Nowhere), Clock::system());
    let url = url();
    let outside = client.get(&url).now_or_never().unwrap();
    assert_eq!(
        body(outside),
        "no runtime for the connection to http://10.0.0.1"
    );
}

#[test]
fn unix_domain_sockets() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a socket");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let escaped = libprocess::client::percent_encode(path.to_str().unwrap());
        let url: Url = format!("http+unix://{escaped}/state?x").parse().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let expected = "GET /state?x HTTP/1.1\r\nHost: localhost\r\n";
            let mut head = vec![0; expected.len()];
            stream.read_exact(&mut head).await.unwrap();
            assert_eq!(String::from_utf8(head).unwrap(), expected);
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let client = Client::standalone(Arc::new(Nowhere), Clock::system());
        let (response, ()) = futures::join!(client.get(&url), serve);
        assert_eq!(body(response), "hi");
    });
}
