//! How connections to other runtimes are opened.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::tls::{HandshakeError, Tls};
use super::{ByteStream, Transport};
use crate::runtime::Counters;
use crate::{Clock, RuntimeConfig};

/// Opens connections, with TLS if that is on.
pub(crate) struct Connector {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) tls: Option<Arc<Tls>>,
    /// How long a TLS handshake may take.
    handshake_timeout: Duration,
    clock: Clock,
    counters: Arc<Counters>,
}

impl Connector {
    pub(crate) fn new(config: &RuntimeConfig, tls: Option<Tls>, counters: Arc<Counters>) -> Self {
        Self {
            transport: config.transport.clone(),
            tls: tls.map(Arc::new),
            handshake_timeout: config.header_timeout,
            clock: config.clock.clone(),
            counters,
        }
    }

    /// A new connection to `to`, whose certificate may be for the name `host`.
    pub(super) async fn connect(
        &self,
        to: SocketAddr,
        host: Option<&str>,
    ) -> io::Result<Box<dyn ByteStream>> {
        let stream = self.transport.connect(to).await?;
        match &self.tls {
            Some(tls) => Box::pin(self.secure(tls, stream, to, host)).await,
            None => Ok(stream),
        }
    }

    async fn secure(
        &self,
        tls: &Tls,
        stream: Box<dyn ByteStream>,
        to: SocketAddr,
        host: Option<&str>,
    ) -> io::Result<Box<dyn ByteStream>> {
        let handshake = tls.client.handshake(stream, to, host);
        let handshake = self.clock.timeout(self.handshake_timeout, handshake).await;
        let error = match handshake {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => HandshakeError::TimedOut,
        };
        self.counters.tls_failed.inc();
        tracing::warn!("The TLS handshake with {to} failed: {error}");
        if !tls.support_downgrade {
            return Err(io::Error::other(error));
        }
        self.counters.tls_downgraded.inc();
        self.transport.connect(to).await
    }
}
