//! A client over pipes in memory, on a paused clock, and the far ends of its connections.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use libprocess::client::{Client, ClientConfig, Connection, Error, Request, Url};
use libprocess::{BoxFuture, ByteStream, Clock, Listener, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::common::block_on;

/// What fits between client and server.
pub(crate) const PIPE_BYTES: usize = 64 * 1024;

/// Hands the far end of each connection to the test.
pub(crate) struct Pipes(mpsc::UnboundedSender<(SocketAddr, DuplexStream)>);

impl Transport for Pipes {
    fn bind(&self, _: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<io::Result<Box<dyn ByteStream>>> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let connected = match self.0.send((to, far)) {
            Ok(()) => Ok(Box::new(near) as Box<dyn ByteStream>),
            Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
        };
        Box::pin(async { connected })
    }
}

/// The server's end of a connection.
pub(crate) struct Server(pub(crate) DuplexStream);

impl Server {
    /// Waits for so many requests without bodies and gives their first lines.
    pub(crate) async fn requests(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            let head = self.until("\r\n\r\n").await;
            lines.push(head.lines().next().unwrap().replace(" HTTP/1.1", ""));
        }
        lines
    }

    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            text.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    pub(crate) async fn answer(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    pub(crate) async fn ok(&mut self, body: &str) {
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        self.answer(answer).await;
    }

    /// True if the client has closed.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.is_ok()
    }
}

pub(crate) struct Fixture {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) servers: mpsc::UnboundedReceiver<(SocketAddr, DuplexStream)>,
}

pub(crate) fn url() -> Url {
    "http://10.0.0.1:80/x".parse().unwrap()
}

pub(crate) fn get(target: &str) -> Request {
    Request::get(&url().at(target).unwrap())
}

impl Fixture {
    pub(crate) fn new(config: ClientConfig) -> Self {
        let (sender, servers) = mpsc::unbounded_channel();
        let clock = Clock::paused();
        let client = Client::standalone(Arc::new(Pipes(sender)), clock.clone());
        Self {
            client: client.with_config(config),
            clock,
            servers,
        }
    }

    pub(crate) async fn server(&mut self) -> Server {
        Server(self.servers.recv().await.unwrap().1)
    }

    pub(crate) async fn connect(&mut self) -> (Connection, Server) {
        let connection = self.client.connect(&url()).await.unwrap();
        (connection, self.server().await)
    }
}

/// Runs a test on a connection.
pub(crate) fn connected<F: Future<Output = ()>>(
    config: ClientConfig,
    test: impl FnOnce(Connection, Server, Clock) -> F,
) {
    block_on(async {
        let mut fixture = Fixture::new(config);
        let (connection, server) = fixture.connect().await;
        test(connection, server, fixture.clock.clone()).await;
    });
}

/// Lets the tasks of the client do all they can.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn body(response: Result<http::Response<Bytes>, Error>) -> String {
    match response {
        Ok(response) => String::from_utf8(response.into_body().to_vec()).unwrap(),
        Err(error) => error.to_string(),
    }
}
