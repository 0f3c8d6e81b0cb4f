//! The body of a response, piece by piece.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use tokio::sync::{mpsc, oneshot};

use super::Error;
use super::exchange::Shared;
use crate::http::Inflate;

/// Pieces that may wait for the caller; then the server has to wait.
const BACKLOG_CHUNKS: usize = 16;

/// The body of a response, to be read while it arrives.
///
/// It is a [`Stream`] too. The server is read only a little ahead of the caller, at most 16 pieces of some kilobytes. Pieces need
/// not be those in which the server wrote. When it is dropped before its end, the connection ends if the rest does not come soon.
///
/// Upstream: `process::http::Pipe::Reader`.
#[derive(Debug)]
pub struct Body {
    chunks: mpsc::Receiver<Bytes>,
    /// Told when the body is complete; gone without a word if it broke off.
    complete: Option<oneshot::Receiver<()>>,
    inflate: Option<Inflate>,
    request: Arc<str>,
    shared: Arc<Shared>,
}

/// The connection's end of a [`Body`].
#[derive(Debug)]
pub(super) struct BodyWriter {
    pub(super) chunks: mpsc::Sender<Bytes>,
    pub(super) complete: oneshot::Sender<()>,
}

impl Body {
    pub(super) fn new(request: Arc<str>, shared: Arc<Shared>, gzip: bool) -> (Self, BodyWriter) {
        let (chunk_sender, chunks) = mpsc::channel(BACKLOG_CHUNKS);
        let (complete_sender, complete) = oneshot::channel();
        let body = Self {
            chunks,
            complete: Some(complete),
            inflate: gzip.then(Inflate::new),
            request,
            shared,
        };
        let writer = BodyWriter {
            chunks: chunk_sender,
            complete: complete_sender,
        };
        (body, writer)
    }

    /// The next piece, never empty; `None` at the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error::BrokeOff`] and [`Error::Gzip`], after which there are no more pieces.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// All that is left, if that is no more than `limit` bytes.
    ///
    /// # Errors
    /// As [`next`](Self::next), and [`Error::BodyTooLarge`].
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, Error> {
        let mut collected = BytesMut::new();
        while let Some(piece) = self.next().await {
            let piece = piece?;
            if collected.len() + piece.len() > limit {
                let request = self.request;
                return Err(Error::BodyTooLarge { request, limit });
            }
            collected.extend_from_slice(&piece);
        }
        Ok(collected.freeze())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            if self.complete.is_none() {
                return Poll::Ready(None);
            }
            if let Some(inflate) = &mut self.inflate {
                match inflate.next() {
                    Ok(None) => {}
                    Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                    Err(_) => return Poll::Ready(Some(Err(self.not_gzip()))),
                }
            }
            match (ready!(self.chunks.poll_recv(cx)), &mut self.inflate) {
                (Some(piece), None) => return Poll::Ready(Some(Ok(piece))),
                (Some(piece), Some(inflate)) => inflate.feed(piece),
                (None, _) => return self.poll_end(cx).map(Result::transpose),
            }
        }
    }

    /// There are no more pieces: whether that is the end, with what is left of decompression.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let Some(complete) = &mut self.complete else {
            return Poll::Ready(Ok(None));
        };
        let complete = ready!(Pin::new(complete).poll(cx));
        self.complete = None;
        let end = match (complete, &mut self.inflate) {
            (Err(_), _) => Err(Error::BrokeOff {
                request: self.request.clone(),
                reason: self.shared.reason(),
            }),
            (Ok(()), None) => Ok(None),
            (Ok(()), Some(inflate)) => match inflate.finish() {
                Ok(rest) => Ok(Some(rest).filter(|rest| !rest.is_empty())),
                Err(_) => Err(self.not_gzip()),
            },
        };
        Poll::Ready(end)
    }

    fn not_gzip(&mut self) -> Error {
        self.complete = None;
        let request = self.request.clone();
        Error::Gzip { request }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}
