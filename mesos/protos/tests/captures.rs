//! What C++ Mesos 1.11 sent reads and prints as it was.
#![allow(clippy::unwrap_used, reason = "a test")]

use mesos_protos::mesos::v1;
use mesos_protos::{Described, ProtoJson, decode, json};
use std::path::{Path, PathBuf};

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The JSON text without white space between tokens and with doubles in their shortest form: upstream's
/// printer sometimes ends in another digit that reads back as the same double.
fn compact(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '-' | '0'..='9' => rest.find([',', '}', ']', '\n', ' ']).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, tail) = rest.split_at(length);
        rest = tail;
        match token.parse::<f64>() {
            Ok(double) if token.contains('.') => json::write_f64(double, &mut out),
            _ if first.is_ascii_whitespace() => {}
            _ => out.push_str(token),
        }
    }
    out
}

fn string_length(text: &str) -> usize {
    let mut escaped = true;
    let end = text.find(|character| {
        let ends = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    });
    end.unwrap() + 1
}

/// Where we print something else, and why.
const DIFFERENCES: [(&str, &str); 2] = [
    // Upstream prints the internal type of agents here, which has a field that the public one has not.
    (r#","checkpoint":true},"active""#, r#"},"active""#),
    // Upstream prints maps in the order of its hash table.
    (
        r#"{"mem":{"value":1024.0},"cpus":{"value":2.0}}"#,
        r#"{"cpus":{"value":2.0},"mem":{"value":1024.0}}"#,
    ),
];

#[track_caller]
fn check_json<M: Described + ProtoJson>(path: &Path, text: &str) {
    let message: M =
        json::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut expected = compact(text);
    for (theirs, ours) in DIFFERENCES {
        expected = expected.replace(theirs, ours);
    }
    assert_eq!(json::to_string(&message), expected, "{}", path.display());
}

fn check_folder<M: Described + ProtoJson>(folder: &str) {
    let mut count = 0;
    for entry in std::fs::read_dir(fixture(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            check_json::<M>(&path, &read(&path));
            count += 1;
        }
    }
    assert!(count > 10, "only {count} captures in {folder}");
}

#[test]
fn answers_of_the_operator_api_print_as_captured() {
    check_folder::<v1::master::Response>("v1/master");
    check_folder::<v1::agent::Response>("v1/agent");
}

#[test]
fn events_of_streams_print_as_captured() {
    let path = fixture("v1/operator_SUBSCRIBE.raw.records");
    for line in read(&path).lines() {
        check_json::<v1::master::Event>(&path, line);
    }
    let path = fixture("v1/scheduler_SUBSCRIBE.raw.records");
    for line in read(&path).lines() {
        check_json::<v1::scheduler::Event>(&path, line);
    }
}

#[test]
fn protobuf_answer_prints_and_reads_back() {
    let bytes = std::fs::read(fixture("v1/master/GET_STATE_protobuf.bin")).unwrap();
    let state: v1::master::Response = decode(&bytes).unwrap();
    let printed = json::to_string(&state);
    let again: v1::master::Response = json::from_str(&printed).unwrap();
    assert_eq!(json::to_string(&again), printed);
}
