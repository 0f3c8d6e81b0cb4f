//! The agent, by its old name.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesos_agent::main(std::env::args().skip(1))
}
