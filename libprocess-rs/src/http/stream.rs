//! Bodies that are written piece by piece.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{AcquireError, Semaphore, TryAcquireError};

/// Writes that may wait for the client; one more and the writer is told that it is full.
const STREAM_BACKLOG_CHUNKS: usize = 4096;

/// Bytes that may wait for the client. A single piece may be larger.
const STREAM_BACKLOG_BYTES: u32 = 64 * 1024 * 1024;

/// The writing end of a streamed body.
///
/// Dropping it, and its clones, ends the body. The body breaks off instead, so that nobody takes a part for the whole, by
/// [`fail`](Self::fail), and when the last clone is dropped by a panic or by the end of an actor: as part of its state, of its
/// [futures](crate::Context::spawn) or of what was queued for it.
///
/// Upstream: `process::http::Pipe::Writer`, which has no bound.
#[derive(Debug, Clone)]
pub struct StreamWriter {
    end: Arc<WritingEnd>,
}

/// Why a write was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The client has gone, or the stream has [failed](StreamWriter::fail).
    #[error("the reader of the stream has gone")]
    Closed,
    /// The client reads too slowly: the backlog is full. The piece was not taken.
    #[error("the reader of the stream is too slow")]
    Full,
}

/// The body is not complete, and will not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the writer of the stream gave up")]
pub(crate) struct StreamBroken;

/// What the clones of a writer share.
#[derive(Debug)]
struct WritingEnd {
    pieces: UnboundedSender<Result<Bytes, StreamBroken>>,
    room: Arc<Room>,
}

/// The connection's end of a stream.
#[derive(Debug)]
pub(crate) struct StreamReader {
    pieces: UnboundedReceiver<Result<Bytes, StreamBroken>>,
    room: Arc<Room>,
}

/// What may still be written before something is read.
#[derive(Debug)]
struct Room {
    pieces: Semaphore,
    bytes: Semaphore,
}

pub(crate) fn channel() -> (StreamWriter, StreamReader) {
    let (sender, pieces) = mpsc::unbounded_channel();
    let room = Arc::new(Room {
        pieces: Semaphore::new(STREAM_BACKLOG_CHUNKS),
        bytes: Semaphore::new(STREAM_BACKLOG_BYTES as usize),
    });
    let end = WritingEnd {
        pieces: sender,
        room: room.clone(),
    };
    let writer = StreamWriter { end: Arc::new(end) };
    (writer, StreamReader { pieces, room })
}

impl StreamReader {
    /// As [`poll_recv`](Self::poll_recv).
    pub(crate) async fn recv(&mut self) -> Option<Result<Bytes, StreamBroken>> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next piece; `None` at the end of the body.
    ///
    /// # Errors
    /// The body breaks off; nothing may be read after that.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, StreamBroken>>> {
        let polled = self.pieces.poll_recv(cx);
        if let Poll::Ready(Some(Ok(piece))) = &polled {
            self.room.give_back(piece);
        }
        polled
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.room.close();
    }
}

impl StreamWriter {
    /// Appends one piece, sent as one chunk. Empty pieces are ignored.
    ///
    /// # Errors
    /// [`WriteError::Full`] or [`WriteError::Closed`]; then nothing was written. A writer that drops the stream on either keeps
    /// slow clients from using memory without end.
    pub fn write(&self, piece: impl Into<Bytes>) -> Result<(), WriteError> {
        let piece = piece.into();
        if self.is_closed() {
            return Err(WriteError::Closed);
        }
        if piece.is_empty() {
            return Ok(());
        }
        let room = &self.end.room;
        let slot = room.pieces.try_acquire()?;
        room.bytes.try_acquire_many(cost(&piece))?.forget();
        slot.forget();
        self.end.send(Ok(piece))
    }

    /// Appends one piece, waiting while the backlog has no room for it. Dropping the future writes nothing.
    ///
    /// # Errors
    /// [`WriteError::Closed`] if the client goes away.
    pub async fn write_waiting(&self, piece: impl Into<Bytes>) -> Result<(), WriteError> {
        let piece = piece.into();
        if piece.is_empty() {
            return Ok(());
        }
        let room = &self.end.room;
        let slot = room.pieces.acquire().await?;
        room.bytes.acquire_many(cost(&piece)).await?.forget();
        slot.forget();
        self.end.send(Ok(piece))
    }

    /// Breaks the body off: the reader gets what was written so far, and then learns that the rest is missing, as the connection
    /// is closed without the last chunk. Further writes by clones are refused.
    ///
    /// Upstream: `Pipe::Writer::fail`.
    pub fn fail(self) {
        self.end.break_off();
    }

    /// Completes when the client has gone.
    pub async fn closed(&self) {
        self.end.pieces.closed().await;
    }

    /// True if nothing more can be written: the client has gone, or the stream has [failed](Self::fail).
    pub fn is_closed(&self) -> bool {
        self.end.room.pieces.is_closed()
    }
}

impl WritingEnd {
    fn send(&self, piece: Result<Bytes, StreamBroken>) -> Result<(), WriteError> {
        self.pieces.send(piece).map_err(|_| WriteError::Closed)
    }

    fn break_off(&self) {
        self.room.close();
        // The reader may have gone.
        let _ = self.send(Err(StreamBroken));
    }
}

impl Drop for WritingEnd {
    fn drop(&mut self) {
        if std::thread::panicking() || ABANDONING.get() {
            self.break_off();
        }
    }
}

impl Room {
    fn give_back(&self, piece: &Bytes) {
        self.pieces.add_permits(1);
        self.bytes.add_permits(cost(piece) as usize);
    }

    fn close(&self) {
        self.pieces.close();
        self.bytes.close();
    }
}

/// A piece that is larger than all the room takes all of it.
fn cost(piece: &Bytes) -> u32 {
    u32::try_from(piece.len()).map_or(STREAM_BACKLOG_BYTES, |len| len.min(STREAM_BACKLOG_BYTES))
}

impl From<TryAcquireError> for WriteError {
    fn from(error: TryAcquireError) -> Self {
        match error {
            TryAcquireError::Closed => Self::Closed,
            TryAcquireError::NoPermits => Self::Full,
        }
    }
}

impl From<AcquireError> for WriteError {
    fn from(_: AcquireError) -> Self {
        Self::Closed
    }
}

thread_local! {
    /// Whether this thread is within [`abandoning`].
    static ABANDONING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `end`, which drops the remains of an actor. Bodies whose writers are among them break off.
pub(crate) fn abandoning(end: impl FnOnce()) {
    /// Sets back what was, also if `end` panics.
    struct Restore(bool);

    impl Drop for Restore {
        fn drop(&mut self) {
            ABANDONING.set(self.0);
        }
    }

    let _restore = Restore(ABANDONING.replace(true));
    end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::AssertUnwindSafe;

    use futures::FutureExt;

    const MEBIBYTE: usize = 1024 * 1024;

    #[test]
    fn backlog_is_bounded_in_pieces_and_bytes() {
        let (writer, reader) = channel();
        for _ in 0..STREAM_BACKLOG_CHUNKS {
            writer.write("x").unwrap();
        }
        assert_eq!(writer.write("x"), Err(WriteError::Full));
        drop(reader);
        assert_eq!(writer.write("x"), Err(WriteError::Closed));

        let (writer, _reader) = channel();
        let large = Bytes::from(vec![0; STREAM_BACKLOG_BYTES as usize + 1]);
        writer.write(large).unwrap();
        assert_eq!(writer.write("x"), Err(WriteError::Full));
        assert_eq!(writer.write(""), Ok(()));
    }

    #[test]
    fn who_waits_keeps_to_the_bounds_too() {
        let (writer, mut reader) = channel();
        let piece = Bytes::from(vec![0; MEBIBYTE]);
        let mut written = 0;
        while let Some(result) = writer.write_waiting(piece.clone()).now_or_never() {
            result.unwrap();
            written += 1;
        }
        assert_eq!(written * MEBIBYTE, STREAM_BACKLOG_BYTES as usize);
        // What gave up waiting has taken no room.
        assert_eq!(reader.recv().now_or_never(), Some(Some(Ok(piece.clone()))));
        assert_eq!(writer.write(piece.clone()), Ok(()));
        let mut waiting = Box::pin(writer.write_waiting(piece));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        drop(reader);
        assert_eq!(waiting.now_or_never(), Some(Err(WriteError::Closed)));
    }

    #[test]
    fn a_body_ends_or_breaks_off() {
        let check = |end: fn(StreamWriter), complete: bool| {
            let (writer, mut reader) = channel();
            writer.write("x").unwrap();
            end(writer);
            assert_eq!(reader.recv().now_or_never(), Some(Some(Ok("x".into()))));
            let expected = (!complete).then_some(Err(StreamBroken));
            assert_eq!(reader.recv().now_or_never(), Some(expected));
        };
        check(drop, true);
        check(StreamWriter::fail, false);
        check(|writer| abandoning(|| drop(writer)), false);
        check(
            |writer| {
                let panic = std::panic::catch_unwind(AssertUnwindSafe(move || {
                    let _writer = writer;
                    std::panic::resume_unwind(Box::new("no message"));
                }));
                assert!(panic.is_err());
            },
            false,
        );
        check(
            |writer| {
                // The last one decides.
                let clone = writer.clone();
                abandoning(|| drop(writer));
                clone.write("").unwrap();
            },
            true,
        );
    }

    #[test]
    fn a_failed_stream_is_closed_for_all() {
        let (writer, _reader) = channel();
        let clone = writer.clone();
        writer.fail();
        assert!(clone.is_closed());
        assert_eq!(clone.write("x"), Err(WriteError::Closed));
    }
}
