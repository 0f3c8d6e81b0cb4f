//! The actors that every runtime has: `metrics`, `system`, `logging`, `profiler`, `help` and `__processes__`; and
//! `memory-profiler` and `version` if they are configured.

mod cpu_profile;
mod help;
mod logging;
mod memory_profiler;
mod processes;
mod profiler;
mod snapshot;
mod system;
mod version;

use http::StatusCode;

use crate::{Context, Help, Process, Response, RouteOptions, Runtime};

pub(crate) fn spawn(runtime: &Runtime, options: Options) {
    let metrics = runtime.metrics();
    system::add_metrics(metrics);
    metrics.count_failures_as("libprocess/metrics_gauges_failed");
    start(
        runtime,
        "metrics",
        snapshot::MetricsEndpoint::new(runtime.inner()),
    );
    start(runtime, "system", system::SystemEndpoint);
    start(runtime, "logging", logging::LoggingEndpoint::default());
    let expired = runtime.metrics().counter("libprocess/profiles_expired");
    start(
        runtime,
        "profiler",
        profiler::ProfilerEndpoint::new(options.cpu_profiler, expired),
    );
    if options.memory_profiler {
        start(
            runtime,
            "memory-profiler",
            memory_profiler::MemoryProfilerEndpoint,
        );
    }
    if let Some(version) = options.version {
        start(runtime, "version", version::VersionEndpoint(version));
    }
    start(runtime, "help", help::HelpEndpoint);
    start(runtime, "__processes__", processes::ProcessesEndpoint);
}

/// What is configured.
pub(crate) struct Options {
    /// Whether the CPU may be profiled.
    pub(crate) cpu_profiler: bool,
    /// Whether there are the endpoints of the profiler of the memory.
    pub(crate) memory_profiler: bool,
    /// What `/version` answers.
    pub(crate) version: Option<serde_json::Value>,
}

fn start<P: Process>(runtime: &Runtime, id: &str, process: P) {
    // The runtime is new: the ids are free.
    if let Err(error) = runtime.spawn_builtin(id, process) {
        tracing::error!("Failed to start a built-in actor: {error}");
    }
}

/// Makes a response on a thread that may be kept busy.
async fn off_the_actor(
    runtime: Runtime,
    make: impl FnOnce() -> Response + Send + 'static,
) -> Response {
    let _busy = runtime.inner().busy();
    let made = runtime.handle().spawn_blocking(make).await;
    made.unwrap_or_else(|error| {
        tracing::error!("Failed to make an answer: {error}");
        Response::status(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

/// How a route that only shows something is treated.
fn readonly<P: Process>(ctx: &Context<P>, help: Help) -> RouteOptions {
    RouteOptions {
        realm: ctx.runtime().inner().readonly_realm.clone(),
        ..RouteOptions::with_help(help)
    }
}

/// How a route that changes something is treated.
fn readwrite<P: Process>(ctx: &Context<P>, help: Help) -> RouteOptions {
    RouteOptions {
        realm: ctx.runtime().inner().readwrite_realm.clone(),
        ..RouteOptions::with_help(help)
    }
}
