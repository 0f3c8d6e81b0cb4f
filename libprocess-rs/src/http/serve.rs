//! From a request path to the answer of an actor.

use http::StatusCode;
use tokio::sync::oneshot;

use super::route::Found;
use super::{Request, Response, compress_for, percent_decode};
use crate::actor::{Actor, HttpEvent};
use crate::runtime::Inner;

/// Bodies from this size on are compressed on a thread of their own, so that other connections do not wait for it.
const COMPRESS_ELSEWHERE_BYTES: usize = 64 * 1024;

/// What serves a request.
pub(crate) enum Target {
    /// A route of an actor.
    Route {
        actor: Actor,
        /// The path after delegation.
        path: String,
        route: String,
        streaming: bool,
    },
    /// Nothing but this response.
    Fixed(Response),
}

/// Finds what serves `path`, waiting until the actor has said what routes it has.
///
/// The first segment names an actor; if there is none the delegate gets the whole path, so that on a master `/state` and
/// `/master/state` are the same.
pub(crate) async fn target(inner: &Inner, path: &str) -> Target {
    if !path.starts_with('/') {
        return fixed(StatusCode::BAD_REQUEST);
    }
    if path.contains("/..") {
        return fixed(StatusCode::NOT_FOUND);
    }
    let Ok(named) = actor_of(inner, path) else {
        return fixed(StatusCode::BAD_REQUEST);
    };
    let (actor, path) = match (named, &inner.delegate) {
        (Some(actor), _) => (Some(actor), path.to_owned()),
        (None, Some(delegate)) => {
            let rest = if path == "/" { "" } else { path };
            (inner.registry.get(delegate), format!("/{delegate}{rest}"))
        }
        (None, None) => (None, path.to_owned()),
    };
    let Some(actor) = actor else {
        return fixed(StatusCode::NOT_FOUND);
    };
    // A request may come sooner than the first turn of the actor.
    actor.routes.ready().await;
    match actor.routes.find(without_id(&path)) {
        Some(Found::Route { name, streaming }) => Target::Route {
            actor,
            path,
            route: name,
            streaming,
        },
        Some(Found::File(path)) => Target::Fixed(Response::file(path)),
        None => fixed(StatusCode::NOT_FOUND),
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
pub(crate) async fn answer(target: Target, mut request: Request) -> Response {
    let headers = request.headers.clone();
    let response = match target {
        Target::Fixed(response) => response,
        Target::Route {
            actor, path, route, ..
        } => {
            request.path = path;
            ask(&actor, request, route).await
        }
    };
    let large = response
        .body()
        .is_some_and(|body| body.len() >= COMPRESS_ELSEWHERE_BYTES);
    if !large || !headers.contains_key(http::header::ACCEPT_ENCODING) {
        return compress_for(&headers, response);
    }
    let compressed = tokio::task::spawn_blocking(move || compress_for(&headers, response)).await;
    compressed.unwrap_or_else(|error| {
        tracing::error!("Failed to compress a response: {error}");
        Response::status(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

async fn ask(actor: &Actor, request: Request, route: String) -> Response {
    let (reply, answer) = oneshot::channel();
    let event = HttpEvent {
        request,
        route,
        reply,
    };
    if actor.mailbox.http(event).is_err() {
        return Response::status(StatusCode::NOT_FOUND);
    }
    answer
        .await
        .unwrap_or_else(|_| Response::status(StatusCode::INTERNAL_SERVER_ERROR))
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
