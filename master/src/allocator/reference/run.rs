//! One run: guarantees first, then fair shares, then inverse offers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos::proto;
use mesos::resources::{ResourceQuantities, Resources};

use super::choices::{Choices, Stage};
use super::order::Moment;
use super::rules::{is_enough, may_see, without_unknown_kinds};
use super::{AgentId, FrameworkId, Reference, counts_for_quota};

/// Framework, role, agent: resources, with their allocation role.
pub(in crate::allocator) type HandedOut = BTreeMap<(FrameworkId, String, AgentId), Resources>;

/// Who is asked to leave what.
pub(in crate::allocator) type InverseOffers =
    BTreeMap<(FrameworkId, AgentId), proto::Unavailability>;

/// A run under way.
struct Run {
    choices: Choices,
    stage: Stage,
    /// What roles with quota had consumed when the run began. What roles below them are handed
    /// counts from the next run on.
    consumed: BTreeMap<String, ResourceQuantities>,
    required_headroom: ResourceQuantities,
    available_headroom: ResourceQuantities,
    /// What was given as guaranteed, and what counts for quota of all that was given.
    guaranteed: ResourceQuantities,
    counted: ResourceQuantities,
    handed_out: HandedOut,
}

impl Run {
    fn consumed(&self, role: &str) -> ResourceQuantities {
        let mut consumed = self.consumed.get(role).cloned().unwrap_or_default();
        let handed_out = self.handed_out.iter().filter(|((_, to, _), _)| to == role);
        for (_, bundle) in handed_out {
            consumed += &bundle.filter(counts_for_quota).quantities();
        }
        consumed
    }

    /// What can be given away without touching what guarantees need, of some resources.
    fn within_headroom(&self, agent: &AgentId, resources: &Resources) -> Resources {
        let required = &self.required_headroom - &self.guaranteed;
        if required.is_empty() {
            return resources.clone();
        }
        let available = &self.available_headroom - &self.counted;
        self.shuffled(agent, resources)
            .shrink_to_quantities(&(&available - &required))
    }

    fn shuffled(&self, agent: &AgentId, resources: &Resources) -> Resources {
        self.choices.shuffled(agent, self.stage, resources)
    }

    /// The shared resources of an agent that were offered in this run.
    fn offered_shared(&self, agent: &AgentId) -> Resources {
        let on_agent = self.handed_out.iter().filter(|((_, _, on), _)| on == agent);
        let mut shared: Resources = on_agent.map(|(_, bundle)| bundle.shared()).sum();
        shared.unallocate();
        shared
    }
}

/// What a framework may be handed, and which part of it counts as guaranteed.
struct Offer {
    resources: Resources,
    guaranteed: ResourceQuantities,
}

impl Reference {
    /// A run over all agents.
    pub(in crate::allocator) fn allocate(&mut self, now: Duration) -> (HandedOut, InverseOffers) {
        self.end_recovery(now);
        if self.is_paused() {
            return Default::default();
        }
        self.expire_filters(now);
        self.full_runs += 1;
        self.candidates.clear();
        self.all_are_candidates = false;
        self.run(self.agents.keys().cloned().collect(), now)
    }

    /// A run over the agents that events named.
    pub(in crate::allocator) fn allocate_requested(
        &mut self,
        now: Duration,
    ) -> (HandedOut, InverseOffers) {
        self.end_recovery(now);
        if self.is_paused() {
            return Default::default();
        }
        self.expire_filters(now);
        let mut candidates = std::mem::take(&mut self.candidates);
        if std::mem::take(&mut self.all_are_candidates) {
            candidates = self.agents.keys().cloned().collect();
        }
        self.run(candidates, now)
    }

    fn end_recovery(&mut self, now: Duration) {
        let timeout = self.options.recovery_timeout;
        if let Some((_, deadline)) = &mut self.recovery {
            let deadline = *deadline.get_or_insert(now + timeout);
            if deadline <= now {
                self.recovery = None;
            }
        }
    }

    /// Whether an agent may be offered now.
    pub(in crate::allocator) fn is_offerable(&self, agent: &AgentId) -> bool {
        self.agents.get(agent).is_some_and(|agent| {
            let hostname = &agent.info.hostname;
            let whitelist = self.whitelist.as_ref();
            agent.active && whitelist.is_none_or(|hostnames| hostnames.contains(hostname))
        })
    }

    fn run(&mut self, candidates: BTreeSet<AgentId>, now: Duration) -> (HandedOut, InverseOffers) {
        self.runs += 1;
        let quotas = self.quotas.keys();
        let mut run = Run {
            choices: Choices {
                seed: self.options.seed,
                run: self.runs,
            },
            stage: Stage::Guarantees,
            consumed: quotas
                .map(|role| (role.clone(), self.consumed(role)))
                .collect(),
            required_headroom: self.required_headroom(),
            available_headroom: self.available_headroom(),
            guaranteed: ResourceQuantities::new(),
            counted: ResourceQuantities::new(),
            handed_out: HandedOut::new(),
        };
        let offerable = candidates.iter().filter(|agent| self.is_offerable(agent));
        let offerable: Vec<AgentId> = offerable.cloned().collect();
        for agent in run.choices.agents(offerable.clone(), Stage::Guarantees) {
            self.offer_agent(&agent, &mut run);
        }
        run.stage = Stage::FairShare;
        for agent in run.choices.agents(offerable, Stage::FairShare) {
            self.offer_agent(&agent, &mut run);
        }
        (run.handed_out, self.inverse_offers(&candidates, now))
    }

    fn offer_agent(&mut self, agent: &AgentId, run: &mut Run) {
        let moment = Moment {
            choices: run.choices,
            agent,
            stage: run.stage,
        };
        for role in self.role_order(moment) {
            if self.agents[agent].available().is_empty() {
                break;
            }
            for framework in self.framework_order(&role, moment) {
                if let Some(offer) = self.offer(agent, &role, &framework, run) {
                    self.hand_out(agent, &role, &framework, offer, run);
                }
            }
        }
    }

    /// What a framework is to be offered of an agent now, if anything.
    fn offer(&self, agent: &AgentId, role: &str, id: &FrameworkId, run: &Run) -> Option<Offer> {
        let (known, framework) = (&self.agents[agent], &self.frameworks[id]);
        if !may_see(&self.options, framework, known, role) {
            return None;
        }
        let usable = known.available().allocatable_to(role) - run.offered_shared(agent);
        let usable = without_unknown_kinds(&framework.info, &usable);
        let offer = match run.stage {
            Stage::Guarantees => self.guaranteed_offer(agent, role, &usable, run)?,
            Stage::FairShare => self.fair_offer(agent, role, &usable, run),
        };
        let wanted = is_enough(&self.options, framework, role, &offer.resources)
            && !self.is_filtered(agent, role, id, &offer.resources);
        wanted.then_some(offer)
    }

    fn guaranteed_offer(
        &self,
        agent: &AgentId,
        role: &str,
        usable: &Resources,
        run: &Run,
    ) -> Option<Offer> {
        let (quota, consumed) = (self.quota(role), run.consumed(role));
        let unsatisfied = &quota.guarantees - &consumed;
        let regulated = usable.filter(counts_for_quota);
        let guaranteed = run.shuffled(agent, &regulated);
        let guaranteed = guaranteed.shrink_to_quantities(&unsatisfied);
        if guaranteed.is_empty() {
            return None;
        }
        let mut extra = &regulated - &guaranteed;
        if !quota.limits.is_empty() {
            let rest = quota.limits.minus(&consumed);
            let rest = rest.minus(&guaranteed.quantities());
            extra = run.shuffled(agent, &extra).shrink_to_limits(&rest);
        }
        let unregulated = usable.filter(|resource| {
            resource.is_reserved(Some(role))
                || resource.as_scalar().is_none()
                || resource.is_revocable()
        });
        Some(Offer {
            guaranteed: guaranteed.quantities(),
            resources: run.within_headroom(agent, &extra) + guaranteed + unregulated,
        })
    }

    fn fair_offer(&self, agent: &AgentId, role: &str, usable: &Resources, run: &Run) -> Offer {
        let quota = self.quota(role);
        let mut regulated = usable.filter(counts_for_quota);
        if !quota.limits.is_empty() {
            let rest = quota.limits.minus(&run.consumed(role));
            regulated = run.shuffled(agent, &regulated).shrink_to_limits(&rest);
        }
        let unregulated = usable.filter(|resource| !counts_for_quota(resource));
        Offer {
            guaranteed: ResourceQuantities::new(),
            resources: run.within_headroom(agent, &regulated) + unregulated,
        }
    }

    pub(in crate::allocator) fn is_filtered(
        &self,
        agent: &AgentId,
        role: &str,
        framework: &FrameworkId,
        offer: &Resources,
    ) -> bool {
        self.filters.iter().any(|filter| {
            filter.agent == *agent
                && filter.role == role
                && filter.framework == *framework
                && filter.refused.contains(offer)
        })
    }

    fn hand_out(
        &mut self,
        agent: &AgentId,
        role: &str,
        framework: &FrameworkId,
        offer: Offer,
        run: &mut Run,
    ) {
        let mut resources = offer.resources;
        run.guaranteed += &offer.guaranteed;
        run.counted += &resources.filter(counts_for_quota).quantities();
        resources.allocate(role);
        self.give(agent, framework, &resources);
        self.count_hand_out(framework, role);
        if let Some(framework) = self.frameworks.get_mut(framework) {
            framework.granted += &resources.quantities();
        }
        let key = (framework.clone(), role.to_owned(), agent.clone());
        *run.handed_out.entry(key).or_default() += resources;
    }

    /// Asks everyone on agents that are to be unavailable to leave, once.
    fn inverse_offers(&mut self, candidates: &BTreeSet<AgentId>, now: Duration) -> InverseOffers {
        let mut offers = InverseOffers::new();
        for (agent_id, agent) in &mut self.agents {
            let Some(maintenance) = &mut agent.maintenance else {
                continue;
            };
            for (id, framework) in &self.frameworks {
                let refused = self.inverse_filters.iter().any(|filter| {
                    filter.framework == *id && filter.agent == *agent_id && filter.until > now
                });
                if candidates.contains(agent_id)
                    && framework.active
                    && agent.held.contains_key(id)
                    && !refused
                    && maintenance.outstanding.insert(id.clone())
                {
                    let key = (id.clone(), agent_id.clone());
                    offers.insert(key, maintenance.unavailability);
                }
            }
        }
        offers
    }
}
