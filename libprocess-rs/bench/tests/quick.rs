//! All benchmarks run, as small as possible, so that they keep working.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

#[test]
fn every_benchmark_runs() {
    let program = env!("CARGO_BIN_EXE_libprocess-bench");
    let output = Command::new(program).arg("--quick").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let check = |row: &str| assert!(text.contains(&format!("| {row}")), "no row '{row}': {text}");
    for row in [
        "ping-pong throughput, a pair per thread",
        "client-server",
        "dispatch and defer",
        "protobuf handler, 605 bytes",
        "mailbox, one after the other, together",
        "one-way messages",
        "through our port",
        "metrics, 100 counters: snapshot by HTTP",
        "an idle actor",
        "an idle HTTP connection",
    ] {
        check(row);
    }
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}
