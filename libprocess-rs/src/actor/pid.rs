use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{AnyMailbox, Ask, Context, Event, Mailbox, Named, Process, QueuedEvents, Turn};
use crate::{Clock, Upid};

/// A typed handle to an actor of this runtime, by which closures are run in its turns.
///
/// Holding one does not keep the actor alive.
///
/// Upstream: `process::PID` and `process::dispatch`.
pub struct Pid<P: Process> {
    upid: Upid,
    mailbox: Arc<Mailbox<P>>,
}

/// The actor ended before it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the actor has ended")]
pub struct Gone;

/// Why an actor did not answer [in time](Pid::ask_within).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The actor ended before it answered.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The time was up. The turn is still run when it is its turn.
    #[error("the actor did not answer within {0:?}")]
    TimedOut(Duration),
}

impl<P: Process> Pid<P> {
    pub(crate) fn new(upid: Upid, mailbox: Arc<Mailbox<P>>) -> Self {
        Self { upid, mailbox }
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox<P>> {
        &self.mailbox
    }

    /// The address of the actor.
    pub fn upid(&self) -> &Upid {
        &self.upid
    }

    /// What waits for a turn of the actor now.
    pub fn queued(&self) -> QueuedEvents {
        self.mailbox.queued()
    }

    /// Queues `turn` as an event of the actor. If the actor has ended it is dropped without being run.
    pub fn dispatch(&self, turn: impl FnOnce(&mut P, &mut Context<P>) + Send + 'static) {
        self.push(Box::new(turn));
    }

    /// Like [`dispatch`](Self::dispatch), with a name by which tests can wait for the turn or drop it.
    pub fn dispatch_named(
        &self,
        name: &'static str,
        turn: impl FnOnce(&mut P, &mut Context<P>) + Send + 'static,
    ) {
        self.push(Box::new(Named { name, turn }));
    }

    fn push(&self, turn: Box<dyn Turn<P>>) {
        // Upstream drops the call too; who needs to know uses `ask`.
        let _ = self.mailbox.push(Event::Dispatch(turn));
    }

    /// Queues `turn` as an event of the actor at once, not when the future is first polled, and waits for what it returns.
    ///
    /// # Errors
    /// [`Gone`] if the actor ends before the turn.
    pub fn ask<R: Send + 'static>(
        &self,
        turn: impl FnOnce(&mut P, &mut Context<P>) -> R + Send + 'static,
    ) -> impl Future<Output = Result<R, Gone>> + Send + 'static {
        let (output, answer) = oneshot::channel();
        self.push(Box::new(Ask { turn, output }));
        async move { answer.await.map_err(|_| Gone) }
    }

    /// Like [`ask`](Self::ask), but waits no longer than `limit` on `clock`, counted from the first poll.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn ask_within<R: Send + 'static>(
        &self,
        clock: &Clock,
        limit: Duration,
        turn: impl FnOnce(&mut P, &mut Context<P>) -> R + Send + 'static,
    ) -> impl Future<Output = Result<R, AskError>> + Send + 'static {
        let (answer, clock) = (self.ask(turn), clock.clone());
        async move {
            match clock.timeout(limit, answer).await {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(AskError::TimedOut(limit)),
            }
        }
    }

    /// A callback that may be called on any thread and any number of times, each time queueing `turn` as an event of the actor.
    /// Even when called within a turn of the same actor it does not run at once.
    ///
    /// Upstream: `process::defer`.
    pub fn defer<A: Send + 'static>(
        &self,
        turn: impl Fn(&mut P, &mut Context<P>, A) + Send + Sync + 'static,
    ) -> impl Fn(A) + Send + Sync + 'static {
        let name = std::any::type_name_of_val(&turn);
        let (pid, turn) = (self.clone(), Arc::new(turn));
        move |argument| {
            let turn = turn.clone();
            pid.dispatch_named(name, move |process, ctx| turn(process, ctx, argument));
        }
    }

    /// Ends the actor: events queued so far are discarded, then it is finalized.
    pub fn terminate(&self) {
        self.mailbox.terminate(true);
    }

    /// Ends the actor after it has served the events queued so far.
    pub fn terminate_in_turn(&self) {
        self.mailbox.terminate(false);
    }
}

impl<P: Process> Clone for Pid<P> {
    fn clone(&self) -> Self {
        Self {
            upid: self.upid.clone(),
            mailbox: self.mailbox.clone(),
        }
    }
}

impl<P: Process> PartialEq for Pid<P> {
    fn eq(&self, other: &Self) -> bool {
        self.upid == other.upid
    }
}

impl<P: Process> Eq for Pid<P> {}

impl<P: Process> std::hash::Hash for Pid<P> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.upid.hash(state);
    }
}

impl<P: Process> fmt::Display for Pid<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.upid.fmt(f)
    }
}

impl<P: Process> fmt::Debug for Pid<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.upid.fmt(f)
    }
}
