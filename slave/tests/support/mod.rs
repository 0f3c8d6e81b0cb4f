//! A master that does what a test says, and an agent that belongs to it.
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "part of tests, not of an interface"
)]
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libprocess::{Context, Process, Runtime, RuntimeConfig, Upid};
use mesos::flags::Flags;
use mesos::proto;
use mesos::proto::TaskState;
use mesos::proto::internal as wire;
use mesos_agent::{AgentFlags, RunningAgent};
use prost::Message;

/// How long a test waits for something that must happen.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub const AGENT_ID: &str = "S0";
pub const FRAMEWORK_ID: &str = "F0";

struct Recorder {
    received: Sender<(Upid, String, Bytes)>,
}

impl Process for Recorder {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        for name in [
            "RegisterSlaveMessage",
            "ReregisterSlaveMessage",
            "UnregisterSlaveMessage",
            "PongSlaveMessage",
            "UpdateSlaveMessage",
            "StatusUpdateMessage",
            "ExitedExecutorMessage",
            "ExecutorToFrameworkMessage",
            "UpdateOperationStatusMessage",
        ] {
            let name = format!("mesos.internal.{name}");
            let known = name.clone();
            ctx.install_raw(&name, move |recorder: &mut Recorder, _, from, body| {
                let short = known.rsplit('.').next().unwrap_or_default().to_owned();
                recorder.received.send((from.clone(), short, body)).ok();
            });
        }
    }
}

/// The scripted master.
pub struct Master {
    pub runtime: Runtime,
    pub upid: Upid,
    received: Receiver<(Upid, String, Bytes)>,
}

impl Master {
    pub fn start() -> Master {
        let runtime = Runtime::start(config()).unwrap();
        let (sender, received) = channel();
        let recorder = Recorder { received: sender };
        let upid = runtime.spawn("master", recorder).unwrap().upid().clone();
        Master {
            runtime,
            upid,
            received,
        }
    }

    /// Takes an agent in; answers where it listens.
    pub fn register(&self) -> Upid {
        let (agent, _) = self.expect::<wire::RegisterSlaveMessage>("RegisterSlaveMessage");
        let registered = wire::SlaveRegisteredMessage {
            slave_id: agent_id(),
            connection: None,
        };
        self.send(&agent, &registered);
        self.expect::<wire::UpdateSlaveMessage>("UpdateSlaveMessage");
        agent
    }

    pub fn send<M: prost::Message + prost::Name>(&self, agent: &Upid, message: &M) {
        self.runtime.send_message(&self.upid, agent, message);
    }

    /// The next message of a kind, and its sender; others before it are skipped.
    pub fn expect<M: Message + Default>(&self, kind: &str) -> (Upid, M) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let received = self.received.recv_timeout(left);
            let (from, name, body) = received.unwrap_or_else(|_| panic!("no {kind}"));
            if name == kind {
                return (from, M::decode(body).unwrap());
            }
        }
    }

    /// The next status update, which is acknowledged.
    pub fn status(&self) -> wire::StatusUpdate {
        let (agent, message) = self.expect::<wire::StatusUpdateMessage>("StatusUpdateMessage");
        let update = message.update;
        let acknowledgement = wire::StatusUpdateAcknowledgementMessage {
            slave_id: agent_id(),
            framework_id: update.framework_id.clone(),
            task_id: update.status.task_id.clone(),
            uuid: update.uuid.clone().unwrap(),
        };
        self.send(&agent, &acknowledgement);
        update
    }

    pub fn run(&self, agent: &Upid, task: proto::TaskInfo) {
        let message = wire::RunTaskMessage {
            framework: framework(),
            pid: Some(String::new()),
            task,
            launch_executor: Some(true),
            ..Default::default()
        };
        self.send(agent, &message);
    }
}

/// The scripted master and its agent, which is in this process.
pub struct Cluster {
    pub master: Master,
    pub agent: RunningAgent,
    pub work_dir: tempfile::TempDir,
}

/// The flags of every agent here.
pub fn flags(master: &Master, work_dir: &Path) -> Vec<String> {
    let helper = Path::new(env!("CARGO_BIN_EXE_mesos-executor"));
    vec![
        format!("--master={}", master.runtime.address()),
        format!("--work_dir={}", work_dir.display()),
        format!("--launcher_dir={}", helper.parent().unwrap().display()),
        "--ip=127.0.0.1".to_owned(),
        "--port=0".to_owned(),
        "--hostname=localhost".to_owned(),
        "--registration_backoff_factor=1ms".to_owned(),
        "--resources=cpus:4;mem:1024;disk:1024".to_owned(),
    ]
}

impl Cluster {
    /// An agent that has registered.
    pub fn start(arguments: &[&str]) -> Cluster {
        let master = Master::start();
        let work_dir = tempfile::tempdir().unwrap();
        let mut flags = flags(&master, work_dir.path());
        flags.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let flags = AgentFlags::from_args(flags).unwrap();
        let agent = mesos_agent::start(flags, config()).unwrap();
        assert_eq!(master.register(), agent.upid);
        Cluster {
            master,
            agent,
            work_dir,
        }
    }

    /// Sends a message of the master to the agent.
    pub fn send<M: prost::Message + prost::Name>(&self, message: &M) {
        self.master.send(&self.agent.upid, message);
    }

    /// The next status update, which is acknowledged.
    pub fn status(&self) -> wire::StatusUpdate {
        self.master.status()
    }

    /// Updates of a task until it has ended.
    pub fn until_ended(&self, task: &str) -> Vec<proto::TaskStatus> {
        let mut statuses = Vec::new();
        loop {
            let status = self.status().status;
            if status.task_id.value != task {
                continue;
            }
            let state = status.state();
            statuses.push(status);
            if !matches!(
                state,
                TaskState::TaskStarting | TaskState::TaskRunning | TaskState::TaskKilling
            ) {
                return statuses;
            }
        }
    }

    pub fn run(&self, task: proto::TaskInfo) {
        self.master.run(&self.agent.upid, task);
    }

    pub fn kill(&self, task: &str, grace: Option<i64>) {
        self.send(&wire::KillTaskMessage {
            framework_id: proto::FrameworkId {
                value: FRAMEWORK_ID.to_owned(),
            },
            task_id: proto::TaskId {
                value: task.to_owned(),
            },
            kill_policy: grace.map(|grace| proto::KillPolicy {
                grace_period: Some(proto::DurationInfo { nanoseconds: grace }),
            }),
        });
    }

    /// The sandbox of the newest run of an executor.
    pub fn sandbox(&self, executor: &str) -> PathBuf {
        sandbox(self.work_dir.path(), executor)
    }

    pub fn read(&self, executor: &str, file: &str) -> String {
        std::fs::read_to_string(self.sandbox(executor).join(file)).unwrap()
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        http(&format!("GET {path} HTTP/1.1\r\n"), "", self.agent.address)
    }

    pub fn post(&self, path: &str, headers: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n");
        http(&head, body, self.agent.address)
    }

    pub fn json(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

/// The sandbox of the newest run of an executor.
pub fn sandbox(work_dir: &Path, executor: &str) -> PathBuf {
    work_dir.join(format!(
        "slaves/{AGENT_ID}/frameworks/{FRAMEWORK_ID}/executors/{executor}/runs/latest"
    ))
}

fn agent_id() -> proto::SlaveId {
    proto::SlaveId {
        value: AGENT_ID.to_owned(),
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.agent.shutdown();
        self.master.runtime.shutdown();
    }
}

fn http(head: &str, body: &str, address: std::net::SocketAddr) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!("{head}Host: {address}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        unchunk(body)
    } else {
        body.to_owned()
    };
    (status, body)
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}

fn config() -> RuntimeConfig {
    RuntimeConfig {
        workers: 1,
        ..RuntimeConfig::loopback()
    }
}

/// Waits until a condition holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

pub fn framework() -> proto::FrameworkInfo {
    let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
    proto::FrameworkInfo {
        user,
        name: "test".to_owned(),
        id: Some(proto::FrameworkId {
            value: FRAMEWORK_ID.to_owned(),
        }),
        roles: vec!["*".to_owned()],
        capabilities: vec![proto::framework_info::Capability {
            r#type: Some(proto::framework_info::capability::Type::MultiRole.into()),
        }],
        ..Default::default()
    }
}

pub fn task(id: &str, command: &str) -> proto::TaskInfo {
    let resource = |name: &str, value: f64| proto::Resource {
        name: name.to_owned(),
        r#type: proto::value::Type::Scalar.into(),
        scalar: Some(proto::value::Scalar { value }),
        allocation_info: Some(proto::resource::AllocationInfo {
            role: Some("*".to_owned()),
        }),
        ..Default::default()
    };
    proto::TaskInfo {
        name: id.to_owned(),
        task_id: proto::TaskId {
            value: id.to_owned(),
        },
        slave_id: proto::SlaveId {
            value: AGENT_ID.to_owned(),
        },
        resources: vec![resource("cpus", 0.5), resource("mem", 32.0)],
        command: Some(proto::CommandInfo {
            value: Some(command.to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }
}
