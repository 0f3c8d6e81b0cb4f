//! Which agents frameworks exclude by their offer constraints, for operators who look into them.
//!
//! Upstream: `offerConstraintsDebug` of `src/master/allocator/mesos/hierarchical.cpp`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::agent::Agent;
use super::core::Allocator;
use super::slots::Key;
use super::{AgentId, FrameworkId};

/// How many agents are listed for all frameworks and roles together.
const LISTED_MAX: usize = 1_000_000;

/// The list would have more than 1000000 entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("offer constraints exclude agents more than {LISTED_MAX} times, which is too much to list")]
pub struct TooManyExclusions;

/// What is excluded, by framework. It prints as the JSON of upstream's endpoint
/// `/allocator/offer_constraints_debug`.
#[derive(Debug, Default, Serialize)]
pub struct Exclusions {
    #[serde(serialize_with = "by_id")]
    frameworks: BTreeMap<FrameworkId, ExcludedAgents>,
}

#[derive(Debug, Serialize)]
struct ExcludedAgents {
    suppressed_roles: BTreeSet<String>,
    /// By role.
    excluded_by_attribute_constraints: BTreeMap<String, Ids>,
}

#[derive(Debug, Default)]
struct Ids(Vec<AgentId>);

impl Serialize for Ids {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(AgentId::as_str))
    }
}

fn by_id<S: Serializer>(
    frameworks: &BTreeMap<FrameworkId, ExcludedAgents>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(frameworks.iter().map(|(id, agents)| (id.as_str(), agents)))
}

/// [`Exclusions`] that are being worked out.
pub struct ExclusionSurvey {
    agents: Vec<Key<Agent>>,
    /// The frameworks and roles that have constraints and are not done; the last one is next.
    todo: Vec<(FrameworkId, String)>,
    /// How many agents the next one is done with.
    done: usize,
    listed: usize,
    exclusions: Exclusions,
}

impl ExclusionSurvey {
    /// What has been worked out.
    #[must_use]
    pub fn into_exclusions(self) -> Exclusions {
        self.exclusions
    }
}

impl Allocator {
    /// Begins to work out what is excluded; [`Allocator::examine_exclusions`] goes on.
    #[must_use]
    pub fn exclusions(&self) -> ExclusionSurvey {
        let mut survey = ExclusionSurvey {
            agents: self.agents.keys().collect(),
            todo: Vec::new(),
            done: 0,
            listed: 0,
            exclusions: Exclusions::default(),
        };
        for (_, id, framework) in self.frameworks.iter() {
            let roles = || framework.roles.iter();
            let constrained = roles().filter(|role| framework.constraints.has(role));
            let todo = constrained.map(|role| (id.clone(), role.to_string()));
            survey.todo.extend(todo);
            let suppressed = framework.suppressed.iter();
            let agents = ExcludedAgents {
                suppressed_roles: suppressed.map(ToString::to_string).collect(),
                excluded_by_attribute_constraints: roles()
                    .map(|role| (role.to_string(), Ids::default()))
                    .collect(),
            };
            survey.exclusions.frameworks.insert(id.clone(), agents);
        }
        survey
    }

    /// Goes on: looks at `portion` agents. Whether that was all.
    ///
    /// # Errors
    /// There is too much to list.
    pub fn examine_exclusions(
        &self,
        survey: &mut ExclusionSurvey,
        portion: usize,
    ) -> Result<bool, TooManyExclusions> {
        let mut left = portion.max(1);
        while let Some((id, role)) = survey.todo.last().filter(|_| left > 0) {
            let rest = survey.agents.get(survey.done..).unwrap_or(&[]);
            let part = rest.get(..left).unwrap_or(rest);
            // None if it was removed meanwhile.
            let framework = self.frameworks.key(id);
            let framework = framework.and_then(|key| self.frameworks.get(key));
            let listed = survey.exclusions.frameworks.get_mut(id);
            let listed =
                listed.and_then(|agents| agents.excluded_by_attribute_constraints.get_mut(role));
            if let Some((framework, Ids(listed))) = framework.zip(listed) {
                let agents = part.iter();
                let agents =
                    agents.filter_map(|key| Some((self.agents.id(*key)?, self.agents.get(*key)?)));
                let excluded =
                    agents.filter(|(_, agent)| framework.constraints.exclude(role, agent));
                let before = listed.len();
                listed.extend(excluded.map(|(id, _)| id.clone()));
                survey.listed += listed.len() - before;
            }
            if survey.listed > LISTED_MAX {
                return Err(TooManyExclusions);
            }
            left = left.saturating_sub(part.len().max(1));
            survey.done += part.len();
            if survey.done >= survey.agents.len() {
                survey.todo.pop();
                survey.done = 0;
            }
        }
        Ok(survey.todo.is_empty())
    }
}
