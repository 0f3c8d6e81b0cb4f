//! Sums of resources over the cluster, kept up to date by differences.

use mesos::resources::Resources;

/// The scalar resources that have metrics.
pub const GAUGED_RESOURCES: [&str; 4] = ["cpus", "gpus", "mem", "disk"];

/// Sums count in thousandths, the precision of scalar resources, so that they stay exact.
const THOUSANDTHS: f64 = 1000.0;

const SLOTS: usize = GAUGED_RESOURCES.len() * 2;

/// What all agents have and what is in use, for each gauged resource: the ordinary ones at even
/// indices, the revocable ones after them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceGauges {
    total: [i64; SLOTS],
    used: [i64; SLOTS],
}

impl ResourceGauges {
    /// Total and used amount at an index.
    #[must_use]
    pub fn amounts(&self, index: usize) -> (f64, f64) {
        let at = |sums: &[i64; SLOTS]| sums.get(index).map_or(0.0, |sum| *sum as f64 / THOUSANDTHS);
        (at(&self.total), at(&self.used))
    }

    pub(super) fn add_total(&mut self, resources: &Resources) {
        add(&mut self.total, resources, 1);
    }

    pub(super) fn remove_total(&mut self, resources: &Resources) {
        add(&mut self.total, resources, -1);
    }

    pub(super) fn add_used(&mut self, resources: &Resources) {
        add(&mut self.used, resources, 1);
    }

    pub(super) fn remove_used(&mut self, resources: &Resources) {
        add(&mut self.used, resources, -1);
    }
}

fn add(sums: &mut [i64; SLOTS], resources: &Resources, sign: i64) {
    for resource in resources {
        let Some(index) = GAUGED_RESOURCES
            .iter()
            .position(|name| resource.name() == name)
        else {
            continue;
        };
        let Some(amount) = resource.as_scalar() else {
            continue;
        };
        let slot = index * 2 + usize::from(resource.is_revocable());
        if let Some(sum) = sums.get_mut(slot) {
            *sum += sign * (amount.to_f64() * THOUSANDTHS).round() as i64;
        }
    }
}
