//! Re-deriving every cross-reference and sum, for tests and the simulator.

use std::collections::HashMap;

use mesos::resources::Resources;

use super::Master;
use super::state::Counts;
use super::task_state::releases_resources;

impl Master {
    /// Checks that everything the master keeps twice agrees.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn sanity_check(&self) -> Result<(), String> {
        self.check_frameworks()?;
        self.check_agents()?;
        self.check_offers()?;
        self.check_shares()?;
        self.check_inverse_offers()?;
        self.check_counts()
    }

    /// Only what is set is kept, and only what the allocator takes.
    fn check_shares(&self) -> Result<(), String> {
        for (role, quota) in self.state.quotas.iter() {
            ensure(!quota.is_default() && !role.contains('/'), || {
                format!("role {role} has a quota that it cannot have")
            })?;
        }
        for (role, weight) in self.state.weights.iter() {
            ensure(weight.is_finite() && *weight > 0.0, || {
                format!("role {role} has weight {weight}")
            })?;
        }
        Ok(())
    }

    fn check_frameworks(&self) -> Result<(), String> {
        for (id, framework) in self.state.frameworks.iter() {
            ensure(framework.id == *id, || {
                format!("framework {id} is filed wrongly")
            })?;
            ensure(!framework.active || framework.connected(), || {
                format!("framework {id} is active but not connected")
            })?;
            if let Some(pid) = framework.pid() {
                ensure(self.framework_pids.get(pid) == Some(id), || {
                    format!("framework {id} is not found by its pid")
                })?;
            }
            if let Some(stream) = framework.stream() {
                ensure(self.streams.get(&stream) == Some(id), || {
                    format!("framework {id} is not found by its stream")
                })?;
            }
            for (task_id, task) in &framework.tasks {
                ensure(
                    task.id == *task_id
                        && task.framework_id == *id
                        && task.info.state == task.state as i32,
                    || format!("task {task_id} is inconsistent"),
                )?;
                let listed = self.agent(&task.agent_id).is_some_and(|agent| {
                    agent
                        .tasks
                        .get(id)
                        .is_some_and(|tasks| tasks.contains(task_id))
                });
                ensure(listed, || format!("task {task_id} is not on its agent"))?;
            }
            for offer in &framework.offers {
                ensure(self.state.offers.contains_key(offer), || {
                    format!("framework {id} holds unknown offer {offer}")
                })?;
            }
        }
        Ok(())
    }

    fn check_agents(&self) -> Result<(), String> {
        for (id, agent) in self.state.agents.iter() {
            ensure(agent.id == *id, || format!("agent {id} is filed wrongly"))?;
            ensure(!agent.active || agent.connected, || {
                format!("agent {id} is active but not connected")
            })?;
            for (framework_id, tasks) in &agent.tasks {
                for task in tasks {
                    ensure(self.task(framework_id, task).is_some(), || {
                        format!("agent {id} lists unknown task {task}")
                    })?;
                }
            }
            let mut used: HashMap<_, Resources> = HashMap::new();
            for (framework_id, tasks) in &agent.tasks {
                for task in tasks
                    .iter()
                    .filter_map(|task| self.task(framework_id, task))
                {
                    if !releases_resources(task.state) {
                        *used.entry(framework_id.clone()).or_default() += &task.resources;
                    }
                }
            }
            for (framework_id, executors) in &agent.executors {
                for executor in executors.values() {
                    *used.entry(framework_id.clone()).or_default() += &executor.resources;
                }
            }
            used.retain(|_, used| !used.is_empty());
            let kept: HashMap<_, _> = agent
                .used
                .iter()
                .map(|(framework, used)| (framework.clone(), used.clone()))
                .collect();
            ensure(used == kept, || {
                format!("agent {id} keeps {kept:?} as used instead of {used:?}")
            })?;
            for (framework_id, used) in &agent.used {
                let theirs = self
                    .framework(framework_id)
                    .and_then(|framework| framework.used.get(id));
                ensure(theirs == Some(used), || {
                    format!("framework {framework_id} disagrees on what it uses on agent {id}")
                })?;
            }
        }
        Ok(())
    }

    fn check_offers(&self) -> Result<(), String> {
        let mut offered: HashMap<_, Resources> = HashMap::new();
        for (id, offer) in self.state.offers.iter() {
            let held = self
                .framework(&offer.framework_id)
                .is_some_and(|framework| framework.offers.contains(id));
            let of_agent = self
                .agent(&offer.agent_id)
                .is_some_and(|agent| agent.active && agent.offers.contains(id));
            ensure(held && of_agent, || {
                format!("offer {id} is not held as it says")
            })?;
            *offered.entry(offer.agent_id.clone()).or_default() += &offer.resources;
        }
        for (id, agent) in self.state.agents.iter() {
            let expected = offered.get(id).cloned().unwrap_or_default();
            ensure(agent.offered == expected, || {
                format!("agent {id} keeps {} as offered", agent.offered)
            })?;
        }
        Ok(())
    }

    fn check_inverse_offers(&self) -> Result<(), String> {
        for (id, offer) in self.state.inverse_offers.iter() {
            let held = self
                .framework(&offer.framework_id)
                .is_some_and(|framework| framework.active && framework.inverse_offers.contains(id));
            let of_agent = self
                .agent(&offer.agent_id)
                .is_some_and(|agent| agent.active && agent.inverse_offers.contains(id));
            let current = self.unavailability_of(&offer.agent_id);
            ensure(
                held && of_agent && current == Some(offer.info.unavailability),
                || format!("inverse offer {id} is not held as it says"),
            )?;
        }
        let open = self.state.inverse_offers.len();
        let frameworks = self.state.frameworks.values();
        let held: usize = frameworks.map(|each| each.inverse_offers.len()).sum();
        let agents = self.state.agents.values();
        let of_agents: usize = agents.map(|each| each.inverse_offers.len()).sum();
        ensure((held, of_agents) == (open, open), || {
            format!("{open} inverse offers are open, not {held} or {of_agents}")
        })
    }

    fn check_counts(&self) -> Result<(), String> {
        let mut counts = Counts::default();
        for agent in self.state.agents.values() {
            counts.agents_connected += i64::from(agent.connected);
            counts.agents_active += i64::from(agent.active);
        }
        for framework in self.state.frameworks.values() {
            counts.frameworks_connected += i64::from(framework.connected());
            counts.frameworks_active += i64::from(framework.active);
            for task in framework.tasks.values() {
                if let Some(count) = counts.tasks.get_mut(task.state as usize) {
                    *count += 1;
                }
            }
            for task in framework.unreachable_tasks.values() {
                counts.tasks_unreachable +=
                    i64::from(task.state == mesos::proto::TaskState::TaskUnreachable);
            }
        }
        ensure(counts == self.state.counts, || {
            format!("counts are {:?} instead of {counts:?}", self.state.counts)
        })
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
