use mesos::proto;
use mesos::proto::TaskState;
use mesos::proto::task_status::Reason;

use super::harness::*;
use crate::core::Message;

fn config(max_grace: Option<i64>, mark_gone: bool) -> proto::DrainConfig {
    proto::DrainConfig {
        max_grace_period: max_grace.map(|seconds| proto::DurationInfo {
            nanoseconds: seconds * 1_000_000_000,
        }),
        mark_gone: Some(mark_gone),
    }
}

fn drain(harness: &mut Harness, config: proto::DrainConfig) -> Vec<Did> {
    let mut did = harness.event(|agent, fx| agent.on_drain(&master(), config, fx));
    did.extend(harness.finish_updates(&did.clone()));
    did
}

#[test]
fn an_empty_agent_has_nothing_to_drain() {
    let mut harness = Harness::registered();
    assert_eq!(drain(&mut harness, config(None, false)), []);
    assert_eq!(launches(&harness.run(command_task("t"))).len(), 1);
}

#[test]
fn all_tasks_are_killed_and_none_is_taken() {
    let (mut harness, _) = Harness::running(&[custom_task("t1", "e")]);
    harness.run(command_task("queued"));
    let did = drain(&mut harness, config(None, false));
    assert_eq!(
        updates(&did)
            .iter()
            .map(|update| (update.0.as_str(), update.1, update.2))
            .collect::<Vec<_>>(),
        [(
            "queued",
            TaskState::TaskKilled,
            Some(Reason::SlaveDraining.into())
        )]
    );
    assert!(matches!(
        sent(&did, &executor_pid())[..],
        [Message::KillTask(_)]
    ));
    let did = harness.run(command_task("late"));
    let late = updates(&did).remove(0);
    assert_eq!(
        (late.1, late.2),
        (TaskState::TaskLost, Some(Reason::SlaveDraining.into()))
    );
    assert!(harness.agent.snapshot().drain.is_some());
}

#[test]
fn the_end_of_a_drained_task() {
    let (mut harness, run) = Harness::running(&[custom_task("t", "e")]);
    drain(&mut harness, config(None, true));
    let did = harness.status(update("t", "e", TaskState::TaskKilled, 1));
    let killed = updates(&did).remove(0);
    // Only schedulers that know of partitions know this state.
    assert_eq!(
        (killed.1, killed.2),
        (TaskState::TaskKilled, Some(Reason::SlaveDraining.into()))
    );
    harness.acknowledge("t", 1);
    harness.event(|agent, fx| {
        agent.on_container_terminated(&run, Ok(Some(Default::default())), fx);
    });
    assert_eq!(harness.agent.snapshot().drain, None);
}

#[test]
fn a_drain_may_be_in_a_hurry() {
    let check = |own: Option<i64>, limit: Option<i64>, expected: Option<i64>| {
        let mut task = custom_task("t", "e");
        let duration = |seconds: i64| proto::DurationInfo {
            nanoseconds: seconds * 1_000_000_000,
        };
        task.kill_policy = own.map(|own| proto::KillPolicy {
            grace_period: Some(duration(own)),
        });
        let (mut harness, _) = Harness::running(&[task]);
        let did = drain(&mut harness, config(limit, false));
        let [Message::KillTask(message)] = &sent(&did, &executor_pid())[..] else {
            panic!("{did:?}")
        };
        let grace = message.kill_policy.and_then(|policy| policy.grace_period);
        assert_eq!(grace, expected.map(duration), "{own:?} {limit:?}");
    };
    check(None, None, None);
    check(None, Some(5), Some(5));
    check(Some(3), Some(5), None);
    check(Some(9), Some(5), Some(5));
}
