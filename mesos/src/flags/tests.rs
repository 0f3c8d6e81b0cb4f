use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::{Flags, FlagsError, Json, JsonMessage, LoadOptions, Secret};
use crate::proto::DomainInfo;
use crate::values::{ByteSize, DurationValue};

crate::flags! {
    /// Flags that many programs have.
    struct SharedFlags {
        /// Says less.
        pub quiet: bool = false,
        /// Where logs go.
        pub log_dir: Option<PathBuf>,
    }
}

crate::flags! {
    /// One flag of each kind.
    struct TestFlags {
        /// Port to listen on.
        pub port: u16 = 5050,
        /// How long to wait.
        ///
        /// Twice.
        pub agent_timeout (slave_timeout): DurationValue = "15secs" => at_least_a_second,
        pub include shared: SharedFlags,
        /// Where to keep state.
        pub work_dir: PathBuf,
        pub authenticate_agents (authenticate_slaves): bool = false,
        pub factor: f64 = 0.8,
        pub cluster: Option<String>,
        pub ip: Option<Ipv4Addr>,
        pub size: ByteSize = "4096B",
        pub acls: Option<Json>,
        pub names_used: Option<BTreeSet<String>>,
        pub domain: Option<JsonMessage<DomainInfo>>,
        pub secret: Option<Secret>,
        pub r#type: Option<i64>,
    }
}

fn at_least_a_second(timeout: &DurationValue) -> Result<(), String> {
    if timeout.as_secs() < 1 {
        return Err("must be at least 1secs".into());
    }
    Ok(())
}

fn load(
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<super::Loaded<TestFlags>, FlagsError> {
    load_with(arguments, environment, LoadOptions::default())
}

fn load_with(
    arguments: &[&str],
    environment: &[(&str, &str)],
    options: LoadOptions,
) -> Result<super::Loaded<TestFlags>, FlagsError> {
    TestFlags::load_with(
        arguments.iter().map(|argument| argument.to_string()),
        environment
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string())),
        options,
    )
}

/// Loads with `--work_dir=/w` and compares all flags that differ from their defaults.
#[track_caller]
fn check(arguments: &[&str], environment: &[(&str, &str)], expected: &[(&str, &str)]) {
    let mut arguments = arguments.to_vec();
    arguments.insert(0, "--work_dir=/w");
    let defaults = load(&["--work_dir=/w"], &[]).unwrap().flags.entries();
    let entries = load(&arguments, environment).unwrap().flags.entries();
    let changed: Vec<(&str, &str)> = entries
        .iter()
        .filter(|entry| !defaults.contains(entry))
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(changed, expected, "{arguments:?}");
}

#[track_caller]
fn check_error(arguments: &[&str], environment: &[(&str, &str)], expected: &str) {
    let mut arguments = arguments.to_vec();
    arguments.push("--work_dir=/w");
    let error = load(&arguments, environment).map(|loaded| loaded.flags.entries());
    assert_eq!(error.unwrap_err().to_string(), expected, "{arguments:?}");
}

#[test]
fn defaults() {
    let loaded = load(&["--work_dir=/w"], &[]).unwrap();
    assert!(loaded.warnings.is_empty());
    assert_eq!(loaded.flags.port, 5050);
    assert_eq!(loaded.flags.shared.log_dir, None);
    assert_eq!(
        loaded.flags.to_line(),
        r#"--agent_timeout="15secs" --authenticate_agents="false" --factor="0.8" --help="false" --port="5050" --quiet="false" --size="4KB" --version="false" --work_dir="/w""#
    );
}

#[test]
fn values_are_read() {
    check(&["--port=1"], &[], &[("port", "1")]);
    check(&[" --PORT=+0x1f "], &[], &[("port", "31")]);
    check(
        &["--agent_timeout=2mins"],
        &[],
        &[("agent_timeout", "2mins")],
    );
    check(
        &["--slave_timeout=2mins"],
        &[],
        &[("agent_timeout", "2mins")],
    );
    check(&["--factor=1"], &[], &[("factor", "1")]);
    check(&["--cluster=a=b"], &[], &[("cluster", "a=b")]);
    check(&["--cluster="], &[], &[("cluster", "")]);
    check(&["--ip=10.0.0.1"], &[], &[("ip", "10.0.0.1")]);
    check(&["--size=1024KB"], &[], &[("size", "1MB")]);
    check(
        &["--acls={\"permissive\": false}"],
        &[],
        &[("acls", r#"{"permissive":false}"#)],
    );
    let domain = r#"{"fault_domain":{"region":{"name":"r"},"zone":{"name":"z"}}}"#;
    check(&[&format!("--domain={domain}")], &[], &[("domain", domain)]);
    check(&["--names_used=b,a"], &[], &[("names_used", "a,b")]);
    check(&["--type=-7"], &[], &[("type", "-7")]);
    check(&["--log_dir=file:///l"], &[], &[("log_dir", "/l")]);
    check(&["--secret=hidden"], &[], &[]);
}

#[test]
fn booleans() {
    for on in ["--quiet", "--quiet=", "--quiet=true", "--quiet=1"] {
        check(&[on], &[], &[("quiet", "true")]);
    }
    for off in ["--no-quiet", "--quiet=false", "--quiet=0"] {
        check(&[off], &[], &[]);
    }
    check(&[], &[("MESOS_QUIET", "")], &[("quiet", "true")]);
    check_error(
        &["--quiet=yes"],
        &[],
        "Failed to load flag 'quiet': 'yes' is not a boolean (allowed: true, 1, false, 0)",
    );
    check_error(
        &["--no-quiet=true"],
        &[],
        "Failed to load boolean flag 'quiet' via 'no-quiet': it takes no value, but got 'true'",
    );
    check_error(
        &["--no-port"],
        &[],
        "Failed to load non-boolean flag 'port' via 'no-port': only a boolean can be negated",
    );
}

#[test]
fn bad_values() {
    let port = "is not a valid number (allowed: 0..65535)";
    for bad in ["abc", "", "-1", "65536", "1.0", " 1", "0x", "++1", "1\n"] {
        check_error(
            &[&format!("--port={bad}x")],
            &[],
            &format!(
                "Failed to load flag 'port': '{}x' {port}",
                bad.replace('\n', "\\n")
            ),
        );
    }
    check_error(
        &["--port"],
        &[],
        "Failed to load non-boolean flag 'port': missing value (use --port=VALUE)",
    );
    check_error(
        &["--slave_timeout=5"],
        &[],
        "Failed to load flag 'slave_timeout': '5' is not a valid duration (allowed: a number and one of ns, us, ms, secs, mins, hrs, days, weeks)",
    );
    check_error(
        &["--agent_timeout=5ms"],
        &[],
        "Failed to load flag 'agent_timeout': '5ms' is not allowed: must be at least 1secs",
    );
    check_error(
        &["--names_used=a,b,a"],
        &[],
        "Failed to load flag 'names_used': 'a,b,a' names 'a' twice (allowed: different names, separated by commas)",
    );
    check_error(
        &["--domain={\"fault_domain\":{}}"],
        &[],
        "Failed to load flag 'domain': '{\"fault_domain\":{}}' is not valid: Missing required fields: fault_domain.region, fault_domain.zone (allowed: DomainInfo as JSON text or file:///path)",
    );
    check_error(
        &["--acls=file:///does/not/exist"],
        &[],
        "Failed to load flag 'acls': cannot read file '/does/not/exist': No such file or directory (os error 2)",
    );
    check_error(
        &["--factor=file:///does/not/exist"],
        &[],
        "Failed to load flag 'factor': cannot read file '/does/not/exist': No such file or directory (os error 2)",
    );
}

#[test]
fn unknown_flags() {
    check_error(
        &["--prot=1"],
        &[],
        "Failed to load unknown flag 'prot'; did you mean 'port'?",
    );
    check_error(
        &["--work-dir=/"],
        &[],
        "Failed to load unknown flag 'work-dir'; did you mean 'work_dir'?",
    );
    check_error(&["--zzz"], &[], "Failed to load unknown flag 'zzz'");
    let lenient = LoadOptions {
        allow_unknown: true,
        ..LoadOptions::default()
    };
    assert!(load_with(&["--zzz", "--work_dir=/"], &[], lenient).is_ok());
    // Other programs read variables with the same prefix.
    check(
        &[],
        &[("MESOS_ZZZ", "1"), ("PORT", "1"), ("LIBPROCESS_PORT", "1")],
        &[],
    );
}

#[test]
fn duplicates() {
    let twice = "Flag 'port' is already loaded: 'port=1' and 'port=2' set it twice";
    check_error(&["--port=1", "--port=2"], &[], twice);
    check_error(
        &["--agent_timeout=1secs", "--slave_timeout=2secs"],
        &[],
        "Flag 'agent_timeout' is already loaded: 'agent_timeout=1secs' and 'slave_timeout=2secs' set it twice",
    );
    check_error(
        &["--quiet", "--no-quiet"],
        &[],
        "Flag 'quiet' is already loaded: 'quiet=false' and 'quiet=' set it twice",
    );
    let lenient = LoadOptions {
        allow_duplicates: true,
        ..LoadOptions::default()
    };
    let loaded = load_with(&["--port=1", "--port=2", "--work_dir=/"], &[], lenient).unwrap();
    assert_eq!(loaded.flags.port, 2);
}

#[test]
fn command_line_beats_environment_by_spelling() {
    check(&["--port=1"], &[("MESOS_PORT", "2")], &[("port", "1")]);
    check(&[], &[("MESOS_PORT", "2")], &[("port", "2")]);
    check(
        &[],
        &[("MESOS_SLAVE_TIMEOUT", "3secs")],
        &[("agent_timeout", "3secs")],
    );
    assert!(load(&["--no-quiet", "--work_dir=/"], &[("MESOS_QUIET", "1")]).is_err());
    assert!(
        load(
            &["--agent_timeout=1secs", "--work_dir=/"],
            &[("MESOS_SLAVE_TIMEOUT", "1secs")]
        )
        .is_err()
    );
}

#[test]
fn words_that_are_no_flags() {
    let loaded = load(&["a", "--work_dir=/w", "-b", "--", "--port=x", " c "], &[]).unwrap();
    assert_eq!(loaded.positional, ["a", "-b", "--port=x", " c "]);
    assert_eq!(loaded.flags.port, 5050);
}

#[test]
fn required_then_validated() {
    let error = load(&["--agent_timeout=0ns"], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Flag 'work_dir' is required, but it was not provided"
    );
    let error = load(&["--agent_timeout=0ns", "--type=x"], &[]).unwrap_err();
    assert!(error.to_string().contains("'type'"), "{error}");
}

#[test]
fn help_and_version() {
    assert!(matches!(load(&["--help"], &[]), Err(FlagsError::Help)));
    assert!(matches!(
        load(&["--version", "--agent_timeout=0ns"], &[]),
        Err(FlagsError::Version)
    ));
    assert!(matches!(
        load(&["--help", "--port=x"], &[]),
        Err(FlagsError::Help)
    ));
    assert!(matches!(
        load(&["--help", "--factor=x"], &[]),
        Err(FlagsError::Value { .. })
    ));
}

#[test]
fn deprecated_names_are_warned_of_and_kept() {
    let loaded = load(&["--work_dir=/", "--slave_timeout=2secs"], &[]).unwrap();
    assert_eq!(
        loaded.warnings,
        ["Loaded deprecated flag 'slave_timeout': use 'agent_timeout' instead"]
    );
    assert!(loaded.flags.to_line().contains("--slave_timeout=\"2secs\""));
    assert!(
        loaded
            .flags
            .entries()
            .contains(&("agent_timeout", "2secs".into()))
    );
}

#[test]
fn values_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("value").display().to_string();
    std::fs::write(&path, "{}").unwrap();
    let arguments = [
        "--work_dir=/".to_owned(),
        format!("--cluster=file://{path}"),
        format!("--acls={path}"),
        format!("--secret=file://{path}"),
    ];
    let loaded = TestFlags::load(arguments, []).unwrap();
    assert_eq!(loaded.flags.cluster.as_deref(), Some("{}"));
    assert_eq!(loaded.flags.acls, Some(Json(serde_json::json!({}))));
    assert_eq!(
        loaded.warnings,
        [format!(
            "Flag 'acls' was given an absolute path: use 'file://{path}' instead"
        )]
    );
    let secret = loaded.flags.secret.clone().unwrap();
    assert_eq!(secret.expose(), "{}");
    assert!(loaded.flags.entries().contains(&("secret", path)));
}

#[test]
fn usage_lists_flags_by_name() {
    let usage = TestFlags::usage("mesos-test");
    let expected = "Usage: mesos-test [options]\n\n  --acls=VALUE\n  --agent_timeout=VALUE, --slave_timeout=VALUE     \
                    How long to wait.\n\n";
    assert!(usage.starts_with(expected), "{usage}");
    assert!(
        usage.contains("\n  --[no-]authenticate_agents, --[no-]authenticate_slaves\n"),
        "{usage}"
    );
    assert!(
        usage.contains("Where to keep state. (required)\n"),
        "{usage}"
    );
    assert!(
        usage.contains("Port to listen on. (default: 5050)\n"),
        "{usage}"
    );
    assert!(usage.contains("  --[no-]version"), "{usage}");
}
