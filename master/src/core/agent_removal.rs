//! Agents leaving: unregistering, disconnecting, and becoming unreachable.
//!
//! Upstream: `unregisterSlave`, `exited`, `markUnreachable`, `removeSlave` of
//! `src/master/master.cpp`.

use std::sync::Arc;
use std::time::Duration;

use libprocess::Upid;
use mesos::ids::{AgentId, FrameworkId, TaskId};
use mesos::proto::TaskState;
use mesos::proto::task_status::Reason;

use super::Master;
use super::effects::{
    AllocatorCall, Effects, RegistryContinuation, RegistryOperation, RemovalReason, Timer,
};
use super::event::SchedulerEvent;
use super::metrics::Counter;
use super::operator_event::OperatorEvent;
use super::task_state::{for_framework, is_terminal};
use super::time::Timestamp;

/// How an agent left.
#[derive(Clone, Copy)]
enum Departure {
    /// Its tasks are unreachable since then.
    Unreachable(Timestamp),
    /// Its tasks are lost.
    Removed(RemovalReason),
}

impl Master {
    /// An agent says that it ends.
    pub fn on_unregister_agent(&mut self, from: &Upid, id: &AgentId, fx: &mut dyn Effects) {
        fx.count(Counter::MessagesUnregisterSlave);
        let Some(agent) = self.agent(id) else {
            tracing::warn!("Ignoring unregister of unknown agent {id}");
            return;
        };
        if agent.pid != *from {
            tracing::warn!("Ignoring unregister of agent {id}: not from {from}");
            return;
        }
        self.start_removal(id, RemovalReason::Unregistered, fx);
    }

    /// Removes an agent from the registry, and then from everywhere else.
    pub(super) fn start_removal(
        &mut self,
        id: &AgentId,
        reason: RemovalReason,
        fx: &mut dyn Effects,
    ) {
        if self.marking_unreachable.contains(id)
            || self.reregistering.contains(id)
            || !self.removing.insert(id.clone())
        {
            tracing::warn!("Ignoring removal of agent {id}: change in progress");
            return;
        }
        fx.apply_registry(
            RegistryOperation::Remove(id.clone()),
            RegistryContinuation::Removed {
                agent: id.clone(),
                reason,
            },
        );
    }

    pub(super) fn on_removed(
        &mut self,
        id: &AgentId,
        reason: RemovalReason,
        applied: bool,
        fx: &mut dyn Effects,
    ) {
        self.removing.remove(id);
        if !applied {
            tracing::error!("Agent {id} was not in the registry");
        }
        fx.count(Counter::SlaveRemovals);
        match reason {
            RemovalReason::Unregistered => fx.count(Counter::SlaveRemovalsUnregistered),
            RemovalReason::Replaced => fx.count(Counter::SlaveRemovalsRegistered),
            RemovalReason::MachineDown => {}
        }
        self.remove_agent(id, Departure::Removed(reason), fx);
        if fx.has_subscribers() {
            fx.publish(OperatorEvent::AgentRemoved(id.clone()));
        }
    }

    /// The link to an agent broke.
    pub(super) fn on_agent_exited(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        let Some(agent) = self.agent(id).filter(|agent| agent.connected) else {
            return;
        };
        tracing::info!("Agent {id} at {} disconnected", agent.pid);
        let frameworks: Vec<_> = agent.tasks.keys().cloned().collect();
        let executors: Vec<_> = agent.executors.keys().cloned().collect();
        self.set_agent_flags(id, false, false);
        fx.observe_connected(id, false);
        fx.allocator(AllocatorCall::DeactivateAgent(id.clone()));
        self.rescind_offers_of_agent(id, fx);
        self.rescind_inverse_offers_of_agent(id, fx);
        for framework in frameworks.into_iter().chain(executors) {
            let checkpoints = self
                .framework(&framework)
                .is_some_and(|framework| framework.info.checkpoint());
            if !checkpoints {
                // Their executors end with the agent's process.
                self.lose_work_of_framework(id, &framework, fx);
            }
        }
        fx.start_timer(
            Timer::AgentReregistration(id.clone()),
            self.config.agent_reregister_timeout,
        );
    }

    fn lose_work_of_framework(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        fx: &mut dyn Effects,
    ) {
        for task in self.tasks_on(agent, framework) {
            let Some(lost) = self.task(framework, &task).cloned() else {
                continue;
            };
            if !is_terminal(lost.state) {
                let update = self.master_update(
                    &lost,
                    TaskState::TaskLost,
                    Reason::SlaveDisconnected,
                    "Agent disconnected from master",
                    fx,
                );
                self.apply_update(&update, fx);
                self.send_master_update(update, fx);
            }
            if let Some(task) = self.take_task(framework, &task) {
                self.remember_completed(task);
            }
        }
        self.remove_executors_on(agent, framework, fx);
    }

    fn tasks_on(&self, agent: &AgentId, framework: &FrameworkId) -> Vec<TaskId> {
        self.agent(agent)
            .and_then(|agent| agent.tasks.get(framework))
            .map(|tasks| tasks.iter().cloned().collect())
            .unwrap_or_default()
    }

    fn remove_executors_on(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        fx: &mut dyn Effects,
    ) {
        let executors: Vec<_> = self
            .agent(agent)
            .and_then(|agent| agent.executors.get(framework))
            .map(|executors| executors.keys().cloned().collect())
            .unwrap_or_default();
        for executor in executors {
            if let Some(executor) = self.take_executor(framework, agent, &executor) {
                let resources = executor.resources.clone();
                self.recover_resources(framework, agent, resources, None, true, fx);
            }
        }
    }

    /// A disconnected agent had its time to come back.
    pub(super) fn on_agent_reregister_timeout(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        if self.agent(id).is_some_and(|agent| !agent.connected) {
            tracing::info!("Agent {id} did not come back");
            self.schedule_unreachable(id, fx);
        }
    }

    /// An agent did not answer pings for too long.
    pub fn on_agent_unresponsive(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        if self.agent(id).is_some() {
            tracing::info!("Agent {id} failed its health checks");
            self.schedule_unreachable(id, fx);
        }
    }

    /// An agent answered a ping after all.
    pub fn on_agent_responsive(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        if self.awaiting_permit.remove(id) {
            tracing::info!("Agent {id} answered in time");
            fx.cancel_timer(&Timer::UnreachablePermit(id.clone()));
            fx.count(Counter::SlaveUnreachableCanceled);
        }
    }

    /// Marks an agent unreachable as soon as the rate limiter allows it.
    pub(super) fn schedule_unreachable(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        if self.awaiting_permit.contains(id) {
            return;
        }
        fx.count(Counter::SlaveUnreachableScheduled);
        let wait = self.take_permit(fx.now());
        if wait.is_zero() {
            fx.count(Counter::SlaveUnreachableCompleted);
            self.mark_unreachable(id, fx);
        } else {
            self.awaiting_permit.insert(id.clone());
            fx.start_timer(Timer::UnreachablePermit(id.clone()), wait);
        }
    }

    /// Takes the next permit of the rate limiter; returns how long to wait for it.
    fn take_permit(&mut self, now: Timestamp) -> Duration {
        let Some(interval) = self.config.agent_removal_interval else {
            return Duration::ZERO;
        };
        let at = self.next_permit.max(now);
        let interval = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX);
        self.next_permit = Timestamp::from_nanos(at.as_nanos().saturating_add(interval));
        let wait = at.as_nanos().saturating_sub(now.as_nanos());
        Duration::from_nanos(u64::try_from(wait).unwrap_or(0))
    }

    pub(super) fn on_unreachable_permit(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        if self.awaiting_permit.remove(id) {
            fx.count(Counter::SlaveUnreachableCompleted);
            self.mark_unreachable(id, fx);
        }
    }

    /// Stores that an agent is unreachable, unless something else is under way with it.
    pub(super) fn mark_unreachable(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        let known = self.agent(id).is_some() || self.state.recovered_agents.contains_key(id);
        if !known || self.reregistering.contains(id) || self.removing.contains(id) {
            tracing::info!("Not marking agent {id} unreachable: it is back or being removed");
            return;
        }
        if !self.marking_unreachable.insert(id.clone()) {
            return;
        }
        tracing::info!("Marking agent {id} unreachable");
        let now = fx.now();
        fx.apply_registry(
            RegistryOperation::MarkUnreachable(id.clone(), now),
            RegistryContinuation::Unreachable(id.clone(), now),
        );
    }

    pub(super) fn on_marked_unreachable(
        &mut self,
        id: &AgentId,
        since: Timestamp,
        applied: bool,
        fx: &mut dyn Effects,
    ) {
        self.marking_unreachable.remove(id);
        if !applied {
            tracing::error!("Agent {id} was not in the registry");
        }
        Arc::make_mut(&mut self.state.unreachable_agents).insert(id.clone(), since);
        let recovered = Arc::make_mut(&mut self.state.recovered_agents)
            .shift_remove(id)
            .is_some();
        if recovered {
            fx.count(Counter::RecoverySlaveRemovals);
            self.remember_removed(id.clone());
            self.announce_lost(id, fx);
            return;
        }
        fx.count(Counter::SlaveRemovals);
        fx.count(Counter::SlaveRemovalsUnhealthy);
        self.remove_agent(id, Departure::Unreachable(since), fx);
    }

    /// Removes all that an agent had.
    fn remove_agent(&mut self, id: &AgentId, departure: Departure, fx: &mut dyn Effects) {
        if self.agent(id).is_none() {
            return;
        }
        // While the allocator knows the agent.
        self.rescind_inverse_offers_of_agent(id, fx);
        // First of the rest, so that resources that become free below are not offered again.
        fx.allocator(AllocatorCall::RemoveAgent(id.clone()));
        self.rescind_offers_of_agent(id, fx);
        let frameworks: Vec<_> = self
            .agent(id)
            .map(|agent| {
                let mut frameworks: Vec<_> = agent.tasks.keys().cloned().collect();
                frameworks.extend(agent.executors.keys().cloned());
                frameworks
            })
            .unwrap_or_default();
        for framework in frameworks {
            for task in self.tasks_on(id, &framework) {
                self.lose_task(&framework, &task, departure, fx);
            }
            self.remove_executors_on(id, &framework, fx);
        }
        let operations: Vec<_> = self
            .agent(id)
            .map(|agent| agent.operations.keys().copied().collect())
            .unwrap_or_default();
        for operation in operations {
            self.forget_operation(id, operation, fx);
        }
        fx.unobserve(id);
        fx.cancel_timer(&Timer::AgentReregistration(id.clone()));
        if self.awaiting_permit.remove(id) {
            fx.cancel_timer(&Timer::UnreachablePermit(id.clone()));
        }
        self.take_agent(id);
        self.remember_removed(id.clone());
        self.announce_lost(id, fx);
    }

    /// Tells the scheduler that a task went with its agent, and files the task.
    fn lose_task(
        &mut self,
        framework: &FrameworkId,
        id: &TaskId,
        departure: Departure,
        fx: &mut dyn Effects,
    ) {
        let Some(task) = self.task(framework, id).cloned() else {
            return;
        };
        let partition_aware = self
            .framework(framework)
            .is_some_and(|framework| framework.capabilities.partition_aware);
        let (state, unreachable, text) = match departure {
            Departure::Unreachable(since) => (
                for_framework(TaskState::TaskUnreachable, partition_aware),
                Some(since),
                "Agent is unreachable".to_owned(),
            ),
            Departure::Removed(reason) => (
                TaskState::TaskLost,
                None,
                format!("Agent was removed: {}", reason.text()),
            ),
        };
        let ended = is_terminal(task.state);
        if !ended {
            let mut update = self.master_update(&task, state, Reason::SlaveRemoved, &text, fx);
            update.status.unreachable_time = unreachable.map(Timestamp::to_proto);
            self.apply_update(&update, fx);
            self.send_master_update(update, fx);
        }
        if let Some(task) = self.take_task(framework, id) {
            if unreachable.is_some() && !ended {
                self.remember_unreachable(task);
            } else {
                self.remember_completed(task);
            }
        }
    }

    fn announce_lost(&mut self, id: &AgentId, fx: &mut dyn Effects) {
        let connected: Vec<_> = self
            .state
            .frameworks
            .values()
            .filter(|framework| framework.connected())
            .map(|framework| framework.id.clone())
            .collect();
        for framework in connected {
            self.send_to_framework(&framework, &SchedulerEvent::AgentLost(id.clone()), fx);
        }
    }
}
