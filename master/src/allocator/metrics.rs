//! The metrics of the allocator, by the names of Mesos.
//!
//! The timers and the number of runs and the length of the event queue belong to the actor around
//! the allocator; which roles of a framework are suppressed, to the master.
//! Upstream: `src/master/allocator/mesos/metrics.cpp`, `.../sorter/drf/metrics.cpp`.

use std::collections::{BTreeMap, BTreeSet};

use mesos::resources::Scalar;

use super::core::Allocator;
use super::policy::Basis;
use super::quota::Quota;

/// Names of resources whose amounts in the whole cluster are shown.
const SHOWN_RESOURCES: [&str; 3] = ["cpus", "mem", "disk"];

impl Allocator {
    /// All gauges: names and present values.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let mut metrics = BTreeMap::new();
        self.resource_metrics(&mut metrics);
        self.role_metrics(&mut metrics);
        metrics
    }

    /// How many runs there were.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs
    }

    fn resource_metrics(&self, metrics: &mut BTreeMap<String, f64>) {
        for name in SHOWN_RESOURCES {
            let held: Scalar = self
                .agents
                .iter()
                .map(|(_, _, agent)| agent.held_amount(name))
                .sum();
            let prefix = format!("allocator/mesos/resources/{name}");
            metrics.insert(format!("{prefix}/total"), self.total.get(name).to_f64());
            metrics.insert(format!("{prefix}/offered_or_allocated"), held.to_f64());
        }
    }

    fn role_metrics(&self, metrics: &mut BTreeMap<String, f64>) {
        let shows_shares = self.options.role_sorter.basis() == Basis::DominantShare;
        for (key, role) in self.roles.iter() {
            let path = &role.path;
            let quota = |name: &str, what: &str| {
                format!("allocator/mesos/quota/roles/{path}/resources/{name}/{what}")
            };
            let consumed = &role.reserved() + role.allocated();
            for (name, amount) in consumed.iter() {
                metrics.insert(quota(name.as_str(), "consumed"), amount.to_f64());
            }
            if role.parent.is_none() {
                continue;
            }
            let filters = format!("allocator/mesos/offer_filters/roles/{path}/active");
            metrics.insert(filters, self.filters.count(key) as f64);
            let quota_of_role = role.quota.as_ref().map(|account| &account.quota);
            let default = Quota::default();
            let configured = quota_of_role.unwrap_or(&default);
            for (name, amount) in configured.guarantees.iter() {
                metrics.insert(quota(name.as_str(), "guarantee"), amount.to_f64());
            }
            for (name, amount) in configured.limits.iter() {
                metrics.insert(quota(name.as_str(), "limit"), amount.to_f64());
            }
            let guaranteed = configured.guarantees.iter();
            let named: BTreeSet<_> = guaranteed.chain(configured.limits.iter()).collect();
            for (name, _) in named {
                let held = self.role_sorter.held(key);
                let held = held.map_or(Scalar::ZERO, |held| held.get(name.as_str()));
                metrics.insert(quota(name.as_str(), "offered_or_allocated"), held.to_f64());
            }
            if shows_shares && self.role_sorter.contains(key) {
                let share = self.role_sorter.share(key, &self.capacity);
                metrics.insert(
                    format!("allocator/mesos/roles/{path}/shares/dominant"),
                    share,
                );
            }
        }
    }
}
