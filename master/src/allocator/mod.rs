//! The allocator: decides which framework is offered which resources.
//!
//! [`Allocator`] is a plain value without runtime, clock and randomness of its own. The master
//! tells it facts: frameworks, agents, resources that come back. [`Allocator::allocate`] answers
//! with the resources to offer, and treats what it handed out as offered or allocated until told
//! otherwise. A fact that cannot be true is an [`AllocatorError`] and changes nothing.
//!
//! A run visits agents in random order. On each agent the role with the smallest dominant share,
//! and in it the framework with the smallest share, is given everything that is left, as far as
//! the framework can use it ([`Options`], capabilities, reservations), has not refused it (filters,
//! constraints), and the role stays within its limits.
//!
//! Not done yet: guarantees of quota are stored and shown, but nothing is held back for them;
//! maintenance and inverse offers; regular expressions in offer constraints; sorters other than
//! DRF.
//!
//! Upstream: `src/master/allocator/mesos/hierarchical.cpp`.

mod agent;
mod agent_events;
mod charge;
mod constraints;
mod core;
mod error;
mod filters;
mod framework;
mod framework_events;
mod metrics;
mod options;
mod quota;
mod resource_events;
mod role_tree;
mod run;
mod sanity;
mod slots;
mod sorter;

#[cfg(test)]
mod tests;

pub use agent::AgentCapabilities;
pub use constraints::ConstraintError;
pub use core::{Allocation, Allocator};
pub use error::AllocatorError;
pub use framework::FrameworkOptions;
pub use mesos::ids::{AgentId, FrameworkId};
pub use options::Options;
pub use quota::Quota;
pub use sanity::Inconsistency;
