//! Agents reporting that their resources changed.

use bytes::Bytes;
use indexmap::IndexMap;
use mesos::ids::AgentId;
use mesos::proto::{self, internal};
use mesos::resources::{HasResources, Resources};

use super::Master;
use super::effects::{AllocatorCall, Effects};
use super::metrics::Counter;
use super::operations::uuid_from_proto;
use super::state::{Agent, ResourceProvider};

impl Master {
    /// An agent reports its oversubscribed resources, operations and resource providers.
    /// Upstream: `updateSlave` of `src/master/master.cpp`.
    pub fn on_update_agent(
        &mut self,
        mut message: internal::UpdateSlaveMessage,
        fx: &mut dyn Effects,
    ) {
        fx.count(Counter::MessagesUpdateSlave);
        let id = AgentId::from(&message.slave_id);
        if self.agent(&id).is_none() {
            tracing::warn!("Ignoring update of unknown agent {id}");
            return;
        }
        message.oversubscribed_resources.upgrade_resources();
        let update = match AgentUpdate::read(&message) {
            Ok(update) => update,
            Err(error) => {
                tracing::warn!("Ignoring update of agent {id}: {error}");
                fx.count(Counter::InvalidMessages);
                return;
            }
        };
        self.reconcile_operations_of_agent(&id, &message, fx);
        let Some(agent) = self.agent_mut(&id) else {
            return;
        };
        if let Some(version) = &update.resource_version {
            agent.resource_version = Some(version.clone());
        }
        let total = update.new_total(agent);
        if let Some(providers) = update.providers.clone() {
            agent.resource_providers = providers;
        }
        if total == agent.total {
            return;
        }
        tracing::info!("Agent {id} updated its total resources to {total}");
        let info = agent.info.clone();
        let outdated: Vec<_> = agent.offers.iter().cloned().collect();
        self.set_agent_total(&id, total.clone());
        fx.allocator(AllocatorCall::UpdateAgent {
            id: id.clone(),
            info,
            total: Some(total),
            capabilities: None,
        });
        for offer in outdated {
            let affected = self
                .offer(&offer)
                .is_some_and(|offer| update.affects(&offer.resources));
            if affected {
                self.rescind_offer(&offer, None, fx);
            }
        }
    }

    /// Asks an agent about operations that it does not report.
    fn reconcile_operations_of_agent(
        &mut self,
        id: &AgentId,
        message: &internal::UpdateSlaveMessage,
        fx: &mut dyn Effects,
    ) {
        let Some(reported) = &message.operations else {
            return;
        };
        let reported: std::collections::HashSet<_> = reported
            .operations
            .iter()
            .filter_map(|operation| uuid_from_proto(&operation.uuid))
            .collect();
        let Some(agent) = self.agent(id) else {
            return;
        };
        let operations: Vec<_> = agent
            .operations
            .iter()
            .filter(|(uuid, _)| !reported.contains(*uuid))
            .map(
                |(uuid, _)| internal::reconcile_operations_message::Operation {
                    operation_uuid: Some(super::operations::uuid_to_proto(*uuid)),
                    resource_provider_id: None,
                    operation_id: None,
                },
            )
            .collect();
        if !operations.is_empty() {
            let message = internal::ReconcileOperationsMessage {
                operations,
                framework_id: None,
            };
            self.send_to_agent(id, &message, fx);
        }
        let known: Vec<_> = message
            .operations
            .iter()
            .flat_map(|operations| &operations.operations)
            .filter_map(|operation| Some((uuid_from_proto(&operation.uuid)?, operation)))
            .collect();
        for (uuid, operation) in known {
            let new = self
                .agent(id)
                .is_some_and(|agent| !agent.operations.contains_key(&uuid));
            if new {
                self.track_operation(id, uuid, proto::Operation::clone(operation), fx);
            }
        }
    }
}

/// What an update says, read and checked.
struct AgentUpdate {
    oversubscribed: Option<Resources>,
    providers: Option<IndexMap<String, ResourceProvider>>,
    resource_version: Option<Bytes>,
}

impl AgentUpdate {
    fn read(message: &internal::UpdateSlaveMessage) -> Result<Self, String> {
        let oversubscribed = Resources::from_protos(&message.oversubscribed_resources)
            .map_err(|error| error.to_string())?;
        let replaces = message.update_oversubscribed_resources.unwrap_or(true);
        let mut providers = None;
        if let Some(reported) = &message.resource_providers {
            let mut map = IndexMap::new();
            for provider in &reported.providers {
                let Some(info) = &provider.info else {
                    continue;
                };
                let id = info.id.as_ref().map_or("", |id| id.value.as_str());
                let total = Resources::from_protos(&provider.total_resources)
                    .map_err(|error| error.to_string())?;
                map.insert(
                    id.to_owned(),
                    ResourceProvider {
                        info: info.clone(),
                        total,
                        resource_version: provider.resource_version_uuid.value.clone(),
                    },
                );
            }
            providers = Some(map);
        }
        Ok(Self {
            oversubscribed: replaces.then_some(oversubscribed),
            providers,
            resource_version: message
                .resource_version_uuid
                .as_ref()
                .map(|uuid| uuid.value.clone()),
        })
    }

    /// The agent's own resources, those it can take back, and those of its providers.
    fn new_total(&self, agent: &Agent) -> Resources {
        let own = agent
            .total
            .filter(|resource| resource.provider_id().is_none());
        let revocable = match &self.oversubscribed {
            Some(oversubscribed) => oversubscribed.revocable(),
            None => own.revocable(),
        };
        let provided: Resources = match &self.providers {
            Some(providers) => providers.values().map(|provider| &provider.total).sum(),
            None => agent
                .total
                .filter(|resource| resource.provider_id().is_some()),
        };
        &(&own.non_revocable() + &revocable) + &provided
    }

    /// Whether an offer may hold what changed.
    fn affects(&self, offered: &Resources) -> bool {
        (self.oversubscribed.is_some() && !offered.revocable().is_empty())
            || (self.providers.is_some()
                && offered
                    .iter()
                    .any(|resource| resource.provider_id().is_some()))
    }
}
