//! Filters of the test kit: waiting for events, dropping them, holding them back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Log, block_on, loopback, record, start, sync};
use libprocess::client::{Client, Url};
use libprocess::testing::{
    Event, Events, Simulation, Upcoming, What, any, dispatch, exited, http_request, message,
    protobuf, protobuf_when,
};
use libprocess::{Context, Process, Reply, Request, Response, RouteOptions, Upid};
use parking_lot::Mutex;

#[test]
fn filters_wait_drop_and_count() {
    let runtime = start(loopback());
    let events = Events::of(&runtime);
    let (a, log) = record(&runtime, "a");
    let send = |from: &str, body: &str| {
        let from = Upid::new(from, runtime.address());
        runtime.send(&from, a.upid(), "note", Bytes::from(body.to_owned()));
    };
    let next = events.next(message("note").to("a").from("x"));
    let counted = events.count(message("note").when(|event| event.body().unwrap() == "3"));
    send("y", "1");
    assert_eq!(next.get(), None);
    send("x", "2");
    let seen = block_on(next);
    assert_eq!(seen.to, *a.upid());
    assert_eq!(seen.from().unwrap().id(), "x");
    assert_eq!(seen.body().unwrap(), "2");
    send("x", "3");
    sync(&a);

    let dropped = events.drop_next(message("note"));
    send("x", "4");
    assert_eq!(block_on(dropped).body().unwrap(), "4");
    let dropped = events.drop_all(any().from_address(runtime.address()));
    send("x", "5");
    send("x", "6");
    sync(&a);
    assert_eq!(dropped.count(), 2);
    drop(dropped);
    send("x", "7");
    log.wait_for(&["y 1", "x 2", "x 3", "x 7"]);
    assert_eq!(counted.count(), 1);
}

/// Has a route, and turns of its own.
struct Routed {
    log: Log,
}

impl Routed {
    fn recover(ctx: &Context<Self>) {
        ctx.pid()
            .dispatch(|recorder, _| recorder.log.add("recovered"));
    }

    fn beat(&mut self, _: &mut Context<Self>) {
        self.log.add("beat");
    }

    fn keep_beating(ctx: &Context<Self>) {
        ctx.delay(Duration::from_secs(1), Self::beat);
        ctx.every(Duration::from_secs(1), |routed, ctx| routed.beat(ctx));
    }
}

impl Process for Routed {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let route = |_: &mut Self, _: &mut Context<Self>, _: Request| {
            Reply::from(Response::text(http::StatusCode::OK, "fine"))
        };
        ctx.route("/state", RouteOptions::default(), route);
        ctx.route("/stream", RouteOptions::default().streaming(), route);
        Self::recover(ctx);
    }
}

#[test]
fn dispatches_and_requests_are_events_too() {
    let runtime = start(loopback());
    let events = Events::of(&runtime);
    let log = Log::default();
    let recovered = events.next(dispatch("recover").to("b"));
    let actor = Routed { log: log.clone() };
    let pid = runtime.spawn("b", actor).unwrap();
    block_on(recovered);
    log.wait_for(&["recovered"]);

    let dropped = events.drop_next(dispatch("by name"));
    pid.dispatch_named("by name", |b, _| b.log.add("not dropped"));
    block_on(dropped);
    let asked = events.next(dispatch("dispatches_and_requests_are_events_too"));
    assert_eq!(block_on(pid.ask(|_, _| 7)).unwrap(), 7);
    assert!(asked.get().is_some());

    let request = events.next(http_request("/b/state"));
    assert_eq!(common::get(&runtime, "/b/state").text(), "fine");
    block_on(request);
    let dropped = events.drop_next(http_request("/b/state"));
    assert_eq!(common::get(&runtime, "/b/state").code(), 500);
    block_on(dropped);
    assert_eq!(log.lines(), ["recovered"]);
}

#[test]
fn dispatches_are_known_by_their_functions_alone() {
    let mut sim = Simulation::new(1);
    let runtime = sim.start().unwrap();
    let events = Events::of(&runtime);
    let counts = ["recover", "beat", "keep_beating", "initialize"].map(|name| {
        let counted = events.count(dispatch(name));
        (name, counted)
    });
    let unseen = ["Routed", "testing", "libprocess", "actor", "Context"]
        .map(|name| events.expect_none(dispatch(name)));
    let log = Log::default();
    let actor = Routed { log: log.clone() };
    let pid = runtime.spawn("b", actor).unwrap();
    pid.dispatch(|_, ctx| Routed::keep_beating(ctx));
    sim.run_for(Duration::from_secs(2));
    drop(unseen);
    assert_eq!(log.lines(), ["recovered", "beat", "beat", "beat"]);
    let counts = counts.map(|(name, counted)| (name, counted.count()));
    let expected = [
        ("recover", 1),
        ("beat", 1),
        ("keep_beating", 2),
        ("initialize", 0),
    ];
    assert_eq!(counts, expected);
}

#[test]
fn requests_are_shown_with_headers_and_body() {
    let mut sim = Simulation::new(1);
    let (near, far) = (sim.start().unwrap(), sim.start().unwrap());
    let actor = Routed {
        log: Log::default(),
    };
    far.spawn("b", actor).unwrap();
    let mut check = |path: &str, body: Option<&str>| {
        let is_json = |event: &Event| match &event.what {
            What::Http { headers, .. } => headers
                .get("content-type")
                .is_some_and(|kind| kind == "a/b"),
            _ => false,
        };
        let seen = Events::of(&far).next(http_request(path).when(is_json));
        let url: Url = format!("http://{}{path}", far.address()).parse().unwrap();
        let client = Client::new(&near);
        let answer = sim.block_on(client.post(&url, "a/b", "hello")).unwrap();
        assert_eq!(answer.body(), "fine");
        let seen = seen.get().unwrap();
        assert_eq!(seen.body().map(|body| &body[..]), body.map(str::as_bytes));
    };
    check("/b/state", Some("hello"));
    check("/b/stream", None);
}

#[derive(Clone, PartialEq, prost::Message)]
struct Number {
    #[prost(uint32, tag = "1")]
    value: u32,
}

impl prost::Name for Number {
    const NAME: &'static str = "Number";
    const PACKAGE: &'static str = "tests";
}

#[test]
fn protobuf_messages_are_known_by_their_type_and_content() {
    let runtime = start(loopback());
    let events = Events::of(&runtime);
    let (a, _) = record(&runtime, "a");
    let all = events.count(protobuf::<Number>());
    let next = events.next(protobuf::<Number>());
    let dropped = events.drop_next(protobuf_when(|number: &Number| number.value > 1));
    let from = Upid::new("x", runtime.address());
    let send = |name: &str, body: &[u8]| {
        runtime.send(&from, a.upid(), name, Bytes::copy_from_slice(body));
    };
    send("tests.Number", b"not one");
    send("tests.Other", &[8, 7]);
    for value in 1..=3 {
        send("tests.Number", &[8, value]);
    }
    sync(&a);
    let value = |event: Event| event.decode::<Number>().unwrap().value;
    assert_eq!(value(block_on(next)), 1);
    assert_eq!(value(block_on(dropped)), 2);
    assert_eq!(all.count(), 1);
    let unseen = events.expect_none(protobuf::<Number>());
    send("tests.Number", b"not one");
    sync(&a);
    drop(unseen);
}

#[test]
fn a_condition_may_look_at_its_own_filter() {
    let runtime = start(loopback());
    let events = Events::of(&runtime);
    let (a, _) = record(&runtime, "a");
    let seen: Arc<Mutex<Option<Upcoming>>> = Arc::default();
    let own = seen.clone();
    let first = message("note").when(move |_| {
        let filter = own.lock();
        filter.as_ref().is_none_or(|filter| filter.get().is_none())
    });
    *seen.lock() = Some(events.next(first));
    runtime.send(&Upid::default(), a.upid(), "note", Bytes::from("1"));
    sync(&a);
    assert!(seen.lock().take().unwrap().get().is_some());
}

#[test]
fn exits_can_be_dropped() {
    let runtime = start(loopback());
    let events = Events::of(&runtime);
    let (a, log) = record(&runtime, "a");
    for id in ["b", "c"] {
        let upid = Upid::new(id, runtime.address());
        let dropped = (id == "b").then(|| events.drop_next(exited().to("a").from("b")));
        a.dispatch(move |_, ctx| ctx.link(&upid));
        if let Some(dropped) = dropped {
            block_on(dropped);
        }
    }
    log.wait_for(&["exited c"]);
}

#[test]
fn held_messages_come_in_another_order() {
    let runtime = start(loopback());
    let events = Events::of(&runtime);
    let (a, log) = record(&runtime, "a");
    let send = |body: &'static str| {
        let from = Upid::new("x", runtime.address());
        runtime.send(&from, a.upid(), "note", Bytes::from(body));
    };
    let held = events.hold(message("note"));
    for body in ["1", "2", "3", "4", "5"] {
        send(body);
    }
    sync(&a);
    assert_eq!(held.events().len(), 5);
    assert!(held.release(2));
    assert!(held.release(0));
    assert!(held.discard(0));
    assert!(!held.release(2));
    send("6");
    log.wait_for(&["x 3", "x 1"]);
    sync(&a);
    held.release_all();
    send("7");
    log.wait_for(&["x 3", "x 1", "x 4", "x 5", "x 6"]);
    sync(&a);
    drop(held);
    log.wait_for(&["x 3", "x 1", "x 4", "x 5", "x 6", "x 7"]);
}

#[test]
fn what_must_not_come_is_a_failure() {
    let runtime = start(loopback());
    let events = Events::of(&runtime);
    let (a, _) = record(&runtime, "a");
    let run = |name: &str| {
        let unseen = events.expect_none(message("note").to("a"));
        runtime.send(&Upid::default(), a.upid(), name, Bytes::new());
        sync(&a);
        drop(unseen);
    };
    run("other");
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run("note")));
    let text = failed.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(*text, "expected no message 'note' to 'a', but 1 came");
}
