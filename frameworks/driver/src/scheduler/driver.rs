//! The handle that frameworks hold: [`SchedulerDriver`].

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use libprocess::{Pid, Runtime};
use mesos::detector::MasterDetector;
use mesos::proto::scheduler::{Call, OfferConstraints};
use mesos::proto::{
    ExecutorId, Filters, FrameworkInfo, OfferId, Request, SlaveId, TaskId, TaskInfo, TaskStatus,
    offer,
};

use super::core::{CoreConfig, SchedulerCore};
use super::event::{Acknowledgement, SchedulerEvent};
use super::process::{Io, SchedulerProcess};
use super::{OptionsError, Scheduler, SchedulerOptions, calls};
use crate::Status;
use crate::callbacks::{self, CallbackQueue, Callbacks};
use crate::lifecycle::Lifecycle;
use crate::local;

/// How long the driver's session with ZooKeeper survives a lost connection.
const ZOOKEEPER_SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Threads of the runtime that a driver starts for itself.
const RUNTIME_WORKERS: usize = 1;

/// Connects a [`Scheduler`] with the master, over libprocess messages (the v0 interface).
///
/// The driver is a handle: clones speak for the same framework, and may be used from any thread,
/// from async code and from inside callbacks. No method but [`join`](Self::join) and
/// [`run`](Self::run) blocks; each returns the [`Status`] of the driver, and does nothing unless
/// the driver is running. A driver runs until it is stopped or aborted, also when all its handles
/// are dropped.
///
/// ```no_run
/// use mesos_driver::{Scheduler, SchedulerDriver, framework, proto};
///
/// struct Counter(usize);
///
/// impl Scheduler for Counter {
///     fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<proto::Offer>) {
///         self.0 += offers.len();
///         for offer in offers {
///             driver.decline_offer(offer.id, proto::Filters::default());
///         }
///     }
///     fn status_update(&mut self, _: &SchedulerDriver, _: &proto::TaskStatus) {}
/// }
///
/// let driver = SchedulerDriver::new(Counter(0), framework("counter").build(), "127.0.0.1:5050");
/// let status = driver.run();
/// println!("ended as {status}: {:?}", driver.error());
/// ```
#[derive(Clone)]
pub struct SchedulerDriver {
    shared: Arc<Shared>,
}

struct Shared {
    lifecycle: Arc<Lifecycle>,
    master: String,
    pending_calls: Arc<AtomicUsize>,
    state: Mutex<State>,
}

enum State {
    Built(Box<Parts>),
    Started(Started),
    /// The driver could not be started.
    Nothing,
}

/// What a driver consists of before it is started.
struct Parts {
    scheduler: Box<dyn Scheduler>,
    framework: FrameworkInfo,
    implicit_acknowledgements: bool,
    suppressed_roles: BTreeSet<String>,
    offer_constraints: OfferConstraints,
    options: Result<SchedulerOptions, OptionsError>,
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct Started {
    pid: Pid<SchedulerProcess>,
    queue: CallbackQueue<SchedulerEvent>,
    runtime: Runtime,
    /// Whether the runtime was started for this driver, and ends with it.
    owns_runtime: bool,
}

/// Sets up a [`SchedulerDriver`]; made by [`SchedulerDriver::builder`].
pub struct SchedulerDriverBuilder {
    parts: Box<Parts>,
    master: String,
}

impl SchedulerDriverBuilder {
    /// The scheduler acknowledges status updates itself, by
    /// [`SchedulerDriver::acknowledge_status_update`], for example after it stored them.
    #[must_use]
    pub fn explicit_acknowledgements(mut self) -> Self {
        self.parts.implicit_acknowledgements = false;
        self
    }

    /// Roles that no offers are wanted for, from the first registration on.
    #[must_use]
    pub fn suppressed_roles(mut self, roles: impl IntoIterator<Item = String>) -> Self {
        self.parts.suppressed_roles = roles.into_iter().collect();
        self
    }

    /// Which agents offers are wanted of.
    #[must_use]
    pub fn offer_constraints(mut self, constraints: OfferConstraints) -> Self {
        self.parts.offer_constraints = constraints;
        self
    }

    /// Settings to use in place of those in the environment.
    #[must_use]
    pub fn options(mut self, options: SchedulerOptions) -> Self {
        self.parts.options = Ok(options);
        self
    }

    /// A runtime to live on, in place of one that is started (by the `LIBPROCESS_*` environment
    /// variables) and shut down with the driver.
    #[must_use]
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.parts.runtime = Some(runtime);
        self
    }

    /// The driver, not yet started.
    pub fn build(self) -> SchedulerDriver {
        SchedulerDriver {
            shared: Arc::new(Shared {
                lifecycle: Arc::new(Lifecycle::new()),
                master: self.master,
                pending_calls: Arc::default(),
                state: Mutex::new(State::Built(self.parts)),
            }),
        }
    }
}

impl SchedulerDriver {
    /// A driver with implicit acknowledgements and settings from the environment.
    ///
    /// `master` is `host:port`, or the `zk://host1:port1,host2:port2/path` under which masters are
    /// elected, or `file://` with the path of a file that holds either.
    pub fn new(
        scheduler: impl Scheduler,
        framework: FrameworkInfo,
        master: impl Into<String>,
    ) -> Self {
        Self::builder(scheduler, framework, master).build()
    }

    /// Like [`new`](Self::new), with more to choose.
    pub fn builder(
        scheduler: impl Scheduler,
        framework: FrameworkInfo,
        master: impl Into<String>,
    ) -> SchedulerDriverBuilder {
        let parts = Parts {
            scheduler: Box::new(scheduler),
            framework: local::complete(framework),
            implicit_acknowledgements: true,
            suppressed_roles: BTreeSet::new(),
            offer_constraints: OfferConstraints::default(),
            options: SchedulerOptions::from_env(),
            runtime: None,
        };
        SchedulerDriverBuilder {
            parts: Box::new(parts),
            master: master.into(),
        }
    }

    /// The status right now.
    pub fn status(&self) -> Status {
        self.shared.lifecycle.status()
    }

    /// Why the driver was aborted, if it was by an error.
    pub fn error(&self) -> Option<String> {
        self.shared.lifecycle.error()
    }

    // --- Life cycle ---------------------------------------------------------------------------

    /// Starts to look for the master and to register. An error makes the driver ABORTED; it is
    /// given to [`Scheduler::error`] and kept for [`error`](Self::error).
    pub fn start(&self) -> Status {
        if let Err(status) = self.shared.lifecycle.start() {
            return status;
        }
        // Locked until all is set up: the first callback may come before, and must find it.
        let mut state = self.state();
        if let State::Built(parts) = std::mem::replace(&mut *state, State::Nothing)
            && let Some(started) = self.start_parts(*parts)
        {
            *state = State::Started(started);
        }
        drop(state);
        self.status()
    }

    fn start_parts(&self, parts: Parts) -> Option<Started> {
        let Parts {
            scheduler,
            runtime,
            framework,
            implicit_acknowledgements,
            suppressed_roles,
            offer_constraints,
            options,
        } = parts;
        let (queue, receiver) = CallbackQueue::new();
        let callbacks = SchedulerCallbacks {
            scheduler,
            driver: self.clone(),
        };
        let lifecycle = self.shared.lifecycle.clone();
        if let Err(error) = callbacks::run("scheduler-driver", callbacks, lifecycle, receiver) {
            self.shared
                .lifecycle
                .set_error(&format!("Failed to start a thread: {error}"));
            self.shared.lifecycle.abort();
            self.shared.lifecycle.finish();
            return None;
        }
        let started = options
            .map_err(|error| error.to_string())
            .and_then(|options| {
                let core = SchedulerCore::new(CoreConfig {
                    framework,
                    suppressed_roles,
                    offer_constraints,
                    implicit_acknowledgements,
                    registration_backoff_factor: options.registration_backoff_factor,
                });
                self.start_process(core, runtime, &queue)
            });
        started.map_err(|message| self.fail(&queue, message)).ok()
    }

    fn start_process(
        &self,
        core: SchedulerCore,
        runtime: Option<Runtime>,
        queue: &CallbackQueue<SchedulerEvent>,
    ) -> Result<Started, String> {
        let id = format!("scheduler-{}", uuid::Uuid::new_v4());
        let owns_runtime = runtime.is_none();
        let runtime = match runtime {
            Some(runtime) => runtime,
            None => local::start_runtime(id.clone(), RUNTIME_WORKERS)?,
        };
        let master = &self.shared.master;
        let spawned = MasterDetector::create(master, ZOOKEEPER_SESSION_TIMEOUT, &runtime.handle())
            .map_err(|error| format!("Failed to create a master detector for '{master}': {error}"))
            .and_then(|detector| {
                let process = SchedulerProcess::new(
                    core,
                    detector,
                    queue.clone(),
                    self.shared.lifecycle.clone(),
                    self.shared.pending_calls.clone(),
                );
                let spawned = runtime.spawn(id, process);
                spawned.map_err(|error| format!("Failed to start the driver: {error}"))
            });
        match spawned {
            Ok(pid) => Ok(Started {
                pid,
                queue: queue.clone(),
                runtime,
                owns_runtime,
            }),
            Err(message) => {
                if owns_runtime {
                    runtime.shutdown();
                }
                Err(message)
            }
        }
    }

    /// The driver cannot run: the scheduler hears why, and that is all.
    fn fail(&self, queue: &CallbackQueue<SchedulerEvent>, message: String) {
        tracing::error!("driver aborted: {message}");
        self.shared.lifecycle.set_error(&message);
        self.shared.lifecycle.abort();
        queue.push(SchedulerEvent::Error(message));
        queue.end();
    }

    /// Ends the driver. With `failover` the framework's tasks go on, for another instance with the
    /// same framework id to take over within the failover timeout; without, the framework is torn
    /// down and its tasks are killed. Returns ABORTED when the driver had been aborted before.
    ///
    /// Does not wait: [`join`](Self::join) or [`wait`](Self::wait) tell when the end is sent off
    /// and the last callback has returned.
    pub fn stop(&self, failover: bool) -> Status {
        let before = match self.shared.lifecycle.stop() {
            Ok(before) => before,
            Err(status) => return status,
        };
        if let Some(started) = self.started() {
            started.pid.dispatch(move |process, ctx| {
                process.with_core(ctx, |core, io| core.stop(failover, io));
                ctx.terminate();
            });
            started.queue.end();
        }
        match before {
            Status::Aborted => Status::Aborted,
            _ => Status::Stopped,
        }
    }

    /// Ends all traffic and callbacks, but leaves the framework registered: its tasks go on until
    /// the failover timeout, or until [`stop`](Self::stop).
    pub fn abort(&self) -> Status {
        if self.shared.lifecycle.abort()
            && let Some(started) = self.started()
        {
            started.pid.dispatch(|process, ctx| {
                process.with_core(ctx, |core, io| core.abort(io));
            });
            started.queue.end();
        }
        self.status()
    }

    /// Blocks until the driver is stopped or aborted and its last callback has returned; not to be
    /// called in a callback. Returns at once when the driver was not started.
    pub fn join(&self) -> Status {
        futures::executor::block_on(self.wait())
    }

    /// [`join`](Self::join) for async code.
    pub async fn wait(&self) -> Status {
        self.shared.lifecycle.wait().await
    }

    /// [`start`](Self::start) and [`join`](Self::join).
    pub fn run(&self) -> Status {
        self.start();
        self.join()
    }

    // --- Calls --------------------------------------------------------------------------------

    /// Tells the allocator what the framework would need. Masters may ignore it, and do.
    pub fn request_resources(&self, requests: Vec<Request>) -> Status {
        self.simple_call(move || calls::request(requests))
    }

    /// Launches `tasks` on the resources of `offer_ids`, which must be of one agent. What is left
    /// of the offers is declined with `filters`. Without tasks the offers are declined.
    pub fn launch_tasks(
        &self,
        offer_ids: Vec<OfferId>,
        tasks: Vec<TaskInfo>,
        filters: Filters,
    ) -> Status {
        self.accept_offers(offer_ids, vec![calls::launch(tasks)], filters)
    }

    /// Applies `operations` in order to the resources of `offer_ids`, which must be of one agent.
    /// What is left is declined with `filters`. Operations must not have an `id`: their feedback
    /// needs the v1 API.
    pub fn accept_offers(
        &self,
        offer_ids: Vec<OfferId>,
        operations: Vec<offer::Operation>,
        filters: Filters,
    ) -> Status {
        self.act(move |core, io| core.accept_offers(offer_ids, operations, filters, io))
    }

    /// Gives an offer back. Its resources are not offered again for `filters.refuse_seconds` (5
    /// when not set).
    pub fn decline_offer(&self, offer_id: OfferId, filters: Filters) -> Status {
        self.act(move |core, io| core.decline_offer(offer_id, filters, io))
    }

    /// Asks for offers again: undoes the filters of declined offers and all suppression.
    pub fn revive_offers(&self) -> Status {
        self.act(|core, io| core.revive_offers(None, io))
    }

    /// [`revive_offers`](Self::revive_offers) for some of the framework's roles; does nothing for
    /// an empty list.
    pub fn revive_offers_of(&self, roles: Vec<String>) -> Status {
        self.act(move |core, io| core.revive_offers(Some(roles), io))
    }

    /// Asks for no more offers, until revived.
    pub fn suppress_offers(&self) -> Status {
        self.act(|core, io| core.suppress_offers(None, io))
    }

    /// [`suppress_offers`](Self::suppress_offers) for some of the framework's roles; does nothing
    /// for an empty list.
    pub fn suppress_offers_of(&self, roles: Vec<String>) -> Status {
        self.act(move |core, io| core.suppress_offers(Some(roles), io))
    }

    /// Asks for a task to be killed; its status updates tell what came of it. Repeat it until they
    /// do.
    pub fn kill_task(&self, task_id: TaskId) -> Status {
        self.simple_call(move || calls::kill(task_id))
    }

    /// Acknowledges a status update; only with explicit acknowledgements. Updates without `uuid`
    /// need none and are ignored.
    pub fn acknowledge_status_update(&self, status: &TaskStatus) -> Status {
        let status = status.clone();
        self.act(move |core, io| core.acknowledge_status_update(&status, io))
    }

    /// Asks for the latest status of the tasks in `statuses`, of which only the ids of task and
    /// agent matter; of all tasks when empty. The answers are status updates.
    pub fn reconcile_tasks(&self, statuses: Vec<TaskStatus>) -> Status {
        self.simple_call(move || calls::reconcile(statuses))
    }

    /// Sends `data` to an executor, best effort.
    pub fn send_framework_message(
        &self,
        executor_id: ExecutorId,
        agent_id: SlaveId,
        data: impl Into<Bytes>,
    ) -> Status {
        let data = data.into();
        self.act(move |core, io| core.send_framework_message(executor_id, agent_id, data, io))
    }

    /// Changes the framework's roles, capabilities and other settings, the suppressed roles and the
    /// offer constraints. The id must be the current one.
    pub fn update_framework(
        &self,
        framework: FrameworkInfo,
        suppressed_roles: Vec<String>,
        constraints: OfferConstraints,
    ) -> Status {
        self.act(move |core, io| {
            core.update_framework(framework, suppressed_roles, constraints, io);
        })
    }

    fn simple_call(&self, call: impl FnOnce() -> Call + Send + 'static) -> Status {
        self.act(|core, io| core.simple_call(call(), io))
    }

    /// Has the core do something, if the driver runs.
    fn act(&self, act: impl FnOnce(&mut SchedulerCore, &mut Io<'_>) + Send + 'static) -> Status {
        if self.shared.lifecycle.is_running()
            && let Some(started) = self.started()
        {
            let pending = self.shared.pending_calls.clone();
            pending.fetch_add(1, Ordering::Relaxed);
            started.pid.dispatch(move |process, ctx| {
                pending.fetch_sub(1, Ordering::Relaxed);
                process.with_core(ctx, act);
            });
        }
        self.status()
    }

    fn acknowledge_handled(&self, ack: Acknowledgement) {
        self.act(move |core, io| core.on_update_handled(ack, io));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn started(&self) -> Option<Started> {
        match &*self.state() {
            State::Started(started) => Some(started.clone()),
            _ => None,
        }
    }
}

/// The scheduler and its driver, on the callback thread.
struct SchedulerCallbacks {
    scheduler: Box<dyn Scheduler>,
    driver: SchedulerDriver,
}

impl Callbacks for SchedulerCallbacks {
    type Event = SchedulerEvent;

    fn outlives_driver(event: &SchedulerEvent) -> bool {
        matches!(event, SchedulerEvent::Error(_))
    }

    fn deliver(&mut self, event: SchedulerEvent) {
        let (scheduler, driver) = (&mut self.scheduler, &self.driver);
        match event {
            SchedulerEvent::Registered {
                framework_id,
                master_info,
            } => scheduler.registered(driver, &framework_id, &master_info),
            SchedulerEvent::Reregistered { master_info } => {
                scheduler.reregistered(driver, &master_info);
            }
            SchedulerEvent::Disconnected => scheduler.disconnected(driver),
            SchedulerEvent::ResourceOffers(offers) => scheduler.resource_offers(driver, offers),
            SchedulerEvent::OfferRescinded(id) => scheduler.offer_rescinded(driver, &id),
            SchedulerEvent::StatusUpdate {
                status,
                acknowledgement,
            } => {
                scheduler.status_update(driver, &status);
                if let Some(ack) = acknowledgement {
                    driver.acknowledge_handled(ack);
                }
            }
            SchedulerEvent::FrameworkMessage {
                executor_id,
                agent_id,
                data,
            } => scheduler.framework_message(driver, &executor_id, &agent_id, &data),
            SchedulerEvent::AgentLost(agent_id) => scheduler.agent_lost(driver, &agent_id),
            SchedulerEvent::ExecutorLost {
                executor_id,
                agent_id,
                status,
            } => scheduler.executor_lost(driver, &executor_id, &agent_id, status),
            SchedulerEvent::Error(message) => scheduler.error(driver, &message),
        }
    }

    fn panicked(&mut self, message: &str) {
        let message = format!("A callback of the scheduler panicked: {message}");
        tracing::error!("driver aborted: {message}");
        self.driver.shared.lifecycle.set_error(&message);
        self.driver.abort();
    }

    fn ended(&mut self) -> bool {
        let Some(started) = self.driver.started() else {
            return true;
        };
        let stopped = self.driver.status() == Status::Stopped;
        if stopped {
            futures::executor::block_on(started.runtime.wait(started.pid.upid()));
            if started.owns_runtime {
                started.runtime.shutdown();
            }
        }
        stopped
    }
}
