//! Agents coming back: after a lost link, after being unreachable, or to a new master.
//!
//! Upstream: `reregisterSlave`, `___reregisterSlave`, `reconcileKnownSlave` of
//! `src/master/master.cpp`.

use std::collections::HashSet;
use std::sync::Arc;

use libprocess::Upid;
use mesos::ids::{AgentId, ExecutorId, FrameworkId, TaskId};
use mesos::proto::task_status::Reason;
use mesos::proto::{self, TaskState, internal};
use mesos::resources::{HasResources, Resources};

use super::agent_registration::{PendingAdmission, RunningWork, new_agent};
use super::capabilities::AgentCapabilities;
use super::effects::{
    AllocatorCall, Effects, LinkMode, RegistryContinuation, RegistryOperation, Timer,
};
use super::metrics::Counter;
use super::operator_event::OperatorEvent;
use super::reconciliation::task_update;
use super::state::{Executor, Framework, Task};
use super::subscription::update_framework_message;
use super::task_state::{is_reportable, is_terminal};
use super::{Master, validation};

impl Master {
    /// An agent re-registers.
    pub fn on_reregister_agent(
        &mut self,
        from: &Upid,
        message: internal::ReregisterSlaveMessage,
        fx: &mut dyn Effects,
    ) {
        fx.count(Counter::MessagesReregisterSlave);
        let Some(id) = message.slave.id.as_ref().map(AgentId::from) else {
            fx.count(Counter::InvalidMessages);
            return;
        };
        if self.reregistering.contains(&id)
            || self.marking_unreachable.contains(&id)
            || self.removing.contains(&id)
        {
            tracing::info!("Ignoring re-register agent message of {id}: change in progress");
            return;
        }
        if self.gone.contains_key(&id) {
            self.shut_down_agent(from, "Agent has been marked gone", fx);
            return;
        }
        if self.refuse_if_machine_is_down(from, &message.slave, fx) {
            return;
        }
        let version = message.version.as_deref().unwrap_or("");
        let checked = validation::agent::validate_reregister(&message)
            .and_then(|()| self.check_admissible(&message.slave, version));
        if let Err(error) = checked {
            tracing::warn!("Refusing re-registration of agent {id} at {from}: {error}");
            fx.count(Counter::InvalidMessages);
            return;
        }
        let pending = pending_readmission(id, from, message);
        self.reregistering.insert(pending.id.clone());
        match self.registry_operation(&pending) {
            Some(operation) => fx.apply_registry(
                operation,
                RegistryContinuation::Readmitted(Box::new(pending)),
            ),
            None => self.on_readmitted(pending, true, fx),
        }
    }

    /// What must be stored before an agent comes back; nothing if the registry has it already.
    fn registry_operation(&self, pending: &PendingAdmission) -> Option<RegistryOperation> {
        let known = self
            .agent(&pending.id)
            .map(|agent| agent.info.as_ref())
            .or_else(|| {
                self.state
                    .recovered_agents
                    .get(&pending.id)
                    .map(Arc::as_ref)
            });
        match known {
            None => Some(RegistryOperation::MarkReachable(Box::new(
                pending.info.clone(),
            ))),
            Some(known) if *known != pending.info => {
                Some(RegistryOperation::Update(Box::new(pending.info.clone())))
            }
            Some(_) => None,
        }
    }

    pub(super) fn on_readmitted(
        &mut self,
        pending: PendingAdmission,
        applied: bool,
        fx: &mut dyn Effects,
    ) {
        self.reregistering.remove(&pending.id);
        if !applied {
            tracing::warn!("The registry refused agent {}; it will retry", pending.id);
            return;
        }
        if self.gone.contains_key(&pending.id) {
            self.shut_down_agent(&pending.pid, "Agent has been marked gone", fx);
            return;
        }
        let total = match pending.total() {
            Ok(total) => total,
            Err(error) => {
                let text = format!("Agent has inconsistent checkpointed resources: {error}");
                self.shut_down_agent(&pending.pid, &text, fx);
                return;
            }
        };
        let id = pending.id.clone();
        if self.agent(&id).is_some() {
            self.readmit_known(pending, total, fx);
        } else {
            self.readmit_unknown(pending, total, fx);
        }
        self.take_down_if_machine_is(&id, fx);
    }

    // An agent that this master has lost track of, or never knew.

    fn readmit_unknown(
        &mut self,
        mut pending: PendingAdmission,
        total: Resources,
        fx: &mut dyn Effects,
    ) {
        let (id, pid) = (pending.id.clone(), pending.pid.clone());
        let recovered = Arc::make_mut(&mut self.state.recovered_agents)
            .shift_remove(&id)
            .is_some();
        Arc::make_mut(&mut self.state.unreachable_agents).shift_remove(&id);
        self.removed.shift_remove(&id);
        self.tasks_of_unreachable.remove(&id);
        let running = std::mem::take(&mut pending.running);
        let now = fx.now();
        let mut agent = new_agent(pending, total, now);
        agent.reregistered_time = Some(now);
        self.insert_agent(agent);
        fx.count(Counter::SlaveReregistrations);
        fx.link(&pid, LinkMode::Reuse);
        self.recover_frameworks(&running.frameworks, fx);
        let tasks = self.readd_work(&id, &running);
        self.tell_allocator_of_agent(&id, fx);
        self.publish_agent(&id, fx);
        self.announce_readded(&tasks, !recovered, fx);
        self.readd_completed(&id, &running.completed);
        let message = internal::SlaveReregisteredMessage {
            slave_id: (&id).into(),
            reconciliations: Vec::new(),
            connection: Some(self.connection_settings()),
        };
        self.send_to_agent(&id, &message, fx);
        fx.observe(&id, &pid);
        self.send_framework_news(&id, &running, fx);
        self.send_checkpoints_if_needed(&id, fx);
    }

    /// Adds the executors and tasks that an agent runs. Returns the tasks that were added.
    fn readd_work(&mut self, id: &AgentId, running: &RunningWork) -> Vec<Arc<Task>> {
        for info in &running.executors {
            let Some(framework) = info.framework_id.as_ref().map(FrameworkId::from) else {
                continue;
            };
            let Ok(resources) = Resources::from_protos(&info.resources) else {
                continue;
            };
            if self.framework(&framework).is_some() {
                let executor = Arc::new(Executor {
                    info: info.clone(),
                    resources,
                });
                self.add_executor(&framework, id, executor);
            }
        }
        let mut added = Vec::new();
        for info in &running.tasks {
            let Some(task) = reported_task(info) else {
                continue;
            };
            let Some(framework) = self.framework(&task.framework_id) else {
                continue;
            };
            if framework.tasks.contains_key(&task.id) {
                tracing::error!(
                    "Agent {id} reports task {} that runs elsewhere; ignoring it",
                    task.id
                );
                continue;
            }
            self.forget_ended(&task.framework_id, &task.id);
            let task = Arc::new(task);
            self.add_task_uncounted(task.clone());
            added.push(task);
        }
        added
    }

    /// Forgets that a task was unreachable or completed, since it is neither.
    fn forget_ended(&mut self, framework: &FrameworkId, id: &TaskId) {
        self.forget_unreachable(framework, id);
        if let Some(framework) = self.framework_mut(framework) {
            framework.completed_tasks.retain(|task| task.id != *id);
        }
    }

    /// Tells operators, and for agents that were lost also schedulers, about tasks that are back.
    fn announce_readded(
        &mut self,
        tasks: &[Arc<Task>],
        tell_schedulers: bool,
        fx: &mut dyn Effects,
    ) {
        for task in tasks {
            fx.count_framework(
                &task.framework_id,
                super::metrics::FrameworkCounter::TaskEntered(task.state),
            );
            if fx.has_subscribers() {
                fx.publish(OperatorEvent::TaskAdded(task.clone()));
            }
            if tell_schedulers {
                let update = task_update(
                    task,
                    task.state,
                    Reason::SlaveReregistered,
                    "Task reregistered with the master",
                    fx,
                );
                self.send_master_update(update, fx);
            }
        }
    }

    fn readd_completed(&mut self, agent: &AgentId, completed: &[internal::archive::Framework]) {
        for archived in completed {
            let Some(id) = archived.framework_info.id.as_ref().map(FrameworkId::from) else {
                continue;
            };
            let tasks = archived
                .tasks
                .iter()
                .filter_map(reported_task)
                .map(Arc::new)
                .collect();
            tracing::debug!("Agent {agent} reports completed tasks of framework {id}");
            self.add_reported_completed(&id, tasks);
        }
    }

    // An agent that this master knows.

    fn readmit_known(&mut self, pending: PendingAdmission, total: Resources, fx: &mut dyn Effects) {
        let id = pending.id.clone();
        let moved = self.agent(&id).is_some_and(|agent| {
            agent.pid.address().ip() != pending.pid.address().ip()
                || agent.info.hostname != pending.info.hostname
        });
        if moved {
            self.shut_down_agent(
                &pending.pid,
                "Agent attempted to reregister with different IP / hostname",
                fx,
            );
            return;
        }
        let running = pending.running.clone();
        self.replace_agent(pending, total, fx);
        self.recover_frameworks(&running.frameworks, fx);
        self.reconcile_known(&id, &running, fx);
        self.reconnect_agent(&id, fx);
        self.send_framework_news(&id, &running, fx);
        self.send_checkpoints_if_needed(&id, fx);
    }

    /// Takes over what an agent says of itself.
    fn replace_agent(&mut self, pending: PendingAdmission, total: Resources, fx: &mut dyn Effects) {
        let id = pending.id.clone();
        let now = fx.now();
        let Some(agent) = self.agent_mut(&id) else {
            return;
        };
        let old_pid = std::mem::replace(&mut agent.pid, pending.pid.clone());
        let connected = agent.connected;
        agent.info = Arc::new(pending.info);
        agent.version = pending.version;
        let took_over = agent.capabilities.resource_provider;
        agent.capabilities = pending.capabilities;
        agent.reregistered_time = Some(now);
        agent.resource_version = pending.resource_version;
        // Other agents are told what to checkpoint, so the master knows better than they do.
        let mut new_total = agent.total.clone();
        if took_over {
            let revocable = agent.total.revocable();
            let provided: Resources = agent
                .resource_providers
                .values()
                .map(|provider| &provider.total)
                .sum();
            new_total = &(&total.non_revocable() + &revocable) + &provided;
            agent.checkpointed = pending.checkpointed;
        }
        let (info, capabilities) = (agent.info.clone(), agent.capabilities);
        self.set_agent_total(&id, new_total.clone());
        if self.agent_pids.get(&old_pid) == Some(&id) {
            self.agent_pids.remove(&old_pid);
        }
        self.agent_pids.insert(pending.pid.clone(), id.clone());
        if old_pid != pending.pid {
            // Pings must follow the agent to its new port.
            fx.observe(&id, &pending.pid);
            fx.observe_connected(&id, connected);
        }
        fx.count(Counter::SlaveReregistrations);
        fx.link(&pending.pid, LinkMode::Reuse);
        fx.allocator(AllocatorCall::UpdateAgent {
            id,
            info,
            total: Some(new_total),
            capabilities: Some(capabilities),
        });
    }

    /// Compares what the agent runs with what the master knows.
    fn reconcile_known(&mut self, id: &AgentId, running: &RunningWork, fx: &mut dyn Effects) {
        let reported: HashSet<(FrameworkId, TaskId)> = running
            .tasks
            .iter()
            .map(|task| ((&task.framework_id).into(), (&task.task_id).into()))
            .collect();
        let message = internal::SlaveReregisteredMessage {
            slave_id: id.into(),
            reconciliations: self.unreported_tasks(id, &reported),
            connection: Some(self.connection_settings()),
        };
        self.send_to_agent(id, &message, fx);
        self.remove_unreported_executors(id, running, fx);
        self.resend_kills(id, fx);
    }

    /// Tasks that the master knows and the agent did not report.
    fn unreported_tasks(
        &self,
        id: &AgentId,
        reported: &HashSet<(FrameworkId, TaskId)>,
    ) -> Vec<internal::ReconcileTasksMessage> {
        let Some(agent) = self.agent(id) else {
            return Vec::new();
        };
        let mut reconciliations = Vec::new();
        for (framework_id, tasks) in &agent.tasks {
            let statuses: Vec<_> = tasks
                .iter()
                .filter(|task| !reported.contains(&(framework_id.clone(), (*task).clone())))
                .filter_map(|task| self.task(framework_id, task))
                .map(|task| proto::TaskStatus {
                    task_id: (&task.id).into(),
                    state: task.state as i32,
                    ..Default::default()
                })
                .collect();
            if !statuses.is_empty() {
                reconciliations.push(internal::ReconcileTasksMessage {
                    framework_id: framework_id.into(),
                    statuses,
                    framework: self
                        .framework(framework_id)
                        .map(|framework| framework.info.as_ref().clone()),
                });
            }
        }
        reconciliations
    }

    fn remove_unreported_executors(
        &mut self,
        id: &AgentId,
        running: &RunningWork,
        fx: &mut dyn Effects,
    ) {
        let reported: HashSet<(&str, &str)> = running
            .executors
            .iter()
            .filter_map(|executor| {
                Some((
                    executor.framework_id.as_ref()?.value.as_str(),
                    executor.executor_id.value.as_str(),
                ))
            })
            .collect();
        let unreported: Vec<(FrameworkId, ExecutorId)> = self
            .agent(id)
            .into_iter()
            .flat_map(|agent| &agent.executors)
            .flat_map(|(framework, executors)| {
                executors.keys().map(move |executor| (framework, executor))
            })
            .filter(|(framework, executor)| {
                !reported.contains(&(framework.as_str(), executor.as_str()))
            })
            .map(|(framework, executor)| (framework.clone(), executor.clone()))
            .collect();
        for (framework, executor) in unreported {
            tracing::warn!("Agent {id} lost executor {executor} of framework {framework}");
            if let Some(executor) = self.take_executor(&framework, id, &executor) {
                let resources = executor.resources.clone();
                self.recover_resources(&framework, id, resources, None, true, fx);
            }
        }
    }

    /// Sends kills again that the agent may have missed.
    fn resend_kills(&self, id: &AgentId, fx: &mut dyn Effects) {
        let Some(agent) = self.agent(id) else {
            return;
        };
        for (framework, tasks) in &agent.killed_tasks {
            for task in tasks {
                let alive = self
                    .task(framework, task)
                    .is_some_and(|task| !is_terminal(task.state));
                if alive {
                    let message = internal::KillTaskMessage {
                        framework_id: framework.into(),
                        task_id: task.into(),
                        kill_policy: None,
                    };
                    fx.send_message(&agent.pid, &message);
                }
            }
        }
    }

    fn reconnect_agent(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        let Some(agent) = self.agent(id) else {
            return;
        };
        if agent.connected {
            return;
        }
        let active = !agent.deactivated;
        fx.cancel_timer(&Timer::AgentReregistration(id.clone()));
        self.set_agent_flags(id, true, active);
        fx.observe_connected(id, true);
        if active {
            fx.allocator(AllocatorCall::ActivateAgent(id.clone()));
        }
    }

    // Both.

    /// Adds the frameworks that an agent runs and the master does not know.
    fn recover_frameworks(&mut self, frameworks: &[proto::FrameworkInfo], fx: &mut dyn Effects) {
        for info in frameworks {
            let Some(id) = info.id.as_ref().map(FrameworkId::from) else {
                continue;
            };
            if self.framework(&id).is_none() && !self.state.completed_frameworks.contains_key(&id) {
                self.recover_framework(info.clone(), fx);
            }
        }
    }

    /// Tells an agent where the frameworks it runs are, and which of them have ended.
    fn send_framework_news(&self, id: &AgentId, running: &RunningWork, fx: &mut dyn Effects) {
        let Some(agent) = self.agent(id) else {
            return;
        };
        for info in &running.frameworks {
            let Some(framework_id) = info.id.as_ref() else {
                continue;
            };
            let key = FrameworkId::from(framework_id);
            if let Some(framework) = self.framework(&key) {
                if !Framework::recovered(framework) {
                    fx.send_message(&agent.pid, &update_framework_message(framework));
                }
            } else if self.state.completed_frameworks.contains_key(&key) {
                let message = internal::ShutdownFrameworkMessage {
                    framework_id: framework_id.clone(),
                };
                fx.send_message(&agent.pid, &message);
            }
        }
    }

    fn send_checkpoints_if_needed(&self, id: &AgentId, fx: &mut dyn Effects) {
        if self
            .agent(id)
            .is_some_and(|agent| !agent.capabilities.resource_provider)
        {
            self.send_checkpoint_resources(id, fx);
        }
    }

    /// Adds a task whose state is counted per framework later, once all of them are in.
    fn add_task_uncounted(&mut self, task: Arc<Task>) {
        if !super::task_state::releases_resources(task.state) {
            self.charge(
                &task.framework_id.clone(),
                &task.agent_id.clone(),
                &task.resources,
            );
        }
        self.link_task(task);
    }
}

fn pending_readmission(
    id: AgentId,
    from: &Upid,
    message: internal::ReregisterSlaveMessage,
) -> PendingAdmission {
    let capabilities = AgentCapabilities::of(&message.agent_capabilities);
    let mut info = message.slave;
    info.upgrade_resources();
    let mut running = RunningWork {
        tasks: message.tasks,
        executors: message.executor_infos,
        frameworks: message.frameworks,
        completed: message.completed_frameworks,
    };
    running.tasks.upgrade_resources();
    running.executors.upgrade_resources();
    if !capabilities.multi_role {
        inject_roles(&mut running);
    }
    PendingAdmission {
        pid: from.clone(),
        id,
        info,
        version: message.version.unwrap_or_default(),
        capabilities,
        checkpointed: Resources::from_protos(&message.checkpointed_resources).unwrap_or_default(),
        resource_version: message.resource_version_uuid.map(|uuid| uuid.value),
        running,
    }
}

/// Agents older than roles of allocations run frameworks with a single role.
fn inject_roles(running: &mut RunningWork) {
    let role_of = |frameworks: &[proto::FrameworkInfo], id: Option<&proto::FrameworkId>| {
        frameworks
            .iter()
            .find(|framework| framework.id.as_ref() == id)
            .map_or_else(|| "*".to_owned(), |framework| framework.role().to_owned())
    };
    let inject = |resources: &mut Vec<proto::Resource>, role: &str| {
        for resource in resources {
            resource
                .allocation_info
                .get_or_insert_with(|| proto::resource::AllocationInfo {
                    role: Some(role.to_owned()),
                });
        }
    };
    for task in &mut running.tasks {
        let role = role_of(&running.frameworks, Some(&task.framework_id));
        inject(&mut task.resources, &role);
    }
    for executor in &mut running.executors {
        let role = role_of(&running.frameworks, executor.framework_id.as_ref());
        inject(&mut executor.resources, &role);
    }
}

/// A task as an agent reports it; none if its state or resources make no sense.
fn reported_task(info: &proto::Task) -> Option<Task> {
    Some(Task {
        id: (&info.task_id).into(),
        framework_id: (&info.framework_id).into(),
        agent_id: (&info.slave_id).into(),
        executor_id: info.executor_id.as_ref().map(ExecutorId::from),
        state: TaskState::try_from(info.state)
            .ok()
            .filter(|state| is_reportable(*state))?,
        resources: Resources::from_protos(&info.resources).ok()?,
        info: info.clone(),
    })
}
