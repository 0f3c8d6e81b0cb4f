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

/// C++ libprocess has at least so many threads, however few CPUs there are.
const UPSTREAM_THREADS: usize = 8;

fn cpus() -> usize {
    available_parallelism().map_or(1, usize::from)
}

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
    #[arg(long, default_value_t = cpus())]
    threads: usize,
    /// Pairs of actors that play ping-pong; upstream one for each of its threads, of which it has at least eight.
    #[arg(long, default_value_t = cpus().max(UPSTREAM_THREADS))]
    pairs: usize,
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

    /// A runtime with the wanted number of threads for actors, and those that it takes for the network besides.
    fn runtime(&self) -> anyhow::Result<Runtime> {
        Ok(Runtime::start(RuntimeConfig {
            workers: workers(self.threads),
            ..RuntimeConfig::loopback()
        })?)
    }

    fn wants(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|part| name.contains(part))
    }
}

/// How many workers there have to be, a quarter of which but at least one serve the network, for this many to host actors.
fn workers(actors: usize) -> usize {
    let network = |workers: usize| (workers / 4).max(1);
    let enough = (actors + 1..).find(|workers| workers - network(*workers) >= actors);
    enough.unwrap_or(actors + 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_threads_host_actors_as_are_wanted() {
        let check = |actors: usize, expected: usize| assert_eq!(workers(actors), expected);
        check(1, 2);
        check(2, 3);
        check(6, 7);
        check(7, 9);
        check(9, 11);
        check(10, 13);
        check(16, 21);
    }
}
