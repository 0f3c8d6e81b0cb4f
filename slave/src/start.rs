//! Putting an agent together, and taking it apart.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use libprocess::{Pid, Runtime, RuntimeConfig, SpawnError, StartError as RuntimeError, Upid};
use mesos::attributes::{AttributeError, Attributes};
use mesos::detector::{DetectorError, MasterDetector};
use mesos::files::FilesHandle;
use mesos::flags::Flags;
use mesos::json::JsonError;
use mesos::proto;
use mesos::version::VERSION;
use parking_lot::RwLock;
use thiserror::Error;
use tokio::sync::watch;
use tracing::info;
use uuid::Uuid;

use crate::actor::AgentActor;
use crate::containerizer::{Containerizer, ContainerizerError, Helper, MesosContainerizer};
use crate::core::{Agent, AgentConfig, ExecutorCommand, Exit, MESOS_EXECUTOR};
use crate::detection::{self, DetectionError};
use crate::flags::{AgentFlags, UnsupportedFlag};
use crate::http::{HttpState, register_metrics};

/// The prefix of the agent's id.
const SLAVE: &str = "slave";

/// The agent that requests without an actor in their path are for.
const DELEGATE: &str = "slave(1)";

/// The name of the program in log files.
pub(crate) const MESOS_AGENT: &str = "mesos-agent";

/// The name under which the agent's log is shown.
const LOG: &str = "/slave/log";

/// What executors get on top of their grace period when the agent is shut down from within.
const SHUTDOWN_ALLOWANCE: Duration = Duration::from_secs(1);

/// Why the agent does not start. Nothing is left behind.
#[derive(Debug, Error)]
pub enum StartError {
    /// A flag asks for what this agent cannot do.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedFlag),
    /// The master is not known.
    #[error("--master is missing: expected host:port, zk://host1:port1,.../path or file:///path")]
    NoMaster,
    /// Two flags say the same thing in different ways.
    #[error("only one of --ip and --ip_discovery_command may be given")]
    TwoAddresses,
    /// The machine is not what the flags say.
    #[error(transparent)]
    Detection(#[from] DetectionError),
    /// `--attributes` cannot be understood.
    #[error("--attributes={text}: {source}")]
    Attributes {
        /// The value of the flag.
        text: String,
        /// What is wrong.
        source: AttributeError,
    },
    /// `--domain` is no domain.
    #[error("--domain={text}: {source}")]
    Domain {
        /// The value of the flag.
        text: String,
        /// What is wrong.
        source: JsonError,
    },
    /// `--domain` has no fault domain.
    #[error("--domain: expected a 'fault_domain' with region and zone")]
    NoFaultDomain,
    /// The helper programs are not there.
    #[error("--launcher_dir={path}: {source}")]
    Launcher {
        /// The value of the flag.
        path: String,
        /// What is wrong.
        source: ContainerizerError,
    },
    /// The runtime does not start, for example because the port is taken.
    #[error("--ip, --port: {0} (allowed: an address of this host and a free port)")]
    Runtime(#[from] RuntimeError),
    /// An actor does not start.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// `--master` cannot be understood or reached.
    #[error("--master={text}: {source}")]
    Detector {
        /// The value of the flag.
        text: String,
        /// What is wrong.
        source: DetectorError,
    },
}

/// An agent that runs.
pub struct RunningAgent {
    /// What it runs on.
    pub runtime: Runtime,
    /// The address it is known by.
    pub address: SocketAddr,
    /// The agent actor.
    pub upid: Upid,
    pid: Pid<AgentActor>,
    containerizer: Arc<dyn Containerizer>,
    ended: watch::Receiver<Option<Exit>>,
    shutdown_grace_period: Duration,
}

impl RunningAgent {
    /// Asks the agent to unregister, shut all its executors down and end.
    pub fn unregister(&self) {
        self.unregister_handle()();
    }

    /// [`unregister`](Self::unregister), to be called from elsewhere.
    pub(crate) fn unregister_handle(&self) -> impl Fn() + Send + 'static {
        let pid = self.pid.clone();
        move || {
            pid.dispatch(|actor, ctx| {
                actor.turn(ctx, |agent, fx| agent.on_unregister_requested(fx));
            });
        }
    }

    /// Waits until the agent ends by itself: when the master, or [`unregister`](Self::unregister), asks for it, or on a failure.
    ///
    /// Blocks; not for threads of a tokio runtime.
    pub fn wait(&self) -> Exit {
        self.wait_at_most(None).unwrap_or(Exit::Shutdown)
    }

    fn wait_at_most(&self, limit: Option<Duration>) -> Option<Exit> {
        let (sender, receiver) = mpsc::channel();
        let mut ended = self.ended.clone();
        self.runtime.handle().spawn(async move {
            let exit = ended.wait_for(Option::is_some).await;
            let exit = exit.ok().and_then(|exit| exit.clone());
            // Whoever waited may have lost patience.
            let _ = sender.send(exit.unwrap_or(Exit::Shutdown));
        });
        match limit {
            Some(limit) => receiver.recv_timeout(limit).ok(),
            None => receiver.recv().ok(),
        }
    }

    /// Ends the agent with all its executors and tasks, and returns when nothing of it is left.
    ///
    /// Executors have their grace period; what is left then is killed.
    pub fn shutdown(&self) {
        self.unregister();
        self.wait_at_most(Some(self.shutdown_grace_period + SHUTDOWN_ALLOWANCE));
        let containerizer = self.containerizer.clone();
        let (sender, receiver) = mpsc::channel::<()>();
        self.runtime.handle().spawn(async move {
            let ids = containerizer.containers();
            join_all(ids.iter().map(|id| containerizer.destroy(id))).await;
            drop(sender);
        });
        // Ends by the sender going away.
        let _ = receiver.recv();
        self.runtime.shutdown();
    }
}

/// Starts an agent in this process. Of `config`, address and port are replaced by those of the flags.
///
/// # Errors
/// See [`StartError`].
pub fn start(flags: AgentFlags, config: RuntimeConfig) -> Result<RunningAgent, StartError> {
    let work_dir = flags.work_dir.clone();
    let existed = work_dir.exists();
    let started = launch(flags, config);
    if started.is_err() && !existed {
        // Only goes away if it is empty, or not there at all.
        let _ = std::fs::remove_dir(work_dir);
    }
    started
}

fn launch(flags: AgentFlags, config: RuntimeConfig) -> Result<RunningAgent, StartError> {
    flags.check_supported()?;
    let master = flags.master.clone().ok_or(StartError::NoMaster)?;
    detection::prepare_work_dir(&flags.work_dir)?;
    let mut info = describe(&flags)?;

    let runtime = Runtime::start(RuntimeConfig {
        ip: listen_ip(&flags)?.unwrap_or(config.ip),
        port: flags.port,
        advertise_ip: flags.advertise_ip.map(IpAddr::V4).or(config.advertise_ip),
        advertise_port: flags.advertise_port.or(config.advertise_port),
        delegate: Some(DELEGATE.to_owned()),
        memory_profiling: config.memory_profiling || flags.memory_profiling,
        version: Some(mesos::version::version_json()),
        ..config
    })?;
    let started = (|| {
        let address = runtime.address();
        info.hostname = detection::hostname(
            flags.hostname.as_deref(),
            flags.hostname_lookup,
            address.ip(),
        )?;
        info.port = Some(i32::from(runtime.bound_address().port()));
        assemble(&flags, &master, info, &runtime)
    })();
    if started.is_err() {
        runtime.shutdown();
    }
    started
}

fn listen_ip(flags: &AgentFlags) -> Result<Option<IpAddr>, StartError> {
    match (&flags.ip, &flags.ip_discovery_command) {
        (Some(_), Some(_)) => Err(StartError::TwoAddresses),
        (None, Some(command)) => Ok(Some(detection::discover_ip(command)?.into())),
        (ip, None) => Ok(ip.map(IpAddr::V4)),
    }
}

/// What the flags say of the agent; host name and port come later.
fn describe(flags: &AgentFlags) -> Result<proto::SlaveInfo, StartError> {
    let resources = detection::resources(
        flags.resources.as_deref(),
        &flags.default_role,
        &flags.work_dir,
    )?;
    let text = flags.attributes.as_deref().unwrap_or_default();
    let attributes = Attributes::parse(text).map_err(|source| StartError::Attributes {
        text: text.to_owned(),
        source,
    })?;
    Ok(proto::SlaveInfo {
        resources: resources.to_protos(),
        attributes: attributes.to_protos(),
        checkpoint: Some(true),
        domain: domain(flags)?,
        ..Default::default()
    })
}

fn domain(flags: &AgentFlags) -> Result<Option<proto::DomainInfo>, StartError> {
    let Some(json) = &flags.domain else {
        return Ok(None);
    };
    let text = json.0.to_string();
    let domain: proto::DomainInfo =
        mesos::json::from_str(&text).map_err(|source| StartError::Domain { text, source })?;
    if domain.fault_domain.is_none() {
        return Err(StartError::NoFaultDomain);
    }
    Ok(Some(domain))
}

fn assemble(
    flags: &AgentFlags,
    master: &str,
    info: proto::SlaveInfo,
    runtime: &Runtime,
) -> Result<RunningAgent, StartError> {
    let handle = runtime.handle();
    let containerizer = MesosContainerizer::new(&flags.launcher_dir, handle.clone());
    let containerizer: Arc<dyn Containerizer> =
        Arc::new(containerizer.map_err(|source| StartError::Launcher {
            path: flags.launcher_dir.display().to_string(),
            source,
        })?);
    let detector = MasterDetector::create(master, flags.zk_session_timeout.get(), &handle)
        .map_err(|source| StartError::Detector {
            text: master.to_owned(),
            source,
        })?;
    let files = FilesHandle::spawn(runtime)?;
    if let Some(log) = mesos::logging::shown_log_file(MESOS_AGENT, &flags.logging) {
        files.attach(LOG, log);
    }

    let id = runtime.generate_id(SLAVE);
    let upid = Upid::new(id.as_str(), runtime.address());
    let agent = Agent::new(configure(flags, info, upid.clone()));
    let http = http_state(flags, &agent, &upid, runtime, &files, &containerizer);
    register_metrics(runtime.metrics(), &http.published);
    let (sender, ended) = watch::channel(None);
    let actor = AgentActor::new(agent, containerizer.clone(), files, detector, http, sender);
    let pid = runtime.spawn(id, actor)?;
    info!("Agent started at {upid}");
    Ok(RunningAgent {
        runtime: runtime.clone(),
        address: runtime.address(),
        upid,
        pid,
        containerizer,
        ended,
        shutdown_grace_period: flags.executor_shutdown_grace_period.get(),
    })
}

fn http_state(
    flags: &AgentFlags,
    agent: &Agent,
    upid: &Upid,
    runtime: &Runtime,
    files: &FilesHandle,
    containerizer: &Arc<dyn Containerizer>,
) -> Arc<HttpState> {
    let text =
        |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let start_time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Arc::new(HttpState {
        published: Arc::new(RwLock::new(Arc::new(agent.snapshot()))),
        flags: flags.entries(),
        start_time: start_time.as_secs_f64(),
        pid: upid.to_string(),
        log_dir: text(&flags.logging.log_dir),
        external_log_file: text(&flags.logging.external_log_file),
        files: files.clone(),
        containerizer: containerizer.clone(),
        metrics: runtime.metrics().clone(),
    })
}

fn configure(flags: &AgentFlags, info: proto::SlaveInfo, pid: Upid) -> AgentConfig {
    AgentConfig {
        ip: pid.address().ip(),
        info,
        pid,
        version: VERSION.to_owned(),
        resource_version: Uuid::new_v4(),
        work_dir: absolute(&flags.work_dir),
        executor_command: ExecutorCommand {
            executable: Helper::find(&flags.launcher_dir, MESOS_EXECUTOR)
                .map(|helper| helper.path)
                .map_err(|error| error.to_string()),
            launcher_dir: absolute(&flags.launcher_dir),
        },
        switch_user: flags.switch_user,
        executor_environment: executor_environment(flags),
        registration_backoff_factor: flags.registration_backoff_factor.get(),
        executor_registration_timeout: flags.executor_registration_timeout.get(),
        executor_shutdown_grace_period: flags.executor_shutdown_grace_period.get(),
        max_completed_executors_per_framework: flags.max_completed_executors_per_framework,
    }
}

/// Names of files end up in environments and at endpoints, where the agent's own directory means nothing.
fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The variables for executors that follow from the flags.
fn executor_environment(flags: &AgentFlags) -> Vec<(String, String)> {
    let ip = flags
        .ip
        .map(|ip| ("LIBPROCESS_IP".to_owned(), ip.to_string()));
    let given = flags
        .executor_environment_variables
        .as_ref()
        .and_then(|json| json.0.as_object())
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    ip.into_iter().chain(given).collect()
}
