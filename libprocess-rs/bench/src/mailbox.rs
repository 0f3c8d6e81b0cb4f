//! The queue of an actor: upstream's three benchmarks of `MpscLinkedQueue`, through the mailbox that takes its place. An item is
//! a dispatched call that captures nothing, which needs no allocation; upstream's is a pointer to a string that it makes before.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use libprocess::{Pid, Process};

use crate::Options;
use crate::report::{Report, Unit};

/// Items per producer.
const ITEMS: usize = 10_000_000;

/// Looks into an empty queue; upstream's are ten times as many.
const LOOKS: usize = 100_000_000;

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
    // All of them wait at one time, so it is as many with any number of producers; with each upstream's are as many again.
    let items = (items / options.producers()).max(1);
    let (producers, consumer) = one_after_the_other(options, items)?;
    let items = items * options.producers();
    add(report, "one after the other", items, producers, consumer);
    let looks = options.scaled(LOOKS);
    let start = Instant::now();
    let found = libprocess::fuzzing::take_from_empty_mailbox(looks);
    let elapsed = start.elapsed();
    anyhow::ensure!(found == 0, "{found} items in an empty mailbox");
    report.rate(
        "mailbox, empty, consumer",
        looks,
        elapsed,
        "operations",
        None,
    );
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

/// Has each producer queue this many items, and waits for that.
fn produce_all(options: &Options, pid: &Pid<Consumer>, items: usize) -> anyhow::Result<()> {
    let producers: Vec<_> = (0..options.producers())
        .map(|_| {
            let pid = pid.clone();
            thread::spawn(move || produce(&pid, items))
        })
        .collect();
    for producer in producers {
        producer.join().ok().context("a producer panicked")?;
    }
    Ok(())
}

fn contended(options: &Options, items: usize) -> anyhow::Result<(Duration, Duration)> {
    let (runtime, pid, finished) = spawn(options, items * options.producers())?;
    let start = Instant::now();
    produce_all(options, &pid, items)?;
    let produced = start.elapsed();
    let consumed = finished.recv().context("the actor ended early")? - start;
    runtime.shutdown();
    Ok((produced, consumed))
}

fn one_after_the_other(options: &Options, items: usize) -> anyhow::Result<(Duration, Duration)> {
    let (runtime, pid, finished) = spawn(options, items * options.producers())?;
    let (go, gone) = mpsc::channel::<()>();
    pid.dispatch(move |_, _| {
        let _ = gone.recv();
    });
    let start = Instant::now();
    produce_all(options, &pid, items)?;
    let produced = start.elapsed();
    let start = Instant::now();
    drop(go);
    let consumed = finished.recv().context("the actor ended early")? - start;
    runtime.shutdown();
    Ok((produced, consumed))
}
