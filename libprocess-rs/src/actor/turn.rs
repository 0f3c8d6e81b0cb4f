//! Closures that become turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::{Context, Process};

/// The name of turns that are not shown to filters.
#[cfg(feature = "testing")]
pub(crate) const UNSEEN: &str = "libprocess::unseen";

/// What a dispatch runs.
pub(crate) trait Turn<P: Process>: Send {
    fn run(self: Box<Self>, process: &mut P, ctx: &mut Context<P>);

    /// The name it was given, else the path of the function in which it was written.
    #[cfg(feature = "testing")]
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}

impl<P: Process, F: FnOnce(&mut P, &mut Context<P>) + Send> Turn<P> for F {
    fn run(self: Box<Self>, process: &mut P, ctx: &mut Context<P>) {
        self(process, ctx);
    }
}

/// A turn with a name.
#[cfg_attr(
    not(feature = "testing"),
    expect(dead_code, reason = "only tests read names")
)]
pub(crate) struct Named<F> {
    pub(crate) name: &'static str,
    pub(crate) turn: F,
}

impl<P: Process, F: FnOnce(&mut P, &mut Context<P>) + Send> Turn<P> for Named<F> {
    fn run(self: Box<Self>, process: &mut P, ctx: &mut Context<P>) {
        (self.turn)(process, ctx);
    }

    #[cfg(feature = "testing")]
    fn name(&self) -> &'static str {
        self.name
    }
}

/// A turn whose output somebody waits for.
pub(crate) struct Ask<F, R> {
    pub(crate) turn: F,
    pub(crate) output: oneshot::Sender<R>,
}

impl<P: Process, R: Send, F: FnOnce(&mut P, &mut Context<P>) -> R + Send> Turn<P> for Ask<F, R> {
    fn run(self: Box<Self>, process: &mut P, ctx: &mut Context<P>) {
        // The asker may have lost interest.
        let _ = self.output.send((self.turn)(process, ctx));
    }

    #[cfg(feature = "testing")]
    fn name(&self) -> &'static str {
        std::any::type_name::<F>()
    }
}

/// A turn that may be cancelled until it begins.
pub(crate) struct Delayed<F> {
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) turn: F,
}

impl<P: Process, F: FnOnce(&mut P, &mut Context<P>) + Send> Turn<P> for Delayed<F> {
    fn run(self: Box<Self>, process: &mut P, ctx: &mut Context<P>) {
        if !self.cancelled.load(Ordering::Acquire) {
            (self.turn)(process, ctx);
        }
    }

    #[cfg(feature = "testing")]
    fn name(&self) -> &'static str {
        std::any::type_name::<F>()
    }
}
