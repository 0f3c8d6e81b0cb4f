//! Resources as text and JSON.

use super::*;

#[track_caller]
fn check(text: &str, default_role: &str, expected: &str) {
    let actual = match Resources::parse(text, default_role) {
        Ok(resources) => resources.to_string(),
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(actual, expected, "resources {text:?}");
}

#[test]
fn text() {
    check("", "*", "{}");
    check("cpus:2;mem:1024", "*", "cpus:2; mem:1024");
    check(" cpus : 2 ;; mem(*):1024; ", "*", "cpus:2; mem:1024");
    check("cpus:1;cpus:2", "*", "cpus:3");
    check("ports:[31000-32000, 1-3]", "*", "ports:[1-3, 31000-32000]");
    check("disks:{sda1,sda2}", "*", "disks:{sda1, sda2}");
    check("cpus:0;mem:5", "*", "mem:5");
    check("mem:5\n", "*", "mem:5");
    check("cpus( a/b ):2", "*", "cpus(reservations: [(STATIC,a/b)]):2");
    check(
        "cpus:2;mem(*):1;disk(x):3",
        "web",
        "cpus(reservations: [(STATIC,web)]):2; mem:1; disk(reservations: [(STATIC,x)]):3",
    );
    check("cpus:1.23456", "*", "cpus:1.235");
}

#[test]
fn text_errors() {
    const FORM: &str = "is not of the form name:value or name(role):value, such as cpus:2 or ports(web):[31000-32000]";
    const ALLOWED: &str = "allowed are a number, ranges like [1-10,20-30] or a set like {a,b}";
    check("cpus", "*", &format!("error: 'cpus' {FORM}"));
    check("mem:1;cpus:1:2", "*", &format!("error: 'cpus:1:2' {FORM}"));
    check("{}", "*", &format!("error: '{{}}' {FORM}"));
    check(":1", "*", "error: ':1' has no resource name before the ':'");
    check(
        "cpus:",
        "*",
        &format!("error: 'cpus:': a value is missing; {ALLOWED}"),
    );
    check(
        "cpus:foo",
        "*",
        &format!("error: 'cpus:foo': 'foo' is not a value of a resource; {ALLOWED}"),
    );
    check(
        "cpus:-1",
        "*",
        &format!("error: 'cpus:-1': '-1' is not a value of a resource; {ALLOWED}"),
    );
    for token in [
        "cpus(a:1",
        "cpus)a(:1",
        "cpus(a)b:1",
        "cpus((a)):1",
        "cpus a):1",
    ] {
        check(
            token,
            "*",
            &format!(
                "error: '{token}' has parentheses that do not match; a role is written name(role):value"
            ),
        );
    }
    check(
        "cpus(a b):1",
        "*",
        "error: 'cpus(a b):1': Role component 'a b' of role 'a b' cannot contain white space or 0x7f",
    );
    check(
        "cpus():1",
        "*",
        "error: 'cpus():1': Role names cannot be the empty string",
    );
    check(
        "ports:[5-1]",
        "*",
        "error: 'ports:[5-1]': range 5-1 ends before it begins",
    );
    check(
        "cpus:0.0001",
        "*",
        "error: 'cpus:0.0001': '0.0001' is too small a number; quantities have three decimals",
    );
    check(
        "cpus:1;cpus:[1-2]",
        "*",
        "error: Resources with the same name ('cpus') but different types are not allowed",
    );
}

#[test]
fn zeros_are_kept_in_the_list() {
    let list = Resources::parse_list("cpus:0;mem:1", "*").unwrap();
    assert_eq!(list.len(), 2);
    assert!(list[0].is_empty());
}

#[test]
fn json() {
    check("[]", "*", "{}");
    check(
        r#" [{"name":"cpus","type":"SCALAR","scalar":{"value":2.5},"unknown":1},
            {"name":"mem","type":"SCALAR","scalar":{"value":64},"role":"*"},
            {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":2,"end":4},{"begin":1,"end":1}]},"role":"b"},
            {"name":"disks","type":"SET","set":{"item":["b","a"]}}]"#,
        "a",
        "cpus(reservations: [(STATIC,a)]):2.5; mem:64; ports(reservations: [(STATIC,b)]):[1-4]; disks(reservations: [(STATIC,a)]):{a, b}",
    );
    check(
        r#"[{"name":"disk","type":"SCALAR","scalar":{"value":9},
             "disk":{"source":{"type":"MOUNT","mount":{"root":"/mnt"}}},
             "reservations":[{"type":"STATIC","role":"r"}]}]"#,
        "*",
        "disk(reservations: [(STATIC,r)])[MOUNT:/mnt]:9",
    );
}

#[test]
fn json_errors() {
    check(
        "[",
        "*",
        "error: not a JSON array of resources: EOF while parsing a list at line 1 column 1",
    );
    check(
        r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":-1}}]"#,
        "*",
        "error: Resource 'cpus' is invalid: Invalid scalar resource: value <= 0",
    );
    let volume = |rest: &str| {
        format!(r#"[{{"name":"disk","type":"SCALAR","scalar":{{"value":1}},{rest}}}]"#)
    };
    check(
        &volume(r#""role":"a","disk":{"persistence":{"id":"1"}}"#),
        "*",
        "error: Persistent volumes cannot be configured: remove 'persistence' of resource 'disk'",
    );
    check(
        &volume(r#""revocable":{}"#),
        "*",
        "error: Revocable resources cannot be configured: remove 'revocable' of resource 'disk'",
    );
    check(
        &volume(r#""reservations":[{"type":"DYNAMIC","role":"a"}]"#),
        "*",
        "error: Dynamic reservations cannot be configured: use a reservation of type STATIC for resource 'disk'",
    );
    check(
        &volume(r#""reservation":{}"#),
        "*",
        "error: Resource 'disk' is invalid: Invalid reservation: role \"*\" cannot be reserved",
    );
}
