//! What operators see of the allocator: its endpoints and its metrics.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use libprocess::{Clock, Context, Process, RuntimeConfig, Upid};
use mesos::flags::Flags;
use mesos::proto::scheduler::{Call, call};
use mesos::proto::{self, internal};
use mesos::resources::Resources;
use mesos_master::{MasterFlags, RunningMaster, start};
use prost::{Message, Name};
use serde_json::{Value, json};

/// Receives what nobody looks at.
struct Silent;

impl Process for Silent {
    fn initialize(&mut self, _: &mut Context<Self>) {}
}

/// A master on paused time, an agent with a part that is reserved for `web`, and a framework `test`
/// in `*`.
struct World {
    master: RunningMaster,
    clock: Clock,
    scheduler: Upid,
}

impl World {
    async fn new(flags: &[&str]) -> Self {
        let clock = Clock::paused();
        let config = RuntimeConfig {
            clock: clock.clone(),
            ..RuntimeConfig::loopback()
        };
        let flags = MasterFlags::from_args(flags.iter().copied()).unwrap();
        let master = start(flags, config).unwrap();
        clock.settle().await;
        let agent = master.runtime.spawn("slave(1)", Silent).unwrap();
        let scheduler = master.runtime.spawn("scheduler", Silent).unwrap();
        let world = Self {
            scheduler: scheduler.upid().clone(),
            master,
            clock,
        };
        world.send(agent.upid(), &agent_message()).await;
        world
            .send(&world.scheduler, &subscription(None, &["*"], &[]))
            .await;
        world
    }

    async fn send<M: Message + Name>(&self, from: &Upid, message: &M) {
        let to = self.master.pid.upid();
        self.master.runtime.send_message(from, to, message);
        self.clock.settle().await;
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.clock.settle().await;
    }

    /// The status, the media type and the body of an answer.
    async fn request(&self, method: &str, path: &str, accept: &str) -> (u16, String, String) {
        let address = self.master.runtime.bound_address();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        );
        let asking = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let timeout = Some(Duration::from_secs(10));
            stream.set_read_timeout(timeout).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let answer = asking.await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let lines = head.lines().map(str::to_ascii_lowercase);
        let media = lines
            .filter_map(|line| Some(line.strip_prefix("content-type: ")?.to_owned()))
            .next();
        (status, media.unwrap_or_default(), body.to_owned())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.request("GET", path, "*/*").await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    fn metrics(&self) -> std::collections::BTreeMap<String, f64> {
        self.master.runtime.metrics().snapshot()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.master.shutdown();
    }
}

fn agent_message() -> internal::RegisterSlaveMessage {
    let resources = Resources::parse("cpus:2;mem:1024;disk(web):512", "*").unwrap();
    internal::RegisterSlaveMessage {
        slave: proto::SlaveInfo {
            hostname: "node".to_owned(),
            resources: resources.to_protos(),
            port: Some(5051),
            ..Default::default()
        },
        version: Some("1.11.0".to_owned()),
        agent_capabilities: (1..=8)
            .map(|number| proto::slave_info::Capability {
                r#type: Some(number),
            })
            .collect(),
        ..Default::default()
    }
}

fn info(id: Option<&str>, roles: &[&str]) -> proto::FrameworkInfo {
    let multi_role = proto::framework_info::capability::Type::MultiRole;
    proto::FrameworkInfo {
        user: "user".to_owned(),
        name: "test".to_owned(),
        id: id.map(|id| proto::FrameworkId {
            value: id.to_owned(),
        }),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        capabilities: vec![proto::framework_info::Capability {
            r#type: Some(multi_role.into()),
        }],
        failover_timeout: Some(3600.0),
        ..Default::default()
    }
}

fn subscription(id: Option<&str>, roles: &[&str], suppressed: &[&str]) -> Call {
    let info = info(id, roles);
    Call {
        r#type: Some(call::Type::Subscribe as i32),
        framework_id: info.id.clone(),
        subscribe: Some(call::Subscribe {
            framework_info: info,
            suppressed_roles: suppressed.iter().map(|role| (*role).to_owned()).collect(),
            offer_constraints: None,
            force: None,
        }),
        ..Default::default()
    }
}

/// The ids of the only framework and the only agent.
async fn ids(world: &World) -> (String, String) {
    let state = world.json("/state").await;
    let id = |list: &str| state[list][0]["id"].as_str().unwrap().to_owned();
    (id("frameworks"), id("slaves"))
}

#[tokio::test]
async fn operators_are_told_why_nothing_is_offered() {
    let world = World::new(&[]).await;
    let (framework, agent) = ids(&world).await;
    // Once everything is offered, there is nothing left.
    world.advance(Duration::from_secs(1)).await;
    let reserved = json!({"reason": "reserved_for", "role": "web"});
    let explanation = json!({
        "framework": framework,
        "name": "test",
        "role": "*",
        "anywhere": [],
        "counts": {"reserved_for": 1},
        "agents": [{"agent": agent, "hostname": "node", "reasons": [reserved]}],
        "more_agents": 0,
    });
    for path in [
        "/allocator/explain".to_owned(),
        format!("/allocator/explain?framework={framework}&role=*&agent={agent}&limit=1"),
    ] {
        let mut answer = world.json(&path).await;
        assert!(answer["run"].take().as_u64().unwrap() > 0);
        let expected = json!({
            "run": null,
            "agents": 1,
            "examined": 1,
            "frameworks": [explanation],
            "more_frameworks": 0,
            "truncated": false,
        });
        assert_eq!(answer, expected, "{path}");
    }
    let expected = format!(
        "framework {framework} (test) in role *\n  agent {agent} (node): reserved for role web\n"
    );
    for (path, accept) in [
        ("/allocator/explain", "text/plain"),
        ("/allocator/explain?format=text", "*/*"),
    ] {
        let (status, media, text) = world.request("GET", path, accept).await;
        assert_eq!((status, &*media), (200, "text/plain; charset=utf-8"));
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.ends_with(", agents: 1"), "{first}");
        assert_eq!(rest, expected);
    }
    let (_, media, text) = world
        .request("GET", "/allocator/explain?jsonp=f", "*/*")
        .await;
    assert_eq!(media, "text/javascript");
    assert!(text.starts_with("f({"), "{text}");
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let world = World::new(&[]).await;
    let check = async |method: &str, query: &str, status: u16, text: &str| {
        let path = format!("/allocator/explain{query}");
        let answer = world.request(method, &path, "*/*").await;
        assert_eq!(answer.0, status, "{path}: {}", answer.2);
        assert!(answer.2.contains(text), "{path}: {}", answer.2);
    };
    check("GET", "?framework=x", 404, "framework x is not known").await;
    check("GET", "?agent=x", 404, "agent x is not known").await;
    let nobody = "no framework is subscribed to role 'x'";
    check("GET", "?role=x", 404, nobody).await;
    check("GET", "?role=/x", 400, "'/x'").await;
    check("GET", "?limit=0", 400, "'limit' is 0 (allowed: 1 to 1000)").await;
    check("GET", "?limit=1001", 400, "allowed: 1 to 1000").await;
    check("GET", "?limit=x", 400, "limit").await;
    check("GET", "?format=xml", 400, "format").await;
    check("GET", "?frmework=x", 400, "frmework").await;
    check("POST", "", 405, "'GET'").await;
    let (status, _, help) = world.request("GET", "/help/allocator/explain", "*/*").await;
    assert_eq!(status, 200);
    assert!(help.contains("framework=VALUE"), "{help}");
}

#[tokio::test]
async fn a_master_that_does_not_lead_explains_nothing() {
    // Nobody listens there, so that nobody is elected.
    let world = World::new(&["--zk=zk://127.0.0.1:1/mesos", "--quorum=1"]).await;
    let path = "/allocator/explain?framework=x";
    let (status, _, text) = world.request("GET", path, "*/*").await;
    assert_eq!((status, &*text), (503, "No leader elected"));
    let listed = world.json("/allocator/offer_constraints_debug").await;
    assert_eq!(listed, json!({"frameworks": {}}));
}

#[tokio::test]
async fn excluded_agents_are_listed() {
    use proto::scheduler::attribute_constraint::{Predicate, Selector, predicate, selector};
    use proto::scheduler::offer_constraints::{RoleConstraints, role_constraints::Group};
    use proto::scheduler::{AttributeConstraint, OfferConstraints};

    let world = World::new(&[]).await;
    let (framework, agent) = ids(&world).await;
    let mut call = subscription(Some(&framework), &["*", "web"], &["web"]);
    let exists = predicate::Predicate::Exists(predicate::Exists {});
    let rack = selector::Selector::AttributeName("rack".to_owned());
    let constraint = AttributeConstraint {
        selector: Selector {
            selector: Some(rack),
        },
        predicate: Predicate {
            predicate: Some(exists),
        },
    };
    let constraints = RoleConstraints {
        groups: vec![Group {
            attribute_constraints: vec![constraint],
        }],
    };
    call.subscribe.as_mut().unwrap().offer_constraints = Some(OfferConstraints {
        role_constraints: [("*".to_owned(), constraints)].into(),
    });
    world.send(&world.scheduler, &call).await;
    let listed = world.json("/allocator/offer_constraints_debug").await;
    let expected = json!({"frameworks": {framework: {
        "suppressed_roles": ["web"],
        "excluded_by_attribute_constraints": {"*": [agent], "web": []},
    }}});
    assert_eq!(listed, expected);
}

/// The keys of a timer in milliseconds.
fn timer(name: &str) -> Vec<String> {
    let statistics = [
        "", "/count", "/max", "/min", "/p50", "/p90", "/p95", "/p99", "/p999", "/p9999",
    ];
    let key = |statistic| format!("allocator/mesos/{name}_ms{statistic}");
    statistics.map(key).into()
}

#[tokio::test]
async fn all_metrics_are_shown() {
    let world = World::new(&[]).await;
    world.advance(Duration::from_secs(1)).await;
    world.advance(Duration::from_secs(1)).await;
    let metrics = world.metrics();
    let keys = metrics.keys().filter(|key| key.starts_with("allocator/"));
    let mut expected: Vec<String> = [
        "allocator/event_queue_dispatches",
        "allocator/mesos/allocation_runs",
        "allocator/mesos/event_queue_dispatches",
        "allocator/mesos/inquiries_refused",
        "allocator/mesos/offer_filters/roles/*/active",
        "allocator/mesos/offer_filters/roles/web/active",
        "allocator/mesos/quota/roles//resources/disk/consumed",
        "allocator/mesos/quota/roles/web/resources/disk/consumed",
        "allocator/mesos/resources/cpus/offered_or_allocated",
        "allocator/mesos/resources/cpus/total",
        "allocator/mesos/resources/disk/offered_or_allocated",
        "allocator/mesos/resources/disk/total",
        "allocator/mesos/resources/mem/offered_or_allocated",
        "allocator/mesos/resources/mem/total",
        "allocator/mesos/roles/*/shares/dominant",
    ]
    .map(str::to_owned)
    .into();
    expected.extend(timer("allocation_run"));
    expected.extend(timer("allocation_run_latency"));
    expected.sort_unstable();
    assert_eq!(
        keys.collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    assert_eq!(
        metrics["allocator/mesos/allocation_runs"],
        metrics["allocator/mesos/allocation_run_ms/count"]
    );
    let kind = world.master.runtime.metrics();
    let kind = kind.kind("allocator/mesos/allocation_runs");
    assert_eq!(kind, Some(libprocess::metrics::MetricKind::Counter));
    assert_eq!(metrics["allocator/mesos/roles/*/shares/dominant"], 1.0);
}

#[tokio::test]
async fn promtool_accepts_the_metrics_of_a_master() {
    let world = World::new(&[]).await;
    world.advance(Duration::from_secs(1)).await;
    let (_, media, text) = world.request("GET", "/metrics", "*/*").await;
    assert_eq!(media, "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.contains("\nallocator_mesos_allocation_runs_total "));
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

#[tokio::test]
async fn only_fair_sorters_show_shares() {
    for sorter in ["random", "fifo", "drc"] {
        let flags = ["role_sorter", "framework_sorter"].map(|flag| format!("--{flag}={sorter}"));
        let world = World::new(&flags.each_ref().map(String::as_str)).await;
        world.advance(Duration::from_secs(1)).await;
        let metrics = world.metrics();
        let shares: Vec<_> = metrics
            .keys()
            .filter(|key| key.contains("/shares/"))
            .collect();
        assert!(shares.is_empty(), "{sorter}: {shares:?}");
    }
}

#[tokio::test]
async fn suppressed_roles_are_shown_until_a_framework_is_forgotten() {
    let world = World::new(&["--max_completed_frameworks=1"]).await;
    let (framework, _) = ids(&world).await;
    let shown = |id: &str| {
        let prefix = format!("master/frameworks/test/{id}/roles/");
        let metrics = world.metrics().into_iter();
        let shown = metrics.filter_map(|(key, value)| {
            let role = key.strip_prefix(&prefix)?.strip_suffix("/suppressed")?;
            Some((role.to_owned(), value))
        });
        shown.collect::<Vec<_>>()
    };
    let value = |role: &str, value| (role.to_owned(), value);
    assert_eq!(shown(&framework), [value("*", 0.0)]);
    let update = subscription(Some(&framework), &["web", "db"], &["db"]);
    world.send(&world.scheduler, &update).await;
    let expected = [value("db", 1.0), value("web", 0.0)];
    assert_eq!(shown(&framework), expected);
    let teardown = |id: &str| Call {
        r#type: Some(call::Type::Teardown as i32),
        framework_id: Some(proto::FrameworkId {
            value: id.to_owned(),
        }),
        ..Default::default()
    };
    world.send(&world.scheduler, &teardown(&framework)).await;
    world.advance(Duration::from_secs(2)).await;
    assert_eq!(shown(&framework), expected, "of the last completed one");
    world
        .send(&world.scheduler, &subscription(None, &["*"], &[]))
        .await;
    let (next, _) = ids(&world).await;
    world.send(&world.scheduler, &teardown(&next)).await;
    world.advance(Duration::from_secs(2)).await;
    assert_eq!(shown(&framework), []);
    assert_eq!(shown(&next), [value("*", 0.0)]);
}
