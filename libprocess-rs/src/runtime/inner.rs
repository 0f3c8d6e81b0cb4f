//! The shared state of a runtime.

use std::future::Future;
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::workers::Workers;
use super::{Addresses, Counted, Placement, Tally};
use crate::actor::{AnyMailbox, Envelope, Ids, Registry, wait_for};
use crate::clock::Settle;
use crate::config::{LoggingControl, MetricsConfig};
use crate::http::Gatekeeper;
use crate::metrics::Counter;
use crate::network::{Connector, Links, Sockets, Tls, Writer};
use crate::upid::RuntimeId;
use crate::wire::{Limits, encode_message, encode_proto};
use crate::{Clock, MessageName, Metrics, RuntimeConfig, Upid};

/// How long a shutdown waits for the actors to end.
const ACTORS_GRACE: Duration = Duration::from_secs(5);

/// How long a shutdown waits for unsent messages to be sent.
const SOCKETS_GRACE: Duration = Duration::from_secs(1);

/// A settling worker is let run this many rounds: a chain of tasks that wake each other on one thread needs one each.
const SETTLE_ROUNDS: usize = 8;

/// What libprocess counts about itself.
pub(crate) struct Counters {
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    pub(crate) dropped: Counter,
    pub(crate) undecodable: Counter,
    pub(crate) malformed: Counter,
    pub(crate) oversized: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) refused: Counter,
    pub(crate) held_back: Counter,
    pub(crate) panics: Counter,
    pub(crate) tls_failed: Counter,
    pub(crate) tls_missing: Counter,
    pub(crate) tls_downgraded: Counter,
}

impl Counters {
    fn new(metrics: &Metrics) -> Self {
        let counter = |name: &str| metrics.counter(format!("libprocess/{name}"));
        Self {
            sent: counter("messages_sent"),
            received: counter("messages_received"),
            dropped: counter("messages_dropped"),
            undecodable: counter("messages_undecodable"),
            malformed: counter("requests_malformed"),
            oversized: counter("requests_oversized"),
            timed_out: counter("requests_timed_out"),
            refused: counter("connections_refused"),
            held_back: counter("senders_held_back"),
            panics: counter("actor_panics"),
            tls_failed: counter("tls_handshakes_failed"),
            tls_missing: counter("tls_connections_plain_refused"),
            tls_downgraded: counter("tls_connections_downgraded"),
        }
    }
}

pub(crate) struct Inner {
    pub(crate) address: SocketAddr,
    pub(crate) bound_address: SocketAddr,
    pub(crate) ip6: Option<Ipv6Addr>,
    pub(crate) delegate: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) header_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) require_peer_match: bool,
    pub(crate) logging: Option<Arc<dyn LoggingControl>>,
    pub(crate) readonly_realm: Option<String>,
    pub(crate) readwrite_realm: Option<String>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) metrics_config: MetricsConfig,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ids: Ids,
    pub(crate) registry: Registry,
    pub(crate) workers: Workers,
    pub(crate) connections: AtomicUsize,
    /// Where tests look at events before they are served.
    #[cfg(feature = "testing")]
    pub(crate) hooks: crate::testing::Hooks,
    pub(crate) gatekeeper: Gatekeeper,
    links: Mutex<Links>,
    sockets: Sockets,
    pub(crate) connector: Connector,
    /// Sending sockets that have not ended.
    writers: AtomicUsize,
    /// Told when the last of them ends.
    no_writers: Notify,
    /// Work outside the actors that settling waits for.
    pub(crate) busy: Tally,
    /// Turns of the actors that have ended, plus one for each.
    past_turns: AtomicU64,
    shut_down: AtomicBool,
}

impl Inner {
    pub(crate) fn new(
        config: RuntimeConfig,
        workers: Workers,
        addresses: Addresses,
        tls: Option<Tls>,
        busy: Tally,
    ) -> Self {
        let metrics = Metrics::new(config.clock.clone());
        let counters = Arc::new(Counters::new(&metrics));
        let connector = Connector::new(&config, tls, counters.clone());
        Self {
            address: addresses.advertised,
            bound_address: addresses.bound,
            ip6: config.ip6,
            delegate: config.delegate,
            limits: Limits {
                head_bytes: config.max_head_bytes,
                body_bytes: config.max_body_bytes,
            },
            header_timeout: config.header_timeout,
            max_connections: config.max_connections,
            require_peer_match: config.require_peer_address_ip_match,
            logging: config.logging,
            readonly_realm: config.readonly_realm,
            readwrite_realm: config.readwrite_realm,
            clock: config.clock,
            metrics,
            metrics_config: config.metrics,
            sockets: Sockets::new(config.max_queue_bytes, counters.clone()),
            counters,
            ids: Ids::default(),
            registry: Registry::default(),
            workers,
            connections: AtomicUsize::new(0),
            #[cfg(feature = "testing")]
            hooks: crate::testing::Hooks::default(),
            gatekeeper: Gatekeeper::new(config.firewall),
            links: Mutex::default(),
            connector,
            writers: AtomicUsize::new(0),
            no_writers: Notify::new(),
            busy,
            past_turns: AtomicU64::new(0),
            shut_down: AtomicBool::new(false),
        }
    }

    /// Takes part in settling the clock and shows its connections in the metrics.
    pub(crate) fn register(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        self.clock.register(weak);
        self.gauge("connections_open", |inner| &inner.connections);
        self.gauge("sockets_open", |inner| &inner.writers);
    }

    fn gauge(self: &Arc<Self>, name: &str, value: fn(&Self) -> &AtomicUsize) {
        let weak = Arc::downgrade(self);
        let read = move || {
            let value = weak
                .upgrade()
                .map(|inner| value(&inner).load(Ordering::Acquire));
            value.unwrap_or_default() as f64
        };
        self.metrics.pull_gauge(format!("libprocess/{name}"), read);
    }

    /// The index of the worker for a new actor.
    pub(crate) fn place(&self, placement: &Placement) -> usize {
        let near = match placement {
            Placement::Near(upid) if self.is_local(upid) => self.registry.get(upid.id()),
            Placement::Near(_) | Placement::Next => None,
        };
        let near = near.map(|actor| actor.worker);
        near.unwrap_or_else(|| self.workers.next_actor())
    }

    /// What tells this runtime from others in this OS process.
    pub(crate) fn id(&self) -> RuntimeId {
        RuntimeId(std::ptr::from_ref(self).addr())
    }

    pub(crate) fn send(
        self: &Arc<Self>,
        from: &Upid,
        to: &Upid,
        name: impl Into<MessageName> + AsRef<str>,
        body: Bytes,
    ) {
        if self.is_local(to) {
            self.deliver(from, to, name.into(), body);
        } else if !to.is_empty() {
            let encode = |out: &mut _| encode_message(out, from, to, name.as_ref(), &body);
            self.start(self.sockets.send(to.address(), to.host(), encode));
        }
    }

    pub(crate) fn send_proto<M: prost::Message>(
        self: &Arc<Self>,
        from: &Upid,
        to: &Upid,
        name: MessageName,
        message: &M,
    ) {
        if self.is_local(to) {
            self.deliver(from, to, name, message.encode_to_vec().into());
        } else if !to.is_empty() {
            let encode = |out: &mut _| encode_proto(out, from, to, name.as_str(), message);
            self.start(self.sockets.send(to.address(), to.host(), encode));
        }
    }

    pub(crate) fn is_local(&self, upid: &Upid) -> bool {
        upid.address() == self.address
    }

    fn deliver(&self, from: &Upid, to: &Upid, name: MessageName, body: Bytes) {
        let envelope = Envelope {
            from: from.clone(),
            name,
            body,
        };
        let refused = match to.mailbox(self.id()) {
            Some(mailbox) => match mailbox.message(envelope) {
                Ok(()) => return,
                Err(envelope) => envelope,
            },
            None => envelope,
        };
        self.deliver_by_id(to, refused);
    }

    /// Delivers to the actor that has the id now: the one of the address is unknown, or has ended.
    #[cold]
    fn deliver_by_id(&self, to: &Upid, envelope: Envelope) {
        let undelivered = match self.registry.get(to.id()) {
            Some(actor) => actor.mailbox.message(envelope).err(),
            None => Some(envelope),
        };
        if let Some(Envelope { from, name, .. }) = undelivered {
            tracing::debug!("Dropped '{name}' from {from}: there is no {to}");
        }
    }

    pub(crate) fn link(self: &Arc<Self>, linker: &Upid, to: &Upid, renew: bool) {
        if to.is_empty() {
            return;
        }
        let local = to.address() == self.address;
        if local && to.id() == linker.id() {
            return;
        }
        // An actor leaves the registry and its links are collected under this lock, so a link is either collected then or sees
        // here that the actor has gone.
        let mut links = self.links.lock();
        if local && !self.registry.contains(to.id()) {
            drop(links);
            self.exited(linker, to.clone());
            return;
        }
        links.add(linker, to, !local);
        if !local {
            let writer = self.sockets.link(to.address(), to.host(), renew);
            drop(links);
            self.start(writer);
        }
    }

    fn exited(&self, linker: &Upid, linkee: Upid) {
        if let Some(mailbox) = linker.mailbox(self.id()) {
            mailbox.exited(linkee);
        }
    }

    fn start(self: &Arc<Self>, writer: Option<Writer>) {
        let Some(writer) = writer else {
            return;
        };
        let inner = self.clone();
        self.writers.fetch_add(1, Ordering::AcqRel);
        let worker = self.workers.for_destination(writer.to());
        let started = worker.spawn(async move {
            inner.run(&writer).await;
            inner.writer_ended();
        });
        if !started {
            self.writer_ended();
        }
    }

    fn writer_ended(&self) {
        if self.writers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.no_writers.notify_waiters();
        }
    }

    async fn run(&self, writer: &Writer) {
        let end = writer
            .run(&self.connector, &self.clock, &self.sockets)
            .await;
        if let Err(error) = end {
            tracing::debug!("The connection to {} broke: {error}", writer.to());
        }
        // One lock over both tables: a link made now is either lost with this socket or gets a new one.
        let lost = {
            let mut links = self.links.lock();
            match self.sockets.forget(writer) {
                true => links.address_lost(writer.to()),
                false => Vec::new(),
            }
        };
        for (linker, linkee) in lost {
            self.exited(&linker, linkee);
        }
    }

    pub(crate) fn terminate(&self, upid: &Upid, inject: bool) {
        if upid.address() == self.address
            && let Some(actor) = self.registry.get(upid.id())
        {
            actor.mailbox.terminate(inject);
        }
    }

    /// Forgets an actor that has had its last turn and tells those that are linked to it.
    pub(crate) fn remove(&self, upid: &Upid, turns: u64) {
        let exits = {
            let mut links = self.links.lock();
            // With the id free but the links still there, the next actor of this id would lose its links with them.
            self.registry.remove(upid.id());
            self.past_turns.fetch_add(turns + 1, Ordering::AcqRel);
            links.linker_ended(upid);
            links.linkee_ended(upid)
        };
        for (linker, linkee) in exits {
            self.exited(&linker, linkee);
        }
    }

    pub(crate) async fn wait(&self, upid: &Upid) -> bool {
        if upid.address() != self.address {
            return false;
        }
        let Some(actor) = self.registry.get(upid.id()) else {
            return false;
        };
        ended(&*actor.mailbox).await;
        true
    }

    /// Keeps [`Clock::settle`] waiting as long as what is returned lives.
    pub(crate) fn busy(&self) -> Counted {
        self.busy.begin()
    }

    /// True if there is work on blocking threads that an actor waits for.
    #[cfg(feature = "testing")]
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.count() > 0
    }

    /// Ends all actors and sockets, if nobody has done so before.
    #[cfg(feature = "testing")]
    pub(crate) async fn end(&self) {
        if !self.shut_down.swap(true, Ordering::AcqRel) {
            self.wind_down().await;
        }
    }

    /// For a runtime whose threads have gone: what is queued will never be served.
    #[cfg(feature = "testing")]
    pub(crate) fn forget_actors(&self) {
        self.registry.close();
        for actor in self.registry.all() {
            self.registry.remove(actor.upid.id());
        }
    }

    pub(crate) fn shutdown(self: &Arc<Self>) {
        if self.shut_down.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = self.clone();
        if self.workers.are_driven() {
            self.workers.first().spawn(async move {
                inner.wind_down().await;
            });
        } else if !self.workers.is_current() {
            inner.shut_down();
        } else if let Err(error) = std::thread::Builder::new()
            .name("libprocess-shutdown".to_owned())
            .spawn(move || inner.shut_down())
        {
            tracing::error!("Failed to start a thread for the shutdown: {error}");
            self.workers.abandon();
        }
    }

    /// Not on a thread of the runtime, which is going to be joined.
    fn shut_down(self: &Arc<Self>) {
        let (tx, rx) = mpsc::channel();
        let inner = self.clone();
        self.workers.first().spawn(async move {
            let _ = tx.send(inner.wind_down().await);
        });
        match rx.recv_timeout(2 * ACTORS_GRACE) {
            Ok(true) => self.workers.stop(),
            _ => {
                tracing::error!("Some actors did not end; their threads are left behind");
                self.workers.abandon();
            }
        }
    }

    /// Ends all actors, then lets the sockets send what they have. False if some actor did not end in time.
    async fn wind_down(&self) -> bool {
        self.registry.close();
        let mut actors = self.registry.all();
        actors.sort_unstable_by(|a, b| a.upid.cmp(&b.upid));
        for actor in &actors {
            actor.mailbox.terminate(false);
        }
        let ends = async {
            for actor in &actors {
                ended(&*actor.mailbox).await;
            }
        };
        let all_ended = self.within(ACTORS_GRACE, ends).await;
        self.sockets.close();
        self.within(SOCKETS_GRACE, self.all_sent()).await;
        all_ended
    }

    /// Waits for `end`, but no longer than `grace`; false if it has not come. On threads of its own that is real time, for nobody
    /// might move the clock on.
    async fn within(&self, grace: Duration, end: impl Future<Output = ()>) -> bool {
        match self.workers.are_driven() {
            true => self.clock.timeout(grace, end).await.is_ok(),
            false => tokio::time::timeout(grace, end).await.is_ok(),
        }
    }

    /// Waits until all sending sockets have ended.
    async fn all_sent(&self) {
        let mut ended = std::pin::pin!(self.no_writers.notified());
        ended.as_mut().enable();
        if self.writers.load(Ordering::Acquire) > 0 {
            ended.await;
        }
    }
}

async fn ended(mailbox: &dyn AnyMailbox) {
    wait_for(mailbox, |mailbox| mailbox.is_ended()).await;
}

impl Settle for Inner {
    fn progress(&self) -> Pin<Box<dyn Future<Output = Option<u64>> + Send + '_>> {
        Box::pin(async move {
            let mut ended = false;
            for worker in self.workers.all() {
                let (tx, rx) = tokio::sync::oneshot::channel();
                worker.spawn(async move {
                    for _ in 0..SETTLE_ROUNDS {
                        tokio::task::yield_now().await;
                    }
                    let _ = tx.send(());
                });
                ended |= rx.await.is_err();
            }
            let past = self.past_turns.load(Ordering::Acquire);
            if ended {
                // What is still queued will never be served.
                return Some(past);
            }
            if self.busy.count() > 0 || !self.sockets.is_idle() {
                return None;
            }
            let actors = self.registry.all();
            let idle = actors.iter().all(|actor| actor.mailbox.is_idle());
            let turns = actors.iter().map(|actor| actor.mailbox.turns());
            idle.then(|| turns.fold(past, u64::wrapping_add))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Process, Runtime};

    /// Tells of its last turn.
    struct Ending(mpsc::Sender<()>);

    impl Process for Ending {
        fn finalize(&mut self, _: &mut Context<Self>) {
            self.0.send(()).unwrap();
        }
    }

    #[test]
    fn an_id_is_taken_until_the_links_of_its_actor_are_gone() {
        let runtime = Runtime::start(RuntimeConfig::loopback()).unwrap();
        let (ending, ends) = mpsc::channel();
        let pid = runtime.spawn("a", Ending(ending)).unwrap();
        let links = runtime.inner().links.lock();
        pid.terminate();
        ends.recv_timeout(Duration::from_secs(60)).unwrap();
        for _ in 0..1000 {
            assert!(runtime.contains("a"));
            std::thread::yield_now();
        }
        drop(links);
        runtime.shutdown();
        assert!(!runtime.contains("a"));
    }
}
