//! A queue with many producers and one consumer that sleeps while there is nothing to take.

use std::collections::VecDeque;
use std::task::Waker;

use super::sync::Mutex;

/// Producers append to `back`. The consumer takes from `front` and swaps the two when `front` is empty, so that it meets its
/// producers once per batch and not for each item. The order of locking is `front`, then `back`.
///
/// `front` has a lock, which nobody else contends for, so that all that waits can be seen and discarded at any time.
///
/// `tests/loom.rs` checks this file with the locks of a model checker.
#[repr(C)]
pub(crate) struct Queue<T, B = ()> {
    front: Mutex<VecDeque<T>>,
    /// What is rarely used lies between, so that consumer and producers do not write to the same cache line.
    pub(crate) between: B,
    back: Mutex<Back<T>>,
}

struct Back<T> {
    items: VecDeque<T>,
    /// What the items weigh together.
    weight: usize,
    /// The consumer while it sleeps. Who takes it out has to wake it.
    sleeper: Option<Waker>,
    state: State,
}

/// What still becomes of items.
#[derive(PartialEq, Eq)]
enum State {
    Open,
    /// No more are taken; the last one is in the queue.
    Closed,
    /// There is no consumer any more.
    Shut,
}

/// The queue was closed; here is the item again.
#[derive(Debug)]
pub(crate) struct Closed<T>(pub(crate) T);

/// How much waits, or was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) items: usize,
    pub(crate) weight: usize,
}

/// A buffer for more items than this is given back when it is not needed any more.
const KEPT_CAPACITY: usize = 1024;

impl<T, B> Queue<T, B> {
    /// An empty queue whose consumer is awake.
    pub(crate) fn new(between: B) -> Self {
        Self {
            front: Mutex::new(VecDeque::new()),
            between,
            back: Mutex::new(Back {
                items: VecDeque::new(),
                weight: 0,
                sleeper: None,
                state: State::Open,
            }),
        }
    }

    /// Appends an item of this weight and wakes the consumer if it sleeps.
    pub(crate) fn push(&self, item: T, weight: usize) -> Result<(), Closed<T>> {
        let sleeper = {
            let mut back = self.back.lock();
            if back.state != State::Open {
                return Err(Closed(item));
            }
            back.items.push_back(item);
            back.weight += weight;
            back.sleeper.take()
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        Ok(())
    }

    /// The first item of the batch in hand. For the consumer.
    pub(crate) fn pop(&self) -> Option<T> {
        self.front.lock().pop_front()
    }

    /// If the batch in hand is finished, takes the next one in hand: all that has been appended meanwhile. Returns how much that
    /// is. For the consumer.
    pub(crate) fn refill(&self) -> Size {
        let mut front = self.front.lock();
        if !front.is_empty() {
            return Size::default();
        }
        let (taken, oversized) = {
            let mut back = self.back.lock();
            let taken = back.size();
            std::mem::swap(&mut *front, &mut back.items);
            back.weight = 0;
            let capacity = back.items.capacity();
            let oversized = capacity > KEPT_CAPACITY && front.len() < capacity / 4;
            (taken, oversized.then(|| std::mem::take(&mut back.items)))
        };
        drop(oversized);
        taken
    }

    /// Puts the consumer, who has found nothing to take, to sleep until there is something. False if there is by now.
    pub(crate) fn sleep(&self, waker: &Waker) -> bool {
        {
            let mut front = self.front.lock();
            if front.capacity() > KEPT_CAPACITY {
                *front = VecDeque::new();
            }
        }
        let mut back = self.back.lock();
        let empty = back.items.is_empty();
        if empty {
            back.sleeper = Some(waker.clone());
        }
        empty
    }

    /// The consumer does not sleep (any more): producers need not wake it.
    pub(crate) fn awake(&self) {
        self.back.lock().sleeper = None;
    }

    /// True if the consumer sleeps, and so has nothing to do.
    pub(crate) fn is_asleep(&self) -> bool {
        self.back.lock().sleeper.is_some()
    }

    /// How much waits behind the batch that the consumer has in hand.
    pub(crate) fn behind(&self) -> Size {
        self.back.lock().size()
    }

    /// Refuses further items and puts `last` behind what is queued, or, with `discard`, in its place. Returns what is discarded.
    /// Closing again without `discard` changes nothing, nor does closing what is [shut](Self::shut).
    #[must_use = "what is discarded may panic when it is dropped"]
    pub(crate) fn close(&self, last: T, discard: bool) -> impl Iterator<Item = T> + use<T, B> {
        let (discarded, sleeper) = {
            let mut front = self.front.lock();
            let mut back = self.back.lock();
            let closes = match back.state {
                State::Open => true,
                State::Closed => discard,
                State::Shut => false,
            };
            let mut discarded = Items::default();
            if closes {
                back.state = State::Closed;
                if discard {
                    discarded = take(&mut front, &mut back);
                }
                back.items.push_back(last);
            }
            (discarded, back.sleeper.take())
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        in_order(discarded)
    }

    /// Refuses further items and returns what is queued: the consumer has gone.
    #[must_use = "what is discarded may panic when it is dropped"]
    pub(crate) fn shut(&self) -> impl Iterator<Item = T> + use<T, B> {
        let mut front = self.front.lock();
        let mut back = self.back.lock();
        back.state = State::Shut;
        back.sleeper = None;
        in_order(take(&mut front, &mut back))
    }

    /// Visits all items in the order in which they will be taken.
    pub(crate) fn for_each(&self, visit: impl FnMut(&T)) {
        self.for_first(usize::MAX, visit);
    }

    /// Visits the first `limit` items in the order in which they will be taken, and returns how many there are in all.
    pub(crate) fn for_first(&self, limit: usize, visit: impl FnMut(&T)) -> usize {
        let front = self.front.lock();
        let back = self.back.lock();
        let items = front.iter().chain(&back.items);
        items.take(limit).for_each(visit);
        front.len() + back.items.len()
    }
}

impl<T> Back<T> {
    fn size(&self) -> Size {
        Size {
            items: self.items.len(),
            weight: self.weight,
        }
    }
}

/// The items of both ends. They are to be dropped without the locks, for that may use the queue.
type Items<T> = (VecDeque<T>, VecDeque<T>);

fn take<T>(front: &mut VecDeque<T>, back: &mut Back<T>) -> Items<T> {
    back.weight = 0;
    (std::mem::take(front), std::mem::take(&mut back.items))
}

fn in_order<T>((front, back): Items<T>) -> impl Iterator<Item = T> {
    front.into_iter().chain(back)
}
