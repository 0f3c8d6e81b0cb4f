//! What is asked of a server.

use std::fmt::{self, Display};
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method};

use super::Url;
use crate::StreamWriter;
use crate::http::stream_channel;

/// An HTTP request.
///
/// ```
/// # use libprocess::client::{Request, Url, UrlError};
/// let url: Url = "http://localhost:5050/api/v1".parse()?;
/// let request = Request::post(&url, r#"{"type": "GET_HEALTH"}"#)
///     .header("Content-Type", "application/json")
///     .header("Accept", "application/json");
/// # Ok::<(), UrlError>(())
/// ```
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    headers: HeaderMap,
    pub(super) body: RequestBody,
    pub(super) close: bool,
    pub(super) gzip: bool,
    pub(super) max_body_bytes: Option<usize>,
    pub(super) response_timeout: Option<Duration>,
    pub(super) invalid: Option<String>,
}

pub(super) enum RequestBody {
    Bytes(Bytes),
    Stream(BodyStream),
}

/// Pieces of a body, or why it cannot be completed.
pub(super) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

impl Request {
    /// A request without a body.
    pub fn new(method: Method, url: &Url) -> Self {
        Self {
            method,
            url: url.clone(),
            headers: HeaderMap::new(),
            body: RequestBody::Bytes(Bytes::new()),
            close: false,
            gzip: false,
            max_body_bytes: None,
            response_timeout: None,
            invalid: None,
        }
    }

    /// A GET.
    pub fn get(url: &Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// A POST of `body`.
    pub fn post(url: &Url, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, url).body(body)
    }

    /// A DELETE.
    pub fn delete(url: &Url) -> Self {
        Self::new(Method::DELETE, url)
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = RequestBody::Bytes(body.into());
        self
    }

    /// Takes the body from a stream, one chunk from each piece. Requests behind it on the connection wait until it ends. If it
    /// gives an error the connection ends, so that the server does not take half a body for a whole one.
    pub fn stream<S, B, E>(mut self, body: S) -> Self
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Into<Bytes>,
        E: Display,
    {
        let body = body.map(|piece| piece.map(Into::into).map_err(|error| error.to_string()));
        self.body = RequestBody::Stream(Box::pin(body));
        self
    }

    /// Makes the body what is written to the writer. It ends when the writer and its clones are dropped; if the writer
    /// [fails](StreamWriter::fail), so does the request, and the connection ends.
    pub fn pipe(self) -> (Self, StreamWriter) {
        let (writer, reader) = stream_channel();
        let pieces = stream::unfold(reader, |mut reader| async {
            let piece = reader.recv().await?;
            Some((piece, reader))
        });
        (self.stream(pieces), writer)
    }

    /// Adds a header. `Content-Length`, `Transfer-Encoding` and `Connection` are the client's to set; `Host` too, unless it is
    /// given here. A header that is not allowed makes the request fail when it is sent.
    pub fn header(
        mut self,
        name: impl TryInto<HeaderName, Error: Display>,
        value: impl AsRef<[u8]>,
    ) -> Self {
        match (name.try_into(), HeaderValue::from_bytes(value.as_ref())) {
            (Ok(name), _) if [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(&name) => {
                self.invalid = Some(format!("header '{name}' is set by the client"));
            }
            (Ok(name), Ok(value)) => {
                self.headers.append(name, value);
            }
            (Ok(name), Err(error)) => self.invalid = Some(format!("header '{name}': {error}")),
            (Err(error), _) => self.invalid = Some(error.to_string()),
        }
        self
    }

    /// Sets the `Content-Type` header.
    pub fn content_type(self, content_type: &str) -> Self {
        self.header(CONTENT_TYPE, content_type)
    }

    /// Makes it the last request of its connection, and tells the server.
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// Asks for a compressed body, which is then decompressed. Unasked none is.
    pub fn accept_gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    /// Sets the largest body that is accepted, in bytes after decompression, in place of that of the
    /// [`ClientConfig`](super::ClientConfig). A body that is read as a stream has no bound.
    pub fn max_body_bytes(mut self, limit: usize) -> Self {
        self.max_body_bytes = Some(limit);
        self
    }

    /// Sets how long the response may take to begin, in place of that of the [`ClientConfig`](super::ClientConfig).
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.response_timeout = Some(limit);
        self
    }

    /// Method and path, for messages.
    pub(super) fn line(&self) -> Arc<str> {
        format!("{} {}", self.method, self.url.target()).into()
    }

    /// Appends all but the body.
    pub(super) fn encode_head(&self, out: &mut BytesMut) {
        out.put_slice(self.method.as_str().as_bytes());
        out.put_u8(b' ');
        out.put_slice(self.url.target().as_bytes());
        out.put_slice(b" HTTP/1.1\r\n");
        if !self.headers.contains_key(HOST) {
            let host = self.url.endpoint().host_header();
            put_header(out, "Host", host.as_bytes());
        }
        for (name, value) in &self.headers {
            put_header(out, name.as_str(), value.as_bytes());
        }
        if self.gzip && !self.headers.contains_key(ACCEPT_ENCODING) {
            put_header(out, "Accept-Encoding", b"gzip");
        }
        if self.close {
            put_header(out, "Connection", b"close");
        }
        match &self.body {
            // Writing to memory cannot fail.
            RequestBody::Bytes(body) => {
                let _ = write!(out.writer(), "Content-Length: {}\r\n\r\n", body.len());
            }
            RequestBody::Stream(_) => out.put_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
        }
    }
}

fn put_header(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.url.to_string())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: Request, expected: &str) {
        let mut out = BytesMut::new();
        request.encode_head(&mut out);
        assert_eq!(request.invalid, None);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    fn url() -> Url {
        "http://h:5050/a?b".parse().unwrap()
    }

    #[test]
    fn heads() {
        let url = url();
        check(
            Request::get(&url),
            "GET /a?b HTTP/1.1\r\nHost: h:5050\r\nContent-Length: 0\r\n\r\n",
        );
        check(
            Request::post(&url, "hello")
                .content_type("text/plain")
                .close(),
            "POST /a?b HTTP/1.1\r\nHost: h:5050\r\ncontent-type: text/plain\r\nConnection: close\r\n\
             Content-Length: 5\r\n\r\n",
        );
        check(
            Request::delete(&url)
                .header("Host", "other")
                .header("X", "1")
                .header("X", "2")
                .accept_gzip(),
            "DELETE /a?b HTTP/1.1\r\nhost: other\r\nx: 1\r\nx: 2\r\nAccept-Encoding: gzip\r\n\
             Content-Length: 0\r\n\r\n",
        );
        check(
            Request::new(Method::PUT, &url).pipe().0,
            "PUT /a?b HTTP/1.1\r\nHost: h:5050\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
    }

    #[test]
    fn headers_that_cannot_be_sent() {
        let check = |name: &str, value: &str, expected: &str| {
            let request = Request::get(&url()).header(name, value);
            assert_eq!(request.invalid.as_deref(), Some(expected));
        };
        check(
            "Content-Length",
            "5",
            "header 'content-length' is set by the client",
        );
        check(
            "Connection",
            "close",
            "header 'connection' is set by the client",
        );
        check("a b", "x", "invalid HTTP header name");
        check("X", "a\r\nb", "header 'x': failed to parse header value");
    }
}
