//! The command executor.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesos_agent::executor_main(std::env::args().skip(1))
}
