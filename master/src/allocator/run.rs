//! One run: which framework is handed out what.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos::resources::{Resource, ResourceQuantities, Resources};

use super::FrameworkId;
use super::agent::Agent;
use super::core::{Allocation, Allocator, Candidates, Round};
use super::framework::Framework;
use super::lots::{hash, mix};
use super::news::Eager;
use super::quota::Headroom;
use super::role_tree::Role;
use super::slots::{Key, KeyMap};
use super::visit::{Stage, Visit};

/// Up to so many roles that lack what they are guaranteed are put in order without the others.
const LACKING_FEW: usize = 16;

/// What is handed out, by framework and role.
type HandedOut = KeyMap<(Key<Framework>, Key<Role>), Vec<(Key<Agent>, Resources)>>;

/// One run and what it has handed out so far.
pub(super) struct Run {
    pub(super) number: u64,
    pub(super) headroom: Headroom,
    handed_out: HandedOut,
}

/// Whom an agent is to be offered to.
#[derive(Clone, Copy)]
enum Plan {
    Everyone,
    /// Only this one can take anything.
    One(Key<Framework>, Key<Role>),
}

/// An agent in a run.
struct Turn {
    agent: Key<Agent>,
    /// Decides its place.
    order: u64,
    plan: Plan,
}

impl Allocator {
    /// A run over all agents: once per allocation interval. Expired filters end.
    pub fn allocate(&mut self, now: Duration) -> Round {
        self.end_recovery(now);
        if self.is_paused() {
            return Round::default();
        }
        self.candidates = Candidates::Some(Default::default());
        self.run(Candidates::All, true, now)
    }

    /// A run over the agents that events named since the last run.
    pub fn allocate_requested(&mut self, now: Duration) -> Round {
        self.end_recovery(now);
        if self.is_paused() {
            return Round::default();
        }
        let none = Candidates::Some(Default::default());
        let candidates = std::mem::replace(&mut self.candidates, none);
        self.run(candidates, false, now)
    }

    /// Stops waiting for agents when the time is over.
    fn end_recovery(&mut self, now: Duration) {
        let timeout = self.options.recovery_timeout;
        self.recovery.take_if(|recovery| {
            let deadline = recovery.deadline.get_or_insert(now.saturating_add(timeout));
            *deadline <= now
        });
    }

    fn run(&mut self, candidates: Candidates, batch: bool, now: Duration) -> Round {
        self.runs += 1;
        let expired = self.filters.expire(now);
        self.note_expired(&expired);
        let mut run = Run {
            number: self.runs,
            headroom: self.begin_quota(),
            handed_out: KeyMap::default(),
        };
        self.note_headroom(run.headroom.margin());
        let mut turns = self.plan(&candidates, &run);
        self.offer_guarantees(&mut turns, &mut run);
        self.release_headroom(&candidates, &mut turns, &run);
        self.offer_fairly(&mut turns, &mut run);
        self.news.margin = run.headroom.margin().cloned();
        if matches!(candidates, Candidates::All) {
            self.news.clear();
            self.tidy_news();
        }
        if batch {
            self.filters.seen();
        }
        Round {
            offers: self.allocations(run.handed_out),
            inverse_offers: self.inverse_offers(&candidates, now),
        }
    }

    /// Brings the accounts of quota up to date, and finds out what is to be held back.
    fn begin_quota(&mut self) -> Headroom {
        for role in self.roles.begin_quota() {
            self.note_eager_role(role);
        }
        let required = self.roles.lacked();
        if required.is_empty() {
            return Headroom::default();
        }
        Headroom::new(self.available_headroom(), required)
    }

    /// What is not offered or allocated, not reserved and not revocable in the whole cluster.
    fn available_headroom(&self) -> ResourceQuantities {
        let mut available = self.total.clone();
        if let Some(held) = self.role_sorter.held_by_all() {
            available -= held;
        }
        if let Some(root) = self.roles.root() {
            available -= &root.free_reservations();
        }
        available -= &self.revocable.amounts();
        available
    }

    /// The agents that someone may be able to take something of.
    fn plan(&mut self, candidates: &Candidates, run: &Run) -> Vec<Turn> {
        let agents = match candidates {
            Candidates::All => self.agents_to_look_at(),
            Candidates::Some(agents) => agents.iter().copied().collect(),
        };
        let mut turns = Vec::new();
        for key in agents {
            let Some(agent) = self.agents.get(key) else {
                continue;
            };
            let order = agent.order;
            if !agent.active || !self.is_whitelisted(agent) {
                self.unsettle(key);
            } else if let Some(plan) = self.plan_agent(key, run) {
                turns.push(Turn {
                    agent: key,
                    order,
                    plan,
                });
            }
        }
        turns
    }

    /// Whom an agent is to be offered to, if anyone can take something of it.
    fn plan_agent(&mut self, key: Key<Agent>, run: &Run) -> Option<Plan> {
        let agent = self.agents.get(key)?;
        let standing = &agent.standing;
        if !standing.settled {
            return Some(Plan::Everyone);
        }
        let Some(news) = self.news.since(standing.seen) else {
            return Some(Plan::Everyone);
        };
        if news.is_empty() && standing.expired.is_empty() {
            return None;
        }
        let expired = standing.expired.iter();
        let expired = expired.map(|(framework, role)| Eager::Framework(*framework, *role));
        let mut visit = Visit::new(key, agent, run.number);
        let mut willing = None;
        for eager in expired.chain(news.iter().copied()) {
            for client in self.clients_of(eager) {
                if Some(client) == willing || !self.can_take(&mut visit, client, run) {
                    continue;
                }
                if willing.is_some() {
                    return Some(Plan::Everyone);
                }
                willing = Some(client);
            }
        }
        if visit.differs_next_time {
            return Some(Plan::Everyone);
        }
        self.settle(key, visit.limited);
        let (framework, role) = willing?;
        self.note_refused_by_others(key);
        Some(Plan::One(framework, role))
    }

    fn clients_of(&self, eager: Eager) -> Vec<(Key<Framework>, Key<Role>)> {
        match eager {
            Eager::Framework(framework, role) => vec![(framework, role)],
            Eager::Role(role) => {
                let frameworks = self.roles.get(role).map(|node| node.frameworks.active());
                let frameworks = frameworks.into_iter().flatten();
                frameworks.map(|framework| (framework, role)).collect()
            }
        }
    }

    /// Whether a framework in a role could take something of an agent, whoever comes before it.
    fn can_take(
        &self,
        visit: &mut Visit,
        (framework, role): (Key<Framework>, Key<Role>),
        run: &Run,
    ) -> bool {
        let path = self.roles.get(role).map(|role| &role.path);
        let wants = self.frameworks.get(framework).zip(path);
        if !wants.is_some_and(|(framework, path)| framework.wants_offers(path)) {
            return false;
        }
        [Stage::Guarantees, Stage::FairShare]
            .into_iter()
            .any(|stage| {
                visit.stage = stage;
                let bundle = self.bundle(visit, role, &run.headroom);
                bundle.is_some_and(|bundle| {
                    self.offer(visit.agent, role, framework, &bundle).is_some()
                })
            })
    }

    /// The first stage: roles get what they are guaranteed.
    fn offer_guarantees(&mut self, turns: &mut [Turn], run: &mut Run) {
        if self.roles.lacking().is_empty() {
            return;
        }
        self.sort_turns(turns, mix(run.number, 1));
        for turn in turns {
            if self.roles.lacking().is_empty() {
                return;
            }
            self.take_turn(turn, Stage::Guarantees, run);
        }
    }

    /// Once all guarantees are met nothing is held back any more, so that agents of which headroom
    /// was in the way are offered to everyone.
    fn release_headroom(&mut self, candidates: &Candidates, turns: &mut Vec<Turn>, run: &Run) {
        let mut released = self.note_headroom(run.headroom.margin());
        if !released.is_empty() {
            turns.retain(|turn| !released.contains(&turn.agent));
            released.retain(|agent| candidates.contains(*agent));
            turns.extend(self.plan(&Candidates::Some(released), run));
        }
    }

    /// The second stage: what is left goes to all roles in fair order.
    fn offer_fairly(&mut self, turns: &mut [Turn], run: &mut Run) {
        self.sort_turns(turns, mix(run.number, 2));
        for turn in turns {
            let Some(visit) = self.take_turn(turn, Stage::FairShare, run) else {
                continue;
            };
            let agent = self.agents.get_mut(turn.agent);
            let refused = agent
                .and_then(|agent| agent.standing.refused.take())
                .filter(|_| matches!(turn.plan, Plan::One(..)));
            if visit.differs_next_time {
                self.unsettle(turn.agent);
                continue;
            }
            self.settle(turn.agent, visit.limited);
            if let Some(agent) = self.agents.get_mut(turn.agent) {
                agent.standing.refused = refused;
            }
        }
    }

    /// Puts agents into a random order.
    fn sort_turns(&self, turns: &mut [Turn], salt: u64) {
        let seed = mix(self.options.seed, salt);
        turns.sort_by_cached_key(|turn| (mix(seed, turn.order), turn.order));
    }

    fn take_turn(&mut self, turn: &Turn, stage: Stage, run: &mut Run) -> Option<Visit> {
        let agent = self.agents.get(turn.agent)?;
        let mut visit = Visit::new(turn.agent, agent, run.number);
        visit.stage = stage;
        match turn.plan {
            Plan::Everyone => self.offer_to_all(&mut visit, run),
            Plan::One(framework, role) => {
                self.offer_one(&mut visit, role, framework, run);
            }
        }
        if !visit.offered_shared().is_empty()
            && let Some(agent) = self.agents.get_mut(turn.agent)
        {
            agent.shared_in = Some(Box::new((run.number, visit.offered_shared().clone())));
        }
        Some(visit)
    }

    /// Offers what is left of an agent, role by role and framework by framework in order.
    fn offer_to_all(&mut self, visit: &mut Visit, run: &mut Run) {
        let policy = &self.options.role_sorter;
        let few = self.roles.lacking().len() <= LACKING_FEW && !policy.draws_lots();
        if visit.stage == Stage::Guarantees && few {
            self.offer_to_lacking(visit, run);
            return;
        }
        let seed = self.draw_seed(visit, run, None);
        let mut roles = self.role_sorter.begin(&self.capacity, seed);
        let mut wanted = self.is_wanted(visit, run);
        while wanted && let Some(role) = self.role_sorter.next(&mut roles, &self.capacity) {
            if self.may_have_something(visit, role, &run.headroom)
                && self.offer_role(visit, role, run)
            {
                wanted = self.is_wanted(visit, run);
            }
        }
    }

    /// Offers what is left of an agent to the few roles that have less than they are guaranteed.
    fn offer_to_lacking(&mut self, visit: &mut Visit, run: &mut Run) {
        let roles = self.roles.lacking().iter().copied();
        for role in self.role_sorter.in_order(roles, &self.capacity) {
            if !self.is_wanted(visit, run) {
                return;
            }
            if self.may_have_something(visit, role, &run.headroom) {
                self.offer_role(visit, role, run);
            }
        }
    }

    /// Whether anyone may be offered what is left of an agent in this stage.
    fn is_wanted(&self, visit: &mut Visit, run: &Run) -> bool {
        (visit.stage == Stage::FairShare || !self.roles.lacking().is_empty())
            && self.is_worth_offering(visit, &run.headroom)
    }

    /// Offers what is left of an agent to the frameworks of a role. Returns whether anyone was handed
    /// anything.
    fn offer_role(&mut self, visit: &mut Visit, role: Key<Role>, run: &mut Run) -> bool {
        let seed = self.draw_seed(visit, run, Some(role));
        let Some(node) = self.roles.get_mut(role) else {
            return false;
        };
        let mut walk = node.frameworks.begin(&self.capacity, seed);
        let (mut bundle, mut handed_out) = (None, false);
        while let Some(framework) = self
            .roles
            .get_mut(role)
            .and_then(|node| node.frameworks.next(&mut walk, &self.capacity))
        {
            if bundle.is_none() {
                bundle = self.bundle(visit, role, &run.headroom);
            }
            let Some(current) = &bundle else {
                break;
            };
            if let Some(offer) = self.offer(visit.agent, role, framework, current) {
                let offer = offer.into_owned();
                self.hand_out(visit, role, framework, offer, &current.guaranteed, run);
                (bundle, handed_out) = (None, true);
            }
        }
        handed_out
    }

    /// Offers what is left of an agent to one framework in one role.
    fn offer_one(
        &mut self,
        visit: &mut Visit,
        role: Key<Role>,
        framework: Key<Framework>,
        run: &mut Run,
    ) {
        let Some(bundle) = self.bundle(visit, role, &run.headroom) else {
            return;
        };
        if let Some(offer) = self.offer(visit.agent, role, framework, &bundle) {
            let offer = offer.into_owned();
            self.hand_out(visit, role, framework, offer, &bundle.guaranteed, run);
        }
    }

    /// Charges a framework for what it is offered, and notes the offer.
    fn hand_out(
        &mut self,
        visit: &mut Visit,
        role: Key<Role>,
        framework: Key<Framework>,
        mut offer: Resources,
        guaranteed: &ResourceQuantities,
        run: &mut Run,
    ) {
        let Some(node) = self.roles.get(role) else {
            return;
        };
        let amounts = ResourceQuantities::of_scalars(offer.iter().filter(|r| counts_for_quota(r)));
        let path = node.path.clone();
        self.roles.consume_quota(role, &amounts);
        run.headroom.consume(&amounts, guaranteed);
        offer.allocate(path);
        self.give(visit.agent, framework, role, &offer);
        self.note_granted(framework, &offer);
        if let Some(agent) = self.agents.get_mut(visit.agent) {
            agent.taker = Some((run.number, framework, role));
        }
        visit.note_offer(&offer);
        let handed_out = run.handed_out.entry((framework, role)).or_default();
        handed_out.push((visit.agent, offer));
    }

    /// The seed of the order of the frameworks in a role, or of all roles, on an agent.
    fn draw_seed(&self, visit: &Visit, run: &Run, role: Option<Key<Role>>) -> u64 {
        let policy = match role {
            None => &self.options.role_sorter,
            Some(_) => &self.options.framework_sorter,
        };
        if !policy.draws_lots() {
            return 0;
        }
        let path = role.and_then(|role| self.roles.get(role));
        let salt = hash(path.map_or("", |role| &role.path));
        let stage = mix(run.number, visit.stage as u64);
        mix(mix(mix(self.options.seed, stage), visit.order), salt)
    }

    /// What was handed out, by id.
    fn allocations(&self, handed_out: HandedOut) -> Vec<Allocation> {
        let mut by_framework = BTreeMap::<FrameworkId, Allocation>::new();
        for ((framework, role), agents) in handed_out {
            let framework = self.frameworks.id(framework);
            let Some((framework, role)) = framework.zip(self.roles.get(role)) else {
                continue;
            };
            let allocation =
                by_framework
                    .entry(framework.clone())
                    .or_insert_with_key(|framework| Allocation {
                        framework: framework.clone(),
                        resources: BTreeMap::new(),
                    });
            let in_role = allocation
                .resources
                .entry(role.path.to_string())
                .or_default();
            for (agent, resources) in agents {
                if let Some(agent) = self.agents.id(agent) {
                    *in_role.entry(agent.clone()).or_default() += resources;
                }
            }
        }
        by_framework.into_values().collect()
    }
}

/// Whether a resource counts against quota when it is held: reservations count in any case.
pub(super) fn counts_for_quota(resource: &Resource) -> bool {
    resource.as_scalar().is_some() && resource.is_unreserved() && !resource.is_revocable()
}
