//! `zk://[user:password@]host1:port1[,host2:port2...][/path]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

const SCHEME: &str = "zk://";
const FILE_SCHEME: &str = "file://";
/// Port of a server that names none.
const DEFAULT_PORT: u16 = 2181;
/// How often `file://` may lead to another `file://`, so that a loop ends in an error.
const MAX_FILE_INDIRECTIONS: usize = 8;

/// Why a text is no ZooKeeper URL. No message contains a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZkUrlError {
    /// The text does not start with `zk://`.
    #[error("'{0}' is no ZooKeeper URL: expecting zk://[user:password@]host:port[,...]/path")]
    Scheme(String),
    /// There is no server between `zk://` and the path, or an empty one in the list.
    #[error("the ZooKeeper URL '{0}' names no server: expecting host:port[,host:port...]")]
    NoServer(String),
    /// A server is not `host` or `host:port`.
    #[error(
        "bad server '{server}' in the ZooKeeper URL '{url}': expecting host:port, port 1-65535"
    )]
    BadServer {
        /// The URL without credentials.
        url: String,
        /// The offending element of the list.
        server: String,
    },
    /// The text before the `@` is not `user:password`.
    #[error("bad credentials in the ZooKeeper URL '{0}': expecting user:password before the '@'")]
    BadCredentials(String),
    /// The path has empty, relative or unprintable parts.
    #[error("bad path '{path}' in the ZooKeeper URL '{url}': {reason}")]
    BadPath {
        /// The URL without credentials.
        url: String,
        /// The offending path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The path is `/`, where a group of its own is needed.
    #[error(
        "Expecting a (chroot) path for ZooKeeper ('/' is not supported) in '{0}', as in zk://host:2181/mesos"
    )]
    RootPath(String),
    /// A `file://` could not be read.
    #[error("failed to read the ZooKeeper URL from '{}': {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        reason: String,
    },
    /// `file://` led to `file://` too often.
    #[error("too many file:// indirections, the last one '{}'", .0.display())]
    FileLoop(PathBuf),
}

/// Digest credentials of a ZooKeeper URL. Neither Debug nor Display shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    text: String,
}

impl Credentials {
    /// `user:password`, as the `digest` scheme of ZooKeeper wants it.
    pub fn as_digest(&self) -> &str {
        &self.text
    }

    /// The part before the first colon.
    pub fn user(&self) -> &str {
        self.text.split(':').next().unwrap_or_default()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}:****)", self.user())
    }
}

/// Where an ensemble is, which znode of it to use, and as whom.
///
/// Display leaves the credentials out, so that the URL can be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZkUrl {
    servers: Vec<(String, u16)>,
    path: String,
    credentials: Option<Credentials>,
}

impl ZkUrl {
    /// Parses a `zk://` URL, or the content of the file that a `file://` URL names.
    ///
    /// White space around the text is ignored; without a path it is `/`.
    ///
    /// # Errors
    /// Every way in which the text is no such URL, and files that cannot be read.
    ///
    /// Upstream: `zookeeper::URL::parse`.
    pub fn parse(text: &str) -> Result<ZkUrl, ZkUrlError> {
        Self::parse_indirect(text.trim(), MAX_FILE_INDIRECTIONS)
    }

    /// Whether a text claims to be a ZooKeeper URL.
    pub fn is_zk(text: &str) -> bool {
        text.trim_start().starts_with(SCHEME)
    }

    /// `host:port` of every server, separated by commas.
    pub fn servers(&self) -> String {
        let servers: Vec<String> = self
            .servers
            .iter()
            .map(|(host, port)| match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            })
            .collect();
        servers.join(",")
    }

    /// The znode, always with a leading and never with a trailing slash, or `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The digest credentials, if any.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Accepts the URL only if its path is not `/`: groups need a znode of their own.
    ///
    /// # Errors
    /// [`ZkUrlError::RootPath`].
    pub fn require_path(self) -> Result<ZkUrl, ZkUrlError> {
        match self.path.as_str() {
            "/" => Err(ZkUrlError::RootPath(self.to_string())),
            _ => Ok(self),
        }
    }

    fn parse_indirect(text: &str, depth: usize) -> Result<ZkUrl, ZkUrlError> {
        let Some(file) = text.strip_prefix(FILE_SCHEME) else {
            return Self::parse_direct(text);
        };
        let path = PathBuf::from(file);
        if depth == 0 {
            return Err(ZkUrlError::FileLoop(path));
        }
        match std::fs::read_to_string(&path) {
            Ok(content) => Self::parse_indirect(content.trim(), depth - 1),
            Err(error) => Err(ZkUrlError::File {
                path,
                reason: error.to_string(),
            }),
        }
    }

    fn parse_direct(text: &str) -> Result<ZkUrl, ZkUrlError> {
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Err(ZkUrlError::Scheme(redact(text)));
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        let (credentials, servers) = match authority.rsplit_once('@') {
            Some((credentials, servers)) => (Some(credentials), servers),
            None => (None, authority),
        };
        Ok(ZkUrl {
            servers: parse_servers(servers, text)?,
            path: parse_path(path, text)?,
            credentials: credentials
                .map(|credentials| parse_credentials(credentials, text))
                .transpose()?,
        })
    }
}

impl FromStr for ZkUrl {
    type Err = ZkUrlError;

    fn from_str(text: &str) -> Result<ZkUrl, ZkUrlError> {
        ZkUrl::parse(text)
    }
}

impl fmt::Display for ZkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.credentials.is_some() {
            "****@"
        } else {
            ""
        };
        write!(f, "{SCHEME}{user}{}{}", self.servers(), self.path)
    }
}

/// The text with everything between the scheme and the last `@` replaced.
fn redact(text: &str) -> String {
    let start = text.find("://").map_or(0, |scheme| scheme + 3);
    match text.rfind('@') {
        Some(at) if at >= start => format!("{}****{}", &text[..start], &text[at..]),
        _ => text.to_owned(),
    }
}

fn parse_credentials(credentials: &str, url: &str) -> Result<Credentials, ZkUrlError> {
    match credentials.split_once(':') {
        Some((user, _)) if !user.is_empty() => Ok(Credentials {
            text: credentials.to_owned(),
        }),
        _ => Err(ZkUrlError::BadCredentials(redact(url))),
    }
}

fn parse_servers(servers: &str, url: &str) -> Result<Vec<(String, u16)>, ZkUrlError> {
    if servers.is_empty() {
        return Err(ZkUrlError::NoServer(redact(url)));
    }
    servers
        .split(',')
        .map(|server| {
            parse_server(server.trim()).ok_or_else(|| ZkUrlError::BadServer {
                url: redact(url),
                server: server.to_owned(),
            })
        })
        .collect()
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn parse_server(server: &str) -> Option<(String, u16)> {
    let (host, port) = match server.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => server.split_at(server.find(':').unwrap_or(server.len())),
    };
    let port = match port {
        "" => DEFAULT_PORT,
        _ => port.strip_prefix(':')?.parse().ok()?,
    };
    let plausible = !host.is_empty() && !host.contains(char::is_whitespace);
    (plausible && port != 0).then(|| (host.to_owned(), port))
}

fn parse_path(path: &str, url: &str) -> Result<String, ZkUrlError> {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return Ok("/".to_owned());
    }
    let reason = trimmed.split('/').skip(1).find_map(|part| match part {
        "" => Some("it has an empty part"),
        "." | ".." => Some("it must be absolute, without '.' and '..'"),
        _ if part.contains(char::is_control) => Some("it has control characters"),
        _ => None,
    });
    match reason {
        None => Ok(trimmed.to_owned()),
        Some(reason) => Err(ZkUrlError::BadPath {
            url: redact(url),
            path: path.to_owned(),
            reason,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks servers, path and credentials.
    fn check(text: &str, servers: &str, path: &str, credentials: Option<&str>) {
        let url = ZkUrl::parse(text).unwrap();
        assert_eq!(url.servers(), servers, "servers of {text}");
        assert_eq!(url.path(), path, "path of {text}");
        let digest = url.credentials().map(Credentials::as_digest);
        assert_eq!(digest, credentials, "credentials of {text}");
    }

    fn check_error(text: &str, expected: &str) {
        let error = ZkUrl::parse(text)
            .and_then(ZkUrl::require_path)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("secret"), "{text} leaks: {error}");
    }

    #[test]
    fn parses_urls() {
        check("zk://h:2181/mesos", "h:2181", "/mesos", None);
        check(" zk://h/mesos\n", "h:2181", "/mesos", None);
        check("zk://h1:1,h2:2/a/b", "h1:1,h2:2", "/a/b", None);
        check("zk://h1:1, h2:2/a", "h1:1,h2:2", "/a", None);
        check("zk://h:2181", "h:2181", "/", None);
        check("zk://h:2181/", "h:2181", "/", None);
        check("zk://h:2181/mesos/", "h:2181", "/mesos", None);
        check("zk://[::1]:2181/m", "[::1]:2181", "/m", None);
        check("zk://u:p@h:1/m", "h:1", "/m", Some("u:p"));
        check("zk://u:p@q:r@h:1/m", "h:1", "/m", Some("u:p@q:r"));
        check("zk://u:@h:1/m", "h:1", "/m", Some("u:"));
    }

    #[test]
    fn refuses_what_is_no_url() {
        check_error("", "is no ZooKeeper URL");
        check_error("http://u:secret@h:1/m", "is no ZooKeeper URL");
        check_error("zk:///mesos", "names no server");
        check_error("zk://h1:1,,h2:1/mesos", "bad server ''");
        check_error("zk://h:port/mesos", "bad server 'h:port'");
        check_error("zk://h:0/mesos", "bad server 'h:0'");
        check_error("zk://h:65536/mesos", "bad server 'h:65536'");
        check_error("zk://u:secret@:1/mesos", "bad server ':1'");
        check_error("zk://::1:2181/mesos", "bad server");
        check_error("zk://secret@h:1/mesos", "bad credentials");
        check_error("zk://:secret@h:1/mesos", "bad credentials");
        check_error("zk://h:1/a//b", "empty part");
        check_error("zk://h:1/a/../b", "without '.' and '..'");
        check_error("zk://h:1/a\u{1}b", "control characters");
        check_error("zk://h:1", "('/' is not supported)");
        check_error("zk://u:secret@h:1/", "('/' is not supported)");
        check_error("file:///does/not/exist", "/does/not/exist");
    }

    #[test]
    fn reads_files() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        let outer = dir.path().join("outer");
        let looped = dir.path().join("looped");
        std::fs::write(&inner, "zk://u:secret@h:1/mesos\n").unwrap();
        std::fs::write(&outer, format!("file://{}\n", inner.display())).unwrap();
        std::fs::write(&looped, format!("file://{}\n", looped.display())).unwrap();
        check(
            &format!("file://{}", outer.display()),
            "h:1",
            "/mesos",
            Some("u:secret"),
        );
        check_error(&format!("file://{}", looped.display()), "too many");
    }

    #[test]
    fn never_prints_passwords() {
        let url = ZkUrl::parse("zk://u:secret@h:1/m").unwrap();
        assert_eq!(url.to_string(), "zk://****@h:1/m");
        assert!(!format!("{url:?}").contains("secret"));
    }
}
