//! `/profiler/start` and `/profiler/stop`, which answer as upstream does when it is built without gperftools.

use http::StatusCode;

use super::readwrite;
use crate::{Context, Help, Process, Reply, Request, Response};

pub(super) struct ProfilerEndpoint;

impl Process for ProfilerEndpoint {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        for (name, tldr) in [
            ("/start", "Starts profiling."),
            ("/stop", "Stops profiling."),
        ] {
            let help = Help::tldr(tldr)
                .description("There is no profiler in this program: the answer is always 400.")
                .description("Use one from outside, such as perf.")
                .authentication(true);
            ctx.route(name, readwrite(ctx, help), refuse);
        }
    }
}

fn refuse(_: &mut ProfilerEndpoint, _: &mut Context<ProfilerEndpoint>, _: Request) -> Reply {
    let text = "There is no profiler in this program. Use one from outside, such as perf.\n";
    Response::text(StatusCode::BAD_REQUEST, text).into()
}
