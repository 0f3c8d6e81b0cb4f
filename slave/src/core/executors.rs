//! Executors: their containers, registration, messages and end.

use libprocess::Upid;
use mesos::ids::{ExecutorId, FrameworkId, TaskId};
use mesos::proto;
use mesos::proto::internal as wire;
use mesos::proto::slave::ContainerTermination;
use mesos::proto::task_status::Reason;
use tracing::{error, info, warn};

use super::{
    AfterUpdate, Agent, AgentState, ContainerUpdate, Effects, Executor, ExecutorRun, ExecutorState,
    FrameworkState, Message, PendingTermination, Timer,
};

impl Agent {
    /// The container of an executor was started, or could not be.
    pub fn on_container_launched(
        &mut self,
        run: &ExecutorRun,
        result: Result<proto::ContainerStatus, String>,
        fx: &mut dyn Effects,
    ) {
        let timeout = self.config.executor_registration_timeout;
        let Some(executor) = self.run_mut(run) else {
            fx.destroy_container(run);
            return;
        };
        match result {
            Ok(status) => {
                executor.container_status = Some(status);
                match executor.state {
                    ExecutorState::Registering => {
                        fx.start_timer(Timer::ExecutorRegistration(run.clone()), timeout);
                    }
                    ExecutorState::Running => {}
                    ExecutorState::Terminating | ExecutorState::Terminated => {
                        fx.destroy_container(run)
                    }
                }
            }
            Err(error) => {
                error!("Failed to launch container for executor {run}: {error}");
                executor.pending_termination = Some(PendingTermination {
                    state: proto::TaskState::TaskFailed,
                    reason: Reason::ContainerLaunchFailed,
                    message: format!("Failed to launch container: {error}"),
                });
                self.counters.container_launch_errors += 1;
            }
        }
    }

    /// The containerizer took, or refused, a new size.
    pub fn on_container_updated(
        &mut self,
        update: ContainerUpdate,
        result: Result<(), String>,
        fx: &mut dyn Effects,
    ) {
        let ContainerUpdate { run, then, .. } = update;
        if let Err(error) = &result {
            self.container_update_failed(&run, error, fx);
        }
        match then {
            AfterUpdate::Deliver(tasks) if result.is_ok() => self.deliver(&run, &tasks, fx),
            AfterUpdate::Deliver(_) => {}
            AfterUpdate::Forward(update, from) => self.enqueue(*update, from.as_ref(), fx),
        }
    }

    fn container_update_failed(&mut self, run: &ExecutorRun, error: &str, fx: &mut dyn Effects) {
        error!("Failed to update resources of executor {run}: {error}");
        let state = match self.frameworks.get(&run.framework_id) {
            Some(framework) => framework.gone_state(),
            None => return,
        };
        if let Some(executor) = self.run_mut(run) {
            executor
                .pending_termination
                .get_or_insert(PendingTermination {
                    state,
                    reason: Reason::ContainerUpdateFailed,
                    message: format!("Failed to update resources for container: {error}"),
                });
            fx.destroy_container(run);
        }
    }

    fn deliver(&mut self, run: &ExecutorRun, tasks: &[TaskId], fx: &mut dyn Effects) {
        let Some(framework) = self.framework_mut(&run.framework_id) else {
            return;
        };
        let info = framework.info.clone();
        let framework_pid = framework.pid.as_ref().map(ToString::to_string);
        let Some(executor) = framework
            .executor_mut(&run.executor_id)
            .filter(|executor| executor.run == *run && executor.state == ExecutorState::Running)
        else {
            return;
        };
        let Some(pid) = executor.pid.clone() else {
            return;
        };
        for id in tasks {
            // A task that was killed in the meantime is not there any more.
            let Some(task) = executor.launch_task(id, &run.framework_id) else {
                continue;
            };
            info!("Sending task '{id}' to executor {run}");
            let message = wire::RunTaskMessage {
                framework: info.clone(),
                pid: Some(framework_pid.clone().unwrap_or_default()),
                task: proto::TaskInfo::clone(&task),
                ..Default::default()
            };
            fx.send(&pid, message.into());
        }
    }

    /// `RegisterExecutorMessage`
    pub fn on_register_executor(
        &mut self,
        from: &Upid,
        message: &wire::RegisterExecutorMessage,
        fx: &mut dyn Effects,
    ) {
        let framework_id = FrameworkId::from(&message.framework_id);
        let executor_id = ExecutorId::from(&message.executor_id);
        let slave_info = self.info();
        let Some(run) = self.expect_executor(&framework_id, &executor_id) else {
            warn!(
                "Shutting down executor '{executor_id}' of framework {framework_id} at {from}: it is not expected"
            );
            fx.send(from, wire::ShutdownExecutorMessage::default().into());
            return;
        };
        info!("Got registration for executor {run} from {from}");
        fx.cancel_timer(&Timer::ExecutorRegistration(run.clone()));
        fx.link(from);

        let Some(framework) = self.framework_mut(&framework_id) else {
            return;
        };
        let framework_info = framework.info.clone();
        let Some(executor) = framework.executor_mut(&executor_id) else {
            return;
        };
        executor.state = ExecutorState::Running;
        executor.pid = Some(from.clone());
        let registered = wire::ExecutorRegisteredMessage {
            executor_info: executor.info.clone(),
            framework_id: framework_id.into(),
            framework_info,
            slave_id: slave_info.id.clone().unwrap_or_default(),
            slave_info,
        };
        fx.send(from, registered.into());
        self.deliver_queue(&run, fx);
    }

    /// The run of an executor that may register now.
    fn expect_executor(
        &self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
    ) -> Option<ExecutorRun> {
        if self.state == AgentState::Terminating {
            return None;
        }
        let framework = self.frameworks.get(framework_id)?;
        if framework.state == FrameworkState::Terminating {
            return None;
        }
        let executor = framework.executors.get(executor_id)?;
        (executor.state == ExecutorState::Registering).then(|| executor.run.clone())
    }

    fn deliver_queue(&mut self, run: &ExecutorRun, fx: &mut dyn Effects) {
        let Some(executor) = self.run_mut(run) else {
            return;
        };
        let tasks: Vec<TaskId> = executor.queued_tasks.keys().cloned().collect();
        if tasks.is_empty() && !executor.was_ever_sent_a_task() {
            // Everything it was started for has been killed.
            info!("Shutting down executor {run}: it has no tasks");
            self.shutdown_run(run, fx);
            return;
        }
        let update = ContainerUpdate {
            run: run.clone(),
            requests: executor.allocated_resources(),
            then: AfterUpdate::Deliver(tasks),
        };
        fx.update_container(update);
    }

    /// `ReregisterExecutorMessage`: only an agent that recovered asks for it, so the executor belongs to another incarnation.
    pub fn on_reregister_executor(
        &mut self,
        from: &Upid,
        message: &wire::ReregisterExecutorMessage,
        fx: &mut dyn Effects,
    ) {
        warn!(
            "Shutting down executor '{}' of framework {} at {from}: it re-registers without being asked to",
            message.executor_id.value, message.framework_id.value
        );
        fx.send(from, wire::ShutdownExecutorMessage::default().into());
    }

    /// `FrameworkToExecutorMessage`
    pub fn on_framework_message(
        &mut self,
        message: wire::FrameworkToExecutorMessage,
        fx: &mut dyn Effects,
    ) {
        let framework_id = FrameworkId::from(&message.framework_id);
        let executor_id = ExecutorId::from(&message.executor_id);
        let to = self
            .running_framework(&framework_id)
            .and_then(|framework| framework.executors.get(&executor_id))
            .filter(|executor| executor.state == ExecutorState::Running)
            .and_then(|executor| executor.pid.clone());
        self.relay(to, message.into(), fx);
    }

    /// `ExecutorToFrameworkMessage`
    pub fn on_executor_message(
        &mut self,
        message: wire::ExecutorToFrameworkMessage,
        fx: &mut dyn Effects,
    ) {
        let framework_id = FrameworkId::from(&message.framework_id);
        let to = match self.running_framework(&framework_id) {
            // Schedulers of the HTTP API hear from their executors through the master.
            Some(framework) => framework
                .pid
                .clone()
                .or_else(|| self.master.as_ref().map(|master| master.pid.clone())),
            None => None,
        };
        self.relay(to, message.into(), fx);
    }

    fn running_framework(&self, id: &FrameworkId) -> Option<&super::Framework> {
        self.frameworks
            .get(id)
            .filter(|_| self.state == AgentState::Running)
            .filter(|framework| framework.state == FrameworkState::Running)
            .map(AsRef::as_ref)
    }

    fn relay(&mut self, to: Option<Upid>, message: Message, fx: &mut dyn Effects) {
        match to {
            Some(to) => {
                self.counters.valid_framework_messages += 1;
                fx.send(&to, message);
            }
            None => {
                warn!("Dropping {}: nobody is there to take it", message.name());
                self.counters.invalid_framework_messages += 1;
            }
        }
    }

    /// The container of an executor is gone, with everything in it.
    pub fn on_container_terminated(
        &mut self,
        run: &ExecutorRun,
        termination: Result<Option<ContainerTermination>, String>,
        fx: &mut dyn Effects,
    ) {
        fx.cancel_timer(&Timer::ExecutorRegistration(run.clone()));
        fx.cancel_timer(&Timer::ExecutorShutdown(run.clone()));
        let Some(executor) = self
            .run_mut(run)
            .filter(|executor| executor.state != ExecutorState::Terminated)
        else {
            return;
        };
        executor.state = ExecutorState::Terminated;
        let executor = executor.clone();
        self.counters.executors_terminated += 1;
        let status = match &termination {
            Ok(Some(termination)) => termination.status.unwrap_or(-1),
            _ => -1,
        };
        info!("Executor {run} has terminated with wait status {status}");

        let terminating = self
            .frameworks
            .get(&run.framework_id)
            .is_some_and(|framework| framework.state == FrameworkState::Terminating);
        if terminating {
            self.retire_tasks(run);
        } else {
            self.report_lost_tasks(&executor, &termination, fx);
        }
        if !executor.generated_for_command_task {
            self.send_exited_executor(&run.framework_id, &run.executor_id, status, fx);
        }
        let done = self.state == AgentState::Terminating
            || terminating
            || self
                .run_mut(run)
                .is_some_and(|executor| !executor.has_incomplete_tasks());
        if done {
            self.remove_executor(&run.framework_id, &run.executor_id, fx);
        }
        self.remove_framework_if_idle(&run.framework_id, fx);
    }

    /// Nothing is reported for a terminating framework, but what it had stays in the history.
    fn retire_tasks(&mut self, run: &ExecutorRun) {
        if let Some(executor) = self.run_mut(run) {
            let launched = std::mem::take(&mut executor.launched_tasks);
            executor.terminated_tasks.extend(launched);
            executor.queued_tasks.clear();
        }
    }

    fn report_lost_tasks(
        &mut self,
        executor: &Executor,
        termination: &Result<Option<ContainerTermination>, String>,
        fx: &mut dyn Effects,
    ) {
        let (state, reason, message) = verdict(executor, termination);
        let limited = match termination {
            Ok(Some(termination)) => termination.limited_resources.clone(),
            _ => Vec::new(),
        };
        for task_id in executor
            .launched_tasks
            .keys()
            .chain(executor.queued_tasks.keys())
        {
            let update = self
                .agent_update(&executor.run.framework_id, task_id, state, fx)
                .of(executor.id())
                .with(reason, message.clone())
                .limited_by(limited.clone());
            self.on_agent_update(update, fx);
        }
    }

    /// `ExitedExecutorMessage`, by which the master frees what it counts for the executor itself.
    pub(super) fn send_exited_executor(
        &self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        status: i32,
        fx: &mut dyn Effects,
    ) {
        let Some(id) = &self.id else { return };
        let message = wire::ExitedExecutorMessage {
            slave_id: id.into(),
            framework_id: framework_id.into(),
            executor_id: executor_id.into(),
            status,
        };
        self.send_to_master(message, fx);
    }

    /// A timer has run out.
    pub fn on_timer(&mut self, timer: &Timer, fx: &mut dyn Effects) {
        match timer {
            Timer::Registration => self.on_registration_timer(fx),
            Timer::Ping => self.on_ping_timer(fx),
            Timer::StatusUpdate(framework_id, task_id) => {
                self.on_status_update_timer(framework_id, task_id, fx);
            }
            Timer::ExecutorRegistration(run) => self.on_executor_registration_timer(run, fx),
            Timer::ExecutorShutdown(run) => self.on_executor_shutdown_timer(run, fx),
        }
    }

    fn on_executor_registration_timer(&mut self, run: &ExecutorRun, fx: &mut dyn Effects) {
        let timeout = self.config.executor_registration_timeout;
        let Some(executor) = self
            .run_mut(run)
            .filter(|executor| executor.state == ExecutorState::Registering)
        else {
            return;
        };
        warn!("Executor {run} did not register within {timeout:?}; destroying its container");
        executor.state = ExecutorState::Terminating;
        executor.pending_termination = Some(PendingTermination {
            state: proto::TaskState::TaskFailed,
            reason: Reason::ExecutorRegistrationTimeout,
            message: format!(
                "Executor did not register within {}",
                libprocess::duration::to_string(timeout)
            ),
        });
        fx.destroy_container(run);
    }

    fn on_executor_shutdown_timer(&mut self, run: &ExecutorRun, fx: &mut dyn Effects) {
        if self
            .run_mut(run)
            .is_some_and(|executor| executor.state == ExecutorState::Terminating)
        {
            warn!("Executor {run} did not shut down in time; destroying its container");
            fx.destroy_container(run);
        }
    }
}

/// What the tasks of an executor end as, when it ended before them.
fn verdict(
    executor: &Executor,
    termination: &Result<Option<ContainerTermination>, String>,
) -> (proto::TaskState, Reason, String) {
    let pending = executor.pending_termination.as_ref();
    let ended = termination.as_ref().ok().and_then(Option::as_ref);
    let state = ended
        .and_then(|ended| ended.state.map(|_| ended.state()))
        .or(pending.map(|pending| pending.state))
        .unwrap_or(proto::TaskState::TaskFailed);
    let reason = ended
        .and_then(|ended| ended.reason.map(|_| ended.reason()))
        .or(pending.map(|pending| pending.reason))
        .unwrap_or(Reason::ExecutorTerminated);
    let own = match termination {
        Err(why) => Some(format!("Abnormal executor termination: {why}")),
        // A failed launch has already said what is wrong.
        Ok(None) if pending.is_some() => None,
        Ok(None) => Some("Abnormal executor termination: unknown container".to_owned()),
        Ok(Some(ended)) => ended.message.clone(),
    };
    let messages: Vec<String> = pending
        .map(|pending| pending.message.clone())
        .into_iter()
        .chain(own)
        .collect();
    let message = if messages.is_empty() {
        "Executor terminated".to_owned()
    } else {
        messages.join("; ")
    };
    (state, reason, message)
}
