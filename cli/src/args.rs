//! The command line of `mesos`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use mesos::values::ByteSize;

#[derive(Debug, Parser)]
#[command(name = "mesos", version = mesos::version::VERSION, about = "Runs and looks at tasks on a Mesos cluster.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one task, follow its output and exit with its exit status.
    ///
    /// Without a master, starts one and an agent for the time being.
    Launch(LaunchArgs),
    /// List tasks.
    Ps(PsArgs),
    /// Print the state of the master as JSON.
    State(StateArgs),
    /// Tell why frameworks are offered nothing.
    Explain(ExplainArgs),
    /// Print the version.
    Version,
    #[command(flatten)]
    Program(ProgramCommand),
}

/// The programs that are run before the command line is looked at, here for the help text.
#[derive(Debug, Subcommand)]
pub(crate) enum ProgramCommand {
    /// Run a master; see `mesos master --help`.
    Master,
    /// Run an agent; see `mesos agent --help`.
    #[command(alias = "slave")]
    Agent,
    /// Run one task the way of mesos-execute; see `mesos execute --help`.
    Execute,
    /// Run the command executor; started by agents.
    #[command(hide = true)]
    Executor,
    /// Start a container; started by agents.
    #[command(hide = true)]
    Containerizer,
}

#[derive(Debug, Args)]
pub(crate) struct LaunchArgs {
    /// Name of the task, also its id.
    #[arg(long, default_value = "task", value_parser = task_name)]
    pub(crate) name: String,

    /// Processors, down to thousandths.
    #[arg(long, default_value = "1", value_parser = amount)]
    pub(crate) cpus: f64,

    /// Memory, such as 128MB or 2GB.
    #[arg(long, value_name = "SIZE", default_value = "128MB", value_parser = size)]
    pub(crate) mem: ByteSize,

    /// Disk, such as 1GB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) disk: Option<ByteSize>,

    /// A variable for the environment of the command; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,

    /// User to run the command as (default: you).
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) user: Option<String>,

    /// Role to use resources of.
    #[arg(long, default_value = "*", value_parser = role)]
    pub(crate) role: String,

    #[command(flatten)]
    pub(crate) master: MasterArgs,

    /// Command line to run by /bin/sh.
    #[arg(long, value_parser = NonEmptyStringValueParser::new(), required_unless_present = "program")]
    pub(crate) command: Option<String>,

    /// Do not tell about the task's states.
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Log what master, agent and scheduler do, as far as they are in this process.
    #[arg(long, short)]
    pub(crate) verbose: bool,

    /// Program to run, and its arguments, without a shell.
    #[arg(last = true, value_name = "PROGRAM", conflicts_with = "command")]
    pub(crate) program: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    #[command(flatten)]
    pub(crate) master: MasterArgs,

    /// List tasks that have ended, too.
    #[arg(long, short)]
    pub(crate) all: bool,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    #[command(flatten)]
    pub(crate) master: MasterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) master: MasterArgs,

    /// Id of the only framework to tell about.
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) framework: Option<String>,

    /// The only role to tell about.
    #[arg(long, value_parser = role)]
    pub(crate) role: Option<String>,

    /// Id of the only agent to tell about.
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) agent: Option<String>,

    /// How many frameworks and agents to name at most [default: 100]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) limit: Option<usize>,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MasterArgs {
    /// Master: host:port or zk://host:port,.../path [default: MESOS_MASTER or ~/.mesos/config.toml]
    #[arg(long, value_name = "ADDRESS", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) master: Option<String>,
}

/// Reads the command line. When that was all there is to do, because help was asked for or because
/// of a mistake, the answer is the exit code: 1 for mistakes, like all others.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, ExitCode> {
    let error = match Cli::try_parse_from(arguments) {
        Ok(cli) => return Ok(cli.command),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that went away has seen enough.
            let _ = error.print();
            Err(ExitCode::SUCCESS)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Err(ExitCode::FAILURE)
        }
        _ => {
            eprintln!("mesos: {}", one_line(&error.to_string()));
            Err(ExitCode::FAILURE)
        }
    }
}

/// The message of clap without usage and hints, in one line.
fn one_line(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let usage = message.find("\n\nUsage:").unwrap_or(message.len());
    let hint = message.find("\n\nFor more").unwrap_or(message.len());
    let words: Vec<&str> = message[..usage.min(hint)].split_whitespace().collect();
    words.join(" ")
}

fn task_name(text: &str) -> Result<String, String> {
    let bad = |c: char| c == '/' || c.is_control();
    if text.is_empty() || text == "." || text == ".." || text.contains(bad) || text.len() > 255 {
        return Err("allowed: 1 to 255 bytes without '/' and control characters".to_owned());
    }
    Ok(text.to_owned())
}

fn amount(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(amount) if amount.is_finite() && amount >= 0.001 => Ok(amount),
        _ => Err("allowed: a number of at least 0.001".to_owned()),
    }
}

fn size(text: &str) -> Result<ByteSize, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.bytes() > 0 => Ok(size),
        _ => Err("allowed: a size such as 64MB, 1GB or 512KB".to_owned()),
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("allowed: NAME=VALUE".to_owned()),
    }
}

fn role(text: &str) -> Result<String, String> {
    mesos::roles::validate(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn launch(arguments: &[&str]) -> Result<LaunchArgs, String> {
        let arguments = ["mesos", "launch"].iter().chain(arguments);
        match Cli::try_parse_from(arguments) {
            Ok(Cli {
                command: Command::Launch(args),
            }) => Ok(args),
            Ok(other) => panic!("parsed as {other:?}"),
            Err(error) => Err(one_line(&error.to_string())),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reads_launch() {
        let args = launch(&[
            "--name=n",
            "--cpus",
            "0.5",
            "--mem=2GB",
            "--env",
            "A=b=c",
            "--env=D=",
            "-q",
            "--command=exit 1",
        ])
        .unwrap();
        assert_eq!(
            (args.name.as_str(), args.cpus, args.mem.megabytes()),
            ("n", 0.5, 2048.0)
        );
        let env = [("A", "b=c"), ("D", "")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(args.env, env);
        assert!(args.quiet);
        assert_eq!(args.command.as_deref(), Some("exit 1"));
        let args = launch(&["--", "echo", "--name"]).unwrap();
        assert_eq!(args.program, ["echo", "--name"]);
    }

    #[test]
    fn says_in_one_line_what_is_wrong() {
        fn check(arguments: &[&str], parts: &[&str]) {
            let message = launch(arguments).unwrap_err();
            assert!(!message.contains('\n'), "{message}");
            for part in parts {
                assert!(message.contains(part), "'{part}' is not in '{message}'");
            }
        }
        check(&[], &["required", "--command"]);
        check(
            &["--cpus=none", "--command=x"],
            &["'none'", "--cpus", "at least 0.001"],
        );
        check(
            &["--cpus=0", "--command=x"],
            &["'0'", "--cpus", "at least 0.001"],
        );
        check(&["--cpus=inf", "--command=x"], &["'inf'", "--cpus"]);
        check(
            &["--mem=12", "--command=x"],
            &["'12'", "--mem", "such as 64MB"],
        );
        check(&["--env=A", "--command=x"], &["'A'", "--env", "NAME=VALUE"]);
        check(
            &["--name=a/b", "--command=x"],
            &["'a/b'", "--name", "without '/'"],
        );
        check(&["--role=a b", "--command=x"], &["'a b'", "--role"]);
        check(
            &["--nmae=a", "--command=x"],
            &["unexpected argument '--nmae'"],
        );
        check(
            &["--command=x", "--", "y"],
            &["--command", "cannot be used with"],
        );
        check(&["--command="], &["--command", "value"]);
    }
}
