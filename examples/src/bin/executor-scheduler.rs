//! A scheduler with an executor of its own: `echo-executor`, in the same folder as this program.
//!
//! ```sh
//! cargo build -p mesos-examples && target/debug/executor-scheduler 127.0.0.1:5050 3
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use mesos_driver::Bytes;
use mesos_driver::proto::{CommandInfo, ExecutorId, ExecutorInfo, Filters, Offer, SlaveId};
use mesos_driver::proto::{TaskInfo, TaskState, TaskStatus};
use mesos_driver::{Scheduler, SchedulerDriver, Status, framework, offered, scalar, task};

/// What each task needs, and what the executor needs besides.
const TASK_CPUS: f64 = 0.1;
const EXECUTOR_CPUS: f64 = 0.1;
const MEM_MB: f64 = 32.0;

struct ExecutorScheduler {
    executor: PathBuf,
    wanted: usize,
    launched: usize,
    ended: usize,
}

impl ExecutorScheduler {
    /// Tasks with the same executor id on the same agent share one executor: it is started with
    /// the first, and its own resources count once.
    fn executor(&self) -> ExecutorInfo {
        ExecutorInfo {
            executor_id: ExecutorId {
                value: "echo".to_owned(),
            },
            name: Some("echo executor".to_owned()),
            command: Some(CommandInfo {
                shell: Some(false),
                value: Some(self.executor.display().to_string()),
                arguments: vec!["echo-executor".to_owned()],
                ..CommandInfo::default()
            }),
            resources: vec![scalar("cpus", EXECUTOR_CPUS), scalar("mem", MEM_MB)],
            ..ExecutorInfo::default()
        }
    }

    fn task(&self, offer: &Offer) -> TaskInfo {
        let mut task = task(format!("echo-{}", self.launched))
            .on(&offer.slave_id)
            .cpus(TASK_CPUS)
            .mem_mb(MEM_MB)
            .executor(self.executor())
            .build();
        // What the task is to do is between scheduler and executor: any bytes.
        task.data = Some(format!("message {}", self.launched).into());
        task
    }
}

impl Scheduler for ExecutorScheduler {
    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) {
        for offer in offers {
            let fits = offered(&offer, "cpus") >= TASK_CPUS + EXECUTOR_CPUS
                && offered(&offer, "mem") >= 2.0 * MEM_MB;
            let mut tasks = Vec::new();
            if fits && self.launched < self.wanted {
                tasks.push(self.task(&offer));
                self.launched += 1;
            }
            // The rest of the resources back at once, for the next task.
            let filters = Filters {
                refuse_seconds: Some(0.1),
            };
            driver.launch_tasks(vec![offer.id], tasks, filters);
        }
    }

    fn status_update(&mut self, driver: &SchedulerDriver, status: &TaskStatus) {
        println!("{}: {}", status.task_id.value, status.state().as_str_name());
        match status.state() {
            TaskState::TaskStarting | TaskState::TaskRunning => {}
            TaskState::TaskFinished => self.ended += 1,
            _ => {
                eprintln!("{}", status.message());
                driver.abort();
            }
        }
        if self.ended == self.wanted {
            driver.stop(false);
        }
    }

    fn framework_message(
        &mut self,
        _: &SchedulerDriver,
        executor_id: &ExecutorId,
        _: &SlaveId,
        data: &Bytes,
    ) {
        println!(
            "{} says: {}",
            executor_id.value,
            String::from_utf8_lossy(data)
        );
    }

    fn error(&mut self, _: &SchedulerDriver, message: &str) {
        eprintln!("error: {message}");
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(master), Some(Ok(wanted)), Ok(program)) = (
        arguments.next(),
        arguments.next().map(|count| count.parse()),
        std::env::current_exe(),
    ) else {
        eprintln!("usage: executor-scheduler MASTER COUNT");
        return ExitCode::FAILURE;
    };
    let scheduler = ExecutorScheduler {
        executor: program.with_file_name("echo-executor"),
        wanted,
        launched: 0,
        ended: 0,
    };
    let driver = SchedulerDriver::new(scheduler, framework("executor scheduler").build(), master);
    match driver.run() {
        Status::Stopped => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
