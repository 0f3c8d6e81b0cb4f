//! The scheduler side of the v0 interface: [`Scheduler`] and [`SchedulerDriver`].

mod calls;
mod core;
mod driver;
mod event;
mod options;
mod process;
#[cfg(test)]
mod tests;

pub use driver::{SchedulerDriver, SchedulerDriverBuilder};
pub use options::{OptionsError, SchedulerOptions};

use bytes::Bytes;
use mesos::proto::{ExecutorId, FrameworkId, MasterInfo, Offer, OfferId, SlaveId, TaskStatus};

/// What a framework does when the cluster has news for it.
///
/// Callbacks are made one at a time, in order, on a thread that belongs to the driver: they may
/// block, and they may call the driver. Nothing more is delivered after the driver was stopped or
/// aborted, except [`error`](Scheduler::error). A panic in a callback aborts the driver.
///
/// The names are those of upstream's `mesos::Scheduler` (`include/mesos/scheduler.hpp`), except
/// that a slave is called agent.
pub trait Scheduler: Send + 'static {
    /// The master accepted the framework under `framework_id`: for the first time, in place of an
    /// earlier instance of it, or, after a change of masters, because the new one had not heard of
    /// it. Store the id: with it, a restarted scheduler gets its tasks back.
    fn registered(
        &mut self,
        driver: &SchedulerDriver,
        framework_id: &FrameworkId,
        master_info: &MasterInfo,
    ) {
        let _ = (driver, framework_id, master_info);
    }

    /// A master that knows of the framework accepted it again, after the connection was lost or
    /// another master was elected. Tasks are as they were; offers from before are void.
    fn reregistered(&mut self, driver: &SchedulerDriver, master_info: &MasterInfo) {
        let _ = (driver, master_info);
    }

    /// The master is gone; the driver looks for the next one by itself. Until then calls are
    /// dropped, and tasks to be launched are answered with a lost status.
    fn disconnected(&mut self, driver: &SchedulerDriver) {
        let _ = driver;
    }

    /// Resources that no other framework is offered meanwhile: each offer is to be answered, by
    /// launching tasks, accepting or declining.
    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>);

    /// An offer is no longer valid; using it would give a lost task.
    fn offer_rescinded(&mut self, driver: &SchedulerDriver, offer_id: &OfferId) {
        let _ = (driver, offer_id);
    }

    /// The state of a task changed, or was asked for by reconciliation. The same update may come
    /// more than once. With implicit acknowledgements the update counts as received when this
    /// callback returns; with explicit ones, when
    /// [`acknowledge_status_update`](SchedulerDriver::acknowledge_status_update) is called.
    fn status_update(&mut self, driver: &SchedulerDriver, status: &TaskStatus);

    /// An executor sent `data`. Such messages may get lost.
    fn framework_message(
        &mut self,
        driver: &SchedulerDriver,
        executor_id: &ExecutorId,
        agent_id: &SlaveId,
        data: &Bytes,
    ) {
        let _ = (driver, executor_id, agent_id, data);
    }

    /// An agent is gone; its tasks are reported by status updates of their own.
    fn agent_lost(&mut self, driver: &SchedulerDriver, agent_id: &SlaveId) {
        let _ = (driver, agent_id);
    }

    /// An executor ended with `status`, a wait status as of waitpid(2); its tasks are reported by
    /// status updates of their own.
    fn executor_lost(
        &mut self,
        driver: &SchedulerDriver,
        executor_id: &ExecutorId,
        agent_id: &SlaveId,
        status: i32,
    ) {
        let _ = (driver, executor_id, agent_id, status);
    }

    /// The driver gave up: the master refused the framework, removed it, or the driver could not
    /// start. It is aborted before this call, and `message` is also logged.
    fn error(&mut self, driver: &SchedulerDriver, message: &str) {
        let _ = (driver, message);
    }
}
