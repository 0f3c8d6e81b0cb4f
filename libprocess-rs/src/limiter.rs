//! Permits at a steady rate.

use std::time::Duration;

use tokio::sync::Mutex;

use crate::{Clock, Instant};

/// Hands out permits at a steady rate, never several at once: the first at once, each further one an interval or more after the
/// one before it. Permits that nobody asked for are not saved up, and one that comes late is not made up for.
///
/// Waiters are served in the order in which they began to wait. One that is dropped while it waits uses no permit. Share a
/// limiter by putting it in an [`Arc`](std::sync::Arc).
///
/// Upstream: `process::RateLimiter` in `3rdparty/libprocess/include/process/limiter.hpp`.
///
/// ```
/// # use std::time::Duration;
/// # use libprocess::{Clock, RateLimiter};
/// # async fn example(clock: Clock) {
/// let limiter = RateLimiter::new(clock, 10, Duration::from_secs(1));
/// for request in ["a", "b", "c"] {
///     limiter.acquire().await;
///     println!("{request}, at least 100 ms after the one before it");
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct RateLimiter {
    clock: Clock,
    interval: Duration,
    /// When the next permit is due. The lock is the queue: tokio's is fair, and a waiter that is dropped leaves it.
    due: Mutex<Instant>,
}

impl RateLimiter {
    /// A limiter of `permits` per `duration`. No permits at all are taken as one per `duration`.
    pub fn new(clock: Clock, permits: u32, duration: Duration) -> Self {
        let due = Mutex::new(clock.now());
        Self {
            clock,
            interval: duration / permits.max(1),
            due,
        }
    }

    /// Waits for a permit.
    pub async fn acquire(&self) {
        let mut due = self.due.lock().await;
        let wait = *due - self.clock.now();
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
        *due = self.clock.now() + self.interval;
    }

    /// The time between two permits.
    pub fn interval(&self) -> Duration {
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ready(future: &mut BoxFuture<'_, ()>) -> bool {
        future.as_mut().now_or_never().is_some()
    }

    fn limiter(clock: &Clock) -> RateLimiter {
        RateLimiter::new(clock.clone(), 2, 2 * SECOND)
    }

    fn begun<'a>(future: impl Future<Output = ()> + Send + 'a) -> BoxFuture<'a, ()> {
        let mut future = future.boxed();
        assert!(!ready(&mut future));
        future
    }

    #[test]
    fn permits_come_one_by_one_in_order() {
        let clock = Clock::paused();
        let limiter = limiter(&clock);
        assert_eq!(limiter.interval(), SECOND);
        assert!(ready(&mut limiter.acquire().boxed()));
        let mut second = begun(limiter.acquire());
        let mut third = begun(limiter.acquire());

        clock.advance(SECOND - Duration::from_nanos(1));
        assert!(!ready(&mut second));
        clock.advance(Duration::from_nanos(1));
        assert!(!ready(&mut third));
        assert!(ready(&mut second));
        assert!(!ready(&mut third));
        clock.advance(SECOND);
        assert!(ready(&mut third));
    }

    #[test]
    fn permits_are_not_saved_up() {
        let clock = Clock::paused();
        let limiter = limiter(&clock);
        assert!(ready(&mut limiter.acquire().boxed()));
        clock.advance(100 * SECOND);
        assert!(ready(&mut limiter.acquire().boxed()));
        drop(begun(limiter.acquire()));
    }

    #[test]
    fn dropped_waiters_use_no_permit() {
        let clock = Clock::paused();
        let limiter = limiter(&clock);
        assert!(ready(&mut limiter.acquire().boxed()));
        let second = begun(limiter.acquire());
        let third = begun(limiter.acquire());
        let mut fourth = begun(limiter.acquire());
        drop(third);
        clock.advance(SECOND / 2);
        drop(second);
        assert!(!ready(&mut fourth));
        clock.advance(SECOND / 2);
        assert!(ready(&mut fourth));
    }

    #[test]
    fn lateness_is_not_made_up_for() {
        let clock = Clock::paused();
        let limiter = limiter(&clock);
        assert!(ready(&mut limiter.acquire().boxed()));
        let mut second = begun(limiter.acquire());
        clock.advance(SECOND + SECOND / 4);
        assert!(ready(&mut second));
        let mut third = begun(limiter.acquire());
        clock.advance(SECOND * 3 / 4);
        assert!(!ready(&mut third));
        clock.advance(SECOND / 4);
        assert!(ready(&mut third));

        let mut fourth = begun(limiter.acquire());
        clock.advance(100 * SECOND);
        assert!(ready(&mut fourth));
        drop(begun(limiter.acquire()));
    }
}
