//! What C++ Mesos 1.11 sent, read and written again: each byte as it was.
//!
//! `fixtures/wire.jsonl.gz` has every distinct message that master, agent, schedulers, executors and replicas of the log
//! exchanged in 16 recorded scenarios, one a line: actor messages with request line and headers, then calls, answers and event
//! streams of the v1 APIs with the type of their protobuf.
#![allow(clippy::unwrap_used, reason = "a test")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use libprocess::Upid;
use libprocess::fuzzing::{encode_message, read_message};
use mesos::recordio;
use mesos_protos::descriptor::MessageDescriptor;
use mesos_protos::mesos::{internal, scheduler, v1};
use mesos_protos::{Described, check_initialized, decode};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io::Read as _;

/// One line of the fixture.
#[derive(Deserialize)]
#[serde(untagged)]
enum Captured {
    /// A request from actor to actor.
    Message {
        start: String,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// A protobuf of this type.
    Call { r#type: String, body: String },
    /// Records, each a protobuf of this type.
    Stream { stream: String, body: String },
}

fn captures() -> Vec<Captured> {
    let compressed = include_bytes!("fixtures/wire.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&compressed[..])
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The request as it was on the wire: upstream sends the body in one chunk.
fn raw_request(start: &str, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let mut raw = format!("{start}\r\n{headers}\r\n").into_bytes();
    if !body.is_empty() {
        raw.extend(format!("{:x}\r\n", body.len()).bytes());
        raw.extend(body);
        raw.extend(b"\r\n0\r\n\r\n");
    }
    raw
}

/// Reads a request, and the protobuf in it, and writes both again. Returns the name of the message.
fn check_message(start: &str, headers: &[(String, String)], body: &[u8]) -> String {
    let raw = raw_request(start, headers, body);
    let (from, to, name, body) = read_message(&raw).unwrap();
    let body = round_trip(&name, &body);
    let to = Upid::new(to, ([127, 0, 0, 1], 5050));
    let mut again = BytesMut::new();
    encode_message(&mut again, &from, &to, &name, &body);
    assert_eq!(
        again.escape_ascii().to_string(),
        raw.escape_ascii().to_string()
    );
    name
}

/// Types in which upstream sends its internal type of agents, with one field, `checkpoint`, that the public type has not.
const WITH_INTERNAL_AGENT: [&str; 2] = ["mesos.v1.executor.Event", "mesos.v1.master.Response"];

/// The bytes of that field.
const CHECKPOINT_BYTES: usize = 2;

/// Reads and writes one protobuf of a v1 API.
fn check_api(name: &str, body: &[u8]) {
    let again = round_trip(name, body);
    if WITH_INTERNAL_AGENT.contains(&name) && again.len() + CHECKPOINT_BYTES == body.len() {
        assert_eq!(round_trip(name, &again), again, "{name}");
    } else {
        assert_eq!(again, body, "{name}");
    }
}

#[test]
fn what_was_sent_reads_and_writes_to_the_same_bytes() {
    let mut names = BTreeSet::new();
    let (mut messages, mut calls, mut records) = (0, 0, 0);
    for captured in captures() {
        match captured {
            Captured::Message {
                start,
                headers,
                body,
            } => {
                let body = STANDARD.decode(body).unwrap();
                names.insert(check_message(&start, &headers, &body));
                messages += 1;
            }
            Captured::Call { r#type, body } => {
                let body = STANDARD.decode(body).unwrap();
                check_api(&r#type, &body);
                names.insert(r#type);
                calls += 1;
            }
            Captured::Stream { stream, body } => {
                let body = STANDARD.decode(body).unwrap();
                let mut again = Vec::new();
                for record in recordio::Decoder::new().feed(&body).unwrap() {
                    check_api(&stream, &record);
                    again.extend(recordio::encode(&record));
                    records += 1;
                }
                assert_eq!(again, body, "{stream}");
                names.insert(stream);
            }
        }
    }
    assert_eq!(
        (messages, calls, records, names.len()),
        (1057, 172, 165, 52)
    );
}

/// Decodes and encodes a message of the type with this name.
fn round_trip(name: &str, bytes: &[u8]) -> Vec<u8> {
    check_initialized(MessageDescriptor::find(name).unwrap(), bytes).unwrap();
    fn through<M: Described>(bytes: &[u8]) -> Vec<u8> {
        decode::<M>(bytes).unwrap().encode_to_vec()
    }
    macro_rules! dispatch {
        ($($module:ident: $($Message:ident)*;)*) => {
            match name {
                $($(name if name == <$module::$Message as prost::Name>::full_name() => through::<$module::$Message>(bytes),)*)*
                name => panic!("{name} is not in the list of this test"),
            }
        };
    }
    use mesos_protos::mesos::internal::log;
    use v1::{agent, executor as executor_v1, master, scheduler as scheduler_v1};
    dispatch! {
        scheduler: Call;
        scheduler_v1: Call Event;
        executor_v1: Call Event;
        agent: Call Response;
        master: Call Response;
        log: LearnedMessage PromiseRequest PromiseResponse RecoverRequest RecoverResponse WriteRequest
            WriteResponse;
        internal: AcknowledgeOperationStatusMessage ApplyOperationMessage AuthenticateMessage
            AuthenticationCompletedMessage AuthenticationMechanismsMessage AuthenticationStartMessage
            AuthenticationStepMessage DrainSlaveMessage ExecutorRegisteredMessage
            ExecutorReregisteredMessage ExecutorToFrameworkMessage ExitedExecutorMessage
            FrameworkErrorMessage FrameworkRegisteredMessage FrameworkToExecutorMessage KillTaskMessage
            PingSlaveMessage PongSlaveMessage ReconnectExecutorMessage RegisterExecutorMessage
            RegisterSlaveMessage ReregisterExecutorMessage ReregisterSlaveMessage ResourceOffersMessage
            RunTaskGroupMessage RunTaskMessage ShutdownExecutorMessage ShutdownFrameworkMessage
            SlaveRegisteredMessage SlaveReregisteredMessage StatusUpdateAcknowledgementMessage
            StatusUpdateMessage UnregisterSlaveMessage UpdateFrameworkMessage UpdateOperationStatusMessage
            UpdateSlaveMessage;
    }
}
