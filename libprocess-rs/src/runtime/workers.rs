//! The threads of a runtime: an actix System and its arbiters, or a thread that somebody else drives.

use std::collections::HashSet;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use actix::{Actor as _, Addr};
use actix_rt::{Arbiter, System};
use parking_lot::Mutex;

use super::StartError;
use super::driver::{DriverHandle, Threads, Worker};
use crate::RuntimeConfig;
use crate::network::Listener;

/// Threads for blocking work at most.
const MAX_BLOCKING_THREADS: usize = 64;

/// Threads for blocking work end after this long without any.
const BLOCKING_THREAD_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How long work that blocks a thread is waited for when the threads are to end.
const THREADS_GRACE: Duration = Duration::from_secs(5);

/// The threads that run code of a runtime now, those for blocking work among them.
#[derive(Clone, Default)]
struct ThreadIds(Arc<Mutex<HashSet<ThreadId>>>);

impl ThreadIds {
    fn enter(&self) {
        self.0.lock().insert(thread::current().id());
    }

    fn leave(&self) {
        self.0.lock().remove(&thread::current().id());
    }

    fn have_current(&self) -> bool {
        self.0.lock().contains(&thread::current().id())
    }
}

/// The actix actor of one thread, which starts the processes that are placed there.
struct Starter;

/// Starts a process on the thread that it is sent to.
struct Start(Box<dyn FnOnce() + Send>);

impl actix::Message for Start {
    type Result = ();
}

impl actix::Actor for Starter {
    type Context = actix::Context<Self>;
}

impl actix::Handler<Start> for Starter {
    type Result = ();

    fn handle(&mut self, start: Start, _: &mut Self::Context) {
        (start.0)();
    }
}

/// The threads of one runtime.
///
/// The first is that of the actix System. With one worker it does everything. Else a quarter of the workers, at least one and
/// beginning with the first, serve connections and send, and the others host actors, each new one on the next in turn.
pub(crate) struct Workers {
    first: Worker,
    all: Vec<Worker>,
    tasks: Tasks,
    /// Empty if the threads are not its own.
    starters: Vec<Addr<Starter>>,
    network: usize,
    next_actor: AtomicUsize,
    next_connection: AtomicUsize,
    threads: ThreadIds,
    handle: tokio::runtime::Handle,
    /// None if the threads are not its own.
    system: Option<System>,
    first_thread: Mutex<Option<FirstThread>>,
}

/// The thread that ends when all others have ended.
struct FirstThread {
    join: JoinHandle<()>,
    /// Disconnected then.
    end: mpsc::Receiver<Infallible>,
}

/// Counts the tasks of a runtime. Only tests ask for that; elsewhere it would cost each task memory.
#[derive(Clone, Default)]
pub(super) struct Tasks {
    #[cfg(feature = "testing")]
    alive: super::Tally,
}

impl Tasks {
    /// `task`, counted until it is done or dropped.
    pub(super) fn count<F: Future>(&self, task: F) -> impl Future<Output = F::Output> + use<F> {
        #[cfg(feature = "testing")]
        let task = {
            let counted = self.alive.begin();
            futures::FutureExt::inspect(task, move |_| drop(counted))
        };
        task
    }
}

struct Started {
    tasks: Tasks,
    first: Worker,
    workers: Vec<Worker>,
    starters: Vec<Addr<Starter>>,
    threads: ThreadIds,
    handle: tokio::runtime::Handle,
    system: Option<System>,
    listener: Box<dyn Listener>,
}

impl Workers {
    /// The index of the first worker.
    pub(crate) const FIRST: usize = 0;

    /// Starts the threads and binds the port on the first of them.
    pub(crate) fn start(config: &RuntimeConfig) -> Result<(Self, Box<dyn Listener>), StartError> {
        match &config.threads {
            Threads::Own => Self::start_own(config),
            Threads::Driven(driver) => {
                let started = Started::driven(config, driver)?;
                Ok(Self::new(started, None))
            }
        }
    }

    fn start_own(config: &RuntimeConfig) -> Result<(Self, Box<dyn Listener>), StartError> {
        let (tx, rx) = mpsc::channel();
        let (running, end) = mpsc::channel();
        let config = config.clone();
        let join = thread::Builder::new()
            .name("libprocess".to_owned())
            .spawn(move || {
                run_system(&config, &tx);
                drop(running);
            })
            .map_err(StartError::Thread)?;
        let started = rx
            .recv()
            .unwrap_or_else(|_| Err(StartError::Thread(io::ErrorKind::BrokenPipe.into())));
        let started = match started {
            Ok(started) => started,
            Err(error) => {
                let _ = join.join();
                return Err(error);
            }
        };
        Ok(Self::new(started, Some(FirstThread { join, end })))
    }

    fn new(started: Started, first: Option<FirstThread>) -> (Self, Box<dyn Listener>) {
        let workers = Self {
            first: started.first,
            network: (started.workers.len() / 4).max(1),
            all: started.workers,
            tasks: started.tasks,
            starters: started.starters,
            next_actor: AtomicUsize::new(0),
            next_connection: AtomicUsize::new(0),
            threads: started.threads,
            handle: started.handle,
            system: started.system,
            first_thread: Mutex::new(first),
        };
        (workers, started.listener)
    }

    /// The index of the worker for the next new actor.
    pub(crate) fn next_actor(&self) -> usize {
        // With one worker it serves the network and the actors.
        let first = self.network.min(self.all.len().saturating_sub(1));
        let next = self.next_actor.fetch_add(1, Ordering::Relaxed);
        first + next % (self.all.len() - first).max(1)
    }

    /// Runs `start` on the worker of this index. False if the worker has ended.
    pub(crate) fn start_actor(&self, index: usize, start: impl FnOnce() + Send + 'static) -> bool {
        let Some(starter) = self.starters.get(index) else {
            return self.first.spawn_fn(start);
        };
        starter.do_send(Start(Box::new(start)));
        starter.connected()
    }

    /// Runs `task`, which need not be `Send`, on the current thread, which is that of a worker.
    pub(crate) fn spawn_here(&self, task: impl Future<Output: 'static> + 'static) {
        actix_rt::spawn(self.tasks.count(task));
    }

    /// How many tasks there are.
    #[cfg(feature = "testing")]
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.alive.count()
    }

    /// The index, among the network workers, of the one for the next new connection.
    pub(crate) fn next_connection(&self) -> usize {
        self.next_connection.fetch_add(1, Ordering::Relaxed) % self.network
    }

    /// The workers that serve connections and send.
    pub(crate) fn network(&self) -> &[Worker] {
        self.all.get(..self.network).unwrap_or(&self.all)
    }

    /// The network worker that sends to this destination: always the same one, in every run.
    pub(crate) fn for_destination(&self, to: SocketAddr) -> &Worker {
        let mut hasher = DefaultHasher::new();
        to.hash(&mut hasher);
        let index = hasher.finish() as usize % self.network;
        self.network().get(index).unwrap_or(&self.first)
    }

    pub(crate) fn all(&self) -> &[Worker] {
        &self.all
    }

    /// The first worker, which listens.
    pub(crate) fn first(&self) -> &Worker {
        &self.first
    }

    pub(crate) fn handle(&self) -> &tokio::runtime::Handle {
        &self.handle
    }

    /// True if somebody else's thread runs the runtime.
    pub(crate) fn are_driven(&self) -> bool {
        self.system.is_none()
    }

    /// True on a thread of the runtime, also on one for blocking work.
    pub(crate) fn is_current(&self) -> bool {
        self.threads.have_current()
    }

    /// Ends the threads and waits for them, unless something blocks one of them for too long.
    pub(crate) fn stop(&self) {
        self.tell_to_stop();
        let Some(FirstThread { join, end }) = self.first_thread.lock().take() else {
            return;
        };
        match end.recv_timeout(THREADS_GRACE) {
            Err(mpsc::RecvTimeoutError::Timeout) => {
                tracing::error!("Blocking work did not end; the threads are left behind");
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                if join.join().is_err() {
                    tracing::error!("A libprocess thread panicked");
                }
            }
        }
    }

    /// Tells the threads to end when they can.
    pub(crate) fn abandon(&self) {
        self.tell_to_stop();
        self.first_thread.lock().take();
    }

    fn tell_to_stop(&self) {
        if let Some(system) = &self.system {
            system.stop();
        }
    }
}

/// The body of the first thread.
fn run_system(config: &RuntimeConfig, started: &mpsc::Sender<Result<Started, StartError>>) {
    let threads = ThreadIds::default();
    threads.enter();
    let tokio = match build_tokio(&threads) {
        Ok(tokio) => tokio,
        Err(error) => {
            let _ = started.send(Err(StartError::Thread(error)));
            return;
        }
    };
    let runner = System::with_tokio_rt(|| tokio);
    let mut arbiters = Vec::new();
    let result = runner.block_on(async { prepare(config, threads, &mut arbiters).await });
    let failed = result.is_err();
    let _ = started.send(result);
    if failed {
        System::current().stop();
    }
    if let Err(error) = runner.run() {
        tracing::error!("The libprocess system failed: {error}");
    }
    for arbiter in arbiters {
        arbiter.stop();
        let _ = arbiter.join();
    }
}

async fn prepare(
    config: &RuntimeConfig,
    threads: ThreadIds,
    arbiters: &mut Vec<Arbiter>,
) -> Result<Started, StartError> {
    let listener = bind(config)?;
    let tasks = Tasks::default();
    let first = Worker::own(Arbiter::current(), tasks.clone());
    let mut workers = vec![first.clone()];
    let mut starters = vec![Starter.start()];
    for _ in 1..config.workers.max(1) {
        let their = threads.clone();
        let arbiter = Arbiter::try_with_tokio_rt(move || build_tokio(&their));
        let arbiter = arbiter.map_err(StartError::Thread)?;
        let (tx, rx) = tokio::sync::oneshot::channel();
        let own = threads.clone();
        arbiter.spawn_fn(move || {
            own.enter();
            let _ = tx.send(Starter.start());
        });
        let starter = rx
            .await
            .map_err(|_| StartError::Thread(io::ErrorKind::BrokenPipe.into()))?;
        starters.push(starter);
        workers.push(Worker::own(arbiter.handle(), tasks.clone()));
        arbiters.push(arbiter);
    }
    Ok(Started {
        tasks,
        first,
        workers,
        starters,
        threads,
        handle: tokio::runtime::Handle::current(),
        system: Some(System::current()),
        listener,
    })
}

impl Started {
    fn driven(config: &RuntimeConfig, driver: &DriverHandle) -> Result<Self, StartError> {
        let _entered = driver.tokio().enter();
        let tasks = Tasks::default();
        let first = Worker::driven(driver.clone(), tasks.clone());
        let threads = ThreadIds(Arc::new(Mutex::new(HashSet::from([driver.thread()]))));
        Ok(Self {
            tasks,
            listener: bind(config)?,
            workers: vec![first.clone()],
            starters: Vec::new(),
            first,
            threads,
            handle: driver.tokio().clone(),
            system: None,
        })
    }
}

fn bind(config: &RuntimeConfig) -> Result<Box<dyn Listener>, StartError> {
    let address = SocketAddr::new(config.ip, config.port);
    let bound = config.transport.bind(address);
    bound.map_err(|error| StartError::Bind { address, error })
}

/// The hooks are called on the threads for blocking work alone.
fn build_tokio(threads: &ThreadIds) -> io::Result<tokio::runtime::Runtime> {
    let (begun, ended) = (threads.clone(), threads.clone());
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .thread_keep_alive(BLOCKING_THREAD_KEEP_ALIVE)
        .on_thread_start(move || begun.enter())
        .on_thread_stop(move || ended.leave())
        .build()
}
