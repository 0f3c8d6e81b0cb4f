//! Addresses of actors: `id@ip:port`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;

use crate::actor::AnyMailbox;

/// The address of an actor: its id and the advertised address of the runtime that hosts it.
///
/// The text form is `id@ip:port`; an IPv6 address, which upstream does not have, is written in brackets. The *empty* address
/// (id `""`, `0.0.0.0:0`) stands for "no actor": it is what an unparsable sender becomes, and messages sent to it vanish.
///
/// Clones share one allocation.
///
/// Upstream: `process::UPID` in `3rdparty/libprocess/include/process/pid.hpp`.
#[derive(Clone)]
pub struct Upid(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    id: Box<str>,
    /// The name from which the address was looked up; no part of the identity.
    host: Option<Box<str>>,
    /// For the address that the actor's own runtime has made.
    local: Option<Local>,
}

/// Where messages to an actor go, so that it need not be looked for by its id. It is a shortcut and no more: the actor may have
/// ended, and another one may have its id.
///
/// A mailbox in turn holds addresses in the messages that wait in it; that cycle ends with the actor, which empties its mailbox.
struct Local {
    /// Two runtimes of one OS process reach each other by the network.
    runtime: RuntimeId,
    mailbox: Arc<dyn AnyMailbox>,
}

/// Identifies a runtime of this OS process for as long as it has actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuntimeId(pub(crate) usize);

/// Why a text is not an actor address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpidParseError {
    /// The text has no `@` between id and address.
    #[error("'{0}' has no '@': expected id@ip:port")]
    MissingAt(String),
    /// The text has no `:` between host and port.
    #[error("'{0}' has no ':' after the '@': expected id@ip:port")]
    MissingColon(String),
    /// The host is not an IP address, or no address was found for the name.
    #[error("'{host}' in '{text}' is not an IP address")]
    BadHost {
        /// The whole text.
        text: String,
        /// Its host part.
        host: String,
    },
    /// The port is not a decimal number that fits 16 bits.
    #[error("'{port}' in '{text}' is not a port (0 to 65535)")]
    BadPort {
        /// The whole text.
        text: String,
        /// Its port part.
        port: String,
    },
}

impl Upid {
    /// The address of the actor `id` at `address`.
    pub fn new(id: impl Into<Box<str>>, address: impl Into<SocketAddr>) -> Self {
        Self(Arc::new(Inner {
            address: address.into(),
            id: id.into(),
            host: None,
            local: None,
        }))
    }

    /// The address of an actor that `runtime` hosts.
    pub(crate) fn local(
        id: impl Into<Box<str>>,
        address: SocketAddr,
        runtime: RuntimeId,
        mailbox: Arc<dyn AnyMailbox>,
    ) -> Self {
        Self(Arc::new(Inner {
            address,
            id: id.into(),
            host: None,
            local: Some(Local { runtime, mailbox }),
        }))
    }

    /// The mailbox of the actor if it is known and the actor is one of `runtime`.
    pub(crate) fn mailbox(&self, runtime: RuntimeId) -> Option<&Arc<dyn AnyMailbox>> {
        let local = self.0.local.as_ref()?;
        (local.runtime == runtime).then_some(&local.mailbox)
    }

    /// True for clones of one address.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The id of the actor within its runtime, for example `slave(1)`.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The advertised address of the runtime that hosts the actor.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The host name that the address was [looked up](Self::resolve) by, if it was. It is no part of the identity. By TLS, the
    /// certificate of the peer may be for this name.
    pub fn host(&self) -> Option<&str> {
        self.0.host.as_deref()
    }

    /// True if id, IP and port are all empty. A partly empty address is neither empty nor [valid](Self::is_valid).
    pub fn is_empty(&self) -> bool {
        self.id().is_empty() && self.0.address.ip().is_unspecified() && self.0.address.port() == 0
    }

    /// True if a message can be sent there: the id is not empty, the IP is not `0.0.0.0` and the port is not 0.
    pub fn is_valid(&self) -> bool {
        !self.id().is_empty() && !self.0.address.ip().is_unspecified() && self.0.address.port() != 0
    }

    /// Like parsing, but a host that is no IP literal is looked up by name; the first IPv4 address is taken, or the first IPv6
    /// address if there is no other.
    ///
    /// This blocks on DNS: for command lines and configuration, never for text that came from a peer.
    pub fn resolve(text: &str) -> Result<Self, UpidParseError> {
        parse(text, |host| {
            let found = lookup(host).unwrap_or_default();
            found.into_iter().min_by_key(IpAddr::is_ipv6)
        })
    }
}

/// The addresses of a host name.
pub(crate) fn lookup(host: &str) -> std::io::Result<Vec<IpAddr>> {
    let found = (host, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

impl Default for Upid {
    fn default() -> Self {
        Self::new("", (Ipv4Addr::UNSPECIFIED, 0))
    }
}

impl FromStr for Upid {
    type Err = UpidParseError;

    /// Leading white space is skipped and only the first word counts, as upstream; host names are not looked up here
    /// (see [`Upid::resolve`]).
    fn from_str(text: &str) -> Result<Self, UpidParseError> {
        parse(text, |_| None)
    }
}

/// `resolve` finds the address of a host that is no IP literal.
fn parse(text: &str, resolve: impl FnOnce(&str) -> Option<IpAddr>) -> Result<Upid, UpidParseError> {
    let word = text.split_whitespace().next().unwrap_or_default();
    let (id, address) = word
        .split_once('@')
        .ok_or_else(|| UpidParseError::MissingAt(text.to_owned()))?;
    let (host, port) =
        split_host(address).ok_or_else(|| UpidParseError::MissingColon(text.to_owned()))?;
    let literal = host.parse().ok();
    let ip = literal.or_else(|| resolve(host));
    let ip = ip.ok_or_else(|| UpidParseError::BadHost {
        text: text.to_owned(),
        host: host.to_owned(),
    })?;
    let digits = port
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(port.len());
    let port = port
        .get(..digits)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| UpidParseError::BadPort {
            text: text.to_owned(),
            port: port.to_owned(),
        })?;
    Ok(Upid(Arc::new(Inner {
        address: SocketAddr::new(ip, port),
        id: id.into(),
        host: literal.is_none().then(|| host.into()),
        local: None,
    })))
}

/// Splits `ip:port`, or `[ip]:port` as an IPv6 address is written.
fn split_host(address: &str) -> Option<(&str, &str)> {
    match address.strip_prefix('[') {
        Some(rest) => rest.split_once("]:"),
        None => address.split_once(':'),
    }
}

impl PartialEq for Upid {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || (self.id() == other.id() && self.address() == other.address())
    }
}

impl Eq for Upid {}

impl Hash for Upid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Few actors of different runtimes have the same id.
        self.id().hash(state);
        self.0.address.port().hash(state);
    }
}

impl PartialOrd for Upid {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Upid {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_address = self.0.address.cmp(&other.0.address);
        by_address.then_with(|| self.id().cmp(other.id()))
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id(), self.address())
    }
}

impl fmt::Debug for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let parsed = text.parse::<Upid>().ok().map(|upid| upid.to_string());
        assert_eq!(parsed.as_deref(), expected, "parsing {text:?}");
    }

    #[test]
    fn parses_like_upstream() {
        check("master@127.0.0.1:5050", Some("master@127.0.0.1:5050"));
        check("slave(1)@10.0.0.7:5051", Some("slave(1)@10.0.0.7:5051"));
        check("  a@1.2.3.4:5 trailing words", Some("a@1.2.3.4:5"));
        check("@0.0.0.0:0", Some("@0.0.0.0:0"));
        check("a@1.2.3.4:5x", Some("a@1.2.3.4:5"));
        check("a@1.2.3.4:65535", Some("a@1.2.3.4:65535"));
        check("a@[::1]:5", Some("a@[::1]:5"));
        check("a@[fe80::0:1]:65535", Some("a@[fe80::1]:65535"));
        check("a@[::1]", None);
        check("a@[::1:5", None);
        check("", None);
        check("master", None);
        check("master@127.0.0.1", None);
        check("a@b@1.2.3.4:5", None);
        check("a@1.2.3.4:", None);
        check("a@1.2.3.4:65536", None);
        check("a@1.2.3.4:-1", None);
        check("a@1.2.3:5", None);
        check("a@::1:5", None);
        check("a@localhost:5", None);
    }

    #[test]
    fn resolves_names_only_on_request() {
        let upid = Upid::resolve("a@localhost:5").unwrap();
        assert_eq!(upid.to_string(), "a@127.0.0.1:5");
        assert_eq!(upid.host(), Some("localhost"));
        assert_eq!(upid, Upid::new("a", ([127, 0, 0, 1], 5)));
        assert_eq!(Upid::resolve("a@127.0.0.1:5").unwrap().host(), None);
        assert!(Upid::resolve("a@no.such.host.invalid:5").is_err());
    }

    #[test]
    fn emptiness_and_validity_are_not_complementary() {
        let check = |text: &str, empty: bool, valid: bool| {
            let upid: Upid = text.parse().unwrap();
            assert_eq!((upid.is_empty(), upid.is_valid()), (empty, valid), "{text}");
        };
        check("@0.0.0.0:0", true, false);
        check("a@0.0.0.0:0", false, false);
        check("@1.2.3.4:5", false, false);
        check("a@1.2.3.4:5", false, true);
        assert!(Upid::default().is_empty());
    }

    #[test]
    fn orders_by_address_first() {
        let mut upids: Vec<Upid> = ["b@1.2.3.4:5", "a@1.2.3.5:1", "a@1.2.3.4:5"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        upids.sort();
        assert_eq!(
            format!("{upids:?}"),
            "[a@1.2.3.4:5, b@1.2.3.4:5, a@1.2.3.5:1]"
        );
    }
}
