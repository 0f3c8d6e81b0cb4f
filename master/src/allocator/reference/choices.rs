//! What is left to chance, as the real allocator chooses: these are inputs of the algorithm rather
//! than a part of it.

use mesos::resources::{Resource, Resources};

use crate::allocator::AgentId;
use crate::allocator::lots::{Draw, Lots, hash, mix, shuffle};

/// The two stages of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Guarantees = 1,
    FairShare = 2,
}

/// The choices of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choices {
    pub(super) seed: u64,
    /// The number of the run.
    pub(super) run: u64,
}

impl Choices {
    /// Agents in the order in which they are visited.
    pub(super) fn agents(self, mut agents: Vec<AgentId>, stage: Stage) -> Vec<AgentId> {
        let seed = mix(self.seed, mix(self.run, stage as u64));
        agents.sort_by_key(|agent| {
            let own = hash(agent.as_str());
            (mix(seed, own), own)
        });
        agents
    }

    /// Clients in the order in which they are drawn on an agent; `role` is empty for roles.
    pub(super) fn draw<T>(
        self,
        agent: &AgentId,
        stage: Stage,
        role: &str,
        clients: Vec<(T, f64)>,
    ) -> Vec<T> {
        let stage = mix(self.run, stage as u64);
        let on_agent = mix(mix(self.seed, stage), hash(agent.as_str()));
        let mut draw = Draw::new(mix(on_agent, hash(role)));
        let lots = Lots::new(clients.iter().map(|(_, lots)| *lots));
        let mut clients: Vec<Option<T>> = clients.into_iter().map(|(c, _)| Some(c)).collect();
        let mut order = Vec::new();
        while let Some(index) = draw.next(&lots) {
            order.extend(clients[index].take());
        }
        order
    }

    /// The order in which entries of a bundle that compete for the same room are taken.
    pub(super) fn shuffled(self, agent: &AgentId, stage: Stage, bundle: &Resources) -> Resources {
        if bundle.names().len() == bundle.len() {
            return bundle.clone();
        }
        let mut entries: Vec<Resource> = bundle.clone().into_iter().collect();
        entries.sort_by_cached_key(ToString::to_string);
        let on_agent = mix(self.run, hash(agent.as_str()));
        shuffle(&mut entries, mix(on_agent, stage as u64));
        entries.into_iter().collect()
    }
}
