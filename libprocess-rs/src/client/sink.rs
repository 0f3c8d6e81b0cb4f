//! Where the body of a response goes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::response::Parts;
use tokio::sync::oneshot;

use super::body::BodyWriter;
use super::exchange::{Expected, Reply, Shared};
use super::inflate::{Compressed, is_gzip, remove_encoding};
use super::{Body, Disconnect, Error};
use crate::wire::{Decoder, append, take};

/// Bytes of a response that nobody wants that are read for the sake of those behind it.
const MAX_DISCARDED_BYTES: usize = 1024 * 1024;

/// How long they may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) enum Sink {
    /// Collected for a caller who waits for all of it.
    Whole(Box<Whole>),
    /// Handed on.
    Stream(BodyWriter),
    /// Read over: at most so many bytes more.
    Discard(usize),
}

pub(super) struct Whole {
    parts: Parts,
    to: oneshot::Sender<Result<Response<Bytes>, Error>>,
    collected: BytesMut,
    limit: usize,
    gzip: bool,
    request: Arc<str>,
}

impl Sink {
    /// For the response to a request, whose caller gets the head now if that is what is waited for; `None` if the caller has
    /// gone.
    pub(super) fn new(
        expected: Expected,
        head: Response<()>,
        shared: &Arc<Shared>,
    ) -> Option<Self> {
        let Expected {
            request,
            gzip,
            reply,
        } = expected;
        let (mut parts, ()) = head.into_parts();
        let gzip = gzip && is_gzip(&parts.headers);
        match reply {
            Reply::Whole(to, _) if to.is_closed() => None,
            Reply::Whole(to, limit) => Some(Self::Whole(Box::new(Whole {
                parts,
                to,
                collected: BytesMut::new(),
                limit,
                gzip,
                request,
            }))),
            Reply::Stream(to) => {
                if gzip {
                    remove_encoding(&mut parts.headers);
                }
                let (body, writer) = Body::new(request, shared.clone(), gzip);
                let sent = to.send(Ok(Response::from_parts(parts, body)));
                sent.is_ok().then_some(Self::Stream(writer))
            }
        }
    }

    /// Whether bytes had better come in one piece, so that they need not be copied.
    pub(super) fn wants_whole(&self) -> bool {
        matches!(self, Self::Whole(whole) if whole.collected.is_empty())
    }

    /// Takes a piece, waiting for the caller if need be. False if the caller has gone.
    pub(super) async fn put(
        &mut self,
        piece: BytesMut,
        shared: &Shared,
    ) -> Result<bool, Disconnect> {
        match self {
            Self::Whole(whole) => append(&mut whole.collected, piece),
            Self::Stream(writer) => {
                shared.await_caller();
                return Ok(writer.chunks.send(piece.freeze()).await.is_ok());
            }
            Self::Discard(left) => {
                *left = left.checked_sub(piece.len()).ok_or(Disconnect::Abandoned)?;
            }
        }
        Ok(true)
    }

    /// Completes when the caller does not want the rest.
    pub(super) async fn gone(&mut self) {
        match self {
            Self::Whole(whole) => whole.to.closed().await,
            Self::Stream(writer) => writer.chunks.closed().await,
            Self::Discard(_) => std::future::pending().await,
        }
    }

    /// The caller does not want the rest: reads over it if it ends soon and the connection is of use after it.
    pub(super) fn discard(decoder: &Decoder, shared: &Shared) -> Result<Self, Disconnect> {
        let too_long = decoder
            .remaining()
            .is_some_and(|remaining| remaining > MAX_DISCARDED_BYTES);
        if too_long || !shared.is_of_use_after_front() {
            return Err(Disconnect::Abandoned);
        }
        shared.await_discarded(DISCARD_TIMEOUT);
        Ok(Self::Discard(MAX_DISCARDED_BYTES))
    }

    /// The body is complete.
    pub(super) fn finish(self, shared: &Shared) {
        match self {
            Self::Whole(mut whole) => {
                let body = take(&mut whole.collected);
                let response = Response::from_parts(whole.parts, body);
                // There is none for HEAD, whatever the head says.
                if whole.gzip && !response.body().is_empty() {
                    let compressed = Compressed {
                        response,
                        request: whole.request,
                        limit: whole.limit,
                        to: whole.to,
                        too_large: shared.counters.responses_too_large.clone(),
                    };
                    compressed.finish();
                } else {
                    // The caller may have gone.
                    let _ = whole.to.send(Ok(response));
                }
            }
            Self::Stream(writer) => {
                let _ = writer.complete.send(());
            }
            Self::Discard(_) => {}
        }
    }

    /// The body is too large.
    pub(super) fn too_large(self) {
        if let Self::Whole(whole) = self {
            let (request, limit) = (whole.request, whole.limit);
            let _ = whole.to.send(Err(Error::BodyTooLarge { request, limit }));
        }
    }
}
