//! What is left of a runtime that was shut down. In a process of its own, whose threads are counted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{get, loopback, record, sync, until};
use libprocess::{Clock, Runtime, RuntimeConfig};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn no_thread_is_left() {
    let before = threads();
    let runtime = Runtime::start(RuntimeConfig {
        workers: 5,
        // A clock that runs has a thread of its own, which ends with the clock.
        clock: Clock::paused(),
        ..loopback()
    })
    .unwrap();
    let (pid, _) = record(&runtime, "a");
    pid.dispatch(|_, ctx| ctx.blocking(|| {}, |recorder, _, ()| recorder.log.add("worked")));
    sync(&pid);
    assert_eq!(get(&runtime, "/nowhere").code(), 404);
    assert!(threads() >= before + 5);
    runtime.shutdown();
    // The kernel lists a thread for a moment longer than it takes to join it.
    until("no thread is left", || threads() == before);
}
