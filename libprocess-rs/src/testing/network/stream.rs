//! One side of a simulated connection, and the transport that makes them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::state::Net;
use crate::{BoxFuture, ByteStream, Incoming, Listener, Transport};

/// The pause before a connect is tried again; each next one is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);

pub(super) struct SimStream {
    net: Weak<Net>,
    id: u64,
    side: usize,
    peer: SocketAddr,
}

impl SimStream {
    pub(super) fn new(net: Weak<Net>, id: u64, side: usize, peer: SocketAddr) -> Self {
        Self {
            net,
            id,
            side,
            peer,
        }
    }

    /// The network; without it everything is cut off.
    fn net(&self) -> io::Result<Arc<Net>> {
        let net = self.net.upgrade();
        net.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let net = self.net()?;
        let bytes = ready!(net.poll_read((self.id, self.side), cx, buf.remaining()))?;
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.net()?.poll_write((self.id, self.side), cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let net = self.net()?;
        net.with(|state| net.finish(state, self.id, self.side));
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if let Ok(net) = self.net() {
            net.with(|state| net.close(state, self.id, self.side));
        }
    }
}

impl Incoming for SimStream {
    fn peer(&self) -> Option<SocketAddr> {
        Some(self.peer)
    }

    fn open(self: Box<Self>) -> io::Result<Box<dyn ByteStream>> {
        Ok(self)
    }
}

/// The network as one host sees it.
pub(super) struct SimTransport {
    pub(super) net: Arc<Net>,
    pub(super) ip: IpAddr,
}

impl Transport for SimTransport {
    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let ip = address.ip();
        if ip != self.ip && !ip.is_unspecified() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let address = self.net.bind(SocketAddr::new(self.ip, address.port()))?;
        let net = self.net.clone();
        Ok(Box::new(SimPort { net, address }))
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<io::Result<Box<dyn ByteStream>>> {
        Box::pin(connect(self.net.clone(), self.ip, to))
    }
}

async fn connect(net: Arc<Net>, from: IpAddr, to: SocketAddr) -> io::Result<Box<dyn ByteStream>> {
    let mut attempt = net.attempt(from, to);
    let timeout = net.with(|state| state.link(from, to.ip()).connect_timeout);
    let end = net.clock.now() + timeout;
    let delay = net.delay(&mut attempt, true);
    pause(&net, delay).await;
    let mut retry = FIRST_RETRY;
    while !net.with(|state| state.way_is_open(from, to.ip()) && state.way_is_open(to.ip(), from)) {
        let left = end - net.clock.now();
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        net.clock.sleep(retry.min(left)).await;
        retry *= 2;
    }
    let stream = net.establish(&mut attempt);
    let delay = net.delay(&mut attempt, false);
    pause(&net, delay).await;
    let stream = stream.ok_or(io::ErrorKind::ConnectionRefused)?;
    Ok(Box::new(stream))
}

async fn pause(net: &Net, delay: Duration) {
    if !delay.is_zero() {
        net.clock.sleep(delay).await;
    }
}

struct SimPort {
    net: Arc<Net>,
    address: SocketAddr,
}

impl Listener for SimPort {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Incoming>>> {
        self.net.with(|state| {
            let Some(port) = state.ports.get_mut(&self.address) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            match port.accepted.pop_front() {
                Some(stream) => {
                    let incoming: Box<dyn Incoming> = Box::new(stream);
                    Poll::Ready(Ok(incoming))
                }
                None => {
                    port.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

impl Drop for SimPort {
    fn drop(&mut self) {
        self.net.unbind(self.address);
    }
}
