//! TLS for the connections of a runtime, in both directions.
//!
//! It lies above [`Transport`](super::Transport), so that it works over any. The handshake of an accepted connection runs on
//! the worker that will serve it, in the connection's own task.

mod client;
mod config;
mod files;
mod names;
mod server;
mod suites;
mod variables;
mod verify;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};

pub(crate) use client::TlsClient;
pub use config::{HostnameValidation, ReverseLookup, TlsConfig, UnknownName};
pub(super) use server::TlsServer;
pub use suites::{CipherSuite, Curve};

use crate::runtime::Tally;
use names::HostError;
use verify::{AnyServer, Verifier};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file or directory could not be read.
    #[error("failed to read '{path}': {1}", path = .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file, or all of a directory, has no certificate in it.
    #[error("no certificate in PEM found in '{path}'", path = .0.display())]
    NoCertificate(PathBuf),
    /// The key file has no key in it.
    #[error("no private key in PEM without a passphrase found in '{path}'", path = .0.display())]
    NoKey(PathBuf),
    /// Peers are to be verified by the CAs that the system trusts, and there are none.
    #[error("the system has no CA certificates: set a file or a directory of them")]
    NoSystemCertificates,
    /// Among the certificates of the CAs is none that can be used.
    #[error("none of the CA certificates is a valid one")]
    NoUsableCertificate,
    /// Certificate, key and settings do not fit together.
    #[error("certificate '{path}', its key and the TLS settings do not work together: {error}", path = .cert_file.display())]
    Unusable {
        /// The certificate.
        cert_file: PathBuf,
        /// What is wrong.
        #[source]
        error: rustls::Error,
    },
}

/// Why a connection has no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The peer does not speak TLS, or not as we do, or its certificate is refused.
    #[error(transparent)]
    Failed(#[from] io::Error),
    /// The peer is not who it should be.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The peer took too long.
    #[error("the TLS handshake took too long")]
    TimedOut,
}

/// Both sides of TLS, ready for use.
pub(crate) struct Tls {
    pub(super) server: TlsServer,
    pub(crate) client: TlsClient,
    /// Whether a connection may do without.
    pub(super) support_downgrade: bool,
}

impl Tls {
    /// Reads the files and says in the log what is left open. Lookups of host names count as `busy`.
    pub(crate) fn load(config: &TlsConfig, busy: &Tally) -> Result<Self, TlsError> {
        warn_of_weakness(config);
        let setup = Setup::load(config)?;
        let unusable = |error| TlsError::Unusable {
            cert_file: config.cert_file.clone(),
            error,
        };
        Ok(Self {
            server: TlsServer::new(setup.server().map_err(unusable)?, config, busy),
            client: TlsClient::new(setup.client().map_err(unusable)?, config, busy),
            support_downgrade: config.support_downgrade,
        })
    }
}

fn warn_of_weakness(config: &TlsConfig) {
    let verifies = config.verifies_servers();
    if config.support_downgrade {
        tracing::warn!("Connections whose TLS handshake fails fall back to plain ones");
    }
    if config.support_downgrade && verifies {
        tracing::warn!("Verification of certificates can be bypassed, since TLS is optional");
    }
    if !verifies {
        tracing::warn!(
            "The certificates of servers are not verified: set LIBPROCESS_SSL_VERIFY_SERVER_CERT=true"
        );
    }
}

/// What the files hold and the settings say.
struct Setup {
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    verifier: Option<Arc<Verifier>>,
    require_client_cert: bool,
}

impl Setup {
    fn load(config: &TlsConfig) -> Result<Self, TlsError> {
        let verifier = match config.verifies_servers() {
            true => Some(Arc::new(Verifier::new(
                files::trusted(config)?,
                config.verification_depth,
                config.hostname_validation,
            )?)),
            false => None,
        };
        let provider = provider(config);
        Ok(Self {
            versions: versions(config, &provider),
            provider: Arc::new(provider),
            chain: files::chain(&config.cert_file)?,
            key: files::key(&config.key_file)?,
            verifier,
            require_client_cert: config.require_client_cert,
        })
    }

    fn server(&self) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.versions)?;
        let builder = match &self.verifier {
            Some(verifier) if self.require_client_cert => {
                builder.with_client_cert_verifier(verifier.clone())
            }
            _ => builder.with_no_client_auth(),
        };
        let mut server = builder.with_single_cert(self.chain.clone(), self.key.clone_key())?;
        server.ignore_client_order = true;
        Ok(server)
    }

    fn client(&self) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.versions)?;
        let verifier: Arc<dyn ServerCertVerifier> = match &self.verifier {
            Some(verifier) => verifier.clone(),
            None => Arc::new(AnyServer(self.provider.signature_verification_algorithms)),
        };
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
    }
}

/// The versions to speak: those that are switched on and have a cipher suite.
fn versions(
    config: &TlsConfig,
    provider: &CryptoProvider,
) -> Vec<&'static SupportedProtocolVersion> {
    let switches = [(&TLS13, config.tls_v1_3), (&TLS12, config.tls_v1_2)];
    let usable = switches.into_iter().filter(|(version, on)| {
        let mut suites = provider.cipher_suites.iter();
        *on && suites.any(|suite| suite.version() == *version)
    });
    usable.map(|(version, _)| version).collect()
}

fn provider(config: &TlsConfig) -> CryptoProvider {
    let mut suites = config.ciphers.clone();
    if !suites.iter().any(|suite| suite.is_of(&TLS13)) {
        suites.extend(
            CipherSuite::all()
                .into_iter()
                .filter(|suite| suite.is_of(&TLS13)),
        );
    }
    CryptoProvider {
        cipher_suites: suites.into_iter().map(CipherSuite::supported).collect(),
        kx_groups: config.curves.iter().map(|curve| curve.group()).collect(),
        ..ring::default_provider()
    }
}

#[cfg(test)]
mod tests;
