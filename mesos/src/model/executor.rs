//! Executors and commands.

use serde::ser::SerializeMap;

use super::{
    Fields, Labels, ResourceSummary, allocation_role, array, optional, serialize_as_object,
};
use crate::json::Embedded;
use crate::proto::{self, command_info};

/// An executor as the master shows it. The master adds `slave_id`.
#[derive(Clone, Copy, Debug)]
pub struct ExecutorInfo<'a>(pub &'a proto::ExecutorInfo);

impl Fields for ExecutorInfo<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let info = self.0;
        let framework_id = info.framework_id.as_ref().map_or("", |id| &id.value);
        // Executors without a command have an empty one in the JSON.
        let no_command = proto::CommandInfo::default();
        let command = CommandInfo(info.command.as_ref().unwrap_or(&no_command));
        object.serialize_entry("executor_id", &info.executor_id.value)?;
        object.serialize_entry("name", info.name())?;
        object.serialize_entry("framework_id", framework_id)?;
        object.serialize_entry("command", &command)?;
        object.serialize_entry("resources", &ResourceSummary::of_protos(&info.resources))?;
        ExecutorTraits(info).fields(object)
    }
}

/// `role`, `labels` and `type` of an executor, each only if there is one. The agent shows them in
/// an object of its own.
#[derive(Clone, Copy, Debug)]
pub struct ExecutorTraits<'a>(pub &'a proto::ExecutorInfo);

impl Fields for ExecutorTraits<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let info = self.0;
        // Command executors may have no resources, hence no role.
        if !info.resources.is_empty() {
            object.serialize_entry("role", allocation_role(&info.resources))?;
        }
        optional(object, "labels", info.labels.as_ref().map(Labels))?;
        optional(
            object,
            "type",
            info.r#type.map(|_| info.r#type().as_str_name()),
        )
    }
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct CommandInfo<'a>(pub &'a proto::CommandInfo);

impl Fields for CommandInfo<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let command = self.0;
        optional(object, "shell", command.shell)?;
        optional(object, "value", command.value.as_ref())?;
        object.serialize_entry("argv", &command.arguments)?;
        optional(
            object,
            "environment",
            command.environment.as_ref().map(Embedded),
        )?;
        object.serialize_entry("uris", &array(|| command.uris.iter().map(Uri)))
    }
}

struct Uri<'a>(&'a command_info::Uri);

impl Fields for Uri<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        object.serialize_entry("value", &self.0.value)?;
        object.serialize_entry("executable", &self.0.executable())
    }
}

serialize_as_object!(ExecutorInfo, ExecutorTraits, CommandInfo, Uri);
