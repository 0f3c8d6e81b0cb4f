//! A cluster to measure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mesos::proto;
use mesos::resources::{Resources, Scalar, Value};
use mesos_master::allocator::{
    AgentCapabilities, AgentId, Allocation, Allocator, FrameworkId, FrameworkOptions, Options,
    Quota, policy,
};
use proto::framework_info::capability::Type as Capability;

/// What is in use of every agent's ports, in so many ranges.
const PORT_RANGES: u64 = 16;

/// How long a framework refuses what it never wants again.
pub(crate) const FOREVER: Option<f64> = Some(2_147_483_647.0);

const INTERVAL: Duration = Duration::from_secs(1);

/// An allocator, a clock, and what was handed out in the last run.
pub(crate) struct Cluster {
    pub(crate) allocator: Allocator,
    pub(crate) now: Duration,
    pub(crate) offers: Vec<Allocation>,
}

impl Cluster {
    pub(crate) fn new() -> Cluster {
        Cluster::with(Options::default())
    }

    /// A cluster in which roles and frameworks are ordered by a policy.
    pub(crate) fn sorted_by(name: &str) -> Cluster {
        let policy = policy(name).expect("a known policy");
        Cluster::with(Options {
            role_sorter: policy.clone(),
            framework_sorter: policy,
            ..Options::default()
        })
    }

    fn with(options: Options) -> Cluster {
        Cluster {
            allocator: Allocator::new(options),
            now: INTERVAL,
            offers: Vec::new(),
        }
    }

    pub(crate) fn add_framework(&mut self, index: usize, role: &str) {
        let info = framework_info(role);
        let options = FrameworkOptions::default();
        let (id, used) = (framework_id(index), BTreeMap::new());
        let added = self
            .allocator
            .add_framework(id, &info, &used, true, options);
        added.expect("a new framework");
    }

    pub(crate) fn add_frameworks(&mut self, count: usize, role: impl Fn(usize) -> String) {
        (0..count).for_each(|index| self.add_framework(index, &role(index)));
    }

    /// Adds an agent of which a framework uses something; `used` carries its role.
    pub(crate) fn add_agent(
        &mut self,
        index: usize,
        total: &Resources,
        used: Option<(usize, &Resources)>,
    ) {
        let capabilities = AgentCapabilities {
            multi_role: true,
            hierarchical_role: true,
        };
        let used = used.map(|(framework, used)| (framework_id(framework), used.clone()));
        let (id, info) = (agent_id(index), agent_info(index));
        let added = self.allocator.add_agent(
            id,
            &info,
            capabilities,
            total.clone(),
            BTreeMap::from_iter(used),
        );
        added.expect("a new agent");
    }

    pub(crate) fn set_quota(&mut self, role: &str, amounts: &str) {
        let guarantees = parse(amounts).quantities();
        let limits = guarantees.iter();
        let limits = limits
            .map(|(name, amount)| (name.clone(), amount))
            .collect();
        let quota = Quota { guarantees, limits };
        let updated = self.allocator.update_quota(role, quota);
        updated.expect("a top-level role");
    }

    /// One run over all agents, an interval later. Returns how long it took.
    pub(crate) fn run(&mut self) -> Duration {
        self.now += INTERVAL;
        let start = Instant::now();
        self.offers = self.allocator.allocate(self.now).offers;
        start.elapsed()
    }

    /// One run over the agents that events named.
    pub(crate) fn run_requested(&mut self) -> Duration {
        let start = Instant::now();
        self.offers = self.allocator.allocate_requested(self.now).offers;
        start.elapsed()
    }

    /// How many offers the last run made.
    pub(crate) fn offer_count(&self) -> usize {
        let roles = self
            .offers
            .iter()
            .flat_map(|offer| offer.resources.values());
        roles.map(BTreeMap::len).sum()
    }

    /// Everything that the last run handed out comes back.
    pub(crate) fn decline_all(&mut self, refuse_seconds: Option<f64>) -> Duration {
        let start = Instant::now();
        for offer in std::mem::take(&mut self.offers) {
            for (agent, resources) in offer.resources.values().flatten() {
                self.recover(&offer.framework, agent, resources, refuse_seconds, false);
            }
        }
        start.elapsed()
    }

    pub(crate) fn recover(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: &Resources,
        refuse_seconds: Option<f64>,
        in_use: bool,
    ) {
        let filters = refuse_seconds.map(|seconds| proto::Filters {
            refuse_seconds: Some(seconds),
        });
        let recovered = self.allocator.recover_resources(
            framework,
            agent,
            resources,
            filters.as_ref(),
            in_use,
            self.now,
        );
        recovered.expect("what is held");
    }

    /// Rounds until every framework has refused every agent for good. Returns how many offers that
    /// were.
    pub(crate) fn filter_everything(&mut self) -> usize {
        let mut filters = 0;
        loop {
            self.run();
            let offers = self.offer_count();
            if offers == 0 {
                return filters;
            }
            filters += offers;
            self.decline_all(FOREVER);
        }
    }

    pub(crate) fn suppress(&mut self, framework: usize) {
        let id = framework_id(framework);
        let suppressed = self.allocator.suppress_offers(&id, &BTreeSet::new());
        suppressed.expect("a known framework");
    }

    pub(crate) fn revive(&mut self, framework: usize) {
        let id = framework_id(framework);
        let revived = self.allocator.revive_offers(&id, &BTreeSet::new());
        revived.expect("a known framework");
    }
}

pub(crate) fn parse(text: &str) -> Resources {
    Resources::parse(text, "*").expect("a valid text")
}

pub(crate) fn allocated(resources: &Resources, role: &str) -> Resources {
    let mut resources = resources.clone();
    resources.allocate(role);
    resources
}

/// Every second port from 31000 on, so that nothing merges.
fn fragmented_ports() -> Resources {
    let ranges = (0..PORT_RANGES).map(|range| {
        let port = 31_000 + 60 * range;
        format!("{port}-{}", port + 50)
    });
    parse(&format!("ports:[{}]", ranges.collect::<Vec<_>>().join(",")))
}

/// What agents have in most of upstream's benchmarks.
pub(crate) fn large_agent() -> Resources {
    parse("cpus:24;mem:4096;disk:4096;ports:[31000-32000]")
}

/// What is in use of them.
pub(crate) fn large_usage(role: &str) -> Resources {
    allocated(
        &(parse("cpus:16;mem:2014;disk:1024") + fragmented_ports()),
        role,
    )
}

/// `resources` with every scalar multiplied.
pub(crate) fn times(resources: &Resources, factor: i64) -> Resources {
    let multiply = |resource: &mesos::resources::Resource| match resource.as_scalar() {
        Some(amount) => {
            let amount = Scalar::from_millis(amount.millis() * factor);
            resource.clone().with_value(Value::Scalar(amount))
        }
        None => resource.clone(),
    };
    resources.iter().map(multiply).collect()
}

pub(crate) fn framework_id(index: usize) -> FrameworkId {
    FrameworkId::from(format!("framework-{index:05}").as_str())
}

pub(crate) fn agent_id(index: usize) -> AgentId {
    AgentId::from(format!("agent-{index:05}").as_str())
}

pub(crate) fn agent_info(index: usize) -> proto::SlaveInfo {
    proto::SlaveInfo {
        hostname: format!("host-{index}"),
        ..Default::default()
    }
}

pub(crate) fn framework_info(role: &str) -> proto::FrameworkInfo {
    let capabilities = [
        Capability::MultiRole,
        Capability::RevocableResources,
        Capability::SharedResources,
    ];
    proto::FrameworkInfo {
        roles: vec![role.to_owned()],
        capabilities: capabilities
            .into_iter()
            .map(|capability| proto::framework_info::Capability {
                r#type: Some(capability.into()),
            })
            .collect(),
        ..Default::default()
    }
}
