//! Schedulers that bring a fixed set of tasks to their end, whatever happens to the masters: one
//! on the v1 HTTP API, one on the v0 driver.

mod driver;
mod http;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use libprocess::Runtime;
use mesos_driver::SchedulerDriver;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::wait::eventually;

/// What one task asks for.
const TASK_CPUS: f64 = 0.1;
const TASK_MEM_MB: f64 = 32.0;

/// What the scheduler has seen so far.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// How often a master accepted the framework.
    pub subscriptions: usize,
    /// All distinct framework ids that masters gave.
    pub framework_ids: BTreeSet<String>,
    /// Every state of every task in the order of arrival.
    pub states: BTreeMap<String, Vec<String>>,
    /// How often each task was part of a launch.
    pub launches: BTreeMap<String, usize>,
    /// The agent of each task.
    pub agents: BTreeMap<String, String>,
}

impl Progress {
    /// How many tasks have this as their latest state.
    pub fn count(&self, state: &str) -> usize {
        self.states
            .values()
            .filter(|states| states.last().is_some_and(|last| last == state))
            .count()
    }

    fn on_launch(&mut self, task: &str, agent: &str) {
        *self.launches.entry(task.to_owned()).or_default() += 1;
        self.agents.insert(task.to_owned(), agent.to_owned());
    }

    fn on_status(&mut self, task: &str, state: &str) {
        let states = self.states.entry(task.to_owned()).or_default();
        states.push(state.to_owned());
    }
}

/// The tasks that are still to be launched, and what became of the others.
struct Tasks {
    pending: BTreeSet<String>,
    dir: PathBuf,
    progress: Arc<Mutex<Progress>>,
}

impl Tasks {
    /// Takes as many tasks as fit into these resources.
    fn take(&mut self, cpus: f64, mem_mb: f64) -> Vec<String> {
        let fitting = (cpus / TASK_CPUS).min(mem_mb / TASK_MEM_MB).floor() as usize;
        let chosen: Vec<String> = self.pending.iter().take(fitting).cloned().collect();
        for task in &chosen {
            self.pending.remove(task);
        }
        chosen
    }

    /// Notes the start, then waits for the release.
    fn command(&self, task: &str) -> String {
        let dir = self.dir.display();
        format!(
            "echo started >> '{dir}/started/{task}'; \
             while [ ! -e '{dir}/release' ]; do sleep 0.2; done"
        )
    }
}

/// Which API the scheduler uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// The v1 HTTP API, written by hand.
    Http,
    /// The v0 driver.
    Driver,
}

/// Tasks that note in a folder when they start, and run until they are released.
#[derive(Debug)]
pub struct Workload {
    progress: Arc<Mutex<Progress>>,
    dir: PathBuf,
    /// Ends with the workload.
    _running: Running,
}

impl Workload {
    /// Starts a scheduler for `tasks` tasks against `--master`; they use `dir`.
    ///
    /// # Panics
    /// When the master text cannot be used or the folder cannot be made.
    pub fn start(api: Api, master: &str, dir: &Path, tasks: usize) -> Workload {
        let dir = dir.join("workload");
        std::fs::create_dir_all(dir.join("started")).expect("cannot make a folder");
        let progress = Arc::new(Mutex::new(Progress::default()));
        let tasks = Tasks {
            pending: (0..tasks).map(|index| format!("task-{index}")).collect(),
            dir: dir.clone(),
            progress: progress.clone(),
        };
        let running = match api {
            Api::Http => Running::Http(http::start(master, tasks)),
            Api::Driver => {
                let (driver, runtime) = driver::start(master, tasks);
                Running::Driver(driver, runtime)
            }
        };
        Workload {
            progress,
            dir,
            _running: running,
        }
    }

    /// What has been seen so far.
    pub fn progress(&self) -> Progress {
        self.progress.lock().clone()
    }

    /// Waits until the progress fulfils a condition.
    ///
    /// # Panics
    /// When it does not within `deadline`.
    pub async fn until(
        &self,
        what: &str,
        deadline: Duration,
        condition: impl Fn(&Progress) -> bool,
    ) -> Progress {
        let condition = &condition;
        eventually(what, deadline, || async move {
            let progress = self.progress();
            condition(&progress).then_some(progress)
        })
        .await
    }

    /// Lets every task end with success.
    ///
    /// # Panics
    /// When the file that they wait for cannot be made.
    pub fn release(&self) {
        std::fs::write(self.dir.join("release"), "").expect("cannot release the tasks");
    }

    /// How often each task really started: the lines that it wrote.
    ///
    /// # Panics
    /// When the notes cannot be read.
    pub fn starts(&self) -> BTreeMap<String, usize> {
        let entries = std::fs::read_dir(self.dir.join("started")).expect("no notes");
        entries
            .map(|entry| {
                let path = entry.expect("no notes").path();
                let lines = std::fs::read_to_string(&path)
                    .expect("no notes")
                    .lines()
                    .count();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                (name.into_owned(), lines)
            })
            .collect()
    }
}

/// The scheduler; its end leaves the framework to the master.
enum Running {
    Http(AbortHandle),
    Driver(SchedulerDriver, Runtime),
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Running::Http(_) => "Http",
            Running::Driver(..) => "Driver",
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match self {
            Running::Http(task) => task.abort(),
            Running::Driver(driver, runtime) => {
                driver.stop(true);
                runtime.shutdown();
            }
        }
    }
}
