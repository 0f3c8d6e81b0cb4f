//! Where a runtime listens, and what it tells others.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::StartError;
use crate::network::Listener;
use crate::{RuntimeConfig, upid};

/// What a runtime listens on, and what it tells others.
pub(crate) struct Addresses {
    pub(super) bound: SocketAddr,
    pub(super) advertised: SocketAddr,
}

impl Addresses {
    pub(crate) fn new(config: &RuntimeConfig, listener: &dyn Listener) -> Result<Self, StartError> {
        let bound = listener.local_address().map_err(|error| {
            let address = SocketAddr::new(config.ip, config.port);
            StartError::Bind { address, error }
        })?;
        let ip = advertised_ip(bound.ip(), config.advertise_ip, upid::lookup)?;
        let port = config.advertise_port.unwrap_or(bound.port());
        let advertised = SocketAddr::new(ip, port);
        Ok(Self { bound, advertised })
    }
}

/// The IP in the addresses of the actors. If none is told, it is one of those of the host's name: an IPv4 address, or an IPv6
/// address if there is no other and that family is listened on.
fn advertised_ip(
    bound: IpAddr,
    configured: Option<IpAddr>,
    lookup: impl FnOnce(&str) -> io::Result<Vec<IpAddr>>,
) -> Result<IpAddr, StartError> {
    let ip = configured.unwrap_or(bound);
    if !ip.is_unspecified() {
        return Ok(ip);
    }
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let mut found = lookup(&name).unwrap_or_default();
    found.retain(|found| found.is_ipv4() || (bound.is_ipv6() && ip.is_ipv6()));
    let first = found.into_iter().min_by_key(IpAddr::is_ipv6);
    first.ok_or(StartError::NoAddress(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_becomes_an_address_that_is_listened_on() {
        let check = |bound: &str, configured: &str, found: &[&str], expected: Option<&str>| {
            let ip = |text: &str| text.parse::<IpAddr>().unwrap();
            let configured = (!configured.is_empty()).then(|| ip(configured));
            let found = found.iter().map(|text| ip(text)).collect();
            let advertised = advertised_ip(ip(bound), configured, |_| Ok(found));
            assert_eq!(advertised.ok(), expected.map(ip), "{bound} {configured:?}");
        };
        let (four, six) = ("10.0.0.1", "fd00::1");
        check("127.0.0.1", "", &[four], Some("127.0.0.1"));
        check("127.0.0.1", "1.2.3.4", &[four], Some("1.2.3.4"));
        check("0.0.0.0", "1.2.3.4", &[four], Some("1.2.3.4"));
        check("0.0.0.0", "", &[six, four, "10.0.0.2"], Some(four));
        check("0.0.0.0", "", &[six], None);
        check("0.0.0.0", "", &[], None);
        check("0.0.0.0", "::", &[six], None);
        check("127.0.0.1", "0.0.0.0", &[six, four], Some(four));
        check("127.0.0.1", "0.0.0.0", &[six], None);
        check("::", "", &[six, four], Some(four));
        check("::", "", &[six], Some(six));
        check("::", "", &[], None);
        check("::", "0.0.0.0", &[six], None);
    }

    #[test]
    fn a_host_without_an_address_is_an_error_that_names_it() {
        let failed = |_: &str| Err(io::ErrorKind::NotFound.into());
        let error = advertised_ip([0; 4].into(), None, failed).unwrap_err();
        let name = nix::unistd::gethostname().unwrap();
        let name = name.to_string_lossy();
        assert!(error.to_string().contains(&*name), "{error}");
    }
}
