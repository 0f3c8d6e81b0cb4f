//! Many links, then many actors that end: upstream's `LargeNumberOfLinks`.

use std::time::Instant;

use libprocess::{Context, Process, Upid};

use crate::Options;
use crate::report::Report;

const LINKS: usize = 5000;
const EPHEMERAL: usize = 10_000;

/// What C++ needs, in milliseconds.
const CPP: f64 = 302.0;

struct Linkee;

impl Process for Linkee {}

struct Linker(Upid);

impl Process for Linker {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.link(&self.0);
    }
}

struct Ephemeral;

impl Process for Ephemeral {}

/// Upstream's numbers, then twice as many, which shows whether the cost grows with both.
pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    measure(options, report, 1, options.unscaled(CPP))?;
    measure(options, report, 2, None)
}

fn measure(
    options: &Options,
    report: &mut Report,
    times: usize,
    cpp: Option<f64>,
) -> anyhow::Result<()> {
    let links = times * options.scaled(LINKS);
    let ephemeral = times * options.scaled(EPHEMERAL);
    let runtime = options.runtime()?;
    for _ in 0..links {
        let linkee = runtime.spawn("", Linkee)?;
        runtime.spawn("", Linker(linkee.upid().clone()))?;
    }
    let start = Instant::now();
    let mut spawned = Vec::with_capacity(ephemeral);
    for _ in 0..ephemeral {
        let pid = runtime.spawn("", Ephemeral)?;
        pid.dispatch(|_, ctx| ctx.terminate());
        spawned.push(pid);
    }
    options.block_on(async {
        for pid in &spawned {
            runtime.wait(pid.upid()).await;
        }
    })?;
    let elapsed = start.elapsed();
    runtime.shutdown();
    let name = format!("{ephemeral} actors spawned and ended among {links} links");
    report.time(name, elapsed, cpp);
    Ok(())
}
