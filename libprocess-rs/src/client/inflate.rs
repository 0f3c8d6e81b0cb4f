//! Decompression of responses.

use std::sync::Arc;

use ::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use ::http::{HeaderMap, Response};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Error;
use crate::Counter;
use crate::http::{self, INFLATE_ELSEWHERE_BYTES};
use crate::wire::{self, ReadError};

/// Whether the headers say that the body is compressed.
pub(super) fn is_gzip(headers: &HeaderMap) -> bool {
    let encoding = headers.get_all(CONTENT_ENCODING).iter().next_back();
    encoding.is_some_and(|encoding| http::is_gzip(encoding.as_bytes()))
}

/// Removes what the headers say of the compressed body.
pub(super) fn remove_encoding(headers: &mut HeaderMap) {
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
}

/// A whole response whose body is compressed, on its way to the caller.
pub(super) struct Compressed {
    pub(super) response: Response<Bytes>,
    /// For messages.
    pub(super) request: Arc<str>,
    /// The largest body that the caller takes, in bytes after decompression.
    pub(super) limit: usize,
    pub(super) to: oneshot::Sender<Result<Response<Bytes>, Error>>,
    /// Counts those that are larger.
    pub(super) too_large: Counter,
}

impl Compressed {
    /// Decompresses the body, here if it is small, and gives it to the caller.
    pub(super) fn finish(self) {
        match self.response.body().len() < INFLATE_ELSEWHERE_BYTES {
            true => self.inflate(),
            false => drop(tokio::task::spawn_blocking(|| self.inflate())),
        }
    }

    fn inflate(self) {
        let (request, limit) = (self.request, self.limit);
        let (mut parts, body) = self.response.into_parts();
        remove_encoding(&mut parts.headers);
        let inflated = wire::gunzip(&body, limit).map_err(|error| match error {
            ReadError::BodyTooLarge => {
                self.too_large.inc();
                Error::BodyTooLarge { request, limit }
            }
            _ => Error::Gzip { request },
        });
        // The caller may have gone.
        let _ = self
            .to
            .send(inflated.map(|body| Response::from_parts(parts, body)));
    }
}
