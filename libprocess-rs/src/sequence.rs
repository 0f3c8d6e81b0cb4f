//! Asynchronous work one piece after another.

use std::future::Future;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Runs futures one after another, in the order in which they were [added](Self::add).
///
/// The next one starts when the one before it has completed, whatever its output, or has been dropped. One that is dropped
/// before its turn is skipped. What was added still runs when the sequence itself has been dropped.
///
/// A fair lock, tokio's `Mutex`, does nearly the same; there the order is that in which the futures are first polled.
///
/// Upstream: `process::Sequence` in `3rdparty/libprocess/include/process/sequence.hpp`.
///
/// ```
/// # use libprocess::Sequence;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let sequence = Sequence::new();
/// let first = sequence.add(|| async { "first" });
/// let second = sequence.add(|| async { "second" });
/// assert_eq!(futures::join!(second, first), ("second", "first"));
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Sequence {
    last: Mutex<Option<Link>>,
}

/// Resolves when the turn before has ended: with a link if that turn was given up before it began, to what it waited for.
#[derive(Debug)]
struct Link(oneshot::Receiver<Link>);

/// One by one, for a long run of turns that were given up would overflow the stack.
impl Drop for Link {
    fn drop(&mut self) {
        let mut before = self.0.try_recv();
        while let Ok(mut link) = before {
            before = link.0.try_recv();
        }
    }
}

/// A place in the sequence.
struct Place {
    before: Option<Link>,
    done: Option<oneshot::Sender<Link>>,
}

impl Sequence {
    /// A sequence with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next place for what `start` begins. The future has to be polled: until it completes or is dropped, those
    /// behind it wait.
    pub fn add<F, R>(&self, start: F) -> impl Future<Output = R::Output> + use<F, R>
    where
        F: FnOnce() -> R,
        R: Future,
    {
        let (done, link) = oneshot::channel();
        let mut place = Place {
            before: self.last.lock().replace(Link(link)),
            done: Some(done),
        };
        async move {
            while let Some(Link(before)) = &mut place.before {
                place.before = before.await.ok();
            }
            start().await
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (Some(before), Some(done)) = (self.before.take(), self.done.take()) {
            // Nobody may be behind.
            let _ = done.send(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    #[derive(Default)]
    struct Fixture {
        sequence: Sequence,
        started: Arc<Mutex<Vec<u32>>>,
    }

    impl Fixture {
        /// Adds work that records its start and ends when the sender is used or dropped.
        fn add(&self, number: u32) -> (BoxFuture<'static, ()>, oneshot::Sender<()>) {
            let (finish, finished) = oneshot::channel();
            let started = self.started.clone();
            let work = self.sequence.add(move || async move {
                started.lock().push(number);
                let _ = finished.await;
            });
            (work.boxed(), finish)
        }
    }

    fn poll(future: &mut BoxFuture<'static, ()>) -> bool {
        future.as_mut().now_or_never().is_some()
    }

    #[test]
    fn runs_in_order_of_adding() {
        let fixture = Fixture::default();
        let (mut first, finish_first) = fixture.add(1);
        let (mut second, finish_second) = fixture.add(2);
        assert!(!poll(&mut second));
        assert!(!poll(&mut first));
        assert!(!poll(&mut second));
        assert_eq!(*fixture.started.lock(), [1]);
        drop(finish_first);
        assert!(poll(&mut first));
        assert!(!poll(&mut second));
        assert_eq!(*fixture.started.lock(), [1, 2]);
        finish_second.send(()).unwrap();
        assert!(poll(&mut second));
    }

    #[test]
    fn dropped_before_its_turn_is_skipped() {
        let fixture = Fixture::default();
        let (mut first, finish) = fixture.add(1);
        let (mut second, _) = fixture.add(2);
        let (third, _) = fixture.add(3);
        let (mut fourth, _) = fixture.add(4);
        assert!(!poll(&mut first));
        assert!(!poll(&mut second));
        drop(third);
        drop(second);
        // The first is still running.
        assert!(!poll(&mut fourth));
        drop(finish);
        assert!(poll(&mut first));
        assert!(poll(&mut fourth));
        assert_eq!(*fixture.started.lock(), [1, 4]);
    }

    #[test]
    fn dropped_in_its_turn_makes_way() {
        let fixture = Fixture::default();
        let (mut first, _finish) = fixture.add(1);
        let (mut second, _) = fixture.add(2);
        assert!(!poll(&mut first));
        assert!(!poll(&mut second));
        drop(first);
        assert!(poll(&mut second));
        assert_eq!(*fixture.started.lock(), [1, 2]);
    }

    #[test]
    fn a_million_may_be_given_up_at_once() {
        let check = |reverse: bool| {
            let sequence = Sequence::new();
            let mut running = sequence.add(std::future::pending::<()>).boxed();
            assert!(!poll(&mut running));
            let mut waiting: Vec<_> = (0..1_000_000).map(|_| sequence.add(|| async {})).collect();
            if reverse {
                waiting.reverse();
            }
            waiting.into_iter().for_each(drop);
            drop(sequence);
        };
        check(false);
        check(true);
    }

    #[test]
    fn outlives_the_sequence() {
        let fixture = Fixture::default();
        let (mut first, _) = fixture.add(1);
        drop(fixture.sequence);
        assert!(poll(&mut first));
    }
}
