//! TLS on the port of a runtime and on its connections, also against OpenSSL and curl.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accepting;
mod certificates;
#[path = "../common/mod.rs"]
mod common;
mod connecting;
mod documented;
mod memory;
mod support;
