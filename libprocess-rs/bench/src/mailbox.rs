//! The queue of an actor: upstream's three benchmarks of `MpscLinkedQueue`, through the mailbox that takes its place. An item is
//! a dispatched call that captures nothing, which needs no allocation.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use libprocess::{Pid, Process};

use crate::Options;
use crate::report::{Report, Unit};

/// Items per producer.
const ITEMS: usize = 10_000_000;

/// Items that wait at most, where none are taken meanwhile; upstream queues all.
const QUEUED: usize = 1_000_000;

struct Consumer {
    left: usize,
    done: mpsc::Sender<Instant>,
}

impl Process for Consumer {}

impl Consumer {
    fn consume(&mut self) {
        self.left -= 1;
        if self.left == 0 {
            let _ = self.done.send(Instant::now());
        }
    }
}

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let items = options.scaled(ITEMS);
    let (producers, consumer) = contended(options, items)?;
    add(
        report,
        "at the same time",
        items * options.producers(),
        producers,
        consumer,
    );
    let items = options.scaled(QUEUED);
    let (producers, consumer) = one_after_the_other(options, items)?;
    add(report, "one after the other", items, producers, consumer);
    Ok(())
}

fn add(report: &mut Report, how: &str, items: usize, producers: Duration, consumer: Duration) {
    let rate = |elapsed: Duration| items as f64 / elapsed.as_secs_f64();
    let mut add = |who: &str, rate| {
        let name = format!("mailbox, {how}, {who}");
        report.add(name, rate, Unit::PerSecond("operations"), None);
    };
    add("producers", rate(producers));
    add("consumer", rate(consumer));
    add("together", rate(producers) + rate(consumer));
}

fn spawn(
    options: &Options,
    items: usize,
) -> anyhow::Result<(libprocess::Runtime, Pid<Consumer>, mpsc::Receiver<Instant>)> {
    let runtime = options.runtime()?;
    let (done, finished) = mpsc::channel();
    let pid = runtime.spawn("", Consumer { left: items, done })?;
    Ok((runtime, pid, finished))
}

fn produce(pid: &Pid<Consumer>, items: usize) {
    for _ in 0..items {
        pid.dispatch(|consumer, _| consumer.consume());
    }
}

fn contended(options: &Options, items: usize) -> anyhow::Result<(Duration, Duration)> {
    let count = options.producers();
    let (runtime, pid, finished) = spawn(options, items * count)?;
    let start = Instant::now();
    let producers: Vec<_> = (0..count)
        .map(|_| {
            let pid = pid.clone();
            thread::spawn(move || produce(&pid, items))
        })
        .collect();
    for producer in producers {
        producer.join().ok().context("a producer panicked")?;
    }
    let produced = start.elapsed();
    let consumed = finished.recv().context("the actor ended early")? - start;
    runtime.shutdown();
    Ok((produced, consumed))
}

fn one_after_the_other(options: &Options, items: usize) -> anyhow::Result<(Duration, Duration)> {
    let (runtime, pid, finished) = spawn(options, items)?;
    let (go, gone) = mpsc::channel::<()>();
    pid.dispatch(move |_, _| {
        let _ = gone.recv();
    });
    let start = Instant::now();
    produce(&pid, items);
    let produced = start.elapsed();
    let start = Instant::now();
    drop(go);
    let consumed = finished.recv().context("the actor ended early")? - start;
    runtime.shutdown();
    Ok((produced, consumed))
}
