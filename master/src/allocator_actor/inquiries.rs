//! Questions to the allocator that take long to answer. They are answered in short turns, so that
//! facts and runs wait for none of them.

use std::time::Duration;

use libprocess::{Context, Counter, Metrics, Pid};
use thiserror::Error;
use tokio::sync::oneshot;

use super::{AllocatorHandle, AllocatorProcess};
use crate::allocator::{
    Allocator, AllocatorError, Answer, Exclusions, Question, TooManyExclusions,
};

/// How many questions are being answered at the same time.
const INQUIRIES_MAX: usize = 4;

/// How often an agent is looked at in one turn: about a millisecond.
const PORTION: usize = 1_000;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Unanswered {
    /// Too many others are being answered.
    #[error("The allocator is answering {INQUIRIES_MAX} questions already; ask again in a moment")]
    Busy,
    /// The question is about something unknown.
    #[error(transparent)]
    Question(#[from] AllocatorError),
    /// The answer would be too long.
    #[error(transparent)]
    TooMany(#[from] TooManyExclusions),
    /// The allocator has ended.
    #[error("The allocator has ended")]
    Gone,
}

/// The questions that are being answered.
pub(super) struct Inquiries {
    count: usize,
    refused: Counter,
}

impl Inquiries {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            count: 0,
            refused: metrics.counter("allocator/mesos/inquiries_refused"),
        }
    }
}

/// A part of the work for an answer; the answer once it is complete.
type Step<T> = Box<dyn FnMut(&Allocator, Duration) -> Option<Result<T, Unanswered>> + Send>;

impl AllocatorHandle {
    /// Explains why frameworks got nothing: see [`Allocator::survey`].
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub async fn explain(&self, question: Question) -> Result<Answer, Unanswered> {
        explain(&self.pid, question).await
    }
}

/// Explains why frameworks got nothing.
pub(crate) async fn explain(
    allocator: &Pid<AllocatorProcess>,
    question: Question,
) -> Result<Answer, Unanswered> {
    let mut survey = None;
    let step = move |core: &Allocator, now| {
        let mut begun = match survey.take() {
            Some(begun) => begun,
            None => match core.survey(&question) {
                Ok(begun) => begun,
                Err(error) => return Some(Err(error.into())),
            },
        };
        if core.examine(&mut begun, PORTION, now) {
            return Some(Ok(begun.into_answer()));
        }
        survey = Some(begun);
        None
    };
    inquire(allocator, Box::new(step)).await
}

/// Lists what is excluded by offer constraints.
pub(crate) async fn exclusions(
    allocator: &Pid<AllocatorProcess>,
) -> Result<Exclusions, Unanswered> {
    let mut survey = None;
    let step = move |core: &Allocator, _| {
        let mut begun = survey.take().unwrap_or_else(|| core.exclusions());
        match core.examine_exclusions(&mut begun, PORTION) {
            Ok(true) => Some(Ok(begun.into_exclusions())),
            Ok(false) => {
                survey = Some(begun);
                None
            }
            Err(error) => Some(Err(error.into())),
        }
    };
    inquire(allocator, Box::new(step)).await
}

async fn inquire<T: Send + 'static>(
    allocator: &Pid<AllocatorProcess>,
    step: Step<T>,
) -> Result<T, Unanswered> {
    let (reply, answer) = oneshot::channel();
    allocator.dispatch(move |allocator, ctx| {
        if allocator.inquiries.count >= INQUIRIES_MAX {
            allocator.inquiries.refused.inc();
            // Who does not wait for it any more need not know.
            let _ = reply.send(Err(Unanswered::Busy));
            return;
        }
        allocator.inquiries.count += 1;
        allocator.answer(step, reply, ctx);
    });
    answer.await.unwrap_or(Err(Unanswered::Gone))
}

impl AllocatorProcess {
    fn answer<T: Send + 'static>(
        &mut self,
        mut step: Step<T>,
        reply: oneshot::Sender<Result<T, Unanswered>>,
        ctx: &Context<Self>,
    ) {
        if reply.is_closed() {
            self.inquiries.count -= 1;
            return;
        }
        match step(&self.core, ctx.now().unix()) {
            Some(answer) => {
                self.inquiries.count -= 1;
                if matches!(answer, Err(Unanswered::TooMany(_))) {
                    self.inquiries.refused.inc();
                }
                let _ = reply.send(answer);
            }
            None => ctx
                .pid()
                .dispatch(move |allocator, ctx| allocator.answer(step, reply, ctx)),
        }
    }
}

#[cfg(test)]
mod tests {

    use libprocess::{Runtime, RuntimeConfig};

    use super::*;
    use crate::allocator::Options;

    #[tokio::test]
    async fn a_few_questions_are_answered_at_a_time() {
        let runtime = Runtime::start(RuntimeConfig::loopback()).unwrap();
        let options = Options::default();
        let allocator = AllocatorHandle::spawn(&runtime, options).unwrap();
        let answering = |count| {
            let set = move |allocator: &mut AllocatorProcess, _: &mut Context<_>| {
                allocator.inquiries.count = count;
            };
            allocator.pid.dispatch(set);
        };
        let ask = || allocator.explain(Question::default());
        let refused = || runtime.metrics().snapshot()["allocator/mesos/inquiries_refused"];
        answering(INQUIRIES_MAX);
        assert_eq!(ask().await, Err(Unanswered::Busy));
        assert_eq!(refused(), 1.0);
        answering(INQUIRIES_MAX - 1);
        assert!(ask().await.is_ok());
        assert!(ask().await.is_ok(), "the one before has ended");
        assert_eq!(refused(), 1.0);
        runtime.shutdown();
        assert_eq!(ask().await, Err(Unanswered::Gone));
    }
}
