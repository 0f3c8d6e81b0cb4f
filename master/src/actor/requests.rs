//! Requests of operators that are answered when the registry has stored what they ask for.

use std::collections::HashMap;

use futures::future::BoxFuture;
use http::StatusCode;
use libprocess::{Context, Reply, Response};
use tokio::sync::oneshot;

use super::MasterProcess;
use super::effects::Turn;
use crate::allocator::InverseOfferStatuses;
use crate::core::Master;
use crate::core::effects::RequestId;

const CONFLICT: &str =
    "Another change came before this one, which does not apply any more; look and ask again";

/// The requests that wait.
#[derive(Default)]
pub(super) struct Requests {
    next: u64,
    waiting: HashMap<RequestId, oneshot::Sender<bool>>,
}

impl Requests {
    fn add(&mut self) -> (RequestId, oneshot::Receiver<bool>) {
        let id = RequestId(self.next);
        self.next += 1;
        let (answer, answered) = oneshot::channel();
        self.waiting.insert(id, answer);
        (id, answered)
    }

    /// Answers a request: whether the registry took the change.
    pub(super) fn done(&mut self, request: RequestId, applied: bool) {
        if let Some(answer) = self.waiting.remove(&request) {
            // Whoever asked may have gone.
            let _ = answer.send(applied);
        }
    }
}

impl MasterProcess {
    /// What frameworks answered to inverse offers. None if the allocator has ended.
    pub(crate) fn inverse_offer_statuses(
        &self,
    ) -> BoxFuture<'static, Option<InverseOfferStatuses>> {
        self.around.allocator.inverse_offer_statuses()
    }

    /// Lets the core handle a request that changes what the registry holds. The reply is 200 once
    /// the core calls it done, 409 if the registry refused the change as another one came before,
    /// and 503 if the master ends first.
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
                Ok(true) => Response::ok(),
                Ok(false) => Response::text(StatusCode::CONFLICT, CONFLICT),
                Err(_) => Response::text(StatusCode::SERVICE_UNAVAILABLE, "The master has ended"),
            }
        }))
    }
}
