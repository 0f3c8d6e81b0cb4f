//! Certificates and keys from files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;
use super::config::TlsConfig;

/// The certificate of this runtime and those of its issuers, in this order.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = certificates(path)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(chain)
}

pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        error => unreadable(path, error),
    })
}

/// The certificates of the CAs to trust: of the configured file and directory, else of the system.
pub(super) fn trusted(config: &TlsConfig) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut trusted = match &config.ca_file {
        Some(file) => chain(file)?,
        None => Vec::new(),
    };
    if let Some(directory) = &config.ca_dir {
        trusted.extend(in_directory(directory)?);
    }
    if config.ca_file.is_none() && config.ca_dir.is_none() {
        trusted = of_system()?;
    }
    Ok(trusted)
}

fn in_directory(directory: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| TlsError::Read(directory.to_owned(), error);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            found.extend(certificates(&path)?);
        }
    }
    if found.is_empty() {
        return Err(TlsError::NoCertificate(directory.to_owned()));
    }
    Ok(found)
}

fn of_system() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("Not all CA certificates of the system could be read: {error}");
    }
    if found.certs.is_empty() {
        return Err(TlsError::NoSystemCertificates);
    }
    Ok(found.certs)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, error: pem::Error) -> TlsError {
    let path: PathBuf = path.to_owned();
    match error {
        pem::Error::Io(error) => TlsError::Read(path, error),
        error => TlsError::Read(path, io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}
