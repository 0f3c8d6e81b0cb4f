//! Which actors exist in a runtime.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};

use super::AnyMailbox;
use crate::Upid;
use crate::http::RouteTable;

/// What a runtime knows about one of its actors.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) upid: Upid,
    pub(crate) mailbox: Arc<dyn AnyMailbox>,
    pub(crate) routes: Arc<RouteTable>,
    /// The index of the thread that hosts it.
    pub(crate) worker: usize,
}

/// The actors of one runtime by id.
#[derive(Default)]
pub(crate) struct Registry {
    actors: RwLock<Actors>,
}

#[derive(Default)]
struct Actors {
    by_id: HashMap<ById, Actor, RandomState>,
    closed: bool,
}

/// An address in a map whose keys are ids.
struct ById(Upid);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.id()
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for ById {}

/// Why an actor was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddError {
    Exists,
    Closed,
}

impl Registry {
    pub(crate) fn add(&self, actor: Actor) -> Result<(), AddError> {
        let mut actors = self.actors.write();
        if actors.closed {
            return Err(AddError::Closed);
        }
        if actors.by_id.contains_key(actor.upid.id()) {
            return Err(AddError::Exists);
        }
        actors.by_id.insert(ById(actor.upid.clone()), actor);
        Ok(())
    }

    pub(crate) fn get(&self, id: &str) -> Option<Actor> {
        self.actors.read().by_id.get(id).cloned()
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.actors.read().by_id.contains_key(id)
    }

    /// Runs `f` on the mailbox of `id` without cloning the entry.
    pub(crate) fn with<R>(&self, id: &str, f: impl FnOnce(&dyn AnyMailbox) -> R) -> Option<R> {
        let mailbox = self.actors.read().by_id.get(id)?.mailbox.clone();
        Some(f(&*mailbox))
    }

    pub(crate) fn remove(&self, id: &str) {
        self.actors.write().by_id.remove(id);
    }

    pub(crate) fn all(&self) -> Vec<Actor> {
        self.actors.read().by_id.values().cloned().collect()
    }

    /// Refuses new actors from now on.
    pub(crate) fn close(&self) {
        self.actors.write().closed = true;
    }
}

/// Generated ids: one counter per prefix.
#[derive(Default)]
pub(crate) struct Ids {
    counters: Mutex<HashMap<String, u64>>,
}

impl Ids {
    pub(crate) fn generate(&self, prefix: &str) -> String {
        let mut counters = self.counters.lock();
        let counter = counters.entry(prefix.to_owned()).or_insert(0);
        *counter += 1;
        format!("{prefix}({counter})")
    }
}
