use std::fs;
use std::sync::Mutex;

use super::*;
use crate::flags::Flags;

/// What went to stderr.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs `log` under these flags and returns what went to stderr.
fn logged(arguments: &[&str], verbosity: u32, log: impl FnOnce(&Logging)) -> String {
    let flags = LoggingFlags::from_args(arguments.iter().copied()).unwrap();
    let logging = Logging {
        verbosity: Arc::new(AtomicU32::new(verbosity)),
    };
    let captured = Captured::default();
    let layer = layer(
        "mesos-test",
        &flags,
        &logging,
        Box::new(captured.clone()),
        1,
    )
    .unwrap();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || log(&logging));
    captured.text()
}

/// Checks the severities of the lines that all severities together leave.
#[track_caller]
fn check(arguments: &[&str], verbosity: u32, expected: &str) {
    let text = logged(arguments, verbosity, |_| {
        tracing::trace!("t");
        tracing::debug!("d");
        tracing::debug!(target: "hyper", "never");
        tracing::info!("i");
        tracing::warn!("w");
        tracing::error!("e");
    });
    let lines: Vec<String> = text
        .lines()
        .map(|line| format!("{}{}", &line[..1], &line[line.len() - 1..]))
        .collect();
    assert_eq!(lines.join(" "), expected);
}

#[test]
fn severities() {
    check(&[], 0, "Ii Ww Ee");
    check(&[], 1, "Id Ii Ww Ee");
    check(&[], 2, "It Id Ii Ww Ee");
    check(&["--logging_level=WARNING"], 2, "Ww Ee");
    check(&["--logging_level=ERROR"], 0, "Ee");
    check(&["--quiet"], 0, "");
}

#[test]
fn lines_have_the_shape_of_glog() {
    let text = logged(&[], 0, |_| {
        tracing::info!(port = 5050, name = "x", "Listening on {}", "all")
    });
    let (head, message) = text.split_once("] ").unwrap();
    assert_eq!(message, "Listening on all port=5050 name=x\n");
    let (stamp, place) = head.rsplit_once(' ').unwrap();
    let (file, line) = place.split_once(':').unwrap();
    assert_eq!(file, "tests.rs");
    assert!(line.parse::<u32>().is_ok());
    // I0131 13:05:09.123456  4242
    let shape: String = stamp
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert!(shape.starts_with("I0000 00:00:00.000000 "), "{stamp}");
    let thread = &stamp[22..];
    assert!(
        thread.len() >= 5 && thread.trim().parse::<u32>().is_ok(),
        "{stamp}"
    );
}

#[test]
fn verbosity_changes_at_run_time() {
    let text = logged(&[], 0, |logging| {
        for verbosity in [0, 1, 0] {
            logging.set_verbosity(verbosity);
            tracing::debug!("at {}", logging.verbosity());
        }
    });
    assert!(
        text.ends_with("at 1\n") && text.lines().count() == 1,
        "{text}"
    );
}

#[test]
fn files_by_severity() {
    let folder = tempfile::tempdir().unwrap();
    let log_dir = folder.path().join("new/logs");
    let argument = format!("--log_dir={}", log_dir.display());
    let stderr = logged(&[&argument, "--logbufsecs=60"], 0, |_| {
        tracing::info!("first");
        tracing::warn!("second");
    });
    assert_eq!(stderr.lines().count(), 2);
    let lines = |severity: &str| {
        let text = fs::read_to_string(log_dir.join(format!("mesos-test.{severity}"))).unwrap();
        assert!(text.starts_with("Log file created at: "));
        let messages = text.lines().filter_map(|line| line.split_once("] "));
        let messages: Vec<String> = messages.map(|(_, message)| message.into()).collect();
        messages
    };
    assert_eq!(lines("INFO"), ["msg", "first", "second"]);
    assert_eq!(lines("WARNING"), ["msg", "second"]);
    assert!(!log_dir.join("mesos-test.ERROR").exists());
    let target = fs::read_link(log_dir.join("mesos-test.WARNING")).unwrap();
    let target = target.to_str().unwrap();
    let suffix = format!(".{}", std::process::id());
    assert!(
        target.starts_with("mesos-test.") && target.contains(".log.WARNING."),
        "{target}"
    );
    assert!(target.ends_with(&suffix), "{target}");
}

#[test]
fn large_files_are_followed_by_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Files::open(folder.path(), "p", Severity::Error, 0, 1).unwrap();
    files.write(Severity::Error, &[b'x'; 1 << 20]).unwrap();
    fs::remove_file(folder.path().join("p.ERROR")).unwrap();
    files.write(Severity::Error, b"next\n").unwrap();
    let text = fs::read_to_string(folder.path().join("p.ERROR")).unwrap();
    assert!(text.ends_with("msg\nnext\n"));
}

#[test]
fn folders_that_cannot_be_written_to() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().join("logs");
    let flags = LoggingFlags::from_args([format!("--log_dir={}", path.display())]).unwrap();
    let logging = Logging {
        verbosity: Arc::default(),
    };
    let error = layer("p", &flags, &logging, Box::new(std::io::sink()), 1)
        .err()
        .unwrap();
    let expected = format!(
        "Failed to create a log file in '{}' (flag 'log_dir'): ",
        path.display()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn the_shown_file() {
    fn check(arguments: &[&str], expected: Option<&str>) {
        let flags = LoggingFlags::from_args(arguments.iter().copied()).unwrap();
        let shown = shown_log_file("mesos-master", &flags);
        assert_eq!(shown.as_deref().and_then(|path| path.to_str()), expected);
    }
    check(&[], None);
    check(&["--log_dir=/l"], Some("/l/mesos-master.INFO"));
    check(
        &["--log_dir=/l", "--logging_level=ERROR"],
        Some("/l/mesos-master.ERROR"),
    );
    check(&["--log_dir=/l", "--external_log_file=/x"], Some("/x"));
}
