//! What the allocator refuses.

use mesos::resources::{OperationError, QuantitiesError, ValidationError};
use mesos::roles::RoleError;
use thiserror::Error;

use super::constraints::ConstraintError;
use super::{AgentId, FrameworkId};

/// An event that cannot be true, or cannot be done. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum AllocatorError {
    /// The framework was added before.
    #[error("framework {0} is already known")]
    DuplicateFramework(FrameworkId),
    /// The framework was not added, or was removed.
    #[error("framework {0} is not known")]
    UnknownFramework(FrameworkId),
    /// The agent was added before.
    #[error("agent {0} is already known")]
    DuplicateAgent(AgentId),
    /// The agent was not added, or was removed.
    #[error("agent {0} is not known")]
    UnknownAgent(AgentId),
    /// No framework is subscribed to the role.
    #[error("no framework is subscribed to role '{0}'")]
    UnknownRole(String),
    /// A name of a role is not valid.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// The offer constraints of a framework are not valid.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// The least bundle that a framework wants is not valid.
    #[error("min_allocatable_resources: {0}")]
    MinAllocatable(#[from] QuantitiesError),
    /// The resources that a framework asked for are not valid.
    #[error("requested resources: {0}")]
    Request(#[from] ValidationError),
    /// A framework asks for more than can be counted.
    #[error("framework {0} asks for more than can be counted")]
    DemandTooLarge(FrameworkId),
    /// Resources of an offer or a task are not allocated to exactly one role.
    #[error("{0} is not allocated to exactly one role")]
    AllocationRole(String),
    /// The total of an agent is allocated to roles.
    #[error("the total of agent {agent} is allocated: {total}")]
    AllocatedTotal {
        /// The agent.
        agent: AgentId,
        /// Its total.
        total: String,
    },
    /// The cluster would have more of something than can be counted.
    #[error("the resources of agent {0} exceed what the cluster can count")]
    TooLarge(AgentId),
    /// Resources come back, or go into use, that the framework does not hold.
    #[error("framework {framework} does not hold {resources} on agent {agent}")]
    NotHeld {
        /// The framework.
        framework: FrameworkId,
        /// The agent.
        agent: AgentId,
        /// What it is said to hold.
        resources: String,
    },
    /// An operation cannot be applied to the resources of an agent.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// A conversion changes amounts other than by removing resources.
    #[error("a conversion on agent {0} changes amounts")]
    Amounts(AgentId),
    /// An answer to an inverse offer says neither yes nor no.
    #[error(
        "framework {framework} answered neither yes nor no to an inverse offer of agent {agent}"
    )]
    InverseOfferStatus {
        /// The framework.
        framework: FrameworkId,
        /// The agent.
        agent: AgentId,
    },
    /// A weight is not a number greater than 0.
    #[error("weight {weight} of role '{role}' is not a number greater than 0")]
    Weight {
        /// The role.
        role: String,
        /// Its weight.
        weight: f64,
    },
    /// Quota is set for a role below another.
    #[error("quota cannot be set for '{0}', which is not a top-level role")]
    QuotaRole(String),
}
