//! The scheduler driver against a scripted master, over real sockets.
#![allow(clippy::unwrap_used, reason = "a failing test shall panic")]

mod common;

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use common::{DEADLINE, Peer};
use libprocess::{Runtime, Upid};
use mesos_driver::proto::internal::{
    DeactivateFrameworkMessage, FrameworkErrorMessage, FrameworkRegisteredMessage,
    FrameworkReregisteredMessage, ResourceOffersMessage, StatusUpdate, StatusUpdateMessage,
};
use mesos_driver::proto::scheduler::{Call, call};
use mesos_driver::proto::{
    Filters, FrameworkId, MasterInfo, Offer, OfferId, SlaveId, TaskId, TaskState, TaskStatus,
};
use mesos_driver::{Bytes, Scheduler, SchedulerDriver, SchedulerOptions, Status, framework, task};

const MASTER_HEARS: [&str; 2] = [
    "mesos.scheduler.Call",
    "mesos.internal.DeactivateFrameworkMessage",
];

/// Tells the test of its callbacks; launches one task per offer; the status message "panic" makes
/// it panic, and "stop" makes it stop the driver.
struct Reporter(Sender<String>);

impl Reporter {
    fn say(&self, line: impl Into<String>) {
        self.0.send(line.into()).unwrap();
    }
}

impl Scheduler for Reporter {
    fn registered(&mut self, _: &SchedulerDriver, id: &FrameworkId, _: &MasterInfo) {
        self.say(format!("registered {}", id.value));
    }
    fn reregistered(&mut self, _: &SchedulerDriver, _: &MasterInfo) {
        self.say("reregistered");
    }
    fn disconnected(&mut self, _: &SchedulerDriver) {
        self.say("disconnected");
    }
    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) {
        for offer in offers {
            let task = task("t").on(&offer.slave_id).shell("true").build();
            driver.launch_tasks(vec![offer.id], vec![task], Filters::default());
        }
    }
    fn status_update(&mut self, driver: &SchedulerDriver, status: &TaskStatus) {
        self.say(format!(
            "{} {}",
            status.task_id.value,
            status.state().as_str_name()
        ));
        assert_ne!(status.message(), "panic", "as told");
        if status.message() == "stop" {
            driver.stop(false);
            self.say("still in the callback");
        }
    }
    fn error(&mut self, driver: &SchedulerDriver, message: &str) {
        self.say(format!("error {message}, {}", driver.status()));
    }
}

struct Env {
    master: Peer,
    driver: SchedulerDriver,
    runtime: Runtime,
    said: Receiver<String>,
}

impl Env {
    /// A driver that has sent its first SUBSCRIBE; `explicit` is about acknowledgements.
    fn start(explicit: bool) -> Self {
        let master = Peer::start("master", 0, &MASTER_HEARS);
        let runtime = common::loopback();
        let (sender, said) = mpsc::channel();
        let mut builder = SchedulerDriver::builder(
            Reporter(sender),
            framework("f").build(),
            master.upid().address().to_string(),
        )
        .runtime(runtime.clone())
        .options(SchedulerOptions {
            registration_backoff_factor: Duration::from_millis(10),
        });
        if explicit {
            builder = builder.explicit_acknowledgements();
        }
        let driver = builder.build();
        assert_eq!(driver.start(), Status::Running);
        Env {
            master,
            driver,
            runtime,
            said,
        }
    }

    /// The next call of the given type; attempts to subscribe that cross the answer are passed by.
    #[track_caller]
    fn call(&self, kind: call::Type) -> (Upid, Call) {
        loop {
            let (from, call) = self.master.expect::<Call>();
            if call.r#type() == kind {
                return (from, call);
            }
            assert_eq!(call.r#type(), call::Type::Subscribe);
        }
    }

    /// The driver has told the master that it is aborted.
    #[track_caller]
    fn deactivated(&self) {
        let passed = "mesos.scheduler.Call";
        self.master
            .expect_past::<DeactivateFrameworkMessage>(passed);
    }

    fn registered(explicit: bool) -> (Self, Upid) {
        let env = Self::start(explicit);
        let (scheduler, _) = env.call(call::Type::Subscribe);
        let message = FrameworkRegisteredMessage {
            framework_id: framework_id(),
            master_info: MasterInfo::default(),
        };
        env.master.send(&scheduler, &message);
        env.said("registered F");
        (env, scheduler)
    }

    #[track_caller]
    fn said(&self, expected: &str) {
        let said = self.said.recv_timeout(DEADLINE).unwrap();
        assert_eq!(said, expected);
    }

    fn update(&self, scheduler: &Upid, message: &str) {
        let update = StatusUpdate {
            framework_id: framework_id(),
            slave_id: Some(agent_id()),
            status: TaskStatus {
                task_id: TaskId { value: "t".into() },
                state: TaskState::TaskRunning.into(),
                message: Some(message.to_owned()),
                ..TaskStatus::default()
            },
            uuid: Some(Bytes::from_static(b"0123456789abcdef")),
            ..StatusUpdate::default()
        };
        let pid = Some("slave(1)@127.0.0.1:5051".to_owned());
        self.master
            .send(scheduler, &StatusUpdateMessage { update, pid });
        self.said("t TASK_RUNNING");
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        self.driver.stop(true);
        self.driver.join();
        self.runtime.shutdown();
    }
}

fn framework_id() -> FrameworkId {
    FrameworkId { value: "F".into() }
}

fn agent_id() -> SlaveId {
    SlaveId { value: "S".into() }
}

#[test]
fn runs_a_task_from_offer_to_teardown() {
    let (env, scheduler) = Env::registered(false);
    assert!(scheduler.id().starts_with("scheduler-"), "{scheduler}");
    let offer = Offer {
        id: OfferId { value: "O".into() },
        framework_id: framework_id(),
        slave_id: agent_id(),
        hostname: "host".into(),
        ..Offer::default()
    };
    let message = ResourceOffersMessage {
        offers: vec![offer],
        pids: vec!["slave(1)@127.0.0.1:5051".into()],
    };
    env.master.send(&scheduler, &message);
    let (_, accept) = env.call(call::Type::Accept);
    assert_eq!(accept.framework_id, Some(framework_id()));
    let accept = accept.accept.unwrap();
    assert_eq!(accept.offer_ids[0].value, "O");
    let launch = accept.operations[0].launch.as_ref().unwrap();
    assert_eq!(launch.task_infos[0].slave_id, agent_id());

    env.update(&scheduler, "");
    let (_, call) = env.call(call::Type::Acknowledge);
    let acknowledge = call.acknowledge.unwrap();
    assert_eq!(acknowledge.uuid, Bytes::from_static(b"0123456789abcdef"));
    assert_eq!(acknowledge.slave_id, agent_id());

    assert_eq!(env.driver.stop(false), Status::Stopped);
    assert_eq!(env.driver.join(), Status::Stopped);
    env.call(call::Type::Teardown);
    assert_eq!(env.driver.start(), Status::Stopped);
}

#[test]
fn repeats_its_registration_until_it_is_answered() {
    let env = Env::start(false);
    for _ in 0..4 {
        env.call(call::Type::Subscribe);
    }
}

#[test]
fn registers_again_with_a_master_restarted_at_the_same_address() {
    let (mut env, _) = Env::registered(false);
    let port = env.master.port();
    env.master = Peer::start("other", 0, &[]);
    env.said("disconnected");
    env.master = Peer::start("master", port, &MASTER_HEARS);
    let (scheduler, call) = env.call(call::Type::Subscribe);
    assert_eq!(call.framework_id, Some(framework_id()));
    assert_eq!(call.subscribe.unwrap().force, Some(false));
    let message = FrameworkReregisteredMessage {
        framework_id: framework_id(),
        master_info: MasterInfo::default(),
    };
    env.master.send(&scheduler, &message);
    env.said("reregistered");
}

#[test]
fn explicit_acknowledgements_are_left_to_the_scheduler() {
    let (env, scheduler) = Env::registered(true);
    env.update(&scheduler, "");
    // Had the driver acknowledged by itself, that would come first.
    env.driver.kill_task(TaskId { value: "t".into() });
    env.call(call::Type::Kill);
    let status = TaskStatus {
        task_id: TaskId { value: "t".into() },
        slave_id: Some(agent_id()),
        uuid: Some(Bytes::from_static(b"u")),
        ..TaskStatus::default()
    };
    env.driver.acknowledge_status_update(&status);
    let (_, call) = env.call(call::Type::Acknowledge);
    assert_eq!(call.acknowledge.unwrap().uuid, Bytes::from_static(b"u"));
}

#[test]
fn an_error_of_the_master_aborts() {
    let (env, scheduler) = Env::registered(false);
    let message = FrameworkErrorMessage {
        message: "Framework has been removed".into(),
    };
    env.master.send(&scheduler, &message);
    env.said("error Framework has been removed, DRIVER_ABORTED");
    assert_eq!(env.driver.join(), Status::Aborted);
    assert_eq!(
        env.driver.error().as_deref(),
        Some("Framework has been removed")
    );
    env.deactivated();
    assert_eq!(env.driver.stop(false), Status::Aborted);
    assert_eq!(env.driver.status(), Status::Stopped);
}

#[test]
fn malformed_messages_are_counted_and_dropped() {
    let (env, scheduler) = Env::registered(false);
    // Without the field that proto2 requires, and then no protobuf at all.
    for body in [Bytes::new(), Bytes::from_static(b"\xff\xff")] {
        env.runtime.send(
            env.master.upid(),
            &scheduler,
            "mesos.internal.FrameworkErrorMessage",
            body,
        );
    }
    env.update(&scheduler, "");
    assert_eq!(env.driver.status(), Status::Running);
    let counted = env.runtime.metrics().snapshot();
    assert_eq!(counted.get("libprocess/messages_undecodable"), Some(&2.0));
}

#[test]
fn a_panic_in_a_callback_aborts_without_acknowledging() {
    let (env, scheduler) = Env::registered(false);
    env.update(&scheduler, "panic");
    assert_eq!(env.driver.join(), Status::Aborted);
    let error = env.driver.error().unwrap();
    assert!(
        error.contains("panicked") && error.contains("as told"),
        "{error}"
    );
    env.deactivated();
}

#[test]
fn joining_waits_for_the_callback_that_stops() {
    let (env, scheduler) = Env::registered(false);
    env.update(&scheduler, "stop");
    assert_eq!(env.driver.join(), Status::Stopped);
    assert_eq!(env.said.try_recv().unwrap(), "still in the callback");
    env.call(call::Type::Teardown);
}

#[test]
fn methods_do_nothing_unless_the_driver_runs() {
    let (sender, _) = mpsc::channel();
    let driver = SchedulerDriver::new(Reporter(sender), framework("f").build(), "127.0.0.1:1");
    assert_eq!(driver.revive_offers(), Status::NotStarted);
    assert_eq!(driver.abort(), Status::NotStarted);
    assert_eq!(driver.stop(false), Status::NotStarted);
    assert_eq!(driver.join(), Status::NotStarted);
}

#[test]
fn a_bad_master_is_an_error_of_the_driver() {
    let (sender, said) = mpsc::channel();
    let runtime = common::loopback();
    let driver =
        SchedulerDriver::builder(Reporter(sender), framework("f").build(), "zk://nowhere:1")
            .runtime(runtime.clone())
            .build();
    assert_eq!(driver.run(), Status::Aborted);
    let said = said.recv_timeout(DEADLINE).unwrap();
    let start = "error Failed to create a master detector for 'zk://nowhere:1': ";
    assert!(said.starts_with(start), "{said}");
    runtime.shutdown();
}

#[test]
fn a_driver_is_used_from_async_code_too() {
    let (env, _) = Env::registered(false);
    let tokio = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let status = tokio.block_on(async {
        let driver = env.driver.clone();
        let waiting = tokio::spawn(async move { driver.wait().await });
        env.driver.abort();
        waiting.await.unwrap()
    });
    assert_eq!(status, Status::Aborted);
}
