//! Decompression of responses.

use std::io::Write;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use flate2::write::GzDecoder;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Response};

use super::Error;
use crate::wire::{self, ReadError};

/// Compressed bytes that are fed at once; at most a thousand times as many come out.
const INPUT_BYTES: usize = 4096;

pub(super) fn is_gzip(headers: &HeaderMap) -> bool {
    let encoding = headers.get(CONTENT_ENCODING);
    encoding.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip"))
}

/// Decompresses the body of a response, to at most `limit` bytes.
pub(super) fn gunzip(
    response: Response<Bytes>,
    request: Arc<str>,
    limit: usize,
) -> Result<Response<Bytes>, Error> {
    if response.body().is_empty() {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    match wire::gunzip(&body, limit) {
        Ok(body) => {
            parts.headers.remove(CONTENT_ENCODING);
            Ok(Response::from_parts(parts, body))
        }
        Err(ReadError::BodyTooLarge) => Err(Error::BodyTooLarge { request, limit }),
        Err(_) => Err(Error::Gzip { request }),
    }
}

/// Decompresses a stream.
#[derive(Debug)]
pub(crate) struct Inflate {
    decoder: GzDecoder<Vec<u8>>,
    input: Bytes,
    begun: bool,
}

impl Inflate {
    pub(crate) fn new() -> Self {
        Self {
            decoder: GzDecoder::new(Vec::new()),
            input: Bytes::new(),
            begun: false,
        }
    }

    /// Takes a piece, when [`next`](Self::next) has given all of the one before.
    pub(crate) fn feed(&mut self, input: Bytes) {
        self.begun = true;
        self.input = input;
    }

    /// The next decompressed piece of what was fed.
    pub(crate) fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        while !self.input.is_empty() {
            let part = self.input.split_to(self.input.len().min(INPUT_BYTES));
            self.decoder.write_all(part.chunk())?;
            self.decoder.flush()?;
            let output = std::mem::take(self.decoder.get_mut());
            if !output.is_empty() {
                return Ok(Some(output.into()));
            }
        }
        Ok(None)
    }

    /// Checks that the end is there, and gives what it brings.
    pub(crate) fn finish(&mut self) -> std::io::Result<Bytes> {
        if self.begun {
            self.decoder.try_finish()?;
        }
        Ok(std::mem::take(self.decoder.get_mut()).into())
    }
}
