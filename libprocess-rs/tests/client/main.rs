//! The HTTP client: against a server in the test that says exactly what it is told to, against our own runtime, and against
//! Python's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../tls/certificates.rs"]
#[allow(dead_code, unreachable_pub, reason = "as the other common parts")]
mod certificates;
#[path = "../common/mod.rs"]
mod common;
mod connects;
mod fixture;
mod pipeline;
mod requests;
mod responses;
mod servers;
