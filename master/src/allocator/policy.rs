//! Who comes first: the one part of the allocator that is a matter of taste.
//!
//! A policy gives each client, a role or a framework within a role, a [`Rank`] among its siblings.
//! Everything else (the tree of roles, suppressed clients, what is held, when an order is out of
//! date) is the same for all policies and not theirs to care about. Any crate can bring a policy:
//! `master/examples/custom_sorter.rs` does.
//!
//! Upstream: `src/master/allocator/mesos/sorter`.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::Arc;

use mesos::resources::{Name, ResourceQuantities, Scalar};
use thiserror::Error;

/// What a policy may know about a client: a role or subtree of roles, or a framework in a role.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Client<'a> {
    /// The path of the role or the id of the framework.
    pub path: &'a str,
    /// The weight of the role; 1 for frameworks.
    pub weight: f64,
    /// What the client, with all below it, is offered or holds.
    pub held: &'a ResourceQuantities,
    /// How often the client, or one below it, was handed something.
    pub hand_outs: u64,
    /// When the client came: the smallest number came first. For roles, that of the first of the
    /// active frameworks in it.
    pub registered: u64,
    /// What the client, with all active ones below it, asked for and has not been given.
    pub demand: &'a ResourceQuantities,
    /// What the whole cluster has, without the names that do not count in shares.
    pub capacity: &'a ResourceQuantities,
}

impl Client<'_> {
    /// The largest fraction of the cluster that the client holds of any resource.
    #[must_use]
    pub fn dominant_share(&self) -> f64 {
        self.dominant(self.held)
    }

    /// The largest fraction of the cluster that the client asked for, of any resource, and has not
    /// been given.
    #[must_use]
    pub fn dominant_demand(&self) -> f64 {
        self.dominant(self.demand)
    }

    fn dominant(&self, amounts: &ResourceQuantities) -> f64 {
        let fractions = amounts.iter();
        fractions
            .map(|(name, amount)| Client::fraction(name, amount, self.capacity))
            .fold(0.0, f64::max)
    }

    /// What the client holds of the resource that its dominant share is of; none if it holds
    /// nothing that counts.
    pub(super) fn dominant_amount(&self) -> Option<(&Name, Scalar)> {
        let (mut largest, mut dominant) = (0.0, None);
        for (name, amount) in self.held.iter() {
            let fraction = Client::fraction(name, amount, self.capacity);
            if fraction > largest {
                (largest, dominant) = (fraction, Some((name, amount)));
            }
        }
        dominant
    }

    /// Which fraction of a capacity an amount is; nothing of what there is not.
    pub(super) fn fraction(name: &Name, amount: Scalar, capacity: &ResourceQuantities) -> f64 {
        // Comparing names is cheaper than comparing their texts.
        let found = capacity.iter().find(|(other, _)| *other == name);
        match found {
            Some((_, capacity)) if capacity.is_positive() => amount.to_f64() / capacity.to_f64(),
            _ => 0.0,
        }
    }
}

/// The place of a client among its siblings; the smallest comes first. Equal ranks are ordered by
/// path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rank {
    /// What decides.
    pub key: f64,
    /// What decides among equal keys.
    pub tie: u64,
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Rank) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Rank) -> Ordering {
        self.key
            .total_cmp(&other.key)
            .then_with(|| self.tie.cmp(&other.tie))
    }
}

/// What the rank of a client depends on beside the client, which decides what an agent that comes
/// or goes costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// On nothing: not on [`Client::capacity`], nor on what follows from it.
    Client,
    /// The key is [`Client::dominant_share`] divided by [`Client::weight`], and the tie does not
    /// depend on the capacity. The shares of roles are shown in
    /// `allocator/mesos/roles/<role>/shares/dominant`.
    DominantShare,
    /// On anything. Whenever the capacity changes all ranks are computed again.
    Cluster,
}

/// Orders roles, or the frameworks of a role.
///
/// The rank must follow from the client alone: the allocator asks again only when one of its
/// fields has changed, and expects the same answer for the same client.
pub trait SortPolicy: Debug + Send + Sync {
    /// The rank of a client among its siblings.
    fn rank(&self, client: &Client<'_>) -> Rank;

    /// What the rank depends on. Another answer than the default saves time.
    fn basis(&self) -> Basis {
        Basis::Cluster
    }

    /// Whether the order is drawn by lot for each agent anew, rather than by ascending rank. The
    /// `key` of a rank is then how many lots the client has: a client with twice as many lots as
    /// its sibling comes first twice as often. Clients without a positive, finite key come last.
    fn draws_lots(&self) -> bool {
        false
    }
}

/// Dominant resource fairness: the smallest dominant share, divided by the weight, comes first;
/// among equal shares, who was handed out less often.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drf;

impl SortPolicy for Drf {
    fn rank(&self, client: &Client<'_>) -> Rank {
        Rank {
            key: client.dominant_share() / client.weight,
            tie: client.hand_outs,
        }
    }

    fn basis(&self) -> Basis {
        Basis::DominantShare
    }
}

/// By lot, whatever is held; the weight is how many lots a client has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl SortPolicy for Random {
    fn rank(&self, client: &Client<'_>) -> Rank {
        Rank {
            key: client.weight,
            tie: 0,
        }
    }

    fn basis(&self) -> Basis {
        Basis::Client
    }

    fn draws_lots(&self) -> bool {
        true
    }
}

/// First come, first served, by registration. Later clients see what earlier ones refuse.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fifo;

impl SortPolicy for Fifo {
    fn rank(&self, client: &Client<'_>) -> Rank {
        Rank {
            key: 0.0,
            tie: client.registered,
        }
    }

    fn basis(&self) -> Basis {
        Basis::Client
    }
}

/// Dominant resource capacity: the largest dominant demand comes first, among equal ones the
/// earlier registration. Who asked for nothing comes last, in the order of [`Drf`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Drc;

impl SortPolicy for Drc {
    fn rank(&self, client: &Client<'_>) -> Rank {
        let demand = client.dominant_demand();
        if demand > 0.0 {
            Rank {
                key: -demand,
                tie: client.registered,
            }
        } else {
            Drf.rank(client)
        }
    }
}

/// A policy that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not a sorter (allowed: drf, random, fifo, drc)")]
pub struct UnknownPolicy(pub String);

/// The policy that a flag names: `drf`, `random`, `fifo` or `drc`.
///
/// # Errors
/// There is no such policy; the error lists those that there are.
pub fn policy(name: &str) -> Result<Arc<dyn SortPolicy>, UnknownPolicy> {
    match name {
        "drf" => Ok(Arc::new(Drf)),
        "random" => Ok(Arc::new(Random)),
        "fifo" => Ok(Arc::new(Fifo)),
        "drc" => Ok(Arc::new(Drc)),
        other => Err(UnknownPolicy(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_by_name() {
        for name in ["drf", "random", "fifo", "drc"] {
            let policy = policy(name).unwrap();
            assert_eq!(format!("{policy:?}").to_lowercase(), name);
        }
        assert_eq!(
            policy("fair").unwrap_err().to_string(),
            "'fair' is not a sorter (allowed: drf, random, fifo, drc)"
        );
    }

    #[test]
    fn ranks() {
        let amounts = |text| ResourceQuantities::parse(text).unwrap();
        let (held, capacity) = (amounts("cpus:2;mem:10;gpus:1"), amounts("cpus:10;mem:100"));
        let (none, demand) = (ResourceQuantities::new(), amounts("mem:50"));
        let client = Client {
            path: "a",
            weight: 2.0,
            held: &held,
            hand_outs: 7,
            registered: 3,
            demand: &none,
            capacity: &capacity,
        };
        let asking = Client {
            demand: &demand,
            ..client
        };
        let rank = |key, tie| Rank { key, tie };
        assert_eq!(Drf.rank(&client), rank(0.1, 7));
        assert_eq!(Random.rank(&client), rank(2.0, 0));
        assert_eq!(Fifo.rank(&client), rank(0.0, 3));
        assert_eq!(Drc.rank(&client), rank(0.1, 7));
        assert_eq!(Drc.rank(&asking), rank(-0.5, 3));
        assert!(Drc.rank(&asking) < Drc.rank(&client));
    }
}
