//! Rules that no request gets around.

use std::collections::HashSet;

use http::StatusCode;

use crate::http::percent_decode;
use crate::{Request, Response};

/// What a request is about to reach.
///
/// Paths here are normalized: decoded, with single slashes and none at the end, so that no spelling evades a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    path: String,
    route: Option<String>,
    /// Bytes of the actor id at the start, if paths without it reach the same.
    delegated: Option<usize>,
}

impl Endpoint {
    /// `path` has the actor id first; `route` is the name of the route that serves it, `delegate` the actor that gets paths
    /// that name no actor.
    pub(crate) fn new(path: &str, route: Option<&str>, delegate: Option<&str>) -> Self {
        let path = normalize(path);
        let id_end = path
            .get(1..)
            .and_then(|rest| rest.find('/'))
            .map_or(path.len(), |slash| slash + 1);
        let id = path.get(1..id_end).unwrap_or_default();
        let delegated = (delegate == Some(id)).then_some(id_end);
        let route = route.map(|route| normalize(&format!("/{id}/{route}")));
        Self {
            path,
            route,
            delegated,
        }
    }

    /// The path, which begins with the id of the actor.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `/<actor id>/<route name>`, of which [`path`](Self::path) may be a path below. `None` for files and for what does not
    /// exist.
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    /// All that the endpoint is called: path and route, with the id of the actor and, for the actor that gets paths that name no
    /// actor, without.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let full = [Some(self.path.as_str()), self.route()];
        full.into_iter().flatten().flat_map(|name| {
            let short = self.delegated.and_then(|id| name.get(id..));
            let short = short.map(|short| if short.is_empty() { "/" } else { short });
            [Some(name), short].into_iter().flatten()
        })
    }
}

/// Decodes and drops needless slashes. A bad escape stays as it is.
fn normalize(path: &str) -> String {
    let decoded = percent_decode(path);
    let mut normal = String::with_capacity(path.len() + 1);
    let path = decoded.as_deref().unwrap_or(path);
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        normal.push('/');
        normal.push_str(segment);
    }
    if normal.is_empty() {
        normal.push('/');
    }
    normal
}

/// Refuses requests before anyone else looks at them.
///
/// Rules are installed with [`RuntimeConfig::firewall`](crate::RuntimeConfig::firewall) or
/// [`Runtime::set_firewall`](crate::Runtime::set_firewall).
///
/// Upstream: `process::firewall::FirewallRule`.
pub trait FirewallRule: Send + Sync {
    /// The answer to a request that must not pass. The body of the request has not been read.
    fn refuse(&self, request: &Request, endpoint: &Endpoint) -> Option<Response>;
}

/// Refuses requests to certain endpoints with 403.
///
/// An endpoint is a path, with the id of the actor or, for the actor that gets paths that name no actor, without: on a master
/// `/state` and `/master/state` are the same. All that the route of that name serves is refused: also with a slash at the end,
/// with needless escapes, and below it.
///
/// Upstream: `process::firewall::DisabledEndpointsFirewallRule`, which compares the path letter by letter.
#[derive(Debug, Clone, Default)]
pub struct DisabledEndpoints {
    endpoints: HashSet<String>,
}

impl DisabledEndpoints {
    /// A rule against these endpoints.
    pub fn new(endpoints: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let endpoints = endpoints.into_iter();
        Self {
            endpoints: endpoints.map(|path| normalize(path.as_ref())).collect(),
        }
    }
}

impl FirewallRule for DisabledEndpoints {
    fn refuse(&self, _: &Request, endpoint: &Endpoint) -> Option<Response> {
        let disabled = endpoint.names().any(|name| self.endpoints.contains(name));
        disabled.then(|| {
            let text = format!("Endpoint '{}' is disabled", endpoint.path());
            Response::text(StatusCode::FORBIDDEN, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disabled_endpoints() {
        let rule = DisabledEndpoints::new(["/state", "metrics/snapshot/", "/slave(1)/api/v1"]);
        let request = Request::new(http::Method::GET, "/");
        let check = |path: &str, route: Option<&str>, delegate: &str, expected: bool| {
            let endpoint = Endpoint::new(path, route, Some(delegate));
            let refused = rule.refuse(&request, &endpoint).is_some();
            assert_eq!(refused, expected, "{path} {endpoint:?}");
        };
        let state = Some("state");
        check("/master/state", state, "master", true);
        check("/master/state/", state, "master", true);
        check("//master//state", state, "master", true);
        check("/master/stat%65", None, "master", true);
        check("/master/state/x", state, "master", true);
        check("/master/state/x", Some("state/x"), "master", false);
        check("/other/state", state, "master", false);
        check("/master/states", Some("states"), "master", false);
        check("/master", Some(""), "master", false);
        check("/metrics/snapshot", Some("snapshot"), "master", true);
        check("/metrics", None, "master", false);
        check("/slave%281%29/api/v1", Some("api/v1"), "slave(1)", true);
        check("/nobody/state", None, "master", false);
        let root = DisabledEndpoints::new(["/"]);
        let endpoint = Endpoint::new("/master", Some(""), Some("master"));
        assert!(root.refuse(&request, &endpoint).is_some());
    }

    #[test]
    fn the_answer_names_the_endpoint() {
        let rule = DisabledEndpoints::new(["/state"]);
        let endpoint = Endpoint::new("/master/state/", Some("state"), Some("master"));
        let request = Request::new(http::Method::GET, "/");
        let response = rule.refuse(&request, &endpoint).unwrap();
        assert_eq!(response.status_code(), 403);
        let expected = "Endpoint '/master/state' is disabled";
        assert_eq!(response.body().unwrap(), expected);
    }
}
