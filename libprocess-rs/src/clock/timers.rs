//! The time and the timer queue of a clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Instant;
use crate::panics::catch;

type Callback = Box<dyn FnOnce() + Send>;

/// Identifies a timer; the order of keys is the order of firing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) deadline: Instant,
    number: u64,
}

/// State of one clock. Real timers are fired by one thread, started with the first of them.
pub(super) struct Core {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    time: Time,
    timers: BTreeMap<Key, Callback>,
    numbers: u64,
    fired: u64,
    thread: bool,
    closed: bool,
}

#[derive(Clone, Copy)]
enum Time {
    Paused(Instant),
    /// The clock showed `origin` when the monotonic clock showed `since`.
    Running {
        origin: Instant,
        since: std::time::Instant,
    },
}

impl Time {
    fn now(&self) -> Instant {
        match self {
            Time::Paused(now) => *now,
            Time::Running { origin, since } => *origin + since.elapsed(),
        }
    }

    fn running_from(origin: Instant) -> Self {
        Time::Running {
            origin,
            since: std::time::Instant::now(),
        }
    }
}

impl State {
    fn pop_due(&mut self, until: Instant) -> Option<(Key, Callback)> {
        let entry = self.timers.first_entry()?;
        if entry.key().deadline > until {
            return None;
        }
        self.fired += 1;
        Some(entry.remove_entry())
    }
}

impl Core {
    pub(super) fn running(origin: Instant) -> Self {
        Self::new(Time::running_from(origin))
    }

    pub(super) fn paused(at: Instant) -> Self {
        Self::new(Time::Paused(at))
    }

    fn new(time: Time) -> Self {
        Self {
            state: Mutex::new(State {
                time,
                timers: BTreeMap::new(),
                numbers: 0,
                fired: 0,
                thread: false,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.state.lock().time.now()
    }

    pub(super) fn is_paused(&self) -> bool {
        matches!(self.state.lock().time, Time::Paused(_))
    }

    pub(super) fn fired(&self) -> u64 {
        self.state.lock().fired
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.state
            .lock()
            .timers
            .keys()
            .next()
            .map(|key| key.deadline)
    }

    pub(super) fn pause(&self) {
        let mut state = self.state.lock();
        state.time = Time::Paused(state.time.now());
        self.changed.notify_all();
    }

    pub(super) fn resume(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if let Time::Paused(now) = state.time {
            state.time = Time::running_from(now);
        }
        if !state.timers.is_empty() {
            self.ensure_thread(&mut state);
        }
        self.changed.notify_all();
    }

    /// Moves the time forward step by step, so that a callback sees its own deadline as the current time.
    pub(super) fn advance(&self, by: Duration) {
        let target = {
            let mut state = self.state.lock();
            match state.time {
                Time::Paused(now) => now + by,
                Time::Running { origin, since } => {
                    state.time = Time::Running {
                        origin: origin + by,
                        since,
                    };
                    self.changed.notify_all();
                    return;
                }
            }
        };
        loop {
            let mut state = self.state.lock();
            let due = state.pop_due(target);
            let reached = due.as_ref().map_or(target, |(key, _)| key.deadline);
            if let Time::Paused(now) = &mut state.time {
                *now = reached.max(*now);
            }
            drop(state);
            match due {
                Some((_, callback)) => fire(callback),
                None => return,
            }
        }
    }

    /// Fires what is due at the current time of a paused clock, such as timers of zero length.
    pub(super) fn fire_due(&self) {
        if self.is_paused() {
            self.advance(Duration::ZERO);
        }
    }

    pub(super) fn insert(self: &Arc<Self>, after: Duration, callback: Callback) -> Key {
        let mut state = self.state.lock();
        state.numbers += 1;
        let key = Key {
            deadline: state.time.now() + after,
            number: state.numbers,
        };
        let first = state.timers.keys().next().is_none_or(|next| key < *next);
        state.timers.insert(key, callback);
        if let Time::Running { .. } = state.time {
            self.ensure_thread(&mut state);
            if first {
                self.changed.notify_all();
            }
        }
        key
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.state.lock().timers.contains_key(&key)
    }

    pub(super) fn remove(&self, key: Key) -> bool {
        let removed = self.state.lock().timers.remove(&key);
        // The callback is dropped outside the lock: what it owns may use this clock while it is dropped.
        removed.is_some()
    }

    pub(super) fn close(&self) {
        let timers = {
            let mut state = self.state.lock();
            state.closed = true;
            self.changed.notify_all();
            std::mem::take(&mut state.timers)
        };
        drop(timers);
    }

    fn ensure_thread(self: &Arc<Self>, state: &mut MutexGuard<'_, State>) {
        if state.thread {
            return;
        }
        let core = Arc::downgrade(self);
        let spawned = thread::Builder::new()
            .name("libprocess-clock".to_owned())
            .stack_size(CLOCK_STACK_BYTES)
            .spawn(move || run(core));
        match spawned {
            Ok(_) => state.thread = true,
            Err(error) => tracing::error!("Failed to start the clock's thread: {error}"),
        }
    }

    /// Fires due timers and sleeps until the next one; false when the clock is gone.
    fn run_once(&self) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        let now = state.time.now();
        if matches!(state.time, Time::Running { .. })
            && let Some((_, callback)) = state.pop_due(now)
        {
            drop(state);
            fire(callback);
            return true;
        }
        let next = state.timers.keys().next().map(|key| key.deadline);
        match (state.time, next) {
            (Time::Running { .. }, Some(deadline)) => {
                self.changed.wait_for(&mut state, deadline - now);
            }
            _ => self.changed.wait(&mut state),
        }
        true
    }
}

/// A panic must not end the other timers with this one.
fn fire(callback: Callback) {
    if let Err(panic) = catch(callback) {
        tracing::error!("A timer panicked: {panic}");
    }
}

/// Callbacks only queue events and wake tasks, which needs little stack.
const CLOCK_STACK_BYTES: usize = 256 * 1024;

fn run(core: Weak<Core>) {
    while let Some(core) = core.upgrade() {
        if !core.run_once() {
            return;
        }
    }
}
