//! Tasks of LAUNCH.

use mesos::ids::TaskId;
use mesos::proto::{self, executor_info};
use mesos::resources::Resources;

use super::checks::{validate_check, validate_health_check};
use super::{container, executor, resource, validate_command, validate_id, validate_not_negative};
use crate::constants::{MIN_EXECUTOR_CPUS, MIN_EXECUTOR_MEM_MB};
use crate::core::state::{Agent, Framework};

/// What tasks are checked against.
pub struct Scene<'a> {
    /// The framework that launches.
    pub framework: &'a Framework,
    /// The agent of the offer.
    pub agent: &'a Agent,
    /// What is left of the offers, including shared volumes in use.
    pub available: &'a Resources,
}

/// The resources of a task that may be launched.
#[derive(Debug)]
pub struct Needs {
    /// Of the task.
    pub task: Resources,
    /// Of its executor; none for a command.
    pub executor: Option<Resources>,
    /// Whether the executor must be started, hence needs its resources too.
    pub starts_executor: bool,
}

impl Needs {
    /// What is taken from the offers.
    #[must_use]
    pub fn total(&self) -> Resources {
        match &self.executor {
            Some(executor) if self.starts_executor => &self.task + executor,
            _ => self.task.clone(),
        }
    }
}

/// Checks a task of LAUNCH.
///
/// # Errors
/// What is wrong first, in the order in which upstream looks.
pub fn validate(task: &proto::TaskInfo, scene: &Scene<'_>) -> Result<Needs, String> {
    let resources = validate_common(task, scene)?;
    let needs = validate_executor(task, resources, scene)?;
    if share_cgroups(task.container.as_ref()) == Some(false) {
        return Err(
            "Only tasks in a task group may have 'share_cgroups' set to 'false'".to_owned(),
        );
    }
    Ok(needs)
}

/// Checks what tasks of LAUNCH and LAUNCH_GROUP have in common, and reads their resources.
///
/// # Errors
/// What is wrong first.
pub fn validate_common(task: &proto::TaskInfo, scene: &Scene<'_>) -> Result<Resources, String> {
    validate_id("Task ID", &task.task_id.value)?;
    validate_unique(task, scene.framework)?;
    if task.slave_id.value != scene.agent.id.as_str() {
        return Err(format!(
            "Task uses invalid agent {} while agent {} is expected",
            task.slave_id.value, scene.agent.id
        ));
    }
    validate_not_negative(
        "Task's 'kill_policy.grace_period'",
        task.kill_policy
            .as_ref()
            .and_then(|policy| policy.grace_period.as_ref()),
    )?;
    validate_not_negative(
        "Task's 'max_completion_time'",
        task.max_completion_time.as_ref(),
    )?;
    if let Some(check) = &task.check {
        validate_check(check).map_err(|error| format!("Task uses invalid check: {error}"))?;
    }
    if let Some(check) = &task.health_check {
        validate_health_check(check)
            .map_err(|error| format!("Task uses invalid health check: {error}"))?;
    }
    let resources = validate_resources(task)?;
    if let Some(command) = &task.command {
        validate_command(command)
            .map_err(|error| format!("Task's `CommandInfo` is invalid: {error}"))?;
    }
    if let Some(container) = &task.container {
        container::validate(container)
            .map_err(|error| format!("Task's `ContainerInfo` is invalid: {error}"))?;
    }
    validate_limits(task, &resources, scene.agent)?;
    Ok(resources)
}

fn validate_unique(task: &proto::TaskInfo, framework: &Framework) -> Result<(), String> {
    let id = TaskId::from(&task.task_id);
    if framework.tasks.contains_key(&id) {
        return Err(format!("Task has duplicate ID: {id}"));
    }
    if framework.unreachable_tasks.contains_key(&id) {
        return Err(format!("Task reuses the ID of an unreachable task: {id}"));
    }
    Ok(())
}

fn validate_resources(task: &proto::TaskInfo) -> Result<Resources, String> {
    if task.resources.is_empty() {
        return Err("Task uses no resources".to_owned());
    }
    let resources = resource::validate(&task.resources)
        .map_err(|error| format!("Task uses invalid resources: {error}"))?;
    resource::validate_unique_persistence(&resources)
        .map_err(|error| format!("Task uses duplicate persistence ID: {error}"))?;
    resource::validate_single_role(&resources)
        .map_err(|error| format!("Invalid task resources: {error}"))?;
    resource::validate_revocable_mix(&resources)
        .map_err(|error| format!("Task mixes revocable and non-revocable resources: {error}"))?;
    Ok(resources)
}

fn validate_limits(
    task: &proto::TaskInfo,
    resources: &Resources,
    agent: &Agent,
) -> Result<(), String> {
    if task.limits.is_empty() {
        return Ok(());
    }
    if !agent.capabilities.task_resource_limits {
        return Err("Agent is not capable of handling task resource limits".to_owned());
    }
    for (name, limit) in &task.limits {
        let request = match name.as_str() {
            "cpus" => resources.cpus(),
            "mem" => resources.mem(),
            _ => {
                return Err(
                    "Only cpus and mem may be included in a task's resource limits".to_owned(),
                );
            }
        };
        let Some(request) = request else {
            return Err(format!("A limit of {name} needs a request of {name}"));
        };
        // An infinite limit of memory passes; NaN does not.
        if limit.value.is_nan() || limit.value < request {
            return Err(format!(
                "The {name} limit must be greater than or equal to the {name} request"
            ));
        }
    }
    Ok(())
}

fn validate_executor(
    task: &proto::TaskInfo,
    resources: Resources,
    scene: &Scene<'_>,
) -> Result<Needs, String> {
    if task.executor.is_some() == task.command.is_some() {
        return Err(
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"
                .to_owned(),
        );
    }
    let mut needs = Needs {
        task: resources,
        executor: None,
        starts_executor: true,
    };
    if let Some(executor) = &task.executor {
        let executor_resources = executor::validate(executor, scene.framework, scene.agent)?;
        validate_custom_executor(executor, &executor_resources)?;
        let id = (&executor.executor_id).into();
        needs.starts_executor = scene.agent.executor(&scene.framework.id, &id).is_none();
        validate_together(&needs.task, &executor_resources)?;
        needs.executor = Some(executor_resources);
    }
    let total = needs.total();
    if !scene.available.contains(&total) {
        return Err(format!(
            "Total resources {total} required by task and its executor is more than available {}",
            scene.available
        ));
    }
    Ok(needs)
}

fn validate_custom_executor(
    executor: &proto::ExecutorInfo,
    resources: &Resources,
) -> Result<(), String> {
    if executor.r#type.is_some() && executor.r#type() != executor_info::Type::Custom {
        return Err("'ExecutorInfo.type' must be 'CUSTOM'".to_owned());
    }
    if executor.command.is_none() {
        return Err("'ExecutorInfo.command' must be set".to_owned());
    }
    if !resources.shared().is_empty() {
        return Err(format!(
            "Executor resources {resources} should not contain any shared resources"
        ));
    }
    if resources.cpus().unwrap_or(0.0) < MIN_EXECUTOR_CPUS
        || resources.mem().unwrap_or(0.0) < MIN_EXECUTOR_MEM_MB
    {
        tracing::warn!(
            "Executor '{}' uses less than {MIN_EXECUTOR_CPUS} cpus or {MIN_EXECUTOR_MEM_MB} MB",
            executor.executor_id.value
        );
    }
    if share_cgroups(executor.container.as_ref()) == Some(true) {
        return Err(
            "The 'share_cgroups' field cannot be set to 'true' on executor containers".to_owned(),
        );
    }
    Ok(())
}

/// Checks the sum of a task and its executor.
///
/// # Errors
/// What does not go together.
pub fn validate_together(task: &Resources, executor: &Resources) -> Result<(), String> {
    resource::validate_no_overlap(task, executor)
        .map_err(|error| format!("Task and its executor: {error}"))?;
    let total = task + executor;
    resource::validate_unique_persistence(&total)
        .map_err(|error| format!("Task and its executor use duplicate persistence ID: {error}"))?;
    resource::validate_revocable_mix(&total).map_err(|error| {
        format!("Task and its executor mix revocable and non-revocable resources: {error}")
    })
}

/// Whether a container says that its cgroups are shared.
#[must_use]
pub fn share_cgroups(container: Option<&proto::ContainerInfo>) -> Option<bool> {
    container?.linux_info.as_ref()?.share_cgroups
}
