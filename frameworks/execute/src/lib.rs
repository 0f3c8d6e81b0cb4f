//! `mesos-execute`: runs one command task on a cluster and prints its states.
//!
//! Flags and output are those of upstream's `src/cli/execute.cpp`. The scheduler that takes the
//! first fitting offer, [`OneTask`], is also what `mesos launch` is built on.

mod exit;
mod flags;
mod one_task;
mod report;
mod task;

pub use exit::exit_status;
pub use flags::{ExecuteFlags, UsageError};
pub use one_task::{OneTask, TaskNews, is_terminal};

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use mesos::flags::{Flags, Loaded};
use mesos::logging::LoggingError;
use mesos::proto::{FrameworkInfo, TaskId, TaskInfo, TaskState};
use mesos::resources::Resources;
use mesos_driver::{SchedulerDriver, Status};

/// What the program is called in its messages.
const PROGRAM: &str = "mesos-execute";

/// Runs the program with `arguments`, which do not include its name.
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let loaded = match ExecuteFlags::load_or_exit(PROGRAM, arguments) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Some(argument) = loaded.positional.first() {
        eprintln!("Unexpected argument '{argument}': {PROGRAM} takes only flags (--name=value)");
        return ExitCode::FAILURE;
    }
    match run(&loaded) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Why the program does not even start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error(transparent)]
    Logging(#[from] LoggingError),
}

fn run(loaded: &Loaded<ExecuteFlags>) -> Result<u8, StartError> {
    let flags = &loaded.flags;
    flags.check_supported()?;
    let (task, resources) = task::task(flags)?;
    let framework = task::framework(flags)?;
    mesos::logging::init(PROGRAM, &flags.logging)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(execute(flags, task, resources, framework))
}

/// Runs the task to its end; the exit status of the program.
fn execute(
    flags: &ExecuteFlags,
    task: TaskInfo,
    resources: Resources,
    framework: FrameworkInfo,
) -> u8 {
    let outcome = Arc::new(AtomicU8::new(1));
    let mut teller = Teller {
        name: task.name.clone(),
        task_id: task.task_id.clone(),
        kill_after: flags.kill_after.map(Duration::from),
        exit_with_task_status: flags.exit_with_task_status,
        outcome: outcome.clone(),
        kill_timer: None,
    };
    let scheduler = OneTask::new(task, resources, move |driver: &SchedulerDriver, news| {
        teller.hear(driver, news);
    });
    let driver = SchedulerDriver::new(scheduler, framework, flags.master.clone());
    match driver.run() {
        Status::Stopped => outcome.load(Ordering::Relaxed),
        _ => 1,
    }
}

/// Prints the news and ends the driver when there will be no more.
struct Teller {
    name: String,
    task_id: TaskId,
    kill_after: Option<Duration>,
    exit_with_task_status: bool,
    outcome: Arc<AtomicU8>,
    /// Dropping it cancels the kill.
    kill_timer: Option<mpsc::Sender<()>>,
}

impl Teller {
    fn hear(&mut self, driver: &SchedulerDriver, news: TaskNews) {
        match news {
            TaskNews::Subscribed(id) => say(&format!("Subscribed with ID {}\n", id.value)),
            TaskNews::Submitted(offer) => {
                let agent = &offer.slave_id.value;
                say(&format!(
                    "Submitted task '{}' to agent '{agent}'\n",
                    self.name
                ));
            }
            TaskNews::Update(status) => {
                say(&report::update_lines(&status));
                if status.state() == TaskState::TaskRunning {
                    self.start_kill_timer(driver);
                }
                if is_terminal(status.state()) {
                    let code = if self.exit_with_task_status {
                        exit_status(&status)
                    } else {
                        0
                    };
                    self.outcome.store(code, Ordering::Relaxed);
                    self.kill_timer = None;
                    driver.stop(false);
                }
            }
            TaskNews::Error(message) => eprintln!("Received an ERROR event: {message}"),
            TaskNews::Declined(_) | TaskNews::Disconnected | TaskNews::Reconnected => {}
        }
    }

    fn start_kill_timer(&mut self, driver: &SchedulerDriver) {
        let Some(after) = self.kill_after.take() else {
            return;
        };
        let (sender, receiver) = mpsc::channel();
        self.kill_timer = Some(sender);
        let (driver, task_id) = (driver.clone(), self.task_id.clone());
        thread::spawn(move || {
            if receiver.recv_timeout(after) == Err(mpsc::RecvTimeoutError::Timeout) {
                driver.kill_task(task_id);
            }
        });
    }
}

/// Prints `text`; a reader that went away must not end the task.
fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        tracing::debug!("cannot write to the standard output: {error}");
    }
}
