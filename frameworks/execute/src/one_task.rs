//! A scheduler that runs one task and tells how it fares.

use mesos::proto::{
    Filters, FrameworkId, MasterInfo, Offer, OfferId, TaskInfo, TaskState, TaskStatus,
};
use mesos::resources::Resources;
use mesos_driver::{Scheduler, SchedulerDriver};

/// What happened on the way of the task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskNews {
    /// The master knows the framework.
    Subscribed(FrameworkId),
    /// An offer was declined, because the task does not fit in.
    Declined(Box<Offer>),
    /// The task was launched on this offer.
    Submitted(Box<Offer>),
    /// The master is gone; the driver looks for the next one.
    Disconnected,
    /// A master knows the framework again.
    Reconnected,
    /// The state of the task.
    Update(Box<TaskStatus>),
    /// The driver gave up.
    Error(String),
}

/// Launches one task on the first offer it fits in, and passes on what happens.
///
/// The listener stops the driver when it has heard enough; after a [terminal](is_terminal) state
/// nothing more is to come.
pub struct OneTask<L> {
    task: TaskInfo,
    resources: Resources,
    subscribed: bool,
    launched: bool,
    listener: L,
}

impl<L> OneTask<L>
where
    L: FnMut(&SchedulerDriver, TaskNews) + Send + 'static,
{
    /// A scheduler for `task`, which needs `resources` (not allocated to a role).
    pub fn new(task: TaskInfo, resources: Resources, listener: L) -> Self {
        OneTask {
            task,
            resources,
            subscribed: false,
            launched: false,
            listener,
        }
    }

    fn tell(&mut self, driver: &SchedulerDriver, news: TaskNews) {
        (self.listener)(driver, news);
    }

    fn reconnected(&mut self, driver: &SchedulerDriver) {
        self.tell(driver, TaskNews::Reconnected);
        if self.launched {
            // The launch, or an update, may have been lost with the old master.
            driver.reconcile_tasks(vec![TaskStatus {
                task_id: self.task.task_id.clone(),
                ..TaskStatus::default()
            }]);
        }
    }

    fn launch(&mut self, driver: &SchedulerDriver, offer: Offer, resources: &Resources) {
        let task = TaskInfo {
            slave_id: offer.slave_id.clone(),
            resources: resources.to_protos(),
            ..self.task.clone()
        };
        driver.launch_tasks(vec![offer.id.clone()], vec![task], Filters::default());
        driver.suppress_offers();
        self.launched = true;
        self.tell(driver, TaskNews::Submitted(Box::new(offer)));
    }
}

/// The part of `offer` that holds `wanted`: exactly that, or reserved resources in its place.
fn fitting(offer: &Offer, wanted: &Resources) -> Option<Resources> {
    let mut offered = Resources::from_protos(&offer.resources).ok()?;
    offered.unallocate();
    if offered.contains(wanted) {
        Some(wanted.clone())
    } else {
        offered.find(wanted)
    }
}

impl<L> Scheduler for OneTask<L>
where
    L: FnMut(&SchedulerDriver, TaskNews) + Send + 'static,
{
    fn registered(&mut self, driver: &SchedulerDriver, id: &FrameworkId, _: &MasterInfo) {
        if self.subscribed {
            // By a new master, to which we are news.
            return self.reconnected(driver);
        }
        self.subscribed = true;
        self.tell(driver, TaskNews::Subscribed(id.clone()));
    }

    fn reregistered(&mut self, driver: &SchedulerDriver, _: &MasterInfo) {
        self.reconnected(driver);
    }

    fn disconnected(&mut self, driver: &SchedulerDriver) {
        self.tell(driver, TaskNews::Disconnected);
    }

    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) {
        for offer in offers {
            match fitting(&offer, &self.resources) {
                Some(resources) if !self.launched => self.launch(driver, offer, &resources),
                _ => {
                    driver.decline_offer(offer.id.clone(), Filters::default());
                    if !self.launched {
                        self.tell(driver, TaskNews::Declined(Box::new(offer)));
                    }
                }
            }
        }
    }

    fn offer_rescinded(&mut self, _: &SchedulerDriver, _: &OfferId) {
        // A launch on it is answered by a status update.
    }

    fn status_update(&mut self, driver: &SchedulerDriver, status: &TaskStatus) {
        if status.task_id == self.task.task_id {
            self.tell(driver, TaskNews::Update(Box::new(status.clone())));
        }
    }

    fn error(&mut self, driver: &SchedulerDriver, message: &str) {
        self.tell(driver, TaskNews::Error(message.to_owned()));
    }
}

/// Whether a task in this state will never be in another one, as far as a scheduler can know.
pub fn is_terminal(state: TaskState) -> bool {
    match state {
        TaskState::TaskStaging
        | TaskState::TaskStarting
        | TaskState::TaskRunning
        | TaskState::TaskKilling
        | TaskState::TaskUnreachable
        // What a new master says that has not heard from the agents yet.
        | TaskState::TaskUnknown => false,
        TaskState::TaskFinished
        | TaskState::TaskFailed
        | TaskState::TaskKilled
        | TaskState::TaskError
        | TaskState::TaskLost
        | TaskState::TaskDropped
        | TaskState::TaskGone
        | TaskState::TaskGoneByOperator => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(resources: &str) -> Offer {
        let mut resources = Resources::parse(resources, "*").unwrap();
        resources.allocate("dev");
        Offer {
            resources: resources.to_protos(),
            ..Offer::default()
        }
    }

    #[test]
    fn takes_what_is_wanted_from_an_offer() {
        fn check(offered: &str, wanted: &str, expected: Option<&str>) {
            let wanted = Resources::parse(wanted, "*").unwrap();
            let found = fitting(&offer(offered), &wanted).map(|resources| resources.to_string());
            assert_eq!(found.as_deref(), expected, "{wanted} in {offered}");
        }
        check("cpus:2;mem:512", "cpus:1;mem:128", Some("cpus:1; mem:128"));
        check("cpus:2;mem:64", "cpus:1;mem:128", None);
        check("cpus:2;mem:512", "cpus:1;gpus:1", None);
        check(
            "cpus:1;ports:[31000-31010]",
            "ports:[31005-31005]",
            Some("ports:[31005-31005]"),
        );
    }
}
