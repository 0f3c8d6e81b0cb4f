//! The executor that runs a task which came with nothing but a command.

use std::path::{Path, PathBuf};

use mesos::proto;

use super::Agent;

/// What the command executor is allowed on top of its task: a small, deliberate over-commitment.
const EXECUTOR_OVERHEAD: [(&str, f64); 2] = [("cpus", 0.1), ("mem", 32.0)];

/// The longest command shown in an executor's name.
const MAX_SHOWN_COMMAND: usize = 15;

/// How much of a longer command is shown.
const SHOWN_COMMAND: usize = 12;

/// What an executor gets on top of the kill policy's grace period to report the end of its task, in nanoseconds.
///
/// Upstream: one second for the reaper and one to send.
const KILL_REPORT_ALLOWANCE_NS: i64 = 2_000_000_000;

/// The name of the command executor.
pub(crate) const MESOS_EXECUTOR: &str = "mesos-executor";

/// Where the command executor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorCommand {
    /// The file to execute, or what went wrong when it was looked for.
    pub executable: Result<PathBuf, String>,
    /// `--launcher_dir`
    pub launcher_dir: PathBuf,
}

impl Agent {
    /// The executor of a task: its own, or the command executor.
    pub(super) fn executor_info(
        &self,
        framework: &proto::FrameworkInfo,
        task: &proto::TaskInfo,
    ) -> proto::ExecutorInfo {
        if let Some(executor) = &task.executor {
            let mut executor = executor.clone();
            executor.framework_id = framework.id.clone();
            return executor;
        }
        let command = task.command.clone().unwrap_or_default();
        let id = task.task_id.value.clone();
        let grace = task.kill_policy.and_then(|policy| policy.grace_period);
        proto::ExecutorInfo {
            executor_id: proto::ExecutorId { value: id.clone() },
            framework_id: framework.id.clone(),
            name: Some(format!(
                "Command Executor (Task: {id}) (Command: {})",
                show(&command)
            )),
            source: Some(id),
            container: task.container.clone(),
            labels: task.labels.clone(),
            discovery: task.discovery.clone(),
            resources: overhead(&task.resources),
            shutdown_grace_period: grace.map(|grace| proto::DurationInfo {
                nanoseconds: grace.nanoseconds.saturating_add(KILL_REPORT_ALLOWANCE_NS),
            }),
            command: Some(self.executor_command(command)),
            ..Default::default()
        }
    }

    fn executor_command(&self, task: proto::CommandInfo) -> proto::CommandInfo {
        let inherited = proto::CommandInfo {
            uris: task.uris,
            environment: task.environment,
            user: task.user,
            ..Default::default()
        };
        match &self.config.executor_command.executable {
            Ok(path) => proto::CommandInfo {
                shell: Some(false),
                value: Some(text(path)),
                arguments: vec![
                    MESOS_EXECUTOR.to_owned(),
                    format!(
                        "--launcher_dir={}",
                        text(&self.config.executor_command.launcher_dir)
                    ),
                ],
                ..inherited
            },
            // The task's stdout is where its owner will look.
            Err(problem) => proto::CommandInfo {
                shell: Some(true),
                value: Some(format!("echo '{}'; exit 1", problem.replace('\'', "'\\''"))),
                ..inherited
            },
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A command as it is shown in the executor's name.
fn show(command: &proto::CommandInfo) -> String {
    match (&command.value, command.shell()) {
        (None, true) => "NO COMMAND".to_owned(),
        (None, false) => "NO EXECUTABLE".to_owned(),
        (Some(value), true) => format!("sh -c '{}'", shorten(value)),
        (Some(value), false) => {
            let list = format!("{value}, {}", command.arguments.join(", "));
            format!("[{}]", shorten(&list))
        }
    }
}

fn shorten(command: &str) -> String {
    if command.len() <= MAX_SHOWN_COMMAND {
        return command.to_owned();
    }
    let end = (0..=SHOWN_COMMAND)
        .rev()
        .find(|end| command.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}...", command.get(..end).unwrap_or_default())
}

fn overhead(task: &[proto::Resource]) -> Vec<proto::Resource> {
    let allocation = task
        .iter()
        .find_map(|resource| resource.allocation_info.clone());
    EXECUTOR_OVERHEAD
        .iter()
        .map(|(name, amount)| proto::Resource {
            name: (*name).to_owned(),
            r#type: proto::value::Type::Scalar.into(),
            scalar: Some(proto::value::Scalar { value: *amount }),
            allocation_info: allocation.clone(),
            ..Default::default()
        })
        .collect()
}
