//! Between the internal dialect (v0) and the public one (v1).
//!
//! Nearly all messages of `mesos.X` and `mesos.v1.X` are the same bytes under other names, so they convert by
//! encoding and decoding. The exceptions, which a test derives from the tables of fields, have functions of
//! their own here: the scheduler's SUBSCRIBE and the operator's DRAIN_AGENT. Upstream:
//! `src/internal/{evolve,devolve}.cpp`.

mod events;

pub use events::{HEARTBEAT_INTERVAL_SECONDS, ToExecutorEvent, ToSchedulerEvent, operator_event};

use prost::Message;

use crate::proto;

/// Why a message has no counterpart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The two types are not the same bytes.
    #[error("Failed to convert {from} to {to}: {source}")]
    Types {
        /// Full name of the type of the message.
        from: String,
        /// Full name of the type it should become.
        to: String,
        /// What failed.
        source: prost::DecodeError,
    },
}

/// The public form of an internal message: `mesos.Offer` to `mesos.v1.Offer`.
///
/// # Errors
/// If the types do not belong together.
pub fn v0_to_v1<A, B>(message: &A) -> Result<B, ConvertError>
where
    A: Message + prost::Name,
    B: Message + prost::Name + Default,
{
    same_bytes(message)
}

/// The internal form of a public message: `mesos.v1.Offer` to `mesos.Offer`.
///
/// # Errors
/// If the types do not belong together.
pub fn v1_to_v0<A, B>(message: &A) -> Result<B, ConvertError>
where
    A: Message + prost::Name,
    B: Message + prost::Name + Default,
{
    same_bytes(message)
}

fn same_bytes<A, B>(message: &A) -> Result<B, ConvertError>
where
    A: Message + prost::Name,
    B: Message + prost::Name + Default,
{
    B::decode(message.encode_to_vec().as_slice()).map_err(|source| ConvertError::Types {
        from: A::full_name(),
        to: B::full_name(),
        source,
    })
}

/// The internal form of a list of public messages, or the other way round.
///
/// # Errors
/// If the types do not belong together.
pub fn list<A, B>(messages: &[A]) -> Result<Vec<B>, ConvertError>
where
    A: Message + prost::Name,
    B: Message + prost::Name + Default,
{
    messages.iter().map(same_bytes).collect()
}

/// The internal form of a call to the scheduler API. `force` of SUBSCRIBE, which the public form lacks, is unset.
///
/// # Errors
/// Never, as long as the types belong together.
pub fn scheduler_call_to_v0(
    call: &proto::v1::scheduler::Call,
) -> Result<proto::scheduler::Call, ConvertError> {
    let Some(subscribe) = &call.subscribe else {
        return same_bytes(call);
    };
    let subscribe = proto::scheduler::call::Subscribe {
        framework_info: same_bytes(&subscribe.framework_info)?,
        force: None,
        suppressed_roles: subscribe.suppressed_roles.clone(),
        offer_constraints: optional(&subscribe.offer_constraints)?,
    };
    let rest = proto::v1::scheduler::Call {
        subscribe: None,
        ..call.clone()
    };
    let mut call: proto::scheduler::Call = same_bytes(&rest)?;
    call.subscribe = Some(subscribe);
    Ok(call)
}

/// The public form of a call to the scheduler API. `force` of SUBSCRIBE gets lost.
///
/// # Errors
/// Never, as long as the types belong together.
pub fn scheduler_call_to_v1(
    call: &proto::scheduler::Call,
) -> Result<proto::v1::scheduler::Call, ConvertError> {
    let Some(subscribe) = &call.subscribe else {
        return same_bytes(call);
    };
    let subscribe = proto::v1::scheduler::call::Subscribe {
        framework_info: same_bytes(&subscribe.framework_info)?,
        suppressed_roles: subscribe.suppressed_roles.clone(),
        offer_constraints: optional(&subscribe.offer_constraints)?,
    };
    let rest = proto::scheduler::Call {
        subscribe: None,
        ..call.clone()
    };
    let mut call: proto::v1::scheduler::Call = same_bytes(&rest)?;
    call.subscribe = Some(subscribe);
    Ok(call)
}

/// The internal form of a call to the master's operator API. The grace period of DRAIN_AGENT, seconds and
/// nanoseconds in public, becomes nanoseconds.
///
/// # Errors
/// Never, as long as the types belong together.
pub fn master_call_to_v0(
    call: &proto::v1::master::Call,
) -> Result<proto::master::Call, ConvertError> {
    let Some(drain) = &call.drain_agent else {
        return same_bytes(call);
    };
    let max_grace_period = drain.max_grace_period.map(|period| proto::DurationInfo {
        nanoseconds: period
            .seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::from(period.nanos)),
    });
    let drain = proto::master::call::DrainAgent {
        slave_id: same_bytes(&drain.agent_id)?,
        max_grace_period,
        mark_gone: drain.mark_gone,
    };
    let rest = proto::v1::master::Call {
        drain_agent: None,
        ..call.clone()
    };
    let mut call: proto::master::Call = same_bytes(&rest)?;
    call.drain_agent = Some(drain);
    Ok(call)
}

fn optional<A, B>(message: &Option<A>) -> Result<Option<B>, ConvertError>
where
    A: Message + prost::Name,
    B: Message + prost::Name + Default,
{
    message.as_ref().map(same_bytes).transpose()
}

#[cfg(test)]
mod tests;
