//! What the master knows: agents, frameworks, tasks and offers.
//!
//! Every record sits behind an [`Arc`] and so do the maps that hold them. A [`ClusterState`] is
//! therefore cloned in constant time, and what a clone shows never changes: the master copies a
//! record (or map) only when it changes one that a clone still shares.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};
use libprocess::Upid;
use mesos::ids::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId};
use mesos::proto::{self, TaskState};
use mesos::resources::Resources;
use uuid::Uuid;

use super::capabilities::{AgentCapabilities, FrameworkCapabilities};
use super::effects::StreamId;
use super::machines::{MachineId, Machines};
use super::task_state::TASK_STATES;
use super::time::Timestamp;
use crate::allocator::Quota;

/// A task that is running, or was.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its framework.
    pub framework_id: FrameworkId,
    /// Its agent.
    pub agent_id: AgentId,
    /// Its executor; none for tasks that are a command.
    pub executor_id: Option<ExecutorId>,
    /// Its latest state, which may be ahead of what the scheduler acknowledged.
    pub state: TaskState,
    /// What it uses.
    pub resources: Resources,
    /// The wire form. Its `state` follows [`Task::state`].
    pub info: proto::Task,
}

impl Task {
    /// Changes the state.
    pub fn set_state(&mut self, state: TaskState) {
        self.state = state;
        self.info.state = state as i32;
    }

    /// The role its resources are allocated to.
    #[must_use]
    pub fn role(&self) -> &str {
        self.info
            .resources
            .first()
            .and_then(|resource| resource.allocation_info.as_ref())
            .map_or("*", |allocation| allocation.role())
    }
}

/// An executor on an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Executor {
    /// Its description.
    pub info: proto::ExecutorInfo,
    /// What it uses.
    pub resources: Resources,
}

/// An offer that a scheduler has not answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// Whose it is.
    pub framework_id: FrameworkId,
    /// The agent of all its resources.
    pub agent_id: AgentId,
    /// The role of all its resources.
    pub role: String,
    /// The resources.
    pub resources: Resources,
    /// The wire form, with resources as the master sees them.
    pub info: proto::Offer,
}

/// A framework is asked to leave an agent, and has not answered.
#[derive(Clone, Debug, PartialEq)]
pub struct InverseOffer {
    /// Its id.
    pub id: OfferId,
    /// Who is asked.
    pub framework_id: FrameworkId,
    /// Which agent to leave.
    pub agent_id: AgentId,
    /// The wire form.
    pub info: proto::InverseOffer,
}

/// An operation that an agent applies.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its framework; none for operators' operations.
    pub framework_id: Option<FrameworkId>,
    /// The wire form.
    pub info: proto::Operation,
}

/// A resource provider of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceProvider {
    /// Its description.
    pub info: proto::ResourceProviderInfo,
    /// Everything it provides.
    pub total: Resources,
    /// Version of its resources.
    pub resource_version: Bytes,
}

/// An agent that is registered.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its description.
    pub info: Arc<proto::SlaveInfo>,
    /// Where it listens.
    pub pid: Upid,
    /// Its release.
    pub version: String,
    /// What it can handle.
    pub capabilities: AgentCapabilities,
    /// When it first registered with this master.
    pub registered_time: Timestamp,
    /// When it last re-registered.
    pub reregistered_time: Option<Timestamp>,
    /// Whether its link holds.
    pub connected: bool,
    /// Whether it may be offered.
    pub active: bool,
    /// Whether an operator took it out of service.
    pub deactivated: bool,
    /// Everything it has, without allocation.
    pub total: Resources,
    /// Dynamic reservations and volumes on it.
    pub checkpointed: Resources,
    /// What is offered of it.
    pub offered: Resources,
    /// What frameworks use on it.
    pub used: IndexMap<FrameworkId, Resources>,
    /// Tasks on it, including terminal ones that are not acknowledged.
    pub tasks: IndexMap<FrameworkId, IndexSet<TaskId>>,
    /// Tasks that a scheduler wants killed.
    pub killed_tasks: IndexMap<FrameworkId, IndexSet<TaskId>>,
    /// Executors on it, apart from command executors.
    pub executors: IndexMap<FrameworkId, IndexMap<ExecutorId, Arc<Executor>>>,
    /// Offers of it.
    pub offers: IndexSet<OfferId>,
    /// Inverse offers of it.
    pub inverse_offers: IndexSet<OfferId>,
    /// Operations that it applies or whose end is not acknowledged.
    pub operations: IndexMap<Uuid, Arc<Operation>>,
    /// Version of its own resources.
    pub resource_version: Option<Bytes>,
    /// Its resource providers.
    pub resource_providers: IndexMap<String, ResourceProvider>,
}

impl Agent {
    /// The machine it runs on.
    #[must_use]
    pub fn machine(&self) -> MachineId {
        MachineId::of_agent(&self.info.hostname, self.pid.address().ip())
    }

    /// What all frameworks use on it.
    #[must_use]
    pub fn used_total(&self) -> Resources {
        let mut total = Resources::default();
        for used in self.used.values() {
            total += used;
        }
        total
    }

    /// Whether it runs that executor of that framework.
    #[must_use]
    pub fn executor(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorId,
    ) -> Option<&Arc<Executor>> {
        self.executors.get(framework)?.get(executor)
    }

    /// Everything frameworks use on it, as the allocator wants it.
    #[must_use]
    pub fn used_by_framework(&self) -> BTreeMap<FrameworkId, Resources> {
        self.used
            .iter()
            .map(|(id, used)| (id.clone(), used.clone()))
            .collect()
    }
}

/// How a scheduler is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// By libprocess messages (v0).
    Pid(Upid),
    /// By an HTTP stream (v1).
    Http(StreamId),
}

impl Connection {
    /// The PID of a v0 scheduler.
    #[must_use]
    pub fn pid(&self) -> Option<&Upid> {
        match self {
            Self::Pid(pid) => Some(pid),
            Self::Http(_) => None,
        }
    }
}

/// Where a framework stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameworkState {
    /// Known only from its agents since this master leads.
    Recovered,
    /// Its scheduler is connected.
    Connected(Connection),
    /// Its scheduler is gone for now; where it was connected last.
    Disconnected(Connection),
}

/// A framework that is subscribed, or was.
#[derive(Clone, Debug)]
pub struct Framework {
    /// Its id.
    pub id: FrameworkId,
    /// Its description.
    pub info: Arc<proto::FrameworkInfo>,
    /// What it can handle.
    pub capabilities: FrameworkCapabilities,
    /// The roles it subscribes to.
    pub roles: BTreeSet<String>,
    /// Roles it wants no offers for.
    pub suppressed_roles: BTreeSet<String>,
    /// Its constraints on agents.
    pub offer_constraints: Option<Arc<proto::scheduler::OfferConstraints>>,
    /// Where it stands.
    pub state: FrameworkState,
    /// Whether it receives offers.
    pub active: bool,
    /// When it subscribed with this master first.
    pub registered_time: Timestamp,
    /// When it subscribed last.
    pub reregistered_time: Timestamp,
    /// When it ended.
    pub unregistered_time: Option<Timestamp>,
    /// Its tasks, including terminal ones that are not acknowledged.
    pub tasks: IndexMap<TaskId, Arc<Task>>,
    /// Its tasks on unreachable agents, oldest first.
    pub unreachable_tasks: IndexMap<TaskId, Arc<Task>>,
    /// Its tasks that ended, oldest first.
    pub completed_tasks: VecDeque<Arc<Task>>,
    /// Its offers.
    pub offers: IndexSet<OfferId>,
    /// Inverse offers to it.
    pub inverse_offers: IndexSet<OfferId>,
    /// Its executors, apart from command executors.
    pub executors: IndexMap<AgentId, IndexMap<ExecutorId, Arc<Executor>>>,
    /// What it uses on each agent.
    pub used: IndexMap<AgentId, Resources>,
    /// What it is offered on each agent.
    pub offered: IndexMap<AgentId, Resources>,
}

impl Framework {
    /// The connection, if the scheduler is connected.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        match &self.state {
            FrameworkState::Connected(connection) => Some(connection),
            FrameworkState::Recovered | FrameworkState::Disconnected(_) => None,
        }
    }

    /// Whether the scheduler is connected.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.connection().is_some()
    }

    /// Whether the framework is only known from its agents.
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.state == FrameworkState::Recovered
    }

    /// The PID of a v0 scheduler, connected or not.
    #[must_use]
    pub fn pid(&self) -> Option<&Upid> {
        match &self.state {
            FrameworkState::Connected(connection) | FrameworkState::Disconnected(connection) => {
                connection.pid()
            }
            FrameworkState::Recovered => None,
        }
    }

    /// The stream of a v1 scheduler that is connected.
    #[must_use]
    pub fn stream(&self) -> Option<StreamId> {
        match self.connection() {
            Some(Connection::Http(stream)) => Some(*stream),
            _ => None,
        }
    }

    /// What it uses everywhere.
    #[must_use]
    pub fn used_total(&self) -> Resources {
        sum(self.used.values())
    }

    /// What it is offered everywhere.
    #[must_use]
    pub fn offered_total(&self) -> Resources {
        sum(self.offered.values())
    }

    /// A task that is not yet acknowledged to have ended.
    #[must_use]
    pub fn task(&self, id: &TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(id)
    }
}

fn sum<'a>(parts: impl Iterator<Item = &'a Resources>) -> Resources {
    let mut total = Resources::default();
    for part in parts {
        total += part;
    }
    total
}

/// The roles a framework subscribes to.
#[must_use]
pub fn roles_of(
    info: &proto::FrameworkInfo,
    capabilities: FrameworkCapabilities,
) -> BTreeSet<String> {
    if capabilities.multi_role {
        info.roles.iter().cloned().collect()
    } else {
        BTreeSet::from([info.role().to_owned()])
    }
}

/// Numbers that are kept rather than counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Live tasks by state number.
    pub tasks: [i64; TASK_STATES],
    /// Remembered tasks of unreachable agents in state TASK_UNREACHABLE.
    pub tasks_unreachable: i64,
    /// Agents whose link holds.
    pub agents_connected: i64,
    /// Agents that may be offered.
    pub agents_active: i64,
    /// Frameworks whose scheduler is connected.
    pub frameworks_connected: i64,
    /// Frameworks that receive offers.
    pub frameworks_active: i64,
}

/// All that reads are rendered from. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct ClusterState {
    /// This master.
    pub info: Arc<proto::MasterInfo>,
    /// When this process started.
    pub start_time: Timestamp,
    /// When this master was elected.
    pub elected_time: Option<Timestamp>,
    /// The leading master.
    pub leader: Option<Arc<proto::MasterInfo>>,
    /// Registered agents.
    pub agents: Arc<IndexMap<AgentId, Arc<Agent>>>,
    /// Agents of the registry that are not back yet.
    pub recovered_agents: Arc<IndexMap<AgentId, Arc<proto::SlaveInfo>>>,
    /// Agents that failed their health checks, oldest first, and since when.
    pub unreachable_agents: Arc<IndexMap<AgentId, Timestamp>>,
    /// Frameworks that have not ended.
    pub frameworks: Arc<IndexMap<FrameworkId, Arc<Framework>>>,
    /// Frameworks that ended, oldest first.
    pub completed_frameworks: Arc<IndexMap<FrameworkId, Arc<Framework>>>,
    /// Offers that are out.
    pub offers: Arc<IndexMap<OfferId, Arc<Offer>>>,
    /// Quotas by role, none of them the default one.
    pub quotas: Arc<BTreeMap<String, Quota>>,
    /// Weights that were set, by role.
    pub weights: Arc<BTreeMap<String, f64>>,
    /// Inverse offers that are out.
    pub inverse_offers: Arc<IndexMap<OfferId, Arc<InverseOffer>>>,
    /// Machines in maintenance.
    pub machines: Arc<Machines>,
    /// Kept numbers.
    pub counts: Counts,
}

impl ClusterState {
    /// The state of a master that has just started.
    #[must_use]
    pub fn new(info: proto::MasterInfo, start_time: Timestamp) -> Self {
        Self {
            info: Arc::new(info),
            start_time,
            elected_time: None,
            leader: None,
            agents: Arc::default(),
            recovered_agents: Arc::default(),
            unreachable_agents: Arc::default(),
            frameworks: Arc::default(),
            completed_frameworks: Arc::default(),
            offers: Arc::default(),
            quotas: Arc::default(),
            weights: Arc::default(),
            inverse_offers: Arc::default(),
            machines: Arc::default(),
            counts: Counts::default(),
        }
    }

    /// Whether this master leads.
    #[must_use]
    pub fn elected(&self) -> bool {
        self.leader
            .as_ref()
            .is_some_and(|leader| leader.id == self.info.id)
    }
}
