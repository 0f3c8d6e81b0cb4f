//! How much memory things take, by what the process holds before and after: with all indexes, and
//! with what the system's memory allocator adds and wastes.
//!
//! "Beyond the resources themselves" is said of agents, and excludes the total of the agent and
//! what is in use of it, once each, as the master would tell them: two [`Resources`], here of four
//! entries with a list of ports. It does not exclude what the allocator derives from them: what is
//! available, and accounts of amounts. Nothing is excluded for frameworks; theirs hold nothing, as
//! what they hold is measured with the agents.

use mesos::resources::Resources;

use super::cluster::{Cluster, large_agent, large_usage};
use super::grid::{self, Size};

/// The size of a page of memory on the machines that we measure on.
const PAGE_BYTES: usize = 4_096;

/// The memory of this process that is in use; none where `/proc` does not say.
fn resident_bytes() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}

/// Bytes for one of `count` things that `make` makes.
fn bytes_each<T>(count: usize, make: impl FnOnce() -> T) -> Option<(T, f64)> {
    let before = resident_bytes()?;
    let made = make();
    let after = resident_bytes()?;
    Some((made, after.saturating_sub(before) as f64 / count as f64))
}

/// Bytes for one agent beyond its total and what is in use of it, for one framework, and for one
/// filter.
pub(crate) struct Bytes {
    pub(crate) agent: f64,
    pub(crate) framework: f64,
    pub(crate) filter: f64,
}

/// Measures with so many agents and frameworks; `filters` rounds of offers are declined. What is
/// measured first is kept, so that nothing is made in memory that was freed before.
pub(crate) fn measure(size: Size, rounds: usize) -> Option<Bytes> {
    let (resources, resources_bytes) = bytes_each(size.agents, || {
        let bundles = (0..size.agents).map(|_| (large_agent(), large_usage("*")));
        bundles.collect::<Vec<(Resources, Resources)>>()
    })?;
    let (mut cluster, framework) = bytes_each(size.frameworks, || {
        let mut cluster = Cluster::new();
        cluster.add_frameworks(size.frameworks, |index| format!("role-{index}"));
        cluster
    })?;
    let ((), agent) = bytes_each(size.agents, || {
        for (index, (total, used)) in resources.iter().enumerate() {
            cluster.add_agent(index, total, Some((index % size.frameworks, used)));
        }
    })?;
    let filter = filter_bytes(size, rounds)?;
    drop(resources);
    Some(Bytes {
        agent: agent - resources_bytes,
        framework,
        filter,
    })
}

/// Bytes for one filter: everything is declined for good in some rounds.
fn filter_bytes(size: Size, rounds: usize) -> Option<f64> {
    // After the first round the buffers that a run needs are there.
    let mut cluster = grid::declined(size, 1);
    let count = size.agents * rounds;
    let ((), bytes) = bytes_each(count, || {
        for _ in 0..rounds {
            cluster.run();
            cluster.decline_all(super::cluster::FOREVER);
        }
    })?;
    Some(bytes)
}
