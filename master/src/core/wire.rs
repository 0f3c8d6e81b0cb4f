//! Resource formats at the edge of the core.
//!
//! The core keeps the format with stacks of reservations. Peers without RESERVATION_REFINEMENT get
//! and send the older one with a role and at most one reservation.

use mesos::proto;
use mesos::resources::HasResources;

/// Brings all resources in a message into the older format where the peer wants that. What cannot
/// be expressed in it stays as it is: the allocator never offers such resources to such peers.
pub fn downgrade_unless(refinement: bool, message: &mut impl HasResources) {
    if !refinement && let Err(error) = message.downgrade_resources() {
        tracing::warn!("Sending resources in the new format: {error}");
    }
}

/// Marks all resources in an operation that are not allocated yet as allocated to `role`.
pub fn inject_allocation(operation: &mut proto::offer::Operation, role: &str) {
    let done: Result<(), std::convert::Infallible> =
        operation.try_for_each_resource(&mut |resource| {
            resource
                .allocation_info
                .get_or_insert_with(|| proto::resource::AllocationInfo {
                    role: Some(role.to_owned()),
                });
            Ok(())
        });
    match done {
        Ok(()) => {}
    }
}
