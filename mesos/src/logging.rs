//! Logs in the line format of glog, which tools and users of Mesos search in:
//!
//! ```text
//! I0131 13:05:09.123456  4242 master.rs:500] Elected as the leading master!
//! ```
//!
//! Events come from `tracing`: ERROR, WARN and INFO are the severities `E`, `W` and `I`; DEBUG and TRACE of our
//! own crates are INFO that shows from verbosity 1 and 2 on, as glog's `VLOG`. Upstream:
//! `src/logging/{logging,flags}.cpp`.

mod files;
mod layer;

use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tracing_subscriber::layer::SubscriberExt;

use crate::flags::FlagValue;
use files::Files;
use layer::GlogLayer;

crate::flags! {
    /// The logging flags of every daemon; take them in with `include logging: LoggingFlags`.
    pub struct LoggingFlags {
        /// Disables logging to stderr.
        pub quiet: bool = false,
        /// Log messages at or above this level: `INFO`, `WARNING` or `ERROR`.
        /// With `--quiet` this only affects the logs in `--log_dir`, if given.
        pub logging_level: Severity = "INFO",
        /// Folder to put log files in. Without it nothing is written to disk; what goes to stderr is not
        /// affected. Logs of another logger can be shown in the web UI with `--external_log_file`.
        pub log_dir: Option<PathBuf>,
        /// How many seconds log messages below `WARNING` may wait in memory before they are written to their
        /// file; 0 writes at once.
        pub logbufsecs: i32 = 0,
        /// Whether the scheduler and executor drivers set up logging.
        pub initialize_driver_logging: bool = true,
        /// A log file written by somebody else, shown in the web UI and the HTTP API in place of our own.
        pub external_log_file: Option<PathBuf>,
    }
}

/// How bad a logged event is, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Normal operation.
    Info,
    /// Something that may need attention.
    Warning,
    /// Something failed.
    Error,
}

impl Severity {
    /// The name in flags and in names of log files.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "INFO",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
        }
    }

    /// The first letter of a line.
    fn letter(self) -> char {
        match self {
            Severity::Info => 'I',
            Severity::Warning => 'W',
            Severity::Error => 'E',
        }
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Severity::Info, Severity::Warning, Severity::Error]
            .into_iter()
            .find(|severity| severity.name() == text)
            .ok_or_else(|| "is not a logging level (allowed: INFO, WARNING, ERROR)".into())
    }
}

impl FlagValue for Severity {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn print(&self) -> Option<String> {
        Some(self.name().into())
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The folder of `--log_dir` cannot be created or written to.
    #[error("Failed to create a log file in '{}' (flag 'log_dir'): {source}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something in this process has set up logging before.
    #[error("Logging is already set up in this process")]
    AlreadySet,
}

/// Logging as it was set up: to raise and lower its verbosity.
#[derive(Debug, Clone)]
pub struct Logging {
    verbosity: Arc<AtomicU32>,
}

impl Logging {
    /// The verbosity: 0 shows no DEBUG and TRACE events, 1 DEBUG, 2 and more both.
    pub fn verbosity(&self) -> u32 {
        self.verbosity.load(Ordering::Relaxed)
    }

    /// Sets the verbosity, for `/logging/toggle` and SET_LOGGING_LEVEL.
    pub fn set_verbosity(&self, verbosity: u32) {
        self.verbosity.store(verbosity, Ordering::Relaxed);
    }
}

/// Lets the runtime's `/logging/toggle` change the verbosity.
impl libprocess::LoggingControl for Logging {
    fn level(&self) -> u32 {
        self.verbosity()
    }

    fn set_level(&self, level: u32) {
        self.set_verbosity(level);
    }
}

/// Sets up the logging of this OS process, once, as its flags say; `program` is part of the names of files.
///
/// Of the environment variables of glog, `GLOG_v` (verbosity) and `GLOG_max_log_size` (MiB, after which a new
/// file begins) count.
///
/// # Errors
/// If the folder of logs cannot be written to, or logging was set up before.
pub fn init(program: &str, flags: &LoggingFlags) -> Result<Logging, LoggingError> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let logging = Logging {
        verbosity: Arc::new(AtomicU32::new(number("GLOG_v").unwrap_or(0))),
    };
    let stderr: Box<dyn Write + Send> = Box::new(std::io::stderr());
    let max_mebibytes = number("GLOG_max_log_size").unwrap_or(files::FILE_MEBIBYTES_MAX);
    let layer = layer(program, flags, &logging, stderr, max_mebibytes)?;
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::AlreadySet)?;
    announce(flags.logging_level);
    Ok(logging)
}

fn layer(
    program: &str,
    flags: &LoggingFlags,
    logging: &Logging,
    stderr: Box<dyn Write + Send>,
    max_mebibytes: u32,
) -> Result<GlogLayer, LoggingError> {
    let files = match &flags.log_dir {
        Some(folder) => {
            let seconds = u64::try_from(flags.logbufsecs).unwrap_or(0);
            let files = Files::open(folder, program, flags.logging_level, seconds, max_mebibytes);
            Some(files.map_err(|source| LoggingError::Folder {
                path: folder.clone(),
                source,
            })?)
        }
        None => None,
    };
    let stderr = (!flags.quiet).then_some(stderr);
    let verbosity = Arc::clone(&logging.verbosity);
    Ok(GlogLayer::new(
        flags.logging_level,
        verbosity,
        stderr,
        files,
    ))
}

/// A first line at the configured level, so that its file is there from the start.
fn announce(level: Severity) {
    match level {
        Severity::Info => tracing::info!("INFO level logging started!"),
        Severity::Warning => tracing::warn!("WARNING level logging started!"),
        Severity::Error => tracing::error!("ERROR level logging started!"),
    }
}

/// The log file that the web UI shows, if there is one.
pub fn shown_log_file(program: &str, flags: &LoggingFlags) -> Option<PathBuf> {
    if let Some(external) = &flags.external_log_file {
        return Some(external.clone());
    }
    let folder = flags.log_dir.as_ref()?;
    Some(folder.join(format!("{program}.{}", flags.logging_level.name())))
}

#[cfg(test)]
mod tests;
