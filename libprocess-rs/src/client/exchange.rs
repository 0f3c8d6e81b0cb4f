//! What the handles of a connection and its driver share: the requests on their way and the responses they wait for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Response};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use super::request::{BodyStream, RequestBody};
use super::sink::Sink;
use super::{Body, ClientConfig, Counters, Disconnect, Disconnected, Error, Request};
use crate::{Clock, Instant};

/// Bodies up to this size are copied behind their heads, to be sent together.
const COPIED_BODY_BYTES: usize = 16 * 1024;

/// The state of one connection.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) config: Arc<ClientConfig>,
    pub(super) counters: Counters,
    state: Mutex<State>,
    /// Told when there is something to send.
    work: Notify,
    /// Told when the connection is to end although nothing happened on it.
    stop: Notify,
    /// Told when a deadline is nearer than the one that is slept for.
    nearer: Notify,
    ended: watch::Sender<Option<Disconnected>>,
}

/// Exchanges are numbered from 0. Those before `front` are over; those before `sent` have been sent, and those before `begun`
/// begun to be.
#[derive(Default)]
struct State {
    exchanges: VecDeque<Exchange>,
    front: u64,
    begun: u64,
    sent: u64,
    outgoing: VecDeque<Outgoing>,
    queued_bytes: usize,
    /// Why no further request is taken.
    refuses: Option<Disconnect>,
    /// True when no handle is left.
    released: bool,
    /// Why the connection is to end now.
    stop: Option<Disconnect>,
    /// True while the body of the front's response is read.
    in_body: bool,
    /// True while the server does not take what it is sent.
    stalled: bool,
    deadline: Option<Deadline>,
    sleeping_until: Option<Instant>,
}

/// A request, from being made until its response is complete.
struct Exchange {
    request: Arc<str>,
    to_head: bool,
    gzip: bool,
    last: bool,
    response_timeout: Option<Duration>,
    reply: Option<Reply>,
}

/// Who waits for a response.
pub(super) enum Reply {
    /// For all of it.
    Whole(oneshot::Sender<Result<Response<Bytes>, Error>>, usize),
    /// For its head.
    Stream(oneshot::Sender<Result<Response<Body>, Error>>),
}

impl Reply {
    /// True if nobody waits any more.
    fn is_closed(&self) -> bool {
        match self {
            Self::Whole(to, _) => to.is_closed(),
            Self::Stream(to) => to.is_closed(),
        }
    }

    fn fail(self, error: Error) {
        // The caller may have gone.
        match self {
            Self::Whole(to, _) => drop(to.send(Err(error))),
            Self::Stream(to) => drop(to.send(Err(error))),
        }
    }
}

/// What the writer has to send next.
pub(super) enum Outgoing {
    /// The heads of `begins` requests, of which the first `completes` have their bodies with them.
    Requests {
        bytes: BytesMut,
        begins: u64,
        completes: u64,
    },
    /// The body of the last one.
    Body(Bytes),
    /// The body of the last one.
    Stream(BodyStream),
}

/// The response at the front, as far as its reader has to know.
pub(super) struct Expected {
    pub(super) request: Arc<str>,
    pub(super) gzip: bool,
    pub(super) reply: Reply,
}

impl Expected {
    /// The largest body that the caller takes.
    pub(super) fn limit(&self) -> usize {
        match self.reply {
            Reply::Whole(_, limit) => limit,
            Reply::Stream(_) => usize::MAX,
        }
    }
}

struct Deadline {
    at: Instant,
    reason: Disconnect,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(clock: Clock, config: Arc<ClientConfig>, counters: Counters) -> Arc<Self> {
        Arc::new(Self {
            clock,
            config,
            counters,
            state: Mutex::default(),
            work: Notify::new(),
            stop: Notify::new(),
            nearer: Notify::new(),
            ended: watch::Sender::new(None),
        })
    }

    /// Queues a request, or fails its reply.
    pub(super) fn push(&self, request: Request, line: &Arc<str>, reply: Reply) {
        let mut state = self.state.lock();
        if let Some(error) = self.refusal(&state, &request, line) {
            drop(state);
            return reply.fail(error);
        }
        state.exchanges.push_back(Exchange {
            request: line.clone(),
            to_head: request.method == Method::HEAD,
            gzip: request.gzip,
            last: request.close,
            response_timeout: request.response_timeout.or(self.config.response_timeout),
            reply: Some(reply),
        });
        if request.close {
            state.refuses = Some(Disconnect::LastRequest);
        }
        state.queue(request);
        drop(state);
        self.work.notify_one();
    }

    /// Why a request cannot be sent.
    fn refusal(&self, state: &State, request: &Request, line: &Arc<str>) -> Option<Error> {
        let line = line.clone();
        if let Some(reason) = &request.invalid {
            return Some(Error::Invalid {
                request: line,
                reason: reason.clone(),
            });
        }
        if let Some(reason) = &state.refuses {
            return Some(Error::NotAnswered {
                request: line,
                sent: false,
                reason: reason.clone(),
            });
        }
        let full = state.exchanges.len() >= self.config.max_pipelined
            || state.queued_bytes >= self.config.max_queue_bytes;
        full.then(|| {
            self.counters.requests_refused.inc();
            Error::Busy { request: line }
        })
    }

    /// What to send next. Then it has begun to be sent.
    pub(super) fn take_outgoing(&self) -> Option<Outgoing> {
        let mut state = self.state.lock();
        let outgoing = state.outgoing.pop_front()?;
        match &outgoing {
            Outgoing::Requests { bytes, begins, .. } => {
                state.queued_bytes -= bytes.len();
                state.begun += begins;
            }
            Outgoing::Body(body) => state.queued_bytes -= body.len(),
            Outgoing::Stream(_) => {}
        }
        Some(outgoing)
    }

    /// So many more requests have been sent completely.
    pub(super) fn on_sent(&self, requests: u64) {
        let mut state = self.state.lock();
        state.sent += requests;
        if !state.in_body && state.deadline.is_none() {
            self.await_response(&mut state);
        }
    }

    /// The server does not take what it is sent. Once it has nothing else to answer, that takes of the time for the response.
    pub(super) fn on_stalled(&self) {
        let mut state = self.state.lock();
        state.stalled = true;
        if !state.in_body && state.front >= state.sent {
            self.await_response(&mut state);
        }
    }

    /// The server has taken some of what it is sent.
    pub(super) fn on_progress(&self) {
        let mut state = self.state.lock();
        state.stalled = false;
        if !state.in_body && state.front >= state.sent {
            state.deadline = None;
        }
    }

    pub(super) async fn work(&self) {
        self.work.notified().await;
    }

    /// Whether the next response is that to a HEAD request; `None` if none is due.
    pub(super) fn expects(&self) -> Option<bool> {
        let state = self.state.lock();
        let due = state.front < state.begun;
        state
            .exchanges
            .front()
            .filter(|_| due)
            .map(|exchange| exchange.to_head)
    }

    /// The head of the response at the front has come.
    pub(super) fn begin_body(&self) -> Option<Expected> {
        let mut state = self.state.lock();
        state.in_body = true;
        state.deadline = None;
        let exchange = state.exchanges.front_mut()?;
        Some(Expected {
            request: exchange.request.clone(),
            gzip: exchange.gzip,
            reply: exchange.reply.take()?,
        })
    }

    /// More of a body is waited for.
    pub(super) fn await_body(&self, sink: &Sink) {
        // The time for what is discarded is already running.
        let discarded = matches!(sink, Sink::Discard(_));
        if let Some(limit) = self.config.idle_timeout.filter(|_| !discarded) {
            let mut state = self.state.lock();
            self.set_deadline(&mut state, limit, Disconnect::IdleTimeout(limit));
        }
    }

    /// What is waited for is the caller, who may take any time.
    pub(super) fn await_caller(&self) {
        if self.config.idle_timeout.is_some() {
            self.state.lock().deadline = None;
        }
    }

    /// The rest of a body that nobody wants has to come within `limit`.
    pub(super) fn await_discarded(&self, limit: Duration) {
        let mut state = self.state.lock();
        self.set_deadline(&mut state, limit, Disconnect::Abandoned);
    }

    /// False if no response can come after the one at the front.
    pub(super) fn is_of_use_after_front(&self) -> bool {
        let state = self.state.lock();
        let last = state.exchanges.front().is_none_or(|front| front.last);
        let more = state.exchanges.len() > 1 || !state.released;
        more && !last && state.stop.is_none()
    }

    /// The response at the front is complete.
    pub(super) fn complete(&self, keep_alive: bool) -> Result<(), Disconnect> {
        let mut state = self.state.lock();
        let last = state.exchanges.pop_front().is_some_and(|e| e.last);
        state.front += 1;
        state.in_body = false;
        state.deadline = None;
        if last {
            return Err(Disconnect::LastRequest);
        }
        if !keep_alive {
            return Err(Disconnect::LastResponse);
        }
        if let Some(reason) = state.given_up() {
            return Err(reason);
        }
        self.await_response(&mut state);
        Ok(())
    }

    /// The server has to do something about the request at the front, if it has been sent or cannot be.
    fn await_response(&self, state: &mut State) {
        if state.front >= state.sent && !state.stalled {
            return;
        }
        // What cannot be sent may have its response already.
        let limit = match state.exchanges.front() {
            Some(exchange) => exchange.response_timeout,
            None => self.config.response_timeout,
        };
        if let Some(limit) = limit {
            self.set_deadline(state, limit, Disconnect::ResponseTimeout(limit));
        }
    }

    fn set_deadline(&self, state: &mut State, limit: Duration, reason: Disconnect) {
        let at = self.clock.now() + limit;
        state.deadline = Some(Deadline { at, reason });
        if state.sleeping_until.is_none_or(|until| at < until) {
            self.nearer.notify_one();
        }
    }

    /// Completes when a deadline has passed.
    pub(super) async fn overdue(&self) -> Disconnect {
        loop {
            let left = {
                let mut state = self.state.lock();
                let now = self.clock.now();
                match &state.deadline {
                    Some(deadline) if deadline.at <= now => return deadline.reason.clone(),
                    Some(deadline) => {
                        let at = deadline.at;
                        state.sleeping_until = Some(at);
                        Some(at - now)
                    }
                    None => {
                        state.sleeping_until = None;
                        None
                    }
                }
            };
            let sleep = async {
                match left {
                    Some(left) => self.clock.sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = sleep => {}
                () = self.nearer.notified() => {}
            }
        }
    }

    /// No further request is taken.
    pub(super) fn refuse(&self, reason: &Disconnect) {
        let mut state = self.state.lock();
        state.refuses.get_or_insert_with(|| reason.clone());
    }

    /// Ends the connection now.
    pub(super) fn stop(&self, reason: Disconnect) {
        let mut state = self.state.lock();
        state.refuses.get_or_insert_with(|| reason.clone());
        state.stop.get_or_insert(reason);
        self.stop.notify_one();
    }

    /// No handle is left: ends the connection when nobody waits for a response.
    pub(super) fn release(&self) {
        let mut state = self.state.lock();
        state.released = true;
        self.stop_if_given_up(&mut state);
    }

    /// A caller has got a response, or does not want it any more.
    pub(super) fn on_dropped(&self) {
        self.stop_if_given_up(&mut self.state.lock());
    }

    fn stop_if_given_up(&self, state: &mut State) {
        if let Some(reason) = state.given_up() {
            state.stop.get_or_insert(reason);
            self.stop.notify_one();
        }
    }

    /// Completes when the connection is to end.
    pub(super) async fn stopped(&self) -> Disconnect {
        loop {
            if let Some(reason) = &self.state.lock().stop {
                return reason.clone();
            }
            self.stop.notified().await;
        }
    }

    /// The connection has ended; only the first call counts.
    pub(super) fn end(&self, reason: Disconnect) {
        let (exchanges, outgoing, unsent_from) = {
            let mut state = self.state.lock();
            if self.ended.borrow().is_some() {
                return;
            }
            let unsent_from = state.begun - state.front;
            state.refuses = Some(reason.clone());
            let exchanges = std::mem::take(&mut state.exchanges);
            let unanswered = exchanges.iter().map(|e| e.request.clone()).collect();
            self.ended.send_replace(Some(Disconnected {
                reason: reason.clone(),
                unanswered,
            }));
            let outgoing = std::mem::take(&mut state.outgoing);
            (exchanges, outgoing, unsent_from)
        };
        // Streams of callers are dropped outside of the lock.
        drop(outgoing);
        for (number, exchange) in (0..).zip(exchanges) {
            if let Some(reply) = exchange.reply {
                reply.fail(Error::NotAnswered {
                    request: exchange.request,
                    sent: number < unsent_from,
                    reason: reason.clone(),
                });
            }
        }
    }

    /// Completes when the connection has ended.
    pub(super) async fn ended(&self) -> Disconnected {
        let mut ended = self.ended.subscribe();
        let ended = ended.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|ended| ended.clone())
            .unwrap_or(Disconnected {
                reason: Disconnect::RuntimeEnded,
                unanswered: Vec::new(),
            })
    }

    /// Why the connection ended, for a response that broke off.
    pub(super) fn reason(&self) -> Disconnect {
        let ended = self.ended.borrow();
        ended
            .as_ref()
            .map_or(Disconnect::RuntimeEnded, |ended| ended.reason.clone())
    }
}

impl State {
    /// Why the connection may end: it has no handle, and nobody waits for a response or reads one.
    fn given_up(&self) -> Option<Disconnect> {
        let waits = |exchange: &Exchange| exchange.reply.as_ref().is_none_or(|r| !r.is_closed());
        if !self.released || self.exchanges.iter().any(waits) {
            return None;
        }
        Some(match self.exchanges.is_empty() {
            true => Disconnect::Unused,
            false => Disconnect::Abandoned,
        })
    }

    /// Appends the request to what is to be sent; small ones are put together.
    fn queue(&mut self, request: Request) {
        if !matches!(self.outgoing.back(), Some(Outgoing::Requests { .. })) {
            self.outgoing.push_back(Outgoing::Requests {
                bytes: BytesMut::new(),
                begins: 0,
                completes: 0,
            });
        }
        let Some(Outgoing::Requests {
            bytes,
            begins,
            completes,
        }) = self.outgoing.back_mut()
        else {
            return;
        };
        let before = bytes.len();
        request.encode_head(bytes);
        *begins += 1;
        let behind = match request.body {
            RequestBody::Bytes(body) if body.len() <= COPIED_BODY_BYTES => {
                bytes.extend_from_slice(&body);
                *completes += 1;
                None
            }
            RequestBody::Bytes(body) => Some(Outgoing::Body(body)),
            RequestBody::Stream(stream) => Some(Outgoing::Stream(stream)),
        };
        self.queued_bytes += bytes.len() - before;
        if let Some(Outgoing::Body(body)) = &behind {
            self.queued_bytes += body.len();
        }
        self.outgoing.extend(behind);
    }
}
