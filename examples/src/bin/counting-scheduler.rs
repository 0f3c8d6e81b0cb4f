//! A scheduler in one file, to copy: launches commands and counts how they end.
//!
//! ```sh
//! cargo run --bin counting-scheduler -- 127.0.0.1:5050 10 'echo hello from $MESOS_TASK_ID'
//! ```
//!
//! It ends with status 0 when all tasks have finished.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use mesos_driver::proto::{Filters, FrameworkId, MasterInfo, Offer, TaskState, TaskStatus};
use mesos_driver::{Scheduler, SchedulerDriver, framework, offered, task};

/// What each task needs.
const TASK_CPUS: f64 = 0.1;
const TASK_MEM_MB: f64 = 32.0;

/// Shared with `main`, which prints it at the end.
#[derive(Default)]
struct Tally {
    finished: usize,
    failed: usize,
}

/// What a scheduler remembers is its own affair: here, how much is launched and how it ended.
struct CountingScheduler {
    command: String,
    wanted: usize,
    launched: usize,
    tally: Arc<Mutex<Tally>>,
}

impl Scheduler for CountingScheduler {
    // The master knows us. A scheduler that outlives its process would store the id now, and give
    // it to `framework(..).id(..)` next time, to find its tasks again.
    fn registered(&mut self, _: &SchedulerDriver, id: &FrameworkId, _: &MasterInfo) {
        println!("registered as {}", id.value);
    }

    // Offers are free resources, each on one agent. Every offer must be answered: while we keep
    // one, nobody else gets its resources.
    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) {
        for offer in offers {
            let (mut cpus, mut mem) = (offered(&offer, "cpus"), offered(&offer, "mem"));
            let mut tasks = Vec::new();
            while self.launched < self.wanted && cpus >= TASK_CPUS && mem >= TASK_MEM_MB {
                cpus -= TASK_CPUS;
                mem -= TASK_MEM_MB;
                // The id must differ from that of all tasks of this framework that still run.
                let task = task(format!("task-{}", self.launched))
                    .on(&offer.slave_id)
                    .cpus(TASK_CPUS)
                    .mem_mb(TASK_MEM_MB)
                    .shell(&self.command)
                    .build();
                tasks.push(task);
                self.launched += 1;
            }
            // Without tasks, this declines. What is left of the offer goes back either way, and
            // is not offered to us again for five seconds.
            driver.launch_tasks(vec![offer.id], tasks, Filters::default());
        }
        if self.launched == self.wanted {
            // Nothing more to launch; do not even ask us.
            driver.suppress_offers();
        }
    }

    // Each task passes through some states and ends in one of the last. The driver tells the agent
    // that we have seen the update when we return; the agent repeats it until then.
    fn status_update(&mut self, driver: &SchedulerDriver, status: &TaskStatus) {
        let (id, state) = (&status.task_id.value, status.state());
        println!("{id} is in state {}", state.as_str_name());
        let Ok(mut tally) = self.tally.lock() else {
            return;
        };
        match state {
            TaskState::TaskFinished => tally.finished += 1,
            TaskState::TaskStaging
            | TaskState::TaskStarting
            | TaskState::TaskRunning
            | TaskState::TaskKilling
            | TaskState::TaskUnreachable => {}
            // Failed, killed, lost, or refused: `message` says why.
            _ => {
                println!("{id}: {}", status.message());
                tally.failed += 1;
            }
        }
        if tally.finished + tally.failed == self.wanted {
            // false: no other instance of us is to take over, so the master may forget us.
            driver.stop(false);
        }
    }

    // Lost the master. The driver finds the next one and registers again by itself.
    fn disconnected(&mut self, _: &SchedulerDriver) {
        println!("disconnected");
    }

    // The driver has given up, for the reason in `message`; `run` will return.
    fn error(&mut self, _: &SchedulerDriver, message: &str) {
        eprintln!("error: {message}");
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(master), Some(Ok(wanted)), Some(command)) = (
        arguments.next(),
        arguments.next().map(|count| count.parse()),
        arguments.next(),
    ) else {
        eprintln!("usage: counting-scheduler MASTER COUNT COMMAND");
        return ExitCode::FAILURE;
    };

    let tally = Arc::new(Mutex::new(Tally::default()));
    let scheduler = CountingScheduler {
        command,
        wanted,
        launched: 0,
        tally: tally.clone(),
    };
    let driver = SchedulerDriver::new(scheduler, framework("counting scheduler").build(), master);
    // Blocks until the driver was stopped, by us above, or aborted by an error.
    driver.run();

    let Ok(tally) = tally.lock() else {
        return ExitCode::FAILURE;
    };
    println!(
        "{} of {wanted} tasks finished, {} failed",
        tally.finished, tally.failed
    );
    if tally.finished == wanted {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
