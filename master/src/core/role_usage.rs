//! Who uses a role, and how much: what its frameworks hold, and what is reserved to it.

use std::collections::{BTreeMap, BTreeSet};

use mesos::resources::{Resource, ResourceQuantities, Resources};
use mesos::roles;

use super::state::{Agent, ClusterState};

/// The use of one role. Amounts count the roles below it too; scalars count as they are, ranges and
/// sets by how many items they have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoleUsage<'a> {
    /// Ids of the frameworks that subscribe to exactly this role or hold resources of it.
    pub frameworks: BTreeSet<&'a str>,
    /// What tasks and executors hold.
    pub allocated: ResourceQuantities,
    /// What is offered.
    pub offered: ResourceQuantities,
    /// What is reserved to it, in use or not.
    pub reserved: ResourceQuantities,
    /// Of the reserved, what nobody uses.
    pub idle: ResourceQuantities,
}

impl RoleUsage<'_> {
    /// What counts against a quota: what is in use, and reservations that are not.
    #[must_use]
    pub fn consumed(&self) -> ResourceQuantities {
        &self.allocated + &self.idle
    }
}

/// The use of all roles that anybody uses, and of those above them.
#[must_use]
pub fn usage_by_role(state: &ClusterState) -> BTreeMap<&str, RoleUsage<'_>> {
    Usages::of(state, |_| true).0
}

/// The use of one role. Takes time proportional to the number of agents.
#[must_use]
pub fn usage_of<'a>(state: &'a ClusterState, role: &str) -> RoleUsage<'a> {
    let mut usages = Usages::of(state, |used| roles::is_in_subtree(used, role));
    usages.0.remove(role).unwrap_or_default()
}

struct Usages<'a>(BTreeMap<&'a str, RoleUsage<'a>>);

impl<'a> Usages<'a> {
    fn of(state: &'a ClusterState, counts: impl Fn(&str) -> bool) -> Self {
        let mut usages = Self(BTreeMap::new());
        for framework in state.frameworks.values() {
            for role in framework.roles.iter().filter(|role| counts(role)) {
                usages.note(role, framework.id.as_str());
            }
        }
        for agent in state.agents.values() {
            for (framework, used) in &agent.used {
                usages.add_held(used, framework.as_str(), &counts, |usage| {
                    &mut usage.allocated
                });
            }
            for offer in agent.offers.iter().filter_map(|id| state.offers.get(id)) {
                let framework = offer.framework_id.as_str();
                usages.add_held(&offer.resources, framework, &counts, |usage| {
                    &mut usage.offered
                });
            }
            usages.add_reservations(agent, &counts);
        }
        usages
    }

    fn note(&mut self, role: &'a str, framework: &'a str) {
        self.each(role, |_| {});
        self.0.entry(role).or_default().frameworks.insert(framework);
    }

    /// Changes a role and those above it.
    fn each(&mut self, role: &'a str, mut change: impl FnMut(&mut RoleUsage<'a>)) {
        change(self.0.entry(role).or_default());
        for ancestor in roles::ancestors(role) {
            change(self.0.entry(ancestor).or_default());
        }
    }

    fn add_held(
        &mut self,
        resources: &'a Resources,
        framework: &'a str,
        counts: &impl Fn(&str) -> bool,
        part: impl for<'u> Fn(&'u mut RoleUsage<'a>) -> &'u mut ResourceQuantities,
    ) {
        for (role, amounts) in by_role(resources, Resource::allocation_role, counts) {
            self.each(role, |usage| *part(usage) += &amounts);
            self.note(role, framework);
        }
    }

    fn add_reservations(&mut self, agent: &'a Agent, counts: &impl Fn(&str) -> bool) {
        let mut in_use: BTreeMap<_, ResourceQuantities> = BTreeMap::new();
        for used in agent.used.values() {
            for (role, amounts) in by_role(used, Resource::reservation_role, counts) {
                *in_use.entry(role).or_default() += &amounts;
            }
        }
        for (role, reserved) in by_role(&agent.total, Resource::reservation_role, counts) {
            // Per agent, for a shared volume may be in use more than once.
            let idle = match in_use.get(role) {
                Some(in_use) => &reserved - in_use,
                None => reserved.clone(),
            };
            self.each(role, |usage| {
                usage.reserved += &reserved;
                usage.idle += &idle;
            });
        }
    }
}

/// Amounts of resources by their role, as `role_of` tells it, of the roles that count.
fn by_role<'a>(
    resources: &'a Resources,
    role_of: impl Fn(&'a Resource) -> Option<&'a str>,
    counts: &impl Fn(&str) -> bool,
) -> BTreeMap<&'a str, ResourceQuantities> {
    let mut amounts: BTreeMap<_, ResourceQuantities> = BTreeMap::new();
    for resource in resources {
        if let Some(role) = role_of(resource).filter(|role| counts(role)) {
            *amounts.entry(role).or_default() += &ResourceQuantities::of_all([resource]);
        }
    }
    amounts
}
