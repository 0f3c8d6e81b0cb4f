//! The queue of an actor and the table of the sending sockets under a model checker: the interleavings of a few threads, with
//! the source files themselves.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "what only the rest of the crate uses")]

#[path = "../src/actor/queue.rs"]
mod queue;

#[path = "../src/network/sockets.rs"]
mod sockets;

/// What `src/actor/sync.rs` and `src/network/sync.rs` are to the crate.
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

/// What the sockets see of `src/runtime`.
mod runtime {
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    pub(crate) struct Counters {
        pub(crate) sent: Counter,
        pub(crate) dropped: Counter,
    }

    #[derive(Default)]
    pub(crate) struct Counter(AtomicU64);

    impl Counter {
        pub(crate) fn inc(&self) {
            self.add(1);
        }

        pub(crate) fn add(&self, n: u64) {
            self.0.fetch_add(n, Ordering::Relaxed);
        }

        pub(crate) fn get(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }
}

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::task::Poll;

use bytes::{BufMut, BytesMut};
use loom::sync::Arc;
use loom::{future, thread};
use queue::{Closed, Queue, Size};
use runtime::Counters;
use sockets::{Next, Sockets, Writer};

type Events = Arc<Queue<u32>>;

/// The last item of a closed queue.
const END: u32 = u32::MAX;

/// Threads are interrupted this often at most where they need not wait; few mistakes need more.
const INTERRUPTIONS: usize = 2;

fn explore(test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(INTERRUPTIONS);
    model.check(test);
}

fn model(test: impl Fn(Events) + Send + Sync + 'static) {
    explore(move || test(Arc::new(Queue::new(()))));
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
            if queue.refill() == Size::default() && queue.sleep(cx.waker()) {
                return Poll::Pending;
            }
        }
    }));
}

fn push(queue: &Events, items: &[u32]) -> Vec<u32> {
    items
        .iter()
        .filter_map(|item| queue.push(*item, 1).err())
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
            let closer = thread::spawn(move || drop(theirs.close(END, discard)));
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
            assert_eq!(queue.shut().count(), 0);
            assert!(queue.push(3, 1).is_err());
            assert_eq!(queue.close(END, true).count(), 0);
            assert_eq!(queue.refill(), Size::default());
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

#[test]
fn nothing_is_left_in_a_queue_that_was_shut() {
    model(|queue| {
        let theirs = queue.clone();
        let producer = thread::spawn(move || push(&theirs, &[1, 2]));
        let taken = queue.pop();
        drop(queue.shut());
        let refused = producer.join().unwrap();
        assert!([&[][..], &[2], &[1, 2]].contains(&&*refused), "{refused:?}");
        assert_eq!(taken, None);
        assert_eq!((queue.refill(), queue.pop()), (Size::default(), None));
        assert!(!queue.is_asleep());
    });
}

const TO: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));

/// The sockets of a runtime, and what it counts.
#[derive(Clone)]
struct Outgoing {
    sockets: Arc<Sockets>,
    counters: std::sync::Arc<Counters>,
}

impl Outgoing {
    fn new() -> Self {
        let counters = std::sync::Arc::new(Counters::default());
        Self {
            sockets: Arc::new(Sockets::new(usize::MAX, counters.clone())),
            counters,
        }
    }

    /// Sends messages of one byte. Returns the writers of the sockets that it needed.
    fn send(&self, messages: &[u8]) -> Vec<Writer> {
        messages
            .iter()
            .filter_map(|message| self.sockets.send(TO, None, |out| out.put_u8(*message)))
            .collect()
    }

    fn link(&self, renew: bool) -> Option<Writer> {
        self.sockets.link(TO, None, renew)
    }

    /// Does what the task of a socket does, with a time limit that is up at once, until it closes. Returns what it sent.
    fn serve(&self, writer: &Writer) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut batch = BytesMut::new();
        writer.connected();
        future::block_on(poll_fn(|cx| {
            loop {
                match writer.next(&mut batch) {
                    Next::Send => {
                        sent.extend_from_slice(&batch);
                        batch.clear();
                        writer.sent();
                    }
                    Next::Close => return Poll::Ready(()),
                    Next::WaitBriefly if self.sockets.retire(writer) => return Poll::Ready(()),
                    Next::Wait | Next::WaitBriefly => {
                        if writer.poll_changed(cx).is_pending() {
                            return Poll::Pending;
                        }
                    }
                }
            }
        }));
        assert!(!self.sockets.forget(writer), "it did not break");
        sent
    }

    fn serve_all(&self, writers: &[Writer]) -> Vec<u8> {
        writers
            .iter()
            .flat_map(|writer| self.serve(writer))
            .collect()
    }

    fn check(&self, sent: u64, dropped: u64) {
        assert_eq!(self.counters.sent.get(), sent);
        assert_eq!(self.counters.dropped.get(), dropped);
        assert!(self.sockets.is_idle());
    }
}

#[test]
fn a_socket_that_retires_leaves_no_message_behind() {
    explore(|| {
        let outgoing = Outgoing::new();
        let first = outgoing.send(&[1]);
        let theirs = outgoing.clone();
        let sender = thread::spawn(move || theirs.send(&[2, 3]));
        let mut sent = outgoing.serve_all(&first);
        sent.extend(outgoing.serve_all(&sender.join().unwrap()));
        assert_eq!(sent, [1, 2, 3]);
        outgoing.check(3, 0);
    });
}

#[test]
fn a_socket_that_is_replaced_hands_over_what_it_has_not_taken() {
    explore(|| {
        let outgoing = Outgoing::new();
        let old = outgoing.link(false).unwrap();
        let theirs = outgoing.clone();
        let sender = thread::spawn(move || assert!(theirs.send(&[1, 2]).is_empty()));
        let theirs = outgoing.clone();
        let old = thread::spawn(move || theirs.serve(&old));
        let new = outgoing.link(true).unwrap();
        sender.join().unwrap();
        let mut sent = old.join().unwrap();
        outgoing.sockets.close();
        sent.extend(outgoing.serve(&new));
        assert_eq!(sent, [1, 2]);
        outgoing.check(2, 0);
    });
}

#[test]
fn sockets_that_are_closed_send_what_they_have_and_later_messages_get_new_ones() {
    explore(|| {
        let outgoing = Outgoing::new();
        let old = outgoing.link(false).unwrap();
        let theirs = outgoing.clone();
        let sender = thread::spawn(move || theirs.send(&[1, 2]));
        let theirs = outgoing.clone();
        let old = thread::spawn(move || theirs.serve(&old));
        outgoing.sockets.close();
        let new = sender.join().unwrap();
        let mut sent = old.join().unwrap();
        sent.extend(outgoing.serve_all(&new));
        assert_eq!(sent, [1, 2]);
        outgoing.check(2, 0);
    });
}

#[test]
fn what_a_broken_socket_had_not_sent_is_counted() {
    explore(|| {
        let outgoing = Outgoing::new();
        let broken = outgoing.link(false).unwrap();
        let theirs = outgoing.clone();
        let sender = thread::spawn(move || theirs.send(&[1, 2]));
        broken.connected();
        let mut batch = BytesMut::new();
        broken.next(&mut batch);
        assert!(outgoing.sockets.forget(&broken));
        let sent = outgoing.serve_all(&sender.join().unwrap());
        assert!(sent.len() <= 2 - batch.len());
        outgoing.check(2, 2 - sent.len() as u64);
    });
}
