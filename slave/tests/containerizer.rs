//! The Mesos containerizer with real processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mesos::ids::ContainerId;
use mesos::proto;
use mesos::proto::slave::ContainerConfig;
use mesos_agent::containerizer::{Containerizer, MesosContainerizer, ProcessTable};

/// How long a test waits for something that must happen.
const DEADLINE: Duration = Duration::from_secs(20);

struct Setup {
    containerizer: MesosContainerizer,
    sandbox: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

fn setup() -> Setup {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let helper = Path::new(env!("CARGO_BIN_EXE_mesos-containerizer"));
    let containerizer =
        MesosContainerizer::new(helper.parent().unwrap(), runtime.handle().clone()).unwrap();
    Setup {
        containerizer,
        sandbox: tempfile::tempdir().unwrap(),
        runtime,
    }
}

fn id() -> ContainerId {
    ContainerId::new("c1")
}

fn shell(setup: &Setup, command: &str) -> ContainerConfig {
    ContainerConfig {
        directory: setup.sandbox.path().to_str().unwrap().to_owned(),
        command_info: proto::CommandInfo {
            value: Some(command.to_owned()),
            ..Default::default()
        },
        ..Default::default()
    }
}

fn argv(setup: &Setup, arguments: &[&str]) -> ContainerConfig {
    let mut config = shell(setup, arguments[0]);
    config.command_info.shell = Some(false);
    config.command_info.arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
    config
}

/// Runs a container to its end; answers the wait status, stdout and stderr.
fn run(setup: &Setup, config: ContainerConfig) -> (Option<i32>, String, String) {
    let environment = vec![("AGENT".to_owned(), "given".to_owned())];
    let termination = setup.runtime.block_on(async {
        setup
            .containerizer
            .launch(id(), config, environment)
            .await
            .unwrap();
        setup.containerizer.wait(&id()).await.unwrap().unwrap()
    });
    let read = |name| fs::read_to_string(setup.sandbox.path().join(name)).unwrap();
    (termination.status, read("stdout"), read("stderr"))
}

#[test]
fn exit_statuses_and_output() {
    let check = |command: &str, status: i32, stdout: &str| {
        let setup = setup();
        let config = shell(&setup, command);
        let outcome = run(&setup, config);
        assert_eq!(
            (outcome.0, outcome.1.as_str()),
            (Some(status), stdout),
            "{command}: {}",
            outcome.2
        );
        assert!(setup.containerizer.containers().is_empty());
    };
    check("echo hello", 0, "hello\n");
    check("exit 42", 42 << 8, "");
    check("kill -9 $$", 9, "");
    check("kill -15 $$", 15, "");
    check("no-such-command-anywhere", 127 << 8, "");
    check("echo $AGENT", 0, "given\n");
    check("cat", 0, "");
}

#[test]
fn the_executable_gets_its_arguments() {
    let setup = setup();
    let config = argv(&setup, &["/bin/echo", "a b", "$c"]);
    // The first argument is the name, as in exec(3).
    assert_eq!(
        run(&setup, config),
        (Some(0), "a b $c\n".to_owned(), String::new())
    );
}

#[test]
fn an_executable_that_does_not_exist() {
    let setup = setup();
    let config = argv(&setup, &["/no/such/file"]);
    let (status, _, stderr) = run(&setup, config);
    assert_eq!(status, Some(1 << 8));
    assert!(stderr.contains("/no/such/file"), "{stderr}");
}

#[test]
fn the_command_lives_in_its_sandbox_and_session() {
    let setup = setup();
    // Process, process group and session.
    let config = shell(
        &setup,
        "pwd; echo $MESOS_SANDBOX; cut -d' ' -f1,5,6 /proc/$$/stat; echo $$ >&2",
    );
    let (_, stdout, pid) = run(&setup, config);
    let sandbox = setup.sandbox.path().to_str().unwrap();
    let pid = pid.trim();
    let expected = format!("{sandbox}\n{sandbox}\n{pid} {pid} {pid}\n");
    assert_eq!(stdout, expected);
}

#[test]
fn limits_of_the_command() {
    let setup = setup();
    let mut config = shell(&setup, "ulimit -n; ulimit -Hn");
    let limit = proto::r_limit_info::RLimit {
        r#type: Some(proto::r_limit_info::r_limit::Type::RlmtNofile.into()),
        soft: Some(100),
        hard: Some(200),
    };
    config.container_info = Some(proto::ContainerInfo {
        r#type: proto::container_info::Type::Mesos.into(),
        rlimit_info: Some(proto::RLimitInfo {
            rlimits: vec![limit],
        }),
        ..Default::default()
    });
    assert_eq!(run(&setup, config).1, "100\n200\n");
}

#[test]
fn a_user_that_does_not_exist_is_an_error() {
    let setup = setup();
    let mut config = shell(&setup, "true");
    config.user = Some("nobody-has-this-name".to_owned());
    let result = setup
        .runtime
        .block_on(setup.containerizer.launch(id(), config, Vec::new()));
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("nobody-has-this-name")
    );
    let end = setup
        .runtime
        .block_on(setup.containerizer.wait(&id()))
        .unwrap();
    assert_eq!(end, None);
}

#[test]
fn what_is_not_supported_is_refused() {
    let check = |change: &dyn Fn(&mut ContainerConfig), expected: &str| {
        let setup = setup();
        let mut config = shell(&setup, "true");
        change(&mut config);
        let result = setup
            .runtime
            .block_on(setup.containerizer.launch(id(), config, Vec::new()));
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        &|config| {
            config.command_info.uris.push(proto::command_info::Uri {
                value: "http://example.com/x".to_owned(),
                ..Default::default()
            });
        },
        "http://example.com/x",
    );
    check(
        &|config| {
            config.container_info = Some(proto::ContainerInfo {
                r#type: proto::container_info::Type::Docker.into(),
                ..Default::default()
            });
        },
        "Docker",
    );
}

/// Waits until a condition holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn destroying_kills_the_whole_tree() {
    let setup = setup();
    // A child, one in its own session, and one whose parents are gone.
    let config = shell(
        &setup,
        "sleep 1000 & echo $! >> pids
         setsid sh -c 'echo $$ >> pids; exec sleep 1000' &
         (setsid sh -c 'echo $$ >> pids; exec sleep 1000' &)
         wait",
    );
    let status = setup
        .runtime
        .block_on(setup.containerizer.launch(id(), config, Vec::new()))
        .unwrap();
    let read = || {
        let text = fs::read_to_string(setup.sandbox.path().join("pids")).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.parse::<i32>().ok())
            .collect::<Vec<_>>()
    };
    eventually("three processes", || read().len() == 3);
    let mut pids = read();
    pids.push(status.executor_pid.unwrap().try_into().unwrap());

    let end = setup
        .runtime
        .block_on(setup.containerizer.destroy(&id()))
        .unwrap();
    assert_eq!(end.unwrap().status, Some(9));
    let table = ProcessTable::read().unwrap();
    for pid in pids {
        assert!(!table.is_alive(pid), "{pid} is alive");
    }
    assert_eq!(
        setup
            .runtime
            .block_on(setup.containerizer.destroy(&id()))
            .unwrap(),
        None
    );
}

#[test]
fn what_a_container_leaves_behind_is_killed() {
    let setup = setup();
    let config = shell(
        &setup,
        "(setsid sh -c 'echo $$ > pid; exec sleep 1000' &); while ! [ -s pid ]; do :; done",
    );
    run(&setup, config);
    let pid = fs::read_to_string(setup.sandbox.path().join("pid")).unwrap();
    let table = ProcessTable::read().unwrap();
    assert!(!table.is_alive(pid.trim().parse().unwrap()));
}

#[test]
fn usage_of_a_running_container() {
    let setup = setup();
    let mut config = shell(&setup, "while :; do :; done");
    config.resources = [("cpus", 0.5), ("mem", 64.0), ("cpus", 0.1)]
        .into_iter()
        .map(|(name, value)| proto::Resource {
            name: name.to_owned(),
            scalar: Some(proto::value::Scalar { value }),
            ..Default::default()
        })
        .collect();
    setup
        .runtime
        .block_on(setup.containerizer.launch(id(), config, Vec::new()))
        .unwrap();
    let usage = || {
        setup
            .runtime
            .block_on(setup.containerizer.usage(&id()))
            .unwrap()
    };
    eventually("it used the processor", || {
        usage().cpus_user_time_secs() > 0.0
    });
    let usage = usage();
    assert_eq!(usage.cpus_soft_limit, Some(0.6));
    assert_eq!(usage.mem_limit_bytes, Some(64 << 20));
    assert!(usage.mem_rss_bytes() > 0);
    setup
        .runtime
        .block_on(setup.containerizer.destroy(&id()))
        .unwrap();
    let gone = setup.runtime.block_on(setup.containerizer.usage(&id()));
    assert!(gone.is_err());
}
