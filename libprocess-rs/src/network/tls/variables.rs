//! TLS settings from environment variables.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

use rustls::version::TLS12;

use super::config::TlsConfig;
use super::suites::{CIPHER_NAMES, CURVE_NAMES};
use crate::ConfigError;
use crate::config::{BadValue, fetch, parse_flag, parse_switch};

const PREFIX: &str = "LIBPROCESS_SSL_";

/// Older than Mesos 1.0. OpenSSL and others have variables of this prefix too, so the other one wins.
const DEPRECATED_PREFIX: &str = "SSL_";

/// The switches that there is nothing behind.
const OLD_VERSIONS: [&str; 3] = ["ENABLE_SSL_V3", "ENABLE_TLS_V1_0", "ENABLE_TLS_V1_1"];

/// All names after the prefix that mean something.
const NAMES: [&str; 20] = [
    "CA_DIR",
    "CA_FILE",
    "CERT_FILE",
    "CIPHERS",
    "ECDH_CURVES",
    "ENABLED",
    "ENABLE_SSL_V3",
    "ENABLE_TLS_V1_0",
    "ENABLE_TLS_V1_1",
    "ENABLE_TLS_V1_2",
    "ENABLE_TLS_V1_3",
    "HOSTNAME_VALIDATION_SCHEME",
    "KEY_FILE",
    "REQUIRE_CERT",
    "REQUIRE_CLIENT_CERT",
    "SUPPORT_DOWNGRADE",
    "VERIFICATION_DEPTH",
    "VERIFY_CERT",
    "VERIFY_IPADD",
    "VERIFY_SERVER_CERT",
];

impl TlsConfig {
    /// The settings in `variables`; none if they do not enable TLS, in which case the others are not looked at.
    pub(crate) fn from_vars(variables: &[(String, String)]) -> Result<Option<Self>, ConfigError> {
        let variables = Variables::collect(variables);
        if !variables.switch("ENABLED", false)? {
            return Ok(None);
        }
        variables.warn_of_unknown();
        variables.refuse_old_versions()?;
        let mut config = Self::new(
            variables.required_path("CERT_FILE")?,
            variables.required_path("KEY_FILE")?,
        );
        config.support_downgrade = variables.switch("SUPPORT_DOWNGRADE", false)?;
        config.verify_server_cert = variables.renamed("VERIFY_CERT", "VERIFY_SERVER_CERT")?;
        config.require_client_cert = variables.renamed("REQUIRE_CERT", "REQUIRE_CLIENT_CERT")?;
        config.verify_ipadd = variables.switch("VERIFY_IPADD", false)?;
        config.ca_file = variables.path("CA_FILE")?;
        config.ca_dir = variables.path("CA_DIR")?;
        config.tls_v1_2 = variables.switch("ENABLE_TLS_V1_2", true)?;
        config.tls_v1_3 = variables.switch("ENABLE_TLS_V1_3", true)?;
        variables.parse(
            "VERIFICATION_DEPTH",
            "a number, 0 or more",
            &mut config.verification_depth,
        )?;
        variables.parse(
            "HOSTNAME_VALIDATION_SCHEME",
            "legacy or openssl",
            &mut config.hostname_validation,
        )?;
        variables.list("CIPHERS", CIPHER_NAMES, &mut config.ciphers)?;
        if variables.flag("ECDH_CURVES")?.as_deref() != Some("auto") {
            variables.list("ECDH_CURVES", CURVE_NAMES, &mut config.curves)?;
        }
        variables.check_versions(&config)?;
        Ok(Some(config))
    }
}

/// The variables of both prefixes by what follows the prefix, in upper case.
struct Variables<'a>(HashMap<String, Variable<'a>>);

#[derive(Clone, Copy)]
struct Variable<'a> {
    name: &'a str,
    value: &'a str,
}

impl<'a> Variables<'a> {
    fn collect(variables: &'a [(String, String)]) -> Self {
        let with_prefix = |prefix: &'static str| {
            variables.iter().filter_map(move |(name, value)| {
                let key = name.strip_prefix(prefix)?.to_ascii_uppercase();
                Some((key, Variable { name, value }))
            })
        };
        let mut all: HashMap<_, _> = with_prefix(DEPRECATED_PREFIX)
            .filter(|(key, _)| NAMES.contains(&key.as_str()))
            .collect();
        for (key, variable) in with_prefix(PREFIX) {
            if let Some(old) = all.insert(key, variable)
                && old.value != variable.value
            {
                tracing::warn!("{} overrides {}, which differs", variable.name, old.name);
            }
        }
        Self(all)
    }

    /// A misspelt name would otherwise leave a door open unnoticed; the user documentation of Mesos has some.
    fn warn_of_unknown(&self) {
        let unknown = self
            .0
            .iter()
            .filter(|(key, _)| !NAMES.contains(&key.as_str()));
        for (_, variable) in unknown {
            tracing::warn!("Ignored {}: there is no such variable", variable.name);
        }
    }

    fn refuse_old_versions(&self) -> Result<(), ConfigError> {
        for key in OLD_VERSIONS {
            if self.switch(key, false)? {
                return Err(self.error(key, "false or 0: there are only TLS 1.2 and 1.3"));
            }
        }
        Ok(())
    }

    fn check_versions(&self, config: &TlsConfig) -> Result<(), ConfigError> {
        if !config.tls_v1_2 && !config.tls_v1_3 {
            let expected = "true or 1, since ENABLE_TLS_V1_3 is false";
            return Err(self.error("ENABLE_TLS_V1_2", expected));
        }
        if !config.tls_v1_3 && !config.ciphers.iter().any(|suite| suite.is_of(&TLS12)) {
            let expected = "a cipher of TLS 1.2 in the list, since ENABLE_TLS_V1_3 is false";
            return Err(self.error("CIPHERS", expected));
        }
        Ok(())
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).map(|variable| variable.value)
    }

    /// The value, or what is in the file that it names.
    fn flag(&self, key: &str) -> Result<Option<Cow<'a, str>>, ConfigError> {
        let fetched = self.value(key).map(fetch).transpose();
        fetched.map_err(|error| self.bad(key, error.into()))
    }

    fn error(&self, key: &str, expected: &'static str) -> ConfigError {
        self.bad(key, BadValue::Expected(expected))
    }

    fn bad(&self, key: &str, bad: BadValue) -> ConfigError {
        let found = self.0.get(key);
        bad.of(
            found.map_or_else(|| format!("{PREFIX}{key}"), |found| found.name.to_owned()),
            found.map_or_else(String::new, |found| found.value.to_owned()),
        )
    }

    fn switch(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        let Some(value) = self.value(key) else {
            return Ok(default);
        };
        parse_switch(value).map_err(|bad| self.bad(key, bad))
    }

    /// True if either the old or the new name of a switch is set to true.
    fn renamed(&self, old: &str, new: &str) -> Result<bool, ConfigError> {
        let old_is_set = self.switch(old, false)?;
        if old_is_set {
            tracing::warn!("{PREFIX}{old} is deprecated: it is now {PREFIX}{new}");
        }
        Ok(self.switch(new, false)? || old_is_set)
    }

    fn path(&self, key: &str) -> Result<Option<PathBuf>, ConfigError> {
        match self.value(key) {
            Some("") => Err(self.error(key, "a path")),
            value => Ok(value.map(PathBuf::from)),
        }
    }

    fn required_path(&self, key: &str) -> Result<PathBuf, ConfigError> {
        let expected = "the path of a PEM file, since TLS is enabled";
        let missing = || self.error(key, expected);
        self.path(key).map_err(|_| missing())?.ok_or_else(missing)
    }

    /// Leaves `target` as it is if the variable is not set.
    fn parse<T: FromStr>(
        &self,
        key: &str,
        expected: &'static str,
        target: &mut T,
    ) -> Result<(), ConfigError> {
        if let Some(value) = self.value(key) {
            *target = parse_flag(value, expected).map_err(|bad| self.bad(key, bad))?;
        }
        Ok(())
    }

    /// A list with the separators that OpenSSL allows.
    fn list<T: FromStr>(
        &self,
        key: &str,
        expected: &'static str,
        target: &mut Vec<T>,
    ) -> Result<(), ConfigError> {
        if let Some(value) = self.flag(key)? {
            let names = value.split([':', ',', ' ']).filter(|name| !name.is_empty());
            let parsed: Result<Vec<T>, T::Err> = names.map(str::parse).collect();
            *target = parsed
                .ok()
                .filter(|parsed| !parsed.is_empty())
                .ok_or_else(|| self.error(key, expected))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostnameValidation;

    /// What enables TLS, and then these.
    fn from(more: &[(&str, &str)]) -> Result<Option<TlsConfig>, ConfigError> {
        let required = [
            ("LIBPROCESS_SSL_ENABLED", "true"),
            ("LIBPROCESS_SSL_CERT_FILE", "c"),
            ("LIBPROCESS_SSL_KEY_FILE", "k"),
        ];
        let overridden = |name: &str| more.iter().any(|(other, _)| *other == name);
        let kept = required.iter().filter(|(name, _)| !overridden(name));
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let vars: Vec<_> = kept.chain(more).map(owned).collect();
        TlsConfig::from_vars(&vars)
    }

    fn names<T: ToString>(list: &[T]) -> String {
        let names: Vec<String> = list.iter().map(T::to_string).collect();
        names.join(" ")
    }

    #[test]
    fn tls_is_off_unless_enabled() {
        let check = |name: &str, value: &str, expected: bool| {
            let vars = [(name, value), ("LIBPROCESS_SSL_CIPHERS", "RC4-SHA")];
            let off = matches!(from(&vars), Ok(None));
            assert_eq!(off, expected, "{name}={value}");
        };
        check("LIBPROCESS_SSL_ENABLED", "0", true);
        check("LIBPROCESS_SSL_ENABLED", "false", true);
        check("LIBPROCESS_SSL_ENABLED", "1", false);
        assert!(TlsConfig::from_vars(&[]).unwrap().is_none());
    }

    #[test]
    fn has_defaults() {
        let config = from(&[]).unwrap().unwrap();
        assert_eq!(config.cert_file, PathBuf::from("c"));
        assert_eq!(config.key_file, PathBuf::from("k"));
        assert!(!config.support_downgrade && !config.verify_server_cert);
        assert!(!config.require_client_cert && !config.verify_ipadd);
        assert_eq!(config.verification_depth, 4);
        assert_eq!((config.ca_file, config.ca_dir), (None, None));
        assert_eq!(config.hostname_validation, HostnameValidation::Legacy);
        assert!(config.tls_v1_2 && config.tls_v1_3);
        assert_eq!(config.ciphers.len(), 9);
        assert_eq!(names(&config.curves), "X25519 P-256 P-384");
    }

    #[test]
    fn reads_every_variable() {
        type Get = fn(&TlsConfig) -> String;
        let check = |name: &str, value: &str, get: Get, expected: &str| {
            for prefix in ["LIBPROCESS_SSL_", "SSL_"] {
                let variable = format!("{prefix}{name}");
                let config = from(&[(&variable, value)]).unwrap().unwrap();
                assert_eq!(get(&config), expected, "{variable}={value}");
            }
        };
        let downgrade: Get = |config| config.support_downgrade.to_string();
        check("SUPPORT_DOWNGRADE", "true", downgrade, "true");
        check("support_downgrade", "1", downgrade, "true");
        let verify: Get = |config| config.verify_server_cert.to_string();
        check("VERIFY_SERVER_CERT", "1", verify, "true");
        check("VERIFY_CERT", "1", verify, "true");
        let require: Get = |config| config.require_client_cert.to_string();
        check("REQUIRE_CLIENT_CERT", "1", require, "true");
        check("REQUIRE_CERT", "1", require, "true");
        let implied: Get = |config| config.verifies_servers().to_string();
        check("REQUIRE_CERT", "1", implied, "true");
        check("VERIFY_IPADD", "1", |c| c.verify_ipadd.to_string(), "true");
        let depth: Get = |config| config.verification_depth.to_string();
        check("VERIFICATION_DEPTH", "0", depth, "0");
        check("CA_DIR", "d", |c| format!("{:?}", c.ca_dir), "Some(\"d\")");
        check(
            "CA_FILE",
            "f",
            |c| format!("{:?}", c.ca_file),
            "Some(\"f\")",
        );
        let scheme: Get = |config| format!("{:?}", config.hostname_validation);
        check("HOSTNAME_VALIDATION_SCHEME", "legacy", scheme, "Legacy");
        check("HOSTNAME_VALIDATION_SCHEME", "openssl", scheme, "OpenSsl");
        check("ENABLE_TLS_V1_2", "0", |c| c.tls_v1_2.to_string(), "false");
        check("ENABLE_TLS_V1_3", "0", |c| c.tls_v1_3.to_string(), "false");
        check("ENABLE_SSL_V3", "0", |c| c.tls_v1_3.to_string(), "true");
        let ciphers: Get = |config| names(&config.ciphers);
        let two = "ECDHE-RSA-AES128-GCM-SHA256 TLS_AES_128_GCM_SHA256";
        let list = "ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256";
        check("CIPHERS", list, ciphers, two);
        check("CIPHERS", two, ciphers, two);
        let curves: Get = |config| names(&config.curves);
        check("ECDH_CURVES", "auto", curves, "X25519 P-256 P-384");
        check("ECDH_CURVES", "P-384:prime256v1", curves, "P-384 P-256");
        // Unknown ones count for nothing.
        check("VERIFY_DEPTH", "x", depth, "4");
    }

    #[test]
    fn files_stand_for_their_content_unless_a_path_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            format!("file://{}", path.display())
        };
        let config = from(&[
            ("LIBPROCESS_SSL_ENABLED", &file("enabled", "1")),
            ("LIBPROCESS_SSL_VERIFICATION_DEPTH", &file("depth", "2")),
            ("LIBPROCESS_SSL_ECDH_CURVES", &file("curves", "auto")),
            (
                "LIBPROCESS_SSL_CIPHERS",
                &file("ciphers", "TLS_AES_128_GCM_SHA256"),
            ),
            ("LIBPROCESS_SSL_CERT_FILE", "file:///c"),
        ]);
        let config = config.unwrap().unwrap();
        assert_eq!(config.verification_depth, 2);
        assert_eq!(names(&config.curves), "X25519 P-256 P-384");
        assert_eq!(names(&config.ciphers), "TLS_AES_128_GCM_SHA256");
        assert_eq!(config.cert_file, PathBuf::from("file:///c"));
        let error = from(&[("LIBPROCESS_SSL_ENABLED", "file:///no/file")]);
        let error = error.unwrap_err().to_string();
        let expected =
            "LIBPROCESS_SSL_ENABLED='file:///no/file' is not valid: failed to read the file";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn the_newer_prefix_and_either_name_win() {
        let config = from(&[
            ("LIBPROCESS_SSL_CERT_FILE", "new"),
            ("SSL_CERT_FILE", "old"),
            ("SSL_KEY_FILE", "old"),
            ("LIBPROCESS_SSL_VERIFY_SERVER_CERT", "false"),
            ("LIBPROCESS_SSL_VERIFY_CERT", "true"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(config.cert_file, PathBuf::from("new"));
        assert_eq!(config.key_file, PathBuf::from("k"));
        assert!(config.verify_server_cert);
    }

    #[test]
    fn bad_values_name_the_variable() {
        let check = |name: &str, value: &str, expected: &str| {
            let error = from(&[(name, value)]).unwrap_err().to_string();
            let expected = format!("{name}='{value}' is not valid: expected {expected}");
            assert!(error.starts_with(&expected), "{error}");
        };
        let boolean = "true, 1, false or 0";
        check("LIBPROCESS_SSL_ENABLED", "yes", boolean);
        check("SSL_SUPPORT_DOWNGRADE", "TRUE", boolean);
        let pem = "the path of a PEM file, since TLS is enabled";
        check("LIBPROCESS_SSL_CERT_FILE", "", pem);
        check("LIBPROCESS_SSL_KEY_FILE", "", pem);
        check("LIBPROCESS_SSL_CA_DIR", "", "a path");
        check("LIBPROCESS_SSL_VERIFICATION_DEPTH", "-1", "a number");
        let scheme = "legacy or openssl";
        check("LIBPROCESS_SSL_HOSTNAME_VALIDATION_SCHEME", "x", scheme);
        let list = "a list, separated by ':', of TLS_AES_256_GCM_SHA384,";
        check("LIBPROCESS_SSL_CIPHERS", "AES128-SHA", list);
        check("LIBPROCESS_SSL_CIPHERS", "", list);
        let known = "ECDHE-RSA-AES128-GCM-SHA256:!RC4";
        check("LIBPROCESS_SSL_CIPHERS", known, list);
        check("LIBPROCESS_SSL_ECDH_CURVES", "P-521", "auto, or a list");
        let old = "false or 0: there are only TLS 1.2 and 1.3";
        check("LIBPROCESS_SSL_ENABLE_SSL_V3", "true", old);
        check("LIBPROCESS_SSL_ENABLE_TLS_V1_0", "1", old);
        check("LIBPROCESS_SSL_enable_tls_v1_1", "1", old);
        let enabled = [("LIBPROCESS_SSL_ENABLED".to_owned(), "1".to_owned())];
        assert_eq!(
            TlsConfig::from_vars(&enabled).unwrap_err().to_string(),
            format!("LIBPROCESS_SSL_CERT_FILE='' is not valid: expected {pem}")
        );
    }

    #[test]
    fn some_version_must_be_left() {
        let check = |vars: &[(&str, &str)], expected: &str| {
            let error = from(vars).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let no_1_2 = ("LIBPROCESS_SSL_ENABLE_TLS_V1_2", "0");
        let no_1_3 = ("LIBPROCESS_SSL_ENABLE_TLS_V1_3", "0");
        check(&[no_1_2, no_1_3], "expected true or 1");
        let ciphers = ("LIBPROCESS_SSL_CIPHERS", "TLS_AES_128_GCM_SHA256");
        check(&[no_1_3, ciphers], "expected a cipher of TLS 1.2");
    }
}
