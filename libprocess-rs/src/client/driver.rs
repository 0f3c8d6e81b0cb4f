//! The task of a connection, which writes requests and reads responses.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::{FutureExt, StreamExt};
use http::{Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::Disconnect;
use super::exchange::{Outgoing, Shared};
use super::request::BodyStream;
use super::sink::Sink;
use crate::network::ByteStream;
use crate::wire::{Decoder, Piece, ReadError, ResponseHead, ResponseParser};

/// Room for each read between responses, which is what an idle connection costs.
const HEAD_READ_BYTES: usize = 4 * 1024;

/// Room for each read within a body.
const BODY_READ_BYTES: usize = 32 * 1024;

/// How long answers may still come when nothing can be sent any more, and how long closing may take.
const LINGER: Duration = Duration::from_secs(5);

type Stream = Box<dyn ByteStream>;

/// Runs one connection. If it is dropped instead of run to its end, all that wait are told.
pub(super) struct Driver {
    shared: Arc<Shared>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.end(Disconnect::RuntimeEnded);
    }
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(super) async fn run(self, stream: Stream) {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reading = Reading {
            shared: &self.shared,
            reader,
            buffer: BytesMut::new(),
            parser: ResponseParser::new(self.shared.config.max_head_bytes),
        };
        {
            let mut read = pin!(reading.run());
            let mut write = pin!(self.write(&mut writer));
            let reason = tokio::select! {
                biased;
                reason = &mut read => reason,
                reason = &mut write => reason,
                reason = self.shared.stopped() => reason,
                reason = self.shared.overdue() => reason,
            };
            // Before the halves are dropped: a response that they break off has to find the reason.
            self.shared.end(reason);
        }
        let closing = self.shared.clock.timeout(LINGER, writer.shutdown());
        let _ = closing.await;
    }

    async fn write(&self, writer: &mut WriteHalf<Stream>) -> Disconnect {
        loop {
            let written = match self.shared.take_outgoing() {
                Some(outgoing) => self.write_one(writer, outgoing).await,
                None => match writer.flush().await {
                    Ok(()) => {
                        self.shared.work().await;
                        Ok(())
                    }
                    Err(error) => Err(error.into()),
                },
            };
            match written {
                Ok(()) => {}
                Err(reason @ Disconnect::Failed(_)) => {
                    // The server may have answered before it stopped to read.
                    self.shared.refuse(&reason);
                    self.shared.clock.sleep(LINGER).await;
                    return reason;
                }
                Err(reason) => return reason,
            }
        }
    }

    async fn write_one(
        &self,
        writer: &mut WriteHalf<Stream>,
        outgoing: Outgoing,
    ) -> Result<(), Disconnect> {
        let completes = match outgoing {
            Outgoing::Requests {
                bytes, completes, ..
            } => {
                self.write_all(writer, bytes).await?;
                completes
            }
            Outgoing::Body(body) => {
                self.write_all(writer, body).await?;
                1
            }
            Outgoing::Stream(stream) => {
                self.write_chunks(writer, stream).await?;
                1
            }
        };
        self.shared.on_sent(completes);
        Ok(())
    }

    /// Writes a body whose pieces come one by one, each as soon as it is there.
    async fn write_chunks(
        &self,
        writer: &mut WriteHalf<Stream>,
        mut pieces: BodyStream,
    ) -> Result<(), Disconnect> {
        self.watched(writer.flush()).await?;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|text| Disconnect::RequestBody(text.into()))?;
            if piece.is_empty() {
                continue;
            }
            let size = Bytes::from(format!("{:x}\r\n", piece.len()));
            let chunk = size.chain(piece).chain(&b"\r\n"[..]);
            self.write_all(writer, chunk).await?;
            self.watched(writer.flush()).await?;
        }
        self.write_all(writer, &b"0\r\n\r\n"[..]).await?;
        Ok(())
    }

    async fn write_all(
        &self,
        writer: &mut WriteHalf<Stream>,
        mut bytes: impl Buf,
    ) -> io::Result<()> {
        while bytes.has_remaining() {
            if self.watched(writer.write_buf(&mut bytes)).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Says so while the server holds `write` up.
    async fn watched<T>(&self, write: impl Future<Output = T>) -> T {
        let mut write = pin!(write);
        if let Some(written) = write.as_mut().now_or_never() {
            return written;
        }
        self.shared.on_stalled();
        let written = write.await;
        self.shared.on_progress();
        written
    }
}

/// The reading half.
struct Reading<'a> {
    shared: &'a Arc<Shared>,
    reader: ReadHalf<Stream>,
    buffer: BytesMut,
    parser: ResponseParser,
}

impl Reading<'_> {
    async fn run(&mut self) -> Disconnect {
        loop {
            if let Err(reason) = self.response().await {
                return reason;
            }
        }
    }

    async fn response(&mut self) -> Result<(), Disconnect> {
        let head = self.head().await?;
        let keep_alive = head.keep_alive;
        let expected = self.shared.begin_body().ok_or(Disconnect::UnexpectedData)?;
        let decoder = head.decoder(expected.limit());
        let mut response = Response::new(());
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = head.headers;
        let sink = Sink::new(expected, response, self.shared);
        match decoder {
            Ok(mut decoder) => {
                let sink = match sink {
                    Some(sink) => sink,
                    None => Sink::discard(&decoder, self.shared)?,
                };
                self.body(&mut decoder, sink).await?;
            }
            Err(error) => return Err(self.fail(error, sink)),
        }
        self.shared.complete(keep_alive)
    }

    /// The head of the next response, but for interim ones.
    async fn head(&mut self) -> Result<ResponseHead, Disconnect> {
        loop {
            while !self.buffer.is_empty() {
                let to_head = self.shared.expects().ok_or(Disconnect::UnexpectedData)?;
                match self.parser.next(&mut self.buffer, to_head)? {
                    Some(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                        return Err(Disconnect::BadResponse("it switches the protocol"));
                    }
                    Some(head) if head.status.is_informational() => {}
                    Some(head) => return Ok(head),
                    None => break,
                }
            }
            if self.fill(HEAD_READ_BYTES).await? == 0 {
                return Err(match self.buffer.is_empty() {
                    true => Disconnect::Closed,
                    false => Disconnect::BadResponse("incomplete head"),
                });
            }
        }
    }

    async fn body(&mut self, decoder: &mut Decoder, mut sink: Sink) -> Result<(), Disconnect> {
        loop {
            match decoder.next(&mut self.buffer, sink.wants_whole()) {
                Ok(Piece::Data(piece)) => {
                    if !sink.put(piece, self.shared).await? {
                        sink = Sink::discard(decoder, self.shared)?;
                    }
                }
                Ok(Piece::Partial) => {
                    self.shared.await_body(&sink);
                    let read = tokio::select! {
                        biased;
                        read = self.fill(BODY_READ_BYTES) => Some(read?),
                        () = sink.gone() => None,
                    };
                    match read {
                        Some(0) if decoder.ends_at_close() => break,
                        Some(0) => return Err(Disconnect::Closed),
                        Some(_) => {}
                        None => sink = Sink::discard(decoder, self.shared)?,
                    }
                }
                Ok(Piece::End) => break,
                Err(error) => return Err(self.fail(error, Some(sink))),
            }
        }
        sink.finish(self.shared);
        Ok(())
    }

    fn fail(&self, error: ReadError, sink: Option<Sink>) -> Disconnect {
        if error == ReadError::BodyTooLarge {
            self.shared.counters.responses_too_large.inc();
            if let Some(sink) = sink {
                sink.too_large();
            }
        }
        error.into()
    }

    /// Reads what is there.
    async fn fill(&mut self, room: usize) -> io::Result<usize> {
        self.buffer.reserve(room);
        self.reader.read_buf(&mut self.buffer).await
    }
}
