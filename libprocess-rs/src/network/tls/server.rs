//! The accepting side: tells TLS from plain HTTP and makes the handshake.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use rustls::ServerConfig;
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsAcceptor;

use super::names::HostCheck;
use super::{HandshakeError, TlsConfig};
use crate::network::ByteStream;
use crate::network::answers::{Answer, close, refuse};
use crate::network::watchdog::Watchdog;
use crate::runtime::{Inner, Tally};

/// So many bytes tell TLS from plain HTTP.
const HELLO_BYTES: usize = 6;

/// The type of a TLS record that is part of a handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// The major version of TLS and of SSLv3.
const MAJOR_VERSION: u8 = 3;

/// The type of the message that begins a handshake.
const CLIENT_HELLO: u8 = 1;

/// Set in the first byte of an SSLv2 hello.
const SSL_V2_BIT: u8 = 0x80;

/// The accepting side of TLS.
pub(in crate::network) struct TlsServer {
    acceptor: TlsAcceptor,
    support_downgrade: bool,
    /// Only if clients have to show a certificate.
    host_check: Option<HostCheck>,
}

/// A connection on which the handshake failed. It may still have to tell the client why.
struct Failed {
    error: HandshakeError,
    stream: Box<dyn ByteStream>,
}

impl TlsServer {
    pub(super) fn new(rustls: ServerConfig, config: &TlsConfig, busy: &Tally) -> Self {
        Self {
            acceptor: Arc::new(rustls).into(),
            support_downgrade: config.support_downgrade,
            host_check: HostCheck::new(config, busy).filter(|_| config.require_client_cert),
        }
    }

    /// What is to be served of a new connection: the inside of TLS, or, if that is allowed, the connection as it is, with its
    /// first bytes in `ahead`. None if it was lost or refused.
    pub(in crate::network) async fn accept(
        &self,
        inner: &Arc<Inner>,
        mut stream: Box<dyn ByteStream>,
        peer: Option<SocketAddr>,
        ahead: &mut BytesMut,
    ) -> Option<Box<dyn ByteStream>> {
        let mut watchdog = Watchdog::new(inner.clock.clone(), inner.header_timeout);
        if !self.support_downgrade {
            // A client that speaks TLS begins at once; only one without may have nothing to say yet.
            watchdog.watch(false);
        }
        let is_tls = loop {
            if let Some(is_tls) = is_tls(ahead) {
                break is_tls;
            }
            let missing = HELLO_BYTES.saturating_sub(ahead.len());
            let mut rest = (&mut *ahead).limit(missing);
            let read = tokio::select! {
                biased;
                read = stream.read_buf(&mut rest) => read,
                () = watchdog.expired() => {
                    failed(inner, peer, &HandshakeError::TimedOut);
                    return None;
                }
            };
            if !matches!(read, Ok(read) if read > 0) {
                return None;
            }
            watchdog.watch(false);
        };
        if is_tls {
            self.secure(inner, stream, peer, ahead, watchdog).await
        } else if self.support_downgrade {
            Some(stream)
        } else {
            inner.counters.tls_missing.inc();
            refuse(inner, stream, Answer::TLS_MISSING).await;
            None
        }
    }

    async fn secure(
        &self,
        inner: &Arc<Inner>,
        stream: Box<dyn ByteStream>,
        peer: Option<SocketAddr>,
        ahead: &mut BytesMut,
        mut watchdog: Watchdog,
    ) -> Option<Box<dyn ByteStream>> {
        let handshake = self.handshake(stream, peer, ahead);
        let handshake = tokio::select! {
            biased;
            handshake = handshake => handshake,
            () = watchdog.expired() => {
                failed(inner, peer, &HandshakeError::TimedOut);
                return None;
            }
        };
        ahead.clear();
        match handshake {
            Ok(stream) => Some(stream),
            Err(Failed { error, stream }) => {
                failed(inner, peer, &error);
                close(inner, stream).await;
                None
            }
        }
    }

    async fn handshake(
        &self,
        stream: Box<dyn ByteStream>,
        peer: Option<SocketAddr>,
        ahead: &[u8],
    ) -> Result<Box<dyn ByteStream>, Failed> {
        let accept = self.acceptor.accept_with(stream, |session| {
            // These few bytes are less than what a session buffers, and it cannot fail before it looks at them.
            let _ = session.read_tls(&mut &*ahead);
        });
        let stream = accept.into_fallible().await;
        let stream = stream.map_err(|(error, stream)| Failed {
            error: error.into(),
            stream,
        })?;
        if let Some(check) = &self.host_check {
            let chain = stream.get_ref().1.peer_certificates();
            let checked = check.check(chain, peer.map(|peer| peer.ip()), None).await;
            if let Err(error) = checked {
                let (error, stream) = (error.into(), Box::new(stream));
                return Err(Failed { error, stream });
            }
        }
        Ok(Box::new(stream))
    }
}

fn failed(inner: &Inner, peer: Option<SocketAddr>, error: &HandshakeError) {
    inner.counters.tls_failed.inc();
    let peer = peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
    tracing::info!("The TLS handshake of {peer} failed: {error}");
}

/// Whether a connection that begins like this speaks TLS; none if it needs more bytes to tell.
fn is_tls(first: &[u8]) -> Option<bool> {
    match first {
        [] | [HANDSHAKE_RECORD] => None,
        [HANDSHAKE_RECORD, MAJOR_VERSION, rest @ ..] => {
            rest.get(3).map(|message| *message == CLIENT_HELLO)
        }
        // rustls refuses it, but with an alert that such a client understands.
        [first, rest @ ..] if first & SSL_V2_BIT != 0 => {
            rest.get(1).map(|message| *message == CLIENT_HELLO)
        }
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_tls_from_http() {
        let check = |first: &[u8], expected: Option<bool>| assert_eq!(is_tls(first), expected);
        check(b"", None);
        check(b"\x16", None);
        check(b"\x16\x03", None);
        check(b"\x16\x03\x01\x02\x00", None);
        check(b"\x16\x03\x01\x02\x00\x01", Some(true));
        check(b"\x16\x03\x03\x00\xff\x01", Some(true));
        check(b"\x16\x03\x03\x00\xff\x02", Some(false));
        check(b"\x16\x02", Some(false));
        check(b"\x80", None);
        check(b"\x80\x2e", None);
        check(b"\x80\x2e\x01", Some(true));
        check(b"\x80\x2e\x02", Some(false));
        check(b"G", Some(false));
        check(b"\r\n", Some(false));
        check(b"\x15\x03", Some(false));
    }
}
