//! The flags of the master. Upstream: `src/master/flags.cpp`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use mesos::logging::LoggingFlags;
use mesos::roles;
use mesos::values::{ByteSize, DurationValue};

use crate::allocator::policy;
use crate::constants::MIN_AGENT_REREGISTER_TIMEOUT;
use crate::core::MasterConfig;

mesos::flags! {
    /// Flags of the master.
    pub struct MasterFlags {
        /// Where and how much to log.
        pub include logging: LoggingFlags,

        /// ACLs for authorization, as JSON or in a file.
        pub acls: Option<String>,
        /// IP address that is told to others, if it is not the one listened on.
        pub advertise_ip: Option<Ipv4Addr>,
        /// Port that is told to others, if it is not the one listened on.
        pub advertise_port: Option<u16>,
        /// How long an agent may take to answer a ping. See `max_agent_ping_timeouts`.
        pub agent_ping_timeout (slave_ping_timeout): DurationValue = "15secs" => ping_timeout,
        /// At most how many agents may become unreachable in which time, as `1/10mins`.
        pub agent_removal_rate_limit (slave_removal_rate_limit): Option<String> => removal_rate,
        /// How long agents have to re-register after a failover of the master or a lost connection.
        pub agent_reregister_timeout (slave_reregister_timeout): DurationValue = "10mins" => reregister_timeout,
        /// Time between batch allocations.
        pub allocation_interval: DurationValue = "1secs",
        /// Allocator to use: `hierarchical`.
        pub allocator: String = "hierarchical",
        /// Share of the agents to wait for after a failover when there is quota.
        pub allocator_agent_recovery_factor: f64 = "0.8",
        /// Longest time to wait for agents after a failover when there is quota.
        pub allocator_recovery_timeout: DurationValue = "10mins",
        /// Whether agents must authenticate.
        pub authenticate_agents (authenticate_slaves): bool = false,
        /// Whether v0 frameworks must authenticate.
        pub authenticate_frameworks (authenticate): bool = false,
        /// Whether v1 frameworks must authenticate.
        pub authenticate_http_frameworks: bool = false,
        /// Whether reading endpoints need authentication.
        pub authenticate_http_readonly: bool = false,
        /// Whether changing endpoints need authentication.
        pub authenticate_http_readwrite (authenticate_http): bool = false,
        /// How long authentication of a v0 client may take.
        pub authentication_v0_timeout: DurationValue = "15secs",
        /// Authenticator of v0 clients.
        pub authenticators: String = "crammd5",
        /// Authorizer.
        pub authorizers: String = "local",
        /// Name of the cluster, for display.
        pub cluster: Option<String>,
        /// File with the credentials of clients.
        pub credentials: Option<PathBuf>,
        /// Fault domain of the master, as JSON.
        pub domain: Option<String>,
        /// Resource names that fair sharing ignores, separated by commas.
        pub fair_sharing_excluded_resource_names: Option<String>,
        /// Whether agents with GPUs are only offered to frameworks that want GPUs.
        pub filter_gpu_resources: bool = true,
        /// Endpoints to disable, as JSON.
        pub firewall_rules: Option<String>,
        /// How frameworks of a role are ordered: `drf`, `random`, `fifo` or `drc`. With `drf` or
        /// `random`, `role_sorter` must not be the other one of the two.
        pub framework_sorter: String = "drf" => sorter,
        /// Hook modules.
        pub hooks: Option<String>,
        /// Name that is told to others instead of the one of the address.
        pub hostname: Option<String>,
        /// Whether the host name is looked up; if not it is the address.
        pub hostname_lookup: bool = true,
        /// Authenticators of the endpoints.
        pub http_authenticators: String = "basic",
        /// Authenticators of the scheduler API.
        pub http_framework_authenticators: Option<String>,
        /// IP address to listen on.
        pub ip: Option<Ipv4Addr>,
        /// Command that prints the IP address to listen on.
        pub ip_discovery_command: Option<String>,
        /// Whether an empty replicated log is initialised.
        pub log_auto_initialize: bool = true,
        /// Contender module.
        pub master_contender: Option<String>,
        /// Detector module.
        pub master_detector: Option<String>,
        /// How many pings in a row an agent may miss before it is unreachable.
        pub max_agent_ping_timeouts (max_slave_ping_timeouts): u32 = 5 => at_least_one,
        /// How many ended frameworks are remembered.
        pub max_completed_frameworks: usize = 50,
        /// How many ended tasks are remembered for each framework.
        pub max_completed_tasks_per_framework: usize = 1000,
        /// How many operators may subscribe to events; one more ends the oldest subscription.
        pub max_operator_event_stream_subscribers: usize = 1000,
        /// How many tasks of unreachable agents are remembered for each framework.
        pub max_unreachable_tasks_per_framework: usize = 1000,
        /// Whether memory profiling is available.
        pub memory_profiling: bool = false,
        /// The least that is worth an offer: alternatives separated by `|`, of resources separated by `;`.
        pub min_allocatable_resources: String = "cpus:0.01|mem:32",
        /// Modules to load, as JSON or in a file.
        pub modules: Option<String>,
        /// Folder of module manifests.
        pub modules_dir: Option<PathBuf>,
        /// Memory that one regular expression in offer constraints may need.
        pub offer_constraints_re2_max_mem: ByteSize = "4096B",
        /// Largest regular expression in offer constraints, in instructions.
        pub offer_constraints_re2_max_program_size: i32 = 100,
        /// How long offers may stay unanswered before they are rescinded; without it, for ever.
        pub offer_timeout: Option<DurationValue> => positive,
        /// Port to listen on.
        pub port: u16 = 5050,
        /// Whether each framework has metrics of its own.
        pub publish_per_framework_metrics: bool = true,
        /// How many masters must store the registry; for the replicated log.
        pub quorum: Option<u64>,
        /// Rate limits of frameworks, as JSON or in a file.
        pub rate_limits: Option<String>,
        /// How many of the agents may be missing `agent_reregister_timeout` after a failover, as a percentage;
        /// with more the master ends, for an operator to look.
        pub recovery_agent_removal_limit (recovery_slave_removal_limit): String = "100%" => percentage,
        /// Where the registry is kept: `in_memory`, lost when the master ends.
        pub registry: String = "in_memory" => known_registry,
        /// How long reading the registry may take.
        pub registry_fetch_timeout: DurationValue = "1mins",
        /// How often the registry forgets old agents.
        pub registry_gc_interval: DurationValue = "15mins",
        /// How long the registry remembers unreachable and gone agents.
        pub registry_max_agent_age: DurationValue = "2weeks",
        /// How many unreachable and gone agents the registry remembers, of each.
        pub registry_max_agent_count: usize = 102_400,
        /// How long writing the registry may take.
        pub registry_store_timeout: DurationValue = "20secs",
        /// No longer supported.
        pub registry_strict: bool = false => never,
        /// Whether agents without fault domain are refused.
        pub require_agent_domain: bool = false,
        /// How roles are ordered: `drf` (smallest dominant share first), `random`, `fifo` (first
        /// registered first) or `drc` (largest dominant demand first).
        pub role_sorter (user_sorter): String = "drf" => sorter,
        /// The roles that frameworks may use, separated by commas; without it, any.
        pub roles: Option<String> => role_list,
        /// Whether frameworks may run tasks as root.
        pub root_submissions: bool = true,
        /// Folder of the files of the web UI.
        pub webui_dir: PathBuf = "/usr/local/share/mesos/webui",
        /// Weights of roles, as `role=weight,role=weight`.
        pub weights: Option<String> => weight_list,
        /// File with the host names of agents that may be offered, one a line.
        pub whitelist: Option<PathBuf>,
        /// Folder for what the master keeps on disk.
        pub work_dir: Option<PathBuf>,
        /// ZooKeeper URL by which masters elect their leader, as `zk://host1:port1,host2:port2/path`, or a file
        /// that holds it.
        pub zk: Option<String>,
        /// Session timeout of ZooKeeper.
        pub zk_session_timeout: DurationValue = "10secs",
    }
}

/// A flag that asks for what this release does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Flag '{name}': '{value}' is not supported in this release (allowed: {allowed})")]
pub struct Unsupported {
    /// The flag.
    pub name: &'static str,
    /// What was asked for.
    pub value: String,
    /// What may be asked for.
    pub allowed: &'static str,
}

impl MasterFlags {
    /// Refuses flags whose features do not exist yet, rather than ignoring them.
    ///
    /// # Errors
    /// The first such flag.
    pub fn check_supported(&self) -> Result<(), Unsupported> {
        self.check_switches()?;
        self.check_absent()?;
        let hierarchical = matches!(self.allocator.as_str(), "hierarchical" | "HierarchicalDRF");
        let fixed = [
            (
                "authenticators",
                &self.authenticators,
                self.authenticators == "crammd5",
                "crammd5",
            ),
            (
                "authorizers",
                &self.authorizers,
                self.authorizers == "local",
                "local",
            ),
            (
                "http_authenticators",
                &self.http_authenticators,
                self.http_authenticators == "basic",
                "basic",
            ),
            ("allocator", &self.allocator, hierarchical, "hierarchical"),
            (
                "framework_sorter",
                &self.framework_sorter,
                !self.sorters_differ(),
                "the same as role_sorter, as in Mesos, if that is drf or random",
            ),
        ];
        match fixed.into_iter().find(|(_, _, supported, _)| !supported) {
            Some((name, value, _, allowed)) => refuse(name, value.clone(), allowed),
            None => Ok(()),
        }
    }

    /// Whether one of the sorters of Mesos is combined with the other one.
    fn sorters_differ(&self) -> bool {
        let of_mesos = |name: &str| matches!(name, "drf" | "random");
        of_mesos(&self.role_sorter)
            && of_mesos(&self.framework_sorter)
            && self.role_sorter != self.framework_sorter
    }

    fn check_switches(&self) -> Result<(), Unsupported> {
        let switches = [
            ("authenticate_agents", self.authenticate_agents),
            ("authenticate_frameworks", self.authenticate_frameworks),
            (
                "authenticate_http_frameworks",
                self.authenticate_http_frameworks,
            ),
            (
                "authenticate_http_readonly",
                self.authenticate_http_readonly,
            ),
            (
                "authenticate_http_readwrite",
                self.authenticate_http_readwrite,
            ),
        ];
        match switches.into_iter().find(|(_, on)| *on) {
            Some((name, _)) => refuse(name, "true".to_owned(), "false"),
            None => Ok(()),
        }
    }

    fn check_absent(&self) -> Result<(), Unsupported> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let absent = [
            ("acls", self.acls.clone()),
            ("credentials", path(&self.credentials)),
            ("firewall_rules", self.firewall_rules.clone()),
            ("hooks", self.hooks.clone()),
            (
                "http_framework_authenticators",
                self.http_framework_authenticators.clone(),
            ),
            ("ip_discovery_command", self.ip_discovery_command.clone()),
            ("master_contender", self.master_contender.clone()),
            ("master_detector", self.master_detector.clone()),
            ("modules", self.modules.clone()),
            ("modules_dir", path(&self.modules_dir)),
            ("rate_limits", self.rate_limits.clone()),
            ("whitelist", path(&self.whitelist)),
        ];
        let set = absent
            .into_iter()
            .find_map(|(name, value)| value.map(|value| (name, value)));
        match set {
            Some((name, value)) => refuse(name, value, "not to be set"),
            None => Ok(()),
        }
    }

    /// The settings of the core.
    #[must_use]
    pub fn master_config(&self) -> MasterConfig {
        MasterConfig {
            agent_ping_timeout: self.agent_ping_timeout.get(),
            max_agent_ping_timeouts: self.max_agent_ping_timeouts,
            agent_reregister_timeout: self.agent_reregister_timeout.get(),
            agent_removal_interval: self
                .agent_removal_rate_limit
                .as_deref()
                .and_then(|limit| parse_rate(limit).ok()),
            recovery_agent_removal_limit: parse_percentage(&self.recovery_agent_removal_limit)
                .unwrap_or(1.0),
            offer_timeout: self.offer_timeout.as_ref().map(|timeout| timeout.get()),
            max_completed_frameworks: self.max_completed_frameworks,
            max_completed_tasks_per_framework: self.max_completed_tasks_per_framework,
            max_unreachable_tasks_per_framework: self.max_unreachable_tasks_per_framework,
            role_whitelist: self
                .roles
                .as_deref()
                .and_then(|roles| roles::parse(roles).ok())
                .map(|roles| roles.into_iter().collect::<BTreeSet<_>>()),
            weights: self
                .weights
                .as_deref()
                .and_then(|weights| parse_weights(weights).ok())
                .unwrap_or_default(),
            root_submissions: self.root_submissions,
            require_agent_domain: self.require_agent_domain,
            registry_gc_interval: self.registry_gc_interval.get(),
            registry_max_agent_age: self.registry_max_agent_age.get(),
            registry_max_agent_count: self.registry_max_agent_count,
        }
    }
}

fn refuse(name: &'static str, value: String, allowed: &'static str) -> Result<(), Unsupported> {
    Err(Unsupported {
        name,
        value,
        allowed,
    })
}

fn ping_timeout(timeout: &DurationValue) -> Result<(), String> {
    let allowed = Duration::from_secs(1)..=Duration::from_secs(15 * 60);
    if allowed.contains(&timeout.get()) {
        Ok(())
    } else {
        Err("it must be 1secs to 15mins".to_owned())
    }
}

fn reregister_timeout(timeout: &DurationValue) -> Result<(), String> {
    if timeout.get() >= MIN_AGENT_REREGISTER_TIMEOUT {
        Ok(())
    } else {
        Err("it must be 10mins or more".to_owned())
    }
}

fn positive(timeout: &Option<DurationValue>) -> Result<(), String> {
    if timeout
        .as_ref()
        .is_some_and(|timeout| timeout.get().is_zero())
    {
        Err("it must be more than 0".to_owned())
    } else {
        Ok(())
    }
}

fn at_least_one(count: &u32) -> Result<(), String> {
    if *count >= 1 {
        Ok(())
    } else {
        Err("it must be 1 or more".to_owned())
    }
}

#[expect(clippy::ptr_arg, reason = "validators get the type of the flag")]
fn sorter(name: &String) -> Result<(), String> {
    policy(name).map(|_| ()).map_err(|error| error.to_string())
}

#[expect(clippy::ptr_arg, reason = "validators get the type of the flag")]
fn known_registry(name: &String) -> Result<(), String> {
    match name.as_str() {
        "in_memory" => Ok(()),
        "replicated_log" | "log_storage" => Err("this release only has in_memory".to_owned()),
        _ => Err("it must be in_memory".to_owned()),
    }
}

fn never(on: &bool) -> Result<(), String> {
    if *on {
        Err("it is no longer supported".to_owned())
    } else {
        Ok(())
    }
}

fn role_list(list: &Option<String>) -> Result<(), String> {
    match list.as_deref().map(roles::parse) {
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(_)) | None => Ok(()),
    }
}

fn weight_list(list: &Option<String>) -> Result<(), String> {
    list.as_deref()
        .map_or(Ok(()), |list| parse_weights(list).map(|_| ()))
}

/// The weights in `role=weight,role=weight`.
///
/// # Errors
/// The first part that is not a role and a number above 0.
pub fn parse_weights(text: &str) -> Result<BTreeMap<String, f64>, String> {
    text.split(',')
        .filter(|part| !part.trim().is_empty())
        .map(|part| {
            let wrong = || format!("'{part}' must be role=weight with a weight above 0");
            let (role, weight) = part.split_once('=').ok_or_else(wrong)?;
            let weight: f64 = weight.trim().parse().map_err(|_| wrong())?;
            roles::validate(role.trim()).map_err(|error| error.to_string())?;
            if weight.is_finite() && weight > 0.0 {
                Ok((role.trim().to_owned(), weight))
            } else {
                Err(wrong())
            }
        })
        .collect()
}

fn removal_rate(limit: &Option<String>) -> Result<(), String> {
    limit
        .as_deref()
        .map_or(Ok(()), |limit| parse_rate(limit).map(|_| ()))
}

/// The least time between two permits of a rate such as `1/10mins`.
fn parse_rate(text: &str) -> Result<Duration, String> {
    let wrong = || "it must be a rate such as 1/10mins or 2/3hrs".to_owned();
    let (permits, duration) = text.split_once('/').ok_or_else(wrong)?;
    let permits: u32 = permits.parse().map_err(|_| wrong())?;
    let duration: DurationValue = duration.parse().map_err(|_| wrong())?;
    duration.get().checked_div(permits).ok_or_else(wrong)
}

#[expect(clippy::ptr_arg, reason = "validators get the type of the flag")]
fn percentage(text: &String) -> Result<(), String> {
    parse_percentage(text).map(|_| ())
}

/// The share, 0 to 1, that `80%` names.
fn parse_percentage(text: &str) -> Result<f64, String> {
    text.strip_suffix('%')
        .and_then(|number| number.parse::<f64>().ok())
        .filter(|number| (0.0..=100.0).contains(number))
        .map(|number| number / 100.0)
        .ok_or_else(|| "it must be 0% to 100%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos::flags::Flags;

    #[test]
    fn defaults_are_supported() {
        let flags = MasterFlags::from_args::<&str>([]).unwrap();
        flags.check_supported().unwrap();
        let config = flags.master_config();
        assert_eq!(config.agent_ping_timeout, Duration::from_secs(15));
        assert_eq!(config.recovery_agent_removal_limit, 1.0);
        assert_eq!(config.agent_removal_interval, None);
    }

    #[test]
    fn flags_that_do_not_parse_name_themselves() {
        let check = |flag: &str, value: &str| {
            let error = MasterFlags::from_args([flag]).unwrap_err().to_string();
            let name = flag.trim_start_matches("--").split('=').next().unwrap();
            assert!(error.contains(name), "{error}");
            assert!(error.contains(value), "{error}");
            assert!(!error.contains('\n'), "{error}");
        };
        check("--agent_ping_timeout=0secs", "1secs to 15mins");
        check("--agent_ping_timeout=1hrs", "1hrs");
        check("--slave_ping_timeout=soon", "soon");
        check("--agent_reregister_timeout=1mins", "10mins");
        check("--agent_removal_rate_limit=often", "often");
        check("--agent_removal_rate_limit=0/1secs", "0/1secs");
        check("--recovery_agent_removal_limit=120%", "120%");
        check("--recovery_agent_removal_limit=half", "half");
        check("--max_agent_ping_timeouts=0", "1 or more");
        check("--role_sorter=fair", "drf, random, fifo, drc");
        check("--registry=replicated_log", "in_memory");
        check("--registry=paper", "in_memory");
        check("--registry_strict=true", "true");
        check("--roles=a//b", "a//b");
        check("--offer_timeout=0secs", "more than 0");
        check("--weights=web", "web");
        check("--weights=web=0", "above 0");
        check("--port=http", "http");
    }

    #[test]
    fn unsupported_flags_are_refused() {
        let check = |flag: &str, name: &str| {
            let flags = MasterFlags::from_args([flag]).unwrap();
            let error = flags.check_supported().unwrap_err();
            assert_eq!(error.name, name);
        };
        check("--acls={}", "acls");
        check("--authenticate_agents", "authenticate_agents");
        check("--authenticate", "authenticate_frameworks");
        check("--credentials=/etc/credentials", "credentials");
        check("--modules={}", "modules");
        check("--authorizers=other", "authorizers");
        check("--framework_sorter=random", "framework_sorter");
        check("--whitelist=/etc/whitelist", "whitelist");
    }

    #[test]
    fn sorters_that_go_together() {
        for (roles, frameworks, allowed) in [
            ("drf", "drf", true),
            ("random", "random", true),
            ("random", "drf", false),
            ("drf", "random", false),
            ("fifo", "drf", true),
            ("random", "drc", true),
        ] {
            let flags = [
                format!("--role_sorter={roles}"),
                format!("--framework_sorter={frameworks}"),
            ];
            let supported = MasterFlags::from_args(flags).unwrap().check_supported();
            assert_eq!(supported.is_ok(), allowed, "{roles} and {frameworks}");
        }
    }

    #[test]
    fn rates_and_percentages() {
        assert_eq!(parse_rate("1/10mins"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_rate("2/1secs"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_percentage("25%"), Ok(0.25));
        assert_eq!(parse_percentage("0%"), Ok(0.0));
        let weights = parse_weights("web=2.5, db=1").unwrap();
        assert_eq!(weights["web"], 2.5);
        assert_eq!(weights["db"], 1.0);
    }
}
