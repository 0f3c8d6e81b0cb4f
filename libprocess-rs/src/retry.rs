//! Trying again, with growing pauses.
//!
//! Upstream has no common tool for it; agent registration, task status reconciliation and others each carry their own.

use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::Clock;

/// The pauses between attempts: each longer than the one before by a factor, up to a bound, and shortened by chance, so that
/// many clients that failed together do not come back together.
///
/// The same seed gives the same pauses.
///
/// ```
/// # use std::time::Duration;
/// # use libprocess::retry::Backoff;
/// let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5), 42).jitter(0.0);
/// let pauses: Vec<u64> = (0..4).filter_map(|_| Some(backoff.next_pause()?.as_secs())).collect();
/// assert_eq!(pauses, [1, 2, 4, 5]);
/// ```
#[derive(Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
    max_pauses: Option<u32>,
    pauses: u32,
    current: Duration,
    random: StdRng,
}

/// By how much each pause is longer than the one before.
const DEFAULT_FACTOR: f64 = 2.0;

/// What part of a pause is left to chance.
const DEFAULT_JITTER: f64 = 0.5;

impl Backoff {
    /// Pauses that begin with `initial`, double each time up to `max`, and of which the second half is random. `seed` decides
    /// the random part.
    pub fn new(initial: Duration, max: Duration, seed: u64) -> Self {
        Self {
            initial,
            max,
            factor: DEFAULT_FACTOR,
            jitter: DEFAULT_JITTER,
            max_pauses: None,
            pauses: 0,
            current: initial.min(max),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Sets by how much each pause is longer than the one before; less than 1 is taken as 1.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// Sets what part of each pause is random, from 0, none, to 1, all of it. No number is taken as 0.
    pub fn jitter(mut self, jitter: f64) -> Self {
        // `max` takes the other one for what is no number.
        self.jitter = jitter.clamp(0.0, 1.0).max(0.0);
        self
    }

    /// Gives up after this many pauses, which is one more attempt.
    pub fn max_pauses(mut self, pauses: u32) -> Self {
        self.max_pauses = Some(pauses);
        self
    }

    /// The next pause; `None` when it is time to give up.
    pub fn next_pause(&mut self) -> Option<Duration> {
        if self.max_pauses.is_some_and(|max| self.pauses >= max) {
            return None;
        }
        self.pauses = self.pauses.saturating_add(1);
        let whole = self.current;
        let grown = whole.as_secs_f64() * self.factor;
        self.current = Duration::try_from_secs_f64(grown).map_or(self.max, |d| d.min(self.max));
        let cut = self.jitter * self.random.random_range(0.0..=1.0);
        // Of the longest durations the seconds, as a double, are rounded up to more than a duration holds.
        let pause = Duration::try_from_secs_f64(whole.as_secs_f64() * (1.0 - cut));
        Some(pause.unwrap_or(whole))
    }

    /// Begins again with the first pause, as after a success. The random part goes on.
    pub fn reset(&mut self) {
        self.pauses = 0;
        self.current = self.initial.min(self.max);
    }
}

/// Attempts `operation`, with the pauses of `backoff` in between, until it breaks with its result or the pauses are used up.
///
/// `Break` carries a result that is final, be it a success or an error that no further attempt would mend; `Continue` an error
/// after which to try again.
///
/// # Errors
/// The final error, or that of the last attempt.
///
/// ```
/// # use std::ops::ControlFlow;
/// # use std::time::Duration;
/// # use libprocess::{Clock, retry::{Backoff, retry}};
/// # async fn register() -> Result<(), String> { Ok(()) }
/// # async fn example(clock: Clock) -> Result<(), String> {
/// let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), 42).max_pauses(5);
/// retry(&clock, backoff, || async {
///     match register().await {
///         Err(error) if error == "busy" => ControlFlow::Continue(error),
///         result => ControlFlow::Break(result),
///     }
/// })
/// .await
/// # }
/// ```
pub async fn retry<T, E, F>(
    clock: &Clock,
    mut backoff: Backoff,
    mut operation: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = ControlFlow<Result<T, E>, E>>,
{
    loop {
        match operation().await {
            ControlFlow::Break(result) => return result,
            ControlFlow::Continue(error) => match backoff.next_pause() {
                Some(pause) => clock.sleep(pause).await,
                None => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pauses(backoff: &mut Backoff, count: usize) -> Vec<Duration> {
        (0..count).map_while(|_| backoff.next_pause()).collect()
    }

    #[test]
    fn grows_to_its_bound_and_resets() {
        let check = |backoff: Backoff, expected: &[u32]| {
            let mut backoff = backoff.jitter(0.0);
            let expected: Vec<_> = expected.iter().map(|n| SECOND * *n).collect();
            assert_eq!(pauses(&mut backoff, expected.len()), expected);
            backoff.reset();
            assert_eq!(pauses(&mut backoff, expected.len()), expected);
        };
        let backoff = |initial, max| Backoff::new(SECOND * initial, SECOND * max, 1);
        check(backoff(1, 60), &[1, 2, 4, 8, 16, 32, 60, 60]);
        check(backoff(1, 60).factor(3.0), &[1, 3, 9, 27, 60]);
        check(backoff(1, 60).factor(0.1), &[1, 1, 1]);
        check(backoff(5, 2), &[2, 2]);
        check(backoff(0, 2), &[0, 0]);
    }

    #[test]
    fn no_pause_is_too_long() {
        let mut backoff = Backoff::new(SECOND, Duration::MAX, 1)
            .factor(1e300)
            .jitter(0.0);
        assert_eq!(
            pauses(&mut backoff, 3),
            [SECOND, Duration::MAX, Duration::MAX]
        );
    }

    #[test]
    fn jitter_stays_in_its_part_and_follows_the_seed() {
        let check = |jitter: f64, least: f64| {
            let draw = || pauses(&mut Backoff::new(SECOND, SECOND, 7).jitter(jitter), 1000);
            let drawn = draw();
            assert!(drawn.iter().all(|pause| *pause <= SECOND));
            assert!(drawn.iter().all(|pause| pause.as_secs_f64() >= least));
            assert!(drawn.iter().any(|pause| pause.as_secs_f64() < least + 0.1));
            assert_eq!(draw(), drawn);
        };
        check(0.5, 0.5);
        check(1.0, 0.0);
        check(7.0, 0.0);
        let mut backoff = Backoff::new(SECOND, SECOND, 7).jitter(f64::NAN);
        assert_eq!(pauses(&mut backoff, 2), [SECOND, SECOND]);
    }

    #[test]
    fn retries_on_the_clock_until_it_is_over() {
        let check = |outcomes: &[ControlFlow<Result<u32, u32>, u32>], expected, pauses: u32| {
            let clock = Clock::paused();
            let backoff = Backoff::new(SECOND, SECOND, 1).jitter(0.0).max_pauses(2);
            let mut outcomes = outcomes.iter().copied();
            let mut result = std::pin::pin!(retry(&clock, backoff, || {
                std::future::ready(outcomes.next().unwrap())
            }));
            for _ in 0..pauses {
                assert_eq!(result.as_mut().now_or_never(), None);
                clock.advance(SECOND);
            }
            assert_eq!(result.as_mut().now_or_never(), Some(expected));
        };
        use ControlFlow::{Break, Continue};
        check(&[Break(Ok(1))], Ok(1), 0);
        check(&[Continue(1), Break(Ok(2))], Ok(2), 1);
        check(&[Continue(1), Break(Err(2))], Err(2), 1);
        check(&[Continue(1), Continue(2), Continue(3)], Err(3), 2);
    }
}
