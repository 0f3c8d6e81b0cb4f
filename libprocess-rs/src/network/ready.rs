//! Responses in the form in which they are sent.

use std::fmt::Write;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, LAST_MODIFIED,
};
use http::{HeaderName, HeaderValue, StatusCode};

use super::files::{OpenFile, Part};
use crate::http::{
    Body, ByteRange, GZIP_MINIMUM_BODY_BYTES, Headers, Outcome, Preferences, Ranges, Response,
    StreamReader, compressed, content_type, parse_ranges, validators,
};
use crate::runtime::Inner;

/// A response ready to be sent.
pub(super) struct Ready {
    pub(super) status: StatusCode,
    pub(super) headers: Headers,
    pub(super) body: Payload,
}

/// The body of a response.
pub(super) enum Payload {
    Bytes(Bytes),
    Stream(StreamReader),
    /// Boxed, as it is large.
    File(Box<OpenFile>),
    /// Nothing is sent, though the head may say what would be.
    Unsent(Framing),
}

/// How the head of a response says where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Not at all: the status has no body.
    None,
    Length(u64),
    Chunked,
}

impl Payload {
    pub(super) fn framing(&self) -> Framing {
        match self {
            Self::Bytes(bytes) => Framing::Length(bytes.len() as u64),
            Self::File(file) => Framing::Length(file.left()),
            Self::Stream(_) => Framing::Chunked,
            Self::Unsent(framing) => *framing,
        }
    }
}

impl Ready {
    /// Opens the file of a response that has one, and does what the client asked for: compression, under conditions, in parts.
    pub(super) async fn new(inner: &Inner, response: Response, preferences: &Preferences) -> Self {
        let response = compressed(inner, preferences.gzip, response).await;
        let (status, headers) = (response.status, response.headers);
        let body = match response.body {
            Body::Bytes(bytes) => Payload::Bytes(bytes),
            Body::Stream(reader) => Payload::Stream(reader),
            Body::File(path) => {
                let ready = Self::file(status, headers, &path).await;
                return ready.shaped(preferences);
            }
        };
        let ready = Self {
            status,
            headers,
            body,
        };
        ready.shaped(preferences)
    }

    /// The same for a response that needs neither a file nor a thought of compression. Others are given back.
    pub(super) fn at_once(
        response: Response,
        preferences: &Preferences,
    ) -> Result<Self, Box<Response>> {
        let body = match response.body {
            Body::Bytes(bytes) if bytes.len() < GZIP_MINIMUM_BODY_BYTES => Payload::Bytes(bytes),
            Body::Stream(reader) => Payload::Stream(reader),
            body => return Err(Box::new(Response { body, ..response })),
        };
        let ready = Self {
            status: response.status,
            headers: response.headers,
            body,
        };
        Ok(ready.shaped(preferences))
    }

    /// What the client asked for under conditions, in parts or without a body.
    fn shaped(mut self, preferences: &Preferences) -> Self {
        if self.status == StatusCode::OK
            && let Some(conditions) = &preferences.conditions
        {
            match conditions.evaluate(&self.headers) {
                Outcome::NotModified => self.not_modified(),
                Outcome::Failed => self = Self::status(StatusCode::PRECONDITION_FAILED),
                Outcome::Send => {
                    if let Some(range) = conditions.range(&self.headers).map(str::to_owned) {
                        self.cut(&range);
                    }
                }
            }
        }
        if has_no_body(self.status) {
            self.body = Payload::Unsent(Framing::None);
        } else if preferences.head_only {
            self.body = Payload::Unsent(self.body.framing());
        }
        self
    }

    /// A status with its default body.
    fn status(status: StatusCode) -> Self {
        let response = Response::status(status);
        let body = response.body().cloned().unwrap_or_default();
        Self {
            status,
            headers: response.headers,
            body: Payload::Bytes(body),
        }
    }

    async fn file(status: StatusCode, mut headers: Headers, path: &Path) -> Self {
        match OpenFile::open(path).await {
            Ok((file, metadata)) => {
                describe(&mut headers, path, &metadata);
                Self {
                    status,
                    headers,
                    body: Payload::File(Box::new(file)),
                }
            }
            Err(error) => Self::status(match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => StatusCode::NOT_FOUND,
                _ => {
                    tracing::warn!("Cannot send '{}': {error}", path.display());
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            }),
        }
    }

    fn not_modified(&mut self) {
        self.status = StatusCode::NOT_MODIFIED;
        // They describe a body that is not sent.
        for name in [
            CONTENT_TYPE,
            CONTENT_ENCODING,
            CONTENT_LANGUAGE,
            CONTENT_DISPOSITION,
        ] {
            self.headers.remove(name);
        }
    }

    /// Leaves of a file what a `Range` header asks for.
    fn cut(&mut self, range: &str) {
        let Payload::File(file) = &mut self.body else {
            return;
        };
        let length = file.left();
        match parse_ranges(range, length) {
            Ranges::Whole => {}
            Ranges::Unsatisfiable => {
                *self = Self::status(StatusCode::RANGE_NOT_SATISFIABLE);
                set(
                    &mut self.headers,
                    CONTENT_RANGE,
                    &format!("bytes */{length}"),
                );
            }
            Ranges::Parts(parts) => {
                self.status = StatusCode::PARTIAL_CONTENT;
                if let [part] = parts.as_slice() {
                    set(
                        &mut self.headers,
                        CONTENT_RANGE,
                        &content_range(*part, length),
                    );
                    file.send([Part::Range(*part)]);
                } else {
                    let content_type = self.headers.remove(CONTENT_TYPE);
                    let (boundary, parts) = multipart(content_type.as_ref(), &parts, length);
                    let content_type = format!("multipart/byteranges; boundary={boundary}");
                    set(&mut self.headers, CONTENT_TYPE, &content_type);
                    file.send(parts);
                }
            }
        }
    }
}

/// Statuses whose responses end with the head.
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// Adds what is known of a file, unless the handler has said something else.
fn describe(headers: &mut Headers, path: &Path, metadata: &Metadata) {
    if let Some(known) = content_type(path) {
        default(headers, CONTENT_TYPE, known);
    }
    default(headers, ACCEPT_RANGES, "bytes");
    // File systems without modification times exist.
    if let Ok(modified) = metadata.modified() {
        let (tag, date) = validators(modified, metadata.len());
        default(headers, ETAG, &tag);
        default(headers, LAST_MODIFIED, &date);
    }
}

fn default(headers: &mut Headers, name: HeaderName, value: &str) {
    if !headers.contains(&name) {
        set(headers, name, value);
    }
}

fn set(headers: &mut Headers, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(error) => tracing::error!("Response header {name} left out: {error}"),
    }
}

fn content_range(part: ByteRange, length: u64) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end - 1)
}

/// Several parts of a body of `length` bytes as one, with the boundary between them.
fn multipart(
    content_type: Option<&HeaderValue>,
    parts: &[ByteRange],
    length: u64,
) -> (String, Vec<Part>) {
    // Nobody who wrote the file can have known it.
    let boundary = format!("{:016x}", rand::random::<u64>());
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let mut pieces = Vec::new();
    for part in parts {
        let mut head = format!("\r\n--{boundary}\r\n");
        // Writing to memory cannot fail.
        if let Some(content_type) = content_type {
            let _ = write!(head, "Content-Type: {content_type}\r\n");
        }
        let range = content_range(*part, length);
        let _ = write!(head, "Content-Range: {range}\r\n\r\n");
        pieces.push(Part::Text(head.into()));
        pieces.push(Part::Range(*part));
    }
    pieces.push(Part::Text(format!("\r\n--{boundary}--\r\n").into()));
    (boundary, pieces)
}
