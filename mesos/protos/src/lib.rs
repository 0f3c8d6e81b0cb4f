//! The protobuf messages that Mesos processes exchange, generated from `proto/`, with the checks and the JSON
//! of proto2 that prost leaves out.
//!
//! One `.proto` file per package, at the path of the package: `mesos.v1.scheduler` is
//! `proto/mesos/v1/scheduler.proto` and the Rust module [`mesos::v1::scheduler`].
//!
//! - [`decode`] reads a message like proto2 does: required fields must be there, unknown enum numbers leave
//!   their field unset.
//! - [`json`] prints and reads messages in the JSON of Mesos.
//! - [`descriptor`] has the tables of fields that both are driven by.

mod decode;
pub mod descriptor;
pub mod json;
mod repair;
mod wire;

pub use decode::{DecodeError, check_initialized, decode};
pub use descriptor::Described;
pub use json::ProtoJson;

/// The types, as prost generates them; what they mean is said in the `.proto` files and in `proto/README.md`.
#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/mesos_protos.rs"));
}

pub use generated::{appc, docker, google, mesos, oci};

/// All `.proto` files as an encoded `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
