//! `/weights`, and the calls of the operator API about weights.
//! Upstream: `src/master/weights_handler.cpp`.

use http::Method;
use libprocess::{Context, Reply, Request, Response};
use mesos::json::Embedded;
use mesos::media::ContentType;
use mesos::model::array;
use mesos::proto::WeightInfo;
use mesos::proto::master::{Call, Response as Answer, call, response};

use super::operator::encode;
use super::{Refusal, api, json};
use crate::actor::MasterProcess;
use crate::core::state::ClusterState;

/// Answers a request of the endpoint.
pub(super) fn handle(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    request: Request,
) -> Reply {
    if let Some(elsewhere) = super::elsewhere(master, &request) {
        return Reply::from(elsewhere);
    }
    let answered = match request.method {
        Method::GET => {
            let weights = weights(master.core().state());
            json(&array(|| weights.iter().map(Embedded)))
                .map(|json| Reply::from(Response::json_text_or_jsonp(json, &request)))
        }
        Method::PUT => update_by_body(master, ctx, &request),
        _ => Err(Response::method_not_allowed(&["GET", "PUT"], request.method.as_str()).into()),
    };
    answered.unwrap_or_else(|refusal| Reply::from(refusal.response()))
}

/// Answers a call about weights; none for other calls.
pub(super) fn respond(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    call: &Call,
    accept: ContentType,
) -> Option<Result<Reply, Refusal>> {
    Some(match call.r#type() {
        call::Type::GetWeights => {
            let answer = Answer {
                r#type: Some(response::Type::GetWeights as i32),
                get_weights: Some(response::GetWeights {
                    weight_infos: weights(master.core().state()),
                }),
                ..Default::default()
            };
            Ok(Reply::from(encode(&answer, accept)))
        }
        call::Type::UpdateWeights => {
            let asked = call.update_weights.as_ref();
            let infos = asked.map_or(&[][..], |asked| &asked.weight_infos);
            update(master, ctx, infos)
        }
        _ => return None,
    })
}

/// All weights that were set.
fn weights(state: &ClusterState) -> Vec<WeightInfo> {
    let weights = state.weights.iter();
    weights
        .map(|(role, weight)| WeightInfo {
            weight: *weight,
            role: Some(role.clone()),
        })
        .collect()
}

fn update_by_body(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    request: &Request,
) -> Result<Reply, Refusal> {
    api::recovered(master)?;
    let wrong =
        |error: String| api::bad_request(format!("Failed to read weights in JSON: {error}"));
    let entries: Vec<serde_json::Value> =
        serde_json::from_slice(&request.body).map_err(|error| wrong(error.to_string()))?;
    let infos = entries
        .iter()
        .map(|entry| mesos::json::from_str(&entry.to_string()))
        .collect::<Result<Vec<WeightInfo>, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    update(master, ctx, &infos)
}

fn update(
    master: &mut MasterProcess,
    ctx: &mut Context<MasterProcess>,
    infos: &[WeightInfo],
) -> Result<Reply, Refusal> {
    master
        .request(ctx, |core, request, fx| {
            core.on_update_weights(infos, request, fx)
        })
        .map_err(|error| api::bad_request(format!("Failed to update weights: {error}")))
}
