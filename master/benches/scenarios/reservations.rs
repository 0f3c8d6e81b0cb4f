//! One agent with many reservations, as in upstream's UpdateAllocation.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mesos::proto;
use mesos::resources::{Reservation, Resources, conversions};
use mesos_master::allocator::{AgentCapabilities, FrameworkId};
use proto::offer::Operation;
use proto::offer::operation::{Reserve, Type, Unreserve};

use super::cluster::{Cluster, agent_id, agent_info, allocated, framework_id, parse};

/// Upstream's numbers of roles, each with one reservation and one range of ports.
pub(crate) const ROLES: [usize; 3] = [50, 100, 200];

/// How often the framework reserves and unreserves for one figure.
const REPEATS: u32 = 20;

/// A cluster of one agent on which each framework holds what is reserved for its role.
pub(crate) struct Reserved {
    cluster: Cluster,
    /// What the first framework holds, with and without the reservation.
    reserved: Resources,
    unreserved: Resources,
}

impl Reserved {
    pub(crate) fn new(roles: usize) -> Reserved {
        let mut cluster = Cluster::new();
        cluster.add_frameworks(roles, role);
        let resources = |index| {
            let resources = parse("cpus:100;mem:100;disk:100;ports:[2-2]");
            resources.push_reservation(&reservation(index))
        };
        let used = (0..roles).map(|index| {
            let held = allocated(&resources(index), &role(index));
            (framework_id(index), held)
        });
        let used: BTreeMap<FrameworkId, Resources> = used.collect();
        let capabilities = AgentCapabilities {
            multi_role: true,
            hierarchical_role: true,
        };
        let total: Resources = (0..roles).map(resources).sum();
        let (id, info) = (agent_id(0), agent_info(0));
        let added = cluster
            .allocator
            .add_agent(id, &info, capabilities, total, used);
        added.expect("a new agent");
        let reserved = allocated(&resources(0), &role(0));
        Reserved {
            cluster,
            unreserved: reserved.pop_reservation(),
            reserved,
        }
    }

    /// How long one reservation, and one unreservation, of all that a framework holds takes.
    pub(crate) fn reserve_and_unreserve(&mut self) -> (Duration, Duration) {
        let (mut reserving, mut unreserving) = (Duration::ZERO, Duration::ZERO);
        let resources = self.reserved.to_protos();
        let source = Vec::new();
        let reserve = Operation {
            r#type: Some(Type::Reserve.into()),
            reserve: Some(Reserve { resources, source }),
            ..Default::default()
        };
        let resources = self.reserved.to_protos();
        let unreserve = Operation {
            r#type: Some(Type::Unreserve.into()),
            unreserve: Some(Unreserve { resources }),
            ..Default::default()
        };
        for _ in 0..REPEATS {
            unreserving += update(&mut self.cluster, &self.reserved, &unreserve);
            reserving += update(&mut self.cluster, &self.unreserved, &reserve);
        }
        (reserving / REPEATS, unreserving / REPEATS)
    }
}

/// The first framework makes an operation on what it holds.
fn update(cluster: &mut Cluster, held: &Resources, operation: &Operation) -> Duration {
    let start = Instant::now();
    let conversions = conversions(operation).expect("an operation that converts");
    let (framework, agent) = (framework_id(0), agent_id(0));
    let updated = cluster
        .allocator
        .update_allocation(&framework, &agent, held, &conversions);
    updated.expect("what is held");
    start.elapsed()
}

/// As long as upstream's random names.
fn role(index: usize) -> String {
    format!("role-{index:036}")
}

/// Labels that differ, so that nothing merges.
fn reservation(index: usize) -> Reservation {
    let mut reservation = Reservation::dynamic(role(index), None);
    reservation.labels = Some(proto::Labels {
        labels: vec![proto::Label {
            key: "Label".to_owned(),
            value: Some(format!("{index:036}")),
        }],
    });
    reservation
}
