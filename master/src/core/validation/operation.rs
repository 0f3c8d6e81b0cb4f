//! Operations on offers other than launching.

use std::collections::BTreeSet;

use mesos::proto::offer::Operation;
use mesos::proto::offer::operation::Type;
use mesos::proto::{self, volume};
use mesos::resources::{HasResources, Resources, resource_provider, validate_resource};

use super::resource;
use crate::core::capabilities::AgentCapabilities;
use crate::core::state::{Agent, Framework};

/// Checks that an operation carries what its type needs and that its resources are valid.
///
/// # Errors
/// What is wrong first.
pub fn validate_payload(operation: &Operation) -> Result<(), String> {
    let present = match operation.r#type() {
        Type::Launch => operation.launch.is_some(),
        Type::LaunchGroup => operation.launch_group.is_some(),
        Type::Reserve => operation.reserve.is_some(),
        Type::Unreserve => operation.unreserve.is_some(),
        Type::Create => operation.create.is_some(),
        Type::Destroy => operation.destroy.is_some(),
        Type::GrowVolume => operation.grow_volume.is_some(),
        Type::ShrinkVolume => operation.shrink_volume.is_some(),
        Type::CreateDisk => operation.create_disk.is_some(),
        Type::DestroyDisk => operation.destroy_disk.is_some(),
        Type::Unknown => return Err("Unknown operation".to_owned()),
    };
    if !present {
        return Err(format!(
            "The field for operation {} is missing",
            operation.r#type().as_str_name()
        ));
    }
    if operation
        .reserve
        .as_ref()
        .is_some_and(|reserve| !reserve.source.is_empty())
    {
        return Err("RESERVE with a `source` is for operators, not for schedulers".to_owned());
    }
    operation
        .clone()
        .try_for_each_resource(&mut |resource| validate_resource(resource))
        .map_err(|error| error.to_string())
}

/// Checks RESERVE, UNRESERVE, CREATE or DESTROY against the framework and the agent.
///
/// # Errors
/// What is wrong first.
pub fn validate(
    operation: &Operation,
    framework: &Framework,
    agent: &Agent,
    in_use: impl Iterator<Item = Resources>,
) -> Result<(), String> {
    resource_provider(operation).map_err(|error| error.to_string())?;
    let principal = framework.info.principal.as_deref();
    match operation.r#type() {
        Type::Reserve => {
            let resources = read(operation.reserve.as_ref().map(|reserve| &reserve.resources))?;
            validate_reserve(&resources, framework, principal, agent.capabilities)
        }
        Type::Unreserve => {
            let resources = read(
                operation
                    .unreserve
                    .as_ref()
                    .map(|unreserve| &unreserve.resources),
            )?;
            validate_unreserve(&resources)
        }
        Type::Create => {
            let volumes = read(operation.create.as_ref().map(|create| &create.volumes))?;
            validate_create(&volumes, framework, principal, agent)
        }
        Type::Destroy => {
            let volumes = read(operation.destroy.as_ref().map(|destroy| &destroy.volumes))?;
            validate_destroy(&volumes, agent, in_use)
        }
        other => Err(format!("{} is not supported", other.as_str_name())),
    }
}

fn read(resources: Option<&Vec<proto::Resource>>) -> Result<Resources, String> {
    resource::validate(resources.map_or(&[], Vec::as_slice))
}

fn validate_reserve(
    resources: &Resources,
    framework: &Framework,
    principal: Option<&str>,
    agent: AgentCapabilities,
) -> Result<(), String> {
    for resource in resources {
        let Some(reservation) = resource
            .reservations()
            .last()
            .filter(|_| resource.is_dynamically_reserved())
        else {
            return Err(format!("Resource {resource} is not dynamically reserved"));
        };
        validate_agent_roles(resource, agent)?;
        if let Some(principal) = principal {
            match &reservation.principal {
                None => {
                    return Err(format!(
                        "A reserve operation was attempted by principal '{principal}', but there is a reserved resource in the request with no principal set"
                    ));
                }
                Some(other) if other != principal => {
                    return Err(format!(
                        "A reserve operation was attempted by principal '{principal}', but there is a reserved resource in the request with principal '{other}'"
                    ));
                }
                Some(_) => {}
            }
        }
        let Some(allocated) = resource.allocation_role() else {
            return Err(format!("Resource {resource} is not allocated"));
        };
        if allocated != &*reservation.role {
            return Err(format!(
                "A reserve operation was attempted for a resource allocated to role '{allocated}' but reserved to role '{}'",
                reservation.role
            ));
        }
        if !framework.roles.contains(allocated) {
            return Err(format!(
                "A reserve operation was attempted for a resource allocated to role '{allocated}', but the framework only has roles {:?}",
                framework.roles
            ));
        }
    }
    resource::validate_single_role(resources)
}

fn validate_agent_roles(
    resource: &mesos::resources::Resource,
    agent: AgentCapabilities,
) -> Result<(), String> {
    let hierarchical = resource
        .reservations()
        .iter()
        .any(|reservation| reservation.role.contains('/'));
    if hierarchical && !agent.hierarchical_role {
        return Err(format!(
            "Resource {resource} has a hierarchical role, but the agent does not support it"
        ));
    }
    if resource.has_refined_reservations() && !agent.reservation_refinement {
        return Err(format!(
            "Resource {resource} has reservation refinement, but the agent does not support it"
        ));
    }
    Ok(())
}

fn validate_unreserve(resources: &Resources) -> Result<(), String> {
    for resource in resources {
        if !resource.is_dynamically_reserved() {
            return Err(format!("Resource {resource} is not dynamically reserved"));
        }
        if resource.is_persistent_volume() {
            return Err(format!(
                "A dynamically reserved persistent volume {resource} cannot be unreserved directly. Please destroy the persistent volume first then unreserve the resource"
            ));
        }
    }
    Ok(())
}

fn validate_create(
    volumes: &Resources,
    framework: &Framework,
    principal: Option<&str>,
    agent: &Agent,
) -> Result<(), String> {
    for volume in volumes {
        validate_persistent_volume(volume)?;
        validate_agent_roles(volume, agent.capabilities)?;
        if volume.is_shared() && !framework.capabilities.shared_resources {
            return Err(format!(
                "Create volume operation for {volume} is not allowed without SHARED_RESOURCES"
            ));
        }
        let persistence = volume.disk().and_then(|disk| disk.persistence.as_ref());
        let theirs = persistence.and_then(|persistence| persistence.principal.as_deref());
        if principal.is_some() && principal != theirs {
            return Err(format!(
                "Create volume operation attempted by principal '{}', but the volume has principal '{}'",
                principal.unwrap_or(""),
                theirs.unwrap_or("")
            ));
        }
    }
    let mut all = agent.checkpointed.clone();
    all.unallocate();
    let mut unallocated = volumes.clone();
    unallocated.unallocate();
    resource::validate_unique_persistence(&(&all + &unallocated))?;
    resource::validate_single_role(volumes)
}

fn validate_persistent_volume(volume: &mesos::resources::Resource) -> Result<(), String> {
    let Some(disk) = volume.disk() else {
        return Err(format!("Resource {volume} does not have DiskInfo"));
    };
    if disk.persistence.is_none() {
        return Err(format!("'persistence' is not set in DiskInfo of {volume}"));
    }
    let Some(described) = &disk.volume else {
        return Err(format!(
            "Expecting 'volume' to be set for persistent volume {volume}"
        ));
    };
    if described.mode() == volume::Mode::Ro {
        return Err(format!(
            "Read-only persistent volume {volume} is not supported"
        ));
    }
    if described.host_path.is_some() {
        return Err(format!(
            "Expecting 'host_path' to be unset for persistent volume {volume}"
        ));
    }
    Ok(())
}

fn validate_destroy(
    volumes: &Resources,
    agent: &Agent,
    in_use: impl Iterator<Item = Resources>,
) -> Result<(), String> {
    for volume in volumes {
        if !volume.is_persistent_volume() {
            return Err(format!("Resource {volume} is not a persistent volume"));
        }
    }
    let mut unallocated = volumes.clone();
    unallocated.unallocate();
    if !agent.checkpointed.contains(&unallocated) {
        return Err("Persistent volumes not found".to_owned());
    }
    let ids: BTreeSet<_> = unallocated.iter().filter_map(persistence_key).collect();
    for used in in_use {
        if used
            .iter()
            .filter_map(persistence_key)
            .any(|key| ids.contains(&key))
        {
            return Err("Persistent volumes in use".to_owned());
        }
    }
    Ok(())
}

/// What identifies a persistent volume on an agent: the role it is reserved to, and its id.
pub fn persistence_key(resource: &mesos::resources::Resource) -> Option<(String, String)> {
    let persistence = resource.disk()?.persistence.as_ref()?;
    Some((
        resource.reservation_role().unwrap_or("").to_owned(),
        persistence.id.clone(),
    ))
}
