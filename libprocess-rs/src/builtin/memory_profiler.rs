//! `/memory-profiler/...`, which answer as upstream does in a program without jemalloc.

use http::StatusCode;
use serde::Serialize;

use super::readwrite;
use crate::{Context, Help, Process, Reply, Request, Response};

/// Said of a file that was never made.
const NOT_YET: &str = "Not yet generated";

/// There only if the configuration has it so.
pub(super) struct MemoryProfilerEndpoint;

impl Process for MemoryProfilerEndpoint {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        for (name, tldr) in [
            ("/start", "Starts to collect stack traces of allocations."),
            ("/stop", "Stops that and writes what was collected."),
            ("/statistics", "Statistics of the allocator."),
        ] {
            let help = Help::tldr(tldr)
                .description("This needs jemalloc, which is not in this program: the answer is")
                .description("always 400. Heap profilers from outside, such as heaptrack, do not")
                .description("need it.")
                .authentication(true);
            ctx.route(name, readwrite(ctx, help), refuse);
        }
        for (name, tldr) in [
            ("/download/raw", "The profile of the memory."),
            ("/download/text", "The profile of the memory as text."),
            ("/download/graph", "The profile of the memory as a graph."),
        ] {
            let help = Help::tldr(tldr)
                .description("There is one after a run of the profiler, which needs jemalloc; that")
                .description("is not in this program, so that the answer is always 400.")
                .description("")
                .description("Query parameters:")
                .description("")
                .description(">        id=VALUE             Number of the run")
                .authentication(true);
            ctx.route(name, readwrite(ctx, help), download);
        }
        let help = Help::tldr("The state of the memory profiler.")
            .description("The answer is a JSON object that tells whether the program uses")
            .description("jemalloc and so has a memory profiler, and about its last run.")
            .authentication(true);
        ctx.route("/state", readwrite(ctx, help), state);
    }
}

type Endpoint = MemoryProfilerEndpoint;

fn refuse(_: &mut Endpoint, _: &mut Context<Endpoint>, _: Request) -> Reply {
    let text = "This program does not use jemalloc, so that its memory cannot be profiled from inside. \
                Use a heap profiler from outside, such as heaptrack.\n";
    Response::text(StatusCode::BAD_REQUEST, text).into()
}

fn download(_: &mut Endpoint, _: &mut Context<Endpoint>, request: Request) -> Reply {
    let id = request.query.get("id");
    let text = match id.filter(|id| id.parse::<i64>().is_err()) {
        Some(id) => format!("Invalid parameter 'id': '{id}' is not a number.\n"),
        None => format!("There is no profile: {NOT_YET}.\n"),
    };
    Response::text(StatusCode::BAD_REQUEST, text).into()
}

/// In the order of upstream's keys.
#[derive(Serialize)]
struct State {
    memory_profiler: Profiler,
}

#[derive(Serialize)]
struct Profiler {
    current_run: Run,
    jemalloc_detected: bool,
    tmp_dir: &'static str,
}

#[derive(Serialize)]
struct Run {
    id: Option<i64>,
}

fn state(_: &mut Endpoint, _: &mut Context<Endpoint>, _: Request) -> Reply {
    let memory_profiler = Profiler {
        current_run: Run { id: None },
        jemalloc_detected: false,
        tmp_dir: NOT_YET,
    };
    Response::json(State { memory_profiler }).into()
}
