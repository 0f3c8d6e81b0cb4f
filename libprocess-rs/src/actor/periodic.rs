//! Turns that come again and again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Context, Process};
use crate::{Instant, Timer};

/// The shortest period: one of zero would leave no time for anything else.
const SHORTEST: Duration = Duration::from_millis(1);

/// A turn that comes [again and again](Context::every). Dropping it does not cancel it; the end of the actor does.
#[derive(Clone, Debug)]
pub struct Periodic {
    /// The next time; none once cancelled.
    next: Arc<Mutex<Option<Timer>>>,
}

impl Periodic {
    /// The turn does not come again, even if its time is already up.
    pub fn cancel(&self) {
        if let Some(timer) = self.next.lock().take() {
            timer.cancel();
        }
    }
}

impl<P: Process> Context<P> {
    /// Runs `turn` as a turn of this actor each time `period` has passed, for the first time after one period. The times do
    /// not drift; those that the actor was too busy for are left out. A period below one millisecond counts as one.
    pub fn every(
        &self,
        period: Duration,
        turn: impl FnMut(&mut P, &mut Context<P>) + Send + 'static,
    ) -> Periodic {
        let period = period.max(SHORTEST);
        let periodic = Periodic {
            next: Arc::new(Mutex::new(None)),
        };
        let due = self.now() + period;
        let first = self.repeat(due, period, periodic.clone(), turn);
        *periodic.next.lock() = Some(first);
        periodic
    }

    fn repeat(
        &self,
        due: Instant,
        period: Duration,
        periodic: Periodic,
        mut turn: impl FnMut(&mut P, &mut Context<P>) + Send + 'static,
    ) -> Timer {
        self.delay(due.duration_since(self.now()), move |process, ctx| {
            turn(process, ctx);
            let mut next = periodic.next.lock();
            if next.is_some() {
                let due = following(due, period, ctx.now());
                *next = Some(ctx.repeat(due, period, periodic.clone(), turn));
            }
        })
    }
}

/// The first time of the series that is after `now`.
fn following(due: Instant, period: Duration, now: Instant) -> Instant {
    let late = now.duration_since(due).as_nanos();
    let periods = late / period.as_nanos().max(1) + 1;
    let skip = period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX));
    due + skip
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_times_are_left_out_and_none_drifts() {
        let start = Instant::from_unix(Duration::from_secs(1000));
        let at = |seconds| start + Duration::from_millis(seconds);
        let check = |now: u64, expected: u64| {
            let next = following(start, Duration::from_secs(10), at(now));
            assert_eq!(next, at(expected), "{now} ms late");
        };
        check(0, 10_000);
        check(9_999, 10_000);
        check(10_000, 20_000);
        check(34_500, 40_000);
    }
}
