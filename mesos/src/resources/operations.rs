//! What operations on offers do to resources.
//!
//! Upstream: `src/common/resources_utils.cpp` (`getResourceConversions`,
//! `applyCheckpointedResources`), `Resources::apply`.

use thiserror::Error;

use super::collection::Resources;
use super::resource::Resource;
use super::scalar::{Scalar, ScalarError};
use super::validate::ValidationError;
use super::value::Value;
use crate::proto;
use proto::offer::Operation;
use proto::offer::operation::Type;

/// Why an operation cannot be applied.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum OperationError {
    /// The type is missing or unknown to us.
    #[error("Unknown operation")]
    Unknown,
    /// The operation does not convert resources at once.
    #[error("Operation {0} does not convert resources")]
    NotConverting(&'static str),
    /// The field that goes with the type is missing.
    #[error("Operation {0} has no field '{1}'")]
    MissingField(&'static str, &'static str),
    /// A resource in the operation is not valid.
    #[error(transparent)]
    Invalid(#[from] ValidationError),
    /// A volume is to be resized by what is no number.
    #[error("Cannot resize volume: {0}")]
    Amount(#[from] ScalarError),
    /// What is to be resized is not an amount, or the result would be nothing.
    #[error("Cannot resize {0}: not more than what is taken away")]
    Resize(String),
    /// Volumes of resource providers cannot be resized.
    #[error("Operation not supported for resource provider")]
    ResourceProvider,
    /// What is to be unreserved has no reservation.
    #[error("{0} is not reserved")]
    NotReserved(String),
    /// What is to be converted is not there.
    #[error("{available} does not contain {consumed}")]
    NotContained {
        /// What is there.
        available: String,
        /// What was to be converted.
        consumed: String,
    },
    /// Other copies of a shared volume are still there.
    #[error("Persistent volume {0} cannot be removed due to additional shared copies")]
    StillShared(String),
    /// A checkpointed resource is neither dynamically reserved nor a volume.
    #[error("Unexpected checkpointed resource {0}")]
    NotCheckpointable(String),
}

/// The exchange of some resources for others.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceConversion {
    /// What is taken away.
    pub consumed: Resources,
    /// What takes its place.
    pub converted: Resources,
    /// A volume of which no copy may be left.
    pub must_be_gone: Option<Resource>,
}

impl ResourceConversion {
    /// An exchange without further condition.
    #[must_use]
    pub fn new(consumed: Resources, converted: Resources) -> ResourceConversion {
        ResourceConversion {
            consumed,
            converted,
            must_be_gone: None,
        }
    }

    /// The result of the exchange in `resources`.
    ///
    /// # Errors
    /// What is to be taken away is not there, or a volume remains in use elsewhere.
    pub fn apply(&self, resources: &Resources) -> Result<Resources, OperationError> {
        let Some(mut result) = resources.checked_sub(&self.consumed) else {
            return Err(OperationError::NotContained {
                available: resources.to_string(),
                consumed: self.consumed.to_string(),
            });
        };
        result += &self.converted;
        match &self.must_be_gone {
            Some(volume) if result.contains_resource(volume) => {
                Err(OperationError::StillShared(volume.to_string()))
            }
            _ => Ok(result),
        }
    }
}

impl Resources {
    /// The result of an operation: RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME or
    /// SHRINK_VOLUME.
    ///
    /// # Errors
    /// The operation is of another type or malformed, or what it needs is not here.
    pub fn apply(&self, operation: &Operation) -> Result<Resources, OperationError> {
        self.apply_conversions(&conversions(operation)?)
    }

    /// The result of several exchanges, one after the other.
    ///
    /// # Errors
    /// The first exchange that cannot be made.
    pub fn apply_conversions(
        &self,
        conversions: &[ResourceConversion],
    ) -> Result<Resources, OperationError> {
        conversions
            .iter()
            .try_fold(self.clone(), |resources, conversion| {
                conversion.apply(&resources)
            })
    }

    /// The total of an agent after applying what it had checkpointed: dynamic reservations and
    /// persistent volumes, on top of what is configured.
    ///
    /// # Errors
    /// A resource that is never checkpointed, or one that the configured total has no room for.
    pub fn apply_checkpointed(
        &self,
        checkpointed: &Resources,
    ) -> Result<Resources, OperationError> {
        let mut total = self.clone();
        for resource in checkpointed {
            if !resource.needs_checkpointing() {
                return Err(OperationError::NotCheckpointable(resource.to_string()));
            }
            let configured = Resources::from(resource.configured_form());
            total = ResourceConversion::new(configured, resource.clone().into()).apply(&total)?;
        }
        Ok(total)
    }
}

impl Resource {
    /// Whether the agent must write it down: it is its own, and either dynamically reserved or a
    /// persistent volume.
    #[must_use]
    pub fn needs_checkpointing(&self) -> bool {
        self.provider_id().is_none()
            && (self.is_dynamically_reserved() || self.is_persistent_volume())
    }

    /// The resource as the agent was configured with it: without dynamic reservations and volume.
    fn configured_form(&self) -> Resource {
        let mut resource = self.clone();
        if self.is_dynamically_reserved() {
            let fixed: Vec<_> = self
                .reservations()
                .iter()
                .take(1)
                .filter(|first| first.kind == super::ReservationKind::Static)
                .cloned()
                .collect();
            resource = resource.with_reservations(&fixed);
        }
        if self.is_persistent_volume() {
            resource = resource.without_volume();
        }
        resource
    }
}

/// The exchanges that an operation stands for, to be made one after the other.
///
/// # Errors
/// The operation is LAUNCH, LAUNCH_GROUP, CREATE_DISK, DESTROY_DISK or unknown; its field is
/// missing; or a resource in it is invalid.
pub fn conversions(operation: &Operation) -> Result<Vec<ResourceConversion>, OperationError> {
    let operation_type = operation
        .r#type
        .and_then(|value| Type::try_from(value).ok())
        .ok_or(OperationError::Unknown)?;
    let name = operation_type.as_str_name();
    let missing = |field| OperationError::MissingField(name, field);
    match operation_type {
        Type::Unknown => Err(OperationError::Unknown),
        Type::Launch | Type::LaunchGroup | Type::CreateDisk | Type::DestroyDisk => {
            Err(OperationError::NotConverting(name))
        }
        Type::Reserve => {
            let reserve = operation.reserve.as_ref();
            reserve_conversions(reserve.ok_or_else(|| missing("reserve"))?)
        }
        Type::Unreserve => {
            let unreserve = operation.unreserve.as_ref();
            let unreserve = unreserve.ok_or_else(|| missing("unreserve"))?;
            each(&unreserve.resources, |reserved| {
                let converted = pop_reservation(reserved.clone())?;
                Ok(ResourceConversion::new(reserved.into(), converted.into()))
            })
        }
        Type::Create => {
            let create = operation.create.as_ref();
            each(
                &create.ok_or_else(|| missing("create"))?.volumes,
                |volume| {
                    let stripped = volume.clone().without_volume();
                    Ok(ResourceConversion::new(stripped.into(), volume.into()))
                },
            )
        }
        Type::Destroy => {
            let destroy = operation.destroy.as_ref();
            each(
                &destroy.ok_or_else(|| missing("destroy"))?.volumes,
                |volume| {
                    let stripped = volume.clone().without_volume();
                    Ok(ResourceConversion {
                        consumed: volume.clone().into(),
                        converted: stripped.into(),
                        must_be_gone: Some(volume),
                    })
                },
            )
        }
        Type::GrowVolume => {
            let grow = operation.grow_volume.as_ref();
            let grow = grow.ok_or_else(|| missing("grow_volume"))?;
            grow_conversions(&grow.volume, &grow.addition)
        }
        Type::ShrinkVolume => {
            let shrink = operation.shrink_volume.as_ref();
            let shrink = shrink.ok_or_else(|| missing("shrink_volume"))?;
            shrink_conversions(&shrink.volume, shrink.subtract.value)
        }
    }
}

fn each(
    resources: &[proto::Resource],
    convert: impl Fn(Resource) -> Result<ResourceConversion, OperationError>,
) -> Result<Vec<ResourceConversion>, OperationError> {
    resources
        .iter()
        .map(|resource| convert(Resource::from_proto(resource)?))
        .collect()
}

fn pop_reservation(resource: Resource) -> Result<Resource, OperationError> {
    if resource.is_unreserved() {
        return Err(OperationError::NotReserved(resource.to_string()));
    }
    Ok(resource.without_last_reservation())
}

/// Without a source the operation adds one reservation; with one it replaces the reservations.
fn reserve_conversions(
    reserve: &proto::offer::operation::Reserve,
) -> Result<Vec<ResourceConversion>, OperationError> {
    let reserved = Resources::from_protos(&reserve.resources)?;
    let consumed = if reserve.source.is_empty() {
        reserved
            .iter()
            .map(|resource| pop_reservation(resource.clone()))
            .collect::<Result<Resources, OperationError>>()?
    } else {
        Resources::from_protos(&reserve.source)?
    };
    Ok(vec![ResourceConversion::new(consumed, reserved)])
}

fn own_volume(volume: &proto::Resource) -> Result<(Resource, Scalar), OperationError> {
    let volume = Resource::from_proto(volume)?;
    if volume.provider_id().is_some() {
        return Err(OperationError::ResourceProvider);
    }
    let amount = volume
        .as_scalar()
        .ok_or_else(|| OperationError::Resize(volume.to_string()))?;
    Ok((volume, amount))
}

fn grow_conversions(
    volume: &proto::Resource,
    addition: &proto::Resource,
) -> Result<Vec<ResourceConversion>, OperationError> {
    let (volume, amount) = own_volume(volume)?;
    let addition = Resource::from_proto(addition)?;
    let added = addition
        .as_scalar()
        .ok_or_else(|| OperationError::Resize(addition.to_string()))?;
    let grown = volume.clone().with_value(Value::Scalar(amount + added));
    let consumed = Resources::from_iter([volume, addition]);
    Ok(vec![ResourceConversion::new(consumed, grown.into())])
}

fn shrink_conversions(
    volume: &proto::Resource,
    subtract: f64,
) -> Result<Vec<ResourceConversion>, OperationError> {
    let (volume, amount) = own_volume(volume)?;
    let subtract = Scalar::from_f64(subtract)?;
    if subtract < Scalar::ZERO || subtract >= amount {
        return Err(OperationError::Resize(volume.to_string()));
    }
    let freed = volume
        .clone()
        .without_volume()
        .with_value(Value::Scalar(subtract));
    let shrunk = volume.clone().with_value(Value::Scalar(amount - subtract));
    let converted = Resources::from_iter([shrunk, freed]);
    Ok(vec![ResourceConversion::new(volume.into(), converted)])
}

/// The resource provider that an operation concerns; none is the agent itself.
///
/// # Errors
/// The operation is LAUNCH, LAUNCH_GROUP or unknown, or has no resources.
pub fn resource_provider(operation: &Operation) -> Result<Option<&str>, OperationError> {
    let operation_type = operation
        .r#type
        .and_then(|value| Type::try_from(value).ok())
        .ok_or(OperationError::Unknown)?;
    let first = match operation_type {
        Type::Unknown => return Err(OperationError::Unknown),
        Type::Launch | Type::LaunchGroup => {
            return Err(OperationError::NotConverting(operation_type.as_str_name()));
        }
        Type::Reserve => operation
            .reserve
            .as_ref()
            .and_then(|op| op.resources.first()),
        Type::Unreserve => operation
            .unreserve
            .as_ref()
            .and_then(|op| op.resources.first()),
        Type::Create => operation.create.as_ref().and_then(|op| op.volumes.first()),
        Type::Destroy => operation.destroy.as_ref().and_then(|op| op.volumes.first()),
        Type::GrowVolume => operation.grow_volume.as_ref().map(|op| &op.volume),
        Type::ShrinkVolume => operation.shrink_volume.as_ref().map(|op| &op.volume),
        Type::CreateDisk => operation.create_disk.as_ref().map(|op| &op.source),
        Type::DestroyDisk => operation.destroy_disk.as_ref().map(|op| &op.source),
    };
    let first = first.ok_or(OperationError::MissingField(
        operation_type.as_str_name(),
        "resources",
    ))?;
    Ok(first.provider_id.as_ref().map(|id| id.value.as_str()))
}
