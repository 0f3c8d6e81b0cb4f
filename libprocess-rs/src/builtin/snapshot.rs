//! `/metrics/snapshot`.

use http::StatusCode;

use crate::metrics::snapshot_json;
use crate::{Context, Help, Process, Reply, Request, Response, RouteOptions, duration};

pub(super) struct MetricsEndpoint;

impl Process for MetricsEndpoint {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let help = Help::tldr("All metrics and their current values.")
            .description("The answer is one JSON object: a key per metric, each value a double.")
            .description("A metric without a value is left out.")
            .description("")
            .description("Query parameters:")
            .description("")
            .description(">        timeout=VALUE        Duration to wait for values (e.g., 5secs)")
            .description(">        jsonp=VALUE          Function to wrap the answer in")
            .authentication(true);
        ctx.route("/snapshot", RouteOptions::with_help(help), snapshot);
    }
}

fn snapshot(
    _: &mut MetricsEndpoint,
    ctx: &mut Context<MetricsEndpoint>,
    request: Request,
) -> Reply {
    if let Some(timeout) = request.query.get("timeout")
        && let Err(error) = duration::parse(timeout)
    {
        let text = format!("Invalid timeout: {error}.\n");
        return Response::text(StatusCode::BAD_REQUEST, text).into();
    }
    let json = snapshot_json(&ctx.runtime().metrics().snapshot());
    Response::json_text_or_jsonp(json, &request).into()
}
