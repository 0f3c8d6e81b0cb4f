//! The master: detection, registration, pings, and the end of the agent.

use std::time::Duration;

use libprocess::Upid;
use mesos::ids::{AgentId, FrameworkId, TaskId};
use mesos::proto;
use mesos::proto::internal as wire;
use mesos::proto::slave_info::capability::Type as Capability;
use mesos::proto::task_status::Reason;
use mesos::resources::HasResources;
use tracing::{error, info, warn};

use super::framework::dropped_state;
use super::{
    Agent, AgentState, DEFAULT_MASTER_PING_TIMEOUT, Effects, Executor, ExecutorState, Exit,
    Framework, Master, Timer,
};
use crate::tasks::create_task;

/// The longest wait between two attempts to register.
///
/// Upstream: `REGISTER_RETRY_INTERVAL_MAX`.
pub(crate) const REGISTER_RETRY_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// The capabilities of every agent, in the order in which they are reported.
pub(crate) const AGENT_CAPABILITIES: [Capability; 8] = [
    Capability::MultiRole,
    Capability::HierarchicalRole,
    Capability::ReservationRefinement,
    Capability::ResourceProvider,
    Capability::ResizeVolume,
    Capability::AgentOperationFeedback,
    Capability::AgentDraining,
    Capability::TaskResourceLimits,
];

impl Agent {
    /// The detector found another leading master, or none.
    pub fn on_master_detected(&mut self, master: Option<Master>, fx: &mut dyn Effects) {
        fx.cancel_timer(&Timer::Registration);
        fx.cancel_timer(&Timer::Ping);
        self.status_updates.pause();
        if self.state != AgentState::Terminating {
            self.state = AgentState::Disconnected;
        }
        self.master = master;

        match &self.master {
            None => info!("No leading master; waiting for one"),
            Some(_) if self.state == AgentState::Terminating => {}
            Some(master) => {
                info!("New master detected at {}", master.pid);
                self.registration_backoff = None;
                let delay = fx.jitter(self.config.registration_backoff_factor);
                fx.start_timer(Timer::Registration, delay);
            }
        }
    }

    /// The connection to the master broke.
    ///
    /// Upstream waits for the detector or the ping timeout here, and so notices the restart of a master given by address only
    /// after 75 seconds. Registering again at the known address costs one message per backoff.
    pub fn on_exited(&mut self, pid: &Upid, fx: &mut dyn Effects) {
        if self.is_from_master(pid) && self.state == AgentState::Running {
            warn!("Lost the connection to the master {pid}; registering again");
            self.on_master_detected(self.master.clone(), fx);
        }
    }

    pub(super) fn on_registration_timer(&mut self, fx: &mut dyn Effects) {
        if self.state != AgentState::Disconnected {
            return;
        }
        let Some(pid) = self.master.as_ref().map(|master| master.pid.clone()) else {
            return;
        };
        // With each attempt, because a failed one takes the link with it.
        fx.link(&pid);
        let last = self.registration_backoff;
        let backoff = 2 * last.unwrap_or(self.config.registration_backoff_factor);
        let backoff = backoff.min(REGISTER_RETRY_INTERVAL_MAX);
        self.registration_backoff = Some(backoff);

        match &self.id {
            None => fx.send(&pid, self.register_message().into()),
            Some(_) => fx.send(&pid, self.reregister_message().into()),
        }
        let delay = fx.jitter(backoff);
        fx.start_timer(Timer::Registration, delay);
    }

    fn register_message(&self) -> wire::RegisterSlaveMessage {
        let mut slave = self.config.info.clone();
        in_old_form(&mut slave);
        wire::RegisterSlaveMessage {
            slave,
            version: Some(self.config.version.clone()),
            checkpointed_resources: Vec::new(),
            agent_capabilities: capabilities(),
            resource_version_uuid: Some(self.resource_version()),
        }
    }

    fn reregister_message(&self) -> wire::ReregisterSlaveMessage {
        let mut message = wire::ReregisterSlaveMessage {
            slave: self.info(),
            version: Some(self.config.version.clone()),
            agent_capabilities: capabilities(),
            resource_version_uuid: Some(self.resource_version()),
            ..Default::default()
        };
        for framework in self.frameworks.values() {
            message.frameworks.push(framework.info.clone());
            for executor in framework.executors.values() {
                self.report_executor(executor, &mut message);
            }
        }
        message.completed_frameworks = self
            .completed_frameworks
            .values()
            .map(|framework| archive(framework))
            .collect();
        in_old_form(&mut message.slave);
        in_old_form(&mut message.tasks);
        in_old_form(&mut message.executor_infos);
        message
    }

    fn report_executor(&self, executor: &Executor, message: &mut wire::ReregisterSlaveMessage) {
        let framework_id = &executor.run.framework_id;
        for task in executor.queued_tasks.values() {
            let staging = proto::TaskState::TaskStaging;
            message.tasks.push(create_task(task, staging, framework_id));
        }
        for task in executor
            .launched_tasks
            .values()
            .chain(executor.terminated_tasks.values())
        {
            message.tasks.push(proto::Task::clone(task));
        }
        if !executor.generated_for_command_task && executor.state != ExecutorState::Terminated {
            message.executor_infos.push(executor.info.clone());
        }
    }

    fn resource_version(&self) -> proto::Uuid {
        proto::Uuid {
            value: self.config.resource_version.as_bytes().to_vec().into(),
        }
    }

    /// `SlaveRegisteredMessage`
    pub fn on_slave_registered(
        &mut self,
        from: &Upid,
        message: wire::SlaveRegisteredMessage,
        fx: &mut dyn Effects,
    ) {
        if !self.is_from_master(from) {
            warn!("Ignoring a registration from {from}, which is not the leading master");
            return;
        }
        let id = AgentId::from(&message.slave_id);
        match self.state {
            AgentState::Terminating => {}
            AgentState::Running => {
                if self.id.as_ref() != Some(&id) {
                    self.fail(
                        format!("the master registered this agent a second time, as {id}"),
                        fx,
                    );
                }
            }
            AgentState::Disconnected => {
                info!("Registered with master {from}; given agent ID {id}");
                self.id = Some(id);
                self.enter_running(message.connection, fx);
            }
        }
    }

    /// `SlaveReregisteredMessage`
    pub fn on_slave_reregistered(
        &mut self,
        from: &Upid,
        message: wire::SlaveReregisteredMessage,
        fx: &mut dyn Effects,
    ) {
        if !self.is_from_master(from) {
            warn!("Ignoring a re-registration from {from}, which is not the leading master");
            return;
        }
        let id = AgentId::from(&message.slave_id);
        if self.id.as_ref() != Some(&id) {
            self.fail(
                format!("the master re-registered this agent under another ID, {id}"),
                fx,
            );
            return;
        }
        match self.state {
            AgentState::Terminating => return,
            AgentState::Running => {}
            AgentState::Disconnected => {
                info!("Re-registered with master {from}");
                self.enter_running(message.connection, fx);
            }
        }
        for reconciliation in message.reconciliations {
            self.reconcile_tasks(reconciliation, fx);
        }
    }

    fn enter_running(
        &mut self,
        connection: Option<wire::MasterSlaveConnection>,
        fx: &mut dyn Effects,
    ) {
        self.state = AgentState::Running;
        self.ping_timeout = connection
            .and_then(|connection| connection.total_ping_timeout_seconds)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or(DEFAULT_MASTER_PING_TIMEOUT);
        fx.cancel_timer(&Timer::Registration);
        fx.start_timer(Timer::Ping, self.ping_timeout);
        self.resume_status_updates(fx);

        let Some(id) = &self.id else { return };
        let update = wire::UpdateSlaveMessage {
            slave_id: id.into(),
            oversubscribed_resources: Vec::new(),
            update_oversubscribed_resources: Some(false),
            operations: Some(wire::update_slave_message::Operations::default()),
            resource_version_uuid: Some(self.resource_version()),
            resource_providers: Some(wire::update_slave_message::ResourceProviders::default()),
        };
        self.send_to_master(update, fx);
    }

    /// The master asks about tasks that it thinks are here; those that are not get an update.
    fn reconcile_tasks(&mut self, message: wire::ReconcileTasksMessage, fx: &mut dyn Effects) {
        let framework_id = FrameworkId::from(&message.framework_id);
        let state = message
            .framework
            .as_ref()
            .map_or(proto::TaskState::TaskLost, dropped_state);
        for status in &message.statuses {
            let task_id = TaskId::from(&status.task_id);
            let known = self
                .frameworks
                .get(&framework_id)
                .is_some_and(|framework| framework.executor_of(&task_id).is_some());
            if !known {
                let update = self.agent_update(&framework_id, &task_id, state, fx).with(
                    Reason::Reconciliation,
                    "Reconciliation: task unknown to the agent",
                );
                self.forward_unowned(update, fx);
            }
        }
    }

    /// `PingSlaveMessage`, from the observer that the master has for this agent.
    pub fn on_ping(&mut self, from: &Upid, connected: bool, fx: &mut dyn Effects) {
        fx.send(from, wire::PongSlaveMessage {}.into());
        if self.state != AgentState::Running {
            return;
        }
        if connected {
            fx.start_timer(Timer::Ping, self.ping_timeout);
        } else {
            info!("The master takes this agent for disconnected; registering again");
            self.redetect(fx);
        }
    }

    pub(super) fn on_ping_timer(&mut self, fx: &mut dyn Effects) {
        if self.state == AgentState::Running {
            info!("No pings from the master within {:?}", self.ping_timeout);
            self.redetect(fx);
        }
    }

    fn redetect(&mut self, fx: &mut dyn Effects) {
        let master = self.master.clone();
        self.on_master_detected(master, fx);
    }

    /// `ShutdownMessage`
    pub fn on_shutdown(
        &mut self,
        from: &Upid,
        message: wire::ShutdownMessage,
        fx: &mut dyn Effects,
    ) {
        if !self.is_from_master(from) {
            warn!("Ignoring a shutdown message from {from}, which is not the leading master");
            return;
        }
        info!("Asked to shut down by {from}: {}", message.message());
        self.terminate(fx);
    }

    /// A person (`SIGUSR1`) or the embedding process asks for a graceful end.
    pub fn on_unregister_requested(&mut self, fx: &mut dyn Effects) {
        if let Some(id) = &self.id {
            info!("Unregistering and shutting down");
            let message = wire::UnregisterSlaveMessage {
                slave_id: id.into(),
            };
            self.send_to_master(message, fx);
        }
        self.terminate(fx);
    }

    fn terminate(&mut self, fx: &mut dyn Effects) {
        if self.state == AgentState::Terminating {
            return;
        }
        self.state = AgentState::Terminating;
        fx.cancel_timer(&Timer::Registration);
        fx.cancel_timer(&Timer::Ping);
        let ids: Vec<FrameworkId> = self.frameworks.keys().cloned().collect();
        for id in ids {
            self.shutdown_framework(&id, fx);
        }
        self.exit_if_done(fx);
    }

    pub(super) fn exit_if_done(&mut self, fx: &mut dyn Effects) {
        if self.state == AgentState::Terminating && self.frameworks.is_empty() {
            fx.exit(Exit::Shutdown);
        }
    }

    fn fail(&mut self, text: String, fx: &mut dyn Effects) {
        error!("{text}");
        fx.exit(Exit::Failure(text));
    }
}

/// Masters before reservation refinement understand only the old form of resources; refined ones have only the new.
fn in_old_form<T: HasResources + Clone>(message: &mut T) {
    let mut old = message.clone();
    if old.downgrade_resources().is_ok() {
        *message = old;
    }
}

pub(crate) fn capabilities() -> Vec<proto::slave_info::Capability> {
    AGENT_CAPABILITIES
        .iter()
        .map(|capability| proto::slave_info::Capability {
            r#type: Some((*capability).into()),
        })
        .collect()
}

fn archive(framework: &Framework) -> wire::archive::Framework {
    let tasks = framework
        .completed_executors
        .iter()
        .flat_map(|executor| {
            executor
                .terminated_tasks
                .values()
                .chain(executor.completed_tasks.iter())
        })
        .map(|task| proto::Task::clone(task))
        .collect();
    wire::archive::Framework {
        framework_info: framework.info.clone(),
        pid: framework.pid.as_ref().map(ToString::to_string),
        tasks,
    }
}
