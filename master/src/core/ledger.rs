//! Bookkeeping: adding and removing records so that all cross-references and sums stay right.
//!
//! Nothing here decides or tells anybody anything, apart from metrics.

use std::sync::Arc;

use indexmap::IndexMap;
use mesos::ids::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId};
use mesos::proto::TaskState;
use mesos::resources::Resources;

use super::Master;
use super::effects::Effects;
use super::metrics::FrameworkCounter;
use super::state::{Agent, Executor, Framework, Offer, Task};
use super::task_state::releases_resources;
use crate::constants::MAX_REMOVED_AGENTS;

impl Master {
    // Tasks.

    /// Adds a task to its framework and agent and charges them for it.
    pub(super) fn add_task(&mut self, task: Arc<Task>, fx: &mut dyn Effects) {
        let (framework_id, agent_id) = (task.framework_id.clone(), task.agent_id.clone());
        let state = task.state;
        if !releases_resources(state) {
            self.charge(&framework_id, &agent_id, &task.resources);
        }
        self.link_task(task);
        fx.count_framework(&framework_id, FrameworkCounter::TaskEntered(state));
    }

    /// Enters a task at its framework and agent.
    pub(super) fn link_task(&mut self, task: Arc<Task>) {
        let state = task.state;
        if let Some(agent) = self.agent_mut(&task.agent_id) {
            agent
                .tasks
                .entry(task.framework_id.clone())
                .or_default()
                .insert(task.id.clone());
        }
        let replaced = self
            .framework_mut(&task.framework_id.clone())
            .and_then(|framework| framework.tasks.insert(task.id.clone(), task));
        debug_assert!(replaced.is_none(), "a task was added twice");
        self.count_task(state, 1);
    }

    /// Takes a task from its framework and agent, discharging them if it still held resources.
    /// Where it is remembered is up to the caller.
    pub(super) fn take_task(
        &mut self,
        framework_id: &FrameworkId,
        id: &TaskId,
    ) -> Option<Arc<Task>> {
        let task = self.framework_mut(framework_id)?.tasks.swap_remove(id)?;
        if !releases_resources(task.state) {
            self.discharge(framework_id, &task.agent_id, &task.resources);
        }
        if let Some(agent) = self.agent_mut(&task.agent_id) {
            remove_from(&mut agent.tasks, framework_id, |tasks| {
                tasks.swap_remove(id);
                tasks.is_empty()
            });
            remove_from(&mut agent.killed_tasks, framework_id, |tasks| {
                tasks.swap_remove(id);
                tasks.is_empty()
            });
        }
        self.count_task(task.state, -1);
        Some(task)
    }

    /// Changes the state of a task and the sums that depend on it. Returns the resources that it
    /// gave up by the change.
    pub(super) fn change_task_state(
        &mut self,
        framework_id: &FrameworkId,
        id: &TaskId,
        state: TaskState,
        fx: &mut dyn Effects,
    ) -> Option<Resources> {
        let task = self.task_mut(framework_id, id)?;
        let before = task.state;
        if before == state {
            return None;
        }
        task.set_state(state);
        let agent_id = task.agent_id.clone();
        let released = (!releases_resources(before) && releases_resources(state))
            .then(|| task.resources.clone());
        self.count_task(before, -1);
        self.count_task(state, 1);
        fx.count_framework(framework_id, FrameworkCounter::TaskLeft(before));
        fx.count_framework(framework_id, FrameworkCounter::TaskEntered(state));
        if let Some(released) = &released {
            self.discharge(framework_id, &agent_id, released);
        }
        released
    }

    /// Remembers an ended task.
    pub(super) fn remember_completed(&mut self, task: Arc<Task>) {
        let limit = self.config.max_completed_tasks_per_framework;
        if let Some(framework) = self.framework_mut(&task.framework_id.clone()) {
            push_completed(framework, task, limit);
        }
    }

    /// Remembers a task whose agent is unreachable (or, for schedulers that are not partition
    /// aware, gone).
    pub(super) fn remember_unreachable(&mut self, task: Arc<Task>) {
        let limit = self.config.max_unreachable_tasks_per_framework;
        if limit == 0 {
            return;
        }
        let mut delta = i64::from(task.state == TaskState::TaskUnreachable);
        self.tasks_of_unreachable
            .entry(task.agent_id.clone())
            .or_default()
            .push((task.framework_id.clone(), task.id.clone()));
        if let Some(framework) = self.framework_mut(&task.framework_id.clone()) {
            if framework.unreachable_tasks.len() >= limit
                && let Some((_, evicted)) = framework.unreachable_tasks.shift_remove_index(0)
            {
                delta -= i64::from(evicted.state == TaskState::TaskUnreachable);
            }
            if let Some(replaced) = framework.unreachable_tasks.insert(task.id.clone(), task) {
                delta -= i64::from(replaced.state == TaskState::TaskUnreachable);
            }
        }
        self.state.counts.tasks_unreachable += delta;
    }

    /// Forgets a task that was unreachable.
    pub(super) fn forget_unreachable(
        &mut self,
        framework_id: &FrameworkId,
        id: &TaskId,
    ) -> Option<Arc<Task>> {
        let framework = self.framework_mut(framework_id)?;
        let task = framework.unreachable_tasks.shift_remove(id)?;
        self.state.counts.tasks_unreachable -= i64::from(task.state == TaskState::TaskUnreachable);
        Some(task)
    }

    pub(super) fn count_task(&mut self, state: TaskState, delta: i64) {
        if let Some(count) = self.state.counts.tasks.get_mut(state as usize) {
            *count += delta;
        }
    }

    // Resources in use.

    /// Charges an agent and a framework for resources in use.
    pub(super) fn charge(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        resources: &Resources,
    ) {
        self.resource_gauges.add_used(resources);
        if let Some(agent) = self.agent_mut(agent_id) {
            *agent.used.entry(framework_id.clone()).or_default() += resources;
        }
        if let Some(framework) = self.framework_mut(framework_id) {
            *framework.used.entry(agent_id.clone()).or_default() += resources;
        }
    }

    /// The reverse of [`Master::charge`].
    pub(super) fn discharge(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        resources: &Resources,
    ) {
        self.resource_gauges.remove_used(resources);
        if let Some(agent) = self.agent_mut(agent_id) {
            remove_from(&mut agent.used, framework_id, |used| {
                *used -= resources;
                used.is_empty()
            });
        }
        if let Some(framework) = self.framework_mut(framework_id) {
            remove_from(&mut framework.used, agent_id, |used| {
                *used -= resources;
                used.is_empty()
            });
        }
    }

    // Executors.

    /// Adds an executor to its framework and agent and charges them for it.
    pub(super) fn add_executor(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        executor: Arc<Executor>,
    ) {
        let id = ExecutorId::from(&executor.info.executor_id);
        self.charge(framework_id, agent_id, &executor.resources);
        if let Some(agent) = self.agent_mut(agent_id) {
            agent
                .executors
                .entry(framework_id.clone())
                .or_default()
                .insert(id.clone(), executor.clone());
        }
        if let Some(framework) = self.framework_mut(framework_id) {
            framework
                .executors
                .entry(agent_id.clone())
                .or_default()
                .insert(id, executor);
        }
    }

    /// Takes an executor from its framework and agent and discharges them.
    pub(super) fn take_executor(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        id: &ExecutorId,
    ) -> Option<Arc<Executor>> {
        let agent = self.agent_mut(agent_id)?;
        let mut taken = None;
        remove_from(&mut agent.executors, framework_id, |executors| {
            taken = executors.swap_remove(id);
            executors.is_empty()
        });
        if let Some(framework) = self.framework_mut(framework_id) {
            remove_from(&mut framework.executors, agent_id, |executors| {
                executors.swap_remove(id);
                executors.is_empty()
            });
        }
        let executor = taken?;
        self.discharge(framework_id, agent_id, &executor.resources);
        Some(executor)
    }

    // Offers.

    pub(super) fn add_offer(&mut self, offer: Offer) {
        let offer = Arc::new(offer);
        if let Some(agent) = self.agent_mut(&offer.agent_id) {
            agent.offers.insert(offer.id.clone());
            agent.offered += &offer.resources;
        }
        if let Some(framework) = self.framework_mut(&offer.framework_id) {
            framework.offers.insert(offer.id.clone());
            *framework.offered.entry(offer.agent_id.clone()).or_default() += &offer.resources;
        }
        Arc::make_mut(&mut self.state.offers).insert(offer.id.clone(), offer);
    }

    pub(super) fn take_offer(&mut self, id: &OfferId) -> Option<Arc<Offer>> {
        let offer = Arc::make_mut(&mut self.state.offers).swap_remove(id)?;
        if let Some(agent) = self.agent_mut(&offer.agent_id) {
            agent.offers.swap_remove(id);
            agent.offered -= &offer.resources;
        }
        if let Some(framework) = self.framework_mut(&offer.framework_id) {
            framework.offers.swap_remove(id);
            remove_from(&mut framework.offered, &offer.agent_id, |offered| {
                *offered -= &offer.resources;
                offered.is_empty()
            });
        }
        Some(offer)
    }

    // Agents and frameworks.

    pub(super) fn insert_agent(&mut self, agent: Agent) {
        self.state.counts.agents_connected += i64::from(agent.connected);
        self.state.counts.agents_active += i64::from(agent.active);
        self.resource_gauges.add_total(&agent.total);
        self.agent_pids.insert(agent.pid.clone(), agent.id.clone());
        Arc::make_mut(&mut self.state.agents).insert(agent.id.clone(), Arc::new(agent));
    }

    pub(super) fn take_agent(&mut self, id: &AgentId) -> Option<Arc<Agent>> {
        let agent = Arc::make_mut(&mut self.state.agents).shift_remove(id)?;
        self.state.counts.agents_connected -= i64::from(agent.connected);
        self.state.counts.agents_active -= i64::from(agent.active);
        self.resource_gauges.remove_total(&agent.total);
        if self.agent_pids.get(&agent.pid) == Some(id) {
            self.agent_pids.remove(&agent.pid);
        }
        Some(agent)
    }

    /// Changes what an agent has.
    pub(super) fn set_agent_total(&mut self, id: &AgentId, total: Resources) {
        let Some(agent) = self.agent_mut(id) else {
            return;
        };
        let before = std::mem::replace(&mut agent.total, total.clone());
        self.resource_gauges.remove_total(&before);
        self.resource_gauges.add_total(&total);
    }

    /// Changes whether an agent is connected and active.
    pub(super) fn set_agent_flags(&mut self, id: &AgentId, connected: bool, active: bool) {
        let Some(agent) = self.agent_mut(id) else {
            return;
        };
        let (was_connected, was_active) = (agent.connected, agent.active);
        agent.connected = connected;
        agent.active = active;
        self.state.counts.agents_connected += i64::from(connected) - i64::from(was_connected);
        self.state.counts.agents_active += i64::from(active) - i64::from(was_active);
    }

    /// Remembers that an agent left, so that its late messages are dropped.
    pub(super) fn remember_removed(&mut self, id: AgentId) {
        if self.removed.len() >= MAX_REMOVED_AGENTS {
            self.removed.shift_remove_index(0);
        }
        self.removed.insert(id);
    }

    pub(super) fn insert_framework(&mut self, framework: Framework) {
        self.state.counts.frameworks_connected += i64::from(framework.connected());
        self.state.counts.frameworks_active += i64::from(framework.active);
        Arc::make_mut(&mut self.state.frameworks).insert(framework.id.clone(), Arc::new(framework));
    }

    /// Changes a framework and the numbers that depend on its connection and activity.
    pub(super) fn change_framework(
        &mut self,
        id: &FrameworkId,
        change: impl FnOnce(&mut Framework),
    ) {
        let Some(framework) = self.framework_mut(id) else {
            return;
        };
        let before = (framework.connected(), framework.active);
        change(framework);
        let after = (framework.connected(), framework.active);
        self.state.counts.frameworks_connected += i64::from(after.0) - i64::from(before.0);
        self.state.counts.frameworks_active += i64::from(after.1) - i64::from(before.1);
    }
}

/// Remembers an ended task, forgetting the oldest ones beyond the limit.
pub(super) fn push_completed(framework: &mut Framework, task: Arc<Task>, limit: usize) {
    if limit == 0 {
        return;
    }
    while framework.completed_tasks.len() >= limit {
        framework.completed_tasks.pop_front();
    }
    framework.completed_tasks.push_back(task);
}

/// Changes an entry and removes it if the change says that it is empty now.
fn remove_from<K, V>(map: &mut IndexMap<K, V>, key: &K, change: impl FnOnce(&mut V) -> bool)
where
    K: std::hash::Hash + Eq,
{
    if let Some(value) = map.get_mut(key)
        && change(value)
    {
        map.swap_remove(key);
    }
}
