//! Names, labels and flags.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Fields, array, object, optional, serialize_as_object};
use crate::proto::{self, framework_info, master_info, slave_info};

/// Labels, as an array of `{"key", "value"?}`.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a>(pub &'a proto::Labels);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.labels.iter().map(Label))
    }
}

struct Label<'a>(&'a proto::Label);

impl Fields for Label<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        object.serialize_entry("key", &self.0.key)?;
        optional(object, "value", self.0.value.as_ref())
    }
}

serialize_as_object!(Label);

/// The names of an agent's capabilities.
pub fn agent_capabilities(capabilities: &[slave_info::Capability]) -> impl Serialize {
    let name = |capability: &slave_info::Capability| capability.r#type().as_str_name();
    array(move || capabilities.iter().map(name))
}

/// The names of a framework's capabilities.
pub fn framework_capabilities(capabilities: &[framework_info::Capability]) -> impl Serialize {
    let name = |capability: &framework_info::Capability| capability.r#type().as_str_name();
    array(move || capabilities.iter().map(name))
}

/// The names of a master's capabilities.
pub fn master_capabilities(capabilities: &[master_info::Capability]) -> impl Serialize {
    let name = |capability: &master_info::Capability| capability.r#type().as_str_name();
    array(move || capabilities.iter().map(name))
}

/// The flags that have a value, by name; the value of `flags` in `/state` and `/flags`.
pub fn flags(entries: &[(&'static str, String)]) -> impl Serialize {
    object(|| entries.iter().map(|(name, value)| (*name, value.as_str())))
}
