//! The Mesos master: knows all agents and frameworks, offers resources, launches tasks.
//!
//! [`core`] is the state machine, without any input or output. [`actor`] runs it on libprocess,
//! [`http`] answers requests from its snapshots, [`registrar`] keeps what must survive, and
//! [`allocator`] decides who is offered what.

pub mod actor;
pub mod allocator;
pub mod allocator_actor;
pub mod constants;
pub mod core;
pub mod flags;
mod hostname;
pub mod http;
pub mod registrar;
mod start;

pub use flags::MasterFlags;
pub use start::{RunningMaster, StartError, main, runtime_config, start};

/// Compiles the examples in the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../docs/allocator.md")]
struct Documentation;
