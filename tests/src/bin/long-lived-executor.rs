//! An executor for tests: a task whose data is `finish` finishes at once, any other one runs
//! until it is killed.

use std::process::ExitCode;

use mesos_driver::proto::{TaskId, TaskInfo, TaskState, TaskStatus};
use mesos_driver::{Executor, ExecutorDriver, Status};

struct LongLivedExecutor;

fn report(driver: &ExecutorDriver, task_id: &TaskId, state: TaskState) {
    driver.send_status_update(TaskStatus {
        task_id: task_id.clone(),
        state: state.into(),
        ..TaskStatus::default()
    });
}

impl Executor for LongLivedExecutor {
    fn launch_task(&mut self, driver: &ExecutorDriver, task: TaskInfo) {
        println!("Starting task {}", task.task_id.value);
        report(driver, &task.task_id, TaskState::TaskRunning);
        if task.data.is_some_and(|data| data == "finish") {
            report(driver, &task.task_id, TaskState::TaskFinished);
        }
    }

    fn kill_task(&mut self, driver: &ExecutorDriver, task_id: &TaskId) {
        report(driver, task_id, TaskState::TaskKilled);
    }
}

fn main() -> ExitCode {
    let driver = ExecutorDriver::new(LongLivedExecutor);
    match driver.run() {
        Status::Stopped => ExitCode::SUCCESS,
        _ => {
            eprintln!("{}", driver.error().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}
