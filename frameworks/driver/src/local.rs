//! What a driver takes from the machine it runs on.

use libprocess::{Runtime, RuntimeConfig, Upid};
use mesos::proto::FrameworkInfo;

/// The user to run tasks as and the host to show, where the framework left them out.
pub(crate) fn complete(mut framework: FrameworkInfo) -> FrameworkInfo {
    if framework.user.is_empty()
        && let Ok(Some(user)) = nix::unistd::User::from_uid(nix::unistd::getuid())
    {
        framework.user = user.name;
    }
    if framework.hostname.is_none() {
        let name = nix::unistd::gethostname().ok();
        framework.hostname = name.and_then(|name| name.into_string().ok());
    }
    framework
}

/// A runtime of the driver's own, set up by the `LIBPROCESS_*` environment variables.
pub(crate) fn start_runtime(delegate: String, workers: usize) -> Result<Runtime, String> {
    let mut config = RuntimeConfig::from_env()
        .map_err(|error| format!("Failed to start libprocess: {error}"))?;
    config.workers = workers;
    config.delegate = Some(delegate);
    Runtime::start(config).map_err(|error| format!("Failed to start libprocess: {error}"))
}

/// Says so when the master has no way to connect to us, which otherwise shows as silence.
pub(crate) fn warn_if_unreachable(runtime: &Runtime, master: &Upid) {
    let own = runtime.address();
    if own.ip().is_loopback() && !master.address().ip().is_loopback() {
        tracing::warn!(
            "the driver listens on the loopback address {own}, which the master {master} cannot \
             reach; set LIBPROCESS_IP, or LIBPROCESS_ADVERTISE_IP, to an address that it can"
        );
    }
}
