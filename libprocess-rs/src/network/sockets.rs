//! What waits for each destination, and which socket is going to send it.
//!
//! Upstream keeps a persistent socket per linked address and opens a temporary one per burst to any other. Here both are the
//! same socket: one that nobody is linked through is closed when it has been idle for a while, and a link makes it stay. So
//! messages to one address keep their order even if a link is made in between.
//!
//! `tests/loom.rs` checks this file with the locks of a model checker.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;

use super::sync::Mutex;
use crate::runtime::Counters;

/// The sockets of one runtime by destination. The order of locking is the table, then a socket.
pub(crate) struct Sockets {
    table: Mutex<HashMap<SocketAddr, Arc<Socket>>>,
    max_queue_bytes: usize,
    counters: Arc<Counters>,
}

/// One socket, from the request to connect until it is closed.
type Socket = Mutex<State>;

struct State {
    /// Messages that wait, one after the other.
    waiting: BytesMut,
    messages: u64,
    /// What the writer has taken, until all of it is sent.
    in_hand_bytes: usize,
    in_hand_messages: u64,
    connecting: bool,
    /// Whether it is in the table. Nothing may be queued in a socket that has left.
    open: bool,
    linked: bool,
    /// The task of the writer, to be woken when there is something to send or when the socket leaves the table.
    task: Option<Waker>,
}

/// The side of a socket that sends. Every new one has to be run, in one task.
pub(crate) struct Writer {
    to: SocketAddr,
    host: Option<Box<str>>,
    socket: Arc<Socket>,
}

/// What a writer is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send what it has been given.
    Send,
    /// Wait for something to send.
    Wait,
    /// Wait for something to send, but not for long: nobody is linked.
    WaitBriefly,
    /// Close: all is sent, and nothing will come any more.
    Close,
}

impl Sockets {
    pub(crate) fn new(max_queue_bytes: usize, counters: Arc<Counters>) -> Self {
        Self {
            table: Mutex::new(HashMap::new()),
            max_queue_bytes,
            counters,
        }
    }

    /// Queues one message, written by `encode`, to `to`, which is also known by the name `host`. Returns the writer of the socket
    /// if it is a new one.
    #[must_use = "a new socket needs its writer to be run"]
    pub(crate) fn send(
        &self,
        to: SocketAddr,
        host: Option<&str>,
        encode: impl FnOnce(&mut BytesMut),
    ) -> Option<Writer> {
        loop {
            let (socket, writer) = Self::socket(&mut self.table.lock(), to, host);
            let mut state = socket.lock();
            // Between the two locks it may have left the table; then nothing was queued in it if it was a new one.
            if !state.open {
                continue;
            }
            if state.waiting.len() + state.in_hand_bytes >= self.max_queue_bytes {
                self.counters.dropped.inc();
                tracing::debug!("Dropped a message to {to}: its queue is full");
                return writer;
            }
            encode(&mut state.waiting);
            state.messages += 1;
            self.counters.sent.inc();
            // A writer that is sending looks for more by itself.
            let task = match state.in_hand_messages {
                0 => state.task.take(),
                _ => None,
            };
            drop(state);
            task.into_iter().for_each(Waker::wake);
            return writer;
        }
    }

    /// Makes sure that a socket to `to` exists and stays. With `renew` it is a new one, which takes over what is queued.
    #[must_use = "a new socket needs its writer to be run"]
    pub(crate) fn link(&self, to: SocketAddr, host: Option<&str>, renew: bool) -> Option<Writer> {
        let mut table = self.table.lock();
        let old = match renew {
            true => table.remove(&to),
            false => None,
        };
        let (socket, writer) = Self::socket(&mut table, to, host);
        let mut state = socket.lock();
        state.linked = true;
        if let Some(old) = old {
            let mut old = old.lock();
            state.waiting = std::mem::take(&mut old.waiting);
            state.messages = std::mem::take(&mut old.messages);
            old.leave();
        }
        writer
    }

    fn socket(
        table: &mut HashMap<SocketAddr, Arc<Socket>>,
        to: SocketAddr,
        host: Option<&str>,
    ) -> (Arc<Socket>, Option<Writer>) {
        match table.entry(to) {
            Entry::Occupied(entry) => (entry.get().clone(), None),
            Entry::Vacant(entry) => {
                let socket = entry.insert(Arc::new(Mutex::new(State::new()))).clone();
                let writer = Writer {
                    to,
                    host: host.map(Box::from),
                    socket: socket.clone(),
                };
                (socket, Some(writer))
            }
        }
    }

    /// True if no message waits or is being sent, and no connection is being made.
    pub(crate) fn is_idle(&self) -> bool {
        let table = self.table.lock();
        table.values().all(|socket| {
            let state = socket.lock();
            state.messages + state.in_hand_messages == 0 && !state.connecting
        })
    }

    /// Forgets the socket of a writer that has come to its end. True if it was the current one for its address; then it broke, and
    /// the links through it are lost. Messages that are not sent are dropped, and with them all that were being sent: nobody
    /// knows which of those have crossed.
    pub(crate) fn forget(&self, writer: &Writer) -> bool {
        let mut table = self.table.lock();
        let mut state = writer.socket.lock();
        let lost = state.messages + state.in_hand_messages;
        self.counters.dropped.add(lost);
        let current = std::mem::replace(&mut *state, State::left()).open;
        if current {
            table.remove(&writer.to);
        }
        current
    }

    /// Takes an idle socket out of the table, unless it has become needed in the meantime.
    pub(crate) fn retire(&self, writer: &Writer) -> bool {
        let mut table = self.table.lock();
        let mut state = writer.socket.lock();
        let idle = state.open && !state.linked && state.messages == 0;
        if idle {
            state.leave();
            table.remove(&writer.to);
        }
        idle
    }

    /// Lets every socket send what is queued and close. New messages open new sockets.
    pub(crate) fn close(&self) {
        let mut table = self.table.lock();
        let mut sockets: Vec<_> = table.drain().collect();
        sockets.sort_unstable_by_key(|(to, _)| *to);
        for (_, socket) in sockets {
            socket.lock().leave();
        }
    }
}

impl State {
    fn new() -> Self {
        Self {
            waiting: BytesMut::new(),
            messages: 0,
            in_hand_bytes: 0,
            in_hand_messages: 0,
            connecting: true,
            open: true,
            linked: false,
            task: None,
        }
    }

    /// That of a socket which is no more.
    fn left() -> Self {
        Self {
            connecting: false,
            open: false,
            ..Self::new()
        }
    }

    fn leave(&mut self) {
        self.open = false;
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

impl Writer {
    /// The destination of the socket.
    pub(crate) fn to(&self) -> SocketAddr {
        self.to
    }

    /// The name by which the destination was asked for, if by any.
    pub(crate) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The connection is made.
    pub(crate) fn connected(&self) {
        self.socket.lock().connecting = false;
    }

    /// What is to be done. What is to be sent is swapped into the empty `batch`.
    pub(crate) fn next(&self, batch: &mut BytesMut) -> Next {
        let mut state = self.socket.lock();
        if state.messages == 0 {
            return match (state.open, state.linked) {
                (false, _) => Next::Close,
                (true, true) => Next::Wait,
                (true, false) => Next::WaitBriefly,
            };
        }
        std::mem::swap(&mut state.waiting, batch);
        state.in_hand_bytes = batch.len();
        state.in_hand_messages = std::mem::take(&mut state.messages);
        Next::Send
    }

    /// What was to be sent is sent.
    pub(crate) fn sent(&self) {
        let mut state = self.socket.lock();
        state.in_hand_bytes = 0;
        state.in_hand_messages = 0;
    }

    /// Ready when there is something to send, or when the socket has left the table.
    pub(crate) fn poll_changed(&self, cx: &Context<'_>) -> Poll<()> {
        self.poll(cx, |state| state.messages > 0 || !state.open)
    }

    /// Ready when the socket has left the table.
    pub(crate) fn poll_left(&self, cx: &Context<'_>) -> Poll<()> {
        self.poll(cx, |state| !state.open)
    }

    fn poll(&self, cx: &Context<'_>, ready: impl FnOnce(&State) -> bool) -> Poll<()> {
        let mut state = self.socket.lock();
        if ready(&state) {
            return Poll::Ready(());
        }
        if !state
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(cx.waker()))
        {
            state.task = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
