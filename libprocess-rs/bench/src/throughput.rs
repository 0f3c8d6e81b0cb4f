//! Ping-pong by named messages without bodies: upstream's `ThroughputPerformance`, with each pair on one thread and with the
//! actors placed in turn, as upstream's are wherever there is a free thread.

use std::sync::mpsc;
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use libprocess::{Context, Placement, Process, Runtime, Upid};

use crate::Options;
use crate::report::Report;

/// Pings of all clients together.
const PINGS: usize = 15_000_000;

/// Pings under way per client.
const WINDOW: usize = 1000;

/// What C++ does, in pings per second.
const CPP: f64 = 7.8e6;

struct Destination;

impl Process for Destination {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("ping", |_, ctx, from, _| {
            ctx.send_raw(from, "pong", Bytes::new());
        });
    }
}

struct Client {
    destination: Upid,
    done: mpsc::Sender<()>,
    repeat: usize,
    sent: usize,
    received: usize,
}

impl Client {
    fn ping(&mut self, ctx: &Context<Self>) {
        ctx.send_raw(&self.destination, "ping", Bytes::new());
        self.sent += 1;
    }

    fn pong(&mut self, ctx: &Context<Self>) {
        self.received += 1;
        if self.sent < self.repeat {
            self.ping(ctx);
        } else if self.received == self.repeat {
            let _ = self.done.send(());
        }
    }
}

impl Process for Client {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("pong", |client: &mut Self, ctx, _, _| client.pong(ctx));
        ctx.install_raw("run", |client: &mut Self, ctx, _, _| {
            for _ in 0..WINDOW.min(client.repeat) {
                client.ping(ctx);
            }
        });
    }
}

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let pairs = options.pairs;
    for (near, how) in [(true, "each on one thread"), (false, "placed in turn")] {
        let (pings, elapsed) = measure(options, near)?;
        let name = format!("ping-pong throughput, {pairs} pairs, {how}");
        report.rate(name, pings, elapsed, "pings", Some(CPP));
    }
    Ok(())
}

fn measure(options: &Options, near: bool) -> anyhow::Result<(usize, std::time::Duration)> {
    let runtime = options.runtime()?;
    let pairs = options.pairs;
    let repeat = options.scaled(PINGS) / pairs;
    let (done, finished) = mpsc::channel();
    let mut clients = Vec::new();
    for _ in 0..pairs {
        let (client, _) = spawn_pair(&runtime, near, repeat, done.clone())?;
        clients.push(client);
    }
    let start = Instant::now();
    for client in &clients {
        runtime.send(&Upid::default(), client, "run", Bytes::new());
    }
    for _ in &clients {
        finished.recv().context("a client ended early")?;
    }
    let elapsed = start.elapsed();
    runtime.shutdown();
    Ok((repeat * pairs, elapsed))
}

fn spawn_pair(
    runtime: &Runtime,
    near: bool,
    repeat: usize,
    done: mpsc::Sender<()>,
) -> anyhow::Result<(Upid, Upid)> {
    let destination = runtime.spawn("", Destination)?;
    let client = Client {
        destination: destination.upid().clone(),
        done,
        repeat,
        sent: 0,
        received: 0,
    };
    let placement = match near {
        true => Placement::Near(destination.upid().clone()),
        false => Placement::Next,
    };
    let client = runtime.spawn_at(placement, "", client)?;
    Ok((client.upid().clone(), destination.upid().clone()))
}
