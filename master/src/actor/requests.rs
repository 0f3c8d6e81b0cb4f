//! Requests of operators that are answered when the registry has stored what they ask for.

use std::collections::HashMap;

use http::StatusCode;
use libprocess::{Context, Reply, Response};
use tokio::sync::oneshot;

use super::MasterProcess;
use super::effects::Turn;
use crate::core::Master;
use crate::core::effects::RequestId;

/// The requests that wait.
#[derive(Default)]
pub(super) struct Requests {
    next: u64,
    waiting: HashMap<RequestId, oneshot::Sender<()>>,
}

impl Requests {
    fn add(&mut self) -> (RequestId, oneshot::Receiver<()>) {
        let id = RequestId(self.next);
        self.next += 1;
        let (answer, answered) = oneshot::channel();
        self.waiting.insert(id, answer);
        (id, answered)
    }

    /// Answers a request.
    pub(super) fn done(&mut self, request: RequestId) {
        if let Some(answer) = self.waiting.remove(&request) {
            // Whoever asked may have gone.
            let _ = answer.send(());
        }
    }
}

impl MasterProcess {
    /// Lets the core handle a request that changes what the registry holds. The reply is 200 once
    /// the core calls it done, and 503 if the master ends before.
    ///
    /// # Errors
    /// Why the core refuses the request.
    pub(crate) fn request<E>(
        &mut self,
        ctx: &mut Context<Self>,
        event: impl FnOnce(&mut Master, RequestId, &mut Turn<'_>) -> Result<(), E>,
    ) -> Result<Reply, E> {
        let (id, answered) = self.around.requests.add();
        if let Err(error) = self.turn(ctx, |core, fx| event(core, id, fx)) {
            self.around.requests.waiting.remove(&id);
            return Err(error);
        }
        Ok(Reply::later(async {
            match answered.await {
                Ok(()) => Response::ok(),
                Err(_) => Response::text(StatusCode::SERVICE_UNAVAILABLE, "The master has ended"),
            }
        }))
    }
}
