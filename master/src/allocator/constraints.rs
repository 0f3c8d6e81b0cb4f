//! Offer constraints: which agents a framework wants to see, by attribute, hostname, region, zone.
//!
//! Upstream: `src/master/allocator/mesos/offer_constraints_filter.cpp`. Regular expressions are
//! refused for now.

use std::collections::BTreeMap;

use mesos::attributes::AttributeValue;
use mesos::proto;
use proto::scheduler::AttributeConstraint;
use proto::scheduler::OfferConstraints;
use proto::scheduler::attribute_constraint::selector::{PseudoattributeType, Selector};
use proto::scheduler::attribute_constraint::{Predicate as PredicateMessage, predicate};
use thiserror::Error;

use super::agent::Agent;

/// Why offer constraints are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConstraintError {
    /// A role has constraints but no groups.
    #[error("offer constraints of role '{0}' have no groups")]
    NoGroups(String),
    /// A group has no constraints.
    #[error("a group of the offer constraints of role '{0}' is empty")]
    EmptyGroup(String),
    /// A constraint does not say of what.
    #[error("an offer constraint of role '{0}' has no selector that is known")]
    Selector(String),
    /// A constraint does not say what.
    #[error("an offer constraint of role '{0}' has no predicate that is known")]
    Predicate(String),
    /// A constraint is a regular expression.
    #[error("an offer constraint of role '{0}' is a regular expression, which is not supported")]
    Regex(String),
}

/// What a constraint looks at.
#[derive(Debug)]
enum Subject {
    Attribute(String),
    Hostname,
    Region,
    Zone,
}

/// What must be true of it.
#[derive(Debug)]
enum Condition {
    Exists,
    NotExists,
    Equals(String),
    NotEquals(String),
}

/// What an agent has.
enum Found<'a> {
    Nothing,
    Text(&'a str),
    /// An attribute that is a number or ranges.
    Other,
}

/// Groups of constraints by role: one group must be satisfied, with all its constraints.
#[derive(Debug, Default)]
pub(super) struct Constraints(BTreeMap<String, Vec<Vec<(Subject, Condition)>>>);

impl Constraints {
    pub(super) fn compile(
        constraints: Option<&OfferConstraints>,
    ) -> Result<Constraints, ConstraintError> {
        let roles = constraints.iter().flat_map(|all| &all.role_constraints);
        let compiled = roles.map(|(role, constraints)| {
            if constraints.groups.is_empty() {
                return Err(ConstraintError::NoGroups(role.clone()));
            }
            let groups = constraints.groups.iter().map(|group| {
                if group.attribute_constraints.is_empty() {
                    return Err(ConstraintError::EmptyGroup(role.clone()));
                }
                let constraints = group.attribute_constraints.iter();
                constraints
                    .map(|constraint| compile(role, constraint))
                    .collect()
            });
            Ok((role.clone(), groups.collect::<Result<_, _>>()?))
        });
        compiled.collect::<Result<_, _>>().map(Constraints)
    }

    /// Whether a framework wants no offers of an agent in a role.
    pub(super) fn exclude(&self, role: &str, agent: &Agent) -> bool {
        // Nearly all frameworks have no constraints.
        !self.0.is_empty()
            && self.0.get(role).is_some_and(|groups| {
                !groups
                    .iter()
                    .any(|group| group.iter().all(|constraint| holds(constraint, agent)))
            })
    }
}

fn compile(
    role: &str,
    constraint: &AttributeConstraint,
) -> Result<(Subject, Condition), ConstraintError> {
    let selector = constraint.selector.selector.as_ref();
    let subject = match selector {
        Some(Selector::AttributeName(name)) => Some(Subject::Attribute(name.clone())),
        Some(Selector::PseudoattributeType(kind)) => match PseudoattributeType::try_from(*kind) {
            Ok(PseudoattributeType::Hostname) => Some(Subject::Hostname),
            Ok(PseudoattributeType::Region) => Some(Subject::Region),
            Ok(PseudoattributeType::Zone) => Some(Subject::Zone),
            Ok(PseudoattributeType::Unknown) | Err(_) => None,
        },
        None => None,
    };
    let subject = subject.ok_or_else(|| ConstraintError::Selector(role.to_owned()))?;
    Ok((subject, condition(role, &constraint.predicate)?))
}

fn condition(role: &str, predicate: &PredicateMessage) -> Result<Condition, ConstraintError> {
    use predicate::Predicate;
    match &predicate.predicate {
        Some(Predicate::Exists(_)) => Ok(Condition::Exists),
        Some(Predicate::NotExists(_)) => Ok(Condition::NotExists),
        Some(Predicate::TextEquals(text)) => Ok(Condition::Equals(text.value.clone())),
        Some(Predicate::TextNotEquals(text)) => Ok(Condition::NotEquals(text.value.clone())),
        Some(Predicate::TextMatches(_) | Predicate::TextNotMatches(_)) => {
            Err(ConstraintError::Regex(role.to_owned()))
        }
        None => Err(ConstraintError::Predicate(role.to_owned())),
    }
}

fn holds((subject, condition): &(Subject, Condition), agent: &Agent) -> bool {
    let found = match subject {
        Subject::Attribute(name) => match agent.attributes.get(name) {
            None => Found::Nothing,
            Some(AttributeValue::Text(text)) => Found::Text(text),
            Some(AttributeValue::Scalar(_) | AttributeValue::Ranges(_)) => Found::Other,
        },
        Subject::Hostname => Found::Text(&agent.hostname),
        Subject::Region => found_text(agent.region.as_deref()),
        Subject::Zone => found_text(agent.zone.as_deref()),
    };
    // An attribute that is no text satisfies every predicate about text, negated or not.
    match (condition, found) {
        (Condition::Exists, found) => !matches!(found, Found::Nothing),
        (Condition::NotExists, found) => matches!(found, Found::Nothing),
        (Condition::Equals(_), Found::Nothing) => false,
        (Condition::NotEquals(_), Found::Nothing) => true,
        (Condition::Equals(_) | Condition::NotEquals(_), Found::Other) => true,
        (Condition::Equals(wanted), Found::Text(text)) => wanted == text,
        (Condition::NotEquals(unwanted), Found::Text(text)) => unwanted != text,
    }
}

fn found_text(text: Option<&str>) -> Found<'_> {
    text.map_or(Found::Nothing, Found::Text)
}
