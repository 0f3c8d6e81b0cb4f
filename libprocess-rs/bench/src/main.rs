//! All benchmarks of libprocess in one program, with the parameters of the C++ original and its figures beside ours.

mod child;
mod client_server;
mod dispatch;
mod http_client;
mod memory;
mod report;
mod throughput;

use std::thread::available_parallelism;

use clap::Parser;
use libprocess::{Runtime, RuntimeConfig};

use report::Report;

/// What `--quick` scales everything down to.
const QUICK_SCALE: f64 = 0.001;

type Benchmark = fn(&Options, &mut Report) -> anyhow::Result<()>;

const BENCHMARKS: &[(&str, Benchmark)] = &[
    ("throughput", throughput::run),
    ("client-server", client_server::run),
    ("dispatch", dispatch::run),
    ("memory", memory::run),
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
        let scale = if self.quick { QUICK_SCALE } else { self.scale };
        ((number as f64 * scale) as usize).max(1)
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
