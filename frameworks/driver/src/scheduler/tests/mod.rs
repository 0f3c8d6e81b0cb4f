//! The core of the scheduler driver, driven by hand; every effect is recorded as one line.

mod messages;
mod methods;
mod wire;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use libprocess::Upid;
use mesos::proto::internal::{FrameworkToExecutorMessage, StatusUpdate};
use mesos::proto::scheduler::{Call, Event, OfferConstraints, call, event};
use mesos::proto::{self, FrameworkId, FrameworkInfo, MasterInfo, Offer, TaskState, TaskStatus};
use prost::Message;

use super::core::{CoreConfig, Effects, SchedulerCore};
use super::event::{Acknowledgement, SchedulerEvent};
use super::{SchedulerOptions, calls};
use crate::{FrameworkBuilder, framework, task};

const MASTER: &str = "master@10.0.0.1:5050";
const OTHER_MASTER: &str = "master@10.0.0.2:5050";
const AGENT: &str = "slave(1)@10.0.0.9:5051";

/// A core and what it did. Everything it did must have been looked at by the end of a test.
struct Env {
    core: SchedulerCore,
    log: Log,
}

#[derive(Default)]
struct Log {
    lines: Vec<String>,
    events: Vec<SchedulerEvent>,
    calls: Vec<Call>,
    /// What `random` answers.
    random: f64,
}

impl Effects for Log {
    fn send_call(&mut self, master: &Upid, call: Call) {
        let id = call.framework_id.clone().unwrap_or_default().value;
        self.lines.push(format!(
            "{} of '{id}' to {master}",
            call.r#type().as_str_name()
        ));
        self.calls.push(call);
    }
    fn send_deactivate(&mut self, master: &Upid, id: FrameworkId) {
        self.lines
            .push(format!("deactivate '{}' to {master}", id.value));
    }
    fn send_to_agent(&mut self, agent: &Upid, message: FrameworkToExecutorMessage) {
        self.lines
            .push(format!("message {:?} to {agent}", message.data));
    }
    fn link(&mut self, master: &Upid) {
        self.lines.push(format!("link {master}"));
    }
    fn retry_registration(&mut self, delay: Duration, attempt: u64) {
        self.lines.push(format!("retry {attempt} in {delay:?}"));
    }
    fn callback(&mut self, event: SchedulerEvent) {
        self.lines.push(match &event {
            SchedulerEvent::Registered { framework_id, .. } => {
                format!("registered '{}'", framework_id.value)
            }
            SchedulerEvent::Reregistered { .. } => "reregistered".to_owned(),
            SchedulerEvent::Disconnected => "disconnected".to_owned(),
            SchedulerEvent::ResourceOffers(offers) => format!("{} offers", offers.len()),
            SchedulerEvent::OfferRescinded(id) => format!("rescinded {}", id.value),
            SchedulerEvent::StatusUpdate { status, .. } => {
                format!("{} {}", status.task_id.value, status.state().as_str_name())
            }
            SchedulerEvent::FrameworkMessage { data, .. } => format!("message {data:?}"),
            SchedulerEvent::AgentLost(id) => format!("agent {} lost", id.value),
            SchedulerEvent::ExecutorLost { status, .. } => format!("executor lost: {status}"),
            SchedulerEvent::Error(message) => format!("error: {message}"),
        });
        self.events.push(event);
    }
    fn abort(&mut self) {
        self.lines.push("abort".to_owned());
    }
    fn random(&mut self) -> f64 {
        self.random
    }
    fn timestamp(&mut self) -> f64 {
        1.5
    }
}

impl Env {
    fn new(framework: FrameworkBuilder) -> Self {
        Self::with(framework, true)
    }

    fn with(framework: FrameworkBuilder, implicit_acknowledgements: bool) -> Self {
        Self::with_info(framework.build(), implicit_acknowledgements)
    }

    fn with_info(framework: FrameworkInfo, implicit_acknowledgements: bool) -> Self {
        Env {
            core: SchedulerCore::new(CoreConfig {
                framework,
                suppressed_roles: BTreeSet::new(),
                offer_constraints: OfferConstraints::default(),
                implicit_acknowledgements,
                registration_backoff_factor: Duration::from_secs(2),
            }),
            log: Log::default(),
        }
    }

    /// Registered with [`MASTER`] as 'F'.
    fn registered(framework: FrameworkBuilder, implicit_acknowledgements: bool) -> Self {
        let mut env = Self::with(framework, implicit_acknowledgements);
        env.detect(Some(MASTER));
        env.register(MASTER);
        env.log = Log::default();
        env
    }

    fn detect(&mut self, master: Option<&str>) {
        let info = master.map(|pid| MasterInfo {
            pid: Some(pid.to_owned()),
            ..MasterInfo::default()
        });
        self.core.on_master_detected(info, &mut self.log);
    }

    fn register(&mut self, from: &str) {
        let info = MasterInfo::default();
        self.core
            .on_registered(&upid(from), framework_id(), info, &mut self.log);
    }

    fn reregister(&mut self, from: &str) {
        let info = MasterInfo::default();
        self.core
            .on_reregistered(&upid(from), framework_id(), info, &mut self.log);
    }

    fn offer(&mut self, id: &str) {
        let pids = [AGENT.to_owned()];
        self.core
            .on_offers(&upid(MASTER), vec![offer(id)], &pids, &mut self.log);
    }

    fn launch(&mut self, offer_id: &str) {
        let task = task("t").on(&agent_id()).build();
        let (offers, filters) = (vec![id(offer_id)], proto::Filters::default());
        self.core.accept_offers(
            offers,
            vec![calls::launch(vec![task])],
            filters,
            &mut self.log,
        );
    }

    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.log.lines, expected);
        self.log.lines.clear();
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.log.lines, Vec::<String>::new(), "unexpected effects");
        }
    }
}

fn upid(text: &str) -> Upid {
    text.parse().unwrap()
}

fn id(value: &str) -> proto::OfferId {
    proto::OfferId {
        value: value.to_owned(),
    }
}

fn framework_id() -> FrameworkId {
    FrameworkId {
        value: "F".to_owned(),
    }
}

fn agent_id() -> proto::SlaveId {
    proto::SlaveId {
        value: "S0".to_owned(),
    }
}

fn offer(value: &str) -> Offer {
    Offer {
        id: id(value),
        slave_id: agent_id(),
        ..Offer::default()
    }
}

fn update(uuid: Option<&'static [u8]>) -> StatusUpdate {
    StatusUpdate {
        slave_id: Some(agent_id()),
        status: TaskStatus {
            state: TaskState::TaskRunning.into(),
            task_id: proto::TaskId {
                value: "t".to_owned(),
            },
            ..TaskStatus::default()
        },
        timestamp: 7.0,
        uuid: uuid.map(Bytes::from_static),
        ..StatusUpdate::default()
    }
}
