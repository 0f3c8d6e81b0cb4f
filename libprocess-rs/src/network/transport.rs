//! What carries bytes between runtimes: TCP, or something else in tests.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt::{set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A connection, as far as it matters here. What is written to it may be held back until it is flushed.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A future that can move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How a runtime listens and connects.
///
/// All methods are called on threads of the runtime, within its tokio context.
pub trait Transport: Send + Sync + 'static {
    /// Starts to listen. Port 0 stands for any free port.
    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>>;

    /// Opens a connection. A transport that can hang must fail in the end.
    fn connect(&self, to: SocketAddr) -> BoxFuture<io::Result<Box<dyn ByteStream>>>;
}

/// A listening port.
pub trait Listener: Send {
    /// The address that is listened on.
    fn local_address(&self) -> io::Result<SocketAddr>;

    /// The next connection.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Incoming>>>;
}

/// An accepted connection on its way to the thread that will serve it.
pub trait Incoming: Send {
    /// The address of the client, if it has one.
    fn peer(&self) -> Option<SocketAddr>;

    /// Makes the connection ready on the current thread.
    fn open(self: Box<Self>) -> io::Result<Box<dyn ByteStream>>;
}

/// The transport of production: TCP, without Nagle's delay, with keep-alive probes.
#[derive(Debug, Clone)]
pub struct TcpTransport {
    /// How long a connect may take.
    pub connect_timeout: Duration,
}

/// The length of the queue of connections that the kernel has accepted; the kernel clamps it.
const LISTEN_BACKLOG: u32 = 65_535;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that has been silent for this long is probed. Two hours are the kernel's own default.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);

/// The time between two probes.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A peer that leaves this many probes unanswered has gone.
const KEEP_ALIVE_PROBES: u32 = 4;

impl Default for TcpTransport {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
        }
    }
}

impl Transport for TcpTransport {
    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(TcpPort(listen(address)?)))
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<io::Result<Box<dyn ByteStream>>> {
        let timeout = self.connect_timeout;
        Box::pin(async move {
            let stream: Box<dyn ByteStream> = Box::new(connect(to, timeout).await?);
            Ok(stream)
        })
    }
}

struct TcpPort(TcpListener);

impl Listener for TcpPort {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Incoming>>> {
        self.0.poll_accept(cx).map(|accepted| {
            let (stream, peer) = accepted?;
            // Leaves this thread's event loop, to enter that of the thread that serves it.
            let stream = stream.into_std()?;
            let incoming: Box<dyn Incoming> = Box::new(TcpIncoming {
                stream,
                peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            });
            Ok(incoming)
        })
    }
}

struct TcpIncoming {
    stream: std::net::TcpStream,
    /// An IPv4 client of a port that listens on both is known by its IPv4 address.
    peer: SocketAddr,
}

impl Incoming for TcpIncoming {
    fn peer(&self) -> Option<SocketAddr> {
        Some(self.peer)
    }

    fn open(self: Box<Self>) -> io::Result<Box<dyn ByteStream>> {
        Ok(Box::new(open(self.stream)?))
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = tcp_socket(address)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}

async fn connect(to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let connecting = tcp_socket(to)?.connect(to);
    let stream = tokio::time::timeout(timeout, connecting)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn open(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    let stream = TcpStream::from_std(stream)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn tcp_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // It is what finds peers that vanished without a word. Accepted connections inherit it.
    socket.set_keepalive(true)?;
    set_tcp_keepidle(&socket, KEEP_ALIVE_IDLE)?;
    set_tcp_keepintvl(&socket, KEEP_ALIVE_INTERVAL)?;
    set_tcp_keepcnt(&socket, KEEP_ALIVE_PROBES)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rustix::net::sockopt::{
        socket_keepalive, tcp_keepcnt, tcp_keepidle, tcp_keepintvl, tcp_nodelay,
    };

    use super::*;

    #[tokio::test]
    async fn connections_send_at_once_and_are_probed_on_both_sides() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let to = listener.local_addr().unwrap();
        let (connected, accepted) = tokio::join!(connect(to, CONNECT_TIMEOUT), listener.accept());
        let accepted = open(accepted.unwrap().0.into_std().unwrap());
        for stream in [connected.unwrap(), accepted.unwrap()] {
            assert!(tcp_nodelay(&stream).unwrap());
            assert!(socket_keepalive(&stream).unwrap());
            assert_eq!(tcp_keepidle(&stream).unwrap(), KEEP_ALIVE_IDLE);
            assert_eq!(tcp_keepintvl(&stream).unwrap(), KEEP_ALIVE_INTERVAL);
            assert_eq!(tcp_keepcnt(&stream).unwrap(), KEEP_ALIVE_PROBES);
        }
    }
}
