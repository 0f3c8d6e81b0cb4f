//! From events of `tracing` to lines.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Local;
use nix::unistd::gettid;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::Severity;
use super::files::Files;

/// Crates whose DEBUG and TRACE events verbosity can show.
const OWN_CRATES: [&str; 2] = ["mesos", "libprocess"];

/// Where lines go.
struct Sinks {
    stderr: Option<Box<dyn Write + Send>>,
    files: Option<Files>,
}

/// Writes events as glog does.
pub(super) struct GlogLayer {
    level: Severity,
    verbosity: Arc<AtomicU32>,
    sinks: Mutex<Sinks>,
}

impl GlogLayer {
    pub(super) fn new(
        level: Severity,
        verbosity: Arc<AtomicU32>,
        stderr: Option<Box<dyn Write + Send>>,
        files: Option<Files>,
    ) -> Self {
        Self {
            level,
            verbosity,
            sinks: Mutex::new(Sinks { stderr, files }),
        }
    }

    fn shows(&self, metadata: &Metadata<'_>) -> bool {
        let needed = match *metadata.level() {
            Level::TRACE => 2,
            Level::DEBUG => 1,
            _ => 0,
        };
        if needed > self.verbosity.load(Ordering::Relaxed) {
            return false;
        }
        let is_own = || {
            OWN_CRATES
                .iter()
                .any(|name| metadata.target().starts_with(name))
        };
        let known = *metadata.level() <= Level::INFO || is_own();
        known && severity(metadata) >= self.level
    }
}

fn severity(metadata: &Metadata<'_>) -> Severity {
    match *metadata.level() {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        _ => Severity::Info,
    }
}

impl<S: Subscriber> Layer<S> for GlogLayer {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        // Verbosity can change at any time.
        tracing::subscriber::Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.shows(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let severity = severity(event.metadata());
        let line = line(severity, event);
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        // There is nowhere left to complain to.
        if let Some(stderr) = &mut sinks.stderr {
            let _ = stderr.write_all(line.as_bytes());
        }
        if let Some(files) = &mut sinks.files {
            let _ = files.write(severity, line.as_bytes());
        }
    }
}

fn line(severity: Severity, event: &Event<'_>) -> String {
    let metadata = event.metadata();
    let file = metadata.file().map(Path::new);
    let file = file
        .and_then(Path::file_name)
        .and_then(|name| name.to_str());
    let mut text = Text {
        line: format!(
            "{}{} {:>5} {}:{}]",
            severity.letter(),
            Local::now().format("%m%d %H:%M:%S%.6f"),
            gettid().as_raw(),
            file.unwrap_or("?"),
            metadata.line().unwrap_or(0),
        ),
        fields: String::new(),
    };
    event.record(&mut text);
    let Text { mut line, fields } = text;
    line.push_str(&fields);
    line.push('\n');
    line
}

/// Collects the message of an event, then its other fields as ` name=value`.
struct Text {
    line: String,
    fields: String,
}

impl Text {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.line, " {value}"),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, format_args!("{value}"));
    }
}
