//! How many tasks there are, for tests that look for leaks.

use crate::Runtime;

impl Runtime {
    /// How many tasks of the runtime there are: one for each actor, one for each connection that was accepted or is sent over,
    /// and some for the runtime itself. Tasks that were given to [`handle`](Self::handle) are not among them.
    pub fn tasks(&self) -> usize {
        self.inner().workers.tasks()
    }
}
