//! The thread that a user's callbacks run on, one at a time and in order.
//!
//! Callbacks are not run in the driver's actor: they are foreign code that may block, and the
//! actor must keep answering the master meanwhile.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::lifecycle::Lifecycle;

/// How many callbacks may wait for a slow scheduler or executor. Beyond that the driver sheds what
/// the other side will repeat (status updates) or can take back (offers).
pub(crate) const MAX_PENDING_CALLBACKS: usize = 65_536;

/// One entry of the queue.
enum Item<E> {
    Event(E),
    /// The driver left RUNNING: no event in front of this may be delivered any more.
    Ended,
}

/// The sending end of the queue; cheap to clone.
pub(crate) struct CallbackQueue<E> {
    sender: Sender<Item<E>>,
    pending: Arc<AtomicUsize>,
}

impl<E> Clone for CallbackQueue<E> {
    fn clone(&self) -> Self {
        CallbackQueue {
            sender: self.sender.clone(),
            pending: self.pending.clone(),
        }
    }
}

impl<E> CallbackQueue<E> {
    pub(crate) fn new() -> (Self, CallbackReceiver<E>) {
        let (sender, receiver) = mpsc::channel();
        let pending = Arc::new(AtomicUsize::new(0));
        let queue = CallbackQueue {
            sender,
            pending: pending.clone(),
        };
        (queue, CallbackReceiver { receiver, pending })
    }

    pub(crate) fn push(&self, event: E) {
        self.pending.fetch_add(1, Ordering::Relaxed);
        // Fails only when the thread has ended, and then nobody listens any more.
        let _ = self.sender.send(Item::Event(event));
    }

    /// Marks the end of the driver; see [`Item::Ended`].
    pub(crate) fn end(&self) {
        let _ = self.sender.send(Item::Ended);
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.pending() >= MAX_PENDING_CALLBACKS
    }
}

/// The receiving end of the queue.
pub(crate) struct CallbackReceiver<E> {
    receiver: Receiver<Item<E>>,
    pending: Arc<AtomicUsize>,
}

/// The user's object together with what the driver does around its callbacks.
pub(crate) trait Callbacks: Send + 'static {
    /// What is delivered.
    type Event: Send + 'static;
    /// Whether `event` is delivered even though the driver does not run any more.
    fn outlives_driver(event: &Self::Event) -> bool;
    /// Makes the callback.
    fn deliver(&mut self, event: Self::Event);
    /// A callback panicked with `message`: the driver is to be aborted.
    fn panicked(&mut self, message: &str);
    /// The driver was aborted or stopped; true when the thread is to end.
    fn ended(&mut self) -> bool;
}

/// Runs `callbacks` on a thread of its own until the driver is stopped.
pub(crate) fn run<C: Callbacks>(
    name: &str,
    mut callbacks: C,
    lifecycle: Arc<Lifecycle>,
    receiver: CallbackReceiver<C::Event>,
) -> std::io::Result<()> {
    let body = move || {
        while let Ok(item) = receiver.receiver.recv() {
            match item {
                Item::Event(event) => {
                    receiver.pending.fetch_sub(1, Ordering::Relaxed);
                    if lifecycle.is_running() || C::outlives_driver(&event) {
                        deliver(&mut callbacks, event);
                    }
                }
                Item::Ended => {
                    let last = callbacks.ended();
                    lifecycle.finish();
                    if last {
                        return;
                    }
                }
            }
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(body)?;
    Ok(())
}

fn deliver<C: Callbacks>(callbacks: &mut C, event: C::Event) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| callbacks.deliver(event))) {
        callbacks.panicked(panic_text(panic.as_ref()));
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records what is delivered; the event "panic" panics, "error" outlives the driver.
    struct Recorder {
        lifecycle: Arc<Lifecycle>,
        log: Sender<String>,
    }

    impl Callbacks for Recorder {
        type Event = &'static str;
        fn outlives_driver(event: &&'static str) -> bool {
            *event == "error"
        }
        fn deliver(&mut self, event: &'static str) {
            assert_ne!(event, "panic", "told to");
            self.log.send(event.to_owned()).unwrap();
        }
        fn panicked(&mut self, message: &str) {
            self.lifecycle.abort();
            self.log.send(message.to_owned()).unwrap();
        }
        fn ended(&mut self) -> bool {
            true
        }
    }

    fn check(events: &[&'static str], expected: &[&str]) {
        let lifecycle = Arc::new(Lifecycle::new());
        lifecycle.start().unwrap();
        let (queue, receiver) = CallbackQueue::new();
        let (log, logged) = mpsc::channel();
        let recorder = Recorder {
            lifecycle: lifecycle.clone(),
            log,
        };
        for event in events {
            queue.push(*event);
        }
        queue.end();
        run("callbacks", recorder, lifecycle.clone(), receiver).unwrap();
        futures::executor::block_on(lifecycle.wait());
        let log: Vec<String> = logged.iter().collect();
        let starts = log.len() == expected.len()
            && log
                .iter()
                .zip(expected)
                .all(|(line, start)| line.contains(start));
        assert!(starts, "{log:?} is not {expected:?}");
        assert_eq!(queue.pending(), 0);
    }

    #[test]
    fn delivers_in_order() {
        check(&["a", "b", "c"], &["a", "b", "c"]);
    }

    #[test]
    fn a_panic_ends_delivery_but_for_the_error() {
        check(&["a", "panic", "b", "error"], &["a", "told to", "error"]);
    }
}
