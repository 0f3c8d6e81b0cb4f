//! Parts of which whole-system tests are made: real processes, a real ZooKeeper, clients that
//! speak the wire formats by hand.
//!
//! Whatever a part starts (processes, folders, ports) it also removes, when it is dropped and
//! when the test fails. Logs of processes are printed when the test fails.

pub mod binary;
pub mod cluster;
pub mod http;
pub mod net;
pub mod process;
pub mod scheduler;
pub mod shape;
pub mod wait;
pub mod workload;
pub mod zookeeper;
