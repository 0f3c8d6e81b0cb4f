//! The actors that every runtime has: `metrics`, `system`, `logging`, `help` and `__processes__`.

mod help;
mod logging;
mod processes;
mod snapshot;
mod system;

use crate::{Process, Runtime};

pub(crate) fn spawn(runtime: &Runtime) {
    system::add_metrics(runtime.metrics());
    start(runtime, "metrics", snapshot::MetricsEndpoint);
    start(runtime, "system", system::SystemEndpoint);
    start(runtime, "logging", logging::LoggingEndpoint::default());
    start(runtime, "help", help::HelpEndpoint);
    start(runtime, "__processes__", processes::ProcessesEndpoint);
}

fn start<P: Process>(runtime: &Runtime, id: &str, process: P) {
    // The runtime is new: the ids are free.
    if let Err(error) = runtime.spawn(id, process) {
        tracing::error!("Failed to start a built-in actor: {error}");
    }
}
