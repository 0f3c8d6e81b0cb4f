//! The listening port: accepts connections and hands each to a thread of the network.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::mpsc;

use super::{Incoming, Listener, connection};
use crate::runtime::Inner;

/// How long to wait when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
                let workers = &inner.clone().workers;
                workers.spawn_here(serve_worker(inner, rx));
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
            tracing::debug!("Refused a connection: {} are open", inner.max_connections);
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
    while let Some(Accepted { incoming, slot }) = accepted.recv().await {
        let serving = serve(inner.clone(), incoming);
        inner.workers.spawn_here(async move {
            serving.await;
            drop(slot);
        });
    }
}

async fn serve(inner: Arc<Inner>, incoming: Box<dyn Incoming>) {
    let peer = incoming.peer();
    let stream = match incoming.open() {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!("Lost a new connection: {error}");
            return;
        }
    };
    let mut ahead = BytesMut::new();
    let secured = match &inner.connector.tls {
        // Boxed, so that connections without TLS need no memory for it.
        Some(tls) => Box::pin(tls.server.accept(&inner, stream, peer, &mut ahead)).await,
        None => Some(stream),
    };
    if let Some(stream) = secured {
        connection::serve(inner, stream, ahead, peer).await;
    }
}
