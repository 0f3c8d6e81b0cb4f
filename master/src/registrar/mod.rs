//! What must survive the master: which agents are admitted, quotas and weights of roles.
//!
//! The registrar is an actor that owns the registry. Operations that arrive while one is being
//! stored are applied together and stored once. Where it is stored is behind [`Storage`].
//! Upstream: `src/master/registrar.cpp`.

pub mod maintenance;
pub mod operations;
mod quota;

use std::collections::VecDeque;
use std::time::Duration;

use futures::future::BoxFuture;
use libprocess::metrics::Timer as TimerMetric;
use libprocess::{Context, Instant, Process, PushGauge, Reply, Response, RouteOptions, Runtime};
use mesos::proto::{self, internal::Registry};
use prost::Message;
use tokio::sync::oneshot;

use crate::core::effects::RegistryOperation;

/// Why the registry is not available. The master cannot go on without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrarError {
    /// The registry could not be read.
    #[error("Failed to recover registrar: {0}")]
    Fetch(String),
    /// The registry could not be written.
    #[error("Failed to update registry: {0}")]
    Store(String),
    /// Reading or writing took too long.
    #[error("Failed to perform {what} within {after:?}")]
    Timeout {
        /// Which of them.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The actor has ended.
    #[error("The registrar has ended")]
    Ended,
}

/// Where the registry is kept, as one value that is always written whole.
pub trait Storage: Send + 'static {
    /// Reads the value; the default one if none was ever stored.
    fn fetch(&mut self) -> BoxFuture<'static, Result<Registry, String>>;
    /// Writes the value. It is durable once the future ends.
    fn store(&mut self, registry: &Registry) -> BoxFuture<'static, Result<(), String>>;
}

/// Keeps the registry as long as the registrar, which has it in memory anyway, lives.
#[derive(Debug, Default)]
pub struct InMemoryStorage;

impl Storage for InMemoryStorage {
    fn fetch(&mut self) -> BoxFuture<'static, Result<Registry, String>> {
        Box::pin(async { Ok(Registry::default()) })
    }

    fn store(&mut self, _registry: &Registry) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

/// How often the size of the registry is measured, which takes time proportional to it.
const SIZE_INTERVAL: Duration = Duration::from_secs(1);

/// How long reading and writing may take.
#[derive(Debug, Clone, Copy)]
pub struct RegistrarTimeouts {
    /// For reading.
    pub fetch: Duration,
    /// For writing.
    pub store: Duration,
}

type Answer<T> = oneshot::Sender<Result<T, RegistrarError>>;

/// The actor that owns the registry.
pub struct Registrar<S: Storage> {
    storage: S,
    timeouts: RegistrarTimeouts,
    registry: Option<Registry>,
    queue: VecDeque<(RegistryOperation, Answer<bool>)>,
    storing: bool,
    failed: Option<RegistrarError>,
    measured: Option<Instant>,
    metrics: RegistrarMetrics,
}

struct RegistrarMetrics {
    queued: PushGauge,
    size: PushGauge,
    fetch: TimerMetric,
    store: TimerMetric,
    recovered: PushGauge,
}

/// A handle to the registrar.
pub struct RegistrarHandle<S: Storage> {
    pid: libprocess::Pid<Registrar<S>>,
}

impl<S: Storage> Clone for RegistrarHandle<S> {
    fn clone(&self) -> Self {
        Self {
            pid: self.pid.clone(),
        }
    }
}

impl<S: Storage> RegistrarHandle<S> {
    /// Starts the registrar as actor `registrar(N)`.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub fn spawn(
        runtime: &Runtime,
        storage: S,
        timeouts: RegistrarTimeouts,
    ) -> Result<Self, libprocess::SpawnError> {
        let metrics = runtime.metrics();
        let registrar = Registrar {
            storage,
            timeouts,
            registry: None,
            queue: VecDeque::new(),
            storing: false,
            failed: None,
            measured: None,
            metrics: RegistrarMetrics {
                queued: metrics.push_gauge("registrar/queued_operations"),
                size: metrics.push_gauge("registrar/registry_size_bytes"),
                fetch: metrics.timer_with(
                    "registrar/state_fetch",
                    libprocess::metrics::TimeUnit::Milliseconds,
                    None,
                ),
                store: metrics.timer("registrar/state_store"),
                recovered: metrics.push_gauge("registrar/log/recovered"),
            },
        };
        // One replica: this process.
        metrics.push_gauge("registrar/log/ensemble_size").set(1.0);
        let pid = runtime.spawn(runtime.generate_id("registrar"), registrar)?;
        Ok(Self { pid })
    }

    /// The address of the actor.
    #[must_use]
    pub fn upid(&self) -> &libprocess::Upid {
        self.pid.upid()
    }

    /// Reads the registry and enters `info` as the leader.
    ///
    /// # Errors
    /// The registry cannot be read or written.
    pub async fn recover(&self, info: proto::MasterInfo) -> Result<Registry, RegistrarError> {
        let (answer, result) = oneshot::channel();
        self.pid
            .dispatch(move |registrar, ctx| registrar.recover(info, answer, ctx));
        result.await.map_err(|_| RegistrarError::Ended)?
    }

    /// Applies an operation. False if it does not apply to the registry as it is.
    ///
    /// # Errors
    /// The registry cannot be written. No later operation succeeds either.
    pub async fn apply(&self, operation: RegistryOperation) -> Result<bool, RegistrarError> {
        let (answer, result) = oneshot::channel();
        self.pid.dispatch(move |registrar, ctx| {
            registrar.queue.push_back((operation, answer));
            registrar.work(ctx);
        });
        result.await.map_err(|_| RegistrarError::Ended)?
    }
}

impl<S: Storage> Registrar<S> {
    fn recover(
        &mut self,
        info: proto::MasterInfo,
        answer: Answer<Registry>,
        ctx: &mut Context<Self>,
    ) {
        let fetch = self.storage.fetch();
        let clock = ctx.runtime().clock().clone();
        let after = self.timeouts.fetch;
        let started = ctx.now();
        let bounded = async move {
            match clock.timeout(after, fetch).await {
                Ok(result) => result.map_err(RegistrarError::Fetch),
                Err(_) => Err(RegistrarError::Timeout {
                    what: "fetch",
                    after,
                }),
            }
        };
        ctx.spawn(bounded, move |registrar: &mut Self, ctx, fetched| {
            registrar
                .metrics
                .fetch
                .record(ctx.now().duration_since(started));
            match fetched {
                Ok(mut registry) => {
                    operations::set_master(&mut registry, info);
                    registrar.registry = Some(registry);
                    registrar.store_recovered(answer, ctx);
                }
                Err(error) => {
                    // Nobody waits any more only if the master has ended.
                    let _ = answer.send(Err(error));
                }
            }
        });
    }

    fn store_recovered(&mut self, answer: Answer<Registry>, ctx: &mut Context<Self>) {
        self.store(ctx, move |registrar, result| {
            let result = result.map(|()| registrar.registry.clone().unwrap_or_default());
            if result.is_ok() {
                registrar.metrics.recovered.set(1.0);
            }
            let _ = answer.send(result);
        });
    }

    /// Applies and stores all that waits, unless a store is under way.
    fn work(&mut self, ctx: &mut Context<Self>) {
        self.metrics.queued.set(self.queue.len() as f64);
        if self.storing || self.queue.is_empty() {
            return;
        }
        if let Some(error) = &self.failed {
            for (_, answer) in self.queue.drain(..) {
                let _ = answer.send(Err(error.clone()));
            }
            return;
        }
        // Changed in place: if storing fails nothing is answered from it any more.
        let Some(registry) = &mut self.registry else {
            // Recovery comes first; its end calls again.
            return;
        };
        let answers: Vec<_> = self
            .queue
            .drain(..)
            .map(|(operation, answer)| {
                let applied = operations::apply(registry, &operation);
                (applied, answer)
            })
            .collect();
        self.metrics.queued.set(0.0);
        self.store(ctx, move |_, result| {
            for (applied, answer) in answers {
                let _ = answer.send(result.clone().map(|()| applied));
            }
        });
    }

    fn store(
        &mut self,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<(), RegistrarError>) + 'static,
    ) {
        let Some(registry) = &self.registry else {
            return;
        };
        self.storing = true;
        let store = self.storage.store(registry);
        let clock = ctx.runtime().clock().clone();
        let after = self.timeouts.store;
        let started = ctx.now();
        let bounded = async move {
            match clock.timeout(after, store).await {
                Ok(result) => result.map_err(RegistrarError::Store),
                Err(_) => Err(RegistrarError::Timeout {
                    what: "store",
                    after,
                }),
            }
        };
        ctx.spawn(bounded, move |registrar: &mut Self, ctx, result| {
            registrar
                .metrics
                .store
                .record(ctx.now().duration_since(started));
            registrar.storing = false;
            match &result {
                Ok(()) => registrar.measure(ctx.now()),
                Err(error) => registrar.failed = Some(error.clone()),
            }
            then(registrar, result);
            registrar.work(ctx);
        });
    }
}

impl<S: Storage> Registrar<S> {
    fn measure(&mut self, now: Instant) {
        let due = self
            .measured
            .is_none_or(|last| now.duration_since(last) >= SIZE_INTERVAL);
        if due && let Some(registry) = &self.registry {
            self.metrics.size.set(registry.encoded_len() as f64);
            self.measured = Some(now);
        }
    }
}

impl<S: Storage> Process for Registrar<S> {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route(
            "/registry",
            RouteOptions::default(),
            |registrar, _, request| {
                let json = registrar
                    .registry
                    .as_ref()
                    .map_or_else(|| "{}".to_owned(), mesos::json::to_string);
                Reply::from(Response::json_text_or_jsonp(json, &request))
            },
        );
    }
}
