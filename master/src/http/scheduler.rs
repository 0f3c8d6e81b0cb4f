//! The scheduler API, `/api/v1/scheduler`. Upstream: `scheduler` of `src/master/http.cpp`.

use http::StatusCode;
use libprocess::{Context, Reply, Request, Response};
use mesos::convert;
use mesos::ids::FrameworkId;
use mesos::proto::scheduler::{Call, call};
use mesos::proto::v1;
use uuid::Uuid;

use super::{Refusal, api};
use crate::actor::MasterProcess;
use crate::core::effects::StreamId;
use crate::core::state::Connection;
use crate::core::validation;

const STREAM_ID: &str = "Mesos-Stream-Id";

/// Answers a call.
pub(super) fn handle(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    request: Request,
) -> Reply {
    match respond(master, ctx, &request) {
        Ok(response) => Reply::from(response),
        Err(refusal) => Reply::from(refusal.response()),
    }
}

fn respond(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    request: &Request,
) -> Result<Response, Refusal> {
    api::admit(master, request)?;
    let (call, _) = api::parse::<v1::scheduler::Call>(request)?;
    let call = convert::scheduler_call_to_v0(&call)
        .map_err(|error| api::bad_request(error.to_string()))?;
    validation::scheduler_call::validate(&call).map_err(|error| {
        api::bad_request(format!("Failed to validate scheduler::Call: {error}"))
    })?;
    match call.r#type() {
        call::Type::Subscribe => subscribe(master, ctx, request, call),
        kind => {
            if kind == call::Type::ReconcileOperations {
                api::negotiate(request)?;
            }
            make_call(master, ctx, request, call)
        }
    }
}

fn subscribe(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    request: &Request,
    call: Call,
) -> Result<Response, Refusal> {
    let accept = api::negotiate(request)?;
    if request.header(STREAM_ID).is_some() {
        return Err(api::bad_request(
            "Subscribe calls should not include the 'Mesos-Stream-Id' header",
        ));
    }
    let Some(subscribe) = call.subscribe else {
        return Err(api::bad_request("Expecting 'subscribe' to be present"));
    };
    let stream = StreamId(Uuid::new_v4());
    let (response, writer) = Response::stream(accept.as_str());
    master.open_stream(stream, accept, writer, ctx);
    master.turn(ctx, |core, fx| {
        core.on_subscribe(Connection::Http(stream), subscribe, fx);
    });
    Ok(response.header(
        http::HeaderName::from_static("mesos-stream-id"),
        stream.to_string(),
    ))
}

fn make_call(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    request: &Request,
    call: Call,
) -> Result<Response, Refusal> {
    let Some(id) = call.framework_id.as_ref().map(FrameworkId::from) else {
        return Err(api::bad_request("Expecting 'framework_id' to be present"));
    };
    check_stream(master, &id, request)?;
    let synchronous = call.r#type() == call::Type::UpdateFramework;
    let result = master.turn(ctx, |core, fx| core.on_call(&id, call, fx));
    match result {
        Err(error) => Err(api::bad_request(error)),
        Ok(()) if synchronous => Ok(Response::ok()),
        Ok(()) => Ok(Response::ok().with_status(StatusCode::ACCEPTED)),
    }
}

/// Checks that the call comes from whoever holds the framework's stream.
fn check_stream(
    master: &MasterProcess,
    id: &FrameworkId,
    request: &Request,
) -> Result<(), Refusal> {
    let forbidden = |text: &str| Refusal::from(Response::text(StatusCode::FORBIDDEN, text));
    let Some(framework) = master.core().state().frameworks.get(id) else {
        return Err(api::bad_request("Framework cannot be found"));
    };
    let stream = match framework.connection() {
        None => return Err(forbidden("Framework is not subscribed")),
        Some(Connection::Pid(_)) => {
            return Err(forbidden(
                "Framework is not connected via HTTP: it uses the scheduler driver",
            ));
        }
        Some(Connection::Http(stream)) => stream.to_string(),
    };
    match request.header(STREAM_ID) {
        None => Err(api::bad_request(
            "All non-subscribe calls should include the 'Mesos-Stream-Id' header",
        )),
        Some(given) if given != stream => Err(api::bad_request(
            "The stream ID included in this request didn't match the stream ID currently associated with this framework",
        )),
        Some(_) => Ok(()),
    }
}
