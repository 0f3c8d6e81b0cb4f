//! Loopback ports and a proxy that can cut connections.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Below those that Linux gives to connections, which could take a port before a daemon binds it.
const PORTS: Range<u16> = 15_000..32_000;

/// No test of this process gets the port of another one.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A loopback port that nobody listens on, and that no other caller gets.
///
/// # Panics
/// When loopback has no free port.
pub fn free_port() -> u16 {
    (0..PORTS.len())
        .map(|_| {
            let next = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
            let offset = (next as usize).wrapping_add(process::id() as usize * 100);
            PORTS.start + u16::try_from(offset % PORTS.len()).expect("there are fewer ports")
        })
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("no free loopback port")
}

/// Forwards connections to one address until it is told to partition the two sides.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    partitioned: AtomicBool,
    changed: Notify,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `target`.
    ///
    /// # Panics
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> Proxy {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("no free loopback port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let state = Arc::new(State::default());
        let forwarding = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, target, forwarding.clone()));
            }
        });
        Proxy {
            address,
            state,
            task,
        }
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections and refuses new ones until [`Proxy::heal`].
    pub fn partition(&self) {
        self.state.partitioned.store(true, Ordering::SeqCst);
        self.state.changed.notify_waiters();
    }

    /// Lets new connections through again.
    pub fn heal(&self) {
        self.state.partitioned.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.partition();
    }
}

async fn forward(mut client: TcpStream, target: SocketAddr, state: Arc<State>) {
    let changed = state.changed.notified();
    if state.partitioned.load(Ordering::SeqCst) {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        () = changed => {}
    }
}
