//! Actors, PIDs, links, messages over HTTP, routes, metrics and a clock: what `libprocess` is to Apache Mesos in C++, on actix.
//!
//! A [`Runtime`] is a set of actors behind one port. An actor is a [`Process`] whose handlers run one at a time, on one thread;
//! everything that reaches it comes through one queue. It is known by its [`Upid`], `id@ip:port`, under which actors of other
//! runtimes, in this OS process or any other, send it messages; and, within its runtime, by a typed [`Pid`] through which
//! closures are run in its turns. On the wire a message is an HTTP request, so that a C++ peer cannot tell the difference.
//!
//! ```
//! use bytes::Bytes;
//! use libprocess::{Context, Process, Runtime, RuntimeConfig, Upid};
//!
//! /// Answers each ping with a pong.
//! struct Ponger;
//!
//! impl Process for Ponger {
//!     fn initialize(&mut self, ctx: &mut Context<Self>) {
//!         ctx.install_raw("ping", |_, ctx, from, body| ctx.send_raw(from, "pong", body));
//!     }
//! }
//!
//! /// Sends one ping and waits for its pong.
//! struct Pinger {
//!     ponger: Upid,
//!     done: Option<tokio::sync::oneshot::Sender<Bytes>>,
//! }
//!
//! impl Process for Pinger {
//!     fn initialize(&mut self, ctx: &mut Context<Self>) {
//!         ctx.install_raw("pong", |pinger: &mut Pinger, ctx, _, body| {
//!             if let Some(done) = pinger.done.take() {
//!                 done.send(body).ok();
//!             }
//!             ctx.terminate();
//!         });
//!         ctx.send_raw(&self.ponger, "ping", Bytes::from("hello"));
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Two runtimes, so that the messages cross a socket.
//! let near = Runtime::start(RuntimeConfig::loopback())?;
//! let far = Runtime::start(RuntimeConfig::loopback())?;
//! let ponger = far.spawn("ponger", Ponger)?.upid().clone();
//! let (done, answer) = tokio::sync::oneshot::channel();
//! near.spawn("pinger", Pinger { ponger, done: Some(done) })?;
//! assert_eq!(answer.blocking_recv()?, "hello");
//! near.shutdown();
//! far.shutdown();
//! # Ok(())
//! # }
//! ```
//!
//! # What is guaranteed
//!
//! - Messages and dispatches of one sender to one receiver keep their order and arrive at most once.
//! - A turn is never interrupted by another turn of the same actor. A panic in a turn ends that actor and nothing else.
//! - [`Process::exited`] is called once per link, when the linked actor of the same runtime has ended, or when the connection to
//!   the other runtime broke; a remote actor that ends while its runtime lives is not noticed, as upstream.
//! - Nothing is global: metrics, clock, ids and sockets belong to a runtime, and many runtimes may live in one OS process.
//! - All waiting goes through the [`Clock`], which tests pause, advance and settle. Only the connect timeout of
//!   [`TcpTransport`] is real time.

mod actor;
mod builtin;
mod clock;
mod config;
pub mod duration;
#[doc(hidden)]
pub mod fuzzing;
mod http;
pub mod metrics;
mod network;
mod runtime;
mod upid;
mod wire;

pub use self::http::{
    BodyError, BodyStream, Help, Principal, Query, QueryError, Reply, Request, Response,
    RouteOptions, StreamWriter, WriteError, parse_path,
};
pub use actor::{AskError, Context, Gone, Periodic, Pid, Process, QueuedEvents};
pub use clock::{Clock, Elapsed, Instant, Sleep, Timer};
pub use config::{ConfigError, LoggingControl, RuntimeConfig};
pub use metrics::{Counter, Metrics, PushGauge};
pub use network::{BoxFuture, ByteStream, Incoming, Listener, TcpTransport, Transport};
pub use runtime::{Runtime, SpawnError, StartError};
pub use upid::{Upid, UpidParseError};
