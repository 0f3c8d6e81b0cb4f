//! Waiting for a condition instead of sleeping.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `condition` gives a value.
///
/// # Panics
/// With `what` when it does not within `deadline`.
pub async fn eventually<T, F>(
    what: impl Display,
    deadline: Duration,
    condition: impl Fn() -> F,
) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(
            started.elapsed() < deadline,
            "not within {deadline:?}: {what}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The blocking form of [`eventually`].
///
/// # Panics
/// With `what` when the condition gives nothing within `deadline`.
pub fn eventually_blocking<T>(
    what: impl Display,
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            started.elapsed() < deadline,
            "not within {deadline:?}: {what}"
        );
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Awaits a future for at most `deadline`.
///
/// # Panics
/// With `what` when it takes longer.
pub async fn within<T>(
    what: impl Display,
    deadline: Duration,
    future: impl Future<Output = T>,
) -> T {
    match tokio::time::timeout(deadline, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}
