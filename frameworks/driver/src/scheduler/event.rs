//! What the driver tells the scheduler, queued between the driver's actor and the callback thread.

use bytes::Bytes;
use mesos::proto::{
    ExecutorId, FrameworkId, MasterInfo, Offer, OfferId, SlaveId, TaskId, TaskStatus,
};

/// One callback to be made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SchedulerEvent {
    Registered {
        framework_id: FrameworkId,
        master_info: MasterInfo,
    },
    Reregistered {
        master_info: MasterInfo,
    },
    Disconnected,
    ResourceOffers(Vec<Offer>),
    OfferRescinded(OfferId),
    StatusUpdate {
        status: Box<TaskStatus>,
        /// To be sent when the callback has returned.
        acknowledgement: Option<Acknowledgement>,
    },
    FrameworkMessage {
        executor_id: ExecutorId,
        agent_id: SlaveId,
        data: Bytes,
    },
    AgentLost(SlaveId),
    ExecutorLost {
        executor_id: ExecutorId,
        agent_id: SlaveId,
        status: i32,
    },
    Error(String),
}

/// What an acknowledgement of a status update consists of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Acknowledgement {
    pub(crate) agent_id: SlaveId,
    pub(crate) task_id: TaskId,
    pub(crate) uuid: Bytes,
}
