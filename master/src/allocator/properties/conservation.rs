//! Nothing is lost or created, however often parts of it go back and forth.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos::proto;
use mesos::resources::{Resource, Resources, Scalar, Value};

use super::super::lots::mix;
use super::super::{AgentCapabilities, AgentId, Allocator, FrameworkId, FrameworkOptions, Options};
use super::generate::{agent_id, framework_id, parse};
use super::world::flatten;

/// How many operations there are unless `ALLOCATOR_OPERATIONS` says otherwise.
const OPERATIONS: u64 = 1_000_000;

/// After how many operations everything is added up.
const OPERATIONS_PER_CHECK: u64 = 2_000;

/// How many things come back between two runs.
const RETURNS_PER_RUN: u64 = 20;

/// What is odd enough to show errors of rounding.
const TOTALS: [&str; 3] = [
    "cpus:3.333;mem:1000.001;ports:[1-1000]",
    "cpus:0.1;mem:64.7;cpus(a):0.2",
    "cpus:7.007;mem:33.333;disk:0.999",
];

/// The roles of the frameworks.
const ROLES: [&str; 4] = ["a", "a", "a/b", "c"];

struct Cluster {
    allocator: Allocator,
    held: Vec<(FrameworkId, AgentId, Resources)>,
    now: Duration,
}

impl Cluster {
    fn new() -> Cluster {
        let mut allocator = Allocator::new(Options {
            min_allocatable_resources: Vec::new(),
            ..Options::default()
        });
        for (index, total) in TOTALS.iter().enumerate() {
            let capabilities = AgentCapabilities {
                multi_role: true,
                hierarchical_role: true,
            };
            let (id, info) = (agent_id(index), proto::SlaveInfo::default());
            let added = allocator.add_agent(id, &info, capabilities, parse(total), BTreeMap::new());
            added.unwrap();
        }
        for (index, role) in ROLES.into_iter().enumerate() {
            let info = proto::FrameworkInfo {
                role: Some(role.to_owned()),
                ..Default::default()
            };
            let (id, options) = (framework_id(index), FrameworkOptions::default());
            let added = allocator.add_framework(id, &info, &BTreeMap::new(), true, options);
            added.unwrap();
        }
        allocator.update_weights([("a", 0.3), ("c", 7.1)]).unwrap();
        Cluster {
            allocator,
            held: Vec::new(),
            now: Duration::ZERO,
        }
    }

    /// Something that is held comes back, most often a part of it.
    fn return_part(&mut self, chance: u64) {
        if self.held.is_empty() {
            return;
        }
        let index = usize::try_from(chance % self.held.len() as u64).unwrap();
        let (framework, agent, mut held) = self.held.swap_remove(index);
        let entries = held.len() as u64;
        let entry = held.iter().nth(usize::try_from(chance % entries).unwrap());
        let part: Resources = part_of(entry.unwrap(), mix(1, chance)).into();
        let refusals = [0.0, f64::NAN, -1.0, f64::INFINITY, 1e-9];
        let filters = (chance.is_multiple_of(16)).then(|| proto::Filters {
            refuse_seconds: refusals.get(usize::try_from(chance % 7).unwrap()).copied(),
        });
        let filters = filters.as_ref();
        let returned = self
            .allocator
            .recover_resources(&framework, &agent, &part, filters, false, self.now);
        returned.unwrap();
        held -= &part;
        if !held.is_empty() {
            self.held.push((framework, agent, held));
        }
    }

    fn run(&mut self) {
        self.now += Duration::from_secs(1);
        let (handed_out, _) = flatten(self.allocator.allocate(self.now));
        for ((framework, _, agent), bundle) in handed_out {
            self.held.push((framework, agent, bundle));
        }
    }

    /// What was refused for a year is wanted again, or more and more would be refused.
    fn revive(&mut self) {
        for framework in 0..ROLES.len() {
            let (id, all) = (framework_id(framework), BTreeSet::new());
            self.allocator.revive_offers(&id, &all).unwrap();
        }
    }

    /// What is held and what is available make up what there is, to the last thousandth.
    fn check(&self) {
        assert_eq!(self.allocator.sanity_check(), Ok(()));
        for (_, id, agent) in self.allocator.agents.iter() {
            let held = self.held.iter().filter(|(_, on, _)| on == id);
            let mut sum: Resources = held.map(|(_, _, held)| held).sum();
            sum.unallocate();
            assert_eq!(&sum + agent.available(), *agent.total(), "{id}");
        }
    }
}

/// A part of a resource, as odd as its amount allows.
fn part_of(resource: &Resource, chance: u64) -> Resource {
    match resource.as_scalar() {
        Some(amount) if chance & 1 == 0 => {
            let millis = u64::try_from(amount.millis()).unwrap();
            let part = i64::try_from(chance % millis + 1).unwrap();
            resource
                .clone()
                .with_value(Value::Scalar(Scalar::from_millis(part)))
        }
        _ => resource.clone(),
    }
}

#[test]
fn nothing_is_lost_or_created() {
    let operations = std::env::var("ALLOCATOR_OPERATIONS").ok();
    let operations = operations.and_then(|count| count.parse().ok());
    let mut cluster = Cluster::new();
    for operation in 0..operations.unwrap_or(OPERATIONS) {
        if operation % RETURNS_PER_RUN == 0 {
            cluster.run();
        } else {
            cluster.return_part(mix(42, operation));
        }
        if operation % OPERATIONS_PER_CHECK == 0 {
            cluster.check();
            cluster.revive();
        }
    }
    cluster.check();
    // Once all is back, everything is as at first.
    for (framework, agent, held) in std::mem::take(&mut cluster.held) {
        let (a, now) = (&mut cluster.allocator, cluster.now);
        let returned = a.recover_resources(&framework, &agent, &held, None, false, now);
        returned.unwrap();
    }
    cluster.check();
    let metrics = cluster.allocator.metrics();
    for (index, total) in TOTALS.iter().enumerate() {
        let key = cluster.allocator.agents.key(&agent_id(index));
        let agent = key.and_then(|key| cluster.allocator.agents.get(key));
        assert_eq!(*agent.unwrap().available(), parse(total));
    }
    for role in ["a", "a/b", "c"] {
        let share = format!("allocator/mesos/roles/{role}/shares/dominant");
        assert_eq!(metrics[&share], 0.0, "{role}");
    }
}
