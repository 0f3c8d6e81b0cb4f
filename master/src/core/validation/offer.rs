//! Offers that a call names.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesos::ids::{FrameworkId, OfferId};

use crate::core::state::{ClusterState, Offer};

/// Checks that offers may be accepted together: they are there, distinct, of the framework, of one
/// role and of one agent. Returns them; there is at least one.
///
/// # Errors
/// What is wrong first.
pub fn validate(
    ids: &[OfferId],
    framework: &FrameworkId,
    state: &ClusterState,
) -> Result<Vec<Arc<Offer>>, String> {
    if ids.is_empty() {
        return Err("No offers specified".to_owned());
    }
    let mut seen = BTreeSet::new();
    if let Some(id) = ids.iter().find(|id| !seen.insert(id.as_str())) {
        return Err(format!("Duplicate offer {id} in offer list"));
    }
    let offers = ids
        .iter()
        .map(|id| {
            state
                .offers
                .get(id)
                .cloned()
                .ok_or_else(|| format!("Offer {id} is no longer valid"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(offer) = offers.iter().find(|offer| offer.framework_id != *framework) {
        return Err(format!(
            "Offer {} has invalid framework {} while framework {framework} is expected",
            offer.id, offer.framework_id
        ));
    }
    for pair in offers.windows(2) {
        if let [left, right] = pair {
            if left.role != right.role {
                return Err(format!(
                    "Aggregated offers must be allocated to the same role: {} and {}",
                    left.role, right.role
                ));
            }
            if left.agent_id != right.agent_id {
                return Err(format!(
                    "Aggregated offers must belong to one single agent: {} and {}",
                    left.agent_id, right.agent_id
                ));
            }
        }
    }
    Ok(offers)
}
