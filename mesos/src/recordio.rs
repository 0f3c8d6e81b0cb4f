//! RecordIO, the framing of streaming HTTP APIs: a record's length in decimal, a line feed, the record.
//!
//! Upstream: `stout/recordio.hpp`.

use bytes::{Buf, Bytes, BytesMut};

/// Most bytes of a record that a [`Decoder`] takes unless told otherwise: 1 GiB, more than the state of the
/// largest clusters.
pub const RECORD_BYTES_MAX: usize = 1 << 30;

/// Most digits of a length.
const LENGTH_DIGITS_MAX: usize = 19;

/// Why a stream of records cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A record does not begin with digits and a line feed.
    #[error("Failed to decode length '{0}' of a record")]
    Length(String),
    /// A record is larger than allowed.
    #[error("A record of {length} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// The length the record announced, in bytes.
        length: u64,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The stream was fed on after an error.
    #[error("The decoder has failed before")]
    Failed,
}

/// A record with its length in front.
pub fn encode(record: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(record.len() + 8);
    framed.extend_from_slice(record.len().to_string().as_bytes());
    framed.push(b'\n');
    framed.extend_from_slice(record);
    framed.into()
}

/// Takes a stream apart into records, however its pieces arrive.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// The length of the record that is being received.
    length: Option<usize>,
    limit: usize,
    failed: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder for records of up to [`RECORD_BYTES_MAX`].
    pub fn new() -> Self {
        Self::with_limit(RECORD_BYTES_MAX)
    }

    /// A decoder for records of up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            length: None,
            limit,
            failed: false,
        }
    }

    /// Takes the next piece of the stream and returns the records that it completes.
    ///
    /// # Errors
    /// If a length is malformed or too large; the stream cannot go on after that. Records before it in the
    /// same piece are lost.
    pub fn feed(&mut self, data: &[u8]) -> Result<Vec<Bytes>, RecordError> {
        if self.failed {
            return Err(RecordError::Failed);
        }
        self.buffer.extend_from_slice(data);
        let mut records = Vec::new();
        loop {
            match self.next() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => return Ok(records),
                Err(error) => {
                    self.failed = true;
                    self.buffer = BytesMut::new();
                    return Err(error);
                }
            }
        }
    }

    /// Whether the stream stands between two records, so that it may end here without loss.
    pub fn is_between_records(&self) -> bool {
        self.buffer.is_empty() && self.length.is_none()
    }

    fn next(&mut self) -> Result<Option<Bytes>, RecordError> {
        let length = match self.length {
            Some(length) => length,
            None => match self.take_length()? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        if self.buffer.len() < length {
            self.length = Some(length);
            return Ok(None);
        }
        self.length = None;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn take_length(&mut self) -> Result<Option<usize>, RecordError> {
        let digits = self
            .buffer
            .iter()
            .take(LENGTH_DIGITS_MAX)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        match self.buffer.get(digits) {
            None => return Ok(None),
            Some(b'\n') if digits > 0 => {}
            Some(_) => return Err(RecordError::Length(self.header())),
        }
        let text = String::from_utf8_lossy(self.buffer.get(..digits).unwrap_or(&[]));
        let length: u64 = text
            .parse()
            .map_err(|_| RecordError::Length(self.header()))?;
        let limit = self.limit;
        let fitting = usize::try_from(length)
            .ok()
            .filter(|length| *length <= limit);
        let length = fitting.ok_or(RecordError::TooLarge { length, limit })?;
        self.buffer.advance(digits + 1);
        Ok(Some(length))
    }

    /// What stands where a length should be, for the error.
    fn header(&self) -> String {
        let end = self.buffer.len().min(LENGTH_DIGITS_MAX + 1);
        String::from_utf8_lossy(self.buffer.get(..end).unwrap_or(&[]))
            .escape_debug()
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(stream: &[u8], expected: &[&[u8]]) {
        let records = Decoder::new().feed(stream).unwrap();
        assert_eq!(records, expected);
    }

    #[track_caller]
    fn check_error(stream: &[u8], expected: &str) {
        let mut decoder = Decoder::with_limit(100);
        assert_eq!(decoder.feed(stream).unwrap_err().to_string(), expected);
        assert_eq!(decoder.feed(b"1\na"), Err(RecordError::Failed));
    }

    #[test]
    fn records() {
        check(b"", &[]);
        check(b"5\nhello", &[b"hello"]);
        check(b"0\n3\nabc0\n", &[b"", b"abc", b""]);
        check(b"3\nabc4\nab", &[b"abc"]);
        check(b"003\nabc1", &[b"abc"]);
        assert_eq!(&encode(b"")[..], b"0\n");
        assert_eq!(&encode(b"hello world")[..], b"11\nhello world");
    }

    #[test]
    fn bad_streams() {
        check_error(b"x", "Failed to decode length 'x' of a record");
        check_error(b"\n", "Failed to decode length '\\n' of a record");
        check_error(b"-1\na", "Failed to decode length '-1\\na' of a record");
        check_error(
            b"0x5\nhello",
            "Failed to decode length '0x5\\nhello' of a record",
        );
        check_error(
            &[b'9'; 20],
            "Failed to decode length '99999999999999999999' of a record",
        );
        check_error(b"101\n", "A record of 101 bytes exceeds the limit of 100");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            piece in 1usize..20,
        ) {
            let stream: Vec<u8> = records.iter().flat_map(|record| encode(record)).collect();
            let mut decoder = Decoder::new();
            let mut received = Vec::new();
            for data in stream.chunks(piece) {
                received.extend(decoder.feed(data).unwrap());
            }
            prop_assert_eq!(received, records);
            prop_assert!(decoder.is_between_records());
        }
    }
}
