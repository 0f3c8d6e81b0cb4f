//! Doors for fuzz targets and benchmarks into what is not part of the API. They may change at any time.

use bytes::BytesMut;

use crate::Upid;
use crate::wire::{Item, Limits, Reader};

/// Appends the request for one message, as it goes over the wire.
pub fn encode_message(out: &mut BytesMut, from: &Upid, to: &Upid, name: &str, body: &[u8]) {
    crate::wire::encode_message(out, from, to, name, body);
}

/// Feeds the portions to the reader of a message connection, one by one, and writes down all that comes out: each request, and
/// at the end the error or the number of bytes that wait for more.
pub fn read_messages<'a>(
    portions: impl IntoIterator<Item = &'a [u8]>,
    max_head_bytes: usize,
    max_body_bytes: usize,
) -> Vec<String> {
    let limits = Limits {
        head_bytes: max_head_bytes,
        body_bytes: max_body_bytes,
    };
    let mut reader = Reader::new(limits, BytesMut::new());
    let mut transcript = Vec::new();
    for portion in portions {
        reader.buffer().extend_from_slice(portion);
        loop {
            match reader.next() {
                Ok(Some((item, keep_alive))) => {
                    transcript.push(format!("{keep_alive} {item:?}"));
                }
                Ok(None) => break,
                Err(error) => {
                    transcript.push(format!("error {error:?}"));
                    return transcript;
                }
            }
        }
    }
    transcript.push(format!("partial {}", reader.is_partial()));
    transcript
}

/// Reads a buffer of messages and returns how many there were and how long their bodies are in total.
pub fn count_messages(bytes: BytesMut) -> (usize, usize) {
    let limits = Limits {
        head_bytes: usize::MAX,
        body_bytes: usize::MAX,
    };
    let mut reader = Reader::new(limits, bytes);
    let (mut messages, mut body_bytes) = (0, 0);
    while let Ok(Some((Item::Message(message), _))) = reader.next() {
        messages += 1;
        body_bytes += message.body.len();
    }
    (messages, body_bytes)
}
