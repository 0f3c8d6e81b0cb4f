//! Messages to another OS process over loopback, on one connection, without waiting for anything.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use libprocess::{Context, Process, Runtime, RuntimeConfig, Upid};

use crate::Options;
use crate::child::Child;
use crate::report::Report;

const MESSAGES: usize = 1_000_000;
const BODY_BYTES: usize = 512;

/// What C++ does, in messages per second.
const CPP: f64 = 66e3;

/// Messages per turn of the sender, so that what waits for the connection stays below its bound.
const BURST: usize = 1000;

/// Messages under way; the receiver says how far it has come.
const WINDOW: usize = 20_000;

struct Receiver {
    received: usize,
}

impl Process for Receiver {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("note", |receiver: &mut Self, ctx, from, body| {
            let number = body.get(..8).map_or(0, |number| {
                number
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
            });
            // Order and number are checked in one: message n has to be the n-th.
            if number != receiver.received {
                ctx.send_raw(from, "wrong", body);
                return;
            }
            receiver.received += 1;
            if receiver.received.is_multiple_of(BURST) {
                ctx.send_raw(from, "progress", receiver.received.to_string().into());
            }
        });
    }
}

struct Sender {
    to: Upid,
    total: usize,
    sent: usize,
    done: std::sync::mpsc::Sender<Result<(), String>>,
}

impl Process for Sender {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.link(&self.to);
        ctx.install_raw("progress", |sender: &mut Self, ctx, _, body| {
            let received = std::str::from_utf8(&body).ok().and_then(|n| n.parse().ok());
            sender.continue_from(ctx, received.unwrap_or_default());
        });
        ctx.install_raw("wrong", |sender: &mut Self, _, _, _| {
            let _ = sender
                .done
                .send(Err("a message was lost or overtaken".to_owned()));
        });
        self.continue_from(ctx, 0);
    }

    fn exited(&mut self, pid: &Upid, _: &mut Context<Self>) {
        let _ = self
            .done
            .send(Err(format!("the connection to {pid} broke")));
    }
}

impl Sender {
    fn continue_from(&mut self, ctx: &Context<Self>, received: usize) {
        if received == self.total {
            let _ = self.done.send(Ok(()));
        }
        while self.sent < self.total.min(received + WINDOW) {
            let mut body = vec![b'x'; BODY_BYTES];
            let number = (self.sent as u64).to_be_bytes();
            body.iter_mut()
                .zip(number)
                .for_each(|(to, byte)| *to = byte);
            ctx.send_raw(&self.to, "note", Bytes::from(body));
            self.sent += 1;
        }
    }
}

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    // A multiple of the bursts, at the end of which the receiver reports.
    let messages = options.scaled(MESSAGES).next_multiple_of(BURST);
    let (child, to) = start_receiver()?;
    let runtime = options.runtime()?;
    let (done, finished) = std::sync::mpsc::channel();
    let start = Instant::now();
    let sender = Sender {
        to,
        total: messages,
        sent: 0,
        done,
    };
    runtime.spawn("", sender)?;
    let result = finished.recv().context("the sender ended early")?;
    result.map_err(anyhow::Error::msg)?;
    let elapsed = start.elapsed();
    runtime.shutdown();
    drop(child);
    let name = format!("one-way messages to another OS process, {BODY_BYTES} bytes");
    report.rate(name, messages, elapsed, "messages", Some(CPP));
    Ok(())
}

/// Starts this program again as the receiver and learns its address.
fn start_receiver() -> anyhow::Result<(Child, Upid)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--child", "receiver"])
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start the receiver")?;
    let output = child.stdout.take().context("no output")?;
    let child = Child(child);
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let to = line.trim().parse().context("the receiver's address")?;
    Ok((child, to))
}

/// What the receiver does until it is killed.
pub(crate) fn receive() -> anyhow::Result<()> {
    let runtime = Runtime::start(RuntimeConfig::loopback())?;
    let pid = runtime.spawn("receiver", Receiver { received: 0 })?;
    println!("{}", pid.upid());
    let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    tokio.block_on(runtime.wait(pid.upid()));
    Ok(())
}
