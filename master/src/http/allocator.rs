//! The endpoints of the allocator, `/allocator/explain` and `/allocator/offer_constraints_debug`.
//!
//! Upstream: `src/master/allocator/mesos/hierarchical.cpp`.

use std::time::Duration;

use http::StatusCode;
use libprocess::{Context, Help, Reply, Request, Response, RouteOptions};
use mesos::ids::{AgentId, FrameworkId};
use serde::Deserialize;
use tokio::runtime::Handle;

use super::{Refusal, elsewhere_for, json};
use crate::allocator::{AllocatorError, Answer, DEFAULT_LIMIT, Question};
use crate::allocator_actor::AllocatorProcess;
use crate::allocator_actor::inquiries::{self, Unanswered};

/// How much may be asked for at once.
const LIMIT_MAX: usize = 1_000;

/// When to ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Installs all routes.
pub(crate) fn install(ctx: &mut Context<AllocatorProcess>) {
    let options = RouteOptions::with_help(explain_help());
    ctx.route("/explain", options, explain);
    let options = RouteOptions::with_help(exclusions_help());
    ctx.route("/offer_constraints_debug", options, exclusions);
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Text,
}

/// The query of `/allocator/explain`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    framework: Option<String>,
    role: Option<String>,
    agent: Option<String>,
    limit: Option<usize>,
    format: Option<Format>,
    /// Read by the response itself.
    #[serde(rename = "jsonp")]
    _jsonp: Option<String>,
}

impl ExplainQuery {
    fn read(request: &Request) -> Result<(Question, Format), Refusal> {
        let query: ExplainQuery = request.query_params().map_err(Response::from)?;
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let text = format!("'limit' is {limit} (allowed: 1 to {LIMIT_MAX})");
            return Err(Response::text(StatusCode::BAD_REQUEST, text).into());
        }
        let wants_text = request.accepts("text/plain") && !request.accepts("application/json");
        let format = if wants_text {
            Format::Text
        } else {
            Format::Json
        };
        let question = Question {
            framework: query.framework.map(FrameworkId::from),
            role: query.role,
            agent: query.agent.map(AgentId::from),
            limit,
        };
        Ok((question, query.format.unwrap_or(format)))
    }
}

fn explain(
    allocator: &mut AllocatorProcess,
    ctx: &mut Context<AllocatorProcess>,
    request: Request,
) -> Reply {
    if request.method != http::Method::GET {
        return Reply::from(Response::method_not_allowed(
            &["GET"],
            request.method.as_str(),
        ));
    }
    let (question, format) = match ExplainQuery::read(&request) {
        Ok(read) => read,
        Err(refusal) => return Reply::from(refusal.response()),
    };
    let (allocator_pid, runtime) = (ctx.pid(), ctx.runtime().handle());
    let master = allocator.master.clone();
    Reply::later(async move {
        if let Some(master) = master {
            let url = request.url();
            let redirected = master
                .ask(move |master, _| elsewhere_for(master, &url))
                .await;
            if let Ok(Some(elsewhere)) = redirected {
                return elsewhere;
            }
        }
        match inquiries::explain(&allocator_pid, question).await {
            Ok(answer) => rendered(&runtime, move || write(&answer, format, &request)).await,
            Err(error) => refuse(&error),
        }
    })
}

fn write(answer: &Answer, format: Format, request: &Request) -> Response {
    match format {
        Format::Text => Response::text(StatusCode::OK, answer.to_string()),
        Format::Json => match json(answer) {
            Ok(json) => Response::json_text_or_jsonp(json, request),
            Err(refusal) => refusal.response(),
        },
    }
}

fn exclusions(_: &mut AllocatorProcess, ctx: &mut Context<AllocatorProcess>, _: Request) -> Reply {
    let (allocator, runtime) = (ctx.pid(), ctx.runtime().handle());
    Reply::later(async move {
        match inquiries::exclusions(&allocator).await {
            Ok(exclusions) => rendered(&runtime, move || Response::json(exclusions)).await,
            Err(error) => refuse(&error),
        }
    })
}

/// Makes a response on a thread that may be kept busy.
async fn rendered(
    runtime: &Handle,
    render: impl FnOnce() -> Response + Send + 'static,
) -> Response {
    let rendering = runtime.spawn_blocking(render).await;
    rendering.unwrap_or_else(|_| Response::status(StatusCode::INTERNAL_SERVER_ERROR))
}

fn refuse(error: &Unanswered) -> Response {
    let text = error.to_string();
    match error {
        Unanswered::Question(
            AllocatorError::UnknownFramework(_)
            | AllocatorError::UnknownAgent(_)
            | AllocatorError::UnknownRole(_),
        ) => Response::text(StatusCode::NOT_FOUND, text),
        Unanswered::Question(_) => Response::text(StatusCode::BAD_REQUEST, text),
        Unanswered::Busy => Response::unavailable(text, RETRY_AFTER),
        Unanswered::TooMany(_) | Unanswered::Gone => {
            Response::text(StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

fn explain_help() -> Help {
    Help::tldr("Tells why frameworks are offered nothing.")
        .description(
            "Says for each framework, in each of its roles, what kept it from being offered",
        )
        .description(
            "each agent in the last round: refused until when, suppressed, quota, reserved for",
        )
        .description("another role, too little, constraints, capabilities, or who came first.")
        .description("")
        .description("Query parameters; each may be left out:")
        .description("")
        .description(">        framework=VALUE  The id of the only framework to tell about.")
        .description(">        role=VALUE       The only role to tell about.")
        .description(">        agent=VALUE      The id of the only agent to tell about.")
        .description(format!(
            ">        limit=VALUE      How many frameworks and agents are named at most \
             (default: {DEFAULT_LIMIT}; 1 to {LIMIT_MAX})."
        ))
        .description(">        format=VALUE     json (default), or text to be read by people.")
        .description(">        jsonp=VALUE      The function to wrap the JSON in.")
        .description("")
        .description("`truncated` in the answer tells whether anything was left out. An unknown id")
        .description("gives 404. A master that does not lead redirects to the one that does.")
        .authentication(true)
}

fn exclusions_help() -> Help {
    Help::tldr("Tells which agents frameworks exclude by their offer constraints.")
        .description("Lists for each framework, in each of its roles, the agents that its offer")
        .description("constraints exclude, and the roles in which it suppressed offers.")
        .authentication(true)
}
