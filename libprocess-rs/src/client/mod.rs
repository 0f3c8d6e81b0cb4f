//! An HTTP client: keep-alive, pipelining, bodies as streams both ways.
//!
//! [`Client`] makes single requests, each on a connection of its own, or [connects](Client::connect). On a [`Connection`]
//! requests are sent in the order in which they are made, without waiting for responses, which come back in the same order.
//! Bodies that are long or never end, such as recordio streams of events, are written by [`Request::stream`] and
//! [`Request::pipe`] and read by [`Connection::stream`] and [`Client::stream`].
//!
//! Responses are those of the `http` crate: `Response<Bytes>` with the whole body or `Response<Body>` with a [`Body`] to read.
//!
//! ```
//! # use libprocess::{Runtime, RuntimeConfig};
//! # use libprocess::client::{Client, Request, Url};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Runtime::start(RuntimeConfig::loopback())?;
//! let client = Client::new(&runtime);
//! let url: Url = format!("http://{}/system/stats.json", runtime.address()).parse()?;
//!
//! let response = client.get(&url).await?;
//! println!("{} {:?}", response.status(), response.body());
//!
//! let connection = client.connect(&url).await?;
//! let first = connection.send(Request::get(&url));
//! let second = connection.send(Request::get(&url.at("/metrics/snapshot")?));
//! println!("{} {}", first.await?.status(), second.await?.status());
//! # runtime.shutdown();
//! # Ok(())
//! # }
//! ```
//!
//! There are no redirects, proxies, cookies or pools of connections. Upstream: `3rdparty/libprocess/src/http.cpp`, which has
//! none either.

mod body;
mod connect;
mod connection;
mod driver;
mod error;
mod exchange;
mod inflate;
mod request;
mod sink;
mod url;

pub use body::Body;
pub use connection::Connection;
pub use error::{Disconnect, Disconnected, EnvironmentError, Error};
pub use request::Request;
pub use url::{Endpoint, Url, UrlError, percent_encode};

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::sync::oneshot;

use crate::network::{Tls, Transport};
use crate::runtime::Tally;
use crate::{Clock, Counter, Metrics, Runtime, RuntimeConfig, TlsConfig, TlsError, runtime};
use connect::Dialer;
use exchange::Shared;

/// How long a connect may take.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may think.
const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Status line and headers of a response may be this long, as those of a request.
const DEFAULT_MAX_HEAD_BYTES: usize = 80 * 1024;

/// A body that is not read as a stream; the state of the largest clusters is smaller.
const DEFAULT_MAX_BODY_BYTES: usize = 1024 * 1024 * 1024;

/// Requests without a complete response on one connection.
const DEFAULT_MAX_PIPELINED: usize = 16 * 1024;

/// Bytes that may wait to be sent on one connection. A single request may be larger.
const DEFAULT_MAX_QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// Settings of a [`Client`]. All times are those of its clock.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// How long a connect may take, with name lookup and TLS handshake; default 10 s. If a host has several addresses, those that
    /// do not answer share it with those behind them.
    pub connect_timeout: Duration,
    /// How long a response may take to begin, from when the request has been sent and those before it are answered; default
    /// 60 s. As long may the server take nothing of a request. Then the connection ends, for no later response can come on it.
    /// `None` waits forever.
    pub response_timeout: Option<Duration>,
    /// How long the body of a response may make no progress; default `None`, which waits forever, as a stream of events needs.
    /// Time in which the reader of a stream keeps the server waiting does not count.
    pub idle_timeout: Option<Duration>,
    /// The largest accepted status line with headers, in bytes; default 80 KiB.
    pub max_head_bytes: usize,
    /// The largest accepted body, in bytes, if it is not read as a stream; default 1 GiB.
    pub max_body_bytes: usize,
    /// This many requests may wait for their responses on one connection; default 16,384.
    pub max_pipelined: usize,
    /// When this many bytes wait to be sent on one connection, further requests are refused; default 64 MiB.
    pub max_queue_bytes: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            response_timeout: Some(DEFAULT_RESPONSE_TIMEOUT),
            idle_timeout: None,
            max_head_bytes: DEFAULT_MAX_HEAD_BYTES,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_pipelined: DEFAULT_MAX_PIPELINED,
            max_queue_bytes: DEFAULT_MAX_QUEUE_BYTES,
        }
    }
}

/// Makes HTTP requests. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Client {
    dialer: Dialer,
    clock: Clock,
    config: Arc<ClientConfig>,
    counters: Counters,
    threads: Threads,
}

/// Where connections are served.
#[derive(Clone)]
enum Threads {
    /// On the network threads of a runtime, in turn.
    Runtime(Arc<runtime::Inner>),
    /// On the tokio runtime that a connect is called in.
    Current,
}

/// How often limits were hit.
#[derive(Clone, Default)]
struct Counters {
    requests_refused: Counter,
    responses_too_large: Counter,
}

impl Counters {
    fn new(metrics: &Metrics) -> Self {
        Self {
            requests_refused: metrics.counter("libprocess/client_requests_refused"),
            responses_too_large: metrics.counter("libprocess/client_responses_too_large"),
        }
    }
}

impl Client {
    /// A client over the transport of a runtime, with its clock, metrics and, if it has that, TLS for `https` URLs. Connections
    /// are served on the network threads of the runtime, whatever thread they are used on, and end when it shuts down.
    pub fn new(runtime: &Runtime) -> Self {
        let inner = runtime.inner();
        let connector = &inner.connector;
        Self {
            dialer: Dialer::new(connector.transport.clone(), connector.tls.clone()),
            clock: inner.clock.clone(),
            config: Arc::default(),
            counters: Counters::new(&inner.metrics),
            threads: Threads::Runtime(inner.clone()),
        }
    }

    /// A client without a runtime of actors. Its connections are served on the tokio runtime that [`connect`](Self::connect),
    /// or a single request, is called in, and end with it.
    pub fn standalone(transport: Arc<dyn Transport>, clock: Clock) -> Self {
        Self {
            dialer: Dialer::new(transport, None),
            clock,
            config: Arc::default(),
            counters: Counters::default(),
            threads: Threads::Current,
        }
    }

    /// A [standalone](Self::standalone) client over TCP, with TLS if the `LIBPROCESS_SSL_` variables of the environment switch
    /// that on.
    ///
    /// # Errors
    /// A variable, or a file that one names, cannot be used.
    pub fn from_env(clock: Clock) -> Result<Self, EnvironmentError> {
        let config = RuntimeConfig::from_env()?;
        let client = Self::standalone(config.transport, clock);
        Ok(match &config.tls {
            Some(tls) => client.with_tls(tls)?,
            None => client,
        })
    }

    /// The URL of a path, with its query, at the server `authority`, which is `host:port`: of scheme `https` if this client has
    /// TLS, else `http`.
    ///
    /// # Errors
    /// The parts do not make a URL.
    pub fn url(&self, authority: &str, target: &str) -> Result<Url, UrlError> {
        let scheme = match self.dialer.has_tls() {
            true => "https",
            false => "http",
        };
        format!("{scheme}://{authority}{target}").parse()
    }

    /// The same client with other settings.
    pub fn with_config(mut self, config: ClientConfig) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// The same client with TLS, for `https` URLs.
    ///
    /// # Errors
    /// The files of the configuration cannot be used.
    pub fn with_tls(mut self, config: &TlsConfig) -> Result<Self, TlsError> {
        let busy = match &self.threads {
            Threads::Runtime(inner) => inner.busy.clone(),
            Threads::Current => Tally::default(),
        };
        self.dialer.set_tls(Tls::load(config, &busy)?);
        Ok(self)
    }

    /// Opens a connection to the server of `url`, whose path does not matter.
    ///
    /// # Errors
    /// [`Error::Connect`] and [`Error::NoRuntime`].
    pub async fn connect(&self, url: &Url) -> Result<Connection, Error> {
        let endpoint = url.endpoint().clone();
        let (opened, open) = oneshot::channel();
        if !self.start(endpoint.clone(), opened) {
            return Err(Error::NoRuntime { endpoint });
        }
        open.await.unwrap_or(Err(Error::NoRuntime { endpoint }))
    }

    /// Connects in the background and serves the connection. False if there is no runtime to do it.
    fn start(
        &self,
        endpoint: Endpoint,
        mut opened: oneshot::Sender<Result<Connection, Error>>,
    ) -> bool {
        let shared = Shared::new(
            self.clock.clone(),
            self.config.clone(),
            self.counters.clone(),
        );
        let (client, limit) = (self.clone(), self.config.connect_timeout);
        self.spawn(async move {
            let connected = tokio::select! {
                biased;
                connected = client.dialer.dial(&endpoint, &client.clock, limit) => connected,
                () = opened.closed() => return,
            };
            match connected {
                Ok(stream) => {
                    let (connection, driver) = connection::pair(endpoint, shared);
                    if opened.send(Ok(connection)).is_ok() {
                        driver.run(stream).await;
                    }
                }
                Err(source) => {
                    let _ = opened.send(Err(Error::Connect { endpoint, source }));
                }
            }
        })
    }

    fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) -> bool {
        match &self.threads {
            Threads::Runtime(inner) => {
                let workers = &inner.workers;
                let worker = workers.network().get(workers.next_connection());
                worker.unwrap_or(workers.first()).spawn(connection)
            }
            Threads::Current => match tokio::runtime::Handle::try_current() {
                Ok(handle) => {
                    handle.spawn(connection);
                    true
                }
                Err(_) => false,
            },
        }
    }

    /// Makes one GET on a connection of its own.
    ///
    /// # Errors
    /// See [`Error`]. A response is not one, whatever its status.
    pub async fn get(&self, url: &Url) -> Result<Response<Bytes>, Error> {
        self.request(Request::get(url)).await
    }

    /// Makes one POST on a connection of its own.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn post(
        &self,
        url: &Url,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<Response<Bytes>, Error> {
        let request = Request::post(url, body).content_type(content_type);
        self.request(request).await
    }

    /// Makes one DELETE on a connection of its own.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn delete(&self, url: &Url) -> Result<Response<Bytes>, Error> {
        self.request(Request::delete(url)).await
    }

    /// Makes one request, with `Connection: close`, on a connection of its own, and reads the whole response.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn request(&self, request: Request) -> Result<Response<Bytes>, Error> {
        let connection = self.connect(&request.url).await?;
        connection.send(request.close()).await
    }

    /// Makes one request, with `Connection: close`, on a connection of its own, and leaves the body to be read. The connection
    /// ends with it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn stream(&self, request: Request) -> Result<Response<Body>, Error> {
        let connection = self.connect(&request.url).await?;
        connection.stream(request.close()).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
