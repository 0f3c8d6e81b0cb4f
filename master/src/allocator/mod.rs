//! The allocator: decides which framework is offered which resources.
//!
//! [`Allocator`] is a plain value without runtime, clock and randomness of its own. The master
//! tells it facts: frameworks, agents, resources that come back. [`Allocator::allocate`] answers
//! with the resources to offer, and treats what it handed out as offered or allocated until told
//! otherwise. A fact that cannot be true is an [`AllocatorError`] and changes nothing.
//!
//! A run visits agents in random order. On each agent the first role and in it the first framework,
//! in the order of a [`SortPolicy`], is given everything that is left, as far as the framework can
//! use it ([`Options`], capabilities, reservations), has not refused it (filters, constraints), and
//! quota leaves it to the role. What roles are guaranteed ([`Quota`]) is served first and held back
//! from others. `docs/allocator.md` explains it all.
//!
//! Upstream: `src/master/allocator/mesos/hierarchical.cpp`.

mod agent;
mod agent_events;
mod charge;
mod constraints;
mod core;
mod error;
mod exclusions;
mod explain;
mod filters;
mod framework;
mod framework_events;
mod lots;
mod maintenance;
mod metrics;
mod news;
mod options;
mod policy;
mod quota;
mod resource_events;
mod role_tree;
mod run;
mod sanity;
mod slots;
mod sorter;
mod survey;
mod visit;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use agent::AgentCapabilities;
pub use constraints::{ConstraintError, RegexLimits};
pub use core::{Allocation, Allocator, Round};
pub use error::AllocatorError;
pub use exclusions::{ExclusionSurvey, Exclusions, TooManyExclusions};
pub use explain::{AgentExplanation, Answer, DEFAULT_LIMIT, Explanation, Question, Reason};
pub use framework::FrameworkOptions;
pub use maintenance::{InverseOffer, InverseOfferStatuses};
pub use mesos::ids::{AgentId, FrameworkId};
pub use options::Options;
pub use policy::{Basis, Client, Drc, Drf, Fifo, Random, Rank, SortPolicy, UnknownPolicy, policy};
pub use quota::Quota;
pub use sanity::Inconsistency;
pub use survey::Survey;
