//! The operator API, `/api/v1`.
//!
//! Upstream: `src/slave/http.cpp` (`Http::api`).

use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, StatusCode};
use futures::future::join_all;
use libprocess::{Context, Reply, Request, Response};
use mesos::convert::{ConvertError, list, v0_to_v1};
use mesos::files::{AskError, FilesError};
use mesos::media::ContentType;
use mesos::proto;
use mesos::proto::v1::agent::response::Type;
use mesos::proto::v1::agent::{Call, Response as Answer, call, response};
use thiserror::Error;

use super::{HttpState, containers};
use crate::actor::AgentActor;
use crate::core::{Executor, Framework, Snapshot};
use crate::tasks::create_task;

/// Why a call has no answer.
#[derive(Debug, Error)]
enum CallError {
    #[error("Expecting '{0}' to be present")]
    Missing(&'static str),
    #[error("{0}")]
    File(#[from] AskError),
    #[error("failed to convert to v1: {0}")]
    Convert(#[from] ConvertError),
    #[error("'{0}' is not supported by this agent yet")]
    NotImplemented(&'static str),
}

impl CallError {
    fn status(&self) -> StatusCode {
        match self {
            CallError::Missing(_) => StatusCode::BAD_REQUEST,
            CallError::File(AskError::Files(FilesError::NotFound(_))) => StatusCode::NOT_FOUND,
            CallError::File(AskError::Files(
                FilesError::Inaccessible(_) | FilesError::Directory(_),
            )) => StatusCode::BAD_REQUEST,
            CallError::File(_) | CallError::Convert(_) => StatusCode::INTERNAL_SERVER_ERROR,
            CallError::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

pub(super) fn serve(http: &Arc<HttpState>, ctx: &Context<AgentActor>, request: Request) -> Reply {
    let (call, accept) = match understand(&request) {
        Ok(understood) => understood,
        Err(refusal) => return (*refusal).into(),
    };
    let http = http.clone();
    // On the runtime's own threads: the whole state takes longer to write than a turn should.
    let job = ctx.runtime().handle().spawn(async move {
        match answer(&http, call).await {
            Ok(answer) => {
                Response::json_text(accept.encode(&answer)).header("Content-Type", accept.as_str())
            }
            Err(error) => Response::text(error.status(), error.to_string()),
        }
    });
    Reply::later(async move {
        job.await
            .unwrap_or_else(|_| Response::status(StatusCode::INTERNAL_SERVER_ERROR))
    })
}

/// The call in a request, and the media type of the answer.
fn understand(request: &Request) -> Result<(Call, ContentType), Box<Response>> {
    let refuse = |status, text: &str| Err(Box::new(Response::text(status, text)));
    if request.method != Method::POST {
        let received = request.method.as_str();
        return Err(Box::new(Response::method_not_allowed(&["POST"], received)));
    }
    let Some(header) = request.header("content-type") else {
        let text = "Expecting 'Content-Type' to be present";
        return refuse(StatusCode::BAD_REQUEST, text);
    };
    let Some(content_type) = ContentType::parse(header) else {
        let text = "Expecting 'Content-Type' of application/json or application/x-protobuf";
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    };
    let Some(accept) = ContentType::negotiate(request.header("accept")) else {
        let text = "Expecting 'Accept' to allow application/json or application/x-protobuf";
        return refuse(StatusCode::NOT_ACCEPTABLE, text);
    };
    match content_type.decode(&request.body) {
        Ok(call) => Ok((call, accept)),
        Err(error) => {
            let text = format!("Failed to parse body into Call protobuf: {error}");
            refuse(StatusCode::BAD_REQUEST, &text)
        }
    }
}

fn of(kind: Type) -> Answer {
    Answer {
        r#type: Some(kind.into()),
        ..Default::default()
    }
}

async fn answer(http: &HttpState, call: Call) -> Result<Answer, CallError> {
    use call::Type as Ask;
    match call.r#type() {
        Ask::GetHealth | Ask::GetFlags | Ask::GetVersion => about_process(http, call.r#type()),
        Ask::GetMetrics => {
            call.get_metrics.ok_or(CallError::Missing("get_metrics"))?;
            let metrics = metrics(http);
            Ok(Answer {
                get_metrics: Some(response::GetMetrics { metrics }),
                ..of(Type::GetMetrics)
            })
        }
        Ask::ListFiles => list_files(http, call.list_files).await,
        Ask::ReadFile => read_file(http, call.read_file).await,
        Ask::GetContainers => Ok(Answer {
            get_containers: Some(get_containers(http).await?),
            ..of(Type::GetContainers)
        }),
        asked => about_state(&http.snapshot(), asked),
    }
}

fn about_process(http: &HttpState, asked: call::Type) -> Result<Answer, CallError> {
    Ok(match asked {
        call::Type::GetFlags => Answer {
            get_flags: Some(response::GetFlags { flags: flags(http) }),
            ..of(Type::GetFlags)
        },
        call::Type::GetVersion => {
            let info = proto::VersionInfo::from(mesos::version::version_info());
            let version_info = v0_to_v1(&info)?;
            Answer {
                get_version: Some(response::GetVersion { version_info }),
                ..of(Type::GetVersion)
            }
        }
        _ => Answer {
            get_health: Some(response::GetHealth { healthy: true }),
            ..of(Type::GetHealth)
        },
    })
}

fn about_state(snapshot: &Snapshot, asked: call::Type) -> Result<Answer, CallError> {
    use call::Type as Ask;
    Ok(match asked {
        Ask::GetState => Answer {
            get_state: Some(response::GetState {
                get_tasks: Some(tasks(snapshot)?),
                get_executors: Some(executors(snapshot)?),
                get_frameworks: Some(frameworks(snapshot)?),
            }),
            ..of(Type::GetState)
        },
        Ask::GetFrameworks => Answer {
            get_frameworks: Some(frameworks(snapshot)?),
            ..of(Type::GetFrameworks)
        },
        Ask::GetExecutors => Answer {
            get_executors: Some(executors(snapshot)?),
            ..of(Type::GetExecutors)
        },
        Ask::GetTasks => Answer {
            get_tasks: Some(tasks(snapshot)?),
            ..of(Type::GetTasks)
        },
        Ask::GetAgent => Answer {
            get_agent: Some(agent(snapshot)?),
            ..of(Type::GetAgent)
        },
        // This agent has neither.
        Ask::GetOperations => Answer {
            get_operations: Some(response::GetOperations::default()),
            ..of(Type::GetOperations)
        },
        Ask::GetResourceProviders => Answer {
            get_resource_providers: Some(response::GetResourceProviders::default()),
            ..of(Type::GetResourceProviders)
        },
        other => return Err(CallError::NotImplemented(other.as_str_name())),
    })
}

fn flags(http: &HttpState) -> Vec<proto::v1::Flag> {
    http.flags
        .iter()
        .map(|(name, value)| proto::v1::Flag {
            name: (*name).to_owned(),
            value: Some(value.clone()),
        })
        .collect()
}

fn metrics(http: &HttpState) -> Vec<proto::v1::Metric> {
    http.metrics
        .snapshot()
        .into_iter()
        .map(|(name, value)| proto::v1::Metric {
            name,
            value: Some(value),
        })
        .collect()
}

async fn list_files(http: &HttpState, call: Option<call::ListFiles>) -> Result<Answer, CallError> {
    let call = call.ok_or(CallError::Missing("list_files"))?;
    let found = http.files.browse(call.path).await?;
    Ok(Answer {
        list_files: Some(response::ListFiles {
            file_infos: list(&found)?,
        }),
        ..of(Type::ListFiles)
    })
}

async fn read_file(http: &HttpState, call: Option<call::ReadFile>) -> Result<Answer, CallError> {
    let call = call.ok_or(CallError::Missing("read_file"))?;
    let section = http.files.read(call.path, call.offset, call.length).await?;
    Ok(Answer {
        read_file: Some(response::ReadFile {
            size: section.size,
            data: section.data.into(),
        }),
        ..of(Type::ReadFile)
    })
}

fn agent(snapshot: &Snapshot) -> Result<response::GetAgent, ConvertError> {
    let started = snapshot.drain.as_ref().map(|drain| {
        let since_epoch = Duration::try_from_secs_f64(drain.started).unwrap_or_default();
        proto::v1::TimeInfo {
            nanoseconds: i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX),
        }
    });
    let config = snapshot.drain.as_ref().map(|drain| v0_to_v1(&drain.config));
    Ok(response::GetAgent {
        agent_info: Some(v0_to_v1(&snapshot.info)?),
        drain_config: config.transpose()?,
        estimated_drain_start_time: started,
    })
}

fn frameworks(snapshot: &Snapshot) -> Result<response::GetFrameworks, ConvertError> {
    let convert = |frameworks: &[Arc<Framework>]| -> Result<Vec<_>, ConvertError> {
        frameworks
            .iter()
            .map(|framework| {
                let framework_info = v0_to_v1(&framework.info)?;
                Ok(response::get_frameworks::Framework { framework_info })
            })
            .collect()
    };
    Ok(response::GetFrameworks {
        frameworks: convert(&snapshot.frameworks)?,
        completed_frameworks: convert(&snapshot.completed_frameworks)?,
    })
}

/// All executors of an agent: those that are there, then those that were.
fn all_executors(snapshot: &Snapshot) -> (Vec<&Executor>, Vec<&Executor>) {
    let active = snapshot.frameworks.iter();
    let active = active.flat_map(|framework| framework.executors.values());
    let every = snapshot
        .frameworks
        .iter()
        .chain(&snapshot.completed_frameworks);
    let completed = every.flat_map(|framework| &framework.completed_executors);
    (
        active.map(AsRef::as_ref).collect(),
        completed.map(AsRef::as_ref).collect(),
    )
}

fn executors(snapshot: &Snapshot) -> Result<response::GetExecutors, ConvertError> {
    let convert = |executors: Vec<&Executor>| -> Result<Vec<_>, ConvertError> {
        executors
            .into_iter()
            .map(|executor| {
                let executor_info = v0_to_v1(&executor.info)?;
                Ok(response::get_executors::Executor { executor_info })
            })
            .collect()
    };
    let (active, completed) = all_executors(snapshot);
    Ok(response::GetExecutors {
        executors: convert(active)?,
        completed_executors: convert(completed)?,
    })
}

fn tasks(snapshot: &Snapshot) -> Result<response::GetTasks, ConvertError> {
    let mut tasks = response::GetTasks::default();
    let (active, completed) = all_executors(snapshot);
    for executor in active.into_iter().chain(completed) {
        for info in executor.queued_tasks.values() {
            let staging = proto::TaskState::TaskStaging;
            let task = create_task(info, staging, &executor.run.framework_id);
            tasks.queued_tasks.push(v0_to_v1(&task)?);
        }
        for task in executor.launched_tasks.values() {
            tasks.launched_tasks.push(v0_to_v1(task.as_ref())?);
        }
        for task in executor.terminated_tasks.values() {
            tasks.terminated_tasks.push(v0_to_v1(task.as_ref())?);
        }
        for task in &executor.completed_tasks {
            tasks.completed_tasks.push(v0_to_v1(task.as_ref())?);
        }
    }
    Ok(tasks)
}

async fn get_containers(http: &HttpState) -> Result<response::GetContainers, ConvertError> {
    let executors = containers::executors(http);
    let all = join_all(executors.iter().map(|executor| async move {
        let id = executor.container_id();
        let status = http.containerizer.status(id).await.ok();
        let usage = http.containerizer.usage(id).await.ok();
        let container_id: proto::ContainerId = id.into();
        Ok(response::get_containers::Container {
            framework_id: Some((&executor.run.framework_id).into()),
            executor_id: Some((&executor.run.executor_id).into()),
            executor_name: executor.info.name.clone(),
            container_id: v0_to_v1(&container_id)?,
            container_status: status.as_ref().map(v0_to_v1).transpose()?,
            resource_statistics: usage.as_ref().map(v0_to_v1).transpose()?,
        })
    }))
    .await;
    let containers: Result<Vec<_>, ConvertError> = all.into_iter().collect();
    Ok(response::GetContainers {
        containers: containers?,
    })
}
