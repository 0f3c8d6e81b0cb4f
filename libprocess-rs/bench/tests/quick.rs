//! All benchmarks run, as small as possible, so that they keep working.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

/// Each benchmark with one of its rows.
const ROWS: [(&str, &str); 11] = [
    (
        "throughput",
        "ping-pong throughput, 8 pairs, placed in turn",
    ),
    ("client-server", "client-server"),
    ("links", "20 actors spawned and ended among 10 links"),
    ("dispatch", "dispatch from outside to one actor, capturing"),
    ("protobuf", "protobuf handler, 605 bytes"),
    ("mailbox", "mailbox, one after the other, together"),
    ("one-way", "one-way messages"),
    ("http", "through our port"),
    ("metrics", "metrics, 100 counters: snapshot by HTTP"),
    ("memory-of-actors", "a runtime without actors, resident"),
    ("memory-of-connections", "an idle HTTP connection"),
];

fn run(arguments: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_libprocess-bench");
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    text
}

#[test]
fn every_benchmark_runs() {
    let names: Vec<_> = ROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(run(&["--list"]).lines().collect::<Vec<_>>(), names);
    let text = run(&["--quick", "--pairs", "8"]);
    for (name, row) in ROWS {
        assert!(text.contains(&format!("| {row}")), "{name}: {text}");
    }
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}
