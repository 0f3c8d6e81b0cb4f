//! The `mesos` command: for people, and for the programs of Mesos.
//!
//! One file holds them all: called as `mesos-agent`, or as `mesos agent`, it is the agent, and so
//! on for the master and the helpers that an agent starts. The commands for people are `launch`,
//! `ps`, `state`, `explain` and `version`; see `docs/cli.md`.

mod args;
mod cluster;
mod config;
mod explain;
mod http;
mod launch;
mod leader;
mod programs;
mod ps;

use std::ffi::OsString;
use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use args::Command;
#[cfg(feature = "mimalloc")]
use libprocess_malloc as _;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some((program, arguments)) = programs::called(&arguments) {
        return program.run(arguments);
    }
    let command = match args::parse(arguments) {
        Ok(command) => command,
        Err(code) => return code,
    };
    match run(command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("mesos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Launch(args) => block_on(launch::launch(args)),
        Command::Ps(args) => block_on(ps::ps(args)).map(|()| 0),
        Command::State(args) => block_on(ps::state(args)).map(|()| 0),
        Command::Explain(args) => block_on(explain::explain(args)).map(|()| 0),
        Command::Version => {
            // A reader that went away has seen enough.
            let _ = writeln!(std::io::stdout(), "mesos {}", mesos::version::VERSION);
            Ok(0)
        }
        // Taken care of by `programs::called`, unless a flag stands before the subcommand.
        Command::Program(program) => bail!("give the subcommand first: {program:?}"),
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(work);
    // A write to a terminal that takes nothing must not keep the program alive.
    runtime.shutdown_background();
    outcome
}
