//! Maintenance over HTTP, with a master that has no agents.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use http::Method;
use libprocess::client::{Client, Request};
use libprocess::{Clock, RuntimeConfig};
use mesos::flags::Flags;
use mesos_master::{MasterFlags, RunningMaster, start};

const SCHEDULE: &str = "/maintenance/schedule";
const STATUS: &str = "/maintenance/status";
const DOWN: &str = "/machine/down";
const UP: &str = "/machine/up";
/// A machine as JSON.
const A: &str = r#"{"hostname":"a","ip":"10.0.0.1"}"#;
const B: &str = r#"{"hostname":"b"}"#;

struct World {
    master: RunningMaster,
    client: Client,
}

impl World {
    async fn new() -> Self {
        let config = RuntimeConfig {
            clock: Clock::paused(),
            ..RuntimeConfig::loopback()
        };
        let flags = MasterFlags::from_args::<&str>([]).unwrap();
        let master = start(flags, config).unwrap();
        master.runtime.clock().settle().await;
        let client = Client::new(&master.runtime);
        Self { master, client }
    }

    /// Status, `Allow` header and text of an answer.
    async fn ask(&self, method: Method, path: &str, body: &str) -> (u16, String, String) {
        let address = self.master.runtime.bound_address().to_string();
        let url = self.client.url(&address, path).unwrap();
        let request = Request::new(method, &url)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json")
            .body(body.to_owned());
        let answer = self.client.request(request).await.unwrap();
        let allow = answer.headers().get("Allow");
        (
            answer.status().as_u16(),
            allow.map_or_else(String::new, |allow| allow.to_str().unwrap().to_owned()),
            String::from_utf8(answer.body().to_vec()).unwrap(),
        )
    }

    /// Posts what must be accepted without a word.
    async fn post(&self, path: &str, body: &str) {
        let answer = self.ask(Method::POST, path, body).await;
        assert_eq!(answer, (200, String::new(), String::new()), "{path} {body}");
    }

    async fn get(&self, path: &str) -> String {
        let (status, _, body) = self.ask(Method::GET, path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Makes a call of the operator API; `fields` follow the type.
    async fn call(&self, kind: &str, fields: &str) -> (u16, String) {
        let body = format!(r#"{{"type":"{kind}"{fields}}}"#);
        let (status, _, body) = self.ask(Method::POST, "/api/v1", &body).await;
        (status, body)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.master.shutdown();
    }
}

/// A schedule of one window.
fn schedule(machines: &[&str], duration: &str) -> String {
    format!(
        r#"{{"windows":[{{"machine_ids":[{}],"unavailability":{{{duration}"start":{{"nanoseconds":1}}}}}}]}}"#,
        machines.join(",")
    )
}

#[tokio::test]
async fn wrong_input_is_named() {
    let world = World::new().await;
    world.post(SCHEDULE, &schedule(&[A, B], "")).await;
    world.post(DOWN, &format!("[{A}]")).await;
    let check = async |path: &str, body: String, expected: &str| {
        let (status, _, text) = world.ask(Method::POST, path, &body).await;
        assert_eq!(status, 400, "{path} {body}: {text}");
        assert!(text.contains(expected), "{path} {body}: {text}");
    };
    check(SCHEDULE, String::new(), "JSON").await;
    check(SCHEDULE, "[]".to_owned(), "Schedule").await;
    check(
        SCHEDULE,
        format!(r#"{{"windows":[{{"machine_ids":[{A}]}}]}}"#),
        "unavailability",
    )
    .await;
    check(SCHEDULE, schedule(&[], ""), "window is empty").await;
    let negative = r#""duration":{"nanoseconds":-1},"#;
    check(SCHEDULE, schedule(&[A], negative), "'duration' is negative").await;
    check(SCHEDULE, schedule(&["{}"], ""), "are empty").await;
    let no_ip = r#"{"hostname":"a","ip":"10.0.0.256"}"#;
    check(SCHEDULE, schedule(&[no_ip], ""), "10.0.0.256").await;
    check(SCHEDULE, schedule(&[A, A], ""), "more than once").await;
    check(SCHEDULE, schedule(&[B], ""), "deactivated").await;
    check(SCHEDULE, "{}".to_owned(), "deactivated").await;
    for path in [DOWN, UP] {
        check(path, "{}".to_owned(), "JSON array").await;
        check(path, "[1]".to_owned(), "MachineID").await;
        check(path, "[]".to_owned(), "List of machines is empty").await;
        check(path, "[{}]".to_owned(), "are empty").await;
        check(path, format!("[{A},{A}]"), "more than once").await;
        let stranger = r#"[{"hostname":"stranger"}]"#.to_owned();
        check(path, stranger, "not part of a maintenance schedule").await;
    }
    check(DOWN, format!("[{A}]"), "not in DRAINING mode").await;
    check(UP, format!("[{B}]"), "not in DOWN mode").await;
    for (kind, fields, expected) in [
        (
            "UPDATE_MAINTENANCE_SCHEDULE",
            "",
            "update_maintenance_schedule",
        ),
        ("START_MAINTENANCE", "", "start_maintenance"),
        (
            "START_MAINTENANCE",
            r#","start_maintenance":{"machines":[]}"#,
            "List of machines is empty",
        ),
        (
            "STOP_MAINTENANCE",
            r#","stop_maintenance":{"machines":[{"hostname":"b"}]}"#,
            "not in DOWN mode",
        ),
    ] {
        let (status, text) = world.call(kind, fields).await;
        assert_eq!(status, 400, "{kind} {fields}: {text}");
        assert!(text.contains(expected), "{kind} {fields}: {text}");
    }
    let expected = format!(r#"{{"draining_machines":[{{"id":{B}}}],"down_machines":[{A}]}}"#);
    assert_eq!(world.get(STATUS).await, expected);
}

#[tokio::test]
async fn endpoints_have_the_methods_of_the_original() {
    let world = World::new().await;
    let check = async |method: Method, path: &str, allowed: &str| {
        let (status, allow, text) = world.ask(method.clone(), path, "").await;
        assert_eq!((status, allow.as_str()), (405, allowed), "{method} {path}");
        assert!(text.contains(&format!("received '{method}'")), "{text}");
    };
    check(Method::PUT, SCHEDULE, "GET, POST").await;
    check(Method::POST, STATUS, "GET").await;
    check(Method::GET, DOWN, "POST").await;
    check(Method::GET, UP, "POST").await;
}

#[tokio::test]
async fn both_apis_tell_and_change_the_same() {
    let world = World::new().await;
    let check = async |schedule: &str, status: &str| {
        assert_eq!(world.get(SCHEDULE).await, schedule);
        assert_eq!(world.get(STATUS).await, status);
        let answer = |kind: &str, field: &str, inner: &str, content: &str| {
            (
                200,
                format!(r#"{{"type":"{kind}","{field}":{{"{inner}":{content}}}}}"#),
            )
        };
        assert_eq!(
            world.call("GET_MAINTENANCE_SCHEDULE", "").await,
            answer(
                "GET_MAINTENANCE_SCHEDULE",
                "get_maintenance_schedule",
                "schedule",
                schedule
            )
        );
        assert_eq!(
            world.call("GET_MAINTENANCE_STATUS", "").await,
            answer(
                "GET_MAINTENANCE_STATUS",
                "get_maintenance_status",
                "status",
                status
            )
        );
    };
    let changed = async |kind: &str, fields: String| {
        assert_eq!(world.call(kind, &fields).await, (200, String::new()));
    };
    check("{}", "{}").await;
    let posted = format!(
        r#"{{"windows":[{{"machine_ids":[{A}],"unavailability":{{"start":{{"nanoseconds":1}},"duration":{{"nanoseconds":5}}}}}}]}}"#
    );
    let draining = format!(r#"{{"draining_machines":[{{"id":{A}}}]}}"#);
    let down = format!(r#"{{"down_machines":[{A}]}}"#);

    world.post(SCHEDULE, &posted).await;
    check(&posted, &draining).await;
    world.post(DOWN, &format!("[{A}]")).await;
    check(&posted, &down).await;
    world.post(UP, &format!("[{A}]")).await;
    check("{}", "{}").await;

    let update = format!(r#","update_maintenance_schedule":{{"schedule":{posted}}}"#);
    changed("UPDATE_MAINTENANCE_SCHEDULE", update).await;
    check(&posted, &draining).await;
    let machines = format!(r#"{{"machines":[{A}]}}"#);
    let start = format!(r#","start_maintenance":{machines}"#);
    changed("START_MAINTENANCE", start).await;
    check(&posted, &down).await;
    let stop = format!(r#","stop_maintenance":{machines}"#);
    changed("STOP_MAINTENANCE", stop).await;
    check("{}", "{}").await;
    let padded = world.get("/maintenance/schedule?jsonp=f").await;
    assert_eq!(padded, "f({})");
}
