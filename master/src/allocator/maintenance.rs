//! Agents that will not be there for some time, and inverse offers: asking frameworks to leave.
//!
//! Upstream: `generateInverseOffers` and `updateInverseOffer` of
//! `src/master/allocator/mesos/hierarchical.cpp`, `docs/maintenance.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos::proto;
use proto::allocator::InverseOfferStatus;

use super::agent::Agent;
use super::core::{Allocator, Candidates};
use super::filters::refusal;
use super::framework::Framework;
use super::slots::{Key, KeyMap};
use super::{AgentId, AllocatorError, FrameworkId};

/// A framework is asked to leave an agent that will not be there for some time.
#[derive(Clone, Debug, PartialEq)]
pub struct InverseOffer {
    /// The framework.
    pub framework: FrameworkId,
    /// The agent.
    pub agent: AgentId,
    /// When and for how long the agent will not be there.
    pub unavailability: proto::Unavailability,
}

/// What frameworks answered to inverse offers, by agent.
pub type InverseOfferStatuses = BTreeMap<AgentId, BTreeMap<FrameworkId, InverseOfferStatus>>;

/// The maintenance of one agent.
pub(super) struct Maintenance {
    unavailability: proto::Unavailability,
    /// Who has not answered yet.
    outstanding: BTreeSet<Key<Framework>>,
    /// The last answers.
    statuses: BTreeMap<Key<Framework>, InverseOfferStatus>,
    /// Until when frameworks do not want to be asked again.
    filters: KeyMap<Key<Framework>, Duration>,
}

impl Allocator {
    /// An agent is to be unavailable for some time, or not any more. What frameworks answered
    /// before, and what they did not want to be asked, is forgotten.
    ///
    /// # Errors
    /// The agent is not known.
    pub fn update_unavailability(
        &mut self,
        id: &AgentId,
        unavailability: Option<proto::Unavailability>,
    ) -> Result<(), AllocatorError> {
        let key = self.agent_key(id)?;
        if unavailability.is_some() {
            self.maintained.insert(key);
        } else {
            self.maintained.remove(&key);
        }
        if let Some(agent) = self.agents.get_mut(key) {
            agent.maintenance = unavailability.map(|unavailability| {
                Box::new(Maintenance {
                    unavailability,
                    outstanding: BTreeSet::new(),
                    statuses: BTreeMap::new(),
                    filters: KeyMap::default(),
                })
            });
        }
        self.request_run(key);
        Ok(())
    }

    /// An inverse offer was answered, or is not open any more if there is no `status`. An answer
    /// to an inverse offer that was not made, or that a new schedule made void, is forgotten. With
    /// `filters` the framework is not asked again for some time.
    ///
    /// # Errors
    /// The framework or agent is not known, or the answer is UNKNOWN.
    pub fn update_inverse_offer(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        status: Option<InverseOfferStatus>,
        filters: Option<&proto::Filters>,
        now: Duration,
    ) -> Result<(), AllocatorError> {
        let key = self.agent_key(agent)?;
        let framework_key = self.framework_key(framework)?;
        let unknown = proto::allocator::inverse_offer_status::Status::Unknown;
        if status
            .as_ref()
            .is_some_and(|status| status.status() == unknown)
        {
            return Err(AllocatorError::InverseOfferStatus {
                framework: framework.clone(),
                agent: agent.clone(),
            });
        }
        let agent = self.agents.get_mut(key);
        let Some(maintenance) = agent.and_then(|agent| agent.maintenance.as_mut()) else {
            return Ok(());
        };
        if maintenance.outstanding.remove(&framework_key)
            && let Some(status) = status
        {
            maintenance.statuses.insert(framework_key, status);
        }
        let refusal = filters.map(refusal).filter(|refusal| !refusal.is_zero());
        if let Some(refusal) = refusal {
            let until = now.saturating_add(refusal);
            let last = maintenance.filters.entry(framework_key).or_insert(until);
            *last = until.max(*last);
        }
        Ok(())
    }

    /// What frameworks answered to inverse offers, by agent.
    #[must_use]
    pub fn inverse_offer_statuses(&self) -> InverseOfferStatuses {
        let mut all = BTreeMap::new();
        for key in &self.maintained {
            let agent = self.agents.get(*key).zip(self.agents.id(*key));
            let Some((agent, id)) = agent else { continue };
            let Some(maintenance) = &agent.maintenance else {
                continue;
            };
            let statuses = maintenance.statuses.iter().filter_map(|(key, status)| {
                let framework = self.frameworks.id(*key)?.clone();
                Some((framework, status.clone()))
            });
            all.insert(id.clone(), statuses.collect());
        }
        all
    }

    /// Asks the active frameworks on agents that are to be unavailable to leave, unless they were
    /// asked already or do not want to be.
    pub(super) fn inverse_offers(
        &mut self,
        candidates: &Candidates,
        now: Duration,
    ) -> Vec<InverseOffer> {
        let asked: Vec<Key<Agent>> = match candidates {
            Candidates::All => self.maintained.iter().copied().collect(),
            Candidates::Some(agents) => agents.intersection(&self.maintained).copied().collect(),
        };
        let mut offers = Vec::new();
        for key in asked {
            let Some(id) = self.agents.id(key).cloned() else {
                continue;
            };
            let Some(agent) = self.agents.get_mut(key) else {
                continue;
            };
            let holders: Vec<FrameworkId> = agent.holders();
            let Some(maintenance) = &mut agent.maintenance else {
                continue;
            };
            maintenance.filters.retain(|_, until| *until > now);
            for framework in holders {
                let key = self.frameworks.key(&framework);
                let active = key.and_then(|key| self.frameworks.get(key));
                let Some(key) = key.filter(|_| active.is_some_and(|f| f.active)) else {
                    continue;
                };
                let filtered = maintenance.filters.contains_key(&key);
                if !filtered && maintenance.outstanding.insert(key) {
                    offers.push(InverseOffer {
                        framework,
                        agent: id.clone(),
                        unavailability: maintenance.unavailability,
                    });
                }
            }
        }
        offers
    }

    /// Forgets which inverse offers a framework does not want.
    pub(super) fn remove_inverse_filters(&mut self, framework: Key<Framework>) {
        for key in &self.maintained {
            let agent = self.agents.get_mut(*key);
            if let Some(maintenance) = agent.and_then(|agent| agent.maintenance.as_mut()) {
                maintenance.filters.remove(&framework);
            }
        }
    }

    /// Forgets everything about a framework that is gone.
    pub(super) fn remove_from_maintenance(&mut self, framework: Key<Framework>) {
        self.remove_inverse_filters(framework);
        for key in &self.maintained {
            let agent = self.agents.get_mut(*key);
            if let Some(maintenance) = agent.and_then(|agent| agent.maintenance.as_mut()) {
                maintenance.outstanding.remove(&framework);
                maintenance.statuses.remove(&framework);
            }
        }
    }
}
