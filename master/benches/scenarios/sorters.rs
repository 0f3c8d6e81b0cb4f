//! The order of roles, as in upstream's `src/tests/sorter_tests.cpp`. Orders are not visible from
//! outside; what is measured is a run for one agent that nobody can be offered, which asks for the
//! order once.

use std::time::Duration;

use mesos::resources::Resources;

use super::cluster::{Cluster, agent_id, agent_info, allocated, large_agent, parse};

/// Upstream's numbers of clients of a flat sorter.
pub(crate) const CLIENTS: [usize; 6] = [1, 50, 100, 200, 500, 1_000];

/// Upstream's trees: height and number of children.
pub(crate) const TREES: [(u32, usize); 3] = [(3, 32), (7, 3), (10, 2)];

/// A cluster with one framework in each role, each using something on some agents.
pub(crate) struct Sorted {
    cluster: Cluster,
    /// An agent that has only ports, in too small a number to be offered.
    poor: usize,
    ports: u64,
}

impl Sorted {
    /// Roles side by side.
    pub(crate) fn flat(agents: usize, roles: usize) -> Sorted {
        let roles: Vec<String> = (0..roles).map(|role| format!("role-{role}")).collect();
        Sorted::new(agents, &roles)
    }

    /// Roles in a tree; the leaves have frameworks.
    pub(crate) fn tree(agents: usize, height: u32, children: usize) -> Sorted {
        let mut roles = vec![String::new()];
        for level in 1..height {
            let parents = roles.iter();
            roles = parents
                .flat_map(|parent| {
                    let prefix = if level == 1 { "" } else { "/" };
                    (0..children).map(move |child| format!("{parent}{prefix}{child}"))
                })
                .collect();
        }
        Sorted::new(agents, &roles)
    }

    fn new(agents: usize, roles: &[String]) -> Sorted {
        let mut cluster = Cluster::new();
        cluster.add_frameworks(roles.len(), |index| roles[index].clone());
        let (total, used) = (large_agent(), parse("cpus:24;mem:4096;disk:4096"));
        for agent in 0..agents {
            let framework = agent % roles.len();
            // Different shares, so that there is something to sort.
            let used = allocated(&used, &roles[framework]);
            cluster.add_agent(agent, &total, Some((framework, &used)));
        }
        cluster.add_agent(agents, &ports(1), None);
        cluster.run();
        cluster.run_requested();
        Sorted {
            cluster,
            poor: agents,
            ports: 1,
        }
    }

    /// A run for an agent whose total changed in something that does not count in shares.
    pub(crate) fn order_without_change(&mut self) -> Duration {
        self.ports += 1;
        self.order(&ports(self.ports))
    }

    /// A run after the capacity of the cluster changed, so that all shares are other ones.
    pub(crate) fn order_anew(&mut self) -> Duration {
        self.ports += 1;
        let cpus = format!("cpus:0.00{}", self.ports % 9 + 1);
        self.order(&(ports(self.ports) + parse(&cpus)))
    }

    fn order(&mut self, total: &Resources) -> Duration {
        let (id, info) = (agent_id(self.poor), agent_info(self.poor));
        let total = Some(total.clone());
        let updated = self.cluster.allocator.update_agent(&id, &info, total, None);
        updated.expect("a known agent");
        let time = self.cluster.run_requested();
        assert_eq!(self.cluster.offer_count(), 0);
        time
    }
}

fn ports(count: u64) -> Resources {
    parse(&format!("ports:[1-{}]", count + 1))
}
