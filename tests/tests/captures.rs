//! Our answers against those of the C++ original, key by key and type by type.
//!
//! `fixtures/captures-*.jsonl` holds what Apache Mesos 1.11.0 answered while tasks ran; here a
//! comparable situation is made and the same requests are sent. What differs has to be listed,
//! with its reason, in `docs/differences.md`; what is listed there has to differ.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mesos_tests::cluster::Cluster;
use mesos_tests::http::{self, Method};
use mesos_tests::scheduler::{SchedulerClient, scalar};
use mesos_tests::shape::{differences, shape_of};
use mesos_tests::wait::eventually;
use serde_json::{Value, json};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);
/// Taken when most frameworks were gone.
const STATE_AFTER: &str = "http/master/state_after";
/// Shown when the allocator's metrics know of the tasks.
const CONSUMED: &str = "allocator/mesos/quota/roles/*/resources/cpus/consumed";
/// Differences are listed in the document as items of this form.
const LISTED: &str = "- `";
/// Taken when the machine of the agent was scheduled for maintenance; names end so.
const SCHEDULED: &str = "_set";

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_the_keys_and_types_of_the_original() {
    let situation = Situation::make().await;
    let mut found = Vec::new();
    let (later, captures): (Vec<Value>, Vec<Value>) = captures()
        .into_iter()
        .partition(|capture| capture["name"] == STATE_AFTER);
    let (scheduled, captures): (Vec<Value>, Vec<Value>) = captures
        .into_iter()
        .partition(|capture| capture["name"].as_str().unwrap().ends_with(SCHEDULED));
    for capture in &captures {
        found.extend(situation.compare(capture).await);
    }
    situation.schedule_maintenance().await;
    for capture in &scheduled {
        found.extend(situation.compare(capture).await);
    }
    situation.tear_down().await;
    for capture in &later {
        found.extend(situation.compare(capture).await);
    }
    let listed = listed_differences();
    let unlisted: Vec<&String> = found
        .iter()
        .filter(|difference| !listed.iter().any(|pattern| matches(pattern, difference)))
        .collect();
    let stale: Vec<&String> = listed
        .iter()
        .filter(|pattern| !found.iter().any(|difference| matches(pattern, difference)))
        .collect();
    assert!(
        unlisted.is_empty() && stale.is_empty(),
        "not in docs/differences.md:\n{unlisted:#?}\nlisted there but not (any more) so:\n{stale:#?}"
    );
}

fn captures() -> Vec<Value> {
    let mut captures = Vec::new();
    for file in ["captures-http.jsonl", "captures-v1.jsonl"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(file);
        let content = std::fs::read_to_string(path).unwrap();
        captures.extend(
            content
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    captures
}

/// A cluster in the state in which the captures were taken, as far as it can be.
struct Situation {
    cluster: Cluster,
    master: SocketAddr,
    agent: SocketAddr,
    sandbox: String,
    /// Stays subscribed to the end.
    _long_lived: SchedulerClient,
    /// Torn down before the last capture.
    ending: Vec<SchedulerClient>,
    /// Removed after the daemons that write there.
    _logs: TempDir,
}

impl Situation {
    /// One agent with attributes and a reservation; a role with quota and weight; a completed
    /// framework; two with running and completed tasks, one of them with a principal and several
    /// roles.
    async fn make() -> Situation {
        let logs = tempfile::tempdir().unwrap();
        let mut cluster = Cluster::builder()
            .master_flag(format!("--log_dir={}/master", logs.path().display()))
            .agent_flag(format!("--log_dir={}/agent", logs.path().display()))
            .agent_flag("--attributes=rack:r1;n:7;rg:[1-5]")
            .agent_flag(
                "--resources=cpus:4;mem:4032;disk:10112;ports:[31000-32000];\
                 mem(web):64;disk(web):128",
            )
            .start()
            .await;
        let master = cluster.leader_address().await;
        let agent = cluster.agent(0).address();
        share(master).await;

        let mut done = subscribe(master, execute_framework(false)).await;
        run(&mut done, "done", "TASK_FINISHED", |task| {
            task["command"] = json!({"value": "echo done"});
        })
        .await;
        done.call(json!({"type": "TEARDOWN"})).await.unwrap();

        let mut sleeper = subscribe(master, execute_framework(true)).await;
        run(&mut sleeper, "sleeper", "TASK_RUNNING", |task| {
            task["command"] = json!({"value": "echo started; sleep 1000"});
        })
        .await;

        let mut long_lived = subscribe(master, long_lived_framework()).await;
        run(&mut long_lived, "0", "TASK_FINISHED", |task| {
            task["executor"] = long_lived_executor();
            task["data"] = json!("ZmluaXNo");
        })
        .await;
        run(&mut long_lived, "1", "TASK_RUNNING", |task| {
            task["executor"] = long_lived_executor();
        })
        .await;

        let mut info = long_lived_framework();
        info.as_object_mut().unwrap().remove("principal");
        let mut session = subscribe(master, info).await;
        run(&mut session, "labelled", "TASK_RUNNING", |task| {
            task["executor"] = long_lived_executor();
            task["labels"] = json!({"labels": [{"key": "l1", "value": "v1"}]});
        })
        .await;

        let sandbox = sandbox_of(agent, "sleeper").await;
        // Values of the allocator are up to two seconds old.
        eventually("the metrics show the tasks", DEADLINE, || async {
            let metrics = http::get_json(master, "/metrics/snapshot").await.ok()?;
            metrics.get(CONSUMED).map(|_| ())
        })
        .await;
        Situation {
            cluster,
            master,
            agent,
            sandbox,
            _long_lived: long_lived,
            ending: vec![sleeper, session],
            _logs: logs,
        }
    }

    /// Schedules the machine of the agent, as was done for the captures.
    async fn schedule_maintenance(&self) {
        let unavailability = json!({
            "start": {"nanoseconds": 1_795_237_294_000_000_000_i64},
            "duration": {"nanoseconds": 3_600_000_000_000_i64},
        });
        let machine = json!({"hostname": "127.0.0.1", "ip": "127.0.0.1"});
        let window = json!({"machine_ids": [machine], "unavailability": unavailability});
        let call = json!({
            "type": "UPDATE_MAINTENANCE_SCHEDULE",
            "update_maintenance_schedule": {"schedule": {"windows": [window]}},
        });
        let response = http::post_json(self.master, "/api/v1", &call)
            .await
            .unwrap();
        assert_eq!(response.status, http::StatusCode::OK, "{}", response.text());
        assert!(response.body.is_empty());
    }

    /// Ends all frameworks but the long lived one.
    async fn tear_down(&self) {
        for framework in &self.ending {
            framework.call(json!({"type": "TEARDOWN"})).await.unwrap();
        }
        eventually("the frameworks are gone", DEADLINE, || async {
            let state = self.cluster.state().await;
            (state["frameworks"].as_array()?.len() == 1).then_some(())
        })
        .await;
    }

    /// Sends the request of a capture and lists how the answer differs.
    async fn compare(&self, capture: &Value) -> Vec<String> {
        let name = capture["name"].as_str().unwrap_or_default();
        let differences = self.differences(capture).await;
        differences
            .into_iter()
            .map(|difference| format!("{name}: {difference}"))
            .collect()
    }

    async fn differences(&self, capture: &Value) -> Vec<String> {
        let text = |key: &str| capture[key].as_str().unwrap_or_default();
        let (_, daemon) = text("name").split_once('/').unwrap();
        let address = match daemon.starts_with("master/") {
            true => self.master,
            false => self.agent,
        };
        let method: Method = text("method").parse().unwrap();
        let path = text("path").replace("{sandbox}", &self.sandbox);
        let body = text("body").replace("{sandbox}", &self.sandbox);
        let headers: Vec<(&str, &str)> = capture["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .collect();
        let response = match http::request(address, method, &path, &headers, body).await {
            Ok(response) => response,
            Err(error) => return vec![format!("no answer: {error:#}")],
        };
        if response.status != http::StatusCode::OK {
            return vec![format!("status {}", response.status.as_u16())];
        }
        let ours: Value = match serde_json::from_slice(&response.body) {
            Ok(ours) => ours,
            Err(error) => return vec![format!("no JSON: {error}")],
        };
        let theirs = shape_of(&capture["answer"], &generic);
        differences(&theirs, &shape_of(&ours, &generic))
    }
}

/// Sets quota and weight of a role.
async fn share(master: SocketAddr) {
    let quota = json!({
        "role": "web",
        "guarantees": {"cpus": {"value": 0.1}},
        "limits": {"cpus": {"value": 2}, "mem": {"value": 1024}},
    });
    let calls = [
        json!({"type": "UPDATE_QUOTA", "update_quota": {"force": true, "quota_configs": [quota]}}),
        json!({
            "type": "UPDATE_WEIGHTS",
            "update_weights": {"weight_infos": [{"role": "web", "weight": 2.5}]},
        }),
    ];
    for call in calls {
        let response = http::post_json(master, "/api/v1", &call).await.unwrap();
        assert_eq!(response.status, http::StatusCode::OK, "{}", response.text());
    }
}

/// Replaces those parts of a path that are data: roles, frameworks, principals, files.
fn generic(path: &str) -> String {
    for map in [
        "reserved_resources",
        "reserved_resources_full",
        "reserved_resources_allocated",
    ] {
        for before in [format!("{map}."), format!(".{map}.")] {
            if let Some(start) = find_map_key(path, &before) {
                let rest = path[start..]
                    .find(['.', '['])
                    .map_or("", |end| &path[start + end..]);
                return format!("{}<role>{rest}", &path[..start]);
            }
        }
    }
    if path.starts_with('/') {
        return "<file>".to_owned();
    }
    generic_metric(path)
}

/// Where the key after `before` starts, if `before` stands at the start or after a dot.
fn find_map_key(path: &str, before: &str) -> Option<usize> {
    match before.starts_with('.') {
        true => path.find(before).map(|at| at + before.len()),
        false => path.starts_with(before).then_some(before.len()),
    }
}

/// `master/frameworks/<name>/<id>/...`, `.../roles/<role>/...`, `frameworks/<principal>/...`.
fn generic_metric(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    let mut result = Vec::new();
    let mut index = 0;
    while let Some(part) = parts.get(index) {
        result.push(*part);
        index += 1;
        match (*part, result.len()) {
            ("roles", _) if parts.len() > index + 1 => {
                result.push("<role>");
                index += 1;
            }
            ("frameworks", 2) if parts.first() == Some(&"master") => {
                result.push("<framework>");
                index += 2;
            }
            ("frameworks", 1) if parts.len() > 2 => {
                result.push("<principal>");
                index += 1;
            }
            _ => {}
        }
    }
    result.join("/")
}

/// As `mesos-execute` of the captures describes itself.
fn execute_framework(checkpoint: bool) -> Value {
    json!({
        "name": "mesos-execute instance",
        "user": "root",
        "role": "*",
        "checkpoint": checkpoint,
        "capabilities": [
            {"type": "RESERVATION_REFINEMENT"},
            {"type": "TASK_KILLING_STATE"},
            {"type": "REVOCABLE_RESOURCES"},
            {"type": "PARTITION_AWARE"},
        ],
    })
}

/// As the long lived framework of the captures describes itself.
fn long_lived_framework() -> Value {
    json!({
        "name": "Long Lived Framework",
        "user": "root",
        "principal": "test",
        "roles": ["*"],
        "checkpoint": false,
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}],
    })
}

async fn subscribe(master: SocketAddr, info: Value) -> SchedulerClient {
    SchedulerClient::subscribe(master, &info).await.unwrap()
}

/// The executor that the tasks of the long lived framework share.
fn long_lived_executor() -> Value {
    json!({
        "executor_id": {"value": "default"},
        "name": "Long Lived Executor",
        "command": {"value": env!("CARGO_BIN_EXE_long-lived-executor")},
        "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)],
    })
}

/// Launches a task, completed by `describe`, on the next offer and waits for one of its states.
async fn run(client: &mut SchedulerClient, id: &str, state: &str, describe: impl Fn(&mut Value)) {
    client.call(json!({"type": "REVIVE"})).await.unwrap();
    let event = client.expect("OFFERS", DEADLINE).await;
    let offer = &event["offers"]["offers"][0];
    // What is left of the offer is for the other frameworks.
    client.call(json!({"type": "SUPPRESS"})).await.unwrap();
    let mut task = json!({
        "name": id,
        "task_id": {"value": id},
        "agent_id": offer["agent_id"],
        "resources": [scalar("cpus", 0.5), scalar("mem", 64.0), scalar("disk", 32.0)],
    });
    describe(&mut task);
    client.launch(offer, &[task]).await.unwrap();
    loop {
        let status = client.expect_status(id, DEADLINE).await;
        assert_ne!(status["state"], "TASK_FAILED", "{status}");
        if status["state"] == state {
            break;
        }
    }
}

/// The folder of the executor of a command task.
async fn sandbox_of(agent: SocketAddr, executor: &str) -> String {
    eventually("the sandbox is known", DEADLINE, || async {
        let state = http::get_json(agent, "/state").await.ok()?;
        let frameworks = state["frameworks"].as_array()?;
        let executors = frameworks
            .iter()
            .filter_map(|f| f["executors"].as_array())
            .flatten();
        let mut found = executors.filter(|e| e["id"] == executor);
        found.next()?["directory"].as_str().map(str::to_owned)
    })
    .await
}

fn listed_differences() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/differences.md");
    let document = std::fs::read_to_string(path).unwrap();
    document
        .lines()
        .filter_map(|line| line.strip_prefix(LISTED)?.split('`').next())
        .map(str::to_owned)
        .collect()
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|at| matches(rest, &text[at..]))
        }),
    }
}

#[test]
fn patterns_match() {
    assert!(matches("a*c", "abbc"));
    assert!(matches("a*", "a"));
    assert!(matches("v1/*: status *", "v1/master/GET_X: status 501"));
    assert!(!matches("a*c", "abbd"));
    assert!(!matches("a", "ab"));
}

#[test]
fn data_in_keys_is_generic() {
    fn check(path: &str, expected: &str) {
        assert_eq!(generic(path), expected);
    }
    check(
        "reserved_resources.web.cpus",
        "reserved_resources.<role>.cpus",
    );
    check(
        "slaves[].reserved_resources.web",
        "slaves[].reserved_resources.<role>",
    );
    check(
        "slaves[].reserved_resources_full.web[].role",
        "slaves[].reserved_resources_full.<role>[].role",
    );
    check(
        "slaves[].unreserved_resources.cpus",
        "slaves[].unreserved_resources.cpus",
    );
    check(
        "master/frameworks/a/b-0001/calls",
        "master/frameworks/<framework>/calls",
    );
    check(
        "master/frameworks/a/b-0001/roles/*/suppressed",
        "master/frameworks/<framework>/roles/<role>/suppressed",
    );
    check(
        "frameworks/test/messages_received",
        "frameworks/<principal>/messages_received",
    );
    check("master/frameworks_active", "master/frameworks_active");
    check("frameworks[].roles", "frameworks[].roles");
    check("frameworks", "frameworks");
    check("/master/log", "<file>");
}
