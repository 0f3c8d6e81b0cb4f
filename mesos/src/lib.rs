//! The shared vocabulary of Mesos: wire types, resources, flags, JSON, ZooKeeper election.

pub mod attributes;
pub mod contender;
pub mod convert;
pub mod decode;
pub mod detector;
pub mod files;
pub mod flags;
pub mod ids;
pub mod json;
pub mod logging;
pub mod media;
pub mod model;
pub mod recordio;
pub mod resources;
pub mod roles;
pub mod values;
pub mod version;
pub mod zookeeper;

pub use mesos_protos::mesos as proto;
