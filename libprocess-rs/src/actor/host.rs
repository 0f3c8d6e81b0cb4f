//! Hosts a process in an actix actor and runs its turns.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use actix::fut::ActorFuture;
use actix::{Actor as _, ActorContext, AsyncContext};

use smallvec::SmallVec;

use super::{Context, Event, Mailbox, Process};
use crate::Upid;

/// After this many events the actor lets others on its thread have a turn.
const EVENTS_PER_POLL: u64 = 256;

/// The addresses of senders are dropped in portions of this size. A sender that is busy on another core uses the counter of its
/// address for each message, so that touching it for each message here too would slow both down.
const SENDERS_AT_ONCE: usize = 32;

/// The actix actor that owns a process. Its events come through the mailbox of the process rather than through actix's own, so
/// that they need no envelope each, can be listed and can be discarded by a termination.
struct Host<P: Process> {
    /// Boxed because actix moves its actors.
    process: Box<P>,
    ctx: Context<P>,
}

impl<P: Process> actix::Actor for Host<P> {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(Pump { turns: 0 });
    }
}

/// Starts `process` on the current arbiter.
pub(crate) fn start<P: Process>(process: P, ctx: Context<P>) {
    let process = Box::new(process);
    Host { process, ctx }.start();
}

/// Feeds the events of the mailbox to the process for as long as it lives.
struct Pump {
    /// Taken so far; the first is that of `initialize`.
    turns: u64,
}

/// Whether the actor goes on after a turn.
#[derive(PartialEq, Eq)]
enum Next {
    Continue,
    Terminate,
    Panicked,
}

impl<P: Process> ActorFuture<Host<P>> for Pump {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        host: &mut Host<P>,
        actix: &mut actix::Context<Host<P>>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let mailbox = host.ctx.mailbox().clone();
        mailbox.awake();
        let turns = &mut self.turns;
        let next = catch(host, |host| {
            if *turns == 0 {
                *turns = 1;
                host.process.initialize(&mut host.ctx);
                host.ctx.routes().set_ready();
            }
            host.run(&mailbox, task, turns)
        });
        mailbox.set_turns(*turns);
        if next == Next::Continue {
            return Poll::Pending;
        }
        host.end(next);
        actix.stop();
        Poll::Ready(())
    }
}

/// Runs turns of an actor; a panic is reported and ends it.
fn catch<P: Process>(host: &mut Host<P>, turns: impl FnOnce(&mut Host<P>) -> Next) -> Next {
    match catch_unwind(AssertUnwindSafe(|| turns(host))) {
        Ok(next) => next,
        Err(panic) => {
            host.report(&*panic);
            Next::Panicked
        }
    }
}

impl<P: Process> Host<P> {
    /// Serves events, and what the futures of the actor have come to, until there is nothing more to do or others on this
    /// thread must have a turn. Counts the turns.
    fn run(&mut self, mailbox: &Mailbox<P>, task: &mut TaskContext<'_>, turns: &mut u64) -> Next {
        let last = *turns + EVENTS_PER_POLL;
        let mut served = SmallVec::<[Upid; SENDERS_AT_ONCE]>::new();
        loop {
            while *turns < last
                && let Some(event) = mailbox.pop()
            {
                *turns += 1;
                if matches!(event, Event::Terminate) {
                    return Next::Terminate;
                }
                if served.len() == SENDERS_AT_ONCE {
                    served.clear();
                }
                self.serve(event, &mut served);
            }
            if let Poll::Ready(Some(continuation)) = self.ctx.poll_futures(task) {
                *turns += 1;
                continuation(&mut self.process, &mut self.ctx);
            } else if *turns < last && mailbox.sleep(task.waker(), *turns) {
                return Next::Continue;
            }
            if *turns >= last {
                task.waker().wake_by_ref();
                return Next::Continue;
            }
        }
    }

    fn serve(&mut self, event: Event<P>, served: &mut SmallVec<[Upid; SENDERS_AT_ONCE]>) {
        let (process, ctx) = (&mut *self.process, &mut self.ctx);
        match event {
            Event::Message(envelope) => served.push(ctx.on_message(process, envelope)),
            Event::Dispatch(turn) => turn(process, ctx),
            Event::Http(event) => ctx.on_http(process, *event),
            Event::Exited(upid) => process.exited(&upid, ctx),
            Event::Terminate => {}
        }
    }

    fn report(&self, panic: &(dyn std::any::Any + Send)) {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let upid = self.ctx.upid();
        tracing::error!("Actor {upid} panicked and is terminated: {text}");
        self.ctx.runtime().inner().counters.panics.inc();
    }

    fn end(&mut self, why: Next) {
        if why == Next::Terminate {
            catch(self, |host| {
                host.process.finalize(&mut host.ctx);
                Next::Terminate
            });
        }
        self.ctx.end();
    }
}
