use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::stream::{StreamReader, channel};
use super::{Headers, Request, StreamWriter};

/// The content type of text.
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// The content type of JSON.
const JSON_TYPE: &str = "application/json";

const TEXT: HeaderValue = HeaderValue::from_static(TEXT_TYPE);
const JSON: HeaderValue = HeaderValue::from_static(JSON_TYPE);
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript");

/// An HTTP response.
///
/// The connection adds `Date` and the framing headers, leaves out the body for HEAD, and does what the client asked for:
/// - Bodies in memory of at least 1024 bytes are compressed with gzip; with or without it they say `Vary: Accept-Encoding`.
/// - A 200 that has `ETag` or `Last-Modified`, as files do, becomes 304 or 412 by the conditions of the request.
/// - [Files](Self::file) are sent in parts for `Range`: 206, or 416 if they do not have them.
///
/// ```
/// use http::StatusCode;
/// use libprocess::Response;
///
/// let response = Response::json([1, 2]).header("Cache-Control", "no-store");
/// assert_eq!(response.status_code(), StatusCode::OK);
/// assert_eq!(response.body().map(|body| &body[..]), Some(&b"[1,2]"[..]));
///
/// let response = Response::status(StatusCode::NOT_FOUND);
/// assert_eq!(response.body().map(|body| &body[..]), Some(&b"404 Not Found."[..]));
/// ```
#[derive(Debug)]
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: Headers,
    pub(crate) body: Body,
}

/// Where the bytes of a response come from.
#[derive(Debug)]
pub(crate) enum Body {
    Bytes(Bytes),
    Stream(StreamReader),
    File(PathBuf),
}

impl Response {
    fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Headers::default(),
            body: Body::Bytes(body.into()),
        }
    }

    fn typed(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        let mut response = Self::new(status, body);
        response.headers.insert(CONTENT_TYPE, content_type);
        response
    }

    /// 200 with an empty body.
    pub fn ok() -> Self {
        Self::new(StatusCode::OK, Bytes::new())
    }

    /// A status with its default body: none for informational, successful and redirecting ones and 304, else code, reason and
    /// a full stop, as in `404 Not Found.`
    pub fn status(status: StatusCode) -> Self {
        match default_body(status) {
            body if body.is_empty() => Self::new(status, Bytes::new()),
            body => Self::text(status, body),
        }
    }

    /// A text body.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self::typed(status, TEXT, text.into())
    }

    /// 200 with bytes of any kind.
    pub fn bytes(body: impl Into<Bytes>) -> Self {
        const ANY: HeaderValue = HeaderValue::from_static("application/octet-stream");
        Self::typed(StatusCode::OK, ANY, body)
    }

    /// 200 with `value` as JSON. A value that cannot be written as JSON gives 500.
    pub fn json(value: impl Serialize) -> Self {
        match serde_json::to_vec(&value) {
            Ok(body) => Self::typed(StatusCode::OK, JSON, body),
            Err(error) => Self::unserializable(&error),
        }
    }

    /// 200 with a body that already is JSON.
    pub fn json_text(json: impl Into<Bytes>) -> Self {
        Self::typed(StatusCode::OK, JSON, json)
    }

    /// 200 with `value` as JSON, wrapped in the function that the client names in the query as `jsonp`.
    pub fn json_or_jsonp(value: impl Serialize, request: &Request) -> Self {
        match serde_json::to_string(&value) {
            Ok(json) => Self::json_text_or_jsonp(json, request),
            Err(error) => Self::unserializable(&error),
        }
    }

    /// 200 with a body that already is JSON, wrapped in the function that the client names in the query as `jsonp`.
    pub fn json_text_or_jsonp(json: impl Into<String>, request: &Request) -> Self {
        let json = json.into();
        match request.query.get("jsonp") {
            Some(function) => {
                Self::typed(StatusCode::OK, JAVASCRIPT, format!("{function}({json})"))
            }
            None => Self::json_text(json),
        }
    }

    fn unserializable(error: &serde_json::Error) -> Self {
        Self::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }

    /// 405 with the methods that are allowed and, in the body, the one that was received.
    pub fn method_not_allowed(allowed: &[&str], received: &str) -> Self {
        let body = format!(
            "405 Method Not Allowed. Expecting one of {{ '{}' }}, but received '{received}'.",
            allowed.join("', '")
        );
        Self::text(StatusCode::METHOD_NOT_ALLOWED, body).header(ALLOW, allowed.join(", "))
    }

    /// 401 with the challenges in one `WWW-Authenticate` header, joined by `, `.
    pub fn unauthorized(challenges: &[impl AsRef<str>], body: impl Into<String>) -> Self {
        let challenges: Vec<_> = challenges.iter().map(AsRef::as_ref).collect();
        Self::text(StatusCode::UNAUTHORIZED, body).header(WWW_AUTHENTICATE, challenges.join(", "))
    }

    /// 429: the client asks too often and may try again `after` this time, which is rounded up to seconds. A C++ libprocess does
    /// not know this status and takes it for a failed connection.
    pub fn too_many_requests(after: Duration) -> Self {
        Self::status(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, seconds(after))
    }

    /// 503: the client may try again `after` this time, which is rounded up to seconds.
    pub fn unavailable(text: impl Into<String>, after: Duration) -> Self {
        Self::text(StatusCode::SERVICE_UNAVAILABLE, text).header(RETRY_AFTER, seconds(after))
    }

    /// 307 to `location`.
    pub fn redirect(location: impl AsRef<str>) -> Self {
        Self::new(StatusCode::TEMPORARY_REDIRECT, Bytes::new()).header(LOCATION, location.as_ref())
    }

    /// 200 with a body that is written piece by piece. The response ends when the writer is dropped, and breaks off when it
    /// [fails](StreamWriter::fail).
    pub fn stream(content_type: &str) -> (Self, StreamWriter) {
        let (writer, reader) = channel();
        let mut response = Self::ok().header(CONTENT_TYPE, content_type);
        response.body = Body::Stream(reader);
        (response, writer)
    }

    /// 200 with the content of a file, read while it is sent; 404 if there is no such file, 500 if it cannot be read. Unless they
    /// are set, the content type follows the file name, and `ETag` and `Last-Modified` its modification time and length.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let mut response = Self::ok();
        response.body = Body::File(path.into());
        response
    }

    /// Sets a header. A value that HTTP does not allow is logged and left out.
    pub fn header(
        mut self,
        name: impl TryInto<HeaderName, Error: std::fmt::Display>,
        value: impl AsRef<str>,
    ) -> Self {
        let value = value.as_ref();
        match (name.try_into(), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => {
                self.headers.insert(name, value);
            }
            (Err(error), _) => tracing::error!("Response header left out: {error}"),
            (_, Err(error)) => tracing::error!("Response header value {value:?}: {error}"),
        }
        self
    }

    /// Replaces the status.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The status code.
    pub fn status_code(&self) -> StatusCode {
        self.status
    }

    /// The headers set so far.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body, if it is in memory.
    pub fn body(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Bytes(bytes) => Some(bytes),
            Body::Stream(_) | Body::File(_) => None,
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> String {
    let fraction = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(fraction).to_string()
}

/// Code, reason and a full stop for errors; else nothing.
pub(super) fn default_body(status: StatusCode) -> String {
    match status.is_client_error() || status.is_server_error() {
        true => format!("{} {}.", status.as_u16(), reason(status)),
        false => String::new(),
    }
}

/// The reason phrase of a status as upstream spells it (RFC 2616).
pub(crate) fn reason(status: StatusCode) -> &'static str {
    match status.as_u16() {
        203 => "Non-Authoritative Information",
        408 => "Request Time-out",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        416 => "Requested range not satisfiable",
        504 => "Gateway Time-out",
        505 => "HTTP Version not supported",
        _ => status.canonical_reason().unwrap_or("Unknown"),
    }
}

/// The answer of a route: a [`Response`] or the promise of one.
pub struct Reply(ReplyKind);

pub(crate) enum ReplyKind {
    Now(Response),
    Later(Pin<Box<dyn Future<Output = Response>>>),
}

impl Reply {
    /// Answers when `response` completes. It runs on the thread of the actor, between its turns; if the actor ends first the
    /// client gets a 500.
    ///
    /// When the client of a request with a safe method, such as GET or HEAD, has gone, the future is dropped unfinished. That of
    /// any other request runs to its end.
    pub fn later(response: impl Future<Output = Response> + 'static) -> Self {
        Self(ReplyKind::Later(Box::pin(response)))
    }

    pub(crate) fn into_kind(self) -> ReplyKind {
        self.0
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self(ReplyKind::Now(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_bodies() {
        let check = |code: u16, expected: &str| {
            let response = Response::status(StatusCode::from_u16(code).unwrap());
            assert_eq!(response.body().unwrap(), expected);
        };
        check(200, "");
        check(202, "");
        check(307, "");
        check(404, "404 Not Found.");
        check(403, "403 Forbidden.");
        check(413, "413 Request Entity Too Large.");
        check(500, "500 Internal Server Error.");
        check(503, "503 Service Unavailable.");
    }

    #[test]
    fn jsonp_wraps_only_on_request() {
        let mut request = Request::new(http::Method::GET, "/x");
        let response = Response::json_or_jsonp(0.0, &request);
        assert_eq!(response.body().unwrap(), "0.0");
        assert_eq!(
            response.headers().get(CONTENT_TYPE).unwrap(),
            "application/json"
        );
        request.query = super::super::Query::parse("jsonp=f").unwrap();
        let response = Response::json_or_jsonp([1], &request);
        assert_eq!(response.body().unwrap(), "f([1])");
        assert_eq!(
            response.headers().get(CONTENT_TYPE).unwrap(),
            "text/javascript"
        );
    }

    #[test]
    fn bad_header_values_are_left_out() {
        let response = Response::ok().header("X", "a\r\nb").header("a b", "c");
        assert!(response.headers().is_empty());
    }
}
