//! For which host a certificate is.

use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error};
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::config::{HostnameValidation, ReverseLookup, TlsConfig};
use crate::runtime::Tally;

/// Why the certificate of a peer is not taken to be for its host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    /// Clients have to be known.
    #[error("the host name of the peer is not known")]
    Unknown,
    /// It is for another one.
    #[error("the certificate is not for {0}")]
    Other(String),
    /// It does not parse.
    #[error("the certificate is malformed")]
    Malformed,
    /// It was not shown.
    #[error("the peer has no certificate")]
    Missing,
}

/// The check after the handshake, of [`HostnameValidation::Legacy`].
#[derive(Debug)]
pub(super) struct HostCheck {
    verify_ipadd: bool,
    require_client_cert: bool,
    lookup: ReverseLookup,
    /// Has the clock wait for the lookup.
    busy: Tally,
}

impl HostCheck {
    /// None if hosts are checked during the handshake, or not at all.
    pub(super) fn new(config: &TlsConfig, busy: &Tally) -> Option<Self> {
        let legacy = config.hostname_validation == HostnameValidation::Legacy;
        legacy.then(|| Self {
            verify_ipadd: config.verify_ipadd,
            require_client_cert: config.require_client_cert,
            lookup: config.reverse_lookup.clone(),
            busy: busy.clone(),
        })
    }

    /// `host` is what the caller calls the peer; it counts only if the name of the IP address cannot be found.
    pub(super) async fn check(
        &self,
        chain: Option<&[CertificateDer<'static>]>,
        ip: Option<IpAddr>,
        host: Option<&str>,
    ) -> Result<(), HostError> {
        let cert = chain
            .and_then(|chain| chain.first())
            .ok_or(HostError::Missing)?;
        // A port for IPv6 sees those of IPv4 as a kind of its own.
        let ip = ip.map(|ip| ip.to_canonical());
        let found = match ip {
            Some(ip) => self.reverse_lookup(ip).await,
            None => None,
        };
        let name = found.as_deref().or(host);
        if name.is_none() && !self.verify_ipadd {
            return match self.require_client_cert {
                true => Err(HostError::Unknown),
                false => Ok(()),
            };
        }
        let ip = ip.filter(|_| self.verify_ipadd);
        match is_for(cert, name, ip).ok_or(HostError::Malformed)? {
            true => Ok(()),
            false => Err(HostError::Other(description(name, ip))),
        }
    }

    async fn reverse_lookup(&self, ip: IpAddr) -> Option<String> {
        let _busy = self.busy.begin();
        let lookup = self.lookup.clone();
        let found = tokio::task::spawn_blocking(move || lookup.find(ip)).await;
        match found.unwrap_or_else(|error| Err(error.into())) {
            Ok(name) => Some(name),
            Err(error) => {
                tracing::warn!("Found no host name of {ip}: {error}");
                None
            }
        }
    }
}

fn description(name: Option<&str>, ip: Option<IpAddr>) -> String {
    let ip = ip.map(|ip| ip.to_string());
    let known: Vec<&str> = name.into_iter().chain(ip.as_deref()).collect();
    known.join(" or ")
}

/// True if one of the alternative names, or the common name, is exactly this host; none if the certificate does not parse.
fn is_for(cert: &CertificateDer<'_>, name: Option<&str>, ip: Option<IpAddr>) -> Option<bool> {
    let (_, cert) = X509Certificate::from_der(cert).ok()?;
    let alternatives = cert.subject_alternative_name().ok()?;
    let matches = |general: &GeneralName<'_>| match general {
        GeneralName::DNSName(dns) => name == Some(*dns),
        GeneralName::IPAddress(octets) => ip.is_some_and(|ip| is_same(ip, octets)),
        _ => false,
    };
    let alternative =
        alternatives.is_some_and(|found| found.value.general_names.iter().any(matches));
    Some(alternative || name.is_some() && common_name(&cert) == name)
}

fn is_same(ip: IpAddr, octets: &[u8]) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets() == octets,
        IpAddr::V6(ip) => ip.octets() == octets,
    }
}

fn common_name<'a>(cert: &'a X509Certificate<'_>) -> Option<&'a str> {
    let name = cert.subject().iter_common_name().next();
    name.and_then(|name| name.as_str().ok())
}

/// The check during the handshake: the alternative names with wildcards, and without DNS names among them the common name.
pub(super) fn is_for_server(cert: &CertificateDer<'_>, server: &ServerName<'_>) -> bool {
    if let Ok(cert) = EndEntityCert::try_from(cert)
        && cert.verify_is_valid_for_subject_name(server).is_ok()
    {
        return true;
    }
    let (ServerName::DnsName(name), Ok((_, cert))) = (server, X509Certificate::from_der(cert))
    else {
        return false;
    };
    let is_dns = |general: &GeneralName<'_>| matches!(general, GeneralName::DNSName(_));
    let has_dns_names = match cert.subject_alternative_name() {
        Ok(None) => false,
        Ok(Some(found)) => found.value.general_names.iter().any(is_dns),
        Err(_) => return false,
    };
    let common = common_name(&cert);
    !has_dns_names && common.is_some_and(|common| common.eq_ignore_ascii_case(name.as_ref()))
}

/// Whether a certificate that is trusted itself is so at this time.
pub(super) fn check_validity(cert: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, cert) =
        X509Certificate::from_der(cert).map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = cert.validity();
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}
