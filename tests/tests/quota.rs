//! Quota and weights as an operator sets them over HTTP, and what schedulers get of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use mesos_tests::cluster::Cluster;
use mesos_tests::http::{self, Method, Response};
use mesos_tests::scheduler::{SchedulerClient, command_task, framework_info};
use mesos_tests::wait::eventually;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

async fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> Response {
    let headers = [("Content-Type", "application/json")];
    let method: Method = method.parse().unwrap();
    http::request(address, method, path, &headers, body.to_owned())
        .await
        .unwrap()
}

/// A master that answers requests of operators.
struct Operator(SocketAddr);

impl Operator {
    /// Checks the status of an answer, and that its text contains `expected`.
    async fn check(&self, method: &str, path: &str, body: &str, status: u16, expected: &str) {
        let response = send(self.0, method, path, body).await;
        let text = response.text();
        let what = format!("{method} {path} {body}: {text}");
        assert_eq!(response.status.as_u16(), status, "{what}");
        assert!(text.contains(expected), "{what} has no '{expected}'");
    }

    /// Makes a call of the operator API, whose answer must have this status and text.
    async fn call(&self, call: Value, status: u16, expected: &str) {
        let body = call.to_string();
        self.check("POST", "/api/v1", &body, status, expected).await;
    }

    async fn update_quota(&self, configs: Value, force: bool, status: u16, expected: &str) {
        let update = json!({"force": force, "quota_configs": configs});
        let call = json!({"type": "UPDATE_QUOTA", "update_quota": update});
        self.call(call, status, expected).await;
    }

    async fn get(&self, path: &str) -> Value {
        http::get_json(self.0, path).await.unwrap()
    }

    async fn role(&self, name: &str) -> Value {
        let roles = self.get("/roles").await;
        let roles = roles["roles"].as_array().unwrap().iter();
        let mut named = roles.filter(|role| role["name"] == name);
        named.next().cloned().unwrap_or_default()
    }
}

fn quota(role: &str, guarantees: Value, limits: Value) -> Value {
    let amounts = |amounts: Value| -> Value {
        let amounts = amounts.as_object().unwrap().clone().into_iter();
        amounts
            .map(|(name, value)| (name, json!({"value": value})))
            .collect()
    };
    json!({"role": role, "guarantees": amounts(guarantees), "limits": amounts(limits)})
}

fn framework_of(role: &str) -> Value {
    let mut info = framework_info(role);
    info["roles"] = json!([role]);
    info
}

fn cpus(offer: &Value) -> f64 {
    let resources = offer["resources"].as_array().unwrap().iter();
    resources
        .filter(|resource| resource["name"] == "cpus")
        .filter_map(|resource| resource["scalar"]["value"].as_f64())
        .sum()
}

async fn next_offer(client: &mut SchedulerClient) -> Value {
    let event = client.expect("OFFERS", DEADLINE).await;
    event["offers"]["offers"][0].clone()
}

/// One agent with 4 CPUs and 1 GB.
async fn cluster() -> (Cluster, Operator) {
    let cluster = Cluster::builder()
        .agent_flag("--resources=cpus:4;mem:1024;disk:1024")
        .start()
        .await;
    let operator = Operator(cluster.leader_address().await);
    (cluster, operator)
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_is_set_shown_and_removed() {
    let (_cluster, operator) = cluster().await;
    let web = quota("web", json!({"cpus": 1}), json!({"cpus": 2, "mem": 512}));
    let db = quota("db", json!({}), json!({"cpus": 0}));
    operator
        .update_quota(json!([web, db]), false, 200, "")
        .await;
    let expected = json!({
        "infos": [
            {"role": "db"},
            {"role": "web", "guarantee": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}},
            ]},
        ],
        "configs": [
            {"role": "db", "limits": {"cpus": {"value": 0.0}}},
            {
                "role": "web",
                "guarantees": {"cpus": {"value": 1.0}},
                "limits": {"cpus": {"value": 2.0}, "mem": {"value": 512.0}},
            },
        ],
    });
    assert_eq!(operator.get("/quota").await, expected);
    assert_eq!(operator.get("/master/quota").await, expected);
    let call = r#"{"type": "GET_QUOTA"}"#;
    let answer = send(operator.0, "POST", "/api/v1", call).await;
    let answer = answer.json().unwrap();
    assert_eq!(answer["get_quota"]["status"], expected);
    let role = operator.role("web").await;
    assert_eq!(role["quota"]["guarantee"], json!({"cpus": 1.0}));
    assert_eq!(role["quota"]["limit"], json!({"cpus": 2.0, "mem": 512.0}));
    eventually("the metrics show the limit", DEADLINE, || async {
        let metrics = operator.get("/metrics/snapshot").await;
        let of_web = |name: &str| {
            let name = format!("allocator/mesos/quota/roles/web/resources/{name}");
            metrics[name].as_f64()
        };
        let shown = (of_web("cpus/limit")?, of_web("cpus/guarantee")?);
        (shown == (2.0, 1.0) && of_web("mem/offered_or_allocated")? == 0.0).then_some(())
    })
    .await;
    let registry = operator.get("/registrar(1)/registry").await;
    assert_eq!(registry["quota_configs"], expected["configs"]);
    let minimum = json!([{"capability": "QUOTA_V2"}]);
    assert_eq!(registry["minimum_capabilities"], minimum);

    let none = quota("web", json!({}), json!({}));
    operator.update_quota(json!([none]), false, 200, "").await;
    let set = r#"{"role": "web", "guarantee":
        [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}]}"#;
    operator.check("POST", "/quota", set, 200, "").await;
    operator.check("POST", "/quota", set, 400, "already").await;
    let quota = operator.role("web").await["quota"].clone();
    assert_eq!(quota["limit"], quota["guarantee"]);
    operator.check("DELETE", "/quota/web", "", 200, "").await;
    let remove = json!({"type": "REMOVE_QUOTA", "remove_quota": {"role": "db"}});
    operator.call(remove, 200, "").await;
    assert_eq!(operator.get("/quota").await, json!({}));
    let registry = operator.get("/registrar(1)/registry").await;
    assert_eq!(registry.get("minimum_capabilities"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_name_what_is_wrong() {
    let (_cluster, operator) = cluster().await;
    let update = async |config: Value, expected: &str| {
        operator
            .update_quota(json!([config]), false, 400, expected)
            .await;
    };
    let of = |role: &str, guarantee: f64| quota(role, json!({"cpus": guarantee}), json!({}));
    update(of("web", 4.001), "capacity").await;
    update(of("web", -1.0), "must be a number").await;
    update(of("web", 1e13), "1000000000000").await;
    update(of("a/b", 1.0), "nested").await;
    update(of("", 1.0), "empty").await;
    let above = quota("web", json!({"cpus": 2}), json!({"cpus": 1}));
    update(above, "exceed its limits").await;
    update(json!({"guarantees": {}}), "role").await;
    let missing = json!({"type": "UPDATE_QUOTA"});
    operator.call(missing, 400, "update_quota").await;

    let set = async |guarantee: Value, status: u16, expected: &str| {
        let request = json!({"role": "web", "guarantee": guarantee});
        let body = request.to_string();
        operator
            .check("POST", "/quota", &body, status, expected)
            .await;
        let call = json!({"type": "SET_QUOTA", "set_quota": {"quota_request": request}});
        operator.call(call, status, expected).await;
    };
    let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    set(json!([scalar("cpus", 5.0)]), 409, "capacity").await;
    set(json!([]), 400, "empty").await;
    set(
        json!([scalar("cpus", 1.0), scalar("cpus", 1.0)]),
        400,
        "twice",
    )
    .await;
    set(json!([scalar("cpus", -1.0)]), 400, "cpus").await;
    let ports =
        json!({"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 2}]}});
    set(json!([ports]), 400, "not a scalar").await;
    let mut reserved = scalar("cpus", 1.0);
    reserved["role"] = json!("web");
    set(json!([reserved]), 400, "reserved").await;

    let check = async |method: &str, path: &str, body: &str, status: u16, expected: &str| {
        operator.check(method, path, body, status, expected).await;
    };
    check("POST", "/quota", "{", 400, "JSON").await;
    check("POST", "/quota", r#"{"force": "much"}"#, 400, "force").await;
    check("PUT", "/quota", "", 405, "'GET', 'POST', 'DELETE'").await;
    check("DELETE", "/quota", "", 400, "/quota/<role>").await;
    check("DELETE", "/quota/web", "", 400, "'web' has no quota").await;
    check("DELETE", "/master/quota/a/b", "", 400, "'a/b' has no quota").await;
    check("POST", "/weights", "", 405, "'GET', 'PUT'").await;
    check("PUT", "/weights", "{}", 400, "JSON").await;
    check("PUT", "/weights", "[1]", 400, "JSON").await;
    check("PUT", "/weights", r#"[{"role": "web"}]"#, 400, "weight").await;
    check(
        "PUT",
        "/weights",
        r#"[{"role": "web", "weight": 0}]"#,
        400,
        "above 0",
    )
    .await;
    check(
        "PUT",
        "/weights",
        r#"[{"role": "-web", "weight": 1}]"#,
        400,
        "dash",
    )
    .await;
    let missing = json!({"type": "UPDATE_WEIGHTS"});
    operator.call(missing, 400, "update_weights").await;
    assert_eq!(operator.get("/quota").await, json!({}));
    assert_eq!(operator.get("/weights").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_are_set_and_shown() {
    let cluster = Cluster::builder()
        .master_flag("--weights=web=2.5")
        .start()
        .await;
    let operator = Operator(cluster.leader_address().await);
    let of_flag = json!([{"weight": 2.5, "role": "web"}]);
    assert_eq!(operator.get("/weights").await, of_flag);

    let mut client = SchedulerClient::subscribe(operator.0, &framework_of("db"))
        .await
        .unwrap();
    next_offer(&mut client).await;
    let body = r#"[{"role": " db ", "weight": 3}]"#;
    operator.check("PUT", "/weights", body, 200, "").await;
    client.expect("RESCIND", DEADLINE).await;
    next_offer(&mut client).await;

    let call = r#"{"type": "GET_WEIGHTS"}"#;
    let answer = send(operator.0, "POST", "/api/v1", call).await;
    let expected = json!([{"weight": 3.0, "role": "db"}, {"weight": 2.5, "role": "web"}]);
    let infos = &answer.json().unwrap()["get_weights"]["weight_infos"];
    assert_eq!(*infos, expected);
    assert_eq!(operator.role("db").await["weight"], 3.0);
    assert_eq!(operator.role("web").await["weight"], 2.5);
    let registry = operator.get("/registrar(1)/registry").await;
    assert_eq!(registry["weights"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_gets_no_more_than_its_limit() {
    let (_cluster, operator) = cluster().await;
    let limit = |cpus: f64| json!([quota("web", json!({}), json!({"cpus": cpus}))]);
    operator.update_quota(limit(1.0), false, 200, "").await;
    let mut client = SchedulerClient::subscribe(operator.0, &framework_of("web"))
        .await
        .unwrap();
    let offer = next_offer(&mut client).await;
    assert_eq!(cpus(&offer), 1.0, "{offer}");
    let task = command_task(&offer, "t", "sleep 1000", 0.5, 32.0);
    client.launch(&offer, &[task]).await.unwrap();
    let offer = next_offer(&mut client).await;
    assert_eq!(cpus(&offer), 0.5, "{offer}");
    let consumed = operator.role("web").await["quota"]["consumed"].clone();
    assert_eq!(consumed["cpus"], 0.5, "{consumed}");

    // More than the role has in use, less than it has with the offer.
    operator.update_quota(limit(0.75), false, 200, "").await;
    client.expect("RESCIND", DEADLINE).await;
    let offer = next_offer(&mut client).await;
    assert_eq!(cpus(&offer), 0.25, "{offer}");

    operator
        .update_quota(limit(0.25), false, 400, "force")
        .await;
    operator.update_quota(limit(0.25), true, 200, "").await;
    client.expect("RESCIND", DEADLINE).await;
    let offer = next_offer(&mut client).await;
    assert_eq!(cpus(&offer), 0.0, "{offer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guaranteed_role_gets_its_guarantee() {
    let (_cluster, operator) = cluster().await;
    let mut greedy = SchedulerClient::subscribe(operator.0, &framework_of("db"))
        .await
        .unwrap();
    let offer = next_offer(&mut greedy).await;
    assert_eq!(cpus(&offer), 4.0, "{offer}");

    let guarantee = json!([quota("web", json!({"cpus": 3}), json!({}))]);
    operator.update_quota(guarantee, false, 200, "").await;
    greedy.expect("RESCIND", DEADLINE).await;
    let offer = next_offer(&mut greedy).await;
    assert_eq!(cpus(&offer), 1.0, "{offer}");

    let mut web = SchedulerClient::subscribe(operator.0, &framework_of("web"))
        .await
        .unwrap();
    let offer = next_offer(&mut web).await;
    assert_eq!(cpus(&offer), 3.0, "{offer}");
}
