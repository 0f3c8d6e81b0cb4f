//! Sockets for sending: one per destination.
//!
//! Upstream keeps a persistent socket per linked address and opens a temporary one per burst to any other. Here both are the
//! same socket: one that nobody is linked through is closed when it has been idle for a while, and a link makes it stay. So
//! messages to one address keep their order even if a link is made in between.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;

use super::{ByteStream, Connector};
use crate::Clock;
use crate::runtime::Counters;

/// A socket without links is closed after this long without a message.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a replaced or idle socket waits for the peer to close too.
const LINGER: Duration = Duration::from_secs(5);

/// A buffer that once held more than this is given back when it has been sent.
const KEPT_BUFFER_BYTES: usize = 256 * 1024;

/// Received bytes are discarded in portions of this size.
const DISCARD_BYTES: usize = 4096;

/// The sockets of one runtime by destination.
pub(crate) struct Sockets {
    table: Mutex<HashMap<SocketAddr, Arc<Socket>>>,
    max_queue_bytes: usize,
    counters: Arc<Counters>,
}

/// One socket, from the request to connect until it is closed.
struct Socket {
    queue: Mutex<Queue>,
    /// Told when there is something to send or when the socket is replaced.
    changed: Notify,
    linked: AtomicBool,
    replaced: AtomicBool,
    replacement: Notify,
}

#[derive(Default)]
struct Queue {
    bytes: BytesMut,
    messages: u64,
    /// True while connecting, and from taking bytes for sending until they are sent.
    sending: bool,
    /// Set when the socket has left the table: nothing may be queued any more.
    closed: bool,
}

/// Runs one new socket; to be spawned on a network worker.
pub(crate) struct Writer {
    to: SocketAddr,
    socket: Arc<Socket>,
}

impl Sockets {
    pub(crate) fn new(max_queue_bytes: usize, counters: Arc<Counters>) -> Self {
        Self {
            table: Mutex::new(HashMap::new()),
            max_queue_bytes,
            counters,
        }
    }

    /// Queues one message, written by `encode`, to `to`. Returns the writer of the socket if it is a new one.
    #[must_use = "a new socket needs its writer to be run"]
    pub(crate) fn send(
        &self,
        to: SocketAddr,
        encode: impl FnOnce(&mut BytesMut),
    ) -> Option<Writer> {
        loop {
            let (socket, writer) = Self::socket(&mut self.table.lock(), to);
            let mut queue = socket.queue.lock();
            // Between the two locks the socket may have been replaced; then the table has another one.
            if queue.closed {
                continue;
            }
            if queue.bytes.len() >= self.max_queue_bytes {
                self.counters.dropped.inc();
                tracing::debug!("Dropped a message to {to}: its queue is full");
                return writer;
            }
            encode(&mut queue.bytes);
            queue.messages += 1;
            self.counters.sent.inc();
            if queue.messages == 1 {
                socket.changed.notify_one();
            }
            return writer;
        }
    }

    /// Makes sure that a socket to `to` exists and stays. With `renew` it is a new one, which takes over what is queued.
    #[must_use = "a new socket needs its writer to be run"]
    pub(crate) fn link(&self, to: SocketAddr, renew: bool) -> Option<Writer> {
        let mut table = self.table.lock();
        let old = match renew {
            true => table.remove(&to),
            false => None,
        };
        let (socket, writer) = Self::socket(&mut table, to);
        socket.linked.store(true, Ordering::Release);
        if let Some(old) = old {
            let (bytes, messages) = old.queue.lock().close();
            let mut queue = socket.queue.lock();
            queue.bytes = bytes;
            queue.messages = messages;
            old.replace();
        }
        writer
    }

    fn socket(
        table: &mut HashMap<SocketAddr, Arc<Socket>>,
        to: SocketAddr,
    ) -> (Arc<Socket>, Option<Writer>) {
        match table.entry(to) {
            Entry::Occupied(entry) => (entry.get().clone(), None),
            Entry::Vacant(entry) => {
                let socket = entry.insert(Arc::new(Socket::new())).clone();
                let writer = Writer {
                    to,
                    socket: socket.clone(),
                };
                (socket, Some(writer))
            }
        }
    }

    /// True if no message waits and no connection is being made.
    pub(crate) fn is_idle(&self) -> bool {
        let table = self.table.lock();
        table.values().all(|socket| {
            let queue = socket.queue.lock();
            queue.messages == 0 && !queue.sending
        })
    }

    /// Takes the socket of a writer that broke out of the table. True if it was the current one for its address; then the links
    /// through it are lost. Messages not yet sent are dropped.
    pub(crate) fn forget(&self, writer: &Writer) -> bool {
        let mut table = self.table.lock();
        let (_, unsent) = writer.socket.queue.lock().close();
        self.counters.dropped.add(unsent);
        let current = table
            .get(&writer.to)
            .is_some_and(|current| Arc::ptr_eq(current, &writer.socket));
        if current {
            table.remove(&writer.to);
        }
        current
    }

    /// Takes an idle socket out of the table, unless it has become needed in the meantime.
    fn retire(&self, writer: &Writer) -> bool {
        let mut table = self.table.lock();
        let mut queue = writer.socket.queue.lock();
        if queue.messages > 0 || writer.socket.linked.load(Ordering::Acquire) || queue.closed {
            return false;
        }
        queue.close();
        table.remove(&writer.to);
        true
    }

    /// Lets every socket send what is queued and close. New messages open new sockets.
    pub(crate) fn close(&self) {
        let mut sockets: Vec<_> = self.table.lock().drain().collect();
        sockets.sort_unstable_by_key(|(to, _)| *to);
        for (_, socket) in sockets {
            socket.replace();
        }
    }
}

impl Socket {
    fn new() -> Self {
        Self {
            queue: Mutex::new(Queue {
                sending: true,
                ..Queue::default()
            }),
            changed: Notify::new(),
            linked: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            replacement: Notify::new(),
        }
    }

    fn replace(&self) {
        self.replaced.store(true, Ordering::Release);
        self.changed.notify_one();
        self.replacement.notify_one();
    }
}

impl Queue {
    /// Takes what is queued and refuses more.
    fn close(&mut self) -> (BytesMut, u64) {
        self.closed = true;
        let messages = std::mem::take(&mut self.messages);
        (std::mem::take(&mut self.bytes), messages)
    }
}

/// How a socket came to its end.
pub(crate) enum End {
    /// It failed, or the peer closed it.
    Broken(std::io::Error),
    /// It was replaced or idle: nobody needs to be told.
    Retired,
}

impl Writer {
    /// The destination of the socket.
    pub(crate) fn to(&self) -> SocketAddr {
        self.to
    }

    /// Connects and sends until the socket breaks or is no longer needed.
    pub(crate) async fn run(&self, connector: &Connector, clock: &Clock, sockets: &Sockets) -> End {
        match connector.connect(self.to).await {
            Ok(stream) => {
                self.socket.queue.lock().sending = false;
                self.serve(stream, clock, sockets).await
            }
            Err(error) => End::Broken(error),
        }
    }

    async fn serve(&self, stream: Box<dyn ByteStream>, clock: &Clock, sockets: &Sockets) -> End {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let end = tokio::select! {
            biased;
            error = discard(&mut reader) => End::Broken(error),
            end = self.write(&mut writer, clock, sockets) => end,
            () = self.overdue(clock) => End::Retired,
        };
        if matches!(end, End::Retired) {
            // Closing at once would reset the connection if answers are still under way, and the peer could lose what it has
            // not read yet.
            let closing = async {
                let _ = writer.shutdown().await;
                discard(&mut reader).await
            };
            let _ = clock.timeout(LINGER, closing).await;
        }
        end
    }

    /// Completes when the socket was replaced but could not send what it had taken: it is half open.
    async fn overdue(&self, clock: &Clock) {
        self.socket.replacement.notified().await;
        clock.sleep(LINGER).await;
    }

    async fn write(
        &self,
        writer: &mut WriteHalf<Box<dyn ByteStream>>,
        clock: &Clock,
        sockets: &Sockets,
    ) -> End {
        let mut batch = BytesMut::new();
        loop {
            if self.take(&mut batch) {
                let sent = send(writer, &batch).await;
                self.socket.queue.lock().sending = false;
                if let Err(error) = sent {
                    return End::Broken(error);
                }
                batch.clear();
                if batch.capacity() > KEPT_BUFFER_BYTES {
                    batch = BytesMut::new();
                }
            } else if self.socket.replaced.load(Ordering::Acquire) {
                return End::Retired;
            } else if self.socket.linked.load(Ordering::Acquire) {
                self.socket.changed.notified().await;
            } else {
                let idle = clock.timeout(IDLE_TIMEOUT, self.socket.changed.notified());
                if idle.await.is_err() && sockets.retire(self) {
                    return End::Retired;
                }
            }
        }
    }

    /// Swaps what is queued into the empty `batch`.
    fn take(&self, batch: &mut BytesMut) -> bool {
        let mut queue = self.socket.queue.lock();
        if queue.messages == 0 {
            return false;
        }
        std::mem::swap(&mut queue.bytes, batch);
        queue.messages = 0;
        queue.sending = true;
        true
    }
}

async fn send(writer: &mut WriteHalf<Box<dyn ByteStream>>, batch: &[u8]) -> std::io::Result<()> {
    writer.write_all(batch).await?;
    writer.flush().await
}

/// Reads and discards until the peer closes or the connection breaks: nothing is expected but that.
async fn discard(reader: &mut ReadHalf<Box<dyn ByteStream>>) -> std::io::Error {
    let mut scratch = [0; DISCARD_BYTES];
    loop {
        match reader.read(&mut scratch).await {
            Ok(0) => return std::io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}
