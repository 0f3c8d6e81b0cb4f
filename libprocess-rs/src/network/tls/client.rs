//! The connecting side of TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::names::{HostCheck, HostError};
use super::{HandshakeError, HostnameValidation, TlsConfig};
use crate::network::ByteStream;
use crate::runtime::Tally;

/// The connecting side of TLS.
pub(crate) struct TlsClient {
    connector: TlsConnector,
    /// Whether the certificate has to be for a host name, because it may not be for an IP address.
    needs_name: bool,
    host_check: Option<HostCheck>,
}

impl TlsClient {
    pub(super) fn new(rustls: ClientConfig, config: &TlsConfig, busy: &Tally) -> Self {
        let verify = config.verifies_servers();
        let by_name = config.hostname_validation == HostnameValidation::OpenSsl;
        Self {
            connector: Arc::new(rustls).into(),
            needs_name: verify && by_name && !config.verify_ipadd,
            host_check: HostCheck::new(config, busy).filter(|_| verify),
        }
    }

    /// Makes the handshake on a new connection to `to`, which the caller calls `host`, if by anything but its address.
    pub(crate) async fn handshake(
        &self,
        stream: Box<dyn ByteStream>,
        to: SocketAddr,
        host: Option<&str>,
    ) -> Result<Box<dyn ByteStream>, HandshakeError> {
        let host = host.filter(|host| host.parse::<IpAddr>().is_err());
        let name = match host {
            Some(host) => ServerName::try_from(host.to_owned())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
            None if self.needs_name => return Err(HostError::Unknown.into()),
            None => ServerName::from(to.ip()),
        };
        let stream = self.connector.connect(name, stream).await?;
        if let Some(check) = &self.host_check {
            let chain = stream.get_ref().1.peer_certificates();
            check.check(chain, Some(to.ip()), host).await?;
        }
        Ok(Box::new(stream))
    }
}
