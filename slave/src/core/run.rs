//! Launching tasks.

use std::sync::Arc;

use libprocess::Upid;
use mesos::ids::{ContainerId, ExecutorId, FrameworkId, TaskId};
use mesos::proto;
use mesos::proto::internal as wire;
use mesos::proto::slave::ContainerConfig;
use mesos::proto::task_status::Reason;
use mesos::resources::HasResources;
use tracing::{info, warn};

use super::framework::dropped_state;
use super::{
    AfterUpdate, Agent, AgentState, ContainerLaunch, ContainerUpdate, Effects, Executor,
    ExecutorRun, ExecutorState, Framework, FrameworkState,
};
use crate::paths;
use crate::tasks::executor_id_of;

/// Why a task is not launched.
struct Refusal {
    state: proto::TaskState,
    reason: Reason,
    message: String,
}

/// What is to become of a task that may be launched.
enum Decision {
    /// Its executor is there.
    Use,
    /// Its executor has to be started first.
    Launch,
    /// The master counts on an executor that is not there, or the other way round.
    Refuse(Refusal),
}

impl Agent {
    /// `RunTaskMessage`
    pub fn on_run_task(
        &mut self,
        from: &Upid,
        message: wire::RunTaskMessage,
        fx: &mut dyn Effects,
    ) {
        let wire::RunTaskMessage {
            framework,
            pid,
            mut task,
            launch_executor,
            resource_version_uuids,
            ..
        } = message;
        let Some(framework_id) = self.check_launch(from, &framework, "task") else {
            return;
        };
        task.upgrade_resources();
        let task_id = TaskId::from(&task.task_id);
        if self.id.as_ref().map(|id| id.as_str()) != Some(task.slave_id.value.as_str()) {
            warn!(
                "Ignoring task '{task_id}': it is meant for agent {}",
                task.slave_id.value
            );
            return;
        }
        info!("Got assigned task '{task_id}' for framework {framework_id}");

        self.ensure_framework(&framework_id, &framework, pid);
        let refusal = self.refuse(&framework, &task, &resource_version_uuids);
        inject_allocation(&framework, &mut task);
        let executor_id = executor_id_of(&task);
        let decision = match refusal {
            Some(refusal) => Decision::Refuse(refusal),
            None => self.decide(&framework, &task, &executor_id, launch_executor),
        };
        match decision {
            Decision::Refuse(refusal) => {
                warn!(
                    "Not launching task '{task_id}' of framework {framework_id}: {}",
                    refusal.message
                );
                self.refuse_task(&framework_id, &task_id, refusal, fx);
                if launch_executor == Some(true) {
                    self.executor_not_launched(&framework_id, &executor_id, fx);
                }
                self.remove_framework_if_idle(&framework_id, fx);
            }
            Decision::Use => self.queue_task(&framework_id, &executor_id, task, fx),
            Decision::Launch => self.launch_executor(&framework_id, &executor_id, task, fx),
        }
    }

    /// `RunTaskGroupMessage`: groups need an executor of the v1 executor API, which this agent does not yet serve.
    pub fn on_run_task_group(
        &mut self,
        from: &Upid,
        message: wire::RunTaskGroupMessage,
        fx: &mut dyn Effects,
    ) {
        let Some(framework_id) = self.check_launch(from, &message.framework, "task group") else {
            return;
        };
        self.ensure_framework(&framework_id, &message.framework, None);
        for task in &message.task_group.tasks {
            let refusal = Refusal {
                state: proto::TaskState::TaskError,
                reason: Reason::TaskGroupInvalid,
                message: "Task groups are not supported by this agent".to_owned(),
            };
            self.refuse_task(&framework_id, &TaskId::from(&task.task_id), refusal, fx);
        }
        if message.launch_executor == Some(true) {
            let executor_id = ExecutorId::from(&message.executor.executor_id);
            self.executor_not_launched(&framework_id, &executor_id, fx);
        }
        self.remove_framework_if_idle(&framework_id, fx);
    }

    /// Whether a launch may be looked at, and for which framework.
    fn check_launch(
        &self,
        from: &Upid,
        framework: &proto::FrameworkInfo,
        what: &str,
    ) -> Option<FrameworkId> {
        if !self.is_from_master(from) {
            warn!("Ignoring a {what} from {from}, which is not the leading master");
            return None;
        }
        if self.state == AgentState::Terminating {
            warn!("Ignoring a {what}: this agent is terminating");
            return None;
        }
        let Some(id) = &framework.id else {
            warn!("Ignoring a {what} whose framework has no id");
            return None;
        };
        let id = FrameworkId::from(id);
        let terminating = self
            .frameworks
            .get(&id)
            .is_some_and(|framework| framework.state == FrameworkState::Terminating);
        if terminating {
            warn!("Ignoring a {what} of framework {id}, which is terminating");
            return None;
        }
        Some(id)
    }

    fn ensure_framework(
        &mut self,
        id: &FrameworkId,
        info: &proto::FrameworkInfo,
        pid: Option<String>,
    ) {
        if self.frameworks.contains_key(id) {
            return;
        }
        let mut framework = Framework::new(info.clone(), pid.and_then(|pid| pid.parse().ok()));
        if let Some(completed) = self.completed_frameworks.shift_remove(id) {
            framework.completed_executors = completed.completed_executors.clone();
        }
        self.frameworks.insert(id.clone(), Arc::new(framework));
    }

    /// What speaks against the task whatever its executor is.
    fn refuse(
        &self,
        framework: &proto::FrameworkInfo,
        task: &proto::TaskInfo,
        versions: &[wire::ResourceVersionUuid],
    ) -> Option<Refusal> {
        if task.command.is_some() == task.executor.is_some() {
            return Some(Refusal {
                state: proto::TaskState::TaskError,
                reason: Reason::TaskInvalid,
                message: "Task must have exactly one of 'command' and 'executor'".to_owned(),
            });
        }
        let (reason, message) = if has_unenforced_limits(task) {
            // Upstream reports this very reason, and schedulers may look for it.
            let message = "Resource limits need the isolators 'cgroups/cpu' and 'cgroups/mem', \
                           which are not enabled";
            (Reason::GcError, message)
        } else if self.is_draining() {
            let message = "Task was received while agent was already draining";
            (Reason::SlaveDraining, message)
        } else if self.is_outdated(versions) {
            let message = "Task assumes outdated resource state";
            (Reason::InvalidOffers, message)
        } else if uses_checkpointed_resources(task) {
            let message = "The checkpointed resources being used by the task are unknown to the \
                           agent";
            (Reason::ResourcesUnknown, message)
        } else {
            return None;
        };
        Some(Refusal {
            state: dropped_state(framework),
            reason,
            message: message.to_owned(),
        })
    }

    /// Whether the master decided on resources that have changed since.
    fn is_outdated(&self, versions: &[wire::ResourceVersionUuid]) -> bool {
        let own = self.config.resource_version.as_bytes();
        versions.iter().any(|version| {
            version.resource_provider_id.is_none() && version.uuid.value != own.as_slice()
        })
    }

    fn decide(
        &mut self,
        framework: &proto::FrameworkInfo,
        task: &proto::TaskInfo,
        executor_id: &ExecutorId,
        launch_executor: Option<bool>,
    ) -> Decision {
        let framework_id = framework.id.as_ref().map(FrameworkId::from);
        let existing = framework_id
            .as_ref()
            .and_then(|id| self.executor(id, executor_id))
            .map(|executor| executor.state);
        let refuse = |reason, message: &str| {
            Decision::Refuse(Refusal {
                state: dropped_state(framework),
                reason,
                message: message.to_owned(),
            })
        };
        match (existing, launch_executor) {
            (Some(_), Some(_)) if task.command.is_some() => refuse(
                Reason::TaskInvalid,
                "Cannot reuse an already existing executor for a command task",
            ),
            (Some(_), Some(true)) => refuse(
                Reason::ExecutorTerminated,
                "Master wants to launch executor, but one already exists",
            ),
            (None, Some(false)) if task.command.is_none() => refuse(
                Reason::ExecutorTerminated,
                "No executor is expected to launch and there is none running",
            ),
            (Some(ExecutorState::Terminating), _) => {
                refuse(Reason::ExecutorTerminated, "Executor terminating")
            }
            (Some(ExecutorState::Terminated), _) => {
                refuse(Reason::ExecutorTerminated, "Executor terminated")
            }
            (Some(_), _) => Decision::Use,
            (None, _) => Decision::Launch,
        }
    }

    fn refuse_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        refusal: Refusal,
        fx: &mut dyn Effects,
    ) {
        let update = self
            .agent_update(framework_id, task_id, refusal.state, fx)
            .with(refusal.reason, refusal.message);
        self.forward_unowned(update, fx);
    }

    /// The master believes that a launch has brought an executor into being: set it right.
    fn executor_not_launched(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        fx: &mut dyn Effects,
    ) {
        let running = self
            .executor(framework_id, executor_id)
            .filter(|executor| executor.state != ExecutorState::Terminated)
            .filter(|executor| !executor.generated_for_command_task)
            .map(|executor| executor.run.clone());
        match running {
            Some(run) => self.shutdown_run(&run, fx),
            None => self.send_exited_executor(framework_id, executor_id, -1, fx),
        }
    }

    fn launch_executor(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        task: proto::TaskInfo,
        fx: &mut dyn Effects,
    ) {
        let (Some(id), Some(framework)) = (self.id.clone(), self.frameworks.get(framework_id))
        else {
            return;
        };
        let framework_info = framework.info.clone();
        let info = self.executor_info(&framework_info, &task);
        let run = ExecutorRun {
            framework_id: framework_id.clone(),
            executor_id: executor_id.clone(),
            container_id: ContainerId::new(fx.uuid().to_string()),
        };
        let sandbox = paths::executor_run(&self.config.work_dir, &id, &run);
        let latest =
            paths::executor_latest_run(&self.config.work_dir, &id, framework_id, executor_id);
        let mut executor = Executor::new(info.clone(), run.clone(), sandbox.clone());
        executor.generated_for_command_task = task.executor.is_none();

        let config = self.container_config(&framework_info, &executor, &task);
        let environment = self.executor_environment(&executor, &id);
        for name in [
            sandbox.to_string_lossy().into_owned(),
            latest.to_string_lossy().into_owned(),
            paths::executor_virtual(framework_id, executor_id),
        ] {
            fx.attach(name, sandbox.clone());
        }
        executor
            .queued_tasks
            .insert(TaskId::from(&task.task_id), Arc::new(task));
        info!("Launching executor {run}");
        if let Some(framework) = self.framework_mut(framework_id) {
            framework
                .executors
                .insert(executor_id.clone(), Arc::new(executor));
        }
        fx.launch_container(ContainerLaunch {
            run,
            config,
            environment,
            sandbox,
            latest,
        });
    }

    fn container_config(
        &self,
        framework: &proto::FrameworkInfo,
        executor: &Executor,
        task: &proto::TaskInfo,
    ) -> ContainerConfig {
        let command = executor.info.command.clone().unwrap_or_default();
        let user = command
            .user
            .clone()
            .unwrap_or_else(|| framework.user.clone());
        let mut resources = executor.info.resources.clone();
        resources.extend(task.resources.iter().cloned());
        ContainerConfig {
            directory: executor.directory.to_string_lossy().into_owned(),
            user: self.config.switch_user.then_some(user),
            executor_info: Some(executor.info.clone()),
            task_info: executor.generated_for_command_task.then(|| task.clone()),
            command_info: command,
            container_info: executor.info.container.clone(),
            resources,
            container_class: None,
            ..Default::default()
        }
    }

    fn queue_task(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        task: proto::TaskInfo,
        fx: &mut dyn Effects,
    ) {
        let Some(executor) = self.executor_mut(framework_id, executor_id) else {
            return;
        };
        let task_id = TaskId::from(&task.task_id);
        if executor.has_task(&task_id) {
            warn!(
                "Ignoring task '{task_id}': executor {} has it",
                executor.run
            );
            return;
        }
        executor
            .queued_tasks
            .insert(task_id.clone(), Arc::new(task));
        if executor.state == ExecutorState::Running {
            fx.update_container(ContainerUpdate {
                run: executor.run.clone(),
                requests: executor.allocated_resources(),
                then: AfterUpdate::Deliver(vec![task_id]),
            });
        }
    }
}

/// Masters before multi-role say nothing about allocation: then it is the framework's only role.
fn inject_allocation(framework: &proto::FrameworkInfo, task: &mut proto::TaskInfo) {
    let role = match framework.roles.as_slice() {
        [role] => role.as_str(),
        [] => framework.role(),
        [..] => return,
    };
    let executor = task
        .executor
        .iter_mut()
        .flat_map(|executor| &mut executor.resources);
    for resource in task.resources.iter_mut().chain(executor) {
        resource
            .allocation_info
            .get_or_insert_with(|| proto::resource::AllocationInfo {
                role: Some(role.to_owned()),
            });
    }
}

/// Limits need cgroups; those of Docker containers are the business of Docker.
fn has_unenforced_limits(task: &proto::TaskInfo) -> bool {
    let is_docker = task
        .container
        .as_ref()
        .is_some_and(|container| container.r#type() == proto::container_info::Type::Docker);
    !task.limits.is_empty() && !is_docker
}

/// Whether the task or its executor needs what this agent never checkpointed.
fn uses_checkpointed_resources(task: &proto::TaskInfo) -> bool {
    let executor = task.executor.iter();
    let of_executor = executor.flat_map(|executor| &executor.resources);
    task.resources
        .iter()
        .chain(of_executor)
        .any(needs_checkpointing)
}

/// Dynamic reservations and persistent volumes exist only where they were checkpointed.
fn needs_checkpointing(resource: &proto::Resource) -> bool {
    use proto::resource::reservation_info::Type;
    let dynamic = resource.reservation.is_some()
        || resource
            .reservations
            .last()
            .is_some_and(|reservation| reservation.r#type() == Type::Dynamic);
    let persistent = resource
        .disk
        .as_ref()
        .is_some_and(|disk| disk.persistence.is_some());
    (dynamic || persistent) && resource.provider_id.is_none()
}
