//! Executors.

use mesos::ids::ExecutorId;
use mesos::proto::{self, executor_info};
use mesos::resources::Resources;

use super::{container, resource, validate_command, validate_id, validate_not_negative};
use crate::core::state::{Agent, Framework};

/// Checks an executor that a framework uses on an agent, and reads its resources.
///
/// # Errors
/// What is wrong first.
pub fn validate(
    executor: &proto::ExecutorInfo,
    framework: &Framework,
    agent: &Agent,
) -> Result<Resources, String> {
    validate_type(executor)?;
    validate_id("Executor ID", &executor.executor_id.value)?;
    let own = executor
        .framework_id
        .as_ref()
        .is_some_and(|id| id.value == framework.id.as_str());
    if !own {
        return Err(format!(
            "ExecutorInfo has an invalid framework ID: expected '{}'",
            framework.id
        ));
    }
    validate_not_negative(
        "ExecutorInfo's 'shutdown_grace_period'",
        executor.shutdown_grace_period.as_ref(),
    )?;
    if let Some(command) = &executor.command {
        validate_command(command)
            .map_err(|error| format!("Executor's `CommandInfo` is invalid: {error}"))?;
    }
    if let Some(container) = &executor.container {
        container::validate(container)
            .map_err(|error| format!("Executor's `ContainerInfo` is invalid: {error}"))?;
    }
    let resources = validate_resources(&executor.resources)?;
    validate_compatible(executor, framework, agent)?;
    Ok(resources)
}

fn validate_type(executor: &proto::ExecutorInfo) -> Result<(), String> {
    if executor.r#type.is_none() {
        return Ok(());
    }
    match executor.r#type() {
        executor_info::Type::Default => {
            if executor.command.is_some() {
                return Err(
                    "'ExecutorInfo.command' must not be set for 'DEFAULT' executor".to_owned(),
                );
            }
            if let Some(container) = &executor.container {
                if container.r#type() != proto::container_info::Type::Mesos {
                    return Err(
                        "'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor"
                            .to_owned(),
                    );
                }
                if container
                    .mesos
                    .as_ref()
                    .is_some_and(|mesos| mesos.image.is_some())
                {
                    return Err(
                        "'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor"
                            .to_owned(),
                    );
                }
            }
            Ok(())
        }
        executor_info::Type::Custom => {
            if executor.command.is_none() {
                return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".to_owned());
            }
            Ok(())
        }
        executor_info::Type::Unknown => Err("Unknown executor type".to_owned()),
    }
}

fn validate_resources(resources: &[proto::Resource]) -> Result<Resources, String> {
    let parsed = resource::validate(resources)
        .map_err(|error| format!("Executor uses invalid resources: {error}"))?;
    resource::validate_unique_persistence(&parsed)
        .map_err(|error| format!("Executor uses duplicate persistence ID: {error}"))?;
    resource::validate_single_role(&parsed)
        .map_err(|error| format!("Invalid executor resources: {error}"))?;
    resource::validate_revocable_mix(&parsed)?;
    Ok(parsed)
}

/// An executor id names one executor for as long as that runs.
fn validate_compatible(
    executor: &proto::ExecutorInfo,
    framework: &Framework,
    agent: &Agent,
) -> Result<(), String> {
    let id = ExecutorId::from(&executor.executor_id);
    let Some(running) = agent.executor(&framework.id, &id) else {
        return Ok(());
    };
    let mut running = running.info.clone();
    let mut asked = executor.clone();
    // Order and splitting of resources do not matter.
    let same_resources = Resources::from_protos(&running.resources).ok()
        == Resources::from_protos(&asked.resources).ok();
    running.resources.clear();
    asked.resources.clear();
    if same_resources && running == asked {
        Ok(())
    } else {
        Err(format!(
            "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID '{id}'"
        ))
    }
}
