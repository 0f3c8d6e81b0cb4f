//! What operators may ask for as quota.
//!
//! Only top-level roles have quota, as upstream (MESOS-7402); so there are no parents whose
//! guarantees would have to cover those of their children.
//! Upstream: `src/master/quota.cpp`, `src/master/quota_handler.cpp`.

use std::collections::BTreeMap;

use mesos::proto::quota::{QuotaConfig, QuotaRequest};
use mesos::proto::value::Scalar;
use mesos::resources::{
    QuantitiesError, Resource, ResourceLimits, ResourceQuantities, ValidationError,
};
use mesos::roles::{self, RoleError};

use crate::allocator::Quota;
use crate::core::MasterConfig;

/// The largest amount of memory or disk, in MB: 1 exabyte.
const MAX_BYTES_AMOUNT: f64 = 1_099_511_627_776.0;

/// The largest amount of anything else: 10^12.
const MAX_AMOUNT: f64 = 1e12;

/// Why a request about quota is refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QuotaError {
    /// The master does not allow the role.
    #[error("Role '{0}' is not among those of the master's --roles")]
    NotAllowed(String),
    /// The role is below another.
    #[error("Role '{0}' is nested: only top-level roles can have quota")]
    Nested(String),
    /// The name of the role is not valid.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// An amount cannot be counted with.
    #[error("{part} '{name}' of role '{role}' is {value}: it must be a number from 0 to {max}")]
    Amount {
        /// The role.
        role: String,
        /// Guarantee or limit.
        part: &'static str,
        /// The name of the resource.
        name: String,
        /// The amount.
        value: f64,
        /// The largest amount that is allowed.
        max: f64,
    },
    /// An amount cannot be represented.
    #[error("Quota of role '{role}': {source}")]
    Quantities {
        /// The role.
        role: String,
        /// What is wrong with it.
        source: QuantitiesError,
    },
    /// More is guaranteed than the role may have.
    #[error("Guarantees '{guarantees}' of role '{role}' exceed its limits '{limits}'")]
    AboveLimits {
        /// The role.
        role: String,
        /// What is guaranteed.
        guarantees: Box<ResourceQuantities>,
        /// What it may have.
        limits: Box<ResourceLimits>,
    },
    /// The role has more than the new limits.
    #[error(
        "Role '{role}' already consumes '{consumed}', more than the limits '{limits}' (use 'force' to set them all the same)"
    )]
    Consumed {
        /// The role.
        role: String,
        /// What it has.
        consumed: Box<ResourceQuantities>,
        /// The limits asked for.
        limits: Box<ResourceLimits>,
    },
    /// More would be guaranteed than there is.
    #[error(
        "Guarantees of all roles, '{guarantees}', would exceed the capacity of the cluster, '{capacity}' (use 'force' to set them all the same)"
    )]
    Overcommitted {
        /// What would be guaranteed to all roles.
        guarantees: Box<ResourceQuantities>,
        /// What registered agents have.
        capacity: Box<ResourceQuantities>,
    },
    /// A resource is not valid.
    #[error(transparent)]
    Resource(#[from] ValidationError),
    /// A resource is of a kind that cannot be guaranteed.
    #[error("Guarantee '{name}' {what}: only plain scalars can be guaranteed, each name once")]
    Kind {
        /// The name of the resource.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No resources are given.
    #[error("The 'guarantee' is empty")]
    Empty,
    /// SET_QUOTA is for roles without quota.
    #[error("Role '{0}' already has quota: remove it first, or use UPDATE_QUOTA")]
    Exists(String),
    /// There is no quota to remove.
    #[error("Role '{0}' has no quota")]
    Absent(String),
}

/// The quota in a configuration of an allowed role.
///
/// # Errors
/// The first rule that it breaks.
pub fn validate(config: &QuotaConfig, master: &MasterConfig) -> Result<Quota, QuotaError> {
    let role = &config.role;
    if !master.allows_role(role) {
        return Err(QuotaError::NotAllowed(role.clone()));
    }
    read(config)
}

/// The quota in a configuration.
///
/// # Errors
/// The first rule that it breaks.
pub fn read(config: &QuotaConfig) -> Result<Quota, QuotaError> {
    let role = &config.role;
    roles::validate(role)?;
    if role.contains('/') {
        return Err(QuotaError::Nested(role.clone()));
    }
    validate_amounts(role, "Guarantee", &config.guarantees)?;
    validate_amounts(role, "Limit", &config.limits)?;
    let quota = convert(config).map_err(|source| QuotaError::Quantities {
        role: role.clone(),
        source,
    })?;
    if !quota.limits.allow(&quota.guarantees) {
        return Err(QuotaError::AboveLimits {
            role: role.clone(),
            guarantees: Box::new(quota.guarantees),
            limits: Box::new(quota.limits),
        });
    }
    Ok(quota)
}

fn convert(config: &QuotaConfig) -> Result<Quota, QuantitiesError> {
    Ok(Quota {
        guarantees: ResourceQuantities::from_protos(&config.guarantees)?,
        limits: ResourceLimits::from_protos(&config.limits)?,
    })
}

fn validate_amounts(
    role: &str,
    part: &'static str,
    amounts: &BTreeMap<String, Scalar>,
) -> Result<(), QuotaError> {
    for (name, Scalar { value }) in amounts {
        let max = match name.as_str() {
            "mem" | "disk" => MAX_BYTES_AMOUNT,
            _ => MAX_AMOUNT,
        };
        if !(0.0..=max).contains(value) || value.is_subnormal() {
            return Err(QuotaError::Amount {
                role: role.to_owned(),
                part,
                name: name.clone(),
                value: *value,
                max,
            });
        }
    }
    Ok(())
}

/// What SET_QUOTA asks for as a configuration: the guarantee is the limit too.
///
/// # Errors
/// The first rule that a resource breaks.
pub fn config_of_request(request: &QuotaRequest) -> Result<QuotaConfig, QuotaError> {
    if request.guarantee.is_empty() {
        return Err(QuotaError::Empty);
    }
    let mut amounts = BTreeMap::new();
    for message in &request.guarantee {
        let value = plain_scalar(&Resource::from_proto(message)?)?;
        if amounts.insert(message.name.clone(), value).is_some() {
            return Err(QuotaError::Kind {
                name: message.name.clone(),
                what: "is given twice",
            });
        }
    }
    Ok(QuotaConfig {
        role: request.role().to_owned(),
        guarantees: amounts.clone(),
        limits: amounts,
    })
}

fn plain_scalar(resource: &Resource) -> Result<Scalar, QuotaError> {
    let what = match resource.as_scalar() {
        None => "is not a scalar",
        Some(_) if !resource.is_unreserved() => "is reserved",
        Some(_) if resource.disk().is_some() => "has a DiskInfo",
        Some(_) if resource.is_revocable() => "is revocable",
        Some(amount) => {
            return Ok(Scalar {
                value: amount.to_f64(),
            });
        }
    };
    Err(QuotaError::Kind {
        name: resource.name().to_string(),
        what,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mesos::resources::Resources;

    use super::*;

    fn amounts(text: &str) -> BTreeMap<String, Scalar> {
        text.split(';')
            .filter_map(|entry| entry.split_once(':'))
            .map(|(name, value)| {
                let value = value.parse().unwrap();
                (name.to_owned(), Scalar { value })
            })
            .collect()
    }

    fn config(role: &str, guarantees: &str, limits: &str) -> QuotaConfig {
        QuotaConfig {
            role: role.to_owned(),
            guarantees: amounts(guarantees),
            limits: amounts(limits),
        }
    }

    /// Checks that the error says what is wrong; "" means that there is none.
    fn assert_error<T: std::fmt::Debug>(result: Result<T, QuotaError>, expected: &str, of: &str) {
        let text = result
            .err()
            .map_or(String::new(), |error| error.to_string());
        assert_eq!(text.is_empty(), expected.is_empty(), "{of}: {text}");
        assert!(text.contains(expected), "{of}: '{text}'");
    }

    #[test]
    fn configurations() {
        let master = MasterConfig {
            role_whitelist: Some(BTreeSet::from(["web".to_owned(), "a/b".to_owned()])),
            ..MasterConfig::default()
        };
        let check = |role: &str, guarantees: &str, limits: &str, expected: &str| {
            let config = config(role, guarantees, limits);
            assert_error(validate(&config, &master), expected, &format!("{config:?}"));
        };
        check("web", "", "", "");
        check("*", "cpus:1", "", "");
        check("web", "cpus:1;mem:5", "cpus:1", "");
        check("web", "", "cpus:0", "");
        check("web", "mem:1099511627776", "", "");
        check("db", "cpus:1", "", "--roles");
        check("a/b", "cpus:1", "", "top-level");
        check("web", "cpus:2", "cpus:1.999", "'cpus:2' of role 'web'");
        check("web", "gpus:1", "gpus:0", "exceed its limits 'gpus:0'");
        check("web", "cpus:-1", "", "Guarantee 'cpus'");
        check("web", "", "cpus:-0.5", "Limit 'cpus' of role 'web' is -0.5");
        check("web", "", "cpus:NaN", "is NaN");
        check("web", "cpus:inf", "", "is inf");
        check("web", "cpus:1e-310", "", "must be a number");
        check("web", "mem:1099511627777", "", "to 1099511627776");
        check("web", "", "cpus:1000000000001", "to 1000000000000");
    }

    #[test]
    fn roles() {
        for (role, expected) in [("", "empty"), ("-a", "dash"), ("a b", "white space")] {
            assert_error(read(&config(role, "cpus:1", "")), expected, role);
        }
    }

    #[test]
    fn requests() {
        let check = |guarantee: &str, expected: &str| {
            let guarantee = Resources::parse(guarantee, "*").unwrap().to_protos();
            check_request(guarantee, expected);
        };
        check("cpus:1;mem:512", "");
        check("", "empty");
        check("cpus:1;ports:[1-2]", "'ports' is not a scalar");
        check("cpus(web):1", "'cpus' is reserved");
        let scalar = |change: fn(&mut mesos::proto::Resource)| {
            let mut resource = Resources::parse("disk:1", "*")
                .unwrap()
                .to_protos()
                .remove(0);
            change(&mut resource);
            resource
        };
        check_request(vec![scalar(|_| {}), scalar(|_| {})], "given twice");
        check_request(
            vec![scalar(|resource| {
                resource.disk = Some(mesos::proto::resource::DiskInfo::default());
            })],
            "DiskInfo",
        );
        check_request(
            vec![scalar(|resource| {
                resource.revocable = Some(mesos::proto::resource::RevocableInfo::default());
            })],
            "revocable",
        );
        check_request(vec![scalar(|resource| resource.scalar = None)], "'scalar'");
        check_request(vec![scalar(|resource| resource.name.clear())], "name");
    }

    fn check_request(guarantee: Vec<mesos::proto::Resource>, expected: &str) {
        let of = format!("{guarantee:?}");
        let request = QuotaRequest {
            force: None,
            role: Some("web".to_owned()),
            guarantee,
        };
        assert_error(config_of_request(&request), expected, &of);
    }

    #[test]
    fn a_guarantee_set_is_the_limit_too() {
        let request = QuotaRequest {
            force: None,
            role: Some("web".to_owned()),
            guarantee: Resources::parse("cpus:1;mem:512", "*").unwrap().to_protos(),
        };
        let expected = config("web", "cpus:1;mem:512", "cpus:1;mem:512");
        assert_eq!(config_of_request(&request), Ok(expected));
    }
}
