//! Offers: making them of what the allocator hands out, and taking them back.

use std::collections::BTreeMap;

use libprocess::Upid;
use mesos::ids::{AgentId, FrameworkId, OfferId};
use mesos::proto;
use mesos::resources::Resources;

use super::Master;
use super::capabilities::FrameworkCapabilities;
use super::effects::{AllocatorCall, Effects, Timer};
use super::event::SchedulerEvent;
use super::metrics::FrameworkCounter;
use super::state::{Agent, Offer};
use super::wire;
use crate::constants::HIDDEN_OFFER_RESOURCE;

/// What the allocator hands out to one framework: role, agent, resources.
pub type OfferedResources = BTreeMap<String, BTreeMap<AgentId, Resources>>;

impl Master {
    /// The allocator hands out resources to a framework. What cannot be offered any more returns
    /// to it without a filter.
    pub fn on_offer(
        &mut self,
        framework_id: &FrameworkId,
        offered: OfferedResources,
        fx: &mut dyn Effects,
    ) {
        let receiver = self
            .framework(framework_id)
            .filter(|framework| framework.connected() && framework.active)
            .map(|framework| framework.capabilities);
        let Some(capabilities) = receiver else {
            tracing::warn!("Returning offered resources: framework {framework_id} is not active");
            for (_, agents) in offered {
                for (agent, resources) in agents {
                    self.recover_resources(framework_id, &agent, resources, None, false, fx);
                }
            }
            return;
        };
        let (mut offers, mut pids) = (Vec::new(), Vec::new());
        for (role, agents) in offered {
            for (agent_id, resources) in agents {
                match self.make_offer(framework_id, &agent_id, &role, resources, fx) {
                    Some((offer, pid)) => {
                        offers.push(offer_for_framework(offer, capabilities));
                        pids.push(pid);
                    }
                    None => tracing::warn!("Returned offered resources of agent {agent_id}"),
                }
            }
        }
        if offers.is_empty() {
            return;
        }
        tracing::info!(
            "Sending {} offers to framework {framework_id}",
            offers.len()
        );
        fx.count_framework(
            framework_id,
            FrameworkCounter::OffersSent(offers.len() as u64),
        );
        self.send_to_framework(framework_id, &SchedulerEvent::Offers { offers, pids }, fx);
    }

    fn make_offer(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        role: &str,
        resources: Resources,
        fx: &mut dyn Effects,
    ) -> Option<(proto::Offer, Upid)> {
        if !self.agent(agent_id).is_some_and(|agent| agent.active) {
            self.recover_resources(framework_id, agent_id, resources, None, false, fx);
            return None;
        }
        let id = self.new_offer_id();
        let agent = self.agent(agent_id)?;
        let mut info = describe_offer(&id, framework_id, agent, role, &resources);
        info.unavailability = self.unavailability_of(agent_id);
        let pid = agent.pid.clone();
        self.add_offer(Offer {
            id: id.clone(),
            framework_id: framework_id.clone(),
            agent_id: agent_id.clone(),
            role: role.to_owned(),
            resources,
            info: info.clone(),
        });
        if let Some(timeout) = self.config.offer_timeout {
            fx.start_timer(Timer::OfferTimeout(id), timeout);
        }
        Some((info, pid))
    }

    /// Takes an offer back and tells the scheduler. Its resources return to the allocator, with
    /// `filters` if given.
    pub(super) fn rescind_offer(
        &mut self,
        id: &OfferId,
        filters: Option<proto::Filters>,
        fx: &mut dyn Effects,
    ) {
        let Some(framework_id) = self.offer(id).map(|offer| offer.framework_id.clone()) else {
            return;
        };
        self.send_to_framework(&framework_id, &SchedulerEvent::Rescind(id.clone()), fx);
        fx.count_framework(&framework_id, FrameworkCounter::OfferRescinded);
        self.discard_offer(id, filters, fx);
    }

    /// Takes an offer back without a word to the scheduler. Its resources return to the allocator,
    /// with `filters` if given.
    pub(super) fn discard_offer(
        &mut self,
        id: &OfferId,
        filters: Option<proto::Filters>,
        fx: &mut dyn Effects,
    ) {
        if let Some(offer) = self.consume_offer(id, fx) {
            self.recover_resources(
                &offer.framework_id,
                &offer.agent_id,
                offer.resources.clone(),
                filters,
                false,
                fx,
            );
        }
    }

    /// Removes an offer whose resources find another use.
    pub(super) fn consume_offer(
        &mut self,
        id: &OfferId,
        fx: &mut dyn Effects,
    ) -> Option<std::sync::Arc<Offer>> {
        let offer = self.take_offer(id)?;
        if self.config.offer_timeout.is_some() {
            fx.cancel_timer(&Timer::OfferTimeout(id.clone()));
        }
        Some(offer)
    }

    /// Rescinds all offers of an agent.
    pub(super) fn rescind_offers_of_agent(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        let offers = self
            .agent(id)
            .map(|agent| agent.offers.iter().cloned().collect::<Vec<_>>())
            .unwrap_or_default();
        for offer in offers {
            self.rescind_offer(&offer, None, fx);
        }
    }

    /// The offers of a framework.
    pub(super) fn offers_of_framework(&self, id: &FrameworkId) -> Vec<OfferId> {
        self.framework(id)
            .map(|framework| framework.offers.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Tells the allocator that resources are free again.
    pub(super) fn recover_resources(
        &self,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: Resources,
        filters: Option<proto::Filters>,
        allocated: bool,
        fx: &mut dyn Effects,
    ) {
        if resources.is_empty() {
            return;
        }
        fx.allocator(AllocatorCall::RecoverResources {
            framework: framework.clone(),
            agent: agent.clone(),
            resources,
            filters,
            allocated,
        });
    }
}

/// The wire form of an offer as the master sees it.
fn describe_offer(
    id: &OfferId,
    framework_id: &FrameworkId,
    agent: &Agent,
    role: &str,
    resources: &Resources,
) -> proto::Offer {
    proto::Offer {
        id: id.into(),
        framework_id: framework_id.into(),
        slave_id: (&agent.id).into(),
        hostname: agent.info.hostname.clone(),
        url: Some(url_of(agent)),
        resources: resources.to_protos(),
        attributes: agent.info.attributes.clone(),
        executor_ids: agent
            .executors
            .get(framework_id)
            .into_iter()
            .flat_map(|executors| executors.keys())
            .map(Into::into)
            .collect(),
        unavailability: None,
        allocation_info: Some(proto::resource::AllocationInfo {
            role: Some(role.to_owned()),
        }),
        domain: agent.info.domain.clone(),
    }
}

/// Where an agent is, as frameworks are told.
pub(super) fn url_of(agent: &Agent) -> proto::Url {
    let address = agent.pid.address();
    proto::Url {
        scheme: "http".to_owned(),
        address: proto::Address {
            hostname: Some(agent.info.hostname.clone()),
            ip: Some(address.ip().to_string()),
            port: i32::from(address.port()),
        },
        path: Some(format!("/{}", agent.pid.id())),
        query: Vec::new(),
        fragment: None,
    }
}

/// The offer in the form that a framework of these capabilities understands.
fn offer_for_framework(
    mut offer: proto::Offer,
    capabilities: FrameworkCapabilities,
) -> proto::Offer {
    offer
        .resources
        .retain(|resource| resource.name != HIDDEN_OFFER_RESOURCE);
    if !capabilities.multi_role {
        offer.allocation_info = None;
        for resource in &mut offer.resources {
            resource.allocation_info = None;
        }
    }
    wire::downgrade_unless(capabilities.reservation_refinement, &mut offer);
    offer
}
