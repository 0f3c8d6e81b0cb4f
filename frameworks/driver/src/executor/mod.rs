//! The executor side of the v0 interface: [`Executor`] and [`ExecutorDriver`].

mod core;
mod driver;
pub(crate) mod environment;
mod process;
#[cfg(test)]
mod tests;

pub use driver::{ExecutorDriver, ExecutorDriverBuilder};
pub use environment::{EnvironmentError, ExecutorEnvironment};

use bytes::Bytes;
use mesos::proto::{ExecutorInfo, FrameworkInfo, SlaveInfo, TaskId, TaskInfo};

/// Runs tasks in its own way, on behalf of a scheduler.
///
/// Callbacks are made one at a time, in order, on a thread that belongs to the driver; run tasks
/// elsewhere, so that a kill can be heard. A panic in a callback aborts the driver.
///
/// The names are those of upstream's `mesos::Executor` (`include/mesos/executor.hpp`), except that
/// a slave is called agent.
pub trait Executor: Send + 'static {
    /// The agent knows the executor. `executor` and `framework` are as the scheduler described
    /// them; `executor.data` may hold parameters.
    fn registered(
        &mut self,
        driver: &ExecutorDriver,
        executor: &ExecutorInfo,
        framework: &FrameworkInfo,
        agent: &SlaveInfo,
    ) {
        let _ = (driver, executor, framework, agent);
    }

    /// The agent came back after a restart; everything it missed was sent again.
    fn reregistered(&mut self, driver: &ExecutorDriver, agent: &SlaveInfo) {
        let _ = (driver, agent);
    }

    /// The agent is gone and may come back; tasks go on. (Upstream declares this callback, but
    /// never makes it.)
    fn disconnected(&mut self, driver: &ExecutorDriver) {
        let _ = driver;
    }

    /// A task to run. Report its states by [`ExecutorDriver::send_status_update`].
    fn launch_task(&mut self, driver: &ExecutorDriver, task: TaskInfo);

    /// A task to kill. When it is gone, say so by a status update.
    fn kill_task(&mut self, driver: &ExecutorDriver, task_id: &TaskId);

    /// The scheduler sent `data`. Such messages may get lost.
    fn framework_message(&mut self, driver: &ExecutorDriver, data: &Bytes) {
        let _ = (driver, data);
    }

    /// Kill all tasks and end. Updates can still be sent until the driver is stopped; the whole
    /// process group is killed when the shutdown grace period is over. Unless overridden, stops the
    /// driver.
    fn shutdown(&mut self, driver: &ExecutorDriver) {
        driver.stop();
    }

    /// The driver gave up, or could not start. It is aborted before this call.
    fn error(&mut self, driver: &ExecutorDriver, message: &str) {
        let _ = (driver, message);
    }
}
