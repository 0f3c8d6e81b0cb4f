//! What the scheduler driver knows and decides, without runtime, clock or sockets.
//!
//! Events come in through the `on_*` functions and the driver's methods; everything that must
//! happen outside goes out through [`Effects`]. Upstream counterpart: `src/sched/sched.cpp`.

mod methods;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use libprocess::Upid;
use mesos::proto::internal::{FrameworkToExecutorMessage, StatusUpdate};
use mesos::proto::scheduler::{Call, Event, OfferConstraints, call, event};
use mesos::proto::{self, FrameworkId, FrameworkInfo, MasterInfo, Offer, TaskStatus};

use super::calls;
use super::event::{Acknowledgement, SchedulerEvent};

/// The longest pause between two registration attempts.
const REGISTRATION_RETRY_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// At most this share of the failover timeout may pass between two registration attempts, so that
/// several attempts fit before the master gives up on the framework.
const FAILOVER_TIMEOUT_DIVISOR: f64 = 10.0;

/// What the core asks of the world around it.
pub(crate) trait Effects {
    /// Sends a call to the master.
    fn send_call(&mut self, master: &Upid, call: Call);
    /// Tells the master that an aborted driver wants no more offers.
    fn send_deactivate(&mut self, master: &Upid, framework_id: FrameworkId);
    /// Sends a framework message directly to an agent.
    fn send_to_agent(&mut self, agent: &Upid, message: FrameworkToExecutorMessage);
    /// Opens a connection to the master, whose loss is reported to `on_exited`.
    fn link(&mut self, master: &Upid);
    /// Asks for `on_registration_retry(attempt)` after `delay`.
    fn retry_registration(&mut self, delay: Duration, attempt: u64);
    /// Queues a callback for the scheduler.
    fn callback(&mut self, event: SchedulerEvent);
    /// Makes the driver's status ABORTED; no callback but `error` follows.
    fn abort(&mut self);
    /// A random number, uniform in `[0, 1)`.
    fn random(&mut self) -> f64;
    /// Seconds since the epoch, for statuses that the driver makes up.
    fn timestamp(&mut self) -> f64;
}

/// What a scheduler driver is made with.
pub(crate) struct CoreConfig {
    pub(crate) framework: FrameworkInfo,
    pub(crate) suppressed_roles: BTreeSet<String>,
    pub(crate) offer_constraints: OfferConstraints,
    pub(crate) implicit_acknowledgements: bool,
    pub(crate) registration_backoff_factor: Duration,
}

struct Leader {
    pid: Upid,
    info: MasterInfo,
}

/// The state of one scheduler driver.
pub(crate) struct SchedulerCore {
    framework: FrameworkInfo,
    suppressed_roles: BTreeSet<String>,
    offer_constraints: OfferConstraints,
    implicit_acknowledgements: bool,
    backoff_factor: Duration,
    /// Whether the id was given from outside: the first registration then takes over from another
    /// instance of this framework.
    failover: bool,
    running: bool,
    connected: bool,
    leader: Option<Leader>,
    /// Counts detections and connection losses, so that timers of an earlier one are ignored.
    attempt: u64,
    backoff: Duration,
    saved_offers: HashMap<String, SavedOffer>,
    agent_pids: HashMap<String, Upid>,
}

struct SavedOffer {
    agent_id: String,
    agent_pid: Upid,
}

impl SchedulerCore {
    pub(crate) fn new(config: CoreConfig) -> Self {
        let failover = config
            .framework
            .id
            .as_ref()
            .is_some_and(|id| !id.value.is_empty());
        SchedulerCore {
            framework: config.framework,
            suppressed_roles: config.suppressed_roles,
            offer_constraints: config.offer_constraints,
            implicit_acknowledgements: config.implicit_acknowledgements,
            backoff_factor: config.registration_backoff_factor,
            failover,
            running: true,
            connected: false,
            leader: None,
            attempt: 0,
            backoff: Duration::ZERO,
            saved_offers: HashMap::new(),
            agent_pids: HashMap::new(),
        }
    }

    // --- Master detection and registration -------------------------------------------------

    /// The detector found another leading master, or lost it.
    pub(crate) fn on_master_detected(&mut self, info: Option<MasterInfo>, fx: &mut impl Effects) {
        if !self.running {
            return;
        }
        self.disconnect(fx);
        self.leader = info.and_then(|info| {
            let pid = master_pid(&info);
            if pid.is_none() {
                tracing::warn!("ignoring a leading master without an address: {info:?}");
            }
            pid.map(|pid| Leader { pid, info })
        });
        match &self.leader {
            Some(leader) => tracing::info!("new master detected at {}", leader.pid),
            None => tracing::info!("no leading master; waiting for one to be elected"),
        }
        self.start_registration(fx);
    }

    /// The detector failed for good.
    pub(crate) fn on_detection_failed(&mut self, reason: &str, fx: &mut impl Effects) {
        self.on_error(format!("Failed to detect a master: {reason}"), fx);
    }

    /// The connection to a linked process broke.
    ///
    /// Upstream waits for the detector here, and so never notices the restart of a master given by
    /// address. Trying again at the known address costs one message per backoff.
    pub(crate) fn on_exited(&mut self, pid: &Upid, fx: &mut impl Effects) {
        if !self.running || !self.connected || !self.is_leader(pid) {
            return;
        }
        tracing::warn!("lost the connection to master {pid}");
        self.disconnect(fx);
        self.attempt += 1;
        self.backoff = self.backoff_factor;
        self.schedule_retry(fx);
    }

    /// A registration timer fired.
    pub(crate) fn on_registration_retry(&mut self, attempt: u64, fx: &mut impl Effects) {
        if self.running && !self.connected && attempt == self.attempt {
            self.register(fx);
        }
    }

    fn start_registration(&mut self, fx: &mut impl Effects) {
        self.attempt += 1;
        self.backoff = self.backoff_factor;
        self.register(fx);
    }

    fn register(&mut self, fx: &mut impl Effects) {
        let Some(leader) = &self.leader else { return };
        fx.link(&leader.pid);
        fx.send_call(&leader.pid, self.subscribe_call());
        self.schedule_retry(fx);
    }

    fn schedule_retry(&mut self, fx: &mut impl Effects) {
        let mut limit = REGISTRATION_RETRY_INTERVAL_MAX;
        let failover_timeout = self.framework.failover_timeout.unwrap_or(0.0);
        if failover_timeout > 0.0
            && let Ok(share) =
                Duration::try_from_secs_f64(failover_timeout / FAILOVER_TIMEOUT_DIVISOR)
        {
            limit = limit.min(share);
        }
        let backoff = self.backoff.min(limit);
        let delay = backoff.mul_f64(fx.random());
        fx.retry_registration(delay, self.attempt);
        self.backoff = backoff.saturating_mul(2);
    }

    fn subscribe_call(&self) -> Call {
        let id = self.framework.id.clone().filter(|id| !id.value.is_empty());
        Call {
            subscribe: Some(call::Subscribe {
                framework_info: self.framework.clone(),
                force: id.as_ref().map(|_| self.failover),
                suppressed_roles: self.suppressed_roles.iter().cloned().collect(),
                offer_constraints: Some(self.offer_constraints.clone()),
            }),
            framework_id: id,
            ..calls::of_type(call::Type::Subscribe)
        }
    }

    fn disconnect(&mut self, fx: &mut impl Effects) {
        if self.connected {
            self.connected = false;
            self.saved_offers.clear();
            fx.callback(SchedulerEvent::Disconnected);
        }
    }

    fn is_leader(&self, pid: &Upid) -> bool {
        self.leader
            .as_ref()
            .is_some_and(|leader| leader.pid == *pid)
    }

    /// Whether a message from `from` is to be handled: the driver runs, is registered, and the
    /// sender is the leading master.
    fn accepts(&self, from: &Upid, what: &str) -> bool {
        let accepted = self.running && self.connected && self.is_leader(from);
        if !accepted {
            tracing::debug!("ignoring {what} from {from}: not the master we are registered with");
        }
        accepted
    }

    // --- Messages of the master ---------------------------------------------------------------

    /// FrameworkRegisteredMessage.
    pub(crate) fn on_registered(
        &mut self,
        from: &Upid,
        framework_id: FrameworkId,
        master_info: MasterInfo,
        fx: &mut impl Effects,
    ) {
        if !self.running || self.connected || !self.is_leader(from) {
            tracing::debug!("ignoring a registration by {from}");
            return;
        }
        tracing::info!("framework registered with {}", framework_id.value);
        self.framework.id = Some(framework_id.clone());
        self.connected = true;
        self.failover = false;
        fx.callback(SchedulerEvent::Registered {
            framework_id,
            master_info,
        });
    }

    /// FrameworkReregisteredMessage.
    pub(crate) fn on_reregistered(
        &mut self,
        from: &Upid,
        framework_id: FrameworkId,
        master_info: MasterInfo,
        fx: &mut impl Effects,
    ) {
        if !self.running || self.connected || !self.is_leader(from) {
            tracing::debug!("ignoring a re-registration by {from}");
            return;
        }
        tracing::info!("framework re-registered with {}", framework_id.value);
        self.framework.id = Some(framework_id);
        self.connected = true;
        self.failover = false;
        fx.callback(SchedulerEvent::Reregistered { master_info });
    }

    /// An event of the scheduler API, sent as one message.
    pub(crate) fn on_event(&mut self, from: &Upid, message: Event, fx: &mut impl Effects) {
        match message.r#type() {
            event::Type::Subscribed => {
                if let Some(subscribed) = message.subscribed {
                    self.on_subscribed(from, subscribed, fx);
                }
            }
            event::Type::Offers => {
                let offers = message.offers.unwrap_or_default().offers;
                let pids = offers.iter().map(calls::agent_pid_of_offer).collect();
                self.on_offers_with_pids(from, offers, pids, fx);
            }
            event::Type::Rescind => {
                if let Some(rescind) = message.rescind {
                    self.on_rescind(from, rescind.offer_id, fx);
                }
            }
            event::Type::Update => {
                if let Some(update) = message.update {
                    self.on_update_event(from, update.status, fx);
                }
            }
            event::Type::Message => {
                if let Some(message) = message.message {
                    self.on_framework_message(
                        message.slave_id,
                        message.executor_id,
                        message.data,
                        fx,
                    );
                }
            }
            event::Type::Failure => self.on_failure(from, message.failure.unwrap_or_default(), fx),
            event::Type::Error => self.on_error(message.error.unwrap_or_default().message, fx),
            // The v0 interface has no callback for these.
            event::Type::Heartbeat
            | event::Type::InverseOffers
            | event::Type::RescindInverseOffer
            | event::Type::UpdateOperationStatus
            | event::Type::Unknown => {
                tracing::debug!(
                    "ignoring event {} from {from}",
                    message.r#type().as_str_name()
                );
            }
        }
    }

    fn on_subscribed(&mut self, from: &Upid, subscribed: event::Subscribed, fx: &mut impl Effects) {
        let master_info = subscribed
            .master_info
            .or_else(|| self.leader.as_ref().map(|leader| leader.info.clone()));
        let Some(master_info) = master_info else {
            return;
        };
        let first = self
            .framework
            .id
            .as_ref()
            .is_none_or(|id| id.value.is_empty());
        if first || self.failover {
            self.on_registered(from, subscribed.framework_id, master_info, fx);
        } else {
            self.on_reregistered(from, subscribed.framework_id, master_info, fx);
        }
    }

    fn on_failure(&mut self, from: &Upid, failure: event::Failure, fx: &mut impl Effects) {
        match (failure.slave_id, failure.executor_id) {
            (Some(agent_id), Some(executor_id)) => {
                let status = failure.status.unwrap_or_default();
                self.on_executor_exited(from, agent_id, executor_id, status, fx);
            }
            (Some(agent_id), None) => self.on_agent_lost(from, agent_id, fx),
            (None, _) => tracing::debug!("ignoring a failure without an agent from {from}"),
        }
    }

    /// ResourceOffersMessage: `pids` are the agents' addresses, one per offer.
    pub(crate) fn on_offers(
        &mut self,
        from: &Upid,
        offers: Vec<Offer>,
        pids: &[String],
        fx: &mut impl Effects,
    ) {
        let mut pids: Vec<Option<Upid>> = pids.iter().map(|pid| pid.parse().ok()).collect();
        pids.resize(offers.len(), None);
        self.on_offers_with_pids(from, offers, pids, fx);
    }

    fn on_offers_with_pids(
        &mut self,
        from: &Upid,
        offers: Vec<Offer>,
        pids: Vec<Option<Upid>>,
        fx: &mut impl Effects,
    ) {
        if !self.accepts(from, "offers") || offers.is_empty() {
            return;
        }
        for (offer, pid) in offers.iter().zip(pids) {
            if let Some(agent_pid) = pid {
                let saved = SavedOffer {
                    agent_id: offer.slave_id.value.clone(),
                    agent_pid,
                };
                self.saved_offers.insert(offer.id.value.clone(), saved);
            }
        }
        fx.callback(SchedulerEvent::ResourceOffers(offers));
    }

    /// RescindResourceOfferMessage.
    pub(crate) fn on_rescind(
        &mut self,
        from: &Upid,
        offer_id: proto::OfferId,
        fx: &mut impl Effects,
    ) {
        if self.accepts(from, "a rescinded offer") {
            self.saved_offers.remove(&offer_id.value);
            fx.callback(SchedulerEvent::OfferRescinded(offer_id));
        }
    }

    /// StatusUpdateMessage. `pid` is the agent's address; the master leaves it empty on updates
    /// that it made itself and that nobody waits to have acknowledged.
    pub(crate) fn on_status_update(
        &mut self,
        from: &Upid,
        update: StatusUpdate,
        fx: &mut impl Effects,
    ) {
        if !self.accepts(from, "a status update") {
            return;
        }
        let mut status = update.status;
        status.timestamp.get_or_insert(update.timestamp);
        status.slave_id = status.slave_id.or(update.slave_id);
        status.executor_id = status.executor_id.or(update.executor_id);
        status.uuid = update.uuid.filter(|uuid| !uuid.is_empty());
        self.deliver_status(status, fx);
    }

    fn on_update_event(&mut self, from: &Upid, mut status: TaskStatus, fx: &mut impl Effects) {
        if self.accepts(from, "a status update") {
            status.uuid = status.uuid.filter(|uuid| !uuid.is_empty());
            self.deliver_status(status, fx);
        }
    }

    fn deliver_status(&mut self, status: TaskStatus, fx: &mut impl Effects) {
        let acknowledgement = match (&status.uuid, &status.slave_id) {
            (Some(uuid), Some(agent_id)) if self.implicit_acknowledgements => {
                Some(Acknowledgement {
                    agent_id: agent_id.clone(),
                    task_id: status.task_id.clone(),
                    uuid: uuid.clone(),
                })
            }
            _ => None,
        };
        fx.callback(SchedulerEvent::StatusUpdate {
            status: Box::new(status),
            acknowledgement,
        });
    }

    /// The status update callback returned without a panic.
    pub(crate) fn on_update_handled(&mut self, ack: Acknowledgement, fx: &mut impl Effects) {
        self.acknowledge(ack, fx);
    }

    /// LostSlaveMessage.
    pub(crate) fn on_agent_lost(
        &mut self,
        from: &Upid,
        agent_id: proto::SlaveId,
        fx: &mut impl Effects,
    ) {
        if self.accepts(from, "a lost agent") {
            self.agent_pids.remove(&agent_id.value);
            fx.callback(SchedulerEvent::AgentLost(agent_id));
        }
    }

    /// ExitedExecutorMessage.
    pub(crate) fn on_executor_exited(
        &mut self,
        from: &Upid,
        agent_id: proto::SlaveId,
        executor_id: proto::ExecutorId,
        status: i32,
        fx: &mut impl Effects,
    ) {
        if self.accepts(from, "an exited executor") {
            fx.callback(SchedulerEvent::ExecutorLost {
                executor_id,
                agent_id,
                status,
            });
        }
    }

    /// ExecutorToFrameworkMessage, which agents may also send directly.
    pub(crate) fn on_framework_message(
        &mut self,
        agent_id: proto::SlaveId,
        executor_id: proto::ExecutorId,
        data: bytes::Bytes,
        fx: &mut impl Effects,
    ) {
        if self.running {
            fx.callback(SchedulerEvent::FrameworkMessage {
                executor_id,
                agent_id,
                data,
            });
        }
    }

    /// FrameworkErrorMessage, or an error found here: the driver aborts, then the scheduler hears.
    pub(crate) fn on_error(&mut self, message: String, fx: &mut impl Effects) {
        if !self.running {
            return;
        }
        tracing::error!("driver aborted: {message}");
        self.abort(fx);
        fx.abort();
        fx.callback(SchedulerEvent::Error(message));
    }
}

/// The address of a master: its `pid`, or one made from its numeric ip and port.
fn master_pid(info: &MasterInfo) -> Option<Upid> {
    if let Some(pid) = info.pid.as_deref().filter(|pid| !pid.is_empty()) {
        return pid.parse().ok();
    }
    // The number is the address in network order, read by a little-endian machine.
    let ip = std::net::Ipv4Addr::from(info.ip.to_le_bytes());
    let port = u16::try_from(info.port).ok()?;
    Some(Upid::new("master", std::net::SocketAddrV4::new(ip, port)))
}
