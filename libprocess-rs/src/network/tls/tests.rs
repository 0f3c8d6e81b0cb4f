//! Which servers a client accepts by the name that it calls them, as the HTTP client will.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;

use super::*;

const PIPE_BYTES: usize = 16 * 1024;

/// A CA with its certificate at `ca.pem` in a folder.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = params("ca", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        Self { folder, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// TLS with a new certificate, for a client that checks by `scheme`.
    fn config(&self, params: &CertificateParams, scheme: HostnameValidation) -> TlsConfig {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let write = |name: &str, text: String| std::fs::write(self.path(name), text).unwrap();
        write("cert.pem", cert.pem());
        write("key.pem", key.serialize_pem());
        TlsConfig {
            verify_server_cert: true,
            ca_file: Some(self.path("ca.pem")),
            hostname_validation: scheme,
            reverse_lookup: ReverseLookup::new(|_| Err(io::ErrorKind::NotFound.into())),
            ..TlsConfig::new(self.path("cert.pem"), self.path("key.pem"))
        }
    }
}

fn params(common: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

/// What comes of a handshake with a server of the same configuration, at 1.2.3.4.
async fn handshake(config: &TlsConfig, host: Option<&str>) -> Result<(), String> {
    let setup = Setup::load(config).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(setup.server().unwrap()));
    let client = TlsClient::new(setup.client().unwrap(), config, &Tally::default());
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let server = tokio::spawn(async move { acceptor.accept(far).await.is_ok() });
    let to = SocketAddr::from(([1, 2, 3, 4], 5));
    let shaken = client.handshake(Box::new(near), to, host).await;
    let result = shaken.map(drop).map_err(|error| error.to_string());
    server.await.unwrap();
    result
}

#[tokio::test]
async fn servers_are_known_by_the_name_they_are_called() {
    let ca = Authority::new();
    let check = async |params: CertificateParams, host: Option<&str>, expected: bool| {
        let config = ca.config(&params, HostnameValidation::OpenSsl);
        let result = handshake(&config, host).await;
        assert_eq!(result.is_ok(), expected, "{host:?}: {result:?}");
    };
    check(params("x", &["a.b"]), Some("a.b"), true).await;
    check(params("x", &["a.b"]), Some("A.B"), true).await;
    check(params("x", &["*.b.c"]), Some("a.b.c"), true).await;
    check(params("x", &["*.b.c"]), Some("a.a.b.c"), false).await;
    check(params("x", &["a.b"]), Some("c.b"), false).await;
    // The common name counts only if there are no DNS names.
    check(params("a.b", &[]), Some("a.B"), true).await;
    check(params("a.b", &["1.2.3.4"]), Some("a.b"), true).await;
    check(params("a.b", &["c.b"]), Some("a.b"), false).await;
    // Addresses do not count without leave, whether as the host or for want of it.
    check(params("x", &["1.2.3.4"]), Some("1.2.3.4"), false).await;
    check(params("x", &["1.2.3.4"]), None, false).await;
    check(params("x", &["a.b"]), Some("no host"), false).await;
}

#[tokio::test]
async fn without_a_reverse_lookup_legacy_takes_the_name_of_the_caller() {
    let ca = Authority::new();
    let check = async |host: Option<&str>, verify_ipadd: bool, expected: Result<(), &str>| {
        let params = params("a.b", &["c.b"]);
        let config = TlsConfig {
            verify_ipadd,
            ..ca.config(&params, HostnameValidation::Legacy)
        };
        let result = handshake(&config, host).await;
        assert_eq!(result, expected.map_err(str::to_owned), "{host:?}");
    };
    check(Some("a.b"), false, Ok(())).await;
    check(Some("c.b"), false, Ok(())).await;
    let other = "the certificate is not for d.b";
    check(Some("d.b"), false, Err(other)).await;
    check(None, false, Ok(())).await;
    let no_name = "the certificate is not for 1.2.3.4";
    check(None, true, Err(no_name)).await;
    let neither = "the certificate is not for d.b or 1.2.3.4";
    check(Some("d.b"), true, Err(neither)).await;
}

#[tokio::test]
async fn certificates_have_their_time() {
    let ca = Authority::new();
    let check = async |from: i32, until: i32, itself: bool, expected: Option<&str>| {
        let mut params = params("x", &["a.b"]);
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let mut config = ca.config(&params, HostnameValidation::OpenSsl);
        if itself {
            config.ca_file = Some(config.cert_file.clone());
        }
        let error = handshake(&config, Some("a.b")).await.err();
        let text = error.as_deref().unwrap_or_default();
        assert_eq!(error.is_some(), expected.is_some(), "{from} to {until}");
        assert!(text.contains(expected.unwrap_or_default()), "{text}");
    };
    for itself in [false, true] {
        check(2000, 4000, itself, None).await;
        check(2000, 2001, itself, Some("Expired")).await;
        check(4000, 4001, itself, Some("NotValidYet")).await;
    }
}

#[test]
fn files_without_keys_are_told_from_missing_ones() {
    let ca = Authority::new();
    let params = params("x", &[]);
    let config = ca.config(&params, HostnameValidation::Legacy);
    let check = |path: &Path, expected: &str| {
        let error = files::key(path).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    check(Path::new("/no/key"), "failed to read '/no/key'");
    check(&config.cert_file, "no private key in PEM");
    let encrypted = ca.path("encrypted.pem");
    let section = "ENCRYPTED PRIVATE KEY";
    let text = format!("-----BEGIN {section}-----\nAAAA\n-----END {section}-----\n");
    std::fs::write(&encrypted, text).unwrap();
    check(&encrypted, "no private key in PEM without a passphrase");
}
