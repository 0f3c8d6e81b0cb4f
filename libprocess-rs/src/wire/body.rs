//! Collects the body of one request.

use std::io::Read;

use bytes::{Buf, Bytes, BytesMut};

use super::ReadError;
use super::head::Framing;

/// A chunk-size line is longer than this only in an attack.
const MAX_CHUNK_LINE_BYTES: usize = 1024;

/// Bodies up to this size are copied out of the read buffer, so that a small message that is kept does not keep the whole
/// buffer.
const COPIED_BODY_BYTES: usize = 16 * 1024;

/// Progress through a body.
#[derive(Debug)]
pub(super) struct BodyReader {
    phase: Phase,
    collected: BytesMut,
    limit: usize,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Length(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    End,
}

impl BodyReader {
    pub(super) fn new(framing: Framing, limit: usize) -> Result<Self, ReadError> {
        let phase = match framing {
            Framing::Length(length) if length > limit => return Err(ReadError::BodyTooLarge),
            Framing::Length(length) => Phase::Length(length),
            Framing::Chunked => Phase::ChunkSize,
        };
        Ok(Self {
            phase,
            collected: BytesMut::new(),
            limit,
        })
    }

    /// Takes what it can from `buffer`; the body once it is complete.
    pub(super) fn feed(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, ReadError> {
        loop {
            match self.phase {
                Phase::Length(length) => {
                    return Ok((buffer.len() >= length).then(|| take(buffer, length)));
                }
                Phase::ChunkSize => match self.chunk_size(buffer)? {
                    Some(0) => self.phase = Phase::End,
                    Some(size) => self.phase = Phase::Chunk(size),
                    None => return Ok(None),
                },
                Phase::Chunk(size) => {
                    // The whole body in one chunk, as libprocess sends it, is not copied twice.
                    if self.collected.is_empty() && buffer.len() < size {
                        return Ok(None);
                    }
                    let part = size.min(buffer.len());
                    self.append(buffer.split_to(part));
                    if part < size {
                        self.phase = Phase::Chunk(size - part);
                        return Ok(None);
                    }
                    self.phase = Phase::ChunkEnd;
                }
                Phase::ChunkEnd => match end_of_line(buffer)? {
                    true => self.phase = Phase::ChunkSize,
                    false => return Ok(None),
                },
                Phase::End => {
                    return Ok(end_of_line(buffer)?.then(|| {
                        let length = self.collected.len();
                        take(&mut self.collected, length)
                    }));
                }
            }
        }
    }

    fn append(&mut self, part: BytesMut) {
        if self.collected.is_empty() {
            self.collected = part;
        } else {
            self.collected.extend_from_slice(&part);
        }
    }

    fn chunk_size(&self, buffer: &mut BytesMut) -> Result<Option<usize>, ReadError> {
        // httparse takes as many digits as there are, so a line without end would be parsed again and again.
        let line = buffer.get(..MAX_CHUNK_LINE_BYTES).unwrap_or(buffer);
        match httparse::parse_chunk_size(line) {
            Ok(httparse::Status::Complete((used, size))) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                if size.saturating_add(self.collected.len()) > self.limit {
                    return Err(ReadError::BodyTooLarge);
                }
                buffer.advance(used);
                Ok(Some(size))
            }
            Ok(httparse::Status::Partial) if line.len() < MAX_CHUNK_LINE_BYTES => Ok(None),
            _ => Err(ReadError::Malformed("malformed chunk size")),
        }
    }
}

fn take(buffer: &mut BytesMut, length: usize) -> Bytes {
    if length <= COPIED_BODY_BYTES {
        let body = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        buffer.advance(length);
        body
    } else {
        buffer.split_to(length).freeze()
    }
}

/// Consumes a line end; false if it has not arrived. Anything else, such as trailers, is an error, as upstream.
fn end_of_line(buffer: &mut BytesMut) -> Result<bool, ReadError> {
    match &buffer[..] {
        [] | [b'\r'] => Ok(false),
        [b'\r', b'\n', ..] => {
            buffer.advance(2);
            Ok(true)
        }
        _ => Err(ReadError::Malformed("malformed chunk end")),
    }
}

/// Inflates a gzip body of at most `limit` bytes.
pub(crate) fn gunzip(body: &[u8], limit: usize) -> Result<Bytes, ReadError> {
    let mut plain = Vec::new();
    let allowed = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::GzDecoder::new(body)
        .take(allowed)
        .read_to_end(&mut plain)
        .map_err(|_| ReadError::Malformed("malformed gzip body"))?;
    if plain.len() > limit {
        return Err(ReadError::BodyTooLarge);
    }
    Ok(Bytes::from(plain))
}
