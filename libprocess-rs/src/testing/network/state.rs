//! The hosts, ports and connections of a simulated network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::connection::{Connection, End, Segment, Side};
use super::faults::{Break, Faults};
use super::stream::SimStream;
use crate::testing::Random;
use crate::{Clock, Instant};

/// The first port that is given to clients and to listeners that want any.
const FIRST_FREE_PORT: u16 = 32_768;

/// The least time between the portions of a write.
const AN_INSTANT: Duration = Duration::from_nanos(1);

/// A network; its state has one lock.
pub(super) struct Net {
    pub(super) seed: u64,
    pub(super) clock: Clock,
    this: Weak<Net>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) faults: Faults,
    pub(super) link_faults: BTreeMap<(IpAddr, IpAddr), Faults>,
    /// From whom to whom nothing passes.
    pub(super) cut: BTreeSet<(IpAddr, IpAddr)>,
    /// Machines without power.
    pub(super) off: BTreeSet<IpAddr>,
    /// Connections that are dropped now are reset.
    pub(super) killing: bool,
    pub(super) ports: BTreeMap<SocketAddr, Port>,
    connections: BTreeMap<u64, Connection>,
    last_connection: u64,
    /// How often one host has connected to a port.
    connects: BTreeMap<(IpAddr, SocketAddr), u64>,
    free_ports: BTreeMap<IpAddr, u16>,
    /// To be woken when the lock is free.
    wakers: Vec<Waker>,
}

/// A listening port.
#[derive(Default)]
pub(super) struct Port {
    pub(super) accepted: VecDeque<SimStream>,
    pub(super) waker: Option<Waker>,
}

/// Why a side gives a connection up through which nothing passes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// What it has sent is not confirmed.
    Retransmission,
    /// Its probes are not answered.
    KeepAlive,
}

/// One attempt to connect.
pub(super) struct Attempt {
    from: IpAddr,
    to: SocketAddr,
    name: String,
    random: Random,
}

impl Net {
    pub(super) fn new(seed: u64, clock: Clock) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            seed,
            clock,
            this: this.clone(),
            state: Mutex::default(),
        })
    }

    /// Changes the state and then wakes whom that concerns.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let (result, wakers) = {
            let mut state = self.state.lock();
            let result = f(&mut state);
            (result, std::mem::take(&mut state.wakers))
        };
        for waker in wakers {
            waker.wake();
        }
        result
    }

    fn after(&self, time: Duration, then: impl FnOnce(&Net) + Send + 'static) {
        let this = self.this.clone();
        self.clock.delay(time, move || {
            if let Some(net) = this.upgrade() {
                then(&net);
            }
        });
    }

    pub(super) fn bind(&self, mut address: SocketAddr) -> io::Result<SocketAddr> {
        self.with(|state| {
            if address.port() == 0 {
                let free = state.free_port(address.ip());
                address = free.ok_or(io::ErrorKind::AddrNotAvailable)?;
            } else if state.ports.contains_key(&address) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            state.ports.insert(address, Port::default());
            Ok(address)
        })
    }

    pub(super) fn unbind(&self, address: SocketAddr) {
        // The connections that nobody accepted are closed when they are dropped, which needs the lock.
        let port = self.with(|state| state.ports.remove(&address));
        drop(port);
    }

    pub(super) fn attempt(&self, from: IpAddr, to: SocketAddr) -> Attempt {
        let count = self.with(|state| {
            let count = state.connects.entry((from, to)).or_default();
            *count += 1;
            *count
        });
        let name = format!("{from} > {to} #{count}");
        Attempt {
            from,
            to,
            random: Random::named(self.seed, &name),
            name,
        }
    }

    /// Opens a connection, if somebody listens, a port is free and no fault forbids it.
    pub(super) fn establish(&self, attempt: &mut Attempt) -> Option<SimStream> {
        let Attempt { from, to, .. } = *attempt;
        let now = self.clock.now();
        self.with(|state| {
            let faults = state.link(from, to.ip()).clone();
            if attempt.random.chance(faults.refuse) || !state.ports.contains_key(&to) {
                return None;
            }
            let id = self.open(state, attempt, "", now)?;
            if attempt.random.chance(faults.twin) {
                let twin = self.open(state, attempt, " twin", now)?;
                self.close(state, twin, 0);
            }
            if attempt.random.chance(faults.replay) {
                let twin = self.open(state, attempt, " replay", now)?;
                if let Some(connection) = state.connections.get_mut(&twin) {
                    connection.sides[0].sink = true;
                }
                if let Some(connection) = state.connections.get_mut(&id) {
                    connection.replay = Some(twin);
                }
            }
            Some(self.stream(id, 0, to))
        })
    }

    /// Adds a connection and hands its server side to the listener; none if the client has no free port.
    fn open(
        &self,
        state: &mut State,
        attempt: &Attempt,
        suffix: &str,
        now: Instant,
    ) -> Option<u64> {
        let client = state.free_port(attempt.from)?;
        let side = |address, which| {
            let name = format!("{}{suffix} side {which}", attempt.name);
            Side::new(address, Random::named(self.seed, &name), now)
        };
        state.last_connection += 1;
        let id = state.last_connection;
        let connection = Connection {
            sides: [side(client, 0), side(attempt.to, 1)],
            half_open: false,
            blocked: None,
            replay: None,
        };
        state.connections.insert(id, connection);
        if let Some(port) = state.ports.get_mut(&attempt.to) {
            port.accepted.push_back(self.stream(id, 1, client));
            state.wakers.extend(port.waker.take());
        }
        Some(id)
    }

    fn stream(&self, id: u64, side: usize, peer: SocketAddr) -> SimStream {
        SimStream::new(self.this.clone(), id, side, peer)
    }

    pub(super) fn poll_read(
        &self,
        (id, side): (u64, usize),
        cx: &Context<'_>,
        room: usize,
    ) -> Poll<io::Result<Bytes>> {
        self.with(|state| {
            let Some(connection) = state.connections.get_mut(&id) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let here = &mut connection.sides[side];
            let bytes = here.take(room);
            if bytes.is_empty() {
                return match here.end {
                    Some(End::Orderly) => Poll::Ready(Ok(bytes)),
                    Some(End::Failed(kind)) => Poll::Ready(Err(kind.into())),
                    None => {
                        here.reader = Some(cx.waker().clone());
                        Poll::Pending
                    }
                };
            }
            let there = &mut connection.sides[1 - side];
            there.unread = there.unread.saturating_sub(bytes.len());
            state.wakers.extend(there.writer.take());
            Poll::Ready(Ok(bytes))
        })
    }

    pub(super) fn poll_write(
        &self,
        (id, side): (u64, usize),
        cx: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|state| {
            let Some((from, to)) = state.ends(id, side) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let faults = state.link(from, to).clone();
            let Some(connection) = state.connections.get_mut(&id) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let replay = connection.replay.filter(|_| side == 0);
            let here = &mut connection.sides[side];
            if let Some(error) = here.write_error() {
                return Poll::Ready(Err(error.into()));
            }
            let room = faults.window.max(1).saturating_sub(here.unread);
            if room == 0 {
                here.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let accepted = bytes.get(..room).unwrap_or(bytes);
            let len = accepted.len();
            let data = Bytes::copy_from_slice(accepted);
            let breaks = here.random.chance(faults.reset);
            if let Some(twin) = replay {
                self.transmit(state, (twin, side), data.clone());
            }
            self.transmit(state, (id, side), data);
            if breaks {
                self.break_one(state, id, Break::Reset);
            }
            Poll::Ready(Ok(len))
        })
    }

    /// Sends bytes, perhaps in two portions.
    fn transmit(&self, state: &mut State, (id, side): (u64, usize), mut data: Bytes) {
        let Some((from, to)) = state.ends(id, side) else {
            return;
        };
        let split = state.link(from, to).split;
        if let Some(connection) = state.connections.get_mut(&id) {
            let here = &mut connection.sides[side];
            here.unread += data.len();
            if here.random.chance(split) && data.len() > 1 {
                let at = 1 + here.random.below(data.len() as u64 - 1) as usize;
                self.send(state, (id, side), Segment::Data(data.split_to(at)));
                if let Some(connection) = state.connections.get_mut(&id) {
                    // What arrives at one time is read at once.
                    connection.sides[side].last += AN_INSTANT;
                }
            }
        }
        self.send(state, (id, side), Segment::Data(data));
    }

    /// Puts something under way.
    fn send(&self, state: &mut State, (id, side): (u64, usize), segment: Segment) {
        let Some((from, to)) = state.ends(id, side) else {
            return;
        };
        let (now, faults) = (self.clock.now(), state.link(from, to).clone());
        let Some(connection) = state.connections.get_mut(&id) else {
            return;
        };
        let here = &mut connection.sides[side];
        let mut at = (now + here.random.duration(&faults.delay)).max(here.last);
        if let (Some(rate), Segment::Data(bytes)) = (faults.bandwidth, &segment) {
            at += Duration::from_secs_f64(bytes.len() as f64 / rate.max(1) as f64);
        }
        here.last = at;
        here.under_way.push_back((at, segment));
        let in_doubt = !std::mem::replace(&mut here.unconfirmed, connection.blocked.is_some());
        if let Some(since) = connection.blocked.filter(|_| in_doubt) {
            self.give_up_later(id, side, &faults, since, Patience::Retransmission);
        }
        self.arrive_at(state, (id, side), at);
    }

    fn arrive_at(&self, state: &mut State, direction: (u64, usize), at: Instant) {
        let wait = at - self.clock.now();
        match wait.is_zero() {
            true => self.arrive(state, direction),
            false => self.after(wait, move |net| {
                net.with(|state| net.arrive(state, direction));
            }),
        }
    }

    /// Delivers what is due, unless the way is cut.
    fn arrive(&self, state: &mut State, (id, side): (u64, usize)) {
        let now = self.clock.now();
        if !state.passes(id, side) {
            return;
        }
        let Some(connection) = state.connections.get_mut(&id) else {
            return;
        };
        let mut answered = false;
        while let Some((at, _)) = connection.sides[side].under_way.front()
            && *at <= now
            && let Some((_, segment)) = connection.sides[side].under_way.pop_front()
        {
            answered |= connection.deliver(side, segment, &mut state.wakers);
        }
        if answered {
            self.send(state, (id, 1 - side), Segment::Reset);
        }
        state.forget_if_done(id);
    }

    pub(super) fn finish(&self, state: &mut State, id: u64, side: usize) {
        let Some(connection) = state.connections.get_mut(&id) else {
            return;
        };
        let replay = connection.replay.filter(|_| side == 0);
        let here = &mut connection.sides[side];
        if std::mem::replace(&mut here.finished, true) || here.has_failed() {
            return;
        }
        self.send(state, (id, side), Segment::Fin);
        if let Some(twin) = replay {
            self.finish(state, twin, side);
        }
    }

    /// Nobody holds the side any more.
    pub(super) fn close(&self, state: &mut State, id: u64, side: usize) {
        let Some(connection) = state.connections.get_mut(&id) else {
            return;
        };
        let replay = connection.replay.filter(|_| side == 0);
        let here = &mut connection.sides[side];
        here.open = false;
        let lost = !std::mem::take(&mut here.arrived).is_empty() || state.killing;
        if state.killing {
            here.cut_short();
        }
        // A machine without power says no goodbye, nor does one that has given up.
        let off = state.off.contains(&here.address.ip());
        if off || here.has_failed() {
            self.probe_later(state, id, 1 - side);
        } else if lost {
            self.send(state, (id, side), Segment::Reset);
        } else {
            self.finish(state, id, side);
        }
        state.forget_if_done(id);
        if let Some(twin) = replay {
            self.close(state, twin, side);
        }
    }

    pub(super) fn break_one(&self, state: &mut State, id: u64, how: Break) {
        let Some(connection) = state.connections.get_mut(&id) else {
            return;
        };
        if how == Break::HalfOpen {
            connection.half_open = true;
            return self.update_blocked(state, id);
        }
        for side in &mut connection.sides {
            side.cut_short();
            side.finished = true;
            side.wake(&mut state.wakers);
        }
        for side in [0, 1] {
            let end = match how {
                Break::Reset => Segment::Reset,
                _ => Segment::Fin,
            };
            self.send(state, (id, side), end);
        }
    }

    /// Applies a change to what passes between hosts.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        self.with(|state| {
            change(state);
            for id in state.ids() {
                self.update_blocked(state, id);
            }
        });
    }

    /// Notes whether something can pass, and sends what was stopped on its way again if it can.
    fn update_blocked(&self, state: &mut State, id: u64) {
        let passes = [state.passes(id, 0), state.passes(id, 1)];
        let blocked = passes.contains(&false);
        let Some((client, server)) = state.ends(id, 0) else {
            return;
        };
        let (now, faults) = (self.clock.now(), state.link(client, server).clone());
        let Some(connection) = state.connections.get_mut(&id) else {
            return;
        };
        let was_blocked = connection.blocked;
        if blocked && was_blocked.is_none() {
            connection.blocked = Some(now);
            for (side, here) in connection.sides.iter_mut().enumerate() {
                here.unconfirmed = !here.under_way.is_empty();
                if here.unconfirmed {
                    self.give_up_later(id, side, &faults, now, Patience::Retransmission);
                }
                self.give_up_later(id, side, &faults, now, Patience::KeepAlive);
            }
        } else if !blocked {
            connection.blocked = None;
        }
        if was_blocked.is_some() {
            for side in [0, 1].into_iter().filter(|side| passes[*side]) {
                self.send_again(state, (id, side));
            }
        }
    }

    fn send_again(&self, state: &mut State, (id, side): (u64, usize)) {
        let Some((from, to)) = state.ends(id, side) else {
            return;
        };
        let delay = state.link(from, to).delay.clone();
        let Some(connection) = state.connections.get_mut(&id) else {
            return;
        };
        let here = &mut connection.sides[side];
        if here.under_way.is_empty() {
            return;
        }
        let at = self.clock.now() + here.random.duration(&delay);
        for (due, _) in &mut here.under_way {
            *due = at.max(*due);
        }
        here.last = here.last.max(at);
        let last = here.last;
        self.arrive_at(state, (id, side), at);
        if last > at {
            self.arrive_at(state, (id, side), last);
        }
    }

    /// Fails the side when its patience is over, if nothing has passed since `since`.
    fn give_up_later(
        &self,
        id: u64,
        side: usize,
        faults: &Faults,
        since: Instant,
        patience: Patience,
    ) {
        let time = match patience {
            Patience::Retransmission => faults.give_up,
            Patience::KeepAlive => faults.keep_alive,
        };
        self.after(time, move |net| {
            net.with(|state| {
                let Some(connection) = state.connections.get_mut(&id) else {
                    return;
                };
                let still = connection.blocked == Some(since);
                let here = &mut connection.sides[side];
                let waits = here.unconfirmed || patience == Patience::KeepAlive;
                if still && here.open && !here.has_failed() && waits {
                    here.under_way.clear();
                    here.fail(io::ErrorKind::TimedOut, &mut state.wakers);
                }
            });
        });
    }

    /// The other side of one that is gone without a word learns of it by a keep-alive probe: by a reset or by no answer.
    fn probe_later(&self, state: &State, id: u64, side: usize) {
        let Some((from, to)) = state.ends(id, side) else {
            return;
        };
        self.after(state.link(from, to).keep_alive, move |net| {
            net.with(|state| {
                let error = match state.passes(id, 0) && state.passes(id, 1) {
                    true => io::ErrorKind::ConnectionReset,
                    false => io::ErrorKind::TimedOut,
                };
                if let Some(connection) = state.connections.get_mut(&id)
                    && !connection.sides[side].has_failed()
                {
                    connection.sides[side].fail(error, &mut state.wakers);
                }
            });
        });
    }

    pub(super) fn delay(&self, attempt: &mut Attempt, there: bool) -> Duration {
        let (from, to) = (attempt.from, attempt.to.ip());
        let delay = self.with(|state| match there {
            true => state.link(from, to).delay.clone(),
            false => state.link(to, from).delay.clone(),
        });
        attempt.random.duration(&delay)
    }
}

impl State {
    pub(super) fn link(&self, from: IpAddr, to: IpAddr) -> &Faults {
        self.link_faults.get(&(from, to)).unwrap_or(&self.faults)
    }

    /// True if nothing stops packets between the hosts.
    pub(super) fn way_is_open(&self, from: IpAddr, to: IpAddr) -> bool {
        let off = self.off.contains(&from) || self.off.contains(&to);
        !off && !self.cut.contains(&(from, to))
    }

    /// The hosts of a connection, seen from `side`.
    fn ends(&self, id: u64, side: usize) -> Option<(IpAddr, IpAddr)> {
        let connection = self.connections.get(&id)?;
        let [client, server] = connection.sides.each_ref().map(|side| side.address.ip());
        Some(match side {
            0 => (client, server),
            _ => (server, client),
        })
    }

    fn passes(&self, id: u64, side: usize) -> bool {
        let half_open = |connection: &Connection| connection.half_open;
        let ends = self.ends(id, side);
        !self.connections.get(&id).is_some_and(half_open)
            && ends.is_some_and(|(from, to)| self.way_is_open(from, to))
    }

    fn ids(&self) -> Vec<u64> {
        self.connections.keys().copied().collect()
    }

    /// The connections between two hosts.
    pub(super) fn between(&self, one: IpAddr, other: IpAddr) -> Vec<u64> {
        let all = self.connections.iter();
        all.filter(|(_, connection)| {
            let ends = connection.sides.each_ref().map(|side| side.address.ip());
            ends == [one, other] || ends == [other, one]
        })
        .map(|(id, _)| *id)
        .collect()
    }

    pub(super) fn connects(&self, from: IpAddr, to: SocketAddr) -> u64 {
        self.connects.get(&(from, to)).copied().unwrap_or_default()
    }

    pub(super) fn open_connections(&self) -> usize {
        self.connections.len()
    }

    /// An address of the host that nobody listens on and no client has; none if there is no more.
    fn free_port(&mut self, ip: IpAddr) -> Option<SocketAddr> {
        (FIRST_FREE_PORT..=u16::MAX).find_map(|_| {
            let next = self.free_ports.entry(ip).or_insert(FIRST_FREE_PORT);
            let address = SocketAddr::new(ip, *next);
            *next = next.checked_add(1).unwrap_or(FIRST_FREE_PORT);
            let is_client = |connection: &Connection| connection.sides[0].address == address;
            let used =
                self.ports.contains_key(&address) || self.connections.values().any(is_client);
            (!used).then_some(address)
        })
    }

    /// Forgets a connection that nobody holds.
    fn forget_if_done(&mut self, id: u64) {
        let done = |connection: &Connection| connection.sides.iter().all(|side| !side.open);
        if self.connections.get(&id).is_some_and(done) {
            self.connections.remove(&id);
        }
    }
}
