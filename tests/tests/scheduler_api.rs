//! The v1 scheduler API as seen by a client that builds every byte itself.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::BodyExt;
use mesos::proto::v1;
use mesos::proto::v1::scheduler::{Call, Event, call, event};
use mesos_tests::cluster::Cluster;
use mesos_tests::http::{self, Method, Response};
use mesos_tests::scheduler::{
    SCHEDULER_PATH, SchedulerClient, command_task, framework_info, take_record,
};
use prost::Message;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

async fn post(
    address: SocketAddr,
    headers: &[(&str, &str)],
    body: impl Into<bytes::Bytes>,
) -> Response {
    http::request(address, Method::POST, SCHEDULER_PATH, headers, body)
        .await
        .unwrap()
}

/// Checks the status and that the text contains what a client may look for.
fn check(what: &str, response: &Response, status: u16, text: &str) {
    let body = response.text();
    assert_eq!(response.status.as_u16(), status, "{what}: {body}");
    assert!(body.contains(text), "{what}: '{body}' has no '{text}'");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_a_task_in_json() {
    let cluster = Cluster::builder().start().await;
    let address = cluster.leader_address().await;
    let mut client = SchedulerClient::subscribe(address, &framework_info("json"))
        .await
        .unwrap();
    let subscribed = &client.subscribed()["subscribed"];
    assert_eq!(subscribed["heartbeat_interval_seconds"], 15.0);
    assert_eq!(subscribed["master_info"]["port"], address.port());
    client.expect("HEARTBEAT", DEADLINE).await;

    let offer = first_offer(&mut client).await;
    assert_eq!(offer["url"]["path"], "/slave(1)");
    let task = command_task(&offer, "hello", "echo hello", 0.1, 32.0);
    client.launch(&offer, &[task]).await.unwrap();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|state| state != "TASK_FINISHED") {
        let status = client.expect_status("hello", DEADLINE).await;
        seen.push(status["state"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_reconciles_suppresses_and_revives() {
    let cluster = Cluster::builder().start().await;
    let address = cluster.leader_address().await;
    let mut client = SchedulerClient::subscribe(address, &framework_info("calls"))
        .await
        .unwrap();
    let offer = first_offer(&mut client).await;
    let task = command_task(&offer, "long", "sleep 1000", 0.1, 32.0);
    client.launch(&offer, &[task]).await.unwrap();
    let running = until_state(&mut client, "long", "TASK_RUNNING").await;

    for tasks in [json!([]), json!([{"task_id": {"value": "long"}}])] {
        let reconcile = json!({"type": "RECONCILE", "reconcile": {"tasks": tasks}});
        client.call(reconcile).await.unwrap();
        let status = client.expect_status("long", DEADLINE).await;
        assert_eq!(status["state"], "TASK_RUNNING");
        assert_eq!(status["reason"], "REASON_RECONCILIATION");
        assert!(status.get("uuid").is_none(), "{status}");
    }
    let unknown = json!([{"task_id": {"value": "unknown"}, "agent_id": running["agent_id"]}]);
    let reconcile = json!({"type": "RECONCILE", "reconcile": {"tasks": unknown}});
    client.call(reconcile).await.unwrap();
    let status = client.expect_status("unknown", DEADLINE).await;
    assert_eq!(status["state"], "TASK_GONE", "{status}");

    client.call(json!({"type": "SUPPRESS"})).await.unwrap();
    client.call(json!({"type": "REVIVE"})).await.unwrap();
    let offer = first_offer(&mut client).await;
    client.decline(&offer, 0.0).await.unwrap();
    first_offer(&mut client).await;

    let kill = json!({"type": "KILL", "kill": {"task_id": {"value": "long"}}});
    client.call(kill).await.unwrap();
    until_state(&mut client, "long", "TASK_KILLED").await;

    client.call(json!({"type": "TEARDOWN"})).await.unwrap();
    while client.next_event().await.is_some() {}
    let state = cluster.state().await;
    let completed = &state["completed_frameworks"][0];
    assert_eq!(completed["id"], client.framework_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_a_task_in_protobuf() {
    let cluster = Cluster::builder().start().await;
    let address = cluster.leader_address().await;
    let mut client = ProtobufClient::subscribe(address).await;
    let offer = client.until(|event| event.offers?.offers.pop()).await;
    let resources = ["cpus", "mem"].map(|name| {
        let value = if name == "cpus" { 0.1 } else { 32.0 };
        v1::Resource {
            name: name.to_owned(),
            r#type: v1::value::Type::Scalar.into(),
            scalar: Some(v1::value::Scalar { value }),
            ..Default::default()
        }
    });
    let task = v1::TaskInfo {
        name: "binary".to_owned(),
        task_id: v1::TaskId {
            value: "binary".to_owned(),
        },
        agent_id: offer.agent_id.clone(),
        resources: resources.to_vec(),
        command: Some(v1::CommandInfo {
            value: Some("true".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let launch = v1::offer::Operation {
        r#type: Some(v1::offer::operation::Type::Launch.into()),
        launch: Some(v1::offer::operation::Launch {
            task_infos: vec![task],
        }),
        ..Default::default()
    };
    let mut accept = client.new_call(call::Type::Accept);
    accept.accept = Some(call::Accept {
        offer_ids: vec![offer.id.clone()],
        operations: vec![launch],
        filters: None,
    });
    client.send(&accept).await;
    loop {
        let status = client.until(|event| Some(event.update?.status)).await;
        let mut acknowledge = client.new_call(call::Type::Acknowledge);
        acknowledge.acknowledge = Some(call::Acknowledge {
            agent_id: status.agent_id.clone().unwrap(),
            task_id: status.task_id.clone(),
            uuid: status.uuid.clone().unwrap(),
        });
        client.send(&acknowledge).await;
        if status.state() == v1::TaskState::TaskFinished {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_what_is_no_call() {
    let cluster = Cluster::builder().agents(0).start().await;
    let address = cluster.leader_address().await;
    let json = [("Content-Type", JSON), ("Accept", JSON)];
    let protobuf = [("Content-Type", PROTOBUF), ("Accept", PROTOBUF)];
    type Headers = [(&'static str, &'static str); 2];
    let bodies: [(&str, Headers, &[u8], &str); 9] = [
        (
            "broken JSON",
            json,
            b"{nope",
            "Failed to parse body into JSON",
        ),
        ("an empty body", json, b"", "Failed to parse body into JSON"),
        ("JSON that is no object", json, b"[1]", ""),
        (
            "an unknown type",
            json,
            br#"{"type": "NOPE"}"#,
            "Expecting 'type' to be present",
        ),
        ("no type", json, b"{}", "Expecting 'type' to be present"),
        (
            "no payload",
            json,
            br#"{"type": "SUBSCRIBE"}"#,
            "Expecting 'subscribe' to be present",
        ),
        (
            "no framework id",
            json,
            br#"{"type": "REVIVE"}"#,
            "Expecting 'framework_id' to be present",
        ),
        ("broken protobuf", protobuf, b"\xff\xff\xff", ""),
        (
            "empty protobuf",
            protobuf,
            b"",
            "Expecting 'type' to be present",
        ),
    ];
    for (what, headers, body, text) in bodies {
        let response = post(address, &headers, body.to_vec()).await;
        check(what, &response, 400, text);
    }
    let nesting = "[".repeat(100_000);
    let response = post(address, &json, nesting).await;
    check("deep nesting", &response, 400, "");

    let unknown = json!({"type": "REVIVE", "framework_id": {"value": "x"}}).to_string();
    let response = post(address, &json, unknown).await;
    check(
        "an unknown framework",
        &response,
        400,
        "Framework cannot be found",
    );

    // The daemon lives on and still serves.
    let client = SchedulerClient::subscribe(address, &framework_info("after")).await;
    assert!(client.is_ok(), "{client:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_wrong_methods_and_media_types() {
    let cluster = Cluster::builder().agents(0).start().await;
    let address = cluster.leader_address().await;
    let subscribe = json!({
        "type": "SUBSCRIBE",
        "subscribe": {"framework_info": framework_info("types")},
    })
    .to_string();

    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let response = http::request(address, method.clone(), SCHEDULER_PATH, &[], "")
            .await
            .unwrap();
        check(
            method.as_str(),
            &response,
            405,
            "Expecting one of { 'POST' }",
        );
        assert_eq!(response.header("Allow"), Some("POST"), "{method}");
    }

    let content_type = "Expecting 'Content-Type' of application/json or application/x-protobuf";
    for wrong in ["text/plain", "application/JSON", "application/recordio"] {
        let headers = [("Content-Type", wrong), ("Accept", JSON)];
        let response = post(address, &headers, subscribe.clone()).await;
        check(wrong, &response, 415, content_type);
    }
    let response = post(address, &[("Accept", JSON)], subscribe.clone()).await;
    check("no Content-Type", &response, 400, "Content-Type");

    let accept = "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'";
    for wrong in ["text/html", "image/*, text/plain;q=0.5"] {
        let headers = [("Content-Type", JSON), ("Accept", wrong)];
        let response = post(address, &headers, subscribe.clone()).await;
        check(wrong, &response, 406, accept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chooses_the_media_type_of_the_stream() {
    let cluster = Cluster::builder().agents(0).start().await;
    let address = cluster.leader_address().await;
    let subscribe = json!({
        "type": "SUBSCRIBE",
        "subscribe": {"framework_info": framework_info("accept")},
    })
    .to_string();
    for (accept, expected) in [
        (None, JSON),
        (Some("*/*"), JSON),
        (Some("application/*"), JSON),
        (Some("application/x-protobuf, application/json"), JSON),
        (Some(PROTOBUF), PROTOBUF),
    ] {
        let mut headers = vec![("Content-Type", JSON)];
        headers.extend(accept.map(|accept| ("Accept", accept)));
        let response = http::open(
            address,
            Method::POST,
            SCHEDULER_PATH,
            &headers,
            subscribe.clone(),
        )
        .await
        .unwrap();
        assert_eq!(response.status().as_u16(), 200, "{accept:?}");
        assert_eq!(response.headers()["Content-Type"], expected, "{accept:?}");
        assert_eq!(
            response.headers()["Transfer-Encoding"],
            "chunked",
            "{accept:?}"
        );
        assert!(
            response.headers().contains_key("Mesos-Stream-Id"),
            "{accept:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ties_calls_to_the_stream() {
    let cluster = Cluster::builder().agents(0).start().await;
    let address = cluster.leader_address().await;
    let client = SchedulerClient::subscribe(address, &framework_info("streams"))
        .await
        .unwrap();
    let revive = json!({"type": "REVIVE"});

    let response = client.raw_call(revive.clone(), &[]).await.unwrap();
    check("no stream id", &response, 400, "Mesos-Stream-Id");
    let other = [("Mesos-Stream-Id", "8a4aeaa5-4f3b-45b3-b2e3-cc9c1d4f1fbc")];
    let response = client.raw_call(revive.clone(), &other).await.unwrap();
    check("another stream id", &response, 400, "stream ID");
    client.call(revive.clone()).await.unwrap();

    let subscribe = json!({
        "type": "SUBSCRIBE",
        "subscribe": {"framework_info": framework_info("streams")},
    });
    let headers = [
        ("Content-Type", JSON),
        ("Accept", JSON),
        ("Mesos-Stream-Id", client.stream_id()),
    ];
    let response = post(address, &headers, subscribe.to_string()).await;
    check(
        "SUBSCRIBE with a stream id",
        &response,
        400,
        "Mesos-Stream-Id",
    );

    // A second subscription takes over; the first stream ends.
    let mut info = framework_info("streams");
    info["id"] = json!({"value": client.framework_id()});
    let second = SchedulerClient::subscribe(address, &info).await.unwrap();
    assert_eq!(second.framework_id(), client.framework_id());
    assert_ne!(second.stream_id(), client.stream_id());
    let response = client
        .raw_call(revive.clone(), &[("Mesos-Stream-Id", client.stream_id())])
        .await
        .unwrap();
    check("the old stream id", &response, 400, "stream ID");
    second.call(revive.clone()).await.unwrap();
    let mut first = client;
    while first.next_event().await.is_some() {}

    // Without any stream the framework is there, but not subscribed.
    let stream_id = second.stream_id().to_owned();
    let framework_id = second.framework_id().to_owned();
    drop(second);
    mesos_tests::wait::eventually("the framework is disconnected", DEADLINE, || async {
        let state = cluster.state().await;
        let frameworks = state["frameworks"].as_array().cloned().unwrap_or_default();
        let framework = frameworks
            .iter()
            .find(|f| f["id"] == framework_id.as_str())?;
        (framework["connected"] == false).then_some(())
    })
    .await;
    let response = first
        .raw_call(revive, &[("Mesos-Stream-Id", &stream_id)])
        .await
        .unwrap();
    check("a disconnected framework", &response, 403, "not subscribed");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_refused_frameworks_in_the_stream() {
    let cluster = Cluster::builder().agents(0).start().await;
    let address = cluster.leader_address().await;
    let mut info = framework_info("refused");
    info["roles"] = json!(["bad role"]);
    let error = SchedulerClient::subscribe(address, &info)
        .await
        .unwrap_err();
    let message = format!("{error:#}");
    assert!(message.contains("\"ERROR\""), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_masters_redirect_to_the_leader() {
    let mut cluster = Cluster::builder()
        .masters(2)
        .agents(0)
        .zookeeper()
        .start()
        .await;
    let leader = cluster.leader().await;
    let leader_address = cluster.master(leader).address();
    let follower = cluster.master(1 - leader).address();
    let subscribe = json!({
        "type": "SUBSCRIBE",
        "subscribe": {"framework_info": framework_info("redirected")},
    })
    .to_string();
    let headers = [("Content-Type", JSON), ("Accept", JSON)];
    mesos_tests::wait::eventually("the follower knows the leader", DEADLINE, || async {
        let response = post(follower, &headers, subscribe.clone()).await;
        assert!(
            matches!(response.status.as_u16(), 307 | 503),
            "{response:?}"
        );
        let location = response.header("Location")?;
        // The original too names the actor that an unversioned path stands for.
        assert_eq!(
            location,
            format!("//{leader_address}/master{SCHEDULER_PATH}")
        );
        Some(())
    })
    .await;
}

async fn first_offer(client: &mut SchedulerClient) -> Value {
    let event = client.expect("OFFERS", DEADLINE).await;
    event["offers"]["offers"][0].clone()
}

async fn until_state(client: &mut SchedulerClient, task: &str, state: &str) -> Value {
    loop {
        let status = client.expect_status(task, DEADLINE).await;
        if status["state"] == state {
            return status;
        }
    }
}

/// The protobuf form of the scheduler: binary calls, RecordIO of binary events.
struct ProtobufClient {
    address: SocketAddr,
    stream_id: String,
    framework_id: Option<v1::FrameworkId>,
    body: hyper::body::Incoming,
    buffer: Vec<u8>,
}

impl ProtobufClient {
    async fn subscribe(address: SocketAddr) -> ProtobufClient {
        let framework_info = v1::FrameworkInfo {
            user: "root".to_owned(),
            name: "protobuf".to_owned(),
            ..Default::default()
        };
        let call = Call {
            r#type: Some(call::Type::Subscribe.into()),
            subscribe: Some(call::Subscribe {
                framework_info,
                ..Default::default()
            }),
            ..Default::default()
        };
        let headers = [("Content-Type", PROTOBUF), ("Accept", PROTOBUF)];
        let response = http::open(
            address,
            Method::POST,
            SCHEDULER_PATH,
            &headers,
            call.encode_to_vec(),
        )
        .await
        .unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["Content-Type"], PROTOBUF);
        let stream_id = response.headers()["Mesos-Stream-Id"]
            .to_str()
            .unwrap()
            .to_owned();
        let mut client = ProtobufClient {
            address,
            stream_id,
            framework_id: None,
            body: response.into_body(),
            buffer: Vec::new(),
        };
        let first = client.next_event().await;
        assert_eq!(first.r#type(), event::Type::Subscribed);
        client.framework_id = Some(first.subscribed.unwrap().framework_id);
        client
    }

    fn new_call(&self, kind: call::Type) -> Call {
        Call {
            framework_id: self.framework_id.clone(),
            r#type: Some(kind.into()),
            ..Default::default()
        }
    }

    async fn send(&self, call: &Call) {
        let headers = [
            ("Content-Type", PROTOBUF),
            ("Mesos-Stream-Id", &self.stream_id),
        ];
        let response = post(self.address, &headers, call.encode_to_vec()).await;
        check("a protobuf call", &response, 202, "");
    }

    /// The first thing that events of the right type give.
    async fn until<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(self.next_event().await) {
                return found;
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        mesos_tests::wait::within("an event arrives", DEADLINE, async {
            loop {
                if let Some(record) = take_record(&mut self.buffer) {
                    return Event::decode(record.as_slice()).unwrap();
                }
                let frame = self.body.frame().await.expect("the stream ended").unwrap();
                self.buffer.extend_from_slice(frame.data_ref().unwrap());
            }
        })
        .await
    }
}
