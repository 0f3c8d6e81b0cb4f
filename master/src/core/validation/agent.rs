//! Agents that register.

use std::collections::BTreeSet;

use mesos::proto::{self, internal};
use mesos::resources::Resources;

use super::validate_id;
use crate::constants::MINIMUM_AGENT_VERSION;

/// Checks a registration.
///
/// # Errors
/// What is wrong first.
pub fn validate_register(message: &internal::RegisterSlaveMessage) -> Result<(), String> {
    validate_info(&message.slave)?;
    validate_checkpointed(&message.slave, &message.checkpointed_resources)
}

/// Checks a re-registration.
///
/// # Errors
/// What is wrong first.
pub fn validate_reregister(message: &internal::ReregisterSlaveMessage) -> Result<(), String> {
    validate_info(&message.slave)?;
    let Some(agent_id) = &message.slave.id else {
        return Err("The agent has no id".to_owned());
    };
    for task in &message.tasks {
        if task.slave_id != *agent_id {
            return Err(format!(
                "Task {} has invalid agent id {}",
                task.task_id.value, task.slave_id.value
            ));
        }
        validate_id("Task ID", &task.task_id.value)?;
        Resources::validate(&task.resources).map_err(|error| error.to_string())?;
    }
    let frameworks = unique_frameworks(message)?;
    let executors = unique_executors(message, &frameworks)?;
    for task in &message.tasks {
        let framework = task.framework_id.value.as_str();
        if !frameworks.contains(framework) {
            return Err(format!(
                "Task {} has an unlisted framework {framework}",
                task.task_id.value
            ));
        }
        if let Some(executor) = &task.executor_id
            && !crate::core::task_state::is_terminal(task.state())
            && !executors.contains(&(framework, executor.value.as_str()))
        {
            return Err(format!(
                "Task {} has an unlisted executor {}",
                task.task_id.value, executor.value
            ));
        }
    }
    validate_checkpointed(&message.slave, &message.checkpointed_resources)
}

fn unique_frameworks(message: &internal::ReregisterSlaveMessage) -> Result<BTreeSet<&str>, String> {
    let mut frameworks = BTreeSet::new();
    for framework in &message.frameworks {
        let id = framework.id.as_ref().map_or("", |id| id.value.as_str());
        validate_id("Framework ID", id)?;
        if !frameworks.insert(id) {
            return Err(format!("Framework has a duplicate FrameworkID: {id}"));
        }
    }
    Ok(frameworks)
}

fn unique_executors<'a>(
    message: &'a internal::ReregisterSlaveMessage,
    frameworks: &BTreeSet<&str>,
) -> Result<BTreeSet<(&'a str, &'a str)>, String> {
    let mut executors = BTreeSet::new();
    for executor in &message.executor_infos {
        let id = executor.executor_id.value.as_str();
        validate_id("Executor ID", id)?;
        Resources::validate(&executor.resources).map_err(|error| error.to_string())?;
        let framework = executor
            .framework_id
            .as_ref()
            .map_or("", |id| id.value.as_str());
        if !frameworks.contains(framework) {
            return Err(format!(
                "Executor {id} has an unlisted framework '{framework}'"
            ));
        }
        if !executors.insert((framework, id)) {
            return Err(format!(
                "Framework '{framework}' has a duplicate ExecutorID: {id}"
            ));
        }
    }
    Ok(executors)
}

fn validate_info(info: &proto::SlaveInfo) -> Result<(), String> {
    if let Some(id) = &info.id {
        validate_id("Agent ID", &id.value)?;
    }
    Resources::validate(&info.resources).map_err(|error| error.to_string())
}

fn validate_checkpointed(
    info: &proto::SlaveInfo,
    checkpointed: &[proto::Resource],
) -> Result<(), String> {
    if !checkpointed.is_empty() && !info.checkpoint() {
        return Err("Checkpointed resources provided when checkpointing is not enabled".to_owned());
    }
    Resources::validate(checkpointed).map_err(|error| error.to_string())
}

/// Checks the release of an agent.
///
/// # Errors
/// That it is not a release, or too old.
pub fn validate_version(version: &str) -> Result<(), String> {
    let parsed = parse_version(version)
        .ok_or_else(|| format!("Failed to parse agent version '{version}'"))?;
    if parsed < MINIMUM_AGENT_VERSION {
        let (major, minor, patch) = MINIMUM_AGENT_VERSION;
        return Err(format!(
            "Agent version {version} is older than the minimum of {major}.{minor}.{patch}"
        ));
    }
    Ok(())
}

/// Major, minor and patch number of `1.2.3-rc1+build`; missing ones are 0.
fn parse_version(version: &str) -> Option<(u64, u64, u64)> {
    let core = version.split(['-', '+']).next()?;
    let mut parts = core.split('.');
    let major = parts.next()?.parse().ok()?;
    let mut next = || parts.next().map_or(Some(0), |part| part.parse().ok());
    let (minor, patch) = (next()?, next()?);
    parts.next().is_none().then_some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let check = |version: &str, ok| assert_eq!(validate_version(version).is_ok(), ok);
        check("1.11.0", true);
        check("1.0.0", true);
        check("1.0.0-rc1", true);
        check("2", true);
        check("0.28.2", false);
        check("", false);
        check("one", false);
        check("1.2.3.4", false);
    }

    fn task(agent: &str, framework: &str, executor: Option<&str>) -> proto::Task {
        proto::Task {
            task_id: proto::TaskId {
                value: "t".to_owned(),
            },
            framework_id: proto::FrameworkId {
                value: framework.to_owned(),
            },
            slave_id: proto::SlaveId {
                value: agent.to_owned(),
            },
            executor_id: executor.map(|id| proto::ExecutorId {
                value: id.to_owned(),
            }),
            state: proto::TaskState::TaskRunning as i32,
            ..Default::default()
        }
    }

    #[test]
    fn reregistrations() {
        let check = |change: fn(&mut internal::ReregisterSlaveMessage), ok: bool| {
            let mut message = internal::ReregisterSlaveMessage {
                slave: proto::SlaveInfo {
                    hostname: "host".to_owned(),
                    id: Some(proto::SlaveId {
                        value: "S".to_owned(),
                    }),
                    ..Default::default()
                },
                frameworks: vec![proto::FrameworkInfo {
                    id: Some(proto::FrameworkId {
                        value: "F".to_owned(),
                    }),
                    ..Default::default()
                }],
                tasks: vec![task("S", "F", None)],
                ..Default::default()
            };
            change(&mut message);
            assert_eq!(validate_reregister(&message).is_ok(), ok);
        };
        check(|_| {}, true);
        check(|message| message.slave.id = None, false);
        check(|message| message.tasks = vec![task("T", "F", None)], false);
        check(|message| message.tasks = vec![task("S", "G", None)], false);
        check(
            |message| message.tasks = vec![task("S", "F", Some("e"))],
            false,
        );
        check(
            |message| {
                message.tasks = vec![task("S", "F", Some("e"))];
                message.executor_infos = vec![proto::ExecutorInfo {
                    executor_id: proto::ExecutorId {
                        value: "e".to_owned(),
                    },
                    framework_id: Some(proto::FrameworkId {
                        value: "F".to_owned(),
                    }),
                    ..Default::default()
                }];
            },
            true,
        );
        check(
            |message| message.frameworks.push(message.frameworks[0].clone()),
            false,
        );
    }
}
