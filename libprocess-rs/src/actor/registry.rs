//! Which actors exist in a runtime.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};

use super::AnyMailbox;
use crate::Upid;
use crate::http::RouteTable;

/// What a runtime knows about one of its actors.
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
    by_id: HashSet<ById, RandomState>,
    closed: bool,
}

/// An actor in a set whose keys are ids.
struct ById(Arc<Actor>);

impl ById {
    fn id(&self) -> &str {
        self.0.upid.id()
    }
}

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.id()
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
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
        match actors.by_id.insert(ById(Arc::new(actor))) {
            true => Ok(()),
            false => Err(AddError::Exists),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Actor>> {
        let actors = self.actors.read();
        actors.by_id.get(id).map(|found| found.0.clone())
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.actors.read().by_id.contains(id)
    }

    pub(crate) fn remove(&self, id: &str) {
        self.actors.write().by_id.remove(id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Actor>> {
        let actors = self.actors.read();
        actors.by_id.iter().map(|found| found.0.clone()).collect()
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
