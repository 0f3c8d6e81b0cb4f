use super::*;

fn json(metrics: &Metrics) -> String {
    metrics.to_json(&Answers::new())
}

#[test]
fn snapshot_is_flat_and_sorted() {
    let metrics = Metrics::new(Clock::paused());
    metrics.counter("b/count").add(2);
    metrics.counter("b/count").inc();
    metrics.push_gauge("a/gauge").set(0.5);
    metrics.pull_gauge("c/pulled", || 7.0);
    metrics.pull_gauge("c/nan", || f64::NAN);
    assert_eq!(
        json(&metrics),
        r#"{"a/gauge":0.5,"b/count":3.0,"c/pulled":7.0}"#
    );
    assert!(metrics.remove("a/gauge"));
    assert!(!metrics.remove("a/gauge"));
    metrics.remove_prefix("c/");
    assert_eq!(json(&metrics), r#"{"b/count":3.0}"#);
    metrics.push_gauge("b/count").add(1.0);
    assert_eq!(json(&metrics), r#"{"b/count":1.0}"#);
}

#[test]
fn timers_show_the_last_duration_and_statistics() {
    let clock = Clock::paused();
    let metrics = Metrics::new(clock.clone());
    let timer = metrics.timer("x/store");
    assert!(metrics.snapshot().is_empty());
    timer.record(Duration::from_millis(10));
    assert_eq!(json(&metrics), r#"{"x/store_ms":10.0}"#);
    let timing = timer.start();
    clock.advance(Duration::from_millis(30));
    timing.stop();
    assert_eq!(
        json(&metrics),
        "{\"x/store_ms\":30.0,\"x/store_ms/count\":2.0,\"x/store_ms/max\":30.0,\"x/store_ms/min\":10.0,\
         \"x/store_ms/p50\":20.0,\"x/store_ms/p90\":28.0,\"x/store_ms/p95\":29.0,\"x/store_ms/p99\":29.8,\
         \"x/store_ms/p999\":29.98,\"x/store_ms/p9999\":29.998}"
    );
}

#[test]
fn windowed_counters_begin_with_their_zero() {
    let clock = Clock::paused();
    let metrics = Metrics::new(clock.clone());
    let counter = metrics.windowed_counter("c", Duration::from_secs(10));
    assert_eq!(json(&metrics), r#"{"c":0.0}"#);
    counter.add(4);
    counter.add_signed(-1);
    assert_eq!(
        json(&metrics),
        "{\"c\":3.0,\"c/count\":3.0,\"c/max\":4.0,\"c/min\":0.0,\"c/p50\":3.0,\"c/p90\":3.8,\"c/p95\":3.9,\
         \"c/p99\":3.98,\"c/p999\":3.998,\"c/p9999\":3.9998}"
    );
    clock.advance(Duration::from_secs(10));
    counter.reset();
    assert_eq!(json(&metrics), r#"{"c":0.0}"#);
}

#[test]
fn statistics_keep_their_place_among_other_keys() {
    let clock = Clock::paused();
    let metrics = Metrics::new(clock.clone());
    for name in ["a", "a-b", "z"] {
        metrics
            .windowed_counter(name, Duration::from_secs(10))
            .inc();
    }
    for name in ["a-c", "a/max", "a/zero", "a0"] {
        metrics.push_gauge(name).set(7.5);
    }
    let json: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&json(&metrics)).unwrap();
    let values = metrics.snapshot();
    assert!(json.keys().is_sorted());
    assert_eq!(json["a/max"], 1.0, "the statistics come first");
    let keys: Vec<&String> = json.keys().collect();
    assert_eq!(keys, values.keys().collect::<Vec<_>>());
    assert!(json.values().eq(values.values()), "{json:?}");
    assert_eq!(values.len(), 3 * 10 + 3);
}

#[test]
fn a_name_is_added_once() {
    let metrics = Metrics::new(Clock::paused());
    let counter = Counter::default();
    metrics.add("x_ms", counter.clone()).unwrap();
    counter.inc();
    let timer = Timer::new(Clock::paused(), TimeUnit::Milliseconds, None);
    let error = metrics.add("x", timer).unwrap_err();
    assert_eq!(
        error.to_string(),
        "metric 'x_ms' was already added, as a counter"
    );
    assert!(metrics.add("x_ms", Counter::default()).is_err());
    assert_eq!(metrics.counter("x_ms").get(), 1);
    assert_eq!(metrics.kind("x_ms"), Some(MetricKind::Counter));
    assert_eq!(metrics.kind("x"), None);
    metrics.add("x", PushGauge::default()).unwrap();
    metrics.add("y", PullGauge::new(|| 2.0)).unwrap();
    assert_eq!(json(&metrics), r#"{"x":0.0,"x_ms":1.0,"y":2.0}"#);
}

#[test]
fn gauges_may_use_the_metrics() {
    let metrics = Metrics::new(Clock::paused());
    let own = metrics.clone();
    metrics.pull_gauge("a", move || own.counter("b").get() as f64 + 1.0);
    assert_eq!(json(&metrics), r#"{"a":1.0,"b":0.0}"#);
}

#[test]
fn all_slices_are_read() {
    let metrics = Metrics::new(Clock::paused());
    for n in 0..5000 {
        metrics.counter(format!("{n:04}")).add(n);
    }
    let values = metrics.snapshot();
    assert_eq!(values.len(), 5000);
    assert!(values.values().is_sorted());
}

#[test]
fn an_unanswered_gauge_is_not_asked_again() {
    let (clock, asked) = (Clock::paused(), Arc::new(AtomicUsize::new(0)));
    let metrics = Metrics::new(clock.clone());
    let (answer, answers) = tokio::sync::watch::channel(None);
    let count = asked.clone();
    let gauge = PullGauge::asking(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let mut answers = answers.clone();
        async move {
            let answer = answers.wait_for(Option::is_some).await;
            answer.ok().and_then(|answer| *answer)
        }
    });
    metrics.add("slow", gauge).unwrap();
    metrics.push_gauge("fast").set(1.0);
    let check = |limit: u64, expected: Option<&str>| {
        let limit = Duration::from_secs(limit);
        let values = metrics.snapshot_within(limit).now_or_never();
        let keys = values.map(|values| values.into_keys().collect::<Vec<_>>().join(" "));
        assert_eq!(keys.as_deref(), expected);
    };
    check(0, Some("fast"));
    check(5, None);
    let mut waiting = Box::pin(metrics.snapshot_within(Duration::from_secs(5)));
    assert!((&mut waiting).now_or_never().is_none());
    clock.advance(Duration::from_secs(5));
    assert_eq!(waiting.now_or_never().unwrap().len(), 1);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    answer.send(Some(2.0)).unwrap();
    check(0, Some("fast slow"));
    assert_eq!(asked.load(Ordering::Relaxed), 2, "the late answer was old");
    assert_eq!(metrics.snapshot().len(), 1);
    assert!(metrics.remove("slow"));
    check(0, Some("fast"));
}
