//! How a runtime is set up.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;
use std::{fmt, io};

use crate::metrics::Rate;
use crate::network::{TcpTransport, TlsConfig, Transport};
use crate::{Clock, FirewallRule, Threads};

/// Request line and headers may be this long, as upstream.
const DEFAULT_MAX_HEAD_BYTES: usize = 80 * 1024;
/// Upstream has no bound; a request of this size is not what the system is made for.
const DEFAULT_MAX_BODY_BYTES: usize = 1024 * 1024 * 1024;
/// Bytes that may wait for one destination.
const DEFAULT_MAX_QUEUE_BYTES: usize = 256 * 1024 * 1024;
/// Connections at one time.
const DEFAULT_MAX_CONNECTIONS: usize = 100_000;
/// A request that has begun must make progress within this time.
const DEFAULT_HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Threads at least and at most if nothing is said.
const DEFAULT_WORKERS: (usize, usize) = (4, 16);
/// Threads at most.
const MAX_WORKERS: usize = 1024;

/// Snapshots of metrics, as upstream.
const DEFAULT_SNAPSHOT_RATE: Rate = Rate {
    requests: 2,
    per: Duration::from_secs(1),
};
/// A gauge that takes longer is stuck; upstream waits for ever.
const DEFAULT_GAUGE_TIMEOUT: Duration = Duration::from_secs(30);
/// More than this is more than a Prometheus server should be given by one target.
const DEFAULT_MAX_SERIES: usize = 250_000;

/// Settings of a [`Runtime`](crate::Runtime).
#[derive(Clone)]
pub struct RuntimeConfig {
    /// The address to listen on; default `0.0.0.0`. Peers of Mesos itself know IPv4 only.
    pub ip: IpAddr,
    /// The port to listen on; default 0, which is any free port.
    pub port: u16,
    /// The IP in the addresses of the actors, if it is not the one listened on.
    pub advertise_ip: Option<IpAddr>,
    /// The port in the addresses of the actors, if it is not the one listened on.
    pub advertise_port: Option<u16>,
    /// An IPv6 address of this host that containers may be told; never listened on.
    pub ip6: Option<Ipv6Addr>,
    /// Threads, at least 1. With one, network and actors share it; else a quarter of them, at least one, is for the network and
    /// the rest for actors. All that is sent to one address is sent by one thread. Default: the number of CPUs, between 4 and 16.
    pub workers: usize,
    /// Whether these threads are its own, which is the default.
    pub threads: Threads,
    /// The actor that gets requests for paths that name no actor: `master`, or `slave(1)`.
    pub delegate: Option<String>,
    /// Time; default a new [`Clock::system`]. Several runtimes may share one.
    pub clock: Clock,
    /// The largest accepted request line with headers, in bytes.
    pub max_head_bytes: usize,
    /// The largest accepted request body, in bytes, before and after decompression.
    pub max_body_bytes: usize,
    /// When this many bytes wait for one destination, or are being sent to it, further messages to it are dropped.
    pub max_queue_bytes: usize,
    /// Further connections are closed at once.
    pub max_connections: usize,
    /// How long a request may take to arrive: from its first byte to the end of its head, and between portions of its body. Also
    /// how long a TLS handshake may take.
    pub header_timeout: Duration,
    /// If true, messages whose sender claims another IP than that of their connection are refused.
    pub require_peer_address_ip_match: bool,
    /// TLS for all connections; default none.
    pub tls: Option<TlsConfig>,
    /// What carries bytes; default TCP.
    pub transport: Arc<dyn Transport>,
    /// How metrics are shown.
    pub metrics: MetricsConfig,
    /// What `/version` answers, as `{"version": "1.2.3"}`; default none, so that there is no such endpoint.
    pub version: Option<serde_json::Value>,
    /// What `/logging/toggle` changes; without it the route answers 400 to changes.
    pub logging: Option<Arc<dyn LoggingControl>>,
    /// Whether `/profiler/start` may profile the process; default false.
    pub enable_profiler: bool,
    /// Whether there is `/memory-profiler`; default false.
    pub memory_profiling: bool,
    /// Rules that refuse requests; the first one that does answers. Default none.
    pub firewall: Vec<Arc<dyn FirewallRule>>,
    /// The authentication realm of the built-in endpoints that only show something; default none.
    pub readonly_realm: Option<String>,
    /// The authentication realm of the built-in endpoints that change something; default none.
    pub readwrite_realm: Option<String>,
}

/// Settings of the endpoints `/metrics` and `/metrics/snapshot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsConfig {
    /// How often each of the two may be asked. Requests beyond that wait, at most 1000 of them and for a limited time; those
    /// refused are counted in `libprocess/metrics_requests_refused`. None is without limit. Default: twice a second.
    pub rate: Option<Rate>,
    /// How long a request waits at most for its turn, and then again for gauges that ask an actor, if the client does not say;
    /// default 30 seconds.
    pub gauge_timeout: Duration,
    /// `/metrics` shows this many series, in order of name, and counts what it leaves out in
    /// `libprocess/metrics_series_left_out`; default 250,000.
    pub max_series: usize,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            rate: Some(DEFAULT_SNAPSHOT_RATE),
            gauge_timeout: DEFAULT_GAUGE_TIMEOUT,
            max_series: DEFAULT_MAX_SERIES,
        }
    }
}

/// The verbosity that `/logging/toggle` reads and changes.
pub trait LoggingControl: Send + Sync {
    /// The current level, 0 or more.
    fn level(&self) -> u32;
    /// Changes the level.
    fn set_level(&self, level: u32);
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            ip: Ipv4Addr::UNSPECIFIED.into(),
            port: 0,
            advertise_ip: None,
            advertise_port: None,
            ip6: None,
            workers: default_workers(),
            threads: Threads::default(),
            delegate: None,
            clock: Clock::system(),
            max_head_bytes: DEFAULT_MAX_HEAD_BYTES,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_queue_bytes: DEFAULT_MAX_QUEUE_BYTES,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            header_timeout: DEFAULT_HEADER_TIMEOUT,
            require_peer_address_ip_match: false,
            tls: None,
            transport: Arc::new(TcpTransport::default()),
            metrics: MetricsConfig::default(),
            version: None,
            logging: None,
            enable_profiler: false,
            memory_profiling: false,
            firewall: Vec::new(),
            readonly_realm: None,
            readwrite_realm: None,
        }
    }
}

fn default_workers() -> usize {
    let (least, most) = DEFAULT_WORKERS;
    available_parallelism().map_or(least, |cpus| cpus.get().clamp(least, most))
}

impl fmt::Debug for RuntimeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeConfig")
            .field("ip", &self.ip)
            .field("port", &self.port)
            .field("advertise_ip", &self.advertise_ip)
            .field("advertise_port", &self.advertise_port)
            .field("workers", &self.workers)
            .field("delegate", &self.delegate)
            .finish_non_exhaustive()
    }
}

/// A `LIBPROCESS_` variable with a bad value.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not what is allowed.
    #[error("{variable}='{value}' is not valid: expected {expected}")]
    Invalid {
        /// The name of the variable.
        variable: String,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// It names a file, as `file://<path>`, that cannot be read.
    #[error("{variable}='{value}' is not valid: failed to read the file: {error}")]
    Unreadable {
        /// The name of the variable.
        variable: String,
        /// Its value.
        value: String,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// What is wrong with a value.
#[derive(Debug)]
pub(crate) enum BadValue {
    /// What was expected.
    Expected(&'static str),
    /// The file that it names could not be read.
    File(io::Error),
}

impl From<io::Error> for BadValue {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl BadValue {
    pub(crate) fn of(self, variable: String, value: String) -> ConfigError {
        match self {
            Self::Expected(expected) => ConfigError::Invalid {
                variable,
                value,
                expected,
            },
            Self::File(error) => ConfigError::Unreadable {
                variable,
                value,
                error,
            },
        }
    }
}

const PREFIX: &str = "LIBPROCESS_";

impl RuntimeConfig {
    /// A configuration for `127.0.0.1` and a free port, as tests use it: metrics may be asked for without limit.
    pub fn loopback() -> Self {
        Self {
            ip: Ipv4Addr::LOCALHOST.into(),
            metrics: MetricsConfig {
                rate: None,
                ..MetricsConfig::default()
            },
            ..Self::default()
        }
    }

    /// Defaults, changed by the `LIBPROCESS_` variables of the environment; those of TLS may also begin with `SSL_`. All are listed
    /// in `docs/configuration.md`.
    ///
    /// # Errors
    /// A variable that does not parse, or that names a file that cannot be read. A bad `LIBPROCESS_NUM_WORKER_THREADS` is only
    /// logged, as upstream.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    /// Like [`from_env`](Self::from_env) for any set of variables. The part of a name after the prefix may have any case;
    /// unknown variables are ignored.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let vars: Vec<(String, String)> = vars.into_iter().collect();
        let mut config = Self {
            tls: TlsConfig::from_vars(&vars)?,
            ..Self::default()
        };
        for (variable, value) in vars {
            if let Some(name) = variable.strip_prefix(PREFIX) {
                let name = name.to_ascii_uppercase();
                let set = config.set(&name, &value);
                set.map_err(|bad| bad.of(variable, value))?;
            }
        }
        Ok(config)
    }

    /// Sets what the variable `name` (without prefix) stands for.
    fn set(&mut self, name: &str, value: &str) -> Result<(), BadValue> {
        const IP: &str = "an IP address";
        match name {
            "IP" => self.ip = parse_flag(value, IP)?,
            "IP6" => self.ip6 = Some(parse_flag(value, "an IPv6 address")?),
            "PORT" => self.port = parse_flag(value, "a port from 0 to 65535")?,
            "ADVERTISE_IP" => self.advertise_ip = Some(parse_flag(value, IP)?),
            "ADVERTISE_PORT" => {
                let port: NonZeroU16 = parse_flag(value, "a port from 1 to 65535")?;
                self.advertise_port = Some(port.get());
            }
            "REQUIRE_PEER_ADDRESS_IP_MATCH" => {
                self.require_peer_address_ip_match = parse_switch(value)?;
            }
            // Any other value is a no, as upstream.
            "ENABLE_PROFILER" => self.enable_profiler = value == "1",
            "MEMORY_PROFILING" => self.memory_profiling = parse_switch(value)?,
            "METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT" => {
                const RATE: &str = "nothing or <number of requests>/<duration>, such as 2/1secs";
                self.metrics.rate = match value {
                    "" => None,
                    rate => Some(rate.parse().map_err(|_| BadValue::Expected(RATE))?),
                };
            }
            "NUM_WORKER_THREADS" => match value.parse() {
                Ok(workers) if (1..=MAX_WORKERS).contains(&workers) => self.workers = workers,
                _ => tracing::warn!(
                    "Ignored {PREFIX}{name}='{value}': expected a number from 1 to {MAX_WORKERS}"
                ),
            },
            _ => {}
        }
        Ok(())
    }
}

/// The value of a variable that is a flag upstream: itself, or with `file://<path>` the content of that file, just as it is.
///
/// Upstream: `flags::fetch` in `3rdparty/stout/include/stout/flags/fetch.hpp`.
pub(crate) fn fetch(value: &str) -> io::Result<Cow<'_, str>> {
    match value.strip_prefix("file://") {
        Some(path) => std::fs::read_to_string(path).map(Cow::Owned),
        None => Ok(value.into()),
    }
}

/// Parses the value of a flag; `expected` says what is allowed.
pub(crate) fn parse_flag<T: FromStr>(value: &str, expected: &'static str) -> Result<T, BadValue> {
    let fetched = fetch(value)?;
    fetched.parse().map_err(|_| BadValue::Expected(expected))
}

/// Parses the value of a flag that is on or off.
pub(crate) fn parse_switch(value: &str) -> Result<bool, BadValue> {
    match &*fetch(value)? {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(BadValue::Expected("true, 1, false or 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(vars: &[(&str, &str)]) -> Result<RuntimeConfig, ConfigError> {
        let vars = vars.iter();
        RuntimeConfig::from_vars(vars.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn reads_variables() {
        let config = from(&[
            ("LIBPROCESS_IP", "10.0.0.1"),
            ("LIBPROCESS_IP6", "fe80::1"),
            ("LIBPROCESS_port", "5050"),
            ("LIBPROCESS_ADVERTISE_IP", "1.2.3.4"),
            ("LIBPROCESS_ADVERTISE_PORT", "80"),
            ("LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH", "1"),
            ("LIBPROCESS_NUM_WORKER_THREADS", "2000"),
            ("LIBPROCESS_ENABLE_PROFILER", "1"),
            ("LIBPROCESS_MEMORY_PROFILING", "true"),
            ("LIBPROCESS_UNKNOWN", "x"),
            ("MESOS_IP", "x"),
        ])
        .unwrap();
        assert_eq!(config.ip, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(config.ip6, "fe80::1".parse().ok());
        assert_eq!(config.port, 5050);
        assert_eq!(config.advertise_ip, Some(IpAddr::from([1, 2, 3, 4])));
        assert_eq!(config.advertise_port, Some(80));
        assert!(config.require_peer_address_ip_match);
        assert_eq!(config.workers, default_workers());
        assert!(config.enable_profiler && config.memory_profiling);
    }

    #[test]
    fn the_profiler_is_enabled_by_1_alone() {
        let check = |value: &str, expected: bool| {
            let config = from(&[("LIBPROCESS_ENABLE_PROFILER", value)]).unwrap();
            assert_eq!(config.enable_profiler, expected, "{value}");
        };
        check("1", true);
        check("0", false);
        check("true", false);
    }

    #[test]
    fn reads_the_rate_limit_of_metrics() {
        const VARIABLE: &str = "LIBPROCESS_METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT";
        let check = |vars: &[(&str, &str)], expected: Option<(u32, u64)>| {
            let expected = expected.map(|(requests, secs)| Rate {
                requests,
                per: Duration::from_secs(secs),
            });
            assert_eq!(from(vars).unwrap().metrics.rate, expected);
        };
        check(&[], Some((2, 1)));
        check(&[(VARIABLE, "")], None);
        check(&[(VARIABLE, "10/1mins")], Some((10, 60)));
    }

    #[test]
    fn files_stand_for_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            format!("file://{}", path.display())
        };
        let (ip, switch) = (file("ip", "10.0.0.1"), file("switch", "true"));
        let config = from(&[
            ("LIBPROCESS_IP", &ip),
            ("LIBPROCESS_PORT", &file("port", "5050")),
            ("LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH", &switch),
            ("LIBPROCESS_NUM_WORKER_THREADS", &file("workers", "2")),
        ])
        .unwrap();
        assert_eq!(config.ip, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(config.port, 5050);
        assert!(config.require_peer_address_ip_match);
        assert_eq!(config.workers, default_workers());
        let check = |name: &str, value: &str, expected: &str| {
            let error = from(&[(name, value)]).unwrap_err().to_string();
            let expected = format!("{name}='{value}' is not valid: {expected}");
            assert!(error.starts_with(&expected), "{error}");
        };
        let line = file("line", "5050\n");
        check("LIBPROCESS_PORT", &line, "expected a port from 0 to");
        check("LIBPROCESS_IP", "file:///no/ip", "failed to read the file");
    }

    #[test]
    fn bad_values_name_the_variable() {
        let check = |name: &str, value: &str, expected: &str| {
            assert_eq!(from(&[(name, value)]).unwrap_err().to_string(), expected);
        };
        check(
            "LIBPROCESS_IP",
            "localhost",
            "LIBPROCESS_IP='localhost' is not valid: expected an IP address",
        );
        check(
            "LIBPROCESS_PORT",
            "65536",
            "LIBPROCESS_PORT='65536' is not valid: expected a port from 0 to 65535",
        );
        check(
            "LIBPROCESS_ADVERTISE_PORT",
            "0",
            "LIBPROCESS_ADVERTISE_PORT='0' is not valid: expected a port from 1 to 65535",
        );
        check(
            "LIBPROCESS_METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT",
            "2",
            "LIBPROCESS_METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT='2' is not valid: \
             expected nothing or <number of requests>/<duration>, such as 2/1secs",
        );
        check(
            "LIBPROCESS_MEMORY_PROFILING",
            "on",
            "LIBPROCESS_MEMORY_PROFILING='on' is not valid: expected true, 1, false or 0",
        );
        check(
            "LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH",
            "yes",
            "LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH='yes' is not valid: expected true, 1, false or 0",
        );
    }
}
