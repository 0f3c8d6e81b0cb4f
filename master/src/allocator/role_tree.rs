//! Roles, what they hold, and the frameworks in them.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesos::resources::{Resource, ResourceQuantities, Resources};
use mesos::roles;

use super::framework::Framework;
use super::policy::SortPolicy;
use super::quota::{Quota, QuotaAccount, Sum};
use super::slots::{Key, Slots};
use super::sorter::Sorter;

/// A role, for as long as frameworks, reservations, quota, a weight or roles below it need it.
pub(super) struct Role {
    pub(super) path: Arc<str>,
    /// The role above; none for the root only.
    pub(super) parent: Option<Key<Role>>,
    children: u32,
    /// None for the default quota.
    pub(super) quota: Option<Box<QuotaAccount>>,
    pub(super) weight: f64,
    /// The frameworks that are subscribed to the role or hold something in it.
    pub(super) frameworks: Sorter<Framework>,
    /// None if nothing is reserved. Most roles have no reservations.
    reservations: Option<Box<Reservations>>,
    /// What the subtree holds, offered or allocated, that is neither reserved nor revocable.
    unreserved: ResourceQuantities,
    /// The part of `unreserved` that is in use.
    allocated: ResourceQuantities,
}

/// Reserved amounts of a subtree of roles.
#[derive(Clone, Default)]
struct Reservations {
    /// Whether in use or not.
    all: ResourceQuantities,
    /// What is offered or allocated.
    held: ResourceQuantities,
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
            reservations: None,
            unreserved: ResourceQuantities::new(),
            allocated: ResourceQuantities::new(),
        }
    }

    /// Reserved amounts of the subtree, whether in use or not.
    pub(super) fn reserved(&self) -> ResourceQuantities {
        let reservations = self.reservations.as_ref();
        reservations.map_or_else(ResourceQuantities::new, |all| all.all.clone())
    }

    /// What the subtree holds of reservations and otherwise, offered or allocated.
    pub(super) fn held(&self) -> Holdings {
        let reservations = self.reservations.as_ref();
        Holdings {
            reserved: reservations.map_or_else(ResourceQuantities::new, |all| all.held.clone()),
            unreserved: self.unreserved.clone(),
        }
    }

    /// Reserved amounts of the subtree that nobody holds.
    pub(super) fn free_reservations(&self) -> ResourceQuantities {
        let reservations = self.reservations.as_ref();
        reservations.map_or_else(ResourceQuantities::new, |all| &all.all - &all.held)
    }

    /// Unreserved, non-revocable amounts of the subtree that are in use.
    pub(super) fn allocated(&self) -> &ResourceQuantities {
        &self.allocated
    }

    fn change_reservations(&mut self, change: impl FnOnce(&mut Reservations)) {
        let mut reservations = self.reservations.take().unwrap_or_default();
        change(&mut reservations);
        let is_empty = reservations.all.is_empty() && reservations.held.is_empty();
        self.reservations = (!is_empty).then_some(reservations);
    }

    fn is_needed(&self) -> bool {
        self.children > 0
            || self.frameworks.len() > 0
            || self
                .reservations
                .as_ref()
                .is_some_and(|reservations| !reservations.all.is_empty())
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
        match &self.reservations {
            Some(reservations) => &reservations.all + &self.unreserved,
            None => self.unreserved.clone(),
        }
    }
}

/// The roles of the cluster. The root, above all roles, has the empty path.
pub(super) struct RoleTree {
    roles: Slots<Arc<str>, Role>,
    root: Key<Role>,
    /// Roles with quota of which more or less is consumed than when the last run began.
    changed: Vec<Key<Role>>,
    /// Roles that have less than they are guaranteed, and the sum of what they lack.
    lacking: BTreeSet<Key<Role>>,
    lacked: Sum,
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
            changed: Vec::new(),
            lacking: BTreeSet::new(),
            lacked: Sum::default(),
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
        let account = (!quota.is_default()).then(|| {
            Box::new(QuotaAccount {
                quota,
                ..QuotaAccount::default()
            })
        });
        let old = std::mem::replace(&mut role.quota, account);
        if let Some(old) = old {
            self.lacked.subtract(&old.unsatisfied);
            self.lacking.remove(&key);
        }
        self.note_consumption(key);
    }

    /// Notes that a role may have consumed more or less of its quota than before.
    fn note_consumption(&mut self, key: Key<Role>) {
        let role = self.roles.get_mut(key);
        let account = role.and_then(|role| role.quota.as_mut());
        if let Some(account) = account.filter(|account| !account.changed) {
            account.changed = true;
            self.changed.push(key);
        }
    }

    /// Brings the accounts of quota up to date for a run. Returns the roles of which more is left
    /// than there was.
    pub(super) fn begin_quota(&mut self) -> Vec<Key<Role>> {
        let changed = std::mem::take(&mut self.changed);
        let mut more = Vec::new();
        for key in changed {
            let Some(role) = self.roles.get_mut(key) else {
                continue;
            };
            let consumed = role.consumed();
            let Some(account) = role.quota.as_mut().filter(|account| account.changed) else {
                continue;
            };
            account.changed = false;
            if self.change_account(key, |account| account.begin(&consumed)) == Some(true) {
                more.push(key);
            }
        }
        more
    }

    /// Counts what a role was handed out in a run.
    pub(super) fn consume_quota(&mut self, key: Key<Role>, amounts: &ResourceQuantities) {
        self.change_account(key, |account| account.consume(amounts));
    }

    /// Changes what is left of the quota of a role, and the sum of what roles lack.
    fn change_account<R>(
        &mut self,
        key: Key<Role>,
        change: impl FnOnce(&mut QuotaAccount) -> R,
    ) -> Option<R> {
        let account = self.roles.get_mut(key)?.quota.as_mut()?;
        self.lacked.subtract(&account.unsatisfied);
        let result = change(account);
        self.lacked.add(&account.unsatisfied);
        if account.unsatisfied.is_empty() {
            self.lacking.remove(&key);
        } else {
            self.lacking.insert(key);
        }
        Some(result)
    }

    /// The roles that have less than they are guaranteed.
    pub(super) fn lacking(&self) -> &BTreeSet<Key<Role>> {
        &self.lacking
    }

    /// The sum of what roles have less than they are guaranteed.
    pub(super) fn lacked(&self) -> ResourceQuantities {
        self.lacked.amounts()
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
        while let Some((key, role)) = next.and_then(|key| Some((key, self.roles.get_mut(key)?))) {
            change(role);
            next = role.parent;
            self.note_consumption(key);
        }
    }

    pub(super) fn hold(&mut self, key: Key<Role>, holdings: &Holdings) {
        self.change_upwards(key, |role| {
            if !holdings.reserved.is_empty() {
                role.change_reservations(|all| all.held += &holdings.reserved);
            }
            role.unreserved += &holdings.unreserved;
        });
    }

    pub(super) fn release(&mut self, key: Key<Role>, holdings: &Holdings) {
        self.change_upwards(key, |role| {
            if !holdings.reserved.is_empty() {
                role.change_reservations(|all| all.held -= &holdings.reserved);
            }
            role.unreserved -= &holdings.unreserved;
        });
    }

    pub(super) fn add_reservations(&mut self, total: &Resources) {
        for resource in total {
            if let (Some(role), Some(amount)) = (resource.reservation_role(), resource.as_scalar())
            {
                let key = self.get_or_insert(role);
                self.change_upwards(key, |role| {
                    let name = resource.name();
                    role.change_reservations(|all| all.all.increase(name.clone(), amount));
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
                    let name = resource.name().as_str();
                    role.change_reservations(|all| all.all.decrease(name, amount));
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
