//! Addresses of actors: no text may make the parser panic, and what was parsed prints as a text that parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libprocess::Upid;

fuzz_target!(|text: &str| {
    if let Ok(upid) = text.parse::<Upid>() {
        assert!(!(upid.is_empty() && upid.is_valid()));
        assert_eq!(upid.to_string().parse(), Ok(upid));
    }
});
