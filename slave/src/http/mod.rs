//! The HTTP endpoints of the agent.
//!
//! Reads are answered from the newest published [`Snapshot`], away from the actor's turns.
//!
//! Upstream: `src/slave/http.cpp`.

mod containers;
mod metrics;
mod operator;
mod state;

use std::sync::Arc;

use ::http::{Method, StatusCode};
use libprocess::{Context, Process, Reply, Request, Response, RouteOptions};
use mesos::files::FilesHandle;
use mesos::model;
use serde::Serialize;

use crate::actor::{AgentActor, Published};
use crate::containerizer::Containerizer;
use crate::core::Snapshot;

pub(crate) use metrics::register as register_metrics;

/// What the endpoints show beside the [`Snapshot`].
pub(crate) struct HttpState {
    /// The newest state of the agent.
    pub(crate) published: Published,
    /// Flags with a value, by name.
    pub(crate) flags: Vec<(&'static str, String)>,
    /// When the agent was started, in seconds since the epoch.
    pub(crate) start_time: f64,
    /// Where the agent listens.
    pub(crate) pid: String,
    /// `--log_dir`
    pub(crate) log_dir: Option<String>,
    /// `--external_log_file`
    pub(crate) external_log_file: Option<String>,
    /// Files of sandboxes.
    pub(crate) files: FilesHandle,
    /// Asked for usage and status.
    pub(crate) containerizer: Arc<dyn Containerizer>,
    /// Metrics, for the operator API.
    pub(crate) metrics: libprocess::Metrics,
}

impl HttpState {
    /// The newest state of the agent.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.published.read().clone()
    }
}

/// Installs all routes of the agent actor.
pub(crate) fn install(ctx: &mut Context<AgentActor>, state: &Arc<HttpState>) {
    let options = RouteOptions::default;
    ctx.route("/health", options(), |_, _, _| Response::ok().into());
    let http = state.clone();
    ctx.route("/flags", options(), move |_, _, request| {
        Response::json_or_jsonp(
            Flags {
                flags: model::flags(&http.flags),
            },
            &request,
        )
        .into()
    });
    let http = state.clone();
    ctx.route("/state", options(), move |_, ctx, request| {
        let http = http.clone();
        off_the_actor(ctx, move || {
            let snapshot = http.snapshot();
            Response::json_or_jsonp(
                state::State {
                    http: &http,
                    snapshot: &snapshot,
                },
                &request,
            )
        })
    });
    let http = state.clone();
    ctx.route("/monitor/statistics", options(), move |_, _, request| {
        only(&request, "/monitor/statistics")
            .unwrap_or_else(|| containers::statistics(http.clone(), request))
    });
    let http = state.clone();
    ctx.route("/containers", options(), move |_, _, request| {
        containers::containers(http.clone(), request)
    });
    ctx.route("/containerizer/debug", options(), |_, _, request| {
        // Nothing that the posix launcher does takes long enough to be pending.
        Response::json_or_jsonp(Pending { pending: [] }, &request).into()
    });
    let http = state.clone();
    ctx.route("/api/v1", options(), move |_, ctx, request| {
        operator::serve(&http, ctx, request)
    });
    for later in ["/api/v1/executor", "/api/v1/resource_provider"] {
        ctx.route(later, options(), |_, _, request| not_implemented(&request));
    }
}

#[derive(Serialize)]
struct Flags<T> {
    flags: T,
}

#[derive(Serialize)]
struct Pending {
    pending: [(); 0],
}

/// A request for something below a route that has nothing below it.
fn only(request: &Request, route: &str) -> Option<Reply> {
    let exact = request.path.ends_with(route);
    (!exact).then(|| Response::status(StatusCode::NOT_FOUND).into())
}

fn not_implemented(request: &Request) -> Reply {
    if request.method == Method::POST {
        let text = "This API is not served by this agent yet.";
        Response::text(StatusCode::NOT_IMPLEMENTED, text).into()
    } else {
        Response::method_not_allowed(&["POST"], request.method.as_str()).into()
    }
}

/// Answers from a thread where the answer may take its time.
fn off_the_actor<P: Process>(
    ctx: &Context<P>,
    work: impl FnOnce() -> Response + Send + 'static,
) -> Reply {
    let job = ctx.runtime().handle().spawn_blocking(work);
    Reply::later(async move {
        job.await
            .unwrap_or_else(|_| Response::status(StatusCode::INTERNAL_SERVER_ERROR))
    })
}
