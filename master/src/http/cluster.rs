//! `/state`, `/slaves` and `/frameworks`.

use mesos::ids::AgentId;
use mesos::json::Embedded;
use mesos::model::{
    self, AgentInfo, ExecutorInfo, Fields, FrameworkRoles, FrameworkSettings, Leader, Offer,
    ReservedResources, ResourceSummary, Task, array, object,
};
use mesos::proto;
use mesos::resources::Resources;
use mesos::version;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::View;
use crate::core::state::{Agent, ClusterState, Framework};

/// The whole state.
pub struct State<'a>(pub &'a View);

impl Serialize for State<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (state, settings) = (&self.0.state, &self.0.settings);
        let info = &state.info;
        let mut out = serializer.serialize_map(None)?;
        model::BuildInfo(&version::version_info()).fields(&mut out)?;
        out.serialize_entry("start_time", &state.start_time.as_secs_f64())?;
        if let Some(elected) = state.elected_time {
            out.serialize_entry("elected_time", &elected.as_secs_f64())?;
        }
        out.serialize_entry("id", &info.id)?;
        out.serialize_entry("pid", info.pid())?;
        out.serialize_entry("hostname", info.hostname())?;
        out.serialize_entry(
            "capabilities",
            &model::master_capabilities(&info.capabilities),
        )?;
        let active = state.counts.agents_active as f64;
        out.serialize_entry("activated_slaves", &active)?;
        out.serialize_entry("deactivated_slaves", &(state.agents.len() as f64 - active))?;
        out.serialize_entry(
            "unreachable_slaves",
            &(state.unreachable_agents.len() as f64),
        )?;
        if let Some(domain) = &info.domain {
            out.serialize_entry("domain", &model::Domain(domain))?;
        }
        if let Some(leader) = &state.leader {
            out.serialize_entry("leader", leader.pid())?;
            out.serialize_entry("leader_info", &Leader(leader))?;
        }
        let texts = [
            ("cluster", &settings.cluster),
            ("log_dir", &settings.log_dir),
            ("external_log_file", &settings.external_log_file),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                out.serialize_entry(key, text)?;
            }
        }
        out.serialize_entry("flags", &model::flags(&settings.flags))?;
        out.serialize_entry(
            "slaves",
            &array(|| state.agents.values().map(|agent| SlaveView(agent))),
        )?;
        out.serialize_entry("recovered_slaves", &recovered(state))?;
        frameworks(&mut out, state, None)?;
        out.serialize_entry("orphan_tasks", &NOTHING)?;
        out.serialize_entry("unregistered_frameworks", &NOTHING)?;
        out.end()
    }
}

/// Lists that exist for readers of old releases.
const NOTHING: [(); 0] = [];

/// The answer of `/flags`.
pub struct Flags<'a>(pub &'a [(&'static str, String)]);

impl Serialize for Flags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(1))?;
        out.serialize_entry("flags", &model::flags(self.0))?;
        out.end()
    }
}

fn recovered(state: &ClusterState) -> impl Serialize + '_ {
    array(|| state.recovered_agents.values().map(|info| AgentInfo(info)))
}

fn frameworks<M: SerializeMap>(
    out: &mut M,
    state: &ClusterState,
    only: Option<&str>,
) -> Result<(), M::Error> {
    let lists = [
        ("frameworks", &state.frameworks),
        ("completed_frameworks", &state.completed_frameworks),
    ];
    for (key, list) in lists {
        let selected = array(|| {
            list.values()
                .filter(|framework| only.is_none_or(|id| framework.id.as_str() == id))
                .map(|framework| FrameworkView { framework, state })
        });
        out.serialize_entry(key, &selected)?;
    }
    Ok(())
}

/// The answer of `/slaves`, for one agent if `only` names one.
pub struct Slaves<'a> {
    /// What to show.
    pub view: &'a View,
    /// The id of the only agent to show.
    pub only: Option<&'a str>,
}

impl Serialize for Slaves<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let state = &self.view.state;
        let wanted = |id: &AgentId| self.only.is_none_or(|only| id.as_str() == only);
        let mut out = serializer.serialize_map(Some(2))?;
        out.serialize_entry(
            "slaves",
            &array(|| {
                state
                    .agents
                    .iter()
                    .filter(|(id, _)| wanted(id))
                    .map(|(_, agent)| SlaveInFull(agent))
            }),
        )?;
        out.serialize_entry(
            "recovered_slaves",
            &array(|| {
                state
                    .recovered_agents
                    .iter()
                    .filter(|(id, _)| wanted(id))
                    .map(|(_, info)| AgentInfo(info))
            }),
        )?;
        out.end()
    }
}

/// The answer of `/frameworks`, for one framework if `only` names one.
pub struct Frameworks<'a> {
    /// What to show.
    pub view: &'a View,
    /// The id of the only framework to show.
    pub only: Option<&'a str>,
}

impl Serialize for Frameworks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(3))?;
        frameworks(&mut out, &self.view.state, self.only)?;
        out.serialize_entry("unregistered_frameworks", &NOTHING)?;
        out.end()
    }
}

/// An agent as `/state` and `/state-summary` show it.
pub struct SlaveView<'a>(pub &'a Agent);

impl Fields for SlaveView<'_> {
    fn fields<M: SerializeMap>(&self, out: &mut M) -> Result<(), M::Error> {
        let agent = self.0;
        AgentInfo(&agent.info).fields(out)?;
        out.serialize_entry("pid", &agent.pid.to_string())?;
        out.serialize_entry("registered_time", &agent.registered_time.as_secs_f64())?;
        if let Some(time) = agent.reregistered_time {
            out.serialize_entry("reregistered_time", &time.as_secs_f64())?;
        }
        out.serialize_entry("resources", &ResourceSummary::of(&agent.total))?;
        let used = agent.used.values().flatten();
        out.serialize_entry("used_resources", &ResourceSummary::of_each(used))?;
        out.serialize_entry("offered_resources", &ResourceSummary::of(&agent.offered))?;
        out.serialize_entry(
            "reserved_resources",
            &ReservedResources {
                resources: &agent.total,
                visible: |_: &str| true,
            },
        )?;
        let unreserved = agent.total.iter().filter(|each| each.is_unreserved());
        out.serialize_entry(
            "unreserved_resources",
            &ResourceSummary::of_each(unreserved),
        )?;
        out.serialize_entry("active", &agent.active)?;
        out.serialize_entry("deactivated", &agent.deactivated)?;
        out.serialize_entry("version", &agent.version)?;
        let capabilities = agent.capabilities.to_proto();
        out.serialize_entry("capabilities", &model::agent_capabilities(&capabilities))
    }
}

impl Serialize for SlaveView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        model::serialize_fields(self, serializer)
    }
}

/// An agent as `/slaves` shows it.
struct SlaveInFull<'a>(&'a Agent);

impl Serialize for SlaveInFull<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let agent = self.0;
        let mut out = serializer.serialize_map(None)?;
        SlaveView(agent).fields(&mut out)?;
        let reserved = agent.total.reservations();
        out.serialize_entry(
            "reserved_resources_full",
            &object(|| reserved.iter().map(|(role, part)| (&**role, in_full(part)))),
        )?;
        out.serialize_entry(
            "unreserved_resources_full",
            &in_full(&agent.total.unreserved()),
        )?;
        out.serialize_entry("used_resources_full", &in_full(&agent.used_total()))?;
        out.serialize_entry("offered_resources_full", &in_full(&agent.offered))?;
        out.end()
    }
}

/// Resources with all they have, in both formats of reservations.
fn in_full(resources: &Resources) -> impl Serialize + use<> {
    let messages: Vec<proto::Resource> = resources.to_endpoint_protos();
    InFull(messages)
}

struct InFull(Vec<proto::Resource>);

impl Serialize for InFull {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Embedded))
    }
}

/// A framework with its tasks, offers and executors.
pub struct FrameworkView<'a> {
    /// The framework.
    pub framework: &'a Framework,
    /// Where its offers are found.
    pub state: &'a ClusterState,
}

/// The keys of a framework that `/state` and `/state-summary` share.
pub struct FrameworkHead<'a>(pub &'a Framework);

impl Fields for FrameworkHead<'_> {
    fn fields<M: SerializeMap>(&self, out: &mut M) -> Result<(), M::Error> {
        let framework = self.0;
        let info = &framework.info;
        out.serialize_entry("id", framework.id.as_str())?;
        out.serialize_entry("name", &info.name)?;
        if let Some(pid) = framework.pid() {
            out.serialize_entry("pid", &pid.to_string())?;
        }
        let used = framework.used.values().flatten();
        out.serialize_entry("used_resources", &ResourceSummary::of_each(used))?;
        let offered = framework.offered.values().flatten();
        out.serialize_entry("offered_resources", &ResourceSummary::of_each(offered))?;
        out.serialize_entry(
            "capabilities",
            &model::framework_capabilities(&info.capabilities),
        )?;
        out.serialize_entry("hostname", info.hostname())?;
        out.serialize_entry("webui_url", info.webui_url())?;
        out.serialize_entry("active", &framework.active)?;
        out.serialize_entry("connected", &framework.connected())?;
        out.serialize_entry("recovered", &framework.recovered())
    }
}

impl Serialize for FrameworkView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let framework = self.framework;
        let info = &framework.info;
        let mut out = serializer.serialize_map(None)?;
        FrameworkHead(framework).fields(&mut out)?;
        FrameworkSettings(info).fields(&mut out)?;
        out.serialize_entry("registered_time", &framework.registered_time.as_secs_f64())?;
        let unregistered = framework.unregistered_time.unwrap_or_default();
        out.serialize_entry("unregistered_time", &unregistered.as_secs_f64())?;
        if let Some(principal) = &info.principal {
            out.serialize_entry("principal", principal)?;
        }
        let resources = framework.used.values().chain(framework.offered.values());
        out.serialize_entry("resources", &ResourceSummary::of_each(resources.flatten()))?;
        if framework.registered_time != framework.reregistered_time {
            let time = framework.reregistered_time.as_secs_f64();
            out.serialize_entry("reregistered_time", &time)?;
        }
        FrameworkRoles(info).fields(&mut out)?;
        self.work(&mut out)?;
        if let Some(labels) = &info.labels {
            out.serialize_entry("labels", &model::Labels(labels))?;
        }
        let none = proto::scheduler::OfferConstraints::default();
        let constraints = framework.offer_constraints.as_deref().unwrap_or(&none);
        out.serialize_entry("offer_constraints", &Embedded(constraints))?;
        out.end()
    }
}

impl FrameworkView<'_> {
    fn work<M: SerializeMap>(&self, out: &mut M) -> Result<(), M::Error> {
        let framework = self.framework;
        out.serialize_entry(
            "tasks",
            &array(|| framework.tasks.values().map(|task| Task(&task.info))),
        )?;
        out.serialize_entry(
            "unreachable_tasks",
            &array(|| {
                let tasks = framework.unreachable_tasks.values();
                tasks.map(|task| Task(&task.info))
            }),
        )?;
        out.serialize_entry(
            "completed_tasks",
            &array(|| {
                framework
                    .completed_tasks
                    .iter()
                    .map(|task| Task(&task.info))
            }),
        )?;
        out.serialize_entry(
            "offers",
            &array(|| {
                framework
                    .offers
                    .iter()
                    .filter_map(|id| self.state.offers.get(id))
                    .map(|offer| Offer(&offer.info))
            }),
        )?;
        out.serialize_entry(
            "executors",
            &array(|| {
                framework.executors.iter().flat_map(|(agent, executors)| {
                    executors.values().map(move |executor| ExecutorView {
                        info: &executor.info,
                        agent,
                    })
                })
            }),
        )
    }
}

struct ExecutorView<'a> {
    info: &'a proto::ExecutorInfo,
    agent: &'a AgentId,
}

impl Serialize for ExecutorView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        ExecutorInfo(self.info).fields(&mut out)?;
        out.serialize_entry("slave_id", self.agent.as_str())?;
        out.end()
    }
}
