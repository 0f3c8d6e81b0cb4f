//! The agent.

use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
use libprocess_malloc as _;

fn main() -> ExitCode {
    mesos_agent::main(std::env::args().skip(1))
}
