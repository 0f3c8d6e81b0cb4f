//! A world for tests of the core: a recording double of its effects, an in-memory registry, and
//! builders.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libprocess::Upid;
use mesos::detector::master_capabilities;
use mesos::ids::{AgentId, FrameworkId, OfferId};
use mesos::proto::scheduler::{Call, call};
use mesos::proto::{self, TaskState, internal};
use mesos::resources::Resources;
use prost::Message;
use uuid::Uuid;

use super::effects::{
    AllocatorCall, Effects, LinkMode, Outgoing, RegistryContinuation, RegistryOperation, RequestId,
    StreamId, Timer,
};
use super::event::SchedulerEvent;
use super::metrics::{Counter, FrameworkCounter, OperationGauge};
use super::operator_event::OperatorEvent;
use super::recovery::Detected;
use super::state::Connection;
use super::time::Timestamp;
use super::{Master, MasterConfig};
use crate::registrar::operations;

/// Records what the core asks for.
#[derive(Default)]
pub(super) struct Recorder {
    now: Timestamp,
    uuids: u128,
    sent: Vec<(Upid, Outgoing)>,
    events: Vec<(StreamId, SchedulerEvent)>,
    registry: Vec<(RegistryOperation, RegistryContinuation)>,
    pub(super) closed_streams: Vec<StreamId>,
    pub(super) timers: BTreeMap<Timer, Duration>,
    pub(super) allocator: Vec<AllocatorCall>,
    pub(super) links: Vec<Upid>,
    pub(super) observed: BTreeMap<AgentId, bool>,
    pub(super) observed_at: BTreeMap<AgentId, Upid>,
    pub(super) published: Vec<OperatorEvent>,
    pub(super) counters: BTreeMap<Counter, u64>,
    pub(super) operations: BTreeMap<(i32, &'static str), i64>,
    pub(super) done: Vec<(RequestId, bool)>,
    pub(super) exit: Option<String>,
}

impl Effects for Recorder {
    fn now(&self) -> Timestamp {
        self.now
    }
    fn new_uuid(&mut self) -> Uuid {
        self.uuids += 1;
        Uuid::from_u128(self.uuids)
    }
    fn send(&mut self, to: &Upid, message: Outgoing) {
        self.sent.push((to.clone(), message));
    }
    fn link(&mut self, to: &Upid, _mode: LinkMode) {
        self.links.push(to.clone());
    }
    fn send_event(&mut self, stream: StreamId, event: &SchedulerEvent) {
        self.events.push((stream, event.clone()));
    }
    fn close_stream(&mut self, stream: StreamId) {
        self.closed_streams.push(stream);
    }
    fn start_timer(&mut self, timer: Timer, after: Duration) {
        self.timers.insert(timer, after);
    }
    fn cancel_timer(&mut self, timer: &Timer) {
        self.timers.remove(timer);
    }
    fn apply_registry(&mut self, operation: RegistryOperation, then: RegistryContinuation) {
        self.registry.push((operation, then));
    }
    fn allocator(&mut self, call: AllocatorCall) {
        self.allocator.push(call);
    }
    fn observe(&mut self, agent: &AgentId, pid: &Upid) {
        self.observed_at.insert(agent.clone(), pid.clone());
        self.observed.insert(agent.clone(), true);
    }
    fn observe_connected(&mut self, agent: &AgentId, connected: bool) {
        self.observed.insert(agent.clone(), connected);
    }
    fn unobserve(&mut self, agent: &AgentId) {
        self.observed.remove(agent);
    }
    fn done(&mut self, request: RequestId, applied: bool) {
        self.done.push((request, applied));
    }
    fn publish(&mut self, event: OperatorEvent) {
        self.published.push(event);
    }
    fn has_subscribers(&self) -> bool {
        true
    }
    fn count(&mut self, counter: Counter) {
        *self.counters.entry(counter).or_default() += 1;
    }
    fn count_task_state(
        &mut self,
        _state: TaskState,
        _source: proto::task_status::Source,
        _reason: proto::task_status::Reason,
    ) {
    }
    fn add_framework_metrics(&mut self, _id: &FrameworkId, _info: &proto::FrameworkInfo) {}
    fn show_suppressed(
        &mut self,
        _id: &FrameworkId,
        _roles: &BTreeSet<String>,
        _suppressed: &BTreeSet<String>,
    ) {
    }
    fn remove_framework_metrics(&mut self, _id: &FrameworkId) {}
    fn count_framework(&mut self, _id: &FrameworkId, _counter: FrameworkCounter) {}
    fn count_operations(
        &mut self,
        r#type: proto::offer::operation::Type,
        gauge: OperationGauge,
        delta: i64,
    ) {
        *self
            .operations
            .entry((r#type as i32, gauge.name()))
            .or_default() += delta;
    }
    fn exit(&mut self, reason: String) {
        self.exit = Some(reason);
    }
}

/// A leading master with its surroundings. Messages and events must be taken before it is dropped;
/// after every step the master checks itself.
pub(super) struct World {
    pub(super) master: Master,
    pub(super) fx: Recorder,
    registry: internal::Registry,
    framework_capabilities: Vec<proto::framework_info::capability::Type>,
}

/// The id of every master in tests.
pub(super) const MASTER_ID: &str = "M";

impl World {
    pub(super) fn new() -> Self {
        Self::with_config(MasterConfig::default())
    }

    pub(super) fn with_config(config: MasterConfig) -> Self {
        Self::with_registry(config, internal::Registry::default())
    }

    pub(super) fn with_registry(config: MasterConfig, registry: internal::Registry) -> Self {
        let info = proto::MasterInfo {
            id: MASTER_ID.to_owned(),
            pid: Some("master@127.0.0.1:5050".to_owned()),
            capabilities: master_capabilities(),
            ..Default::default()
        };
        let mut world = Self {
            master: Master::new(config, info.clone(), Timestamp::from_secs_f64(1000.0)),
            fx: Recorder {
                now: Timestamp::from_secs_f64(1000.0),
                ..Recorder::default()
            },
            registry: registry.clone(),
            framework_capabilities: vec![
                proto::framework_info::capability::Type::MultiRole,
                proto::framework_info::capability::Type::ReservationRefinement,
                proto::framework_info::capability::Type::PartitionAware,
            ],
        };
        let detected = world.master.on_leader_detected(Some(info), &mut world.fx);
        assert_eq!(detected, Detected::Recover);
        world.master.on_recovered(registry, &mut world.fx);
        world
    }

    /// Frameworks made from here on have these capabilities.
    pub(super) fn set_framework_capabilities(
        &mut self,
        capabilities: &[proto::framework_info::capability::Type],
    ) {
        self.framework_capabilities = capabilities.to_vec();
    }

    /// Calls the core, then stores registry operations and continues, until nothing is left.
    pub(super) fn step<R>(&mut self, event: impl FnOnce(&mut Master, &mut Recorder) -> R) -> R {
        let result = self.step_without_registry(event);
        while !self.fx.registry.is_empty() {
            let (operation, then) = self.fx.registry.remove(0);
            let applied = operations::apply(&mut self.registry, &operation);
            self.master.on_registry_applied(then, applied, &mut self.fx);
            self.check();
        }
        result
    }

    /// Calls the core, leaving its registry operations unanswered.
    pub(super) fn step_without_registry<R>(
        &mut self,
        event: impl FnOnce(&mut Master, &mut Recorder) -> R,
    ) -> R {
        let result = event(&mut self.master, &mut self.fx);
        self.check();
        result
    }

    fn check(&self) {
        if let Err(error) = self.master.sanity_check() {
            panic!("the master is not sane: {error}");
        }
    }

    pub(super) fn advance(&mut self, by: Duration) {
        let nanos = self.fx.now.as_nanos() + i64::try_from(by.as_nanos()).unwrap();
        self.fx.now = Timestamp::from_nanos(nanos);
    }

    /// Fires a timer that must be running.
    pub(super) fn fire(&mut self, timer: Timer) {
        assert!(
            self.fx.timers.remove(&timer).is_some(),
            "{timer:?} is not running: {:?}",
            self.fx.timers
        );
        self.step(|master, fx| master.on_timer(timer, fx));
    }

    // Taking what was sent.

    /// Takes the first message to `to`, which must be an `M`.
    pub(super) fn take<M: Message + prost::Name + Default>(&mut self, to: &Upid) -> M {
        let index = self
            .fx
            .sent
            .iter()
            .position(|(receiver, _)| receiver == to)
            .unwrap_or_else(|| panic!("nothing was sent to {to}, expected {}", M::NAME));
        let (_, message) = self.fx.sent.remove(index);
        assert_eq!(message.name, M::full_name(), "to {to}");
        M::decode(message.body).unwrap()
    }

    /// Whether an event was sent to `stream` that is not taken.
    pub(super) fn has_event(&self, stream: StreamId) -> bool {
        let mut events = self.fx.events.iter();
        events.any(|(receiver, _)| *receiver == stream)
    }

    /// Takes the first event to `stream`.
    pub(super) fn take_event(&mut self, stream: StreamId) -> SchedulerEvent {
        let index = self
            .fx
            .events
            .iter()
            .position(|(receiver, _)| *receiver == stream)
            .unwrap_or_else(|| panic!("no event was sent to {stream}"));
        self.fx.events.remove(index).1
    }

    /// Takes the next status update to a v1 framework.
    pub(super) fn take_update(&mut self, stream: StreamId) -> proto::TaskStatus {
        match self.take_event(stream) {
            SchedulerEvent::Update { update, .. } => update.status,
            other => panic!("expected an update, got {other:?}"),
        }
    }

    /// Forgets all that was sent.
    pub(super) fn drain(&mut self) {
        self.fx.sent.clear();
        self.fx.events.clear();
    }

    /// Takes the allocator calls so far.
    pub(super) fn take_allocator_calls(&mut self) -> Vec<AllocatorCall> {
        std::mem::take(&mut self.fx.allocator)
    }

    pub(super) fn assert_nothing_sent(&self) {
        let sent: Vec<_> = self
            .fx
            .sent
            .iter()
            .map(|(to, message)| format!("{} to {to}", message.name))
            .collect();
        assert!(sent.is_empty(), "messages were not taken: {sent:?}");
        assert!(
            self.fx.events.is_empty(),
            "events were not taken: {:?}",
            self.fx.events
        );
    }

    // Making peers.

    /// Registers an agent and takes the answer.
    pub(super) fn agent(&mut self, number: u16) -> (AgentId, Upid) {
        let pid = agent_pid(number);
        let message = register_agent(number);
        self.step(|master, fx| master.on_register_agent(&pid, message, fx));
        let answer: internal::SlaveRegisteredMessage = self.take(&pid);
        (AgentId::from(&answer.slave_id), pid)
    }

    /// The info of a new framework.
    pub(super) fn framework_info(&self) -> proto::FrameworkInfo {
        let multi_role = self
            .framework_capabilities
            .contains(&proto::framework_info::capability::Type::MultiRole);
        proto::FrameworkInfo {
            user: "user".to_owned(),
            name: "framework".to_owned(),
            roles: if multi_role {
                vec!["*".to_owned()]
            } else {
                Vec::new()
            },
            checkpoint: Some(true),
            failover_timeout: Some(60.0),
            capabilities: self
                .framework_capabilities
                .iter()
                .map(|capability| proto::framework_info::Capability {
                    r#type: Some(*capability as i32),
                })
                .collect(),
            ..Default::default()
        }
    }

    /// Subscribes a v1 framework and takes SUBSCRIBED and HEARTBEAT.
    pub(super) fn framework(&mut self) -> (FrameworkId, StreamId) {
        let info = self.framework_info();
        self.framework_with(info)
    }

    pub(super) fn framework_with(&mut self, info: proto::FrameworkInfo) -> (FrameworkId, StreamId) {
        let stream = StreamId(self.fx.new_uuid());
        let subscribe = call::Subscribe {
            framework_info: info,
            ..Default::default()
        };
        self.step(|master, fx| master.on_subscribe(Connection::Http(stream), subscribe, fx));
        let SchedulerEvent::Subscribed { framework_id, .. } = self.take_event(stream) else {
            panic!("expected SUBSCRIBED");
        };
        assert_eq!(self.take_event(stream), SchedulerEvent::Heartbeat);
        (framework_id, stream)
    }

    /// Subscribes a v0 framework and takes the answer.
    pub(super) fn driver(&mut self, number: u16) -> (FrameworkId, Upid) {
        let pid = driver_pid(number);
        let subscribe = call::Subscribe {
            framework_info: self.framework_info(),
            ..Default::default()
        };
        self.step(|master, fx| master.on_subscribe(Connection::Pid(pid.clone()), subscribe, fx));
        let answer: internal::FrameworkRegisteredMessage = self.take(&pid);
        (FrameworkId::from(&answer.framework_id), pid)
    }

    /// Lets the allocator offer resources to a v1 framework, and takes the offer.
    pub(super) fn offer(
        &mut self,
        framework: &FrameworkId,
        stream: StreamId,
        agent: &AgentId,
        resources: &str,
    ) -> OfferId {
        self.hand_out(framework, agent, resources);
        let SchedulerEvent::Offers { offers, .. } = self.take_event(stream) else {
            panic!("expected OFFERS");
        };
        assert_eq!(offers.len(), 1);
        OfferId::from(&offers[0].id)
    }

    /// Lets the allocator hand out resources.
    pub(super) fn hand_out(&mut self, framework: &FrameworkId, agent: &AgentId, resources: &str) {
        self.hand_out_to_role(framework, "*", agent, resources);
    }

    /// Lets the allocator hand out resources to a role of a framework.
    pub(super) fn hand_out_to_role(
        &mut self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
        resources: &str,
    ) {
        let mut resources = Resources::parse(resources, "*").unwrap();
        resources.allocate(role);
        let offered = BTreeMap::from([(
            role.to_owned(),
            BTreeMap::from([(agent.clone(), resources)]),
        )]);
        self.step(|master, fx| master.on_offer(framework, offered, fx));
    }

    /// Makes a call that must not fail.
    pub(super) fn call(&mut self, framework: &FrameworkId, call: Call) {
        self.step(|master, fx| master.on_call(framework, call, fx))
            .unwrap();
    }

    /// Accepts offers with one operation each.
    pub(super) fn accept(
        &mut self,
        framework: &FrameworkId,
        offers: &[&OfferId],
        operations: Vec<proto::offer::Operation>,
    ) {
        let accept = call::Accept {
            offer_ids: offers.iter().map(|offer| (*offer).into()).collect(),
            operations,
            filters: None,
        };
        self.call(
            framework,
            Call {
                r#type: Some(call::Type::Accept as i32),
                accept: Some(accept),
                ..Default::default()
            },
        );
    }

    /// Launches a command task on a fresh offer of one CPU and 128 MB, and takes the message to
    /// the agent.
    pub(super) fn launch(
        &mut self,
        framework: &FrameworkId,
        stream: StreamId,
        agent: &(AgentId, Upid),
        task: &str,
    ) {
        let offer = self.offer(framework, stream, &agent.0, "cpus:1;mem:128");
        let info = task_info(task, &agent.0, "cpus:1;mem:128");
        self.accept(framework, &[&offer], vec![launch(vec![info])]);
        let message: internal::RunTaskMessage = self.take(&agent.1);
        assert_eq!(message.task.task_id.value, task);
    }

    /// A scheduler kills a task.
    pub(super) fn kill(&mut self, framework: &FrameworkId, task: &str) {
        let kill = call::Kill {
            task_id: task_id(task),
            slave_id: None,
            kill_policy: None,
        };
        self.call(
            framework,
            Call {
                r#type: Some(call::Type::Kill as i32),
                kill: Some(kill),
                ..Default::default()
            },
        );
    }

    /// An agent reports a state of a task.
    pub(super) fn report(
        &mut self,
        framework: &FrameworkId,
        agent: &(AgentId, Upid),
        task: &str,
        state: TaskState,
    ) -> Uuid {
        let uuid = self.fx.new_uuid();
        let message = internal::StatusUpdateMessage {
            update: agent_update(framework, &agent.0, task, state, uuid),
            pid: Some(agent.1.to_string()),
        };
        self.step(|master, fx| master.on_status_update(message, fx));
        uuid
    }

    /// A scheduler acknowledges an update.
    pub(super) fn acknowledge(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        task: &str,
        uuid: Uuid,
    ) {
        let acknowledge = call::Acknowledge {
            slave_id: agent.into(),
            task_id: task_id(task),
            uuid: uuid.as_bytes().to_vec().into(),
        };
        self.call(
            framework,
            Call {
                r#type: Some(call::Type::Acknowledge as i32),
                acknowledge: Some(acknowledge),
                ..Default::default()
            },
        );
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_nothing_sent();
            assert!(
                self.fx.registry.is_empty(),
                "registry operations were not answered"
            );
        }
    }
}

pub(super) fn agent_pid(number: u16) -> Upid {
    format!("slave(1)@10.0.0.{number}:5051").parse().unwrap()
}

pub(super) fn driver_pid(number: u16) -> Upid {
    format!("scheduler-{number}@10.0.1.{number}:7000")
        .parse()
        .unwrap()
}

pub(super) fn slave_info(number: u16) -> proto::SlaveInfo {
    proto::SlaveInfo {
        hostname: format!("agent{number}"),
        resources: Resources::parse("cpus:8;mem:4096;disk:1024;ports:[31000-32000]", "*")
            .unwrap()
            .to_protos(),
        checkpoint: Some(true),
        port: Some(5051),
        ..Default::default()
    }
}

/// All agent capabilities.
pub(super) fn agent_capabilities() -> Vec<proto::slave_info::Capability> {
    (1..=8)
        .map(|number| proto::slave_info::Capability {
            r#type: Some(number),
        })
        .collect()
}

pub(super) fn register_agent(number: u16) -> internal::RegisterSlaveMessage {
    internal::RegisterSlaveMessage {
        slave: slave_info(number),
        version: Some("1.11.0".to_owned()),
        agent_capabilities: agent_capabilities(),
        resource_version_uuid: Some(proto::Uuid {
            value: vec![7; 16].into(),
        }),
        ..Default::default()
    }
}

pub(super) fn reregister_agent(number: u16, id: &AgentId) -> internal::ReregisterSlaveMessage {
    let register = register_agent(number);
    internal::ReregisterSlaveMessage {
        slave: proto::SlaveInfo {
            id: Some(id.into()),
            ..register.slave
        },
        version: register.version,
        agent_capabilities: register.agent_capabilities,
        resource_version_uuid: register.resource_version_uuid,
        ..Default::default()
    }
}

/// Resources allocated to `*`.
pub(super) fn allocated(resources: &str) -> Resources {
    let mut resources = Resources::parse(resources, "*").unwrap();
    resources.allocate("*");
    resources
}

pub(super) fn task_id(id: &str) -> proto::TaskId {
    proto::TaskId {
        value: id.to_owned(),
    }
}

pub(super) fn task_info(id: &str, agent: &AgentId, resources: &str) -> proto::TaskInfo {
    proto::TaskInfo {
        name: id.to_owned(),
        task_id: task_id(id),
        slave_id: agent.into(),
        resources: Resources::parse(resources, "*").unwrap().to_protos(),
        command: Some(proto::CommandInfo {
            value: Some("true".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A task with an executor of its own.
pub(super) fn executor_task(id: &str, agent: &AgentId, executor: &str) -> proto::TaskInfo {
    proto::TaskInfo {
        command: None,
        executor: Some(proto::ExecutorInfo {
            executor_id: proto::ExecutorId {
                value: executor.to_owned(),
            },
            command: Some(proto::CommandInfo {
                value: Some("executor".to_owned()),
                ..Default::default()
            }),
            resources: allocated("cpus:0.1;mem:32").to_protos(),
            ..Default::default()
        }),
        ..task_info(id, agent, "cpus:0.5;mem:64")
    }
}

pub(super) fn launch(tasks: Vec<proto::TaskInfo>) -> proto::offer::Operation {
    proto::offer::Operation {
        r#type: Some(proto::offer::operation::Type::Launch as i32),
        launch: Some(proto::offer::operation::Launch { task_infos: tasks }),
        ..Default::default()
    }
}

pub(super) fn agent_update(
    framework: &FrameworkId,
    agent: &AgentId,
    task: &str,
    state: TaskState,
    uuid: Uuid,
) -> internal::StatusUpdate {
    let uuid = bytes::Bytes::copy_from_slice(uuid.as_bytes());
    internal::StatusUpdate {
        framework_id: framework.into(),
        slave_id: Some(agent.into()),
        status: proto::TaskStatus {
            task_id: task_id(task),
            state: state as i32,
            source: Some(proto::task_status::Source::Executor as i32),
            uuid: Some(uuid.clone()),
            slave_id: Some(agent.into()),
            ..Default::default()
        },
        timestamp: 1.0,
        uuid: Some(uuid),
        latest_state: Some(state as i32),
        executor_id: None,
    }
}

/// A task as an agent reports it when it re-registers.
pub(super) fn running_task(framework: &FrameworkId, agent: &AgentId, id: &str) -> proto::Task {
    proto::Task {
        name: id.to_owned(),
        task_id: task_id(id),
        framework_id: framework.into(),
        slave_id: agent.into(),
        state: TaskState::TaskRunning as i32,
        resources: allocated("cpus:1;mem:128").to_protos(),
        ..Default::default()
    }
}
