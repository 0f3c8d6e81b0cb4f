//! Routes, percent-encoding, queries and what a server reads of a request: no input may make them panic, the route found is the
//! longest that fits, no spelling of a path gets by a rule against it, and what was decoded can be encoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libprocess::Query;
use libprocess::fuzzing::{find_route, is_refused, percent_decode, read_request};

/// Routes of one actor at most.
const MAX_ROUTES: usize = 16;

/// The length of what a request asks for.
const BODY_BYTES: u64 = 100;

// The first line is the target of a request, those up to an empty one are headers, the others are names of routes.
fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let target = lines.next().unwrap_or_default();
    let headers: Vec<(&str, &str)> = lines
        .by_ref()
        .map_while(|line| line.split_once(": "))
        .collect();
    let names: Vec<&str> = lines.take(MAX_ROUTES).collect();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));

    let found = find_route(&names, path);
    // Names with parameters have rules of their own.
    if names.iter().all(|name| !name.contains(['{', '}'])) {
        let longest = longest_prefix(&names, path).map(|name| format!("/{name}"));
        let file = |found: &String| found.starts_with("/assets");
        assert!(found == longest || longest.is_none() && found.as_ref().is_some_and(file));
    }
    if let Some(found) = found.filter(|found| !found.starts_with("/assets")) {
        assert!(is_refused(path, &found));
    }
    let route = names.first().copied().unwrap_or_default();
    let _ = read_request(target, &headers, route, BODY_BYTES);
    if let Some(decoded) = percent_decode(path) {
        assert_eq!(percent_decode(&encode(&decoded)), Some(decoded));
    }
    if let Ok(query) = Query::parse(query) {
        let pairs: Vec<String> = query
            .iter()
            .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
            .collect();
        // A pair of nothing is no pair.
        let empty = query.get("") == Some("") && pairs.len() == 1;
        assert!(empty || Query::parse(&pairs.join("&")).as_ref() == Ok(&query));
    }
});

fn longest_prefix<'a>(names: &[&'a str], path: &str) -> Option<&'a str> {
    let path = path.trim_matches('/');
    let fits = |name: &&str| {
        let rest = path.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || !name.is_empty() && rest.starts_with('/'))
    };
    let names = names.iter().map(|name| name.trim_matches('/'));
    names.filter(fits).max_by_key(|name| name.len())
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
