//! What must always hold of an agent.

use std::collections::HashSet;

use mesos::ids::{FrameworkId, TaskId};

use super::{Agent, AgentState, Executor, ExecutorState, Framework};
use crate::tasks::is_terminal;

impl Agent {
    /// Re-derives the cross-references of the agent's state; the text names what does not fit.
    pub fn sanity_check(&self) -> Result<(), String> {
        if self.state == AgentState::Running && (self.master.is_none() || self.id.is_none()) {
            return Err("registered without a master or an id".to_owned());
        }
        for (id, framework) in &self.frameworks {
            check_framework(id, framework)?;
            if framework.is_idle() && !self.status_updates.has_streams(id) {
                return Err(format!(
                    "framework {id} has nothing here and should be completed"
                ));
            }
            if self.completed_frameworks.contains_key(id) {
                return Err(format!("framework {id} is both active and completed"));
            }
        }
        for (id, framework) in &self.completed_frameworks {
            if !framework.is_idle() {
                return Err(format!("completed framework {id} has executors"));
            }
        }
        self.status_updates.sanity_check()
    }
}

fn check_framework(id: &FrameworkId, framework: &Framework) -> Result<(), String> {
    if framework.info.id.as_ref().map(FrameworkId::from).as_ref() != Some(id) {
        return Err(format!("framework {id} has another id in its description"));
    }
    let mut containers = HashSet::new();
    let mut tasks = HashSet::new();
    for (executor_id, executor) in &framework.executors {
        if executor_id != executor.id() || executor.run.framework_id != *id {
            return Err(format!(
                "executor {executor_id} is filed under another name"
            ));
        }
        if !containers.insert(executor.container_id()) {
            return Err(format!(
                "container {} has two executors",
                executor.container_id()
            ));
        }
        check_executor(executor)?;
        for task in executor
            .launched_tasks
            .keys()
            .chain(executor.queued_tasks.keys())
        {
            if !tasks.insert(task) {
                return Err(format!("task {task} is in two places"));
            }
        }
    }
    Ok(())
}

fn check_executor(executor: &Executor) -> Result<(), String> {
    let run = &executor.run;
    if executor.state == ExecutorState::Running && executor.pid.is_none() {
        return Err(format!("executor {run} runs without having registered"));
    }
    if executor.state == ExecutorState::Terminated
        && !(executor.queued_tasks.is_empty() && executor.launched_tasks.is_empty())
    {
        return Err(format!(
            "terminated executor {run} has tasks that have not ended"
        ));
    }
    let misplaced = |id: &TaskId| {
        executor.queued_tasks.contains_key(id) as u8
            + executor.launched_tasks.contains_key(id) as u8
            + executor.terminated_tasks.contains_key(id) as u8
            > 1
    };
    if let Some(id) = executor
        .launched_tasks
        .keys()
        .chain(executor.terminated_tasks.keys())
        .find(|id| misplaced(id))
    {
        return Err(format!("task {id} of executor {run} is in two sets"));
    }
    if let Some(task) = executor
        .launched_tasks
        .values()
        .find(|task| is_terminal(task.state()))
    {
        return Err(format!("launched task {} has ended", task.task_id.value));
    }
    Ok(())
}
