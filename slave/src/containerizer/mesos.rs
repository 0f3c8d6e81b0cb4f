//! The Mesos containerizer.
//!
//! Upstream: `src/slave/containerizer/mesos/containerizer.cpp`.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::mesos::ids::ContainerId;
use ::mesos::proto;
use ::mesos::proto::slave::{ContainerConfig, ContainerLaunchInfo, ContainerTermination};
use futures::FutureExt;
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{error, info};

use super::launcher::{Membership, PosixLauncher};
use super::process_table::{ProcessTable, send};
use super::sandbox::open_output;
use super::{ContainerFuture, Containerizer, ContainerizerError};

/// The entry in the environment of every process of a container by which stray ones are found.
const SANDBOX: &str = "MESOS_SANDBOX";

/// A look at the processes of this machine, and when it was taken.
type Look = (Instant, Arc<ProcessTable>);

/// How long one look at the processes of this machine is good for.
const RECENT: Duration = Duration::from_millis(50);

/// Runs containers as sessions of processes on the host.
#[derive(Clone, Debug)]
pub struct MesosContainerizer {
    launcher: PosixLauncher,
    runtime: Handle,
    containers: Arc<Mutex<HashMap<ContainerId, Container>>>,
    recent: Arc<Mutex<Option<Look>>>,
}

/// Ends as the container's termination, or the reason why it cannot be cleaned up.
type Ended = watch::Receiver<Option<Result<ContainerTermination, String>>>;

#[derive(Clone, Debug)]
struct Container {
    membership: Membership,
    requests: Vec<proto::Resource>,
    ended: Ended,
}

impl MesosContainerizer {
    /// A containerizer without containers, working on `runtime`, which drives processes and timers.
    pub fn new(launcher_dir: &Path, runtime: Handle) -> Result<Self, ContainerizerError> {
        Ok(MesosContainerizer {
            launcher: PosixLauncher::new(launcher_dir)?,
            runtime,
            containers: Arc::default(),
            recent: Arc::default(),
        })
    }

    /// The processes of this machine, as they were a moment ago: one look serves all containers that are asked for together.
    fn recent_table(&self) -> io::Result<Arc<ProcessTable>> {
        let mut recent = self.recent.lock();
        match &*recent {
            Some((read, table)) if read.elapsed() < RECENT => Ok(table.clone()),
            _ => {
                let table = Arc::new(ProcessTable::read()?);
                *recent = Some((Instant::now(), table.clone()));
                Ok(table)
            }
        }
    }

    fn container(&self, id: &ContainerId) -> Result<Container, ContainerizerError> {
        self.containers
            .lock()
            .get(id)
            .cloned()
            .ok_or_else(|| ContainerizerError::Unknown(id.clone()))
    }

    async fn start(
        self,
        id: ContainerId,
        config: ContainerConfig,
        environment: Vec<(String, String)>,
    ) -> Result<proto::ContainerStatus, ContainerizerError> {
        check_supported(&config)?;
        let directory = PathBuf::from(&config.directory);
        let output = open_output(&directory, config.user.as_deref())?;
        let info = launch_info(&config, environment);

        let prepared = self.launcher.prepare(output, false)?;
        let pid = prepared.pid();
        let leader = pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        let started = start_time(leader)?;
        let (sender, ended) = watch::channel(None);
        let membership = Membership {
            leader,
            environment: format!("{SANDBOX}={}", config.directory),
            started,
        };
        let container = Container {
            membership: membership.clone(),
            requests: config.resources,
            ended,
        };
        // Two containers of one id would be a fault of the agent; the older one stays.
        if self.containers.lock().contains_key(&id) {
            send(leader, Signal::SIGKILL);
            return Err(ContainerizerError::AlreadyLaunched(id));
        }
        self.containers.lock().insert(id.clone(), container);

        let child = prepared.release(&info).await;
        self.runtime.spawn({
            let (containerizer, id) = (self.clone(), id.clone());
            let failed = child.as_ref().err().map(ToString::to_string);
            let child = child.ok();
            async move {
                let result = reap(child, failed, &membership, &id).await;
                if let Err(error) = &result {
                    error!("Failed to destroy container {id}: {error}");
                }
                sender.send_replace(Some(result.map_err(|error| error.to_string())));
                containerizer.containers.lock().remove(&id);
            }
        });
        info!("Launched container {id} with process {leader}");
        Ok(container_status(&id, pid))
    }
}

/// Waits for the first process, then clears away the others.
async fn reap(
    child: Option<Child>,
    failed: Option<String>,
    membership: &Membership,
    id: &ContainerId,
) -> Result<ContainerTermination, ContainerizerError> {
    let mut termination = ContainerTermination {
        message: failed,
        ..Default::default()
    };
    if let Some(mut child) = child {
        match child.wait().await {
            Ok(status) => {
                termination.status = Some(std::os::unix::process::ExitStatusExt::into_raw(status));
            }
            Err(error) => termination.message = Some(format!("the exit status is lost: {error}")),
        }
    }
    membership.destroy(id).await?;
    Ok(termination)
}

impl Containerizer for MesosContainerizer {
    fn launch(
        &self,
        id: ContainerId,
        config: ContainerConfig,
        environment: Vec<(String, String)>,
    ) -> ContainerFuture<proto::ContainerStatus> {
        self.clone().start(id, config, environment).boxed()
    }

    fn update(&self, id: &ContainerId, requests: Vec<proto::Resource>) -> ContainerFuture<()> {
        if let Some(container) = self.containers.lock().get_mut(id) {
            container.requests = requests;
        }
        futures::future::ready(Ok(())).boxed()
    }

    fn usage(&self, id: &ContainerId) -> ContainerFuture<proto::ResourceStatistics> {
        let container = self.container(id);
        let containerizer = self.clone();
        async move {
            let container = container?;
            let read = tokio::task::spawn_blocking(move || {
                let table = containerizer.recent_table()?;
                let usage = table.usage(&container.membership.find_family(&table));
                Ok(statistics(&container.requests, usage))
            });
            read.await
                .unwrap_or_else(|error| Err(io::Error::other(error)))
                .map_err(ContainerizerError::Proc)
        }
        .boxed()
    }

    fn status(&self, id: &ContainerId) -> ContainerFuture<proto::ContainerStatus> {
        let status = self
            .container(id)
            .map(|container| container_status(id, container.membership.leader.try_into().ok()));
        futures::future::ready(status).boxed()
    }

    fn wait(&self, id: &ContainerId) -> ContainerFuture<Option<ContainerTermination>> {
        let container = self.container(id).ok();
        let id = id.clone();
        async move {
            let Some(mut container) = container else {
                return Ok(None);
            };
            let ended = container.ended.wait_for(Option::is_some).await;
            match ended.ok().and_then(|ended| ended.clone()) {
                Some(Ok(termination)) => Ok(Some(termination)),
                Some(Err(error)) => Err(ContainerizerError::Cleanup(error)),
                None => Err(ContainerizerError::Unknown(id)),
            }
        }
        .boxed()
    }

    fn destroy(&self, id: &ContainerId) -> ContainerFuture<Option<ContainerTermination>> {
        let (container, wait, id) = (self.container(id).ok(), self.wait(id), id.clone());
        async move {
            if let Some(container) = container {
                info!("Destroying container {id}");
                container.membership.destroy(&id).await?;
            }
            wait.await
        }
        .boxed()
    }

    fn kill(&self, id: &ContainerId, signal: Signal) -> bool {
        let container = self.container(id);
        if let Ok(container) = &container {
            send(container.membership.leader, signal);
        }
        container.is_ok()
    }

    fn containers(&self) -> Vec<ContainerId> {
        self.containers.lock().keys().cloned().collect()
    }
}

fn container_status(id: &ContainerId, pid: Option<u32>) -> proto::ContainerStatus {
    proto::ContainerStatus {
        container_id: Some(id.into()),
        executor_pid: pid,
        ..Default::default()
    }
}

/// Refuses what would otherwise be silently left out.
fn check_supported(config: &ContainerConfig) -> Result<(), ContainerizerError> {
    let refuse = |what: &str| Err(ContainerizerError::NotSupported(what.to_owned()));
    if let Some(uri) = config.command_info.uris.first() {
        return refuse(&format!("fetching URIs ('{}') is", uri.value));
    }
    let environment = config.command_info.environment.iter();
    let mut variables = environment.flat_map(|environment| &environment.variables);
    if let Some(variable) = variables.find(|variable| variable.secret.is_some()) {
        return refuse(&format!(
            "secrets in the environment ('{}') are",
            variable.name
        ));
    }
    let Some(container) = &config.container_info else {
        return Ok(());
    };
    if container.r#type() == proto::container_info::Type::Docker {
        return refuse("Docker containers are");
    }
    if container
        .mesos
        .as_ref()
        .is_some_and(|mesos| mesos.image.is_some())
    {
        return refuse("container images are");
    }
    if !container.volumes.is_empty() {
        return refuse("volumes are");
    }
    if container
        .network_infos
        .iter()
        .any(|network| network.name.is_some())
    {
        return refuse("container networks are");
    }
    if container.linux_info.is_some() {
        return refuse("Linux settings of containers ('linux_info') are");
    }
    if container.tty_info.is_some() {
        return refuse("terminals ('tty_info') are");
    }
    if container.hostname.is_some() {
        return refuse("host names of containers are");
    }
    Ok(())
}

fn launch_info(
    config: &ContainerConfig,
    environment: Vec<(String, String)>,
) -> ContainerLaunchInfo {
    let mut variables: Vec<proto::environment::Variable> = environment
        .into_iter()
        .chain([(SANDBOX.to_owned(), config.directory.clone())])
        .map(|(name, value)| proto::environment::Variable {
            name,
            value: Some(value),
            ..Default::default()
        })
        .collect();
    let own = config.command_info.environment.iter();
    variables.extend(own.flat_map(|environment| environment.variables.iter().cloned()));
    let command = proto::CommandInfo {
        shell: config.command_info.shell,
        value: config.command_info.value.clone(),
        arguments: config.command_info.arguments.clone(),
        ..Default::default()
    };
    ContainerLaunchInfo {
        command: Some(command),
        environment: Some(proto::Environment { variables }),
        working_directory: Some(config.directory.clone()),
        user: config.user.clone(),
        rlimits: config
            .container_info
            .as_ref()
            .and_then(|container| container.rlimit_info.clone()),
        ..Default::default()
    }
}

fn start_time(pid: i32) -> Result<u64, ContainerizerError> {
    ProcessTable::start_time(pid).map_err(ContainerizerError::Proc)
}

/// What the posix isolators report.
fn statistics(
    requests: &[proto::Resource],
    usage: super::process_table::Usage,
) -> proto::ResourceStatistics {
    const MEGABYTE: f64 = 1024.0 * 1024.0;
    let sum = |name: &str| -> Option<f64> {
        let mut amounts = requests
            .iter()
            .filter(|resource| resource.name == name)
            .filter_map(|resource| resource.scalar.as_ref())
            .map(|scalar| scalar.value)
            .peekable();
        amounts.peek()?;
        Some((amounts.sum::<f64>() * 1000.0).round() / 1000.0)
    };
    let memory = sum("mem").map(|megabytes| (megabytes * MEGABYTE) as u64);
    proto::ResourceStatistics {
        timestamp: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64(),
        cpus_user_time_secs: Some(usage.user_secs),
        cpus_system_time_secs: Some(usage.system_secs),
        cpus_soft_limit: sum("cpus"),
        mem_rss_bytes: Some(usage.resident_bytes),
        mem_soft_limit_bytes: memory,
        mem_limit_bytes: memory,
        ..Default::default()
    }
}
