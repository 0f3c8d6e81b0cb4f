//! The endpoints that every runtime has.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Client, block_on, get, loopback, metric, record, start, sync, until};
use libprocess::{
    Clock, Context, Help, LoggingControl, Process, QueuedEvents, Response, RouteOptions, Runtime,
    RuntimeConfig,
};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use prost::Message as _;

/// An actor with one documented route and one without help.
struct Documented;

impl Process for Documented {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let help = Help::tldr("Two levels deep.").description("Nothing more.");
        let deep = RouteOptions::with_help(help);
        ctx.route("/echo/deep", deep, |_, _, _| Response::ok().into());
        ctx.route("/echo", RouteOptions::default(), |_, _, _| {
            Response::ok().into()
        });
    }
}

#[test]
fn metrics_snapshot() {
    let runtime = start(loopback());
    runtime.metrics().counter("test/zero");
    runtime.metrics().push_gauge("test/half").set(0.5);
    let answer = get(&runtime, "/metrics/snapshot");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let text = answer.text();
    assert!(
        text.contains("\"test/half\":0.5,\"test/zero\":0.0}"),
        "{text}"
    );
    let json = answer.json();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert!(keys.is_sorted());
    for key in [
        "cpus_total",
        "load_15min",
        "load_1min",
        "load_5min",
        "mem_free_bytes",
        "mem_total_bytes",
    ] {
        assert!(json[format!("system/{key}")].is_f64(), "{key}");
    }
    assert_eq!(get(&runtime, "/metrics/snapshot?timeout=0ns").code(), 200);
    assert_eq!(get(&runtime, "/metrics/snapshot?timeout=2secs").code(), 200);
    assert_eq!(get(&runtime, "/metrics/snapshot?timeout=2").code(), 400);
    let text = get(&runtime, "/metrics/snapshot?jsonp=f").text();
    assert!(text.starts_with("f({\"") && text.ends_with("})"), "{text}");
}

#[test]
fn system_stats_have_the_keys_of_the_original() {
    let runtime = start(loopback());
    let json = get(&runtime, "/system/stats.json").json();
    let keys: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "avg_load_15min",
        "avg_load_1min",
        "avg_load_5min",
        "cpus_total",
        "mem_free_bytes",
        "mem_total_bytes",
    ];
    assert_eq!(keys, expected);
    assert!(json["cpus_total"].is_u64());
    assert!(json["avg_load_1min"].is_f64());
}

#[test]
fn the_profiler_has_to_be_enabled() {
    let runtime = start(loopback());
    let check = |path: &str, expected: &str| {
        let answer = get(&runtime, path);
        assert_eq!(answer.code(), 400, "{path}");
        assert!(answer.text().starts_with(expected), "{}", answer.text());
    };
    check("/profiler/start", "The profiler is not enabled");
    check("/profiler/stop", "Profiler not running");
}

/// Wants so much CPU time and a name in profiles.
#[inline(never)]
fn busy_for_a_profile(cpu_time: Duration) -> u64 {
    let micros = || {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
        usage.user_time().num_microseconds()
    };
    let end = micros() + i64::try_from(cpu_time.as_micros()).unwrap();
    let mut sum = 0_u64;
    while micros() < end {
        for _ in 0..100_000 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
    }
    sum
}

/// The names in a profile of pprof.
#[derive(Clone, PartialEq, prost::Message)]
struct Names {
    #[prost(string, repeated, tag = "6")]
    names: Vec<String>,
}

/// The one test that profiles: there is one profiler in a process.
#[test]
fn profiles_the_process() {
    let clock = Clock::paused();
    let runtime = start(RuntimeConfig {
        enable_profiler: true,
        clock: clock.clone(),
        ..loopback()
    });
    let other = start(RuntimeConfig {
        enable_profiler: true,
        ..loopback()
    });
    let check = |runtime: &Runtime, path: &str, code: u16, expected: &str| {
        let answer = get(runtime, path);
        assert_eq!((answer.code(), answer.text().as_str()), (code, expected));
    };
    let profile = || {
        let answer = get(&runtime, "/profiler/stop");
        assert_eq!(answer.code(), 200, "{}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/octet-stream")
        );
        let disposition = answer.header("content-disposition");
        assert_eq!(disposition, Some("attachment; filename=perftools.out"));
        Names::decode(&*answer.body).unwrap().names
    };
    check(&runtime, "/profiler/start", 200, "Profiler started.\n");
    check(
        &runtime,
        "/profiler/start",
        400,
        "Profiler already started.\n",
    );
    check(
        &other,
        "/profiler/start",
        400,
        "Profiler already started.\n",
    );
    check(&other, "/profiler/stop", 400, "Profiler not running.\n");
    busy_for_a_profile(Duration::from_millis(500));
    let names = profile();
    let found = names.iter().any(|name| name.contains("busy_for_a_profile"));
    assert!(found, "{names:?}");
    check(&runtime, "/profiler/stop", 400, "Profiler not running.\n");

    // Nobody stops the next one.
    check(&runtime, "/profiler/start", 200, "Profiler started.\n");
    clock.advance(Duration::from_secs(60 * 60));
    block_on(clock.settle());
    assert_eq!(metric(&runtime, "libprocess/profiles_expired"), 1.0);
    assert_eq!(profile().first().map(String::as_str), Some(""));
    check(&runtime, "/profiler/stop", 400, "Profiler not running.\n");
}

#[test]
fn the_version_is_what_the_program_says() {
    let runtime = start(loopback());
    assert_eq!(get(&runtime, "/version").code(), 404);
    let runtime = start(RuntimeConfig {
        version: Some(serde_json::json!({"name": "x", "version": "1.2"})),
        delegate: Some("web(1)".to_owned()),
        ..loopback()
    });
    let check = |target: &str, kind: &str, expected: &str| {
        let answer = get(&runtime, target);
        assert_eq!(answer.header("content-type"), Some(kind));
        assert_eq!(answer.text(), expected);
    };
    let json = r#"{"name":"x","version":"1.2"}"#;
    check("/version", "application/json", json);
    check("/version?jsonp=f", "text/javascript", &format!("f({json})"));
    assert!(get(&runtime, "/help").text().contains("/version"));
}

#[test]
fn the_memory_profiler_is_there_if_configured_and_lacks_jemalloc() {
    let runtime = start(loopback());
    assert_eq!(get(&runtime, "/memory-profiler/state").code(), 404);
    let runtime = start(RuntimeConfig {
        memory_profiling: true,
        ..loopback()
    });
    let check = |path: &str, expected: &str| {
        let answer = get(&runtime, &format!("/memory-profiler/{path}"));
        assert_eq!(answer.code(), 400, "{path}");
        assert!(answer.text().contains(expected), "{}", answer.text());
    };
    for path in ["start", "start?duration=1mins", "stop", "statistics"] {
        check(path, "does not use jemalloc");
    }
    for path in ["raw", "text", "graph"] {
        check(&format!("download/{path}"), "Not yet generated");
        check(&format!("download/{path}?id=1"), "Not yet generated");
        check(&format!("download/{path}?id=x"), "'x' is not a number");
    }
    let state = get(&runtime, "/memory-profiler/state");
    let expected = r#"{"memory_profiler":{"current_run":{"id":null},"jemalloc_detected":false,"tmp_dir":"Not yet generated"}}"#;
    assert_eq!((state.code(), state.text().as_str()), (200, expected));
}

#[test]
fn processes_show_their_queues() {
    let runtime = start(loopback());
    let (linked, _) = record(&runtime, "linked");
    let stuck = runtime.spawn("stuck", Page).unwrap();
    let upid = linked.upid().clone();
    block_on(stuck.ask(move |_, ctx| ctx.link(&upid))).unwrap();
    let (begun, begins) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    stuck.dispatch(move |_, _| {
        begun.send(()).unwrap();
        gone.recv().unwrap();
    });
    begins.recv().unwrap();
    let from = "sender@1.2.3.4:5".parse().unwrap();
    runtime.send(&from, stuck.upid(), "note", Bytes::from("body"));
    stuck.dispatch(|_, _| {});
    let mut client = Client::connect(runtime.address());
    client.send("GET /stuck?n=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    until("the request waits", || stuck.queued().http_requests == 1);
    linked.terminate();
    until("the end is told", || {
        get(&runtime, "/__processes__").text().contains("EXITED")
    });
    runtime.terminate_in_turn(stuck.upid());
    let json = get(&runtime, "/__processes__").json();
    let list = json.as_array().unwrap();
    let events = |id: &str| {
        let found = list.iter().find(|process| process["id"] == id);
        found.map(|process| process["events"].clone())
    };
    let expected = serde_json::json!([
        {"type": "MESSAGE", "name": "note", "from": "sender@1.2.3.4:5", "to": stuck.to_string(), "body": "body"},
        {"type": "DISPATCH"},
        {"type": "HTTP", "method": "GET", "url": "/stuck?n=1"},
        {"type": "EXITED"},
        {"type": "TERMINATE"},
    ]);
    assert_eq!(events("stuck"), Some(expected));
    let queued = QueuedEvents {
        messages: 1,
        dispatches: 1,
        http_requests: 1,
    };
    assert_eq!(stuck.queued(), queued);
    for id in [
        "__processes__",
        "help",
        "logging",
        "metrics",
        "profiler",
        "system",
    ] {
        assert_eq!(events(id), Some(serde_json::json!([])), "{id}");
    }
    go.send(()).unwrap();
}

/// An actor with a page.
struct Page;

impl Process for Page {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route("/", RouteOptions::default(), |_, _, _| {
            Response::ok().into()
        });
    }
}

#[test]
fn long_queues_are_shown_in_part() {
    let runtime = start(loopback());
    let (stuck, _) = record(&runtime, "stuck");
    let (begun, begins) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    stuck.dispatch(move |_, _| {
        begun.send(()).unwrap();
        gone.recv().unwrap();
    });
    begins.recv().unwrap();
    let from = "sender@1.2.3.4:5".parse().unwrap();
    let body = Bytes::from(vec![b'x'; 1024 * 1024]);
    for _ in 0..2000 {
        runtime.send(&from, stuck.upid(), "note", body.clone());
    }
    let answer = get(&runtime, "/__processes__");
    assert!(answer.body.len() < 5 * 1024 * 1024);
    let json = answer.json();
    let mut list = json.as_array().unwrap().iter();
    let shown = list.find(|process| process["id"] == "stuck").unwrap();
    assert_eq!(shown["events"].as_array().unwrap().len(), 1000);
    assert_eq!(shown["events_left_out"], 1000);
    let event = &shown["events"][999];
    assert_eq!(event["body"], "x".repeat(4096));
    assert_eq!(event["body_bytes"], 1024 * 1024);
    runtime.terminate(stuck.upid());
    go.send(()).unwrap();
}

#[test]
fn help_pages() {
    let runtime = start(RuntimeConfig {
        delegate: Some("web(1)".to_owned()),
        ..loopback()
    });
    sync(&runtime.spawn("web(1)", Documented).unwrap());
    let fetch = |target: &str, agent: &str| {
        let mut client = Client::connect(runtime.address());
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nUser-Agent: {agent}\r\n\r\n"
        ));
        client.response()
    };
    let index = fetch("/help", "curl/8");
    assert_eq!(index.header("content-type"), Some("text/x-markdown"));
    let expected = "## HELP\n> [/logging][logging]\n> [/metrics][metrics]\n> [/profiler][profiler]\n> [/system][system]\n> [/web(1)][web(1)]\n\n\
                    [logging]: help/logging\n[metrics]: help/metrics\n[profiler]: help/profiler\n[system]: help/system\n[web(1)]: help/web(1)\n";
    assert_eq!(index.text(), expected);
    let page = fetch("/help/web(1)/echo/deep", "HTTPie/1").text();
    let expected = "### USAGE ###\n>        /echo/deep\n>        /web(1)/echo/deep\n\n### TL;DR; ###\nTwo levels deep.\n\n\
                    ### DESCRIPTION ###\nNothing more.\n\n\n";
    assert_eq!(page, expected);
    assert!(
        fetch("/help/web(1)", "curl/8")
            .text()
            .contains("\n[web(1)/echo/deep]: web(1)/echo/deep\n")
    );
    assert!(
        fetch("/help/web(1)/echo", "curl/8")
            .text()
            .starts_with("## No help page for")
    );
    let root = fetch("/help/metrics", "curl/8").text();
    let expected = "## `/metrics` ##\n> [/metrics/snapshot][metrics/snapshot]\n\n[metrics/snapshot]: metrics/snapshot\n\n\
                    ### USAGE ###\n>        /metrics\n\n### TL;DR; ###\nAll metrics as text for Prometheus.\n";
    assert!(root.starts_with(expected), "{root}");
    let root = fetch("/help/metrics/", "Mozilla").text();
    assert!(
        root.contains("All metrics as text for Prometheus."),
        "{root}"
    );
    assert_eq!(fetch("/help/nobody", "curl/8").code(), 400);
    assert_eq!(fetch("/help/web(1)/nothing", "curl/8").code(), 400);

    let html = fetch("/help", "Mozilla");
    assert_eq!(html.header("content-type"), Some("text/html"));
    assert!(
        html.text()
            .contains("<a href=\"help/metrics\">/metrics</a>")
    );

    let json = fetch("/help?format=json", "Mozilla").json();
    let ids: Vec<&str> = json["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|process| process["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["logging", "metrics", "profiler", "system", "web(1)"]);
    assert_eq!(json["processes"][1]["endpoints"][0]["name"], "/");
    assert_eq!(json["processes"][1]["endpoints"][1]["name"], "/snapshot");

    // The help of an actor goes with it.
    let upid = libprocess::Upid::new("web(1)", runtime.address());
    runtime.terminate(&upid);
    block_on(runtime.wait(&upid));
    assert_eq!(fetch("/help/web(1)", "curl/8").code(), 400);
}

#[derive(Default)]
struct Level(AtomicU32);

impl LoggingControl for Level {
    fn level(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    fn set_level(&self, level: u32) {
        self.0.store(level, Ordering::SeqCst);
    }
}

#[test]
fn logging_is_toggled_for_a_while() {
    let clock = Clock::paused();
    let level = Arc::new(Level::default());
    level.set_level(1);
    let runtime = start(RuntimeConfig {
        clock: clock.clone(),
        logging: Some(level.clone()),
        ..loopback()
    });
    let check = |query: &str, code: u16, now: u32| {
        let answer = get(&runtime, &format!("/logging/toggle{query}"));
        assert_eq!((answer.code(), level.level()), (code, now), "{query}");
    };
    assert_eq!(get(&runtime, "/logging/toggle").text(), "1\n");
    check("?level=2", 400, 1);
    check("?duration=1secs", 400, 1);
    check("?level=x&duration=1secs", 400, 1);
    check("?level=-1&duration=1secs", 400, 1);
    check("?level=0&duration=1secs", 400, 1);
    check("?level=2&duration=1", 400, 1);
    check("?level=2&duration=10secs", 200, 2);
    clock.advance(Duration::from_secs(9));
    check("?level=3&duration=10secs", 200, 3);
    clock.advance(Duration::from_secs(9));
    check("", 200, 3);
    clock.advance(Duration::from_secs(1));
    block_on(clock.settle());
    check("", 200, 1);

    let without = start(loopback());
    assert_eq!(
        get(&without, "/logging/toggle?level=1&duration=1secs").code(),
        400
    );
}
