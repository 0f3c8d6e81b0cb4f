//! Why a framework gets nothing.
//!
//! Nothing is written down for this but, with each agent, who was handed something of it last: 16
//! bytes for each agent and two stores for each hand-out. An answer is worked out when somebody
//! asks, from the state that the last run has left, by looking at each agent once more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use mesos::resources::{Resource, ResourceQuantities, Resources};
use serde::{Serialize, Serializer};

use super::agent::Agent;
use super::core::Allocator;
use super::filters::Place;
use super::framework::Framework;
use super::role_tree::Role;
use super::run::counts_for_quota;
use super::slots::Key;
use super::visit::{Obstacle, is_enough};
use super::{AgentId, AllocatorError, FrameworkId};

/// How many agents an answer names at most. All of them are counted.
const AGENTS_MAX: usize = 100;

/// Why does a framework get nothing in a role, of one agent or of any?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The framework.
    pub framework: FrameworkId,
    /// The role.
    pub role: String,
    /// The agent; none asks about all of them.
    pub agent: Option<AgentId>,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The framework.
    #[serde(serialize_with = "as_text")]
    pub framework: FrameworkId,
    /// The role.
    pub role: String,
    /// The number of the last run.
    pub run: u64,
    /// What keeps the framework from being offered anything, whatever the agent.
    pub anywhere: Vec<Reason>,
    /// On how many agents there is a reason of each kind.
    pub counts: BTreeMap<&'static str, usize>,
    /// Reasons by agent, of the first agents.
    pub agents: Vec<AgentExplanation>,
    /// How many agents there are beside those.
    pub more_agents: usize,
}

/// What keeps a framework from being offered an agent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgentExplanation {
    /// The agent.
    #[serde(serialize_with = "as_text")]
    pub agent: AgentId,
    /// The reasons; all that are known.
    pub reasons: Vec<Reason>,
}

/// One reason. In JSON it is an object whose `reason` names the kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// The allocator is paused.
    Paused,
    /// After a failover of the master, agents are waited for before quota is relied on.
    Recovering,
    /// The framework is not connected.
    Deactivated,
    /// The framework is not subscribed to the role.
    NotSubscribed,
    /// The framework asked for no offers in the role.
    Suppressed,
    /// The agent is not connected, or is being drained.
    AgentDeactivated,
    /// The agent is not on the whitelist.
    NotWhitelisted,
    /// The agent has GPUs, and the framework does not know them.
    Gpu,
    /// The agent is in another region than the master, and the framework does not know regions.
    Region {
        /// The region of the agent.
        region: String,
    },
    /// The agent or the framework lacks a capability.
    Capability {
        /// The capability.
        capability: &'static str,
        /// Who lacks it.
        lacked_by: &'static str,
    },
    /// The framework's offer constraints exclude the agent.
    Constraint {
        /// What does not hold.
        constraint: String,
    },
    /// Nothing is available: everything is in use or offered.
    Unavailable,
    /// Resources are reserved for another role.
    ReservedFor {
        /// The role.
        role: String,
    },
    /// The role has as much as its quota allows.
    QuotaLimit {
        /// The names of the resources.
        resources: BTreeSet<String>,
    },
    /// What is left is held back for the guarantees of other roles.
    Headroom {
        /// The names of the resources.
        resources: BTreeSet<String>,
    },
    /// What is left is less than the least that is offered.
    BelowMinimum {
        /// What is left.
        resources: String,
    },
    /// The framework refused at least as much of the agent.
    Filtered {
        /// Until when, in seconds since the moment that the allocator's times count from.
        until_secs: f64,
    },
    /// Another framework came first.
    LowerInOrder {
        /// The framework that was handed something in the last run.
        framework: String,
        /// In which role.
        role: String,
    },
    /// The framework itself was handed something of the agent in the last run.
    Offered,
    /// There is no reason: it will be offered the agent once it comes first.
    Offerable {
        /// What it would be offered.
        resources: String,
    },
}

impl Reason {
    /// The kind of the reason, as in JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Reason::Paused => "paused",
            Reason::Recovering => "recovering",
            Reason::Deactivated => "deactivated",
            Reason::NotSubscribed => "not_subscribed",
            Reason::Suppressed => "suppressed",
            Reason::AgentDeactivated => "agent_deactivated",
            Reason::NotWhitelisted => "not_whitelisted",
            Reason::Gpu => "gpu",
            Reason::Region { .. } => "region",
            Reason::Capability { .. } => "capability",
            Reason::Constraint { .. } => "constraint",
            Reason::Unavailable => "unavailable",
            Reason::ReservedFor { .. } => "reserved_for",
            Reason::QuotaLimit { .. } => "quota_limit",
            Reason::Headroom { .. } => "headroom",
            Reason::BelowMinimum { .. } => "below_minimum",
            Reason::Filtered { .. } => "filtered",
            Reason::LowerInOrder { .. } => "lower_in_order",
            Reason::Offered => "offered",
            Reason::Offerable { .. } => "offerable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        match self {
            Reason::Paused => f.write_str("the allocator is paused"),
            Reason::Recovering => f.write_str("agents are waited for after a failover"),
            Reason::Deactivated => f.write_str("the framework is not connected"),
            Reason::NotSubscribed => f.write_str("the framework is not subscribed to the role"),
            Reason::Suppressed => f.write_str("the framework suppressed offers in the role"),
            Reason::AgentDeactivated => f.write_str("the agent is deactivated"),
            Reason::NotWhitelisted => f.write_str("the agent is not on the whitelist"),
            Reason::Gpu => f.write_str("the agent has GPUs, the framework lacks GPU_RESOURCES"),
            Reason::Region { region } => write!(
                f,
                "the agent is in region {region}, the framework lacks REGION_AWARE"
            ),
            Reason::Capability {
                capability,
                lacked_by,
            } => write!(f, "the {lacked_by} lacks {capability}"),
            Reason::Constraint { constraint } => write!(f, "not so: {constraint}"),
            Reason::Unavailable => f.write_str("nothing is available"),
            Reason::ReservedFor { role } => write!(f, "reserved for role {role}"),
            Reason::QuotaLimit { resources } => {
                write!(f, "the quota limit of the role: {}", names(resources))
            }
            Reason::Headroom { resources } => write!(
                f,
                "held back for the guarantees of other roles: {}",
                names(resources)
            ),
            Reason::BelowMinimum { resources } => write!(f, "too little to offer: {resources}"),
            Reason::Filtered { until_secs } => write!(f, "refused until {until_secs} s"),
            Reason::LowerInOrder { framework, role } => {
                write!(f, "framework {framework} in role {role} came first")
            }
            Reason::Offered => f.write_str("handed out in the last run"),
            Reason::Offerable { resources } => write!(f, "to be offered in its turn: {resources}"),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "framework {} in role {}", self.framework, self.role)?;
        for reason in &self.anywhere {
            writeln!(f, "  {reason}")?;
        }
        for AgentExplanation { agent, reasons } in &self.agents {
            let reasons: Vec<String> = reasons.iter().map(Reason::to_string).collect();
            writeln!(f, "  agent {agent}: {}", reasons.join("; "))?;
        }
        if self.more_agents > 0 {
            writeln!(f, "  and {} more agents", self.more_agents)?;
        }
        Ok(())
    }
}

fn as_text<S: Serializer>(id: &impl AsRef<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_ref())
}

/// A framework in a role, as asked about.
struct Asked<'a> {
    framework: &'a Framework,
    framework_key: Key<Framework>,
    path: &'a str,
    role: Option<(Key<Role>, &'a Role)>,
}

impl Allocator {
    /// Why a framework got nothing in the last run, or is not getting anything now. The cost is
    /// that of offering it each agent once.
    ///
    /// # Errors
    /// The framework or agent is not known.
    pub fn explain(&self, question: &Question) -> Result<Explanation, AllocatorError> {
        let framework_key = self.framework_key(&question.framework)?;
        let Some(framework) = self.frameworks.get(framework_key) else {
            return Err(AllocatorError::UnknownFramework(question.framework.clone()));
        };
        let role = self.roles.key(&question.role);
        let asked = Asked {
            framework,
            framework_key,
            path: &question.role,
            role: role.and_then(|key| Some((key, self.roles.get(key)?))),
        };
        let mut explanation = Explanation {
            framework: question.framework.clone(),
            role: question.role.clone(),
            run: self.runs,
            anywhere: self.reasons_anywhere(&asked),
            counts: BTreeMap::new(),
            agents: Vec::new(),
            more_agents: 0,
        };
        if let Some(id) = &question.agent {
            self.agent_key(id)?;
        }
        for (key, id, agent) in self.agents.iter() {
            if question.agent.as_ref().is_some_and(|wanted| wanted != id) {
                continue;
            }
            let reasons = self.reasons_on(&asked, key, agent);
            for kind in reasons.iter().map(Reason::kind).collect::<BTreeSet<_>>() {
                *explanation.counts.entry(kind).or_default() += 1;
            }
            if explanation.agents.len() < AGENTS_MAX {
                let agent = id.clone();
                explanation.agents.push(AgentExplanation { agent, reasons });
            } else {
                explanation.more_agents += 1;
            }
        }
        Ok(explanation)
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

    fn reasons_on(&self, asked: &Asked<'_>, key: Key<Agent>, agent: &Agent) -> Vec<Reason> {
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
        self.explain_bundle(asked, key, &left, &mut reasons);
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
            let until_secs = Duration::as_secs_f64(&until);
            reasons.push(Reason::Filtered { until_secs });
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
