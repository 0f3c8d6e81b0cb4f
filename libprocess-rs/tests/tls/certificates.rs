//! Certificates for tests, made on the spot.

use std::path::PathBuf;

use libprocess::TlsConfig;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// A CA, and the folder in which it puts what it signs.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    /// The certificates from this one up to, and without, that of the root.
    chain: String,
}

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// A CA that trusts itself.
    pub(crate) fn new(name: &str) -> Self {
        let (params, key) = ca(name);
        let pem = params.self_signed(&key).unwrap().pem();
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
            issuer: Issuer::new(params, key),
            chain: String::new(),
        };
        std::fs::write(authority.file(), pem).unwrap();
        authority
    }

    /// A CA below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let (params, key) = ca(name);
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self {
            folder: tempfile::tempdir().unwrap(),
            issuer: Issuer::new(params, key),
            chain: pem + &self.chain,
        }
    }

    /// The certificate of a root.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The folder that has all that this CA signed, and its own certificate.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// A certificate with this common name, and for these DNS names and IP addresses.
    pub(crate) fn sign(&self, common: &str, hosts: &[&str]) -> Identity {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        self.save(&(cert.pem() + &self.chain), &key)
    }

    fn save(&self, cert: &str, key: &KeyPair) -> Identity {
        let folder = tempfile::tempdir_in(&self.folder).unwrap().keep();
        let identity = Identity {
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        };
        std::fs::write(&identity.cert, cert).unwrap();
        std::fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }

    /// A certificate of a host that nobody but itself has signed.
    pub(crate) fn self_signed(&self, host: &str) -> Identity {
        let (mut params, key) = ca(host);
        params.subject_alt_names = CertificateParams::new([host.to_owned()])
            .unwrap()
            .subject_alt_names;
        self.save(&params.self_signed(&key).unwrap().pem(), &key)
    }
}

impl Identity {
    pub(crate) fn config(&self) -> TlsConfig {
        TlsConfig::new(&self.cert, &self.key)
    }
}

fn ca(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params, KeyPair::generate().unwrap())
}
