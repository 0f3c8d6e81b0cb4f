//! Launching tasks and task groups of accepted offers.

use std::sync::Arc;

use libprocess::Upid;
use mesos::ids::{AgentId, ExecutorId, FrameworkId};
use mesos::proto::task_status::Reason;
use mesos::proto::{self, TaskState, internal, offer};
use mesos::resources::Resources;

use super::Master;
use super::accept::Acceptance;
use super::effects::Effects;
use super::operator_event::OperatorEvent;
use super::state::{Agent, Executor, Task};
use super::status_updates::TaskRefusal;
use super::validation::{self, task::Scene};
use super::wire;
use crate::constants::EMPTY_UPID;

impl Master {
    /// Launches one task, or tells the scheduler why not.
    pub(super) fn launch(
        &mut self,
        acceptance: &mut Acceptance,
        info: proto::TaskInfo,
        fx: &mut dyn Effects,
    ) {
        let available = acceptance.available();
        let (framework_id, agent_id) = (acceptance.framework.clone(), acceptance.agent.clone());
        let (Some(framework), Some(agent)) = (self.framework(&framework_id), self.agent(&agent_id))
        else {
            return;
        };
        let scene = Scene {
            framework,
            agent,
            available: &available,
        };
        let needs = match validation::task::validate(&info, &scene) {
            Ok(needs) => needs,
            Err(error) => {
                tracing::warn!("Refusing task {}: {error}", info.task_id.value);
                let refusal = TaskRefusal {
                    framework: &framework_id,
                    task: &info,
                    state: TaskState::TaskError,
                    reason: Reason::TaskInvalid,
                    message: &error,
                };
                self.refuse_task(&refusal, fx);
                return;
            }
        };
        acceptance.take(&needs.total());
        if let (Some(executor), Some(resources), true) =
            (&info.executor, &needs.executor, needs.starts_executor)
        {
            let executor = new_executor(executor, resources.clone());
            self.add_executor(&framework_id, &agent_id, executor);
        }
        self.stage(&framework_id, &info, needs.task, fx);
        self.send_run_task(&framework_id, &agent_id, info, needs.starts_executor, fx);
    }

    /// Adds a task that is sent to its agent.
    fn stage(
        &mut self,
        framework: &FrameworkId,
        info: &proto::TaskInfo,
        resources: Resources,
        fx: &mut dyn Effects,
    ) {
        let task = Arc::new(new_task(framework, info, resources));
        tracing::info!(
            "Launching task {} of framework {framework} on agent {} with {}",
            task.id,
            task.agent_id,
            task.resources
        );
        self.add_task(task.clone(), fx);
        if fx.has_subscribers() {
            fx.publish(OperatorEvent::TaskAdded(task));
        }
    }

    fn send_run_task(
        &self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        mut task: proto::TaskInfo,
        launch_executor: bool,
        fx: &mut dyn Effects,
    ) {
        let (Some(framework), Some(agent)) = (self.framework(framework_id), self.agent(agent_id))
        else {
            return;
        };
        wire::downgrade_unless(agent.capabilities.reservation_refinement, &mut task);
        let message = internal::RunTaskMessage {
            framework_id: None,
            framework: framework.info.as_ref().clone(),
            pid: Some(
                framework
                    .pid()
                    .map_or_else(|| EMPTY_UPID.to_owned(), Upid::to_string),
            ),
            task,
            resource_version_uuids: resource_versions(agent),
            launch_executor: Some(launch_executor),
        };
        fx.send_message(&agent.pid, &message);
    }

    /// Launches a group of tasks together, or none of them.
    pub(super) fn launch_group(
        &mut self,
        acceptance: &mut Acceptance,
        operation: offer::Operation,
        fx: &mut dyn Effects,
    ) {
        let (framework_id, agent_id) = (acceptance.framework.clone(), acceptance.agent.clone());
        let available = acceptance.available();
        let validated = match (
            self.framework(&framework_id),
            self.agent(&agent_id),
            &operation.launch_group,
        ) {
            (Some(framework), Some(agent), Some(group)) => {
                let scene = Scene {
                    framework,
                    agent,
                    available: &available,
                };
                validation::task_group::validate(group, &scene)
            }
            _ => Err("The agent or framework is gone".to_owned()),
        };
        let needs = match validated {
            Ok(needs) => needs,
            Err(error) => {
                self.refuse_tasks(
                    &framework_id,
                    &operation,
                    TaskState::TaskError,
                    Reason::TaskGroupInvalid,
                    &error,
                    fx,
                );
                return;
            }
        };
        let Some(group) = operation.launch_group else {
            return;
        };
        if needs.starts_executor {
            acceptance.take(&needs.executor);
            let executor = new_executor(&group.executor, needs.executor);
            self.add_executor(&framework_id, &agent_id, executor);
        }
        for (task, resources) in group.task_group.tasks.iter().zip(needs.tasks) {
            acceptance.take(&resources);
            self.stage(&framework_id, task, resources, fx);
        }
        self.send_run_task_group(&framework_id, &agent_id, group, needs.starts_executor, fx);
    }

    fn send_run_task_group(
        &self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        mut group: offer::operation::LaunchGroup,
        launch_executor: bool,
        fx: &mut dyn Effects,
    ) {
        let (Some(framework), Some(agent)) = (self.framework(framework_id), self.agent(agent_id))
        else {
            return;
        };
        wire::downgrade_unless(agent.capabilities.reservation_refinement, &mut group);
        let message = internal::RunTaskGroupMessage {
            framework: framework.info.as_ref().clone(),
            executor: group.executor,
            task_group: group.task_group,
            resource_version_uuids: resource_versions(agent),
            launch_executor: Some(launch_executor),
        };
        fx.send_message(&agent.pid, &message);
    }
}

fn new_executor(info: &proto::ExecutorInfo, resources: Resources) -> Arc<Executor> {
    Arc::new(Executor {
        info: info.clone(),
        resources,
    })
}

/// A task that has just been accepted. Upstream: `createTask` of `src/common/protobuf_utils.cpp`.
pub(super) fn new_task(
    framework: &FrameworkId,
    info: &proto::TaskInfo,
    resources: Resources,
) -> Task {
    let executor_id = info
        .executor
        .as_ref()
        .map(|executor| executor.executor_id.clone());
    let user = info
        .command
        .as_ref()
        .or_else(|| info.executor.as_ref()?.command.as_ref())
        .and_then(|command| command.user.clone());
    Task {
        id: (&info.task_id).into(),
        framework_id: framework.clone(),
        agent_id: (&info.slave_id).into(),
        executor_id: executor_id.as_ref().map(ExecutorId::from),
        state: TaskState::TaskStaging,
        resources,
        info: proto::Task {
            name: info.name.clone(),
            task_id: info.task_id.clone(),
            framework_id: framework.into(),
            executor_id,
            slave_id: info.slave_id.clone(),
            state: TaskState::TaskStaging as i32,
            resources: info.resources.clone(),
            statuses: Vec::new(),
            status_update_state: None,
            status_update_uuid: None,
            labels: info.labels.clone(),
            discovery: info.discovery.clone(),
            container: info.container.clone(),
            user,
            health_check: info.health_check.clone(),
            kill_policy: info.kill_policy,
            limits: info.limits.clone(),
        },
    }
}

/// The versions of an agent's resources, for it to detect operations on outdated ones.
pub(super) fn resource_versions(agent: &Agent) -> Vec<internal::ResourceVersionUuid> {
    let own = agent
        .resource_version
        .iter()
        .map(|version| (None, version.clone()));
    let provided = agent
        .resource_providers
        .iter()
        .map(|(id, provider)| (Some(id.clone()), provider.resource_version.clone()));
    own.chain(provided)
        .map(|(id, value)| internal::ResourceVersionUuid {
            resource_provider_id: id.map(|value| proto::ResourceProviderId { value }),
            uuid: proto::Uuid { value },
        })
        .collect()
}
