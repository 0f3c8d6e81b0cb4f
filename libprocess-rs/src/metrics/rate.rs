//! How often metrics may be asked for.

use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::{Clock, RateLimiter, duration};

/// A number of requests per time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many requests; at least 1.
    pub requests: u32,
    /// In what time.
    pub per: Duration,
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

/// A rate limiter with a bounded queue.
pub(crate) struct Limiter {
    limiter: RateLimiter,
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
            limiter: RateLimiter::new(clock, rate.requests, rate.per),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits until the caller may pass, unless too many others do.
    pub(crate) async fn pass(&self) -> Result<(), QueueFull> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        if before >= MAX_WAITING {
            return Err(QueueFull);
        }
        self.limiter.acquire().await;
        Ok(())
    }

    /// The time between two turns.
    pub(crate) fn interval(&self) -> Duration {
        self.limiter.interval()
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

    #[test]
    fn the_queue_is_bounded() {
        let rate = Rate {
            requests: 2,
            per: Duration::from_secs(1),
        };
        let limiter = Limiter::new(Clock::paused(), rate);
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
