//! The answers of one connection, in the order of their requests.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ByteStream;
use super::files::OpenFile;
use super::ready::{Framing, Payload, Ready};
use crate::http::{Headers, Preferences, Response, StreamReader, answer_or_error, reason};
use crate::runtime::{Counters, Inner};
use crate::wire::{ReadError, Rejection};

/// Answers are written in portions of about this size.
const WRITE_BYTES: usize = 16 * 1024;

/// When a client does not read its answers, requests are no longer taken once this many different ones wait. Equal answers to
/// messages in a row count as one, so a sender of messages that never reads is served without end.
const MAX_WAITING_ANSWERS: usize = 4096;

/// Requests of one connection that are worked on at the same time; further ones wait.
const MAX_EXCHANGES: usize = 8;

/// How long a client that is refused may take to close its side.
const REFUSAL_LINGER: Duration = Duration::from_secs(2);

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

    pub(super) fn count(self, counters: &Counters) {
        match self.status {
            StatusCode::REQUEST_TIMEOUT => counters.timed_out.inc(),
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                counters.oversized.inc();
            }
            _ => counters.malformed.inc(),
        }
    }

    fn write(self, out: &mut BytesMut, keep_alive: bool, date: &str) {
        let response = match self.text {
            Some(text) => Response::text(self.status, text),
            None => Response::status(self.status),
        };
        let body = response.body().cloned().unwrap_or_default();
        let framing = Framing::Length(body.len() as u64);
        let (status, headers) = (response.status_code(), response.headers());
        write_head(out, status, headers, framing, keep_alive, date);
        out.extend_from_slice(&body);
    }
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

/// Answers waiting to be written, and those that are still worked on.
pub(super) struct Answers {
    inner: Arc<Inner>,
    waiting: VecDeque<Waiting>,
    /// How many of them are exchanges.
    exchanges: usize,
    /// The rest of the answer whose head was written last.
    body: Option<Body>,
    /// The last answer has been given, and the connection is to be closed after it.
    closing: bool,
    date: DateText,
}

enum Waiting {
    /// Equal answers in a row.
    Messages(Answer, u64),
    /// Asks the client for the body of the request that comes next.
    Continue,
    /// Boxed, so that a queue of answers to messages is small.
    Exchange(Box<Exchange>),
}

/// The answer to a request that is no message.
enum Exchange {
    /// An actor has been asked, and nothing else is to be waited for.
    Asked {
        answer: crate::http::Answer,
        preferences: Preferences,
    },
    Pending(LocalBoxFuture<'static, Ready>),
    Ready(Ready),
}

impl Exchange {
    fn poll(&mut self, inner: &Arc<Inner>, cx: &mut Context<'_>) {
        if let Self::Asked {
            answer,
            preferences,
        } = self
            && let Poll::Ready(answer) = answer.poll_unpin(cx)
        {
            *self = Self::of(inner, answer_or_error(answer), std::mem::take(preferences));
        }
        if let Self::Pending(ready) = self
            && let Poll::Ready(ready) = ready.poll_unpin(cx)
        {
            *self = Self::Ready(ready);
        }
    }

    fn of(inner: &Arc<Inner>, response: Response, preferences: Preferences) -> Self {
        match Ready::at_once(response, &preferences) {
            Ok(ready) => Self::Ready(ready),
            Err(response) => {
                let inner = inner.clone();
                let ready = async move { Ready::new(&inner, *response, &preferences).await };
                Self::Pending(ready.boxed_local())
            }
        }
    }
}

impl Answers {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            waiting: VecDeque::new(),
            exchanges: 0,
            body: None,
            closing: false,
            date: DateText::default(),
        }
    }

    /// The answer to a message.
    pub(super) fn push(&mut self, answer: Answer) {
        match self.waiting.back_mut() {
            Some(Waiting::Messages(last, count)) if *last == answer => *count += 1,
            _ => self.waiting.push_back(Waiting::Messages(answer, 1)),
        }
    }

    /// A response to a request.
    pub(super) fn respond(&mut self, response: Response, preferences: Preferences) {
        self.exchange(Exchange::of(&self.inner, response, preferences));
    }

    /// What an actor will answer.
    pub(super) fn expect(&mut self, answer: crate::http::Answer, preferences: Preferences) {
        self.exchange(Exchange::Asked {
            answer,
            preferences,
        });
    }

    /// What will be answered when the future is ready, which is dropped if the connection breaks before.
    pub(super) fn wait_for(&mut self, ready: impl Future<Output = Ready> + 'static) {
        self.exchange(Exchange::Pending(ready.boxed_local()));
    }

    /// Has the client send the body it has announced.
    pub(super) fn ask_for_body(&mut self) {
        self.waiting.push_back(Waiting::Continue);
    }

    fn exchange(&mut self, exchange: Exchange) {
        self.waiting
            .push_back(Waiting::Exchange(Box::new(exchange)));
        self.exchanges += 1;
    }

    /// The connection ends with the answer that was given last.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    pub(super) fn are_closing(&self) -> bool {
        self.closing
    }

    /// True if further requests may be taken.
    pub(super) fn has_room(&self) -> bool {
        let has_room = self.waiting.len() < MAX_WAITING_ANSWERS && self.exchanges < MAX_EXCHANGES;
        has_room && !self.closing
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.body.is_none()
    }

    /// True while an actor writes what the client gets.
    pub(super) fn are_streaming(&self) -> bool {
        matches!(self.body, Some(Body::Stream(_)))
    }

    /// Lets all that is worked on go on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        if self.exchanges == 0 {
            return;
        }
        for waiting in &mut self.waiting {
            if let Waiting::Exchange(exchange) = waiting {
                exchange.poll(&self.inner, cx);
            }
        }
    }

    /// Turns answers into bytes, as far as they are ready, until `out` is large enough. `ended` says that the client has closed its
    /// side.
    ///
    /// # Errors
    /// A body breaks off: its file has become shorter, its writer has failed, or it is a stream and the client has closed its side.
    pub(super) fn fill(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
        ended: bool,
    ) -> io::Result<()> {
        while out.len() < WRITE_BYTES {
            if let Some(body) = &mut self.body {
                match body.poll(cx, out, ended) {
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(Ok(false)) => self.body = None,
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => return Ok(()),
                }
                continue;
            }
            match self.waiting.front_mut() {
                None => return Ok(()),
                Some(Waiting::Messages(..)) => self.write_messages(out),
                Some(Waiting::Continue) => {
                    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                    self.waiting.pop_front();
                }
                Some(Waiting::Exchange(exchange)) => {
                    if !matches!(**exchange, Exchange::Ready(_)) {
                        return Ok(());
                    }
                    if let Some(Waiting::Exchange(exchange)) = self.waiting.pop_front()
                        && let Exchange::Ready(ready) = *exchange
                    {
                        self.exchanges -= 1;
                        self.write_response(ready, out);
                    }
                }
            }
        }
        Ok(())
    }

    fn write_messages(&mut self, out: &mut BytesMut) {
        let last = u64::from(self.closing && self.waiting.len() == 1);
        let Some(Waiting::Messages(answer, count)) = self.waiting.front_mut() else {
            return;
        };
        let date = self.date.now();
        if *count > last {
            let mut text = BytesMut::new();
            answer.write(&mut text, true, date);
            while *count > last && out.len() < WRITE_BYTES {
                out.extend_from_slice(&text);
                *count -= 1;
            }
        } else {
            answer.write(out, false, date);
            *count = 0;
        }
        if *count == 0 {
            self.waiting.pop_front();
        }
    }

    fn write_response(&mut self, ready: Ready, out: &mut BytesMut) {
        let Ready {
            status,
            headers,
            body,
        } = ready;
        if headers.get_all(CONNECTION).any(says_close) {
            // What the client has asked beyond this is not answered.
            self.waiting.clear();
            (self.exchanges, self.closing) = (0, true);
        }
        let keep_alive = !(self.closing && self.waiting.is_empty());
        let date = self.date.now();
        write_head(out, status, &headers, body.framing(), keep_alive, date);
        self.body = match body {
            Payload::Bytes(bytes) if out.len() + bytes.len() <= WRITE_BYTES => {
                out.extend_from_slice(&bytes);
                None
            }
            Payload::Bytes(bytes) => Some(Body::Bytes(bytes)),
            Payload::Stream(stream) => Some(Body::Stream(stream)),
            Payload::File(file) => Some(Body::File(read(file))),
            Payload::Unsent(_) => None,
        };
    }
}

fn says_close(value: &HeaderValue) -> bool {
    let mut words = value.as_bytes().split(|byte| *byte == b',');
    words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// A body that is being sent.
enum Body {
    Bytes(Bytes),
    Stream(StreamReader),
    File(Reading),
}

type Reading = LocalBoxFuture<'static, (Box<OpenFile>, io::Result<Option<Bytes>>)>;

fn read(mut file: Box<OpenFile>) -> Reading {
    let reading = async move {
        let piece = file.next().await;
        (file, piece)
    };
    reading.boxed_local()
}

impl Body {
    /// Appends the next piece; false if there is none.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
        ended: bool,
    ) -> Poll<io::Result<bool>> {
        match self {
            Self::Bytes(bytes) => {
                let piece = bytes.split_to(bytes.len().min(WRITE_BYTES));
                out.extend_from_slice(&piece);
                Poll::Ready(Ok(!bytes.is_empty()))
            }
            Self::File(reading) => {
                let (file, piece) = ready!(reading.poll_unpin(cx));
                let piece = piece?;
                out.extend_from_slice(piece.as_deref().unwrap_or_default());
                *reading = read(file);
                Poll::Ready(Ok(piece.is_some()))
            }
            Self::Stream(stream) => match stream.poll_recv(cx) {
                Poll::Ready(Some(piece)) => {
                    let piece = piece.map_err(io::Error::other)?;
                    // Writing to memory cannot fail.
                    let _ = write!(out, "{:x}\r\n", piece.len());
                    out.extend_from_slice(&piece);
                    out.extend_from_slice(b"\r\n");
                    Poll::Ready(Ok(true))
                }
                Poll::Ready(None) => {
                    out.extend_from_slice(b"0\r\n\r\n");
                    Poll::Ready(Ok(false))
                }
                // So the writer learns at once that the client has gone, and not by the failure of a later write.
                Poll::Pending if ended => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

/// The text of the current second, as HTTP wants it.
#[derive(Default)]
struct DateText {
    second: u64,
    text: String,
}

impl DateText {
    fn now(&mut self) -> &str {
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

/// Writes the head of a response. What the headers say about framing and connection is left out.
fn write_head(
    out: &mut BytesMut,
    status: StatusCode,
    headers: &Headers,
    framing: Framing,
    keep_alive: bool,
    date: &str,
) {
    for part in [
        "HTTP/1.1 ",
        status.as_str(),
        " ",
        reason(status),
        "\r\nDate: ",
        date,
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    // Writing to memory cannot fail.
    let _ = match framing {
        Framing::Length(length) => write!(out, "\r\nContent-Length: {length}\r\n"),
        Framing::Chunked => write!(out, "\r\nTransfer-Encoding: chunked\r\n"),
        Framing::None => write!(out, "\r\n"),
    };
    if !keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    for (name, value) in headers.iter() {
        if ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, DATE].contains(name) {
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
    let mut out = BytesMut::new();
    answer.write(&mut out, false, DateText::default().now());
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
