//! Where a request goes.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What upstream escapes, besides all that is not ASCII: reserved and unsafe characters.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b'$')
    .add(b'&')
    .add(b'+')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'=')
    .add(b'?')
    .add(b'@')
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'#')
    .add(b'%')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'~')
    .add(b'[')
    .add(b']')
    .add(b'`');

const UNIX: &str = "http+unix://";

/// A URL of a scheme that the client speaks.
///
/// `http://host:port/path?query` and `https://…`, where the host is a name or an address; and
/// `http+unix://%2Fpath%2Fto%2Fsocket/path?query` for a Unix domain socket, whose path is percent-encoded in the place of the
/// host. The path and the query are sent as they are, so they have to be percent-encoded; the fragment is not sent.
///
/// ```
/// use libprocess::client::Url;
/// let url: Url = "http://localhost:5050/files/read".parse()?;
/// let url = url.query("path", "/var/log/a b").query("offset", "0");
/// assert_eq!(url.to_string(), "http://localhost:5050/files/read?path=%2Fvar%2Flog%2Fa%20b&offset=0");
/// # Ok::<(), libprocess::client::UrlError>(())
/// ```
///
/// Upstream: `process::http::URL`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    endpoint: Endpoint,
    target: String,
}

/// The server of a [`Url`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A port of a host.
    Tcp {
        /// A host name, or an IP address without brackets.
        host: String,
        /// The port.
        port: u16,
        /// True for `https`.
        tls: bool,
    },
    /// A Unix domain socket.
    Unix(PathBuf),
}

/// A text that is not a [`Url`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{url}' is not a URL: {reason}")]
pub struct UrlError {
    /// The text.
    pub url: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Url {
    /// A path, with a query if there is one, of a server.
    ///
    /// # Errors
    /// The path does not begin with a slash, or has characters that must be percent-encoded.
    pub fn new(endpoint: Endpoint, target: impl Into<String>) -> Result<Self, UrlError> {
        let target = target.into();
        match is_target(&target) {
            true => Ok(Self { endpoint, target }),
            false => Err(UrlError {
                url: target,
                reason: "expected a path that begins with a slash",
            }),
        }
    }

    /// Another path of the same server.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn at(&self, target: impl Into<String>) -> Result<Self, UrlError> {
        Self::new(self.endpoint.clone(), target)
    }

    /// The URL that a `Location` header in the response to this one names: a whole URL, one without scheme (`//host:port/path`),
    /// or a path of the same server.
    ///
    /// # Errors
    /// It is none of these.
    pub fn redirected(&self, location: &str) -> Result<Self, UrlError> {
        if !location.starts_with('/') {
            return location.parse();
        }
        match (location.strip_prefix("//"), &self.endpoint) {
            (None, _) => self.at(location),
            (Some(rest), Endpoint::Tcp { tls: true, .. }) => format!("https://{rest}").parse(),
            (Some(rest), _) => format!("http://{rest}").parse(),
        }
    }

    /// Appends a pair to the query, percent-encoded.
    pub fn query(mut self, key: &str, value: &str) -> Self {
        self.target.push(match self.target.contains('?') {
            true => '&',
            false => '?',
        });
        self.target.push_str(&percent_encode(key));
        self.target.push('=');
        self.target.push_str(&percent_encode(value));
        self
    }

    /// The server.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The path and the query, as they are sent.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl Endpoint {
    /// What the `Host` header says: the host, and the port unless it is the default of the scheme; `localhost` for a Unix domain
    /// socket.
    pub fn host_header(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port, tls } => {
                let host = match host.parse() {
                    Ok(IpAddr::V6(_)) => format!("[{host}]"),
                    _ => host.clone(),
                };
                match port == default_port(*tls) {
                    true => host,
                    false => format!("{host}:{port}"),
                }
            }
        }
    }
}

fn default_port(tls: bool) -> &'static u16 {
    match tls {
        true => &443,
        false => &80,
    }
}

fn is_target(text: &str) -> bool {
    text.starts_with('/') && !text.contains('#') && PathAndQuery::from_str(text).is_ok()
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let parsed = match text.strip_prefix(UNIX) {
            Some(rest) => parse_unix(rest),
            None => parse_tcp(text),
        };
        parsed.map_err(|reason| UrlError {
            url: text.to_owned(),
            reason,
        })
    }
}

fn parse_unix(rest: &str) -> Result<Url, &'static str> {
    let rest = rest.split('#').next().unwrap_or_default();
    let (socket, target) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let socket = percent_decode_str(socket).decode_utf8();
    let socket = socket.map_err(|_| "expected a socket path in UTF-8")?;
    if !socket.starts_with('/') {
        return Err("expected the percent-encoded path of a socket, beginning with %2F");
    }
    let endpoint = Endpoint::Unix(PathBuf::from(socket.as_ref()));
    Url::new(endpoint, target).map_err(|error| error.reason)
}

fn parse_tcp(text: &str) -> Result<Url, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "it does not parse")?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err("expected http://, https:// or http+unix://"),
    };
    let authority = uri.authority().ok_or("expected a host")?;
    if authority.as_str().contains('@') {
        return Err("a user in the URL is not supported");
    }
    let port = authority.as_str().rsplit_once(':');
    let port = match (authority.port_u16(), port) {
        (Some(0), _) => return Err("expected a port from 1 to 65535"),
        (Some(port), _) => port,
        (None, Some((_, rest))) if !rest.ends_with(']') => {
            return Err("expected a port from 1 to 65535");
        }
        (None, _) => *default_port(tls),
    };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host = bare.unwrap_or(host).to_owned();
    if host.is_empty() {
        return Err("expected a host");
    }
    let endpoint = Endpoint::Tcp { host, port, tls };
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    // A query without a path.
    let target = match target.starts_with('/') {
        true => target.to_owned(),
        false => format!("/{target}"),
    };
    Url::new(endpoint, target).map_err(|error| error.reason)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { tls, .. } => {
                let scheme = if *tls { "https" } else { "http" };
                write!(f, "{scheme}://{}", self.host_header())
            }
            Self::Unix(path) => write!(f, "{UNIX}{}", percent_encode(&path.to_string_lossy())),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.endpoint, self.target)
    }
}

/// Escapes what has a meaning in a URL or is not allowed there, as `%` and two upper-case hexadecimal digits.
///
/// Upstream: `process::http::encode`.
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_elsewhere() {
        let check = |from: &str, location: &str, expected: Option<&str>| {
            let url = from.parse::<Url>().unwrap().redirected(location);
            let url = url.ok().map(|url| url.to_string());
            assert_eq!(url.as_deref(), expected, "{location}");
        };
        let check_plain = |location, expected| check("http://a:1/x?y", location, expected);
        check_plain("//b:2/z", Some("http://b:2/z"));
        check_plain("//b:2", Some("http://b:2/"));
        check_plain("https://b:2/z", Some("https://b:2/z"));
        check_plain("/z?q", Some("http://a:1/z?q"));
        check_plain("z", None);
        check_plain("//", None);
        check_plain("", None);
        check("https://a:1/x", "//b:2/z", Some("https://b:2/z"));
    }

    fn parse(text: &str) -> Result<Url, UrlError> {
        text.parse()
    }

    #[test]
    fn urls() {
        let check = |text: &str, host: &str, port: u16, target: &str| {
            let url = parse(text).unwrap();
            let Endpoint::Tcp {
                host: h, port: p, ..
            } = url.endpoint()
            else {
                panic!("{text} is no TCP endpoint");
            };
            assert_eq!(
                (h.as_str(), *p, url.target()),
                (host, port, target),
                "{text}"
            );
        };
        check("http://x", "x", 80, "/");
        check("https://x", "x", 443, "/");
        check("http://x:5050/", "x", 5050, "/");
        check(
            "http://1.2.3.4:5050/slave(1)/a",
            "1.2.3.4",
            5050,
            "/slave(1)/a",
        );
        check("http://[::1]:5050/a?b=c&d#e", "::1", 5050, "/a?b=c&d");
        check("http://[::1]", "::1", 80, "/");
        check("http://x?b=c", "x", 80, "/?b=c");
        check("http://x/a//b/../c%20d", "x", 80, "/a//b/../c%20d");
        let url = parse("http+unix://%2Ftmp%2Fa%20b.sock/a?b#c").unwrap();
        let endpoint = Endpoint::Unix("/tmp/a b.sock".into());
        assert_eq!((url.endpoint(), url.target()), (&endpoint, "/a?b"));
        assert_eq!(url.to_string(), "http+unix://%2Ftmp%2Fa%20b.sock/a?b");
        assert_eq!(parse("http+unix://%2Fs").unwrap().target(), "/");
    }

    #[test]
    fn texts_that_are_no_urls() {
        let check = |text: &str, reason: &str| {
            let expected = format!("'{text}' is not a URL: {reason}");
            assert_eq!(parse(text).unwrap_err().to_string(), expected);
        };
        let scheme = "expected http://, https:// or http+unix://";
        check("", "it does not parse");
        check("x", scheme);
        check("/a", scheme);
        check("ftp://x/", scheme);
        check("http:x", scheme);
        check("http://", "it does not parse");
        check("http://x/a b", "it does not parse");
        check("http://x y/", "it does not parse");
        check("http://a:b@c/", "a user in the URL is not supported");
        let port = "expected a port from 1 to 65535";
        check("http://x:/", port);
        check("http://x:0/", port);
        check("http://x:65536/", port);
        check("http://x:1:2/", "it does not parse");
        check(
            "http+unix:///tmp/x",
            "expected the percent-encoded path of a socket, beginning with %2F",
        );
        check("http+unix://%ff/x", "expected a socket path in UTF-8");
        let url = parse("http://x").unwrap();
        let expected = "'a' is not a URL: expected a path that begins with a slash";
        assert_eq!(url.at("a").unwrap_err().to_string(), expected);
        assert!(url.at("/a b").is_err());
        assert!(url.at("/a\r\nX: y").is_err());
        assert!(url.at("/a#b").is_err());
    }

    #[test]
    fn host_headers() {
        let check = |text: &str, expected: &str| {
            assert_eq!(parse(text).unwrap().endpoint().host_header(), expected);
        };
        check("http://x:80/", "x");
        check("https://x:443/", "x");
        check("http://1.2.3.4:8080/", "1.2.3.4:8080");
        check("http://[::1]:8080/", "[::1]:8080");
        check("http://[::1]/", "[::1]");
        check("http+unix://%2Fs/", "localhost");
    }

    #[test]
    fn percent_encoding() {
        let check = |text: &str, expected: &str| assert_eq!(percent_encode(text), expected);
        check("aZ09-_.!*'()", "aZ09-_.!*'()");
        check("$&+,/:;=?@", "%24%26%2B%2C%2F%3A%3B%3D%3F%40");
        check(
            " \"<>#%{}|\\^~[]`",
            "%20%22%3C%3E%23%25%7B%7D%7C%5C%5E%7E%5B%5D%60",
        );
        check("\n\u{7f}é", "%0A%7F%C3%A9");
    }
}
