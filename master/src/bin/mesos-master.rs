//! The Mesos master.

fn main() -> std::process::ExitCode {
    mesos_master::main(std::env::args().skip(1))
}
