//! Opens connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixStream, lookup_host};

use super::Endpoint;
use crate::network::{ByteStream, Tls, Transport};
use crate::{Clock, Instant};

/// Opens connections to servers by name.
#[derive(Clone)]
pub(super) struct Dialer {
    transport: Arc<dyn Transport>,
    tls: Option<Arc<Tls>>,
}

impl Dialer {
    pub(super) fn new(transport: Arc<dyn Transport>, tls: Option<Arc<Tls>>) -> Self {
        Self { transport, tls }
    }

    pub(super) fn set_tls(&mut self, tls: Tls) {
        self.tls = Some(Arc::new(tls));
    }

    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects within `limit`.
    ///
    /// # Errors
    /// Also of kind `TimedOut`.
    pub(super) async fn dial(
        &self,
        endpoint: &Endpoint,
        clock: &Clock,
        limit: Duration,
    ) -> io::Result<Box<dyn ByteStream>> {
        let until = clock.now() + limit;
        let dialed = clock.timeout(limit, self.dial_until(endpoint, clock, until));
        dialed.await.unwrap_or_else(|_| {
            let text = format!("no connection within {limit:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }

    async fn dial_until(
        &self,
        endpoint: &Endpoint,
        clock: &Clock,
        until: Instant,
    ) -> io::Result<Box<dyn ByteStream>> {
        let (host, port, tls) = match endpoint {
            Endpoint::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Endpoint::Tcp { host, port, tls } => (host, *port, *tls),
        };
        let tls = match (tls, &self.tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(tls),
            (true, None) => {
                let text = "the client is not set up for TLS";
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
        };
        let addresses = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => lookup_host((host.as_str(), port)).await?.collect(),
        };
        let (stream, to) = self.connect(addresses, clock, until).await?;
        match tls {
            Some(tls) => tls
                .client
                .handshake(stream, to, Some(host))
                .await
                .map_err(io::Error::other),
            None => Ok(stream),
        }
    }

    /// Tries all addresses, in the order that the system gives them. None may take of the time of those behind it.
    async fn connect(
        &self,
        addresses: Vec<SocketAddr>,
        clock: &Clock,
        until: Instant,
    ) -> io::Result<(Box<dyn ByteStream>, SocketAddr)> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for (tries, to) in (1..=addresses.len()).rev().zip(addresses) {
            let left = until.duration_since(clock.now());
            let share = left / u32::try_from(tries).unwrap_or(u32::MAX);
            let connect = self.transport.connect(to);
            let connected = match tries {
                1 => connect.await,
                _ => clock.timeout(share, connect).await.unwrap_or_else(|_| {
                    let text = format!("no connection to {to} within {share:?}");
                    Err(io::Error::new(io::ErrorKind::TimedOut, text))
                }),
            };
            match connected {
                Ok(stream) => return Ok((stream, to)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;

    use futures::{FutureExt, poll};

    use crate::network::{BoxFuture, Listener};

    /// Port 1 refuses, port 2 never answers.
    struct Ports;

    impl Transport for Ports {
        fn bind(&self, _: SocketAddr) -> io::Result<Box<dyn Listener>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn connect(&self, to: SocketAddr) -> BoxFuture<io::Result<Box<dyn ByteStream>>> {
            match to.port() {
                1 => Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) }),
                2 => Box::pin(std::future::pending()),
                _ => Box::pin(async { Ok(Box::new(tokio::io::duplex(1).0) as _) }),
            }
        }
    }

    #[test]
    fn an_address_that_does_not_answer_leaves_time_for_the_others() {
        let check = |ports: &[u16], after: u64, expected: Result<u16, &str>| {
            let clock = Clock::paused();
            let dialer = Dialer::new(Arc::new(Ports), None);
            let addresses = ports.iter().map(|port| ([10, 0, 0, 1], *port).into());
            let until = clock.now() + Duration::from_secs(10);
            let connect = dialer.connect(addresses.collect(), &clock, until);
            let mut connect = Box::pin(connect.map(|connected| match connected {
                Ok((_, to)) => Ok(to.port()),
                Err(error) => Err(error.to_string()),
            }));
            let connected = async {
                for _ in 0..after {
                    assert_eq!(poll!(connect.as_mut()), Poll::Pending, "{ports:?}");
                    clock.advance(Duration::from_secs(1));
                }
                poll!(connect.as_mut())
            };
            let expected = expected.map_err(str::to_owned);
            let connected = connected.now_or_never().unwrap();
            assert_eq!(connected, Poll::Ready(expected), "{ports:?}");
        };
        check(&[3], 0, Ok(3));
        check(&[1, 3], 0, Ok(3));
        check(&[2, 3], 5, Ok(3));
        check(&[1, 2, 2, 3], 7, Ok(3));
        check(&[], 0, Err("the host has no address"));
        check(&[2, 1], 5, Err("connection refused"));
    }
}
