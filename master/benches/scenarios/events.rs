//! Single events in a large cluster.

use std::time::{Duration, Instant};

use mesos::resources::Resources;

use super::cluster::{Cluster, agent_id, allocated, framework_id, large_agent, large_usage, parse};
use super::grid::Size;

/// How many times an event is repeated for one figure.
const REPEATS: usize = 200;

/// A cluster in which everything is handed out.
pub(crate) struct Busy {
    cluster: Cluster,
    size: Size,
    task: Resources,
}

impl Busy {
    /// A cluster in which all frameworks want more.
    pub(crate) fn eager(size: Size) -> Busy {
        let mut cluster = Cluster::new();
        cluster.add_frameworks(size.frameworks, |index| format!("role-{index}"));
        let total = large_agent();
        for agent in 0..size.agents {
            let framework = agent % size.frameworks;
            let used = large_usage(&format!("role-{framework}"));
            cluster.add_agent(agent, &total, Some((framework, &used)));
        }
        cluster.run();
        let task = allocated(&parse("cpus:0.01;mem:1"), "role-0");
        Busy {
            cluster,
            size,
            task,
        }
    }

    /// A cluster in which only one framework wants more.
    pub(crate) fn new(size: Size) -> Busy {
        let mut busy = Busy::eager(size);
        busy.suppress_others();
        busy
    }

    pub(crate) fn suppress_others(&mut self) {
        (1..self.size.frameworks).for_each(|framework| self.cluster.suppress(framework));
    }

    /// The median time of one agent that is added, with the run for it.
    pub(crate) fn agent_added(&mut self) -> Duration {
        let total = large_agent();
        let first = self.size.agents;
        let times = (first..first + REPEATS).map(|agent| {
            let start = Instant::now();
            self.cluster.add_agent(agent, &total, None);
            self.cluster.run_requested();
            let time = start.elapsed();
            assert_eq!(self.cluster.offer_count(), 1);
            time
        });
        let median = median(times.collect());
        for agent in first..first + REPEATS {
            let removed = self.cluster.allocator.remove_agent(&agent_id(agent));
            removed.expect("a known agent");
        }
        median
    }

    /// The median time of one task that ends on an agent where its framework runs; so small that
    /// there are enough of them in a small cluster.
    pub(crate) fn task_finished(&mut self) -> Duration {
        let agents = (0..self.size.agents).step_by(self.size.frameworks);
        let times = agents.cycle().take(REPEATS).map(|agent| {
            let start = Instant::now();
            let (framework, agent) = (framework_id(0), agent_id(agent));
            self.cluster
                .recover(&framework, &agent, &self.task, None, true);
            start.elapsed()
        });
        median(times.collect())
    }

    /// The median time of one offer that is declined with a filter, after everyone wants offers
    /// again.
    pub(crate) fn offer_declined(&mut self) -> Duration {
        for framework in 0..self.size.frameworks {
            self.cluster.revive(framework);
        }
        self.cluster.run();
        let offers = std::mem::take(&mut self.cluster.offers);
        let bundles = offers.iter().flat_map(|offer| {
            let bundles = offer.resources.values().flatten();
            bundles.map(|(agent, resources)| (&offer.framework, agent, resources))
        });
        let times = bundles.take(REPEATS).map(|(framework, agent, resources)| {
            let start = Instant::now();
            self.cluster
                .recover(framework, agent, resources, Some(5.0), false);
            start.elapsed()
        });
        median(times.collect())
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
