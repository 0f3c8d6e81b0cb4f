//! Calls of schedulers, before anything is looked up.

use mesos::proto::scheduler::{Call, call};

use crate::constants::STATUS_UUID_BYTES;

/// Checks that a call carries what its type needs.
///
/// # Errors
/// What is missing or contradictory.
pub fn validate(call: &Call) -> Result<(), String> {
    if call.r#type.is_none() {
        return Err("Expecting 'type' to be present".to_owned());
    }
    let kind = call.r#type();
    if kind == call::Type::Subscribe {
        return validate_subscribe(call);
    }
    if call.framework_id.is_none() {
        return Err("Expecting 'framework_id' to be present".to_owned());
    }
    let present = |present: bool, name: &str| {
        if present {
            Ok(())
        } else {
            Err(format!("Expecting '{name}' to be present"))
        }
    };
    match kind {
        call::Type::Accept => present(call.accept.is_some(), "accept"),
        call::Type::Decline => present(call.decline.is_some(), "decline"),
        call::Type::AcceptInverseOffers => present(
            call.accept_inverse_offers.is_some(),
            "accept_inverse_offers",
        ),
        call::Type::DeclineInverseOffers => present(
            call.decline_inverse_offers.is_some(),
            "decline_inverse_offers",
        ),
        call::Type::Kill => present(call.kill.is_some(), "kill"),
        call::Type::Shutdown => present(call.shutdown.is_some(), "shutdown"),
        call::Type::Acknowledge => match &call.acknowledge {
            None => Err("Expecting 'acknowledge' to be present".to_owned()),
            Some(acknowledge) => validate_uuid(&acknowledge.uuid),
        },
        call::Type::AcknowledgeOperationStatus => match &call.acknowledge_operation_status {
            None => Err("Expecting 'acknowledge_operation_status' to be present".to_owned()),
            Some(acknowledge) => {
                validate_uuid(&acknowledge.uuid)?;
                present(acknowledge.slave_id.is_some(), "agent_id")
            }
        },
        call::Type::Reconcile => present(call.reconcile.is_some(), "reconcile"),
        call::Type::ReconcileOperations => {
            present(call.reconcile_operations.is_some(), "reconcile_operations")
        }
        call::Type::Message => present(call.message.is_some(), "message"),
        call::Type::Request => present(call.request.is_some(), "request"),
        call::Type::UpdateFramework => validate_update_framework(call),
        call::Type::Teardown | call::Type::Revive | call::Type::Suppress => Ok(()),
        call::Type::Unknown => Err("Unknown call type".to_owned()),
        call::Type::Subscribe => validate_subscribe(call),
    }
}

fn validate_subscribe(call: &Call) -> Result<(), String> {
    let Some(subscribe) = &call.subscribe else {
        return Err("Expecting 'subscribe' to be present".to_owned());
    };
    if subscribe.framework_info.id != call.framework_id {
        return Err("'framework_id' differs from 'subscribe.framework_info.id'".to_owned());
    }
    Ok(())
}

fn validate_update_framework(call: &Call) -> Result<(), String> {
    let Some(update) = &call.update_framework else {
        return Err("Expecting 'update_framework' to be present".to_owned());
    };
    if update.framework_info.id != call.framework_id {
        return Err("'framework_id' differs from 'update_framework.framework_info.id'".to_owned());
    }
    Ok(())
}

fn validate_uuid(uuid: &[u8]) -> Result<(), String> {
    if uuid.len() == STATUS_UUID_BYTES {
        Ok(())
    } else {
        Err(format!(
            "Not a valid UUID: it has {} bytes instead of {STATUS_UUID_BYTES}",
            uuid.len()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos::proto;

    #[test]
    fn calls() {
        let check = |kind: Option<call::Type>, change: fn(&mut Call), ok: bool| {
            let mut call = Call {
                framework_id: Some(proto::FrameworkId {
                    value: "f".to_owned(),
                }),
                r#type: kind.map(|kind| kind as i32),
                ..Default::default()
            };
            change(&mut call);
            assert_eq!(validate(&call).is_ok(), ok, "{call:?}");
        };
        use call::Type;
        check(None, |_| {}, false);
        check(Some(Type::Unknown), |_| {}, false);
        check(Some(Type::Teardown), |_| {}, true);
        check(Some(Type::Teardown), |call| call.framework_id = None, false);
        check(Some(Type::Revive), |_| {}, true);
        check(Some(Type::Accept), |_| {}, false);
        check(
            Some(Type::Accept),
            |call| call.accept = Some(call::Accept::default()),
            true,
        );
        check(Some(Type::Subscribe), |_| {}, false);
        check(
            Some(Type::Subscribe),
            |call| call.subscribe = Some(call::Subscribe::default()),
            false,
        );
        check(
            Some(Type::Subscribe),
            |call| {
                call.subscribe = Some(call::Subscribe::default());
                call.framework_id = None;
            },
            true,
        );
        check(
            Some(Type::Acknowledge),
            |call| call.acknowledge = Some(call::Acknowledge::default()),
            false,
        );
    }
}
