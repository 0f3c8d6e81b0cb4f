//! The events of one actor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use bytes::Bytes;
use http::Method;
use tokio::sync::{Notify, oneshot};

use super::queue::{Closed, Queue, Size};
use super::{Process, Turn};
use crate::http::{Request, Response, Route};
use crate::panics::{Panic, drop_each};
use crate::{MessageName, Upid};

/// What an actor can be asked to do.
pub(crate) enum Event<P: Process> {
    Message(Envelope),
    Dispatch(Box<dyn Turn<P>>),
    Http(HttpEvent),
    Exited(Upid),
    Terminate,
}

/// A message on its way to an actor of this runtime.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) from: Upid,
    pub(crate) name: MessageName,
    pub(crate) body: Bytes,
}

/// A request on its way to a route. Dropping it unanswered gives the client a 500.
pub(crate) struct HttpEvent {
    pub(crate) request: Box<Request>,
    pub(crate) route: Arc<Route>,
    pub(crate) reply: oneshot::Sender<Response>,
}

/// How many events of each kind wait for an actor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueuedEvents {
    /// Messages of other actors.
    pub messages: usize,
    /// Closures to run in a turn.
    pub dispatches: usize,
    /// HTTP requests.
    pub http_requests: usize,
}

/// What is to be seen of an event that waits. It costs little to make, since the queue stands still meanwhile.
pub(crate) enum Glimpse {
    Message(Envelope),
    Dispatch,
    /// Method, path and query; the latter two cut to [`GLIMPSE_BYTES`].
    Http(Method, String, Option<String>),
    Exited,
    Terminate,
}

/// So much is seen of a text that may be long.
pub(crate) const GLIMPSE_BYTES: usize = 4096;

impl Glimpse {
    fn of<P: Process>(event: &Event<P>) -> Self {
        match event {
            Event::Message(envelope) => Self::Message(envelope.clone()),
            Event::Dispatch(_) => Self::Dispatch,
            Event::Http(event) => {
                let cut = |text: &str| {
                    let end = text.floor_char_boundary(GLIMPSE_BYTES);
                    text.get(..end).unwrap_or_default().to_owned()
                };
                let request = &event.request;
                let query = request.raw_query.as_deref();
                Self::Http(request.method.clone(), cut(&request.path), query.map(cut))
            }
            Event::Exited(_) => Self::Exited,
            Event::Terminate => Self::Terminate,
        }
    }
}

/// The actor has ended or is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undelivered;

/// The queue of events of one actor, and how far the actor has come.
pub(crate) struct Mailbox<P: Process> {
    events: Queue<Event<P>, Progress>,
}

#[derive(Default)]
struct Progress {
    turns: AtomicU64,
    ended: AtomicBool,
    /// Told when the actor has taken much at once, and when it has ended.
    changed: Notify,
}

/// Remote senders are held back while this many events wait behind those that the actor has in hand, which are not more than
/// this either; each connection has at most one message in hand.
const HIGH_WATER_EVENTS: usize = 65_536;

/// The same for the bytes in the bodies of messages.
const HIGH_WATER_BYTES: usize = 64 * 1024 * 1024;

fn is_high(size: Size) -> bool {
    size.items >= HIGH_WATER_EVENTS || size.weight >= HIGH_WATER_BYTES
}

impl<P: Process> Mailbox<P> {
    pub(crate) fn new() -> Self {
        Self {
            events: Queue::new(Progress::default()),
        }
    }

    fn progress(&self) -> &Progress {
        &self.events.between
    }

    pub(crate) fn push(&self, event: Event<P>) -> Result<(), Undelivered> {
        self.events.push(event, 0).map_err(|_| Undelivered)
    }

    /// The next event. For the actor itself, as what follows.
    pub(crate) fn pop(&self) -> Option<Event<P>> {
        if let Some(event) = self.events.pop() {
            return Some(event);
        }
        if is_high(self.events.refill()) {
            self.progress().changed.notify_waiters();
        }
        self.events.pop()
    }

    /// Sleeps until there are events. False if there are some by now. `turns` are all that the actor has had in its life.
    pub(crate) fn sleep(&self, waker: &Waker, turns: u64) -> bool {
        self.set_turns(turns);
        self.events.sleep(waker)
    }

    /// The actor is running.
    pub(crate) fn awake(&self) {
        self.events.awake();
    }

    pub(crate) fn set_turns(&self, turns: u64) {
        self.progress().turns.store(turns, Ordering::Release);
    }

    /// Refuses what may still come and returns what is queued: the actor has gone.
    #[must_use = "what is discarded may panic when it is dropped"]
    pub(crate) fn shut(&self) -> impl Iterator<Item = Event<P>> + use<P> {
        let discarded = self.events.shut();
        self.progress().changed.notify_waiters();
        discarded
    }

    pub(crate) fn set_ended(&self) {
        self.progress().ended.store(true, Ordering::Release);
        self.progress().changed.notify_waiters();
    }

    pub(crate) fn queued(&self) -> QueuedEvents {
        let mut queued = QueuedEvents::default();
        self.events.for_each(|event| match event {
            Event::Message(_) => queued.messages += 1,
            Event::Dispatch(_) => queued.dispatches += 1,
            Event::Http(_) => queued.http_requests += 1,
            Event::Exited(_) | Event::Terminate => {}
        });
        queued
    }
}

/// A mailbox whose actor's type does not matter.
pub(crate) trait AnyMailbox: Send + Sync {
    /// Queues a message, or gives it back.
    fn message(&self, envelope: Envelope) -> Result<(), Envelope>;
    fn http(&self, event: HttpEvent) -> Result<(), Undelivered>;
    fn exited(&self, upid: Upid);
    /// With `inject`, events queued so far are discarded; else they are served first. New ones are refused in both cases.
    fn terminate(&self, inject: bool);
    /// The first `limit` events that wait, and how many there are in all.
    fn peek(&self, limit: usize) -> (Vec<Glimpse>, usize);
    /// True if remote senders are to be held back.
    fn is_high(&self) -> bool;
    fn is_idle(&self) -> bool;
    fn turns(&self) -> u64;
    fn is_ended(&self) -> bool;
    /// Told when the mailbox may no longer be [high](Self::is_high), and when the actor has ended.
    fn changed(&self) -> &Notify;
}

impl<P: Process> AnyMailbox for Mailbox<P> {
    fn message(&self, envelope: Envelope) -> Result<(), Envelope> {
        let weight = envelope.body.len();
        match self.events.push(Event::Message(envelope), weight) {
            Err(Closed(Event::Message(envelope))) => Err(envelope),
            _ => Ok(()),
        }
    }

    fn http(&self, event: HttpEvent) -> Result<(), Undelivered> {
        self.push(Event::Http(event))
    }

    fn exited(&self, upid: Upid) {
        // A linker that has ended in the meantime does not need to know.
        let _ = self.push(Event::Exited(upid));
    }

    fn terminate(&self, inject: bool) {
        let discarded = self.events.close(Event::Terminate, inject);
        self.progress().changed.notify_waiters();
        drop_each(discarded, report_discarded);
    }

    fn peek(&self, limit: usize) -> (Vec<Glimpse>, usize) {
        let mut seen = Vec::new();
        let visit = |event: &Event<P>| seen.push(Glimpse::of(event));
        let all = self.events.for_first(limit, visit);
        (seen, all)
    }

    fn is_high(&self) -> bool {
        is_high(self.events.behind())
    }

    fn is_idle(&self) -> bool {
        self.events.is_asleep()
    }

    fn turns(&self) -> u64 {
        self.progress().turns.load(Ordering::Acquire)
    }

    fn is_ended(&self) -> bool {
        self.progress().ended.load(Ordering::Acquire)
    }

    fn changed(&self) -> &Notify {
        &self.progress().changed
    }
}

/// For want of the actor whose panic it would be.
pub(crate) fn report_discarded(panic: &Panic) {
    tracing::error!("An event panicked as it was discarded: {panic}");
}

/// Waits until `done` holds for the mailbox.
pub(crate) async fn wait_for(mailbox: &dyn AnyMailbox, done: fn(&dyn AnyMailbox) -> bool) {
    while !done(mailbox) {
        let mut changed = std::pin::pin!(mailbox.changed().notified());
        changed.as_mut().enable();
        if done(mailbox) {
            return;
        }
        changed.await;
    }
}
