//! Maintenance as an operator and a scheduler see it, with real daemons.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use mesos_tests::cluster::Cluster;
use mesos_tests::http::{self, StatusCode};
use mesos_tests::scheduler::{SchedulerClient, command_task, framework_info};
use mesos_tests::wait::{eventually, within};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

/// The machine of all agents of the tests.
fn machine() -> Value {
    json!({"hostname": "127.0.0.1", "ip": "127.0.0.1"})
}

async fn post(master: SocketAddr, path: &str, body: &Value) {
    let response = http::post_json(master, path, body).await.unwrap();
    let text = response.text();
    assert_eq!(response.status, StatusCode::OK, "{path} {body}: {text}");
}

async fn schedule(master: SocketAddr) {
    let window = json!({
        "machine_ids": [machine()],
        "unavailability": {"start": {"nanoseconds": 1_000}},
    });
    post(
        master,
        "/maintenance/schedule",
        &json!({"windows": [window]}),
    )
    .await;
}

/// Waits, in any order, for an offer that tells of the schedule and for an inverse offer, which is
/// returned.
async fn told_of_the_schedule(client: &mut SchedulerClient) -> Value {
    within("offers tell of the schedule", DEADLINE, async {
        let (mut offered, mut asked) = (false, None);
        while !offered || asked.is_none() {
            let event = client.next_event().await.unwrap();
            let offer = &event["offers"]["offers"][0];
            offered |= offer["unavailability"]["start"]["nanoseconds"] == 1_000;
            if event["type"] == "INVERSE_OFFERS" {
                asked = Some(event["inverse_offers"]["inverse_offers"][0].clone());
            }
        }
        asked.unwrap()
    })
    .await
}

/// Answers an inverse offer and waits until the status of the cluster shows the answer.
async fn answer(client: &SchedulerClient, master: SocketAddr, offer: &Value, kind: &str) {
    assert_eq!(offer["unavailability"]["start"]["nanoseconds"], 1_000);
    assert_eq!(offer["url"]["path"], "/slave(1)");
    let (call, field) = match kind {
        "ACCEPT" => ("ACCEPT_INVERSE_OFFERS", "accept_inverse_offers"),
        _ => ("DECLINE_INVERSE_OFFERS", "decline_inverse_offers"),
    };
    let answer = json!({
        "type": call,
        field: {"inverse_offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0.5}},
    });
    client.call(answer).await.unwrap();
    let status = eventually("the answer is shown", DEADLINE, || async {
        let status = http::get_json(master, "/maintenance/status").await.ok()?;
        let draining = &status["draining_machines"][0];
        (draining["statuses"][0]["status"] == kind).then(|| draining.clone())
    })
    .await;
    assert_eq!(status["id"], machine());
    let told = &status["statuses"][0];
    assert_eq!(told["framework_id"]["value"], client.framework_id());
    assert!(told["timestamp"]["nanoseconds"].is_i64(), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_drains_goes_down_and_comes_back() {
    let mut cluster = Cluster::builder().start().await;
    let master = cluster.leader_address().await;
    let mut client = SchedulerClient::subscribe(master, &framework_info("drained"))
        .await
        .unwrap();
    let event = client.expect("OFFERS", DEADLINE).await;
    let offer = &event["offers"]["offers"][0];
    assert!(offer.get("unavailability").is_none(), "{offer}");
    let task = command_task(offer, "t", "sleep 1000", 0.1, 32.0);
    client.launch(offer, &[task]).await.unwrap();
    while client.expect_status("t", DEADLINE).await["state"] != "TASK_RUNNING" {}

    schedule(master).await;
    let asked = told_of_the_schedule(&mut client).await;
    answer(&client, master, &asked, "DECLINE").await;
    // The scheduler changes its mind when it is asked again.
    let event = client.expect("INVERSE_OFFERS", DEADLINE).await;
    let asked = &event["inverse_offers"]["inverse_offers"][0];
    answer(&client, master, asked, "ACCEPT").await;

    post(master, "/machine/down", &json!([machine()])).await;
    let status = client.expect_status("t", DEADLINE).await;
    assert_eq!(status["state"], "TASK_LOST");
    client.expect("FAILURE", DEADLINE).await;
    let agent = cluster.agent(0);
    agent.process().unwrap().wait(DEADLINE);
    let down = json!({"down_machines": [machine()]});
    let status = http::get_json(master, "/maintenance/status").await.unwrap();
    assert_eq!(status, down);

    // As long as the machine is down the agent is told to end.
    agent.restart();
    agent.process().unwrap().wait(DEADLINE);
    assert_eq!(cluster.state().await["activated_slaves"], 0.0);

    post(master, "/machine/up", &json!([machine()])).await;
    cluster.agent(0).restart();
    cluster.wait_for_agents(1).await;
    let empty = json!({});
    for path in ["/maintenance/status", "/maintenance/schedule"] {
        assert_eq!(http::get_json(master, path).await.unwrap(), empty, "{path}");
    }
}
