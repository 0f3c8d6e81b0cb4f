//! The agent with real executors, under a scripted master.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use mesos::proto;
use mesos::proto::TaskState;
use mesos::proto::internal as wire;
use mesos_agent::containerizer::ProcessTable;
use serde_json::Value;
use support::{Cluster, FRAMEWORK_ID, eventually, task};

fn states(statuses: &[proto::TaskStatus]) -> Vec<TaskState> {
    statuses.iter().map(proto::TaskStatus::state).collect()
}

fn last(statuses: &[proto::TaskStatus]) -> (TaskState, &str) {
    let last = statuses.last().unwrap();
    (last.state(), last.message())
}

#[test]
fn a_command_runs_to_its_end() {
    let cluster = Cluster::start(&[]);
    cluster.run(task("t", "echo hello; echo \"$MESOS_ALLOCATION_ROLE\" >&2"));
    let statuses = cluster.until_ended("t");
    assert_eq!(
        states(&statuses),
        [
            TaskState::TaskStarting,
            TaskState::TaskRunning,
            TaskState::TaskFinished
        ]
    );
    let container = statuses[1].container_status.as_ref().unwrap();
    assert_eq!(
        container.network_infos[0].ip_addresses[0].ip_address(),
        "127.0.0.1"
    );
    assert!(container.executor_pid() > 0);
    assert_eq!(cluster.read("t", "stdout"), "hello\n");
    assert_eq!(cluster.read("t", "stderr"), "*\n");
}

#[test]
fn ends_of_commands() {
    let cluster = Cluster::start(&[]);
    let check = |id: &str, command: &str, state: TaskState, message: &str| {
        cluster.run(task(id, command));
        assert_eq!(
            last(&cluster.until_ended(id)),
            (state, message),
            "{command}"
        );
    };
    check(
        "ok",
        "true",
        TaskState::TaskFinished,
        "Command exited with status 0",
    );
    check(
        "bad",
        "exit 42",
        TaskState::TaskFailed,
        "Command exited with status 42",
    );
    check(
        "none",
        "no-such-command-here",
        TaskState::TaskFailed,
        "Command exited with status 127",
    );
    check(
        "dead",
        "kill -9 $$",
        TaskState::TaskFailed,
        "Command terminated with signal Killed",
    );
}

#[test]
fn an_executable_without_a_shell() {
    let cluster = Cluster::start(&[]);
    let mut info = task("t", "/bin/echo");
    let command = info.command.as_mut().unwrap();
    command.shell = Some(false);
    command.arguments = vec!["echo".to_owned(), "$HOME  x".to_owned()];
    cluster.run(info);
    assert_eq!(last(&cluster.until_ended("t")).0, TaskState::TaskFinished);
    assert_eq!(cluster.read("t", "stdout"), "$HOME  x\n");
}

#[test]
fn long_output_is_complete_and_in_order() {
    let cluster = Cluster::start(&[]);
    cluster.run(task("t", "seq 1 1500000"));
    assert_eq!(last(&cluster.until_ended("t")).0, TaskState::TaskFinished);
    let output = cluster.read("t", "stdout");
    assert!(output.len() > 10_000_000);
    for (line, number) in output.lines().zip(1..) {
        assert_eq!(line.parse(), Ok(number));
    }
    assert_eq!(output.lines().count(), 1_500_000);
}

#[test]
fn a_killed_command_may_clean_up() {
    let cluster = Cluster::start(&[]);
    cluster.run(task(
        "t",
        "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done",
    ));
    eventually("the task is ready", || {
        fs::read_to_string(cluster.sandbox("t").join("stdout")).is_ok_and(|text| text == "ready\n")
    });
    cluster.kill("t", None);
    assert_eq!(
        last(&cluster.until_ended("t")),
        (TaskState::TaskKilled, "Command exited with status 3")
    );
    assert_eq!(cluster.read("t", "stdout"), "ready\nbye\n");
}

#[test]
fn a_command_that_ignores_its_kill_is_killed_after_the_grace() {
    let cluster = Cluster::start(&[]);
    cluster.run(task(
        "t",
        "trap '' TERM; echo $$ > pid; (trap '' TERM; echo x > child; sleep 1000)",
    ));
    eventually("the task is ready", || {
        cluster.sandbox("t").join("child").exists()
    });
    cluster.kill("t", Some(10_000_000));
    let statuses = cluster.until_ended("t");
    assert_eq!(
        last(&statuses),
        (
            TaskState::TaskKilled,
            "Command terminated with signal Killed"
        )
    );
}

#[test]
fn a_dead_executor_takes_its_task_with_it() {
    let cluster = Cluster::start(&[]);
    cluster.run(task(
        "t",
        "echo $$ > pid; echo $PPID > executor; sleep 1000",
    ));
    let file = |name: &str| fs::read_to_string(cluster.sandbox("t").join(name)).unwrap_or_default();
    eventually("the task runs", || file("executor").ends_with('\n'));
    let executor: i32 = file("executor").trim().parse().unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(executor),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let statuses = cluster.until_ended("t");
    assert_eq!(
        last(&statuses),
        (TaskState::TaskFailed, "Executor terminated")
    );
    let pid = file("pid").trim().parse().unwrap();
    eventually("the task is gone", || {
        !ProcessTable::read().unwrap().is_alive(pid)
    });
}

#[test]
fn launches_that_fail_say_why() {
    let cluster = Cluster::start(&[]);
    let mut info = task("uri", "true");
    info.command.as_mut().unwrap().uris = vec![proto::command_info::Uri {
        value: "http://example.com/file".to_owned(),
        ..Default::default()
    }];
    cluster.run(info);
    let statuses = cluster.until_ended("uri");
    let (state, message) = last(&statuses);
    assert_eq!(state, TaskState::TaskFailed);
    assert_eq!(
        message,
        "Failed to launch container: fetching URIs ('http://example.com/file') is not supported by this agent"
    );
    let mut info = task("user", "true");
    info.command.as_mut().unwrap().user = Some("nobody-has-this-name".to_owned());
    cluster.run(info);
    let statuses = cluster.until_ended("user");
    assert_eq!(
        last(&statuses).1,
        "Failed to launch container: no such user 'nobody-has-this-name'"
    );
}

#[test]
fn a_framework_that_leaves() {
    let cluster = Cluster::start(&[]);
    cluster.run(task("t", "echo $$ > pid; sleep 1000"));
    let pid = cluster.sandbox("t").join("pid");
    eventually("the task runs", || {
        fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'))
    });
    let pid: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    cluster.send(&wire::ShutdownFrameworkMessage {
        framework_id: proto::FrameworkId {
            value: FRAMEWORK_ID.to_owned(),
        },
    });
    eventually("the task is gone", || {
        !ProcessTable::read().unwrap().is_alive(pid)
    });
    eventually("the framework is history", || {
        cluster.json("/state")["completed_frameworks"]
            .as_array()
            .unwrap()
            .len()
            == 1
    });
}

#[test]
fn a_shutdown_leaves_no_process() {
    let cluster = Cluster::start(&[]);
    cluster.run(task("t", "echo $$ > pid; exec sleep 1000"));
    let pid = cluster.sandbox("t").join("pid");
    eventually("the task runs", || {
        fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'))
    });
    let pid: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    drop(cluster);
    assert!(!ProcessTable::read().unwrap().is_alive(pid));
}

/// The keys of objects, all the way down; of arrays, those of the first element. Keys of maps are left out.
fn shape(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = format!("{path}.{key}");
                found.insert(path.clone());
                shape(value, &path, found);
            }
        }
        Value::Array(array) => {
            for value in array.iter().take(1) {
                shape(value, &format!("{path}[]"), found);
            }
        }
        Value::Number(_) => {
            found.insert(format!("{path}: number"));
        }
        Value::String(_) => {
            found.insert(format!("{path}: text"));
        }
        Value::Bool(_) | Value::Null => {}
    }
}

fn shape_of(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    shape(value, "", &mut found);
    found
}

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn endpoints_have_the_keys_of_the_original() {
    let cluster = Cluster::start(&["--attributes=rack:r1;n:7;rg:[1-5]"]);
    cluster.run(task("done", "true"));
    cluster.until_ended("done");
    cluster.run(task("t", "sleep 1000"));
    while cluster.status().status.state() != TaskState::TaskRunning {}

    let mut original = fixture("state.json");
    // One framework per kind there, one in all here.
    let running = original["frameworks"][1].clone();
    original["frameworks"] = Value::Array(vec![running]);
    let completed = original["completed_frameworks"][0]["completed_executors"].take();
    original["completed_frameworks"] = Value::Array(Vec::new());
    original["frameworks"][0]["completed_executors"] = completed;
    let depends = |key: &String| {
        // On the build, on flags that were given there, and on roles that are not here.
        [
            "git_",
            "flags",
            "log_dir",
            ".role",
            "hostname",
            "reserved_resources",
            "completed_tasks",
        ]
        .iter()
        .any(|part| key.contains(part))
    };
    let keys = |value: &Value| -> BTreeSet<String> {
        shape_of(value)
            .into_iter()
            .filter(|key| !depends(key))
            .collect()
    };
    assert_eq!(keys(&cluster.json("/state")), keys(&original));
    assert_eq!(keys(&cluster.json("/slave(1)/state")), keys(&original));

    for (path, name) in [
        ("/monitor/statistics", "monitor_statistics.json"),
        ("/containers", "containers.json"),
    ] {
        assert_eq!(
            shape_of(&cluster.json(path)),
            shape_of(&fixture(name)),
            "{path}"
        );
    }
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let metrics = cluster.json("/metrics/snapshot");
    let missing: Vec<String> = names(&fixture("metrics_snapshot.json"))
        .difference(&names(&metrics))
        .cloned()
        .collect();
    assert_eq!(missing, [""; 0]);
    for (name, expected) in [
        ("slave/tasks_running", 1.0),
        ("slave/tasks_finished", 1.0),
        ("slave/executors_running", 1.0),
        ("slave/registered", 1.0),
        ("slave/cpus_total", 4.0),
        ("slave/cpus_used", 0.6),
        ("slave/mem_percent", 0.0625),
    ] {
        assert_eq!(metrics[name].as_f64(), Some(expected), "{name}");
    }
}

#[test]
fn promtool_accepts_the_metrics_of_an_agent() {
    let cluster = Cluster::start(&[]);
    let (status, text) = cluster.get("/metrics");
    assert_eq!(status, 200);
    assert!(text.contains("\nslave_registered "), "{text}");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed: apt-get install prometheus");
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = promtool.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}\n{text}");
}

#[test]
fn small_endpoints() {
    let cluster = Cluster::start(&[]);
    assert_eq!(cluster.get("/health"), (200, String::new()));
    assert_eq!(cluster.get("/slave(1)/health"), (200, String::new()));
    assert_eq!(cluster.json("/version")["version"], "1.11.0");
    assert_eq!(cluster.json("/flags")["flags"]["launcher"], "posix");
    assert_eq!(cluster.get("/monitor/statistics.json").0, 404);
    assert_eq!(cluster.get("/nonesuch").0, 404);
    assert_eq!(cluster.get("/api/v1/executor").0, 405);
    assert_eq!(cluster.post("/api/v1/executor", "", "").0, 501);
    let (_, body) = cluster.get("/flags?jsonp=f");
    assert!(body.starts_with("f({"), "{body}");
}

#[test]
fn files_of_a_sandbox() {
    let cluster = Cluster::start(&[]);
    cluster.run(task("t", "echo hello"));
    cluster.until_ended("t");
    let latest = format!("/frameworks/{FRAMEWORK_ID}/executors/t/runs/latest");
    let files = cluster.json(&format!("/files/browse?path={latest}"));
    let names: Vec<&str> = files
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [format!("{latest}/stderr"), format!("{latest}/stdout")]
    );
    let (status, body) = cluster.get(&format!(
        "/files/read?path={latest}/stdout&offset=1&length=3"
    ));
    assert_eq!(
        (status, body.as_str()),
        (200, r#"{"data":"ell","offset":1}"#)
    );
    let (status, body) = cluster.get(&format!("/files/read?path={latest}/stdout&offset=-1"));
    assert_eq!((status, body.as_str()), (200, r#"{"data":"","offset":6}"#));
    let sandbox = fs::canonicalize(cluster.sandbox("t")).unwrap();
    let (status, body) = cluster.get(&format!(
        "/files/download?path={}/stdout",
        sandbox.display()
    ));
    assert_eq!((status, body.as_str()), (200, "hello\n"));
    for (path, expected) in [
        ("/files/browse?path=/nonesuch", (404, "")),
        ("/files/read?path=/nonesuch", (404, "")),
        ("/files/browse", (400, "Expecting 'path=value' in query.\n")),
        (
            "/files/read?path=/x&offset=-2",
            (400, "Negative offset provided: -2.\n"),
        ),
    ] {
        let (status, body) = cluster.get(path);
        assert_eq!((status, body.as_str()), expected, "{path}");
    }
    let outside = format!("/files/read?path={latest}/../../../../../../x&offset=0");
    assert!(matches!(cluster.get(&outside).0, 400 | 404));
}

#[test]
fn the_operator_api() {
    let cluster = Cluster::start(&[]);
    cluster.run(task("t", "sleep 1000"));
    while cluster.status().status.state() != TaskState::TaskRunning {}
    let call = |body: &str| -> (u16, Value) {
        let (status, body) = cluster.post(
            "/api/v1",
            "Content-Type: application/json\r\nAccept: application/json\r\n",
            body,
        );
        (
            status,
            serde_json::from_str(&body).unwrap_or(Value::String(body)),
        )
    };
    assert_eq!(
        call(r#"{"type":"GET_HEALTH"}"#).1.to_string(),
        r#"{"type":"GET_HEALTH","get_health":{"healthy":true}}"#
    );
    assert_eq!(
        call(r#"{"type":"GET_AGENT"}"#).1["get_agent"]["agent_info"]["id"]["value"],
        "S0"
    );
    let tasks = call(r#"{"type":"GET_STATE"}"#).1;
    let launched = &tasks["get_state"]["get_tasks"]["launched_tasks"][0];
    assert_eq!(
        (&launched["task_id"]["value"], &launched["state"]),
        (&Value::from("t"), &Value::from("TASK_RUNNING"))
    );
    assert_eq!(
        call(r#"{"type":"GET_CONTAINERS"}"#).1["get_containers"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let path = format!("/frameworks/{FRAMEWORK_ID}/executors/t/runs/latest");
    let files = call(&format!(
        r#"{{"type":"LIST_FILES","list_files":{{"path":"{path}"}}}}"#
    ))
    .1;
    assert_eq!(
        files["list_files"]["file_infos"].as_array().unwrap().len(),
        2
    );

    let tasks = call(r#"{"type":"GET_TASKS"}"#).1;
    let lists: Vec<&String> = tasks["get_tasks"].as_object().unwrap().keys().collect();
    assert_eq!(lists.len(), 5, "{lists:?}");

    assert_eq!(call(r#"{"type":"GET_METRICS"}"#).0, 400);
    assert_eq!(call(r#"{"type":"PRUNE_IMAGES"}"#).0, 501);
    assert_eq!(call("{").0, 400);
    assert_eq!(cluster.get("/api/v1").0, 405);
    assert_eq!(cluster.post("/api/v1", "", "{}").0, 400);
    assert_eq!(
        cluster
            .post("/api/v1", "Content-Type: text/plain\r\n", "{}")
            .0,
        415
    );
    assert_eq!(
        cluster
            .post(
                "/api/v1",
                "Content-Type: application/json\r\nAccept: text/plain\r\n",
                "{}"
            )
            .0,
        406
    );
}
