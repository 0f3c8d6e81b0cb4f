//! Quota of roles.

use mesos::resources::{ResourceLimits, ResourceQuantities};

/// How much a role is guaranteed, and how much it may have at most.
///
/// Only unreserved, non-revocable amounts and reservations count; a role without quota has no
/// guarantees and no limits. Upstream: `include/mesos/quota/quota.hpp`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quota {
    /// Amounts that are held ready for the role.
    pub guarantees: ResourceQuantities,
    /// Amounts that the role never exceeds.
    pub limits: ResourceLimits,
}

impl Quota {
    /// Whether nothing is guaranteed or limited.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.guarantees.is_empty() && self.limits.is_empty()
    }
}
