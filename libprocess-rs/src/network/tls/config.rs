//! What can be set about TLS.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use dns_lookup::LookupErrorKind;

use super::suites::{CipherSuite, Curve};

/// CA certificates between that of a peer and a trusted one, if nothing is said; as upstream.
const DEFAULT_VERIFICATION_DEPTH: usize = 4;

/// TLS for all connections of a [`Runtime`](crate::Runtime), in both directions, on its one port.
///
/// [`RuntimeConfig::from_env`](crate::RuntimeConfig::from_env) makes it from the `LIBPROCESS_SSL_` variables, whose names are
/// given below without that prefix. The files are read when the runtime starts. How long a handshake may take is set by
/// [`RuntimeConfig::header_timeout`](crate::RuntimeConfig::header_timeout).
///
/// Upstream: `3rdparty/libprocess/src/openssl.cpp` and `docs/ssl.md`.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// `CERT_FILE`: the certificate of this runtime in PEM, followed by its intermediate CA certificates. It is shown to
    /// clients, and to servers that ask for one.
    pub cert_file: PathBuf,
    /// `KEY_FILE`: its private key in PEM (PKCS#8, PKCS#1 or SEC1), without a passphrase.
    pub key_file: PathBuf,
    /// `SUPPORT_DOWNGRADE`: if true, connections without TLS are served too, and a connection of ours whose handshake fails is
    /// made once more without TLS. For the time in which a cluster is switched over; it takes the worth out of verification.
    pub support_downgrade: bool,
    /// `VERIFY_SERVER_CERT`: if true, servers that we connect to must have a certificate that a trusted CA has signed and that
    /// is for their host.
    pub verify_server_cert: bool,
    /// `REQUIRE_CLIENT_CERT`: if true, clients must show a certificate that a trusted CA has signed; implies
    /// [`verify_server_cert`](Self::verify_server_cert). If false, certificates of clients are not looked at.
    pub require_client_cert: bool,
    /// `VERIFY_IPADD`: if true, a certificate may be for the IP address of the peer instead of its host name.
    pub verify_ipadd: bool,
    /// `VERIFICATION_DEPTH`: how many CA certificates may be between that of a peer and a trusted one. At most 6 are followed.
    pub verification_depth: usize,
    /// `CA_FILE`: trusted CA certificates in PEM. Without this and [`ca_dir`](Self::ca_dir), those of the system are trusted.
    pub ca_file: Option<PathBuf>,
    /// `CA_DIR`: a directory of files with trusted CA certificates in PEM.
    pub ca_dir: Option<PathBuf>,
    /// `CIPHERS`: the cipher suites, best first; the server chooses. Without any for TLS 1.3 all of that version are used, as
    /// with OpenSSL; without any for TLS 1.2 that version is not spoken. Default: all that there are.
    pub ciphers: Vec<CipherSuite>,
    /// `ECDH_CURVES`: the curves for the key exchange, best first. Default: all that there are.
    pub curves: Vec<Curve>,
    /// `HOSTNAME_VALIDATION_SCHEME`: how the host of a verified certificate is checked.
    pub hostname_validation: HostnameValidation,
    /// `ENABLE_TLS_V1_2`: whether TLS 1.2 is spoken. Default true.
    pub tls_v1_2: bool,
    /// `ENABLE_TLS_V1_3`: whether TLS 1.3 is spoken. Default true.
    pub tls_v1_3: bool,
    /// Where [`HostnameValidation::Legacy`] gets the host names of its peers; default the system's resolver.
    pub reverse_lookup: ReverseLookup,
}

impl TlsConfig {
    /// TLS with this certificate and key, without verification of peers, and with defaults for the rest.
    pub fn new(cert_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        Self {
            cert_file: cert_file.into(),
            key_file: key_file.into(),
            support_downgrade: false,
            verify_server_cert: false,
            require_client_cert: false,
            verify_ipadd: false,
            verification_depth: DEFAULT_VERIFICATION_DEPTH,
            ca_file: None,
            ca_dir: None,
            ciphers: CipherSuite::all(),
            curves: Curve::all(),
            hostname_validation: HostnameValidation::default(),
            tls_v1_2: true,
            tls_v1_3: true,
            reverse_lookup: ReverseLookup::default(),
        }
    }

    /// True if the certificates of servers are verified.
    pub(super) fn verifies_servers(&self) -> bool {
        self.verify_server_cert || self.require_client_cert
    }
}

/// How it is checked that a verified certificate belongs to the host of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostnameValidation {
    /// Clients and servers look up the host name of the peer's IP address, and want it to be one of the certificate's DNS names
    /// or its common name. Whoever can forge that lookup can pass for another host.
    #[default]
    Legacy,
    /// Clients want the name of the host that they connect to, or its IP address if that is all they know. Servers take any
    /// host. This is the safer one.
    OpenSsl,
}

impl FromStr for HostnameValidation {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        match text {
            "legacy" => Ok(Self::Legacy),
            "openssl" => Ok(Self::OpenSsl),
            _ => Err(UnknownName(text.to_owned())),
        }
    }
}

/// A name that stands for nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not known")]
pub struct UnknownName(pub(super) String);

type Lookup = dyn Fn(IpAddr) -> io::Result<String> + Send + Sync;

/// A way to find the host name of an IP address. It may block: it is called on threads for that.
#[derive(Clone)]
pub struct ReverseLookup(Arc<Lookup>);

impl ReverseLookup {
    /// Uses `lookup`.
    pub fn new(lookup: impl Fn(IpAddr) -> io::Result<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    pub(super) fn find(&self, ip: IpAddr) -> io::Result<String> {
        (self.0)(ip)
    }
}

impl Default for ReverseLookup {
    /// Asks the system's resolver. An address without a name has itself as its name.
    fn default() -> Self {
        Self::new(|ip| match dns_lookup::lookup_addr(&ip) {
            Err(error) if matches!(error.kind(), LookupErrorKind::NoName) => Ok(ip.to_string()),
            found => Ok(found?),
        })
    }
}

impl fmt::Debug for ReverseLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReverseLookup").finish_non_exhaustive()
    }
}
