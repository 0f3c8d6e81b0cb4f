//! One simulated TCP connection: two directions of bytes, each in order.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::Waker;

use bytes::{Bytes, BytesMut};

use crate::Instant;
use crate::testing::Random;

/// What travels.
#[derive(Debug)]
pub(super) enum Segment {
    Data(Bytes),
    /// The writer has said all it will.
    Fin,
    Reset,
}

/// How the bytes that a side receives end.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Orderly,
    Failed(io::ErrorKind),
}

/// One side: what it sends, and what has arrived there.
pub(super) struct Side {
    pub(super) address: SocketAddr,
    /// Decides what becomes of what this side sends.
    pub(super) random: Random,
    pub(super) under_way: VecDeque<(Instant, Segment)>,
    /// When the last of it arrives.
    pub(super) last: Instant,
    /// Bytes it has sent that the other side has not read.
    pub(super) unread: usize,
    /// No more bytes will be sent.
    pub(super) finished: bool,
    /// It has sent something of which it cannot know that it arrived.
    pub(super) unconfirmed: bool,
    pub(super) arrived: BytesMut,
    pub(super) end: Option<End>,
    /// Somebody holds this side.
    pub(super) open: bool,
    /// What arrives vanishes.
    pub(super) sink: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

/// A connection; side 0 is the client.
pub(super) struct Connection {
    pub(super) sides: [Side; 2],
    /// Nothing passes any more, for ever.
    pub(super) half_open: bool,
    /// Since when nothing passes in at least one direction.
    pub(super) blocked: Option<Instant>,
    /// A connection on which the client's bytes are sent again.
    pub(super) replay: Option<u64>,
}

impl Side {
    pub(super) fn new(address: SocketAddr, random: Random, now: Instant) -> Self {
        Self {
            address,
            random,
            under_way: VecDeque::new(),
            last: now,
            unread: 0,
            finished: false,
            unconfirmed: false,
            arrived: BytesMut::new(),
            end: None,
            open: true,
            sink: false,
            reader: None,
            writer: None,
        }
    }

    /// Reads and writes fail from now on, once what has arrived is read.
    pub(super) fn fail(&mut self, kind: io::ErrorKind, wakers: &mut Vec<Waker>) {
        self.end = Some(End::Failed(kind));
        self.wake(wakers);
    }

    pub(super) fn wake(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.reader.take());
        wakers.extend(self.writer.take());
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.end, Some(End::Failed(_)))
    }

    /// The error that writes get.
    pub(super) fn write_error(&self) -> Option<io::ErrorKind> {
        match self.end {
            Some(End::Failed(kind)) => Some(kind),
            _ if self.finished => Some(io::ErrorKind::BrokenPipe),
            _ => None,
        }
    }

    /// Drops a random part, from its end, of what is under way.
    pub(super) fn cut_short(&mut self) {
        let bytes = self.under_way.iter().map(|(_, segment)| segment.len());
        let mut kept = self.random.below(bytes.sum::<usize>() as u64 + 1) as usize;
        let mut lost = 0;
        self.under_way.retain_mut(|(_, segment)| {
            let Segment::Data(bytes) = segment else {
                return false;
            };
            let keep = kept.min(bytes.len());
            kept -= keep;
            lost += bytes.len() - keep;
            bytes.truncate(keep);
            keep > 0
        });
        self.unread = self.unread.saturating_sub(lost);
    }

    /// Takes up to `room` bytes that have arrived.
    pub(super) fn take(&mut self, room: usize) -> Bytes {
        let bytes = self.arrived.split_to(room.min(self.arrived.len())).freeze();
        if self.arrived.is_empty() {
            self.arrived = BytesMut::new();
        }
        bytes
    }
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            Self::Fin | Self::Reset => 0,
        }
    }
}

impl Connection {
    /// Something that travels from `side` has come to the other one. True if the other one answers with a reset, because nobody
    /// is there.
    pub(super) fn deliver(
        &mut self,
        side: usize,
        segment: Segment,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let [client, server] = &mut self.sides;
        let (from, to) = match side {
            0 => (client, server),
            _ => (server, client),
        };
        match segment {
            Segment::Data(_) if !to.open => return true,
            Segment::Data(bytes) if to.sink || to.end.is_some() => {
                from.unread = from.unread.saturating_sub(bytes.len());
                wakers.extend(from.writer.take());
            }
            Segment::Data(bytes) => {
                to.arrived.extend_from_slice(&bytes);
                wakers.extend(to.reader.take());
            }
            Segment::Fin => {
                to.end.get_or_insert(End::Orderly);
                wakers.extend(to.reader.take());
            }
            Segment::Reset if to.open => to.fail(io::ErrorKind::ConnectionReset, wakers),
            Segment::Reset => {}
        }
        false
    }
}
