//! Bodies that are written piece by piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Writes that may wait for the client; one more and the writer is told that it is full.
const STREAM_BACKLOG_CHUNKS: usize = 4096;

/// Bytes that may wait for the client. A single piece may be larger.
const STREAM_BACKLOG_BYTES: usize = 64 * 1024 * 1024;

/// The writing end of a streamed response. Dropping it, and its clones, ends the response.
///
/// Upstream: `process::http::Pipe::Writer`, which has no bound.
#[derive(Debug, Clone)]
pub struct StreamWriter {
    chunks: mpsc::Sender<Bytes>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// Why a write was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The client has gone.
    #[error("the reader of the stream has gone")]
    Closed,
    /// The client reads too slowly: the backlog is full. The piece was not taken.
    #[error("the reader of the stream is too slow")]
    Full,
}

/// The connection's end of a stream.
#[derive(Debug)]
pub(crate) struct StreamReader {
    chunks: mpsc::Receiver<Bytes>,
    waiting_bytes: Arc<AtomicUsize>,
}

pub(crate) fn channel() -> (StreamWriter, StreamReader) {
    let (tx, chunks) = mpsc::channel(STREAM_BACKLOG_CHUNKS);
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let writer = StreamWriter {
        chunks: tx,
        waiting_bytes: waiting_bytes.clone(),
    };
    let reader = StreamReader {
        chunks,
        waiting_bytes,
    };
    (writer, reader)
}

impl StreamReader {
    pub(crate) async fn recv(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let polled = self.chunks.poll_recv(cx);
        if let Poll::Ready(Some(piece)) = &polled {
            self.waiting_bytes.fetch_sub(piece.len(), Ordering::AcqRel);
        }
        polled
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
        let len = piece.len();
        if len == 0 {
            return Ok(());
        }
        let before = self.waiting_bytes.fetch_add(len, Ordering::AcqRel);
        let sent = match before > 0 && before + len > STREAM_BACKLOG_BYTES {
            true => Err(WriteError::Full),
            false => self.chunks.try_send(piece).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => WriteError::Full,
                mpsc::error::TrySendError::Closed(_) => WriteError::Closed,
            }),
        };
        if sent.is_err() {
            self.waiting_bytes.fetch_sub(len, Ordering::AcqRel);
        }
        sent
    }

    /// Appends one piece, waiting while the backlog has no room for another.
    ///
    /// # Errors
    /// [`WriteError::Closed`] if the client goes away.
    pub async fn write_waiting(&self, piece: impl Into<Bytes>) -> Result<(), WriteError> {
        let piece = piece.into();
        if piece.is_empty() {
            return Ok(());
        }
        let permit = self.chunks.reserve().await;
        let permit = permit.map_err(|_| WriteError::Closed)?;
        self.waiting_bytes.fetch_add(piece.len(), Ordering::AcqRel);
        permit.send(piece);
        Ok(())
    }

    /// Completes when the client has gone.
    pub async fn closed(&self) {
        self.chunks.closed().await;
    }

    /// True if the client has gone.
    pub fn is_closed(&self) -> bool {
        self.chunks.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let large = Bytes::from(vec![0; STREAM_BACKLOG_BYTES + 1]);
        writer.write(large).unwrap();
        assert_eq!(writer.write("x"), Err(WriteError::Full));
        assert_eq!(writer.write(""), Ok(()));
    }
}
