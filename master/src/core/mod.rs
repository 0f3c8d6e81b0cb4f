//! The master as a plain state machine: events in, effects out.
//!
//! [`Master`] owns all state. Each event has one synchronous `on_*` function; what must happen
//! outside leaves through the [`Effects`] trait. Time, UUIDs and the network are on the other
//! side of it, so that every behaviour can be tested without them.
//! Upstream: `src/master/master.cpp`.

pub mod accept;
pub mod agent_registration;
pub mod agent_removal;
pub mod agent_reregistration;
pub mod agent_update;
pub mod calls;
pub mod capabilities;
pub mod effects;
pub mod event;
pub mod framework_removal;
pub mod inverse_offers;
pub mod launch;
pub mod ledger;
pub mod machines;
pub mod maintenance;
pub mod metrics;
pub mod offers;
pub mod operations;
pub mod operator_event;
pub mod quota;
pub mod reconciliation;
pub mod recovery;
pub mod resource_gauges;
pub mod role_usage;
pub mod sanity;
pub mod state;
pub mod status_updates;
pub mod subscription;
pub mod task_state;
pub mod time;
pub mod update_framework;
pub mod validation;
pub mod weights;
pub mod wire;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use indexmap::{IndexMap, IndexSet};
use libprocess::Upid;
use mesos::ids::{AgentId, FrameworkId, OfferId, TaskId};
use mesos::proto;
use mesos::roles::STAR;

pub use effects::Effects;
use effects::{LinkMode, StreamId, Timer};
use event::SchedulerEvent;
use metrics::{FrameworkCounter, Gauge};
use resource_gauges::ResourceGauges;
use state::{Agent, ClusterState, Connection, Framework, FrameworkState, Offer, Task};
use time::Timestamp;

/// Settings of the master, from its flags.
#[derive(Clone, Debug)]
pub struct MasterConfig {
    /// Interval of pings.
    pub agent_ping_timeout: Duration,
    /// Missed pings until an agent is unreachable.
    pub max_agent_ping_timeouts: u32,
    /// How long a lost agent may take to come back.
    pub agent_reregister_timeout: Duration,
    /// Least time between two agents becoming unreachable.
    pub agent_removal_interval: Option<Duration>,
    /// Largest share of agents, 0 to 1, that may be missing after a failover.
    pub recovery_agent_removal_limit: f64,
    /// How long offers may stay unanswered.
    pub offer_timeout: Option<Duration>,
    /// Ended frameworks to remember.
    pub max_completed_frameworks: usize,
    /// Ended tasks to remember for each framework.
    pub max_completed_tasks_per_framework: usize,
    /// Tasks on unreachable agents to remember for each framework.
    pub max_unreachable_tasks_per_framework: usize,
    /// Roles that frameworks may use, if restricted.
    pub role_whitelist: Option<BTreeSet<String>>,
    /// Weights of roles, unless the registry has some.
    pub weights: BTreeMap<String, f64>,
    /// Whether frameworks may run tasks as root.
    pub root_submissions: bool,
    /// Whether agents must have a fault domain.
    pub require_agent_domain: bool,
    /// How often the registry forgets old agents.
    pub registry_gc_interval: Duration,
    /// How long the registry remembers agents that are not admitted.
    pub registry_max_agent_age: Duration,
    /// How many agents that are not admitted the registry remembers.
    pub registry_max_agent_count: usize,
}

impl Default for MasterConfig {
    fn default() -> Self {
        Self {
            agent_ping_timeout: Duration::from_secs(15),
            max_agent_ping_timeouts: 5,
            agent_reregister_timeout: Duration::from_secs(600),
            agent_removal_interval: None,
            recovery_agent_removal_limit: 1.0,
            offer_timeout: None,
            max_completed_frameworks: 50,
            max_completed_tasks_per_framework: 1000,
            max_unreachable_tasks_per_framework: 1000,
            role_whitelist: None,
            weights: BTreeMap::new(),
            root_submissions: true,
            require_agent_domain: false,
            registry_gc_interval: Duration::from_secs(15 * 60),
            registry_max_agent_age: Duration::from_secs(14 * 24 * 3600),
            registry_max_agent_count: 102_400,
        }
    }
}

impl MasterConfig {
    /// Whether `role` may be used: `*` always may.
    #[must_use]
    pub fn allows_role(&self, role: &str) -> bool {
        let whitelist = self.role_whitelist.as_ref();
        role == STAR || whitelist.is_none_or(|whitelist| whitelist.contains(role))
    }
}

/// Where this master stands in electing and recovering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// It does not lead.
    Follower,
    /// It leads but has not read the registry yet.
    Recovering,
    /// It leads.
    Leading,
}

/// The master.
#[derive(Debug)]
pub struct Master {
    config: MasterConfig,
    state: ClusterState,
    leadership: Leadership,
    next_framework: u64,
    next_agent: u64,
    next_offer: u64,
    /// Frameworks of v0 schedulers by where they listen.
    framework_pids: HashMap<Upid, FrameworkId>,
    /// Frameworks of v1 schedulers by their stream.
    streams: HashMap<StreamId, FrameworkId>,
    /// Agents by where they listen.
    agent_pids: HashMap<Upid, AgentId>,
    /// Agents whose registration is being stored, by where they listen.
    registering: HashSet<Upid>,
    /// Agents whose re-registration is being stored.
    reregistering: HashSet<AgentId>,
    /// Agents whose removal is being stored.
    removing: HashSet<AgentId>,
    /// Agents whose becoming unreachable is being stored.
    marking_unreachable: HashSet<AgentId>,
    /// Agents that wait for the rate limiter to become unreachable.
    awaiting_permit: HashSet<AgentId>,
    /// When the rate limiter lets the next agent become unreachable.
    next_permit: Timestamp,
    /// Gone agents, oldest first, and since when.
    gone: IndexMap<AgentId, Timestamp>,
    /// Agents that left in the life of this master, oldest first.
    removed: IndexSet<AgentId>,
    /// Agents admitted in the registry when it was read.
    recovered_count: usize,
    /// Tasks that became unreachable with their agent.
    tasks_of_unreachable: HashMap<AgentId, Vec<(FrameworkId, TaskId)>>,
    /// Sums of resources over all agents.
    resource_gauges: ResourceGauges,
}

impl Master {
    /// A master that has just started and knows nothing. `info.id` is the prefix of all ids that
    /// it gives.
    #[must_use]
    pub fn new(config: MasterConfig, info: proto::MasterInfo, now: Timestamp) -> Self {
        Self {
            config,
            state: ClusterState::new(info, now),
            leadership: Leadership::Follower,
            next_framework: 0,
            next_agent: 0,
            next_offer: 0,
            framework_pids: HashMap::new(),
            streams: HashMap::new(),
            agent_pids: HashMap::new(),
            registering: HashSet::new(),
            reregistering: HashSet::new(),
            removing: HashSet::new(),
            marking_unreachable: HashSet::new(),
            awaiting_permit: HashSet::new(),
            next_permit: Timestamp::default(),
            gone: IndexMap::new(),
            removed: IndexSet::new(),
            recovered_count: 0,
            tasks_of_unreachable: HashMap::new(),
            resource_gauges: ResourceGauges::default(),
        }
    }

    /// What reads are rendered from, frozen at this moment. Costs a few reference counts.
    #[must_use]
    pub fn snapshot(&self) -> ClusterState {
        self.state.clone()
    }

    /// The present state, by reference.
    #[must_use]
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// Settings.
    #[must_use]
    pub fn config(&self) -> &MasterConfig {
        &self.config
    }

    /// Whether the master leads and has recovered, so that messages may be handled.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership
    }

    /// The framework of a v0 scheduler that listens there.
    #[must_use]
    pub fn framework_of(&self, pid: &Upid) -> Option<&FrameworkId> {
        self.framework_pids.get(pid)
    }

    /// Sums of resources over all agents.
    #[must_use]
    pub fn resource_gauges(&self) -> &ResourceGauges {
        &self.resource_gauges
    }

    /// The value of a gauge.
    #[must_use]
    pub fn gauge(&self, gauge: Gauge) -> f64 {
        use proto::TaskState;
        let state = &self.state;
        let counts = &state.counts;
        let tasks = |task: TaskState| counts.tasks.get(task as usize).copied().unwrap_or(0);
        let agents = state.agents.len() as i64;
        let frameworks = state.frameworks.len() as i64;
        let value = match gauge {
            Gauge::Elected => i64::from(state.elected()),
            Gauge::SlavesConnected => counts.agents_connected,
            Gauge::SlavesDisconnected => agents - counts.agents_connected,
            Gauge::SlavesActive => counts.agents_active,
            Gauge::SlavesInactive => agents - counts.agents_active,
            Gauge::SlavesUnreachable => state.unreachable_agents.len() as i64,
            Gauge::FrameworksConnected => counts.frameworks_connected,
            Gauge::FrameworksDisconnected => frameworks - counts.frameworks_connected,
            Gauge::FrameworksActive => counts.frameworks_active,
            Gauge::FrameworksInactive => frameworks - counts.frameworks_active,
            Gauge::OutstandingOffers => state.offers.len() as i64,
            Gauge::TasksStaging => tasks(TaskState::TaskStaging),
            Gauge::TasksStarting => tasks(TaskState::TaskStarting),
            Gauge::TasksRunning => tasks(TaskState::TaskRunning),
            Gauge::TasksKilling => tasks(TaskState::TaskKilling),
            Gauge::TasksUnreachable => counts.tasks_unreachable,
        };
        value as f64
    }

    /// A timer started by an effect fired.
    pub fn on_timer(&mut self, timer: Timer, fx: &mut dyn Effects) {
        match timer {
            Timer::AgentReregistration(agent) => self.on_agent_reregister_timeout(&agent, fx),
            Timer::RecoveredAgents => self.on_recovered_agents_timeout(fx),
            Timer::FrameworkFailover(framework) => self.on_failover_timeout(&framework, fx),
            Timer::OfferTimeout(offer) => self.rescind_offer(&offer, None, fx),
            Timer::InverseOfferTimeout(offer) => self.withdraw_inverse_offer(&offer, true, fx),
            Timer::Heartbeat(stream) => self.on_heartbeat(stream, fx),
            Timer::UnreachablePermit(agent) => self.on_unreachable_permit(&agent, fx),
            Timer::RegistryGc => self.on_registry_gc(fx),
        }
    }

    /// A linked process, or the connection to it, ended.
    pub fn on_exited(&mut self, pid: &Upid, fx: &mut dyn Effects) {
        if let Some(framework) = self.framework_pids.get(pid).cloned() {
            self.on_framework_exited(&framework, pid, fx);
        } else if let Some(agent) = self.agent_pids.get(pid).cloned() {
            self.on_agent_exited(&agent, fx);
        }
    }

    // Ids.

    fn new_framework_id(&mut self) -> FrameworkId {
        let id = format!("{}-{:04}", self.state.info.id, self.next_framework);
        self.next_framework += 1;
        FrameworkId::from(id)
    }

    fn new_agent_id(&mut self) -> AgentId {
        let id = format!("{}-S{}", self.state.info.id, self.next_agent);
        self.next_agent += 1;
        AgentId::from(id)
    }

    fn new_offer_id(&mut self) -> OfferId {
        let id = format!("{}-O{}", self.state.info.id, self.next_offer);
        self.next_offer += 1;
        OfferId::from(id)
    }

    // Look-ups.

    fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.state.agents.get(id).map(Arc::as_ref)
    }

    fn agent_mut(&mut self, id: &AgentId) -> Option<&mut Agent> {
        Arc::make_mut(&mut self.state.agents)
            .get_mut(id)
            .map(Arc::make_mut)
    }

    fn framework(&self, id: &FrameworkId) -> Option<&Framework> {
        self.state.frameworks.get(id).map(Arc::as_ref)
    }

    fn framework_mut(&mut self, id: &FrameworkId) -> Option<&mut Framework> {
        Arc::make_mut(&mut self.state.frameworks)
            .get_mut(id)
            .map(Arc::make_mut)
    }

    fn task(&self, framework: &FrameworkId, task: &TaskId) -> Option<&Arc<Task>> {
        self.framework(framework)?.tasks.get(task)
    }

    fn task_mut(&mut self, framework: &FrameworkId, task: &TaskId) -> Option<&mut Task> {
        self.framework_mut(framework)?
            .tasks
            .get_mut(task)
            .map(Arc::make_mut)
    }

    fn offer(&self, id: &OfferId) -> Option<&Arc<Offer>> {
        self.state.offers.get(id)
    }

    // Sending.

    /// Sends an event to the scheduler of a framework, if it is connected.
    fn send_to_framework(
        &mut self,
        id: &FrameworkId,
        event: &SchedulerEvent,
        fx: &mut dyn Effects,
    ) {
        let Some(framework) = self.framework(id) else {
            return;
        };
        let Some(connection) = framework.connection().cloned() else {
            tracing::warn!("Not sending an event to disconnected framework {id}");
            return;
        };
        send_to_connection(&connection, event, fx);
        fx.count_framework(id, FrameworkCounter::Event(event.kind()));
    }

    fn on_heartbeat(&mut self, stream: StreamId, fx: &mut dyn Effects) {
        let Some(id) = self.streams.get(&stream).cloned() else {
            return;
        };
        self.send_to_framework(&id, &SchedulerEvent::Heartbeat, fx);
        fx.start_timer(
            Timer::Heartbeat(stream),
            crate::constants::HEARTBEAT_INTERVAL,
        );
    }

    /// Sends a message to an agent that is connected.
    fn send_to_agent<M: prost::Message + prost::Name>(
        &self,
        id: &AgentId,
        message: &M,
        fx: &mut dyn Effects,
    ) {
        if let Some(agent) = self.agent(id) {
            fx.send_message(&agent.pid, message);
        }
    }
}

/// Sends an event over a connection, whatever its kind.
fn send_to_connection(connection: &Connection, event: &SchedulerEvent, fx: &mut dyn Effects) {
    match connection {
        Connection::Pid(pid) => {
            if let Some(message) = event.to_message() {
                fx.send(pid, message);
            }
        }
        Connection::Http(stream) => fx.send_event(*stream, event),
    }
}

/// The last connection of a framework, whether it holds or not.
fn last_connection(framework: &Framework) -> Option<&Connection> {
    match &framework.state {
        FrameworkState::Connected(connection) | FrameworkState::Disconnected(connection) => {
            Some(connection)
        }
        FrameworkState::Recovered => None,
    }
}

/// How the link to a peer is made that was known before.
const RELINK: LinkMode = LinkMode::Reconnect;
