//! The driver's methods.

use super::*;

#[test]
fn an_update_handled_after_the_end_is_not_acknowledged() {
    let mut env = Env::registered(framework("f"), true);
    let ack = Acknowledgement {
        agent_id: agent_id(),
        task_id: proto::TaskId::default(),
        uuid: Bytes::from_static(b"u"),
    };
    env.core.abort(&mut env.log);
    env.expect(&[&format!("deactivate 'F' to {MASTER}")]);
    env.core.on_update_handled(ack, &mut env.log);
}

#[test]
fn explicit_acknowledgement_with_an_implicit_driver_is_an_error() {
    let mut env = Env::registered(framework("f"), true);
    env.core
        .acknowledge_status_update(&update(Some(b"u")).status, &mut env.log);
    let lines = std::mem::take(&mut env.log.lines);
    assert_eq!(
        lines[..2],
        [format!("deactivate 'F' to {MASTER}"), "abort".to_owned()]
    );
    assert!(
        lines[2].starts_with("error: acknowledgeStatusUpdate"),
        "{lines:?}"
    );
}

#[test]
fn launching_while_disconnected_answers_with_a_made_up_status() {
    fn check(framework: FrameworkBuilder, expected: TaskState) {
        let mut env = Env::registered(framework, true);
        env.detect(None);
        env.expect(&["disconnected"]);
        env.launch("o");
        env.expect(&[&format!("t {}", expected.as_str_name())]);
        let Some(SchedulerEvent::StatusUpdate {
            status,
            acknowledgement: None,
        }) = env.log.events.pop()
        else {
            panic!("no update, or one to be acknowledged");
        };
        assert_eq!((status.slave_id.clone(), status.uuid.clone()), (None, None));
        assert_eq!(status.source(), proto::task_status::Source::Master);
        assert_eq!(
            status.reason(),
            proto::task_status::Reason::MasterDisconnected
        );
        assert_eq!(status.message(), "Master disconnected");
    }
    check(framework("f"), TaskState::TaskLost);
    let capability = proto::framework_info::capability::Type::PartitionAware;
    check(
        framework("f").capability(capability),
        TaskState::TaskDropped,
    );
}

#[test]
fn other_calls_are_dropped_while_disconnected() {
    let mut env = Env::registered(framework("f"), true);
    env.detect(None);
    env.expect(&["disconnected"]);
    let fx = &mut env.log;
    env.core
        .decline_offer(id("o"), proto::Filters::default(), fx);
    env.core
        .simple_call(calls::kill(proto::TaskId::default()), fx);
    env.core
        .send_framework_message(proto::ExecutorId::default(), agent_id(), Bytes::new(), fx);
}

#[test]
fn suppression_is_repeated_at_registration() {
    fn check(act: impl Fn(&mut SchedulerCore, &mut Log), expected: &[&str]) {
        let mut env = Env::registered(framework("f").role("a").role("b"), true);
        act(&mut env.core, &mut env.log);
        env.log = Log::default();
        env.detect(Some(OTHER_MASTER));
        let subscribe = env.log.calls[0].subscribe.clone().unwrap();
        assert_eq!(subscribe.suppressed_roles, expected);
        env.log.lines.clear();
    }
    let roles = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    check(|core, fx| core.suppress_offers(None, fx), &["a", "b"]);
    check(|core, fx| core.suppress_offers(roles(&["b"]), fx), &["b"]);
    check(|core, fx| core.suppress_offers(roles(&[]), fx), &[]);
    check(
        |core, fx| {
            core.suppress_offers(None, fx);
            core.revive_offers(roles(&["a"]), fx);
            core.revive_offers(roles(&[]), fx);
        },
        &["b"],
    );
    check(
        |core, fx| {
            core.suppress_offers(None, fx);
            core.revive_offers(None, fx);
        },
        &[],
    );
}

#[test]
fn framework_messages_go_directly_once_a_task_was_launched() {
    fn check(prepare: impl Fn(&mut Env), expected: &str) {
        let mut env = Env::registered(framework("f"), true);
        prepare(&mut env);
        env.log.lines.clear();
        let (executor, data) = (proto::ExecutorId::default(), Bytes::from_static(b"hi"));
        env.core
            .send_framework_message(executor, agent_id(), data, &mut env.log);
        env.expect(&[expected]);
    }
    let direct = format!("message b\"hi\" to {AGENT}");
    let relayed = format!("MESSAGE of 'F' to {MASTER}");
    check(|_| (), &relayed);
    check(|env| env.offer("o"), &relayed);
    check(
        |env| {
            env.offer("o");
            env.launch("o");
        },
        &direct,
    );
    check(
        |env| {
            env.offer("o");
            env.core.on_rescind(&upid(MASTER), id("o"), &mut env.log);
            env.launch("o");
        },
        &relayed,
    );
    check(
        |env| {
            env.offer("o");
            env.launch("o");
            env.core
                .on_agent_lost(&upid(MASTER), agent_id(), &mut env.log);
        },
        &relayed,
    );
}

#[test]
fn operations_with_feedback_are_refused() {
    let mut env = Env::registered(framework("f"), true);
    let operation = proto::offer::Operation {
        id: Some(proto::OperationId::default()),
        ..calls::launch(vec![])
    };
    env.core.accept_offers(
        vec![],
        vec![operation],
        proto::Filters::default(),
        &mut env.log,
    );
    let lines = std::mem::take(&mut env.log.lines);
    assert!(
        lines[2].starts_with("error: An operation of acceptOffers has 'id'"),
        "{lines:?}"
    );
}

#[test]
fn stop_tears_down_unless_another_instance_takes_over() {
    fn check(connected: bool, failover: bool, expected: &[&str]) {
        let mut env = Env::registered(framework("f"), true);
        if !connected {
            env.detect(None);
            env.log.lines.clear();
        }
        env.core.stop(failover, &mut env.log);
        env.expect(expected);
        env.offer("o");
        env.detect(Some(OTHER_MASTER));
        env.core.on_error("late".to_owned(), &mut env.log);
    }
    check(true, false, &[&format!("TEARDOWN of 'F' to {MASTER}")]);
    check(true, true, &[]);
    check(false, false, &[]);
}

#[test]
fn stop_after_abort_still_tears_down() {
    let mut env = Env::registered(framework("f"), true);
    env.core.abort(&mut env.log);
    env.core.stop(false, &mut env.log);
    env.expect(&[
        &format!("deactivate 'F' to {MASTER}"),
        &format!("TEARDOWN of 'F' to {MASTER}"),
    ]);
}

#[test]
fn update_framework_keeps_the_id() {
    let update = |info| {
        let mut env = Env::registered(framework("f"), true);
        env.core.update_framework(
            info,
            vec!["r".to_owned()],
            OfferConstraints::default(),
            &mut env.log,
        );
        (std::mem::take(&mut env.log.lines), env.log.calls.pop())
    };
    let (lines, sent) = update(framework("f").role("r").id("F").build());
    assert_eq!(lines, [format!("UPDATE_FRAMEWORK of 'F' to {MASTER}")]);
    assert_eq!(
        sent.unwrap().update_framework.unwrap().suppressed_roles,
        ["r"]
    );
    let (lines, _) = update(framework("f").id("G").build());
    let expected = "error: updateFramework must not change the framework's id 'F' to 'G'";
    assert_eq!(lines[2], expected);
}
