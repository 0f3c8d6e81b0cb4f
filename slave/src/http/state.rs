//! `/state`

use mesos::model::{self, Fields, array, object};
use mesos::proto;
use mesos::resources::Resources;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::HttpState;
use crate::core::{Executor, Framework, Snapshot};

/// The whole state of an agent.
pub(super) struct State<'a> {
    pub(super) http: &'a HttpState,
    pub(super) snapshot: &'a Snapshot,
}

impl Serialize for State<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let State { http, snapshot } = self;
        let info = &snapshot.info;
        let mut state = serializer.serialize_map(None)?;
        model::BuildInfo(&mesos::version::version_info()).fields(&mut state)?;
        state.serialize_entry("start_time", &http.start_time)?;
        state.serialize_entry("id", info.id.as_ref().map_or("", |id| &id.value))?;
        state.serialize_entry("pid", &http.pid)?;
        state.serialize_entry("hostname", &info.hostname)?;
        let capabilities = crate::core::capabilities();
        state.serialize_entry("capabilities", &model::agent_capabilities(&capabilities))?;
        if let Some(domain) = &info.domain {
            state.serialize_entry("domain", &model::Domain(domain))?;
        }
        drain(&mut state, snapshot)?;
        resources(&mut state, snapshot)?;
        state.serialize_entry("resource_providers", &[(); 0])?;
        state.serialize_entry("attributes", &model::Attributes(&info.attributes))?;
        if let Some(master) = &snapshot.master {
            state.serialize_entry("master_hostname", master.hostname())?;
        }
        if let Some(log_dir) = &http.log_dir {
            state.serialize_entry("log_dir", log_dir)?;
        }
        if let Some(file) = &http.external_log_file {
            state.serialize_entry("external_log_file", file)?;
        }
        state.serialize_entry("flags", &model::flags(&http.flags))?;
        let frameworks = array(|| snapshot.frameworks.iter().map(|each| FrameworkJson(each)));
        state.serialize_entry("frameworks", &frameworks)?;
        let completed = array(|| {
            snapshot
                .completed_frameworks
                .iter()
                .map(|each| FrameworkJson(each))
        });
        state.serialize_entry("completed_frameworks", &completed)?;
        state.end()
    }
}

fn drain<M: SerializeMap>(state: &mut M, snapshot: &Snapshot) -> Result<(), M::Error> {
    let Some(drain) = &snapshot.drain else {
        return Ok(());
    };
    let config = raw(mesos::json::to_string(&drain.config));
    state.serialize_entry("drain_config", &config)?;
    state.serialize_entry("estimated_drain_start_time_seconds", &drain.started)
}

/// JSON that is text already.
pub(super) fn raw(json: String) -> Option<Box<serde_json::value::RawValue>> {
    serde_json::value::RawValue::from_string(json).ok()
}

/// What all executors on the agent hold together.
pub(super) fn allocated(snapshot: &Snapshot) -> Resources {
    let mut allocated = Resources::new();
    for framework in &snapshot.frameworks {
        for executor in framework.executors.values() {
            allocated += Resources::from_valid_protos(&executor.allocated_resources());
        }
    }
    allocated
}

fn resources<M: SerializeMap>(state: &mut M, snapshot: &Snapshot) -> Result<(), M::Error> {
    let total = Resources::from_valid_protos(&snapshot.info.resources);
    let unreserved = total.unreserved();
    let reservations = total.reservations();
    let allocated = allocated(snapshot);
    let all = |_: &str| true;

    state.serialize_entry("resources", &model::ResourceSummary::of(&total))?;
    let reserved = model::ReservedResources {
        resources: &total,
        visible: all,
    };
    state.serialize_entry("reserved_resources", &reserved)?;
    state.serialize_entry(
        "unreserved_resources",
        &model::ResourceSummary::of(&unreserved),
    )?;
    let full = object(|| {
        reservations
            .iter()
            .map(|(role, resources)| (role.as_ref(), full(resources)))
    });
    state.serialize_entry("reserved_resources_full", &full)?;
    state.serialize_entry("unreserved_resources_full", &self::full(&unreserved))?;
    let reserved = model::ReservedResources {
        resources: &allocated,
        visible: all,
    };
    state.serialize_entry("reserved_resources_allocated", &reserved)?;
    let unreserved = allocated.unreserved();
    state.serialize_entry(
        "unreserved_resources_allocated",
        &model::ResourceSummary::of(&unreserved),
    )
}

/// Resources in full, with reservations in both the old and the new form.
fn full(resources: &Resources) -> impl Serialize {
    let texts: Vec<_> = resources
        .to_endpoint_protos()
        .iter()
        .map(|resource: &proto::Resource| raw(mesos::json::to_string(resource)))
        .collect();
    texts
}

struct FrameworkJson<'a>(&'a Framework);

impl Serialize for FrameworkJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Framework {
            info,
            executors,
            completed_executors,
            ..
        } = self.0;
        let mut framework = serializer.serialize_map(None)?;
        framework.serialize_entry("id", info.id.as_ref().map_or("", |id| &id.value))?;
        framework.serialize_entry("name", &info.name)?;
        model::FrameworkSettings(info).fields(&mut framework)?;
        framework.serialize_entry("hostname", info.hostname())?;
        if let Some(principal) = &info.principal {
            framework.serialize_entry("principal", principal)?;
        }
        model::FrameworkRoles(info).fields(&mut framework)?;
        let active = array(|| executors.values().map(|each| ExecutorJson(each)));
        framework.serialize_entry("executors", &active)?;
        let completed = array(|| completed_executors.iter().map(|each| ExecutorJson(each)));
        framework.serialize_entry("completed_executors", &completed)?;
        framework.end()
    }
}

struct ExecutorJson<'a>(&'a Executor);

impl Serialize for ExecutorJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let executor = self.0;
        let info = &executor.info;
        let mut json = serializer.serialize_map(None)?;
        json.serialize_entry("id", executor.id().as_str())?;
        json.serialize_entry("name", info.name())?;
        json.serialize_entry("source", info.source())?;
        json.serialize_entry("container", executor.container_id().value())?;
        json.serialize_entry("directory", &executor.directory.to_string_lossy())?;
        let resources = executor.allocated_resources();
        json.serialize_entry("resources", &model::ResourceSummary::of_protos(&resources))?;
        model::ExecutorTraits(info).fields(&mut json)?;
        let launched = array(|| {
            executor
                .launched_tasks
                .values()
                .map(|task| model::Task(task))
        });
        json.serialize_entry("tasks", &launched)?;
        let queued = array(|| {
            executor
                .queued_tasks
                .values()
                .map(|task| model::QueuedTask(task))
        });
        json.serialize_entry("queued_tasks", &queued)?;
        let completed = array(|| {
            let ended = executor.completed_tasks.iter();
            ended
                .chain(executor.terminated_tasks.values())
                .map(|task| model::Task(task))
        });
        json.serialize_entry("completed_tasks", &completed)?;
        json.end()
    }
}
