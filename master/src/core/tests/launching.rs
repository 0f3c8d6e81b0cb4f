//! Launching tasks: what is checked, and what is sent.

use mesos::proto::task_status::Reason;
use mesos::proto::{self, TaskState, executor_info, internal, offer};

use crate::core::effects::AllocatorCall;
use crate::core::metrics::{Counter, Gauge};
use crate::core::operator_event::OperatorEvent;
use crate::core::testing::*;

#[test]
fn sends_the_task_to_the_agent() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    let offer = world.offer(&framework, stream, &agent.0, "cpus:2;mem:256");
    world.take_allocator_calls();
    let info = task_info("t", &agent.0, "cpus:1;mem:128");
    world.accept(&framework, &[&offer], vec![launch(vec![info])]);
    let message: internal::RunTaskMessage = world.take(&agent.1);
    assert_eq!(message.framework.id.unwrap().value, framework.as_str());
    assert_eq!(message.pid.as_deref(), Some("@0.0.0.0:0"));
    assert_eq!(message.launch_executor, Some(true));
    assert_eq!(message.resource_version_uuids.len(), 1);
    let allocation = message.task.resources[0].allocation_info.as_ref();
    assert_eq!(allocation.unwrap().role(), "*");
    assert_eq!(world.master.gauge(Gauge::TasksStaging), 1.0);
    let calls = world.take_allocator_calls();
    assert!(matches!(
        calls.as_slice(),
        [
            AllocatorCall::Pause,
            AllocatorCall::RecoverResources {
                filters: Some(_),
                ..
            },
            AllocatorCall::TransitionOfferedToAllocated { .. },
            AllocatorCall::Resume
        ]
    ));
    assert!(matches!(
        world.fx.published.last(),
        Some(OperatorEvent::TaskAdded(task)) if task.id.as_str() == "t"
    ));
}

#[test]
fn drivers_are_named_to_the_agent() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, pid) = world.driver(1);
    world.hand_out(&framework, &agent.0, "cpus:1;mem:64");
    let offers: internal::ResourceOffersMessage = world.take(&pid);
    let offer = (&offers.offers[0].id).into();
    let info = task_info("t", &agent.0, "cpus:1;mem:64");
    world.accept(&framework, &[&offer], vec![launch(vec![info])]);
    let message: internal::RunTaskMessage = world.take(&agent.1);
    assert_eq!(message.pid, Some(pid.to_string()));
}

#[test]
fn an_executor_is_charged_once() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    let offer = world.offer(&framework, stream, &agent.0, "cpus:4;mem:1024");
    let tasks = vec![
        executor_task("a", &agent.0, "e"),
        executor_task("b", &agent.0, "e"),
    ];
    world.accept(&framework, &[&offer], vec![launch(tasks)]);
    let first: internal::RunTaskMessage = world.take(&agent.1);
    let second: internal::RunTaskMessage = world.take(&agent.1);
    assert_eq!(first.launch_executor, Some(true));
    assert_eq!(second.launch_executor, Some(false));
    let used = world.master.state().agents[&agent.0].used_total();
    assert_eq!(used.cpus(), Some(1.1));
    assert_eq!(used.mem(), Some(160.0));
}

#[test]
fn an_ended_executor_gives_its_resources_back() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    let offer = world.offer(&framework, stream, &agent.0, "cpus:4;mem:1024");
    world.accept(
        &framework,
        &[&offer],
        vec![launch(vec![executor_task("a", &agent.0, "e")])],
    );
    world.drain();
    let message = internal::ExitedExecutorMessage {
        slave_id: (&agent.0).into(),
        framework_id: (&framework).into(),
        executor_id: proto::ExecutorId {
            value: "e".to_owned(),
        },
        status: 9,
    };
    world.step(|master, fx| master.on_exited_executor(&message, fx));
    assert!(matches!(
        world.take_event(stream),
        crate::core::event::SchedulerEvent::ExecutorExited { status: 9, .. }
    ));
    let used = world.master.state().agents[&agent.0].used_total();
    assert_eq!(used.cpus(), Some(0.5));
    // A second report changes nothing.
    world.step(|master, fx| master.on_exited_executor(&message, fx));
}

/// What a launch of one task on an offer of 2 CPUs and 1 GB is refused with, if it is.
fn refusal(change: impl FnOnce(&mut proto::TaskInfo)) -> Option<String> {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    let offer = world.offer(
        &framework,
        stream,
        &agent.0,
        "cpus:2;mem:1024;ports:[31000-31009]",
    );
    let mut info = task_info("t", &agent.0, "cpus:1;mem:128");
    change(&mut info);
    world.accept(&framework, &[&offer], vec![launch(vec![info])]);
    if world.master.state().frameworks[&framework].tasks.is_empty() {
        let status = world.take_update(stream);
        assert_eq!(status.state(), TaskState::TaskError);
        assert_eq!(status.reason(), Reason::TaskInvalid);
        assert_eq!(status.uuid, None);
        assert_eq!(world.fx.counters.get(&Counter::TasksError), Some(&1));
        return Some(status.message().to_owned());
    }
    let _: internal::RunTaskMessage = world.take(&agent.1);
    None
}

#[test]
fn tasks_are_checked() {
    let check = |change: fn(&mut proto::TaskInfo), expected: Option<&str>| {
        let refused = refusal(change);
        match (expected, refused) {
            (None, None) => {}
            (Some(text), Some(message)) => assert!(message.contains(text), "{message}"),
            (expected, refused) => panic!("{expected:?} expected, got {refused:?}"),
        }
    };
    let resources = |text: &str| {
        mesos::resources::Resources::parse(text, "*")
            .unwrap()
            .to_protos()
    };
    check(|_| {}, None);
    check(|task| task.task_id.value = "a/b".to_owned(), Some("slash"));
    check(|task| task.task_id.value.clear(), Some("empty"));
    check(
        |task| task.slave_id.value = "other".to_owned(),
        Some("invalid agent"),
    );
    check(
        |task| {
            task.kill_policy = Some(proto::KillPolicy {
                grace_period: Some(proto::DurationInfo { nanoseconds: -1 }),
            });
        },
        Some("grace_period"),
    );
    check(
        |task| task.max_completion_time = Some(proto::DurationInfo { nanoseconds: -1 }),
        Some("max_completion_time"),
    );
    check(
        |task| task.check = Some(proto::CheckInfo::default()),
        Some("invalid check"),
    );
    check(|task| task.resources.clear(), Some("no resources"));
    check(
        |task| task.command = None,
        Some("CommandInfo or ExecutorInfo"),
    );
    check(
        |task| task.executor = Some(proto::ExecutorInfo::default()),
        Some("but not both"),
    );
    check(
        |task| {
            task.limits
                .insert("cpus".to_owned(), proto::value::Scalar { value: 0.5 });
        },
        Some("cpus limit"),
    );
    check(
        |task| {
            task.limits.insert(
                "mem".to_owned(),
                proto::value::Scalar {
                    value: f64::INFINITY,
                },
            );
        },
        None,
    );
    check(
        |task| {
            task.limits
                .insert("disk".to_owned(), proto::value::Scalar { value: 5.0 });
        },
        Some("Only cpus and mem"),
    );
    let too_much = refusal(|task| task.resources = resources("cpus:4"));
    assert!(too_much.unwrap().contains("more than available"));
    let outside = refusal(|task| task.resources = resources("cpus:1;ports:[31005-31010]"));
    assert!(outside.unwrap().contains("more than available"));
    assert_eq!(
        refusal(|task| task.resources = resources("cpus:1;ports:[31005-31009]")),
        None
    );
}

#[test]
fn ids_of_live_tasks_cannot_be_reused() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    world.launch(&framework, stream, &agent, "t");
    let offer = world.offer(&framework, stream, &agent.0, "cpus:1;mem:128");
    let info = task_info("t", &agent.0, "cpus:1;mem:128");
    world.accept(&framework, &[&offer], vec![launch(vec![info])]);
    let status = world.take_update(stream);
    assert_eq!(status.state(), TaskState::TaskError);
    assert!(status.message().contains("duplicate ID"));
    assert_eq!(world.master.state().frameworks[&framework].tasks.len(), 1);
}

#[test]
fn one_failing_task_does_not_stop_the_others() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    let offer = world.offer(&framework, stream, &agent.0, "cpus:2;mem:256");
    let tasks = vec![
        task_info("a", &agent.0, "cpus:1"),
        task_info("b", &agent.0, "cpus:9"),
        task_info("c", &agent.0, "cpus:1"),
    ];
    world.accept(&framework, &[&offer], vec![launch(tasks)]);
    let first: internal::RunTaskMessage = world.take(&agent.1);
    let second: internal::RunTaskMessage = world.take(&agent.1);
    assert_eq!(first.task.task_id.value, "a");
    assert_eq!(second.task.task_id.value, "c");
    assert_eq!(world.take_update(stream).task_id.value, "b");
}

#[test]
fn another_executor_of_the_same_id_is_refused() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    let offer = world.offer(&framework, stream, &agent.0, "cpus:4;mem:1024");
    let mut changed = executor_task("b", &agent.0, "e");
    if let Some(executor) = &mut changed.executor {
        executor.name = Some("other".to_owned());
    }
    let tasks = vec![executor_task("a", &agent.0, "e"), changed];
    world.accept(&framework, &[&offer], vec![launch(tasks)]);
    let _: internal::RunTaskMessage = world.take(&agent.1);
    assert!(
        world
            .take_update(stream)
            .message()
            .contains("not compatible")
    );
}

fn group(agent: &mesos::ids::AgentId, tasks: &[(&str, &str)]) -> offer::Operation {
    let tasks = tasks
        .iter()
        .map(|(id, resources)| task_info(id, agent, resources))
        .collect();
    offer::Operation {
        r#type: Some(offer::operation::Type::LaunchGroup as i32),
        launch_group: Some(offer::operation::LaunchGroup {
            executor: proto::ExecutorInfo {
                r#type: Some(executor_info::Type::Default as i32),
                executor_id: proto::ExecutorId {
                    value: "pod".to_owned(),
                },
                framework_id: Some(proto::FrameworkId {
                    value: "M-0000".to_owned(),
                }),
                resources: allocated("cpus:0.1;mem:32;disk:10").to_protos(),
                ..Default::default()
            },
            task_group: proto::TaskGroupInfo { tasks },
        }),
        ..Default::default()
    }
}

#[test]
fn a_group_is_launched_together_or_not_at_all() {
    let mut world = World::new();
    let agent = world.agent(1);
    let (framework, stream) = world.framework();
    let offer = world.offer(&framework, stream, &agent.0, "cpus:2;mem:256;disk:100");
    let operation = group(
        &agent.0,
        &[("a", "cpus:0.5;mem:32"), ("b", "cpus:0.5;mem:32")],
    );
    world.accept(&framework, &[&offer], vec![operation]);
    let message: internal::RunTaskGroupMessage = world.take(&agent.1);
    assert_eq!(message.task_group.tasks.len(), 2);
    assert_eq!(world.master.gauge(Gauge::TasksStaging), 2.0);
    let used = world.master.state().agents[&agent.0].used_total();
    assert_eq!(used.cpus(), Some(1.1));

    let offer = world.offer(&framework, stream, &agent.0, "cpus:1;mem:256;disk:100");
    let operation = group(
        &agent.0,
        &[("c", "cpus:0.5;mem:32"), ("d", "cpus:5;mem:32")],
    );
    world.accept(&framework, &[&offer], vec![operation]);
    for task in ["c", "d"] {
        let status = world.take_update(stream);
        assert_eq!(status.task_id.value, task);
        assert_eq!(status.reason(), Reason::TaskGroupInvalid);
    }
}
