//! Hosts a process on an arbiter and runs its turns.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{Context, Event, Mailbox, Process};
use crate::Upid;
use crate::http::abandoning;
use crate::panics::{catch, drop_each};

/// After this many events the actor lets others on its thread have a turn.
const EVENTS_PER_POLL: u64 = 256;

/// The addresses of senders are dropped in portions of this size. A sender that is busy on another core uses the counter of its
/// address for each message, so that touching it for each message here too would slow both down.
const SENDERS_AT_ONCE: usize = 32;

/// The task that owns a process and runs its turns for as long as it lives.
///
/// It is a task of an actix arbiter and not an actix actor: an `actix::Context` takes most of a kibibyte, and its mailbox could
/// neither be listed nor discarded by a termination.
struct Host<P: Process> {
    process: P,
    ctx: Context<P>,
    /// Taken so far; the first is that of `initialize`.
    turns: u64,
}

impl<P: Process> Host<P> {
    fn new(process: P, ctx: Context<P>) -> Self {
        Self {
            process,
            ctx,
            turns: 0,
        }
    }
}

/// Starts `process` on the current arbiter, which drops it when it has ended.
pub(crate) fn start<P: Process>(process: P, ctx: Context<P>) {
    let runtime = ctx.runtime().clone();
    let mut host = Host::new(process, ctx);
    runtime.inner().workers.spawn_here(async move {
        (&mut host).await;
        host.drop_process();
    });
}

/// Starts `process` on the current arbiter and gives it `back` when it has ended, unless by a panic.
pub(crate) fn start_unmanaged<P: Process>(process: P, ctx: Context<P>, back: oneshot::Sender<P>) {
    let runtime = ctx.runtime().clone();
    let mut host = Host::new(process, ctx);
    runtime.inner().workers.spawn_here(async move {
        if (&mut host).await == Next::Terminate {
            // Its owner may have lost interest.
            let _ = back.send(host.process);
        } else {
            host.drop_process();
        }
    });
}

/// Whether the actor goes on after a turn.
#[derive(PartialEq, Eq)]
enum Next {
    Continue,
    Terminate,
    Panicked,
}

// Nothing in it is ever pinned.
impl<P: Process> Unpin for Host<P> {}

impl<P: Process> Future for Host<P> {
    /// Not to continue.
    type Output = Next;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Next> {
        let host = &mut *self;
        let mailbox = host.ctx.mailbox().clone();
        mailbox.awake();
        let next = host.contain(|host| {
            if host.turns == 0 {
                host.turns = 1;
                host.process.initialize(&mut host.ctx);
                host.ctx.routes().set_ready();
            }
            host.run(&mailbox, task)
        });
        mailbox.set_turns(host.turns);
        match next {
            Next::Continue => Poll::Pending,
            end => Poll::Ready(host.end(end)),
        }
    }
}

impl<P: Process> Host<P> {
    /// Serves events, and what the futures of the actor have come to, until there is nothing more to do or others on this
    /// thread must have a turn. Counts the turns.
    fn run(&mut self, mailbox: &Mailbox<P>, task: &mut TaskContext<'_>) -> Next {
        let last = self.turns + EVENTS_PER_POLL;
        let mut served = SmallVec::<[Upid; SENDERS_AT_ONCE]>::new();
        loop {
            while self.turns < last
                && let Some(event) = mailbox.pop()
            {
                self.turns += 1;
                if matches!(event, Event::Terminate) {
                    return Next::Terminate;
                }
                if served.len() == SENDERS_AT_ONCE {
                    served.clear();
                }
                self.serve(event, &mut served);
            }
            if let Poll::Ready(Some(continuation)) = self.ctx.poll_futures(task) {
                self.turns += 1;
                continuation(&mut self.process, &mut self.ctx);
            } else if self.turns < last && mailbox.sleep(task.waker(), self.turns) {
                return Next::Continue;
            }
            if self.turns >= last {
                task.waker().wake_by_ref();
                return Next::Continue;
            }
        }
    }

    fn serve(&mut self, event: Event<P>, served: &mut SmallVec<[Upid; SENDERS_AT_ONCE]>) {
        #[cfg(feature = "testing")]
        let Some(event) = self.ctx.show_to_hooks(event) else {
            return;
        };
        let (process, ctx) = (&mut self.process, &mut self.ctx);
        match event {
            Event::Message(envelope) => served.push(ctx.on_message(process, envelope)),
            Event::Dispatch(turn) => turn.run(process, ctx),
            Event::Http(event) => ctx.on_http(process, event),
            Event::Exited(upid) => process.exited(&upid, ctx),
            Event::Terminate => {}
        }
    }

    /// Runs turns; a panic is reported and ends the actor.
    fn contain(&mut self, turns: impl FnOnce(&mut Self) -> Next) -> Next {
        catch(|| turns(self)).unwrap_or_else(|panic| {
            self.ctx.report(&panic);
            Next::Panicked
        })
    }

    fn end(&mut self, why: Next) -> Next {
        let end = match why {
            Next::Terminate => self.contain(|host| {
                host.process.finalize(&mut host.ctx);
                Next::Terminate
            }),
            why => why,
        };
        abandoning(|| self.ctx.end());
        end
    }

    fn drop_process(self) {
        let Self { process, ctx, .. } = self;
        abandoning(|| drop_each([process], |panic| ctx.report(panic)));
    }
}
