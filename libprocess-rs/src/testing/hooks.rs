//! Where events are shown to filters before they are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::actor::{self, Context, Envelope, Process, Turn, UNSEEN};
use crate::{Headers, Instant, MessageName, Upid};

/// An event that an actor is about to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// The actor.
    pub to: Upid,
    /// What it is to serve.
    pub what: What,
}

/// What an actor is to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A message.
    Message {
        /// The sender.
        from: Upid,
        /// The name.
        name: MessageName,
        /// The body.
        body: Bytes,
    },
    /// A dispatch, an ask, a deferred call or a timer of the actor.
    Dispatch {
        /// Its name, or else the path of the function in which it was written.
        name: &'static str,
    },
    /// An HTTP request.
    Http {
        /// The method.
        method: http::Method,
        /// The path, after delegation.
        path: String,
        /// The headers.
        headers: Headers,
        /// The whole body; none if the route streams bodies.
        body: Option<Bytes>,
    },
    /// The end of a linked actor or of the connection to it.
    Exited {
        /// The linked actor.
        pid: Upid,
    },
}

/// What becomes of an event.
pub(super) enum Verdict {
    /// It does not concern this filter.
    Pass,
    Serve,
    Drop,
    /// It is given to [`Filter::take`].
    Hold,
}

/// Queues an event that was held.
pub(super) type Release = Box<dyn FnOnce() + Send>;

/// Decides on events.
pub(super) trait Filter: Send + Sync {
    fn look(&self, event: &Event) -> Verdict;

    fn take(&self, event: Event, release: Release) {
        let _ = (event, release);
    }
}

/// Told of each event that is served.
pub(super) type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// The filters of one runtime.
#[derive(Default)]
pub(crate) struct Hooks {
    /// False as long as events need not be shown to anyone.
    used: AtomicBool,
    filters: RwLock<Vec<Arc<dyn Filter>>>,
    observer: RwLock<Option<Observer>>,
}

impl Hooks {
    pub(super) fn add(&self, filter: Arc<dyn Filter>) {
        self.filters.write().push(filter);
        self.used.store(true, Ordering::Release);
    }

    pub(super) fn remove(&self, filter: &Arc<dyn Filter>) {
        let mut filters = self.filters.write();
        filters.retain(|known| !Arc::ptr_eq(known, filter));
        let used = !filters.is_empty() || self.observer.read().is_some();
        self.used.store(used, Ordering::Release);
    }

    pub(super) fn observe(&self, observer: Observer) {
        *self.observer.write() = Some(observer);
        self.used.store(true, Ordering::Release);
    }

    /// Asks the filters, the newest first, until one of them decides.
    fn judge(&self, event: &Event) -> (Verdict, Option<Arc<dyn Filter>>) {
        let filters: Vec<_> = self.filters.read().iter().rev().cloned().collect();
        for filter in filters {
            match filter.look(event) {
                Verdict::Pass => {}
                verdict => return (verdict, Some(filter)),
            }
        }
        (Verdict::Serve, None)
    }

    fn served(&self, event: &Event) {
        let observer = self.observer.read().clone();
        if let Some(observer) = observer {
            observer(event);
        }
    }
}

/// An event that was held and is now to be served without being shown to filters again.
struct Released<P: Process> {
    event: actor::Event<P>,
    shown: Event,
}

impl<P: Process> Turn<P> for Released<P> {
    fn run(self: Box<Self>, process: &mut P, ctx: &mut Context<P>) {
        let Self { event, mut shown } = *self;
        shown.at = ctx.now();
        ctx.runtime().inner().hooks.served(&shown);
        match event {
            actor::Event::Message(envelope) => drop(ctx.on_message(process, envelope)),
            actor::Event::Dispatch(turn) => turn.run(process, ctx),
            actor::Event::Http(event) => ctx.on_http(process, event),
            actor::Event::Exited(upid) => process.exited(&upid, ctx),
            actor::Event::Terminate => {}
        }
    }

    fn name(&self) -> &'static str {
        UNSEEN
    }
}

impl<P: Process> Context<P> {
    /// Shows an event to the filters of the runtime and gives it back if it is to be served.
    #[inline]
    pub(crate) fn show_to_hooks(&self, event: actor::Event<P>) -> Option<actor::Event<P>> {
        match self.runtime().inner().hooks.used.load(Ordering::Relaxed) {
            false => Some(event),
            true => self.show(event),
        }
    }

    #[cold]
    fn show(&self, event: actor::Event<P>) -> Option<actor::Event<P>> {
        let Some(what) = What::of(&event) else {
            return Some(event);
        };
        let shown = Event {
            at: self.now(),
            to: self.upid().clone(),
            what,
        };
        let hooks = &self.runtime().inner().hooks;
        match hooks.judge(&shown) {
            (Verdict::Pass | Verdict::Serve, _) => {
                hooks.served(&shown);
                Some(event)
            }
            (Verdict::Hold, Some(filter)) => {
                let mailbox = self.mailbox().clone();
                let copy = shown.clone();
                let release = Box::new(move || {
                    let released = Released { event, shown };
                    // An actor that has ended loses what was held back from it.
                    let _ = mailbox.push(actor::Event::Dispatch(Box::new(released)));
                });
                filter.take(copy, release);
                None
            }
            (Verdict::Drop | Verdict::Hold, _) => None,
        }
    }
}

impl What {
    /// `None` for events that are never shown.
    fn of<P: Process>(event: &actor::Event<P>) -> Option<Self> {
        Some(match event {
            actor::Event::Message(Envelope { from, name, body }) => Self::Message {
                from: from.clone(),
                name: name.clone(),
                body: body.clone(),
            },
            actor::Event::Dispatch(turn) if turn.name() == UNSEEN => return None,
            actor::Event::Dispatch(turn) => Self::Dispatch { name: turn.name() },
            actor::Event::Http(event) => {
                let request = &event.request;
                let whole = request.stream.is_none();
                Self::Http {
                    method: request.method.clone(),
                    path: request.path.clone(),
                    headers: request.headers.clone(),
                    body: whole.then(|| request.body.clone()),
                }
            }
            actor::Event::Exited(pid) => Self::Exited { pid: pid.clone() },
            actor::Event::Terminate => return None,
        })
    }
}

impl Event {
    /// The sender of a message, or the actor whose end it is.
    pub fn from(&self) -> Option<&Upid> {
        match &self.what {
            What::Message { from, .. } => Some(from),
            What::Exited { pid } => Some(pid),
            What::Dispatch { .. } | What::Http { .. } => None,
        }
    }

    /// The body of a message, or of a request whose route does not stream bodies.
    pub fn body(&self) -> Option<&Bytes> {
        match &self.what {
            What::Message { body, .. } => Some(body),
            What::Http { body, .. } => body.as_ref(),
            What::Dispatch { .. } | What::Exited { .. } => None,
        }
    }

    /// The protobuf message, if it is one of type `M` that parses.
    pub fn decode<M: prost::Message + prost::Name + Default>(&self) -> Option<M> {
        match &self.what {
            What::Message { name, body, .. } if name.as_str() == M::full_name() => {
                M::decode(body.clone()).ok()
            }
            _ => None,
        }
    }
}
