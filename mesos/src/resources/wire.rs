//! Resources from and to their messages.

use std::sync::Arc;

use super::collection::Resources;
use super::format;
use super::metadata::{Metadata, Reservation, ReservationKind, SharedMetadata};
use super::name::Name;
use super::ranges::{Range, Ranges};
use super::resource::Resource;
use super::scalar::Scalar;
use super::set::Set;
use super::validate::{InvalidReason, ValidationError, validate_resource};
use super::value::Value;
use crate::{proto, roles};
use proto::resource::ReservationInfo;
use proto::resource::reservation_info::Type as ReservationType;
use proto::value::Type as ValueType;

impl Resource {
    /// Reads a message, in the old or the new form of reservations.
    ///
    /// # Errors
    /// The first rule of [`validate_resource`] that it breaks.
    pub fn from_proto(resource: &proto::Resource) -> Result<Resource, ValidationError> {
        validate_resource(resource)?;
        Resource::read(resource).map_err(|reason| ValidationError {
            name: resource.name.clone(),
            reason,
        })
    }

    fn read(resource: &proto::Resource) -> Result<Resource, InvalidReason> {
        Ok(Resource {
            name: Name::from(resource.name.as_str()),
            value: read_value(resource)?,
            allocation: resource
                .allocation_info
                .as_ref()
                .map(|allocation| Arc::from(allocation.role())),
            metadata: SharedMetadata::new(Metadata {
                reservations: read_reservations(resource),
                disk: resource.disk.clone(),
                revocable: resource.revocable.is_some(),
                shared: resource.shared.is_some(),
                provider_id: resource.provider_id.as_ref().map(|id| id.value.clone()),
            }),
            shared_count: 1,
        })
    }

    /// Writes the message in the new form of reservations. How often a shared resource is held is
    /// not part of it.
    #[must_use]
    pub fn to_proto(&self) -> proto::Resource {
        let mut resource = proto::Resource {
            name: self.name.as_str().to_owned(),
            allocation_info: self
                .allocation
                .as_ref()
                .map(|role| proto::resource::AllocationInfo {
                    role: Some(role.to_string()),
                }),
            ..Default::default()
        };
        write_value(&self.value, &mut resource);
        if let Some(metadata) = self.metadata.get() {
            resource.reservations = metadata
                .reservations
                .iter()
                .map(write_reservation)
                .collect();
            resource.disk = metadata.disk.clone();
            resource.revocable = metadata.revocable.then(Default::default);
            resource.shared = metadata.shared.then(Default::default);
            resource.provider_id = metadata
                .provider_id
                .clone()
                .map(|value| proto::ResourceProviderId { value });
        }
        resource
    }
}

fn read_value(resource: &proto::Resource) -> Result<Value, InvalidReason> {
    match ValueType::try_from(resource.r#type) {
        Ok(ValueType::Scalar) => {
            let value = resource.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
            Ok(Value::Scalar(Scalar::from_f64(value)?))
        }
        Ok(ValueType::Ranges) => Ok(Value::Ranges(read_ranges(resource.ranges.as_ref()))),
        Ok(ValueType::Set) => Ok(Value::Set(Set::from_iter(
            resource.set.iter().flat_map(|set| set.item.iter().cloned()),
        ))),
        Ok(ValueType::Text) | Err(_) => Err(InvalidReason::Type(resource.r#type)),
    }
}

pub(crate) fn read_ranges(ranges: Option<&proto::value::Ranges>) -> Ranges {
    ranges
        .iter()
        .flat_map(|ranges| &ranges.range)
        .map(|range| Range {
            begin: range.begin,
            end: range.end,
        })
        .collect()
}

pub(crate) fn write_ranges(ranges: &Ranges) -> proto::value::Ranges {
    proto::value::Ranges {
        range: ranges
            .iter()
            .map(|range| proto::value::Range {
                begin: range.begin,
                end: range.end,
            })
            .collect(),
    }
}

fn write_value(value: &Value, resource: &mut proto::Resource) {
    match value {
        Value::Scalar(scalar) => {
            resource.set_type(ValueType::Scalar);
            resource.scalar = Some(proto::value::Scalar {
                value: scalar.to_f64(),
            });
        }
        Value::Ranges(ranges) => {
            resource.set_type(ValueType::Ranges);
            resource.ranges = Some(write_ranges(ranges));
        }
        Value::Set(set) => {
            resource.set_type(ValueType::Set);
            resource.set = Some(proto::value::Set {
                item: set.iter().map(str::to_owned).collect(),
            });
        }
    }
}

fn read_reservations(resource: &proto::Resource) -> Vec<Reservation> {
    if !resource.reservations.is_empty() {
        return resource.reservations.iter().map(read_reservation).collect();
    }
    let role = resource.role();
    if role == roles::STAR {
        return Vec::new();
    }
    vec![match &resource.reservation {
        None => Reservation::fixed(role),
        Some(old) => Reservation {
            kind: ReservationKind::Dynamic,
            role: Arc::from(role),
            principal: old.principal.clone(),
            labels: old.labels.clone(),
        },
    }]
}

fn read_reservation(reservation: &ReservationInfo) -> Reservation {
    Reservation {
        kind: match reservation.r#type() {
            ReservationType::Static => ReservationKind::Static,
            ReservationType::Dynamic | ReservationType::Unknown => ReservationKind::Dynamic,
        },
        role: Arc::from(reservation.role()),
        principal: reservation.principal.clone(),
        labels: reservation.labels.clone(),
    }
}

fn write_reservation(reservation: &Reservation) -> ReservationInfo {
    let reservation_type = match reservation.kind {
        ReservationKind::Static => ReservationType::Static,
        ReservationKind::Dynamic => ReservationType::Dynamic,
    };
    ReservationInfo {
        r#type: Some(reservation_type.into()),
        role: Some(reservation.role.to_string()),
        principal: reservation.principal.clone(),
        labels: reservation.labels.clone(),
    }
}

impl Resources {
    /// Reads messages, in the old or the new form of reservations. Empty resources are dropped.
    ///
    /// # Errors
    /// The first message that breaks a rule of [`validate_resource`].
    pub fn from_protos(resources: &[proto::Resource]) -> Result<Resources, ValidationError> {
        let mut result = Resources::new();
        let mut role: Option<Arc<str>> = None;
        for resource in resources {
            let mut resource = Resource::from_proto(resource)?;
            // The entries of a message nearly always have one allocation role; hold it once.
            if role.is_some() && resource.allocation == role {
                resource.allocation.clone_from(&role);
            } else {
                role.clone_from(&resource.allocation);
            }
            result.insert(resource);
        }
        Ok(result)
    }

    /// Reads messages, dropping those that break a rule, as C++ Mesos does on many paths.
    #[must_use]
    pub fn from_valid_protos(resources: &[proto::Resource]) -> Resources {
        resources
            .iter()
            .filter_map(|resource| Resource::from_proto(resource).ok())
            .collect()
    }

    /// Writes messages in the new form of reservations, one for each entry.
    #[must_use]
    pub fn to_protos(&self) -> Vec<proto::Resource> {
        self.iter().map(Resource::to_proto).collect()
    }

    /// Writes messages in the form that endpoints show: the new form, and the old one with it
    /// where there is at most one reservation.
    #[must_use]
    pub fn to_endpoint_protos(&self) -> Vec<proto::Resource> {
        let mut resources = self.to_protos();
        resources.iter_mut().for_each(format::to_endpoint);
        resources
    }

    /// Writes messages in the old form of reservations.
    ///
    /// # Errors
    /// A reservation is refined; the old form cannot tell.
    pub fn to_downgraded_protos(&self) -> Result<Vec<proto::Resource>, format::DowngradeError> {
        let mut resources = self.to_protos();
        format::downgrade_all(&mut resources)?;
        Ok(resources)
    }
}
