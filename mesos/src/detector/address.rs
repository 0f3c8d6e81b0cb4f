//! The address of a master that users write instead of a ZooKeeper URL.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs};
use std::str::FromStr;

use crate::proto::{Address, MasterInfo, master_info};

/// Port of an address that names none.
const DEFAULT_PORT: u16 = 5050;
/// Actor id of a master.
const DEFAULT_ID: &str = "master";

/// Why a text is no address of a master.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text is not of the form `host:port`.
    #[error(
        "Failed to parse '{text}': {reason}; expecting host:port, master@host:port, zk://... or file://..."
    )]
    Malformed {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The host has no IPv4 address.
    #[error("Failed to resolve the host of the master '{text}': {reason}")]
    Unresolvable {
        /// What was given.
        text: String,
        /// The answer of the resolver.
        reason: String,
    },
}

/// `[http[s]://][id@]host[:port]`, not yet resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterAddress {
    id: String,
    host: String,
    port: u16,
}

impl MasterAddress {
    /// Looks the host up and makes up the `MasterInfo` of the master at this address. Blocks
    /// for as long as the system's resolver does.
    ///
    /// # Errors
    /// When the host has no IPv4 address.
    ///
    /// Upstream: `mesos::internal::protobuf::createMasterInfo`.
    pub fn resolve(&self) -> Result<MasterInfo, AddressError> {
        let unresolvable = |reason: String| AddressError::Unresolvable {
            text: format!("{}:{}", self.host, self.port),
            reason,
        };
        let found = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| unresolvable(error.to_string()))?
            .find_map(|address| match address {
                SocketAddr::V4(address) => Some(address),
                SocketAddr::V6(_) => None,
            });
        let address = found.ok_or_else(|| unresolvable("it has no IPv4 address".to_owned()))?;
        Ok(self.master_info(address))
    }

    fn master_info(&self, address: SocketAddrV4) -> MasterInfo {
        let pid = format!("{}@{address}", self.id);
        MasterInfo {
            id: format!("{pid}-{}", uuid::Uuid::new_v4()),
            ip: network_order(*address.ip()),
            port: u32::from(address.port()),
            pid: Some(pid),
            hostname: Some(self.host.clone()),
            version: None,
            address: Some(Address {
                hostname: Some(self.host.clone()),
                ip: Some(address.ip().to_string()),
                port: i32::from(address.port()),
            }),
            domain: None,
            capabilities: master_capabilities(),
        }
    }
}

impl FromStr for MasterAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<MasterAddress, AddressError> {
        let malformed = |reason| AddressError::Malformed {
            text: text.to_owned(),
            reason,
        };
        let trimmed = text.trim();
        // Marathon passes the URL of its --master flag on as it is.
        let bare = ["http://", "https://"]
            .iter()
            .find_map(|scheme| trimmed.strip_prefix(scheme))
            .map_or(trimmed, |rest| rest.strip_suffix('/').unwrap_or(rest));
        let (id, host_port) = bare.split_once('@').unwrap_or((DEFAULT_ID, bare));
        let (host, port) = match host_port.split_once(':') {
            Some((host, port)) => (
                host,
                port.parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or_else(|| malformed("the port is no number from 1 to 65535"))?,
            ),
            None => (host_port, DEFAULT_PORT),
        };
        if host.is_empty() {
            return Err(malformed("the host is missing"));
        }
        if id.is_empty() || !host.chars().all(is_host_character) {
            return Err(malformed("it is no address"));
        }
        Ok(MasterAddress {
            id: id.to_owned(),
            host: host.to_owned(),
            port,
        })
    }
}

fn is_host_character(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// `MasterInfo.ip`: the address in network byte order, read as a little-endian number.
pub fn network_order(ip: Ipv4Addr) -> u32 {
    u32::from_le_bytes(ip.octets())
}

/// What a master of this version can do, as it announces it in its `MasterInfo`.
pub fn master_capabilities() -> Vec<master_info::Capability> {
    use master_info::capability::Type;
    [Type::AgentUpdate, Type::AgentDraining, Type::QuotaV2]
        .into_iter()
        .map(|capability| master_info::Capability {
            r#type: Some(capability.into()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        fn check(text: &str, pid: &str, hostname: &str) {
            let address: MasterAddress = text.parse().unwrap();
            let info = address.resolve().unwrap();
            assert_eq!(info.pid(), pid, "{text}");
            assert_eq!(info.hostname(), hostname, "{text}");
            assert!(info.id.starts_with(pid), "{text}: {}", info.id);
        }
        check("127.0.0.1:5050", "master@127.0.0.1:5050", "127.0.0.1");
        check("master@127.0.0.1:1", "master@127.0.0.1:1", "127.0.0.1");
        check(
            "master(1)@127.0.0.1:1",
            "master(1)@127.0.0.1:1",
            "127.0.0.1",
        );
        check(" localhost:5050\n", "master@127.0.0.1:5050", "localhost");
        check("127.0.0.1", "master@127.0.0.1:5050", "127.0.0.1");
        check("http://127.0.0.1:80/", "master@127.0.0.1:80", "127.0.0.1");
        check("https://127.0.0.1", "master@127.0.0.1:5050", "127.0.0.1");
    }

    #[test]
    fn refuses_what_is_no_address() {
        fn check(text: &str, expected: &str) {
            let error = match text.parse::<MasterAddress>() {
                Ok(address) => address.resolve().unwrap_err(),
                Err(error) => error,
            };
            let message = error.to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
        check("", "host is missing");
        check("127.0.0.1:", "port is no number");
        check("127.0.0.1:0", "port is no number");
        check("127.0.0.1:65536", "port is no number");
        check("127.0.0.1:5050/path", "port is no number");
        check(":5050", "host is missing");
        check("@127.0.0.1:5050", "no address");
        check("a b:5050", "Failed to parse 'a b:5050'");
        check("ftp://127.0.0.1:5050", "port is no number");
        check("no-such-host.invalid:5050", "Failed to resolve");
    }

    #[test]
    fn writes_ips_as_upstream_does() {
        assert_eq!(network_order(Ipv4Addr::new(127, 0, 0, 1)), 16_777_343);
        assert_eq!(network_order(Ipv4Addr::new(10, 0, 0, 1)), 16_777_226);
    }
}
