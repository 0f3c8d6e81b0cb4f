//! Which flags work already.

use mesos::flags::{FlagSpec, Flags, Json};
use thiserror::Error;

use super::AgentFlags;

/// A flag was given that this agent cannot honour.
///
/// It refuses to start instead of running without what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("--{flag}={value}: not supported by this agent ({allowed})")]
pub struct UnsupportedFlag {
    flag: &'static str,
    value: String,
    allowed: String,
}

/// Flags that must keep their default, or stay unset.
const UNSUPPORTED: &[&str] = &[
    "ip6",
    "ip6_discovery_command",
    "master_detector",
    "agent_features",
    "image_providers",
    "image_provisioner_backend",
    "image_gc_config",
    "appc_simple_discovery_uri_prefix",
    "appc_store_dir",
    "docker_registry",
    "docker_store_dir",
    "docker_volume_checkpoint_dir",
    "docker_volume_chown",
    "docker_ignore_runtime",
    "docker_config",
    "docker",
    "docker_socket",
    "docker_remove_delay",
    "docker_kill_orphans",
    "docker_mesos_image",
    "docker_stop_timeout",
    "default_container_info",
    "default_container_dns",
    "fetcher_cache_size",
    "fetcher_cache_dir",
    "fetcher_stall_timeout",
    "hadoop_home",
    "frameworks_home",
    "volume_gid_range",
    "http_heartbeat_interval",
    "authentication_backoff_factor",
    "authentication_timeout_min",
    "authentication_timeout_max",
    "executor_reregistration_timeout",
    "executor_reregistration_retry_interval",
    "http_command_executor",
    "http_executor_domain_sockets",
    "domain_socket_location",
    "gc_delay",
    "gc_disk_headroom",
    "disk_watch_interval",
    "gc_non_executor_container_sandboxes",
    "container_logger",
    "recover",
    "recovery_timeout",
    "strict",
    "reconfiguration_policy",
    "cgroups_hierarchy",
    "cgroups_root",
    "cgroups_enable_cfs",
    "cgroups_limit_swap",
    "cgroups_cpu_enable_pids_and_tids_count",
    "cgroups_net_cls_primary_handle",
    "cgroups_net_cls_secondary_handles",
    "cgroups_destroy_timeout",
    "allowed_devices",
    "agent_subsystems",
    "host_path_volume_force_creation",
    "nvidia_gpu_devices",
    "perf_events",
    "perf_interval",
    "perf_duration",
    "revocable_cpu_low_priority",
    "effective_capabilities",
    "bounding_capabilities",
    "default_container_shm_size",
    "disallow_sharing_agent_ipc_namespace",
    "disallow_sharing_agent_pid_namespace",
    "firewall_rules",
    "credential",
    "http_credentials",
    "acls",
    "authorizer",
    "authenticatee",
    "http_authenticators",
    "authenticate_http_readonly",
    "authenticate_http_readwrite",
    "authenticate_http_executors",
    "jwt_secret_key",
    "modules",
    "modules_dir",
    "hooks",
    "secret_resolver",
    "resource_estimator",
    "oversubscribed_resources_interval",
    "qos_controller",
    "qos_correction_interval_min",
    "resource_provider_config_dir",
    "csi_plugin_config_dir",
    "disk_profile_adaptor",
    "network_cni_plugins_dir",
    "network_cni_config_dir",
    "network_cni_root_dir_persist",
    "network_cni_metrics",
    "container_disk_watch_interval",
    "enforce_container_disk_quota",
    "container_ports_watch_interval",
    "check_agent_port_range_only",
    "enforce_container_ports",
    "container_ports_isolated_range",
    "xfs_project_range",
    "xfs_kill_containers",
    "xfs_quota_headroom",
    "seccomp_config_dir",
    "seccomp_profile_name",
    "ephemeral_ports_per_container",
    "eth0_name",
    "lo_name",
    "egress_rate_limit_per_container",
    "egress_unique_flow_per_container",
    "egress_flow_classifier_parent",
    "ingress_rate_limit_per_container",
    "network_enable_socket_statistics_summary",
    "network_enable_socket_statistics_details",
    "network_enable_snmp_statistics",
];

/// Flags of which only some values are possible.
const CHOICES: &[(&str, &[&str])] = &[("containerizers", &["mesos"]), ("launcher", &["posix"])];

/// The isolators that there are.
const ISOLATORS: &[&str] = &[
    "posix/cpu",
    "posix/mem",
    "posix/rlimits",
    "filesystem/posix",
    "process",
];

impl AgentFlags {
    /// Refuses every value that would otherwise be silently ignored; answers the first one, by name.
    pub fn check_supported(&self) -> Result<(), UnsupportedFlag> {
        let mut specs: Vec<FlagSpec> = Vec::new();
        AgentFlags::specs(&mut specs);
        for (name, value) in self.entries() {
            let default = specs
                .iter()
                .find(|spec| spec.name == name)
                .and_then(|spec| spec.default.as_deref());
            if UNSUPPORTED.contains(&name) && default != Some(value.as_str()) {
                let allowed = match default {
                    Some(default) => format!("allowed: its default, '{default}'"),
                    None => "leave it out".to_owned(),
                };
                return Err(UnsupportedFlag {
                    flag: name,
                    value,
                    allowed,
                });
            }
            let choices = CHOICES.iter().find(|(flag, _)| *flag == name);
            if let Some((_, choices)) = choices
                && !choices.contains(&value.as_str())
            {
                let allowed = format!("allowed: {}", choices.join(", "));
                return Err(UnsupportedFlag {
                    flag: name,
                    value,
                    allowed,
                });
            }
        }
        self.check_isolation()
    }

    fn check_isolation(&self) -> Result<(), UnsupportedFlag> {
        match self
            .isolation
            .iter()
            .find(|isolator| !ISOLATORS.contains(&isolator.as_str()))
        {
            None => Ok(()),
            Some(isolator) => Err(UnsupportedFlag {
                flag: "isolation",
                value: isolator.clone(),
                allowed: format!("allowed: {}", ISOLATORS.join(", ")),
            }),
        }
    }
}

/// Whether a JSON value is an object of strings.
pub(super) fn only_strings(value: &Option<Json>) -> Result<(), String> {
    let Some(Json(value)) = value else {
        return Ok(());
    };
    let fits = value
        .as_object()
        .is_some_and(|object| object.values().all(serde_json::Value::is_string));
    if fits {
        Ok(())
    } else {
        Err("is not what is needed (allowed: a JSON object whose values are strings)".to_owned())
    }
}
