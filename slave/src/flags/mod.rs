//! The flags of the agent.
//!
//! Upstream: `src/slave/flags.cpp`. Flags that upstream has only in some builds have no default here, so that `/flags`
//! shows what it shows there.

mod support;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use libprocess::duration;
use mesos::flags::{Json, Secret};
use mesos::logging::LoggingFlags;
use mesos::values::{ByteSize, DurationValue};

pub use support::UnsupportedFlag;

/// The longest that executors get to re-register.
///
/// Upstream: `MAX_EXECUTOR_REREGISTRATION_TIMEOUT`.
const MAX_EXECUTOR_REREGISTRATION_TIMEOUT: Duration = Duration::from_secs(15);

mesos::flags! {
    /// The flags of the agent.
    pub struct AgentFlags {
        /// Flags of the log.
        pub include logging: LoggingFlags,

        /// IP address to listen on.
        pub ip: Option<Ipv4Addr>,
        /// A command whose output is the IP address to listen on.
        pub ip_discovery_command: Option<String>,
        /// IPv6 address told to containers that share the network of the host.
        pub ip6: Option<String>,
        /// A command whose output is the address of `--ip6`.
        pub ip6_discovery_command: Option<String>,
        /// Port to listen on.
        pub port: u16 = 5051,
        /// IP address told to others, if they reach this agent by another one than that it listens on.
        pub advertise_ip: Option<Ipv4Addr>,
        /// Port told to others, if they reach this agent by another one than that it listens on.
        pub advertise_port: Option<u16>,
        /// The host name to report, if not that of the IP address.
        pub hostname: Option<String>,
        /// Whether to look up the host name of the IP address; if not, the address is reported.
        pub hostname_lookup: bool = true,

        /// Where the master is: `host:port`, `zk://host1:port1,host2:port2,.../path`,
        /// `zk://username:password@host1:port1,.../path`, or `file:///path/to/file` that holds one of these.
        pub master: Option<String>,
        /// A module that detects the master.
        pub master_detector: Option<String>,
        /// Timeout of ZooKeeper sessions.
        pub zk_session_timeout: DurationValue = "10secs",

        /// Folder for sandboxes and for what survives a restart. Must not be on a file system that loses its content
        /// at restart while tasks keep running.
        pub work_dir: PathBuf,
        /// Folder for what must not survive a reboot.
        pub runtime_dir: PathBuf = "/var/run/mesos",
        /// Folder of the helper programs, such as `mesos-executor`; at first that of the running program.
        pub launcher_dir: PathBuf = default_launcher_dir(),

        /// What this agent offers, as `cpus:4;mem:1024;ports(role):[31000-32000]` or JSON; what is not mentioned of cpus,
        /// mem, disk and ports is detected.
        pub resources: Option<String>,
        /// Role of resources that are given without one, and of those detected.
        pub default_role: String = "*" => |role| mesos::roles::validate(role).map_err(|error| error.to_string()),
        /// Attributes of this agent, as `rack:r1;zone:west`.
        pub attributes: Option<String>,
        /// Fault domain of this agent, a `DomainInfo` in JSON.
        pub domain: Option<Json>,
        /// Capabilities of this agent, if not all: `SlaveCapabilities` in JSON.
        pub agent_features: Option<Json>,

        /// What runs containers, a comma-separated list.
        pub containerizers: String = "mesos",
        /// Isolators of the Mesos containerizer, a comma-separated list.
        pub isolation: BTreeSet<String> = "posix/cpu,posix/mem",
        /// What starts the processes of containers.
        pub launcher: String = "posix",
        /// Kinds of images that may be used.
        pub image_providers: Option<String>,
        /// How layers of images become root file systems.
        pub image_provisioner_backend: Option<String>,
        /// When unused images are removed, in JSON.
        pub image_gc_config: Option<Json>,
        /// Prefix of the URI of an appc image.
        pub appc_simple_discovery_uri_prefix: String = "http://",
        /// Folder for appc images.
        pub appc_store_dir: PathBuf = "/tmp/mesos/store/appc",
        /// Where Docker images come from.
        pub docker_registry: String = "https://registry-1.docker.io",
        /// Folder for Docker images.
        pub docker_store_dir: PathBuf = "/tmp/mesos/store/docker",
        /// Folder for what survives a restart about Docker volumes.
        pub docker_volume_checkpoint_dir: PathBuf = "/var/run/mesos/isolators/docker/volume",
        /// Whether mount points of Docker volumes get the owner of the container.
        pub docker_volume_chown: bool = false,
        /// Whether environment, working directory and command of Docker images are ignored.
        pub docker_ignore_runtime: bool = false,
        /// Credentials for Docker registries, in JSON.
        pub docker_config: Option<Secret>,
        /// The Docker program.
        pub docker: String = "docker",
        /// The socket of the Docker daemon.
        pub docker_socket: String = "/var/run/docker.sock",
        /// How long ended Docker containers are kept.
        pub docker_remove_delay: DurationValue = "6hrs",
        /// Whether unknown Docker containers of Mesos are killed at start.
        pub docker_kill_orphans: bool = true,
        /// The image in which Docker executors run.
        pub docker_mesos_image: Option<String>,
        /// How long a Docker container may take to stop.
        pub docker_stop_timeout: DurationValue = "0ns",
        /// Path of the sandbox within images.
        pub sandbox_directory: String = "/mnt/mesos/sandbox",
        /// `ContainerInfo` for executors without one, in JSON.
        pub default_container_info: Option<Json>,
        /// Name servers of container networks, in JSON.
        pub default_container_dns: Option<Json>,
        /// Limit of the fetcher's cache.
        pub fetcher_cache_size: ByteSize = "2GB",
        /// Folder of the fetcher's cache.
        pub fetcher_cache_dir: PathBuf = "/tmp/mesos/fetch",
        /// How long a download may stall.
        pub fetcher_stall_timeout: DurationValue = "1mins",
        /// Folder of the Hadoop installation.
        pub hadoop_home: Option<PathBuf>,
        /// Prefix for relative URIs.
        pub frameworks_home: String = "",
        /// Whether executors and tasks run as the user of the task or framework; if not, as the user of the agent.
        pub switch_user: bool = true,
        /// Group ids for shared volumes.
        pub volume_gid_range: Option<String>,

        /// Interval of heartbeats in HTTP streams.
        pub http_heartbeat_interval: DurationValue = "30secs",
        /// The first attempt to register is made after a random time up to this; further ones take up to twice, four
        /// times, ... as long, up to one minute.
        pub registration_backoff_factor: DurationValue = "1secs",
        /// The same for authentication.
        pub authentication_backoff_factor: DurationValue = "1secs",
        /// The shortest time that the master gets to authenticate.
        pub authentication_timeout_min: DurationValue = "5secs",
        /// The longest time that the master gets to authenticate.
        pub authentication_timeout_max: DurationValue = "1mins",
        /// Environment variables for executors, a JSON object of strings.
        pub executor_environment_variables: Option<Json> => support::only_strings,
        /// How long an executor may take to register.
        pub executor_registration_timeout: DurationValue = "1mins",
        /// How long an executor may take to come back after the agent has been restarted.
        pub executor_reregistration_timeout: DurationValue = "2secs" => at_most_15_seconds,
        /// Interval at which executors are asked to come back after the agent has been restarted.
        pub executor_reregistration_retry_interval: Option<DurationValue>,
        /// How long an executor may take to shut down.
        pub executor_shutdown_grace_period: DurationValue = "5secs",
        /// Whether the command executor uses the HTTP API.
        pub http_command_executor: bool = false,
        /// Whether executors use a domain socket for the HTTP API.
        pub http_executor_domain_sockets: bool = false,
        /// Where that socket is.
        pub domain_socket_location: Option<String>,

        /// How long sandboxes are kept.
        pub gc_delay: DurationValue = "1weeks",
        /// Share of the disk that is kept free by removing sandboxes earlier.
        pub gc_disk_headroom: f64 = 0.1 => share,
        /// Interval at which the disk is looked at.
        pub disk_watch_interval: DurationValue = "1mins",
        /// Whether sandboxes of nested containers are removed too.
        pub gc_non_executor_container_sandboxes: bool = false,
        /// A module that takes the output of containers.
        pub container_logger: Option<String>,

        /// What is done with executors found at start: `reconnect` or `cleanup`.
        pub recover: String = "reconnect" => |value| one_of(value, &["reconnect", "cleanup"]),
        /// How long executors wait for a restarted agent.
        pub recovery_timeout: DurationValue = "15mins",
        /// Whether errors in what survived a restart are fatal.
        pub strict: bool = true,
        /// Which changes of this agent's configuration are allowed at restart: `equal` or `additive`.
        pub reconfiguration_policy: String = "equal" => |value| one_of(value, &["equal", "additive"]),
        /// How many ended executors of a framework are remembered.
        pub max_completed_executors_per_framework: usize = 150,

        /// Mount point of the cgroups hierarchies.
        pub cgroups_hierarchy: PathBuf = "/sys/fs/cgroup",
        /// Name of the root cgroup.
        pub cgroups_root: String = "mesos",
        /// Whether the cpus of a container are a hard limit.
        pub cgroups_enable_cfs: bool = false,
        /// Whether the limit of memory holds for swap too.
        pub cgroups_limit_swap: bool = false,
        /// Whether processes and threads of containers are counted.
        pub cgroups_cpu_enable_pids_and_tids_count: bool = false,
        /// Primary handle of the net_cls subsystem.
        pub cgroups_net_cls_primary_handle: Option<String>,
        /// Secondary handles of the net_cls subsystem.
        pub cgroups_net_cls_secondary_handles: Option<String>,
        /// How long the removal of a cgroup may take.
        pub cgroups_destroy_timeout: DurationValue = "1mins",
        /// Devices that containers may use in addition, in JSON.
        pub allowed_devices: Option<Json>,
        /// cgroup subsystems for the agent itself.
        pub agent_subsystems (slave_subsystems): Option<String>,
        /// Folders in which host paths of volumes may be created.
        pub host_path_volume_force_creation: Option<String>,
        /// Nvidia GPUs of this agent.
        pub nvidia_gpu_devices: Option<String>,
        /// Events that perf samples.
        pub perf_events: Option<String>,
        /// Interval at which perf samples.
        pub perf_interval: DurationValue = "1mins",
        /// How long perf samples.
        pub perf_duration: DurationValue = "10secs",
        /// Whether revocable cpus have low priority.
        pub revocable_cpu_low_priority: bool = true,
        /// Whether systemd is used to keep executors alive when the agent is restarted; needs the `linux` launcher.
        pub systemd_enable_support: bool = true,
        /// Folder of systemd's own state.
        pub systemd_runtime_directory: PathBuf = "/run/systemd/system",
        /// Capabilities of tasks that ask for none, in JSON.
        pub effective_capabilities (allowed_capabilities): Option<Json>,
        /// Capabilities that tasks may get at most, in JSON.
        pub bounding_capabilities: Option<Json>,
        /// Size of `/dev/shm` of containers.
        pub default_container_shm_size: Option<ByteSize>,
        /// Whether containers may not share the agent's IPC namespace.
        pub disallow_sharing_agent_ipc_namespace: bool = false,
        /// Whether containers may not share the agent's PID namespace.
        pub disallow_sharing_agent_pid_namespace: bool = false,

        /// Endpoints that are disabled, in JSON.
        pub firewall_rules: Option<Json>,
        /// The agent's credential for the master, in JSON.
        pub credential: Option<Secret>,
        /// Credentials of HTTP clients, in JSON.
        pub http_credentials: Option<Secret>,
        /// Who may do what, in JSON.
        pub acls: Option<Json>,
        /// Who decides who may do what.
        pub authorizer: String = "local",
        /// How the agent authenticates to the master.
        pub authenticatee: String = "crammd5",
        /// How HTTP clients authenticate.
        pub http_authenticators: Option<String>,
        /// Whether HTTP clients must authenticate to read.
        pub authenticate_http_readonly: bool = false,
        /// Whether HTTP clients must authenticate to change something.
        pub authenticate_http_readwrite: bool = false,
        /// Whether HTTP executors must authenticate.
        pub authenticate_http_executors: bool = false,
        /// The key that signs the tokens of executors.
        pub jwt_secret_key (executor_secret_key): Option<Secret>,
        /// Modules to load, in JSON.
        pub modules: Option<Json>,
        /// Folder of files that say which modules to load.
        pub modules_dir: Option<PathBuf>,
        /// Hook modules.
        pub hooks: Option<String>,
        /// Module that resolves secrets.
        pub secret_resolver: Option<String>,
        /// Module that estimates what may be oversubscribed.
        pub resource_estimator: Option<String>,
        /// Interval at which what may be oversubscribed is told to the master.
        pub oversubscribed_resources_interval: DurationValue = "15secs",
        /// Module that guards the quality of service.
        pub qos_controller: Option<String>,
        /// The shortest interval between two corrections of the quality of service.
        pub qos_correction_interval_min: DurationValue = "0ns",
        /// Folder of the configurations of resource providers.
        pub resource_provider_config_dir: Option<PathBuf>,
        /// Folder of the configurations of CSI plugins.
        pub csi_plugin_config_dir: Option<PathBuf>,
        /// Module that knows about profiles of disks.
        pub disk_profile_adaptor: Option<String>,

        /// Folders of CNI plugins.
        pub network_cni_plugins_dir: Option<String>,
        /// Folder of the configurations of CNI networks.
        pub network_cni_config_dir: Option<PathBuf>,
        /// Whether what is known of CNI networks survives a reboot.
        pub network_cni_root_dir_persist: bool = false,
        /// Whether CNI networks are measured.
        pub network_cni_metrics: bool = true,
        /// Interval at which the disk usage of containers is looked at.
        pub container_disk_watch_interval: DurationValue = "15secs",
        /// Whether containers that use too much disk are killed.
        pub enforce_container_disk_quota: bool = false,
        /// Interval at which the ports of containers are looked at.
        pub container_ports_watch_interval: Option<DurationValue>,
        /// Whether only ports of the agent's resources are looked at.
        pub check_agent_port_range_only: Option<bool>,
        /// Whether containers that use ports of others are killed.
        pub enforce_container_ports: Option<bool>,
        /// Ports that are looked at.
        pub container_ports_isolated_range: Option<String>,
        /// Project ids of XFS.
        pub xfs_project_range: Option<String>,
        /// Whether containers over their XFS quota are killed.
        pub xfs_kill_containers: Option<bool>,
        /// How far a container may exceed its XFS quota before it is killed.
        pub xfs_quota_headroom: Option<ByteSize>,
        /// Folder of seccomp profiles.
        pub seccomp_config_dir: Option<PathBuf>,
        /// Seccomp profile of containers that ask for none.
        pub seccomp_profile_name: Option<String>,
        /// Whether memory profiling is possible.
        pub memory_profiling: bool = false,

        /// Ephemeral ports of each container.
        pub ephemeral_ports_per_container: Option<u16>,
        /// Name of the public network interface.
        pub eth0_name: Option<String>,
        /// Name of the loopback network interface.
        pub lo_name: Option<String>,
        /// Limit of what each container sends.
        pub egress_rate_limit_per_container: Option<ByteSize>,
        /// Whether each container has its own flow.
        pub egress_unique_flow_per_container: Option<bool>,
        /// Where flows are classified.
        pub egress_flow_classifier_parent: Option<String>,
        /// Limit of what each container receives.
        pub ingress_rate_limit_per_container: Option<ByteSize>,
        /// Whether a summary of socket statistics is taken.
        pub network_enable_socket_statistics_summary: Option<bool>,
        /// Whether details of socket statistics are taken.
        pub network_enable_socket_statistics_details: Option<bool>,
        /// Whether SNMP statistics are taken.
        pub network_enable_snmp_statistics: Option<bool>,
    }
}

/// The folder of the running program.
fn default_launcher_dir() -> String {
    std::env::current_exe()
        .ok()
        .and_then(|path| path.canonicalize().ok())
        .and_then(|path| path.parent().map(|folder| folder.display().to_string()))
        .unwrap_or_else(|| "/usr/local/libexec/mesos".to_owned())
}

fn at_most_15_seconds(timeout: &DurationValue) -> Result<(), String> {
    if timeout.get() > MAX_EXECUTOR_REREGISTRATION_TIMEOUT {
        let limit = duration::to_string(MAX_EXECUTOR_REREGISTRATION_TIMEOUT);
        return Err(format!("is too long (allowed: up to {limit})"));
    }
    Ok(())
}

fn share(value: &f64) -> Result<(), String> {
    if (0.0..=1.0).contains(value) {
        Ok(())
    } else {
        Err("is not a share (allowed: 0 to 1)".to_owned())
    }
}

fn one_of(value: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&value) {
        Ok(())
    } else {
        Err(format!("is not known (allowed: {})", allowed.join(", ")))
    }
}
