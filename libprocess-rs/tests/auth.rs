//! Authentication, authorization and the firewall, as a client sees them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::{Answer, Client, Log, get, loopback, start, sync, until};
use hmac::{Hmac, KeyInit, Mac};
use libprocess::{
    Authentication, Authenticator, BasicAuthenticator, CheckError, CheckFuture, Clock,
    CombinedAuthenticator, Context, DisabledEndpoints, Instant, JwtAuthenticator, Principal,
    Process, Reply, Request, Response, RouteOptions, Runtime, RuntimeConfig,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

const HOST: &str = "Host: x\r\n";

/// Routes of two realms and of none, each of which answers with the principal and writes down the request.
struct Guarded {
    log: Log,
}

impl Process for Guarded {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let realm = |name: &str| RouteOptions::default().realm(name);
        ctx.route("/read", realm("readonly"), Self::answer);
        ctx.route("/read/{what}", realm("readonly"), Self::answer);
        ctx.route("/write", realm("readwrite"), Self::answer);
        ctx.route("/open", RouteOptions::default(), Self::answer);
        ctx.route("/", realm("readonly"), Self::answer);
    }
}

impl Guarded {
    fn answer(&mut self, _: &mut Context<Self>, request: Request) -> Reply {
        self.log.add(request.query.get("n").unwrap_or("-"));
        let principal = request.principal.map(|principal| principal.to_string());
        let text = principal.unwrap_or_else(|| "nobody".to_owned());
        Response::text(http::StatusCode::OK, text).into()
    }
}

fn guarded(config: RuntimeConfig) -> (common::Guard, Log) {
    let log = Log::default();
    let runtime = start(RuntimeConfig {
        delegate: Some("guarded".to_owned()),
        ..config
    });
    let process = Guarded { log: log.clone() };
    sync(&runtime.spawn("guarded", process).unwrap());
    (runtime, log)
}

fn fetch(runtime: &Runtime, target: &str, headers: &str) -> Answer {
    let mut client = Client::connect(runtime.address());
    client.send(format!("GET {target} HTTP/1.1\r\n{HOST}{headers}\r\n"));
    client.response()
}

fn basic(credentials: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(credentials))
}

fn bearer(header: &str, payload: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let text = format!("{}.{}", encode(header), encode(payload));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"secret").unwrap();
    mac.update(text.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("Authorization: Bearer {text}.{signature}\r\n")
}

/// Code, `WWW-Authenticate` and body.
fn outcome(answer: &Answer) -> (u16, Option<&str>, String) {
    (
        answer.code(),
        answer.header("www-authenticate"),
        answer.text(),
    )
}

#[track_caller]
fn expect(
    runtime: &Runtime,
    target: &str,
    headers: &str,
    (code, challenge, body): (u16, Option<&str>, &str),
) {
    let answer = fetch(runtime, target, headers);
    let expected = (code, challenge, body.to_owned());
    assert_eq!(outcome(&answer), expected, "{target} {headers}");
}

#[test]
fn a_realm_without_authenticator_lets_everyone_in() {
    let (runtime, _) = guarded(loopback());
    let me = basic("me:pass");
    expect(&runtime, "/read", "", (200, None, "nobody"));
    expect(&runtime, "/read", &me, (200, None, "nobody"));
    let authenticator = BasicAuthenticator::new("readonly", [("me", "pass")]);
    runtime.set_authenticator("readonly", Arc::new(authenticator));
    expect(&runtime, "/read", &me, (200, None, "me"));
    expect(&runtime, "/write", &me, (200, None, "nobody"));
    expect(&runtime, "/open", &me, (200, None, "nobody"));
    assert!(runtime.unset_authenticator("readonly"));
    assert!(!runtime.unset_authenticator("readonly"));
    expect(&runtime, "/read", "", (200, None, "nobody"));
}

#[test]
fn basic_authentication() {
    let (runtime, log) = guarded(loopback());
    let credentials = [("me", "pass"), ("you", "a:b")];
    let authenticator = BasicAuthenticator::new("readonly", credentials);
    runtime.set_authenticator("readonly", Arc::new(authenticator));
    let refused = (401, Some("Basic realm=\"readonly\""), "401 Unauthorized.");
    expect(&runtime, "/read", "", refused);
    expect(&runtime, "/read/", "", refused);
    expect(&runtime, "/read/x/y", "", refused);
    expect(&runtime, "/", "", refused);
    expect(&runtime, "/read", &basic("me:wrong"), refused);
    expect(&runtime, "/read", &basic("them:pass"), refused);
    expect(&runtime, "/read", "Authorization: Basic\r\n", refused);
    expect(&runtime, "/read", "Authorization: \u{e9}\r\n", refused);
    assert!(log.lines().is_empty());
    expect(&runtime, "/read", &basic("me:pass"), (200, None, "me"));
    expect(&runtime, "/read/x", &basic("you:a:b"), (200, None, "you"));
    // The last one counts.
    let two = basic("them:x") + &basic("me:pass");
    expect(&runtime, "/read", &two, (200, None, "me"));
}

#[test]
fn head_of_a_refusal_has_no_body() {
    let (runtime, _) = guarded(loopback());
    let authenticator = BasicAuthenticator::new("readonly", [("me", "pass")]);
    runtime.set_authenticator("readonly", Arc::new(authenticator));
    let mut client = Client::connect(runtime.address());
    client.send(format!("HEAD /read HTTP/1.1\r\n{HOST}\r\n"));
    let answer = client.response_to("HEAD");
    assert_eq!(answer.code(), 401);
    assert_eq!(answer.header("content-length"), Some("17"));
    client.send(format!("GET /open HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(client.response().text(), "nobody");
}

#[test]
fn bearer_tokens() {
    let clock = Clock::paused_at(Instant::from_unix(Duration::from_secs(1000)));
    let (runtime, _) = guarded(RuntimeConfig {
        clock: clock.clone(),
        ..loopback()
    });
    let authenticator = JwtAuthenticator::new("r", "secret", clock.clone());
    runtime.set_authenticator("readonly", Arc::new(authenticator));
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    expect(
        &runtime,
        "/read",
        "",
        (401, Some("Bearer realm=\"r\""), "401 Unauthorized."),
    );
    let refused = |headers: &str, description: &str| {
        let challenge = format!(
            "Bearer realm=\"r\", error=\"invalid_token\", error_description=\"{description}\""
        );
        let expected = (401, Some(challenge.as_str()), "401 Unauthorized.");
        expect(&runtime, "/read", headers, expected);
    };
    refused("Authorization: x\r\n", "Malformed 'Authorization' header");
    refused(&basic("me:pass"), "Scheme is not 'Bearer'");
    refused(
        &bearer(r#"{"alg":"none"}"#, r#"{"a":1}"#),
        "Invalid JWT: 'alg' is not 'HS256'",
    );
    refused(
        &bearer(r#"{"alg":"HS256","crit":["exp"]}"#, r#"{"a":1}"#),
        "Invalid JWT: 'crit' is not supported",
    );
    refused(
        &bearer(header, r#"{"exp":999}"#),
        "Invalid JWT: expired: exp(999) < now(1000)",
    );
    let token = bearer(header, r#"{"sub":"me","n":[1,"x"],"exp":1000}"#);
    let principal = r#"{"claims":{"exp":"1000","n":"[1,\"x\"]","sub":"me"}}"#;
    expect(&runtime, "/read", &token, (200, None, principal));
    clock.advance(Duration::from_secs(1));
    refused(&token, "Invalid JWT: expired: exp(1000) < now(1001)");
}

#[test]
fn several_schemes_at_once() {
    let (runtime, _) = guarded(loopback());
    let schemes: [Arc<dyn Authenticator>; 2] = [
        Arc::new(BasicAuthenticator::new("r", [("me", "pass")])),
        Arc::new(JwtAuthenticator::new("r", "secret", Clock::system())),
    ];
    let combined = CombinedAuthenticator::new(schemes);
    runtime.set_authenticator("readonly", Arc::new(combined));
    let header = r#"{"alg":"HS256"}"#;
    expect(&runtime, "/read", &basic("me:pass"), (200, None, "me"));
    expect(
        &runtime,
        "/read",
        &bearer(header, r#"{"a":"b"}"#),
        (200, None, r#"{"claims":{"a":"b"}}"#),
    );
    expect(
        &runtime,
        "/read",
        "",
        (
            401,
            Some("Basic realm=\"r\",Bearer realm=\"r\""),
            "\"Basic\" authenticator returned:\n401 Unauthorized.\n\n\
             \"Bearer\" authenticator returned:\n401 Unauthorized.",
        ),
    );
}

/// Does what the header `X-Do` says; `wait` until the test lets it go on.
#[derive(Default)]
struct Scripted {
    waiting: Mutex<Vec<(String, oneshot::Sender<()>)>>,
}

impl Scripted {
    fn install(runtime: &Runtime, realm: &str) -> Arc<Self> {
        let scripted = Arc::new(Self::default());
        runtime.set_authenticator(realm, scripted.clone());
        scripted
    }

    fn wait_for(&self, count: usize) {
        until("all requests wait", || self.waiting.lock().len() == count);
    }

    fn let_go(&self, n: &str) {
        let mut waiting = self.waiting.lock();
        let at = waiting.iter().position(|(name, _)| name == n).unwrap();
        waiting.remove(at).1.send(()).unwrap();
    }
}

impl Authenticator for Scripted {
    fn scheme(&self) -> String {
        "Scripted".to_owned()
    }

    fn authenticate<'a>(
        &'a self,
        request: &'a Request,
    ) -> CheckFuture<'a, Result<Authentication, CheckError>> {
        Box::pin(async move {
            match request.header("X-Do").unwrap_or_default() {
                "wait" => {
                    let (go, gone) = oneshot::channel();
                    let n = request.query.get("n").unwrap_or("-").to_owned();
                    self.waiting.lock().push((n, go));
                    gone.await.map_err(|_| CheckError::new("dropped"))?;
                    Ok(Authentication::Authenticated(Principal::named("me")))
                }
                "forbid" => Ok(Authentication::forbidden()),
                "fail" => Err(CheckError::new("out of order")),
                "panic" => panic!("as told"),
                "body" => {
                    let body = String::from_utf8_lossy(&request.body);
                    Ok(Authentication::Authenticated(Principal::named(body)))
                }
                _ => Ok(Authentication::Authenticated(Principal::default())),
            }
        })
    }
}

#[test]
fn other_results_than_a_principal() {
    let (runtime, log) = guarded(loopback());
    Scripted::install(&runtime, "readonly");
    let check = |what: &str, code: u16, body: &str| {
        let header = format!("X-Do: {what}\r\n");
        expect(&runtime, "/read", &header, (code, None, body));
    };
    check("forbid", 403, "403 Forbidden.");
    check("fail", 500, "out of order");
    check("panic", 500, "500 Internal Server Error.");
    check(
        "nothing",
        500,
        "The authenticator returned a principal with neither a value nor a claim",
    );
    assert!(log.lines().is_empty());
    expect(&runtime, "/open", "X-Do: fail\r\n", (200, None, "nobody"));
    // Authenticators see the whole request.
    let mut client = Client::connect(runtime.address());
    client.send("POST /read HTTP/1.1\r\nHost: x\r\nX-Do: body\r\nContent-Length: 2\r\n\r\nme");
    assert_eq!(client.response().text(), "me");
}

fn ask(runtime: &Runtime, target: &str, n: usize, what: &str) -> Client {
    let client = Client::connect(runtime.address());
    ask_by(client, target, n, what)
}

fn ask_by(mut client: Client, target: &str, n: usize, what: &str) -> Client {
    client.send(format!(
        "GET {target}?n={n} HTTP/1.1\r\n{HOST}X-Do: {what}\r\n\r\n"
    ));
    client
}

#[test]
fn requests_keep_their_order_however_long_authentication_takes() {
    let (runtime, log) = guarded(loopback());
    let scripted = Scripted::install(&runtime, "readonly");
    let mut clients = Vec::new();
    for n in 0..4 {
        clients.push(ask(&runtime, "/read", n, "wait"));
        scripted.wait_for(n + 1);
    }
    for n in ["3", "1", "2"] {
        scripted.let_go(n);
    }
    // Routes that have nothing to do with it do not wait.
    expect(&runtime, "/open?n=open", "", (200, None, "nobody"));
    expect(&runtime, "/write?n=write", "", (200, None, "nobody"));
    log.wait_for(&["open", "write"]);
    scripted.let_go("0");
    for client in &mut clients {
        assert_eq!(client.response().text(), "me");
    }
    log.wait_for(&["open", "write", "0", "1", "2", "3"]);
}

#[test]
fn a_client_that_leaves_does_not_hold_up_the_others() {
    let (runtime, log) = guarded(loopback());
    let scripted = Scripted::install(&runtime, "readonly");
    let mut first = ask(&runtime, "/read", 1, "wait");
    scripted.wait_for(1);
    let second = ask(&runtime, "/open", 2, "");
    second.stream.peek(&mut [0]).unwrap();
    let second = ask_by(second, "/read", 3, "wait");
    scripted.wait_for(2);
    let mut third = ask(&runtime, "/read", 5, "wait");
    scripted.wait_for(3);
    // Closing with unread data resets the connection.
    drop(second);
    scripted.let_go("5");
    scripted.let_go("1");
    assert_eq!(first.response().text(), "me");
    assert_eq!(third.response().text(), "me");
    assert_eq!(log.lines(), ["2", "1", "5"]);
}

#[test]
fn authorization_hooks_may_veto() {
    let (runtime, _) = guarded(loopback());
    let authenticator = BasicAuthenticator::new("readonly", [("me", "x"), ("you", "x")]);
    runtime.set_authenticator("readonly", Arc::new(authenticator));
    runtime.set_authorization("/guarded/read/", |request, principal| {
        let principal = principal.unwrap().to_string();
        let failing = request.query.get("fail").is_some();
        Box::pin(async move {
            match failing {
                true => Err(CheckError::new("no idea")),
                false => Ok(principal == "me"),
            }
        })
    });
    let me = basic("me:x");
    let you = basic("you:x");
    let vetoed = (403, None, "403 Forbidden.");
    for target in [
        "/read",
        "/read/",
        "/guarded/read",
        "/guarded//read//",
        "/%67uarded/read",
    ] {
        expect(&runtime, target, &me, (200, None, "me"));
        expect(&runtime, target, &you, vetoed);
    }
    // Another route has its own.
    expect(&runtime, "/read/x", &you, (200, None, "you"));
    runtime.set_authorization("/guarded/read/{what}", |_, _| {
        Box::pin(std::future::ready(Ok(false)))
    });
    expect(&runtime, "/read/x", &me, vetoed);
    expect(&runtime, "/read?fail", &me, (500, None, "no idea"));
    // Routes without a realm may have one too.
    runtime.set_authorization("guarded/open", |_, principal| {
        assert!(principal.is_none());
        Box::pin(std::future::ready(Ok(false)))
    });
    expect(&runtime, "/open", &me, vetoed);
    // Who may not see metrics may not see them in any form.
    assert_eq!(get(&runtime, "/metrics").code(), 200);
    runtime.set_authorization("/metrics/snapshot", |request, _| {
        assert!(request.query.get("panic").is_none());
        Box::pin(std::future::ready(Ok(false)))
    });
    assert_eq!(get(&runtime, "/metrics").code(), 403);
    assert_eq!(get(&runtime, "/metrics?panic").code(), 500);
    assert_eq!(get(&runtime, "/metrics/snapshot").code(), 403);
    assert!(runtime.unset_authorization("/guarded/open/"));
    assert!(!runtime.unset_authorization("/guarded/open"));
    expect(&runtime, "/open", &me, (200, None, "nobody"));
}

#[test]
fn built_in_endpoints_have_realms() {
    let (runtime, _) = guarded(RuntimeConfig {
        readonly_realm: Some("readonly".to_owned()),
        readwrite_realm: Some("readwrite".to_owned()),
        ..loopback()
    });
    for realm in ["readonly", "readwrite"] {
        let authenticator = BasicAuthenticator::new(realm, [("me", realm)]);
        runtime.set_authenticator(realm, Arc::new(authenticator));
    }
    let check = |target: &str, headers: &str, code: u16| {
        let answer = fetch(&runtime, target, headers);
        assert_eq!(answer.code(), code, "{target} {headers}");
    };
    check("/metrics/snapshot", "", 401);
    check("/metrics/snapshot", &basic("me:readonly"), 200);
    check("/logging/toggle", &basic("me:readonly"), 401);
    check("/logging/toggle", &basic("me:readwrite"), 200);
    check("/system/stats.json", "", 200);
    check("/help", "", 200);
}

#[test]
fn the_firewall_refuses_endpoints_however_they_are_spelled() {
    let rule = DisabledEndpoints::new(["/read", "/metrics/snapshot"]);
    let (runtime, log) = guarded(RuntimeConfig {
        firewall: vec![Arc::new(rule)],
        ..loopback()
    });
    let check = |target: &str, named: Option<&str>| {
        let answer = fetch(&runtime, target, "");
        let text = named.map(|named| format!("Endpoint '{named}' is disabled"));
        assert_eq!(answer.code() == 403, named.is_some(), "{target}");
        if let Some(text) = text {
            assert_eq!(answer.text(), text, "{target}");
        }
    };
    check("/read", Some("/guarded/read"));
    check("/guarded/read", Some("/guarded/read"));
    check("/guarded/read/", Some("/guarded/read"));
    check("/guarded//read/?n=1", Some("/guarded/read"));
    check("/%67uarded/re%61d", Some("/guarded/read"));
    check("/metrics/snapshot/", Some("/metrics/snapshot"));
    check("/metrics/snapshot/x", Some("/metrics/snapshot/x"));
    assert!(log.lines().is_empty());
    // Another route, though its path begins alike.
    check("/read/x", None);
    check("/open", None);
    // The same metrics in another form.
    check("/metrics", Some("/metrics/snapshot"));
    runtime.set_firewall(Vec::new());
    assert_eq!(get(&runtime, "/read").code(), 200);
    let all: Arc<dyn libprocess::FirewallRule> = Arc::new(NoAgents);
    runtime.set_firewall(vec![all]);
    expect(&runtime, "/nobody", "User-Agent: x\r\n", (403, None, "x"));
    expect(&runtime, "/open", "", (200, None, "nobody"));
    // Messages do not pass the firewall, as upstream.
    let mut client = Client::connect(runtime.address());
    client.send("POST /guarded/x HTTP/1.1\r\nUser-Agent: libprocess/a@1.2.3.4:5\r\n\r\n");
    assert_eq!(client.response().code(), 202);
}

/// A rule of another crate.
struct NoAgents;

impl libprocess::FirewallRule for NoAgents {
    fn refuse(&self, request: &Request, _: &libprocess::Endpoint) -> Option<Response> {
        let agent = request.header("User-Agent")?;
        Some(Response::text(http::StatusCode::FORBIDDEN, agent))
    }
}
