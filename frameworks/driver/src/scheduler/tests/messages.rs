//! Registration, and what comes from the master.

use super::*;

#[test]
fn registers_at_once_with_the_detected_master() {
    let mut env = Env::new(framework("f"));
    env.detect(None);
    env.expect(&[]);
    env.detect(Some(MASTER));
    env.expect(&[
        &format!("link {MASTER}"),
        &format!("SUBSCRIBE of '' to {MASTER}"),
        "retry 2 in 0ns",
    ]);
    let subscribe = env.log.calls[0].subscribe.clone().unwrap();
    assert_eq!(subscribe.force, None);
    assert_eq!(
        subscribe.offer_constraints,
        Some(OfferConstraints::default())
    );
    env.register(MASTER);
    env.expect(&["registered 'F'"]);
}

#[test]
fn backs_off_between_attempts() {
    fn check(framework: FrameworkBuilder, expected: &[&str]) {
        let mut env = Env::new(framework);
        env.log.random = 1.0;
        env.detect(Some(MASTER));
        for _ in 1..expected.len() {
            env.core.on_registration_retry(1, &mut env.log);
        }
        let retries = env
            .log
            .lines
            .iter()
            .filter_map(|line| line.strip_prefix("retry 1 in "));
        assert_eq!(retries.collect::<Vec<_>>(), expected);
        env.log.lines.clear();
    }
    check(
        framework("f"),
        &["2s", "4s", "8s", "16s", "32s", "60s", "60s"],
    );
    let short = framework("f").failover_timeout(Duration::from_secs(50));
    check(short, &["2s", "4s", "5s", "5s"]);
    let long = framework("f").failover_timeout(Duration::from_secs(6000));
    check(long, &["2s", "4s", "8s", "16s", "32s", "60s"]);
}

#[test]
fn timers_of_an_earlier_master_are_ignored() {
    let mut env = Env::new(framework("f"));
    env.detect(Some(MASTER));
    env.detect(Some(OTHER_MASTER));
    env.log.lines.clear();
    env.core.on_registration_retry(1, &mut env.log);
    env.expect(&[]);
    env.register(OTHER_MASTER);
    env.log.lines.clear();
    env.core.on_registration_retry(2, &mut env.log);
}

#[test]
fn only_the_leader_is_listened_to() {
    let mut env = Env::new(framework("f"));
    env.detect(Some(MASTER));
    env.log.lines.clear();
    env.register(OTHER_MASTER);
    env.offer("o");
    env.register(MASTER);
    env.expect(&["registered 'F'"]);
    // Repeated, because the first answer crossed our second attempt.
    env.register(MASTER);
    let (other, fx) = (upid(OTHER_MASTER), &mut env.log);
    env.core.on_offers(&other, vec![offer("o")], &[], fx);
    env.core.on_rescind(&other, id("o"), fx);
    env.core.on_status_update(&other, update(None), fx);
    env.core.on_agent_lost(&other, agent_id(), fx);
    env.core
        .on_executor_exited(&other, agent_id(), proto::ExecutorId::default(), 1, fx);
    env.expect(&[]);
}

#[test]
fn a_new_leader_is_registered_with_under_the_old_id() {
    let mut env = Env::registered(framework("f"), true);
    env.detect(None);
    env.expect(&["disconnected"]);
    env.detect(Some(OTHER_MASTER));
    let subscribe = format!("SUBSCRIBE of 'F' to {OTHER_MASTER}");
    env.expect(&[
        &format!("link {OTHER_MASTER}"),
        &subscribe,
        "retry 3 in 0ns",
    ]);
    assert_eq!(
        env.log.calls[0].subscribe.clone().unwrap().force,
        Some(false)
    );
    env.reregister(OTHER_MASTER);
    env.expect(&["reregistered"]);
}

#[test]
fn a_given_id_takes_over_from_another_instance_once() {
    let mut env = Env::new(framework("f").id("F"));
    env.detect(Some(MASTER));
    assert_eq!(
        env.log.calls[0].subscribe.clone().unwrap().force,
        Some(true)
    );
    env.register(MASTER);
    env.detect(Some(OTHER_MASTER));
    assert_eq!(
        env.log.calls[1].subscribe.clone().unwrap().force,
        Some(false)
    );
    env.log.lines.clear();
}

#[test]
fn a_broken_connection_to_the_leader_is_registered_over_again() {
    let mut env = Env::registered(framework("f"), true);
    env.log.random = 1.0;
    env.core.on_exited(&upid(OTHER_MASTER), &mut env.log);
    env.expect(&[]);
    env.core.on_exited(&upid(MASTER), &mut env.log);
    env.expect(&["disconnected", "retry 2 in 2s"]);
    // Attempts against a dead master break their connection too; only the timer goes on.
    env.core.on_exited(&upid(MASTER), &mut env.log);
    env.expect(&[]);
    env.core.on_registration_retry(2, &mut env.log);
    let subscribe = format!("SUBSCRIBE of 'F' to {MASTER}");
    env.expect(&[&format!("link {MASTER}"), &subscribe, "retry 2 in 4s"]);
    env.reregister(MASTER);
    env.expect(&["reregistered"]);
}

#[test]
fn a_master_without_pid_is_found_by_its_ip() {
    let mut env = Env::new(framework("f"));
    let info = MasterInfo {
        ip: 16_777_343,
        port: 5050,
        ..MasterInfo::default()
    };
    env.core.on_master_detected(Some(info), &mut env.log);
    assert_eq!(env.log.lines[0], "link master@127.0.0.1:5050");
    env.log.lines.clear();
}

#[test]
fn implicit_acknowledgements_follow_the_callback() {
    let mut env = Env::registered(framework("f"), true);
    env.core
        .on_status_update(&upid(MASTER), update(Some(b"u")), &mut env.log);
    env.expect(&["t TASK_RUNNING"]);
    let Some(SchedulerEvent::StatusUpdate {
        status,
        acknowledgement: Some(ack),
    }) = env.log.events.pop()
    else {
        panic!("not to be acknowledged");
    };
    assert_eq!(status.uuid, Some(Bytes::from_static(b"u")));
    assert_eq!(status.timestamp, Some(7.0));
    assert_eq!(status.slave_id, Some(agent_id()));
    env.core.on_update_handled(ack, &mut env.log);
    env.expect(&[&format!("ACKNOWLEDGE of 'F' to {MASTER}")]);
    let acknowledge = env.log.calls[0].acknowledge.clone().unwrap();
    assert_eq!(acknowledge.uuid, Bytes::from_static(b"u"));
    assert_eq!(acknowledge.slave_id, agent_id());
}

#[test]
fn acknowledges_only_what_somebody_waits_for() {
    fn check(implicit: bool, uuid: Option<&'static [u8]>, acknowledged: bool) {
        let mut env = Env::registered(framework("f"), implicit);
        env.core
            .on_status_update(&upid(MASTER), update(uuid), &mut env.log);
        env.expect(&["t TASK_RUNNING"]);
        let Some(SchedulerEvent::StatusUpdate {
            status,
            acknowledgement,
        }) = env.log.events.pop()
        else {
            panic!("no update");
        };
        assert_eq!(acknowledgement.is_some(), implicit && acknowledged);
        if !implicit {
            env.core.acknowledge_status_update(&status, &mut env.log);
            assert_eq!(env.log.lines.len(), usize::from(acknowledged));
            env.log.lines.clear();
        }
    }
    check(true, Some(b"u"), true);
    check(true, Some(b""), false);
    check(true, None, false);
    check(false, Some(b"u"), true);
    check(false, Some(b""), false);
    check(false, None, false);
}

#[test]
fn errors_abort_first() {
    let mut env = Env::registered(framework("f"), true);
    env.core
        .on_error("Framework failed over".to_owned(), &mut env.log);
    let deactivate = format!("deactivate 'F' to {MASTER}");
    env.expect(&[&deactivate, "abort", "error: Framework failed over"]);
    let mut env = Env::new(framework("f"));
    env.core.on_detection_failed("no such path", &mut env.log);
    env.expect(&["abort", "error: Failed to detect a master: no such path"]);
}

#[test]
fn events_of_the_scheduler_api_are_the_same_callbacks() {
    fn check(message: Event, expected: &[&str]) {
        let mut env = Env::registered(framework("f"), true);
        env.core.on_event(&upid(MASTER), message, &mut env.log);
        env.expect(expected);
    }
    let of_type = |kind: event::Type| Event {
        r#type: Some(kind.into()),
        ..Event::default()
    };
    let failure = |executor_id| Event {
        failure: Some(event::Failure {
            slave_id: Some(agent_id()),
            executor_id,
            status: Some(9),
        }),
        ..of_type(event::Type::Failure)
    };
    check(failure(None), &["agent S0 lost"]);
    check(
        failure(Some(proto::ExecutorId::default())),
        &["executor lost: 9"],
    );
    let offers = event::Offers {
        offers: vec![offer("a"), offer("b")],
    };
    check(
        Event {
            offers: Some(offers),
            ..of_type(event::Type::Offers)
        },
        &["2 offers"],
    );
    let update = event::Update {
        status: update(None).status,
    };
    check(
        Event {
            update: Some(update),
            ..of_type(event::Type::Update)
        },
        &["t TASK_RUNNING"],
    );
    check(of_type(event::Type::Offers), &[]);
    check(of_type(event::Type::Heartbeat), &[]);
    check(of_type(event::Type::InverseOffers), &[]);
    check(Event::default(), &[]);
}

#[test]
fn a_subscribed_event_is_a_first_or_a_repeated_registration() {
    fn check(framework: FrameworkBuilder, first: &str) {
        let mut env = Env::new(framework);
        let subscribed = || Event {
            r#type: Some(event::Type::Subscribed.into()),
            subscribed: Some(event::Subscribed {
                framework_id: framework_id(),
                ..event::Subscribed::default()
            }),
            ..Event::default()
        };
        env.detect(Some(MASTER));
        env.log.lines.clear();
        env.core.on_event(&upid(MASTER), subscribed(), &mut env.log);
        env.expect(&[first]);
        env.detect(Some(OTHER_MASTER));
        env.log.lines.clear();
        env.core
            .on_event(&upid(OTHER_MASTER), subscribed(), &mut env.log);
        env.expect(&["reregistered"]);
    }
    check(framework("f"), "registered 'F'");
    check(framework("f").id("F"), "registered 'F'");
}
