//! Frameworks as the allocator sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesos::proto;
use mesos::resources::{Resource, ResourceQuantities};
use proto::framework_info::capability::Type as Capability;

use super::agent::Agent;
use super::constraints::{Constraints, RegexLimits};
use super::error::AllocatorError;
use super::slots::{Key, KeySet};

/// What a framework is, and what it wants from the allocator.
#[derive(Clone, Debug, Default)]
pub struct FrameworkOptions {
    /// When it registered first: any number that grows from framework to framework and survives
    /// failovers of the master. Without one its id tells: frameworks of earlier masters come first,
    /// by the number at the end of their ids; then those of this master as they are added.
    pub registered: Option<u64>,
    /// Roles in which it wants no offers.
    pub suppressed_roles: BTreeSet<String>,
    /// Which agents it wants to see at all, by role.
    pub offer_constraints: Option<proto::scheduler::OfferConstraints>,
}

/// The capabilities of a framework that matter for offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) revocable_resources: bool,
    pub(super) gpu_resources: bool,
    pub(super) shared_resources: bool,
    pub(super) multi_role: bool,
    pub(super) reservation_refinement: bool,
    pub(super) region_aware: bool,
}

impl Capabilities {
    fn of(info: &proto::FrameworkInfo) -> Capabilities {
        let has = |wanted: Capability| {
            info.capabilities
                .iter()
                .any(|capability| capability.r#type() == wanted)
        };
        Capabilities {
            revocable_resources: has(Capability::RevocableResources),
            gpu_resources: has(Capability::GpuResources),
            shared_resources: has(Capability::SharedResources),
            multi_role: has(Capability::MultiRole),
            reservation_refinement: has(Capability::ReservationRefinement),
            region_aware: has(Capability::RegionAware),
        }
    }

    /// Whether the framework can deal with a resource of this kind.
    pub(super) fn can_take(self, resource: &Resource) -> bool {
        (self.shared_resources || !resource.is_shared())
            && (self.revocable_resources || !resource.is_revocable())
            && (self.reservation_refinement || !resource.has_refined_reservations())
    }
}

/// A set of few roles.
#[derive(Clone, Debug, Default)]
pub(super) struct Roles(Vec<Arc<str>>);

impl Roles {
    pub(super) fn contains(&self, role: &str) -> bool {
        self.0.binary_search_by(|other| (**other).cmp(role)).is_ok()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter()
    }

    /// Those that are not among others.
    pub(super) fn without(&self, others: &Roles) -> Roles {
        self.iter().filter(|role| !others.contains(role)).collect()
    }

    /// Those that are among others too.
    pub(super) fn among(&self, others: &Roles) -> Roles {
        self.iter().filter(|role| others.contains(role)).collect()
    }

    pub(super) fn with(&self, others: &Roles) -> Roles {
        self.iter().chain(others.iter()).collect()
    }
}

impl<'a> FromIterator<&'a Arc<str>> for Roles {
    fn from_iter<I: IntoIterator<Item = &'a Arc<str>>>(roles: I) -> Roles {
        roles.into_iter().cloned().collect()
    }
}

impl<'a> FromIterator<&'a String> for Roles {
    fn from_iter<I: IntoIterator<Item = &'a String>>(roles: I) -> Roles {
        roles
            .into_iter()
            .map(|role| Arc::from(role.as_str()))
            .collect()
    }
}

impl FromIterator<Arc<str>> for Roles {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(roles: I) -> Roles {
        let mut roles: Vec<Arc<str>> = roles.into_iter().collect();
        roles.sort_unstable();
        roles.dedup();
        roles.shrink_to_fit();
        Roles(roles)
    }
}

/// A framework.
pub(super) struct Framework {
    pub(super) name: String,
    pub(super) roles: Roles,
    /// Those of the roles in which it wants no offers.
    pub(super) suppressed: Roles,
    pub(super) capabilities: Capabilities,
    /// Whether it may get offers at all.
    pub(super) active: bool,
    /// Least bundles by role that replace the global ones.
    pub(super) min_allocatable: BTreeMap<String, Vec<ResourceQuantities>>,
    pub(super) constraints: Constraints,
    /// When it came.
    pub(super) registered: u64,
    /// The agents on which it holds anything.
    pub(super) agents: KeySet<Key<Agent>>,
    /// What it asked for, and what of that it was given.
    pub(super) demand: Option<Box<Demand>>,
}

/// What a framework asked for.
#[derive(Default)]
pub(super) struct Demand {
    pub(super) asked: ResourceQuantities,
    /// What it was offered since, without what it returned unused.
    pub(super) granted: ResourceQuantities,
}

impl Demand {
    /// What it was not given yet.
    pub(super) fn open(&self) -> ResourceQuantities {
        &self.asked - &self.granted
    }
}

impl Framework {
    /// Reads a framework. It is not active yet.
    pub(super) fn new(
        info: &proto::FrameworkInfo,
        options: FrameworkOptions,
        regex_limits: RegexLimits,
    ) -> Result<Framework, AllocatorError> {
        let capabilities = Capabilities::of(info);
        let roles = roles_of(info, capabilities);
        let suppressed: Roles = options.suppressed_roles.iter().collect();
        for role in roles.iter().chain(suppressed.iter()) {
            mesos::roles::validate(role)?;
        }
        let mut min_allocatable = BTreeMap::new();
        for (role, filters) in &info.offer_filters {
            if let Some(minimum) = &filters.min_allocatable_resources {
                let alternatives = minimum
                    .quantities
                    .iter()
                    .map(|quantities| ResourceQuantities::from_protos(&quantities.quantities))
                    .collect::<Result<Vec<_>, _>>()?;
                min_allocatable.insert(role.clone(), alternatives);
            }
        }
        Ok(Framework {
            name: info.name.clone(),
            suppressed: suppressed.among(&roles),
            roles,
            capabilities,
            active: false,
            min_allocatable,
            constraints: Constraints::compile(options.offer_constraints.as_ref(), regex_limits)?,
            registered: 0,
            agents: KeySet::default(),
            demand: None,
        })
    }

    /// Whether it has a minimum of its own in any role.
    pub(super) fn has_minimum(&self) -> bool {
        !self.min_allocatable.is_empty()
    }

    /// Whether it wants offers in a role now.
    pub(super) fn wants_offers(&self, role: &str) -> bool {
        self.active && self.roles.contains(role) && !self.suppressed.contains(role)
    }
}

/// The roles of a framework: `roles` with MULTI_ROLE, else the one `role`, by default `*`.
fn roles_of(info: &proto::FrameworkInfo, capabilities: Capabilities) -> Roles {
    if capabilities.multi_role {
        info.roles.iter().collect()
    } else {
        Roles::from_iter([Arc::from(info.role())])
    }
}
