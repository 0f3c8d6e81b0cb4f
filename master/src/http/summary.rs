//! `/state-summary`: agents and frameworks with counts of tasks instead of the tasks.

use std::collections::{BTreeMap, BTreeSet};

use mesos::ids::{AgentId, FrameworkId};
use mesos::model::{Fields, array};
use mesos::proto::TaskState;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::View;
use super::cluster::{FrameworkHead, SlaveView};
use crate::core::state::{Framework, Task};
use crate::core::task_state::TASK_STATES;

/// The states that are shown, in their order.
const SHOWN: [TaskState; 10] = [
    TaskState::TaskStaging,
    TaskState::TaskStarting,
    TaskState::TaskRunning,
    TaskState::TaskKilling,
    TaskState::TaskFinished,
    TaskState::TaskKilled,
    TaskState::TaskFailed,
    TaskState::TaskLost,
    TaskState::TaskError,
    TaskState::TaskUnreachable,
];

#[derive(Default)]
struct TaskCounts([u64; TASK_STATES]);

impl TaskCounts {
    fn add(&mut self, state: TaskState) {
        if let Some(count) = self.0.get_mut(state as usize) {
            *count += 1;
        }
    }

    fn fields<M: SerializeMap>(&self, out: &mut M) -> Result<(), M::Error> {
        for state in SHOWN {
            let count = self.0.get(state as usize).copied().unwrap_or(0);
            out.serialize_entry(state.as_str_name(), &count)?;
        }
        Ok(())
    }
}

/// The summary of a cluster, counted once for all.
pub(super) struct Summary<'a> {
    view: &'a View,
    agents: BTreeMap<&'a AgentId, (TaskCounts, BTreeSet<&'a FrameworkId>)>,
    frameworks: BTreeMap<&'a FrameworkId, (TaskCounts, BTreeSet<&'a AgentId>)>,
}

impl<'a> Summary<'a> {
    /// Counts the tasks of all frameworks.
    #[must_use]
    pub(super) fn new(view: &'a View) -> Self {
        let mut summary = Self {
            view,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
        };
        for framework in view.state.frameworks.values() {
            for task in tasks_of(framework) {
                summary.add(framework, task);
            }
            for agent in framework.executors.keys() {
                summary.link(framework, agent);
            }
        }
        summary
    }

    fn add(&mut self, framework: &'a Framework, task: &'a Task) {
        self.link(framework, &task.agent_id);
        if let Some((counts, _)) = self.agents.get_mut(&task.agent_id) {
            counts.add(task.state);
        }
        if let Some((counts, _)) = self.frameworks.get_mut(&framework.id) {
            counts.add(task.state);
        }
    }

    fn link(&mut self, framework: &'a Framework, agent: &'a AgentId) {
        let of_agent = self.agents.entry(agent).or_default();
        of_agent.1.insert(&framework.id);
        let of_framework = self.frameworks.entry(&framework.id).or_default();
        of_framework.1.insert(agent);
    }
}

fn tasks_of(framework: &Framework) -> impl Iterator<Item = &Task> {
    framework
        .tasks
        .values()
        .chain(framework.unreachable_tasks.values())
        .chain(framework.completed_tasks.iter())
        .map(|task| &**task)
}

impl Serialize for Summary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let state = &self.view.state;
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("hostname", state.info.hostname())?;
        if let Some(cluster) = &self.view.settings.cluster {
            out.serialize_entry("cluster", cluster)?;
        }
        out.serialize_entry(
            "slaves",
            &array(|| {
                state.agents.values().map(|agent| Counted {
                    head: SlaveView(agent),
                    counts: self.agents.get(&agent.id),
                    ids: "framework_ids",
                    name: FrameworkId::as_str,
                })
            }),
        )?;
        out.serialize_entry(
            "frameworks",
            &array(|| {
                state.frameworks.values().map(|framework| Counted {
                    head: FrameworkHead(framework),
                    counts: self.frameworks.get(&framework.id),
                    ids: "slave_ids",
                    name: AgentId::as_str,
                })
            }),
        )?;
        out.end()
    }
}

/// An agent or framework, the counts of its tasks, and the ids of the other side.
struct Counted<'a, H, I> {
    head: H,
    counts: Option<&'a (TaskCounts, BTreeSet<&'a I>)>,
    ids: &'static str,
    name: fn(&I) -> &str,
}

impl<H: Fields, I> Serialize for Counted<'_, H, I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let none = (TaskCounts::default(), BTreeSet::new());
        let (counts, ids) = self.counts.unwrap_or(&none);
        let mut out = serializer.serialize_map(None)?;
        self.head.fields(&mut out)?;
        counts.fields(&mut out)?;
        out.serialize_entry(self.ids, &array(|| ids.iter().map(|id| (self.name)(id))))?;
        out.end()
    }
}
