//! What a simulated network does to connections.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How the network treats what goes from one host to another. The default is a good network: a delay of 1 ms, and nothing else.
///
/// Probabilities are numbers from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// How long bytes are under way. The bytes of one connection never overtake each other; those of two connections do.
    pub delay: RangeInclusive<Duration>,
    /// The probability, for each write, that the connection breaks: a part of what was written arrives, then both sides get a
    /// reset. TCP loses nothing silently.
    pub reset: f64,
    /// The probability, for each write of more than one byte, that it arrives in two portions, one after the other.
    pub split: f64,
    /// The probability that a connect is refused.
    pub refuse: f64,
    /// The probability that a new connection has a twin, which the server accepts too and which closes without a byte, as
    /// after a repeated connect.
    pub twin: f64,
    /// The probability that a new connection has a twin on which the same bytes arrive again, as behind a proxy that tries twice:
    /// messages arrive more than once.
    pub replay: f64,
    /// Bytes per second, for each direction of each connection: a write arrives as a whole, later by the time that its bytes
    /// take. Default no limit.
    pub bandwidth: Option<u64>,
    /// Bytes of one connection that may be under way or unread before its writer has to wait.
    pub window: usize,
    /// How long a connect may take.
    pub connect_timeout: Duration,
    /// A side whose bytes cannot be delivered gives the connection up after this time, as TCP does when retransmission fails.
    pub give_up: Duration,
    /// A side that waits for bytes while nothing can pass gives the connection up after this time, as TCP does by keep-alive
    /// probes.
    pub keep_alive: Duration,
}

/// What TCP sockets have for both directions by default.
const WINDOW_BYTES: usize = 64 * 1024;

/// As [`TcpTransport`](crate::TcpTransport) does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// About what 15 retransmissions of Linux take.
const GIVE_UP: Duration = Duration::from_secs(924);

/// Two hours and nine probes, 75 s apart: the default of Linux.
const KEEP_ALIVE: Duration = Duration::from_secs(7200 + 9 * 75);

impl Default for Faults {
    fn default() -> Self {
        let delay = Duration::from_millis(1);
        Self {
            delay: delay..=delay,
            reset: 0.0,
            split: 0.0,
            refuse: 0.0,
            twin: 0.0,
            replay: 0.0,
            bandwidth: None,
            window: WINDOW_BYTES,
            connect_timeout: CONNECT_TIMEOUT,
            give_up: GIVE_UP,
            keep_alive: KEEP_ALIVE,
        }
    }
}

/// How a connection [breaks](super::SimNetwork::break_connections).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Both sides get a reset, after a part of what is under way has arrived.
    Reset,
    /// Both sides see an orderly end, after a part of what is under way has arrived: a message may be cut in the middle.
    Truncate,
    /// Nothing passes any more and nobody is told: the connection is half open until its sides
    /// [give up](Faults::give_up). New connections work.
    HalfOpen,
}
