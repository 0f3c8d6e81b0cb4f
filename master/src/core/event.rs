//! What a scheduler is told, independent of how it is connected.

use bytes::Bytes;
use libprocess::Upid;
use mesos::ids::{AgentId, ExecutorId, FrameworkId, OfferId};
use mesos::proto::scheduler::event::{self, Type};
use mesos::proto::{self, internal, scheduler};

use super::effects::Outgoing;
use super::metrics::EventKind;
use crate::constants::HEARTBEAT_INTERVAL;

/// An event for a scheduler.
#[derive(Clone, Debug, PartialEq)]
pub enum SchedulerEvent {
    /// The scheduler is subscribed.
    Subscribed {
        /// Its framework.
        framework_id: FrameworkId,
        /// The leading master.
        master_info: Box<proto::MasterInfo>,
        /// Whether a v0 driver is told that it re-registered rather than registered.
        reregistered: bool,
    },
    /// New offers.
    Offers {
        /// The offers.
        offers: Vec<proto::Offer>,
        /// The agents they are of, in the same order.
        pids: Vec<Upid>,
    },
    /// An offer is no longer valid.
    Rescind(OfferId),
    /// Agents to leave.
    InverseOffers {
        /// The inverse offers.
        inverse_offers: Vec<proto::InverseOffer>,
        /// The agents they are of, in the same order.
        pids: Vec<Upid>,
    },
    /// An inverse offer is no longer valid.
    RescindInverseOffer(OfferId),
    /// The state of a task changed.
    Update {
        /// The update.
        update: Box<internal::StatusUpdate>,
        /// The agent that waits for the acknowledgement; none for updates made by the master.
        acknowledgee: Option<Upid>,
    },
    /// An executor sent a message.
    Message {
        /// Framework of the executor.
        framework_id: FrameworkId,
        /// Agent of the executor.
        agent_id: AgentId,
        /// The executor.
        executor_id: ExecutorId,
        /// What it said.
        data: Bytes,
    },
    /// An agent was lost.
    AgentLost(AgentId),
    /// An executor ended.
    ExecutorExited {
        /// Framework of the executor.
        framework_id: FrameworkId,
        /// Agent of the executor.
        agent_id: AgentId,
        /// The executor.
        executor_id: ExecutorId,
        /// Its wait status.
        status: i32,
    },
    /// The state of an operation changed.
    OperationUpdate(Box<internal::UpdateOperationStatusMessage>),
    /// The subscription or a call failed.
    Error(String),
    /// The stream is alive.
    Heartbeat,
}

impl SchedulerEvent {
    /// Which per-framework counter the event belongs to.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Subscribed { .. } => EventKind::Subscribed,
            Self::Offers { .. } => EventKind::Offers,
            Self::Rescind(_) => EventKind::Rescind,
            Self::InverseOffers { .. } => EventKind::InverseOffers,
            Self::RescindInverseOffer(_) => EventKind::RescindInverseOffer,
            Self::Update { .. } => EventKind::Update,
            Self::Message { .. } => EventKind::Message,
            Self::AgentLost(_) | Self::ExecutorExited { .. } => EventKind::Failure,
            Self::OperationUpdate(_) => EventKind::UpdateOperationStatus,
            Self::Error(_) => EventKind::Error,
            Self::Heartbeat => EventKind::Heartbeat,
        }
    }

    /// The message for a v0 driver; none for events that only HTTP schedulers know.
    #[must_use]
    pub fn to_message(&self) -> Option<Outgoing> {
        Some(match self {
            Self::Subscribed {
                framework_id,
                master_info,
                reregistered,
            } => subscribed_message(framework_id, master_info, *reregistered),
            Self::Offers { offers, pids } => Outgoing::new(&internal::ResourceOffersMessage {
                offers: offers.clone(),
                pids: pids.iter().map(Upid::to_string).collect(),
            }),
            Self::Rescind(offer) => Outgoing::new(&internal::RescindResourceOfferMessage {
                offer_id: offer.into(),
            }),
            Self::InverseOffers {
                inverse_offers,
                pids,
            } => Outgoing::new(&internal::InverseOffersMessage {
                inverse_offers: inverse_offers.clone(),
                pids: pids.iter().map(Upid::to_string).collect(),
            }),
            Self::RescindInverseOffer(offer) => {
                Outgoing::new(&internal::RescindInverseOfferMessage {
                    inverse_offer_id: offer.into(),
                })
            }
            Self::Update {
                update,
                acknowledgee,
            } => Outgoing::new(&internal::StatusUpdateMessage {
                update: update.as_ref().clone(),
                pid: Some(
                    acknowledgee
                        .as_ref()
                        .map_or_else(|| crate::constants::EMPTY_UPID.to_owned(), Upid::to_string),
                ),
            }),
            Self::Message {
                framework_id,
                agent_id,
                executor_id,
                data,
            } => Outgoing::new(&internal::ExecutorToFrameworkMessage {
                slave_id: agent_id.into(),
                framework_id: framework_id.into(),
                executor_id: executor_id.into(),
                data: data.clone(),
            }),
            Self::AgentLost(agent) => Outgoing::new(&internal::LostSlaveMessage {
                slave_id: agent.into(),
            }),
            Self::ExecutorExited {
                framework_id,
                agent_id,
                executor_id,
                status,
            } => Outgoing::new(&internal::ExitedExecutorMessage {
                slave_id: agent_id.into(),
                framework_id: framework_id.into(),
                executor_id: executor_id.into(),
                status: *status,
            }),
            Self::OperationUpdate(update) => Outgoing::new(update.as_ref()),
            Self::Error(message) => Outgoing::new(&internal::FrameworkErrorMessage {
                message: message.clone(),
            }),
            Self::Heartbeat => return None,
        })
    }

    /// The event in the dialect of v0, whose fields convert one to one to v1.
    #[must_use]
    pub fn to_event(&self) -> scheduler::Event {
        let mut event = scheduler::Event::default();
        event.r#type = Some(self.fill(&mut event) as i32);
        event
    }

    /// Sets the field of the event and returns its type.
    fn fill(&self, event: &mut scheduler::Event) -> Type {
        match self {
            Self::Subscribed {
                framework_id,
                master_info,
                ..
            } => {
                event.subscribed = Some(event::Subscribed {
                    framework_id: framework_id.into(),
                    heartbeat_interval_seconds: Some(HEARTBEAT_INTERVAL.as_secs_f64()),
                    master_info: Some(master_info.as_ref().clone()),
                });
                Type::Subscribed
            }
            Self::Offers { offers, .. } => {
                let offers = offers.clone();
                event.offers = Some(event::Offers { offers });
                Type::Offers
            }
            Self::Rescind(offer) => {
                let offer_id = offer.into();
                event.rescind = Some(event::Rescind { offer_id });
                Type::Rescind
            }
            Self::InverseOffers { inverse_offers, .. } => {
                let inverse_offers = inverse_offers.clone();
                event.inverse_offers = Some(event::InverseOffers { inverse_offers });
                Type::InverseOffers
            }
            Self::RescindInverseOffer(offer) => {
                let inverse_offer_id = offer.into();
                event.rescind_inverse_offer = Some(event::RescindInverseOffer { inverse_offer_id });
                Type::RescindInverseOffer
            }
            Self::Update { update, .. } => {
                let status = status_of_envelope(update);
                event.update = Some(event::Update { status });
                Type::Update
            }
            Self::Message {
                agent_id,
                executor_id,
                data,
                ..
            } => {
                event.message = Some(event::Message {
                    slave_id: agent_id.into(),
                    executor_id: executor_id.into(),
                    data: data.clone(),
                });
                Type::Message
            }
            Self::OperationUpdate(update) => {
                let status = update.status.clone();
                event.update_operation_status = Some(event::UpdateOperationStatus { status });
                Type::UpdateOperationStatus
            }
            Self::Error(message) => {
                let message = message.clone();
                event.error = Some(event::Error { message });
                Type::Error
            }
            Self::AgentLost(_) | Self::ExecutorExited { .. } => {
                event.failure = Some(self.failure());
                Type::Failure
            }
            Self::Heartbeat => Type::Heartbeat,
        }
    }

    /// What v1 schedulers are told of agents and executors that are gone.
    fn failure(&self) -> event::Failure {
        match self {
            Self::AgentLost(agent) => event::Failure {
                slave_id: Some(agent.into()),
                ..Default::default()
            },
            Self::ExecutorExited {
                agent_id,
                executor_id,
                status,
                ..
            } => event::Failure {
                slave_id: Some(agent_id.into()),
                executor_id: Some(executor_id.into()),
                status: Some(*status),
            },
            _ => event::Failure::default(),
        }
    }
}

fn subscribed_message(
    framework_id: &FrameworkId,
    master_info: &proto::MasterInfo,
    reregistered: bool,
) -> Outgoing {
    let framework_id = framework_id.into();
    let master_info = master_info.clone();
    if reregistered {
        Outgoing::new(&internal::FrameworkReregisteredMessage {
            framework_id,
            master_info,
        })
    } else {
        Outgoing::new(&internal::FrameworkRegisteredMessage {
            framework_id,
            master_info,
        })
    }
}

/// The status with what only its envelope knows. Upstream: `src/internal/evolve.cpp`.
fn status_of_envelope(update: &internal::StatusUpdate) -> proto::TaskStatus {
    let mut status = update.status.clone();
    if update.slave_id.is_some() {
        status.slave_id.clone_from(&update.slave_id);
    }
    if update.executor_id.is_some() {
        status.executor_id.clone_from(&update.executor_id);
    }
    status.timestamp = Some(update.timestamp);
    // A status without an envelope uuid was made by a master and must not be acknowledged.
    status.uuid = update.uuid.clone().filter(|uuid| !uuid.is_empty());
    status
}
