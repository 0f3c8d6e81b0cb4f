//! Weights of roles, by which the allocator shares fairly.
//!
//! As with quota, a change that is accepted counts for later requests at once, and for the
//! allocator when the registry has stored it. Upstream: `src/master/weights_handler.cpp`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesos::proto::{self, internal::Registry};
use mesos::roles::{self, RoleError};

use super::effects::{AllocatorCall, Effects, RegistryContinuation, RegistryOperation, RequestId};
use super::{Master, MasterConfig};

/// Why a request about weights is refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WeightsError {
    /// The name of the role is not valid.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// The master does not allow the role.
    #[error("Role '{0}' is not among those of the master's --roles")]
    NotAllowed(String),
    /// The weight is no weight.
    #[error("The weight of role '{role}' is {weight}: it must be a number above 0")]
    NotPositive {
        /// The role.
        role: String,
        /// The weight asked for.
        weight: f64,
    },
}

/// Weights that the registry has stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredWeights {
    /// The roles whose weight was set.
    pub roles: BTreeSet<String>,
    /// Who waits for it; nobody for those of `--weights`.
    pub request: Option<RequestId>,
}

impl Master {
    /// An operator sets weights of roles: of all of them or, on an error, of none.
    ///
    /// # Errors
    /// Why nothing was changed; the request has to be answered then.
    pub fn on_update_weights(
        &mut self,
        asked: &[proto::WeightInfo],
        request: RequestId,
        fx: &mut dyn Effects,
    ) -> Result<(), WeightsError> {
        let weights = validate(asked, &self.config)?;
        self.change_weights(weights, Some(request), fx);
        Ok(())
    }

    fn change_weights(
        &mut self,
        weights: BTreeMap<String, f64>,
        request: Option<RequestId>,
        fx: &mut dyn Effects,
    ) {
        tracing::info!("Setting weights of roles: {weights:?}");
        let roles = weights.keys().cloned().collect();
        Arc::make_mut(&mut self.state.weights).extend(weights.clone());
        fx.apply_registry(
            RegistryOperation::UpdateWeights(weights),
            RegistryContinuation::WeightsStored(StoredWeights { roles, request }),
        );
    }

    /// The registry has stored weights.
    pub(super) fn on_weights_stored(&mut self, stored: StoredWeights, fx: &mut dyn Effects) {
        let weights = self.state.weights.iter();
        let changed = weights.filter(|(role, _)| stored.roles.contains(*role));
        // First, lest what is rescinded be handed out again as before.
        fx.allocator(AllocatorCall::UpdateWeights(
            changed
                .map(|(role, weight)| (role.clone(), *weight))
                .collect(),
        ));
        if self.is_any_in_use(&stored.roles) {
            let offers: Vec<_> = self.state.offers.keys().cloned().collect();
            for offer in offers {
                self.rescind_offer(&offer, None, fx);
            }
        }
        if let Some(request) = stored.request {
            fx.done(request, true);
        }
    }

    /// Whether a framework subscribes to one of the roles or holds resources of it.
    fn is_any_in_use(&self, roles: &BTreeSet<String>) -> bool {
        self.state.frameworks.values().any(|framework| {
            let held = framework.used.values().chain(framework.offered.values());
            !framework.roles.is_disjoint(roles)
                || held
                    .flatten()
                    .filter_map(|resource| resource.allocation_role())
                    .any(|role| roles.contains(role))
        })
    }

    /// Takes over the weights of the registry or, if it has none, those of `--weights`.
    ///
    /// # Errors
    /// The first weight in the registry that this master would not have accepted.
    pub(super) fn recover_weights(
        &mut self,
        registry: &Registry,
        fx: &mut dyn Effects,
    ) -> Result<(), WeightsError> {
        if registry.weights.is_empty() {
            if !self.config.weights.is_empty() {
                self.change_weights(self.config.weights.clone(), None, fx);
            }
            return Ok(());
        }
        if !self.config.weights.is_empty() {
            tracing::warn!("Ignoring --weights: the registry has weights");
        }
        let infos: Vec<_> = registry
            .weights
            .iter()
            .map(|each| each.info.clone())
            .collect();
        // Roles may have been allowed when they got their weight.
        let weights = validate(&infos, &MasterConfig::default())?;
        fx.allocator(AllocatorCall::UpdateWeights(weights.clone()));
        self.state.weights = Arc::new(weights);
        Ok(())
    }
}

fn validate(
    infos: &[proto::WeightInfo],
    config: &MasterConfig,
) -> Result<BTreeMap<String, f64>, WeightsError> {
    let mut weights = BTreeMap::new();
    for info in infos {
        let (role, weight) = (info.role().trim(), info.weight);
        roles::validate(role)?;
        if !config.allows_role(role) {
            return Err(WeightsError::NotAllowed(role.to_owned()));
        }
        if !weight.is_finite() || weight <= 0.0 {
            let role = role.to_owned();
            return Err(WeightsError::NotPositive { role, weight });
        }
        weights.insert(role.to_owned(), weight);
    }
    Ok(weights)
}
