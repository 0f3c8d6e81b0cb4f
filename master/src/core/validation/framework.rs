//! Descriptions of frameworks.

use std::collections::BTreeSet;
use std::time::Duration;

use mesos::proto;
use mesos::proto::scheduler::OfferConstraints;
use mesos::roles;

use super::validate_id;
use crate::core::MasterConfig;
use crate::core::capabilities::FrameworkCapabilities;
use crate::core::state::roles_of;

/// Checks what a scheduler subscribes with, apart from its id being taken.
///
/// # Errors
/// What is wrong first.
pub fn validate(
    info: &proto::FrameworkInfo,
    suppressed: &[String],
    constraints: Option<&OfferConstraints>,
    config: &MasterConfig,
) -> Result<(), String> {
    let capabilities = FrameworkCapabilities::of(info);
    validate_roles(info, capabilities)?;
    if let Some(id) = info.id.as_ref().filter(|id| !id.value.is_empty()) {
        validate_id("Framework ID", &id.value)?;
    }
    validate_offer_filters(info)?;
    if let Some(timeout) = info.failover_timeout
        && (timeout.is_nan() || timeout >= MAX_FAILOVER_SECS || timeout <= -MAX_FAILOVER_SECS)
    {
        return Err(format!(
            "The framework failover_timeout is invalid: {timeout} seconds"
        ));
    }
    let roles = roles_of(info, capabilities);
    validate_whitelist(&roles, config)?;
    if info.user == "root" && !config.root_submissions {
        return Err(format!(
            "User '{}' is not allowed to run frameworks without --root_submissions set",
            info.user
        ));
    }
    if let Some(role) = suppressed.iter().find(|role| !roles.contains(*role)) {
        return Err(format!(
            "Suppressed role '{role}' is not among the framework's roles"
        ));
    }
    validate_constraints(constraints, &roles)
}

/// Durations are counted in nanoseconds in 64 bits.
const MAX_FAILOVER_SECS: f64 = (i64::MAX / 1_000_000_000) as f64;

fn validate_roles(
    info: &proto::FrameworkInfo,
    capabilities: FrameworkCapabilities,
) -> Result<(), String> {
    if capabilities.multi_role && info.role.is_some() {
        return Err(
            "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
                .to_owned(),
        );
    }
    if !capabilities.multi_role && !info.roles.is_empty() {
        return Err(
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
                .to_owned(),
        );
    }
    let mut seen = BTreeSet::new();
    for role in info.roles.iter().chain(&info.role) {
        if !seen.insert(role) {
            return Err(format!(
                "'FrameworkInfo.roles' contains duplicate item: {role}"
            ));
        }
        roles::validate(role)
            .map_err(|error| format!("'FrameworkInfo.roles' contains invalid role: {error}"))?;
    }
    Ok(())
}

fn validate_offer_filters(info: &proto::FrameworkInfo) -> Result<(), String> {
    let quantities = info
        .offer_filters
        .values()
        .filter_map(|filters| filters.min_allocatable_resources.as_ref())
        .flat_map(|minimum| &minimum.quantities)
        .flat_map(|quantities| &quantities.quantities);
    for (name, amount) in quantities {
        if !amount.value.is_finite() || amount.value < 0.0 {
            return Err(format!(
                "Invalid 'offer_filters': {} of resource '{name}'",
                amount.value
            ));
        }
    }
    Ok(())
}

fn validate_whitelist(roles: &BTreeSet<String>, config: &MasterConfig) -> Result<(), String> {
    let unknown: Vec<_> = roles
        .iter()
        .filter(|role| !config.allows_role(role))
        .map(String::as_str)
        .collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "Roles '{}' are not present in the master's --roles",
            unknown.join("', '")
        ))
    }
}

fn validate_constraints(
    constraints: Option<&OfferConstraints>,
    roles: &BTreeSet<String>,
) -> Result<(), String> {
    let Some(constraints) = constraints else {
        return Ok(());
    };
    for (role, constraint) in &constraints.role_constraints {
        if !roles.contains(role) {
            return Err(format!(
                "Offer constraints specify role '{role}' which is not among the framework's roles"
            ));
        }
        if constraint.groups.is_empty() {
            return Err(format!(
                "Offer constraints for role '{role}' contain no groups"
            ));
        }
        for group in &constraint.groups {
            if group.attribute_constraints.is_empty() {
                return Err(format!(
                    "Offer constraints for role '{role}' contain an empty group"
                ));
            }
            for constraint in &group.attribute_constraints {
                if constraint.selector.selector.is_none() {
                    return Err("An attribute constraint has no selector".to_owned());
                }
                if constraint.predicate.predicate.is_none() {
                    return Err("An attribute constraint has no predicate".to_owned());
                }
            }
        }
    }
    Ok(())
}

/// Keeps what a re-subscription silently cannot change: user and checkpointing.
pub fn preserve_immutable_fields(old: &proto::FrameworkInfo, new: &mut proto::FrameworkInfo) {
    new.user.clone_from(&old.user);
    new.checkpoint = old.checkpoint;
}

/// Checks that a framework does not change its principal.
///
/// # Errors
/// That it does.
pub fn validate_update(
    old: &proto::FrameworkInfo,
    new: &proto::FrameworkInfo,
) -> Result<(), String> {
    if old.principal != new.principal {
        return Err(format!(
            "Changing framework's principal is not allowed: from {:?} to {:?}",
            old.principal.as_deref().unwrap_or(""),
            new.principal.as_deref().unwrap_or("")
        ));
    }
    Ok(())
}

/// Checks that UPDATE_FRAMEWORK leaves alone what cannot be changed.
///
/// # Errors
/// Which field it changes.
pub fn validate_immutable_fields(
    old: &proto::FrameworkInfo,
    new: &proto::FrameworkInfo,
) -> Result<(), String> {
    validate_update(old, new)?;
    if old.user != new.user {
        return Err(format!(
            "Updating 'FrameworkInfo.user' is unsupported; attempted to update from '{}' to '{}'",
            old.user, new.user
        ));
    }
    if old.checkpoint() != new.checkpoint() {
        return Err(format!(
            "Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from '{}' to '{}'",
            old.checkpoint(),
            new.checkpoint()
        ));
    }
    Ok(())
}

/// Seconds of a framework's failover timeout, as a duration that is not negative.
#[must_use]
pub fn failover_timeout(info: &proto::FrameworkInfo) -> Duration {
    Duration::try_from_secs_f64(info.failover_timeout().max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::framework_info::{Capability, capability};

    fn info(change: impl FnOnce(&mut proto::FrameworkInfo)) -> proto::FrameworkInfo {
        let mut info = proto::FrameworkInfo {
            user: "root".to_owned(),
            name: "test".to_owned(),
            ..Default::default()
        };
        change(&mut info);
        info
    }

    fn multi_role(roles: &[&str]) -> impl FnOnce(&mut proto::FrameworkInfo) {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        move |info| {
            info.roles = roles;
            info.capabilities.push(Capability {
                r#type: Some(capability::Type::MultiRole as i32),
            });
        }
    }

    #[test]
    fn infos() {
        let config = MasterConfig::default();
        let check = |info: proto::FrameworkInfo, ok: bool| {
            let result = validate(&info, &[], None, &config);
            assert_eq!(result.is_ok(), ok, "{result:?}");
        };
        check(info(|_| {}), true);
        check(info(|info| info.role = Some("web".to_owned())), true);
        check(info(|info| info.roles = vec!["web".to_owned()]), false);
        check(info(multi_role(&["a", "b"])), true);
        check(info(multi_role(&[])), true);
        check(info(multi_role(&["a", "a"])), false);
        check(info(multi_role(&["a//b"])), false);
        check(info(|info| info.role = Some("-x".to_owned())), false);
        check(info(|info| info.failover_timeout = Some(f64::NAN)), false);
        check(info(|info| info.failover_timeout = Some(1e300)), false);
        check(info(|info| info.failover_timeout = Some(604_800.0)), true);
        let id = |value: &str| {
            Some(proto::FrameworkId {
                value: value.to_owned(),
            })
        };
        check(info(|info| info.id = id("")), true);
        check(info(|info| info.id = id("a/b")), false);
    }

    #[test]
    fn settings_of_the_master() {
        let config = MasterConfig {
            role_whitelist: Some(BTreeSet::from(["web".to_owned()])),
            root_submissions: false,
            ..MasterConfig::default()
        };
        let check = |user: &str, role: Option<&str>, ok: bool| {
            let info = info(|info| {
                info.user = user.to_owned();
                info.role = role.map(str::to_owned);
            });
            assert_eq!(validate(&info, &[], None, &config).is_ok(), ok);
        };
        check("me", None, true);
        check("me", Some("web"), true);
        check("me", Some("db"), false);
        check("root", None, false);
    }

    #[test]
    fn suppressed_roles_are_subscribed() {
        let config = MasterConfig::default();
        let check = |suppressed: &[&str], ok: bool| {
            let suppressed: Vec<_> = suppressed.iter().map(|role| (*role).to_owned()).collect();
            let info = info(multi_role(&["a", "b"]));
            assert_eq!(validate(&info, &suppressed, None, &config).is_ok(), ok);
        };
        check(&[], true);
        check(&["a"], true);
        check(&["c"], false);
    }

    #[test]
    fn immutable_fields() {
        let old = info(|info| info.principal = Some("me".to_owned()));
        let check = |change: fn(&mut proto::FrameworkInfo), ok| {
            let mut new = old.clone();
            change(&mut new);
            assert_eq!(validate_immutable_fields(&old, &new).is_ok(), ok);
        };
        check(|info| info.name = "other".to_owned(), true);
        check(|info| info.user = "other".to_owned(), false);
        check(|info| info.checkpoint = Some(true), false);
        check(|info| info.checkpoint = Some(false), true);
        check(|info| info.principal = None, false);
    }
}
