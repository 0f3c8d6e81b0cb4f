//! The queue of events of one actor.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::{Context, Process};
use crate::Upid;
use crate::http::{Request, Response};

type Turn<P> = Box<dyn FnOnce(&mut P, &mut Context<P>) + Send>;

/// What an actor can be asked to do.
pub(crate) enum Event<P: Process> {
    Message {
        from: Upid,
        name: Box<str>,
        body: Bytes,
    },
    Dispatch(Turn<P>),
    Http(Box<HttpEvent>),
    Exited(Upid),
    Terminate,
}

/// A request on its way to a route. Dropping it unanswered gives the client a 500.
pub(crate) struct HttpEvent {
    pub(crate) request: Request,
    pub(crate) route: String,
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

/// The actor has ended or is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undelivered;

/// The events of one actor in the order of their arrival.
///
/// Producers append to `back`; the consumer takes from `front` and swaps the two when `front` is empty, so that the actor does
/// not contend with its senders for each event. The order of locking is `front`, then `back`.
pub(crate) struct Mailbox<P: Process> {
    front: Mutex<VecDeque<Event<P>>>,
    back: Mutex<Back<P>>,
    len: AtomicUsize,
    waker: AtomicWaker,
    /// Told when a queue that was over the high-water mark has shrunk, and when the actor ends.
    relieved: Notify,
    ended: AtomicBool,
    end: Notify,
    busy: AtomicBool,
    turns: AtomicU64,
}

struct Back<P: Process> {
    events: VecDeque<Event<P>>,
    open: bool,
}

/// Remote senders are held back while more events than this wait; each connection has at most one message in hand.
pub(crate) const HIGH_WATER_EVENTS: usize = 65_536;

/// Queues that once were longer than this give their memory back when they are drained.
const KEPT_CAPACITY: usize = 1024;

impl<P: Process> Mailbox<P> {
    pub(crate) fn new() -> Self {
        Self {
            front: Mutex::new(VecDeque::new()),
            back: Mutex::new(Back {
                events: VecDeque::new(),
                open: true,
            }),
            len: AtomicUsize::new(0),
            waker: AtomicWaker::new(),
            relieved: Notify::new(),
            ended: AtomicBool::new(false),
            end: Notify::new(),
            busy: AtomicBool::new(true),
            turns: AtomicU64::new(0),
        }
    }

    pub(crate) fn push(&self, event: Event<P>) -> Result<(), Undelivered> {
        {
            let mut back = self.back.lock();
            if !back.open {
                return Err(Undelivered);
            }
            back.events.push_back(event);
            self.len.fetch_add(1, Ordering::Release);
        }
        self.waker.wake();
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<Event<P>> {
        let mut front = self.front.lock();
        if front.is_empty() {
            if front.capacity() > KEPT_CAPACITY {
                *front = VecDeque::new();
            }
            std::mem::swap(&mut *front, &mut self.back.lock().events);
        }
        let event = front.pop_front()?;
        if self.len.fetch_sub(1, Ordering::AcqRel) == HIGH_WATER_EVENTS {
            self.relieved.notify_waiters();
        }
        Some(event)
    }

    /// Closes the queue and puts the end where it belongs: first in line, or behind what is queued.
    fn close(&self, inject: bool) {
        let discarded = {
            let mut front = self.front.lock();
            let mut back = self.back.lock();
            if !back.open && !inject {
                return;
            }
            back.open = false;
            let discarded = inject.then(|| {
                let old = (
                    std::mem::take(&mut *front),
                    std::mem::take(&mut back.events),
                );
                self.len.store(0, Ordering::Release);
                old
            });
            back.events.push_back(Event::Terminate);
            self.len.fetch_add(1, Ordering::Release);
            discarded
        };
        drop(discarded);
        self.relieved.notify_waiters();
        self.waker.wake();
    }

    /// Discards everything and refuses what may still come.
    pub(crate) fn shut(&self) {
        let discarded = {
            let mut front = self.front.lock();
            let mut back = self.back.lock();
            back.open = false;
            self.len.store(0, Ordering::Release);
            (
                std::mem::take(&mut *front),
                std::mem::take(&mut back.events),
            )
        };
        drop(discarded);
        self.relieved.notify_waiters();
    }

    pub(crate) fn queued(&self) -> QueuedEvents {
        let front = self.front.lock();
        let back = self.back.lock();
        let mut queued = QueuedEvents::default();
        for event in front.iter().chain(&back.events) {
            match event {
                Event::Message { .. } => queued.messages += 1,
                Event::Dispatch(_) => queued.dispatches += 1,
                Event::Http(_) => queued.http_requests += 1,
                Event::Exited(_) | Event::Terminate => {}
            }
        }
        queued
    }

    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Marks the begin or end of a series of turns, for [`AnyMailbox::is_idle`].
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Release);
    }

    pub(crate) fn count_turn(&self) {
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns.wrapping_add(1), Ordering::Release);
    }

    pub(crate) fn set_ended(&self) {
        self.ended.store(true, Ordering::Release);
        self.end.notify_waiters();
    }
}

/// A mailbox whose actor's type does not matter.
pub(crate) trait AnyMailbox: Send + Sync {
    fn message(&self, from: Upid, name: Box<str>, body: Bytes) -> Result<(), Undelivered>;
    fn http(&self, event: HttpEvent) -> Result<(), Undelivered>;
    fn exited(&self, upid: Upid);
    /// With `inject`, events queued so far are discarded; else they are served first. New ones are refused in both cases.
    fn terminate(&self, inject: bool);
    /// What is queued, as `/__processes__` shows it.
    fn describe(&self, to: &Upid) -> Vec<serde_json::Value>;
    fn len(&self) -> usize;
    fn is_idle(&self) -> bool;
    fn turns(&self) -> u64;
    fn is_ended(&self) -> bool;
    fn end(&self) -> &Notify;
    fn relieved(&self) -> &Notify;
}

impl<P: Process> AnyMailbox for Mailbox<P> {
    fn message(&self, from: Upid, name: Box<str>, body: Bytes) -> Result<(), Undelivered> {
        self.push(Event::Message { from, name, body })
    }

    fn http(&self, event: HttpEvent) -> Result<(), Undelivered> {
        self.push(Event::Http(Box::new(event)))
    }

    fn exited(&self, upid: Upid) {
        // A linker that has ended in the meantime does not need to know.
        let _ = self.push(Event::Exited(upid));
    }

    fn terminate(&self, inject: bool) {
        self.close(inject);
    }

    fn describe(&self, to: &Upid) -> Vec<serde_json::Value> {
        let front = self.front.lock();
        let back = self.back.lock();
        front
            .iter()
            .chain(&back.events)
            .map(|event| describe(event, to))
            .collect()
    }

    fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    fn is_idle(&self) -> bool {
        self.len() == 0 && !self.busy.load(Ordering::Acquire)
    }

    fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn end(&self) -> &Notify {
        &self.end
    }

    fn relieved(&self) -> &Notify {
        &self.relieved
    }
}

fn describe<P: Process>(event: &Event<P>, to: &Upid) -> serde_json::Value {
    use serde_json::json;
    match event {
        Event::Message { from, name, body } => json!({
            "type": "MESSAGE",
            "name": name,
            "from": from.to_string(),
            "to": to.to_string(),
            "body": String::from_utf8_lossy(body),
        }),
        Event::Dispatch(_) => json!({"type": "DISPATCH"}),
        Event::Http(event) => json!({
            "type": "HTTP",
            "method": event.request.method.as_str(),
            "url": event.request.url(),
        }),
        Event::Exited(_) => json!({"type": "EXITED"}),
        Event::Terminate => json!({"type": "TERMINATE"}),
    }
}
