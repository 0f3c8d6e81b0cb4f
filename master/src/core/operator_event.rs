//! What subscribed operators are told.

use std::sync::Arc;

use mesos::ids::{AgentId, FrameworkId};
use mesos::proto::{self, TaskState};

use super::state::{Agent, Framework, Task};

/// An event of the operator stream. It shares the records it tells of; the wire form is made off
/// the master's turn.
#[derive(Clone, Debug)]
pub enum OperatorEvent {
    /// A task was launched or came back with its agent.
    TaskAdded(Arc<Task>),
    /// A task changed.
    TaskUpdated {
        /// Its framework.
        framework_id: FrameworkId,
        /// The status that changed it.
        status: Box<proto::TaskStatus>,
        /// Its latest state.
        state: TaskState,
    },
    /// An agent joined.
    AgentAdded(Arc<Agent>),
    /// An agent left.
    AgentRemoved(AgentId),
    /// A framework subscribed or was recovered.
    FrameworkAdded(Arc<Framework>),
    /// A framework re-subscribed or changed.
    FrameworkUpdated(Arc<Framework>),
    /// A framework ended.
    FrameworkRemoved(Arc<proto::FrameworkInfo>),
}
