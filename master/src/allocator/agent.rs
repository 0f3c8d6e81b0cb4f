//! Agents as the allocator sees them.

use std::collections::BTreeMap;

use mesos::attributes::Attributes;
use mesos::proto;
use mesos::resources::{Resource, Resources};
use proto::slave_info::capability::Type as Capability;

use super::framework::Framework;
use super::lots::hash;
use super::maintenance::Maintenance;
use super::news::Standing;
use super::role_tree::Role;
use super::slots::Key;
use super::{AgentId, FrameworkId};

/// The capabilities of an agent that matter for offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentCapabilities {
    /// It knows allocation roles.
    pub multi_role: bool,
    /// It knows roles with `/`.
    pub hierarchical_role: bool,
}

impl AgentCapabilities {
    /// Reads the capabilities that an agent announces.
    pub fn of<'a>(
        capabilities: impl IntoIterator<Item = &'a proto::slave_info::Capability>,
    ) -> AgentCapabilities {
        let mut result = AgentCapabilities::default();
        for capability in capabilities {
            match capability.r#type() {
                Capability::MultiRole => result.multi_role = true,
                Capability::HierarchicalRole => result.hierarchical_role = true,
                _ => {}
            }
        }
        result
    }
}

/// The description of an agent as far as it matters for offers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Description {
    pub(super) hostname: String,
    pub(super) attributes: Attributes,
    pub(super) region: Option<String>,
    pub(super) zone: Option<String>,
}

impl Description {
    /// Attributes that cannot be understood match no constraint and are left out.
    pub(super) fn of(info: &proto::SlaveInfo) -> Description {
        let fault_domain = info
            .domain
            .as_ref()
            .and_then(|domain| domain.fault_domain.as_ref());
        Description {
            hostname: info.hostname.clone(),
            attributes: Attributes::from_valid_protos(&info.attributes),
            region: fault_domain.map(|domain| domain.region.name.clone()),
            zone: fault_domain.map(|domain| domain.zone.name.clone()),
        }
    }
}

/// Resources by framework. Boxed, because a map keeps room for a dozen of what it holds, and most
/// agents have few frameworks.
pub(super) type Bundles = BTreeMap<FrameworkId, Box<Resources>>;

/// An agent, what it has and who holds it.
pub(super) struct Agent {
    pub(super) hostname: String,
    pub(super) attributes: Attributes,
    pub(super) region: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) capabilities: AgentCapabilities,
    /// Whether it is to be offered.
    pub(super) active: bool,
    /// Everything it has, not allocated to anyone.
    total: Resources,
    /// What is offered or allocated, by framework; the resources carry their allocation roles.
    held: Bundles,
    /// The sum of `held`.
    held_total: Resources,
    /// What frameworks hold that are not known yet: agents come back from a failover of the master
    /// before the schedulers do.
    unclaimed: Bundles,
    /// The parts of `held` that are in use rather than only offered.
    in_use: Bundles,
    /// `total` without what is held, but with all shared resources.
    available: Resources,
    /// Whether more is held than there is, so that what comes back is not all available.
    overcommitted: bool,
    has_gpus: bool,
    has_revocable: bool,
    /// Decides when it is its turn in a run.
    pub(super) order: u64,
    /// Whether anyone could take what is available of it.
    pub(super) standing: Standing,
    /// Who was handed something of it last, and in which run.
    pub(super) taker: Option<(u64, Key<Framework>, Key<Role>)>,
    /// Which shared volumes were offered last, and in which run.
    pub(super) shared_in: Option<Box<(u64, Resources)>>,
    /// When it will not be there, and what frameworks say to that.
    pub(super) maintenance: Option<Box<Maintenance>>,
}

impl Agent {
    pub(super) fn new(
        id: &AgentId,
        description: Description,
        capabilities: AgentCapabilities,
        total: Resources,
        used: BTreeMap<FrameworkId, Resources>,
    ) -> Agent {
        let mut agent = Agent {
            hostname: String::new(),
            attributes: Attributes::default(),
            region: None,
            zone: None,
            capabilities,
            active: true,
            total,
            held: BTreeMap::new(),
            held_total: Resources::new(),
            unclaimed: used
                .into_iter()
                .map(|(id, used)| (id, Box::new(used)))
                .collect(),
            in_use: BTreeMap::new(),
            available: Resources::new(),
            overcommitted: false,
            has_gpus: false,
            has_revocable: false,
            order: hash(id.as_str()),
            standing: Standing::default(),
            taker: None,
            shared_in: None,
            maintenance: None,
        };
        agent.unclaimed.retain(|_, resources| !resources.is_empty());
        agent.describe(description);
        agent.recompute();
        agent
    }

    pub(super) fn describe(&mut self, description: Description) {
        self.hostname = description.hostname;
        self.attributes = description.attributes;
        self.region = description.region;
        self.zone = description.zone;
    }

    pub(super) fn description(&self) -> Description {
        Description {
            hostname: self.hostname.clone(),
            attributes: self.attributes.clone(),
            region: self.region.clone(),
            zone: self.zone.clone(),
        }
    }

    pub(super) fn total(&self) -> &Resources {
        &self.total
    }

    pub(super) fn available(&self) -> &Resources {
        &self.available
    }

    pub(super) fn held(&self) -> &Bundles {
        &self.held
    }

    pub(super) fn held_by(&self, framework: &FrameworkId) -> Option<&Resources> {
        self.held.get(framework).map(Box::as_ref)
    }

    /// Whether a framework holds anything that is allocated to `role`.
    pub(super) fn holds(&self, framework: &FrameworkId, role: &str) -> bool {
        self.held.get(framework).is_some_and(|held| {
            held.iter()
                .any(|resource| resource.allocation_role() == Some(role))
        })
    }

    pub(super) fn held_total(&self) -> &Resources {
        &self.held_total
    }

    pub(super) fn has_gpus(&self) -> bool {
        self.has_gpus
    }

    /// Whether some of it may be taken back at any time.
    pub(super) fn has_revocable(&self) -> bool {
        self.has_revocable
    }

    /// What frameworks hold that are not known yet.
    pub(super) fn unclaimed(&self) -> &Bundles {
        &self.unclaimed
    }

    pub(super) fn set_total(&mut self, total: Resources) {
        self.total = total;
        self.recompute();
    }

    /// Gives resources, allocated to a role, to a framework.
    pub(super) fn give(&mut self, framework: &FrameworkId, resources: &Resources) {
        if resources.is_empty() {
            return;
        }
        match self.held.get_mut(framework) {
            Some(held) => **held += resources,
            None => {
                let resources = Box::new(resources.clone());
                self.held.insert(framework.clone(), resources);
            }
        }
        self.held_total += resources;
        let taken = unallocated_non_shared(resources);
        if self.available.contains(&taken) {
            self.available -= &taken;
        } else {
            self.recompute();
        }
    }

    /// Takes resources, allocated to a role, back from a framework that holds them.
    pub(super) fn take(&mut self, framework: &FrameworkId, resources: &Resources) {
        if let Some(held) = self.held.get_mut(framework) {
            **held -= resources;
            if held.is_empty() {
                self.held.remove(framework);
            }
        }
        self.held_total -= resources;
        if self.overcommitted {
            self.recompute();
        } else {
            self.available += unallocated_non_shared(resources);
        }
    }

    /// What is in use, by framework.
    pub(super) fn in_use(&self) -> &Bundles {
        &self.in_use
    }

    /// Whether a framework holds so much beside what it uses already.
    pub(super) fn is_offered(&self, framework: &FrameworkId, resources: &Resources) -> bool {
        let offered = self.held.get(framework).is_some_and(|held| {
            let in_use = self.in_use.get(framework);
            in_use.map_or(held.contains(resources), |in_use| {
                held.contains(&(&**in_use + resources))
            })
        });
        offered || resources.is_empty()
    }

    /// Notes that a framework uses resources that it holds.
    pub(super) fn start_use(&mut self, framework: &FrameworkId, resources: &Resources) {
        if !resources.is_empty() {
            let in_use = self.in_use.entry(framework.clone()).or_default();
            **in_use += resources;
        }
    }

    /// Notes that a framework does not use resources any more. Returns what it did use of them.
    pub(super) fn end_use(&mut self, framework: &FrameworkId, resources: &Resources) -> Resources {
        let Some(in_use) = self.in_use.get_mut(framework) else {
            return Resources::new();
        };
        let rest = &**in_use - resources;
        let ended = &**in_use - &rest;
        **in_use = rest;
        if in_use.is_empty() {
            self.in_use.remove(framework);
        }
        ended
    }

    /// Ends the use of what a framework does not even hold any more. Returns what that was.
    pub(super) fn end_excess_use(&mut self, framework: &FrameworkId) -> Resources {
        let none = Resources::new();
        let held = self.held_by(framework).unwrap_or(&none);
        let excess = match self.in_use.get(framework) {
            Some(in_use) if !held.contains(in_use) => &**in_use - held,
            _ => return none,
        };
        self.end_use(framework, &excess)
    }

    /// Adds what a framework holds that is not known yet.
    pub(super) fn add_unclaimed(&mut self, framework: &FrameworkId, resources: &Resources) {
        let unclaimed = self.unclaimed.entry(framework.clone()).or_default();
        **unclaimed += resources;
        self.recompute();
    }

    /// Hands over what a framework holds that has become known. Until given to it, it is
    /// available.
    pub(super) fn claim(&mut self, framework: &FrameworkId) -> Option<Resources> {
        let claimed = self.unclaimed.remove(framework)?;
        self.recompute();
        Some(*claimed)
    }

    /// Takes back what a framework holds that is not known yet.
    pub(super) fn take_unclaimed(&mut self, framework: &FrameworkId, resources: &Resources) {
        if let Some(unclaimed) = self.unclaimed.get_mut(framework) {
            **unclaimed -= resources;
            if unclaimed.is_empty() {
                self.unclaimed.remove(framework);
            }
            self.recompute();
        }
    }

    fn recompute(&mut self) {
        let held = self.unavailable();
        let total = self.total.non_shared();
        self.overcommitted = !total.contains(&held);
        self.available = total - held + self.total.shared();
        self.has_gpus = self.total.get_scalar("gpus").is_some();
        self.has_revocable = self.total.iter().any(Resource::is_revocable);
    }

    fn unavailable(&self) -> Resources {
        let mut held = unallocated_non_shared(&self.held_total);
        for unclaimed in self.unclaimed.values() {
            held += unallocated_non_shared(unclaimed);
        }
        held
    }

    /// What would be available if it were computed anew.
    pub(super) fn expected_available(&self) -> Resources {
        self.total.non_shared() - self.unavailable() + self.total.shared()
    }
}

fn unallocated_non_shared(resources: &Resources) -> Resources {
    let mut result = if resources.iter().any(Resource::is_shared) {
        resources.non_shared()
    } else {
        resources.clone()
    };
    result.unallocate();
    result
}
