//! `/containers` and `/monitor/statistics`

use std::sync::Arc;

use futures::future::join_all;
use libprocess::{Reply, Request, Response};
use mesos::proto;
use serde::Serialize;
use serde_json::value::RawValue;

use super::HttpState;
use super::state::raw;
use crate::core::{Executor, ExecutorState};

/// One container in the answer of `/containers`.
#[derive(Serialize)]
struct ContainerJson {
    container_id: String,
    executor_id: String,
    executor_name: String,
    framework_id: String,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    statistics: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Box<RawValue>>,
}

/// One executor in the answer of `/monitor/statistics`.
#[derive(Serialize)]
struct StatisticsJson {
    executor_id: String,
    executor_name: String,
    framework_id: String,
    source: String,
    statistics: Option<Box<RawValue>>,
}

/// Executors whose containers are there.
pub(super) fn executors(http: &HttpState) -> Vec<Arc<Executor>> {
    http.snapshot()
        .frameworks
        .iter()
        .flat_map(|framework| framework.executors.values())
        .filter(|executor| executor.state != ExecutorState::Terminated)
        .cloned()
        .collect()
}

/// What the container of an executor uses, if that can be told.
async fn usage(http: &HttpState, executor: &Executor) -> Option<proto::ResourceStatistics> {
    http.containerizer.usage(executor.container_id()).await.ok()
}

pub(super) fn statistics(http: Arc<HttpState>, request: Request) -> Reply {
    Reply::later(async move {
        let all = executors(&http).into_iter().map(|executor| {
            let http = http.clone();
            async move {
                let usage = usage(&http, &executor).await?;
                Some(StatisticsJson {
                    executor_id: executor.id().to_string(),
                    executor_name: executor.info.name().to_owned(),
                    framework_id: executor.run.framework_id.to_string(),
                    source: executor.info.source().to_owned(),
                    statistics: raw(mesos::json::to_string(&usage)),
                })
            }
        });
        let all: Vec<StatisticsJson> = join_all(all).await.into_iter().flatten().collect();
        Response::json_or_jsonp(all, &request)
    })
}

pub(super) fn containers(http: Arc<HttpState>, request: Request) -> Reply {
    Reply::later(async move {
        let wanted = request.query.get("container_id");
        let all = executors(&http)
            .into_iter()
            .filter(|executor| {
                wanted.is_none_or(|wanted| executor.container_id().value() == wanted)
            })
            .map(|executor| {
                let http = http.clone();
                async move {
                    let status = http
                        .containerizer
                        .status(executor.container_id())
                        .await
                        .ok();
                    let usage = usage(&http, &executor).await;
                    ContainerJson {
                        container_id: executor.container_id().value().to_owned(),
                        executor_id: executor.id().to_string(),
                        executor_name: executor.info.name().to_owned(),
                        framework_id: executor.run.framework_id.to_string(),
                        source: executor.info.source().to_owned(),
                        statistics: usage.and_then(|usage| raw(mesos::json::to_string(&usage))),
                        status: status.and_then(|status| raw(mesos::json::to_string(&status))),
                    }
                }
            });
        Response::json_or_jsonp(join_all(all).await, &request)
    })
}
