//! Roles with quota, as in upstream's `src/tests/hierarchical_allocator_benchmarks.cpp`.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, parse};

const AGENT: &str = "cpus:2;mem:2048;disk:2048";

/// LargeAndSmallQuota: roles that need half an agent, and roles that need two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LargeAndSmall {
    pub(crate) small_roles: usize,
    pub(crate) large_roles: usize,
}

impl LargeAndSmall {
    pub(crate) fn agents(self) -> usize {
        // Upstream's own number, which leaves agents over.
        self.small_roles / 5 + self.large_roles * 5
    }

    pub(crate) fn roles(self) -> usize {
        self.small_roles + self.large_roles
    }
}

impl std::fmt::Display for LargeAndSmall {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} agents, {} roles",
            self.agents(),
            self.roles()
        )
    }
}

/// A cluster before its first round, and how long it took to tell it everything.
pub(crate) fn large_and_small(mut cluster: Cluster, size: LargeAndSmall) -> (Cluster, Duration) {
    let start = Instant::now();
    let agent = parse(AGENT);
    (0..size.agents()).for_each(|index| cluster.add_agent(index, &agent, None));
    cluster.add_frameworks(size.roles(), |role| format!("role{role}"));
    for role in 0..size.roles() {
        let amounts = if role < size.small_roles {
            "cpus:1;mem:1024;disk:1024"
        } else {
            "cpus:4;mem:4096;disk:4096"
        };
        cluster.set_quota(&format!("role{role}"), amounts);
    }
    (cluster, start.elapsed())
}

/// NonQuotaVsQuota: two agents and two frameworks for each role, in which a role is guaranteed two
/// whole agents, or nothing.
pub(crate) fn whole_agents(mut cluster: Cluster, roles: usize, with_quota: bool) -> Cluster {
    let agent = parse(AGENT);
    (0..2 * roles).for_each(|index| cluster.add_agent(index, &agent, None));
    cluster.add_frameworks(2 * roles, |framework| format!("role{}", framework / 2));
    if with_quota {
        for role in 0..roles {
            cluster.set_quota(&format!("role{role}"), "cpus:4;mem:4096;disk:4096");
        }
    }
    cluster
}
