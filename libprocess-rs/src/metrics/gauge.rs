use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
// tokio's would at times keep an answer back, for the sake of other tasks, that an earlier snapshot waited for in vain.
use futures::channel::oneshot;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use crate::{Context, Pid, Process};

/// A value that its owner sets. Clones share the value.
///
/// Upstream: `process::metrics::PushGauge`.
#[derive(Clone, Debug, Default)]
pub struct PushGauge(Arc<AtomicU64>);

impl PushGauge {
    /// Replaces the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds to the value.
    pub fn add(&self, by: f64) {
        let sum = |bits| Some((f64::from_bits(bits) + by).to_bits());
        // The closure never refuses.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }

    /// The value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// A value that is asked for at each snapshot.
///
/// Upstream: `process::metrics::PullGauge`.
#[derive(Clone)]
pub struct PullGauge(pub(super) Source);

#[derive(Clone)]
pub(super) enum Source {
    Now(Arc<dyn Fn() -> f64 + Send + Sync>),
    Asked(Arc<Question>),
}

/// A question that takes time to answer.
pub(super) struct Question {
    ask: Box<dyn Fn() -> BoxFuture<'static, Answer> + Send + Sync>,
    /// The answer that is awaited or that came last.
    answer: Mutex<Option<Answering>>,
}

/// The value, if there is one, unless the question panicked.
pub(super) type Answer = Result<Option<f64>, Panicked>;

type Answering = Shared<BoxFuture<'static, Answer>>;

/// What was to give the value of a gauge panicked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panicked;

impl PullGauge {
    /// A gauge whose value is at hand: `value` must be quick and must not block. If it panics the gauge is left out.
    pub fn new(value: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Source::Now(Arc::new(value)))
    }

    /// A gauge whose value takes time. A snapshot does not wait for it longer than for all of its values; a value that comes
    /// later, or `None`, is left out, and so is a panic. It is not asked again before it has answered.
    pub fn asking<F>(ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<f64>> + Send + 'static,
    {
        let ask = Arc::new(ask);
        let ask = move || {
            let ask = ask.clone();
            // Others wait for the same answer, and more gauges are asked by the same task.
            let answer = AssertUnwindSafe(async move { ask().await }).catch_unwind();
            answer.map(|value| value.map_err(|_| Panicked)).boxed()
        };
        Self(Source::Asked(Arc::new(Question {
            ask: Box::new(ask),
            answer: Mutex::new(None),
        })))
    }

    /// A gauge whose value an actor works out in a turn of its own. Without the actor there is no value.
    pub fn of<P: Process>(
        pid: &Pid<P>,
        value: impl Fn(&mut P, &mut Context<P>) -> f64 + Send + Sync + 'static,
    ) -> Self {
        let (pid, value) = (pid.clone(), Arc::new(value));
        Self::asking(move || {
            let value = value.clone();
            let (tx, rx) = oneshot::channel();
            pid.dispatch(move |process, ctx| {
                // All that wait for it may have given up.
                let _ = tx.send(value(process, ctx));
            });
            async move { rx.await.ok() }
        })
    }
}

impl Question {
    /// The answer that is on its way, or that of a new question.
    ///
    /// An actor that is stuck thus gets one question, however often it is asked.
    pub(super) fn answer(&self) -> impl Future<Output = Answer> + use<> {
        let mut answer = self.answer.lock();
        if let Some(pending) = &*answer
            && pending.clone().now_or_never().is_none()
        {
            return pending.clone();
        }
        let asked = (self.ask)().shared();
        *answer = Some(asked.clone());
        asked
    }
}

impl fmt::Debug for PullGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullGauge").finish_non_exhaustive()
    }
}
