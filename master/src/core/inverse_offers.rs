//! Inverse offers: asking frameworks to leave agents that are to be unavailable.
//!
//! Upstream: `inverseOffer`, `acceptInverseOffers`, `declineInverseOffers`, `removeInverseOffer` of
//! `src/master/master.cpp`.

use std::sync::Arc;

use indexmap::IndexMap;
use libprocess::Upid;
use mesos::ids::{AgentId, FrameworkId, OfferId};
use mesos::proto;
use mesos::proto::allocator::{InverseOfferStatus, inverse_offer_status::Status};
use mesos::proto::scheduler::{Call, call};

use super::Master;
use super::calls::filters_or_default;
use super::effects::{AllocatorCall, Effects, Timer};
use super::event::SchedulerEvent;
use super::offers::url_of;
use super::state::InverseOffer;
use crate::allocator;

impl Master {
    /// The allocator asks frameworks to leave agents. What a framework cannot be asked now returns
    /// to it, so that it asks again later.
    pub fn on_inverse_offers(&mut self, asked: Vec<allocator::InverseOffer>, fx: &mut dyn Effects) {
        let mut by_framework: IndexMap<FrameworkId, Vec<allocator::InverseOffer>> = IndexMap::new();
        for offer in asked {
            let list = by_framework.entry(offer.framework.clone()).or_default();
            list.push(offer);
        }
        for (framework, asked) in by_framework {
            let (mut inverse_offers, mut pids) = (Vec::new(), Vec::new());
            for offer in asked {
                if let Some((offer, pid)) = self.make_inverse_offer(offer, fx) {
                    inverse_offers.push(offer);
                    pids.push(pid);
                }
            }
            if inverse_offers.is_empty() {
                continue;
            }
            tracing::info!(
                "Sending {} inverse offers to framework {framework}",
                inverse_offers.len()
            );
            let event = SchedulerEvent::InverseOffers {
                inverse_offers,
                pids,
            };
            self.send_to_framework(&framework, &event, fx);
        }
    }

    fn make_inverse_offer(
        &mut self,
        asked: allocator::InverseOffer,
        fx: &mut dyn Effects,
    ) -> Option<(proto::InverseOffer, Upid)> {
        let (framework_id, agent_id) = (asked.framework, asked.agent);
        let framework = self.framework(&framework_id)?;
        let agent = self.agent(&agent_id)?;
        if self.unavailability_of(&agent_id) != Some(asked.unavailability) {
            tracing::info!("Dropping an inverse offer of agent {agent_id}: its window changed");
            return None;
        }
        if !framework.connected() || !framework.active || !agent.active {
            tracing::info!(
                "Returning an inverse offer of agent {agent_id} to framework {framework_id}: one of them is not active"
            );
            return_to_allocator(&framework_id, &agent_id, fx);
            return None;
        }
        let (url, pid) = (url_of(agent), agent.pid.clone());
        let id = self.new_offer_id();
        let info = proto::InverseOffer {
            id: (&id).into(),
            url: Some(url),
            framework_id: (&framework_id).into(),
            slave_id: Some((&agent_id).into()),
            unavailability: asked.unavailability,
            resources: Vec::new(),
        };
        self.add_inverse_offer(InverseOffer {
            id: id.clone(),
            framework_id,
            agent_id,
            info: info.clone(),
        });
        if let Some(timeout) = self.config.offer_timeout {
            fx.start_timer(Timer::InverseOfferTimeout(id), timeout);
        }
        Some((info, pid))
    }

    /// A scheduler answers inverse offers. Those that are not its own, or not open any more, are
    /// ignored.
    pub(super) fn on_inverse_offers_answered(
        &mut self,
        framework: &FrameworkId,
        call: Call,
        fx: &mut dyn Effects,
    ) {
        let (status, offers, filters) = match call.r#type() {
            call::Type::AcceptInverseOffers => {
                let accept = call.accept_inverse_offers.unwrap_or_default();
                (Status::Accept, accept.inverse_offer_ids, accept.filters)
            }
            _ => {
                let decline = call.decline_inverse_offers.unwrap_or_default();
                (Status::Decline, decline.inverse_offer_ids, decline.filters)
            }
        };
        for id in offers.iter().map(OfferId::from) {
            let own = self
                .state
                .inverse_offers
                .get(&id)
                .is_some_and(|offer| offer.framework_id == *framework);
            let Some(offer) = own.then(|| self.consume_inverse_offer(&id, fx)).flatten() else {
                tracing::warn!(
                    "Framework {framework} answered inverse offer {id}: not (any more) valid"
                );
                continue;
            };
            let answer = InverseOfferStatus {
                status: status as i32,
                framework_id: framework.into(),
                timestamp: fx.now().to_proto(),
            };
            fx.allocator(AllocatorCall::UpdateInverseOffer {
                agent: offer.agent_id.clone(),
                framework: framework.clone(),
                status: Some(answer),
                filters: Some(filters_or_default(filters)),
            });
        }
    }

    /// Takes an inverse offer back, telling the scheduler if `rescind`. The framework will be asked
    /// again.
    pub(super) fn withdraw_inverse_offer(
        &mut self,
        id: &OfferId,
        rescind: bool,
        fx: &mut dyn Effects,
    ) {
        let Some(offer) = self.consume_inverse_offer(id, fx) else {
            return;
        };
        return_to_allocator(&offer.framework_id, &offer.agent_id, fx);
        if rescind {
            let event = SchedulerEvent::RescindInverseOffer(id.clone());
            self.send_to_framework(&offer.framework_id, &event, fx);
        }
    }

    /// Rescinds all inverse offers of an agent.
    pub(super) fn rescind_inverse_offers_of_agent(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        let offers: Vec<_> = self
            .agent(id)
            .map(|agent| agent.inverse_offers.iter().cloned().collect())
            .unwrap_or_default();
        for offer in offers {
            self.withdraw_inverse_offer(&offer, true, fx);
        }
    }

    /// Takes back all inverse offers to a framework, telling it if `rescind`.
    pub(super) fn withdraw_inverse_offers_to(
        &mut self,
        id: &FrameworkId,
        rescind: bool,
        fx: &mut dyn Effects,
    ) {
        let offers: Vec<_> = self
            .framework(id)
            .map(|framework| framework.inverse_offers.iter().cloned().collect())
            .unwrap_or_default();
        for offer in offers {
            self.withdraw_inverse_offer(&offer, rescind, fx);
        }
    }

    fn add_inverse_offer(&mut self, offer: InverseOffer) {
        let id = &offer.id;
        if let Some(agent) = self.agent_mut(&offer.agent_id) {
            agent.inverse_offers.insert(id.clone());
        }
        if let Some(framework) = self.framework_mut(&offer.framework_id) {
            framework.inverse_offers.insert(id.clone());
        }
        Arc::make_mut(&mut self.state.inverse_offers).insert(id.clone(), Arc::new(offer));
    }

    fn consume_inverse_offer(
        &mut self,
        id: &OfferId,
        fx: &mut dyn Effects,
    ) -> Option<Arc<InverseOffer>> {
        let offer = Arc::make_mut(&mut self.state.inverse_offers).swap_remove(id)?;
        if let Some(agent) = self.agent_mut(&offer.agent_id) {
            agent.inverse_offers.swap_remove(id);
        }
        if let Some(framework) = self.framework_mut(&offer.framework_id) {
            framework.inverse_offers.swap_remove(id);
        }
        if self.config.offer_timeout.is_some() {
            fx.cancel_timer(&Timer::InverseOfferTimeout(id.clone()));
        }
        Some(offer)
    }
}

/// Tells the allocator that nobody will answer, so that it asks again.
fn return_to_allocator(framework: &FrameworkId, agent: &AgentId, fx: &mut dyn Effects) {
    fx.allocator(AllocatorCall::UpdateInverseOffer {
        agent: agent.clone(),
        framework: framework.clone(),
        status: None,
        filters: None,
    });
}
