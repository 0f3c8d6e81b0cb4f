//! From a request path to the answer of an actor.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::oneshot;

use super::auth::{Endpoint, Lane};
use super::gzip::compress_for;
use super::route::Found;
use super::{Preferences, Request, Response, percent_decode};
use crate::actor::{Actor, HttpEvent};
use crate::runtime::Inner;

/// Bodies from this size on are compressed on a thread of their own, so that other connections do not wait for it.
const COMPRESS_ELSEWHERE_BYTES: usize = 64 * 1024;

/// What serves a request.
pub(crate) enum Target {
    /// A route of an actor.
    Route {
        actor: Actor,
        route: String,
        streaming: bool,
        lane: Arc<Lane>,
    },
    /// Nothing but this response.
    Fixed(Response),
}

/// Finds what serves the path of `request`, waiting until the actor has said what routes it has, and completes the path.
///
/// The first segment names an actor; if there is none the delegate gets the whole path, so that on a master `/state` and
/// `/master/state` are the same.
pub(crate) async fn target(inner: &Inner, request: &mut Request) -> Target {
    if !request.path.starts_with('/') {
        return fixed(StatusCode::BAD_REQUEST);
    }
    if request.path.contains("/..") {
        return fixed(StatusCode::NOT_FOUND);
    }
    let Ok(named) = actor_of(inner, &request.path) else {
        return fixed(StatusCode::BAD_REQUEST);
    };
    let actor = match (named, &inner.delegate) {
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
    };
    let found = match &actor {
        Some(actor) => {
            // A request may come sooner than the first turn of the actor.
            actor.routes.ready().await;
            actor.routes.find(without_id(&request.path))
        }
        None => None,
    };
    let endpoint = || {
        let route = match &found {
            Some(Found::Route { name, .. }) => Some(name.as_str()),
            _ => None,
        };
        Endpoint::new(&request.path, route, inner.delegate.as_deref())
    };
    if let Some(refusal) = inner.gatekeeper.refusal(request, endpoint) {
        return Target::Fixed(refusal);
    }
    match (actor, found) {
        (
            Some(actor),
            Some(Found::Route {
                name,
                streaming,
                lane,
            }),
        ) => Target::Route {
            actor,
            route: name,
            streaming,
            lane,
        },
        (_, Some(Found::File(path))) => Target::Fixed(Response::file(path)),
        _ => fixed(StatusCode::NOT_FOUND),
    }
}

fn fixed(status: StatusCode) -> Target {
    Target::Fixed(Response::status(status))
}

/// The actor that the first segment names; an error if the segment is not properly encoded.
fn actor_of(inner: &Inner, path: &str) -> Result<Option<Actor>, super::QueryError> {
    match path.split('/').find(|segment| !segment.is_empty()) {
        Some(segment) => Ok(inner.registry.get(&percent_decode(segment)?)),
        None => Ok(None),
    }
}

/// The part of `path` after its first segment.
fn without_id(path: &str) -> &str {
    let path = path.trim_start_matches('/');
    path.find('/')
        .and_then(|slash| path.get(slash..))
        .unwrap_or_default()
}

/// The answer of `target`, compressed if the client wants it and it is worth it.
pub(crate) async fn answer(
    inner: &Inner,
    target: Target,
    request: Request,
    preferences: &Preferences,
) -> Response {
    let response = match target {
        Target::Fixed(response) => response,
        Target::Route {
            actor, route, lane, ..
        } => ask(inner, &actor, &lane, route, request).await,
    };
    let gzip = preferences.gzip;
    let large = response
        .body()
        .is_some_and(|body| body.len() >= COMPRESS_ELSEWHERE_BYTES);
    if !large || !gzip {
        return compress_for(gzip, response);
    }
    let compressed = tokio::task::spawn_blocking(move || compress_for(gzip, response)).await;
    compressed.unwrap_or_else(|error| {
        tracing::error!("Failed to compress a response: {error}");
        Response::status(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

async fn ask(
    inner: &Inner,
    actor: &Actor,
    lane: &Lane,
    route: String,
    mut request: Request,
) -> Response {
    if route.contains('{') {
        request.route = Some(route.clone());
    }
    let deliver = |request, route| {
        let (reply, answer) = oneshot::channel();
        let event = HttpEvent {
            request,
            route,
            reply,
        };
        match actor.mailbox.http(event) {
            Ok(()) => Ok(answer),
            Err(_) => Err(Box::new(Response::status(StatusCode::NOT_FOUND))),
        }
    };
    let gatekeeper = &inner.gatekeeper;
    let admitted = gatekeeper.admit(lane, actor.upid.id(), route, request, deliver);
    match admitted.await {
        Ok(answer) => answer
            .await
            .unwrap_or_else(|_| Response::status(StatusCode::INTERNAL_SERVER_ERROR)),
        Err(refusal) => *refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_the_first_segment() {
        let check = |path: &str, expected: &str| assert_eq!(without_id(path), expected);
        check("/", "");
        check("/master", "");
        check("/master/", "/");
        check("/master/state", "/state");
        check("//master//state/x", "//state/x");
    }
}
