//! From flags to the framework and the task.

use mesos::proto::framework_info::capability::Type as Capability;
use mesos::proto::{
    CommandInfo, ContainerInfo, Environment, FrameworkInfo, RLimitInfo, TaskId, TaskInfo,
    container_info, environment,
};
use mesos::resources::Resources;
use mesos::{convert, json, proto, roles};
use serde_json::Value;

use crate::flags::{ExecuteFlags, UsageError};

/// The task that the flags describe, and what it needs.
pub(crate) fn task(flags: &ExecuteFlags) -> Result<(TaskInfo, Resources), UsageError> {
    match &flags.task {
        Some(task) => given_task(flags, &task.0),
        None => command_task(flags),
    }
}

fn given_task(flags: &ExecuteFlags, task: &Value) -> Result<(TaskInfo, Resources), UsageError> {
    if flags.name.is_some() {
        return Err(UsageError::Conflict("task", "name"));
    }
    if flags.command.is_some() {
        return Err(UsageError::Conflict("task", "command"));
    }
    let text = task.to_string();
    let refused = |reason: String| UsageError::Value {
        name: "task",
        value: text.clone(),
        reason,
    };
    let task: proto::v1::TaskInfo = json::from_str(&text)
        .map_err(|error| refused(format!("is no TaskInfo (v1) in JSON: {error}")))?;
    let task: TaskInfo = convert::v1_to_v0(&task)
        .map_err(|error| refused(format!("is no TaskInfo (v1): {error}")))?;
    let resources = Resources::from_protos(&task.resources)
        .map_err(|error| refused(format!("has bad resources: {error}")))?;
    Ok((task, resources))
}

fn command_task(flags: &ExecuteFlags) -> Result<(TaskInfo, Resources), UsageError> {
    let name = flags.name.clone().ok_or(UsageError::Missing {
        name: "name",
        reason: "unless --task is given",
    })?;
    if flags.command.is_none() {
        return Err(UsageError::Missing {
            name: "command",
            reason: "unless --task is given",
        });
    }
    let resources = Resources::parse(&flags.resources, "*").map_err(|error| UsageError::Value {
        name: "resources",
        value: flags.resources.clone(),
        reason: format!("are no resources: {error} (allowed: such as cpus:1;mem:128, or JSON)"),
    })?;
    let task = TaskInfo {
        task_id: TaskId {
            value: name.clone(),
        },
        name,
        command: Some(command(flags)?),
        container: container(flags)?,
        resources: resources.to_protos(),
        ..TaskInfo::default()
    };
    Ok((task, resources))
}

fn command(flags: &ExecuteFlags) -> Result<CommandInfo, UsageError> {
    Ok(CommandInfo {
        shell: Some(flags.shell),
        value: flags.command.clone(),
        environment: flags
            .env
            .as_ref()
            .map(|env| variables(&env.0))
            .transpose()?,
        ..CommandInfo::default()
    })
}

fn variables(env: &Value) -> Result<Environment, UsageError> {
    let refused = || UsageError::Value {
        name: "env",
        value: env.to_string(),
        reason: r#"is no JSON object of texts (allowed: such as {"NAME": "value"})"#.to_owned(),
    };
    let object = env.as_object().ok_or_else(refused)?;
    let variable = |(name, value): (&String, &Value)| {
        Some(environment::Variable {
            name: name.clone(),
            value: Some(value.as_str()?.to_owned()),
            ..environment::Variable::default()
        })
    };
    let variables: Option<Vec<_>> = object.iter().map(variable).collect();
    Ok(Environment {
        variables: variables.ok_or_else(refused)?,
    })
}

fn container(flags: &ExecuteFlags) -> Result<Option<ContainerInfo>, UsageError> {
    let Some(limits) = &flags.rlimits else {
        return Ok(None);
    };
    let text = limits.0.to_string();
    let limits: RLimitInfo = json::from_str(&text).map_err(|error| UsageError::Value {
        name: "rlimits",
        value: text.clone(),
        reason: format!("is no RLimitInfo in JSON: {error}"),
    })?;
    Ok(Some(ContainerInfo {
        r#type: container_info::Type::Mesos.into(),
        rlimit_info: Some(limits),
        ..ContainerInfo::default()
    }))
}

/// The framework that the flags describe.
pub(crate) fn framework(flags: &ExecuteFlags) -> Result<FrameworkInfo, UsageError> {
    roles::validate(&flags.role).map_err(|error| UsageError::Value {
        name: "role",
        value: flags.role.clone(),
        reason: format!("is no role: {error}"),
    })?;
    let mut framework = mesos_driver::framework("mesos-execute instance")
        .capability(Capability::ReservationRefinement)
        .capability(Capability::TaskKillingState)
        .capability(Capability::RevocableResources);
    if flags.partition_aware {
        framework = framework.capability(Capability::PartitionAware);
    }
    let capabilities = flags
        .framework_capabilities
        .iter()
        .flat_map(|text| text.split(','));
    for name in capabilities.filter(|name| !name.is_empty()) {
        if name != Capability::GpuResources.as_str_name() {
            return Err(UsageError::UnsupportedValue {
                name: "framework_capabilities",
                value: name.to_owned(),
                allowed: "GPU_RESOURCES",
            });
        }
        framework = framework.capability(Capability::GpuResources);
    }
    // The single role of frameworks without MULTI_ROLE, as upstream sends it.
    Ok(FrameworkInfo {
        role: Some(flags.role.clone()),
        checkpoint: Some(flags.checkpoint),
        ..framework.build()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos::flags::Flags;

    fn flags(arguments: &[&str]) -> ExecuteFlags {
        let base = ["--master=m:1"];
        ExecuteFlags::from_args(base.iter().chain(arguments).copied()).unwrap()
    }

    /// Flags for a good command task, and `more`.
    fn with(more: &[&str]) -> ExecuteFlags {
        let base = ["--name=t", "--command=exit 0"];
        flags(&[&base[..], more].concat())
    }

    #[test]
    fn describes_a_command_task() {
        let (task, resources) = task(&with(&[r#"--env={"A":"1"}"#])).unwrap();
        assert_eq!(
            (task.task_id.value.as_str(), task.name.as_str()),
            ("t", "t")
        );
        let command = task.command.unwrap();
        assert_eq!((command.value(), command.shell()), ("exit 0", true));
        let variable = &command.environment.as_ref().unwrap().variables[0];
        assert_eq!((variable.name.as_str(), variable.value()), ("A", "1"));
        assert_eq!(resources.to_string(), "cpus:1; mem:128");
    }

    #[test]
    fn says_what_is_wrong_with_flags() {
        fn check(flags: &ExecuteFlags, expected: &str) {
            let problem = flags.check_supported().and_then(|()| task(flags).map(drop));
            let problem = problem.and_then(|()| framework(flags).map(drop));
            assert_eq!(
                problem.map_err(|error| error.to_string()),
                Err(expected.to_owned())
            );
        }
        check(
            &with(&["--task_group={}"]),
            "Flag 'task_group' is not supported yet; leave it out",
        );
        check(
            &with(&["--principal=p"]),
            "Flag 'principal' is not supported yet; leave it out",
        );
        check(
            &with(&["--containerizer=docker"]),
            "Flag 'containerizer': 'docker' is not supported; allowed: mesos",
        );
        check(
            &with(&["--framework_capabilities=MULTI_ROLE"]),
            "Flag 'framework_capabilities': 'MULTI_ROLE' is not supported; allowed: GPU_RESOURCES",
        );
        check(
            &flags(&["--command=true"]),
            "Flag 'name' is required, but it was not provided (unless --task is given)",
        );
        check(
            &flags(&["--name=t"]),
            "Flag 'command' is required, but it was not provided (unless --task is given)",
        );
        check(
            &with(&["--task={}"]),
            "Flags 'task' and 'name' exclude each other; give one of them",
        );
        check(
            &with(&[r#"--env={"A":1}"#]),
            r#"Flag 'env': '{"A":1}' is no JSON object of texts (allowed: such as {"NAME": "value"})"#,
        );
    }

    #[test]
    fn takes_a_whole_task_as_json() {
        let json = r#"--task={
            "name": "n", "task_id": {"value": "t"}, "agent_id": {"value": ""},
            "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}}],
            "command": {"value": "exit 0"}
        }"#;
        let (task, resources) = task(&flags(&[json])).unwrap();
        assert_eq!(
            (task.task_id.value.as_str(), task.name.as_str()),
            ("t", "n")
        );
        assert_eq!(resources.to_string(), "cpus:0.5");
        let error = super::task(&flags(&[r#"--task={"name": "n"}"#])).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with("Flag 'task': '{\"name\":\"n\"}' is no TaskInfo"),
            "{error}"
        );
    }

    #[test]
    fn asks_for_the_capabilities_of_upstream() {
        fn check(more: &[&str], expected: &[Capability]) {
            let info = framework(&with(more)).unwrap();
            let capabilities: Vec<_> = info.capabilities.iter().map(|it| it.r#type()).collect();
            assert_eq!(capabilities, expected);
        }
        use Capability::{
            GpuResources, PartitionAware, ReservationRefinement, RevocableResources,
            TaskKillingState,
        };
        let base = [ReservationRefinement, TaskKillingState, RevocableResources];
        check(&["--no-partition_aware"], &base);
        check(&[], &[&base[..], &[PartitionAware]].concat());
        let gpu = "--framework_capabilities=GPU_RESOURCES";
        check(
            &[gpu],
            &[&base[..], &[PartitionAware, GpuResources]].concat(),
        );
    }
}
