//! All benchmarks of libprocess in one program, with the parameters of the C++ original and its figures beside ours.

mod child;
mod client_server;
mod connections;
mod dispatch;
mod http_client;
mod http_get;
mod links;
mod mailbox;
mod memory;
mod metrics;
mod one_way;
mod protobuf;
mod report;
mod throughput;

use std::thread::available_parallelism;
use std::time::Duration;

use clap::Parser;
use libprocess::{Runtime, RuntimeConfig};
#[cfg(feature = "mimalloc")]
use libprocess_malloc as _;

use report::Report;

/// What `--quick` scales everything down to.
const QUICK_SCALE: f64 = 0.001;

type Benchmark = fn(&Options, &mut Report) -> anyhow::Result<()>;

const BENCHMARKS: &[(&str, Benchmark)] = &[
    ("throughput", throughput::run),
    ("client-server", client_server::run),
    ("links", links::run),
    ("dispatch", dispatch::run),
    ("protobuf", protobuf::run),
    ("mailbox", mailbox::run),
    ("one-way", one_way::run),
    ("http", http_get::run),
    ("metrics", metrics::run),
    ("memory-of-actors", memory::run),
    ("memory-of-connections", connections::run),
];

/// Benchmarks of libprocess: the original's, with its parameters and figures, and some more.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Run only the benchmarks whose name contains one of these.
    filter: Vec<String>,
    /// Multiply the number of messages, actors and so on with this.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Run everything as small as possible, to see that it works.
    #[arg(long)]
    quick: bool,
    /// Threads for actors.
    #[arg(long, default_value_t = available_parallelism().map_or(1, usize::from))]
    threads: usize,
    /// List the benchmarks.
    #[arg(long)]
    list: bool,
    #[arg(long, hide = true)]
    child: Option<String>,
    #[arg(long, hide = true, default_value_t = 0)]
    size: usize,
}

impl Options {
    /// A number of things, scaled; at least one.
    fn scaled(&self, number: usize) -> usize {
        ((number as f64 * self.factor()) as usize).max(1)
    }

    /// How long to measure, scaled.
    fn time(&self, time: Duration) -> Duration {
        time.mul_f64(self.factor())
    }

    fn factor(&self) -> f64 {
        if self.quick { QUICK_SCALE } else { self.scale }
    }

    /// A figure of the original that holds for its own number of things only.
    fn unscaled(&self, figure: f64) -> Option<f64> {
        (self.factor() == 1.0).then_some(figure)
    }

    /// Threads that send to another one: all but one, as upstream.
    fn producers(&self) -> usize {
        self.threads.saturating_sub(1).max(1)
    }

    fn block_on<F: Future>(&self, future: F) -> anyhow::Result<F::Output> {
        let tokio = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(tokio.block_on(future))
    }

    /// A runtime with one thread for the network and the wanted number for actors.
    fn runtime(&self) -> anyhow::Result<Runtime> {
        Ok(Runtime::start(RuntimeConfig {
            workers: self.threads + 1,
            ..RuntimeConfig::loopback()
        })?)
    }

    fn wants(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|part| name.contains(part))
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(what) = &options.child {
        return child::run(what, options.size);
    }
    let wanted = BENCHMARKS.iter().filter(|(name, _)| options.wants(name));
    let mut report = Report::default();
    for (name, run) in wanted {
        match options.list {
            true => println!("{name}"),
            false => run(&options, &mut report)?,
        }
    }
    if !options.list {
        anyhow::ensure!(
            !report.is_empty(),
            "no benchmark has such a name; see --list"
        );
        report.print();
    }
    Ok(())
}
