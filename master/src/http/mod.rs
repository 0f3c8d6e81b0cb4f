//! The HTTP endpoints of the master.
//!
//! What reads the state is rendered from a snapshot on a blocking thread, so that it never delays
//! the master however large the cluster. Upstream: `src/master/http.cpp`.

pub(crate) mod allocator;
mod api;
pub mod cluster;
pub mod describe;
mod files;
mod maintenance;
mod operator;
pub mod operator_json;
mod quota;
mod roles;
mod scheduler;
mod summary;
mod tasks;
mod weights;

use std::sync::Arc;

use http::StatusCode;
use libprocess::{Context, Reply, Request, Response, RouteOptions};
use mesos::ids::FrameworkId;
use serde::Serialize;

use crate::actor::{MasterProcess, PublicSettings};
use crate::core::Leadership;
use crate::core::state::ClusterState;

/// What a read is rendered from.
pub struct View {
    /// The cluster at the moment of the request.
    pub state: ClusterState,
    /// What is public of the flags.
    pub settings: Arc<PublicSettings>,
}

/// Installs all routes.
pub fn install(ctx: &mut Context<MasterProcess>) {
    read(ctx, "/state", |view, _| json(&cluster::State(view)));
    read(ctx, "/state-summary", |view, _| {
        json(&summary::Summary::new(view))
    });
    read(ctx, "/slaves", |view, request| {
        let only = request.query.get("slave_id");
        json(&cluster::Slaves { view, only })
    });
    read(ctx, "/frameworks", |view, request| {
        let only = request.query.get("framework_id");
        json(&cluster::Frameworks { view, only })
    });
    read(ctx, "/tasks", tasks::render);
    read(ctx, "/roles", |view, _| json(&roles::Roles::new(view)));
    ctx.route("/health", RouteOptions::default(), |_, _, _| {
        Reply::from(Response::ok())
    });
    ctx.route("/flags", RouteOptions::default(), |master, _, request| {
        let settings = master.settings();
        Reply::from(Response::json_or_jsonp(
            cluster::Flags(&settings.flags),
            &request,
        ))
    });
    ctx.route("/redirect", RouteOptions::default(), redirect);
    ctx.route("/teardown", RouteOptions::default(), teardown);
    ctx.route("/quota", RouteOptions::default(), quota::handle);
    ctx.route("/weights", RouteOptions::default(), weights::handle);
    maintenance::install(ctx);
    ctx.route("/api/v1", RouteOptions::default(), operator::handle);
    ctx.route(
        "/api/v1/scheduler",
        RouteOptions::default(),
        scheduler::handle,
    );
    ctx.route("/", RouteOptions::default(), |_, _, _| {
        Reply::from(
            Response::text(StatusCode::OK, FRONT_PAGE)
                .header(http::header::CONTENT_TYPE, "text/html; charset=utf-8"),
        )
    });
    for name in ABSENT {
        ctx.route(name, RouteOptions::default(), |_, _, request| {
            let text = format!("{} is not supported in this release.", request.path);
            Reply::from(Response::text(StatusCode::NOT_IMPLEMENTED, text))
        });
    }
}

/// Endpoints of upstream whose features are not in this release.
const ABSENT: [&str; 5] = [
    "/reserve",
    "/unreserve",
    "/create-volumes",
    "/destroy-volumes",
    "/drain",
];

const FRONT_PAGE: &str = "<!DOCTYPE html>
<html lang=\"en\"><head><title>Mesos master</title></head><body>
<h1>Mesos master</h1>
<ul>
<li><a href=\"/state\">state</a></li>
<li><a href=\"/slaves\">agents</a></li>
<li><a href=\"/frameworks\">frameworks</a></li>
<li><a href=\"/tasks\">tasks</a></li>
<li><a href=\"/metrics/snapshot\">metrics</a></li>
<li><a href=\"/help\">all endpoints</a></li>
</ul></body></html>
";

/// What a render answers: JSON text, or a refusal.
pub type Rendered = Result<String, Refusal>;

/// A response that is given instead of the one that was asked for.
pub struct Refusal(Box<Response>);

impl Refusal {
    /// The response.
    #[must_use]
    pub fn response(self) -> Response {
        *self.0
    }
}

impl From<Response> for Refusal {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

/// Installs an endpoint that reads the state. On masters that do not lead it redirects.
fn read(
    ctx: &mut Context<MasterProcess>,
    name: &str,
    render: impl Fn(&View, &Request) -> Rendered + Copy + Send + 'static,
) {
    ctx.route(
        name,
        RouteOptions::default(),
        move |master, ctx, request| {
            if let Some(elsewhere) = elsewhere(master, &request) {
                return Reply::from(elsewhere);
            }
            let view = View {
                state: master.snapshot(),
                settings: master.settings(),
            };
            render_later(ctx, move || match render(&view, &request) {
                Ok(json) => Response::json_text_or_jsonp(json, &request),
                Err(refusal) => refusal.response(),
            })
        },
    );
}

/// Makes a response on a thread that may be kept busy.
pub(crate) fn render_later(
    ctx: &Context<MasterProcess>,
    render: impl FnOnce() -> Response + Send + 'static,
) -> Reply {
    let rendering = ctx.runtime().handle().spawn_blocking(render);
    Reply::later(async move {
        rendering
            .await
            .unwrap_or_else(|_| Response::status(StatusCode::INTERNAL_SERVER_ERROR))
    })
}

/// Serializes an answer.
pub(crate) fn json(value: &impl Serialize) -> Rendered {
    serde_json::to_string(value).map_err(|error| {
        Response::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into()
    })
}

/// Where to go instead, on a master that does not lead.
pub(crate) fn elsewhere(master: &MasterProcess, request: &Request) -> Option<Response> {
    elsewhere_for(master, &request.url())
}

fn elsewhere_for(master: &MasterProcess, url: &str) -> Option<Response> {
    (master.leadership() == Leadership::Follower).then(|| to_leader(master, url))
}

fn to_leader(master: &MasterProcess, url: &str) -> Response {
    let Some(leader) = &master.core().state().leader else {
        return Response::text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected");
    };
    let ip = leader
        .address
        .as_ref()
        .and_then(|address| address.ip.clone());
    let host = leader.hostname.clone().or(ip).unwrap_or_default();
    // Relative to the protocol: the leader may be reached by another one than this master.
    Response::redirect(format!("//{host}:{}{url}", leader.port))
}

/// 405 on an endpoint that changes things.
pub(crate) fn only_post(request: &Request) -> Response {
    Response::method_not_allowed(&["POST"], request.method.as_str())
}

fn redirect(master: &mut MasterProcess, _: &mut Context<MasterProcess>, request: Request) -> Reply {
    if request.path.trim_end_matches('/') != "/master/redirect" {
        return Reply::from(Response::status(StatusCode::NOT_FOUND));
    }
    Reply::from(to_leader(master, ""))
}

/// Ends a framework named in a form.
fn teardown(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    request: Request,
) -> Reply {
    if let Some(elsewhere) = elsewhere(master, &request) {
        return Reply::from(elsewhere);
    }
    if request.method != http::Method::POST {
        return Reply::from(only_post(&request));
    }
    let bad = |text: &str| Reply::from(Response::text(StatusCode::BAD_REQUEST, text));
    let body = String::from_utf8_lossy(&request.body);
    let Ok(form) = libprocess::Query::parse(&body) else {
        return bad("Unable to decode query string");
    };
    let Some(id) = form.get("frameworkId") else {
        return bad("Missing 'frameworkId' query parameter in the request body");
    };
    let id = FrameworkId::from(id);
    if master.turn(ctx, |core, fx| core.on_teardown(&id, fx)) {
        Reply::from(Response::ok())
    } else {
        bad("No framework found with specified ID")
    }
}
