//! What goes over the wire, compared with the original; and what comes from the environment.

use super::*;

#[test]
fn the_address_of_an_agent_is_read_from_the_url_of_an_offer() {
    fn check(path: Option<&str>, port: i32, expected: Option<&str>) {
        let url = proto::Url {
            address: proto::Address {
                ip: Some("10.0.0.9".to_owned()),
                port,
                ..proto::Address::default()
            },
            path: path.map(str::to_owned),
            ..proto::Url::default()
        };
        let offer = Offer {
            url: Some(url),
            ..Offer::default()
        };
        let pid = calls::agent_pid_of_offer(&offer).map(|pid| pid.to_string());
        assert_eq!(pid.as_deref(), expected);
    }
    check(Some("/slave(1)"), 5051, Some(AGENT));
    check(Some("/"), 5051, None);
    check(None, 5051, None);
    check(Some("/slave(1)"), 70_000, None);
}

#[test]
fn calls_without_arguments_have_no_body() {
    let check = |call: Call, expected: call::Type| {
        let bare = calls::of_type(expected);
        assert_eq!(call, bare);
    };
    check(calls::revive(vec![]), call::Type::Revive);
    check(calls::suppress(vec![]), call::Type::Suppress);
    assert_eq!(calls::launch(vec![]).launch, None);
}

#[test]
fn options_come_from_the_environment() {
    fn check(value: Option<&str>, expected: Result<Duration, &str>) {
        let options = SchedulerOptions::from_vars(|name| {
            assert_eq!(name, "MESOS_REGISTRATION_BACKOFF_FACTOR");
            value.map(str::to_owned)
        });
        let factor = options.map(|options| options.registration_backoff_factor);
        assert_eq!(
            factor.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned)
        );
    }
    check(None, Ok(Duration::from_secs(2)));
    check(Some("10ms"), Ok(Duration::from_millis(10)));
    check(
        Some("soon"),
        Err(
            "Bad value 'soon' of environment variable 'MESOS_REGISTRATION_BACKOFF_FACTOR': \
             expected a duration such as '500ms', '2secs' or '15mins'",
        ),
    );
}

/// The bytes of a call that `act` makes the core send, for a framework that is registered as in
/// `captured`.
fn sent(captured: &Call, act: impl FnOnce(&mut SchedulerCore, &mut Log)) -> Vec<u8> {
    let info = framework("f").build();
    let mut env = Env::with_info(info, true);
    env.detect(Some(MASTER));
    env.core.on_registered(
        &upid(MASTER),
        captured.framework_id.clone().unwrap_or_default(),
        MasterInfo::default(),
        &mut env.log,
    );
    env.log.calls.clear();
    act(&mut env.core, &mut env.log);
    env.log.lines.clear();
    env.log.calls[0].encode_to_vec()
}

/// What our driver sends in place of a captured call of a C++ driver.
fn repeat(captured: &Call) -> Vec<u8> {
    let call = captured.clone();
    match captured.r#type() {
        call::Type::Subscribe => {
            let subscribe = call.subscribe.unwrap();
            let mut env = Env::with_info(subscribe.framework_info, true);
            env.detect(Some(MASTER));
            if subscribe.force == Some(false) {
                env.register(MASTER);
                env.detect(Some(OTHER_MASTER));
            }
            env.log.lines.clear();
            let mut call = env.log.calls.pop().unwrap();
            // `register` gives a fixed id.
            call.framework_id.clone_from(&captured.framework_id);
            if let Some(subscribe) = &mut call.subscribe {
                subscribe
                    .framework_info
                    .id
                    .clone_from(&captured.framework_id);
            }
            call.encode_to_vec()
        }
        call::Type::Accept => {
            let it = call.accept.unwrap();
            let filters = it.filters.unwrap();
            sent(captured, |core, fx| {
                core.accept_offers(it.offer_ids, it.operations, filters, fx)
            })
        }
        call::Type::Decline => {
            let it = call.decline.unwrap();
            let (id, filters) = (it.offer_ids[0].clone(), it.filters.unwrap());
            sent(captured, |core, fx| core.decline_offer(id, filters, fx))
        }
        call::Type::Acknowledge => {
            let it = call.acknowledge.unwrap();
            let ack = Acknowledgement {
                agent_id: it.slave_id,
                task_id: it.task_id,
                uuid: it.uuid,
            };
            sent(captured, |core, fx| core.on_update_handled(ack, fx))
        }
        call::Type::Reconcile => {
            let status = |task: call::reconcile::Task| TaskStatus {
                task_id: task.task_id,
                slave_id: task.slave_id,
                ..TaskStatus::default()
            };
            let statuses = call
                .reconcile
                .unwrap()
                .tasks
                .into_iter()
                .map(status)
                .collect();
            sent(captured, |core, fx| {
                core.simple_call(calls::reconcile(statuses), fx)
            })
        }
        call::Type::Revive => sent(captured, |core, fx| core.revive_offers(None, fx)),
        call::Type::Suppress => sent(captured, |core, fx| core.suppress_offers(None, fx)),
        call::Type::Kill => {
            let id = call.kill.unwrap().task_id;
            sent(captured, |core, fx| core.simple_call(calls::kill(id), fx))
        }
        call::Type::Request => {
            let requests = call.request.unwrap().requests;
            sent(captured, |core, fx| {
                core.simple_call(calls::request(requests), fx)
            })
        }
        call::Type::Teardown => sent(captured, |core, fx| core.stop(false, fx)),
        other => panic!("no way to repeat {other:?}"),
    }
}

#[test]
fn calls_are_the_same_bytes_as_those_of_the_original_driver() {
    let captures = include_str!("../../../tests/fixtures/v0_calls.txt");
    let mut checked = 0;
    for line in captures.lines().filter(|line| !line.starts_with('#')) {
        let (name, hex) = line.rsplit_once(' ').unwrap();
        let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digits).collect();
        let captured = Call::decode(&*bytes).unwrap();
        assert_eq!(repeat(&captured), bytes, "{name}");
        checked += 1;
    }
    assert!(checked > 15);
}
