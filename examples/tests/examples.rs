//! The examples do what they say, on a real cluster.

use std::process::{Command, Output};

use mesos_tests::cluster::Cluster;

async fn run(program: &str, arguments: &[&str]) -> (Output, String) {
    let cluster = Cluster::builder().start().await;
    let mut command = Command::new(program);
    command.arg(cluster.master_url()).args(arguments);
    command.env("LIBPROCESS_IP", "127.0.0.1");
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output
        .expect("nothing panics")
        .expect("the program can be run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

#[tokio::test]
async fn counting_scheduler() {
    let program = env!("CARGO_BIN_EXE_counting-scheduler");
    let (output, text) = run(program, &["12", "true"]).await;
    assert!(
        text.ends_with("12 of 12 tasks finished, 0 failed\n"),
        "{text}"
    );
    assert!(output.status.success());
}

#[tokio::test]
async fn counting_scheduler_counts_failures() {
    let program = env!("CARGO_BIN_EXE_counting-scheduler");
    let (output, text) = run(program, &["2", "exit 5"]).await;
    assert!(
        text.contains("task-1: Command exited with status 5\n"),
        "{text}"
    );
    assert!(
        text.ends_with("0 of 2 tasks finished, 2 failed\n"),
        "{text}"
    );
    assert!(!output.status.success());
}

#[tokio::test]
async fn executor_scheduler() {
    // Built along with it, and found beside it.
    let _ = env!("CARGO_BIN_EXE_echo-executor");
    let program = env!("CARGO_BIN_EXE_executor-scheduler");
    let (output, text) = run(program, &["3"]).await;
    for number in 0..3 {
        let message = format!("echo says: message {number}\n");
        assert!(text.contains(&message), "{text}");
    }
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
