//! Answers of message connections and refusals, written by hand.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ByteStream;
use super::ready::Framing;
use crate::http::{Headers, Response, reason};
use crate::runtime::{Counters, Inner};
use crate::wire::{ReadError, Rejection};

/// Answers are written in portions of about this size.
const WRITE_BYTES: usize = 16 * 1024;

/// When a client does not read its answers, requests are no longer read once this many different ones wait. Equal answers in a
/// row count as one, so a sender of messages that never reads is served without end.
const MAX_WAITING_ANSWERS: usize = 4096;

/// How long a client that is refused may take to close its side.
pub(super) const REFUSAL_LINGER: Duration = Duration::from_secs(2);

/// The answer to a message, or to a connection that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    status: StatusCode,
    /// Instead of the default body.
    text: Option<&'static str>,
}

impl Answer {
    pub(super) const TIMEOUT: Self = Self::status(StatusCode::REQUEST_TIMEOUT);
    pub(super) const ACCEPTED: Self = Self::status(StatusCode::ACCEPTED);
    pub(super) const NOT_FOUND: Self = Self::status(StatusCode::NOT_FOUND);
    pub(super) const PEER_MISMATCH: Self = Self {
        status: StatusCode::BAD_REQUEST,
        text: Some("The IP address of the sender does not match that of the connection"),
    };

    pub(super) const TLS_MISSING: Self = Self {
        status: StatusCode::BAD_REQUEST,
        text: Some("This port speaks TLS: use https"),
    };

    pub(super) const fn status(status: StatusCode) -> Self {
        Self { status, text: None }
    }

    pub(super) fn into_response(self) -> Response {
        match self.text {
            Some(text) => Response::text(self.status, text),
            None => Response::status(self.status),
        }
    }

    pub(super) fn count(self, counters: &Counters) {
        match self.status {
            StatusCode::REQUEST_TIMEOUT => counters.timed_out.inc(),
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                counters.oversized.inc();
            }
            _ => counters.malformed.inc(),
        }
    }
}

/// Answers waiting to be written, in the order of their requests.
#[derive(Default)]
pub(super) struct Output {
    waiting: VecDeque<(Answer, u64)>,
    pub(super) bytes: BytesMut,
    pub(super) date: DateText,
}

impl Output {
    pub(super) fn push(&mut self, answer: Answer) {
        match self.waiting.back_mut() {
            Some((last, count)) if *last == answer => *count += 1,
            _ => self.waiting.push_back((answer, 1)),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING_ANSWERS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.waiting.is_empty()
    }

    /// Turns waiting answers into bytes.
    pub(super) fn fill(&mut self) {
        while self.bytes.len() < WRITE_BYTES {
            let Some((answer, count)) = self.waiting.front_mut() else {
                return;
            };
            *count -= 1;
            let answer = *answer;
            if *count == 0 {
                self.waiting.pop_front();
            }
            let response = answer.into_response();
            let body = response.body().cloned().unwrap_or_default();
            let (status, headers) = (response.status_code(), response.headers());
            let framing = Framing::Length(body.len() as u64);
            write_head(
                &mut self.bytes,
                status,
                headers,
                framing,
                true,
                self.date.now(),
            );
            self.bytes.extend_from_slice(&body);
        }
    }
}

/// The text of the current second, as HTTP wants it.
#[derive(Default)]
pub(super) struct DateText {
    second: u64,
    text: String,
}

impl DateText {
    pub(super) fn now(&mut self) -> &str {
        let now = SystemTime::now();
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let second = since.map_or(0, |since| since.as_secs());
        if self.second != second || self.text.is_empty() {
            self.second = second;
            self.text = httpdate::fmt_http_date(now);
        }
        &self.text
    }
}

/// Writes the head of a response.
pub(super) fn write_head(
    out: &mut BytesMut,
    status: StatusCode,
    headers: &Headers,
    framing: Framing,
    keep_alive: bool,
    date: &str,
) {
    let mut text = format!(
        "HTTP/1.1 {} {}\r\nDate: {date}\r\n",
        status.as_u16(),
        reason(status)
    );
    // Writing to memory cannot fail.
    let _ = match framing {
        Framing::Length(length) => write!(text, "Content-Length: {length}\r\n"),
        Framing::Chunked => write!(text, "Transfer-Encoding: chunked\r\n"),
        Framing::None => Ok(()),
    };
    if !keep_alive {
        text.push_str("Connection: close\r\n");
    }
    out.extend_from_slice(text.as_bytes());
    for (name, value) in headers.iter() {
        if name != CONTENT_LENGTH && name != TRANSFER_ENCODING && name != DATE {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Answers a request that cannot be served and closes the connection.
pub(super) async fn refuse(inner: &Inner, mut stream: Box<dyn ByteStream>, answer: Answer) {
    let response = answer.into_response();
    let body = response.body().cloned().unwrap_or_default();
    let mut out = BytesMut::new();
    let (status, headers) = (response.status_code(), response.headers());
    let (framing, mut date) = (Framing::Length(body.len() as u64), DateText::default());
    write_head(&mut out, status, headers, framing, false, date.now());
    out.extend_from_slice(&body);
    let answering = stream.write_all(&out);
    if let Ok(Ok(())) = inner.clock.timeout(REFUSAL_LINGER, answering).await {
        close(inner, stream).await;
    }
}

/// Closes a connection on which the client may still be sending.
pub(super) async fn close(inner: &Inner, mut stream: Box<dyn ByteStream>) {
    let mut scratch = [0; 1024];
    let closing = async {
        if stream.shutdown().await.is_ok() {
            while matches!(stream.read(&mut scratch).await, Ok(read) if read > 0) {}
        }
    };
    // Closing with unread bytes would reset the connection, and the client could lose what it was told last.
    let _ = inner.clock.timeout(REFUSAL_LINGER, closing).await;
}

impl From<ReadError> for Answer {
    fn from(error: ReadError) -> Self {
        tracing::debug!("Refused a request: {error}");
        Answer::status(error.status())
    }
}

impl From<Rejection> for Answer {
    fn from(rejection: Rejection) -> Self {
        Self {
            status: rejection.status,
            text: Some(rejection.text),
        }
    }
}
