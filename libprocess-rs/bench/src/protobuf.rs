//! Protobuf messages of growing size, decoded for a handler that does nothing: upstream's `ProtobufInstallHandler`.
//!
//! Upstream calls the handler straight from the benchmark. Here each message goes through the mailbox of its actor too, for
//! there is no other way into it; the messages are queued in batches, by the actor itself.
//!
//! The figure is a median, for a virtual machine stands still now and then. C++'s figures are means of a whole second, but of
//! a machine on which nothing else ran.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use libprocess::{Context, MessageName, Process};
use prost::Message as _;

use crate::Options;
use crate::report::{Report, Unit, median};

/// Total number of submessages, and what C++ does in messages per second where it is known.
const SIZES: &[(usize, Option<f64>)] = &[
    (0, Some(6.2e6)),
    (1, None),
    (5, Some(3.2e6)),
    (10, None),
    (50, Some(562e3)),
    (100, Some(318e3)),
    (500, None),
    (1000, Some(34e3)),
    (5000, None),
    (10_000, None),
];

/// How long each size is measured.
const TIME: Duration = Duration::from_secs(1);

/// The parts of that time, of which the median is taken. Long enough for what a process does to itself, such as giving memory
/// back, to be in each.
const SLICE: Duration = Duration::from_millis(100);

/// Messages queued at once.
const BATCH: usize = 64;

/// Children of each node of the tree.
const BRANCHES: usize = 4;

#[derive(Clone, PartialEq, prost::Message)]
struct Tree {
    #[prost(int32, repeated, packed = "false", tag = "1")]
    payload: Vec<i32>,
    #[prost(message, repeated, tag = "2")]
    submessages: Vec<Tree>,
}

impl prost::Name for Tree {
    const NAME: &'static str = "Message";
    const PACKAGE: &'static str = "tests";
}

/// A tree with this many nodes below the root, filled level by level.
fn tree(submessages: usize) -> Tree {
    let mut children = vec![0; submessages + 1];
    let parent = |node: usize| (node - 1) / BRANCHES;
    let mut nodes: VecDeque<Tree> = VecDeque::new();
    for node in 1..=submessages {
        children[parent(node)] += 1;
    }
    // From the last node to the first, so that a node's children are ready, in reverse, when it is its turn.
    for count in children.into_iter().rev() {
        let mut submessages: Vec<Tree> = nodes.drain(..count).collect();
        submessages.reverse();
        nodes.push_back(Tree {
            payload: vec![1; 2],
            submessages,
        });
    }
    nodes.pop_front().unwrap_or_default()
}

struct Handling {
    body: Bytes,
    handled: usize,
    slices: Slices,
    done: Option<mpsc::Sender<f64>>,
}

impl Process for Handling {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(|handling: &mut Self, _, _, message: Tree| {
            std::hint::black_box(&message);
            handling.handled += 1;
        });
        ctx.pid().dispatch(Self::batch);
    }
}

impl Handling {
    fn batch(&mut self, ctx: &mut Context<Self>) {
        if let Some(rate) = self.slices.rate(self.handled) {
            if let Some(done) = self.done.take() {
                let _ = done.send(rate);
            }
            return;
        }
        let name = MessageName::of::<Tree>();
        for _ in 0..BATCH {
            ctx.send_raw(ctx.upid(), name.clone(), self.body.clone());
        }
        ctx.pid().dispatch(Self::batch);
    }
}

/// What was handled in each part of the time.
struct Slices {
    /// When the current part began, and what was handled before it.
    start: Option<(Instant, usize)>,
    length: Duration,
    left: usize,
    rates: Vec<f64>,
}

impl Slices {
    fn new(time: Duration) -> Self {
        Self {
            start: None,
            length: time.min(SLICE),
            left: (time.div_duration_f64(SLICE) as usize).max(1),
            rates: Vec::new(),
        }
    }

    /// How much is handled per second, once all parts are over.
    fn rate(&mut self, handled: usize) -> Option<f64> {
        let now = Instant::now();
        let (start, before) = *self.start.get_or_insert((now, handled));
        let elapsed = now - start;
        if elapsed >= self.length {
            let rate = (handled - before) as f64 / elapsed.as_secs_f64();
            self.rates.push(rate);
            self.start = Some((now, handled));
            self.left -= 1;
        }
        (self.left == 0).then(|| median(&mut self.rates))
    }
}

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let runtime = options.runtime()?;
    for (submessages, cpp) in SIZES {
        let body = Bytes::from(tree(*submessages).encode_to_vec());
        let name = format!("protobuf handler, {} bytes", body.len());
        let (done, finished) = mpsc::channel();
        let handling = Handling {
            body,
            handled: 0,
            slices: Slices::new(options.time(TIME)),
            done: Some(done),
        };
        let pid = runtime.spawn("", handling)?;
        let rate = finished.recv().context("the actor ended early")?;
        pid.terminate();
        report.add(name, rate, Unit::PerSecond("messages"), *cpp);
    }
    runtime.shutdown();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_upstream() {
        let check = |submessages: usize, bytes: usize| {
            assert_eq!(tree(submessages).encoded_len(), bytes, "{submessages}");
        };
        check(0, 4);
        check(5, 34);
        check(50, 304);
        check(100, 605);
        check(1000, 6019);
    }
}
