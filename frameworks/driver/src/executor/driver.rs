//! The handle that executors hold: [`ExecutorDriver`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use libprocess::{Pid, Runtime};
use mesos::proto::TaskStatus;

use super::core::{ExecutorCore, ExecutorEvent};
use super::process::{ExecutorProcess, Io};
use super::{EnvironmentError, Executor, ExecutorEnvironment};
use crate::Status;
use crate::callbacks::{self, CallbackQueue, Callbacks};
use crate::lifecycle::Lifecycle;
use crate::local;

/// The id of the driver's actor when it has a runtime to itself.
const PROCESS_ID: &str = "executor(1)";

/// Threads of the runtime that a driver starts for itself.
const RUNTIME_WORKERS: usize = 1;

/// Connects an [`Executor`] with its agent, over libprocess messages (the v0 interface).
///
/// The driver is a handle: clones speak for the same executor, and may be used from any thread,
/// from async code and from inside callbacks. No method but [`join`](Self::join) and
/// [`run`](Self::run) blocks.
///
/// ```no_run
/// use mesos_driver::{Executor, ExecutorDriver, proto};
///
/// struct Echo;
///
/// impl Executor for Echo {
///     fn launch_task(&mut self, driver: &ExecutorDriver, task: proto::TaskInfo) {
///         println!("{}", task.name);
///         driver.send_status_update(proto::TaskStatus {
///             task_id: task.task_id,
///             state: proto::TaskState::TaskFinished.into(),
///             ..Default::default()
///         });
///     }
///     fn kill_task(&mut self, _: &ExecutorDriver, _: &proto::TaskId) {}
/// }
///
/// ExecutorDriver::new(Echo).run();
/// ```
#[derive(Clone)]
pub struct ExecutorDriver {
    shared: Arc<Shared>,
}

struct Shared {
    lifecycle: Arc<Lifecycle>,
    state: Mutex<State>,
}

enum State {
    Built(Box<Parts>),
    Started(Started),
    /// The driver could not be started.
    Nothing,
}

struct Parts {
    executor: Box<dyn Executor>,
    environment: Result<ExecutorEnvironment, EnvironmentError>,
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct Started {
    pid: Pid<ExecutorProcess>,
    queue: CallbackQueue<ExecutorEvent>,
    runtime: Runtime,
    /// Whether the runtime was started for this driver, and ends with it.
    owns_runtime: bool,
}

/// Sets up an [`ExecutorDriver`]; made by [`ExecutorDriver::builder`].
pub struct ExecutorDriverBuilder(Box<Parts>);

impl ExecutorDriverBuilder {
    /// What the agent says, in place of the environment of this process.
    #[must_use]
    pub fn environment(mut self, environment: ExecutorEnvironment) -> Self {
        self.0.environment = Ok(environment);
        self
    }

    /// A runtime to live on, in place of one that is started (by the `LIBPROCESS_*` environment
    /// variables) and shut down with the driver.
    #[must_use]
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.0.runtime = Some(runtime);
        self
    }

    /// The driver, not yet started.
    pub fn build(self) -> ExecutorDriver {
        ExecutorDriver {
            shared: Arc::new(Shared {
                lifecycle: Arc::new(Lifecycle::new()),
                state: Mutex::new(State::Built(self.0)),
            }),
        }
    }
}

impl ExecutorDriver {
    /// A driver for the agent that started this process.
    pub fn new(executor: impl Executor) -> Self {
        Self::builder(executor).build()
    }

    /// Like [`new`](Self::new), with more to choose.
    pub fn builder(executor: impl Executor) -> ExecutorDriverBuilder {
        ExecutorDriverBuilder(Box::new(Parts {
            executor: Box::new(executor),
            environment: ExecutorEnvironment::from_env(),
            runtime: None,
        }))
    }

    /// The status right now.
    pub fn status(&self) -> Status {
        self.shared.lifecycle.status()
    }

    /// Why the driver was aborted, if it was by an error.
    pub fn error(&self) -> Option<String> {
        self.shared.lifecycle.error()
    }

    /// Starts to register with the agent. An error makes the driver ABORTED; it is given to
    /// [`Executor::error`] and kept for [`error`](Self::error).
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
        let (queue, receiver) = CallbackQueue::new();
        let lifecycle = self.shared.lifecycle.clone();
        let callbacks = ExecutorCallbacks {
            executor: parts.executor,
            driver: self.clone(),
        };
        if let Err(error) = callbacks::run("executor-driver", callbacks, lifecycle, receiver) {
            let message = format!("Failed to start a thread: {error}");
            self.shared.lifecycle.set_error(&message);
            self.shared.lifecycle.abort();
            self.shared.lifecycle.finish();
            return None;
        }
        let started = parts
            .environment
            .map_err(|error| error.to_string())
            .and_then(|environment| {
                self.start_process(ExecutorCore::new(environment), parts.runtime, &queue)
            });
        started
            .map_err(|message| {
                tracing::error!("driver aborted: {message}");
                self.shared.lifecycle.set_error(&message);
                self.shared.lifecycle.abort();
                queue.push(ExecutorEvent::Error(message));
                queue.end();
            })
            .ok()
    }

    fn start_process(
        &self,
        core: ExecutorCore,
        runtime: Option<Runtime>,
        queue: &CallbackQueue<ExecutorEvent>,
    ) -> Result<Started, String> {
        let owns_runtime = runtime.is_none();
        let (runtime, id) = match runtime {
            Some(runtime) => {
                let id = runtime.generate_id("executor");
                (runtime, id)
            }
            None => {
                let runtime = local::start_runtime(PROCESS_ID.to_owned(), RUNTIME_WORKERS)?;
                (runtime, PROCESS_ID.to_owned())
            }
        };
        let lifecycle = self.shared.lifecycle.clone();
        match runtime.spawn(id, ExecutorProcess::new(core, queue.clone(), lifecycle)) {
            Ok(pid) => Ok(Started {
                pid,
                queue: queue.clone(),
                runtime,
                owns_runtime,
            }),
            Err(error) => {
                if owns_runtime {
                    runtime.shutdown();
                }
                Err(format!("Failed to start the driver: {error}"))
            }
        }
    }

    /// Ends the driver; what was sent before still goes out. Returns ABORTED when the driver had
    /// been aborted before.
    pub fn stop(&self) -> Status {
        let before = match self.shared.lifecycle.stop() {
            Ok(before) => before,
            Err(status) => return status,
        };
        if let Some(started) = self.started() {
            started.pid.dispatch(|process, ctx| {
                process.with_core(ctx, |core, _| core.end());
                ctx.terminate();
            });
            started.queue.end();
        }
        match before {
            Status::Aborted => Status::Aborted,
            _ => Status::Stopped,
        }
    }

    /// Ends all traffic and callbacks.
    pub fn abort(&self) -> Status {
        if self.shared.lifecycle.abort()
            && let Some(started) = self.started()
        {
            started
                .pid
                .dispatch(|process, ctx| process.with_core(ctx, |core, _| core.end()));
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

    /// Reports the state of a task. The driver fills in uuid, timestamp, source, agent and executor
    /// id, and repeats the update when a restarted agent asks for what it missed. TASK_STAGING is
    /// not an executor's to send and aborts the driver.
    pub fn send_status_update(&self, status: TaskStatus) -> Status {
        self.act(move |core, io| core.send_status_update(status, io))
    }

    /// Sends `data` to the scheduler, best effort.
    pub fn send_framework_message(&self, data: impl Into<Bytes>) -> Status {
        let data = data.into();
        self.act(move |core, io| core.send_framework_message(data, io))
    }

    fn act(&self, act: impl FnOnce(&mut ExecutorCore, &mut Io<'_>) + Send + 'static) -> Status {
        if self.shared.lifecycle.is_running()
            && let Some(started) = self.started()
        {
            started
                .pid
                .dispatch(move |process, ctx| process.with_core(ctx, act));
        }
        self.status()
    }

    fn state(&self) -> MutexGuard<'_, State> {
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

/// The executor and its driver, on the callback thread.
struct ExecutorCallbacks {
    executor: Box<dyn Executor>,
    driver: ExecutorDriver,
}

impl Callbacks for ExecutorCallbacks {
    type Event = ExecutorEvent;

    fn outlives_driver(event: &ExecutorEvent) -> bool {
        matches!(event, ExecutorEvent::Error(_))
    }

    fn deliver(&mut self, event: ExecutorEvent) {
        let (executor, driver) = (&mut self.executor, &self.driver);
        match event {
            ExecutorEvent::Registered(message) => executor.registered(
                driver,
                &message.executor_info,
                &message.framework_info,
                &message.slave_info,
            ),
            ExecutorEvent::Reregistered(agent) => executor.reregistered(driver, &agent),
            ExecutorEvent::Disconnected => executor.disconnected(driver),
            ExecutorEvent::LaunchTask(task) => executor.launch_task(driver, *task),
            ExecutorEvent::KillTask(task_id) => executor.kill_task(driver, &task_id),
            ExecutorEvent::FrameworkMessage(data) => executor.framework_message(driver, &data),
            ExecutorEvent::Shutdown => executor.shutdown(driver),
            ExecutorEvent::Error(message) => executor.error(driver, &message),
        }
    }

    fn panicked(&mut self, message: &str) {
        let message = format!("A callback of the executor panicked: {message}");
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
