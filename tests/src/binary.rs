//! Finding the `mesos` binary that a test starts.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Names the binary to test instead of a freshly built one.
const BINARY_VARIABLE: &str = "MESOS_BIN";
const PACKAGE: &str = "mesos-cli";
const BINARY: &str = "mesos";

/// The `mesos` binary: `$MESOS_BIN` if set, or else the one of this build, which is brought up
/// to date first.
///
/// # Panics
/// When it cannot be built.
pub fn mesos() -> PathBuf {
    // Several tests of one process would otherwise queue for Cargo's lock.
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(locate).clone()
}

fn locate() -> PathBuf {
    if let Some(path) = std::env::var_os(BINARY_VARIABLE) {
        let path = PathBuf::from(path);
        assert!(
            path.is_file(),
            "{BINARY_VARIABLE}={} is no file",
            path.display()
        );
        return path;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", PACKAGE, "--bin", BINARY]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let status = build.status().expect("cannot run cargo");
    assert!(status.success(), "cargo could not build {BINARY}");
    // target/<profile>/deps/<test> is where Cargo puts the tests of the same build.
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("tests live in target/<profile>/deps");
    let path = profile.join(BINARY);
    assert!(
        path.is_file(),
        "{} is missing after the build",
        path.display()
    );
    path
}
