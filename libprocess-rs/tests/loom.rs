//! The queue of an actor under a model checker: the interleavings of a few threads, with the source file itself.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "what only the rest of the crate uses")]

#[path = "../src/actor/queue.rs"]
mod queue;

/// What `src/actor/sync.rs` is to the crate.
mod sync {
    /// loom's lock with the interface of that of the crate.
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

use std::future::poll_fn;
use std::task::Poll;

use loom::sync::Arc;
use loom::{future, thread};
use queue::{Closed, Queue};

type Events = Arc<Queue<u32>>;

/// The last item of a closed queue.
const END: u32 = u32::MAX;

/// Threads are interrupted this often at most where they need not wait; few mistakes need more.
const INTERRUPTIONS: usize = 2;

fn model(test: impl Fn(Events) + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(INTERRUPTIONS);
    model.check(move || test(Arc::new(Queue::new(()))));
}

/// Takes items as an actor does until `done` says that it has seen enough, sleeping whenever there are none.
fn consume(queue: &Events, mut done: impl FnMut(u32) -> bool) {
    future::block_on(poll_fn(|cx| {
        queue.awake();
        loop {
            while let Some(item) = queue.pop() {
                if done(item) {
                    return Poll::Ready(());
                }
            }
            if queue.refill() == 0 && queue.sleep(cx.waker()) {
                return Poll::Pending;
            }
        }
    }));
}

fn push(queue: &Events, items: &[u32]) -> Vec<u32> {
    items
        .iter()
        .filter_map(|item| queue.push(*item).err())
        .map(|Closed(item)| item)
        .collect()
}

#[test]
fn a_sleeping_consumer_is_woken_and_order_is_kept() {
    model(|queue| {
        let theirs = queue.clone();
        let producer = thread::spawn(move || assert!(push(&theirs, &[1, 2]).is_empty()));
        let mut taken = Vec::new();
        consume(&queue, |item| {
            taken.push(item);
            taken.len() == 2
        });
        assert_eq!(taken, [1, 2]);
        producer.join().unwrap();
    });
}

#[test]
fn two_producers_lose_nothing() {
    model(|queue| {
        let producers = [1, 2].map(|item| {
            let theirs = queue.clone();
            thread::spawn(move || assert!(push(&theirs, &[item]).is_empty()))
        });
        let mut sum = 0;
        consume(&queue, |item| {
            sum += item;
            sum == 3
        });
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

#[test]
fn closing_comes_last_and_what_comes_later_is_given_back() {
    let check = |discard: bool| {
        model(move |queue| {
            let theirs = queue.clone();
            let producer = thread::spawn(move || push(&theirs, &[1, 2]));
            let theirs = queue.clone();
            let closer = thread::spawn(move || theirs.close(END, discard));
            let mut taken = Vec::new();
            consume(&queue, |item| {
                taken.push(item);
                item == END
            });
            closer.join().unwrap();
            let refused = producer.join().unwrap();
            assert_eq!(taken.pop(), Some(END));
            // Each is taken or refused, and in order; only a discarding end makes some vanish.
            taken.extend(refused);
            assert!(taken.is_sorted(), "{taken:?}");
            assert!(discard || taken == [1, 2], "{taken:?}");
            queue.shut();
            assert!(queue.push(3).is_err());
        });
    };
    check(false);
    check(true);
}

#[test]
fn who_looks_sees_what_waits_and_whether_the_consumer_sleeps() {
    model(|queue| {
        let theirs = queue.clone();
        let producer = thread::spawn(move || assert!(push(&theirs, &[1, 2]).is_empty()));
        let theirs = queue.clone();
        let observer = thread::spawn(move || {
            if theirs.is_asleep() {
                // It went to sleep because nothing waited; what came since has its place behind.
                let mut seen = Vec::new();
                theirs.for_each(|item| seen.push(*item));
                assert!([&[][..], &[1], &[1, 2], &[2]].contains(&&*seen), "{seen:?}");
            }
        });
        let mut last = 0;
        consume(&queue, |item| {
            assert_eq!(item, last + 1);
            last = item;
            last == 2
        });
        producer.join().unwrap();
        observer.join().unwrap();
        assert!(!queue.is_asleep());
    });
}
