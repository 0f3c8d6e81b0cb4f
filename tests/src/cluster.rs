//! Masters and agents as real processes, with ZooKeeper or without.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::binary;
use crate::http::{self, StatusCode};
use crate::net::free_port;
use crate::process::{ManagedProcess, kill_all_in};
use crate::wait::eventually;
use crate::zookeeper::ZooKeeperServer;

/// How long a cluster may take to come up, on a busy machine and with a debug build.
pub const START_DEADLINE: Duration = Duration::from_secs(60);
/// Where masters meet in ZooKeeper.
const ZNODE: &str = "/mesos";

/// What to start. See [`Cluster::builder`].
#[derive(Debug, Clone)]
pub struct ClusterBuilder {
    masters: usize,
    agents: usize,
    zookeeper: bool,
    master_flags: Vec<String>,
    agent_flags: Vec<String>,
}

impl ClusterBuilder {
    /// So many masters; more than one need ZooKeeper.
    #[must_use]
    pub fn masters(mut self, masters: usize) -> ClusterBuilder {
        self.masters = masters;
        self
    }

    /// So many agents.
    #[must_use]
    pub fn agents(mut self, agents: usize) -> ClusterBuilder {
        self.agents = agents;
        self
    }

    /// Elects the master through a ZooKeeper server, which is started too.
    #[must_use]
    pub fn zookeeper(mut self) -> ClusterBuilder {
        self.zookeeper = true;
        self
    }

    /// One more flag of every master, `--name=value`, in place of one that the harness sets.
    #[must_use]
    pub fn master_flag(mut self, flag: impl Into<String>) -> ClusterBuilder {
        self.master_flags.push(flag.into());
        self
    }

    /// One more flag of every agent, `--name=value`, in place of one that the harness sets.
    #[must_use]
    pub fn agent_flag(mut self, flag: impl Into<String>) -> ClusterBuilder {
        self.agent_flags.push(flag.into());
        self
    }

    /// Starts everything and waits until a master leads and knows every agent.
    ///
    /// # Panics
    /// When that does not happen in time.
    pub async fn start(self) -> Cluster {
        assert!(
            self.masters <= 1 || self.zookeeper,
            "several masters need ZooKeeper"
        );
        let dir = tempfile::tempdir().expect("no temporary folder");
        let zookeeper = self.zookeeper.then(ZooKeeperServer::start);
        let mut cluster = Cluster {
            agents: Vec::new(),
            masters: Vec::new(),
            zookeeper,
            dir,
            binary: binary::mesos(),
        };
        for index in 0..self.masters {
            let master = cluster.new_master(index, &self.master_flags);
            cluster.masters.push(master);
        }
        for index in 0..self.agents {
            let agent = cluster.new_agent(index, &self.agent_flags);
            cluster.agents.push(agent);
        }
        if self.masters > 0 {
            cluster.leader().await;
            cluster.wait_for_agents(self.agents).await;
        }
        cluster
    }
}

/// Running masters and agents. Dropping it kills them and everything they started.
#[derive(Debug)]
pub struct Cluster {
    agents: Vec<DaemonProcess>,
    masters: Vec<DaemonProcess>,
    zookeeper: Option<ZooKeeperServer>,
    dir: TempDir,
    binary: PathBuf,
}

impl Cluster {
    /// One master and one agent, without ZooKeeper, unless told otherwise.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder {
            masters: 1,
            agents: 1,
            zookeeper: false,
            master_flags: Vec::new(),
            agent_flags: Vec::new(),
        }
    }

    /// A master, in the order of their start.
    pub fn master(&mut self, index: usize) -> &mut DaemonProcess {
        &mut self.masters[index]
    }

    /// An agent, in the order of their start.
    pub fn agent(&mut self, index: usize) -> &mut DaemonProcess {
        &mut self.agents[index]
    }

    /// The ZooKeeper server, if there is one.
    pub fn zookeeper(&mut self) -> Option<&mut ZooKeeperServer> {
        self.zookeeper.as_mut()
    }

    /// A folder for the files of the test; processes that work in it are killed at the end.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What agents and schedulers are given as `--master`.
    pub fn master_url(&self) -> String {
        match &self.zookeeper {
            Some(zookeeper) => zookeeper.url(ZNODE),
            None => self
                .masters
                .first()
                .map_or_else(String::new, |master| master.address().to_string()),
        }
    }

    /// Waits for a running master to lead, and returns its number.
    ///
    /// # Panics
    /// When none does in time.
    pub async fn leader(&self) -> usize {
        eventually("a master leads", START_DEADLINE, || async {
            for (index, master) in self.masters.iter().enumerate() {
                if master.is_running() && answers_state(master.address()).await {
                    return Some(index);
                }
            }
            None
        })
        .await
    }

    /// The address of the leading master.
    ///
    /// # Panics
    /// As [`Cluster::leader`].
    pub async fn leader_address(&self) -> SocketAddr {
        self.masters[self.leader().await].address()
    }

    /// The `/state` of the leading master.
    ///
    /// # Panics
    /// As [`Cluster::leader`].
    pub async fn state(&self) -> Value {
        eventually("the leader answers /state", START_DEADLINE, || async {
            http::get_json(self.leader_address().await, "/state")
                .await
                .ok()
        })
        .await
    }

    /// Waits until the leader knows so many active agents.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn wait_for_agents(&self, count: usize) {
        let what = format!("{count} agents are registered");
        eventually(what, START_DEADLINE, || async {
            let state = self.state().await;
            (state["activated_slaves"].as_f64()? as usize == count).then_some(())
        })
        .await;
    }

    /// Where the helper programs of a test run may be found.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    fn new_master(&self, index: usize, extra: &[String]) -> DaemonProcess {
        let name = format!("master-{index}");
        let mut flags = vec!["--registry=in_memory".to_owned(), "--quorum=1".to_owned()];
        if let Some(zookeeper) = &self.zookeeper {
            flags.push(format!("--zk={}", zookeeper.url(ZNODE)));
            flags.push("--zk_session_timeout=2secs".to_owned());
        }
        override_flags(&mut flags, extra);
        DaemonProcess::start(&self.binary, "master", &name, self.dir.path(), flags)
    }

    fn new_agent(&self, index: usize, extra: &[String]) -> DaemonProcess {
        let name = format!("agent-{index}");
        let mut flags = vec![
            format!("--master={}", self.master_url()),
            "--resources=cpus:8;mem:4096;disk:4096;ports:[31000-32000]".to_owned(),
            "--registration_backoff_factor=100ms".to_owned(),
        ];
        override_flags(&mut flags, extra);
        DaemonProcess::start(&self.binary, "agent", &name, self.dir.path(), flags)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Agents would report the end of their tasks to masters that are being killed.
        self.agents.clear();
        self.masters.clear();
        kill_all_in(self.dir.path());
    }
}

/// A master or an agent that can be killed and started again at the same address with the same
/// work directory.
#[derive(Debug)]
pub struct DaemonProcess {
    process: Option<ManagedProcess>,
    binary: PathBuf,
    role: &'static str,
    name: String,
    port: u16,
    dir: PathBuf,
    flags: Vec<String>,
}

impl DaemonProcess {
    fn start(
        binary: &Path,
        role: &'static str,
        name: &str,
        dir: &Path,
        flags: Vec<String>,
    ) -> DaemonProcess {
        let mut daemon = DaemonProcess {
            process: None,
            binary: binary.to_owned(),
            role,
            name: name.to_owned(),
            port: free_port(),
            dir: dir.to_owned(),
            flags,
        };
        daemon.restart();
        daemon
    }

    /// Where the daemon listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The `--work_dir`.
    pub fn work_dir(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// Whether the process was started and not killed since.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The process, while there is one.
    pub fn process(&mut self) -> Option<&mut ManagedProcess> {
        self.process.as_mut()
    }

    /// `kill -9` of the daemon alone; its executors live on.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
        self.process = None;
    }

    /// Sends a signal to the daemon alone.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Starts the daemon, killing one that still runs.
    ///
    /// # Panics
    /// When the binary cannot be executed.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(&self.binary);
        command
            .arg(self.role)
            .args(["--ip=127.0.0.1", "--hostname=127.0.0.1"])
            .arg(format!("--port={}", self.port))
            .arg(format!("--work_dir={}", self.work_dir().display()))
            .args(&self.flags);
        let process = ManagedProcess::spawn(&self.name, &mut command, &self.dir)
            .unwrap_or_else(|error| panic!("{error}"));
        self.process = Some(process);
    }
}

/// Adds flags, taking out those of the same name: a flag may be given once only.
fn override_flags(flags: &mut Vec<String>, extra: &[String]) {
    let name_of = |flag: &String| flag.split('=').next().unwrap_or_default().to_owned();
    let overridden: Vec<String> = extra.iter().map(name_of).collect();
    flags.retain(|flag| !overridden.contains(&name_of(flag)));
    flags.extend_from_slice(extra);
}

/// Only the leader answers `/state` itself; others redirect.
async fn answers_state(address: SocketAddr) -> bool {
    match http::get(address, "/state").await {
        Ok(response) => response.status == StatusCode::OK,
        Err(_) => false,
    }
}
