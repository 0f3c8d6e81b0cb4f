//! Short ways to write the messages that every framework needs.

use std::time::Duration;

use mesos::proto::framework_info::{Capability, capability};
use mesos::proto::{
    CommandInfo, Environment, ExecutorInfo, FrameworkId, FrameworkInfo, Offer, Resource, SlaveId,
    TaskId, TaskInfo, environment, value,
};

/// Starts the description of a framework called `name`. User and host name are filled in by the
/// driver when they are left out.
///
/// ```
/// use std::time::Duration;
///
/// let info = mesos_driver::framework("my framework")
///     .role("analytics")
///     .failover_timeout(Duration::from_secs(7 * 24 * 3600))
///     .checkpoint()
///     .build();
/// assert_eq!(info.roles, ["analytics"]);
/// ```
pub fn framework(name: impl Into<String>) -> FrameworkBuilder {
    FrameworkBuilder(FrameworkInfo {
        name: name.into(),
        ..FrameworkInfo::default()
    })
}

/// Describes a framework; see [`framework`].
#[derive(Debug, Clone)]
#[must_use]
pub struct FrameworkBuilder(FrameworkInfo);

impl FrameworkBuilder {
    /// The id that the framework was registered with before, to take its tasks over.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.id = Some(FrameworkId { value: id.into() });
        self
    }

    /// The user that tasks run as, unless their command names one.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.0.user = user.into();
        self
    }

    /// Adds a role to be offered resources in.
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.0.roles.push(role.into());
        self.capability(capability::Type::MultiRole)
    }

    /// How long the master keeps the tasks of a scheduler that is gone (not at all when left out).
    pub fn failover_timeout(mut self, timeout: Duration) -> Self {
        self.0.failover_timeout = Some(timeout.as_secs_f64());
        self
    }

    /// Lets tasks survive a restart of their agent.
    pub fn checkpoint(mut self) -> Self {
        self.0.checkpoint = Some(true);
        self
    }

    /// The principal that the framework is accounted under.
    pub fn principal(mut self, principal: impl Into<String>) -> Self {
        self.0.principal = Some(principal.into());
        self
    }

    /// Where people find the framework's own pages.
    pub fn webui_url(mut self, url: impl Into<String>) -> Self {
        self.0.webui_url = Some(url.into());
        self
    }

    /// Announces something that the scheduler can deal with; repeating it changes nothing.
    pub fn capability(mut self, capability: capability::Type) -> Self {
        if !self
            .0
            .capabilities
            .iter()
            .any(|known| known.r#type() == capability)
        {
            self.0.capabilities.push(Capability {
                r#type: Some(capability.into()),
            });
        }
        self
    }

    /// The description.
    #[must_use]
    pub fn build(self) -> FrameworkInfo {
        self.0
    }
}

/// Starts the description of a task with `id`, which is also its name at first.
///
/// ```
/// let task = mesos_driver::task("task-1").cpus(0.5).mem_mb(64.0).shell("echo hello").build();
/// assert_eq!(task.name, "task-1");
/// ```
pub fn task(id: impl Into<String>) -> TaskBuilder {
    let id = id.into();
    TaskBuilder(TaskInfo {
        name: id.clone(),
        task_id: TaskId { value: id },
        ..TaskInfo::default()
    })
}

/// Describes a task; see [`task`].
#[derive(Debug, Clone)]
#[must_use]
pub struct TaskBuilder(TaskInfo);

impl TaskBuilder {
    /// The name that people see.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.0.name = name.into();
        self
    }

    /// The agent to run on: that of the offer.
    pub fn on(mut self, agent_id: &SlaveId) -> Self {
        self.0.slave_id = agent_id.clone();
        self
    }

    /// Processors, down to thousandths.
    pub fn cpus(self, cpus: f64) -> Self {
        self.resource(scalar("cpus", cpus))
    }

    /// Memory in megabytes.
    pub fn mem_mb(self, megabytes: f64) -> Self {
        self.resource(scalar("mem", megabytes))
    }

    /// Disk in megabytes.
    pub fn disk_mb(self, megabytes: f64) -> Self {
        self.resource(scalar("disk", megabytes))
    }

    /// Any resource.
    pub fn resource(mut self, resource: Resource) -> Self {
        self.0.resources.push(resource);
        self
    }

    /// The command line to run, through `/bin/sh -c`.
    pub fn shell(mut self, command: impl Into<String>) -> Self {
        let info = self.0.command.get_or_insert_with(CommandInfo::default);
        info.shell = Some(true);
        info.value = Some(command.into());
        self
    }

    /// The program to run with exactly these arguments, without a shell. The first is the name that
    /// the program sees as its own.
    pub fn program(
        mut self,
        path: impl Into<String>,
        arguments: impl IntoIterator<Item = String>,
    ) -> Self {
        let info = self.0.command.get_or_insert_with(CommandInfo::default);
        info.shell = Some(false);
        info.value = Some(path.into());
        info.arguments = arguments.into_iter().collect();
        self
    }

    /// Adds a variable to the environment of the command.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let info = self.0.command.get_or_insert_with(CommandInfo::default);
        let environment = info.environment.get_or_insert_with(Environment::default);
        environment.variables.push(environment::Variable {
            name: name.into(),
            value: Some(value.into()),
            ..environment::Variable::default()
        });
        self
    }

    /// The user that the command runs as.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        let info = self.0.command.get_or_insert_with(CommandInfo::default);
        info.user = Some(user.into());
        self
    }

    /// The executor to give the task to, in place of a command.
    pub fn executor(mut self, executor: ExecutorInfo) -> Self {
        self.0.executor = Some(executor);
        self
    }

    /// The description.
    #[must_use]
    pub fn build(self) -> TaskInfo {
        self.0
    }
}

/// The resource `name` in the amount `value`.
pub fn scalar(name: impl Into<String>, value: f64) -> Resource {
    Resource {
        name: name.into(),
        r#type: value::Type::Scalar.into(),
        scalar: Some(value::Scalar { value }),
        ..Resource::default()
    }
}

/// How much of the scalar resource `name` is in `offer`, over all its parts.
pub fn offered(offer: &Offer, name: &str) -> f64 {
    let parts = offer
        .resources
        .iter()
        .filter(|resource| resource.name == name);
    parts
        .filter_map(|part| part.scalar.as_ref())
        .map(|scalar| scalar.value)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_what_is_offered_over_all_parts() {
        let offer = Offer {
            resources: vec![
                scalar("cpus", 1.5),
                scalar("mem", 64.0),
                scalar("cpus", 0.5),
            ],
            ..Offer::default()
        };
        let check = |name: &str, expected: f64| assert_eq!(offered(&offer, name), expected);
        check("cpus", 2.0);
        check("mem", 64.0);
        check("gpus", 0.0);
    }

    #[test]
    fn a_role_makes_the_framework_multi_role_once() {
        let info = framework("f").role("a").role("b").build();
        assert_eq!(info.roles, ["a", "b"]);
        assert_eq!(info.capabilities.len(), 1);
    }

    #[test]
    fn a_shell_command_keeps_its_environment() {
        let command = task("t")
            .env("A", "1")
            .shell("echo $A")
            .build()
            .command
            .unwrap();
        assert_eq!(command.value.as_deref(), Some("echo $A"));
        assert_eq!(command.environment.unwrap().variables[0].name, "A");
    }
}
