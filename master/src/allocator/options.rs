//! What can be configured.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mesos::resources::{ResourceQuantities, Scalar};

use super::constraints::RegexLimits;
use super::policy::{Drf, SortPolicy};

/// Processors below which a bundle is not offered, in thousandths.
const MIN_CPUS_MILLIS: i64 = 10;

/// Memory below which a bundle is not offered, in thousandths of megabytes.
const MIN_MEM_MILLIS: i64 = 32_000;

/// Options of the allocator, from flags of the master of the same names.
///
/// Upstream: `include/mesos/allocator/allocator.hpp` (`Options`), `src/master/constants.hpp`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time between two runs over all agents. A filter never lasts shorter.
    pub allocation_interval: Duration,
    /// Who comes first among roles. See [`policy`](super::policy) for those that have names.
    pub role_sorter: Arc<dyn SortPolicy>,
    /// Who comes first among the frameworks of a role.
    pub framework_sorter: Arc<dyn SortPolicy>,
    /// Names of resources that do not count in shares.
    pub fair_sharing_excluded_resource_names: BTreeSet<String>,
    /// Whether agents with GPUs are kept for frameworks that know GPUs.
    pub filter_gpu_resources: bool,
    /// The region of the master; agents elsewhere are kept for region-aware frameworks.
    pub region: Option<String>,
    /// Bundles that contain none of these are not offered; an empty list offers everything.
    pub min_allocatable_resources: Vec<ResourceQuantities>,
    /// How long to wait, after a failover of the master, for agents to come back.
    pub recovery_timeout: Duration,
    /// Which part of the agents of the registry must be back before quota is relied on.
    pub agent_recovery_factor: f64,
    /// The id of the master, which the ids of its frameworks begin with: frameworks of other
    /// masters registered before them.
    pub master_id: Option<String>,
    /// How large the regular expressions in offer constraints may be.
    pub regex_limits: RegexLimits,
    /// The seed of everything that is random.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        let minimum =
            |name, millis| ResourceQuantities::from_iter([(name, Scalar::from_millis(millis))]);
        Options {
            allocation_interval: Duration::from_secs(1),
            role_sorter: Arc::new(Drf),
            framework_sorter: Arc::new(Drf),
            fair_sharing_excluded_resource_names: BTreeSet::new(),
            filter_gpu_resources: true,
            region: None,
            min_allocatable_resources: vec![
                minimum("cpus", MIN_CPUS_MILLIS),
                minimum("mem", MIN_MEM_MILLIS),
            ],
            recovery_timeout: Duration::from_secs(10 * 60),
            agent_recovery_factor: 0.8,
            master_id: None,
            regex_limits: RegexLimits::default(),
            seed: 0,
        }
    }
}
