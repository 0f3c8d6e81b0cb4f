//! Offer constraints: which agents a framework wants to see, by attribute, hostname, region, zone.
//!
//! Upstream: `src/master/allocator/mesos/offer_constraints_filter.cpp`.

use std::collections::BTreeMap;
use std::fmt;

use mesos::attributes::AttributeValue;
use mesos::proto;
use proto::scheduler::AttributeConstraint;
use proto::scheduler::OfferConstraints;
use proto::scheduler::attribute_constraint::selector::{PseudoattributeType, Selector};
use proto::scheduler::attribute_constraint::{Predicate as PredicateMessage, predicate};
use regex::bytes::{Regex, RegexBuilder};
use regex_automata::nfa::thompson::{NFA, WhichCaptures};
use regex_automata::util::syntax;
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
    /// A regular expression cannot be understood, or takes more memory than is allowed.
    #[error(
        "an offer constraint of role '{role}' has a regular expression '{regex}' that cannot be used: {reason}"
    )]
    Regex {
        /// The role.
        role: String,
        /// The regular expression.
        regex: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A regular expression is too complex.
    #[error(
        "an offer constraint of role '{role}' has a regular expression '{regex}' that is too complex: its program has {size} instructions, {max} are allowed"
    )]
    RegexTooComplex {
        /// The role.
        role: String,
        /// The regular expression.
        regex: String,
        /// How many instructions its program has.
        size: usize,
        /// How many are allowed.
        max: usize,
    },
}

/// How large the regular expressions of frameworks may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegexLimits {
    /// Memory of the program of one, in bytes.
    pub max_mem_bytes: usize,
    /// Instructions of the program of one.
    pub max_program_size: usize,
}

impl Default for RegexLimits {
    fn default() -> RegexLimits {
        RegexLimits {
            max_mem_bytes: 4096,
            max_program_size: 100,
        }
    }
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
    Matches(Regex),
    NotMatches(Regex),
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
        limits: RegexLimits,
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
                    .map(|constraint| compile(role, constraint, limits))
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

impl Constraints {
    /// Whether there are any for a role.
    pub(super) fn has(&self, role: &str) -> bool {
        self.0.contains_key(role)
    }

    /// What does not hold on an agent, if it is excluded: the first constraint of each group.
    pub(super) fn why_excluded(&self, role: &str, agent: &Agent) -> String {
        let groups = self.0.get(role).into_iter().flatten();
        let failed = groups.filter_map(|group| {
            let (subject, condition) = group.iter().find(|constraint| !holds(constraint, agent))?;
            Some(format!("{subject} {condition}"))
        });
        failed.collect::<Vec<_>>().join(" or ")
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Attribute(name) => write!(f, "attribute '{name}'"),
            Subject::Hostname => f.write_str("host name"),
            Subject::Region => f.write_str("region"),
            Subject::Zone => f.write_str("zone"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Exists => f.write_str("exists"),
            Condition::NotExists => f.write_str("does not exist"),
            Condition::Equals(text) => write!(f, "equals '{text}'"),
            Condition::NotEquals(text) => write!(f, "does not equal '{text}'"),
            Condition::Matches(regex) => write!(f, "matches '{regex}'"),
            Condition::NotMatches(regex) => write!(f, "does not match '{regex}'"),
        }
    }
}

fn compile(
    role: &str,
    constraint: &AttributeConstraint,
    limits: RegexLimits,
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
    Ok((subject, condition(role, &constraint.predicate, limits)?))
}

fn condition(
    role: &str,
    predicate: &PredicateMessage,
    limits: RegexLimits,
) -> Result<Condition, ConstraintError> {
    use predicate::Predicate;
    match &predicate.predicate {
        Some(Predicate::Exists(_)) => Ok(Condition::Exists),
        Some(Predicate::NotExists(_)) => Ok(Condition::NotExists),
        Some(Predicate::TextEquals(text)) => Ok(Condition::Equals(text.value.clone())),
        Some(Predicate::TextNotEquals(text)) => Ok(Condition::NotEquals(text.value.clone())),
        Some(Predicate::TextMatches(wanted)) => {
            full_match(role, &wanted.regex, limits).map(Condition::Matches)
        }
        Some(Predicate::TextNotMatches(unwanted)) => {
            full_match(role, &unwanted.regex, limits).map(Condition::NotMatches)
        }
        None => Err(ConstraintError::Predicate(role.to_owned())),
    }
}

/// A regular expression that must match a whole text.
///
/// `\d`, `\s` and `\w` mean ASCII, as in RE2, unless the expression has other characters.
fn full_match(role: &str, regex: &str, limits: RegexLimits) -> Result<Regex, ConstraintError> {
    let refuse = |reason: String| ConstraintError::Regex {
        role: role.to_owned(),
        regex: regex.to_owned(),
        reason,
    };
    let unicode = !regex.is_ascii();
    // Parsed on its own first, so that it cannot close the group that it is put into.
    let syntax = syntax::Config::new().unicode(unicode).utf8(false);
    let program = NFA::compiler()
        .syntax(syntax)
        .configure(NFA::config().which_captures(WhichCaptures::None))
        .build(regex)
        .map_err(|error| refuse(error.to_string()))?;
    if program.states().len() > limits.max_program_size {
        return Err(ConstraintError::RegexTooComplex {
            role: role.to_owned(),
            regex: regex.to_owned(),
            size: program.states().len(),
            max: limits.max_program_size,
        });
    }
    RegexBuilder::new(&format!(r"\A(?:{regex})\z"))
        .unicode(unicode)
        .size_limit(limits.max_mem_bytes)
        .build()
        .map_err(|error| refuse(error.to_string()))
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
        (Condition::Equals(_) | Condition::Matches(_), Found::Nothing) => false,
        (Condition::NotEquals(_) | Condition::NotMatches(_), Found::Nothing) => true,
        (_, Found::Other) => true,
        (Condition::Matches(wanted), Found::Text(text)) => wanted.is_match(text.as_bytes()),
        (Condition::NotMatches(unwanted), Found::Text(text)) => !unwanted.is_match(text.as_bytes()),
        (Condition::Equals(wanted), Found::Text(text)) => wanted == text,
        (Condition::NotEquals(unwanted), Found::Text(text)) => unwanted != text,
    }
}

fn found_text(text: Option<&str>) -> Found<'_> {
    text.map_or(Found::Nothing, Found::Text)
}
