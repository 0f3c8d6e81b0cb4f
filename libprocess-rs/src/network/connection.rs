//! A connection that carries messages, served by our own reader.
//!
//! actix-http loses requests that a client pipelines beyond its read buffer, and that is how libprocess sends.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::{Buf, BytesMut};
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::ByteStream;
use super::answers::{Answer, Output, refuse, write_head};
use super::ready::{Payload, Ready, respond};
use super::watchdog::Watchdog;
use crate::actor::{Envelope, wait_for};
use crate::http::{BodyStream, Preferences, Request, Response, StreamReader, split_target, target};
use crate::runtime::Inner;
use crate::wire::{Item, Message, PlainRequest, Reader};

/// Bytes asked for at once while much arrives.
const READ_BYTES: usize = 64 * 1024;

/// Bytes asked for at once while little arrives.
const QUIET_READ_BYTES: usize = 4096;

type Reading = ReadHalf<Box<dyn ByteStream>>;
type Writing = WriteHalf<Box<dyn ByteStream>>;

/// Serves a connection whose first request is a message.
pub(super) async fn serve(
    inner: Arc<Inner>,
    stream: Box<dyn ByteStream>,
    ahead: BytesMut,
    peer: Option<SocketAddr>,
) {
    let connection = Connection {
        reader: Reader::new(inner.limits, ahead),
        watchdog: Watchdog::new(inner.clock.clone(), inner.header_timeout),
        output: Output::default(),
        read_size: ReadSize(QUIET_READ_BYTES),
        unflushed: false,
        inner,
        peer,
    };
    if let Err(error) = connection.run(stream).await {
        tracing::debug!("A message connection broke: {error}");
    }
}

struct Connection {
    inner: Arc<Inner>,
    peer: Option<SocketAddr>,
    reader: Reader,
    watchdog: Watchdog,
    output: Output,
    read_size: ReadSize,
    /// Whether the stream may hold back what was written to it.
    unflushed: bool,
}

/// Whether more requests are expected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The client has said all it will; what waits is still written.
    Closing,
    /// The client is not understood any more.
    Refused(Answer),
}

impl Connection {
    async fn run(mut self, stream: Box<dyn ByteStream>) -> io::Result<()> {
        let (mut reading, mut writing) = tokio::io::split(stream);
        let mut phase = Phase::Open;
        let mut progress = true;
        loop {
            if phase == Phase::Open {
                phase = self
                    .take_requests(&mut reading, &mut writing, progress)
                    .await?;
            }
            if phase != Phase::Open && self.output.is_empty() {
                break;
            }
            self.output.fill();
            let open = phase == Phase::Open;
            progress = false;
            match self.exchange(&mut reading, &mut writing, open).await? {
                Exchanged::Read(0) => phase = Phase::Closing,
                Exchanged::Read(_) => progress = true,
                Exchanged::Wrote => {}
                Exchanged::Expired => phase = Phase::Refused(Answer::TIMEOUT),
            }
        }
        let mut stream = reading.unsplit(writing);
        match phase {
            Phase::Refused(answer) => {
                answer.count(&self.inner.counters);
                refuse(&self.inner, stream, answer).await;
                Ok(())
            }
            _ => stream.shutdown().await,
        }
    }

    /// Serves all complete requests in the buffer.
    async fn take_requests(
        &mut self,
        reading: &mut Reading,
        writing: &mut Writing,
        progress: bool,
    ) -> io::Result<Phase> {
        let mut served = false;
        while self.output.has_room() {
            let (item, keep_alive) = match self.reader.next() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(error) => return Ok(Phase::Refused(error.into())),
            };
            served = true;
            match item {
                Item::Message(message) => {
                    let answer = deliver(&self.inner, message, self.peer).await;
                    self.output.push(answer);
                }
                Item::Rejected(rejection) => self.output.push(rejection.into()),
                Item::Request(request) => {
                    // Boxed, so that connections that carry messages alone need no memory for it.
                    let response = self.respond(reading, writing, *request, keep_alive);
                    Box::pin(response).await?;
                }
            }
            if !keep_alive {
                return Ok(Phase::Closing);
            }
        }
        match self.reader.is_partial() {
            true => self
                .watchdog
                .watch(served || progress && self.reader.in_body()),
            false => self.watchdog.rest(),
        }
        Ok(Phase::Open)
    }

    /// Writes or reads, whichever is possible first.
    async fn exchange(
        &mut self,
        reading: &mut Reading,
        writing: &mut Writing,
        open: bool,
    ) -> io::Result<Exchanged> {
        let readable = open && self.output.has_room();
        let buffer = self.reader.buffer();
        if readable {
            self.read_size.prepare(buffer);
        }
        tokio::select! {
            biased;
            wrote = write(writing, &self.output.bytes, &mut self.unflushed),
                if self.unflushed || !self.output.bytes.is_empty() => {
                self.output.bytes.advance(wrote?);
                Ok(Exchanged::Wrote)
            }
            read = reading.read_buf(buffer), if readable => {
                let read = read?;
                self.read_size.adapt(read);
                Ok(Exchanged::Read(read))
            }
            () = self.watchdog.expired() => Ok(Exchanged::Expired),
        }
    }

    /// Answers an ordinary request that came between messages.
    async fn respond(
        &mut self,
        reading: &mut Reading,
        writing: &mut Writing,
        request: PlainRequest,
        keep_alive: bool,
    ) -> io::Result<()> {
        while !self.output.is_empty() {
            self.output.fill();
            writing.write_all(&self.output.bytes).await?;
            self.output.bytes.clear();
        }
        writing.flush().await?;
        self.unflushed = true;
        let ready = serve_plain(&self.inner, request, self.peer).await;
        let out = &mut self.output.bytes;
        let date = self.output.date.now();
        let framing = ready.body.framing();
        write_head(out, ready.status, &ready.headers, framing, keep_alive, date);
        match ready.body {
            Payload::Unsent(_) => {}
            Payload::Bytes(bytes) => out.extend_from_slice(&bytes),
            Payload::File(mut file) => {
                while let Some(chunk) = file.next().await? {
                    out.extend_from_slice(&chunk);
                    writing.write_all(out).await?;
                    out.clear();
                }
            }
            Payload::Stream(mut stream) => {
                write_stream(out, reading, writing, &mut stream, self.reader.buffer()).await?;
            }
        }
        Ok(())
    }
}

/// Writes what is possible now and has it sent; without `bytes` it only has sent what was held back.
fn write<'a>(
    writing: &'a mut Writing,
    bytes: &'a [u8],
    unflushed: &'a mut bool,
) -> impl Future<Output = io::Result<usize>> + 'a {
    poll_fn(move |cx| {
        let wrote = match bytes.is_empty() {
            true => 0,
            false => ready!(Pin::new(&mut *writing).poll_write(cx, bytes))?,
        };
        *unflushed = Pin::new(&mut *writing).poll_flush(cx)?.is_pending();
        match *unflushed && wrote == 0 {
            true => Poll::Pending,
            false => Poll::Ready(Ok(wrote)),
        }
    })
}

/// What [`Connection::exchange`] did.
enum Exchanged {
    Wrote,
    Read(usize),
    Expired,
}

/// How much is asked for at once: little while a connection is quiet, so that it needs little memory.
struct ReadSize(usize);

impl ReadSize {
    fn prepare(&self, buffer: &mut BytesMut) {
        if buffer.is_empty() && buffer.capacity() > self.0.max(QUIET_READ_BYTES) * 2 {
            *buffer = BytesMut::new();
        }
        buffer.reserve(self.0);
    }

    fn adapt(&mut self, read: usize) {
        if read >= self.0 {
            self.0 = (self.0 * 2).min(READ_BYTES);
        } else if read < QUIET_READ_BYTES {
            self.0 = QUIET_READ_BYTES;
        }
    }
}

/// Writes the pieces of a stream as chunks until it ends; fails if the client closes its side before.
async fn write_stream(
    out: &mut BytesMut,
    reading: &mut Reading,
    writing: &mut Writing,
    stream: &mut StreamReader,
    ahead: &mut BytesMut,
) -> io::Result<()> {
    loop {
        writing.write_all(out).await?;
        writing.flush().await?;
        out.clear();
        let piece = tokio::select! {
            biased;
            piece = stream.recv() => piece,
            read = reading.read_buf(ahead), if ahead.len() < READ_BYTES => match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => continue,
            },
        };
        let Some(piece) = piece else {
            return writing.write_all(b"0\r\n\r\n").await;
        };
        // Writing to memory cannot fail.
        let _ = write!(out, "{:x}\r\n", piece.len());
        out.extend_from_slice(&piece);
        out.extend_from_slice(b"\r\n");
    }
}

/// Hands a message to its receiver. The answer means no more than that it was queued.
pub(super) async fn deliver(inner: &Inner, message: Message, peer: Option<SocketAddr>) -> Answer {
    let Message {
        from,
        to,
        name,
        body,
    } = message;
    if inner.require_peer_match && peer.is_none_or(|peer| peer.ip() != from.address().ip()) {
        return Answer::PEER_MISMATCH;
    }
    inner.counters.received.inc();
    let Some(actor) = inner.registry.get(&to) else {
        return Answer::NOT_FOUND;
    };
    let envelope = Envelope {
        from,
        name: name.into(),
        body,
    };
    if actor.mailbox.message(envelope).is_err() {
        return Answer::NOT_FOUND;
    }
    // Holding the connection back makes the sender wait instead of this runtime's memory grow.
    wait_for(&*actor.mailbox, |mailbox| !mailbox.is_high()).await;
    Answer::ACCEPTED
}

async fn serve_plain(inner: &Inner, plain: PlainRequest, peer: Option<SocketAddr>) -> Ready {
    let (path, query) = split_target(&plain.target);
    let preferences = Preferences::none(plain.method == Method::HEAD);
    let request = Request::received(plain.method, path, query, plain.headers, peer);
    let Ok(mut request) = request else {
        let response = Response::status(StatusCode::BAD_REQUEST);
        return Ready::new(response, &preferences).await;
    };
    let target = target(inner, &mut request).await;
    if target.is_streaming() {
        request.stream = Some(BodyStream::whole(plain.body));
    } else {
        request.body = plain.body;
    }
    respond(inner, target, request).await
}
