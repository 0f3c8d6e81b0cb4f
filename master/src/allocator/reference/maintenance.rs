//! Agents that are to be unavailable, and who is asked to leave them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos::proto;
use proto::allocator::InverseOfferStatus;

use super::events::{UNKNOWN_AGENT, UNKNOWN_FRAMEWORK};
use super::{AgentId, Answer, FrameworkId, Reference};

pub(in crate::allocator) struct Maintenance {
    pub(super) unavailability: proto::Unavailability,
    pub(super) outstanding: BTreeSet<FrameworkId>,
    pub(in crate::allocator) statuses: BTreeMap<FrameworkId, InverseOfferStatus>,
}

impl Maintenance {
    pub(super) fn forget(&mut self, framework: &FrameworkId) {
        self.outstanding.remove(framework);
        self.statuses.remove(framework);
    }
}

/// Who does not want to be asked about which agent, until when.
pub(super) struct InverseFilter {
    pub(super) framework: FrameworkId,
    pub(super) agent: AgentId,
    pub(super) until: Duration,
}

impl Reference {
    pub(in crate::allocator) fn update_unavailability(
        &mut self,
        id: &AgentId,
        unavailability: Option<proto::Unavailability>,
    ) -> Answer {
        let agent = self.agents.get_mut(id).ok_or(UNKNOWN_AGENT)?;
        agent.maintenance = unavailability.map(|unavailability| Maintenance {
            unavailability,
            outstanding: BTreeSet::new(),
            statuses: BTreeMap::new(),
        });
        self.inverse_filters.retain(|filter| filter.agent != *id);
        self.request_run(id);
        Ok(())
    }

    pub(in crate::allocator) fn update_inverse_offer(
        &mut self,
        id: &AgentId,
        framework: &FrameworkId,
        status: Option<InverseOfferStatus>,
        filters: Option<&proto::Filters>,
        now: Duration,
    ) -> Answer {
        let agent = self.agents.get_mut(id).ok_or(UNKNOWN_AGENT)?;
        self.frameworks.get(framework).ok_or(UNKNOWN_FRAMEWORK)?;
        let unknown = proto::allocator::inverse_offer_status::Status::Unknown;
        if status
            .as_ref()
            .is_some_and(|status| status.status() == unknown)
        {
            return Err("the answer is unknown");
        }
        let Some(maintenance) = &mut agent.maintenance else {
            return Ok(());
        };
        if let (true, Some(status)) = (maintenance.outstanding.remove(framework), status) {
            maintenance.statuses.insert(framework.clone(), status);
        }
        if let Some(seconds) = filters.map(|filters| filters.refuse_seconds.unwrap_or(5.0)) {
            self.inverse_filters.push(InverseFilter {
                framework: framework.clone(),
                agent: id.clone(),
                until: now + super::rules::refuse_time(seconds),
            });
        }
        Ok(())
    }
}
