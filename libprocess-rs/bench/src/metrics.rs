//! Many counters: upstream's `Metrics_BENCHMARK_Test.Scalability`. And how long a snapshot keeps other actors waiting.

use std::time::{Duration, Instant};

use libprocess::{Context, Process, Runtime};

use crate::Options;
use crate::http_client;
use crate::report::Report;

/// Number of counters, and what C++ needs in milliseconds to add them, for a snapshot, for one by HTTP and to remove them.
const SIZES: &[(usize, [Option<f64>; 4])] = &[
    (1, [None; 4]),
    (100, [None; 4]),
    (1000, [None; 4]),
    (10_000, [Some(2700.0), Some(18.0), Some(38.0), None]),
    (
        100_000,
        [Some(22_000.0), Some(185.0), Some(334.0), Some(24_000.0)],
    ),
];

/// Dispatches to itself all the time, and notes the longest pause.
struct Beating {
    last: Instant,
    longest: Duration,
}

impl Process for Beating {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        self.beat(ctx);
    }
}

impl Beating {
    fn beat(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.longest = self.longest.max(now - self.last);
        self.last = now;
        ctx.pid().dispatch(Self::beat);
    }
}

/// The longest pause of an actor, on a thread where actors are, in the time of `work`.
fn longest_pause(
    options: &Options,
    runtime: &Runtime,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let beating = Beating {
        last: Instant::now(),
        longest: Duration::ZERO,
    };
    let pid = runtime.spawn("", beating)?;
    options.block_on(pid.ask(|beating, _| beating.longest = Duration::ZERO))??;
    work()?;
    let longest = options.block_on(pid.ask(|beating, _| beating.longest))??;
    pid.terminate();
    Ok(longest)
}

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    for (count, cpp) in SIZES {
        let count = options.scaled(*count);
        scalability(options, report, count, cpp)?;
    }
    Ok(())
}

fn scalability(
    options: &Options,
    report: &mut Report,
    count: usize,
    cpp: &[Option<f64>; 4],
) -> anyhow::Result<()> {
    let runtime = options.runtime()?;
    let metrics = runtime.metrics();
    let names: Vec<String> = (0..count)
        .map(|n| format!("metrics/keys/can/be/somewhat/long/so/we/use/a/fairly/long/key/here/to/test/a/more/pathological/case/{n}"))
        .collect();
    let [cpp_add, cpp_snapshot, cpp_http, cpp_remove] = cpp;
    let mut time = |what: &str, start: Instant, cpp: &Option<f64>| {
        let name = format!("metrics, {count} counters: {what}");
        let cpp = cpp.and_then(|cpp| options.unscaled(cpp));
        report.time(name, start.elapsed(), cpp);
    };

    let start = Instant::now();
    for name in &names {
        metrics.counter(name.as_str());
    }
    time("add", start, cpp_add);

    let start = Instant::now();
    let snapshot = metrics.snapshot();
    time("snapshot", start, cpp_snapshot);
    anyhow::ensure!(snapshot.len() >= count, "{} metrics", snapshot.len());

    let start = Instant::now();
    let answer = http_client::get(runtime.bound_address(), "/metrics/snapshot")?;
    time("snapshot by HTTP", start, cpp_http);
    anyhow::ensure!(
        answer.is_ok() && answer.body.len() > count,
        "{}",
        answer.status
    );

    let longest = longest_pause(options, &runtime, || {
        let answer = http_client::get(runtime.bound_address(), "/metrics/snapshot")?;
        anyhow::ensure!(answer.is_ok(), "{}", answer.status);
        Ok(())
    })?;
    let pause = format!("metrics, {count} counters: pause of an actor during a snapshot by HTTP");

    let start = Instant::now();
    for name in &names {
        metrics.remove(name);
    }
    time("remove", start, cpp_remove);
    report.time(pause, longest, None);
    runtime.shutdown();
    Ok(())
}
