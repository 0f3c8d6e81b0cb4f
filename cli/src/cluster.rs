//! A master and an agent inside this process, for as long as one task takes.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, anyhow};
use libprocess::RuntimeConfig;
use mesos::flags::Flags;
use mesos_agent::{AgentFlags, RunningAgent};
use mesos_master::{MasterFlags, RunningMaster};
use tempfile::TempDir;

/// Threads per runtime; one task does not keep more busy.
const WORKERS: usize = 1;

/// A running cluster of one master and one agent on loopback addresses.
///
/// Its work directories are in a temporary directory, which goes away with it.
pub(crate) struct Cluster {
    master: RunningMaster,
    agent: RunningAgent,
    work_dir: TempDir,
}

impl Cluster {
    /// Starts master and agent.
    pub(crate) fn start() -> anyhow::Result<Cluster> {
        let work_dir = tempfile::Builder::new()
            .prefix("mesos-launch-")
            // Open enough for the sandboxes of other users.
            .permissions(Permissions::from_mode(0o711))
            .tempdir()
            .context("cannot create a temporary directory")?;
        let master = start_master(&work_dir.path().join("master"))?;
        let address = master.address.to_string();
        match start_agent(&work_dir.path().join("agent"), &address) {
            Ok(agent) => Ok(Cluster {
                master,
                agent,
                work_dir,
            }),
            Err(error) => {
                master.shutdown();
                Err(error)
            }
        }
    }

    /// The address of the master.
    pub(crate) fn master(&self) -> String {
        self.master.address.to_string()
    }

    /// Ends agent and master, and removes all that they left.
    pub(crate) fn shutdown(self) -> anyhow::Result<()> {
        self.agent.shutdown();
        self.master.shutdown();
        let path = self.work_dir.path().to_owned();
        self.work_dir
            .close()
            .with_context(|| format!("cannot remove {}", path.display()))
    }
}

fn start_master(work_dir: &Path) -> anyhow::Result<RunningMaster> {
    let flags = MasterFlags::from_args([
        "--registry=in_memory".to_owned(),
        format!("--work_dir={}", work_dir.display()),
        "--ip=127.0.0.1".to_owned(),
        "--port=0".to_owned(),
    ])?;
    mesos_master::start(flags, runtime_config())
        .map_err(|error| anyhow!("cannot start a master: {error}"))
}

fn start_agent(work_dir: &Path, master: &str) -> anyhow::Result<RunningAgent> {
    let flags = AgentFlags::from_args([
        format!("--master={master}"),
        format!("--work_dir={}", work_dir.display()),
        format!("--runtime_dir={}", work_dir.join("runtime").display()),
        "--ip=127.0.0.1".to_owned(),
        "--port=0".to_owned(),
        // The master is there already: nothing to spread, nothing to wait for.
        "--registration_backoff_factor=1ms".to_owned(),
    ])?;
    mesos_agent::start(flags, runtime_config())
        .map_err(|error| anyhow!("cannot start an agent: {error}"))
}

/// A free loopback port, and few threads.
pub(crate) fn runtime_config() -> RuntimeConfig {
    RuntimeConfig {
        workers: WORKERS,
        ..RuntimeConfig::loopback()
    }
}
