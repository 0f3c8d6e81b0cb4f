//! An agent with a recorded outside world. After every event its sanity is checked.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use libprocess::Upid;
use mesos::proto;
use mesos::proto::TaskState;
use mesos::proto::internal as wire;
use uuid::Uuid;

use crate::core::{
    Agent, AgentConfig, ContainerLaunch, ContainerUpdate, Effects, ExecutorCommand, ExecutorRun,
    Exit, Master, Message, Timer,
};

pub(super) const AGENT: &str = "S0";
pub(super) const FRAMEWORK: &str = "F0";

/// One thing that the agent did, in order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Did {
    Send(Upid, Message),
    Link(Upid),
    Start(Timer, Duration),
    Cancel(Timer),
    Launch(Box<ContainerLaunch>),
    Update(Box<ContainerUpdate>),
    Destroy(ExecutorRun),
    Attach(String),
    Detach(String),
    Exit(Exit),
}

#[derive(Debug, Default)]
pub(super) struct Recorder {
    did: Vec<Did>,
    uuids: u128,
}

impl Effects for Recorder {
    fn now(&self) -> f64 {
        1000.0
    }
    fn uuid(&mut self) -> Uuid {
        self.uuids += 1;
        Uuid::from_u128(self.uuids)
    }
    fn jitter(&mut self, limit: Duration) -> Duration {
        limit / 2
    }
    fn send(&mut self, to: &Upid, message: Message) {
        self.did.push(Did::Send(to.clone(), message));
    }
    fn link(&mut self, to: &Upid) {
        self.did.push(Did::Link(to.clone()));
    }
    fn start_timer(&mut self, timer: Timer, after: Duration) {
        self.did.push(Did::Start(timer, after));
    }
    fn cancel_timer(&mut self, timer: &Timer) {
        self.did.push(Did::Cancel(timer.clone()));
    }
    fn launch_container(&mut self, launch: ContainerLaunch) {
        self.did.push(Did::Launch(Box::new(launch)));
    }
    fn update_container(&mut self, update: ContainerUpdate) {
        self.did.push(Did::Update(Box::new(update)));
    }
    fn destroy_container(&mut self, run: &ExecutorRun) {
        self.did.push(Did::Destroy(run.clone()));
    }
    fn attach(&mut self, virtual_path: String, _: PathBuf) {
        self.did.push(Did::Attach(virtual_path));
    }
    fn detach(&mut self, virtual_path: &str) {
        self.did.push(Did::Detach(virtual_path.to_owned()));
    }
    fn exit(&mut self, exit: Exit) {
        self.did.push(Did::Exit(exit));
    }
}

pub(super) struct Harness {
    pub(super) agent: Agent,
    fx: Recorder,
}

pub(super) fn upid(text: &str) -> Upid {
    text.parse().unwrap()
}

pub(super) fn master() -> Upid {
    upid("master@10.0.0.1:5050")
}

pub(super) fn executor_pid() -> Upid {
    upid("executor(1)@10.0.0.2:4000")
}

pub(super) fn resource(name: &str, value: f64) -> proto::Resource {
    proto::Resource {
        name: name.to_owned(),
        r#type: proto::value::Type::Scalar.into(),
        scalar: Some(proto::value::Scalar { value }),
        allocation_info: Some(proto::resource::AllocationInfo {
            role: Some("dev".to_owned()),
        }),
        ..Default::default()
    }
}

pub(super) fn framework() -> proto::FrameworkInfo {
    proto::FrameworkInfo {
        user: "root".to_owned(),
        name: "test".to_owned(),
        id: Some(proto::FrameworkId {
            value: FRAMEWORK.to_owned(),
        }),
        roles: vec!["dev".to_owned()],
        ..Default::default()
    }
}

pub(super) fn command_task(id: &str) -> proto::TaskInfo {
    proto::TaskInfo {
        name: format!("task {id}"),
        task_id: proto::TaskId {
            value: id.to_owned(),
        },
        slave_id: proto::SlaveId {
            value: AGENT.to_owned(),
        },
        resources: vec![resource("cpus", 1.0), resource("mem", 64.0)],
        command: Some(proto::CommandInfo {
            value: Some("echo hello".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(super) fn custom_task(id: &str, executor: &str) -> proto::TaskInfo {
    proto::TaskInfo {
        command: None,
        executor: Some(proto::ExecutorInfo {
            executor_id: proto::ExecutorId {
                value: executor.to_owned(),
            },
            resources: vec![resource("cpus", 0.5)],
            command: Some(proto::CommandInfo {
                value: Some("./executor".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..command_task(id)
    }
}

pub(super) fn run_task(task: proto::TaskInfo) -> wire::RunTaskMessage {
    wire::RunTaskMessage {
        framework: framework(),
        pid: Some("scheduler@10.0.0.3:6000".to_owned()),
        task,
        ..Default::default()
    }
}

pub(super) fn update(task: &str, executor: &str, state: TaskState, uuid: u8) -> wire::StatusUpdate {
    wire::StatusUpdate {
        framework_id: proto::FrameworkId {
            value: FRAMEWORK.to_owned(),
        },
        executor_id: Some(proto::ExecutorId {
            value: executor.to_owned(),
        }),
        slave_id: Some(proto::SlaveId {
            value: AGENT.to_owned(),
        }),
        status: proto::TaskStatus {
            task_id: proto::TaskId {
                value: task.to_owned(),
            },
            state: state.into(),
            ..Default::default()
        },
        uuid: Some(vec![uuid; 16].into()),
        ..Default::default()
    }
}

impl Harness {
    /// An agent that knows no master.
    pub(super) fn new() -> Self {
        let config = AgentConfig {
            info: proto::SlaveInfo {
                hostname: "host".to_owned(),
                resources: vec![resource("cpus", 4.0)],
                checkpoint: Some(true),
                port: Some(5051),
                ..Default::default()
            },
            pid: upid("slave(1)@10.0.0.2:5051"),
            ip: Ipv4Addr::new(10, 0, 0, 2).into(),
            version: "1.11.0".to_owned(),
            resource_version: Uuid::from_u128(77),
            work_dir: PathBuf::from("/w"),
            executor_command: ExecutorCommand {
                executable: Ok(PathBuf::from("/l/mesos-executor")),
                launcher_dir: PathBuf::from("/l"),
            },
            switch_user: true,
            executor_environment: vec![("A".to_owned(), "1".to_owned())],
            registration_backoff_factor: Duration::from_secs(1),
            executor_registration_timeout: Duration::from_secs(60),
            executor_shutdown_grace_period: Duration::from_secs(5),
            max_completed_executors_per_framework: 2,
        };
        Harness {
            agent: Agent::new(config),
            fx: Recorder::default(),
        }
    }

    /// An agent that is registered.
    pub(super) fn registered() -> Self {
        let mut harness = Harness::new();
        harness.detect();
        harness.time(&Timer::Registration);
        harness.event(|agent, fx| {
            let message = wire::SlaveRegisteredMessage {
                slave_id: proto::SlaveId {
                    value: AGENT.to_owned(),
                },
                connection: Some(wire::MasterSlaveConnection {
                    total_ping_timeout_seconds: Some(30.0),
                }),
            };
            agent.on_slave_registered(&master(), message, fx);
        });
        harness
    }

    /// An agent whose executor runs these tasks; answers the run.
    pub(super) fn running(tasks: &[proto::TaskInfo]) -> (Self, ExecutorRun) {
        let mut harness = Harness::registered();
        let mut run = None;
        for task in tasks {
            let did = harness.run(task.clone());
            run = run.or_else(|| launches(&did).first().map(|launch| launch.run.clone()));
        }
        let run = run.unwrap();
        harness.launched(&run);
        let did = harness.register(&run);
        harness.finish_updates(&did);
        (harness, run)
    }

    /// Lets something happen; answers what the agent did.
    pub(super) fn event(&mut self, event: impl FnOnce(&mut Agent, &mut dyn Effects)) -> Vec<Did> {
        event(&mut self.agent, &mut self.fx);
        self.agent.sanity_check().unwrap();
        std::mem::take(&mut self.fx.did)
    }

    pub(super) fn detect(&mut self) -> Vec<Did> {
        let info = proto::MasterInfo::default();
        self.event(|agent, fx| {
            agent.on_master_detected(
                Some(Master {
                    info,
                    pid: master(),
                }),
                fx,
            )
        })
    }

    pub(super) fn time(&mut self, timer: &Timer) -> Vec<Did> {
        self.event(|agent, fx| agent.on_timer(timer, fx))
    }

    pub(super) fn run(&mut self, task: proto::TaskInfo) -> Vec<Did> {
        self.event(|agent, fx| agent.on_run_task(&master(), run_task(task), fx))
    }

    pub(super) fn launched(&mut self, run: &ExecutorRun) -> Vec<Did> {
        let status = proto::ContainerStatus {
            executor_pid: Some(99),
            container_id: Some((&run.container_id).into()),
            ..Default::default()
        };
        self.event(|agent, fx| agent.on_container_launched(run, Ok(status), fx))
    }

    pub(super) fn register(&mut self, run: &ExecutorRun) -> Vec<Did> {
        let message = wire::RegisterExecutorMessage {
            framework_id: (&run.framework_id).into(),
            executor_id: (&run.executor_id).into(),
        };
        self.event(|agent, fx| agent.on_register_executor(&executor_pid(), &message, fx))
    }

    pub(super) fn status(&mut self, update: wire::StatusUpdate) -> Vec<Did> {
        let mut did =
            self.event(|agent, fx| agent.on_status_update(Some(&executor_pid()), update, fx));
        did.extend(self.finish_updates(&did.clone()));
        did
    }

    pub(super) fn acknowledge(&mut self, task: &str, uuid: u8) -> Vec<Did> {
        let message = wire::StatusUpdateAcknowledgementMessage {
            slave_id: proto::SlaveId {
                value: AGENT.to_owned(),
            },
            framework_id: proto::FrameworkId {
                value: FRAMEWORK.to_owned(),
            },
            task_id: proto::TaskId {
                value: task.to_owned(),
            },
            uuid: vec![uuid; 16].into(),
        };
        self.event(|agent, fx| agent.on_status_update_acknowledgement(&master(), &message, fx))
    }

    /// Lets the containerizer take the new sizes in `did`; answers what follows.
    pub(super) fn finish_updates(&mut self, did: &[Did]) -> Vec<Did> {
        let mut followed = Vec::new();
        for did in did {
            if let Did::Update(update) = did {
                let update = update.clone();
                followed.extend(
                    self.event(|agent, fx| agent.on_container_updated(*update, Ok(()), fx)),
                );
            }
        }
        followed
    }
}

/// The messages among what was done, to one receiver.
pub(super) fn sent(did: &[Did], to: &Upid) -> Vec<Message> {
    did.iter()
        .filter_map(|did| match did {
            Did::Send(receiver, message) if receiver == to => Some(message.clone()),
            _ => None,
        })
        .collect()
}

/// The updates that went to the master: task, state, reason, message.
pub(super) fn updates(did: &[Did]) -> Vec<(String, TaskState, Option<i32>, String)> {
    sent(did, &master())
        .into_iter()
        .filter_map(|message| match message {
            Message::StatusUpdate(message) => {
                let status = message.update.status;
                Some((
                    status.task_id.value.clone(),
                    status.state(),
                    status.reason,
                    status.message().to_owned(),
                ))
            }
            _ => None,
        })
        .collect()
}

/// The containers that were started.
pub(super) fn launches(did: &[Did]) -> Vec<ContainerLaunch> {
    did.iter()
        .filter_map(|did| match did {
            Did::Launch(launch) => Some((**launch).clone()),
            _ => None,
        })
        .collect()
}

/// Whether the executor got these tasks, in this order.
pub(super) fn delivered(did: &[Did]) -> Vec<String> {
    sent(did, &executor_pid())
        .into_iter()
        .filter_map(|message| match message {
            Message::RunTask(message) => Some(message.task.task_id.value),
            _ => None,
        })
        .collect()
}
