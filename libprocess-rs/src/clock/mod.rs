//! Time that is injected: real by default, and in tests paused, advanced and settled.

mod instant;
mod timers;

pub use instant::Instant;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use timers::{Core, Key};

/// Where [`Clock::paused`] starts: 2020-01-01 00:00:00 UTC, so that a test sees the same times in each run.
const PAUSED_START: Duration = Duration::from_secs(1_577_836_800);

/// Something that takes part in [`Clock::settle`]: a runtime.
pub(crate) trait Settle: Send + Sync {
    /// Lets every worker run what is ready now, then reports how much has happened so far; `None` while work is waiting.
    fn progress(&self) -> Pin<Box<dyn Future<Output = Option<u64>> + Send + '_>>;
}

/// A source of time and timers.
///
/// Clones share one time. [`Clock::system`] follows the real time until it is paused; [`Clock::paused`] stands still until it
/// is [advanced](Self::advance). Timers that are due fire in the order of their deadlines; equal deadlines fire in the order in
/// which they were made.
///
/// Upstream: `process::Clock` in `3rdparty/libprocess/include/process/clock.hpp`; unlike there, time is one for all actors and
/// no clock is global.
#[derive(Clone)]
pub struct Clock {
    shared: Arc<Shared>,
}

struct Shared {
    core: Arc<Core>,
    runtimes: Mutex<Vec<Weak<dyn Settle>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.core.close();
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock")
            .field("now", &self.now())
            .field("paused", &self.is_paused())
            .finish()
    }
}

impl Clock {
    /// A clock that follows the real time: the wall clock at its creation, then the monotonic clock.
    pub fn system() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self::with_core(Core::running(Instant::from_unix(wall)))
    }

    /// A clock that stands still at 2020-01-01 00:00:00 UTC.
    pub fn paused() -> Self {
        Self::paused_at(Instant::from_unix(PAUSED_START))
    }

    /// A clock that stands still at `start`.
    pub fn paused_at(start: Instant) -> Self {
        Self::with_core(Core::paused(start))
    }

    fn with_core(core: Core) -> Self {
        Self {
            shared: Arc::new(Shared {
                core: Arc::new(core),
                runtimes: Mutex::new(Vec::new()),
            }),
        }
    }

    /// The current time of this clock.
    pub fn now(&self) -> Instant {
        self.shared.core.now()
    }

    /// True between [`pause`](Self::pause) and [`resume`](Self::resume).
    pub fn is_paused(&self) -> bool {
        self.shared.core.is_paused()
    }

    /// Freezes the time. Timers made before keep the time that was left to them.
    pub fn pause(&self) {
        self.shared.core.pause();
    }

    /// Lets the time follow the real time again, from where it stands.
    pub fn resume(&self) {
        self.shared.core.resume();
    }

    /// Moves a paused clock forward by `by` and fires, on the calling thread, all timers that become due, each at its own
    /// deadline: a timer that a firing timer makes is fired too if it falls within the step. On a running clock the step is
    /// added to the real time.
    pub fn advance(&self, by: Duration) {
        self.shared.core.advance(by);
    }

    /// Waits until the actors of all runtimes on this clock have nothing left to do at the current time: no queued events, no
    /// running turn, no unsent message, no due timer. Work on blocking threads counts if it was started through
    /// [`Context::blocking`](crate::Context::blocking).
    pub async fn settle(&self) {
        let mut before = None;
        loop {
            self.shared.core.fire_due();
            let now = self.progress().await;
            if now.is_some() && now == before {
                return;
            }
            before = now;
        }
    }

    async fn progress(&self) -> Option<u64> {
        let runtimes: Vec<Arc<dyn Settle>> = {
            let mut all = self.shared.runtimes.lock();
            all.retain(|runtime| runtime.strong_count() > 0);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        let mut sum = Some(self.shared.core.fired());
        for runtime in runtimes {
            let progress = runtime.progress().await;
            sum = sum.zip(progress).map(|(a, b)| a.wrapping_add(b));
        }
        sum
    }

    pub(crate) fn register(&self, runtime: Weak<dyn Settle>) {
        self.shared.runtimes.lock().push(runtime);
    }

    /// Runs `callback` once `after` has passed: on the clock's own thread, or on the thread that advances a paused clock. It
    /// must not block; a panic in it is logged and goes no further. Actors use [`Context::delay`](crate::Context::delay) instead.
    pub fn delay(&self, after: Duration, callback: impl FnOnce() + Send + 'static) -> Timer {
        let cancelled = Arc::new(AtomicBool::new(false));
        self.delay_with(after, cancelled, callback)
    }

    pub(crate) fn delay_with(
        &self,
        after: Duration,
        cancelled: Arc<AtomicBool>,
        callback: impl FnOnce() + Send + 'static,
    ) -> Timer {
        let key = self.shared.core.insert(after, Box::new(callback));
        Timer {
            core: Arc::downgrade(&self.shared.core),
            key,
            cancelled,
        }
    }

    /// Completes once `duration` has passed on this clock since the future was first polled. Dropping it forgets the timer.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep {
            clock: self.clone(),
            duration,
            state: None,
        }
    }

    /// The output of `future`, or [`Elapsed`] if it does not complete within `limit` on this clock, counted from
    /// the first poll.
    pub async fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let mut future = std::pin::pin!(future);
        let mut sleep = self.sleep(limit);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed))
        })
        .await
    }

    /// The deadline of the next timer, if there is one.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.shared.core.next_deadline()
    }
}

/// A [`Clock::timeout`] that ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct Elapsed;

/// A pending timer. Dropping it does not cancel it.
#[derive(Clone)]
pub struct Timer {
    core: Weak<Core>,
    key: Key,
    cancelled: Arc<AtomicBool>,
}

impl Timer {
    /// Cancels the timer. A callback of an actor that has not begun its turn yet will not run, even if the time was already up.
    /// Returns true if the time was not up.
    pub fn cancel(&self) -> bool {
        self.cancelled.store(true, Ordering::Release);
        self.remove()
    }

    /// Takes the timer from the clock. True if the time was not up.
    pub(crate) fn remove(&self) -> bool {
        let core = self.core.upgrade();
        core.is_some_and(|core| core.remove(self.key))
    }

    /// True until the time is up or the timer is cancelled.
    pub(crate) fn is_pending(&self) -> bool {
        let core = self.core.upgrade();
        core.is_some_and(|core| core.contains(self.key))
    }

    /// When the timer is due.
    pub fn deadline(&self) -> Instant {
        self.key.deadline
    }
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timer")
            .field("deadline", &self.key.deadline)
            .finish()
    }
}

/// Future of [`Clock::sleep`].
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    clock: Clock,
    duration: Duration,
    state: Option<(Timer, Arc<Mutex<Wake>>)>,
}

#[derive(Default)]
struct Wake {
    done: bool,
    waker: Option<std::task::Waker>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let (_, wake) = this.state.get_or_insert_with(|| {
            let wake = Arc::new(Mutex::new(Wake::default()));
            let fire = wake.clone();
            let timer = this.clock.delay(this.duration, move || {
                let mut wake = fire.lock();
                wake.done = true;
                if let Some(waker) = wake.waker.take() {
                    waker.wake();
                }
            });
            (timer, wake)
        });
        let mut wake = wake.lock();
        if wake.done {
            return Poll::Ready(());
        }
        match &mut wake.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            slot => *slot = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((timer, _)) = &self.state {
            timer.cancel();
        }
    }
}

#[cfg(test)]
mod tests;
