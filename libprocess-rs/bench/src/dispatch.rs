//! Closures run in turns of an actor: dispatch, ask, and upstream's `DispatchDefer`.

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

/// What C++ needs for the round trips, in milliseconds.
const CPP_MOVED: f64 = 191.0;
const CPP_COPIED: f64 = 289.0;

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
    let elapsed = dispatch(options, dispatches)?;
    report.rate(
        "dispatch from outside to one actor",
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
    let name = |how| format!("dispatch and defer, {rounds} round trips, payload {how}");
    let elapsed = defer(options, rounds, std::mem::take)?;
    report.time(name("moved"), elapsed, options.unscaled(CPP_MOVED));
    let elapsed = defer(options, rounds, |data| data.clone())?;
    report.time(name("copied"), elapsed, options.unscaled(CPP_COPIED));
    Ok(())
}

fn dispatch(options: &Options, count: usize) -> anyhow::Result<Duration> {
    let runtime = options.runtime()?;
    let (done, finished) = mpsc::channel();
    let counter = Counter {
        count: 0,
        goal: count,
        done,
    };
    let pid = runtime.spawn("", counter)?;
    let start = Instant::now();
    for _ in 0..count {
        pid.dispatch(|counter, _| counter.count());
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
    hand_over: fn(&mut Vec<i32>) -> Vec<i32>,
}

impl Process for Deferring {}

impl Deferring {
    fn round(&mut self, ctx: &mut Context<Self>, mut data: Vec<i32>) {
        self.counter.count();
        if self.counter.count >= self.counter.goal {
            return;
        }
        let own = ctx.pid();
        let data = (self.hand_over)(&mut data);
        ctx.spawn(own.ask(|_, _| ()), move |_, _, _| {
            own.dispatch(move |deferring, ctx| deferring.round(ctx, data));
        });
    }
}

fn defer(
    options: &Options,
    rounds: usize,
    hand_over: fn(&mut Vec<i32>) -> Vec<i32>,
) -> anyhow::Result<Duration> {
    let runtime = options.runtime()?;
    let (done, finished) = mpsc::channel();
    let counter = Counter {
        count: 0,
        goal: rounds,
        done,
    };
    let pid = runtime.spawn("", Deferring { counter, hand_over })?;
    let data = vec![42; PAYLOAD_INTS];
    let start = Instant::now();
    pid.dispatch(move |deferring, ctx| deferring.round(ctx, data));
    finished.recv().context("the actor ended early")?;
    let elapsed = start.elapsed();
    runtime.shutdown();
    Ok(elapsed)
}
