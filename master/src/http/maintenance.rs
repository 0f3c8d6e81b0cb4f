//! Maintenance of machines: its endpoints and its calls of the operator API.
//!
//! Upstream: `maintenanceSchedule`, `maintenanceStatus`, `machineDown`, `machineUp` of
//! `src/master/http.cpp`.

use std::collections::HashMap;

use http::StatusCode;
use libprocess::{Context, Reply, Request, Response, RouteOptions};
use mesos::media::ContentType;
use mesos::proto;
use mesos::proto::allocator::InverseOfferStatus;
use mesos::proto::machine_info::Mode;
use mesos::proto::maintenance::{ClusterStatus, Schedule, cluster_status::DrainingMachine};
use mesos::proto::master::{Call, Response as Answer, call, response};
use serde_json::value::RawValue;

use super::operator::encode;
use super::{Refusal, api};
use crate::actor::MasterProcess;
use crate::allocator::InverseOfferStatuses;
use crate::core::machines::{MachineId, MaintenanceOperation};
use crate::core::state::ClusterState;

type Master = MasterProcess;

/// Installs the endpoints.
pub(super) fn install(ctx: &mut Context<Master>) {
    endpoint(ctx, "/maintenance/schedule", &["GET", "POST"], schedule);
    endpoint(
        ctx,
        "/maintenance/status",
        &["GET"],
        |master, _, request| {
            Ok(status(master, move |status| {
                Response::json_text_or_jsonp(mesos::json::to_string(status), &request)
            }))
        },
    );
    endpoint(ctx, "/machine/down", &["POST"], |master, ctx, request| {
        let machines = parse_machines(&request.body)?;
        change(master, ctx, MaintenanceOperation::Start(machines))
    });
    endpoint(ctx, "/machine/up", &["POST"], |master, ctx, request| {
        let machines = parse_machines(&request.body)?;
        change(master, ctx, MaintenanceOperation::Stop(machines))
    });
}

type Handler = fn(&mut Master, &mut Context<Master>, Request) -> Result<Reply, Refusal>;

fn endpoint(
    ctx: &mut Context<Master>,
    name: &str,
    methods: &'static [&'static str],
    handle: Handler,
) {
    let options = RouteOptions::default();
    ctx.route(name, options, move |master: &mut Master, ctx, request| {
        let answered = admit(master, &request, methods).and_then(|()| handle(master, ctx, request));
        answered.unwrap_or_else(|refusal| Reply::from(refusal.response()))
    });
}

/// Checks that this master knows the machines, and that the method is allowed.
fn admit(master: &Master, request: &Request, methods: &[&str]) -> Result<(), Refusal> {
    if let Some(elsewhere) = super::elsewhere(master, request) {
        return Err(elsewhere.into());
    }
    let method = request.method.as_str();
    if !methods.contains(&method) {
        return Err(Response::method_not_allowed(methods, method).into());
    }
    api::recovered(master)
}

fn schedule(
    master: &mut Master,
    ctx: &mut Context<Master>,
    request: Request,
) -> Result<Reply, Refusal> {
    if request.method == http::Method::GET {
        let json = mesos::json::to_string(&master.core().state().machines.schedule());
        return Ok(Reply::from(Response::json_text_or_jsonp(json, &request)));
    }
    let schedule: Schedule = ContentType::Json
        .decode(&request.body)
        .map_err(|error| api::bad_request(error.to_string()))?;
    change(master, ctx, MaintenanceOperation::UpdateSchedule(schedule))
}

/// Reads a JSON array of machines.
fn parse_machines(body: &[u8]) -> Result<Vec<proto::MachineId>, Refusal> {
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| {
        let text = format!("Failed to parse body into a JSON array of machines: {error}");
        api::bad_request(text)
    })?;
    items
        .into_iter()
        .map(|item| {
            mesos::json::from_str(item.get()).map_err(|error| {
                let text = format!("Failed to convert JSON into MachineID protobuf: {error}");
                api::bad_request(text)
            })
        })
        .collect()
}

/// Does what an operator asks for, if it is acceptable.
fn change(
    master: &mut Master,
    ctx: &mut Context<Master>,
    operation: MaintenanceOperation,
) -> Result<Reply, Refusal> {
    master
        .request(ctx, |core, request, fx| {
            core.on_maintain(operation, request, fx)
        })
        .map_err(|error| api::bad_request(error.to_string()))
}

/// Answers a call of the operator API about maintenance; none for other calls.
///
/// # Errors
/// The response to give instead.
pub(super) fn respond(
    master: &mut Master,
    ctx: &mut Context<Master>,
    call: &Call,
    accept: ContentType,
) -> Result<Option<Reply>, Refusal> {
    let operation = match call.r#type() {
        call::Type::GetMaintenanceSchedule => {
            let answer = Answer {
                r#type: Some(response::Type::GetMaintenanceSchedule as i32),
                get_maintenance_schedule: Some(response::GetMaintenanceSchedule {
                    schedule: master.core().state().machines.schedule(),
                }),
                ..Default::default()
            };
            return Ok(Some(Reply::from(encode(&answer, accept))));
        }
        call::Type::GetMaintenanceStatus => {
            return Ok(Some(status(master, move |status| {
                let answer = Answer {
                    r#type: Some(response::Type::GetMaintenanceStatus as i32),
                    get_maintenance_status: Some(response::GetMaintenanceStatus {
                        status: status.clone(),
                    }),
                    ..Default::default()
                };
                encode(&answer, accept)
            })));
        }
        call::Type::UpdateMaintenanceSchedule => {
            let update = call.update_maintenance_schedule.clone().unwrap_or_default();
            MaintenanceOperation::UpdateSchedule(update.schedule)
        }
        call::Type::StartMaintenance => {
            MaintenanceOperation::Start(call.start_maintenance.clone().unwrap_or_default().machines)
        }
        call::Type::StopMaintenance => {
            MaintenanceOperation::Stop(call.stop_maintenance.clone().unwrap_or_default().machines)
        }
        _ => return Ok(None),
    };
    change(master, ctx, operation).map(Some)
}

/// Answers with the machines in maintenance, once the allocator has told what frameworks answered.
fn status(master: &Master, render: impl FnOnce(&ClusterStatus) -> Response + 'static) -> Reply {
    let state = master.snapshot();
    let statuses = master.inverse_offer_statuses();
    Reply::later(async move {
        match statuses.await {
            Some(statuses) => render(&cluster_status(&state, statuses)),
            None => Response::text(StatusCode::SERVICE_UNAVAILABLE, "The allocator has ended"),
        }
    })
}

fn cluster_status(state: &ClusterState, statuses: InverseOfferStatuses) -> ClusterStatus {
    let mut by_machine: HashMap<MachineId, Vec<InverseOfferStatus>> = HashMap::new();
    for (agent, answers) in statuses {
        if let Some(agent) = state.agents.get(&agent) {
            let known = by_machine.entry(agent.machine()).or_default();
            known.extend(answers.into_values());
        }
    }
    let mut status = ClusterStatus::default();
    for info in state.machines.iter() {
        match info.mode() {
            Mode::Draining => status.draining_machines.push(DrainingMachine {
                id: info.id.clone(),
                statuses: by_machine
                    .remove(&MachineId::from(&info.id))
                    .unwrap_or_default(),
            }),
            Mode::Down => status.down_machines.push(info.id.clone()),
            Mode::Up => {}
        }
    }
    status
}
