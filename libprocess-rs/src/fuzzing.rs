//! Doors for fuzz targets and benchmarks into what is not part of the API. They may change at any time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method};

use crate::actor::{Mailbox, Process};
use crate::http::{Found, Headers, Preferences, Ranges, RouteTable, parse_ranges};
use crate::wire::{BodyReader, Decoder, Item, Limits, ReadError, Reader};
use crate::{DisabledEndpoints, Endpoint, FirewallRule, Request, RouteOptions, Upid};

/// Appends the request for one message, as it goes over the wire.
pub fn encode_message(out: &mut BytesMut, from: &Upid, to: &Upid, name: &str, body: &[u8]) {
    crate::wire::encode_message(out, from, to, name, body);
}

/// Feeds the portions to the reader of a connection, one by one, and writes down all that comes out: each request and body, and
/// at the end the error or the number of bytes that wait for more.
pub fn read_messages<'a>(
    portions: impl IntoIterator<Item = &'a [u8]>,
    max_head_bytes: usize,
    max_body_bytes: usize,
) -> Vec<String> {
    let limits = Limits {
        head_bytes: max_head_bytes,
        body_bytes: max_body_bytes,
    };
    let mut reader = Reader::new(limits, BytesMut::new());
    let (mut body, mut transcript) = (None, Vec::new());
    for portion in portions {
        reader.buffer().extend_from_slice(portion);
        loop {
            match read_item(&mut reader, &mut body, max_body_bytes) {
                Ok(Some(item)) => transcript.push(item),
                Ok(None) => break,
                Err(error) => {
                    transcript.push(format!("error {error:?}"));
                    return transcript;
                }
            }
        }
    }
    let is_partial = body.is_some() || reader.is_partial();
    transcript.push(format!("partial {is_partial}"));
    transcript
}

/// The next message, head or body.
fn read_item(
    reader: &mut Reader,
    body: &mut Option<BodyReader>,
    max_body_bytes: usize,
) -> Result<Option<String>, ReadError> {
    if let Some(reading) = body {
        let read = reading.feed(reader.buffer())?;
        return Ok(read.map(|read| {
            *body = None;
            format!("{read:?}")
        }));
    }
    let Some((item, keep_alive)) = reader.next()? else {
        return Ok(None);
    };
    if let Item::Request(head) = &item {
        let decoder = Decoder::new(head.framing, max_body_bytes)?;
        *body = Some(decoder.skipping_trailers().into());
    }
    Ok(Some(format!("{keep_alive} {item:?}")))
}

/// The sender, the id of the receiver, the name and the body of the one message that the bytes are; none if they are not one.
pub fn read_message(bytes: &[u8]) -> Option<(Upid, String, String, Bytes)> {
    let limits = Limits {
        head_bytes: usize::MAX,
        body_bytes: usize::MAX,
    };
    let mut reader = Reader::new(limits, bytes.into());
    let Ok(Some((Item::Message(message), _))) = reader.next() else {
        return None;
    };
    let whole = !reader.is_partial();
    whole.then(|| {
        let (to, name) = (message.to.into(), message.name.into());
        (message.from, to, name, message.body)
    })
}

/// Reads a buffer of messages and returns how many there were and how long their bodies are in total.
pub fn count_messages(bytes: BytesMut) -> (usize, usize) {
    let limits = Limits {
        head_bytes: usize::MAX,
        body_bytes: usize::MAX,
    };
    let mut reader = Reader::new(limits, bytes);
    let (mut messages, mut body_bytes) = (0, 0);
    while let Ok(Some((Item::Message(message), _))) = reader.next() {
        messages += 1;
        body_bytes += message.body.len();
    }
    (messages, body_bytes)
}

/// Looks into the empty mailbox of an actor this many times, as the actor does, and returns how often there was something.
pub fn take_from_empty_mailbox(times: usize) -> usize {
    struct Idle;
    impl Process for Idle {}
    let mailbox = Mailbox::<Idle>::new();
    (0..times).filter(|_| mailbox.pop().is_some()).count()
}

/// Finds what serves a path within an actor that has these routes and, as `/assets`, files: the name of the route, or the file.
pub fn find_route(names: &[&str], path: &str) -> Option<String> {
    let table = RouteTable::default();
    for name in names {
        table.add(name, RouteOptions::default());
    }
    table.provide("assets", PathBuf::from("/assets"));
    table.find(path).map(|found| match found {
        Found::Route(route) => format!("/{}", route.name),
        Found::File(file) => file.display().to_string(),
    })
}

/// Whether rules against the route `route` of an actor, by its name with the id of the actor and without, both refuse a request
/// for the path `path` within the actor, which leads there.
pub fn is_refused(path: &str, route: &str) -> bool {
    let request = Request::new(Method::GET, "/");
    let endpoint = Endpoint::new(&format!("/id/{path}"), Some(route), Some("id"));
    let names = [format!("/id/{route}"), format!("/{route}")];
    names.iter().all(|name| {
        let rule = DisabledEndpoints::new([name]);
        rule.refuse(&request, &endpoint).is_some()
    })
}

/// Reads all there is to read of a request for a body of `length` bytes that the route `route` serves, and writes it down; `None`
/// if it is refused.
pub fn read_request(
    target: &str,
    headers: &[(&str, &str)],
    route: &str,
    length: u64,
) -> Option<String> {
    let mut map = Headers::default();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        map.append(name, HeaderValue::from_str(value).ok()?);
    }
    let preferences = Preferences::of(&Method::GET, &map);
    let request = Request::received(Method::GET, target.to_owned(), map, None).ok()?;
    let request = (*request).with_route(route);
    let endpoint = Endpoint::new(&request.path, Some(route), Some("delegate"));
    let names: Vec<_> = endpoint.names().collect();
    let conditions = preferences.conditions.as_deref();
    let ranges = conditions.and_then(|conditions| conditions.range(&request.headers));
    let ranges = ranges.map(|ranges| parse_ranges(ranges, length));
    if let Some(Ranges::Parts(parts)) = &ranges {
        let inside = parts
            .iter()
            .all(|part| part.start < part.end && part.end <= length);
        assert!(inside, "{parts:?} of {length}");
    }
    let outcome = conditions.map(|conditions| conditions.evaluate(&request.headers));
    let path_params = request.path_params::<BTreeMap<String, String>>();
    let query_params = request.query_params::<BTreeMap<String, i32>>();
    let accepts = request.accepts("application/json");
    Some(format!(
        "{names:?} {ranges:?} {outcome:?} {path_params:?} {query_params:?} {accepts} {preferences:?}"
    ))
}

/// Decodes a part of a path; none if it is malformed.
pub fn percent_decode(text: &str) -> Option<String> {
    let decoded = crate::http::percent_decode(text).ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_lead_somewhere() {
        assert_eq!(take_from_empty_mailbox(10), 0);
        let names = ["/a", "/a/{id}"];
        assert_eq!(find_route(&names, "/a/7/x").as_deref(), Some("/a/{id}"));
        assert_eq!(
            find_route(&names, "/assets/x").as_deref(),
            Some("/assets/x")
        );
        assert_eq!(find_route(&names, "/b"), None);
        assert!(is_refused("/a/7/x", "a/{id}"));
        let headers = [("Range", "bytes=1-2")];
        let read = read_request("/x/a/7?n=1", &headers, "/a/{id}", 10).unwrap();
        assert!(read.contains("ByteRange { start: 1, end: 3 }"), "{read}");
        assert!(
            read.contains(r#"Ok({"id": "7"}) Ok({"n": 1}) true"#),
            "{read}"
        );
        assert_eq!(read_request("/%zz?%zz", &[], "/", 0), None);
    }
}
