//! The listening port: accepts connections, looks at the first head of each, and decides who serves it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::sync::{OnceCell, mpsc};

use super::answers::{Answer, refuse};
use super::connection;
use super::rewind::Rewind;
use super::watchdog::Watchdog;
use super::web::{self, WebService};
use super::{ByteStream, Incoming, Listener};
use crate::runtime::Inner;
use crate::wire::{Classified, classify};

/// How long to wait when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes asked for at once while the kind of a connection is not known.
const FIRST_READ_BYTES: usize = 4096;

/// Serves the port until the runtime is shut down.
pub(crate) fn serve_port(inner: Arc<Inner>, listener: Box<dyn Listener>) {
    let workers: Vec<_> = inner
        .workers
        .network()
        .iter()
        .map(|worker| {
            let (tx, rx) = mpsc::unbounded_channel();
            let inner = inner.clone();
            worker.spawn_fn(move || {
                actix_rt::spawn(serve_worker(inner, rx));
            });
            tx
        })
        .collect();
    let first = inner.clone();
    first
        .workers
        .first()
        .spawn(accept(inner, listener, workers));
}

async fn accept(
    inner: Arc<Inner>,
    mut listener: Box<dyn Listener>,
    workers: Vec<mpsc::UnboundedSender<Accepted>>,
) {
    loop {
        let incoming = match std::future::poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok(incoming) => incoming,
            Err(error) => {
                tracing::warn!("Failed to accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(slot) = Slot::take(&inner) else {
            inner.counters.refused.inc();
            tracing::warn!("Refused a connection: {} are open", inner.max_connections);
            continue;
        };
        if let Some(worker) = workers.get(inner.workers.next_connection()) {
            // A worker that has ended takes its connections with it.
            let _ = worker.send(Accepted { incoming, slot });
        }
    }
}

/// A connection on its way to its worker.
struct Accepted {
    incoming: Box<dyn Incoming>,
    slot: Slot,
}

/// Counts a connection for as long as it lives.
struct Slot(Arc<Inner>);

impl Slot {
    fn take(inner: &Arc<Inner>) -> Option<Self> {
        let slot = Self(inner.clone());
        let open = inner.connections.fetch_add(1, Ordering::AcqRel);
        (open < inner.max_connections).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn serve_worker(inner: Arc<Inner>, mut accepted: mpsc::UnboundedReceiver<Accepted>) {
    // actix-web is set up with the first connection that needs it: an executor may never do.
    let web: Rc<OnceCell<WebService>> = Rc::new(OnceCell::new());
    while let Some(Accepted { incoming, slot }) = accepted.recv().await {
        let (inner, web) = (inner.clone(), web.clone());
        actix_rt::spawn(async move {
            serve(inner, &web, incoming).await;
            drop(slot);
        });
    }
}

async fn serve(inner: Arc<Inner>, web: &OnceCell<WebService>, incoming: Box<dyn Incoming>) {
    let peer = incoming.peer();
    let stream = match incoming.open() {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!("Lost a new connection: {error}");
            return;
        }
    };
    let mut buffer = BytesMut::new();
    let secured = match &inner.connector.tls {
        // Boxed, so that connections without TLS need no memory for it.
        Some(tls) => Box::pin(tls.server.accept(&inner, stream, peer, &mut buffer)).await,
        None => Some(stream),
    };
    let Some(mut stream) = secured else {
        return;
    };
    match first_head(&inner, &mut stream, &mut buffer).await {
        Ok(Some(Classified::Own)) => connection::serve(inner, stream, buffer, peer).await,
        Ok(Some(_)) => serve_web(inner, web, stream, buffer, peer).await,
        Ok(None) => {}
        Err(answer) => {
            answer.count(&inner.counters);
            refuse(&inner, stream, answer).await;
        }
    }
}

async fn serve_web(
    inner: Arc<Inner>,
    web: &OnceCell<WebService>,
    stream: Box<dyn ByteStream>,
    buffer: BytesMut,
    peer: Option<SocketAddr>,
) {
    match web.get_or_try_init(|| web::service(inner.clone())).await {
        Ok(service) => service(Rewind::new(&inner, buffer, stream), peer).await,
        Err(error) => tracing::error!("Failed to set up actix-web: {error}"),
    }
}

/// Reads the first head of a connection, after what of it may already be in `buffer`. `None` if the client left without one. A connection may stay silent as long as it
/// likes, for a link opens one before there is anything to say; but once begun a head must come to its end.
async fn first_head(
    inner: &Inner,
    stream: &mut Box<dyn ByteStream>,
    buffer: &mut BytesMut,
) -> Result<Option<Classified>, Answer> {
    let mut watchdog = Watchdog::new(inner.clock.clone(), inner.header_timeout);
    let mut searched = 0;
    loop {
        if !buffer.is_empty() {
            watchdog.watch(false);
            match classify(buffer, searched, inner.limits.head_bytes) {
                Ok(Classified::Partial) => searched = buffer.len(),
                Ok(kind) => return Ok(Some(kind)),
                Err(error) => return Err(error.into()),
            }
        }
        buffer.reserve(FIRST_READ_BYTES);
        let read = tokio::select! {
            biased;
            read = stream.read_buf(buffer) => read,
            () = watchdog.expired() => return Err(Answer::TIMEOUT),
        };
        if !matches!(read, Ok(read) if read > 0) {
            return Ok(None);
        }
    }
}
