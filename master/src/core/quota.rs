//! Quota of roles: what operators ask for, what the registry holds, and making room for it.
//!
//! A change that is accepted counts for later requests at once. The allocator learns of it, and
//! offers are rescinded for it, when the registry has stored it; if that fails the master ends.
//! Upstream: `src/master/quota_handler.cpp`.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesos::ids::OfferId;
use mesos::proto::internal::Registry;
use mesos::proto::quota::{QuotaConfig, QuotaInfo, QuotaRequest};
use mesos::proto::{self, value};
use mesos::resources::{ResourceQuantities, Scalar};
use mesos::roles;

use super::Master;
use super::effects::{AllocatorCall, Effects, RegistryContinuation, RegistryOperation, RequestId};
use super::role_usage::usage_of;
use super::state::Agent;
use super::validation::quota::{self, QuotaError};
use crate::allocator::Quota;

/// Quotas that the registry has stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredQuota {
    /// The roles whose quota changed.
    pub roles: Vec<String>,
    /// Which offers make room for it.
    pub rescind: Rescind,
    /// Who waits for it.
    pub request: RequestId,
}

/// Which offers are rescinded for a quota. As the master does not know what the allocator is about
/// to hand out, it assumes that all which is not offered is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescind {
    /// Those of the role beyond its limits, then those of others until the guarantees can be met.
    Offers,
    /// All of one agent after the other, until the guarantees can be met and every framework of
    /// the role could be offered an agent.
    Agents,
}

impl Master {
    /// An operator sets the quota of roles (UPDATE_QUOTA): of all of them or, on an error, of none.
    ///
    /// # Errors
    /// Why nothing was changed; the request has to be answered then.
    pub fn on_update_quota(
        &mut self,
        configs: &[QuotaConfig],
        force: bool,
        request: RequestId,
        fx: &mut dyn Effects,
    ) -> Result<(), QuotaError> {
        let mut quotas = BTreeMap::new();
        for config in configs {
            let quota = quota::validate(config, &self.config)?;
            quotas.insert(config.role.clone(), quota);
        }
        if !force {
            for (role, quota) in &quotas {
                self.check_consumed(role, quota)?;
            }
            self.check_capacity(&quotas)?;
        }
        self.change_quotas(quotas, Rescind::Offers, request, fx);
        Ok(())
    }

    /// An operator sets the guarantee, which is the limit too, of a role without quota (SET_QUOTA).
    ///
    /// # Errors
    /// Why nothing was changed; the request has to be answered then.
    pub fn on_set_quota(
        &mut self,
        asked: &QuotaRequest,
        request: RequestId,
        fx: &mut dyn Effects,
    ) -> Result<(), QuotaError> {
        let config = quota::config_of_request(asked)?;
        let quota = quota::validate(&config, &self.config)?;
        if self.state.quotas.contains_key(&config.role) {
            return Err(QuotaError::Exists(config.role));
        }
        let quotas = BTreeMap::from([(config.role, quota)]);
        if !asked.force() {
            self.check_capacity(&quotas)?;
        }
        self.change_quotas(quotas, Rescind::Agents, request, fx);
        Ok(())
    }

    /// An operator removes the quota of a role (REMOVE_QUOTA).
    ///
    /// # Errors
    /// Why nothing was changed; the request has to be answered then.
    pub fn on_remove_quota(
        &mut self,
        role: &str,
        request: RequestId,
        fx: &mut dyn Effects,
    ) -> Result<(), QuotaError> {
        if !self.state.quotas.contains_key(role) {
            return Err(QuotaError::Absent(role.to_owned()));
        }
        let quotas = BTreeMap::from([(role.to_owned(), Quota::default())]);
        self.change_quotas(quotas, Rescind::Offers, request, fx);
        Ok(())
    }

    fn check_consumed(&self, role: &str, quota: &Quota) -> Result<(), QuotaError> {
        let consumed = usage_of(&self.state, role).consumed();
        if quota.limits.allow(&consumed) {
            return Ok(());
        }
        Err(QuotaError::Consumed {
            role: role.to_owned(),
            consumed: Box::new(consumed),
            limits: Box::new(quota.limits.clone()),
        })
    }

    /// Whether registered agents, connected or not, have what would be guaranteed in all.
    fn check_capacity(&self, changes: &BTreeMap<String, Quota>) -> Result<(), QuotaError> {
        let mut guarantees = ResourceQuantities::new();
        let unchanged = self.state.quotas.iter();
        let unchanged = unchanged.filter(|(role, _)| !changes.contains_key(*role));
        for (_, quota) in unchanged.chain(changes) {
            guarantees += &quota.guarantees;
        }
        let mut capacity = ResourceQuantities::new();
        for agent in self.state.agents.values() {
            let regular = agent.total.iter().filter(|each| !each.is_revocable());
            capacity += &ResourceQuantities::of_scalars(regular);
        }
        if capacity.contains(&guarantees) {
            return Ok(());
        }
        Err(QuotaError::Overcommitted {
            guarantees: Box::new(guarantees),
            capacity: Box::new(capacity),
        })
    }

    fn change_quotas(
        &mut self,
        quotas: BTreeMap<String, Quota>,
        rescind: Rescind,
        request: RequestId,
        fx: &mut dyn Effects,
    ) {
        let current = Arc::make_mut(&mut self.state.quotas);
        for (role, quota) in &quotas {
            tracing::info!(
                "Quota of role '{role}': guarantees '{}', limits '{}'",
                quota.guarantees,
                quota.limits
            );
            if quota.is_default() {
                current.remove(role);
            } else {
                current.insert(role.clone(), quota.clone());
            }
        }
        let stored = StoredQuota {
            roles: quotas.keys().cloned().collect(),
            rescind,
            request,
        };
        fx.apply_registry(
            RegistryOperation::UpdateQuota(quotas),
            RegistryContinuation::QuotaStored(stored),
        );
    }

    /// The registry has stored quotas.
    pub(super) fn on_quota_stored(&mut self, stored: StoredQuota, fx: &mut dyn Effects) {
        // First, lest what is rescinded be handed out again as before.
        for role in &stored.roles {
            fx.allocator(AllocatorCall::UpdateQuota {
                role: role.clone(),
                quota: self.quota(role),
            });
        }
        for role in &stored.roles {
            let quota = self.quota(role);
            match stored.rescind {
                Rescind::Offers => self.rescind_for_quota(role, &quota, fx),
                Rescind::Agents => self.rescind_agents_for_quota(role, &quota, fx),
            }
        }
        fx.done(stored.request, true);
    }

    fn quota(&self, role: &str) -> Quota {
        self.state.quotas.get(role).cloned().unwrap_or_default()
    }

    fn rescind_for_quota(&mut self, role: &str, quota: &Quota, fx: &mut dyn Effects) {
        if quota.is_default() {
            return;
        }
        let usage = usage_of(&self.state, role);
        let mut held = &usage.consumed() + &usage.offered;
        let (of_role, of_others): (Vec<_>, Vec<_>) = self
            .state
            .agents
            .values()
            .flat_map(|agent| &agent.offers)
            .filter_map(|id| self.state.offers.get(id))
            .map(|offer| {
                (
                    offer.id.clone(),
                    ResourceQuantities::of_all(&offer.resources),
                )
            })
            .partition(|(id, _)| self.is_offered_to_subtree(id, role));
        for (offer, amounts) in of_role {
            if quota.limits.allow(&held) {
                break;
            }
            held -= &amounts;
            self.rescind_offer(&offer, None, fx);
        }
        for (offer, amounts) in of_others {
            if held.contains(&quota.guarantees) {
                break;
            }
            held += &amounts;
            self.rescind_offer(&offer, None, fx);
        }
    }

    fn is_offered_to_subtree(&self, offer: &OfferId, role: &str) -> bool {
        self.offer(offer)
            .is_some_and(|offer| roles::is_in_subtree(&offer.role, role))
    }

    fn rescind_agents_for_quota(&mut self, role: &str, quota: &Quota, fx: &mut dyn Effects) {
        let frameworks = self.state.frameworks.values();
        let frameworks = frameworks
            .filter(|framework| framework.active && framework.roles.contains(role))
            .count();
        let offered = |agent: &Agent| agent.connected && agent.active && !agent.offers.is_empty();
        let agents: Vec<_> = self
            .state
            .agents
            .values()
            .filter(|agent| offered(agent))
            .map(|agent| (agent.id.clone(), ResourceQuantities::of_all(&agent.offered)))
            .collect();
        let mut rescinded = ResourceQuantities::new();
        for (visited, (agent, amounts)) in agents.into_iter().enumerate() {
            if rescinded.contains(&quota.guarantees) && visited >= frameworks {
                break;
            }
            rescinded += &amounts;
            self.rescind_offers_of_agent(&agent, fx);
        }
    }
}

/// The quotas in the registry: those of releases before 1.9, then those set since.
///
/// # Errors
/// The first one that this master would not have accepted.
pub(super) fn recover(registry: &Registry) -> Result<BTreeMap<String, Quota>, QuotaError> {
    let mut quotas = BTreeMap::new();
    for legacy in &registry.quotas {
        let config = quota::config_of_request(&QuotaRequest {
            force: None,
            role: legacy.info.role.clone(),
            guarantee: legacy.info.guarantee.clone(),
        })?;
        quotas.insert(config.role.clone(), quota::read(&config)?);
    }
    for config in &registry.quota_configs {
        quotas.insert(config.role.clone(), quota::read(config)?);
    }
    quotas.retain(|_, quota| !quota.is_default());
    Ok(quotas)
}

/// The quota of a role as a message.
#[must_use]
pub fn config(role: &str, quota: &Quota) -> QuotaConfig {
    let scalar = |amount: Scalar| value::Scalar {
        value: amount.to_f64(),
    };
    QuotaConfig {
        role: role.to_owned(),
        guarantees: quota
            .guarantees
            .iter()
            .map(|(name, amount)| (name.to_string(), scalar(amount)))
            .collect(),
        limits: quota
            .limits
            .iter()
            .map(|(name, limit)| (name.to_string(), scalar(limit)))
            .collect(),
    }
}

/// The guarantees of a role as the older message.
#[must_use]
pub fn legacy_info(role: &str, quota: &Quota) -> QuotaInfo {
    let guarantee = quota
        .guarantees
        .iter()
        .map(|(name, amount)| proto::Resource {
            name: name.to_string(),
            r#type: proto::value::Type::Scalar as i32,
            scalar: Some(value::Scalar {
                value: amount.to_f64(),
            }),
            ..Default::default()
        });
    QuotaInfo {
        role: Some(role.to_owned()),
        principal: None,
        guarantee: guarantee.collect(),
    }
}
