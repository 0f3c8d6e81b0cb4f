//! What C++ Mesos 1.11 sent, read and written again: each byte as it was.
//!
//! `fixtures/wire.jsonl.gz` has every distinct message that master, agent, schedulers, executors and replicas of the log
//! exchanged in 16 recorded scenarios, one a line: actor messages with request line and headers, then calls, answers and event
//! streams of the v1 APIs with the type of their protobuf, and at last calls and events that were JSON, each with its type.
#![allow(clippy::unwrap_used, reason = "a test")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use libprocess::Upid;
use libprocess::fuzzing::{encode_message, read_message};
use mesos::json::{self, ProtoJson};
use mesos::recordio;
use mesos_protos::descriptor::{FieldDescriptor, Kind, MessageDescriptor};
use mesos_protos::mesos::{internal, scheduler, v1};
use mesos_protos::{Described, check_initialized, decode};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use serde::Deserialize;
use serde_json::{Value, json};
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
    /// A protobuf of this type as JSON.
    Json { json: String, body: String },
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

/// Where upstream sends its internal type of agents, which has one field, `checkpoint`, that the public type has not: type and
/// bytes of that field.
const CHECKPOINT: (&str, &[u8]) = ("mesos.v1.AgentInfo", &[7 << 3, 1]);

/// The one type whose repeated fields upstream writes in turns, as it walks through frameworks, and not one field after the other.
const IN_TURNS: &str = "mesos.v1.master.Response";

/// Reads and writes one protobuf of a v1 API. Returns how often it had the field that the public type of agents has not.
fn check_api(name: &str, body: &[u8]) -> usize {
    let again = round_trip(name, body);
    let mut unknown = Vec::new();
    if again != body {
        let descriptor = MessageDescriptor::find(name).unwrap();
        let known = known_fields(descriptor, body, name == IN_TURNS, &mut unknown);
        assert_eq!(again, known, "{name}");
        for (message, field) in &unknown {
            assert_eq!((*message, &**field), CHECKPOINT, "{name}");
        }
    }
    unknown.len()
}

/// The message without the fields that its type does not know, in order of their numbers if that is wanted. Unknown ones are added
/// to `unknown`, each with the type.
fn known_fields(
    message: &'static MessageDescriptor,
    mut bytes: &[u8],
    sorted: bool,
    unknown: &mut Vec<(&'static str, Vec<u8>)>,
) -> Vec<u8> {
    let mut known = Vec::new();
    while !bytes.is_empty() {
        let field = bytes;
        let (number, wire_type) = decode_key(&mut bytes).unwrap();
        let mut inside: &[u8] = &[];
        match wire_type {
            WireType::Varint => drop(decode_varint(&mut bytes).unwrap()),
            WireType::SixtyFourBit => bytes = &bytes[8..],
            WireType::ThirtyTwoBit => bytes = &bytes[4..],
            WireType::LengthDelimited => {
                let length = decode_varint(&mut bytes).unwrap();
                (inside, bytes) = bytes.split_at(length.try_into().unwrap());
            }
            wire_type => panic!("{wire_type:?} in {}", message.name),
        }
        let field = &field[..field.len() - bytes.len()];
        match message.fields.iter().find(|field| field.number == number) {
            None => unknown.push((message.name, field.to_vec())),
            Some(FieldDescriptor {
                kind: Kind::Message(message),
                ..
            }) => {
                let inside = known_fields(message, inside, sorted, unknown);
                let mut field = Vec::new();
                encode_key(number, wire_type, &mut field);
                encode_varint(inside.len() as u64, &mut field);
                field.extend(inside);
                known.push((number, field));
            }
            Some(_) => known.push((number, field.to_vec())),
        }
    }
    if sorted {
        known.sort_by_key(|(number, _)| *number);
    }
    known.into_iter().flat_map(|(_, field)| field).collect()
}

/// Reads and writes JSON of a v1 API, and the protobuf in between.
fn check_json(name: &str, text: &str) {
    let (bytes, again) = through_json(name, text);
    check_api(name, &bytes);
    assert_eq!(through_json(name, &again).1, again, "{name}");
    let (said, again) = (parse(text), parse(&again));
    assert!(has_all_of(&again, &said, name), "{said} became {again}");
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Keys that are no field: `checkpoint` as above, and one with which the recording client was wrong.
const NO_FIELDS: [(&str, &str); 2] = [
    ("agent_info", "checkpoint"),
    ("max_grace_period", "nanoseconds"),
];

/// Whether all that the text had is still there, but for empty lists. Defaults may have been added.
fn has_all_of(again: &Value, said: &Value, key: &str) -> bool {
    match (again, said) {
        (Value::Object(again), Value::Object(said)) => {
            said.iter().all(|(name, said)| match again.get(name) {
                Some(again) => has_all_of(again, said, name),
                None => said == &json!([]) || NO_FIELDS.contains(&(key, name)),
            })
        }
        (Value::Array(again), Value::Array(said)) => {
            let mut pairs = again.iter().zip(said);
            again.len() == said.len() && pairs.all(|(again, said)| has_all_of(again, said, key))
        }
        (Value::Number(again), Value::Number(said)) => {
            // Upstream prints other digits of the same double, and serde_json reads the two a little differently.
            let (again, said) = (again.as_f64().unwrap(), said.as_f64().unwrap());
            (again - said).abs() <= f64::EPSILON * said.abs()
        }
        (again, said) => again == said,
    }
}

#[test]
fn what_was_sent_reads_and_writes_to_the_same_bytes() {
    let mut names = BTreeSet::new();
    let (mut messages, mut calls, mut records, mut texts) = (0, 0, 0, 0);
    let mut checkpoints = 0;
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
                checkpoints += check_api(&r#type, &body);
                names.insert(r#type);
                calls += 1;
            }
            Captured::Stream { stream, body } => {
                let body = STANDARD.decode(body).unwrap();
                let mut again = Vec::new();
                for record in recordio::Decoder::new().feed(&body).unwrap() {
                    checkpoints += check_api(&stream, &record);
                    again.extend(recordio::encode(&record));
                    records += 1;
                }
                assert_eq!(again, body, "{stream}");
                names.insert(stream);
            }
            Captured::Json { json, body } => {
                check_json(&json, &body);
                names.insert(json);
                texts += 1;
            }
        }
    }
    assert_eq!(
        (messages, calls, records, texts, names.len()),
        (1057, 172, 165, 107, 53)
    );
    assert_eq!(checkpoints, 6);
}

/// A call or an event in JSON as a protobuf, and as JSON again.
fn through_json(name: &str, text: &str) -> (Vec<u8>, String) {
    fn through<M: Described + ProtoJson>(text: &str) -> (Vec<u8>, String) {
        let message: M = json::from_str(text).unwrap();
        (message.encode_to_vec(), json::to_string(&message))
    }
    match name {
        "mesos.v1.agent.Call" => through::<v1::agent::Call>(text),
        "mesos.v1.master.Call" => through::<v1::master::Call>(text),
        "mesos.v1.master.Event" => through::<v1::master::Event>(text),
        "mesos.v1.scheduler.Call" => through::<v1::scheduler::Call>(text),
        "mesos.v1.scheduler.Event" => through::<v1::scheduler::Event>(text),
        name => panic!("{name} is not in the list of this test"),
    }
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
        master: Call Event Response;
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
