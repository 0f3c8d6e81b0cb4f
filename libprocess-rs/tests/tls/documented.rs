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

/// What is made of the certificate `weak.pem` with the key `weak.key` that the script makes beside those of the guide.
fn check_weak(script: &str, as_own: Option<&str>, itself_trusted: bool) {
    let folder = certificates();
    bash(folder.path(), script);
    let identity = Identity {
        cert: folder.path().join("weak.pem"),
        key: folder.path().join("weak.key"),
    };
    // OpenSSL itself has to be talked into using it.
    let is_reached_by = |tls: &TlsConfig| {
        let server = Server::start(&identity, &["-cipher", "DEFAULT@SECLEVEL=0"]);
        Runtime::start(with_tls(tls.clone())).is_ok_and(|near| {
            let reached = reaches(&near, &server);
            near.shutdown();
            reached
        })
    };
    let mut tls = config(folder.path());
    assert!(!is_reached_by(&tls));
    tls.ca_file = Some(identity.cert.clone());
    assert_eq!(is_reached_by(&tls), itself_trusted);
    tls.verify_server_cert = false;
    assert!(is_reached_by(&tls));
    match (Runtime::start(with_tls(identity.config())), as_own) {
        (Ok(runtime), None) => runtime.shutdown(),
        (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
        (result, expected) => panic!("{:?}, not {expected:?}", result.err()),
    }
}

/// Signs the request `host.csr` with more options for `openssl x509`.
fn sign(request: &str, extensions: &str, options: &str) -> String {
    format!(
        "openssl x509 -req -in {request} -CA ca.pem -CAkey ca.key -days 30 -out weak.pem {options} \
         -extfile <(printf 'subjectAltName=IP:127.0.0.1{extensions}')"
    )
}

#[test]
fn certificates_of_version_1_serve_only_peers_that_nobody_verifies() {
    let script = "cp key.pem weak.key; openssl x509 -req -in host.csr -CA ca.pem -CAkey ca.key -out weak.pem";
    check_weak(script, Some("UnsupportedCertVersion"), false);
}

#[test]
fn short_keys_serve_only_peers_that_nobody_verifies() {
    let request = "openssl req -newkey rsa:1024 -nodes -subj /CN=x -keyout weak.key -out weak.csr";
    let script = format!("{request}; {}", sign("weak.csr", "", ""));
    check_weak(&script, Some("failed to parse private key"), false);
}

#[test]
fn signatures_by_sha1_serve_only_peers_that_nobody_verifies() {
    let script = format!("cp key.pem weak.key; {}", sign("host.csr", "", "-sha1"));
    check_weak(&script, None, true);
}

#[test]
fn a_ca_is_no_host_unless_it_is_trusted_itself() {
    let ca = sign("host.csr", "\\nbasicConstraints=critical,CA:TRUE", "");
    check_weak(&format!("cp key.pem weak.key; {ca}"), None, true);
}
