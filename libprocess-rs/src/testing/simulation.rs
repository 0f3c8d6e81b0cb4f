//! Several runtimes on one thread, one network and one virtual time.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use super::trace::Recorder;
use super::{SimNetwork, Trace};
use crate::{Clock, Driver, Instant, Runtime, RuntimeConfig, StartError, Threads};

/// The port of a runtime that does not ask for one.
const PORT: u16 = 5050;

/// The first address of the hosts.
const FIRST_HOST: u32 = u32::from_be_bytes([10, 0, 0, 1]);

/// A future that is not ready after this long is taken for one that never will be.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// How long blocking work is waited for, in real time, before it is looked at again.
const BLOCKING_POLL: Duration = Duration::from_millis(100);

/// How often tasks that were given to the tokio runtime itself may run in a row.
const TOKIO_ROUNDS: usize = 8;

/// Several runtimes, which stand for OS processes on hosts of their own, on the calling thread and on virtual time.
///
/// Nothing happens but in the methods of the simulation, and everything that happens is determined by the seed and by what the
/// test does: the same seed gives the same [`Trace`]. Blocking work of actors ([`Context::blocking`](crate::Context::blocking)) and
/// of the runtimes themselves is waited for before the time moves on; what else runs on threads, such as `spawn_blocking` of
/// [`Runtime::handle`], is not.
pub struct Simulation {
    seed: u64,
    clock: Clock,
    network: SimNetwork,
    recorder: Recorder,
    hosts: u32,
    // Dropped in this order.
    nodes: Vec<Node>,
    tokio: tokio::runtime::Runtime,
}

/// One simulated OS process.
struct Node {
    config: RuntimeConfig,
    address: SocketAddr,
    running: Option<Running>,
}

struct Running {
    driver: Driver,
    runtime: Runtime,
}

/// What is left when a simulated OS process [crashes](Simulation::crash).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process was killed: its machine resets the connections, and refuses new ones.
    Process,
    /// The machine lost its power: nobody is told, and who connects waits in vain.
    Machine,
}

impl Simulation {
    /// A simulation without runtimes, at 2020-01-01 00:00:00 UTC.
    ///
    /// # Panics
    /// If the OS refuses what an event loop needs.
    pub fn new(seed: u64) -> Self {
        let clock = Clock::paused();
        let mut tokio = tokio::runtime::Builder::new_current_thread();
        let tokio = tokio.enable_all().build();
        Self {
            seed,
            network: SimNetwork::new(seed, &clock),
            clock,
            recorder: Recorder::default(),
            hosts: 0,
            nodes: Vec::new(),
            tokio: tokio.unwrap_or_else(|error| panic!("failed to make an event loop: {error}")),
        }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The time of all runtimes.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The network between the runtimes.
    pub fn network(&self) -> &SimNetwork {
        &self.network
    }

    /// What has happened so far.
    pub fn trace(&self) -> Trace {
        self.recorder.trace()
    }

    /// Starts a runtime on a new host: `10.0.0.1:5050`, `10.0.0.2:5050` and so on.
    ///
    /// # Errors
    /// See [`Runtime::start`].
    pub fn start(&mut self) -> Result<Runtime, StartError> {
        self.start_with(RuntimeConfig::default())
    }

    /// Like [`start`](Self::start), with a configuration; its threads, clock and transport are replaced. With an IP address it
    /// is a host that may have other runtimes on other ports.
    ///
    /// # Errors
    /// See [`Runtime::start`].
    pub fn start_with(&mut self, mut config: RuntimeConfig) -> Result<Runtime, StartError> {
        if config.ip.is_unspecified() {
            config.ip = Ipv4Addr::from(FIRST_HOST + self.hosts).into();
            self.hosts += 1;
        }
        if config.port == 0 {
            config.port = PORT;
        }
        config.clock = self.clock.clone();
        config.transport = self.network.transport(config.ip);
        let running = self.boot(&config)?;
        let runtime = running.runtime.clone();
        self.nodes.push(Node {
            address: runtime.address(),
            config,
            running: Some(running),
        });
        self.settle();
        Ok(runtime)
    }

    fn boot(&self, config: &RuntimeConfig) -> Result<Running, StartError> {
        let driver = Driver::new(self.tokio.handle().clone());
        let runtime = Runtime::start(RuntimeConfig {
            threads: Threads::Driven(driver.handle()),
            ..config.clone()
        })?;
        runtime.inner().hooks.observe(self.recorder.observer());
        Ok(Running { driver, runtime })
    }

    /// Ends the runtime at this address at once, without a last turn for any of its actors; if it is the
    /// [machine](Crash::Machine) that crashes, all runtimes of its IP address. False if none runs there.
    pub fn crash(&mut self, address: SocketAddr, how: Crash) -> bool {
        let crashes = |node: &&mut Node| match how {
            Crash::Process => node.address == address,
            Crash::Machine => node.address.ip() == address.ip(),
        };
        let nodes = self.nodes.iter_mut().filter(crashes);
        let ended: Vec<_> = nodes.filter_map(|node| node.running.take()).collect();
        if ended.is_empty() {
            return false;
        }
        if how == Crash::Machine {
            self.network.switch_off(address.ip());
        }
        self.network
            .kill(|| ended.into_iter().for_each(Running::end));
        true
    }

    /// Ends the runtime at this address in good order. False if none runs there.
    pub fn stop(&mut self, address: SocketAddr) -> bool {
        let runtime = self.runtime(address).cloned();
        let Some(runtime) = runtime else {
            return false;
        };
        let inner = runtime.inner().clone();
        self.block_on(async move { inner.end().await });
        let node = self.nodes.iter_mut().find(|node| node.address == address);
        if let Some(running) = node.and_then(|node| node.running.take()) {
            running.end();
        }
        true
    }

    /// Starts a runtime that has ended again, with the configuration it had, and gives its machine the power back; other
    /// runtimes of the machine stay down. One that is still running [crashes](Crash::Process) first.
    ///
    /// # Errors
    /// See [`Runtime::start`].
    ///
    /// # Panics
    /// If no runtime was ever started at this address.
    pub fn restart(&mut self, address: SocketAddr) -> Result<Runtime, StartError> {
        self.crash(address, Crash::Process);
        let node = self.nodes.iter().position(|node| node.address == address);
        let Some(index) = node else {
            panic!("no runtime was started at {address}");
        };
        self.network.switch_on(address.ip());
        let running = self.boot(&self.nodes[index].config)?;
        let runtime = running.runtime.clone();
        self.nodes[index].running = Some(running);
        self.settle();
        Ok(runtime)
    }

    /// The runtime that runs at this address.
    pub fn runtime(&self, address: SocketAddr) -> Option<&Runtime> {
        let node = self.nodes.iter().find(|node| node.address == address)?;
        Some(&node.running.as_ref()?.runtime)
    }

    /// Lets the runtimes do all they can without time going on.
    pub fn settle(&mut self) {
        loop {
            let mut active = self.fire_due();
            for running in self
                .nodes
                .iter_mut()
                .filter_map(|node| node.running.as_mut())
            {
                active |= running.driver.run();
            }
            if !active && !self.finish_outside_work() {
                return;
            }
        }
    }

    fn fire_due(&self) -> bool {
        let next = self.clock.next_deadline();
        let due = next.is_some_and(|next| next <= self.clock.now());
        if due {
            self.clock.advance(Duration::ZERO);
        }
        due
    }

    /// Waits for work that does not run on this thread. True if something came of it.
    fn finish_outside_work(&self) -> bool {
        if self.tokio.metrics().num_alive_tasks() > 0 {
            self.tokio.block_on(async {
                for _ in 0..TOKIO_ROUNDS {
                    tokio::task::yield_now().await;
                }
            });
        }
        loop {
            let mut running = self.nodes.iter().filter_map(|node| node.running.as_ref());
            if running.clone().any(|running| running.driver.is_ready()) {
                return true;
            }
            if !running.any(|running| running.runtime.inner().is_busy()) {
                return false;
            }
            thread::park_timeout(BLOCKING_POLL);
        }
    }

    /// Lets the runtimes do all they can, moves the time to the next timer, and again. False if there was no timer.
    pub fn step(&mut self) -> bool {
        self.settle();
        let stepped = self.clock.advance_to_next().is_some();
        self.settle();
        stepped
    }

    /// Runs for this long.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        self.run_until(time, || false);
        self.clock.advance(end - self.clock.now());
        self.settle();
    }

    /// Runs until `condition` holds. False if it does not hold within `limit`, or if nothing is left to happen before.
    pub fn run_until(&mut self, limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let end = self.clock.now() + limit;
        loop {
            self.settle();
            if condition() {
                return true;
            }
            let within = self.clock.next_deadline().is_some_and(|next| next <= end);
            if !within || self.clock.advance_to_next().is_none() {
                return false;
            }
        }
    }

    /// Runs until `future` is ready, and returns its output.
    ///
    /// # Panics
    /// If nothing is left to happen before, or a day passes.
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let handle = self.tokio.handle().clone();
        let end = self.clock.now() + PATIENCE;
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        loop {
            self.settle();
            let polled = {
                let _entered = handle.enter();
                future.as_mut().poll(&mut Context::from_waker(&waker))
            };
            if let Poll::Ready(output) = polled {
                return output;
            }
            // Others do what the future gave them to do, and it goes on with what came of it, before the time does.
            self.settle();
            if woken.0.swap(false, Ordering::AcqRel) {
                continue;
            }
            let stepped = self.clock.advance_to_next();
            assert!(
                stepped.is_some_and(|now| now <= end),
                "the future is not ready and never will be"
            );
        }
    }
}

/// Notes that a future wants to be looked at again.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Running {
    /// Drops all that runs, and what waits for the actors: it may hold the runtime itself.
    fn end(self) {
        let Self { driver, runtime } = self;
        drop(driver);
        runtime.inner().forget_actors();
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "The simulation had seed {} and the time {:?}",
                self.seed,
                self.now()
            );
        }
        for node in &mut self.nodes {
            if let Some(running) = node.running.take() {
                running.end();
            }
        }
    }
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation")
            .field("seed", &self.seed)
            .field("now", &self.now())
            .field("runtimes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}
