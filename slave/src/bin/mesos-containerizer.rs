//! The helper program that becomes the first process of a container.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesos_agent::containerizer_main(std::env::args().skip(1))
}
