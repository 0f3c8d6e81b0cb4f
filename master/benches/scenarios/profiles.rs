//! Frameworks of different kinds that launch tasks, as in upstream's MultiFrameworkAllocations.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos::resources::Resources;
use mesos_master::allocator::FrameworkId;

use super::cluster::{Cluster, framework_id, parse, times};

/// Frameworks that are alike.
struct Profile {
    frameworks: usize,
    /// Whether each of them has a role of its own.
    own_roles: bool,
    tasks: i64,
    task: &'static str,
    tasks_per_offer: i64,
}

const PROFILES: [Profile; 3] = [
    // Long-running services, many of them small.
    Profile {
        frameworks: 4,
        own_roles: true,
        tasks: 4_000,
        task: "cpus:0.07;mem:400",
        tasks_per_offer: 100,
    },
    // Builds: many frameworks with a handful of tasks.
    Profile {
        frameworks: 500,
        own_roles: false,
        tasks: 5,
        task: "cpus:0.1;mem:4000",
        tasks_per_offer: 1,
    },
    // Batch jobs.
    Profile {
        frameworks: 50,
        own_roles: true,
        tasks: 20,
        task: "cpus:1;mem:1000",
        tasks_per_offer: 5,
    },
];

/// What was launched, in how many rounds.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) tasks: i64,
    pub(crate) wanted: i64,
    pub(crate) rounds: u32,
    /// The time of all runs together.
    pub(crate) runs: Duration,
}

/// Offers are used up to a number of tasks, and the rest comes back without filter, until all is
/// launched or `rounds_max` is reached: frameworks that have launched everything go on to be
/// offered as much as others, and may starve them. `divide` makes everything smaller.
pub(crate) fn launch_everything(divide: usize, rounds_max: u32) -> Launched {
    let mut cluster = Cluster::new();
    let mut wanted = BTreeMap::<FrameworkId, (i64, &Profile, Resources)>::new();
    let agent = parse("cpus:64;mem:488000");
    (0..80 / divide.min(80)).for_each(|index| cluster.add_agent(index, &agent, None));
    for (number, profile) in PROFILES.iter().enumerate() {
        for index in 0..profile.frameworks.div_ceil(divide) {
            let framework = wanted.len();
            let own = if profile.own_roles { index } else { 0 };
            cluster.add_framework(framework, &format!("role{number}-{own}"));
            let task = parse(profile.task);
            wanted.insert(framework_id(framework), (profile.tasks, profile, task));
        }
    }
    let total: i64 = wanted.values().map(|(tasks, _, _)| tasks).sum();
    let (mut launched, mut rounds, mut runs) = (0, 0, Duration::ZERO);
    while launched < total && rounds < rounds_max {
        runs += cluster.run();
        rounds += 1;
        for offer in std::mem::take(&mut cluster.offers) {
            for (role, agents) in &offer.resources {
                for (agent, resources) in agents {
                    let Some((left, profile, task)) = wanted.get_mut(&offer.framework) else {
                        continue;
                    };
                    let mut task = task.clone();
                    task.allocate(role.as_str());
                    let fitting = (1..=profile.tasks_per_offer.min(*left))
                        .take_while(|count| resources.contains(&times(&task, *count)))
                        .last()
                        .unwrap_or(0);
                    *left -= fitting;
                    launched += fitting;
                    let rest = resources - &times(&task, fitting);
                    cluster.recover(&offer.framework, agent, &rest, None, false);
                }
            }
        }
    }
    Launched {
        tasks: launched,
        wanted: total,
        rounds,
        runs,
    }
}
