//! Frameworks losing their scheduler, and ending.

use std::sync::Arc;
use std::time::Duration;

use libprocess::Upid;
use mesos::ids::FrameworkId;
use mesos::proto::task_status::Reason;
use mesos::proto::{TaskState, internal};

use super::effects::{AllocatorCall, Effects, StreamId, Timer};
use super::event::SchedulerEvent;
use super::metrics::{Counter, FrameworkCounter};
use super::operator_event::OperatorEvent;
use super::state::{Connection, Framework, FrameworkState};
use super::{Master, ledger, validation};

impl Master {
    /// The link to a v0 scheduler broke.
    pub(super) fn on_framework_exited(
        &mut self,
        id: &FrameworkId,
        pid: &Upid,
        fx: &mut dyn Effects,
    ) {
        let current = Connection::Pid(pid.clone());
        let Some(framework) = self.framework(id) else {
            return;
        };
        if framework.connection() != Some(&current) {
            return;
        }
        // Should the scheduler be alive behind a broken link, it learns that it must subscribe.
        let event = SchedulerEvent::Error("Framework disconnected".to_owned());
        self.send_to_framework(id, &event, fx);
        self.on_framework_disconnected(id, fx);
    }

    /// The stream of a v1 scheduler ended: its reader closed it or was too slow.
    pub fn on_stream_closed(&mut self, stream: StreamId, fx: &mut dyn Effects) {
        let Some(id) = self.streams.get(&stream).cloned() else {
            return;
        };
        self.on_framework_disconnected(&id, fx);
    }

    fn on_framework_disconnected(&mut self, id: &FrameworkId, fx: &mut dyn Effects) {
        self.disconnect_framework(id, fx);
        let timeout = self.framework(id).map_or(Duration::ZERO, |framework| {
            validation::framework::failover_timeout(&framework.info)
        });
        tracing::info!("Giving framework {id} {timeout:?} to come back");
        fx.start_timer(Timer::FrameworkFailover(id.clone()), timeout);
    }

    fn disconnect_framework(&mut self, id: &FrameworkId, fx: &mut dyn Effects) {
        let Some(connection) = self
            .framework(id)
            .and_then(|framework| framework.connection().cloned())
        else {
            return;
        };
        tracing::info!("Framework {id} disconnected");
        // Offers are rescinded by this; the scheduler cannot be told any more.
        self.change_framework(id, |framework| {
            framework.state = FrameworkState::Disconnected(connection.clone());
        });
        self.drop_stream(&connection, fx);
        self.deactivate_framework(id, false, fx);
        fx.count_framework(id, FrameworkCounter::Subscribed(false));
    }

    /// Stops offers to a framework and takes back those that are out, telling the scheduler if
    /// `rescind`.
    pub(super) fn deactivate_framework(
        &mut self,
        id: &FrameworkId,
        rescind: bool,
        fx: &mut dyn Effects,
    ) {
        if self.framework(id).is_none_or(|framework| !framework.active) {
            return;
        }
        self.change_framework(id, |framework| framework.active = false);
        fx.allocator(AllocatorCall::DeactivateFramework(id.clone()));
        for offer in self.offers_of_framework(id) {
            if rescind {
                self.rescind_offer(&offer, None, fx);
            } else {
                self.discard_offer(&offer, None, fx);
            }
        }
        self.withdraw_inverse_offers_to(id, rescind, fx);
    }

    /// A v0 driver does not want offers for now.
    pub fn on_deactivate_framework(&mut self, from: &Upid, id: &FrameworkId, fx: &mut dyn Effects) {
        fx.count(Counter::MessagesDeactivateFramework);
        let allowed = self.framework(id).is_some_and(|framework| {
            framework.connection() == Some(&Connection::Pid(from.clone()))
        });
        if allowed {
            self.deactivate_framework(id, true, fx);
        } else {
            tracing::warn!("Ignoring deactivation of framework {id} by {from}");
        }
    }

    /// A disconnected framework had its time to come back.
    pub(super) fn on_failover_timeout(&mut self, id: &FrameworkId, fx: &mut dyn Effects) {
        if self
            .framework(id)
            .is_some_and(|framework| matches!(framework.state, FrameworkState::Disconnected(_)))
        {
            tracing::info!("Framework {id} did not come back");
            self.remove_framework(id, fx);
        }
    }

    /// A framework ends, by its own wish or an operator's. False if it is not known.
    pub fn on_teardown(&mut self, id: &FrameworkId, fx: &mut dyn Effects) -> bool {
        if self.framework(id).is_none() {
            return false;
        }
        self.remove_framework(id, fx);
        true
    }

    /// Ends a framework: its tasks are killed and it moves to the completed ones.
    pub(super) fn remove_framework(&mut self, id: &FrameworkId, fx: &mut dyn Effects) {
        tracing::info!("Removing framework {id}");
        self.deactivate_framework(id, false, fx);
        fx.cancel_timer(&Timer::FrameworkFailover(id.clone()));
        let message = internal::ShutdownFrameworkMessage {
            framework_id: id.into(),
        };
        for agent in self.state.agents.values() {
            fx.send_message(&agent.pid, &message);
        }
        self.kill_tasks_of_removed(id, fx);
        self.remove_executors_of(id, fx);
        self.orphan_operations(id, fx);
        if let Some(connection) = self
            .framework(id)
            .and_then(|framework| framework.connection().cloned())
        {
            self.drop_stream(&connection, fx);
        }
        fx.count_framework(id, FrameworkCounter::Subscribed(false));
        self.complete_framework(id, fx);
    }

    fn kill_tasks_of_removed(&mut self, id: &FrameworkId, fx: &mut dyn Effects) {
        let Some(framework) = self.framework(id) else {
            return;
        };
        let live: Vec<_> = framework.tasks.values().cloned().collect();
        let unreachable: Vec<_> = framework.unreachable_tasks.keys().cloned().collect();
        let text = format!("Framework {id} removed");
        for task in live {
            let update = self.master_update(
                &task,
                TaskState::TaskKilled,
                Reason::FrameworkRemoved,
                &text,
                fx,
            );
            self.apply_update(&update, fx);
            if let Some(task) = self.take_task(id, &task.id) {
                self.remember_completed(task);
            }
        }
        for task in unreachable {
            if let Some(mut task) = self.forget_unreachable(id, &task) {
                let update = self.master_update(
                    &task,
                    TaskState::TaskKilled,
                    Reason::FrameworkRemoved,
                    &text,
                    fx,
                );
                let task_mut = Arc::make_mut(&mut task);
                task_mut.set_state(TaskState::TaskKilled);
                task_mut.info.statuses.push(update.status);
                self.remember_completed(task);
            }
        }
    }

    fn remove_executors_of(&mut self, id: &FrameworkId, fx: &mut dyn Effects) {
        let executors: Vec<_> = self
            .framework(id)
            .into_iter()
            .flat_map(|framework| &framework.executors)
            .flat_map(|(agent, executors)| {
                executors
                    .keys()
                    .map(move |executor| (agent.clone(), executor.clone()))
            })
            .collect();
        for (agent, executor) in executors {
            if let Some(executor) = self.take_executor(id, &agent, &executor) {
                self.recover_resources(id, &agent, executor.resources.clone(), None, true, fx);
            }
        }
    }

    /// Moves a framework that holds nothing any more to the completed ones.
    fn complete_framework(&mut self, id: &FrameworkId, fx: &mut dyn Effects) {
        let now = fx.now();
        self.change_framework(id, |framework| {
            framework.active = false;
            framework.unregistered_time = Some(now);
            if let FrameworkState::Connected(connection) = &framework.state {
                framework.state = FrameworkState::Disconnected(connection.clone());
            }
        });
        let Some(framework) = Arc::make_mut(&mut self.state.frameworks).shift_remove(id) else {
            return;
        };
        if let Some(pid) = framework.pid() {
            self.framework_pids.remove(pid);
        }
        // Paused, so that no run sees the framework half gone.
        fx.allocator(AllocatorCall::Pause);
        fx.allocator(AllocatorCall::RemoveFramework(id.clone()));
        fx.allocator(AllocatorCall::Resume);
        if fx.has_subscribers() {
            fx.publish(OperatorEvent::FrameworkRemoved(framework.info.clone()));
        }
        self.remember_framework(framework, fx);
    }

    fn remember_framework(&mut self, framework: Arc<Framework>, fx: &mut dyn Effects) {
        let limit = self.config.max_completed_frameworks;
        if limit == 0 {
            fx.remove_framework_metrics(&framework.id);
            return;
        }
        let completed = Arc::make_mut(&mut self.state.completed_frameworks);
        while completed.len() >= limit {
            if let Some((evicted, _)) = completed.shift_remove_index(0) {
                fx.remove_framework_metrics(&evicted);
            }
        }
        completed.insert(framework.id.clone(), framework);
    }

    /// Appends tasks that an agent reports to have completed to their framework, if it is known.
    pub(super) fn add_reported_completed(
        &mut self,
        id: &FrameworkId,
        tasks: Vec<Arc<super::state::Task>>,
    ) {
        let limit = self.config.max_completed_tasks_per_framework;
        if let Some(framework) = self.framework_mut(id) {
            for task in tasks {
                ledger::push_completed(framework, task, limit);
            }
        }
    }
}
