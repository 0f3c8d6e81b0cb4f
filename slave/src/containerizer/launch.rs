//! The helper `mesos-containerizer launch`: turns itself into the first process of a container.
//!
//! The agent starts it before the container may run; it waits on its standard input for its orders, a
//! length-prefixed `ContainerLaunchInfo`. If the agent dies first, the input ends early and so does the helper.
//!
//! Upstream: `src/slave/containerizer/mesos/launch.cpp`.

use std::ffi::CString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use mesos::proto;
use mesos::proto::r_limit_info::r_limit::Type as Limit;
use mesos::proto::slave::ContainerLaunchInfo;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid, getuid, initgroups, setgid, setgroups, setsid, setuid};
use prost::Message;
use thiserror::Error;

/// The name of the helper.
pub const MESOS_CONTAINERIZER: &str = "mesos-containerizer";

/// The one command of the helper.
pub const LAUNCH: &str = "launch";

/// What `--help` prints.
const USAGE: &str = "Usage: mesos-containerizer launch [--kill-with-parent]

Becomes the first process of a container. Agents and executors run this, not people: the orders, a
length-delimited mesos.slave.ContainerLaunchInfo, come on the standard input.

  --kill-with-parent  be killed when the process that started this one ends";

/// Lets the container's first process be killed when the process that started the helper ends.
pub const KILL_WITH_PARENT: &str = "--kill-with-parent";

/// The longest orders that are read, in bytes.
const MAX_LAUNCH_INFO_BYTES: u64 = 64 * 1024 * 1024;

/// Where programs are looked for when the container has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why the container could not be entered.
#[derive(Debug, Error)]
enum LaunchError {
    #[error("expected '{LAUNCH} [{KILL_WITH_PARENT}]' on the command line, not '{0}'")]
    Usage(String),
    #[error("failed to read the launch info: {0}")]
    Read(io::Error),
    #[error("the agent ended before it released the container")]
    Abandoned,
    #[error("the launch info has no command")]
    NoCommand,
    #[error("failed to {action}: {source}")]
    System { action: String, source: Errno },
    #[error("failed to enter the working directory '{path}': {source}")]
    WorkingDirectory { path: String, source: io::Error },
    #[error("no such user '{0}'")]
    NoSuchUser(String),
    #[error("resource limit {0}: hard and soft limit must both be given, or neither")]
    HalfLimit(&'static str),
    #[error("resource limit of unknown type")]
    UnknownLimit,
    #[error("failed to execute command '{command}': {source}")]
    Exec { command: String, source: io::Error },
}

fn system(action: impl Into<String>) -> impl FnOnce(Errno) -> LaunchError {
    let action = action.into();
    move |source| LaunchError::System { action, source }
}

/// The program: `arguments` are those after the program name.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    if arguments == ["--help"] {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(never) => match never {},
        Err(error) => {
            // Standard error is the container's file by now, where its owner will look.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<std::convert::Infallible, LaunchError> {
    let kill_with_parent = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [LAUNCH] => false,
        [LAUNCH, KILL_WITH_PARENT] => true,
        _ => return Err(LaunchError::Usage(arguments.join(" "))),
    };
    let info = read_launch_info(&mut io::stdin().lock())?;
    let command = info.command.clone().ok_or(LaunchError::NoCommand)?;

    setsid().map_err(system("start a session"))?;
    set_limits(info.rlimits.as_ref())?;
    if let Some(directory) = &info.working_directory {
        enter(Path::new(directory))?;
    }
    if let Some(user) = &info.user {
        become_user(user)?;
    }
    // Changing the user would clear it.
    if kill_with_parent {
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(system("tie the container to its parent"))?;
    }
    Err(execute(&command, info.environment.as_ref()))
}

fn read_launch_info(input: &mut impl Read) -> Result<ContainerLaunchInfo, LaunchError> {
    let mut orders = Vec::new();
    input
        .take(MAX_LAUNCH_INFO_BYTES)
        .read_to_end(&mut orders)
        .map_err(LaunchError::Read)?;
    ContainerLaunchInfo::decode_length_delimited(orders.as_slice())
        .map_err(|_| LaunchError::Abandoned)
}

fn enter(directory: &Path) -> Result<(), LaunchError> {
    std::env::set_current_dir(directory).map_err(|source| LaunchError::WorkingDirectory {
        path: directory.display().to_string(),
        source,
    })
}

fn set_limits(limits: Option<&proto::RLimitInfo>) -> Result<(), LaunchError> {
    for limit in limits.iter().flat_map(|limits| &limits.rlimits) {
        let kind = limit.r#type();
        let resource = resource(kind).ok_or(LaunchError::UnknownLimit)?;
        let (soft, hard) = match (limit.soft, limit.hard) {
            (Some(soft), Some(hard)) => (soft, hard),
            (None, None) => (RLIM_INFINITY, RLIM_INFINITY),
            _ => return Err(LaunchError::HalfLimit(kind.as_str_name())),
        };
        setrlimit(resource, soft, hard).map_err(system(format!("set {}", kind.as_str_name())))?;
    }
    Ok(())
}

fn resource(kind: Limit) -> Option<Resource> {
    Some(match kind {
        Limit::Unknown => return None,
        Limit::RlmtAs => Resource::RLIMIT_AS,
        Limit::RlmtCore => Resource::RLIMIT_CORE,
        Limit::RlmtCpu => Resource::RLIMIT_CPU,
        Limit::RlmtData => Resource::RLIMIT_DATA,
        Limit::RlmtFsize => Resource::RLIMIT_FSIZE,
        Limit::RlmtLocks => Resource::RLIMIT_LOCKS,
        Limit::RlmtMemlock => Resource::RLIMIT_MEMLOCK,
        Limit::RlmtMsgqueue => Resource::RLIMIT_MSGQUEUE,
        Limit::RlmtNice => Resource::RLIMIT_NICE,
        Limit::RlmtNofile => Resource::RLIMIT_NOFILE,
        Limit::RlmtNproc => Resource::RLIMIT_NPROC,
        Limit::RlmtRss => Resource::RLIMIT_RSS,
        Limit::RlmtRtprio => Resource::RLIMIT_RTPRIO,
        Limit::RlmtRttime => Resource::RLIMIT_RTTIME,
        Limit::RlmtSigpending => Resource::RLIMIT_SIGPENDING,
        Limit::RlmtStack => Resource::RLIMIT_STACK,
    })
}

/// Switches to a user with its groups, for good. Being that user already is enough.
fn become_user(name: &str) -> Result<(), LaunchError> {
    let user = User::from_name(name)
        .map_err(system(format!("look up user '{name}'")))?
        .ok_or_else(|| LaunchError::NoSuchUser(name.to_owned()))?;
    if user.uid == getuid() && user.uid == geteuid() {
        return Ok(());
    }
    let name_c = CString::new(name).map_err(|_| LaunchError::NoSuchUser(name.to_owned()))?;
    setgroups(&[]).map_err(system("drop supplementary groups"))?;
    initgroups(&name_c, user.gid).map_err(system("set supplementary groups"))?;
    setgid(user.gid).map_err(system(format!("become group {}", user.gid)))?;
    setuid(user.uid).map_err(system(format!("become user '{name}'")))
}

/// Replaces this process; comes back only when that fails.
fn execute(info: &proto::CommandInfo, environment: Option<&proto::Environment>) -> LaunchError {
    let Some(value) = &info.value else {
        return LaunchError::NoCommand;
    };
    let mut command = if info.shell() {
        let mut shell = Command::new("/bin/sh");
        shell.arg0("sh").arg("-c").arg(value);
        shell
    } else {
        let mut command = Command::new(value);
        if let Some((name, rest)) = info.arguments.split_first() {
            command.arg0(name).args(rest);
        }
        command
    };
    command.stdin(Stdio::null()).env_clear();
    let variables = environment
        .map(|environment| environment.variables.as_slice())
        .unwrap_or_default();
    if !variables.iter().any(|variable| variable.name == "PATH") {
        command.env("PATH", DEFAULT_PATH);
    }
    for variable in variables {
        command.env(&variable.name, variable.value());
    }
    LaunchError::Exec {
        command: value.clone(),
        source: command.exec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_must_be_complete() {
        let info = ContainerLaunchInfo {
            working_directory: Some("/".to_owned()),
            ..Default::default()
        };
        let bytes = info.encode_length_delimited_to_vec();
        let whole = read_launch_info(&mut bytes.as_slice());
        assert_eq!(whole.unwrap(), info);
        for length in 0..bytes.len() {
            let cut = read_launch_info(&mut &bytes[..length]);
            assert!(matches!(cut, Err(LaunchError::Abandoned)), "{length}");
        }
    }
}
