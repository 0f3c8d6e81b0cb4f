//! Why a framework gets nothing.
//!
//! Nothing is written down for this but, with each agent, who was handed something of it last: 16
//! bytes for each agent and two stores for each hand-out. An answer is worked out when somebody
//! asks, from the state that the last run has left, by looking at each agent once more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use super::{AgentId, FrameworkId};

/// How much an answer names at most, unless it is asked for more or less.
pub const DEFAULT_LIMIT: usize = 100;

/// Why do frameworks get nothing? A question that leaves something open is about all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The framework.
    pub framework: Option<FrameworkId>,
    /// The role; if there is none, all that the framework is subscribed to.
    pub role: Option<String>,
    /// The agent.
    pub agent: Option<AgentId>,
    /// How many frameworks in a role are named at most, and how many agents with all of them
    /// together, but at least one with each.
    pub limit: usize,
}

impl Default for Question {
    fn default() -> Question {
        Question {
            framework: None,
            role: None,
            agent: None,
            limit: DEFAULT_LIMIT,
        }
    }
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The number of the last run.
    pub run: u64,
    /// How many agents the question is about.
    pub agents: usize,
    /// How many of them were looked at.
    pub examined: usize,
    /// An explanation for each framework in each of its roles.
    pub frameworks: Vec<Explanation>,
    /// For how many frameworks and roles there is none, as there are too many.
    pub more_frameworks: usize,
    /// Whether anything was left out: frameworks, agents, or names of agents.
    pub truncated: bool,
}

/// Why one framework gets nothing in one role.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The framework.
    #[serde(serialize_with = "as_text")]
    pub framework: FrameworkId,
    /// The name of the framework.
    pub name: String,
    /// The role.
    pub role: String,
    /// What keeps the framework from being offered anything, whatever the agent.
    pub anywhere: Vec<Reason>,
    /// On how many of the agents that were looked at there is a reason of each kind.
    pub counts: BTreeMap<&'static str, usize>,
    /// Reasons by agent, of the first agents.
    pub agents: Vec<AgentExplanation>,
    /// How many agents were looked at beside those.
    pub more_agents: usize,
}

impl Explanation {
    pub(super) fn client(&self) -> (FrameworkId, String) {
        (self.framework.clone(), self.role.clone())
    }
}

/// What keeps a framework from being offered an agent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgentExplanation {
    /// The agent.
    #[serde(serialize_with = "as_text")]
    pub agent: AgentId,
    /// Its host name.
    pub hostname: String,
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
        /// For how long, in seconds; once this is 0, until the next run over all agents.
        seconds_left: f64,
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
            Reason::Filtered { seconds_left } => {
                write!(f, "refused for another {seconds_left:.1} s")
            }
            Reason::LowerInOrder { framework, role } => {
                write!(f, "framework {framework} in role {role} came first")
            }
            Reason::Offered => f.write_str("handed out in the last run"),
            Reason::Offerable { resources } => write!(f, "to be offered in its turn: {resources}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after run {}, agents: {}", self.run, self.examined)?;
        if self.examined < self.agents {
            write!(f, " of {}", self.agents)?;
        }
        writeln!(f)?;
        for explanation in &self.frameworks {
            write!(f, "{explanation}")?;
        }
        if self.more_frameworks > 0 {
            writeln!(f, "and {} more frameworks in a role", self.more_frameworks)?;
        }
        Ok(())
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation {
            framework,
            name,
            role,
            ..
        } = self;
        writeln!(f, "framework {framework} ({name}) in role {role}")?;
        for reason in &self.anywhere {
            writeln!(f, "  {reason}")?;
        }
        for AgentExplanation {
            agent,
            hostname,
            reasons,
        } in &self.agents
        {
            let reasons: Vec<String> = reasons.iter().map(Reason::to_string).collect();
            writeln!(f, "  agent {agent} ({hostname}): {}", reasons.join("; "))?;
        }
        if self.more_agents > 0 {
            let counts = self.counts.iter();
            let counts: Vec<_> = counts
                .map(|(kind, count)| format!("{count} {kind}"))
                .collect();
            writeln!(
                f,
                "  and {} more agents; of all: {}",
                self.more_agents,
                counts.join(", ")
            )?;
        }
        Ok(())
    }
}

fn as_text<S: Serializer>(id: &impl AsRef<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_ref())
}
