//! Resources and their algebra.
//!
//! [`Resources`] is a bundle of [`Resource`]s: what an agent has, what an offer holds, what a task
//! needs. Amounts are [`Scalar`]s with three decimals, [`Ranges`] such as ports, or [`Set`]s. A
//! resource may be reserved to a role (a stack of [`Reservation`]s), allocated to a role, on a
//! particular disk, revocable, shared, or come from a resource provider; only resources that agree
//! in all of this are added up.
//!
//! [`ResourceQuantities`] and [`ResourceLimits`] are amounts by name alone, as quota and fairness
//! count them.
//!
//! ```
//! use mesos::resources::Resources;
//!
//! let mut agent = Resources::parse("cpus:4;mem:1024;ports:[31000-32000]", "*")?;
//! let task = Resources::parse("cpus:0.5;mem:128;ports:[31000-31000]", "*")?;
//! assert!(agent.contains(&task));
//! agent -= &task;
//! assert_eq!(agent.to_string(), "cpus:3.5; mem:896; ports:[31001-32000]");
//! # Ok::<(), mesos::resources::ParseError>(())
//! ```
//!
//! Upstream: `include/mesos/resources.hpp`, `src/common/resources.cpp`.

mod collection;
mod disk;
mod display;
mod filters;
mod format;
mod metadata;
mod name;
mod operations;
mod parse;
mod quantities;
mod ranges;
mod resource;
mod scalar;
mod set;
mod validate;
mod value;
mod wire;

#[cfg(test)]
mod tests;

pub use collection::Resources;
pub use format::{DowngradeError, HasResources, downgrade, downgrade_all, to_endpoint, upgrade};
pub use metadata::{Reservation, ReservationKind};
pub use name::Name;
pub use operations::{OperationError, ResourceConversion, conversions, resource_provider};
pub use parse::ParseError;
pub use quantities::{QuantitiesError, ResourceLimits, ResourceQuantities};
pub use ranges::{Range, Ranges};
pub use resource::Resource;
pub use scalar::{SCALAR_UNITS_MAX, Scalar, ScalarError};
pub use set::Set;
pub use validate::{InvalidReason, ValidationError, validate_resource};
pub use value::{TextValue, Value, ValueError};
pub(crate) use wire::{read_ranges, write_ranges};
