//! The reader of connections: no input may make it panic, and how the input is portioned may not matter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libprocess::fuzzing::read_messages;

/// Small limits, so that short inputs reach them.
const MAX_HEAD_BYTES: usize = 512;
const MAX_BODY_BYTES: usize = 256;

// The first byte is the size of the portions.
fuzz_target!(|input: &[u8]| {
    let Some((portion, bytes)) = input.split_first() else {
        return;
    };
    let portions = bytes.chunks(usize::from(*portion).max(1));
    let whole = read_messages([bytes], MAX_HEAD_BYTES, MAX_BODY_BYTES);
    let parts = read_messages(portions, MAX_HEAD_BYTES, MAX_BODY_BYTES);
    assert_eq!(whole, parts);
});
