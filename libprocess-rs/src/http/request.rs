use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::ACCEPT;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::accept::accepts_media;
use super::params::from_pairs;
use super::route::parameter;
use super::{Headers, ParamError, ParamPlace, Principal, Query, QueryError, percent_decode};

/// An HTTP request on its way to a route.
///
/// ```
/// use libprocess::{Context, Process, Reply, Request, Response, RouteOptions};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Task {
///     id: String,
/// }
///
/// #[derive(Deserialize)]
/// struct Page {
///     #[serde(default)]
///     offset: u64,
///     limit: Option<u16>,
/// }
///
/// struct Tasks;
///
/// impl Process for Tasks {
///     fn initialize(&mut self, ctx: &mut Context<Self>) {
///         // GET /tasks/{id}/log?offset=100
///         ctx.route("/{id}/log", RouteOptions::default(), |_, _, request| {
///             log(&request).unwrap_or_else(Response::from).into()
///         });
///     }
/// }
///
/// fn log(request: &Request) -> Result<Response, libprocess::ParamError> {
///     let task: Task = request.path_params()?;
///     let page: Page = request.query_params()?;
///     Ok(Response::json((task.id, page.offset, page.limit)))
/// }
/// ```
#[derive(Debug)]
pub struct Request {
    /// The method. The router does not look at it.
    pub method: Method,
    /// The path after delegation: `/state` has become `/master/state`. Not decoded.
    pub path: String,
    /// The decoded query.
    pub query: Query,
    /// The headers. Use [`header`](Self::header) for their text.
    pub headers: Headers,
    /// The whole body, unless the route streams bodies.
    pub body: Bytes,
    /// The address of the client, if it has one.
    pub peer: Option<SocketAddr>,
    /// Who the client is, if the realm of the route has an authenticator.
    pub principal: Option<Principal>,
    pub(crate) stream: Option<BodyStream>,
    pub(crate) raw_query: Option<String>,
    /// The name of the route, if it has parameters.
    pub(crate) route: Option<Arc<str>>,
}

impl Request {
    /// A request without headers and body, for tests and for calls within a runtime.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Query::default(),
            headers: Headers::default(),
            body: Bytes::new(),
            peer: None,
            principal: None,
            stream: None,
            raw_query: None,
            route: None,
        }
    }

    /// A request as it arrives, without its body.
    pub(crate) fn received(
        method: Method,
        target: String,
        headers: Headers,
        peer: Option<SocketAddr>,
    ) -> Result<Box<Self>, QueryError> {
        let (path, query) = split_target(&target);
        let raw_query = query.map(str::to_owned);
        let path = match path.len() == target.len() {
            true => target,
            false => path.to_owned(),
        };
        let mut request = Box::new(Self::new(method, path));
        if let Some(query) = &raw_query {
            request.query = Query::parse(query)?;
        }
        request.raw_query = raw_query;
        request.headers = headers;
        request.peer = peer;
        Ok(request)
    }

    /// The request as the route of this name would get it, for tests of handlers that use [`path_params`](Self::path_params).
    pub fn with_route(mut self, name: &str) -> Self {
        self.route = Some(name.trim_matches('/').into());
        self
    }

    /// The parameters of the path: for the route `/tasks/{id}` a struct with a field `id`, which is of any type that can be made
    /// of text: strings, numbers, booleans, enums without data, `Option`s of those. They are decoded.
    ///
    /// # Errors
    /// A parameter is missing or not allowed. The error names it and what is allowed, and is a 400 as a
    /// [`Response`](super::Response).
    pub fn path_params<T: DeserializeOwned>(&self) -> Result<T, ParamError> {
        let route = self.route.as_deref().unwrap_or_default();
        let path = self.path.trim_start_matches('/');
        let (_, path) = path.split_once('/').unwrap_or((path, ""));
        let segments = route
            .split('/')
            .zip(path.trim_start_matches('/').split('/'));
        let mut bound = Vec::new();
        for (name, value) in segments {
            if let Some(name) = parameter(name) {
                let value = percent_decode(value).map_err(|error| ParamError::Invalid {
                    place: ParamPlace::Path,
                    name: name.to_owned(),
                    problem: error.to_string(),
                })?;
                bound.push((name, value));
            }
        }
        let pairs = bound.iter().map(|(name, value)| (*name, &**value));
        from_pairs(ParamPlace::Path, pairs.collect())
    }

    /// The parameters of the query as a struct with a field for each; see [`path_params`](Self::path_params) for the types.
    /// Fields that are `Option`s or have a default may be missing. Others in the query are ignored, unless the struct says
    /// `#[serde(deny_unknown_fields)]`.
    ///
    /// # Errors
    /// See [`path_params`](Self::path_params).
    pub fn query_params<T: DeserializeOwned>(&self) -> Result<T, ParamError> {
        let mut pairs: Vec<_> = self.query.iter().collect();
        // Of several errors the client always gets the same.
        pairs.sort_unstable();
        from_pairs(ParamPlace::Query, pairs)
    }

    /// Whether the client accepts an answer of this media type. Without an `Accept` header it accepts all. The most specific
    /// entry decides: the type itself, then `type/*`, then `*/*`; its `q` counts only as zero or not, as upstream.
    pub fn accepts(&self, media_type: &str) -> bool {
        accepts_media(self.header(ACCEPT.as_str()), media_type)
    }

    /// The text of a header; of several with this name the last one. None if it is not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_all(name).next_back()?.to_str().ok()
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
    pieces: mpsc::Receiver<Result<Bytes, BodyError>>,
    /// Nothing more is to be expected.
    ended: bool,
}

/// A request body that broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("request body broke off: {0}")]
pub struct BodyError(pub(crate) String);

impl BodyError {
    pub(crate) fn cut_off() -> Self {
        Self("the connection ended before it".to_owned())
    }
}

/// The connection's end of a [`BodyStream`].
pub(crate) type BodySender = mpsc::Sender<Result<Bytes, BodyError>>;

/// Pieces of a streamed body that may wait for the handler.
const BODY_STREAM_PIECES: usize = 16;

impl BodyStream {
    /// What is sent behind the last piece. Without it, a body whose connection breaks would look complete.
    pub(crate) const END: Bytes = Bytes::new();

    pub(crate) fn channel() -> (BodySender, Self) {
        let (tx, pieces) = mpsc::channel(BODY_STREAM_PIECES);
        let ended = false;
        (tx, Self { pieces, ended })
    }

    /// The next part of the body; `None` at its end.
    ///
    /// # Errors
    /// The client went away or broke the framing before the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if self.ended {
            return None;
        }
        let piece = self.pieces.recv().await;
        let piece = piece.unwrap_or_else(|| Err(BodyError::cut_off()));
        self.ended = !piece.as_ref().is_ok_and(|piece| !piece.is_empty());
        (piece != Ok(Self::END)).then_some(piece)
    }
}

/// Path and query of a request target, which may be a whole URL (RFC 9112, section 3.2.2).
pub(crate) fn split_target(target: &str) -> (&str, Option<&str>) {
    let (target, is_url) = match target.split_once("://") {
        Some(("http" | "https", rest)) => {
            let path = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            (rest.get(path..).unwrap_or_default(), true)
        }
        _ => (target, false),
    };
    let target = target.split('#').next().unwrap_or_default();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    match path.is_empty() && is_url {
        true => ("/", query),
        false => (path, query),
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
    fn targets() {
        let check = |target: &str, expected: (&str, Option<&str>)| {
            assert_eq!(split_target(target), expected, "{target:?}");
        };
        check("/a/b", ("/a/b", None));
        check("/a?b?c=d#e", ("/a", Some("b?c=d")));
        check("/a?", ("/a", Some("")));
        check("http://x:1/a?b", ("/a", Some("b")));
        check("http://x:1", ("/", None));
        check("http://x?a=/b", ("/", Some("a=/b")));
        check("http://x#a/b", ("/", None));
        check("/x?u=http://y/z", ("/x", Some("u=http://y/z")));
        check("x", ("x", None));
        check("*", ("*", None));
        check("?a", ("", Some("a")));
        check("", ("", None));
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Params {
        id: u32,
        name: String,
    }

    #[test]
    fn path_parameters() {
        let check = |path: &str, expected: Result<(u32, &str), &str>| {
            let request = Request::new(Method::GET, path).with_route("/x/{id}/{name}");
            let params = request.path_params::<Params>();
            let expected = expected.map(|(id, name)| Params {
                id,
                name: name.to_owned(),
            });
            let expected = expected.map_err(str::to_owned);
            assert_eq!(params.map_err(|error| error.to_string()), expected);
        };
        check("/actor/x/7/a%20b", Ok((7, "a b")));
        check("//actor/x/7/b/further", Ok((7, "b")));
        check("/actor/x/7", Err("Missing path parameter 'name'."));
        check(
            "/actor/x/y/b",
            Err("Invalid path parameter 'id': 'y' is not a whole number from 0 to 4294967295."),
        );
        check(
            "/actor/x/7/%zz",
            Err("Invalid path parameter 'name': malformed percent-encoding in '%zz'."),
        );
    }

    #[test]
    fn query_parameters() {
        let mut request = Request::new(Method::GET, "/");
        request.query = Query::parse("name=a+b&id=7&more=1").unwrap();
        let expected = Params {
            id: 7,
            name: "a b".to_owned(),
        };
        assert_eq!(request.query_params(), Ok(expected));
        request.query = Query::parse("id=x").unwrap();
        let error = request.query_params::<Params>().unwrap_err();
        let response = super::super::Response::from(error);
        assert_eq!(response.status_code(), 400);
        assert_eq!(
            response.body().unwrap(),
            "Invalid query parameter 'id': 'x' is not a whole number from 0 to 4294967295.\n"
        );
    }

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
