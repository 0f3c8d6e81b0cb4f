//! Closures run in turns of an actor: dispatch, ask, and upstream's `DispatchDefer`. Where it is not said that they capture
//! something they capture nothing, which needs no allocation.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use libprocess::{Context, Gone, Pid, Placement, Process};

use crate::Options;
use crate::report::Report;

const DISPATCHES: usize = 5_000_000;
const ASKS: usize = 1_000_000;

/// Asks under way.
const ASK_WINDOW: usize = 100;

const ROUND_TRIPS: usize = 100_000;
const PAYLOAD_INTS: usize = 10_240;

/// How often the payload is copied in a round trip, and what C++ needs, in milliseconds, if it does as much.
///
/// C++ copies a payload that can be moved twice: `defer` takes it by reference, and so does the dispatch that it ends in. One
/// that cannot be moved, such as its protobuf messages, it copies at least three times.
const COPIES: [(usize, &str, Option<f64>); 4] = [
    (0, "handed over", None),
    (1, "copied once", None),
    (2, "copied twice, as C++ does", Some(191.0)),
    (
        3,
        "copied thrice, as C++ does if it cannot move it",
        Some(289.0),
    ),
];

/// What a dispatched call captures.
const TEXT: &str = "a string of some length";

struct Counter {
    count: usize,
    goal: usize,
    done: mpsc::Sender<()>,
}

impl Counter {
    fn count(&mut self) {
        self.count += 1;
        if self.count == self.goal {
            let _ = self.done.send(());
        }
    }
}

impl Process for Counter {}

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let dispatches = options.scaled(DISPATCHES);
    let empty = |pid: &Pid<Counter>, _| pid.dispatch(|counter, _| counter.count());
    let elapsed = dispatch(options, dispatches, empty)?;
    report.rate(
        "dispatch from outside to one actor",
        dispatches,
        elapsed,
        "calls",
        None,
    );
    let capturing = |pid: &Pid<Counter>, number: usize| {
        let text = TEXT.to_owned();
        pid.dispatch(move |counter, _| {
            std::hint::black_box((number, text));
            counter.count();
        });
    };
    let elapsed = dispatch(options, dispatches, capturing)?;
    report.rate(
        "dispatch from outside to one actor, capturing a number and a string",
        dispatches,
        elapsed,
        "calls",
        None,
    );
    let elapsed = chain(options, dispatches)?;
    report.rate(
        "dispatch between two actors of one thread",
        dispatches,
        elapsed,
        "calls",
        None,
    );
    let asks = options.scaled(ASKS);
    let elapsed = ask(options, asks)?;
    report.rate(
        "ask from outside to one actor",
        asks,
        elapsed,
        "answers",
        None,
    );
    let rounds = options.scaled(ROUND_TRIPS);
    for (copies, how, cpp) in COPIES {
        let name = format!("dispatch and defer, {rounds} round trips, payload {how}");
        let elapsed = defer(options, rounds, copies)?;
        report.time(name, elapsed, cpp.and_then(|cpp| options.unscaled(cpp)));
    }
    Ok(())
}

fn dispatch(
    options: &Options,
    count: usize,
    send: impl Fn(&Pid<Counter>, usize),
) -> anyhow::Result<Duration> {
    let runtime = options.runtime()?;
    let (done, finished) = mpsc::channel();
    let counter = Counter {
        count: 0,
        goal: count,
        done,
    };
    let pid = runtime.spawn("", counter)?;
    let start = Instant::now();
    for number in 0..count {
        send(&pid, number);
    }
    finished.recv().context("the actor ended early")?;
    let elapsed = start.elapsed();
    runtime.shutdown();
    Ok(elapsed)
}

/// Two actors that dispatch to each other, a window of calls under way.
struct Half {
    other: Option<Pid<Half>>,
    counter: Counter,
}

impl Process for Half {}

fn hit(half: &mut Half, _: &mut Context<Half>) {
    half.counter.count();
    if let Some(other) = &half.other {
        other.dispatch(hit);
    }
}

fn chain(options: &Options, count: usize) -> anyhow::Result<Duration> {
    const WINDOW: usize = 1000;
    let runtime = options.runtime()?;
    let (done, finished) = mpsc::channel();
    let half = |goal| Half {
        other: None,
        counter: Counter {
            count: 0,
            goal,
            done: done.clone(),
        },
    };
    let left = runtime.spawn("", half(count / 2))?;
    let near = Placement::Near(left.upid().clone());
    let right = runtime.spawn_at(near, "", half(0))?;
    let (to_left, to_right) = (left.clone(), right.clone());
    right.dispatch(move |half, _| half.other = Some(to_left));
    let start = Instant::now();
    left.dispatch(move |half, _| {
        half.other = Some(to_right.clone());
        for _ in 0..WINDOW {
            to_right.dispatch(hit);
        }
    });
    finished.recv().context("the actor ended early")?;
    let elapsed = start.elapsed();
    runtime.shutdown();
    Ok(elapsed)
}

fn ask(options: &Options, count: usize) -> anyhow::Result<Duration> {
    let runtime = options.runtime()?;
    let (done, _finished) = mpsc::channel();
    let counter = Counter {
        count: 0,
        goal: 0,
        done,
    };
    let pid = runtime.spawn("", counter)?;
    let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    let start = Instant::now();
    tokio.block_on(async {
        let mut asked = VecDeque::new();
        for _ in 0..count {
            if asked.len() == ASK_WINDOW
                && let Some(answer) = asked.pop_front()
            {
                answer_of(answer).await?;
            }
            asked.push_back(pid.ask(|counter, _| counter.count));
        }
        for answer in asked {
            answer_of(answer).await?;
        }
        anyhow::Ok(())
    })?;
    let elapsed = start.elapsed();
    runtime.shutdown();
    Ok(elapsed)
}

async fn answer_of(answer: impl Future<Output = Result<usize, Gone>>) -> anyhow::Result<()> {
    answer.await?;
    Ok(())
}

/// Each round asks the actor itself and, when the answer is there, dispatches to itself with the payload.
struct Deferring {
    counter: Counter,
    copies: usize,
}

impl Process for Deferring {}

impl Deferring {
    fn round(&mut self, ctx: &mut Context<Self>, mut data: Vec<i32>) {
        self.counter.count();
        if self.counter.count >= self.counter.goal {
            return;
        }
        let own = ctx.pid();
        for _ in 0..self.copies {
            data = std::hint::black_box(data.clone());
        }
        ctx.spawn(own.ask(|_, _| ()), move |_, _, _| {
            own.dispatch(move |deferring, ctx| deferring.round(ctx, data));
        });
    }
}

fn defer(options: &Options, rounds: usize, copies: usize) -> anyhow::Result<Duration> {
    let runtime = options.runtime()?;
    let (done, finished) = mpsc::channel();
    let counter = Counter {
        count: 0,
        goal: rounds,
        done,
    };
    let pid = runtime.spawn("", Deferring { counter, copies })?;
    let data = vec![42; PAYLOAD_INTS];
    let start = Instant::now();
    pid.dispatch(move |deferring, ctx| deferring.round(ctx, data));
    finished.recv().context("the actor ended early")?;
    let elapsed = start.elapsed();
    runtime.shutdown();
    Ok(elapsed)
}
