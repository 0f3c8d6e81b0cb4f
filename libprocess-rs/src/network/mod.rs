//! The network side of a runtime: the listening port and its connections, and the sockets for sending.

mod accept;
mod answers;
mod connection;
mod connector;
mod files;
mod links;
mod outgoing;
mod ready;
mod requests;
mod sockets;
mod sync;
mod tls;
mod transport;
mod watchdog;

pub use tls::{
    CipherSuite, Curve, HostnameValidation, ReverseLookup, TlsConfig, TlsError, UnknownName,
};
pub use transport::{BoxFuture, ByteStream, Incoming, Listener, TcpTransport, Transport};

pub(crate) use accept::serve_port;
pub(crate) use connector::Connector;
pub(crate) use links::Links;
pub(crate) use sockets::{Sockets, Writer};
pub(crate) use tls::Tls;
