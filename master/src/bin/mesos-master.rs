//! The Mesos master.

#[cfg(feature = "mimalloc")]
use libprocess_malloc as _;

fn main() -> std::process::ExitCode {
    mesos_master::main(std::env::args().skip(1))
}
