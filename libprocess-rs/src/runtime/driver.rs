//! Runtimes without threads of their own: the thread that owns a [`Driver`] runs them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread, ThreadId};

use actix_rt::ArbiterHandle;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use super::workers::Tasks;

type Job = Box<dyn FnOnce() + Send>;

/// Where the work of a runtime runs.
#[derive(Clone, Debug, Default)]
pub enum Threads {
    /// On as many threads of its own as [`RuntimeConfig::workers`](crate::RuntimeConfig::workers) says.
    #[default]
    Own,
    /// On the thread that owns a [`Driver`], whenever it runs it; [`RuntimeConfig::workers`](crate::RuntimeConfig::workers) does
    /// not matter then.
    Driven(DriverHandle),
}

/// Runs runtimes on the thread that owns it, and only while that thread asks it to.
///
/// Dropping it ends what it ran on the spot, in the middle of whatever it was doing, as the end of an OS process would: actors
/// are dropped without being finalized and connections are closed.
pub struct Driver {
    local: LocalSet,
    wakeup: Arc<Wakeup>,
    waker: Waker,
    handle: DriverHandle,
}

/// Says in [`RuntimeConfig::threads`](crate::RuntimeConfig::threads) which [`Driver`] runs a runtime.
#[derive(Clone, Debug)]
pub struct DriverHandle {
    jobs: mpsc::UnboundedSender<Job>,
    tokio: tokio::runtime::Handle,
    thread: ThreadId,
}

/// Notes that there is something to do.
struct Wakeup {
    woken: AtomicBool,
    thread: Thread,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

impl Driver {
    /// A driver on the current thread. `tokio` serves blocking work and, if someone drives it, TCP sockets.
    pub fn new(tokio: tokio::runtime::Handle) -> Self {
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        let local = LocalSet::new();
        local.spawn_local(async move {
            while let Some(job) = queue.recv().await {
                job();
            }
        });
        let wakeup = Arc::new(Wakeup {
            woken: AtomicBool::new(true),
            thread: thread::current(),
        });
        let handle = DriverHandle {
            jobs,
            tokio,
            thread: thread::current().id(),
        };
        Self {
            local,
            waker: wakeup.clone().into(),
            wakeup,
            handle,
        }
    }

    /// For the configuration of a runtime.
    pub fn handle(&self) -> DriverHandle {
        self.handle.clone()
    }

    /// True if something is ready to run.
    pub fn is_ready(&self) -> bool {
        self.wakeup.woken.load(Ordering::Acquire)
    }

    /// Runs what is ready, and what becomes ready by that, until nothing is. True if there was something.
    pub fn run(&mut self) -> bool {
        if !self.is_ready() {
            return false;
        }
        let _entered = self.handle.tokio.enter();
        let mut cx = Context::from_waker(&self.waker);
        while self.wakeup.woken.swap(false, Ordering::AcqRel) {
            // It is never ready: the task that takes the jobs lives as long as the handle in this driver.
            let _ = Pin::new(&mut self.local).poll(&mut cx);
        }
        true
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

impl DriverHandle {
    pub(super) fn tokio(&self) -> &tokio::runtime::Handle {
        &self.tokio
    }

    pub(super) fn thread(&self) -> ThreadId {
        self.thread
    }
}

/// A thread that runs tasks of a runtime.
#[derive(Clone)]
pub(crate) struct Worker {
    thread: WorkerThread,
    tasks: Tasks,
}

#[derive(Clone)]
enum WorkerThread {
    Own(ArbiterHandle),
    Driven(DriverHandle),
}

impl Worker {
    pub(super) fn own(arbiter: ArbiterHandle, tasks: Tasks) -> Self {
        let thread = WorkerThread::Own(arbiter);
        Self { thread, tasks }
    }

    pub(super) fn driven(driver: DriverHandle, tasks: Tasks) -> Self {
        let thread = WorkerThread::Driven(driver);
        Self { thread, tasks }
    }

    /// Runs `task` on the thread; false if it has ended.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        let task = self.tasks.count(task);
        match &self.thread {
            WorkerThread::Own(arbiter) => arbiter.spawn(task),
            WorkerThread::Driven(_) => self.spawn_fn(move || drop(spawn_local(task))),
        }
    }

    /// Calls `f` on the thread; false if it has ended.
    pub(crate) fn spawn_fn(&self, f: impl FnOnce() + Send + 'static) -> bool {
        match &self.thread {
            WorkerThread::Own(arbiter) => arbiter.spawn_fn(f),
            WorkerThread::Driven(driver) => driver.jobs.send(Box::new(f)).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures::FutureExt;

    use super::*;
    use crate::{Context, Gone, Pid, Process, Runtime, RuntimeConfig};

    struct Counter(Arc<AtomicUsize>);

    impl Process for Counter {
        fn initialize(&mut self, _: &mut Context<Self>) {
            assert_eq!(self.0.swap(1, Ordering::Relaxed), 0);
        }

        fn finalize(&mut self, _: &mut Context<Self>) {
            self.0.store(100, Ordering::Relaxed);
        }
    }

    fn tokio() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    }

    fn start(driver: &Driver) -> Runtime {
        Runtime::start(RuntimeConfig {
            threads: Threads::Driven(driver.handle()),
            ..RuntimeConfig::loopback()
        })
        .unwrap()
    }

    #[test]
    fn nothing_happens_unless_it_is_driven() {
        let tokio = tokio();
        let mut drivers = [
            Driver::new(tokio.handle().clone()),
            Driver::new(tokio.handle().clone()),
        ];
        let count = Arc::new(AtomicUsize::new(0));
        let runtimes = drivers.each_ref().map(start);
        let actor = runtimes[0].spawn("a", Counter(count.clone())).unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 0);
        assert!(drivers[0].run());
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert!(!drivers[0].run());
        let turn = count.clone();
        actor.dispatch(move |_, _| turn.store(2, Ordering::Relaxed));
        assert!(drivers[0].is_ready());
        assert!(drivers[0].run());
        assert_eq!(count.load(Ordering::Relaxed), 2);
        drivers[1].run();
        assert!(!runtimes[1].contains("a"));
        runtimes[0].shutdown();
        drivers[0].run();
        assert_eq!(count.load(Ordering::Relaxed), 100);
        assert!(!runtimes[0].contains("a"));
    }

    #[test]
    fn dropping_a_driver_drops_its_actors() {
        let tokio = tokio();
        let mut driver = Driver::new(tokio.handle().clone());
        let count = Arc::new(AtomicUsize::new(0));
        let runtime = start(&driver);
        let begun = runtime.spawn("a", Counter(count.clone())).unwrap();
        driver.run();
        let unborn = runtime
            .spawn("b", Counter(Arc::new(AtomicUsize::new(0))))
            .unwrap();
        let actors = [begun, unborn];
        let ask = |actor: &Pid<Counter>| actor.ask(|_, _| ()).boxed();
        let mut asks = Vec::new();
        for actor in &actors {
            let own = actor.upid().clone();
            runtime.send(
                &own,
                &own,
                "kept by the actor that it is sent to",
                "".into(),
            );
            asks.push(ask(actor));
        }
        let mut waits = actors
            .each_ref()
            .map(|actor| Box::pin(runtime.wait(actor.upid())));
        for wait in &mut waits {
            assert_eq!(wait.as_mut().now_or_never(), None);
        }
        drop(driver);
        assert_eq!(Arc::strong_count(&count), 1);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        asks.extend(actors.iter().map(ask));
        for ask in asks {
            assert_eq!(ask.now_or_never(), Some(Err(Gone)));
        }
        for wait in waits {
            assert_eq!(wait.now_or_never(), Some(true));
        }
        assert!(runtime.spawn("c", Counter(count.clone())).is_err());
        runtime.shutdown();
    }
}
