//! The rules that a resource message must obey.
//!
//! Upstream: `src/common/resources.cpp` (`Resources::validate`).

use std::collections::HashSet;

use thiserror::Error;

use super::collection::Resources;
use super::metadata::labels_equal;
use super::scalar::{Scalar, ScalarError};
use crate::{proto, roles};
use proto::resource::ReservationInfo;
use proto::resource::disk_info::source::Type as SourceType;
use proto::resource::reservation_info::Type as ReservationType;
use proto::value::Type as ValueType;

/// A resource message that breaks a rule.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("Resource '{name}' is invalid: {reason}")]
pub struct ValidationError {
    /// The name of the resource.
    pub name: String,
    /// The rule that is broken.
    pub reason: InvalidReason,
}

/// The rule that a resource message breaks.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum InvalidReason {
    /// There is no name.
    #[error("Empty resource name")]
    EmptyName,
    /// The type is unknown or TEXT.
    #[error("Unsupported resource type {0}; allowed are SCALAR, RANGES and SET")]
    Type(i32),
    /// The value is missing, or there is one of another type.
    #[error("Invalid {0} resource: exactly the field '{0}' must be set")]
    Value(&'static str),
    /// The amount is not a number that can be counted with.
    #[error("Invalid scalar resource: {0}")]
    Scalar(#[from] ScalarError),
    /// The amount is negative, or so small that it rounds to nothing.
    #[error("Invalid scalar resource: value <= 0")]
    NotPositive,
    /// A range ends before it begins.
    #[error("Invalid ranges resource: begin > end")]
    InvertedRange,
    /// Two ranges have an integer in common.
    #[error("Invalid ranges resource: overlapping ranges")]
    OverlappingRanges,
    /// An item of a set is repeated.
    #[error("Invalid set resource: duplicated elements")]
    DuplicateItem,
    /// Only disks have a DiskInfo.
    #[error("DiskInfo should not be set for {0} resource")]
    DiskInfo(String),
    /// The type of the disk's source is unknown.
    #[error("Unsupported 'DiskInfo.Source.Type' {0}")]
    SourceType(i32),
    /// Block and raw disks have no file system, hence neither mount point nor path.
    #[error("{field} should not be set for {source_type} disk source")]
    SourceField {
        /// The field that must not be set.
        field: &'static str,
        /// The type of the source.
        source_type: &'static str,
    },
    /// A role name is not valid.
    #[error(transparent)]
    Role(#[from] roles::RoleError),
    /// The role `*` means that nobody has reserved the resource.
    #[error("Invalid reservation: role \"*\" cannot be reserved")]
    StarReserved,
    /// In the old form the reservation has neither type nor role.
    #[error("'Resource.ReservationInfo.{0}' must not be set for the 'Resource.reservation' field")]
    OldReservationField(&'static str),
    /// In the new form every reservation has type and role.
    #[error("Invalid reservation: 'Resource.ReservationInfo.{0}' field must be set")]
    NewReservationField(&'static str),
    /// A refinement of a reservation is always dynamic.
    #[error("Invalid refined reservation: A refined reservation cannot be STATIC")]
    StaticRefinement,
    /// A refinement must be for a role below the one it refines.
    #[error("Invalid refined reservation: role '{role}' is not a refinement of '{ancestor}'")]
    NotRefinement {
        /// The role of the refinement.
        role: String,
        /// The role of the reservation it is to refine.
        ancestor: String,
    },
    /// Old and new form are both there and contradict each other.
    #[error("Invalid resource format: 'Resource.{0}' does not match 'Resource.reservations'")]
    Contradiction(&'static str),
    /// Only disks with persistence can be shared.
    #[error("Resource {0} cannot be shared: only persistent volumes can be shared")]
    NotShareable(String),
}

/// Checks one resource message, in the old or the new form of reservations.
///
/// # Errors
/// The first rule that it breaks.
pub fn validate_resource(resource: &proto::Resource) -> Result<(), ValidationError> {
    check(resource).map_err(|reason| ValidationError {
        name: resource.name.clone(),
        reason,
    })
}

impl Resources {
    /// Checks resource messages.
    ///
    /// # Errors
    /// The first one that breaks a rule.
    pub fn validate(resources: &[proto::Resource]) -> Result<(), ValidationError> {
        resources.iter().try_for_each(validate_resource)
    }
}

fn check(resource: &proto::Resource) -> Result<(), InvalidReason> {
    if resource.name.is_empty() {
        return Err(InvalidReason::EmptyName);
    }
    check_value(resource)?;
    check_disk(resource)?;
    if resource.reservations.is_empty() {
        check_old_reservation(resource)?;
    } else {
        check_reservations(&resource.reservations)?;
        check_agreement(resource)?;
    }
    let persistent = resource
        .disk
        .as_ref()
        .is_some_and(|disk| disk.persistence.is_some());
    if resource.shared.is_some() && !persistent {
        return Err(InvalidReason::NotShareable(resource.name.clone()));
    }
    Ok(())
}

fn check_value(resource: &proto::Resource) -> Result<(), InvalidReason> {
    let present = (
        resource.scalar.as_ref(),
        resource.ranges.as_ref(),
        resource.set.as_ref(),
    );
    match ValueType::try_from(resource.r#type) {
        Ok(ValueType::Scalar) => match present {
            (Some(scalar), None, None) => check_scalar(scalar.value),
            _ => Err(InvalidReason::Value("scalar")),
        },
        Ok(ValueType::Ranges) => match present {
            (None, Some(ranges), None) => check_ranges(ranges),
            _ => Err(InvalidReason::Value("ranges")),
        },
        Ok(ValueType::Set) => match present {
            (None, None, Some(set)) => check_set(set),
            _ => Err(InvalidReason::Value("set")),
        },
        Ok(ValueType::Text) | Err(_) => Err(InvalidReason::Type(resource.r#type)),
    }
}

fn check_scalar(value: f64) -> Result<(), InvalidReason> {
    let scalar = Scalar::from_f64(value)?;
    if value != 0.0 && !scalar.is_positive() {
        return Err(InvalidReason::NotPositive);
    }
    Ok(())
}

fn check_ranges(ranges: &proto::value::Ranges) -> Result<(), InvalidReason> {
    let mut sorted: Vec<(u64, u64)> = Vec::with_capacity(ranges.range.len());
    for range in &ranges.range {
        if range.begin > range.end {
            return Err(InvalidReason::InvertedRange);
        }
        sorted.push((range.begin, range.end));
    }
    sorted.sort_unstable();
    let overlap = sorted
        .iter()
        .zip(sorted.iter().skip(1))
        .any(|(left, right)| right.0 <= left.1);
    if overlap {
        return Err(InvalidReason::OverlappingRanges);
    }
    Ok(())
}

fn check_set(set: &proto::value::Set) -> Result<(), InvalidReason> {
    let mut seen = HashSet::with_capacity(set.item.len());
    if set.item.iter().all(|item| seen.insert(item)) {
        Ok(())
    } else {
        Err(InvalidReason::DuplicateItem)
    }
}

fn check_disk(resource: &proto::Resource) -> Result<(), InvalidReason> {
    let Some(disk) = &resource.disk else {
        return Ok(());
    };
    if resource.name != "disk" {
        return Err(InvalidReason::DiskInfo(resource.name.clone()));
    }
    let Some(source) = &disk.source else {
        return Ok(());
    };
    let source_type = SourceType::try_from(source.r#type);
    match source_type {
        Ok(SourceType::Path | SourceType::Mount) => Ok(()),
        Ok(SourceType::Block | SourceType::Raw) => {
            let field = match (&source.mount, &source.path) {
                (Some(_), _) => "Mount",
                (None, Some(_)) => "Path",
                (None, None) => return Ok(()),
            };
            let source_type = source_type.unwrap_or(SourceType::Unknown).as_str_name();
            Err(InvalidReason::SourceField { field, source_type })
        }
        Ok(SourceType::Unknown) | Err(_) => Err(InvalidReason::SourceType(source.r#type)),
    }
}

/// The form of Mesos before 1.4: a role, and a reservation if it is dynamic.
fn check_old_reservation(resource: &proto::Resource) -> Result<(), InvalidReason> {
    roles::validate(resource.role())?;
    let Some(reservation) = &resource.reservation else {
        return Ok(());
    };
    if reservation.r#type.is_some() {
        return Err(InvalidReason::OldReservationField("type"));
    }
    if reservation.role.is_some() {
        return Err(InvalidReason::OldReservationField("role"));
    }
    if resource.role() == roles::STAR {
        return Err(InvalidReason::StarReserved);
    }
    Ok(())
}

/// The form since Mesos 1.4: a stack of reservations.
fn check_reservations(reservations: &[ReservationInfo]) -> Result<(), InvalidReason> {
    let mut ancestor: Option<&str> = None;
    for reservation in reservations {
        let reservation_type = reservation
            .r#type
            .and_then(|value| ReservationType::try_from(value).ok())
            .filter(|value| *value != ReservationType::Unknown)
            .ok_or(InvalidReason::NewReservationField("type"))?;
        let role = reservation
            .role
            .as_deref()
            .ok_or(InvalidReason::NewReservationField("role"))?;
        roles::validate(role)?;
        if role == roles::STAR {
            return Err(InvalidReason::StarReserved);
        }
        if let Some(ancestor) = ancestor {
            if reservation_type == ReservationType::Static {
                return Err(InvalidReason::StaticRefinement);
            }
            if !roles::is_strict_subrole(role, ancestor) {
                return Err(InvalidReason::NotRefinement {
                    role: role.to_owned(),
                    ancestor: ancestor.to_owned(),
                });
            }
        }
        ancestor = Some(role);
    }
    Ok(())
}

/// Endpoints show both forms at once; what is sent back must not contradict itself.
fn check_agreement(resource: &proto::Resource) -> Result<(), InvalidReason> {
    let [only] = resource.reservations.as_slice() else {
        if resource.role.is_some() {
            return Err(InvalidReason::Contradiction("role"));
        }
        if resource.reservation.is_some() {
            return Err(InvalidReason::Contradiction("reservation"));
        }
        return Ok(());
    };
    if resource.role.is_some() && resource.role != only.role {
        return Err(InvalidReason::Contradiction("role"));
    }
    if only.r#type() == ReservationType::Static {
        return match resource.reservation {
            Some(_) => Err(InvalidReason::Contradiction("reservation")),
            None => Ok(()),
        };
    }
    match &resource.reservation {
        None if resource.role.is_none() => Ok(()),
        None => Err(InvalidReason::Contradiction("reservation")),
        Some(_) if resource.role.is_none() => Err(InvalidReason::Contradiction("role")),
        Some(old) if old.principal() != only.principal() => {
            Err(InvalidReason::Contradiction("reservation.principal"))
        }
        Some(old) => {
            let empty = proto::Labels::default();
            let labels = |info: &ReservationInfo| info.labels.clone().unwrap_or(empty.clone());
            if labels_equal(Some(&labels(old)), Some(&labels(only))) {
                Ok(())
            } else {
                Err(InvalidReason::Contradiction("reservation.labels"))
            }
        }
    }
}
