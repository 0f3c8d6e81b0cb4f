//! Opens connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::{UnixStream, lookup_host};

use super::Endpoint;
use crate::network::{ByteStream, Tls, Transport};

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

    pub(super) async fn dial(&self, endpoint: &Endpoint) -> io::Result<Box<dyn ByteStream>> {
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
        let (stream, to) = self.connect(host, port).await?;
        match tls {
            Some(tls) => tls
                .client
                .handshake(stream, to, Some(host))
                .await
                .map_err(io::Error::other),
            None => Ok(stream),
        }
    }

    /// Tries all addresses of the host, in the order that the system gives them.
    async fn connect(
        &self,
        host: &str,
        port: u16,
    ) -> io::Result<(Box<dyn ByteStream>, SocketAddr)> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            let to = SocketAddr::new(ip, port);
            return Ok((self.transport.connect(to).await?, to));
        }
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for to in lookup_host((host, port)).await? {
            match self.transport.connect(to).await {
                Ok(stream) => return Ok((stream, to)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}
