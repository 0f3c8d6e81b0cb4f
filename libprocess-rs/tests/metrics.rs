//! What `/metrics/snapshot` and `/metrics` answer.

#![cfg(test)]

mod common;

use std::future::Ready;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use common::{Answer, Client, Guard, block_on, get, loopback, metric, record, start, sync, until};
use libprocess::metrics::{PullGauge, Rate};
use libprocess::{Clock, Context, MetricsConfig, Pid, Process, RuntimeConfig};

/// An actor that knows a number.
struct Knows(f64);

impl Process for Knows {
    fn initialize(&mut self, _: &mut Context<Self>) {}
}

impl Knows {
    fn number(&mut self, _: &mut Context<Self>) -> f64 {
        self.0
    }
}

/// Keeps an actor in a turn until it is dropped.
struct Stuck(#[allow(dead_code, reason = "dropping it ends the turn")] mpsc::Sender<()>);

fn stick<P: Process>(pid: &Pid<P>) -> Stuck {
    let (begun, begins) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    pid.dispatch(move |_, _| {
        begun.send(()).unwrap();
        let _ = gone.recv();
    });
    begins.recv().unwrap();
    Stuck(go)
}

fn paused(metrics: MetricsConfig) -> (Clock, Guard) {
    let clock = Clock::paused();
    let runtime = start(RuntimeConfig {
        clock: clock.clone(),
        metrics,
        // No other timer is due before those of the tests.
        header_timeout: Duration::from_secs(3600),
        ..loopback()
    });
    (clock, runtime)
}

fn unlimited() -> MetricsConfig {
    MetricsConfig {
        rate: None,
        ..MetricsConfig::default()
    }
}

/// Waits until the next timer is `after` from now.
#[track_caller]
fn until_timer(clock: &Clock, after: Duration) {
    until("something waits", || {
        clock.next_deadline() == Some(clock.now() + after)
    });
}

/// Sends a request and gives its answer once it is there.
fn request(runtime: &Guard, target: &str) -> mpsc::Receiver<Answer> {
    let (tx, rx) = mpsc::channel();
    let mut client = Client::connect(runtime.address());
    client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
    std::thread::spawn(move || tx.send(client.response()));
    rx
}

#[test]
fn actors_are_asked_for_gauges() {
    let runtime = start(loopback());
    let knows = runtime.spawn("knows", Knows(1.5)).unwrap();
    let metrics = runtime.metrics();
    metrics.pull_gauge_from("test/knows", &knows, Knows::number);
    metrics.pull_gauge_from("test/knows_too", &knows, Knows::number);
    let json = get(&runtime, "/metrics/snapshot").json();
    assert_eq!(json["test/knows"], 1.5);
    assert_eq!(json["test/knows_too"], 1.5);
    assert!(!metrics.snapshot().contains_key("test/knows"));
    let all = block_on(metrics.snapshot_within(Duration::from_secs(60)));
    assert_eq!(all["test/knows"], 1.5);

    knows.terminate();
    block_on(runtime.wait(knows.upid()));
    let answer = get(&runtime, "/metrics/snapshot");
    assert!(!answer.text().contains("test/knows"));
}

#[test]
fn a_stuck_actor_does_not_hold_up_a_snapshot() {
    let (clock, runtime) = paused(unlimited());
    let stuck = runtime.spawn("stuck", Knows(1.0)).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    runtime
        .metrics()
        .pull_gauge_from("test/stuck", &stuck, move |_, _| {
            count.fetch_add(1, Ordering::SeqCst) as f64
        });
    runtime.metrics().counter("test/counter").inc();
    let held = stick(&stuck);
    let check = |target: &str, after: u64| {
        let answer = request(&runtime, target);
        if after > 0 {
            until_timer(&clock, Duration::from_secs(after));
            clock.advance(Duration::from_secs(after) - Duration::from_millis(1));
            assert!(answer.try_recv().is_err(), "{target}");
            clock.advance(Duration::from_millis(1));
        }
        let json = answer.recv_timeout(common::DEADLINE).unwrap().json();
        assert_eq!(json["test/counter"], 1.0);
        assert!(json.get("test/stuck").is_none(), "{target}");
    };
    check("/metrics/snapshot?timeout=0ns", 0);
    check("/metrics/snapshot?timeout=5secs", 5);
    check("/metrics/snapshot", 30);
    assert_eq!(stuck.queued().dispatches, 1, "one question at a time");
    drop(held);
    sync(&stuck);
    let json = get(&runtime, "/metrics/snapshot").json();
    assert_eq!(json["test/stuck"], 1.0);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn a_gauge_that_panics_is_left_out() {
    let runtime = start(loopback());
    let metrics = runtime.metrics();
    metrics.counter("test/counter").inc();
    metrics.pull_gauge("test/now", || panic!("now"));
    let unasked = || -> Ready<Option<f64>> { panic!("unasked") };
    metrics
        .add("test/unasked", PullGauge::asking(unasked))
        .unwrap();
    let unanswered = PullGauge::asking(|| async { panic!("unanswered") });
    metrics.add("test/unanswered", unanswered).unwrap();
    let check = |target: &str, shown: &str, failed: f64| {
        let answer = get(&runtime, target);
        assert_eq!(answer.code(), 200, "{target}");
        assert!(answer.text().contains(shown), "{}", answer.text());
        for gauge in ["now", "unasked", "unanswered"] {
            assert!(!answer.text().contains(gauge), "{}", answer.text());
        }
        let all = block_on(metrics.snapshot_within(Duration::from_secs(60)));
        assert_eq!(all["libprocess/metrics_gauges_failed"], failed);
    };
    check("/metrics/snapshot", "\"test/counter\":1.0", 5.0);
    check("/metrics/snapshot", "\"test/counter\":1.0", 11.0);
    check("/metrics", "\ntest_counter_total 1\n", 17.0);
    check("/metrics", "\ntest_counter_total 1\n", 23.0);
}

#[test]
fn waiting_for_a_turn_has_an_end() {
    let (clock, runtime) = paused(MetricsConfig {
        rate: Some(Rate {
            requests: 1,
            per: Duration::from_secs(90),
        }),
        ..MetricsConfig::default()
    });
    for target in ["/metrics/snapshot", "/metrics"] {
        assert_eq!(get(&runtime, target).code(), 200);
        let second = request(&runtime, target);
        until_timer(&clock, Duration::from_secs(30));
        clock.advance(Duration::from_secs(30));
        let refused = second.recv_timeout(common::DEADLINE).unwrap();
        assert_eq!(refused.code(), 503, "{target}");
        assert_eq!(refused.header("retry-after"), Some("90"));
    }
}

#[test]
fn snapshots_are_limited_in_rate() {
    let (clock, runtime) = paused(MetricsConfig {
        rate: Some(Rate {
            requests: 2,
            per: Duration::from_secs(1),
        }),
        ..MetricsConfig::default()
    });
    assert_eq!(get(&runtime, "/metrics/snapshot").code(), 200);
    // The other endpoint has a limit of its own.
    assert_eq!(get(&runtime, "/metrics").code(), 200);

    let second = request(&runtime, "/metrics/snapshot");
    until_timer(&clock, Duration::from_millis(500));
    let impatient = request(&runtime, "/metrics/snapshot?timeout=0ns");
    assert_eq!(
        impatient.recv_timeout(common::DEADLINE).unwrap().code(),
        503
    );
    assert!(second.try_recv().is_err());
    clock.advance(Duration::from_millis(500));
    assert_eq!(second.recv_timeout(common::DEADLINE).unwrap().code(), 200);

    let third = request(&runtime, "/metrics/snapshot?timeout=100ms");
    until_timer(&clock, Duration::from_millis(100));
    clock.advance(Duration::from_millis(100));
    let refused = third.recv_timeout(common::DEADLINE).unwrap();
    assert_eq!(refused.code(), 503);
    assert!(refused.text().starts_with("Too many requests"));
    assert_eq!(metric(&runtime, "libprocess/metrics_requests_refused"), 2.0);
    clock.advance(Duration::from_millis(400));
    assert_eq!(get(&runtime, "/metrics/snapshot?timeout=1ms").code(), 200);
}

/// The text of `/metrics` for a client that accepts this.
fn scrape(runtime: &Guard, accept: &str) -> Answer {
    let mut client = Client::connect(runtime.address());
    client.send(format!(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
    ));
    client.response()
}

fn section(text: &str, word: &str) -> String {
    let lines = text.lines().filter(|line| line.contains(word));
    lines.map(|line| format!("{line}\n")).collect()
}

/// One of each kind, and names that meet.
fn add_all_kinds(runtime: &Guard) {
    let metrics = runtime.metrics();
    metrics.counter("test/events").add(7);
    metrics.counter("test/below").add_signed(-1);
    metrics.push_gauge("test/cpus_total").set(2.5);
    metrics.push_gauge("test/infinite").set(f64::INFINITY);
    metrics.push_gauge("test/no_number").set(f64::NAN);
    metrics.push_gauge("meet/\"here\"\n\\").set(1.0);
    metrics.push_gauge("meet/_here___").set(2.0);
    metrics.counter("kinds/meet").add(3);
    metrics.push_gauge("kinds.meet").set(4.0);
    let timer = metrics.timer("test/store");
    timer.record(Duration::from_millis(100));
    metrics.timer("test/never");
    timer.record(Duration::from_millis(300));
    metrics
        .windowed_counter("test/window", Duration::from_secs(60))
        .inc();
}

#[test]
fn metrics_as_openmetrics() {
    let (_, runtime) = paused(unlimited());
    add_all_kinds(&runtime);
    let answer = scrape(
        &runtime,
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = answer.text();
    let check = |word: &str, expected: &str| assert_eq!(section(&text, word), expected, "{text}");
    check(
        "test_events",
        "# TYPE test_events counter\n# HELP test_events test/events\ntest_events_total 7\n",
    );
    check(
        "test_below",
        "# TYPE test_below gauge\n# HELP test_below test/below\ntest_below -1.0\n",
    );
    check(
        "test_cpus",
        "# TYPE test_cpus_total_value gauge\n# HELP test_cpus_total_value test/cpus_total\ntest_cpus_total_value 2.5\n",
    );
    check("test_infinite +", "test_infinite +Inf\n");
    check("no_number", "");
    check(
        "meet__",
        "# TYPE meet__here___ gauge\n# HELP meet__here___ Several metrics, see the label name\n\
         meet__here___{name=\"meet/\\\"here\\\"\\n\\\\\"} 1.0\nmeet__here___{name=\"meet/_here___\"} 2.0\n",
    );
    check(
        "kinds_meet",
        "# TYPE kinds_meet counter\n# HELP kinds_meet kinds/meet\nkinds_meet_total 3\n\
         # TYPE kinds_meet_value gauge\n# HELP kinds_meet_value kinds.meet\nkinds_meet_value 4.0\n",
    );
    check(
        "test_store",
        "# TYPE test_store_seconds summary\n# UNIT test_store_seconds seconds\n# HELP test_store_seconds test/store_ms\n\
         test_store_seconds{quantile=\"0.0\"} 0.1\ntest_store_seconds{quantile=\"0.5\"} 0.2\n\
         test_store_seconds{quantile=\"0.9\"} 0.28\ntest_store_seconds{quantile=\"0.95\"} 0.29\n\
         test_store_seconds{quantile=\"0.99\"} 0.298\ntest_store_seconds{quantile=\"0.999\"} 0.2998\n\
         test_store_seconds{quantile=\"0.9999\"} 0.29998\ntest_store_seconds{quantile=\"1.0\"} 0.3\n\
         test_store_seconds_sum 0.4\ntest_store_seconds_count 2\n",
    );
    check(
        "test_never_seconds_",
        "test_never_seconds_sum 0.0\ntest_never_seconds_count 0\n",
    );
    assert!(text.ends_with("\n# EOF\n"));
}

#[test]
fn promtool_accepts_the_metrics() {
    let (_, runtime) = paused(unlimited());
    add_all_kinds(&runtime);
    let answer = scrape(&runtime, "*/*");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = answer.text();
    assert_eq!(
        section(&text, "test_events"),
        "# TYPE test_events_total counter\n# HELP test_events_total test/events\ntest_events_total 7\n"
    );
    promtool(&["check", "metrics"], &text).unwrap();
    promtool(&["check", "metrics"], &format!("{text}no value\n")).unwrap_err();
}

#[test]
fn promtool_reads_openmetrics() {
    let (_, runtime) = paused(unlimited());
    add_all_kinds(&runtime);
    let text = scrape(&runtime, "application/openmetrics-text").text();
    let folder = tempfile::tempdir().unwrap();
    // It wants to know the time of each sample.
    let read = |text: &str| {
        let lines = text.lines().map(|line| match line.starts_with('#') {
            true => format!("{line}\n"),
            false => format!("{line} 1700000000\n"),
        });
        let (samples, blocks) = (folder.path().join("samples"), folder.path().join("blocks"));
        std::fs::write(&samples, lines.collect::<String>()).unwrap();
        let paths = [&samples, &blocks].map(|path| path.to_str().unwrap());
        let [samples, blocks] = paths;
        promtool(
            &["tsdb", "create-blocks-from", "openmetrics", samples, blocks],
            "",
        )
    };
    read(&text).unwrap();
    read(text.trim_end_matches("# EOF\n")).unwrap_err();
    read(&text.replace(
        "UNIT test_store_seconds seconds",
        "UNIT test_store_seconds bytes",
    ))
    .unwrap_err();
}

#[test]
fn metrics_of_the_runtime_are_documented() {
    let runtime = start(loopback());
    let page = include_str!("../../docs/metrics.md");
    let own = |name: &String| name.starts_with("libprocess/");
    for name in runtime.metrics().snapshot().into_keys().filter(own) {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}

/// What promtool says if it does not like something.
fn promtool(arguments: &[&str], input: &str) -> Result<(), String> {
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed: apt-get install prometheus");
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{}\n{input}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

#[test]
fn what_is_too_much_for_a_scrape_is_counted() {
    let (clock, runtime) = paused(MetricsConfig {
        max_series: 3,
        ..unlimited()
    });
    let first = get(&runtime, "/metrics").text();
    assert_eq!(first.matches("# TYPE").count(), 3);
    let left_out = metric(&runtime, "libprocess/metrics_series_left_out");
    assert!(left_out > 3.0);

    // A server that says how long it waits is not kept waiting longer.
    let stuck = runtime.spawn("stuck", Knows(1.0)).unwrap();
    runtime
        .metrics()
        .pull_gauge_from("test/stuck", &stuck, Knows::number);
    let _held = stick(&stuck);
    let mut client = Client::connect(runtime.address());
    client.send(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n",
    );
    until_timer(&clock, Duration::from_millis(9500));
    clock.advance(Duration::from_millis(9500));
    assert_eq!(client.response().code(), 200);
    assert_eq!(get(&runtime, "/metrics?timeout=5").code(), 400);
}

#[test]
fn many_counters_are_shown_while_others_come_and_go() {
    const COUNTERS: usize = 20_000;
    let runtime = start(loopback());
    let metrics = runtime.metrics();
    let name = |n: usize| format!("{}/{n:06}", "metrics/of/a/name/of/length".repeat(3));
    for n in 0..COUNTERS {
        metrics.counter(name(n)).add(n as u64);
    }
    let (actor, log) = record(&runtime, "busy");
    let own = metrics.clone();
    actor.dispatch(move |recorder, _| {
        for n in 0..COUNTERS {
            own.counter(format!("metrics/z{n}")).inc();
            own.remove(&format!("metrics/z{n}"));
        }
        recorder.log.add("done");
    });
    let json = get(&runtime, "/metrics/snapshot").json();
    for n in 0..COUNTERS {
        assert_eq!(json[name(n)], n as f64);
    }
    log.wait_for(&["done"]);
    metrics.remove_prefix("metrics/of/");
    let left = metrics.snapshot();
    assert!(left.keys().all(|name| !name.starts_with("metrics/")));
}
