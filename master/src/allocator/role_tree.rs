//! Roles, what they hold, and the frameworks in them.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesos::resources::{Resource, ResourceQuantities, Resources};
use mesos::roles;

use super::framework::Framework;
use super::policy::SortPolicy;
use super::quota::{Quota, QuotaAccount};
use super::slots::{Key, KeyMap, Slots};
use super::sorter::Sorter;

/// A role, for as long as frameworks, reservations, quota, a weight or roles below it need it.
pub(super) struct Role {
    pub(super) path: Arc<str>,
    /// The role above; none for the root only.
    pub(super) parent: Option<Key<Role>>,
    children: usize,
    /// None for the default quota.
    pub(super) quota: Option<Box<QuotaAccount>>,
    pub(super) weight: f64,
    /// The frameworks that are subscribed to the role or hold something in it.
    pub(super) frameworks: Sorter<Framework>,
    /// On how many agents a framework holds anything in the role, ports and the like included.
    pub(super) holders: KeyMap<Key<Framework>, usize>,
    /// Reserved amounts of the subtree, whether in use or not.
    pub(super) reserved: ResourceQuantities,
    /// What the subtree holds of reservations and otherwise, offered or allocated.
    pub(super) held: Holdings,
    /// Unreserved, non-revocable amounts of the subtree that are in use.
    pub(super) allocated: ResourceQuantities,
}

/// Amounts that quota distinguishes. Revocable ones are in neither part.
#[derive(Clone, Default, Debug, PartialEq)]
pub(super) struct Holdings {
    pub(super) reserved: ResourceQuantities,
    /// Unreserved and not revocable.
    pub(super) unreserved: ResourceQuantities,
}

impl Holdings {
    pub(super) fn of<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Holdings {
        let mut holdings = Holdings::default();
        for resource in resources {
            let Some(amount) = resource.as_scalar() else {
                continue;
            };
            let name = resource.name().clone();
            if !resource.is_unreserved() {
                holdings.reserved.increase(name, amount);
            } else if !resource.is_revocable() {
                holdings.unreserved.increase(name, amount);
            }
        }
        holdings
    }
}

impl Role {
    fn new(path: Arc<str>, parent: Option<Key<Role>>, policy: Arc<dyn SortPolicy>) -> Role {
        Role {
            path,
            parent,
            children: 0,
            quota: None,
            weight: 1.0,
            frameworks: Sorter::flat(policy),
            holders: KeyMap::default(),
            reserved: ResourceQuantities::new(),
            held: Holdings::default(),
            allocated: ResourceQuantities::new(),
        }
    }

    /// Notes whether a framework held anything on an agent before a change, and after it.
    pub(super) fn count_holder(&mut self, framework: Key<Framework>, before: bool, after: bool) {
        match (before, after) {
            (false, true) => *self.holders.entry(framework).or_default() += 1,
            (true, false) => {
                if let Some(agents) = self.holders.get_mut(&framework) {
                    *agents -= 1;
                    if *agents == 0 {
                        self.holders.remove(&framework);
                    }
                }
            }
            _ => {}
        }
    }

    fn is_needed(&self) -> bool {
        self.children > 0
            || self.frameworks.len() > 0
            || !self.reserved.is_empty()
            || self.quota.is_some()
            || self.weight != 1.0
    }

    /// Whether there are limits to what it may have.
    pub(super) fn is_limited(&self) -> bool {
        let account = self.quota.as_ref();
        account.is_some_and(|account| !account.quota.limits.is_empty())
    }

    /// What counts against quota: reservations, and what is held beside them.
    pub(super) fn consumed(&self) -> ResourceQuantities {
        &self.reserved + &self.held.unreserved
    }
}

/// The roles of the cluster. The root, above all roles, has the empty path.
pub(super) struct RoleTree {
    roles: Slots<Arc<str>, Role>,
    root: Key<Role>,
    with_quota: BTreeSet<Key<Role>>,
    /// How the frameworks of a role are ordered.
    policy: Arc<dyn SortPolicy>,
}

impl RoleTree {
    pub(super) fn new(policy: Arc<dyn SortPolicy>) -> RoleTree {
        let mut roles = Slots::new();
        let path: Arc<str> = "".into();
        let root = roles.insert(path.clone(), Role::new(path, None, policy.clone()));
        RoleTree {
            roles,
            root,
            with_quota: BTreeSet::new(),
            policy,
        }
    }

    pub(super) fn root(&self) -> Option<&Role> {
        self.roles.get(self.root)
    }

    /// Sets the quota of a role; the default quota removes it.
    pub(super) fn set_quota(&mut self, key: Key<Role>, quota: Quota) {
        let Some(role) = self.roles.get_mut(key) else {
            return;
        };
        if quota.is_default() {
            role.quota = None;
            self.with_quota.remove(&key);
        } else {
            role.quota = Some(Box::new(QuotaAccount {
                quota,
                ..QuotaAccount::default()
            }));
            self.with_quota.insert(key);
        }
    }

    /// The roles that have quota.
    pub(super) fn with_quota(&self) -> Vec<Key<Role>> {
        self.with_quota.iter().copied().collect()
    }

    pub(super) fn key(&self, path: &str) -> Option<Key<Role>> {
        self.roles.key(&path.into()).filter(|key| *key != self.root)
    }

    pub(super) fn get(&self, key: Key<Role>) -> Option<&Role> {
        self.roles.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key<Role>) -> Option<&mut Role> {
        self.roles.get_mut(key)
    }

    /// All roles, and the root.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key<Role>, &Role)> {
        self.roles.iter().map(|(key, _, role)| (key, role))
    }

    /// The role at `path`, made with those above it if it is not there.
    pub(super) fn get_or_insert(&mut self, path: &str) -> Key<Role> {
        if let Some(key) = self.key(path) {
            return key;
        }
        let ends = path.match_indices('/').map(|(end, _)| end);
        let mut parent = self.root;
        for end in ends.chain([path.len()]) {
            let prefix: Arc<str> = path.get(..end).unwrap_or(path).into();
            parent = match self.roles.key(&prefix) {
                Some(key) if key != self.root => key,
                _ => {
                    if let Some(role) = self.roles.get_mut(parent) {
                        role.children += 1;
                    }
                    let policy = self.policy.clone();
                    let role = Role::new(prefix.clone(), Some(parent), policy);
                    self.roles.insert(prefix, role)
                }
            };
        }
        parent
    }

    /// Removes a role that nothing needs any more, and those above it likewise.
    pub(super) fn remove_if_unneeded(&mut self, key: Key<Role>) {
        let mut next = Some(key);
        while let Some(key) = next {
            let Some(role) = self.roles.get(key).filter(|role| !role.is_needed()) else {
                return;
            };
            let Some(parent) = role.parent else {
                return;
            };
            self.roles.remove(key);
            if let Some(parent) = self.roles.get_mut(parent) {
                parent.children -= 1;
            }
            next = Some(parent);
        }
    }

    fn change_upwards(&mut self, key: Key<Role>, change: impl Fn(&mut Role)) {
        let mut next = Some(key);
        while let Some(role) = next.and_then(|key| self.roles.get_mut(key)) {
            change(role);
            next = role.parent;
        }
    }

    pub(super) fn hold(&mut self, key: Key<Role>, holdings: &Holdings) {
        self.change_upwards(key, |role| {
            role.held.reserved += &holdings.reserved;
            role.held.unreserved += &holdings.unreserved;
        });
    }

    pub(super) fn release(&mut self, key: Key<Role>, holdings: &Holdings) {
        self.change_upwards(key, |role| {
            role.held.reserved -= &holdings.reserved;
            role.held.unreserved -= &holdings.unreserved;
        });
    }

    pub(super) fn add_reservations(&mut self, total: &Resources) {
        for resource in total {
            if let (Some(role), Some(amount)) = (resource.reservation_role(), resource.as_scalar())
            {
                let key = self.get_or_insert(role);
                self.change_upwards(key, |role| {
                    role.reserved.increase(resource.name().clone(), amount);
                });
            }
        }
    }

    pub(super) fn remove_reservations(&mut self, total: &Resources) {
        for resource in total {
            let Some(key) = resource.reservation_role().and_then(|role| self.key(role)) else {
                continue;
            };
            if let Some(amount) = resource.as_scalar() {
                self.change_upwards(key, |role| {
                    role.reserved.decrease(resource.name().as_str(), amount);
                });
                self.remove_if_unneeded(key);
            }
        }
    }

    pub(super) fn add_allocated(&mut self, allocated: &Resources) {
        self.change_allocated(allocated, |role, amounts| role.allocated += amounts);
    }

    pub(super) fn remove_allocated(&mut self, allocated: &Resources) {
        self.change_allocated(allocated, |role, amounts| role.allocated -= amounts);
    }

    fn change_allocated(
        &mut self,
        allocated: &Resources,
        change: impl Fn(&mut Role, &ResourceQuantities),
    ) {
        for (path, resources) in allocated.allocations() {
            let amounts = Holdings::of(&resources).unreserved;
            if let Some(key) = self.key(&path).filter(|_| !amounts.is_empty()) {
                self.change_upwards(key, |role| change(role, &amounts));
            }
        }
    }
}

/// Whether quota can be set for a role.
pub(super) fn can_have_quota(path: &str) -> bool {
    roles::top_level(path) == path
}
