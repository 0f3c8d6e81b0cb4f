use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::sync::mpsc;

use super::Query;

/// An HTTP request on its way to a route.
#[derive(Debug)]
pub struct Request {
    /// The method. The router does not look at it.
    pub method: Method,
    /// The path after delegation: `/state` has become `/master/state`. Not decoded.
    pub path: String,
    /// The decoded query.
    pub query: Query,
    /// The headers. Use [`header`](Self::header) for their text.
    pub headers: HeaderMap,
    /// The whole body, unless the route streams bodies.
    pub body: Bytes,
    /// The address of the client, if it has one.
    pub peer: Option<SocketAddr>,
    /// Who the client is, if the realm of the route has an authenticator.
    pub principal: Option<Principal>,
    pub(crate) stream: Option<BodyStream>,
    pub(crate) raw_query: Option<String>,
}

/// An authenticated client.
///
/// Upstream: `process::http::authentication::Principal`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    /// The name.
    pub value: Option<String>,
    /// What else is known, such as the claims of a token.
    pub claims: BTreeMap<String, String>,
}

impl Request {
    /// A request without headers and body, for tests and for calls within a runtime.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Query::default(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            peer: None,
            principal: None,
            stream: None,
            raw_query: None,
        }
    }

    /// The text of a header; of several with this name the last one. None if it is not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_all(name).iter().next_back()?.to_str().ok()
    }

    /// Path and query as the client wrote them, except that the path is the delegated one.
    pub fn url(&self) -> String {
        match &self.raw_query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The body as it arrives, if the route was registered with [`streaming`](super::RouteOptions::streaming) and the stream
    /// has not been taken before.
    pub fn take_stream(&mut self) -> Option<BodyStream> {
        self.stream.take()
    }
}

/// The body of a streaming request.
#[derive(Debug)]
pub struct BodyStream {
    chunks: mpsc::Receiver<Result<Bytes, BodyError>>,
}

/// A request body that broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("request body broke off: {0}")]
pub struct BodyError(pub(crate) String);

/// The connection's end of a [`BodyStream`].
pub(crate) type BodySender = mpsc::Sender<Result<Bytes, BodyError>>;

/// Chunks of a streamed body that may wait for the handler.
const BODY_STREAM_CHUNKS: usize = 16;

impl BodyStream {
    pub(crate) fn channel() -> (BodySender, Self) {
        let (tx, chunks) = mpsc::channel(BODY_STREAM_CHUNKS);
        (tx, Self { chunks })
    }

    /// A body that has arrived already.
    pub(crate) fn whole(body: Bytes) -> Self {
        let (tx, stream) = Self::channel();
        if !body.is_empty() {
            // The channel is empty, so there is room.
            let _ = tx.try_send(Ok(body));
        }
        stream
    }

    /// The next part of the body; `None` at its end.
    ///
    /// # Errors
    /// The client went away or broke the framing before the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.chunks.recv().await
    }
}

/// Matches the tokens of `path` with those of `pattern`: a token `{name}` binds any token to `name`, another must be equal and
/// is bound to itself. The path may be shorter than the pattern. Values are not decoded.
///
/// Returns `None` if the path is longer or a literal differs.
///
/// Upstream: `process::http::path::parse`.
pub fn parse_path(pattern: &str, path: &str) -> Option<HashMap<String, String>> {
    let tokens = |text: &'_ str| -> Vec<String> {
        text.split('/')
            .filter(|token| !token.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (pattern, path) = (tokens(pattern), tokens(path));
    if path.len() > pattern.len() {
        return None;
    }
    let mut bound = HashMap::new();
    for (key, value) in pattern.into_iter().zip(path) {
        match key.strip_prefix('{').and_then(|key| key.strip_suffix('}')) {
            Some(name) => {
                bound.insert(name.to_owned(), value);
            }
            None if key == value => {
                bound.insert(key, value);
            }
            None => return None,
        }
    }
    Some(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_path_tokens() {
        let check = |pattern: &str, path: &str, expected: Option<&[(&str, &str)]>| {
            let found = parse_path(pattern, path).map(|bound| {
                let mut pairs: Vec<_> = bound.into_iter().collect();
                pairs.sort_unstable();
                pairs
            });
            let expected = expected.map(|pairs| {
                pairs
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect::<Vec<_>>()
            });
            assert_eq!(found, expected, "{pattern} on {path}");
        };
        let all = [("id", "7"), ("roles", "roles"), ("sub", "x")];
        check("/roles/{id}/{sub}", "/roles/7/x", Some(&all));
        check("/roles/{id}", "/roles/", Some(&[("roles", "roles")]));
        check("/{id}", "//7//", Some(&[("id", "7")]));
        check("/roles", "/roles/7", None);
        check("/roles/{id}", "/other/7", None);
        check("/{id}", "/a%20b", Some(&[("id", "a%20b")]));
    }
}
