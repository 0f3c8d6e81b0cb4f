//! Filters: waiting for events, dropping them, holding them back.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::hooks::{Filter, Release, Verdict};
use super::{Event, Match};
use crate::Runtime;
use crate::runtime::Inner;

/// The events of the actors of one runtime, to be waited for, dropped and held back.
///
/// A filter sees events when an actor is about to serve them, not when they are queued, and never the termination of an actor.
/// The newest filter that matches an event decides on it, and older ones do not see it. What a method returns is the filter: it
/// ends when that is dropped.
///
/// Upstream: `FUTURE_MESSAGE` and the like in `3rdparty/libprocess/include/process/gmock.hpp`.
#[derive(Clone, Debug)]
pub struct Events {
    runtime: Runtime,
}

impl Events {
    /// The events of `runtime`.
    pub fn of(runtime: &Runtime) -> Self {
        Self {
            runtime: runtime.clone(),
        }
    }

    /// Waits for the next event that matches, which is served all the same.
    ///
    /// Upstream: `FUTURE_MESSAGE`, `FUTURE_PROTOBUF`, `FUTURE_DISPATCH`, `FUTURE_EXITED`, `FUTURE_HTTP_REQUEST`.
    pub fn next(&self, wanted: Match) -> Upcoming {
        self.upcoming(wanted, false)
    }

    /// Drops the next event that matches, and waits for that.
    ///
    /// Upstream: `DROP_MESSAGE`, `DROP_PROTOBUF`, `DROP_DISPATCH`, `DROP_EXITED`.
    pub fn drop_next(&self, wanted: Match) -> Upcoming {
        self.upcoming(wanted, true)
    }

    /// Drops all events that match.
    ///
    /// Upstream: `DROP_MESSAGES`, `DROP_PROTOBUFS`, `DROP_DISPATCHES`.
    pub fn drop_all(&self, wanted: Match) -> Counted {
        self.counted(wanted, true)
    }

    /// Counts the events that match, which are served all the same.
    pub fn count(&self, wanted: Match) -> Counted {
        self.counted(wanted, false)
    }

    /// No event may match: else the end of the filter panics.
    ///
    /// Upstream: `EXPECT_NO_FUTURE_MESSAGES`, `EXPECT_NO_FUTURE_PROTOBUFS`, `EXPECT_NO_FUTURE_DISPATCHES`.
    pub fn expect_none(&self, unwanted: Match) -> Unseen {
        Unseen {
            text: unwanted.to_string(),
            seen: self.counted(unwanted, false),
        }
    }

    /// Holds back all events that match until they are released, in any order.
    pub fn hold(&self, wanted: Match) -> Held {
        let filter = Arc::new(HoldFilter {
            wanted,
            held: Mutex::new(Some(VecDeque::new())),
        });
        Held {
            _installed: self.install(filter.clone()),
            filter,
        }
    }

    fn upcoming(&self, wanted: Match, drop: bool) -> Upcoming {
        let filter = Arc::new(OneFilter {
            wanted,
            drop,
            state: Mutex::default(),
        });
        Upcoming {
            _installed: self.install(filter.clone()),
            filter,
        }
    }

    fn counted(&self, wanted: Match, drop: bool) -> Counted {
        let filter = Arc::new(CountFilter {
            wanted,
            drop,
            count: AtomicU64::new(0),
        });
        Counted {
            _installed: self.install(filter.clone()),
            filter,
        }
    }

    fn install(&self, filter: Arc<dyn Filter>) -> Installed {
        let inner = self.runtime.inner().clone();
        inner.hooks.add(filter.clone());
        Installed { inner, filter }
    }
}

/// Takes its filter away when it is dropped.
struct Installed {
    inner: Arc<Inner>,
    filter: Arc<dyn Filter>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        self.inner.hooks.remove(&self.filter);
    }
}

/// The [next](Events::next) event that matches: a future, and a value to look at.
#[must_use = "the filter ends when this is dropped"]
pub struct Upcoming {
    _installed: Installed,
    filter: Arc<OneFilter>,
}

struct OneFilter {
    wanted: Match,
    drop: bool,
    state: Mutex<One>,
}

#[derive(Default)]
struct One {
    event: Option<Event>,
    waker: Option<Waker>,
}

impl Filter for OneFilter {
    fn look(&self, event: &Event) -> Verdict {
        // A condition of the user may look at this very filter, so it is asked without the lock.
        if !self.wanted.matches(event) {
            return Verdict::Pass;
        }
        let mut state = self.state.lock();
        if state.event.is_some() {
            return Verdict::Pass;
        }
        state.event = Some(event.clone());
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        match self.drop {
            true => Verdict::Drop,
            false => Verdict::Serve,
        }
    }
}

impl Upcoming {
    /// The event, if it has come.
    pub fn get(&self) -> Option<Event> {
        self.filter.state.lock().event.clone()
    }
}

impl Future for Upcoming {
    type Output = Event;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        let mut state = self.filter.state.lock();
        match &state.event {
            Some(event) => Poll::Ready(event.clone()),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Counts the events of a filter.
#[must_use = "the filter ends when this is dropped"]
pub struct Counted {
    _installed: Installed,
    filter: Arc<CountFilter>,
}

struct CountFilter {
    wanted: Match,
    drop: bool,
    count: AtomicU64,
}

impl Filter for CountFilter {
    fn look(&self, event: &Event) -> Verdict {
        if !self.wanted.matches(event) {
            return Verdict::Pass;
        }
        self.count.fetch_add(1, Ordering::AcqRel);
        match self.drop {
            true => Verdict::Drop,
            false => Verdict::Serve,
        }
    }
}

impl Counted {
    /// How many events have matched so far.
    pub fn count(&self) -> u64 {
        self.filter.count.load(Ordering::Acquire)
    }
}

/// Events that [must not come](Events::expect_none).
///
/// # Panics
/// When it is dropped, if one came.
#[must_use = "the filter ends when this is dropped"]
pub struct Unseen {
    text: String,
    seen: Counted,
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let count = self.seen.count();
        if count > 0 && !std::thread::panicking() {
            panic!("expected no {}, but {count} came", self.text);
        }
    }
}

/// Events that are [held back](Events::hold). When it is dropped those still held are served in the order in which they came.
#[must_use = "the filter ends when this is dropped"]
pub struct Held {
    _installed: Installed,
    filter: Arc<HoldFilter>,
}

struct HoldFilter {
    wanted: Match,
    /// None when the filter has ended.
    held: Mutex<Option<VecDeque<(Event, Release)>>>,
}

impl Filter for HoldFilter {
    fn look(&self, event: &Event) -> Verdict {
        match self.wanted.matches(event) {
            true => Verdict::Hold,
            false => Verdict::Pass,
        }
    }

    fn take(&self, event: Event, release: Release) {
        match self.held.lock().as_mut() {
            Some(held) => held.push_back((event, release)),
            None => release(),
        }
    }
}

impl Held {
    /// The events held now, in the order in which they came.
    pub fn events(&self) -> Vec<Event> {
        let held = self.filter.held.lock();
        let held = held.iter().flatten();
        held.map(|(event, _)| event.clone()).collect()
    }

    /// Queues the held event with this index again, behind what else waits for its actor; no filter sees it a second time.
    /// False if there is none.
    pub fn release(&self, index: usize) -> bool {
        match self.remove(index) {
            Some((_, release)) => {
                release();
                true
            }
            None => false,
        }
    }

    /// Releases all events held now in the order in which they came.
    pub fn release_all(&self) {
        let held = self.filter.held.lock().as_mut().map(std::mem::take);
        for (_, release) in held.into_iter().flatten() {
            release();
        }
    }

    /// Drops the held event with this index. False if there is none.
    pub fn discard(&self, index: usize) -> bool {
        self.remove(index).is_some()
    }

    fn remove(&self, index: usize) -> Option<(Event, Release)> {
        self.filter.held.lock().as_mut()?.remove(index)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = self.filter.held.lock().take();
        for (_, release) in held.into_iter().flatten() {
            release();
        }
    }
}
