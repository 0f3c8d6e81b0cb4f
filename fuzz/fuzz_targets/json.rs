//! Messages as JSON: no input may make the reader panic, and what was read, from JSON or from the wire, prints as JSON that
//! reads to a message that prints the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesos_protos::mesos::v1;
use mesos_protos::{Described, ProtoJson, decode, json};

// The first byte chooses the message and how it is encoded.
fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    match choice % 6 {
        0 => check(json::from_slice::<v1::scheduler::Call>(bytes).ok()),
        1 => check(json::from_slice::<v1::scheduler::Event>(bytes).ok()),
        2 => check(json::from_slice::<v1::master::Call>(bytes).ok()),
        3 => check(decode::<v1::scheduler::Call>(bytes).ok()),
        4 => check(decode::<v1::scheduler::Event>(bytes).ok()),
        _ => check(decode::<v1::master::Call>(bytes).ok()),
    }
});

fn check<M: Described + ProtoJson>(message: Option<M>) {
    let Some(message) = message else {
        return;
    };
    let printed = json::to_string(&message);
    let again: M = json::from_str(&printed).unwrap();
    assert_eq!(json::to_string(&again), printed);
}
