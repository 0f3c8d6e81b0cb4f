//! Internal messages as events of the public APIs.

use crate::convert::{ConvertError, v0_to_v1};
use crate::proto;
use crate::proto::internal;
use crate::proto::v1::{executor, scheduler};

/// How often the master sends a HEARTBEAT to schedulers and subscribers of events, in seconds.
pub const HEARTBEAT_INTERVAL_SECONDS: f64 = 15.0;

/// An internal message that v1 schedulers get as an event.
pub trait ToSchedulerEvent {
    /// The event.
    ///
    /// # Errors
    /// Never, as long as the types belong together.
    fn to_event(&self) -> Result<scheduler::Event, ConvertError>;
}

/// An internal message that v1 executors get as an event.
pub trait ToExecutorEvent {
    /// The event.
    ///
    /// # Errors
    /// Never, as long as the types belong together.
    fn to_event(&self) -> Result<executor::Event, ConvertError>;
}

fn scheduler_event(kind: scheduler::event::Type) -> scheduler::Event {
    scheduler::Event {
        r#type: Some(kind.into()),
        ..Default::default()
    }
}

fn executor_event(kind: executor::event::Type) -> executor::Event {
    executor::Event {
        r#type: Some(kind.into()),
        ..Default::default()
    }
}

fn subscribed(
    framework_id: &proto::FrameworkId,
    master_info: &proto::MasterInfo,
) -> Result<scheduler::Event, ConvertError> {
    Ok(scheduler::Event {
        subscribed: Some(scheduler::event::Subscribed {
            framework_id: v0_to_v1(framework_id)?,
            heartbeat_interval_seconds: Some(HEARTBEAT_INTERVAL_SECONDS),
            master_info: Some(v0_to_v1(master_info)?),
        }),
        ..scheduler_event(scheduler::event::Type::Subscribed)
    })
}

impl ToSchedulerEvent for internal::FrameworkRegisteredMessage {
    fn to_event(&self) -> Result<scheduler::Event, ConvertError> {
        subscribed(&self.framework_id, &self.master_info)
    }
}

impl ToSchedulerEvent for internal::FrameworkReregisteredMessage {
    fn to_event(&self) -> Result<scheduler::Event, ConvertError> {
        subscribed(&self.framework_id, &self.master_info)
    }
}

impl ToSchedulerEvent for internal::FrameworkErrorMessage {
    fn to_event(&self) -> Result<scheduler::Event, ConvertError> {
        Ok(scheduler::Event {
            error: Some(scheduler::event::Error {
                message: self.message.clone(),
            }),
            ..scheduler_event(scheduler::event::Type::Error)
        })
    }
}

impl ToSchedulerEvent for internal::ResourceOffersMessage {
    fn to_event(&self) -> Result<scheduler::Event, ConvertError> {
        Ok(scheduler::Event {
            offers: Some(scheduler::event::Offers {
                offers: super::list(&self.offers)?,
            }),
            ..scheduler_event(scheduler::event::Type::Offers)
        })
    }
}

impl ToSchedulerEvent for internal::InverseOffersMessage {
    fn to_event(&self) -> Result<scheduler::Event, ConvertError> {
        Ok(scheduler::Event {
            inverse_offers: Some(scheduler::event::InverseOffers {
                inverse_offers: super::list(&self.inverse_offers)?,
            }),
            ..scheduler_event(scheduler::event::Type::InverseOffers)
        })
    }
}

impl ToSchedulerEvent for internal::RescindResourceOfferMessage {
    fn to_event(&self) -> Result<scheduler::Event, ConvertError> {
        Ok(scheduler::Event {
            rescind: Some(scheduler::event::Rescind {
                offer_id: v0_to_v1(&self.offer_id)?,
            }),
            ..scheduler_event(scheduler::event::Type::Rescind)
        })
    }
}

impl ToSchedulerEvent for internal::RescindInverseOfferMessage {
    fn to_event(&self) -> Result<scheduler::Event, ConvertError> {
        Ok(scheduler::Event {
            rescind_inverse_offer: Some(scheduler::event::RescindInverseOffer {
                inverse_offer_id: v0_to_v1(&self.inverse_offer_id)?,
            }),
            ..scheduler_event(scheduler::event::Type::RescindInverseOffer)
        })
    }
}

impl ToSchedulerEvent for internal::StatusUpdateMessage {
    /// The envelope knows better than the status where and when the update comes from. Only updates that come
    /// from an agent with a uuid are to be acknowledged; the others lose theirs.
    fn to_event(&self) -> Result<scheduler::Event, ConvertError> {
        let update = &self.update;
        let mut status: proto::v1::TaskStatus = v0_to_v1(&update.status)?;
        if let Some(id) = &update.slave_id {
            status.agent_id = Some(v0_to_v1(id)?);
        }
        if let Some(id) = &update.executor_id {
            status.executor_id = Some(v0_to_v1(id)?);
        }
        status.timestamp = Some(update.timestamp);
        let from_agent = self.pid.as_deref().is_some_and(|pid| !is_empty_upid(pid));
        status.uuid = update
            .uuid
            .clone()
            .filter(|uuid| from_agent && !uuid.is_empty());
        Ok(scheduler::Event {
            update: Some(scheduler::event::Update { status }),
            ..scheduler_event(scheduler::event::Type::Update)
        })
    }
}

/// Whether a UPID says "nobody": no text at all, or the form in which C++ prints an empty one.
fn is_empty_upid(pid: &str) -> bool {
    pid.is_empty() || pid.starts_with('@')
}

impl ToSchedulerEvent for internal::UpdateOperationStatusMessage {
    fn to_event(&self) -> Result<scheduler::Event, ConvertError> {
        Ok(scheduler::Event {
            update_operation_status: Some(scheduler::event::UpdateOperationStatus {
                status: v0_to_v1(&self.status)?,
            }),
            ..scheduler_event(scheduler::event::Type::UpdateOperationStatus)
        })
    }
}

impl ToSchedulerEvent for internal::ExecutorToFrameworkMessage {
    fn to_event(&self) -> Result<scheduler::Event, ConvertError> {
        Ok(scheduler::Event {
            message: Some(scheduler::event::Message {
                agent_id: v0_to_v1(&self.slave_id)?,
                executor_id: v0_to_v1(&self.executor_id)?,
                data: self.data.clone(),
            }),
            ..scheduler_event(scheduler::event::Type::Message)
        })
    }
}

impl ToSchedulerEvent for internal::LostSlaveMessage {
    fn to_event(&self) -> Result<scheduler::Event, ConvertError> {
        Ok(scheduler::Event {
            failure: Some(scheduler::event::Failure {
                agent_id: Some(v0_to_v1(&self.slave_id)?),
                ..Default::default()
            }),
            ..scheduler_event(scheduler::event::Type::Failure)
        })
    }
}

impl ToSchedulerEvent for internal::ExitedExecutorMessage {
    fn to_event(&self) -> Result<scheduler::Event, ConvertError> {
        Ok(scheduler::Event {
            failure: Some(scheduler::event::Failure {
                agent_id: Some(v0_to_v1(&self.slave_id)?),
                executor_id: Some(v0_to_v1(&self.executor_id)?),
                status: Some(self.status),
            }),
            ..scheduler_event(scheduler::event::Type::Failure)
        })
    }
}

impl ToExecutorEvent for internal::ExecutorRegisteredMessage {
    fn to_event(&self) -> Result<executor::Event, ConvertError> {
        Ok(executor::Event {
            subscribed: Some(executor::event::Subscribed {
                executor_info: v0_to_v1(&self.executor_info)?,
                framework_info: v0_to_v1(&self.framework_info)?,
                agent_info: v0_to_v1(&self.slave_info)?,
                container_id: None,
            }),
            ..executor_event(executor::event::Type::Subscribed)
        })
    }
}

impl ToExecutorEvent for internal::RunTaskMessage {
    fn to_event(&self) -> Result<executor::Event, ConvertError> {
        Ok(executor::Event {
            launch: Some(executor::event::Launch {
                task: v0_to_v1(&self.task)?,
            }),
            ..executor_event(executor::event::Type::Launch)
        })
    }
}

impl ToExecutorEvent for internal::RunTaskGroupMessage {
    fn to_event(&self) -> Result<executor::Event, ConvertError> {
        Ok(executor::Event {
            launch_group: Some(executor::event::LaunchGroup {
                task_group: v0_to_v1(&self.task_group)?,
            }),
            ..executor_event(executor::event::Type::LaunchGroup)
        })
    }
}

impl ToExecutorEvent for internal::KillTaskMessage {
    fn to_event(&self) -> Result<executor::Event, ConvertError> {
        Ok(executor::Event {
            kill: Some(executor::event::Kill {
                task_id: v0_to_v1(&self.task_id)?,
                kill_policy: super::optional(&self.kill_policy)?,
            }),
            ..executor_event(executor::event::Type::Kill)
        })
    }
}

impl ToExecutorEvent for internal::StatusUpdateAcknowledgementMessage {
    fn to_event(&self) -> Result<executor::Event, ConvertError> {
        Ok(executor::Event {
            acknowledged: Some(executor::event::Acknowledged {
                task_id: v0_to_v1(&self.task_id)?,
                uuid: self.uuid.clone(),
            }),
            ..executor_event(executor::event::Type::Acknowledged)
        })
    }
}

impl ToExecutorEvent for internal::FrameworkToExecutorMessage {
    fn to_event(&self) -> Result<executor::Event, ConvertError> {
        Ok(executor::Event {
            message: Some(executor::event::Message {
                data: self.data.clone(),
            }),
            ..executor_event(executor::event::Type::Message)
        })
    }
}

impl ToExecutorEvent for internal::ShutdownExecutorMessage {
    fn to_event(&self) -> Result<executor::Event, ConvertError> {
        Ok(executor_event(executor::event::Type::Shutdown))
    }
}

/// Events for subscribers of the operator API, in their internal form. Upstream: `master::event` in
/// `src/common/protobuf_utils.cpp`.
pub mod operator_event {
    use crate::proto::master::event::Type;
    use crate::proto::master::response::{get_agents, get_frameworks};
    use crate::proto::master::{Event, event};
    use crate::proto::{FrameworkInfo, SlaveId, Task, TaskState, TaskStatus};

    fn of(kind: Type) -> Event {
        Event {
            r#type: Some(kind.into()),
            ..Default::default()
        }
    }

    /// A sign of life.
    pub fn heartbeat() -> Event {
        of(Type::Heartbeat)
    }

    /// A task was launched, or came back with its agent.
    pub fn task_added(task: Task) -> Event {
        Event {
            task_added: Some(event::TaskAdded { task }),
            ..of(Type::TaskAdded)
        }
    }

    /// `status` is the update that is being delivered, `state` the latest one the agent knows.
    pub fn task_updated(task: &Task, state: TaskState, status: TaskStatus) -> Event {
        Event {
            task_updated: Some(event::TaskUpdated {
                framework_id: task.framework_id.clone(),
                status,
                state: state.into(),
            }),
            ..of(Type::TaskUpdated)
        }
    }

    /// An agent registered.
    pub fn agent_added(agent: get_agents::Agent) -> Event {
        Event {
            agent_added: Some(event::AgentAdded { agent }),
            ..of(Type::AgentAdded)
        }
    }

    /// An agent is gone for good.
    pub fn agent_removed(agent_id: SlaveId) -> Event {
        Event {
            agent_removed: Some(event::AgentRemoved { agent_id }),
            ..of(Type::AgentRemoved)
        }
    }

    /// A framework subscribed for the first time, or was recovered.
    pub fn framework_added(framework: get_frameworks::Framework) -> Event {
        Event {
            framework_added: Some(event::FrameworkAdded { framework }),
            ..of(Type::FrameworkAdded)
        }
    }

    /// A framework subscribed again, or changed its description.
    pub fn framework_updated(framework: get_frameworks::Framework) -> Event {
        Event {
            framework_updated: Some(event::FrameworkUpdated { framework }),
            ..of(Type::FrameworkUpdated)
        }
    }

    /// A framework was torn down.
    pub fn framework_removed(framework_info: FrameworkInfo) -> Event {
        Event {
            framework_removed: Some(event::FrameworkRemoved { framework_info }),
            ..of(Type::FrameworkRemoved)
        }
    }
}
