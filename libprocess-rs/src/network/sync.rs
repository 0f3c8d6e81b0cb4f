//! The lock of the [sockets](super::sockets): a module of its own so that a model checker can put its own in place.

pub(crate) use parking_lot::Mutex;
