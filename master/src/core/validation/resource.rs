//! Rules on bundles of resources.

use std::collections::BTreeSet;

use mesos::proto;
use mesos::resources::{Resources, Value};

/// Checks and reads resources. GPUs must be whole numbers.
///
/// # Errors
/// The first rule that they break.
pub fn validate(resources: &[proto::Resource]) -> Result<Resources, String> {
    let parsed = Resources::from_protos(resources).map_err(|error| error.to_string())?;
    validate_gpus(&parsed)?;
    for resource in &parsed {
        validate_disk(resource)?;
    }
    Ok(parsed)
}

fn validate_gpus(resources: &Resources) -> Result<(), String> {
    match resources.gpus() {
        Some(gpus) if gpus.fract() != 0.0 => {
            Err("The 'gpus' resource must be an unsigned integer".to_owned())
        }
        _ => Ok(()),
    }
}

fn validate_disk(resource: &mesos::resources::Resource) -> Result<(), String> {
    let Some(disk) = resource.disk() else {
        return Ok(());
    };
    match (&disk.persistence, &disk.volume) {
        (Some(persistence), volume) => {
            if resource.is_revocable() {
                return Err(
                    "Persistent volumes cannot be created from revocable resources".to_owned(),
                );
            }
            if resource.is_unreserved() {
                return Err(
                    "Persistent volumes cannot be created from unreserved resources".to_owned(),
                );
            }
            super::validate_id("Persistence ID", &persistence.id)?;
            let Some(volume) = volume else {
                return Err("Expecting 'volume' to be set for persistent volume".to_owned());
            };
            if volume.host_path.is_some() {
                return Err("Expecting 'host_path' to be unset for persistent volume".to_owned());
            }
            Ok(())
        }
        (None, Some(_)) => Err("Non-persistent volume not supported".to_owned()),
        (None, None) if disk.source.is_none() => Err("DiskInfo is set but empty".to_owned()),
        (None, None) => Ok(()),
    }
}

/// Checks that no persistence id appears twice for one role and provider.
///
/// # Errors
/// The id that does.
pub fn validate_unique_persistence(resources: &Resources) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for volume in resources
        .iter()
        .filter(|resource| resource.is_persistent_volume())
    {
        let id = volume
            .disk()
            .and_then(|disk| disk.persistence.as_ref())
            .map_or("", |persistence| persistence.id.as_str());
        let key = (volume.provider_id(), volume.reservation_role(), id);
        if !seen.insert(key) {
            return Err(format!("Persistence ID '{id}' is not unique"));
        }
    }
    Ok(())
}

/// Checks that all resources are allocated to one role.
///
/// # Errors
/// That they are not, or some are not allocated.
pub fn validate_single_role(resources: &Resources) -> Result<(), String> {
    let mut role = None;
    for resource in resources {
        let Some(mine) = resource.allocation_role() else {
            return Err("The resources are not allocated to a role".to_owned());
        };
        match role {
            None => role = Some(mine),
            Some(role) if role != mine => {
                return Err(format!(
                    "The resources have multiple allocation roles ('{role}' and '{mine}') but only one allocation role is allowed"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Checks that no name is used for revocable and for other resources at once.
///
/// # Errors
/// The name that is.
pub fn validate_revocable_mix(resources: &Resources) -> Result<(), String> {
    for name in resources.names() {
        let named = resources.get(name.as_str());
        if !named.revocable().is_empty() && !named.non_revocable().is_empty() {
            return Err(format!(
                "Cannot use both revocable and non-revocable '{name}' at the same time"
            ));
        }
    }
    Ok(())
}

/// Checks that two bundles have no port or item of a set in common.
///
/// # Errors
/// The name of the resource that overlaps.
pub fn validate_no_overlap(left: &Resources, right: &Resources) -> Result<(), String> {
    for resource in left
        .iter()
        .filter(|resource| resource.as_scalar().is_none())
    {
        for other in right.iter().filter(|other| other.name() == resource.name()) {
            let overlaps = match (resource.value(), other.value()) {
                (Value::Ranges(left), Value::Ranges(right)) => left.intersects(right),
                (Value::Set(left), Value::Set(right)) => left.intersects(right),
                _ => false,
            };
            if overlaps {
                return Err(format!(
                    "There are overlapping '{}' resources",
                    resource.name()
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Resources {
        Resources::parse(text, "*").unwrap()
    }

    #[test]
    fn gpus_are_whole() {
        let check = |text: &str, ok| {
            assert_eq!(validate(&parse(text).to_protos()).is_ok(), ok);
        };
        check("cpus:1;gpus:2", true);
        check("gpus:0.5", false);
    }

    #[test]
    fn one_allocation_role() {
        let mut web = parse("cpus:1");
        assert!(validate_single_role(&web).is_err());
        web.allocate("web");
        assert!(validate_single_role(&web).is_ok());
        let mut both = parse("mem:1");
        both.allocate("db");
        both += &web;
        assert!(validate_single_role(&both).is_err());
    }

    #[test]
    fn overlaps() {
        let check = |left: &str, right: &str, ok| {
            assert_eq!(validate_no_overlap(&parse(left), &parse(right)).is_ok(), ok);
        };
        check("ports:[1-10]", "ports:[11-20]", true);
        check("ports:[1-10]", "ports:[10-20]", false);
        check("ports:[1-10];cpus:1", "cpus:1", true);
        check("zones:{a,b}", "zones:{b}", false);
        check("zones:{a,b}", "zones:{c}", true);
    }
}
