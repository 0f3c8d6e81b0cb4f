//! The forms in which messages tell reservations.
//!
//! Until 1.3 a resource had a `role`, and a `reservation` if it was dynamic. Since then a stack of
//! `reservations` takes the place of both. Peers without RESERVATION_REFINEMENT know the old form
//! only, and endpoints show both.
//! Upstream: `src/common/resources_utils.cpp` (`convertResourceFormat`).

use thiserror::Error;

use crate::{proto, roles};
use proto::offer::Operation;
use proto::resource::ReservationInfo;
use proto::resource::reservation_info::Type as ReservationType;

/// A refined reservation was to be told in the old form, which has room for one only.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Cannot downgrade resource '{name}' with {count} reservations: the old format holds one")]
pub struct DowngradeError {
    /// The name of the resource.
    pub name: String,
    /// How many reservations it has.
    pub count: usize,
}

/// Brings a message into the new form. It should be valid; what is contradictory is resolved in
/// favor of the new form.
pub fn upgrade(resource: &mut proto::Resource) {
    let role = resource.role.take();
    let reservation = resource.reservation.take();
    if !resource.reservations.is_empty() {
        return;
    }
    let Some(role) = role.filter(|role| role != roles::STAR) else {
        return;
    };
    let reservation_type = match reservation {
        Some(_) => ReservationType::Dynamic,
        None => ReservationType::Static,
    };
    resource.reservations.push(ReservationInfo {
        r#type: Some(reservation_type.into()),
        role: Some(role),
        ..reservation.unwrap_or_default()
    });
}

/// Adds the old form to the new one, where it can tell the reservations.
pub fn to_endpoint(resource: &mut proto::Resource) {
    match resource.reservations.as_slice() {
        [] => resource.role = Some(roles::STAR.to_owned()),
        [only] => {
            if only.r#type() == ReservationType::Dynamic {
                resource.reservation = Some(ReservationInfo {
                    principal: only.principal.clone(),
                    labels: only.labels.clone(),
                    role: None,
                    r#type: None,
                });
            }
            resource.role = only.role.clone();
        }
        _ => {}
    }
}

/// Brings a message into the old form.
///
/// # Errors
/// The resource has several reservations. It is left as it was.
pub fn downgrade(resource: &mut proto::Resource) -> Result<(), DowngradeError> {
    if resource.reservations.len() > 1 {
        return Err(DowngradeError {
            name: resource.name.clone(),
            count: resource.reservations.len(),
        });
    }
    upgrade(resource);
    to_endpoint(resource);
    resource.reservations.clear();
    Ok(())
}

/// Brings messages into the old form.
///
/// # Errors
/// One of the resources has several reservations. Those before it are changed already.
pub fn downgrade_all(resources: &mut [proto::Resource]) -> Result<(), DowngradeError> {
    resources.iter_mut().try_for_each(downgrade)
}

/// Messages that hold resources, so that all of them can be brought into another form.
pub trait HasResources {
    /// Calls `visit` for every resource in the message.
    ///
    /// # Errors
    /// The first error of `visit`.
    fn try_for_each_resource<E>(
        &mut self,
        visit: &mut impl FnMut(&mut proto::Resource) -> Result<(), E>,
    ) -> Result<(), E>;

    /// Brings all resources into the new form.
    fn upgrade_resources(&mut self) {
        let visited: Result<(), std::convert::Infallible> =
            self.try_for_each_resource(&mut |resource| {
                upgrade(resource);
                Ok(())
            });
        match visited {
            Ok(()) => {}
        }
    }

    /// Brings all resources into the old form.
    ///
    /// # Errors
    /// One of the resources has several reservations. Those before it are changed already.
    fn downgrade_resources(&mut self) -> Result<(), DowngradeError> {
        self.try_for_each_resource(&mut downgrade)
    }
}

impl HasResources for proto::Resource {
    fn try_for_each_resource<E>(
        &mut self,
        visit: &mut impl FnMut(&mut proto::Resource) -> Result<(), E>,
    ) -> Result<(), E> {
        visit(self)
    }
}

impl<T: HasResources> HasResources for Vec<T> {
    fn try_for_each_resource<E>(
        &mut self,
        visit: &mut impl FnMut(&mut proto::Resource) -> Result<(), E>,
    ) -> Result<(), E> {
        self.iter_mut()
            .try_for_each(|item| item.try_for_each_resource(visit))
    }
}

impl<T: HasResources> HasResources for Option<T> {
    fn try_for_each_resource<E>(
        &mut self,
        visit: &mut impl FnMut(&mut proto::Resource) -> Result<(), E>,
    ) -> Result<(), E> {
        self.iter_mut()
            .try_for_each(|item| item.try_for_each_resource(visit))
    }
}

/// Names the fields of a message that are, or hold, resources.
macro_rules! has_resources {
    ($($message:ty { $($field:ident),+ })+) => {$(
        impl HasResources for $message {
            fn try_for_each_resource<E>(
                &mut self,
                visit: &mut impl FnMut(&mut proto::Resource) -> Result<(), E>,
            ) -> Result<(), E> {
                $(self.$field.try_for_each_resource(visit)?;)+
                Ok(())
            }
        }
    )+};
}

has_resources! {
    proto::ExecutorInfo { resources }
    proto::TaskInfo { resources, executor }
    proto::TaskGroupInfo { tasks }
    proto::Task { resources, statuses }
    proto::TaskStatus { limitation }
    proto::TaskResourceLimitation { resources }
    proto::SlaveInfo { resources }
    proto::Offer { resources }
    proto::InverseOffer { resources }
    proto::Request { resources }
    proto::Role { resources }
    proto::Operation { info, latest_status, statuses }
    proto::OperationStatus { converted_resources }
    Operation {
        launch, reserve, unreserve, create, destroy, launch_group, grow_volume, shrink_volume,
        create_disk, destroy_disk
    }
    proto::offer::operation::Launch { task_infos }
    proto::offer::operation::LaunchGroup { executor, task_group }
    proto::offer::operation::Reserve { resources, source }
    proto::offer::operation::Unreserve { resources }
    proto::offer::operation::Create { volumes }
    proto::offer::operation::Destroy { volumes }
    proto::offer::operation::GrowVolume { volume, addition }
    proto::offer::operation::ShrinkVolume { volume }
    proto::offer::operation::CreateDisk { source }
    proto::offer::operation::DestroyDisk { source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> proto::Resource {
        proto::Resource {
            name: "cpus".into(),
            ..Default::default()
        }
    }

    fn reservation(role: &str, reservation_type: ReservationType) -> ReservationInfo {
        ReservationInfo {
            role: Some(role.into()),
            r#type: Some(reservation_type.into()),
            principal: Some("p".into()).filter(|_| reservation_type == ReservationType::Dynamic),
            labels: None,
        }
    }

    fn old(role: Option<&str>, principal: Option<&str>) -> proto::Resource {
        proto::Resource {
            role: role.map(Into::into),
            reservation: principal.map(|principal| ReservationInfo {
                principal: Some(principal.into()),
                ..Default::default()
            }),
            ..resource()
        }
    }

    fn new(reservations: Vec<ReservationInfo>) -> proto::Resource {
        proto::Resource {
            reservations,
            ..resource()
        }
    }

    /// Old form, new form, and back.
    #[track_caller]
    fn check(old: proto::Resource, new: proto::Resource) {
        let mut upgraded = old.clone();
        upgrade(&mut upgraded);
        assert_eq!(upgraded, new);
        upgrade(&mut upgraded);
        assert_eq!(upgraded, new, "upgrading twice");

        let mut endpoint = new.clone();
        to_endpoint(&mut endpoint);
        assert_eq!(endpoint.role, old.role);
        assert_eq!(endpoint.reservation, old.reservation);
        assert_eq!(endpoint.reservations, new.reservations);
        upgrade(&mut endpoint);
        assert_eq!(endpoint, new);

        let mut downgraded = new;
        assert_eq!(downgrade(&mut downgraded), Ok(()));
        assert_eq!(downgraded, old);
    }

    #[test]
    fn conversions() {
        check(old(Some("*"), None), new(vec![]));
        check(
            old(Some("a"), None),
            new(vec![reservation("a", ReservationType::Static)]),
        );
        check(
            old(Some("a"), Some("p")),
            new(vec![reservation("a", ReservationType::Dynamic)]),
        );
        let mut absent = old(None, None);
        upgrade(&mut absent);
        assert_eq!(absent, new(vec![]));
    }

    #[test]
    fn refined_reservations_stay() {
        let refined = new(vec![
            reservation("a", ReservationType::Static),
            reservation("a/b", ReservationType::Dynamic),
        ]);
        let mut resource = refined.clone();
        to_endpoint(&mut resource);
        assert_eq!(resource, refined);
        assert_eq!(
            downgrade(&mut resource).unwrap_err().to_string(),
            "Cannot downgrade resource 'cpus' with 2 reservations: the old format holds one"
        );
        assert_eq!(resource, refined);
    }

    #[test]
    fn messages() {
        let mut operation = Operation {
            launch: Some(proto::offer::operation::Launch {
                task_infos: vec![proto::TaskInfo {
                    resources: vec![old(Some("a"), None)],
                    executor: Some(proto::ExecutorInfo {
                        resources: vec![old(Some("*"), None)],
                        ..Default::default()
                    }),
                    ..Default::default()
                }],
            }),
            ..Default::default()
        };
        let before = operation.clone();
        operation.upgrade_resources();
        let task = &operation.launch.as_ref().unwrap().task_infos[0];
        assert_eq!(
            task.resources,
            [new(vec![reservation("a", ReservationType::Static)])]
        );
        assert_eq!(task.executor.as_ref().unwrap().resources, [new(vec![])]);
        assert_eq!(operation.downgrade_resources(), Ok(()));
        assert_eq!(operation, before);
    }
}
