//! Actors: their mailbox, their turns, and the handles to them.

mod context;
mod host;
mod mailbox;
mod periodic;
mod pid;
mod queue;
mod registry;
mod sync;
mod turn;

pub use context::Context;
pub use mailbox::QueuedEvents;
pub use periodic::Periodic;
pub use pid::{AskError, Gone, Pid};

pub(crate) use context::Own;
pub(crate) use host::{start, start_unmanaged};
pub(crate) use mailbox::{
    AnyMailbox, Envelope, Event, GLIMPSE_BYTES, Glimpse, HttpEvent, Mailbox, wait_for,
};
pub(crate) use registry::{Actor, AddError, Ids, Registry};
#[cfg(feature = "testing")]
pub(crate) use turn::UNSEEN;
pub(crate) use turn::{Ask, Delayed, Named, Turn};

use crate::Upid;

/// The state of an actor and its reactions. All methods run in turns of the actor: one at a time, on one thread.
///
/// Handlers of messages, routes and dispatched closures may panic; that ends this actor alone, without its last turn.
///
/// Upstream: `process::Process` in `3rdparty/libprocess/include/process/process.hpp`.
pub trait Process: Sized + Send + 'static {
    /// The first turn: installs handlers and routes, links, starts timers.
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let _ = ctx;
    }

    /// The last turn, after which queued events are discarded. Not called if a turn panicked.
    fn finalize(&mut self, ctx: &mut Context<Self>) {
        let _ = ctx;
    }

    /// A linked actor ended, or the connection to its runtime broke. The link is gone; link again to keep watching.
    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        let _ = (pid, ctx);
    }
}
