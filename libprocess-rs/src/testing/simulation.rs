//! Several runtimes on one thread, one network and one virtual time.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll, Waker};
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
/// test does: the same seed gives the same [`Trace`]. Work on blocking threads is waited for before the time moves on.
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

    /// Ends the runtime at this address at once, without a last turn for any of its actors. False if none runs there.
    pub fn crash(&mut self, address: SocketAddr, how: Crash) -> bool {
        let Some(running) = self.take(address) else {
            return false;
        };
        if how == Crash::Machine {
            self.network.switch_off(address.ip());
        }
        self.network.kill(|| running.end());
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
        if let Some(running) = self.take(address) {
            running.end();
        }
        true
    }

    /// Starts a runtime that has ended again, with the configuration it had, and gives its machine the power back. One that is
    /// still running [crashes](Crash::Process) first.
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

    fn take(&mut self, address: SocketAddr) -> Option<Running> {
        let mut nodes = self.nodes.iter_mut();
        nodes.find(|node| node.address == address)?.running.take()
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
        loop {
            self.settle();
            // It is looked at after each step anyway.
            let mut cx = Context::from_waker(Waker::noop());
            let polled = {
                let _entered = handle.enter();
                future.as_mut().poll(&mut cx)
            };
            if let Poll::Ready(output) = polled {
                return output;
            }
            if self.settle_again() {
                continue;
            }
            let stepped = self.clock.advance_to_next();
            assert!(
                stepped.is_some_and(|now| now <= end),
                "the future is not ready and never will be"
            );
        }
    }

    /// True if there was something to do.
    fn settle_again(&mut self) -> bool {
        let running = || self.nodes.iter().filter_map(|node| node.running.as_ref());
        let ready = running().any(|running| running.driver.is_ready());
        if ready {
            self.settle();
        }
        ready
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
