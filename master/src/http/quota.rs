//! `/quota`, and the calls of the operator API about quota.
//! Upstream: `src/master/quota_handler.cpp`.

use http::{Method, StatusCode};
use libprocess::{Context, Reply, Request, Response};
use mesos::media::ContentType;
use mesos::proto::master::{Call, Response as Answer, call, response};
use mesos::proto::quota::{QuotaRequest, QuotaStatus};

use super::operator::encode;
use super::{Refusal, api};
use crate::actor::MasterProcess;
use crate::core::quota::{config, legacy_info};
use crate::core::state::ClusterState;
use crate::core::validation::quota::QuotaError;

/// Answers a request of the endpoint.
pub(super) fn handle(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    request: Request,
) -> Reply {
    if let Some(elsewhere) = super::elsewhere(master, &request) {
        return Reply::from(elsewhere);
    }
    if request.method == Method::GET {
        let status = mesos::json::to_string(&status(master.core().state()));
        return Reply::from(Response::json_text_or_jsonp(status, &request));
    }
    let done = match request.method {
        Method::POST => set_by_body(master, ctx, &request),
        Method::DELETE => remove_by_path(master, ctx, &request),
        _ => Err(
            Response::method_not_allowed(&["GET", "POST", "DELETE"], request.method.as_str())
                .into(),
        ),
    };
    done.unwrap_or_else(|refusal| Reply::from(refusal.response()))
}

/// Answers a call about quota; none for other calls.
pub(super) fn respond(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    call: &Call,
    accept: ContentType,
) -> Option<Result<Reply, Refusal>> {
    Some(match call.r#type() {
        call::Type::GetQuota => {
            let answer = Answer {
                r#type: Some(response::Type::GetQuota as i32),
                get_quota: Some(response::GetQuota {
                    status: status(master.core().state()),
                }),
                ..Default::default()
            };
            Ok(Reply::from(encode(&answer, accept)))
        }
        call::Type::UpdateQuota => {
            let asked = call.update_quota.clone().unwrap_or_default();
            let force = asked.force();
            master
                .request(ctx, |core, request, fx| {
                    core.on_update_quota(&asked.quota_configs, force, request, fx)
                })
                .map_err(|error| api::bad_request(format!("Invalid QuotaConfig: {error}")))
        }
        call::Type::SetQuota => {
            let asked = call.set_quota.as_ref().map(|set| &set.quota_request);
            set(master, ctx, asked.unwrap_or(&QuotaRequest::default()))
        }
        call::Type::RemoveQuota => {
            let asked = call.remove_quota.as_ref();
            remove(master, ctx, asked.map_or("", |remove| &remove.role))
        }
        _ => return None,
    })
}

/// All quotas, in the form of today and in that of releases before 1.9.
fn status(state: &ClusterState) -> QuotaStatus {
    let quotas = || state.quotas.iter();
    QuotaStatus {
        infos: quotas()
            .map(|(role, quota)| legacy_info(role, quota))
            .collect(),
        configs: quotas().map(|(role, quota)| config(role, quota)).collect(),
    }
}

fn set_by_body(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    request: &Request,
) -> Result<Reply, Refusal> {
    api::recovered(master)?;
    let asked = mesos::json::from_slice(&request.body).map_err(|error| {
        api::bad_request(format!("Failed to read set quota request in JSON: {error}"))
    })?;
    set(master, ctx, &asked)
}

fn set(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    asked: &QuotaRequest,
) -> Result<Reply, Refusal> {
    master
        .request(ctx, |core, request, fx| {
            core.on_set_quota(asked, request, fx)
        })
        .map_err(|error| {
            let status = match error {
                QuotaError::Overcommitted { .. } => StatusCode::CONFLICT,
                _ => StatusCode::BAD_REQUEST,
            };
            Response::text(status, format!("Failed to set quota: {error}")).into()
        })
}

/// The role is all of the path that follows `/master/quota/`.
fn remove_by_path(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    request: &Request,
) -> Result<Reply, Refusal> {
    api::recovered(master)?;
    let path = request.path.trim_start_matches('/');
    match path.splitn(3, '/').nth(2).filter(|role| !role.is_empty()) {
        Some(role) => remove(master, ctx, role),
        None => Err(api::bad_request(
            "Failed to remove quota: the path must be '/quota/<role>'",
        )),
    }
}

fn remove(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    role: &str,
) -> Result<Reply, Refusal> {
    master
        .request(ctx, |core, request, fx| {
            core.on_remove_quota(role, request, fx)
        })
        .map_err(|error| api::bad_request(format!("Failed to remove quota: {error}")))
}
