//! Starting the master: as a program, or embedded in another one.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libprocess::{LoggingControl, Pid, Runtime, RuntimeConfig};
use mesos::contender::{ContenderError, MasterContender};
use mesos::detector::{DetectorError, MasterDetector, master_capabilities, network_order};
use mesos::files::FilesHandle;
use mesos::flags::Flags;
use mesos::logging;
use mesos::proto;
use mesos::version;
use mesos::zookeeper::ZkUrl;
use tokio::sync::watch;
use uuid::Uuid;

use crate::actor::{MasterParts, MasterProcess, PublicSettings};
use crate::allocator::{Options, RegexLimits, SortPolicy, policy};
use crate::allocator_actor::{AllocatorHandle, parse_minimum};
use crate::constants::MASTER_PROCESS_ID;
use crate::flags::{MasterFlags, Unsupported};
use crate::hostname;
use crate::registrar::{InMemoryStorage, RegistrarHandle, RegistrarTimeouts};

/// The name of the program in names of log files and in usage texts.
const PROGRAM: &str = "mesos-master";

/// The name under which the log is shown.
const MASTER_LOG: &str = "/master/log";

/// Why a master did not start. Each is one line that names the flag, its value, and what is
/// allowed; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A flag asks for what this release does not have.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A flag's value is wrong in a way that is only noticed when it is used.
    #[error("Failed to load flag '{name}': '{value}' {reason}")]
    Flag {
        /// The flag.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// The work directory cannot be used.
    #[error("Failed to use --work_dir '{}': {source} (allowed: a folder that can be made and written)", path.display())]
    WorkDir {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The ZooKeeper URL cannot be used.
    #[error("Failed to load flag 'zk': {0}")]
    Detector(#[from] DetectorError),
    /// The ZooKeeper URL cannot be used.
    #[error("Failed to load flag 'zk': {0}")]
    Contender(#[from] ContenderError),
    /// The port cannot be listened on.
    #[error("--ip, --port: {0} (allowed: an address of this host and a free port)")]
    Runtime(#[from] libprocess::StartError),
    /// The announced address would be an IPv6 one.
    #[error(
        "--ip, --advertise_ip: {0} cannot be announced (allowed: an IPv4 address, which is all that schedulers and agents of Mesos read)"
    )]
    Ipv6(IpAddr),
    /// The runtime ended while the master was starting.
    #[error(transparent)]
    Spawn(#[from] libprocess::SpawnError),
}

/// A master that runs. Dropping it does not end it.
pub struct RunningMaster {
    /// The runtime of the master and its helpers.
    pub runtime: Runtime,
    /// Where it listens, as told to others.
    pub address: SocketAddr,
    /// The master actor.
    pub pid: Pid<MasterProcess>,
    exit: watch::Receiver<Option<String>>,
}

impl RunningMaster {
    /// Waits until the master ends by itself, and says why: it lost leadership, or cannot go on.
    pub async fn ended(&self) -> String {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "The master was shut down".to_owned(),
        }
    }

    /// Ends the master and frees its port.
    pub fn shutdown(&self) {
        self.runtime.shutdown();
    }
}

/// The configuration of the runtime that `flags` ask for, on top of `config`.
#[must_use]
pub fn runtime_config(flags: &MasterFlags, config: RuntimeConfig) -> RuntimeConfig {
    RuntimeConfig {
        ip: flags.ip.map_or(config.ip, IpAddr::V4),
        port: flags.port,
        advertise_ip: flags.advertise_ip.map(IpAddr::V4).or(config.advertise_ip),
        advertise_port: flags.advertise_port.or(config.advertise_port),
        delegate: Some(MASTER_PROCESS_ID.to_owned()),
        memory_profiling: config.memory_profiling || flags.memory_profiling,
        ..config
    }
}

/// Starts a master in a runtime of its own. `config` says where it listens; use
/// [`runtime_config`] to take that from the flags.
///
/// # Errors
/// See [`StartError`].
pub fn start(flags: MasterFlags, config: RuntimeConfig) -> Result<RunningMaster, StartError> {
    flags.check_supported()?;
    let options = allocator_options(&flags)?;
    let domain = domain(&flags)?;
    if let Some(work_dir) = &flags.work_dir {
        prepare_work_dir(work_dir)?;
    }
    if let Some(zk) = &flags.zk {
        // Before anything is started, so that nothing has to be undone.
        ZkUrl::parse(zk)
            .and_then(ZkUrl::require_path)
            .map_err(DetectorError::from)?;
    }
    let delegate = Some(MASTER_PROCESS_ID.to_owned());
    let logging = config.logging.clone();
    let runtime = Runtime::start(RuntimeConfig {
        delegate,
        version: Some(version::version_json()),
        ..config
    })?;
    match spawn(flags, &runtime, options, domain, logging) {
        Ok((pid, exit)) => Ok(RunningMaster {
            address: runtime.address(),
            pid,
            exit,
            runtime,
        }),
        Err(error) => {
            runtime.shutdown();
            Err(error)
        }
    }
}

type Spawned = (Pid<MasterProcess>, watch::Receiver<Option<String>>);

fn spawn(
    flags: MasterFlags,
    runtime: &Runtime,
    options: Options,
    domain: Option<proto::DomainInfo>,
    logging: Option<Arc<dyn LoggingControl>>,
) -> Result<Spawned, StartError> {
    let info = master_info(&flags, runtime.address(), domain)?;
    let (contender, detector) = election(&flags, runtime, &info)?;
    let registrar = RegistrarHandle::spawn(
        runtime,
        InMemoryStorage,
        RegistrarTimeouts {
            fetch: flags.registry_fetch_timeout.get(),
            store: flags.registry_store_timeout.get(),
        },
    )?;
    let options = Options {
        master_id: Some(info.id.clone()),
        ..options
    };
    let allocator = AllocatorHandle::spawn(runtime, options)?;
    let config = flags.master_config();
    let (exit, ended) = watch::channel(None);
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let settings = PublicSettings {
        flags: flags.entries(),
        cluster: flags.cluster.clone(),
        log_dir: path(&flags.logging.log_dir),
        external_log_file: path(&flags.logging.external_log_file),
        role_whitelist: config.role_whitelist.clone(),
    };
    let files = FilesHandle::spawn(runtime)?;
    if let Some(log) = logging::shown_log_file(PROGRAM, &flags.logging) {
        files.attach(MASTER_LOG, log);
    }
    let parts = MasterParts {
        files,
        logging,
        config,
        info,
        contender,
        detector,
        registrar,
        allocator: Box::new(allocator.clone()),
        settings: Arc::new(settings),
        max_subscribers: flags.max_operator_event_stream_subscribers,
        framework_metrics: flags.publish_per_framework_metrics,
        exit,
    };
    let master = MasterProcess::new(parts, runtime);
    let pid = runtime.spawn(MASTER_PROCESS_ID, master)?;
    allocator.set_master(pid.clone());
    Ok((pid, ended))
}

fn election(
    flags: &MasterFlags,
    runtime: &Runtime,
    info: &proto::MasterInfo,
) -> Result<(MasterContender, MasterDetector), StartError> {
    let Some(zk) = &flags.zk else {
        let detector = MasterDetector::standalone(Some(info.clone())).0;
        return Ok((MasterContender::standalone(), detector));
    };
    let timeout = flags.zk_session_timeout.get();
    let handle = runtime.handle();
    let detector = MasterDetector::create(zk, timeout, &handle)?;
    let contender = MasterContender::create(zk, timeout, &handle)?;
    Ok((contender, detector))
}

fn allocator_options(flags: &MasterFlags) -> Result<Options, StartError> {
    let text = &flags.min_allocatable_resources;
    let minimum = parse_minimum(text).map_err(|error| StartError::Flag {
        name: "min_allocatable_resources",
        value: text.clone(),
        reason: format!("is not a list of amounts: {error} (allowed: such as cpus:0.01|mem:32)"),
    })?;
    let excluded = flags.fair_sharing_excluded_resource_names.iter();
    Ok(Options {
        allocation_interval: flags.allocation_interval.get(),
        fair_sharing_excluded_resource_names: excluded
            .flat_map(|names| names.split(','))
            .map(str::to_owned)
            .collect::<BTreeSet<_>>(),
        filter_gpu_resources: flags.filter_gpu_resources,
        region: domain(flags)?
            .and_then(|domain| domain.fault_domain)
            .map(|domain| domain.region.name),
        min_allocatable_resources: minimum,
        recovery_timeout: flags.allocator_recovery_timeout.get(),
        agent_recovery_factor: flags.allocator_agent_recovery_factor,
        role_sorter: sorter("role_sorter", &flags.role_sorter)?,
        framework_sorter: sorter("framework_sorter", &flags.framework_sorter)?,
        regex_limits: RegexLimits {
            max_mem_bytes: usize::try_from(flags.offer_constraints_re2_max_mem.bytes())
                .unwrap_or(usize::MAX),
            max_program_size: usize::try_from(flags.offer_constraints_re2_max_program_size)
                .unwrap_or(0),
        },
        seed: rand::random(),
        master_id: None,
    })
}

fn sorter(name: &'static str, value: &str) -> Result<Arc<dyn SortPolicy>, StartError> {
    policy(value).map_err(|error| StartError::Flag {
        name,
        value: value.to_owned(),
        reason: error.to_string(),
    })
}

fn domain(flags: &MasterFlags) -> Result<Option<proto::DomainInfo>, StartError> {
    let Some(text) = &flags.domain else {
        return Ok(None);
    };
    let wrong = |reason: String| StartError::Flag {
        name: "domain",
        value: text.clone(),
        reason,
    };
    let domain: proto::DomainInfo = mesos::json::from_str(text)
        .map_err(|error| wrong(format!("is not a domain in JSON: {error}")))?;
    if domain.fault_domain.is_none() {
        return Err(wrong("has no 'fault_domain'".to_owned()));
    }
    Ok(Some(domain))
}

/// Makes the folder, and makes sure that files can be made in it.
fn prepare_work_dir(path: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::WorkDir {
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(path).map_err(failed)?;
    let probe = path.join(format!(".probe-{}", Uuid::new_v4()));
    std::fs::write(&probe, []).map_err(failed)?;
    std::fs::remove_file(&probe).map_err(failed)
}

fn master_info(
    flags: &MasterFlags,
    address: SocketAddr,
    domain: Option<proto::DomainInfo>,
) -> Result<proto::MasterInfo, StartError> {
    let SocketAddr::V4(address) = address else {
        return Err(StartError::Ipv6(address.ip()));
    };
    let ip: Ipv4Addr = *address.ip();
    let hostname = match &flags.hostname {
        Some(hostname) => hostname.clone(),
        None if flags.hostname_lookup => hostname::of(ip.into()),
        None => ip.to_string(),
    };
    Ok(proto::MasterInfo {
        id: Uuid::new_v4().to_string(),
        ip: network_order(ip),
        port: u32::from(address.port()),
        pid: Some(format!("{MASTER_PROCESS_ID}@{address}")),
        hostname: Some(hostname.clone()),
        version: Some(version::VERSION.to_owned()),
        address: Some(proto::Address {
            hostname: Some(hostname),
            ip: Some(ip.to_string()),
            port: i32::from(address.port()),
        }),
        domain,
        capabilities: master_capabilities(),
    })
}

/// Runs a master until it ends or is told to. `arguments` come without the program's name.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let loaded = match MasterFlags::load_or_exit(PROGRAM, arguments) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let flags = loaded.flags;
    let logging = match logging::init(PROGRAM, &flags.logging) {
        Ok(logging) => logging,
        Err(error) => return fail(&error),
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let config = match RuntimeConfig::from_env() {
        Ok(config) => RuntimeConfig {
            logging: Some(Arc::new(logging)),
            ..runtime_config(&flags, config)
        },
        Err(error) => return fail(&error),
    };
    match start(flags, config) {
        Ok(master) => run(&master),
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{PROGRAM}: {error}");
    ExitCode::FAILURE
}

/// Waits for the master's end or for a signal to end.
fn run(master: &RunningMaster) -> ExitCode {
    tracing::info!("Master started on {}", master.address);
    let waiting = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(waiting) => waiting,
        Err(error) => {
            master.shutdown();
            return fail(&error);
        }
    };
    let reason = waiting.block_on(async {
        tokio::select! {
            reason = master.ended() => Some(reason),
            () = told_to_end() => None,
        }
    });
    master.shutdown();
    match reason {
        Some(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

/// Waits for SIGTERM or SIGINT.
async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
