//! Limits and intervals of the master that are not flags.

use std::time::Duration;

/// The process id of the master actor and the delegate of its HTTP paths.
pub const MASTER_PROCESS_ID: &str = "master";

/// Interval of HEARTBEAT events on scheduler and operator streams.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// Records that one HTTP stream may have queued before its reader counts as too slow.
pub const STREAM_BACKLOG: usize = 4096;

/// Ids of removed agents that the master remembers, to drop their late messages.
pub const MAX_REMOVED_AGENTS: usize = 100_000;

/// Frameworks whose per-framework metrics are kept together with their completed record.
pub const DEFAULT_TASKS_LIMIT: usize = 100;

/// Agents older than this (major, minor, patch) are refused.
pub const MINIMUM_AGENT_VERSION: (u64, u64, u64) = (1, 0, 0);

/// Smallest CPU share of an executor before a warning is logged.
pub const MIN_EXECUTOR_CPUS: f64 = 0.01;

/// Smallest memory, in MB, of an executor before a warning is logged.
pub const MIN_EXECUTOR_MEM_MB: f64 = 32.0;

/// Seconds that offers stay filtered when a framework does not say otherwise.
pub const DEFAULT_REFUSE_SECONDS: f64 = 5.0;

/// Smallest `--agent_reregister_timeout`.
pub const MIN_AGENT_REREGISTER_TIMEOUT: Duration = Duration::from_secs(600);

/// Time the registrar may take for one operation before the master gives up.
pub const STATUS_UUID_BYTES: usize = 16;

/// A name of a resource that is never shown in offers.
pub const HIDDEN_OFFER_RESOURCE: &str = "ephemeral_ports";

/// How upstream prints the UPID of nobody; sent to agents as the PID of an HTTP framework.
pub const EMPTY_UPID: &str = "@0.0.0.0:0";

/// Longest id that a framework, task or executor may have, in bytes.
pub const MAX_ID_BYTES: usize = 255;
