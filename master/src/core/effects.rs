//! Everything the core asks of the outside world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libprocess::Upid;
use mesos::ids::{AgentId, FrameworkId, OfferId};
use mesos::proto;
use mesos::proto::scheduler::OfferConstraints;
use mesos::resources::{ResourceConversion, Resources};
use uuid::Uuid;

use super::agent_registration::PendingAdmission;
use super::capabilities::AgentCapabilities;
use super::event::SchedulerEvent;
use super::machines::MaintenanceOperation;
use super::metrics::{Counter, FrameworkCounter, OperationGauge};
use super::operator_event::OperatorEvent;
use super::quota::StoredQuota;
use super::time::Timestamp;
use super::weights::StoredWeights;
use crate::allocator::Quota;

/// An HTTP stream of a scheduler. Its text form is the `Mesos-Stream-Id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub Uuid);

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A request of an operator that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

/// A message to another process.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Full protobuf name.
    pub name: String,
    /// Encoded message.
    pub body: Bytes,
}

impl Outgoing {
    /// Encodes `message`.
    #[must_use]
    pub fn new<M: prost::Message + prost::Name>(message: &M) -> Self {
        Self {
            name: M::full_name(),
            body: message.encode_to_vec().into(),
        }
    }
}

/// A timer of the core. Starting one that runs replaces it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A disconnected agent must be back by then.
    AgentReregistration(AgentId),
    /// Agents of the registry must be back by then.
    RecoveredAgents,
    /// A disconnected framework must be back by then.
    FrameworkFailover(FrameworkId),
    /// An offer is rescinded if unanswered.
    OfferTimeout(OfferId),
    /// An inverse offer is rescinded if unanswered.
    InverseOfferTimeout(OfferId),
    /// The next heartbeat of a scheduler's stream.
    Heartbeat(StreamId),
    /// The rate limiter lets this agent become unreachable.
    UnreachablePermit(AgentId),
    /// Old unreachable and gone agents are dropped from the registry.
    RegistryGc,
}

/// How a link to a peer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkMode {
    /// Use the existing connection if there is one.
    Reuse,
    /// Drop an existing connection, which may be half open, and connect again.
    Reconnect,
}

/// A change of the registry. Upstream: `src/master/registry_operations.cpp`.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistryOperation {
    /// Adds an agent; refused if the id is admitted already.
    Admit(Box<proto::SlaveInfo>),
    /// Replaces the information on an agent; refused if it is not admitted.
    Update(Box<proto::SlaveInfo>),
    /// Moves an agent to the unreachable ones; refused if it is not admitted.
    MarkUnreachable(AgentId, Timestamp),
    /// Admits an agent, whether it is unreachable or unknown.
    MarkReachable(Box<proto::SlaveInfo>),
    /// Removes an agent; refused if it is not admitted.
    Remove(AgentId),
    /// Drops unreachable and gone agents from memory.
    Prune {
        /// Unreachable agents to forget.
        unreachable: Vec<AgentId>,
        /// Gone agents to forget.
        gone: Vec<AgentId>,
    },
    /// Sets the quota of roles; the default quota removes it.
    UpdateQuota(BTreeMap<String, Quota>),
    /// Sets weights of roles.
    UpdateWeights(BTreeMap<String, f64>),
    /// Changes schedules and machines; refused if they are not as the change needs them.
    Maintenance(Arc<MaintenanceOperation>),
}

/// What the core continues with once the registry has stored an operation.
#[derive(Clone, Debug)]
pub enum RegistryContinuation {
    /// Add the new agent.
    Admitted(Box<PendingAdmission>),
    /// Go on with re-registration.
    Readmitted(Box<PendingAdmission>),
    /// The agent is unreachable since the given time.
    Unreachable(AgentId, Timestamp),
    /// The agent is removed.
    Removed {
        /// Which agent.
        agent: AgentId,
        /// Why, for the metric.
        reason: RemovalReason,
    },
    /// Forget these agents.
    Pruned {
        /// Unreachable agents to forget.
        unreachable: Vec<AgentId>,
        /// Gone agents to forget.
        gone: Vec<AgentId>,
    },
    /// Enforce the quota of roles.
    QuotaStored(StoredQuota),
    /// Enforce the weights of roles.
    WeightsStored(StoredWeights),
    /// Schedules and machines changed, for the one who waits for it.
    Maintained(Arc<MaintenanceOperation>, RequestId),
}

/// Why an agent was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalReason {
    /// It said goodbye.
    Unregistered,
    /// Another agent registered from its address.
    Replaced,
    /// An operator brought its machine down.
    MachineDown,
}

impl RemovalReason {
    /// The reason, as frameworks are told it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unregistered => "the agent unregistered",
            Self::Replaced => "a new agent registered at the same address",
            Self::MachineDown => "Operator initiated 'Machine DOWN'",
        }
    }
}

/// A fact told to the allocator. Upstream: `include/mesos/allocator/allocator.hpp`.
#[derive(Clone, Debug)]
pub enum AllocatorCall {
    /// The registry is read; this many agents may come back.
    Recover {
        /// Admitted agents in the registry.
        expected_agents: usize,
        /// Quotas in the registry, by role.
        quotas: BTreeMap<String, Quota>,
    },
    /// A framework subscribed for the first time or was recovered from its agents.
    AddFramework {
        /// Its id.
        id: FrameworkId,
        /// Its description.
        info: Arc<proto::FrameworkInfo>,
        /// What its tasks and executors hold.
        used: BTreeMap<AgentId, Resources>,
        /// Whether it receives offers.
        active: bool,
        /// Roles it wants no offers for.
        suppressed: BTreeSet<String>,
        /// Its constraints on agents.
        constraints: Option<Arc<OfferConstraints>>,
    },
    /// A framework ended.
    RemoveFramework(FrameworkId),
    /// A framework may receive offers again.
    ActivateFramework(FrameworkId),
    /// A framework must not receive offers.
    DeactivateFramework(FrameworkId),
    /// A framework changed its description, suppressed roles or constraints.
    UpdateFramework {
        /// Its id.
        id: FrameworkId,
        /// Its new description.
        info: Arc<proto::FrameworkInfo>,
        /// All roles it wants no offers for.
        suppressed: BTreeSet<String>,
        /// Its constraints on agents.
        constraints: Option<Arc<OfferConstraints>>,
    },
    /// An agent registered.
    AddAgent {
        /// Its id.
        id: AgentId,
        /// Its description.
        info: Arc<proto::SlaveInfo>,
        /// Its capabilities.
        capabilities: AgentCapabilities,
        /// Everything it has.
        total: Resources,
        /// What frameworks hold on it.
        used: BTreeMap<FrameworkId, Resources>,
    },
    /// An agent is gone.
    RemoveAgent(AgentId),
    /// An agent changed.
    UpdateAgent {
        /// Its id.
        id: AgentId,
        /// Its new description.
        info: Arc<proto::SlaveInfo>,
        /// Its new total, if that changed.
        total: Option<Resources>,
        /// Its new capabilities, if they may have changed.
        capabilities: Option<AgentCapabilities>,
    },
    /// An agent may be offered.
    ActivateAgent(AgentId),
    /// An agent must not be offered.
    DeactivateAgent(AgentId),
    /// A framework asked for resources.
    RequestResources {
        /// Who asked.
        framework: FrameworkId,
        /// What for.
        requests: Vec<proto::Request>,
    },
    /// Offered resources changed their form by operations.
    UpdateAllocation {
        /// Whose offer it was.
        framework: FrameworkId,
        /// On which agent.
        agent: AgentId,
        /// What was offered.
        offered: Resources,
        /// What operations exchanged, in order.
        conversions: Vec<ResourceConversion>,
    },
    /// Offered resources are in use now.
    TransitionOfferedToAllocated {
        /// Who uses them.
        framework: FrameworkId,
        /// On which agent.
        agent: AgentId,
        /// Which resources.
        resources: Resources,
    },
    /// Resources are free again.
    RecoverResources {
        /// Who held them.
        framework: FrameworkId,
        /// On which agent.
        agent: AgentId,
        /// Which resources.
        resources: Resources,
        /// Filter to install for the framework, if it refused them.
        filters: Option<proto::Filters>,
        /// Whether they were in use rather than only offered.
        allocated: bool,
    },
    /// No offers for these roles; an empty set means all.
    SuppressOffers {
        /// Who asked.
        framework: FrameworkId,
        /// Which roles.
        roles: BTreeSet<String>,
    },
    /// Offers for these roles again, without filters; an empty set means all.
    ReviveOffers {
        /// Who asked.
        framework: FrameworkId,
        /// Which roles.
        roles: BTreeSet<String>,
    },
    /// A resource provider of an agent added its part.
    AddResourceProvider {
        /// On which agent.
        agent: AgentId,
        /// The part.
        total: Resources,
        /// What frameworks hold of it.
        used: BTreeMap<FrameworkId, Resources>,
    },
    /// An agent is to be unavailable for some time, or not any more.
    UpdateUnavailability {
        /// Which agent.
        agent: AgentId,
        /// When and for how long.
        unavailability: Option<proto::Unavailability>,
    },
    /// An inverse offer was answered, or is not open any more.
    UpdateInverseOffer {
        /// Of which agent.
        agent: AgentId,
        /// Who answered.
        framework: FrameworkId,
        /// The answer; none if there was none.
        status: Option<proto::allocator::InverseOfferStatus>,
        /// For how long the framework does not want to be asked again.
        filters: Option<proto::Filters>,
    },
    /// Which agents may be offered, by host name; none means all.
    UpdateWhitelist(Option<BTreeSet<String>>),
    /// The quota of a role changed; the default quota means none.
    UpdateQuota {
        /// Which role.
        role: String,
        /// Its guarantees and limits.
        quota: Quota,
    },
    /// Weights of roles changed.
    UpdateWeights(BTreeMap<String, f64>),
    /// No runs until resumed.
    Pause,
    /// Runs again.
    Resume,
}

/// The outside world of the core. One turn of the master calls the core once; what it asks for is
/// done in the order asked.
pub trait Effects {
    /// The present time.
    fn now(&self) -> Timestamp;
    /// A random (version 4) UUID.
    fn new_uuid(&mut self) -> Uuid;
    /// Sends a message to a process.
    fn send(&mut self, to: &Upid, message: Outgoing);
    /// Links to a process: [`super::Master::on_exited`] follows when it or the connection ends.
    fn link(&mut self, to: &Upid, mode: LinkMode);
    /// Sends an event to a scheduler's HTTP stream.
    fn send_event(&mut self, stream: StreamId, event: &SchedulerEvent);
    /// Ends a scheduler's HTTP stream after what was sent to it.
    fn close_stream(&mut self, stream: StreamId);
    /// Starts (or restarts) a timer.
    fn start_timer(&mut self, timer: Timer, after: Duration);
    /// Stops a timer; unknown timers are ignored.
    fn cancel_timer(&mut self, timer: &Timer);
    /// Applies an operation to the registry, then continues the core.
    fn apply_registry(&mut self, operation: RegistryOperation, then: RegistryContinuation);
    /// Tells the allocator a fact.
    fn allocator(&mut self, call: AllocatorCall);
    /// Starts to ping an agent.
    fn observe(&mut self, agent: &AgentId, pid: &Upid);
    /// Tells an agent's observer whether the agent is connected.
    fn observe_connected(&mut self, agent: &AgentId, connected: bool);
    /// Stops to ping an agent.
    fn unobserve(&mut self, agent: &AgentId);
    /// Answers a request of an operator: whether the registry took what it asked for.
    fn done(&mut self, request: RequestId, applied: bool);
    /// Tells the operators who subscribed to events.
    fn publish(&mut self, event: OperatorEvent);
    /// Whether anybody subscribed to events, so that building them is worthwhile.
    fn has_subscribers(&self) -> bool;
    /// Adds one to a counter.
    fn count(&mut self, counter: Counter);
    /// Adds one to `master/<state>/<source>/<reason>`.
    fn count_task_state(
        &mut self,
        state: proto::TaskState,
        source: proto::task_status::Source,
        reason: proto::task_status::Reason,
    );
    /// Creates the metrics of a framework.
    fn add_framework_metrics(&mut self, id: &FrameworkId, info: &proto::FrameworkInfo);
    /// Shows in the metrics of a framework which of its roles are suppressed.
    fn show_suppressed(
        &mut self,
        id: &FrameworkId,
        roles: &BTreeSet<String>,
        suppressed: &BTreeSet<String>,
    );
    /// Drops the metrics of a framework.
    fn remove_framework_metrics(&mut self, id: &FrameworkId);
    /// Adds one to a counter of a framework.
    fn count_framework(&mut self, id: &FrameworkId, counter: FrameworkCounter);
    /// Changes `master/operations/[<type>/]<state>` by `delta`.
    fn count_operations(
        &mut self,
        r#type: proto::offer::operation::Type,
        gauge: OperationGauge,
        delta: i64,
    );
    /// Ends the process: the master relies on its supervisor to start anew.
    fn exit(&mut self, reason: String);
}

impl dyn Effects + '_ {
    /// Encodes and sends a message to a process.
    pub fn send_message<M: prost::Message + prost::Name>(&mut self, to: &Upid, message: &M) {
        self.send(to, Outgoing::new(message));
    }
}
