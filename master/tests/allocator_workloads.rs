//! The workloads of the benchmarks in small, so that they keep working.

#[path = "../benches/workloads/mod.rs"]
mod workloads;

use workloads::{all_filtered, decline_all, events, first_round, quota};

#[test]
fn workloads_run() {
    all_filtered(20, 5);
    decline_all(20, 10, 3);
    first_round(20, 5);
    events(20, 5);
    for sorter in ["drf", "random", "fifo", "drc"] {
        quota(sorter, 20, 5, 30);
    }
}
