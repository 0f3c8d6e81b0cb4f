//! Frameworks subscribing, re-subscribing and failing over.
//!
//! Upstream: `subscribe`, `_subscribe`, `failoverFramework` and
//! `connectAndActivateRecoveredFramework` of `src/master/master.cpp`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use libprocess::Upid;
use mesos::ids::{AgentId, FrameworkId};
use mesos::proto::scheduler::call;
use mesos::proto::{self, internal};
use mesos::resources::Resources;

use super::capabilities::FrameworkCapabilities;
use super::effects::{AllocatorCall, Effects, LinkMode, Timer};
use super::event::SchedulerEvent;
use super::metrics::{Counter, FrameworkCounter};
use super::operator_event::OperatorEvent;
use super::state::{Connection, Framework, FrameworkState, roles_of};
use super::validation;
use super::{Master, RELINK, last_connection, send_to_connection};
use crate::constants::{EMPTY_UPID, HEARTBEAT_INTERVAL};

impl Master {
    /// A scheduler subscribes over `connection`. A refusal is told over it and, for an HTTP
    /// stream, ends it.
    pub fn on_subscribe(
        &mut self,
        connection: Connection,
        mut subscribe: call::Subscribe,
        fx: &mut dyn Effects,
    ) {
        if subscribe
            .framework_info
            .id
            .as_ref()
            .is_some_and(|id| id.value.is_empty())
        {
            subscribe.framework_info.id = None;
        }
        fx.count(if subscribe.framework_info.id.is_none() {
            Counter::MessagesRegisterFramework
        } else {
            Counter::MessagesReregisterFramework
        });
        if let Err(error) = self.validate_subscribe(&subscribe) {
            self.refuse_subscription(&connection, &error, fx);
            return;
        }
        tracing::info!(
            "Subscribing framework '{}' over {connection:?}",
            subscribe.framework_info.name
        );
        match subscribe.framework_info.id.as_ref().map(FrameworkId::from) {
            None => self.subscribe_new(connection, subscribe, fx),
            Some(id) => self.resubscribe(id, connection, subscribe, fx),
        }
    }

    fn validate_subscribe(&self, subscribe: &call::Subscribe) -> Result<(), String> {
        validation::framework::validate(
            &subscribe.framework_info,
            &subscribe.suppressed_roles,
            subscribe.offer_constraints.as_ref(),
            &self.config,
        )?;
        let completed = subscribe.framework_info.id.as_ref().is_some_and(|id| {
            self.state
                .completed_frameworks
                .contains_key(&FrameworkId::from(id))
        });
        if completed {
            return Err("Framework has been removed".to_owned());
        }
        Ok(())
    }

    fn refuse_subscription(&mut self, connection: &Connection, error: &str, fx: &mut dyn Effects) {
        tracing::info!("Refusing subscription over {connection:?}: {error}");
        send_to_connection(connection, &SchedulerEvent::Error(error.to_owned()), fx);
        if let Connection::Http(stream) = connection {
            fx.close_stream(*stream);
        }
    }

    fn subscribe_new(
        &mut self,
        connection: Connection,
        subscribe: call::Subscribe,
        fx: &mut dyn Effects,
    ) {
        if let Some(id) = connection
            .pid()
            .and_then(|pid| self.framework_pids.get(pid))
        {
            // The driver repeats itself because our answer was lost.
            let event = self.subscribed_event(id, false);
            send_to_connection(&connection, &event, fx);
            return;
        }
        let id = self.new_framework_id();
        let mut info = subscribe.framework_info;
        info.id = Some((&id).into());
        let mut framework = new_framework(id.clone(), info, fx.now());
        framework.suppressed_roles = subscribe.suppressed_roles.into_iter().collect();
        framework.offer_constraints = subscribe.offer_constraints.map(Arc::new);
        framework.active = true;
        framework.state = FrameworkState::Connected(connection.clone());
        self.add_framework(framework, fx);
        self.connect(&id, connection, LinkMode::Reuse, fx);
        fx.count_framework(&id, FrameworkCounter::Call(call::Type::Subscribe));
        self.welcome(&id, false, fx);
        self.publish_framework(&id, OperatorEvent::FrameworkAdded, fx);
    }

    fn resubscribe(
        &mut self,
        id: FrameworkId,
        connection: Connection,
        subscribe: call::Subscribe,
        fx: &mut dyn Effects,
    ) {
        let occupied = connection
            .pid()
            .and_then(|pid| self.framework_pids.get(pid))
            .is_some_and(|other| *other != id);
        if occupied {
            // An error would reach the framework that listens there, which did nothing wrong.
            tracing::warn!("Dropping subscription of framework {id}: {connection:?} is in use");
            return;
        }
        if self.framework(&id).is_none() {
            self.recover_framework(subscribe.framework_info.clone(), fx);
        }
        let Some(framework) = self.framework(&id) else {
            return;
        };
        let mut info = subscribe.framework_info;
        validation::framework::preserve_immutable_fields(&framework.info, &mut info);
        if let Err(error) = validation::framework::validate_update(&framework.info, &info) {
            self.refuse_subscription(&connection, &error, fx);
            return;
        }
        let force = subscribe.force.unwrap_or(false) || matches!(connection, Connection::Http(_));
        let same_connection = last_connection(framework) == Some(&connection);
        let recovered = framework.recovered();
        if !recovered && !same_connection && !force {
            self.refuse_subscription(&connection, "Framework failed over", fx);
            return;
        }
        fx.count_framework(&id, FrameworkCounter::Call(call::Type::Subscribe));
        let suppressed = subscribe.suppressed_roles.into_iter().collect();
        let constraints = subscribe.offer_constraints.map(Arc::new);
        self.replace_framework_info(&id, info, suppressed, constraints, fx);
        fx.cancel_timer(&Timer::FrameworkFailover(id.clone()));
        if recovered {
            self.connect_recovered(&id, connection, fx);
        } else if force {
            self.fail_over(&id, connection, fx);
        } else {
            self.reconnect(&id, connection, fx);
        }
        self.announce_framework(&id, fx);
    }

    /// Connects a framework that was known only from its agents.
    fn connect_recovered(
        &mut self,
        id: &FrameworkId,
        connection: Connection,
        fx: &mut dyn Effects,
    ) {
        let now = fx.now();
        self.change_framework(id, |framework| {
            framework.registered_time = now;
            framework.reregistered_time = now;
        });
        let reregistered = matches!(connection, Connection::Http(_));
        self.connect(id, connection, LinkMode::Reuse, fx);
        self.activate(id, fx);
        self.welcome(id, reregistered, fx);
    }

    /// Another instance of the scheduler takes over.
    fn fail_over(&mut self, id: &FrameworkId, connection: Connection, fx: &mut dyn Effects) {
        let now = fx.now();
        let Some(framework) = self.framework(id) else {
            return;
        };
        let old = framework.connection().cloned();
        if let Some(old) = old.filter(|old| *old != connection) {
            let event = SchedulerEvent::Error("Framework failed over".to_owned());
            self.send_to_framework(id, &event, fx);
            self.drop_stream(&old, fx);
        }
        self.change_framework(id, |framework| framework.reregistered_time = now);
        self.connect(id, connection, RELINK, fx);
        // The new instance never saw these, so it is not told that they are gone.
        for offer in self.offers_of_framework(id) {
            self.discard_offer(&offer, None, fx);
        }
        self.withdraw_inverse_offers_to(id, false, fx);
        self.activate(id, fx);
        self.welcome(id, false, fx);
    }

    /// The same driver comes back over the same PID.
    fn reconnect(&mut self, id: &FrameworkId, connection: Connection, fx: &mut dyn Effects) {
        let now = fx.now();
        self.change_framework(id, |framework| framework.reregistered_time = now);
        // Replies to these may have been lost while the driver was disconnected.
        for offer in self.offers_of_framework(id) {
            self.rescind_offer(&offer, None, fx);
        }
        self.withdraw_inverse_offers_to(id, true, fx);
        self.connect(id, connection, RELINK, fx);
        self.activate(id, fx);
        self.welcome(id, true, fx);
    }

    /// Makes `connection` the connection of a framework.
    fn connect(
        &mut self,
        id: &FrameworkId,
        connection: Connection,
        link: LinkMode,
        fx: &mut dyn Effects,
    ) {
        let old_pid = self
            .framework(id)
            .and_then(|framework| framework.pid().cloned());
        if let Some(old_pid) = old_pid {
            self.framework_pids.remove(&old_pid);
        }
        match &connection {
            Connection::Pid(pid) => {
                self.framework_pids.insert(pid.clone(), id.clone());
                fx.link(pid, link);
            }
            Connection::Http(stream) => {
                self.streams.insert(*stream, id.clone());
            }
        }
        self.change_framework(id, |framework| {
            framework.state = FrameworkState::Connected(connection);
        });
        fx.count_framework(id, FrameworkCounter::Subscribed(true));
    }

    /// Forgets and ends the stream behind a connection, if it is one.
    pub(super) fn drop_stream(&mut self, connection: &Connection, fx: &mut dyn Effects) {
        if let Connection::Http(stream) = connection {
            self.streams.remove(stream);
            fx.cancel_timer(&Timer::Heartbeat(*stream));
            fx.close_stream(*stream);
        }
    }

    fn activate(&mut self, id: &FrameworkId, fx: &mut dyn Effects) {
        let was_active = self.framework(id).is_some_and(|framework| framework.active);
        if !was_active {
            self.change_framework(id, |framework| framework.active = true);
            fx.allocator(AllocatorCall::ActivateFramework(id.clone()));
        }
    }

    /// Tells a scheduler that it is subscribed, and starts the heartbeats of a stream.
    fn welcome(&mut self, id: &FrameworkId, reregistered: bool, fx: &mut dyn Effects) {
        let event = self.subscribed_event(id, reregistered);
        self.send_to_framework(id, &event, fx);
        if let Some(stream) = self.framework(id).and_then(Framework::stream) {
            self.send_to_framework(id, &SchedulerEvent::Heartbeat, fx);
            fx.start_timer(Timer::Heartbeat(stream), HEARTBEAT_INTERVAL);
        }
    }

    fn subscribed_event(&self, id: &FrameworkId, reregistered: bool) -> SchedulerEvent {
        SchedulerEvent::Subscribed {
            framework_id: id.clone(),
            master_info: Box::new(self.state.info.as_ref().clone()),
            reregistered,
        }
    }

    /// Adds a framework to the master and the allocator.
    pub(super) fn add_framework(&mut self, framework: Framework, fx: &mut dyn Effects) {
        fx.add_framework_metrics(&framework.id, &framework.info);
        fx.allocator(AllocatorCall::AddFramework {
            id: framework.id.clone(),
            info: framework.info.clone(),
            used: used_of(&framework),
            active: framework.active,
            suppressed: framework.suppressed_roles.clone(),
            constraints: framework.offer_constraints.clone(),
        });
        let id = framework.id.clone();
        self.insert_framework(framework);
        self.show_suppressed(&id, fx);
    }

    /// Shows in the metrics which roles of a framework are suppressed.
    pub(super) fn show_suppressed(&self, id: &FrameworkId, fx: &mut dyn Effects) {
        if let Some(framework) = self.framework(id) {
            fx.show_suppressed(id, &framework.roles, &framework.suppressed_roles);
        }
    }

    /// Adds a framework that is known only from what an agent or the scheduler itself says after
    /// a failover of the master.
    pub(super) fn recover_framework(&mut self, info: proto::FrameworkInfo, fx: &mut dyn Effects) {
        let Some(id) = info.id.as_ref().map(FrameworkId::from) else {
            return;
        };
        tracing::info!("Recovering framework {id}");
        let framework = new_framework(id.clone(), info, fx.now());
        self.add_framework(framework, fx);
        self.publish_framework(&id, OperatorEvent::FrameworkAdded, fx);
    }

    /// Replaces the description of a framework, rescinding offers for roles it left.
    pub(super) fn replace_framework_info(
        &mut self,
        id: &FrameworkId,
        info: proto::FrameworkInfo,
        suppressed: BTreeSet<String>,
        constraints: Option<Arc<proto::scheduler::OfferConstraints>>,
        fx: &mut dyn Effects,
    ) {
        let capabilities = FrameworkCapabilities::of(&info);
        let roles = roles_of(&info, capabilities);
        let info = Arc::new(info);
        fx.allocator(AllocatorCall::UpdateFramework {
            id: id.clone(),
            info: info.clone(),
            suppressed: suppressed.clone(),
            constraints: constraints.clone(),
        });
        for offer in self.offers_of_framework(id) {
            let left = self
                .offer(&offer)
                .is_some_and(|offer| !roles.contains(&offer.role));
            if left {
                self.rescind_offer(&offer, None, fx);
            }
        }
        self.change_framework(id, |framework| {
            framework.info = info;
            framework.capabilities = capabilities;
            framework.roles = roles;
            framework.suppressed_roles = suppressed;
            framework.offer_constraints = constraints;
        });
        self.show_suppressed(id, fx);
    }

    /// Tells operators and all agents about a changed framework.
    pub(super) fn announce_framework(&mut self, id: &FrameworkId, fx: &mut dyn Effects) {
        self.publish_framework(id, OperatorEvent::FrameworkUpdated, fx);
        let Some(framework) = self.framework(id) else {
            return;
        };
        let message = update_framework_message(framework);
        for agent in self.state.agents.values() {
            fx.send_message(&agent.pid, &message);
        }
    }

    pub(super) fn publish_framework(
        &self,
        id: &FrameworkId,
        event: impl FnOnce(Arc<Framework>) -> OperatorEvent,
        fx: &mut dyn Effects,
    ) {
        if fx.has_subscribers()
            && let Some(framework) = self.state.frameworks.get(id)
        {
            fx.publish(event(framework.clone()));
        }
    }
}

/// What an agent is told about a framework it runs.
pub(super) fn update_framework_message(framework: &Framework) -> internal::UpdateFrameworkMessage {
    internal::UpdateFrameworkMessage {
        framework_id: (&framework.id).into(),
        pid: Some(
            framework
                .pid()
                .map_or_else(|| EMPTY_UPID.to_owned(), Upid::to_string),
        ),
        framework_info: Some(framework.info.as_ref().clone()),
    }
}

fn used_of(framework: &Framework) -> BTreeMap<AgentId, Resources> {
    framework
        .used
        .iter()
        .map(|(agent, used)| (agent.clone(), used.clone()))
        .collect()
}

/// A framework without connection, tasks or offers.
pub(super) fn new_framework(
    id: FrameworkId,
    info: proto::FrameworkInfo,
    now: super::time::Timestamp,
) -> Framework {
    let capabilities = FrameworkCapabilities::of(&info);
    Framework {
        id,
        roles: roles_of(&info, capabilities),
        capabilities,
        info: Arc::new(info),
        suppressed_roles: BTreeSet::new(),
        offer_constraints: None,
        state: FrameworkState::Recovered,
        active: false,
        registered_time: now,
        reregistered_time: now,
        unregistered_time: None,
        tasks: IndexMap::new(),
        unreachable_tasks: IndexMap::new(),
        completed_tasks: VecDeque::new(),
        offers: IndexSet::new(),
        inverse_offers: IndexSet::new(),
        executors: IndexMap::new(),
        used: IndexMap::new(),
        offered: IndexMap::new(),
    }
}
