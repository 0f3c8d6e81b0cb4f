//! Notices requests that do not make progress.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::{Clock, Instant, Sleep};

/// Expires when a request that has begun makes no progress for too long.
///
/// It keeps one timer for many requests: a request that completes in time leaves the timer as it is.
pub(super) struct Watchdog {
    clock: Clock,
    limit: Duration,
    since: Option<Instant>,
    sleep: Option<Sleep>,
}

impl Watchdog {
    pub(super) fn new(clock: Clock, limit: Duration) -> Self {
        Self {
            clock,
            limit,
            since: None,
            sleep: None,
        }
    }

    /// A request is under way; without `progress` the time keeps running from when it was last set.
    pub(super) fn watch(&mut self, progress: bool) {
        if progress || self.since.is_none() {
            self.since = Some(self.clock.now());
        }
    }

    /// No request is under way.
    pub(super) fn rest(&mut self) {
        self.since = None;
    }

    /// Completes when the request is overdue; never while there is none.
    pub(super) fn expired(&mut self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|cx| self.poll_expired(cx))
    }

    /// Ready when the request is overdue; never while there is none.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(since) = self.since else {
            return Poll::Pending;
        };
        loop {
            let sleep = match &mut self.sleep {
                Some(sleep) => sleep,
                None => {
                    let left = (since + self.limit) - self.clock.now();
                    self.sleep.insert(self.clock.sleep(left))
                }
            };
            ready!(Pin::new(sleep).poll(cx));
            self.sleep = None;
            if self.clock.now() >= since + self.limit {
                return Poll::Ready(());
            }
        }
    }
}
