#![doc = include_str!("../README.md")]

mod actor;
mod builtin;
pub mod client;
mod clock;
mod config;
mod descriptor;
pub mod duration;
pub mod file_watcher;
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod limiter;
mod message_name;
pub mod metrics;
mod network;
mod panics;
pub mod retry;
mod runtime;
mod sequence;
pub mod subprocess;
#[cfg(feature = "testing")]
pub mod testing;
mod upid;
mod wire;

pub use ::http::{Method, StatusCode};
pub use bytes::Bytes;

pub use self::http::{
    Authentication, Authenticator, BasicAuthenticator, BodyError, BodyStream, CheckError,
    CheckFuture, CombinedAuthenticator, DisabledEndpoints, Endpoint, FirewallRule, Headers, Help,
    JwtAuthenticator, ParamError, ParamPlace, Principal, Query, QueryError, Reply, Request,
    Response, RouteOptions, StreamWriter, WriteError, parse_path,
};
pub use actor::{AskError, Context, Gone, Periodic, Pid, Process, QueuedEvents};
pub use clock::{Clock, Elapsed, Instant, Sleep, Timer};
pub use config::{ConfigError, LoggingControl, MetricsConfig, RuntimeConfig};
pub use limiter::RateLimiter;
pub use message_name::MessageName;
pub use metrics::{Counter, Metrics, PushGauge};
pub use network::{
    BoxFuture, ByteStream, CipherSuite, Curve, HostnameValidation, Incoming, Listener,
    ReverseLookup, TcpTransport, TlsConfig, TlsError, Transport, UnknownName,
};
pub use runtime::{Driver, DriverHandle, Placement, Runtime, SpawnError, StartError, Threads};
pub use sequence::Sequence;
pub use upid::{Upid, UpidParseError};
