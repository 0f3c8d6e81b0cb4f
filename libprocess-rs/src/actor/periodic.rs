//! Turns that come again and again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

#[cfg(feature = "testing")]
use super::turn::UNSEEN;
use super::{Context, Event, Mailbox, Process, Turn};
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
        let next = self.next.lock().take();
        // Not under the lock: the turn looks at it when it is dropped.
        if let Some(timer) = next {
            timer.cancel();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.next.lock().is_none()
    }
}

impl<P: Process> Context<P> {
    /// Runs `turn` as a turn of this actor each time `period` has passed, for the first time after one period. The times do
    /// not drift; those that the actor was too busy for are left out. A period below one millisecond counts as one.
    ///
    /// A turn that a test drops does not end the series.
    pub fn every(
        &self,
        period: Duration,
        turn: impl FnMut(&mut P, &mut Context<P>) + Send + 'static,
    ) -> Periodic {
        let period = period.max(SHORTEST);
        let periodic = Periodic {
            next: Arc::new(Mutex::new(None)),
        };
        let first = self.repeat(Series {
            due: self.now() + period,
            period,
            periodic: periodic.clone(),
            turn,
        });
        *periodic.next.lock() = Some(first);
        periodic
    }

    fn repeat<F: FnMut(&mut P, &mut Self) + Send + 'static>(&self, series: Series<F>) -> Timer {
        let after = series.due.duration_since(self.now());
        let mut beat = Beat {
            series: Some(series),
            mailbox: Arc::downgrade(self.mailbox()),
        };
        self.delay(after, move |process, ctx| {
            if let Some(mut series) = beat.series.take() {
                (series.turn)(process, ctx);
                series.go_on(ctx);
            }
        })
    }
}

/// A turn that comes again.
struct Series<F> {
    due: Instant,
    period: Duration,
    periodic: Periodic,
    turn: F,
}

impl<F> Series<F> {
    fn go_on<P: Process>(mut self, ctx: &Context<P>)
    where
        F: FnMut(&mut P, &mut Context<P>) + Send + 'static,
    {
        let periodic = self.periodic.clone();
        let mut next = periodic.next.lock();
        if next.is_some() {
            self.due = following(self.due, self.period, ctx.now());
            *next = Some(ctx.repeat(self));
        }
    }
}

/// One turn of a series. When it is dropped without being run, as by a filter of a test, the series goes on all the same.
struct Beat<P: Process, F: FnMut(&mut P, &mut Context<P>) + Send + 'static> {
    series: Option<Series<F>>,
    mailbox: Weak<Mailbox<P>>,
}

impl<P: Process, F: FnMut(&mut P, &mut Context<P>) + Send + 'static> Drop for Beat<P, F> {
    fn drop(&mut self) {
        let series = self.series.take();
        let series = series.filter(|series| !series.periodic.is_cancelled());
        if let (Some(series), Some(mailbox)) = (series, self.mailbox.upgrade()) {
            // An actor that has ended refuses it.
            let _ = mailbox.push(Event::Dispatch(Box::new(GoOn(series))));
        }
    }
}

/// Goes on with a series from where its turn was dropped.
struct GoOn<F>(Series<F>);

impl<P: Process, F: FnMut(&mut P, &mut Context<P>) + Send + 'static> Turn<P> for GoOn<F> {
    fn run(self: Box<Self>, _: &mut P, ctx: &mut Context<P>) {
        self.0.go_on(ctx);
    }

    #[cfg(feature = "testing")]
    fn name(&self) -> &'static str {
        UNSEEN
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
