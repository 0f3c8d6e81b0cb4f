//! The programs that this file is besides `mesos`, by name of the file or by subcommand.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// A program with flags of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Master,
    Agent,
    Execute,
    Executor,
    Containerizer,
}

/// Name of the file, subcommand, program.
const PROGRAMS: [(&str, &str, Program); 6] = [
    ("mesos-master", "master", Program::Master),
    ("mesos-agent", "agent", Program::Agent),
    ("mesos-slave", "slave", Program::Agent),
    ("mesos-execute", "execute", Program::Execute),
    ("mesos-executor", "executor", Program::Executor),
    (
        "mesos-containerizer",
        "containerizer",
        Program::Containerizer,
    ),
];

/// The program that was called by `arguments`, the first of which is the name of this file as the
/// caller wrote it; and the arguments for it.
pub(crate) fn called(arguments: &[OsString]) -> Option<(Program, Vec<String>)> {
    let (file, rest) = arguments.split_first()?;
    let file = Path::new(file).file_name()?.to_str()?;
    if let Some((_, _, program)) = PROGRAMS.iter().find(|(name, _, _)| *name == file) {
        return Some((*program, texts(rest)));
    }
    let (subcommand, rest) = rest.split_first()?;
    let subcommand = subcommand.to_str()?;
    let (_, _, program) = PROGRAMS.iter().find(|(_, name, _)| *name == subcommand)?;
    Some((*program, texts(rest)))
}

/// Flags are text; what is not is shown as such in the error that names it.
fn texts(arguments: &[OsString]) -> Vec<String> {
    let text = |argument: &OsString| argument.to_string_lossy().into_owned();
    arguments.iter().map(text).collect()
}

impl Program {
    /// Runs the program to its end.
    pub(crate) fn run(self, arguments: Vec<String>) -> ExitCode {
        let arguments = arguments.into_iter();
        match self {
            Program::Master => mesos_master::main(arguments),
            Program::Agent => mesos_agent::main(arguments),
            Program::Execute => mesos_execute::main(arguments),
            Program::Executor => mesos_agent::executor_main(arguments),
            Program::Containerizer => mesos_agent::containerizer_main(arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_programs_by_file_and_by_subcommand() {
        fn check(arguments: &[&str], expected: Option<(Program, &[&str])>) {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            let expected = expected
                .map(|(program, rest)| (program, rest.iter().map(|it| it.to_string()).collect()));
            assert_eq!(called(&arguments), expected);
        }
        check(&["mesos"], None);
        check(&["mesos", "ps"], None);
        check(
            &["/bin/mesos", "agent", "--help"],
            Some((Program::Agent, &["--help"])),
        );
        check(&["mesos", "slave"], Some((Program::Agent, &[])));
        check(
            &["/opt/mesos-master", "--port=1"],
            Some((Program::Master, &["--port=1"])),
        );
        check(
            &["mesos-executor", "agent"],
            Some((Program::Executor, &["agent"])),
        );
        check(&[], None);
    }
}
