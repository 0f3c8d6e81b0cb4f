//! Quota of roles, and what it leaves for others.

use mesos::resources::{Name, ResourceLimits, ResourceQuantities, Scalar};
use smallvec::SmallVec;

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

/// A sum that parts can be taken out of again: other than [`ResourceQuantities`] it does not stop at
/// the largest amount.
#[derive(Debug, Default)]
pub(super) struct Sum(SmallVec<[(Name, i128); 4]>);

impl Sum {
    pub(super) fn add(&mut self, amounts: &ResourceQuantities) {
        for (name, amount) in amounts.iter() {
            match self.0.iter_mut().find(|(mine, _)| mine == name) {
                Some((_, sum)) => *sum += i128::from(amount.millis()),
                None => self.0.push((name.clone(), amount.millis().into())),
            }
        }
    }

    /// Takes away what was added before.
    pub(super) fn subtract(&mut self, amounts: &ResourceQuantities) {
        for (name, amount) in amounts.iter() {
            if let Some((_, sum)) = self.0.iter_mut().find(|(mine, _)| mine == name) {
                *sum -= i128::from(amount.millis());
            }
        }
        self.0.retain(|(_, sum)| *sum != 0);
    }

    pub(super) fn amounts(&self) -> ResourceQuantities {
        let amounts = self.0.iter().map(|(name, sum)| {
            let millis = i64::try_from(*sum).unwrap_or(i64::MAX);
            (name.clone(), Scalar::from_millis(millis))
        });
        amounts.collect()
    }
}

/// The quota of a role, and what was left of it at the end of the last run, or is left in the
/// present one.
///
/// What roles below are handed counts from the next run on.
#[derive(Debug, Default)]
pub(super) struct QuotaAccount {
    pub(super) quota: Quota,
    /// What is guaranteed and not consumed.
    pub(super) unsatisfied: ResourceQuantities,
    /// What may be consumed still.
    pub(super) rest: ResourceLimits,
    /// Whether the quota, or what was consumed of it, has changed since the last run began.
    pub(super) changed: bool,
}

impl QuotaAccount {
    /// Starts a run. Returns whether more is left than there was.
    pub(super) fn begin(&mut self, consumed: &ResourceQuantities) -> bool {
        let unsatisfied = &self.quota.guarantees - consumed;
        let rest = self.quota.limits.minus(consumed);
        let more = !self.unsatisfied.contains(&unsatisfied)
            || rest.iter().any(|(name, left)| {
                self.rest
                    .get(name.as_str())
                    .is_none_or(|before| left > before)
            });
        self.unsatisfied = unsatisfied;
        self.rest = rest;
        more
    }

    /// Counts what was handed out.
    pub(super) fn consume(&mut self, amounts: &ResourceQuantities) {
        self.unsatisfied -= amounts;
        self.rest = self.rest.minus(amounts);
    }
}

/// Amounts that are held back in the whole cluster for guarantees.
#[derive(Debug, Default)]
pub(super) struct Headroom {
    available: ResourceQuantities,
    required: ResourceQuantities,
    /// How much may be handed out beyond guarantees; none if nothing is held back.
    margin: Option<ResourceQuantities>,
}

impl Headroom {
    pub(super) fn new(available: ResourceQuantities, required: ResourceQuantities) -> Headroom {
        let mut headroom = Headroom {
            available,
            required,
            margin: None,
        };
        headroom.compute_margin();
        headroom
    }

    fn compute_margin(&mut self) {
        let held_back = !self.required.is_empty();
        self.margin = held_back.then(|| &self.available - &self.required);
    }

    /// How much may be handed out beyond guarantees; none if nothing is held back.
    pub(super) fn margin(&self) -> Option<&ResourceQuantities> {
        self.margin.as_ref()
    }

    /// Counts what was handed out, and which part of it was guaranteed.
    pub(super) fn consume(
        &mut self,
        amounts: &ResourceQuantities,
        guaranteed: &ResourceQuantities,
    ) {
        if !self.required.is_empty() {
            self.available -= amounts;
            self.required -= guaranteed;
            self.compute_margin();
        }
    }
}
