//! The master on a real runtime and virtual time, with agents and schedulers as actors beside it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use libprocess::{Clock, Context, Process, RuntimeConfig, Upid};
use mesos::flags::Flags;
use mesos::proto::scheduler::{Call, call};
use mesos::proto::{self, internal};
use mesos::resources::Resources;
use mesos_master::{MasterFlags, RunningMaster, StartError, start};
use prost::{Message, Name};

/// What an actor received: names and bodies of messages.
type Inbox = Arc<Mutex<Vec<(String, Bytes)>>>;

/// Stands for an agent or scheduler: sends what it is told to, and remembers what it gets.
struct Peer {
    inbox: Inbox,
    answers_pings: bool,
}

impl Peer {
    fn remember<M: Message + Name + Default>(ctx: &mut Context<Self>) {
        let name = M::full_name();
        ctx.install_raw(name.clone(), move |peer: &mut Self, _, _, body| {
            peer.inbox.lock().unwrap().push((name.clone(), body));
        });
    }
}

impl Process for Peer {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        Self::remember::<internal::SlaveRegisteredMessage>(ctx);
        Self::remember::<internal::RunTaskMessage>(ctx);
        Self::remember::<internal::FrameworkRegisteredMessage>(ctx);
        Self::remember::<internal::FrameworkErrorMessage>(ctx);
        Self::remember::<internal::ResourceOffersMessage>(ctx);
        Self::remember::<internal::InverseOffersMessage>(ctx);
        Self::remember::<internal::StatusUpdateMessage>(ctx);
        Self::remember::<internal::LostSlaveMessage>(ctx);
        Self::remember::<internal::AuthenticationErrorMessage>(ctx);
        ctx.install(
            |peer: &mut Self, ctx, from, ping: internal::PingSlaveMessage| {
                if peer.answers_pings {
                    assert!(ping.connected);
                    ctx.send(from, &internal::PongSlaveMessage {});
                }
            },
        );
    }
}

/// A master on paused time.
struct World {
    master: RunningMaster,
    clock: Clock,
}

impl World {
    async fn new(flags: &[&str]) -> Self {
        let clock = Clock::paused();
        let flags = MasterFlags::from_args(flags.iter().copied()).unwrap();
        let config = RuntimeConfig {
            clock: clock.clone(),
            ..RuntimeConfig::loopback()
        };
        let master = start(flags, config).unwrap();
        let world = Self { master, clock };
        world.clock.settle().await;
        world
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.clock.settle().await;
    }

    /// Starts a peer, or one that replaces it under the same id.
    fn peer(&self, id: &str, answers_pings: bool) -> (Upid, Inbox) {
        let inbox = Inbox::default();
        let peer = Peer {
            inbox: inbox.clone(),
            answers_pings,
        };
        let pid = self.master.runtime.spawn(id, peer).unwrap();
        (pid.upid().clone(), inbox)
    }

    async fn send<M: Message + Name>(&self, from: &Upid, message: &M) {
        let to = self.master.pid.upid();
        self.master.runtime.send_message(from, to, message);
        self.clock.settle().await;
    }

    async fn send_raw(&self, from: &Upid, name: &str, body: &'static [u8]) {
        let to = self.master.pid.upid();
        self.master
            .runtime
            .send(from, to, name, Bytes::from_static(body));
        self.clock.settle().await;
    }

    fn metric(&self, name: &str) -> f64 {
        let metrics = self.master.runtime.metrics().snapshot();
        *metrics.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// Sends an HTTP request and waits for an answer that has this in it.
    async fn ask(&self, text: String, expected: &'static str) {
        let address = self.master.runtime.bound_address();
        tokio::task::spawn_blocking(move || request(address, &text, expected))
            .await
            .unwrap();
        self.clock.settle().await;
    }

    async fn register_agent(&self, from: &Upid) {
        let message = internal::RegisterSlaveMessage {
            slave: proto::SlaveInfo {
                hostname: "agent".to_owned(),
                resources: Resources::parse("cpus:2;mem:1024", "*")
                    .unwrap()
                    .to_protos(),
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
        };
        self.send(from, &message).await;
    }

    async fn subscribe(&self, from: &Upid) {
        let call = Call {
            r#type: Some(call::Type::Subscribe as i32),
            subscribe: Some(call::Subscribe {
                framework_info: proto::FrameworkInfo {
                    user: "user".to_owned(),
                    name: "test".to_owned(),
                    principal: Some("me".to_owned()),
                    ..Default::default()
                },
                ..Default::default()
            }),
            ..Default::default()
        };
        self.send(from, &call).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.master.shutdown();
    }
}

/// Takes the first message of a type; there must be one.
fn take<M: Message + Name + Default>(inbox: &Inbox) -> M {
    let mut messages = inbox.lock().unwrap();
    let names: Vec<_> = messages.iter().map(|(name, _)| name.clone()).collect();
    let index = names
        .iter()
        .position(|name| *name == M::full_name())
        .unwrap_or_else(|| panic!("no {} among {names:?}", M::full_name()));
    M::decode(messages.remove(index).1).unwrap()
}

fn is_empty(inbox: &Inbox) -> bool {
    inbox.lock().unwrap().is_empty()
}

#[tokio::test]
async fn a_task_goes_from_scheduler_to_agent_and_back() {
    let world = World::new(&[]).await;
    let (agent, at_agent) = world.peer("slave(1)", true);
    let (scheduler, at_scheduler) = world.peer("scheduler-1", false);
    world.register_agent(&agent).await;
    let registered: internal::SlaveRegisteredMessage = take(&at_agent);
    world.subscribe(&scheduler).await;
    let subscribed: internal::FrameworkRegisteredMessage = take(&at_scheduler);
    // The framework's arrival asks for a run; no time has to pass.
    let offers: internal::ResourceOffersMessage = take(&at_scheduler);
    let offer = &offers.offers[0];
    let task = proto::TaskInfo {
        name: "task".to_owned(),
        task_id: proto::TaskId {
            value: "t".to_owned(),
        },
        slave_id: offer.slave_id.clone(),
        resources: Resources::parse("cpus:1;mem:64", "*").unwrap().to_protos(),
        command: Some(proto::CommandInfo {
            value: Some("true".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let launch = internal::LaunchTasksMessage {
        framework_id: subscribed.framework_id.clone(),
        tasks: vec![task],
        filters: proto::Filters::default(),
        offer_ids: vec![offer.id.clone()],
    };
    world.send(&scheduler, &launch).await;
    let run: internal::RunTaskMessage = take(&at_agent);
    assert_eq!(run.pid, Some(scheduler.to_string()));
    let uuid = Bytes::from_static(&[3; 16]);
    let update = internal::StatusUpdateMessage {
        update: internal::StatusUpdate {
            framework_id: subscribed.framework_id,
            slave_id: Some(registered.slave_id),
            status: proto::TaskStatus {
                task_id: run.task.task_id,
                state: proto::TaskState::TaskRunning as i32,
                ..Default::default()
            },
            timestamp: 1.0,
            uuid: Some(uuid.clone()),
            latest_state: Some(proto::TaskState::TaskRunning as i32),
            executor_id: None,
        },
        pid: Some(agent.to_string()),
    };
    world.send(&agent, &update).await;
    let forwarded: internal::StatusUpdateMessage = take(&at_scheduler);
    assert_eq!(forwarded.update.uuid, Some(uuid));
    assert_eq!(forwarded.pid, Some(agent.to_string()));
    assert_eq!(world.metric("master/tasks_running"), 1.0);
    assert_eq!(world.metric("master/cpus_used"), 1.0);
    assert_eq!(world.metric("master/cpus_percent"), 0.5);
    assert_eq!(world.metric("frameworks/me/messages_processed"), 1.0);
}

#[tokio::test]
async fn declined_resources_come_back_once_the_filter_ends() {
    let world = World::new(&[]).await;
    let (agent, _) = world.peer("slave(1)", true);
    let (scheduler, inbox) = world.peer("scheduler-1", false);
    world.register_agent(&agent).await;
    world.subscribe(&scheduler).await;
    let subscribed: internal::FrameworkRegisteredMessage = take(&inbox);
    let offers: internal::ResourceOffersMessage = take(&inbox);
    let decline = internal::LaunchTasksMessage {
        framework_id: subscribed.framework_id,
        tasks: Vec::new(),
        filters: proto::Filters {
            refuse_seconds: Some(10.0),
        },
        offer_ids: vec![offers.offers[0].id.clone()],
    };
    world.send(&scheduler, &decline).await;
    for _ in 0..9 {
        world.advance(Duration::from_secs(1)).await;
    }
    assert!(is_empty(&inbox));
    for _ in 0..4 {
        world.advance(Duration::from_secs(1)).await;
    }
    let _: internal::ResourceOffersMessage = take(&inbox);
}

#[tokio::test]
async fn frameworks_are_asked_to_leave_until_they_are_gone() {
    let world = World::new(&[]).await;
    let (agent, _) = world.peer("slave(1)", true);
    let (scheduler, inbox) = world.peer("scheduler-1", false);
    world.register_agent(&agent).await;
    world.subscribe(&scheduler).await;
    let subscribed: internal::FrameworkRegisteredMessage = take(&inbox);
    let _: internal::ResourceOffersMessage = take(&inbox);
    let machine = format!(r#"{{"hostname":"agent","ip":"{}"}}"#, agent.address().ip());
    let schedule = format!(
        r#"{{"windows":[{{"machine_ids":[{machine}],"unavailability":{{"start":{{"nanoseconds":1}}}}}}]}}"#
    );
    world
        .ask(post("/maintenance/schedule", &schedule), "200 OK")
        .await;
    world.advance(Duration::from_secs(1)).await;
    let offers: internal::ResourceOffersMessage = take(&inbox);
    assert!(offers.offers[0].unavailability.is_some());
    let asked: internal::InverseOffersMessage = take(&inbox);
    let decline = Call {
        framework_id: Some(subscribed.framework_id),
        r#type: Some(call::Type::DeclineInverseOffers as i32),
        decline_inverse_offers: Some(call::DeclineInverseOffers {
            inverse_offer_ids: vec![asked.inverse_offers[0].id.clone()],
            filters: None,
        }),
        ..Default::default()
    };
    world.send(&scheduler, &decline).await;
    let status = "GET /maintenance/status HTTP/1.1\r\nHost: x\r\n\r\n";
    world
        .ask(status.to_owned(), r#""statuses":[{"status":"DECLINE""#)
        .await;
    // The filter of 5 seconds ends.
    for _ in 0..4 {
        world.advance(Duration::from_secs(1)).await;
    }
    assert!(is_empty(&inbox));
    for _ in 0..2 {
        world.advance(Duration::from_secs(1)).await;
    }
    let asked: internal::InverseOffersMessage = take(&inbox);
    assert_eq!(asked.inverse_offers.len(), 1);
}

#[tokio::test]
async fn silent_agents_are_unreachable_after_five_pings() {
    let world = World::new(&[]).await;
    let (agent, _) = world.peer("slave(1)", false);
    let (scheduler, inbox) = world.peer("scheduler-1", false);
    world.subscribe(&scheduler).await;
    world.register_agent(&agent).await;
    for _ in 0..4 {
        world.advance(Duration::from_secs(15)).await;
    }
    assert_eq!(world.metric("master/slaves_active"), 1.0);
    world.advance(Duration::from_secs(15)).await;
    assert_eq!(world.metric("master/slaves_unreachable"), 1.0);
    assert_eq!(world.metric("master/slave_removals/reason_unhealthy"), 1.0);
    let _: internal::LostSlaveMessage = take(&inbox);
}

#[tokio::test]
async fn agents_that_answer_stay() {
    let world = World::new(&["--agent_ping_timeout=1secs", "--max_agent_ping_timeouts=1"]).await;
    let (agent, _) = world.peer("slave(1)", true);
    world.register_agent(&agent).await;
    for _ in 0..20 {
        world.advance(Duration::from_secs(1)).await;
    }
    assert_eq!(world.metric("master/slaves_active"), 1.0);
}

#[tokio::test]
async fn an_ended_scheduler_may_come_back_until_its_timeout() {
    let world = World::new(&[]).await;
    let (scheduler, _) = world.peer("scheduler-1", false);
    world.subscribe(&scheduler).await;
    assert_eq!(world.metric("master/frameworks_active"), 1.0);
    world.master.runtime.terminate(&scheduler);
    world.clock.settle().await;
    // Its failover timeout is 0.
    world.advance(Duration::from_millis(1)).await;
    assert_eq!(world.metric("master/frameworks_disconnected"), 0.0);
    assert_eq!(world.metric("master/frameworks_connected"), 0.0);
}

#[tokio::test]
async fn malformed_messages_are_counted_and_change_nothing() {
    let world = World::new(&[]).await;
    let (stranger, inbox) = world.peer("stranger", false);
    let check = async |name: &str, body: &'static [u8], expected: f64| {
        world.send_raw(&stranger, name, body).await;
        assert_eq!(world.metric("master/invalid_messages"), expected, "{name}");
    };
    check("mesos.internal.RegisterSlaveMessage", b"\xff\xff", 1.0).await;
    // Valid protobuf without what is required.
    check("mesos.internal.RegisterSlaveMessage", b"", 2.0).await;
    check("mesos.internal.StatusUpdateMessage", b"", 3.0).await;
    check("mesos.scheduler.Call", b"", 4.0).await;
    assert!(is_empty(&inbox));
}

#[tokio::test]
async fn authentication_is_refused_politely() {
    let world = World::new(&[]).await;
    let (client, inbox) = world.peer("authenticatee(1)", false);
    let message = internal::AuthenticateMessage {
        pid: client.to_string(),
    };
    world.send(&client, &message).await;
    let error: internal::AuthenticationErrorMessage = take(&inbox);
    assert_eq!(error.error(), "No authenticator loaded");
    assert_eq!(world.metric("master/messages_authenticate"), 1.0);
}

/// Sends a request and reads what comes within a moment, without waiting for the end of a stream.
fn request(address: SocketAddr, text: &str, until: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    while !answer.contains(until) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    answer
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn operators_subscribe_to_events() {
    let world = World::new(&[]).await;
    let address = world.master.runtime.bound_address();
    let listening = std::thread::spawn(move || {
        let subscribe = post("/api/v1", r#"{"type":"SUBSCRIBE"}"#);
        request(address, &subscribe, "AGENT_ADDED")
    });
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while world.metric("master/operator_event_stream_subscribers") < 1.0 {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let (agent, _) = world.peer("slave(1)", true);
    world.register_agent(&agent).await;
    let events = listening.join().unwrap();
    let at = |text: &str| {
        events
            .find(text)
            .unwrap_or_else(|| panic!("no {text}: {events}"))
    };
    assert!(at("\"type\":\"SUBSCRIBED\"") < at("\"type\":\"HEARTBEAT\""));
    assert!(at("\"heartbeat_interval_seconds\":15.0") < at("AGENT_ADDED"));
}

#[tokio::test]
async fn teardown_takes_a_form() {
    let world = World::new(&[]).await;
    let (scheduler, inbox) = world.peer("scheduler-1", false);
    world.subscribe(&scheduler).await;
    let subscribed: internal::FrameworkRegisteredMessage = take(&inbox);
    let address = world.master.runtime.bound_address();
    let check = async |body: String, status: &str| {
        let text = post("/teardown", &body);
        let answer = tokio::task::spawn_blocking(move || request(address, &text, "\r\n\r\n"))
            .await
            .unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    };
    check(String::new(), "400").await;
    check("frameworkId=nobody".to_owned(), "400").await;
    let id = subscribed.framework_id.value;
    check(format!("frameworkId={id}"), "200").await;
    check(format!("frameworkId={id}"), "400").await;
}

#[test]
fn an_occupied_port_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = RuntimeConfig {
        port: address.port(),
        ..RuntimeConfig::loopback()
    };
    let flags = MasterFlags::from_args::<&str>([]).unwrap();
    let Err(error) = start(flags, config) else {
        panic!("the port is taken");
    };
    let text = error.to_string();
    assert!(text.contains(&address.to_string()), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn what_cannot_be_used_is_named() {
    let check = |flag: &str, expected: &[&str]| {
        let flags = MasterFlags::from_args([flag]).unwrap();
        let Err(error) = start(flags, RuntimeConfig::loopback()) else {
            panic!("{flag} was accepted");
        };
        let text = error.to_string();
        for part in expected {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains('\n'), "{text}");
    };
    check("--work_dir=/proc/mesos", &["work_dir", "/proc/mesos"]);
    check("--zk=zk://127.0.0.1:2181", &["zk", "'/'"]);
    check("--zk=http://x/y", &["zk", "http://x/y"]);
    check("--domain={}", &["domain", "fault_domain"]);
    check("--domain=here", &["domain", "here"]);
    check(
        "--min_allocatable_resources=cpus:x",
        &["min_allocatable_resources", "cpus:x"],
    );
    check("--acls={}", &["acls", "not supported"]);
    let flags = MasterFlags::from_args(["--modules_dir=/x"]).unwrap();
    assert!(matches!(
        start(flags, RuntimeConfig::loopback()),
        Err(StartError::Unsupported(_))
    ));
}
