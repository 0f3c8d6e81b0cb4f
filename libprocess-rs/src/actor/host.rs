//! Hosts a process in an actix actor and runs its turns.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use actix::fut::ActorFuture;
use actix::{Actor as _, ActorContext, AsyncContext};

use super::{AnyMailbox, Context, Event, Process};

/// After this many events the actor lets others on its thread have a turn.
const EVENTS_PER_POLL: usize = 256;

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
        ctx.spawn(Pump { initialized: false });
    }
}

/// Starts `process` on the current arbiter.
pub(crate) fn start<P: Process>(process: P, ctx: Context<P>) {
    let process = Box::new(process);
    Host { process, ctx }.start();
}

/// Feeds the events of the mailbox to the process for as long as it lives.
struct Pump {
    initialized: bool,
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
        mailbox.set_busy(true);
        mailbox.register(task.waker());
        let next = self.run(host, task);
        if next == Next::Continue {
            mailbox.set_busy(false);
            return Poll::Pending;
        }
        host.end(next);
        actix.stop();
        Poll::Ready(())
    }
}

impl Pump {
    fn run<P: Process>(&mut self, host: &mut Host<P>, task: &mut TaskContext<'_>) -> Next {
        if !self.initialized {
            self.initialized = true;
            let next = host.turn(|process, ctx| process.initialize(ctx));
            host.ctx.routes().set_ready();
            if next == Next::Panicked {
                return next;
            }
        }
        let mut budget = EVENTS_PER_POLL;
        loop {
            while budget > 0
                && let Some(event) = host.ctx.mailbox().pop()
            {
                budget -= 1;
                match host.serve(event) {
                    Next::Continue => {}
                    end => return end,
                }
            }
            match host.poll_futures(task, &mut budget) {
                Poll::Ready(Next::Continue) => {}
                Poll::Ready(end) => return end,
                Poll::Pending if budget > 0 && host.ctx.mailbox().len() > 0 => {}
                Poll::Pending => break,
            }
            if budget == 0 {
                break;
            }
        }
        if budget == 0 {
            task.waker().wake_by_ref();
        }
        Next::Continue
    }
}

impl<P: Process> Host<P> {
    fn serve(&mut self, event: Event<P>) -> Next {
        if matches!(event, Event::Terminate) {
            return Next::Terminate;
        }
        self.turn(|process, ctx| match event {
            Event::Message { from, name, body } => ctx.on_message(process, &from, &name, body),
            Event::Dispatch(turn) => turn(process, ctx),
            Event::Http(event) => ctx.on_http(process, *event),
            Event::Exited(upid) => process.exited(&upid, ctx),
            Event::Terminate => {}
        })
    }

    /// Polls the futures of the actor; ready if one has completed and its continuation has run.
    fn poll_futures(&mut self, task: &mut TaskContext<'_>, budget: &mut usize) -> Poll<Next> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.ctx.poll_futures(task)));
        match polled {
            Ok(Poll::Ready(Some(continuation))) => {
                *budget = budget.saturating_sub(1);
                Poll::Ready(self.turn(continuation))
            }
            Ok(_) => Poll::Pending,
            Err(panic) => {
                self.report(&*panic);
                Poll::Ready(Next::Panicked)
            }
        }
    }

    fn turn(&mut self, turn: impl FnOnce(&mut P, &mut Context<P>)) -> Next {
        self.ctx.mailbox().count_turn();
        let (process, ctx) = (&mut *self.process, &mut self.ctx);
        match catch_unwind(AssertUnwindSafe(|| turn(process, ctx))) {
            Ok(()) => Next::Continue,
            Err(panic) => {
                self.report(&*panic);
                Next::Panicked
            }
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
            self.turn(|process, ctx| process.finalize(ctx));
        }
        self.ctx.end();
    }
}
