//! The rules of Mesos JSON, case by case.
#![allow(clippy::unwrap_used, reason = "a test")]

use mesos_protos::json::{from_slice, from_str, to_string, write_f64};
use mesos_protos::mesos::v1::{
    self, CommandInfo, FrameworkInfo, HealthCheck, Parameters, Resource, TaskStatus,
    quota::QuotaConfig,
};
use mesos_protos::{Described, ProtoJson, mesos};
use proptest::prelude::*;

/// Reads a message and compares how it prints.
#[track_caller]
fn check<M: Described + ProtoJson>(text: &str, expected: &str) {
    let message: M = from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(to_string(&message), expected, "{text}");
}

#[track_caller]
fn check_error<M: Described>(text: &str, expected: &str) {
    let error = from_str::<M>(text).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), expected, "{text}");
}

#[test]
fn doubles_print_as_upstream_prints_them() {
    #[track_caller]
    fn check(value: f64, expected: &str) {
        let mut text = String::new();
        write_f64(value, &mut text);
        assert_eq!(text, expected);
    }
    check(0.0, "0.0");
    check(-0.0, "-0.0");
    check(1.0, "1.0");
    check(-15.0, "-15.0");
    check(0.1, "0.1");
    check(f64::from(0.1f32), "0.10000000149011612");
    check(1606232317.0, "1606232317.0");
    check(1e16, "10000000000000000.0");
    check(1e20, "100000000000000000000.0");
    check(1e21, "1e21");
    check(1.5e300, "1.5e300");
    check(0.000001, "0.000001");
    check(1.5e-7, "1.5e-7");
    check(f64::INFINITY, "\"Infinity\"");
    check(f64::NEG_INFINITY, "\"-Infinity\"");
    check(f64::NAN, "\"NaN\"");
}

#[test]
fn defaults_print_unless_deprecated() {
    check::<CommandInfo>("{}", r#"{"shell":true}"#);
    check::<CommandInfo>(r#"{"shell":false}"#, r#"{"shell":false}"#);
    check::<FrameworkInfo>(
        r#"{"user":"u","name":"n"}"#,
        r#"{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false}"#,
    );
    check::<FrameworkInfo>(
        r#"{"name":"n","role":"r","user":"u"}"#,
        r#"{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false,"role":"r"}"#,
    );
    check::<HealthCheck>(
        "{}",
        r#"{"delay_seconds":15.0,"interval_seconds":10.0,"timeout_seconds":20.0,"consecutive_failures":3,"grace_period_seconds":10.0}"#,
    );
}

#[test]
fn strings_escape_only_what_they_must() {
    check::<v1::FrameworkId>(
        r#"{"value":"\"\\\/\b\f\n\r\t\u0001\u001f\u00e9\ud83d\ude00é/"}"#,
        "{\"value\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001Fé😀é/\"}",
    );
    check::<v1::FrameworkId>(
        "{\"value\":\"\u{7f}\u{2028}\"}",
        "{\"value\":\"\u{7f}\u{2028}\"}",
    );
}

#[test]
fn unknown_keys_and_nulls_do_not_count() {
    check::<v1::FrameworkId>(
        r#" { "value" : "f" , "other" : [ { "a" : [ ] } , -1.5e3 , true , null , "" ] , "Value" : 1 } "#,
        r#"{"value":"f"}"#,
    );
    check::<v1::ContainerId>(r#"{"value":"a","parent":null}"#, r#"{"value":"a"}"#);
    check::<Parameters>(
        r#"{"parameter":[null,{"key":"k","value":"v"}]}"#,
        r#"{"parameter":[{"key":"k","value":"v"}]}"#,
    );
    check_error::<v1::FrameworkId>(r#"{"value":null}"#, "Missing required fields: value");
}

#[test]
fn last_of_several_keys_counts() {
    check::<v1::FrameworkId>(r#"{"value":"a","value":"b"}"#, r#"{"value":"b"}"#);
    check::<v1::ContainerId>(
        r#"{"value":"a","parent":{"value":"x","parent":{"value":"y"}},"parent":{"value":"z"}}"#,
        r#"{"value":"a","parent":{"value":"z"}}"#,
    );
    check::<FrameworkInfo>(
        r#"{"user":"u","roles":["a","b"],"name":"n","roles":["c"]}"#,
        r#"{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false,"roles":["c"]}"#,
    );
    check::<v1::ContainerId>(
        r#"{"value":"a","parent":{"value":"x"},"parent":null}"#,
        r#"{"value":"a"}"#,
    );
}

#[test]
fn many_keys_and_missing_fields_stay_cheap() {
    let keys = r#""roles":["a"],"#.repeat(100_000);
    let text = format!(r#"{{{keys}"name":"{}","user":"u"}}"#, "n".repeat(1 << 20));
    assert_eq!(from_str::<FrameworkInfo>(&text).unwrap().roles, ["a"]);
    let text = format!(r#"{{"resources":[{}{{}}]}}"#, "{},".repeat(100_000));
    let error = from_str::<v1::TaskInfo>(&text).unwrap_err().to_string();
    assert!(error.len() < 5_000, "{}", error.len());
}

#[test]
fn numbers_convert_like_casts() {
    let port = |number: &str| {
        let message: v1::Address = from_str(&format!(r#"{{"port":{number}}}"#)).unwrap();
        message.port
    };
    assert_eq!(port("5050"), 5050);
    assert_eq!(port("\"5050\""), 5050);
    assert_eq!(port("\" 1.9 \""), 1);
    assert_eq!(port("-7.9"), -7);
    assert_eq!(port("007"), 7);
    assert_eq!(port("7."), 7);
    assert_eq!(port("5e2"), 500);
    assert_eq!(port("4294967297"), 1);
    assert_eq!(port("1e30"), i32::MAX);
    check::<v1::TimeInfo>(
        r#"{"nanoseconds":9223372036854775807}"#,
        r#"{"nanoseconds":9223372036854775807}"#,
    );
    check::<v1::value::Range>(
        r#"{"begin":9007199254740993,"end":18446744073709551615}"#,
        r#"{"begin":9007199254740993,"end":18446744073709551615}"#,
    );
    check::<v1::value::Scalar>(r#"{"value":"Infinity"}"#, r#"{"value":"Infinity"}"#);
    check::<v1::value::Scalar>(r#"{"value":"NaN"}"#, r#"{"value":"NaN"}"#);
    check::<v1::value::Scalar>(r#"{"value":3}"#, r#"{"value":3.0}"#);
    check::<CommandInfo>(r#"{"shell":"false"}"#, r#"{"shell":false}"#);
}

#[test]
fn enums_are_names() {
    let status = |rest: &str| format!(r#"{{"task_id":{{"value":"t"}},"state":"TASK_LOST"{rest}}}"#);
    check::<TaskStatus>(&status(""), &status(""));
    check::<TaskStatus>(
        &status(r#","source":"SOURCE_MASTER""#),
        &status(r#","source":"SOURCE_MASTER""#),
    );
    check::<TaskStatus>(&status(r#","source":"SOURCE_OF_THE_FUTURE""#), &status(""));
    check_error::<TaskStatus>(
        &status(r#","source":1"#),
        "Not expecting a JSON number for field 'source'",
    );
    check_error::<TaskStatus>(
        r#"{"task_id":{"value":"t"},"state":"TASK_NEW"}"#,
        "Failed to find enum for 'TASK_NEW' of field 'state'",
    );
    check::<v1::CapabilityInfo>(
        r#"{"capabilities":["CHOWN","NEW","KILL"]}"#,
        r#"{"capabilities":["CHOWN","KILL"]}"#,
    );
    let unknown = mesos::framework_info::Capability { r#type: Some(99) };
    assert_eq!(to_string(&unknown), "{}");
}

#[test]
fn bytes_are_base64() {
    #[track_caller]
    fn check(text: &str, expected: &[u8]) {
        let message: v1::executor::event::Message =
            from_str(&format!(r#"{{"data":"{text}"}}"#)).unwrap();
        assert_eq!(message.data, expected);
    }
    check("", b"");
    check("aGk=", b"hi");
    check("aGk", b"hi");
    check("a G\\nk==ignored", b"hi");
    check_error::<v1::executor::event::Message>(
        r#"{"data":"a*"}"#,
        "Failed to base64 decode bytes field 'data': Invalid symbol 42, offset 1.",
    );
}

#[test]
fn maps_are_objects() {
    check::<QuotaConfig>(
        r#"{"role":"r","limits":{"mem":{"value":2},"cpus":{"value":1},"disk":null,"cpus":{"value":3}}}"#,
        r#"{"role":"r","limits":{"cpus":{"value":3.0},"mem":{"value":2.0}}}"#,
    );
    check_error::<QuotaConfig>(
        r#"{"role":"r","limits":{"cpus":{}}}"#,
        "Missing required fields: limits[cpus].value",
    );
    check_error::<QuotaConfig>(
        r#"{"role":"r","limits":[1]}"#,
        "Not expecting a JSON array for field 'limits'",
    );
}

#[test]
fn one_value_is_a_list_of_one() {
    check::<v1::value::Set>(r#"{"item":"a"}"#, r#"{"item":["a"]}"#);
    check::<v1::value::Set>(r#"{"item":[["a"],"b",[]]}"#, r#"{"item":["a","b"]}"#);
    check::<v1::value::Set>(r#"{"item":[]}"#, "{}");
}

#[test]
fn wrong_types_name_the_field() {
    check_error::<v1::FrameworkId>(
        r#"{"value":1}"#,
        "Not expecting a JSON number for field 'value'",
    );
    check_error::<v1::FrameworkId>(
        r#"{"value":true}"#,
        "Not expecting a JSON boolean for field 'value'",
    );
    check_error::<v1::FrameworkId>(
        r#"{"value":{}}"#,
        "Not expecting a JSON object for field 'value'",
    );
    check_error::<v1::FrameworkId>(
        r#"{"value":["a"]}"#,
        "Not expecting a JSON array for field 'value'",
    );
    check_error::<v1::Address>(
        r#"{"port":"x"}"#,
        "Failed to parse 'x' as a JSON number for field 'port'",
    );
    check_error::<CommandInfo>(
        r#"{"shell":"yes"}"#,
        "Failed to parse 'yes' as a JSON boolean for field 'shell'",
    );
    check_error::<v1::TaskInfo>(
        r#"{"task_id":"t"}"#,
        "Not expecting a JSON string for field 'task_id'",
    );
    check_error::<v1::FrameworkId>("7", "Unexpected JSON type parsed");
}

#[test]
fn missing_fields_are_listed_with_their_place() {
    check_error::<v1::TaskInfo>(
        r#"{"name":"t","resources":[{"name":"cpus","type":"SCALAR"},{}],"agent_id":{}}"#,
        "Missing required fields: resources[1].name, resources[1].type, agent_id.value, task_id",
    );
}

#[test]
fn texts_that_are_no_json() {
    let syntax = |text: &str, near: &str| {
        check_error::<Resource>(text, &format!("syntax error at line 1 near: {near}"));
    };
    syntax("", "");
    syntax("nope", "nope");
    syntax("{", "");
    syntax("{}x", "x");
    syntax(r#"{"a" 1}"#, "1}");
    syntax(r#"{"a":1,}"#, "}");
    syntax(r#"{"a":.5}"#, ".5}");
    syntax(r#"{"a":+5}"#, "+5}");
    syntax(r#"{"a":1e}"#, "1e}");
    syntax(r#"{"a":1e999}"#, "1e999}");
    syntax("{\"a\":\"\t\"}", "\t\"}");
    syntax(r#"{"a":"\ud800"}"#, "\"}");
    syntax(r#"{"a":"\udc00"}"#, "\"}");
    syntax(r#"{"a":"\x"}"#, "x\"}");
    syntax("{/* no */}", "/* no */}");
    check_error::<Resource>("{\n\"a\":\n?}", "syntax error at line 3 near: ?}");
    assert!(
        from_slice::<Resource>(b"{\"\xff\":1}")
            .unwrap_err()
            .is_syntax()
    );
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(from_str::<CommandInfo>(&nested(199)).is_ok());
    check_error::<CommandInfo>(&nested(200), "nested deeper than 200 levels");
    let parents = |depth: usize| {
        let (open, close) = (r#"{"value":"c","parent":"#.repeat(depth), "}".repeat(depth));
        format!(r#"{open}{{"value":"c"}}{close}"#)
    };
    assert!(from_str::<v1::ContainerId>(&parents(90)).is_ok());
    // More than JSON forbids is more than protobuf allows.
    assert!(from_str::<v1::ContainerId>(&parents(150)).is_err());
}

#[test]
fn durations_keep_their_parts() {
    let text = r#"{"agent_id":{"value":"S"},"max_grace_period":{"seconds":600},"mark_gone":false}"#;
    check::<v1::master::call::DrainAgent>(text, text);
}

fn resource() -> impl Strategy<Value = Resource> {
    (
        ".*",
        0..4i32,
        any::<f64>(),
        ".*",
        prop::collection::vec(any::<(u64, u64)>(), 0..3),
    )
        .prop_map(|(name, kind, value, role, ranges)| Resource {
            name,
            r#type: kind,
            scalar: value.is_finite().then_some(v1::value::Scalar { value }),
            role: Some(role),
            ranges: Some(v1::value::Ranges {
                range: ranges
                    .into_iter()
                    .map(|(begin, end)| v1::value::Range { begin, end })
                    .collect(),
            }),
            ..Default::default()
        })
}

proptest! {
    #[test]
    fn messages_round_trip(resources in prop::collection::vec(resource(), 0..4), data: Vec<u8>) {
        let task = v1::TaskInfo { resources, data: Some(data.into()), ..Default::default() };
        let text = to_string(&task);
        prop_assert_eq!(from_str::<v1::TaskInfo>(&text).unwrap(), task);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn any_text_is_an_error_or_a_message(text in r#"[{}\[\]":,a-e0-9\\. -]{0,40}|\PC{0,40}"#) {
        let _ = from_str::<v1::ContainerId>(&text);
    }

    #[test]
    fn doubles_read_back(value: f64) {
        let mut text = String::new();
        write_f64(value, &mut text);
        if value.is_finite() {
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }
}
