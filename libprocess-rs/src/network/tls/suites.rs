//! The names of cipher suites and curves, as OpenSSL and the standards have them.

use std::fmt;
use std::str::FromStr;

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::ring::{cipher_suite as suite, kx_group};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::config::UnknownName;

/// A cipher suite of TLS 1.2 or 1.3. It is parsed from its name in OpenSSL, such as `ECDHE-RSA-AES128-GCM-SHA256`, or in the
/// standard, such as `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
///
/// There are only suites with forward secrecy and authenticated encryption.
#[derive(Clone, Copy, PartialEq)]
pub struct CipherSuite(SupportedCipherSuite);

impl Eq for CipherSuite {}

/// All suites by their names in OpenSSL, best first.
const SUITES: [(&str, SupportedCipherSuite); 9] = [
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        suite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// What may stand in a list of ciphers, for error messages.
pub(super) const CIPHER_NAMES: &str = "a list, separated by ':', of TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, \
TLS_CHACHA20_POLY1305_SHA256, ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-ECDSA-CHACHA20-POLY1305, \
ECDHE-RSA-AES256-GCM-SHA384, ECDHE-RSA-AES128-GCM-SHA256, ECDHE-RSA-CHACHA20-POLY1305";

impl CipherSuite {
    /// All that there are, best first.
    pub fn all() -> Vec<Self> {
        SUITES.iter().map(|(_, suite)| Self(*suite)).collect()
    }

    /// True if the suite is one of this version of TLS.
    pub(super) fn is_of(self, version: &SupportedProtocolVersion) -> bool {
        self.0.version() == version
    }

    pub(super) fn supported(self) -> SupportedCipherSuite {
        self.0
    }
}

impl FromStr for CipherSuite {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let standard = |suite: &SupportedCipherSuite| suite.suite().as_str().map(standard_name);
        SUITES
            .iter()
            .find(|(openssl, suite)| *openssl == name || standard(suite).as_deref() == Some(name))
            .map(|(_, suite)| Self(*suite))
            .ok_or_else(|| UnknownName(name.to_owned()))
    }
}

/// rustls tells the suites of TLS 1.3 apart by a prefix that the standard does not have.
fn standard_name(name: &str) -> String {
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name.to_owned(),
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = SUITES.iter().find(|(_, suite)| *suite == self.0);
        f.write_str(name.map_or("unknown", |(openssl, _)| openssl))
    }
}

impl fmt::Debug for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An elliptic curve for the key exchange: `X25519`, `P-256` or `P-384`. The other names that OpenSSL has for them,
/// `prime256v1`, `secp256r1` and `secp384r1`, are understood too.
#[derive(Clone, Copy)]
pub struct Curve(&'static dyn SupportedKxGroup);

/// All curves with all their names, best first.
static CURVES: [(&[&str], &dyn SupportedKxGroup); 3] = [
    (&["X25519"], kx_group::X25519),
    (&["P-256", "prime256v1", "secp256r1"], kx_group::SECP256R1),
    (&["P-384", "secp384r1"], kx_group::SECP384R1),
];

/// What may stand in a list of curves, for error messages.
pub(super) const CURVE_NAMES: &str =
    "auto, or a list, separated by ':', of X25519, P-256 (prime256v1), P-384 (secp384r1)";

impl Curve {
    /// All that there are, best first.
    pub fn all() -> Vec<Self> {
        CURVES.iter().map(|(_, group)| Self(*group)).collect()
    }

    pub(super) fn group(self) -> &'static dyn SupportedKxGroup {
        self.0
    }
}

impl FromStr for Curve {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        CURVES
            .iter()
            .find(|(names, _)| names.contains(&name))
            .map(|(_, group)| Self(*group))
            .ok_or_else(|| UnknownName(name.to_owned()))
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = CURVES
            .iter()
            .find(|(_, group)| group.name() == self.0.name());
        let name = known.and_then(|(names, _)| names.first());
        f.write_str(name.copied().unwrap_or("unknown"))
    }
}

impl fmt::Debug for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Curve {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for Curve {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_known_by_both_names() {
        let check = |name: &str, expected: Option<&str>| {
            let parsed = name.parse::<CipherSuite>().ok();
            assert_eq!(parsed.map(|suite| suite.to_string()).as_deref(), expected);
        };
        let rsa = Some("ECDHE-RSA-AES128-GCM-SHA256");
        check("ECDHE-RSA-AES128-GCM-SHA256", rsa);
        check("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", rsa);
        check("TLS_AES_256_GCM_SHA384", Some("TLS_AES_256_GCM_SHA384"));
        check(
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            Some("ECDHE-ECDSA-CHACHA20-POLY1305"),
        );
        check("AES128-SHA", None);
        check("!RC4", None);
        check("", None);
    }

    #[test]
    fn curves_are_known_by_all_names() {
        let check = |name: &str, expected: Option<&str>| {
            let parsed = name.parse::<Curve>().ok();
            assert_eq!(parsed.map(|curve| curve.to_string()).as_deref(), expected);
        };
        check("X25519", Some("X25519"));
        check("P-256", Some("P-256"));
        check("prime256v1", Some("P-256"));
        check("secp384r1", Some("P-384"));
        check("P-521", None);
        check("auto", None);
    }

    #[test]
    fn error_messages_name_all_there_is() {
        for suite in CipherSuite::all() {
            assert!(CIPHER_NAMES.contains(&suite.to_string()), "{suite}");
        }
        for curve in Curve::all() {
            assert!(CURVE_NAMES.contains(&curve.to_string()), "{curve}");
        }
        let all = rustls::crypto::ring::ALL_CIPHER_SUITES;
        assert_eq!(CipherSuite::all().len(), all.len());
        assert_eq!(
            Curve::all().len(),
            rustls::crypto::ring::ALL_KX_GROUPS.len()
        );
    }
}
