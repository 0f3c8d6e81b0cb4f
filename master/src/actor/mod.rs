//! The actor around the core: decodes, calls, and does what the core asks for.

mod effects;
mod election;
mod messages;
mod metrics;
pub mod observer;
mod requests;
mod schedulers;
mod subscribers;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::future::BoxFuture;
use libprocess::{Context, LoggingControl, Pid, Process, Runtime, Upid};
use mesos::contender::{Candidacy, MasterContender};
use mesos::detector::MasterDetector;
use mesos::files::FilesHandle;
use mesos::ids::AgentId;
use mesos::proto;
use tokio::sync::watch;

use crate::allocator::InverseOfferStatuses;
use crate::core::effects::{AllocatorCall, StreamId, Timer};
use crate::core::state::ClusterState;
use crate::core::time::Timestamp;
use crate::core::{Leadership, Master, MasterConfig};
use crate::registrar::{InMemoryStorage, RegistrarHandle};

use effects::Turn;
use metrics::MasterMetrics;
use observer::{Observer, PingSettings};
use requests::Requests;
use schedulers::SchedulerStream;
use subscribers::Subscribers;

/// Who is told what the allocator must know, and asked what it knows.
pub trait AllocatorClient: Send {
    /// Queues a fact; facts arrive in order.
    fn call(&self, call: AllocatorCall);
    /// What frameworks answered to inverse offers. None if the allocator has ended.
    fn inverse_offer_statuses(&self) -> BoxFuture<'static, Option<InverseOfferStatuses>>;
}

/// What the master is made of, apart from its core.
pub struct MasterParts {
    /// Settings of the core.
    pub config: MasterConfig,
    /// How the master announces itself.
    pub info: proto::MasterInfo,
    /// Stands for election.
    pub contender: MasterContender,
    /// Tells who leads.
    pub detector: MasterDetector,
    /// Where the registry is.
    pub registrar: RegistrarHandle<InMemoryStorage>,
    /// Who allocates.
    pub allocator: Box<dyn AllocatorClient>,
    /// What endpoints show of the flags.
    pub settings: Arc<PublicSettings>,
    /// How many operators may subscribe to events.
    pub max_subscribers: usize,
    /// Whether each framework has metrics of its own.
    pub framework_metrics: bool,
    /// Shows the log.
    pub files: FilesHandle,
    /// Changes how much is logged, if this process logs.
    pub logging: Option<Arc<dyn LoggingControl>>,
    /// Set when the master must end, with the reason.
    pub exit: watch::Sender<Option<String>>,
}

/// What endpoints show of the flags.
#[derive(Debug, Clone, Default)]
pub struct PublicSettings {
    /// All flags with a value.
    pub flags: Vec<(&'static str, String)>,
    /// The display name of the cluster.
    pub cluster: Option<String>,
    /// Folder of log files.
    pub log_dir: Option<String>,
    /// A log file written by somebody else.
    pub external_log_file: Option<String>,
    /// Roles that frameworks may use, if restricted.
    pub role_whitelist: Option<BTreeSet<String>>,
}

/// The master actor.
pub struct MasterProcess {
    core: Master,
    around: Around,
}

/// What the core's effects work on.
struct Around {
    runtime: Runtime,
    timers: HashMap<Timer, libprocess::Timer>,
    observers: HashMap<AgentId, Pid<Observer>>,
    streams: HashMap<StreamId, SchedulerStream>,
    /// Streams that could not take an event; closed after the turn.
    broken: Vec<StreamId>,
    subscribers: Subscribers,
    requests: Requests,
    registrar: RegistrarHandle<InMemoryStorage>,
    allocator: Box<dyn AllocatorClient>,
    metrics: MasterMetrics,
    contender: MasterContender,
    detector: MasterDetector,
    candidacy: Option<Candidacy>,
    settings: Arc<PublicSettings>,
    ping: PingSettings,
    files: FilesHandle,
    logging: Option<Arc<dyn LoggingControl>>,
    exit: watch::Sender<Option<String>>,
}

impl MasterProcess {
    /// The master, about to be spawned in `runtime`.
    #[must_use]
    pub fn new(parts: MasterParts, runtime: &Runtime) -> Self {
        let now = timestamp(runtime);
        let metrics = MasterMetrics::new(runtime, parts.framework_metrics);
        let ping = PingSettings {
            interval: parts.config.agent_ping_timeout,
            max_missed: parts.config.max_agent_ping_timeouts,
        };
        Self {
            core: Master::new(parts.config, parts.info, now),
            around: Around {
                runtime: runtime.clone(),
                timers: HashMap::new(),
                observers: HashMap::new(),
                streams: HashMap::new(),
                broken: Vec::new(),
                subscribers: Subscribers::new(runtime, parts.max_subscribers),
                requests: Requests::default(),
                registrar: parts.registrar,
                allocator: parts.allocator,
                metrics,
                contender: parts.contender,
                detector: parts.detector,
                candidacy: None,
                settings: parts.settings,
                ping,
                files: parts.files,
                logging: parts.logging,
                exit: parts.exit,
            },
        }
    }

    /// Lets the core handle one event, then publishes what changed.
    pub fn turn<R>(
        &mut self,
        ctx: &mut Context<Self>,
        event: impl FnOnce(&mut Master, &mut Turn<'_>) -> R,
    ) -> R {
        let mut turn = Turn {
            ctx,
            around: &mut self.around,
        };
        let result = event(&mut self.core, &mut turn);
        // Closing a stream may break another one by what its framework's offers cause.
        while let Some(stream) = turn.around.broken.pop() {
            turn.around.metrics.stream_dropped();
            turn.around.streams.remove(&stream);
            self.core.on_stream_closed(stream, &mut turn);
        }
        self.around.metrics.publish(&self.core);
        result
    }

    /// The core, for reading.
    #[must_use]
    pub fn core(&self) -> &Master {
        &self.core
    }

    /// What reads are rendered from.
    #[must_use]
    pub fn snapshot(&self) -> ClusterState {
        self.core.snapshot()
    }

    /// What endpoints show of the flags.
    #[must_use]
    pub fn settings(&self) -> Arc<PublicSettings> {
        self.around.settings.clone()
    }

    /// Where the log is shown.
    pub(crate) fn files(&self) -> FilesHandle {
        self.around.files.clone()
    }

    /// What changes how much is logged.
    pub(crate) fn logging(&self) -> Option<Arc<dyn LoggingControl>> {
        self.around.logging.clone()
    }

    /// Whether messages are handled.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.core.leadership()
    }
}

impl Process for MasterProcess {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        messages::install(ctx);
        crate::http::install(ctx);
        metrics::show_queue(ctx);
        self.around.metrics.publish(&self.core);
        self.contend(ctx);
        self.detect(None, ctx);
    }

    fn finalize(&mut self, _ctx: &mut Context<Self>) {
        for (_, observer) in self.around.observers.drain() {
            observer.terminate();
        }
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        if self.leadership() == Leadership::Leading {
            let pid = pid.clone();
            self.turn(ctx, |core, fx| core.on_exited(&pid, fx));
        }
    }
}

/// The present time of a runtime's clock.
fn timestamp(runtime: &Runtime) -> Timestamp {
    let nanos = runtime.clock().now().unix().as_nanos();
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}
