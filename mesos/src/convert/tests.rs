use std::collections::BTreeSet;

use mesos_protos::descriptor::{EnumDescriptor, Kind, MESSAGES, MessageDescriptor};

use super::*;
use crate::proto::{internal, v1};

/// The internal name of a public type or field.
fn internal_name(name: &str) -> String {
    name.replace("mesos.v1.", "mesos.")
        .replace("AgentID", "SlaveID")
        .replace("AgentInfo", "SlaveInfo")
}

fn type_name(kind: Kind) -> String {
    match kind {
        Kind::Message(message) => internal_name(message.name),
        Kind::Enum(item) => internal_name(item.name),
        scalar => format!("{scalar:?}"),
    }
}

/// Full names of the public messages that are not the same bytes as the internal ones, with the field.
fn different_messages() -> BTreeSet<String> {
    let mut different = BTreeSet::new();
    for public in MESSAGES.iter().filter(|m| m.name.starts_with("mesos.v1.")) {
        let name = internal_name(public.name);
        let other_name = public.name.replace("mesos.v1.", "mesos.");
        let internal = MessageDescriptor::find(&name).or(MessageDescriptor::find(&other_name));
        let Some(internal) = internal else {
            different.insert(public.name.to_owned());
            continue;
        };
        for field in public.fields {
            let same = internal.fields.iter().any(|other| {
                other.number == field.number
                    && other.label == field.label
                    && type_name(other.kind) == type_name(field.kind)
            });
            if !same {
                different.insert(format!("{}.{}", public.name, field.name));
            }
        }
    }
    different
}

#[test]
fn all_messages_but_those_with_a_function_are_the_same_bytes() {
    let different = different_messages();
    let different: Vec<&str> = different.iter().map(String::as_str).collect();
    assert_eq!(
        different,
        [
            "mesos.v1.master.Call.DrainAgent.max_grace_period",
            "mesos.v1.scheduler.APIResult",
            "mesos.v1.scheduler.Call.Subscribe.offer_constraints",
            "mesos.v1.scheduler.Call.Subscribe.suppressed_roles",
        ]
    );
}

#[test]
fn all_enums_have_the_same_numbers() {
    for public in mesos_protos::descriptor::ENUMS.iter() {
        if let Some(name) = public.name.strip_prefix("mesos.v1.") {
            let name = format!("mesos.{name}");
            let internal = EnumDescriptor::find(&name)
                .or(EnumDescriptor::find(&internal_name(&name)))
                .unwrap();
            for number in 0..200 {
                let spelled = public
                    .name(number)
                    .map(|name| name.replace("AGENT", "SLAVE"));
                let other = internal
                    .name(number)
                    .map(|name| name.replace("AGENT", "SLAVE"));
                assert_eq!(spelled, other, "{name} {number}");
            }
        }
    }
}

#[test]
fn subscribe_converts_both_ways() {
    let call = v1::scheduler::Call {
        r#type: Some(v1::scheduler::call::Type::Subscribe.into()),
        framework_id: Some(v1::FrameworkId { value: "f".into() }),
        subscribe: Some(v1::scheduler::call::Subscribe {
            framework_info: v1::FrameworkInfo {
                name: "n".into(),
                ..Default::default()
            },
            suppressed_roles: vec!["r".into()],
            offer_constraints: Some(Default::default()),
        }),
        ..Default::default()
    };
    let internal = scheduler_call_to_v0(&call).unwrap();
    let subscribe = internal.subscribe.as_ref().unwrap();
    assert_eq!(subscribe.suppressed_roles, ["r"]);
    assert_eq!(subscribe.framework_info.name, "n");
    assert_eq!(scheduler_call_to_v1(&internal).unwrap(), call);
}

#[test]
fn grace_period_becomes_nanoseconds() {
    let call: v1::master::Call = crate::json::from_str(
        r#"{"type": "DRAIN_AGENT", "drain_agent": {
            "agent_id": {"value": "S"}, "max_grace_period": {"seconds": 600, "nanos": 5}}}"#,
    )
    .unwrap();
    let drain = master_call_to_v0(&call).unwrap().drain_agent.unwrap();
    assert_eq!(drain.slave_id.value, "S");
    assert_eq!(drain.max_grace_period.unwrap().nanoseconds, 600_000_000_005);
}

#[test]
fn types_that_do_not_belong_together_are_refused() {
    let id = proto::FrameworkId { value: "f".into() };
    let error =
        v0_to_v1::<_, v1::FrameworkInfo>(&proto::DurationInfo { nanoseconds: 1 }).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Failed to convert mesos.DurationInfo to mesos.v1.FrameworkInfo: ")
    );
    assert_eq!(v0_to_v1::<_, v1::FrameworkId>(&id).unwrap().value, "f");
}

#[test]
fn status_updates_take_the_word_of_the_envelope() {
    #[track_caller]
    fn check(pid: Option<&str>, uuid: Option<&'static [u8]>, expected: Option<&'static [u8]>) {
        let message = internal::StatusUpdateMessage {
            update: internal::StatusUpdate {
                slave_id: Some(proto::SlaveId { value: "S".into() }),
                status: proto::TaskStatus {
                    uuid: Some("inner".into()),
                    timestamp: Some(1.0),
                    ..Default::default()
                },
                timestamp: 2.0,
                uuid: uuid.map(Into::into),
                ..Default::default()
            },
            pid: pid.map(Into::into),
        };
        let event = message.to_event().unwrap();
        let status = event.update.unwrap().status;
        assert_eq!(status.agent_id.unwrap().value, "S");
        assert_eq!(status.timestamp, Some(2.0));
        assert_eq!(status.uuid.as_deref(), expected);
    }
    let uuid: Option<&[u8]> = Some(b"0123456789abcdef");
    check(Some("slave(1)@10.0.0.1:5051"), uuid, uuid);
    check(Some("slave(1)@10.0.0.1:5051"), None, None);
    check(Some("slave(1)@10.0.0.1:5051"), Some(b""), None);
    check(Some("@0.0.0.0:0"), uuid, None);
    check(None, uuid, None);
}

#[test]
fn failures() {
    let exited = internal::ExitedExecutorMessage {
        slave_id: proto::SlaveId { value: "S".into() },
        executor_id: proto::ExecutorId { value: "e".into() },
        status: 9,
        ..Default::default()
    };
    let json = crate::json::to_string(&exited.to_event().unwrap());
    assert_eq!(
        json,
        r#"{"type":"FAILURE","failure":{"agent_id":{"value":"S"},"executor_id":{"value":"e"},"status":9}}"#
    );
}
