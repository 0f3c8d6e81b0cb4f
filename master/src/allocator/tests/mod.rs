//! Tests of the allocator as a whole.

mod bad_input;
mod capabilities;
mod cluster;
mod drf;
mod explain;
mod filters;
mod guarantees;
mod maintenance;
mod operations;
mod policies;
mod quota;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos::proto;
use mesos::resources::{Reservation, Resources};
use proto::framework_info::capability::Type as Capability;

use super::sorter::Sorter;
use super::*;

/// An allocator with a clock, and short names for what tests tell it. Every step ends with a
/// comparison of all accounts.
struct Env {
    allocator: Allocator,
    now: Duration,
    held: BTreeMap<(String, String), Resources>,
}

impl Env {
    fn new() -> Env {
        Env::with(Options::default())
    }

    fn with(options: Options) -> Env {
        Env {
            allocator: Allocator::new(options),
            now: Duration::from_secs(1_000),
            held: BTreeMap::new(),
        }
    }

    #[track_caller]
    fn check(&self) {
        assert_eq!(self.allocator.sanity_check(), Ok(()));
    }

    #[track_caller]
    fn tell<T>(&mut self, event: impl FnOnce(&mut Allocator) -> Result<T, AllocatorError>) -> T {
        let result = event(&mut self.allocator).unwrap();
        self.check();
        result
    }

    /// What an event is refused with.
    #[track_caller]
    fn refused<T: std::fmt::Debug>(
        &mut self,
        event: impl FnOnce(&mut Allocator) -> Result<T, AllocatorError>,
    ) -> String {
        let error = event(&mut self.allocator).unwrap_err();
        self.check();
        error.to_string()
    }

    #[track_caller]
    fn framework(&mut self, id: &str, roles: &[&str]) {
        self.add_framework(id, &framework_info(roles, &[]));
    }

    #[track_caller]
    fn add_framework(&mut self, id: &str, info: &proto::FrameworkInfo) {
        let options = FrameworkOptions::default();
        self.tell(|a| a.add_framework(id.into(), info, &BTreeMap::new(), true, options));
    }

    #[track_caller]
    fn agent(&mut self, id: &str, total: &str) {
        self.agent_with(id, parse(total));
    }

    #[track_caller]
    fn agent_with(&mut self, id: &str, total: Resources) {
        let used = BTreeMap::new();
        self.tell(|a| a.add_agent(id.into(), &agent_info(id), CAPABLE, total, used));
    }

    /// A run over all agents, one interval later: `framework role agent resources`, sorted.
    #[track_caller]
    fn run(&mut self) -> Vec<String> {
        self.now += Duration::from_secs(1);
        let round = self.allocator.allocate(self.now);
        self.note(round.offers)
    }

    /// A run over the agents that events named.
    #[track_caller]
    fn run_requested(&mut self) -> Vec<String> {
        let round = self.allocator.allocate_requested(self.now);
        self.note(round.offers)
    }

    #[track_caller]
    fn note(&mut self, allocations: Vec<Allocation>) -> Vec<String> {
        self.check();
        let mut lines = Vec::new();
        for allocation in allocations {
            for (role, agents) in allocation.resources {
                for (agent, resources) in agents {
                    assert!(resources.iter().all(|r| r.allocation_role() == Some(&role)));
                    let key = (allocation.framework.to_string(), agent.to_string());
                    *self.held.entry(key).or_default() += &resources;
                    let mut shown = resources;
                    shown.unallocate();
                    lines.push(format!("{} {role} {agent} {shown}", allocation.framework));
                }
            }
        }
        lines.sort();
        lines
    }

    #[track_caller]
    fn expect_run(&mut self, expected: &[&str]) {
        assert_eq!(self.run(), expected);
    }

    /// Everything that a framework was handed out on an agent comes back.
    #[track_caller]
    fn decline(&mut self, framework: &str, agent: &str, refuse_seconds: Option<f64>) {
        let held = self.held.remove(&(framework.into(), agent.into())).unwrap();
        self.recover(framework, agent, &held, refuse_seconds);
    }

    #[track_caller]
    fn recover(
        &mut self,
        framework: &str,
        agent: &str,
        resources: &Resources,
        refuse_seconds: Option<f64>,
    ) {
        let filters = refuse_seconds.map(|seconds| proto::Filters {
            refuse_seconds: Some(seconds),
        });
        let now = self.now;
        for part in resources.allocations().values() {
            self.tell(|a| {
                let (framework, agent) = (framework.into(), agent.into());
                a.recover_resources(&framework, &agent, part, filters.as_ref(), false, now)
            });
        }
    }
}

const CAPABLE: AgentCapabilities = AgentCapabilities {
    multi_role: true,
    hierarchical_role: true,
};

#[track_caller]
fn parse(text: &str) -> Resources {
    Resources::parse(text, "*").unwrap()
}

fn allocated(text: &str, role: &str) -> Resources {
    let mut resources = parse(text);
    resources.allocate(role);
    resources
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn framework_info(roles: &[&str], capabilities: &[Capability]) -> proto::FrameworkInfo {
    let capabilities = [&[Capability::MultiRole], capabilities].concat();
    proto::FrameworkInfo {
        name: "name".into(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        capabilities: capabilities
            .into_iter()
            .map(|capability| proto::framework_info::Capability {
                r#type: Some(capability.into()),
            })
            .collect(),
        ..Default::default()
    }
}

fn agent_info(id: &str) -> proto::SlaveInfo {
    proto::SlaveInfo {
        hostname: format!("{id}.example.org"),
        ..Default::default()
    }
}

/// What agents, frameworks and roles take beside resources, and beside what they point to.
#[test]
fn sizes_are_bounded() {
    use super::{agent::Agent, agent::Holding, framework::Framework, role_tree::Role};
    let resources = size_of::<Resources>();
    let sizes = [
        ("agent", size_of::<Agent>() - 2 * resources, 320),
        ("holding", size_of::<Holding>() - resources, 24),
        ("framework", size_of::<Framework>(), 192),
        ("role", size_of::<Role>(), 512),
        ("node", Sorter::<Role>::NODE_BYTES, 256),
    ];
    for (what, size, limit) in sizes {
        assert!(size <= limit, "{what}: {size}");
    }
}
