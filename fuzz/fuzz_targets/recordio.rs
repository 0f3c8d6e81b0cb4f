//! Streams of records: no input may make the decoder panic, how the input is portioned may not matter, and what was decoded
//! encodes to records that decode to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesos::recordio::{Decoder, RecordError, encode};

/// A small limit, so that short inputs reach it.
const MAX_RECORD_BYTES: usize = 256;

type Records = Vec<Vec<u8>>;

// The first byte is the size of the portions.
fuzz_target!(|input: &[u8]| {
    let Some((portion, bytes)) = input.split_first() else {
        return;
    };
    let portions = || bytes.chunks(usize::from(*portion).max(1));
    let (whole, whole_error) = decode([bytes]);
    let (parts, parts_error) = decode(portions());
    // The text of an error shows what had arrived by then.
    let kind = |error: &Option<RecordError>| error.as_ref().map(std::mem::discriminant);
    assert_eq!(kind(&whole_error), kind(&parts_error));
    // Records before an error in the same portion are lost.
    assert!(parts.starts_with(&whole));
    if whole_error.is_none() {
        assert_eq!(whole, parts);
    }
    let encoded: Vec<u8> = parts.iter().flat_map(|record| encode(record)).collect();
    assert_eq!(decode([&encoded[..]]), (parts, None));
});

fn decode<'a>(portions: impl IntoIterator<Item = &'a [u8]>) -> (Records, Option<RecordError>) {
    let mut decoder = Decoder::with_limit(MAX_RECORD_BYTES);
    let mut records = Vec::new();
    for portion in portions {
        match decoder.feed(portion) {
            Ok(more) => records.extend(more.iter().map(|record| record.to_vec())),
            Err(error) => return (records, Some(error)),
        }
    }
    (records, None)
}
