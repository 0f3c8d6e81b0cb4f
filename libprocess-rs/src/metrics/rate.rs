//! How often metrics may be asked for.

use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::{Clock, Instant, duration};

/// A number of requests per time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many requests; at least 1.
    pub requests: u32,
    /// In what time.
    pub per: Duration,
}

impl Rate {
    /// The time from one request to the next.
    fn interval(self) -> Duration {
        self.per / self.requests.max(1)
    }
}

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a rate: expected <number of requests>/<duration>, such as 2/1secs")]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    /// Parses `<number>/<duration>`, such as `10/1mins`.
    fn from_str(text: &str) -> Result<Self, RateError> {
        let error = || RateError(text.to_owned());
        let (requests, per) = text.split_once('/').ok_or_else(error)?;
        let requests = requests.parse().ok().filter(|requests| *requests > 0);
        Ok(Self {
            requests: requests.ok_or_else(error)?,
            per: duration::parse(per).map_err(|_| error())?,
        })
    }
}

/// Requests that may wait for their turn; one more is refused.
const MAX_WAITING: usize = 1000;

/// Lets requests pass in order and one at a time, the first at once.
pub(crate) struct Limiter {
    clock: Clock,
    interval: Duration,
    /// When the next request may pass. The lock is fair, which makes it the queue.
    next: tokio::sync::Mutex<Instant>,
    waiting: AtomicUsize,
}

/// So many requests wait that no other may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// Counts a request for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Limiter {
    pub(crate) fn new(clock: Clock, rate: Rate) -> Self {
        Self {
            clock,
            interval: rate.interval(),
            next: tokio::sync::Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits until the caller may pass. Who stops waiting takes nobody's turn.
    pub(crate) async fn pass(&self) -> Result<(), QueueFull> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        if before >= MAX_WAITING {
            return Err(QueueFull);
        }
        let mut next = self.next.lock().await;
        let now = self.clock.now();
        if now < *next {
            self.clock.sleep(*next - now).await;
        }
        *next = self.clock.now() + self.interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn parses_rates() {
        let check = |text: &str, expected: Option<(u32, u64)>| {
            let expected = expected.map(|(requests, secs)| Rate {
                requests,
                per: Duration::from_secs(secs),
            });
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        };
        check("2/1secs", Some((2, 1)));
        check("10/1mins", Some((10, 60)));
        check("1/0ns", Some((1, 0)));
        check("0/1secs", None);
        check("-1/1secs", None);
        check("1.5/1secs", None);
        check("2", None);
        check("2/", None);
        check("2/1", None);
        check("/1secs", None);
        check("1/2/3secs", None);
    }

    fn limiter(clock: &Clock) -> Limiter {
        let (requests, per) = (2, Duration::from_secs(1));
        Limiter::new(clock.clone(), Rate { requests, per })
    }

    #[test]
    fn requests_pass_in_order_and_in_steps() {
        let clock = Clock::paused();
        let limiter = limiter(&clock);
        assert_eq!(limiter.pass().now_or_never(), Some(Ok(())));
        let (mut two, mut gone, mut three) = (
            Box::pin(limiter.pass()),
            Box::pin(limiter.pass()),
            Box::pin(limiter.pass()),
        );
        assert_eq!((&mut two).now_or_never(), None);
        assert_eq!((&mut gone).now_or_never(), None);
        assert_eq!((&mut three).now_or_never(), None);
        drop(gone);
        clock.advance(Duration::from_millis(499));
        assert_eq!((&mut two).now_or_never(), None);
        clock.advance(Duration::from_millis(1));
        assert_eq!((&mut three).now_or_never(), None);
        assert_eq!(two.now_or_never(), Some(Ok(())));
        assert_eq!((&mut three).now_or_never(), None);
        clock.advance(Duration::from_millis(500));
        assert_eq!(three.now_or_never(), Some(Ok(())));
        clock.advance(Duration::from_secs(60));
        assert_eq!(limiter.pass().now_or_never(), Some(Ok(())));
        assert_eq!(limiter.pass().now_or_never(), None);
    }

    #[test]
    fn the_queue_is_bounded() {
        let clock = Clock::paused();
        let limiter = limiter(&clock);
        assert_eq!(limiter.pass().now_or_never(), Some(Ok(())));
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(limiter.pass())).collect();
        for one in &mut waiting {
            assert_eq!(one.now_or_never(), None);
        }
        assert_eq!(limiter.pass().now_or_never(), Some(Err(QueueFull)));
        waiting.pop();
        assert_eq!(limiter.pass().now_or_never(), None);
    }
}
