//! Behaviour of the core, event by event.

mod agents;
mod failover;
mod frameworks;
mod launching;
mod offers;
mod random;
mod tasks;
