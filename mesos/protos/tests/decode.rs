//! What proto2 demands and forgives, case by case.
#![allow(clippy::unwrap_used, reason = "a test")]

use mesos_protos::descriptor::MESSAGES;
use mesos_protos::mesos::framework_info::{Capability, capability};
use mesos_protos::mesos::{
    CapabilityInfo, FrameworkId, FrameworkInfo, TaskInfo, TaskState, TaskStatus, internal,
};
use mesos_protos::{DecodeError, Described, check_initialized, decode};
use proptest::prelude::*;
use prost::Message;

#[track_caller]
fn check<M: Described + PartialEq + std::fmt::Debug>(bytes: &[u8], expected: M) {
    assert_eq!(decode::<M>(bytes).unwrap(), expected);
    check_initialized(M::DESCRIPTOR, bytes).unwrap();
}

#[track_caller]
fn check_error<M: Described>(bytes: &[u8], expected: &str) {
    let error = decode::<M>(bytes).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

fn id(value: &str) -> FrameworkId {
    FrameworkId {
        value: value.into(),
    }
}

/// A field with a length: tag, length, content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

#[test]
fn required_fields() {
    check_error::<FrameworkId>(
        b"",
        "Failed to parse mesos.FrameworkID: missing required fields: value",
    );
    check_error::<FrameworkInfo>(
        &FrameworkInfo::default().encode_to_vec()[..2],
        "Failed to parse mesos.FrameworkInfo: missing required fields: name",
    );
    check(&field(1, b""), id(""));
    // The task group's second task lacks its agent id's value.
    let task = TaskInfo::default().encode_to_vec();
    let broken = [field(1, b"n"), field(2, &field(1, b"t")), field(3, b"")].concat();
    let group = [field(1, &task), field(1, &broken)].concat();
    let message = [
        field(1, &FrameworkInfo::default().encode_to_vec()),
        field(2, &field(1, &field(1, b"e"))),
        field(3, &group),
    ]
    .concat();
    let error = decode::<internal::RunTaskGroupMessage>(&message).unwrap_err();
    let DecodeError::Missing { fields, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(fields, &["task_group.tasks[1].slave_id.value"]);
}

#[test]
fn unknown_enum_numbers_leave_fields_unset() {
    check::<Capability>(&[8, 99], Capability { r#type: None });
    check::<Capability>(
        &[8, 1],
        Capability {
            r#type: Some(capability::Type::RevocableResources.into()),
        },
    );
    check::<Capability>(&[8, 1, 8, 99], Capability { r#type: Some(1) });
    // Nested, with lengths to correct.
    let capabilities = [Some(99), Some(1)].map(|number| Capability { r#type: number });
    let framework = FrameworkInfo {
        capabilities: capabilities.into(),
        ..Default::default()
    };
    let message = internal::RegisterFrameworkMessage { framework };
    let read: internal::RegisterFrameworkMessage = decode(&message.encode_to_vec()).unwrap();
    let kinds: Vec<Option<i32>> = read
        .framework
        .capabilities
        .iter()
        .map(|c| c.r#type)
        .collect();
    assert_eq!(kinds, [None, Some(1)]);
    // A required one is missing then.
    let status = TaskStatus {
        state: 99,
        ..Default::default()
    };
    check_error::<TaskStatus>(
        &status.encode_to_vec(),
        "Failed to parse mesos.TaskStatus: missing required fields: state",
    );
    // In a list, packed and not.
    let chown = mesos_protos::mesos::capability_info::Capability::Chown.into();
    let expected = CapabilityInfo {
        capabilities: vec![chown],
    };
    let number = expected.encode_to_vec();
    check::<CapabilityInfo>(&[&number[..], &[8, 99]].concat(), expected.clone());
    let packed = field(1, &[&number[1..], &[99][..]].concat());
    check::<CapabilityInfo>(&packed, expected);
}

#[test]
fn negative_enum_numbers_are_unknown() {
    let negative = [&[8][..], &[0xff; 9], &[1]].concat();
    check::<Capability>(&negative, Capability { r#type: None });
}

#[test]
fn pieces_of_a_message_are_one_message() {
    let state: i32 = TaskState::TaskLost.into();
    let status = [
        field(1, &field(1, b"a")),
        vec![16, state as u8],
        field(1, &field(1, b"b")),
    ]
    .concat();
    let read: TaskStatus = decode(&status).unwrap();
    assert_eq!(read.task_id.value, "b");
    // Each half alone lacks something.
    let framework = [field(1, &field(1, b"user")), field(1, &field(2, b"name"))].concat();
    let read: internal::RegisterFrameworkMessage = decode(&framework).unwrap();
    assert_eq!(
        (read.framework.user.as_str(), read.framework.name.as_str()),
        ("user", "name")
    );
}

#[test]
fn other_wire_types_and_unknown_fields_are_passed_over() {
    let unknown = [
        &[0x90, 3, 1][..],
        &field(15, b"x"),
        &[0x7d, 0, 0, 0, 0],
        &[0x7b, 8, 1, 0x7c],
    ]
    .concat();
    check(&[unknown, field(1, b"f")].concat(), id("f"));
    check(&[vec![8, 5], field(1, b"f"), vec![8, 6]].concat(), id("f"));
    check_error::<FrameworkId>(
        &[8, 5],
        "Failed to parse mesos.FrameworkID: missing required fields: value",
    );
}

#[test]
fn strings_that_are_not_utf8_are_accepted() {
    check(&field(1, b"caf\xe9"), id("caf\u{fffd}"));
}

#[test]
fn malformed_bytes() {
    let malformed = "Failed to parse mesos.FrameworkID: malformed or nested too deeply";
    for bytes in [
        &b"\x0a"[..],
        b"\x0a\x05a",
        b"\x0a\xff",
        b"\x00\x00",
        b"\x7b",
        b"\x7c",
        b"\x7f",
        &[0xff; 11],
    ] {
        check_error::<FrameworkId>(bytes, malformed);
    }
    let mut nested = field(1, b"c");
    for _ in 0..60 {
        let mut outer = field(1, b"c");
        outer.push(2 << 3 | 2);
        prost::encoding::encode_varint(nested.len() as u64, &mut outer);
        outer.extend(nested);
        nested = outer;
    }
    assert!(decode::<mesos_protos::mesos::ContainerId>(&nested).is_ok());
    for _ in 0..60 {
        let mut outer = field(1, b"c");
        outer.push(2 << 3 | 2);
        prost::encoding::encode_varint(nested.len() as u64, &mut outer);
        outer.extend(nested);
        nested = outer;
    }
    assert!(decode::<mesos_protos::mesos::ContainerId>(&nested).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_message(bytes: Vec<u8>) {
        let _ = decode::<TaskInfo>(&bytes);
        for message in MESSAGES.iter().step_by(50) {
            let _ = check_initialized(message, &bytes);
        }
    }

    #[test]
    fn damaged_messages_are_an_error_or_a_message(at in 0usize..200, with: u8) {
        let mut framework = FrameworkInfo { name: "n".into(), user: "u".into(), ..Default::default() };
        framework.roles = vec!["a".into(), "b".into()];
        framework.capabilities = vec![Capability { r#type: Some(3) }];
        let mut bytes = internal::ReregisterFrameworkMessage { framework, failover: true }.encode_to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = with;
        }
        if let Ok(message) = decode::<internal::ReregisterFrameworkMessage>(&bytes) {
            prop_assert!(decode::<internal::ReregisterFrameworkMessage>(&message.encode_to_vec()).is_ok());
        }
    }
}
