//! Runs the checks of a runtime and keeps requests in order while they take their time.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use futures::future::join;
use http::StatusCode;
use parking_lot::RwLock;

use super::{Authenticator, CheckError, CheckFuture, Endpoint, FirewallRule, Principal};
use crate::http::Route;
use crate::{Request, Response, Runtime};

type Hook = dyn Fn(&Request, Option<&Principal>) -> CheckFuture<'static, Result<bool, CheckError>>
    + Send
    + Sync;

/// The checks of a runtime.
pub(crate) struct Gatekeeper {
    /// False until the first authenticator or hook is installed, so that those who have none do not pay.
    in_use: AtomicBool,
    checks: RwLock<Checks>,
    has_firewall: AtomicBool,
    firewall: RwLock<Arc<[Arc<dyn FirewallRule>]>>,
}

#[derive(Default)]
struct Checks {
    /// By realm.
    authenticators: HashMap<String, Arc<dyn Authenticator>>,
    /// By `<actor id>/<route name>`.
    hooks: HashMap<String, Arc<Hook>>,
}

/// The routes of one actor that are in the same realm, or in none. Their requests keep their order.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) realm: Option<String>,
    /// Held from the arrival of a request at the head of the line until it is in the queue of the actor. It is fair.
    turn: tokio::sync::Mutex<()>,
}

/// The turn of one request in its [`Lane`].
pub(crate) type Turn<'l> = tokio::sync::MutexGuard<'l, ()>;

impl Lane {
    pub(crate) fn new(realm: Option<String>) -> Self {
        Self {
            realm,
            ..Self::default()
        }
    }
}

impl Checks {
    fn authenticator(&self, route: &Route) -> Option<Arc<dyn Authenticator>> {
        let realm = route.lane.realm.as_ref()?;
        self.authenticators.get(realm).cloned()
    }

    fn hook(&self, id: &str, route: &str) -> Option<Arc<Hook>> {
        match self.hooks.is_empty() {
            true => None,
            false => self.hooks.get(&key(id, route)).cloned(),
        }
    }
}

impl Gatekeeper {
    pub(crate) fn new(firewall: Vec<Arc<dyn FirewallRule>>) -> Self {
        Self {
            in_use: AtomicBool::new(false),
            checks: RwLock::default(),
            has_firewall: AtomicBool::new(!firewall.is_empty()),
            firewall: RwLock::new(firewall.into()),
        }
    }

    /// The answer of the first rule that refuses the request. `endpoint` is made only if there is a rule.
    pub(crate) fn refusal(
        &self,
        request: &Request,
        endpoint: impl FnOnce() -> Endpoint,
    ) -> Option<Response> {
        if !self.has_firewall.load(Ordering::Acquire) {
            return None;
        }
        let rules = self.firewall.read().clone();
        let endpoint = endpoint();
        rules
            .iter()
            .find_map(|rule| rule.refuse(request, &endpoint))
    }

    /// True if no request to this route of the actor `id` needs [admission](Self::admit).
    pub(crate) fn is_open(&self, id: &str, route: &Route) -> bool {
        !self.in_use.load(Ordering::Acquire)
            || route.lane.realm.is_none() && self.checks.read().hook(id, &route.name).is_none()
    }

    /// Lets a request pass once it has been authenticated and authorized and all earlier ones of its lane have been dealt with,
    /// or says why not. Its turn must not end before it is in the queue of the actor.
    pub(crate) async fn admit<'r>(
        &self,
        id: &str,
        route: &'r Route,
        request: &mut Request,
    ) -> Result<Option<Turn<'r>>, Box<Response>> {
        if self.is_open(id, route) {
            return Ok(None);
        }
        let (authenticator, hook) = {
            let checks = self.checks.read();
            (checks.authenticator(route), checks.hook(id, &route.name))
        };
        let check = check(authenticator.as_deref(), hook.as_deref(), request);
        let check = contained(id, &route.name, check);
        // The lock is asked for first, so its line has the order of arrival; a client that goes away leaves it.
        let (turn, checked) = join(route.lane.turn.lock(), check).await;
        request.principal = checked?;
        Ok(Some(turn))
    }

    /// Asks firewall and hook of `route` of the actor `id` about a request that has been admitted to another route.
    pub(crate) async fn allows(
        &self,
        (id, route): (&str, &str),
        delegate: Option<&str>,
        request: &Request,
    ) -> Result<(), Box<Response>> {
        let endpoint = || Endpoint::new(&format!("/{id}/{route}"), Some(route), delegate);
        if let Some(refusal) = self.refusal(request, endpoint) {
            return Err(Box::new(refusal));
        }
        let hook = self.checks.read().hook(id, route);
        match hook {
            Some(hook) => {
                let check = allow(&*hook, request, request.principal.as_ref());
                contained(id, route, check).await
            }
            None => Ok(()),
        }
    }

    fn set_firewall(&self, rules: Vec<Arc<dyn FirewallRule>>) {
        let any = !rules.is_empty();
        *self.firewall.write() = rules.into();
        self.has_firewall.store(any, Ordering::Release);
    }

    fn change(&self, change: impl FnOnce(&mut Checks)) {
        change(&mut self.checks.write());
        self.in_use.store(true, Ordering::Release);
    }
}

/// The outcome of a check; that of one that panics is a refusal.
async fn contained<T>(
    id: &str,
    route: &str,
    check: impl Future<Output = Result<T, Box<Response>>>,
) -> Result<T, Box<Response>> {
    let checked = AssertUnwindSafe(check).catch_unwind().await;
    checked.unwrap_or_else(|_| {
        tracing::error!("A check of '/{id}/{route}' panicked");
        Err(refusal(StatusCode::INTERNAL_SERVER_ERROR))
    })
}

/// The principal, if there is an authenticator; or the response that refuses the request.
async fn check(
    authenticator: Option<&dyn Authenticator>,
    hook: Option<&Hook>,
    request: &Request,
) -> Result<Option<Principal>, Box<Response>> {
    let principal = match authenticator {
        Some(authenticator) => {
            let result = authenticator.authenticate(request).await;
            Some(result.map_err(|error| failed(&error))?.into_result()?)
        }
        None => None,
    };
    if let Some(hook) = hook {
        allow(hook, request, principal.as_ref()).await?;
    }
    Ok(principal)
}

async fn allow(
    hook: &Hook,
    request: &Request,
    principal: Option<&Principal>,
) -> Result<(), Box<Response>> {
    match hook(request, principal).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(refusal(StatusCode::FORBIDDEN)),
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &CheckError) -> Box<Response> {
    let text = error.to_string();
    Box::new(Response::text(StatusCode::INTERNAL_SERVER_ERROR, text))
}

fn refusal(status: StatusCode) -> Box<Response> {
    Box::new(Response::status(status))
}

fn key(id: &str, route: &str) -> String {
    format!("{id}/{route}")
}

/// `/<actor id>/<route name>` without needless slashes, as [`key`] makes it.
fn normalized(endpoint: &str) -> String {
    let endpoint = endpoint.trim_matches('/');
    match endpoint.split_once('/') {
        Some((id, route)) => key(id, route.trim_matches('/')),
        None => key(endpoint, ""),
    }
}

impl Runtime {
    /// Installs the authenticator of a realm, in place of the one it has. From then on, requests to the routes of the realm
    /// need a principal; before, all are let in without one.
    ///
    /// # Order
    /// Requests to the routes of one actor that are in the same realm reach their handlers in the order in which they arrived,
    /// however long the authenticator takes for each; it works on them at the same time. Requests to routes of another realm,
    /// of another actor or without a realm are not held up by them, also if they come by the same connection.
    ///
    /// Upstream keeps one order for all requests to an actor, so that one slow authenticator stalls all its routes.
    pub fn set_authenticator(
        &self,
        realm: impl Into<String>,
        authenticator: Arc<dyn Authenticator>,
    ) {
        let realm = realm.into();
        self.inner().gatekeeper.change(|checks| {
            checks.authenticators.insert(realm, authenticator);
        });
    }

    /// Removes the authenticator of a realm, which then lets everyone in. False if there was none.
    pub fn unset_authenticator(&self, realm: &str) -> bool {
        let mut removed = false;
        self.inner().gatekeeper.change(|checks| {
            removed = checks.authenticators.remove(realm).is_some();
        });
        removed
    }

    /// Installs what decides who may use the route `/<actor id>/<route name>`, in place of what the route has: false vetoes a
    /// request with 403, an error answers it with 500. It applies to whatever reaches the route, also to paths with a slash at
    /// the end and below it. `hook` gets the principal if the realm of the route has an authenticator.
    ///
    /// Requests keep their order as with [`set_authenticator`](Self::set_authenticator).
    ///
    /// ```
    /// use libprocess::{Runtime, RuntimeConfig};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = Runtime::start(RuntimeConfig::loopback())?;
    /// runtime.set_authorization("/logging/toggle", |_request, principal| {
    ///     let allowed = principal.is_some_and(|principal| principal.value.as_deref() == Some("ops"));
    ///     Box::pin(async move { Ok(allowed) })
    /// });
    /// # runtime.shutdown();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Upstream: `process::http::authorization::setCallbacks`, whose callbacks fail on a path with a slash at the end.
    pub fn set_authorization(
        &self,
        endpoint: &str,
        hook: impl Fn(&Request, Option<&Principal>) -> CheckFuture<'static, Result<bool, CheckError>>
        + Send
        + Sync
        + 'static,
    ) {
        let key = normalized(endpoint);
        self.inner().gatekeeper.change(|checks| {
            checks.hooks.insert(key, Arc::new(hook));
        });
    }

    /// Removes what decides who may use a route. False if there was nothing.
    pub fn unset_authorization(&self, endpoint: &str) -> bool {
        let mut removed = false;
        self.inner().gatekeeper.change(|checks| {
            removed = checks.hooks.remove(&normalized(endpoint)).is_some();
        });
        removed
    }

    /// Replaces the firewall: the first rule that refuses a request answers it. Without rules all requests pass.
    pub fn set_firewall(&self, rules: Vec<Arc<dyn FirewallRule>>) {
        self.inner().gatekeeper.set_firewall(rules);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_normalized() {
        let check = |endpoint: &str, expected: &str| assert_eq!(normalized(endpoint), expected);
        check("/logging/toggle", "logging/toggle");
        check("logging/toggle/", "logging/toggle");
        check("/slave(1)/api/v1/", "slave(1)/api/v1");
        check("/files", "files/");
        check("/files/", "files/");
        check("", "/");
    }
}
