//! JSON building blocks of the unversioned endpoints (`/state`, `/slaves`, ...) of master and
//! agent.
//!
//! Each type borrows what it shows and writes its keys straight into the serializer: no tree of
//! values is built, however large the cluster. Keys, their order and the kind of each value are
//! those of Mesos 1.11; operators' scripts depend on them.
//!
//! Objects that others extend implement [`Fields`]: `/slaves` writes the fields of an agent and
//! then its own. Messages that are shown whole are [`Embedded`]. Arrays and objects of many come from iterators, through [`array()`] and [`object`].
//! Upstream: `src/common/http.cpp`, `src/master/readonly_handler.cpp`, `src/slave/http.cpp`.

mod cluster;
mod container;
mod executor;
mod framework;
mod resources;
mod task;
mod text;
mod version;

#[cfg(test)]
mod tests;

pub use crate::json::Embedded;
pub use cluster::{AgentInfo, Attributes, Domain, Leader, Offer};
pub use container::{ContainerId, ContainerStatus, NetworkInfo};
pub use executor::{CommandInfo, ExecutorInfo, ExecutorTraits};
pub use framework::{FrameworkRoles, FrameworkSettings};
pub use resources::{
    FullResources, ReservedResources, ReservedResourcesFull, ResourceSummary, allocation_role,
    quantities,
};
pub use task::{Limits, QueuedTask, Task, TaskStatus};
pub use text::{Labels, agent_capabilities, flags, framework_capabilities, master_capabilities};
pub use version::BuildInfo;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Something that is shown as an object, and whose keys may be part of a larger object.
pub trait Fields {
    /// Writes the keys and values.
    ///
    /// # Errors
    /// Those of the serializer.
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error>;
}

/// Writes fields as an object of their own; what `Serialize` does for types with [`Fields`].
///
/// # Errors
/// Those of the serializer.
pub fn serialize_fields<T: Fields, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(None)?;
    value.fields(&mut object)?;
    object.end()
}

/// Implements `Serialize` by `Fields` for types that borrow.
macro_rules! serialize_as_object {
    ($($name:ident),+) => {$(
        impl serde::Serialize for $name<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::model::serialize_fields(self, serializer)
            }
        }
    )+};
}
use serialize_as_object;

/// An array of what `iterate` yields, each time it is written.
pub fn array<I, F>(iterate: F) -> Array<F>
where
    F: Fn() -> I,
    I: IntoIterator<Item: Serialize>,
{
    Array(iterate)
}

/// An array that is made from an iterator; see [`array()`].
#[derive(Clone, Copy, Debug)]
pub struct Array<F>(F);

impl<I, F> Serialize for Array<F>
where
    F: Fn() -> I,
    I: IntoIterator<Item: Serialize>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// An object of the keys and values that `iterate` yields, each time it is written.
pub fn object<I, K, V, F>(iterate: F) -> Object<F>
where
    F: Fn() -> I,
    I: IntoIterator<Item = (K, V)>,
    K: Serialize,
    V: Serialize,
{
    Object(iterate)
}

/// An object that is made from an iterator; see [`object`].
#[derive(Clone, Copy, Debug)]
pub struct Object<F>(F);

impl<I, K, V, F> Serialize for Object<F>
where
    F: Fn() -> I,
    I: IntoIterator<Item = (K, V)>,
    K: Serialize,
    V: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map((self.0)())
    }
}

/// Writes a key whose value may be missing.
fn optional<M: SerializeMap, T: Serialize>(
    object: &mut M,
    key: &'static str,
    value: Option<T>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => object.serialize_entry(key, &value),
        None => Ok(()),
    }
}
