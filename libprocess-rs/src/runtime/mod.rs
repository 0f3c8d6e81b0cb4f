//! A runtime: actors, a port, metrics and a clock, all of one instance.

mod addresses;
mod driver;
mod inner;
mod tally;
mod workers;

pub use driver::{Driver, DriverHandle, Threads};

use addresses::Addresses;
pub(crate) use inner::{Counters, Inner};
pub(crate) use tally::{Counted, Tally};

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::actor::{self, Actor, AddError, Context, Mailbox, Own, Pid, Process};
use crate::builtin;
use crate::http::RouteTable;
use crate::network::{BoxFuture, Tls, TlsError, serve_port};
use crate::{Clock, MessageName, Metrics, RuntimeConfig, Upid};
use workers::Workers;

/// What upstream calls an OS process with libprocess in it: a set of actors behind one port.
///
/// Clones are handles to the same runtime. It runs until [`shutdown`](Self::shutdown); dropping all handles does not end it.
/// Several runtimes may live in one OS process without knowing of each other.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

/// Why a runtime did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("failed to listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// A thread or its event loop could not be made.
    #[error("failed to start a worker thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The runtime listens on all addresses of one or both families, and none of them was found to advertise.
    #[error(
        "no IP address that is listened on found for host name '{0}': set one to listen on or to advertise"
    )]
    NoAddress(String),
    /// TLS is on but cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why an actor was not spawned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// An actor of this id is running.
    #[error("actor '{0}' is already running")]
    Exists(String),
    /// The runtime has been shut down.
    #[error("actor '{0}' not spawned: the runtime is shutting down")]
    ShuttingDown(String),
}

/// The thread that hosts a new actor. It stays there for life: all turns of an actor run on one thread, and actors of one thread
/// take turns.
///
/// An actor that keeps its thread busy delays its neighbours and nobody else. Actors that talk to each other all the time are
/// fastest on one thread, where a message needs no other core to be woken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement {
    /// The threads for actors in turn: the n-th actor spawned so gets the n-th of them, modulo their number.
    #[default]
    Next,
    /// The thread of another actor of the runtime; if there is no such actor, as [`Next`](Self::Next).
    Near(Upid),
}

impl Runtime {
    /// Starts threads, listens and spawns the built-in actors.
    ///
    /// # Errors
    /// See [`StartError`]; then nothing is left behind.
    pub fn start(config: RuntimeConfig) -> Result<Self, StartError> {
        let busy = Tally::default();
        let tls = config.tls.as_ref().map(|tls| Tls::load(tls, &busy));
        let tls = tls.transpose()?;
        let (workers, listener) = Workers::start(&config)?;
        let addresses = match Addresses::new(&config, &*listener) {
            Ok(addresses) => addresses,
            Err(error) => {
                workers.stop();
                return Err(error);
            }
        };
        let builtin_options = builtin::Options {
            cpu_profiler: config.enable_profiler,
            memory_profiler: config.memory_profiling,
            version: config.version.clone(),
        };
        let inner = Arc::new(Inner::new(config, workers, addresses, tls, busy));
        inner.register();
        let runtime = Self { inner };
        builtin::spawn(&runtime, builtin_options);
        serve_port(runtime.inner.clone(), listener);
        Ok(runtime)
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// The advertised address, which is that of all its actors.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// The address that is listened on.
    pub fn bound_address(&self) -> SocketAddr {
        self.inner.bound_address
    }

    /// The IPv6 address that was [configured](RuntimeConfig::ip6) for containers to be told.
    pub fn ip6(&self) -> Option<Ipv6Addr> {
        self.inner.ip6
    }

    /// A new id `prefix(N)`; N counts from 1 for each prefix.
    pub fn generate_id(&self, prefix: &str) -> String {
        self.inner.ids.generate(prefix)
    }

    /// Starts an actor. An empty id is replaced by a [generated](Self::generate_id) one.
    ///
    /// # Errors
    /// The id is taken, or the runtime is shutting down.
    pub fn spawn<P: Process>(
        &self,
        id: impl Into<String>,
        process: P,
    ) -> Result<Pid<P>, SpawnError> {
        self.spawn_at(Placement::Next, id, process)
    }

    /// Like [`spawn`](Self::spawn), on the thread that `placement` says.
    ///
    /// # Errors
    /// See [`spawn`](Self::spawn).
    pub fn spawn_at<P: Process>(
        &self,
        placement: Placement,
        id: impl Into<String>,
        process: P,
    ) -> Result<Pid<P>, SpawnError> {
        let worker = self.inner.place(&placement);
        self.spawn_on(worker, id.into(), move |ctx| actor::start(process, ctx))
    }

    /// Like [`spawn`](Self::spawn), but the process is not dropped at its end. The future gives it back when the actor has ended
    /// and its id is free; `None` if a turn panicked or the runtime ended without it.
    ///
    /// Upstream: `spawn` without `manage`.
    ///
    /// # Errors
    /// See [`spawn`](Self::spawn).
    pub fn spawn_unmanaged<P: Process>(
        &self,
        id: impl Into<String>,
        process: P,
    ) -> Result<(Pid<P>, BoxFuture<Option<P>>), SpawnError> {
        let (back, ended) = oneshot::channel();
        let worker = self.inner.place(&Placement::Next);
        let pid = self.spawn_on(worker, id.into(), move |ctx| {
            actor::start_unmanaged(process, ctx, back);
        })?;
        Ok((pid, Box::pin(async move { ended.await.ok() })))
    }

    /// Starts an actor on the thread that serves connections, where no actor of the user can hold it up.
    pub(crate) fn spawn_builtin<P: Process>(
        &self,
        id: &str,
        process: P,
    ) -> Result<Pid<P>, SpawnError> {
        self.spawn_on(Workers::FIRST, id.to_owned(), move |ctx| {
            actor::start(process, ctx);
        })
    }

    fn spawn_on<P: Process>(
        &self,
        worker: usize,
        mut id: String,
        start: impl FnOnce(Context<P>) + Send + 'static,
    ) -> Result<Pid<P>, SpawnError> {
        if id.is_empty() {
            id = self.generate_id("");
        }
        let mailbox = Arc::new(Mailbox::new());
        let runtime = self.inner.id();
        let upid = Upid::local(id.as_str(), self.address(), runtime, mailbox.clone());
        let routes = Arc::new(RouteTable::default());
        let added = self.inner.registry.add(Actor {
            upid: upid.clone(),
            mailbox: mailbox.clone(),
            routes: routes.clone(),
            worker,
        });
        added.map_err(|error| match error {
            AddError::Exists => SpawnError::Exists(id.clone()),
            AddError::Closed => SpawnError::ShuttingDown(id.clone()),
        })?;
        let pid = Pid::new(upid, mailbox);
        let (runtime, own) = (self.clone(), Own::new(pid.clone()));
        let started = self.inner.workers.start_actor(worker, move || {
            start(Context::new(own, runtime, routes));
        });
        if !started {
            self.inner.registry.remove(&id);
            return Err(SpawnError::ShuttingDown(id));
        }
        Ok(pid)
    }

    /// Sends a message. To an actor of this runtime it is queued at once; else it is queued for the connection to the other
    /// runtime, which is opened if need be. A message to the empty address vanishes.
    pub fn send(
        &self,
        from: &Upid,
        to: &Upid,
        name: impl Into<MessageName> + AsRef<str>,
        body: Bytes,
    ) {
        self.inner.send(from, to, name, body);
    }

    /// Sends a protobuf message by its full name.
    pub fn send_message<M: prost::Message + prost::Name>(
        &self,
        from: &Upid,
        to: &Upid,
        message: &M,
    ) {
        self.inner
            .send_proto(from, to, MessageName::of::<M>(), message);
    }

    /// Ends a local actor: events queued so far are discarded, then it is finalized. Unknown and remote ones are left alone.
    pub fn terminate(&self, upid: &Upid) {
        self.inner.terminate(upid, true);
    }

    /// Ends a local actor after it has served the events queued so far.
    pub fn terminate_in_turn(&self, upid: &Upid) {
        self.inner.terminate(upid, false);
    }

    /// Waits until a local actor has ended. False at once if there is none.
    pub async fn wait(&self, upid: &Upid) -> bool {
        self.inner.wait(upid).await
    }

    /// True if a local actor of this id exists.
    pub fn contains(&self, id: &str) -> bool {
        self.inner.registry.contains(id)
    }

    /// The clock of the runtime.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The metrics of the runtime.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The tokio runtime of the first network thread, for work outside the actors: short tasks, and blocking ones through
    /// `spawn_blocking`.
    pub fn handle(&self) -> tokio::runtime::Handle {
        self.inner.workers.handle().clone()
    }

    /// Ends all actors after they have served what is queued, sends what waits to be sent, closes the port and joins the
    /// threads. Returns when that is done, or at once if called on a thread of the runtime, such as one for blocking work, or for
    /// the second time. Actors that do not end in time, and blocking work that does not, are logged and left behind. One that is
    /// [driven](crate::Threads::Driven) ends its actors and sockets as it is driven; its port stays open until the driver is dropped.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
