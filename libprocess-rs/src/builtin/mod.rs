//! The actors that every runtime has: `metrics`, `system`, `logging`, `profiler`, `help` and `__processes__`.

mod help;
mod logging;
mod processes;
mod profiler;
mod snapshot;
mod system;

use crate::{Context, Help, Process, RouteOptions, Runtime};

pub(crate) fn spawn(runtime: &Runtime) {
    system::add_metrics(runtime.metrics());
    start(
        runtime,
        "metrics",
        snapshot::MetricsEndpoint::new(runtime.inner()),
    );
    start(runtime, "system", system::SystemEndpoint);
    start(runtime, "logging", logging::LoggingEndpoint::default());
    start(runtime, "profiler", profiler::ProfilerEndpoint);
    start(runtime, "help", help::HelpEndpoint);
    start(runtime, "__processes__", processes::ProcessesEndpoint);
}

fn start<P: Process>(runtime: &Runtime, id: &str, process: P) {
    // The runtime is new: the ids are free.
    if let Err(error) = runtime.spawn_builtin(id, process) {
        tracing::error!("Failed to start a built-in actor: {error}");
    }
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
