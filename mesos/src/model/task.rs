//! Tasks and their statuses.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{
    CommandInfo, ContainerStatus, Fields, Labels, ResourceSummary, allocation_role, array,
    optional, serialize_as_object,
};
use crate::json::Embedded;
use crate::proto;

/// A task that was launched, running or completed.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a>(pub &'a proto::Task);

impl Fields for Task<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let task = self.0;
        // Empty for tasks that are a command.
        let executor_id = task.executor_id.as_ref().map_or("", |id| &id.value);
        object.serialize_entry("id", &task.task_id.value)?;
        object.serialize_entry("name", &task.name)?;
        object.serialize_entry("framework_id", &task.framework_id.value)?;
        object.serialize_entry("executor_id", executor_id)?;
        object.serialize_entry("slave_id", &task.slave_id.value)?;
        object.serialize_entry("state", task.state().as_str_name())?;
        object.serialize_entry("resources", &ResourceSummary::of_protos(&task.resources))?;
        if !task.limits.is_empty() {
            object.serialize_entry("limits", &Limits(&task.limits))?;
        }
        object.serialize_entry("role", allocation_role(&task.resources))?;
        object.serialize_entry("statuses", &array(|| task.statuses.iter().map(TaskStatus)))?;
        optional(object, "user", task.user.as_ref())?;
        optional(object, "labels", task.labels.as_ref().map(Labels))?;
        optional(object, "discovery", task.discovery.as_ref().map(Embedded))?;
        optional(object, "container", task.container.as_ref().map(Embedded))?;
        optional(
            object,
            "health_check",
            task.health_check.as_ref().map(Embedded),
        )
    }
}

/// One of the states that a task went through.
#[derive(Clone, Copy, Debug)]
pub struct TaskStatus<'a>(pub &'a proto::TaskStatus);

impl Fields for TaskStatus<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let status = self.0;
        object.serialize_entry("state", status.state().as_str_name())?;
        object.serialize_entry("timestamp", &status.timestamp())?;
        optional(object, "labels", status.labels.as_ref().map(Labels))?;
        let container_status = status.container_status.as_ref().map(ContainerStatus);
        optional(object, "container_status", container_status)?;
        optional(object, "healthy", status.healthy)
    }
}

/// A task that the agent has not given to its executor yet.
#[derive(Clone, Copy, Debug)]
pub struct QueuedTask<'a>(pub &'a proto::TaskInfo);

impl Fields for QueuedTask<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let task = self.0;
        object.serialize_entry("id", &task.task_id.value)?;
        object.serialize_entry("name", &task.name)?;
        object.serialize_entry("slave_id", &task.slave_id.value)?;
        object.serialize_entry("resources", &ResourceSummary::of_protos(&task.resources))?;
        object.serialize_entry("role", allocation_role(&task.resources))?;
        optional(object, "command", task.command.as_ref().map(CommandInfo))?;
        let executor_id = task.executor.as_ref().map(|info| &info.executor_id.value);
        optional(object, "executor_id", executor_id)?;
        optional(object, "discovery", task.discovery.as_ref().map(Embedded))
    }
}

/// The most that a task may use, by the name of the resource. No limit is the text `Infinity`:
/// JSON has no such number, and what Mesos 1.11 writes there cannot be parsed by everyone.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a>(pub &'a BTreeMap<String, proto::value::Scalar>);

impl Serialize for Limits<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.0.len()))?;
        for (name, limit) in self.0 {
            if limit.value.is_infinite() {
                object.serialize_entry(name, "Infinity")?;
            } else {
                object.serialize_entry(name, &limit.value)?;
            }
        }
        object.end()
    }
}

serialize_as_object!(Task, TaskStatus, QueuedTask);
