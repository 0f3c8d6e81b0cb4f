//! What has changed since nobody could take anything: the reason why a run without change costs
//! next to nothing.
//!
//! After a run has offered an agent to everyone, nobody can take any more of it: the agent is
//! settled. Less of it, lower limits or less headroom leave it settled, because a bundle that is
//! not worth offering, or was refused, never becomes so by getting smaller. So a run need look at
//! an agent again only
//!
//! - if something about the agent changed: it is not settled any more;
//! - for a framework in a role whose filter on the agent has expired;
//! - for a framework in a role that is newly active or has changed, and for a role that may have
//!   more than before: these are written down once for all agents;
//! - if there is more headroom, and headroom was in the way on this agent.

use std::collections::BTreeSet;

use mesos::resources::{ResourceQuantities, Resources};

use super::agent::Agent;
use super::core::Allocator;
use super::filters::Place;
use super::framework::Framework;
use super::role_tree::Role;
use super::slots::Key;

/// So many clients are written down at most before all agents are looked at again.
const CLIENTS_MAX: usize = 4096;

/// So many filters of one agent may expire before the agent is looked at as a whole.
const EXPIRED_MAX: usize = 16;

/// Who may be able to take more than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eager {
    /// A framework in a role.
    Framework(Key<Framework>, Key<Role>),
    /// All frameworks in a role.
    Role(Key<Role>),
}

/// Whether anyone could take what is available of an agent.
#[derive(Default, Debug)]
pub(super) struct Standing {
    /// Nobody could, except as the news say.
    pub(super) settled: bool,
    /// Up to which of the news that holds.
    pub(super) seen: u64,
    /// Whose filters on the agent have expired since, and who is to be asked again otherwise.
    pub(super) expired: Vec<(Key<Framework>, Key<Role>)>,
    /// Whether more headroom could change that.
    pub(super) limited: bool,
    /// What nobody could take but the one that was handed something of it. If no more than this
    /// comes back, only that one and who returned it are to be asked again.
    pub(super) refused: Option<Box<Resources>>,
    /// Whether it is among the agents to look at.
    listed: bool,
}

/// What has changed, apart from what the agents know of themselves.
#[derive(Default)]
pub(super) struct News {
    eager: Vec<Eager>,
    /// The number of the first entry of `eager`.
    first: u64,
    /// Agents that are not settled or have expired filters; some that are gone, and some twice.
    restless: Vec<Key<Agent>>,
    /// Agents that more headroom would matter to; likewise.
    limited: Vec<Key<Agent>>,
    /// What headroom there was at the end of the last run; none if no bounds.
    pub(super) margin: Option<ResourceQuantities>,
}

impl News {
    /// The number that the next entry will have.
    pub(super) fn next(&self) -> u64 {
        self.first + self.eager.len() as u64
    }

    /// Whether there is none for agents that have seen those of the last full run.
    pub(super) fn is_empty(&self) -> bool {
        self.eager.is_empty()
    }

    /// The entries since a number; none if they are not known any more.
    pub(super) fn since(&self, seen: u64) -> Option<&[Eager]> {
        let skipped = usize::try_from(seen.checked_sub(self.first)?).ok()?;
        self.eager.get(skipped..)
    }

    /// Forgets all entries. Who has not seen them must look at everything again.
    pub(super) fn clear(&mut self) {
        self.first = self.next();
        self.eager.clear();
    }

    fn push(&mut self, eager: Eager) {
        if self.eager.len() >= CLIENTS_MAX {
            self.clear();
        }
        self.eager.push(eager);
    }
}

impl Allocator {
    /// Notes that a framework in a role may be able to take more than before.
    pub(super) fn note_eager(&mut self, framework: Key<Framework>, role: Key<Role>) {
        self.news.push(Eager::Framework(framework, role));
    }

    /// Notes that all frameworks in a role may be able to take more than before.
    pub(super) fn note_eager_role(&mut self, role: Key<Role>) {
        self.news.push(Eager::Role(role));
    }

    /// Notes that an agent is to be looked at again.
    pub(super) fn unsettle(&mut self, key: Key<Agent>) {
        if let Some(agent) = self.agents.get_mut(key) {
            agent.standing.settled = false;
            agent.standing.expired = Vec::new();
            agent.standing.refused = None;
            self.news.list(key, &mut agent.standing);
        }
    }

    /// Notes that a framework returned something of an agent.
    pub(super) fn note_return(
        &mut self,
        key: Key<Agent>,
        framework: Key<Framework>,
        role: Key<Role>,
    ) {
        let Some(agent) = self.agents.get_mut(key) else {
            return;
        };
        let refused = agent.standing.refused.as_ref();
        let no_more = refused.is_some_and(|all| all.contains(agent.available()));
        if agent.standing.settled && no_more {
            let taker = agent.taker.map(|(_, framework, role)| (framework, role));
            let asked = &mut agent.standing.expired;
            for client in taker.into_iter().chain([(framework, role)]) {
                if !asked.contains(&client) {
                    asked.push(client);
                }
            }
            self.news.list(key, &mut agent.standing);
        }
        if agent.standing.expired.len() > EXPIRED_MAX || !no_more {
            self.unsettle(key);
        }
    }

    /// Notes that filters have expired.
    pub(super) fn note_expired(&mut self, places: &[Place]) {
        for place in places {
            let Some(agent) = self.agents.get_mut(place.agent) else {
                continue;
            };
            let standing = &mut agent.standing;
            if standing.settled {
                standing.expired.push((place.framework, place.role));
                if standing.expired.len() > EXPIRED_MAX {
                    standing.settled = false;
                    standing.expired = Vec::new();
                }
                self.news.list(place.agent, standing);
            }
        }
    }

    /// Compares the headroom with that of the last run. Returns the agents that are to be looked at
    /// again as there is more.
    pub(super) fn note_headroom(
        &mut self,
        margin: Option<&ResourceQuantities>,
    ) -> BTreeSet<Key<Agent>> {
        let more = match (&self.news.margin, margin) {
            (Some(before), Some(now)) => !before.contains(now),
            (Some(_), None) => true,
            (None, _) => false,
        };
        self.news.margin = margin.cloned();
        if !more {
            return BTreeSet::new();
        }
        let limited = std::mem::take(&mut self.news.limited);
        for key in &limited {
            if let Some(agent) = self.agents.get_mut(*key) {
                agent.standing.limited = false;
            }
            self.unsettle(*key);
        }
        limited.into_iter().collect()
    }

    /// Notes what a run found: that nobody can take more of an agent, as far as the headroom goes.
    pub(super) fn settle(&mut self, key: Key<Agent>, limited: bool) {
        let seen = self.news.next();
        if let Some(agent) = self.agents.get_mut(key) {
            let standing = &mut agent.standing;
            if limited && !standing.limited {
                self.news.limited.push(key);
            }
            standing.limited |= limited;
            standing.settled = true;
            standing.seen = seen;
            standing.expired = Vec::new();
            standing.refused = None;
        }
    }

    /// Notes that everyone but one framework refuses what is available of an agent now.
    pub(super) fn note_refused_by_others(&mut self, key: Key<Agent>) {
        if let Some(agent) = self.agents.get_mut(key) {
            agent.standing.refused = Some(Box::new(agent.available().clone()));
        }
    }

    /// The agents that a run over all of them has to look at.
    pub(super) fn agents_to_look_at(&mut self) -> Vec<Key<Agent>> {
        if !self.news.is_empty() {
            return self.agents.keys().collect();
        }
        let mut agents = std::mem::take(&mut self.news.restless);
        agents.sort_unstable();
        agents.dedup();
        agents.retain(|key| self.agents.get(*key).is_some());
        self.news.restless.clone_from(&agents);
        agents
    }

    /// Forgets agents that are settled by now.
    pub(super) fn tidy_news(&mut self) {
        let agents = &mut self.agents;
        self.news.restless.retain(|key| {
            let Some(agent) = agents.get_mut(*key) else {
                return false;
            };
            let standing = &mut agent.standing;
            standing.listed = !standing.settled || !standing.expired.is_empty();
            standing.listed
        });
    }
}

impl News {
    fn list(&mut self, key: Key<Agent>, standing: &mut Standing) {
        if !standing.listed {
            standing.listed = true;
            self.restless.push(key);
        }
    }
}
