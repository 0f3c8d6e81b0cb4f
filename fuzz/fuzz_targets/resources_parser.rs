//! No text makes the parsers of resources and attributes panic, and what was parsed prints, and
//! goes through its messages, without change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesos::attributes::Attributes;
use mesos::resources::{ResourceQuantities, Resources};

fuzz_target!(|text: &str| {
    let _ = Attributes::parse(text);
    let _ = ResourceQuantities::parse(text);
    if let Ok(resources) = Resources::parse(text, "*") {
        let _ = resources.to_string();
        assert_eq!(
            Resources::from_protos(&resources.to_protos()).as_ref(),
            Ok(&resources)
        );
    }
});
