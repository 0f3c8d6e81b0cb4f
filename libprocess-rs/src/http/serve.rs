//! From a request path to the answer of an actor.

use std::sync::Arc;

use http::StatusCode;
use memchr::memchr;
use tokio::sync::oneshot;

use super::auth::Endpoint;
use super::route::{Found, Route};
use super::{QueryError, Request, Response, percent_decode};
use crate::actor::{Actor, HttpEvent};
use crate::runtime::Inner;

/// What serves a request.
pub(crate) enum Target {
    /// A route of an actor.
    Route {
        actor: Arc<Actor>,
        route: Arc<Route>,
    },
    /// Nothing but this response.
    Fixed(Response),
}

impl Target {
    fn status(status: StatusCode) -> Self {
        Self::Fixed(Response::status(status))
    }

    /// True if nobody is to be asked.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// True if the body goes on to the handler as it arrives.
    pub(crate) fn is_streaming(&self) -> bool {
        matches!(self, Self::Route { route, .. } if route.options.streaming)
    }
}

/// Finds what serves the path of `request`, waiting until the actor has said what routes it has, and completes the path.
pub(crate) async fn target(inner: &Inner, request: &mut Request) -> Target {
    match actor_for(inner, request) {
        Ok(actor) => {
            if let Some(actor) = &actor {
                // A request may come sooner than the first turn of the actor.
                actor.routes.ready().await;
            }
            target_of(inner, actor, request)
        }
        Err(status) => Target::status(status),
    }
}

/// The same if there is nothing to wait for.
pub(crate) fn target_at_once(inner: &Inner, request: &mut Request) -> Option<Target> {
    match actor_for(inner, request) {
        Ok(Some(actor)) if !actor.routes.is_ready() => None,
        Ok(actor) => Some(target_of(inner, actor, request)),
        Err(status) => Some(Target::status(status)),
    }
}

/// The actor whom the path concerns, or the status that refuses the path.
///
/// The first segment names an actor; if there is none the delegate gets the whole path, so that on a master `/state` and
/// `/master/state` are the same.
fn actor_for(inner: &Inner, request: &mut Request) -> Result<Option<Arc<Actor>>, StatusCode> {
    if !request.path.starts_with('/') {
        return Err(StatusCode::BAD_REQUEST);
    }
    if has_dots(&request.path) {
        return Err(StatusCode::NOT_FOUND);
    }
    let named = actor_of(inner, &request.path).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(match (named, &inner.delegate) {
        (None, Some(delegate)) => {
            let rest = if request.path == "/" {
                ""
            } else {
                &request.path
            };
            request.path = format!("/{delegate}{rest}");
            inner.registry.get(delegate)
        }
        (named, _) => named,
    })
}

/// Whether a segment of a path begins with two dots, which may lead out of a folder.
fn has_dots(path: &str) -> bool {
    // Most paths have no dot at all, which is quick to see.
    memchr(b'.', path.as_bytes()).is_some() && path.contains("/..")
}

/// What of `actor` serves a request whose path is complete.
fn target_of(inner: &Inner, actor: Option<Arc<Actor>>, request: &Request) -> Target {
    let found = actor
        .as_ref()
        .and_then(|actor| actor.routes.find(split_id(&request.path).1));
    let endpoint = || {
        let route = match &found {
            Some(Found::Route(route)) => Some(&*route.name),
            _ => None,
        };
        Endpoint::new(&request.path, route, inner.delegate.as_deref())
    };
    if let Some(refusal) = inner.gatekeeper.refusal(request, endpoint) {
        return Target::Fixed(refusal);
    }
    match (actor, found) {
        (Some(actor), Some(Found::Route(route))) => Target::Route { actor, route },
        (_, Some(Found::File(path))) => Target::Fixed(Response::file(path)),
        _ => Target::status(StatusCode::NOT_FOUND),
    }
}

/// The actor that the first segment names; an error if the segment is not properly encoded.
fn actor_of(inner: &Inner, path: &str) -> Result<Option<Arc<Actor>>, QueryError> {
    match split_id(path).0 {
        "" => Ok(None),
        id => Ok(inner.registry.get(&percent_decode(id)?)),
    }
}

/// The first segment of a path and what follows it.
fn split_id(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches('/');
    let end = memchr(b'/', path.as_bytes()).unwrap_or(path.len());
    path.split_at_checked(end).unwrap_or((path, ""))
}

/// The answer of `target`, once the checks of the route let the request pass.
pub(crate) async fn answer(inner: &Inner, target: Target, mut request: Box<Request>) -> Response {
    let (actor, route) = match target {
        Target::Fixed(response) => return response,
        Target::Route { actor, route } => (actor, route),
    };
    let admitted = inner
        .gatekeeper
        .admit(actor.upid.id(), &route, &mut request);
    let asked = match admitted.await {
        Ok(_turn) => ask(&actor, route.clone(), request),
        Err(refusal) => return *refusal,
    };
    match asked {
        Ok(answer) => answer_or_error(answer.await),
        Err(status) => Response::status(status),
    }
}

/// The answer to a request that was [asked](ask).
pub(crate) type Answer = oneshot::Receiver<Response>;

/// Queues a request that may pass for its route, or says why it is not answered.
pub(crate) fn ask(
    actor: &Actor,
    route: Arc<Route>,
    mut request: Box<Request>,
) -> Result<Answer, StatusCode> {
    request.route = route.has_parameters.then(|| route.name.clone());
    let (reply, answer) = oneshot::channel();
    let event = HttpEvent {
        request,
        route,
        reply,
    };
    let queued = actor.mailbox.http(event);
    queued.map_err(|_| StatusCode::NOT_FOUND)?;
    Ok(answer)
}

/// What the client is told: an actor may end, or drop its reply, without an answer.
pub(crate) fn answer_or_error(answer: Result<Response, oneshot::error::RecvError>) -> Response {
    answer.unwrap_or_else(|_| Response::status(StatusCode::INTERNAL_SERVER_ERROR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_off_the_first_segment() {
        let check = |path: &str, expected: (&str, &str)| assert_eq!(split_id(path), expected);
        check("/", ("", ""));
        check("/master", ("master", ""));
        check("/master/", ("master", "/"));
        check("/master/state", ("master", "/state"));
        check("//master//state/x", ("master", "//state/x"));
    }
}
