//! Working out why frameworks get nothing, in portions, so that nothing else has to wait for long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos::resources::{Resource, ResourceQuantities, Resources};

use super::agent::Agent;
use super::core::Allocator;
use super::explain::{AgentExplanation, Answer, Explanation, Question, Reason};
use super::filters::Place;
use super::framework::Framework;
use super::role_tree::Role;
use super::run::counts_for_quota;
use super::slots::Key;
use super::visit::{Obstacle, is_enough};
use super::{AgentId, AllocatorError, FrameworkId};

/// How often an agent is offered to a framework for one answer.
const EXAMINED_MAX: usize = 100_000;

/// A [`Question`] that is being answered.
pub struct Survey {
    /// The agents to look at.
    agents: Vec<Key<Agent>>,
    /// How many agents are named with each framework.
    named: usize,
    answer: Answer,
}

impl Survey {
    /// The answer as far as it has been worked out.
    #[must_use]
    pub fn into_answer(self) -> Answer {
        self.answer
    }
}

/// A framework in a role, as asked about.
struct Asked<'a> {
    framework: &'a Framework,
    framework_key: Key<Framework>,
    path: &'a str,
    role: Option<(Key<Role>, &'a Role)>,
}

impl Allocator {
    /// Why frameworks got nothing in the last run, or are not getting anything now. The cost is
    /// that of offering each agent to each framework once, but at most 100000 times;
    /// [`Allocator::survey`] does the same in portions. `now` is on the clock of the runs.
    ///
    /// # Errors
    /// See [`Allocator::survey`].
    pub fn explain(&self, question: &Question, now: Duration) -> Result<Answer, AllocatorError> {
        let mut survey = self.survey(question)?;
        while !self.examine(&mut survey, EXAMINED_MAX, now) {}
        Ok(survey.into_answer())
    }

    /// Begins to answer a question; [`Allocator::examine`] goes on.
    ///
    /// # Errors
    /// The framework or agent is not known, the role is not valid, or nobody is subscribed to it.
    pub fn survey(&self, question: &Question) -> Result<Survey, AllocatorError> {
        if let Some(role) = &question.role {
            mesos::roles::validate(role)?;
        }
        let mut clients = self.clients(question)?;
        let limit = question.limit.max(1);
        let more_frameworks = clients.len().saturating_sub(limit);
        clients.truncate(limit);
        let mut agents: Vec<_> = match &question.agent {
            Some(agent) => vec![self.agent_key(agent)?],
            None => self.agents.keys().collect(),
        };
        let answer = Answer {
            run: self.runs,
            agents: agents.len(),
            examined: 0,
            frameworks: clients
                .iter()
                .map(|(id, role)| self.explanation(id, role))
                .collect::<Result<_, _>>()?,
            more_frameworks,
            truncated: false,
        };
        let clients = clients.len().max(1);
        agents.truncate((EXAMINED_MAX / clients).max(1));
        Ok(Survey {
            agents,
            named: (limit / clients).max(1),
            answer,
        })
    }

    /// Goes on answering: offers agents to frameworks about `portion` times. Whether that was all.
    pub fn examine(&self, survey: &mut Survey, portion: usize, now: Duration) -> bool {
        let answer = &mut survey.answer;
        let clients: Vec<_> = answer.frameworks.iter().map(Explanation::client).collect();
        let count = (portion / clients.len().max(1)).max(1);
        let rest = survey.agents.get(answer.examined..).unwrap_or(&[]);
        let portion = rest.get(..count).unwrap_or(rest);
        for ((framework, role), explanation) in clients.iter().zip(&mut answer.frameworks) {
            let Ok(asked) = self.asked(framework, role) else {
                // Removed meanwhile.
                continue;
            };
            for key in portion {
                let found = self.agents.id(*key).zip(self.agents.get(*key));
                if let Some((id, agent)) = found {
                    let reasons = self.reasons_on(&asked, *key, agent, now);
                    note(explanation, survey.named, id, agent, reasons);
                }
            }
        }
        answer.examined += portion.len();
        answer.run = self.runs;
        answer.truncated = answer.more_frameworks > 0
            || answer.examined < answer.agents
            || answer.frameworks.iter().any(|each| each.more_agents > 0);
        answer.examined >= survey.agents.len()
    }

    /// The frameworks and roles that a question is about.
    fn clients(&self, question: &Question) -> Result<Vec<(FrameworkId, String)>, AllocatorError> {
        if let Some(id) = &question.framework {
            let Asked { framework, .. } = self.asked(id, "")?;
            let roles = match &question.role {
                Some(role) => vec![role.clone()],
                None => framework.roles.iter().map(ToString::to_string).collect(),
            };
            return Ok(roles.into_iter().map(|role| (id.clone(), role)).collect());
        }
        let is_meant = |role: &str| question.role.as_ref().is_none_or(|meant| meant == role);
        let mut clients = Vec::new();
        for (_, id, framework) in self.frameworks.iter() {
            let roles = framework.roles.iter().filter(|role| is_meant(role));
            clients.extend(roles.map(|role| (id.clone(), role.to_string())));
        }
        match &question.role {
            Some(role) if clients.is_empty() => Err(AllocatorError::UnknownRole(role.clone())),
            _ => Ok(clients),
        }
    }

    fn asked<'a>(&'a self, id: &FrameworkId, path: &'a str) -> Result<Asked<'a>, AllocatorError> {
        let framework_key = self.framework_key(id)?;
        let framework = self.frameworks.get(framework_key);
        let role = self.roles.key(path);
        Ok(Asked {
            framework: framework.ok_or_else(|| AllocatorError::UnknownFramework(id.clone()))?,
            framework_key,
            path,
            role: role.and_then(|key| Some((key, self.roles.get(key)?))),
        })
    }

    /// What is known before any agent is looked at.
    fn explanation(&self, id: &FrameworkId, role: &str) -> Result<Explanation, AllocatorError> {
        let asked = self.asked(id, role)?;
        Ok(Explanation {
            framework: id.clone(),
            name: asked.framework.name.clone(),
            role: role.to_owned(),
            anywhere: self.reasons_anywhere(&asked),
            counts: BTreeMap::new(),
            agents: Vec::new(),
            more_agents: 0,
        })
    }

    fn reasons_anywhere(&self, asked: &Asked<'_>) -> Vec<Reason> {
        let framework = asked.framework;
        let checks = [
            (self.recovery.is_some(), Reason::Recovering),
            (self.is_paused() && self.recovery.is_none(), Reason::Paused),
            (!framework.active, Reason::Deactivated),
            (!framework.roles.contains(asked.path), Reason::NotSubscribed),
            (
                framework.suppressed.contains(asked.path),
                Reason::Suppressed,
            ),
        ];
        let reasons = checks.into_iter().filter(|(holds, _)| *holds);
        reasons.map(|(_, reason)| reason).collect()
    }

    fn reasons_on(
        &self,
        asked: &Asked<'_>,
        key: Key<Agent>,
        agent: &Agent,
        now: Duration,
    ) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if !agent.active {
            reasons.push(Reason::AgentDeactivated);
        }
        if !self.is_whitelisted(agent) {
            reasons.push(Reason::NotWhitelisted);
        }
        if let Some(obstacle) = self.obstacle(asked.framework, agent, asked.path) {
            reasons.push(reason_of(obstacle, asked, agent));
        }
        let last = agent.taker.filter(|(run, _, _)| *run == self.runs);
        let taken = last.map(|(_, framework, role)| self.reason_of_taker(asked, framework, role));
        let (usable, what_for_others) = usable(asked, agent.available());
        reasons.extend(what_for_others);
        if usable.is_empty() {
            reasons.extend(taken.clone());
            if reasons.is_empty() {
                reasons.push(Reason::Unavailable);
            }
            return reasons;
        }
        let left = self.within_quota(asked, usable, &mut reasons);
        self.explain_bundle(asked, key, &left, now, &mut reasons);
        // What was taken by others, or by itself, explains why only this is left.
        reasons.extend(taken);
        if reasons.is_empty() {
            let resources = left.to_string();
            reasons.push(Reason::Offerable { resources });
        }
        reasons
    }

    fn reason_of_taker(&self, asked: &Asked<'_>, taker: Key<Framework>, role: Key<Role>) -> Reason {
        let path = self.roles.get(role).map(|role| role.path.to_string());
        if taker == asked.framework_key && path.as_deref() == Some(asked.path) {
            return Reason::Offered;
        }
        let framework = self.frameworks.id(taker);
        Reason::LowerInOrder {
            framework: framework.map(ToString::to_string).unwrap_or_default(),
            role: path.unwrap_or_default(),
        }
    }

    /// The part of what a framework can use that quota and headroom left at the end of the last
    /// run.
    fn within_quota(
        &self,
        asked: &Asked<'_>,
        usable: Resources,
        reasons: &mut Vec<Reason>,
    ) -> Resources {
        let mut counted = usable.filter(counts_for_quota);
        let others = usable.filter(|resource| !counts_for_quota(resource));
        let account = asked.role.and_then(|(_, role)| role.quota.as_ref());
        if let Some(account) = account {
            let limited = counted.shrink_to_limits(&account.rest);
            let resources = missing(&counted, &limited);
            if !resources.is_empty() {
                reasons.push(Reason::QuotaLimit { resources });
            }
            counted = limited;
        }
        if let Some(margin) = &self.news.margin {
            // What is guaranteed to the role itself is not held back from it.
            let own = account
                .map(|account| account.unsatisfied.clone())
                .unwrap_or_default();
            let limited = counted.shrink_to_quantities(&(margin + &own));
            let resources = missing(&counted, &limited);
            if !resources.is_empty() {
                reasons.push(Reason::Headroom { resources });
            }
            counted = limited;
        }
        others + counted
    }

    /// Whether a bundle would not be offered because it is too little or refused.
    fn explain_bundle(
        &self,
        asked: &Asked<'_>,
        agent: Key<Agent>,
        left: &Resources,
        now: Duration,
        reasons: &mut Vec<Reason>,
    ) {
        let global = &self.options.min_allocatable_resources;
        let minimum = asked
            .framework
            .min_allocatable
            .get(asked.path)
            .unwrap_or(global);
        if !is_enough(left, minimum) {
            if !left.is_empty() {
                let resources = left.to_string();
                reasons.push(Reason::BelowMinimum { resources });
            }
            return;
        }
        let Some((role, _)) = asked.role else { return };
        let place = Place {
            framework: asked.framework_key,
            role,
            agent,
        };
        let refused = self.filters.refused(place);
        let until = refused
            .filter(|(refused, _)| refused.contains(left))
            .map(|(_, until)| until)
            .max();
        if let Some(until) = until {
            let seconds_left = until.saturating_sub(now).as_secs_f64();
            reasons.push(Reason::Filtered { seconds_left });
        }
    }
}

fn reason_of(obstacle: Obstacle, asked: &Asked<'_>, agent: &Agent) -> Reason {
    let capability = |capability| Reason::Capability {
        capability,
        lacked_by: "agent",
    };
    match obstacle {
        Obstacle::Gpus => Reason::Gpu,
        Obstacle::Region => Reason::Region {
            region: agent.region.clone().unwrap_or_default(),
        },
        Obstacle::AgentMultiRole => capability("MULTI_ROLE"),
        Obstacle::AgentHierarchicalRole => capability("HIERARCHICAL_ROLE"),
        Obstacle::Constraints => {
            let constraint = asked.framework.constraints.why_excluded(asked.path, agent);
            Reason::Constraint { constraint }
        }
    }
}

/// What a framework can use in a role of what is available, and why it cannot use the rest.
fn usable(asked: &Asked<'_>, available: &Resources) -> (Resources, Vec<Reason>) {
    let capabilities = asked.framework.capabilities;
    let mut reasons = Vec::new();
    let lacks = |resource: &Resource| {
        [
            (
                resource.is_shared() && !capabilities.shared_resources,
                "SHARED_RESOURCES",
            ),
            (
                resource.is_revocable() && !capabilities.revocable_resources,
                "REVOCABLE_RESOURCES",
            ),
            (
                resource.has_refined_reservations() && !capabilities.reservation_refinement,
                "RESERVATION_REFINEMENT",
            ),
        ]
        .into_iter()
        .find_map(|(lacked, capability)| lacked.then_some(capability))
    };
    for resource in available {
        let reason = match (resource.reservation_role(), lacks(resource)) {
            (Some(role), _) if !resource.is_allocatable_to(asked.path) => Reason::ReservedFor {
                role: role.to_owned(),
            },
            (_, Some(capability)) => Reason::Capability {
                capability,
                lacked_by: "framework",
            },
            _ => continue,
        };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let part = |resource: &Resource| {
        resource.is_allocatable_to(asked.path) && capabilities.can_take(resource)
    };
    (available.filter(part), reasons)
}

/// The names of which there is less in a part than in the whole.
fn missing(whole: &Resources, part: &Resources) -> BTreeSet<String> {
    let missing: ResourceQuantities = &whole.quantities() - &part.quantities();
    missing.iter().map(|(name, _)| name.to_string()).collect()
}

/// Adds what is found out about an agent.
fn note(
    explanation: &mut Explanation,
    named: usize,
    id: &AgentId,
    agent: &Agent,
    reasons: Vec<Reason>,
) {
    for kind in reasons.iter().map(Reason::kind).collect::<BTreeSet<_>>() {
        *explanation.counts.entry(kind).or_default() += 1;
    }
    if explanation.agents.len() >= named {
        explanation.more_agents += 1;
        return;
    }
    explanation.agents.push(AgentExplanation {
        agent: id.clone(),
        hostname: agent.hostname.clone(),
        reasons,
    });
}
