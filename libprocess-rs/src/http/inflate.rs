//! Decompression of bodies.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzDecoder;

/// Compressed bodies from this size on are decompressed on a thread of their own, so that other connections do not wait for it.
pub(crate) const INFLATE_ELSEWHERE_BYTES: usize = 16 * 1024;

/// Compressed bytes that are fed at once; at most a thousand times as many come out.
const INPUT_BYTES: usize = 4096;

/// Whether a `Content-Encoding` header, of several the last one, says that a body is compressed with gzip.
pub(crate) fn is_gzip(encoding: &[u8]) -> bool {
    encoding.trim_ascii().eq_ignore_ascii_case(b"gzip")
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
    ///
    /// # Errors
    /// It is not gzip.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.input.is_empty() {
            let part = self.input.split_to(self.input.len().min(INPUT_BYTES));
            self.decoder.write_all(&part)?;
            self.decoder.flush()?;
            let output = std::mem::take(self.decoder.get_mut());
            if !output.is_empty() {
                return Ok(Some(output.into()));
            }
        }
        Ok(None)
    }

    /// Checks that the end is there, and gives what it brings.
    ///
    /// # Errors
    /// It is not gzip, or not all of it.
    pub(crate) fn finish(&mut self) -> io::Result<Bytes> {
        if self.begun {
            self.decoder.try_finish()?;
        }
        Ok(std::mem::take(self.decoder.get_mut()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let check = |encoding: &str, expected: bool| {
            assert_eq!(is_gzip(encoding.as_bytes()), expected, "{encoding}");
        };
        check("gzip", true);
        check(" GZip\t", true);
        check("identity", false);
        check("gzip, gzip", false);
        check("", false);
    }
}
