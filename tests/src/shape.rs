//! Comparing JSON documents by their keys and value types.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The types that occur at each path of a document. `a.b[].c` is the key `c` of the objects in
/// the array `b` of the object `a`.
pub type Shape = BTreeMap<String, BTreeSet<&'static str>>;

/// The shape of a document. `generic` rewrites paths whose keys are data (ids, role names), so
/// that they are the same in every document.
pub fn shape_of(document: &Value, generic: &dyn Fn(&str) -> String) -> Shape {
    let mut shape = Shape::new();
    collect(document, String::new(), generic, &mut shape);
    shape
}

/// How two shapes differ: one line for each path that only one has, or whose types have nothing
/// in common. Parts of a missing object are not listed on their own.
pub fn differences(theirs: &Shape, ours: &Shape) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, types) in theirs {
        match ours.get(path) {
            None if !has_parent_missing(path, ours, theirs) => {
                lines.push(format!("missing {path}"))
            }
            Some(found) if types.is_disjoint(found) => {
                lines.push(format!(
                    "type {path}: {} became {}",
                    join(types),
                    join(found)
                ));
            }
            _ => {}
        }
    }
    for path in ours.keys() {
        if !theirs.contains_key(path) && !has_parent_missing(path, theirs, ours) {
            lines.push(format!("extra {path}"));
        }
    }
    lines
}

/// Whether a proper parent of the path exists in `there` but not in `here`.
fn has_parent_missing(path: &str, here: &Shape, there: &Shape) -> bool {
    parents(path).any(|parent| there.contains_key(parent) && !here.contains_key(parent))
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.char_indices().filter_map(move |(index, c)| match c {
        '.' | '[' => path.get(..index).filter(|parent| !parent.is_empty()),
        _ => None,
    })
}

fn join(types: &BTreeSet<&'static str>) -> String {
    types.iter().copied().collect::<Vec<_>>().join(" or ")
}

fn collect(value: &Value, path: String, generic: &dyn Fn(&str) -> String, shape: &mut Shape) {
    shape
        .entry(path.clone())
        .or_default()
        .insert(type_of(value));
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let child = match path.is_empty() {
                    true => key.clone(),
                    false => format!("{path}.{key}"),
                };
                collect(field, generic(&child), generic, shape);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                collect(element, format!("{path}[]"), generic, shape);
            }
        }
        _ => {}
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        // Clients in typed languages tell `1` from `1.0`.
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(theirs: Value, ours: Value, expected: &[&str]) {
        let same = |path: &str| path.to_owned();
        let found = differences(&shape_of(&theirs, &same), &shape_of(&ours, &same));
        assert_eq!(found, expected, "{theirs} and {ours}");
    }

    #[test]
    fn lists_what_differs() {
        check(json!({"a": 1.0}), json!({"a": 2.5}), &[]);
        check(
            json!({"a": 1.0}),
            json!({"a": 1}),
            &["type a: float became integer"],
        );
        check(
            json!({"a": 1}),
            json!({"a": "1"}),
            &["type a: integer became string"],
        );
        check(json!({"a": 1}), json!({"b": 1}), &["missing a", "extra b"]);
        check(
            json!({"a": [{"b": 1}, {"c": 1}]}),
            json!({"a": [{"c": 1, "b": 2}]}),
            &[],
        );
        check(json!({"a": {"b": {"c": 1}}}), json!({}), &["missing a"]);
        check(json!({"a": [{"b": 1}]}), json!({"a": []}), &["missing a[]"]);
        check(json!({}), json!({"a": {"b": {"c": 1}}}), &["extra a"]);
        check(
            json!([1]),
            json!({}),
            &["type : array became object", "missing []"],
        );
    }

    #[test]
    fn treats_keys_that_are_data_alike() {
        let generic = |path: &str| match path.strip_prefix("roles.") {
            Some(rest) => match rest.split_once('.') {
                Some((_, rest)) => format!("roles.<role>.{rest}"),
                None => "roles.<role>".to_owned(),
            },
            None => path.to_owned(),
        };
        let theirs = shape_of(&json!({"roles": {"web": {"cpus": 1}}}), &generic);
        let ours = shape_of(&json!({"roles": {"db": {"cpus": 1}, "x": {}}}), &generic);
        assert_eq!(differences(&theirs, &ours), Vec::<String>::new());
    }
}
