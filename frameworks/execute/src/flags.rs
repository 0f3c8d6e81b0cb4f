//! The flags of mesos-execute.

use mesos::detector::MasterAddress;
use mesos::flags::{Json, Secret};
use mesos::logging::LoggingFlags;
use mesos::values::DurationValue;
use mesos::zookeeper::ZkUrl;

mesos::flags! {
    /// Flags of mesos-execute, of upstream's names. Those of features that do not exist yet are
    /// known, and refused by [`check_supported`](ExecuteFlags::check_supported).
    pub struct ExecuteFlags {
        /// Mesos master, one of: host:port, zk://host1:port1,host2:port2,.../path,
        /// file:///path/to/file (where the file contains one of the above).
        pub master: String => |master| master_given(master),
        /// The task to run, as a JSON object of type TaskInfo (v1), or the path of a file that
        /// holds one. Takes the place of the flags --name, --command, --shell, --env and
        /// --resources.
        pub task: Option<Json>,
        /// A group of tasks (TaskGroupInfo as JSON). Not supported yet.
        pub task_group: Option<String>,
        /// Name of the command; also the id of its task.
        pub name: Option<String>,
        /// Whether the command is run through /bin/sh -c.
        pub shell: bool = true,
        /// The command to launch.
        pub command: Option<String>,
        /// Environment variables of the command, as a JSON object of texts.
        pub env: Option<Json>,
        /// Resources of the task.
        pub resources: String = "cpus:1;mem:128",
        /// How long a task may run, counted from TASK_RUNNING, before it is killed.
        pub kill_after: Option<DurationValue>,
        /// Role to be offered resources in.
        pub role: String = "*",
        /// Whether the framework checkpoints: its tasks then survive a restart of their agent.
        pub checkpoint: bool = false,
        /// Whether the framework tells apart tasks that are lost, unreachable and gone.
        pub partition_aware: bool = true,
        /// Capabilities of the framework, separated by commas. Only GPU_RESOURCES is allowed.
        pub framework_capabilities: Option<String>,
        /// Resource limits of the command, as a JSON object of type RLimitInfo.
        pub rlimits: Option<Json>,
        /// Containerizer to run the task by. Only 'mesos' is supported yet.
        pub containerizer: String = "mesos",
        /// Encoding of messages to the master, 'protobuf' or 'json'. Accepted for compatibility;
        /// the driver always speaks protobuf.
        pub content_type: String = "protobuf" => |content_type| content_type_known(content_type),
        /// Whether to exit with the task's own exit status in place of 0 (an extension).
        pub exit_with_task_status: bool = false,
        /// Docker image of the task. Not supported yet.
        pub docker_image: Option<String>,
        /// Appc image of the task. Not supported yet.
        pub appc_image: Option<String>,
        /// Volumes of the task as JSON. Not supported yet.
        pub volumes: Option<String>,
        /// Networks of the task, separated by commas. Not supported yet.
        pub networks: Option<String>,
        /// Effective capabilities of the command as JSON. Not supported yet.
        pub effective_capabilities: Option<String>,
        /// Bounding capabilities of the command as JSON. Not supported yet.
        pub bounding_capabilities: Option<String>,
        /// Package to upload to HDFS for the task. Not supported yet.
        pub package: Option<String>,
        /// The hadoop program, for --package.
        pub hadoop: String = "hadoop",
        /// Address of HDFS, for --package.
        pub hdfs: String = "localhost:9000",
        /// Whether to overwrite the package in HDFS.
        pub overwrite: bool = false,
        /// Whether to attach a terminal. Not supported yet.
        pub tty: bool = false,
        /// Principal to authenticate as. Not supported yet.
        pub principal: Option<String>,
        /// Secret to authenticate with. Not supported yet.
        pub secret: Option<Secret>,
        /// How to log.
        pub include logging: LoggingFlags,
    }
}

/// Looks at the address alone; whether there is a master shows later.
fn master_given(master: &str) -> Result<(), String> {
    let master = master.trim();
    if ZkUrl::is_zk(master) {
        let url = ZkUrl::parse(master).and_then(ZkUrl::require_path);
        return url.map(drop).map_err(|error| error.to_string());
    }
    // What the flag's value was read from is replaced by its content already.
    let address = master.parse::<MasterAddress>();
    address.map(drop).map_err(|error| error.to_string())
}

fn content_type_known(content_type: &str) -> Result<(), String> {
    match content_type {
        "protobuf" | "json" => Ok(()),
        _ => Err("expected 'protobuf' or 'json'".to_owned()),
    }
}

/// A use of flags that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// The feature behind a flag does not exist yet.
    #[error("Flag '{0}' is not supported yet; leave it out")]
    Unsupported(&'static str),
    /// Only some values of a flag are supported.
    #[error("Flag '{name}': '{value}' is not supported; allowed: {allowed}")]
    UnsupportedValue {
        /// The flag.
        name: &'static str,
        /// Its value.
        value: String,
        /// What may be given.
        allowed: &'static str,
    },
    /// A flag that is needed was not given.
    #[error("Flag '{name}' is required, but it was not provided ({reason})")]
    Missing {
        /// The flag.
        name: &'static str,
        /// What makes it needed.
        reason: &'static str,
    },
    /// Two flags exclude each other.
    #[error("Flags '{0}' and '{1}' exclude each other; give one of them")]
    Conflict(&'static str, &'static str),
    /// A value makes no sense.
    #[error("Flag '{name}': '{value}' {reason}")]
    Value {
        /// The flag.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong; continues a sentence that begins with the value.
        reason: String,
    },
}

impl ExecuteFlags {
    /// Refuses the flags whose features do not exist yet.
    ///
    /// # Errors
    /// The first such flag.
    pub fn check_supported(&self) -> Result<(), UsageError> {
        let unsupported = [
            ("task_group", self.task_group.is_some()),
            ("docker_image", self.docker_image.is_some()),
            ("appc_image", self.appc_image.is_some()),
            ("volumes", self.volumes.is_some()),
            ("networks", self.networks.is_some()),
            (
                "effective_capabilities",
                self.effective_capabilities.is_some(),
            ),
            (
                "bounding_capabilities",
                self.bounding_capabilities.is_some(),
            ),
            ("package", self.package.is_some()),
            ("tty", self.tty),
            ("principal", self.principal.is_some()),
            ("secret", self.secret.is_some()),
        ];
        if let Some((name, _)) = unsupported.iter().find(|(_, given)| *given) {
            return Err(UsageError::Unsupported(name));
        }
        if self.containerizer != "mesos" {
            return Err(UsageError::UnsupportedValue {
                name: "containerizer",
                value: self.containerizer.clone(),
                allowed: "mesos",
            });
        }
        Ok(())
    }
}
