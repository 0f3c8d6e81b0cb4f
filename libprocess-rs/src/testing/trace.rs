//! What happened in a simulation, as a number.

use std::sync::Arc;

use parking_lot::Mutex;

use super::hooks::Observer;
use super::random::Hash;
use super::{Event, What};

/// Set to print each event of a simulation to the standard error, with the time in seconds since its beginning.
const TRACE_VARIABLE: &str = "LIBPROCESS_TRACE";

/// A summary of all messages, requests and exited events that were served, with their times, in order. Two runs with the same
/// trace did the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trace {
    /// How many events were served.
    pub events: u64,
    /// A hash of all of them.
    pub hash: u64,
}

#[derive(Clone, Default)]
pub(super) struct Recorder {
    state: Arc<Mutex<(u64, Hash)>>,
}

impl Recorder {
    pub(super) fn observer(&self) -> Observer {
        let state = self.state.clone();
        let print = std::env::var_os(TRACE_VARIABLE).is_some();
        Arc::new(move |event| {
            if print {
                eprintln!("{:?} {} {:?}", event.at, event.to, event.what);
            }
            let (count, hash) = &mut *state.lock();
            if add(hash, event) {
                *count += 1;
            }
        })
    }

    pub(super) fn trace(&self) -> Trace {
        let (events, hash) = *self.state.lock();
        Trace {
            events,
            hash: hash.0,
        }
    }
}

/// Dispatches are left out, for their names change when code is moved.
fn add(hash: &mut Hash, event: &Event) -> bool {
    let parts: [&[u8]; 3] = match &event.what {
        What::Message { from, name, body } => {
            hash.add(b"message");
            add_upid(hash, from);
            [name.as_str().as_bytes(), b" ", body]
        }
        What::Http { method, path, .. } => {
            [b"request ", method.as_str().as_bytes(), path.as_bytes()]
        }
        What::Exited { pid } => {
            add_upid(hash, pid);
            [b"exited", b"", b""]
        }
        What::Dispatch { .. } => return false,
    };
    for part in parts {
        hash.add(part);
    }
    add_upid(hash, &event.to);
    hash.add(&event.at.unix().as_nanos().to_le_bytes());
    true
}

fn add_upid(hash: &mut Hash, upid: &crate::Upid) {
    hash.add(upid.to_string().as_bytes());
    hash.add(b" ");
}
