//! Killing tasks, shutting down executors and frameworks, and what is left of them.

use std::sync::Arc;

use libprocess::Upid;
use mesos::ids::{ExecutorId, FrameworkId, TaskId};
use mesos::proto;
use mesos::proto::internal as wire;
use mesos::proto::task_status::Reason;
use tracing::{info, warn};

use super::{
    Agent, AgentState, Effects, Executor, ExecutorRun, ExecutorState, FrameworkState,
    MAX_COMPLETED_FRAMEWORKS, Timer,
};

impl Agent {
    /// `KillTaskMessage`
    pub fn on_kill_task(
        &mut self,
        from: &Upid,
        message: wire::KillTaskMessage,
        fx: &mut dyn Effects,
    ) {
        if !self.is_from_master(from) || self.state == AgentState::Terminating {
            warn!(
                "Ignoring a kill for task '{}' from {from}",
                message.task_id.value
            );
            return;
        }
        let framework_id = FrameworkId::from(&message.framework_id);
        let task_id = TaskId::from(&message.task_id);
        info!("Asked to kill task '{task_id}' of framework {framework_id}");
        let Some(framework) = self
            .frameworks
            .get(&framework_id)
            .filter(|framework| framework.state == FrameworkState::Running)
        else {
            warn!(
                "Ignoring the kill of task '{task_id}': framework {framework_id} is unknown or terminating"
            );
            return;
        };
        let state = framework.dropped_state();
        match framework.executor_of(&task_id).cloned() {
            Some(executor) => self.kill_task_of(&executor, &task_id, message, fx),
            None => {
                let update = self
                    .agent_update(&framework_id, &task_id, state, fx)
                    .with(Reason::ExecutorTerminated, "Cannot find executor");
                self.forward_unowned(update, fx);
            }
        }
    }

    fn kill_task_of(
        &mut self,
        executor: &Executor,
        task_id: &TaskId,
        message: wire::KillTaskMessage,
        fx: &mut dyn Effects,
    ) {
        match executor.state {
            ExecutorState::Registering | ExecutorState::Running
                if executor.queued_tasks.contains_key(task_id) =>
            {
                self.kill_queued_task(&executor.run, task_id, fx);
            }
            ExecutorState::Running => {
                if let Some(pid) = &executor.pid {
                    fx.send(pid, message.into());
                }
            }
            state => {
                warn!("Ignoring the kill of task '{task_id}': its executor is {state:?}");
            }
        }
    }

    pub(super) fn kill_queued_task(
        &mut self,
        run: &ExecutorRun,
        task_id: &TaskId,
        fx: &mut dyn Effects,
    ) {
        let update = self
            .agent_update(&run.framework_id, task_id, proto::TaskState::TaskKilled, fx)
            .of(&run.executor_id)
            .with(
                Reason::TaskKilledDuringLaunch,
                "Killed before delivery to the executor",
            );
        self.on_agent_update(update, fx);
        let idle = self.run_mut(run).is_some_and(|executor| {
            executor.state == ExecutorState::Running
                && executor.queued_tasks.is_empty()
                && !executor.was_ever_sent_a_task()
        });
        if idle {
            self.shutdown_run(run, fx);
        }
    }

    /// `ShutdownExecutorMessage`
    pub fn on_shutdown_executor(
        &mut self,
        from: &Upid,
        message: &wire::ShutdownExecutorMessage,
        fx: &mut dyn Effects,
    ) {
        if !self.is_from_master(from) || self.state == AgentState::Disconnected {
            warn!("Ignoring a request of {from} to shut an executor down");
            return;
        }
        let (Some(framework_id), Some(executor_id)) = (&message.framework_id, &message.executor_id)
        else {
            warn!("Ignoring a request of {from} to shut an executor down that names none");
            return;
        };
        let run = self
            .executor(
                &FrameworkId::from(framework_id),
                &ExecutorId::from(executor_id),
            )
            .map(|executor| executor.run.clone());
        match run {
            Some(run) => self.shutdown_run(&run, fx),
            None => warn!("Cannot shut down unknown executor '{}'", executor_id.value),
        }
    }

    /// Asks an executor to end, and sees to it that it does.
    pub(super) fn shutdown_run(&mut self, run: &ExecutorRun, fx: &mut dyn Effects) {
        let Some(executor) = self.run_mut(run).filter(|executor| {
            matches!(
                executor.state,
                ExecutorState::Registering | ExecutorState::Running
            )
        }) else {
            return;
        };
        info!("Shutting down executor {run}");
        executor.state = ExecutorState::Terminating;
        fx.cancel_timer(&Timer::ExecutorRegistration(run.clone()));
        let executor = executor.clone();
        match &executor.pid {
            Some(pid) => {
                fx.send(pid, wire::ShutdownExecutorMessage::default().into());
                let grace = self.shutdown_grace_period(&executor);
                fx.start_timer(Timer::ExecutorShutdown(run.clone()), grace);
            }
            // It could not hear the request.
            None => fx.destroy_container(run),
        }
    }

    /// `ShutdownFrameworkMessage`
    pub fn on_shutdown_framework(
        &mut self,
        from: &Upid,
        message: &wire::ShutdownFrameworkMessage,
        fx: &mut dyn Effects,
    ) {
        if !self.is_from_master(from) || self.state == AgentState::Disconnected {
            warn!("Ignoring a request of {from} to shut a framework down");
            return;
        }
        let id = FrameworkId::from(&message.framework_id);
        info!("Asked to shut down framework {id} by {from}");
        self.shutdown_framework(&id, fx);
    }

    pub(super) fn shutdown_framework(&mut self, id: &FrameworkId, fx: &mut dyn Effects) {
        let Some(framework) = self
            .framework_mut(id)
            .filter(|framework| framework.state == FrameworkState::Running)
        else {
            return;
        };
        framework.state = FrameworkState::Terminating;
        let runs: Vec<(ExecutorRun, ExecutorState)> = framework
            .executors
            .values()
            .map(|executor| (executor.run.clone(), executor.state))
            .collect();
        for task_id in self.status_updates.remove_framework(id) {
            fx.cancel_timer(&Timer::StatusUpdate(id.clone(), task_id));
        }
        for (run, state) in runs {
            if state == ExecutorState::Terminated {
                self.remove_executor(&run.framework_id, &run.executor_id, fx);
            } else {
                self.shutdown_run(&run, fx);
            }
        }
        self.remove_framework_if_idle(id, fx);
    }

    /// `UpdateFrameworkMessage`: another scheduler instance, or another description.
    pub fn on_update_framework(
        &mut self,
        from: &Upid,
        message: wire::UpdateFrameworkMessage,
        fx: &mut dyn Effects,
    ) {
        if !self.is_from_master(from) || self.state != AgentState::Running {
            warn!(
                "Ignoring an update of framework {} from {from}",
                message.framework_id.value
            );
            return;
        }
        let id = FrameworkId::from(&message.framework_id);
        let Some(framework) = self
            .framework_mut(&id)
            .filter(|framework| framework.state == FrameworkState::Running)
        else {
            return;
        };
        if let Some(info) = message.framework_info {
            framework.info = info;
        }
        framework.pid = message.pid.and_then(|pid| pid.parse().ok());
        self.resume_status_updates(fx);
    }

    /// Moves an executor to the history of its framework.
    pub(super) fn remove_executor(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        fx: &mut dyn Effects,
    ) {
        let limit = self.config.max_completed_executors_per_framework;
        let Some(framework) = self.framework_mut(framework_id) else {
            return;
        };
        let Some(executor) = framework.executors.shift_remove(executor_id) else {
            return;
        };
        fx.cancel_timer(&Timer::ExecutorRegistration(executor.run.clone()));
        fx.cancel_timer(&Timer::ExecutorShutdown(executor.run.clone()));
        framework.completed_executors.push_back(executor);
        while framework.completed_executors.len() > limit {
            if let Some(forgotten) = framework.completed_executors.pop_front() {
                fx.detach(&forgotten.directory.to_string_lossy());
            }
        }
    }

    /// Moves a framework that has nothing left to the history.
    pub(super) fn remove_framework_if_idle(&mut self, id: &FrameworkId, fx: &mut dyn Effects) {
        let idle = self
            .frameworks
            .get(id)
            .is_some_and(|framework| framework.is_idle());
        if !idle || self.status_updates.has_streams(id) {
            return;
        }
        if let Some(mut framework) = self.frameworks.shift_remove(id) {
            info!("Framework {id} has nothing left on this agent");
            Arc::make_mut(&mut framework).state = FrameworkState::Terminating;
            self.completed_frameworks.insert(id.clone(), framework);
            while self.completed_frameworks.len() > MAX_COMPLETED_FRAMEWORKS {
                self.completed_frameworks.shift_remove_index(0);
            }
        }
        self.finish_drain_if_empty();
        self.exit_if_done(fx);
    }
}
