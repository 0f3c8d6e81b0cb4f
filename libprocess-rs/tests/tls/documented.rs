//! What `docs/tls.md` tells people to do.

use std::path::Path;
use std::process::Command;

use libprocess::{HostnameValidation, Runtime, TlsConfig};
use tempfile::TempDir;

use crate::certificates::Identity;
use crate::common::start;
use crate::support::*;

fn bash(folder: &Path, script: &str) {
    let run = Command::new("bash")
        .args(["-ec", script])
        .env("host", "localhost")
        .env("ip", "127.0.0.1")
        .current_dir(folder)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{error}");
}

/// Runs the commands that make certificates.
fn certificates() -> TempDir {
    let guide = include_str!("../../../docs/tls.md");
    let script = guide.split("```bash\n").nth(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    bash(folder.path(), script.split("```").next().unwrap());
    folder
}

fn config(folder: &Path) -> TlsConfig {
    TlsConfig {
        ca_file: Some(folder.join("ca.pem")),
        verify_server_cert: true,
        verify_ipadd: true,
        hostname_validation: HostnameValidation::OpenSsl,
        ..TlsConfig::new(folder.join("cert.pem"), folder.join("key.pem"))
    }
}

#[test]
fn the_commands_make_certificates_that_work() {
    let folder = certificates();
    let far = web(with_tls(config(folder.path())));
    let near = start(with_tls(config(folder.path())));
    assert!(arrives(&near, &far));
    let ca_file = folder.path().join("ca.pem");
    let trusting = ["--cacert", ca_file.to_str().unwrap()];
    assert_eq!(
        curl(&far, "https", "web/hello", &trusting).unwrap(),
        "hello"
    );
}

#[test]
fn the_ciphers_for_older_peers_work() {
    let folder = certificates();
    let near = start(with_tls(config(folder.path())));
    let identity = Identity {
        cert: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    let guide = include_str!("../../../docs/tls.md");
    let ciphers = guide.split("LIBPROCESS_SSL_CIPHERS=").nth(1).unwrap();
    let ciphers = ciphers.lines().next().unwrap();
    let server = Server::start(&identity, &["-tls1_2", "-cipher", ciphers]);
    assert!(reaches(&near, &server));
    let server = Server::start(&identity, &["-tls1_2", "-cipher", "AES128-SHA"]);
    assert!(!reaches(&near, &server));
}

#[test]
fn certificates_of_version_1_serve_only_peers_that_nobody_verifies() {
    let folder = certificates();
    bash(
        folder.path(),
        "openssl x509 -req -in host.csr -CA ca.pem -CAkey ca.key -out v1.pem",
    );
    let identity = Identity {
        cert: folder.path().join("v1.pem"),
        key: folder.path().join("key.pem"),
    };
    let server = Server::start(&identity, &[]);
    let verifying = config(folder.path());
    assert!(!reaches(&start(with_tls(verifying.clone())), &server));
    let trusting = TlsConfig {
        verify_server_cert: false,
        ..verifying
    };
    assert!(reaches(&start(with_tls(trusting)), &server));
    let error = Runtime::start(with_tls(identity.config())).unwrap_err();
    assert!(
        error.to_string().contains("UnsupportedCertVersion"),
        "{error}"
    );
}
