//! Moving the time to where something happens.

use std::time::Duration;

use crate::{Clock, Instant};

impl Clock {
    /// Moves a paused clock to the deadline of its next timer and fires the timers that are due then. Returns the new time; none
    /// if there is no timer or the clock is not paused, and then nothing happens.
    pub fn advance_to_next(&self) -> Option<Instant> {
        if !self.is_paused() {
            return None;
        }
        let next = self.next_deadline()?;
        self.advance(next - self.now());
        Some(self.now())
    }

    /// Settles a paused clock and moves it from timer to timer until `condition` holds; false if it does not hold within
    /// `limit` of this clock.
    ///
    /// What comes from outside, such as bytes on a TCP connection, takes real time and is not waited for.
    pub async fn run_until(&self, limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let end = self.now() + limit;
        loop {
            self.settle().await;
            if condition() {
                return true;
            }
            let within = self.next_deadline().is_some_and(|next| next <= end);
            if !within || self.advance_to_next().is_none() {
                return false;
            }
        }
    }
}
