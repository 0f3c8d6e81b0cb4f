//! Clusters of agents and frameworks in one role, as in upstream's
//! `src/tests/hierarchical_allocator_tests.cpp`.

use std::time::{Duration, Instant};

use mesos::proto;
use mesos::resources::{Reservation, Resource, Resources};

use super::cluster::{Cluster, agent_id, agent_info, allocated, large_agent, large_usage, parse};

/// Upstream's numbers of agents, each combined with each number of frameworks.
pub(crate) const AGENTS: [usize; 6] = [1_000, 5_000, 10_000, 20_000, 30_000, 50_000];
pub(crate) const FRAMEWORKS: [usize; 8] = [1, 50, 100, 200, 500, 1_000, 3_000, 6_000];

/// A size of the grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) agents: usize,
    pub(crate) frameworks: usize,
}

impl std::fmt::Display for Size {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} agents, {} frameworks",
            self.agents, self.frameworks
        )
    }
}

impl Size {
    fn user_of(self, agent: usize) -> usize {
        agent % self.frameworks
    }
}

/// A cluster before its first round: frameworks in role `*`, a part of every agent in use.
pub(crate) fn cluster(size: Size) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(size.frameworks, |_| "*".to_owned());
    let (total, used) = (large_agent(), large_usage("*"));
    for agent in 0..size.agents {
        cluster.add_agent(agent, &total, Some((size.user_of(agent), &used)));
    }
    cluster
}

/// AddAndUpdateSlave: how long it takes to add the agents, and to add revocable processors to them,
/// each with the runs that follow.
pub(crate) fn add_and_update(size: Size) -> (Duration, Duration) {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(size.frameworks, |_| "*".to_owned());
    let total = parse("cpus:2;mem:1024;disk:4096;ports:[31000-32000]");
    let ports = "ports:[31126-31510,31512-31623,31810-31852,31854-31964]";
    let used = allocated(&parse(&format!("cpus:1;mem:128;disk:1024;{ports}")), "*");
    let start = Instant::now();
    for agent in 0..size.agents {
        cluster.add_agent(agent, &total, Some((size.user_of(agent), &used)));
    }
    cluster.run_requested();
    let added = start.elapsed();
    let revocable = parse("cpus:10").into_iter().map(Resource::with_revocable);
    let oversubscribed: Resources = total.clone().into_iter().chain(revocable).collect();
    let start = Instant::now();
    for agent in 0..size.agents {
        let total = Some(oversubscribed.clone());
        let (id, info) = (agent_id(agent), agent_info(agent));
        let updated = cluster.allocator.update_agent(&id, &info, total, None);
        updated.expect("a known agent");
    }
    cluster.run_requested();
    (added, start.elapsed())
}

/// DeclineOffers: a cluster in which everything offered was declined for good in some rounds.
pub(crate) fn declined(size: Size, rounds: usize) -> Cluster {
    let mut cluster = cluster(size);
    for _ in 0..rounds {
        cluster.run();
        cluster.decline_all(super::cluster::FOREVER);
    }
    cluster
}

/// ResourceLabels: reservations with labels that differ from agent to agent.
pub(crate) fn labeled(size: Size) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(size.frameworks, |_| "role1".to_owned());
    for agent in 0..size.agents {
        let reserved = |key: &str| {
            let mut reservation = Reservation::dynamic("role1", Some("principal1".into()));
            reservation.labels = Some(labels(key, agent));
            parse("cpus:8").push_reservation(&reservation)
        };
        let reserved = reserved("unique_key_1") + reserved("unique_key_2");
        let total = parse("cpus:8;mem:4096;disk:4096;ports:[31000-32000]") + reserved.clone();
        let used = allocated(&(parse("mem:2014;disk:1024") + reserved), "role1");
        cluster.add_agent(agent, &total, Some((size.user_of(agent), &used)));
    }
    cluster
}

fn labels(key: &str, agent: usize) -> proto::Labels {
    let label = |key: String, value: String| proto::Label {
        key,
        value: Some(value),
    };
    let common = (0..11).map(|index| label(format!("key{index}"), format!("value{index}")));
    let own = label(key.to_owned(), format!("value_{agent}"));
    proto::Labels {
        labels: common.chain([own]).collect(),
    }
}

/// SuppressOffers, ExtremeSuppressOffers: a cluster in which some frameworks want nothing.
pub(crate) fn suppressed(size: Size, count: usize) -> Cluster {
    let mut cluster = cluster(size);
    (0..count).for_each(|framework| cluster.suppress(framework));
    cluster
}

/// Metrics: each framework has a role with quota.
pub(crate) fn with_metrics(size: Size) -> Cluster {
    let mut cluster = Cluster::new();
    for role in 0..size.frameworks {
        cluster.set_quota(&role.to_string(), "cpus:1;mem:512;disk:256");
    }
    cluster.add_frameworks(size.frameworks, |role| role.to_string());
    let total = parse("cpus:16;mem:2048;disk:1024");
    for agent in 0..size.agents {
        cluster.add_agent(agent, &total, None);
    }
    cluster
}

/// AllocatorBacklog: every framework revives at once. Returns how long it takes until all is done.
pub(crate) fn drain_backlog(cluster: &mut Cluster, size: Size) -> Duration {
    let start = Instant::now();
    (0..size.frameworks).for_each(|framework| cluster.revive(framework));
    cluster.run_requested();
    start.elapsed()
}

/// PersistentVolumes: everything is reserved, with a volume on each agent.
pub(crate) fn with_volumes(size: Size, is_shared: impl Fn(usize) -> bool) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(size.frameworks, |_| "test".to_owned());
    let resources = "cpus(test):24;mem(test):4096;disk(test):3072;ports(test):[31000-32000]";
    let resources = parse(resources);
    let used = parse("cpus(test):16;mem(test):1024;disk(test):1024;ports(test):[31000-31100]");
    let used = allocated(&used, "test");
    for agent in 0..size.agents {
        let disk = parse("disk(test):1024").into_iter();
        let volume = disk.map(|disk| {
            let volume = disk.with_disk(persistent_disk(agent));
            if is_shared(agent) {
                volume.with_shared()
            } else {
                volume
            }
        });
        let total: Resources = resources.clone().into_iter().chain(volume).collect();
        cluster.add_agent(agent, &total, Some((size.user_of(agent), &used)));
    }
    cluster
}

fn persistent_disk(index: usize) -> proto::resource::DiskInfo {
    proto::resource::DiskInfo {
        persistence: Some(proto::resource::disk_info::Persistence {
            id: format!("id{index}"),
            principal: None,
        }),
        volume: Some(proto::Volume {
            container_path: format!("path{index}"),
            mode: proto::volume::Mode::Rw.into(),
            ..Default::default()
        }),
        source: None,
    }
}
