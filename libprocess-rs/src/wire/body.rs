//! The bodies of requests and responses.

use std::io::Read;

use bytes::{Buf, Bytes, BytesMut};

use super::ReadError;
use super::head::Framing;

/// A chunk-size line is longer than this only in an attack.
const MAX_CHUNK_LINE_BYTES: usize = 1024;

/// Bodies up to this size are copied out of the read buffer, so that a small message that is kept does not keep the whole
/// buffer.
const COPIED_BODY_BYTES: usize = 16 * 1024;

/// Trailers longer than this in all are too long.
const MAX_TRAILER_BYTES: usize = 16 * 1024;

/// Collects one body.
#[derive(Debug)]
pub(crate) struct BodyReader {
    decoder: Decoder,
    collected: BytesMut,
}

impl From<Decoder> for BodyReader {
    fn from(decoder: Decoder) -> Self {
        Self {
            decoder,
            collected: BytesMut::new(),
        }
    }
}

impl BodyReader {
    /// Of a body of at most `limit` bytes. Trailers are an error, as upstream.
    pub(super) fn new(framing: Framing, limit: usize) -> Result<Self, ReadError> {
        Ok(Self {
            decoder: Decoder::new(framing, limit)?,
            collected: BytesMut::new(),
        })
    }

    /// Takes what it can from `buffer`; the body once it is complete.
    pub(crate) fn feed(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, ReadError> {
        loop {
            // The whole body in one chunk, as libprocess sends it, is not copied twice.
            match self.decoder.next(buffer, self.collected.is_empty())? {
                Piece::Data(part) => append(&mut self.collected, part),
                Piece::Partial => return Ok(None),
                Piece::End => return Ok(Some(take(&mut self.collected))),
            }
        }
    }
}

/// Finds the bytes of one body among those that frame it.
#[derive(Debug)]
pub(crate) struct Decoder {
    phase: Phase,
    /// Bytes that the body may still have.
    allowed: usize,
    /// Bytes that trailers may still have; none if there must be no trailers.
    trailers: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Length(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailers,
    UntilClose,
    End,
}

/// What a decoder has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Some bytes of the body, at least one.
    Data(BytesMut),
    /// More has to be read.
    Partial,
    /// The body is complete.
    End,
}

impl Decoder {
    /// Of a body of at most `limit` bytes. Trailers are an error, as upstream.
    pub(crate) fn new(framing: Framing, limit: usize) -> Result<Self, ReadError> {
        let phase = match framing {
            Framing::Length(length) if length > limit => return Err(ReadError::BodyTooLarge),
            Framing::Length(length) => Phase::Length(length),
            Framing::Chunked => Phase::ChunkSize,
        };
        Ok(Self {
            phase,
            allowed: limit,
            trailers: None,
        })
    }

    /// Of a body of at most `limit` bytes that ends with the connection.
    pub(super) fn until_close(limit: usize) -> Self {
        Self {
            phase: Phase::UntilClose,
            allowed: limit,
            trailers: None,
        }
    }

    /// Skips trailers.
    pub(crate) fn skipping_trailers(mut self) -> Self {
        self.trailers = Some(MAX_TRAILER_BYTES);
        self
    }

    /// Takes the next bytes of the body from `buffer`. With `whole`, those whose number is declared are left there until all
    /// of them have arrived.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut, whole: bool) -> Result<Piece, ReadError> {
        loop {
            match self.phase {
                Phase::End | Phase::Length(0) => {
                    self.phase = Phase::End;
                    return Ok(Piece::End);
                }
                Phase::Length(left) | Phase::Chunk(left) => {
                    let part = left.min(buffer.len());
                    if part == 0 || whole && part < left {
                        return Ok(Piece::Partial);
                    }
                    self.phase = match self.phase {
                        Phase::Length(_) => Phase::Length(left - part),
                        _ if part == left => Phase::ChunkEnd,
                        _ => Phase::Chunk(left - part),
                    };
                    return Ok(Piece::Data(buffer.split_to(part)));
                }
                Phase::ChunkSize => match self.chunk_size(buffer)? {
                    Some(0) => self.phase = Phase::Trailers,
                    Some(size) => self.phase = Phase::Chunk(size),
                    None => return Ok(Piece::Partial),
                },
                Phase::ChunkEnd => match end_of_line(buffer)? {
                    true => self.phase = Phase::ChunkSize,
                    false => return Ok(Piece::Partial),
                },
                Phase::Trailers => match self.trailers(buffer)? {
                    true => self.phase = Phase::End,
                    false => return Ok(Piece::Partial),
                },
                Phase::UntilClose if buffer.is_empty() => return Ok(Piece::Partial),
                Phase::UntilClose => {
                    self.allow(buffer.len())?;
                    return Ok(Piece::Data(buffer.split()));
                }
            }
        }
    }

    /// The connection has ended, and the buffer is empty: true if that completes the body.
    pub(crate) fn ends_at_close(&self) -> bool {
        matches!(self.phase, Phase::UntilClose | Phase::End)
    }

    /// How many bytes of the body are to come, if that is known.
    pub(crate) fn remaining(&self) -> Option<usize> {
        match self.phase {
            Phase::Length(left) => Some(left),
            Phase::Trailers | Phase::End => Some(0),
            _ => None,
        }
    }

    fn allow(&mut self, size: usize) -> Result<(), ReadError> {
        let left = self.allowed.checked_sub(size);
        self.allowed = left.ok_or(ReadError::BodyTooLarge)?;
        Ok(())
    }

    fn chunk_size(&mut self, buffer: &mut BytesMut) -> Result<Option<usize>, ReadError> {
        // httparse takes as many digits as there are, so a line without end would be parsed again and again.
        let line = buffer.get(..MAX_CHUNK_LINE_BYTES).unwrap_or(buffer);
        match httparse::parse_chunk_size(line) {
            Ok(httparse::Status::Complete((used, size))) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                self.allow(size)?;
                buffer.advance(used);
                Ok(Some(size))
            }
            Ok(httparse::Status::Partial) if line.len() < MAX_CHUNK_LINE_BYTES => Ok(None),
            _ => Err(ReadError::Malformed("malformed chunk size")),
        }
    }

    /// True when the empty line has come that ends a chunked body.
    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<bool, ReadError> {
        let Some(allowed) = &mut self.trailers else {
            return end_of_line(buffer);
        };
        loop {
            let line = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(newline) => newline + 1,
                None if buffer.len() > *allowed => return Err(ReadError::HeadTooLarge),
                None => return Ok(false),
            };
            if line > *allowed {
                return Err(ReadError::HeadTooLarge);
            }
            *allowed -= line;
            if matches!(&buffer.split_to(line)[..], b"\n" | b"\r\n") {
                return Ok(true);
            }
        }
    }
}

/// Appends without a copy if there was nothing.
pub(crate) fn append(collected: &mut BytesMut, part: BytesMut) {
    if collected.is_empty() {
        *collected = part;
    } else {
        collected.extend_from_slice(&part);
    }
}

/// What was collected, cut loose from the read buffer if it is small.
pub(crate) fn take(collected: &mut BytesMut) -> Bytes {
    match collected.len() <= COPIED_BODY_BYTES {
        true => {
            let body = Bytes::copy_from_slice(collected);
            collected.clear();
            body
        }
        false => collected.split().freeze(),
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
