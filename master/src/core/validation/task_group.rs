//! Task groups of LAUNCH_GROUP.

use mesos::proto::{self, container_info, executor_info, health_check};
use mesos::resources::Resources;

use super::task::{Scene, share_cgroups, validate_common, validate_together};
use super::{executor, resource};
use crate::constants::{MIN_EXECUTOR_CPUS, MIN_EXECUTOR_MEM_MB};

/// The resources of a group that may be launched.
#[derive(Debug)]
pub struct GroupNeeds {
    /// Of each task, in order.
    pub tasks: Vec<Resources>,
    /// Of the executor.
    pub executor: Resources,
    /// Whether the executor must be started.
    pub starts_executor: bool,
}

/// Checks a group, whose tasks must have the executor filled in.
///
/// # Errors
/// What is wrong first; then no task of the group may be launched.
pub fn validate(
    group: &proto::offer::operation::LaunchGroup,
    scene: &Scene<'_>,
) -> Result<GroupNeeds, String> {
    let executor_resources = validate_group_executor(&group.executor, scene)?;
    let mut tasks = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    let mut shared = None;
    for task in &group.task_group.tasks {
        let resources = validate_common(task, scene)
            .and_then(|resources| validate_member(task, group).map(|()| resources))
            .map_err(|error| format!("Task '{}' is invalid: {error}", task.task_id.value))?;
        if !ids.insert(task.task_id.value.as_str()) {
            return Err(format!("Task has duplicate ID: {}", task.task_id.value));
        }
        let mine = share_cgroups(task.container.as_ref()).unwrap_or(true);
        if *shared.get_or_insert(mine) != mine {
            return Err(
                "If set, the value of 'share_cgroups' must be the same for all tasks of a group"
                    .to_owned(),
            );
        }
        tasks.push(resources);
    }
    let all: Resources = tasks.iter().sum();
    validate_together(&all, &executor_resources)?;
    let id = (&group.executor.executor_id).into();
    let starts_executor = scene.agent.executor(&scene.framework.id, &id).is_none();
    let total = if starts_executor {
        &all + &executor_resources
    } else {
        all
    };
    if !scene.available.contains(&total) {
        return Err(format!(
            "Total resources {total} required by task group and its executor are more than available {}",
            scene.available
        ));
    }
    Ok(GroupNeeds {
        tasks,
        executor: executor_resources,
        starts_executor,
    })
}

fn validate_group_executor(
    info: &proto::ExecutorInfo,
    scene: &Scene<'_>,
) -> Result<Resources, String> {
    if info.r#type.is_none() {
        return Err("'ExecutorInfo.type' must be set".to_owned());
    }
    let resources = executor::validate(info, scene.framework, scene.agent)?;
    if info.r#type() == executor_info::Type::Unknown {
        return Err("Unknown executor type".to_owned());
    }
    if info
        .container
        .as_ref()
        .is_some_and(|container| container.r#type() == container_info::Type::Docker)
    {
        return Err("Docker ContainerInfo is not supported on the executor".to_owned());
    }
    if resources.cpus().unwrap_or(0.0) < MIN_EXECUTOR_CPUS {
        return Err(format!(
            "Executor '{}' uses less CPUs than the minimum required ({MIN_EXECUTOR_CPUS})",
            info.executor_id.value
        ));
    }
    if resources.mem().unwrap_or(0.0) < MIN_EXECUTOR_MEM_MB {
        return Err(format!(
            "Executor '{}' uses less memory than the minimum required ({MIN_EXECUTOR_MEM_MB}MB)",
            info.executor_id.value
        ));
    }
    if resources.disk().is_none() {
        return Err("'ExecutorInfo.resources' must contain 'disk'".to_owned());
    }
    resource::validate_revocable_mix(&resources)?;
    Ok(resources)
}

fn validate_member(
    task: &proto::TaskInfo,
    group: &proto::offer::operation::LaunchGroup,
) -> Result<(), String> {
    match &task.executor {
        None => return Err("'TaskInfo.executor' must be set".to_owned()),
        Some(executor) if *executor != group.executor => {
            return Err("The executor of the task differs from the group's executor".to_owned());
        }
        Some(_) => {}
    }
    let container = task.container.as_ref();
    if container.is_some_and(|container| container.r#type() == container_info::Type::Docker) {
        return Err("Docker ContainerInfo is not supported on the task".to_owned());
    }
    let own_network = container.is_some_and(|container| !container.network_infos.is_empty());
    if own_network
        && task.health_check.as_ref().is_some_and(|check| {
            matches!(
                check.r#type(),
                health_check::Type::Http | health_check::Type::Tcp
            )
        })
    {
        return Err(
            "HTTP and TCP health checks are not supported for nested containers not joining parent's network"
                .to_owned(),
        );
    }
    if !task.limits.is_empty() && share_cgroups(container).unwrap_or(true) {
        return Err(
            "Resource limits may only be set for tasks within a task group when 'share_cgroups' is false"
                .to_owned(),
        );
    }
    Ok(())
}
