//! Memory of what is idle. Each figure is taken in an OS process of its own, where nothing freed before can be used again.

use std::time::Duration;

use anyhow::Context as _;
use libprocess::{Process, Runtime, RuntimeConfig};

use crate::report::Report;
use crate::{Options, child};

const ACTORS: usize = 100_000;

struct Idle;

impl Process for Idle {}

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let actors = options.scaled(ACTORS);
    let [per_actor, spawns, own] = child::figures("actors", actors)?;
    report.bytes("an idle actor", per_actor);
    report.rate(
        "spawn",
        actors,
        Duration::from_secs_f64(spawns),
        "actors",
        None,
    );
    report.bytes("a runtime without actors, resident", own);
    Ok(())
}

/// Bytes per idle actor, seconds to spawn them, and bytes of the whole before.
pub(crate) fn actors(count: usize) -> anyhow::Result<[f64; 3]> {
    let runtime = Runtime::start(RuntimeConfig {
        workers: 2,
        ..RuntimeConfig::loopback()
    })?;
    settle(&runtime)?;
    let before = resident()?;
    let start = std::time::Instant::now();
    for _ in 0..count {
        runtime.spawn("", Idle)?;
    }
    settle(&runtime)?;
    let spawned = start.elapsed();
    let after = resident()?;
    runtime.shutdown();
    let each = (after - before) / count as f64;
    Ok([each, spawned.as_secs_f64(), before])
}

pub(crate) fn settle(runtime: &Runtime) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    tokio.block_on(runtime.clock().settle());
    Ok(())
}

/// Resident memory of this OS process in bytes.
pub(crate) fn resident() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: f64 = kib.context("no VmRSS in /proc/self/status")?.parse()?;
    Ok(kib * 1024.0)
}
