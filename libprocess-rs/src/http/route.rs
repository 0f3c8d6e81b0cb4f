//! The routes of an actor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tokio::sync::Notify;

use super::Help;
use super::auth::Lane;

/// How a route is to be treated.
#[derive(Debug, Clone, Default)]
pub struct RouteOptions {
    /// What `/help` says about the route.
    pub help: Option<Help>,
    /// The authentication realm of the route. While the realm has no authenticator it lets everyone in; see
    /// [`Runtime::set_authenticator`](crate::Runtime::set_authenticator).
    pub realm: Option<String>,
    /// If true, the handler gets the body as it arrives (see [`Request::take_stream`](super::Request::take_stream)) instead of
    /// as a whole.
    pub streaming: bool,
    /// Only for the root route: if true, it also gets the requests that match no other route and no file.
    pub catch_all: bool,
}

impl RouteOptions {
    /// Options with a help text.
    pub fn with_help(help: Help) -> Self {
        Self {
            help: Some(help),
            ..Self::default()
        }
    }

    /// Sets the help text.
    pub fn help(mut self, help: Help) -> Self {
        self.help = Some(help);
        self
    }

    /// Puts the route into an authentication realm.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = Some(realm.into());
        self
    }

    /// Lets the root route serve what nothing else does.
    pub fn catch_all(mut self) -> Self {
        self.catch_all = true;
        self
    }

    /// Gives the handler the request body as it arrives.
    pub fn streaming(mut self) -> Self {
        self.streaming = true;
        self
    }
}

/// What is known about the routes of an actor outside its turns.
#[derive(Default)]
pub(crate) struct RouteTable {
    entries: RwLock<Entries>,
    ready: AtomicBool,
    became_ready: Notify,
}

#[derive(Default)]
struct Entries {
    /// By name without the leading slash; the root route has the empty name.
    routes: BTreeMap<Arc<str>, Arc<Route>>,
    /// Those among them that have parameters; those with literals further left come first.
    patterns: Vec<Arc<Route>>,
    assets: BTreeMap<String, PathBuf>,
}

/// A route as it was registered.
pub(crate) struct Route {
    /// Without the leading slash.
    pub(crate) name: Arc<str>,
    pub(crate) has_parameters: bool,
    pub(crate) options: RouteOptions,
    /// Shared by the routes of the same realm.
    pub(crate) lane: Arc<Lane>,
}

/// Where a request within an actor goes.
pub(crate) enum Found {
    Route(Arc<Route>),
    File(PathBuf),
}

impl RouteTable {
    /// The actor has been initialized, so its routes are known.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
        self.became_ready.notify_waiters();
    }

    /// True if the routes are known.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Waits until the routes are known.
    pub(crate) async fn ready(&self) {
        if self.is_ready() {
            return;
        }
        let mut ready = std::pin::pin!(self.became_ready.notified());
        ready.as_mut().enable();
        if !self.is_ready() {
            ready.await;
        }
    }

    /// Adds a route and returns its normalized name.
    pub(crate) fn add(&self, name: &str, options: RouteOptions) -> Arc<str> {
        let name: Arc<str> = name.trim_matches('/').into();
        self.entries.write().add(name.clone(), options);
        name
    }

    pub(crate) fn provide(&self, name: &str, path: PathBuf) {
        let name = name.trim_matches('/').to_owned();
        self.entries.write().assets.insert(name, path);
    }

    /// Finds what serves `path`, the part of the request path after the id of the actor.
    pub(crate) fn find(&self, path: &str) -> Option<Found> {
        let path = path.trim_matches('/');
        let entries = self.entries.read();
        let mut candidate = path;
        loop {
            if let Some(route) = entries.route(candidate) {
                return Some(Found::Route(route.clone()));
            }
            match candidate.rfind('/') {
                Some(cut) => candidate = candidate.get(..cut).unwrap_or_default(),
                None => break,
            }
        }
        if let Some(file) = entries.asset(path) {
            return Some(Found::File(file));
        }
        let root = entries.routes.get("");
        let root = root.filter(|root| root.options.catch_all);
        root.map(|root| Found::Route(root.clone()))
    }

    /// Names (with leading slash) and help texts, in order of name.
    pub(crate) fn helps(&self) -> Vec<(String, Option<Help>)> {
        let entries = self.entries.read();
        entries
            .routes
            .iter()
            .map(|(name, route)| (format!("/{name}"), route.options.help.clone()))
            .collect()
    }
}

impl Entries {
    fn add(&mut self, name: Arc<str>, options: RouteOptions) {
        let known = self.routes.values().map(|route| &route.lane);
        let lane = known
            .into_iter()
            .find(|lane| lane.realm == options.realm)
            .cloned();
        let lane = lane.unwrap_or_else(|| Arc::new(Lane::new(options.realm.clone())));
        let route = Arc::new(Route {
            has_parameters: name.split('/').any(is_parameter),
            name: name.clone(),
            options,
            lane,
        });
        if route.has_parameters {
            self.patterns.retain(|known| known.name != name);
            self.patterns.push(route.clone());
            self.patterns
                .sort_by_cached_key(|route| literals_first(&route.name));
        }
        self.routes.insert(name, route);
    }

    /// The route that is called `path` or, if there is none, whose pattern fits it as a whole.
    fn route(&self, path: &str) -> Option<&Arc<Route>> {
        let named = self.routes.get(path);
        named.or_else(|| self.patterns.iter().find(|route| fits(&route.name, path)))
    }

    fn asset(&self, path: &str) -> Option<PathBuf> {
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        if let Some(asset) = self.assets.get(name) {
            return Some(join(asset, rest));
        }
        self.assets.get("").map(|asset| join(asset, path))
    }
}

fn join(asset: &Path, rest: &str) -> PathBuf {
    // An absolute path would replace that of the asset.
    match rest.trim_start_matches('/') {
        "" => asset.to_owned(),
        rest => asset.join(rest),
    }
}

/// The name of a `{name}` segment.
pub(super) fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn is_parameter(segment: &str) -> bool {
    parameter(segment).is_some()
}

/// Sorts patterns: a literal segment before a parameter.
fn literals_first(pattern: &str) -> Vec<(bool, String)> {
    let segments = pattern.split('/');
    segments
        .map(|segment| (is_parameter(segment), segment.to_owned()))
        .collect()
}

/// Whether all segments of `path` are those of `pattern`; a parameter stands for any but an empty one.
fn fits(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    pattern.split('/').all(|wanted| {
        let found = segments.next();
        found.is_some_and(|found| found == wanted || is_parameter(wanted) && !found.is_empty())
    }) && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_prefix_of_whole_segments() {
        let table = RouteTable::default();
        for name in ["/", "/a", "/a/b", "/a/b/c"] {
            table.add(name, RouteOptions::default());
        }
        table.provide("static", PathBuf::from("/www"));
        table.provide("app.css", PathBuf::from("/www/app.css"));
        let check = |path: &str, expected: Option<&str>| {
            let found = table.find(path).map(|found| match found {
                Found::Route(route) => format!("/{}", route.name),
                Found::File(path) => format!("file {}", path.display()),
            });
            assert_eq!(found.as_deref(), expected, "{path:?}");
        };
        check("", Some("/"));
        check("/", Some("/"));
        check("/a", Some("/a"));
        check("/a/", Some("/a"));
        check("/a/x/y", Some("/a"));
        check("/a/b/x", Some("/a/b"));
        check("/a/b/c/d", Some("/a/b/c"));
        check("/ab", None);
        check("/x", None);
        check("/static/js/x.js", Some("file /www/js/x.js"));
        check("/static//etc/passwd", Some("file /www/etc/passwd"));
        check("/static", Some("file /www"));
        check("/app.css", Some("file /www/app.css"));
    }

    #[test]
    fn parameters_stand_for_one_segment() {
        let table = RouteTable::default();
        for name in [
            "/tasks",
            "/tasks/{id}",
            "/tasks/{id}/log",
            "/tasks/new",
            "/{kind}/all",
            "/tasks/{id}/{file}",
        ] {
            table.add(name, RouteOptions::default());
        }
        let check = |path: &str, expected: Option<&str>| {
            let found = table.find(path).map(|found| match found {
                Found::Route(route) => format!("/{}", route.name),
                Found::File(path) => format!("file {}", path.display()),
            });
            assert_eq!(found.as_deref(), expected, "{path:?}");
        };
        check("/tasks/7", Some("/tasks/{id}"));
        check("/tasks/7/", Some("/tasks/{id}"));
        check("/tasks/new", Some("/tasks/new"));
        check("/tasks/7/log", Some("/tasks/{id}/log"));
        check("/tasks/7/log/x", Some("/tasks/{id}/log"));
        check("/tasks/7/err", Some("/tasks/{id}/{file}"));
        check("/tasks/all", Some("/tasks/{id}"));
        check("/agents/all", Some("/{kind}/all"));
        check("/tasks//log", Some("/tasks"));
        check("/agents", None);
    }

    #[test]
    fn routes_of_a_realm_share_a_lane() {
        let table = RouteTable::default();
        let realm = |name: &str| RouteOptions::default().realm(name);
        table.add("/a", realm("r"));
        table.add("/b", realm("r"));
        table.add("/c", realm("w"));
        table.add("/d", RouteOptions::default());
        let lane = |path: &str| match table.find(path) {
            Some(Found::Route(route)) => route.lane.clone(),
            _ => panic!("no route"),
        };
        assert!(Arc::ptr_eq(&lane("/a"), &lane("/b")));
        assert!(!Arc::ptr_eq(&lane("/a"), &lane("/c")));
        assert_eq!(lane("/c").realm.as_deref(), Some("w"));
        assert_eq!(lane("/d").realm, None);
    }
}
