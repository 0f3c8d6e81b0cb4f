//! Panics of code that the runtime runs or drops for others.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A panic that was caught.
pub(crate) struct Panic(Box<dyn Any + Send>);

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.downcast_ref::<&str>().copied();
        let text = text.or_else(|| self.0.downcast_ref::<String>().map(String::as_str));
        f.write_str(text.unwrap_or("no message"))
    }
}

/// Calls `f` and keeps a panic in it from going further.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(f)).map_err(Panic)
}

/// Drops the items and reports those whose destructors panic. One by one, for a second panic while a first one unwinds would
/// abort the OS process.
pub(crate) fn drop_each<T>(items: impl IntoIterator<Item = T>, report: impl Fn(&Panic)) {
    for item in items {
        if let Err(panic) = catch(move || drop(item)) {
            report(&panic);
        }
    }
}
