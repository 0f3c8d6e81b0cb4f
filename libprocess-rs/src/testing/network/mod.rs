//! A network in memory.

mod connection;
mod faults;
mod state;
mod stream;

pub use faults::{Break, Faults};

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use state::Net;
use stream::SimTransport;

use crate::{Clock, Transport};

/// A network in memory, with hosts that are known by their IP addresses.
///
/// It behaves like TCP: the bytes of a connection arrive in order and once, or the connection breaks. All delays are on the
/// virtual clock, and all chances come from the seed: each connection has random numbers of its own, derived from the seed, its
/// two addresses and how many there were between them before, so that connections do not influence each other's fate.
///
/// Clones are handles to the same network; so are its transports and what they listen on. When the last handle is gone,
/// everything is cut off.
#[derive(Clone)]
pub struct SimNetwork {
    net: Arc<Net>,
}

impl SimNetwork {
    /// A network without faults.
    pub fn new(seed: u64, clock: &Clock) -> Self {
        Self {
            net: Net::new(seed, clock.clone()),
        }
    }

    /// The transport of the host with this address, for [`RuntimeConfig::transport`](crate::RuntimeConfig::transport).
    pub fn transport(&self, ip: IpAddr) -> Arc<dyn Transport> {
        Arc::new(SimTransport {
            net: self.net.clone(),
            ip,
        })
    }

    /// How the network treats all hosts, from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.net.with(|state| state.faults = faults);
    }

    /// How the network treats what goes from one host to another, from now on, whatever holds for the others; with `None` as
    /// for [them](Self::set_faults) again.
    pub fn set_link_faults(&self, from: IpAddr, to: IpAddr, faults: Option<Faults>) {
        self.net.with(|state| match faults {
            Some(faults) => state.link_faults.insert((from, to), faults),
            None => state.link_faults.remove(&(from, to)),
        });
    }

    /// Lets nothing pass from one host to another; the way back stays open. Connections stay, and what was stopped arrives once
    /// the cut is healed, unless their sides have [given up](Faults::give_up) by then.
    pub fn cut(&self, from: IpAddr, to: IpAddr) {
        self.net.change(|state| {
            state.cut.insert((from, to));
        });
    }

    /// Lets nothing pass between two groups of hosts.
    pub fn partition(&self, some: &[IpAddr], others: &[IpAddr]) {
        self.net.change(|state| {
            for (a, b) in pairs(some, others) {
                state.cut.extend([(a, b), (b, a)]);
            }
        });
    }

    /// Undoes what [`cut`](Self::cut) and [`partition`](Self::partition) did between two groups of hosts.
    pub fn heal(&self, some: &[IpAddr], others: &[IpAddr]) {
        self.net.change(|state| {
            for (a, b) in pairs(some, others) {
                state.cut.remove(&(a, b));
                state.cut.remove(&(b, a));
            }
        });
    }

    /// Undoes all cuts and partitions.
    pub fn heal_all(&self) {
        self.net.change(|state| state.cut.clear());
    }

    /// Takes the power from a machine: nothing comes from it or reaches it, and nobody is told. What ran there must be ended by
    /// other means.
    pub fn switch_off(&self, host: IpAddr) {
        self.net.change(|state| {
            state.off.insert(host);
        });
    }

    /// Gives a machine its power back. It answers what belongs to connections from before with a reset.
    pub fn switch_on(&self, host: IpAddr) {
        self.net.change(|state| {
            state.off.remove(&host);
        });
    }

    /// Breaks all connections between two hosts. Returns how many there were.
    pub fn break_connections(&self, one: IpAddr, other: IpAddr, how: Break) -> usize {
        self.net.with(|state| {
            let ids = state.between(one, other);
            for id in &ids {
                self.net.break_one(state, *id, how);
            }
            ids.len()
        })
    }

    /// While `end` runs, connections that are dropped are reset, as those of a process that is killed.
    pub(super) fn kill<R>(&self, end: impl FnOnce() -> R) -> R {
        self.net.with(|state| state.killing = true);
        let result = end();
        self.net.with(|state| state.killing = false);
        result
    }

    /// How often a host has begun to connect to an address.
    pub fn connects(&self, from: IpAddr, to: SocketAddr) -> u64 {
        self.net.with(|state| state.connects(from, to))
    }

    /// How many connections exist, including those that are closed on one side only.
    pub fn connections(&self) -> usize {
        self.net.with(|state| state.open_connections())
    }
}

impl std::fmt::Debug for SimNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimNetwork")
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

fn pairs(some: &[IpAddr], others: &[IpAddr]) -> impl Iterator<Item = (IpAddr, IpAddr)> {
    let some = some.iter();
    some.flat_map(move |a| others.iter().map(move |b| (*a, *b)))
}
