//! The operator API, `/api/v1`. Upstream: `api` of `src/master/http.cpp`.

use std::time::Duration;

use http::StatusCode;
use libprocess::{Context, Reply, Request, Response};
use mesos::convert;
use mesos::ids::FrameworkId;
use mesos::media::ContentType;
use mesos::proto::master::{Call, Response as Answer, call, response};
use mesos::proto::{self, v1};
use mesos::version;
use prost::Message;

use super::operator_json::{self, Part};
use super::roles::Roles;
use super::{Refusal, View, api, describe, files, maintenance, quota, render_later, weights};
use crate::actor::MasterProcess;

/// Answers a call.
pub(super) fn handle(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    request: Request,
) -> Reply {
    match respond(master, ctx, &request) {
        Ok(reply) => reply,
        Err(refusal) => Reply::from(refusal.response()),
    }
}

fn respond(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    request: &Request,
) -> Result<Reply, Refusal> {
    api::admit(master, request)?;
    let (call, _) = api::parse::<v1::master::Call>(request)?;
    let call =
        convert::master_call_to_v0(&call).map_err(|error| api::bad_request(error.to_string()))?;
    validate(&call)
        .map_err(|error| api::bad_request(format!("Failed to validate master::Call: {error}")))?;
    let accept = api::negotiate(request)?;
    let kind = call.r#type();
    if let Some(part) = part_of(kind) {
        let state = master.snapshot();
        return Ok(render_later(ctx, move || part_answer(part, &state, accept)));
    }
    if let Some(reply) = files::respond(master, &call, accept) {
        return Ok(reply);
    }
    if let Some(reply) = quota::respond(master, ctx, &call, accept) {
        return reply;
    }
    if let Some(reply) = weights::respond(master, ctx, &call, accept) {
        return reply;
    }
    if let Some(reply) = maintenance::respond(master, ctx, &call, accept)? {
        return Ok(reply);
    }
    match kind {
        call::Type::SetLoggingLevel => set_logging_level(master, ctx, &call),
        call::Type::GetLoggingLevel => {
            let level = master.logging().map_or(0, |logging| logging.level());
            let answer = Answer {
                r#type: Some(response::Type::GetLoggingLevel as i32),
                get_logging_level: Some(response::GetLoggingLevel { level }),
                ..Default::default()
            };
            Ok(Reply::from(encode(&answer, accept)))
        }
        call::Type::Subscribe => {
            let (response, writer) = Response::stream(accept.as_str());
            master.subscribe_operator(accept, writer, ctx);
            Ok(Reply::from(response))
        }
        call::Type::Teardown => Ok(teardown(master, ctx, &call)),
        call::Type::GetMetrics => Ok(metrics(ctx, accept)),
        _ => {
            let view = View {
                state: master.snapshot(),
                settings: master.settings(),
            };
            let Some(answer) = small_answer(kind, &view) else {
                let text = format!("{} is not supported in this release", kind.as_str_name());
                return Err(Response::text(StatusCode::NOT_IMPLEMENTED, text).into());
            };
            Ok(Reply::from(encode(&answer, accept)))
        }
    }
}

fn metrics(ctx: &Context<MasterProcess>, accept: ContentType) -> Reply {
    let metrics = ctx.runtime().metrics().clone();
    render_later(ctx, move || {
        let metrics = metrics.snapshot().into_iter();
        let get_metrics = response::GetMetrics {
            metrics: metrics
                .map(|(name, value)| proto::Metric {
                    name,
                    value: Some(value),
                })
                .collect(),
        };
        let answer = Answer {
            r#type: Some(response::Type::GetMetrics as i32),
            get_metrics: Some(get_metrics),
            ..Default::default()
        };
        encode(&answer, accept)
    })
}

/// Checks that a call carries what its type needs.
fn validate(call: &Call) -> Result<(), String> {
    use call::Type;
    if call.r#type() == Type::Unknown {
        return Err("Expecting 'type' to be present".to_owned());
    }
    let needed = match call.r#type() {
        Type::GetMetrics => (call.get_metrics.is_some(), "get_metrics"),
        Type::SetLoggingLevel => (call.set_logging_level.is_some(), "set_logging_level"),
        Type::ListFiles => (call.list_files.is_some(), "list_files"),
        Type::ReadFile => (call.read_file.is_some(), "read_file"),
        Type::UpdateWeights => (call.update_weights.is_some(), "update_weights"),
        Type::ReserveResources => (call.reserve_resources.is_some(), "reserve_resources"),
        Type::UnreserveResources => (call.unreserve_resources.is_some(), "unreserve_resources"),
        Type::CreateVolumes => (call.create_volumes.is_some(), "create_volumes"),
        Type::DestroyVolumes => (call.destroy_volumes.is_some(), "destroy_volumes"),
        Type::GrowVolume => (call.grow_volume.is_some(), "grow_volume"),
        Type::ShrinkVolume => (call.shrink_volume.is_some(), "shrink_volume"),
        Type::UpdateMaintenanceSchedule => (
            call.update_maintenance_schedule.is_some(),
            "update_maintenance_schedule",
        ),
        Type::StartMaintenance => (call.start_maintenance.is_some(), "start_maintenance"),
        Type::StopMaintenance => (call.stop_maintenance.is_some(), "stop_maintenance"),
        Type::DrainAgent => (call.drain_agent.is_some(), "drain_agent"),
        Type::DeactivateAgent => (call.deactivate_agent.is_some(), "deactivate_agent"),
        Type::ReactivateAgent => (call.reactivate_agent.is_some(), "reactivate_agent"),
        Type::UpdateQuota => (call.update_quota.is_some(), "update_quota"),
        Type::SetQuota => (call.set_quota.is_some(), "set_quota"),
        Type::RemoveQuota => (call.remove_quota.is_some(), "remove_quota"),
        Type::Teardown => (call.teardown.is_some(), "teardown"),
        Type::MarkAgentGone => (call.mark_agent_gone.is_some(), "mark_agent_gone"),
        _ => (true, ""),
    };
    match needed {
        (true, _) => Ok(()),
        (false, field) => Err(format!("Expecting '{field}' to be present")),
    }
}

fn part_of(kind: call::Type) -> Option<Part> {
    Some(match kind {
        call::Type::GetState => Part::State,
        call::Type::GetAgents => Part::Agents,
        call::Type::GetFrameworks => Part::Frameworks,
        call::Type::GetExecutors => Part::Executors,
        call::Type::GetTasks => Part::Tasks,
        _ => return None,
    })
}

fn part_answer(
    part: Part,
    state: &crate::core::state::ClusterState,
    accept: ContentType,
) -> Response {
    if accept == ContentType::Json {
        return match operator_json::answer(part, state) {
            Ok(json) => Response::json_text(json),
            Err(error) => Response::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        };
    }
    let mut answer = Answer::default();
    let kind = match part {
        Part::State => {
            answer.get_state = Some(describe::state(state));
            response::Type::GetState
        }
        Part::Agents => {
            answer.get_agents = Some(describe::agents(state));
            response::Type::GetAgents
        }
        Part::Frameworks => {
            answer.get_frameworks = Some(describe::frameworks(state));
            response::Type::GetFrameworks
        }
        Part::Executors => {
            answer.get_executors = Some(response::GetExecutors {
                executors: describe::executors(state).collect(),
                orphan_executors: Vec::new(),
            });
            response::Type::GetExecutors
        }
        Part::Tasks => {
            answer.get_tasks = Some(describe::tasks(state));
            response::Type::GetTasks
        }
    };
    answer.r#type = Some(kind as i32);
    encode(&answer, accept)
}

/// Answers that take no time; none for calls that are not supported.
fn small_answer(kind: call::Type, view: &View) -> Option<Answer> {
    let mut answer = Answer::default();
    let kind = match kind {
        call::Type::GetHealth => {
            answer.get_health = Some(response::GetHealth { healthy: true });
            response::Type::GetHealth
        }
        call::Type::GetVersion => {
            answer.get_version = Some(response::GetVersion {
                version_info: version::version_info().into(),
            });
            response::Type::GetVersion
        }
        call::Type::GetFlags => {
            let flags = view.settings.flags.iter();
            answer.get_flags = Some(response::GetFlags {
                flags: flags
                    .map(|(name, value)| proto::Flag {
                        name: (*name).to_owned(),
                        value: Some(value.clone()),
                    })
                    .collect(),
            });
            response::Type::GetFlags
        }
        call::Type::GetMaster => {
            answer.get_master = Some(response::GetMaster {
                master_info: Some(view.state.info.as_ref().clone()),
                start_time: Some(view.state.start_time.as_secs_f64()),
                elected_time: view.state.elected_time.map(|time| time.as_secs_f64()),
            });
            response::Type::GetMaster
        }
        call::Type::GetRoles => {
            answer.get_roles = Some(roles(view));
            response::Type::GetRoles
        }
        call::Type::GetOperations => {
            answer.get_operations = Some(describe::operations(&view.state));
            response::Type::GetOperations
        }
        _ => return None,
    };
    answer.r#type = Some(kind as i32);
    Some(answer)
}

fn roles(view: &View) -> response::GetRoles {
    let roles = Roles::new(view);
    response::GetRoles {
        roles: roles
            .iter()
            .map(|role| proto::Role {
                name: role.name.to_owned(),
                weight: role.weight,
                frameworks: role
                    .usage
                    .frameworks
                    .iter()
                    .map(|id| proto::FrameworkId {
                        value: (*id).to_owned(),
                    })
                    .collect(),
                resources: describe::amounts(&role.held()),
            })
            .collect(),
    }
}

fn teardown(master: &mut MasterProcess, ctx: &mut Context<MasterProcess>, call: &Call) -> Reply {
    let id = call
        .teardown
        .as_ref()
        .map(|teardown| FrameworkId::from(&teardown.framework_id));
    let known = id.is_some_and(|id| master.turn(ctx, |core, fx| core.on_teardown(&id, fx)));
    if known {
        Reply::from(Response::ok())
    } else {
        Reply::from(api::bad_request("No framework found with specified ID").response())
    }
}

/// Changes how much is logged for a while.
fn set_logging_level(
    master: &MasterProcess,
    ctx: &Context<MasterProcess>,
    call: &Call,
) -> Result<Reply, Refusal> {
    let (Some(logging), Some(asked)) = (master.logging(), call.set_logging_level) else {
        let text = "This master does not log";
        return Err(Response::text(StatusCode::NOT_IMPLEMENTED, text).into());
    };
    let duration = Duration::from_nanos(u64::try_from(asked.duration.nanoseconds).unwrap_or(0));
    logging.set_level(asked.level);
    ctx.delay(duration, move |_, _| logging.set_level(0));
    Ok(Reply::from(Response::ok()))
}

/// An answer in its public form.
pub(super) fn encode(answer: &Answer, accept: ContentType) -> Response {
    let body = match accept {
        // The same bytes in both dialects.
        ContentType::Protobuf => answer.encode_to_vec().into(),
        ContentType::Json => match convert::v0_to_v1::<_, v1::master::Response>(answer) {
            Ok(answer) => ContentType::Json.encode(&answer),
            Err(error) => {
                return Response::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
            }
        },
    };
    Response::json_text(body).header(http::header::CONTENT_TYPE, accept.as_str())
}
