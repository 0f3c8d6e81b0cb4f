//! The task status update manager: delivers the updates of each task in order, each until it is acknowledged.
//!
//! Upstream: `src/slave/task_status_update_manager.cpp`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use mesos::ids::{FrameworkId, TaskId};
use mesos::proto::internal::StatusUpdate;
use thiserror::Error;

use crate::tasks::is_terminal;

/// The first wait for an acknowledgement.
pub const RETRY_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// The longest wait for an acknowledgement; each wait is twice the one before.
pub const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(10 * 60);

/// An update or acknowledgement that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StatusUpdateError {
    /// The update has no uuid, so it could never be acknowledged.
    #[error("the status update for task '{0}' has no uuid")]
    MissingUuid(TaskId),
    /// No update of this task waits.
    #[error("no status update of task '{task}' of framework {framework} awaits an acknowledgement")]
    UnknownTask {
        /// The framework of the task.
        framework: FrameworkId,
        /// The task.
        task: TaskId,
    },
    /// The acknowledgement came a second time.
    #[error("duplicate acknowledgement for task '{0}'")]
    DuplicateAcknowledgement(TaskId),
    /// The acknowledgement is not for the update that is in flight.
    #[error("unexpected acknowledgement for task '{0}': it is not for the update in flight")]
    UnexpectedAcknowledgement(TaskId),
}

/// What to do with an update that came in.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// Send it now.
    Forward(Forward),
    /// It waits behind others, or until the manager is resumed.
    Queued,
    /// It was here before; nothing to do but tell the sender again that it has arrived.
    Duplicate,
}

/// What an acknowledgement led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledged {
    /// The acknowledged update was terminal: the task's stream has ended.
    pub terminal: bool,
    /// The next update of the task, to send now.
    pub next: Option<Forward>,
}

/// An update to send to the master, and when to send it again.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// The framework of the task.
    pub framework_id: FrameworkId,
    /// The task.
    pub task_id: TaskId,
    /// The update.
    pub update: Box<StatusUpdate>,
    /// Call [`TaskStatusUpdateManager::retry`] after this time.
    pub retry_after: Duration,
}

/// One stream of updates per task, of which only the first is in flight.
#[derive(Debug, Default)]
pub struct TaskStatusUpdateManager {
    paused: bool,
    streams: HashMap<FrameworkId, HashMap<TaskId, Stream>>,
}

#[derive(Debug, Default)]
struct Stream {
    received: HashSet<Bytes>,
    acknowledged: HashSet<Bytes>,
    pending: VecDeque<StatusUpdate>,
    interval: Duration,
}

impl Stream {
    fn forward_first(&mut self, framework_id: &FrameworkId, task_id: &TaskId) -> Option<Forward> {
        let update = Box::new(self.pending.front()?.clone());
        self.interval = RETRY_INTERVAL_MIN;
        Some(Forward {
            framework_id: framework_id.clone(),
            task_id: task_id.clone(),
            update,
            retry_after: self.interval,
        })
    }
}

impl TaskStatusUpdateManager {
    /// A manager without streams, paused until the agent has registered.
    pub fn paused() -> Self {
        TaskStatusUpdateManager {
            paused: true,
            streams: HashMap::new(),
        }
    }

    /// Takes an update of a task.
    pub fn update(&mut self, update: StatusUpdate) -> Result<Accepted, StatusUpdateError> {
        let framework_id = FrameworkId::from(&update.framework_id);
        let task_id = TaskId::from(&update.status.task_id);
        let Some(uuid) = update.uuid.clone().filter(|uuid| !uuid.is_empty()) else {
            return Err(StatusUpdateError::MissingUuid(task_id));
        };

        let stream = self
            .streams
            .entry(framework_id.clone())
            .or_default()
            .entry(task_id.clone())
            .or_default();
        if !stream.received.insert(uuid) {
            return Ok(Accepted::Duplicate);
        }
        stream.pending.push_back(update);

        if self.paused || stream.pending.len() > 1 {
            return Ok(Accepted::Queued);
        }
        Ok(stream
            .forward_first(&framework_id, &task_id)
            .map_or(Accepted::Queued, Accepted::Forward))
    }

    /// Takes the acknowledgement of a scheduler.
    pub fn acknowledge(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        uuid: &Bytes,
    ) -> Result<Acknowledged, StatusUpdateError> {
        let paused = self.paused;
        let unknown = || StatusUpdateError::UnknownTask {
            framework: framework_id.clone(),
            task: task_id.clone(),
        };
        let streams = self.streams.get_mut(framework_id).ok_or_else(unknown)?;
        let stream = streams.get_mut(task_id).ok_or_else(unknown)?;

        if stream.acknowledged.contains(uuid) {
            return Err(StatusUpdateError::DuplicateAcknowledgement(task_id.clone()));
        }
        if stream.pending.front().and_then(|head| head.uuid.as_ref()) != Some(uuid) {
            return Err(StatusUpdateError::UnexpectedAcknowledgement(
                task_id.clone(),
            ));
        }

        let head = stream.pending.pop_front();
        stream.acknowledged.insert(uuid.clone());
        if head.is_some_and(|head| is_terminal(head.status.state())) {
            streams.remove(task_id);
            if streams.is_empty() {
                self.streams.remove(framework_id);
            }
            return Ok(Acknowledged {
                terminal: true,
                next: None,
            });
        }
        Ok(Acknowledged {
            terminal: false,
            next: if paused {
                None
            } else {
                stream.forward_first(framework_id, task_id)
            },
        })
    }

    /// The retry time of a task has come: the update in flight again, with twice the wait.
    pub fn retry(&mut self, framework_id: &FrameworkId, task_id: &TaskId) -> Option<Forward> {
        if self.paused {
            return None;
        }
        let stream = self.streams.get_mut(framework_id)?.get_mut(task_id)?;
        let interval = (stream.interval * 2).clamp(RETRY_INTERVAL_MIN, RETRY_INTERVAL_MAX);
        let mut forward = stream.forward_first(framework_id, task_id)?;
        stream.interval = interval;
        forward.retry_after = interval;
        Some(forward)
    }

    /// Holds everything back until [`resume`](Self::resume).
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Lets updates out again: the first of every task, to send at once.
    pub fn resume(&mut self) -> Vec<Forward> {
        self.paused = false;
        let mut forwards = Vec::new();
        for (framework_id, streams) in &mut self.streams {
            for (task_id, stream) in streams {
                forwards.extend(stream.forward_first(framework_id, task_id));
            }
        }
        forwards
    }

    /// Forgets the streams of a framework; answers whose timers may be stopped.
    pub fn remove_framework(&mut self, framework_id: &FrameworkId) -> Vec<TaskId> {
        self.streams
            .remove(framework_id)
            .map(|streams| streams.into_keys().collect())
            .unwrap_or_default()
    }

    /// Whether updates of the framework wait.
    pub fn has_streams(&self, framework_id: &FrameworkId) -> bool {
        self.streams.contains_key(framework_id)
    }

    /// How many updates wait for an acknowledgement.
    pub fn pending(&self) -> usize {
        self.streams
            .values()
            .flat_map(HashMap::values)
            .map(|stream| stream.pending.len())
            .sum()
    }

    /// Re-derives what must hold of the streams; the text names what does not.
    pub fn sanity_check(&self) -> Result<(), String> {
        for (framework_id, streams) in &self.streams {
            for (task_id, stream) in streams {
                let uuids: HashSet<&Bytes> = stream
                    .pending
                    .iter()
                    .filter_map(|update| update.uuid.as_ref())
                    .collect();
                if uuids.len() != stream.pending.len() {
                    return Err(format!(
                        "two pending updates of task {task_id} share a uuid"
                    ));
                }
                if uuids.iter().any(|uuid| stream.acknowledged.contains(*uuid)) {
                    return Err(format!(
                        "a pending update of task {task_id} of framework {framework_id} is acknowledged"
                    ));
                }
                if !stream.acknowledged.is_subset(&stream.received) {
                    return Err(format!(
                        "an acknowledged update of task {task_id} was never received"
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
