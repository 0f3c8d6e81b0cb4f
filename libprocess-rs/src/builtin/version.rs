//! `/version`.

use serde_json::Value;

use crate::{Context, Help, Process, Response, RouteOptions};

/// There only if the configuration has something to tell.
pub(super) struct VersionEndpoint(pub(super) Value);

impl Process for VersionEndpoint {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let help = Help::tldr("The version of this program.")
            .description("The answer is a JSON object.")
            .description("")
            .description("Query parameters:")
            .description("")
            .description(">        jsonp=VALUE          Function to wrap the answer in")
            .authentication(false);
        let options = RouteOptions::with_help(help);
        ctx.route("/", options, |endpoint: &mut Self, _, request| {
            Response::json_or_jsonp(&endpoint.0, &request).into()
        });
    }
}
