//! Decoding as proto2 does it.

use crate::descriptor::{Described, MessageDescriptor};
use crate::repair::repair;
use crate::wire::{DEPTH_MAX, Findings, missing, scan};

/// Why bytes are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no protobuf encoding, or nested too deeply.
    #[error("Failed to parse {message}: malformed or nested too deeply")]
    Malformed {
        /// Full name of the message type.
        message: &'static str,
    },
    /// The bytes do not fit the type.
    #[error("Failed to parse {message}: {source}")]
    Mismatch {
        /// Full name of the message type.
        message: &'static str,
        /// What prost says.
        source: prost::DecodeError,
    },
    /// Required fields are not there.
    #[error("Failed to parse {message}: missing required fields: {}", .fields.join(", "))]
    Missing {
        /// Full name of the message type.
        message: &'static str,
        /// Paths of the fields: `tasks[1].agent_id.value`.
        fields: Vec<String>,
    },
}

/// Checks that an encoded message and all messages in it have their required fields, as proto2's
/// `IsInitialized` does. Allocates nothing unless a field is missing or the encoding is unusual.
///
/// # Errors
/// Names the fields that are missing, or says that the bytes are malformed.
pub fn check_initialized(
    message: &'static MessageDescriptor,
    bytes: &[u8],
) -> Result<(), DecodeError> {
    prepare(message, bytes).map(drop)
}

/// The bytes that prost can decode in place of the given ones, if those are not good enough.
fn prepare(
    message: &'static MessageDescriptor,
    bytes: &[u8],
) -> Result<Option<Vec<u8>>, DecodeError> {
    let malformed = |_| DecodeError::Malformed {
        message: message.name,
    };
    let mut findings = Findings::default();
    scan(message, bytes, DEPTH_MAX, &mut findings).map_err(malformed)?;
    let repaired = if findings.unusual {
        let mut repaired = Vec::with_capacity(bytes.len());
        repair(message, bytes, &mut repaired).map_err(malformed)?;
        findings = Findings::default();
        scan(message, &repaired, DEPTH_MAX, &mut findings).map_err(malformed)?;
        Some(repaired)
    } else {
        None
    };
    if findings.missing {
        let bytes = repaired.as_deref().unwrap_or(bytes);
        let mut fields = Vec::new();
        missing(message, bytes, "", &mut fields).map_err(malformed)?;
        return Err(DecodeError::Missing {
            message: message.name,
            fields,
        });
    }
    Ok(repaired)
}

/// Decodes a message like a proto2 parser: required fields must be there, enum numbers that this version does
/// not know leave their field unset, and strings that are not UTF-8 are accepted (with replacement characters).
///
/// # Errors
/// If the bytes are no encoding of such a message or lack required fields.
pub fn decode<M: Described>(bytes: &[u8]) -> Result<M, DecodeError> {
    let message = M::DESCRIPTOR;
    let mismatch = |source| DecodeError::Mismatch {
        message: message.name,
        source,
    };
    if let Some(repaired) = prepare(message, bytes)? {
        return M::decode(repaired.as_slice()).map_err(mismatch);
    }
    M::decode(bytes).or_else(|error| {
        let mut repaired = Vec::with_capacity(bytes.len());
        repair(message, bytes, &mut repaired).map_err(|_| mismatch(error))?;
        M::decode(repaired.as_slice()).map_err(mismatch)
    })
}
