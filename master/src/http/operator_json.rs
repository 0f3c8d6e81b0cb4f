//! Answers of the operator API in JSON that name their lists even when these are empty, which
//! protobuf-JSON would leave out.

use mesos::convert::v0_to_v1;
use mesos::json::{Embedded, ProtoJson};
use mesos::model::array;
use mesos::proto::v1;
use mesos::proto::{self, master::response};
use serde::ser::{Error, Serialize, SerializeMap, Serializer};

use super::describe;
use crate::core::state::ClusterState;

/// A part of the state that has an answer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// GET_STATE
    State,
    /// GET_AGENTS
    Agents,
    /// GET_FRAMEWORKS
    Frameworks,
    /// GET_EXECUTORS
    Executors,
    /// GET_TASKS
    Tasks,
}

impl Part {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::State => ("GET_STATE", "get_state"),
            Self::Agents => ("GET_AGENTS", "get_agents"),
            Self::Frameworks => ("GET_FRAMEWORKS", "get_frameworks"),
            Self::Executors => ("GET_EXECUTORS", "get_executors"),
            Self::Tasks => ("GET_TASKS", "get_tasks"),
        }
    }
}

/// The answer to a call for a part of the state.
///
/// # Errors
/// Those of the serializer.
pub fn answer(part: Part, state: &ClusterState) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Answer { part, state })
}

/// The first event of a subscription.
#[must_use]
pub fn subscribed(state: &ClusterState, heartbeat_interval_seconds: f64) -> String {
    let event = Subscribed {
        state,
        heartbeat_interval_seconds,
    };
    serde_json::to_string(&event).unwrap_or_else(|error| {
        tracing::error!("Cannot render the state: {error}");
        String::new()
    })
}

struct Answer<'a> {
    part: Part,
    state: &'a ClusterState,
}

impl Serialize for Answer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, field) = self.part.names();
        let mut out = serializer.serialize_map(Some(2))?;
        out.serialize_entry("type", kind)?;
        let content = Content {
            part: self.part,
            state: self.state,
        };
        out.serialize_entry(field, &content)?;
        out.end()
    }
}

struct Subscribed<'a> {
    state: &'a ClusterState,
    heartbeat_interval_seconds: f64,
}

impl Serialize for Subscribed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(2))?;
        out.serialize_entry("type", "SUBSCRIBED")?;
        out.serialize_entry("subscribed", &SubscribedContent(self))?;
        out.end()
    }
}

struct SubscribedContent<'a>(&'a Subscribed<'a>);

impl Serialize for SubscribedContent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(2))?;
        let content = Content {
            part: Part::State,
            state: self.0.state,
        };
        out.serialize_entry("get_state", &content)?;
        out.serialize_entry(
            "heartbeat_interval_seconds",
            &self.0.heartbeat_interval_seconds,
        )?;
        out.end()
    }
}

struct Content<'a> {
    part: Part,
    state: &'a ClusterState,
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let state = self.state;
        let mut out = serializer.serialize_map(None)?;
        match self.part {
            Part::State => {
                for part in [Part::Tasks, Part::Executors, Part::Frameworks, Part::Agents] {
                    out.serialize_entry(part.names().1, &Content { part, state })?;
                }
            }
            Part::Tasks => {
                let [live, unreachable, completed] = describe::tasks_of(state);
                let lists = [
                    ("tasks", live),
                    ("unreachable_tasks", unreachable),
                    ("completed_tasks", completed),
                ];
                for (name, list) in lists {
                    let tasks = array(|| list.iter().map(|task| V1::<_, v1::Task>::new(*task)));
                    out.serialize_entry(name, &tasks)?;
                }
            }
            Part::Executors => {
                let executors = array(|| describe::executors(state).map(V1Owned::executor));
                out.serialize_entry("executors", &executors)?;
            }
            Part::Frameworks => {
                let all = describe::frameworks(state);
                let lists = [
                    ("frameworks", &all.frameworks),
                    ("completed_frameworks", &all.completed_frameworks),
                ];
                for (name, list) in lists {
                    let frameworks = array(|| {
                        list.iter()
                            .map(V1::<_, v1::master::response::get_frameworks::Framework>::new)
                    });
                    out.serialize_entry(name, &frameworks)?;
                }
            }
            Part::Agents => {
                let all = describe::agents(state);
                let agents = array(|| {
                    all.agents
                        .iter()
                        .map(V1::<_, v1::master::response::get_agents::Agent>::new)
                });
                out.serialize_entry("agents", &agents)?;
                let recovered = array(|| {
                    all.recovered_agents
                        .iter()
                        .map(V1::<proto::SlaveInfo, v1::AgentInfo>::new)
                });
                out.serialize_entry("recovered_agents", &recovered)?;
            }
        }
        out.end()
    }
}

/// A message in its internal form, printed in its public one.
struct V1<'a, A, B> {
    message: &'a A,
    public: std::marker::PhantomData<B>,
}

impl<'a, A, B> V1<'a, A, B> {
    fn new(message: &'a A) -> Self {
        Self {
            message,
            public: std::marker::PhantomData,
        }
    }
}

impl<A, B> Serialize for V1<'_, A, B>
where
    A: prost::Message + prost::Name,
    B: prost::Message + prost::Name + Default + ProtoJson,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let public: B = v0_to_v1(self.message).map_err(S::Error::custom)?;
        Embedded(&public).serialize(serializer)
    }
}

/// The same for a message made on the way.
struct V1Owned(response::get_executors::Executor);

impl V1Owned {
    fn executor(executor: response::get_executors::Executor) -> Self {
        Self(executor)
    }
}

impl Serialize for V1Owned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        V1::<_, v1::master::response::get_executors::Executor>::new(&self.0).serialize(serializer)
    }
}
