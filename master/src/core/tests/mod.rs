//! Behaviour of the core, event by event.

mod agents;
mod failover;
mod frameworks;
mod launching;
mod maintenance;
mod offers;
mod quota;
mod random;
mod tasks;
mod weights;
