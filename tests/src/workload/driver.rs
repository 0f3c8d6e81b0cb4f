//! The workload's scheduler on the v0 driver.

use std::net::Ipv4Addr;
use std::time::Duration;

use libprocess::{Runtime, RuntimeConfig};
use mesos_driver::proto::framework_info::capability;
use mesos_driver::proto::{Filters, FrameworkId, MasterInfo, Offer, TaskStatus};
use mesos_driver::{Scheduler, SchedulerDriver, framework, offered, task};

use super::{TASK_CPUS, TASK_MEM_MB, Tasks};

/// Longer than any test lets the scheduler be without a master.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(600);

/// Starts the driver on a runtime of its own, on loopback.
pub(super) fn start(master: &str, tasks: Tasks) -> (SchedulerDriver, Runtime) {
    let runtime = Runtime::start(RuntimeConfig {
        ip: Ipv4Addr::LOCALHOST.into(),
        ..RuntimeConfig::default()
    })
    .expect("no runtime");
    let framework = framework("workload")
        .user("root")
        .checkpoint()
        .failover_timeout(FAILOVER_TIMEOUT)
        .capability(capability::Type::PartitionAware)
        .build();
    let driver = SchedulerDriver::builder(WorkloadScheduler { tasks }, framework, master)
        .runtime(runtime.clone())
        .build();
    driver.start();
    (driver, runtime)
}

struct WorkloadScheduler {
    tasks: Tasks,
}

impl WorkloadScheduler {
    fn subscribed(&self, driver: &SchedulerDriver) {
        self.tasks.progress.lock().subscriptions += 1;
        driver.reconcile_tasks(Vec::new());
    }
}

impl Scheduler for WorkloadScheduler {
    fn registered(&mut self, driver: &SchedulerDriver, id: &FrameworkId, _: &MasterInfo) {
        self.tasks
            .progress
            .lock()
            .framework_ids
            .insert(id.value.clone());
        self.subscribed(driver);
    }

    fn reregistered(&mut self, driver: &SchedulerDriver, _: &MasterInfo) {
        self.subscribed(driver);
    }

    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) {
        for offer in offers {
            let (cpus, mem_mb) = (offered(&offer, "cpus"), offered(&offer, "mem"));
            let chosen = self.tasks.take(cpus, mem_mb);
            let mut launched = Vec::new();
            for id in chosen {
                let agent = &offer.slave_id;
                self.tasks.progress.lock().on_launch(&id, &agent.value);
                let command = self.tasks.command(&id);
                let task = task(id).on(agent).cpus(TASK_CPUS).mem_mb(TASK_MEM_MB);
                launched.push(task.shell(command).build());
            }
            driver.launch_tasks(vec![offer.id], launched, Filters::default());
        }
    }

    fn status_update(&mut self, _: &SchedulerDriver, status: &TaskStatus) {
        let mut progress = self.tasks.progress.lock();
        progress.on_status(&status.task_id.value, status.state().as_str_name());
    }

    fn error(&mut self, _: &SchedulerDriver, message: &str) {
        eprintln!("workload: {message}");
    }
}
