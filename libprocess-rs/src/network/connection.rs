//! One connection to the port: messages and HTTP requests come in, answers go out in their order.
//!
//! libprocess sends messages without waiting for answers, and actix-http loses requests that a client pipelines beyond its read
//! buffer. So all requests are read by one reader of our own, and a client may mix messages with other requests.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ByteStream;
use super::answers::{Answer, Answers, close};
use super::requests::{Awaited, Requests};
use super::watchdog::Watchdog;
use crate::runtime::Inner;

/// Bytes asked for at once while much arrives.
const READ_BYTES: usize = 64 * 1024;

/// Bytes asked for at once while little arrives.
const QUIET_READ_BYTES: usize = 4096;

/// Bytes that are read ahead while requests are not taken; beyond that the client has to wait.
const MAX_AHEAD_BYTES: usize = 64 * 1024;

/// Serves a connection until it is closed. `ahead` has been read from it already.
pub(super) async fn serve(
    inner: Arc<Inner>,
    stream: Box<dyn ByteStream>,
    ahead: BytesMut,
    peer: Option<SocketAddr>,
) {
    let mut connection = Connection {
        requests: Requests::new(inner.clone(), peer, ahead),
        answers: Answers::new(inner.clone()),
        output: BytesMut::new(),
        unflushed: false,
        ended: false,
        read_size: ReadSize(QUIET_READ_BYTES),
        reading: Watchdog::new(inner.clock.clone(), inner.header_timeout),
        writing: Watchdog::new(inner.clock.clone(), inner.header_timeout),
        stream,
        inner: inner.clone(),
    };
    let served = std::future::poll_fn(|cx| connection.poll(cx)).await;
    let Connection {
        mut stream, ended, ..
    } = connection;
    match served {
        Ok(()) if ended => {
            // The client has gone, so nothing is lost if this fails.
            let _ = stream.shutdown().await;
        }
        Ok(()) => close(&inner, stream).await,
        Err(error) => tracing::debug!("A connection broke: {error}"),
    }
}

struct Connection {
    inner: Arc<Inner>,
    stream: Box<dyn ByteStream>,
    requests: Requests,
    answers: Answers,
    /// Answers as bytes, to be written.
    output: BytesMut,
    /// Whether the stream may hold back what was written to it.
    unflushed: bool,
    /// The client has said all it will.
    ended: bool,
    read_size: ReadSize,
    /// Expires when a request that has begun makes no progress.
    reading: Watchdog,
    /// Expires when a client does not take its answers.
    writing: Watchdog,
}

impl Connection {
    /// Ready when nothing is left to be done; an error if the connection is of no more use.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (mut read, mut wrote) = (false, false);
        loop {
            if self.requests.poll(cx, &mut self.answers, self.ended) {
                self.reading.rest();
            }
            let had_room = self.answers.has_room();
            self.answers.poll(cx);
            wrote |= self.write(cx)?;
            if self.is_done() {
                return Poll::Ready(Ok(()));
            }
            let has_read = self.read(cx)?;
            read |= has_read;
            if has_read || !had_room && self.answers.has_room() {
                continue;
            }
            if self.is_overdue(cx, read, wrote)?.is_pending() {
                break;
            }
        }
        if self.output.is_empty() && self.output.capacity() > QUIET_READ_BYTES {
            self.output = BytesMut::new();
        }
        Poll::Pending
    }

    fn is_done(&self) -> bool {
        let is_written = self.output.is_empty() && !self.unflushed && self.answers.is_empty();
        is_written && (self.answers.are_closing() || self.requests.are_done())
    }

    /// Ready if a request was refused for want of progress. An error if the client does not take its answers, or has closed its side
    /// and is not answered.
    fn is_overdue(
        &mut self,
        cx: &mut Context<'_>,
        read: bool,
        wrote: bool,
    ) -> io::Result<Poll<()>> {
        let is_stuck = match self.output.is_empty() && !self.unflushed {
            true => self.ended && !self.answers.is_empty(),
            // The backlog of a stream has a bound of its own.
            false => !self.answers.are_streaming(),
        };
        match is_stuck {
            true => self.writing.watch(wrote),
            false => self.writing.rest(),
        }
        if self.writing.poll_expired(cx).is_ready() {
            self.inner.counters.timed_out.inc();
            return Err(io::ErrorKind::TimedOut.into());
        }
        match self.requests.awaited(&self.answers) {
            _ if is_stuck => self.reading.rest(),
            Awaited::Nothing => self.reading.rest(),
            Awaited::Head => self.reading.watch(false),
            Awaited::Body => self.reading.watch(read),
        }
        let overdue = self.reading.poll_expired(cx);
        if overdue.is_ready() {
            self.requests.refuse(Answer::TIMEOUT, &mut self.answers);
        }
        Ok(overdue)
    }

    /// Writes all it can; true if that is something.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        loop {
            self.answers.fill(cx, &mut self.output, self.ended)?;
            if self.output.is_empty() {
                break;
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.output) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => self.output.advance(written?),
                Poll::Pending => break,
            }
            (self.unflushed, wrote) = (true, true);
        }
        if self.unflushed {
            self.unflushed = Pin::new(&mut self.stream).poll_flush(cx)?.is_pending();
            wrote |= !self.unflushed;
        }
        Ok(wrote)
    }

    /// Reads once; true if that gave bytes, or the end.
    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.requests.are_done() {
            // Nobody looks at it, but that the client has gone is to be noticed.
            self.requests.buffer().clear();
        }
        let is_ahead = self.requests.buffer().len() >= MAX_AHEAD_BYTES;
        if self.ended || is_ahead && !self.requests.want_more(&self.answers) {
            return Ok(false);
        }
        let buffer = self.requests.buffer();
        self.read_size.prepare(buffer);
        let Poll::Ready(read) = pin!(self.stream.read_buf(buffer)).poll(cx)? else {
            return Ok(false);
        };
        self.read_size.adapt(read);
        self.ended = read == 0;
        Ok(true)
    }
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
