//! The network side of a runtime: the listening port, message connections, actix-web, and the sockets for sending.

mod accept;
mod answers;
mod connection;
mod files;
mod links;
mod outgoing;
mod rewind;
mod transport;
mod watchdog;
mod web;

pub use transport::{BoxFuture, ByteStream, Incoming, Listener, TcpTransport, Transport};

pub(crate) use accept::serve_port;
pub(crate) use links::Links;
pub(crate) use outgoing::{End, Sockets, Writer};
