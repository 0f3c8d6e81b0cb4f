//! An executor in one file, to copy: its tasks say what is in their data, to the scheduler.
//!
//! Executors are started by agents, never by hand; see `executor-scheduler` for who asks for it.

use std::process::ExitCode;

use mesos_driver::proto::{ExecutorInfo, FrameworkInfo, SlaveInfo};
use mesos_driver::proto::{TaskId, TaskInfo, TaskState, TaskStatus};
use mesos_driver::{Executor, ExecutorDriver, Status};

struct EchoExecutor;

/// Tells agent and scheduler how a task is doing. The driver keeps the update until the agent has
/// acknowledged it, also over a restart of the agent.
fn report(driver: &ExecutorDriver, task_id: &TaskId, state: TaskState) {
    driver.send_status_update(TaskStatus {
        task_id: task_id.clone(),
        state: state.into(),
        ..TaskStatus::default()
    });
}

impl Executor for EchoExecutor {
    // What is printed here ends up in the file `stdout` of the sandbox.
    fn registered(
        &mut self,
        _: &ExecutorDriver,
        _: &ExecutorInfo,
        framework: &FrameworkInfo,
        agent: &SlaveInfo,
    ) {
        println!("registered on {} for {}", agent.hostname, framework.name);
    }

    // One executor may run many tasks. Anything that takes time belongs on another thread, since
    // the next callback waits for this one.
    fn launch_task(&mut self, driver: &ExecutorDriver, task: TaskInfo) {
        println!("running {}", task.name);
        report(driver, &task.task_id, TaskState::TaskRunning);
        // Any bytes; there is no guarantee that a message arrives, so important news belongs into
        // the `data` of a status update.
        driver.send_framework_message(task.data.unwrap_or_default());
        report(driver, &task.task_id, TaskState::TaskFinished);
    }

    // Our tasks have ended before a kill can come; others would be ended here.
    fn kill_task(&mut self, driver: &ExecutorDriver, task_id: &TaskId) {
        report(driver, task_id, TaskState::TaskKilled);
    }

    // `shutdown` stops the driver unless it is overridden, and so ends `run` below.
}

fn main() -> ExitCode {
    let driver = ExecutorDriver::new(EchoExecutor);
    match driver.run() {
        Status::Stopped => ExitCode::SUCCESS,
        _ => {
            eprintln!("{}", driver.error().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}
