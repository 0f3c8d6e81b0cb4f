//! The `mesos-execute` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesos_execute::main(std::env::args().skip(1))
}
