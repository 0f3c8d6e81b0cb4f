//! Messages as JSON by the rules of Mesos.
//!
//! These differ from protobuf's own JSON: names of fields stay as in the `.proto` file, all integers are
//! numbers, and fields that are unset but have an explicit default are printed unless they are deprecated.
//! Upstream: `stout/protobuf.hpp`, `stout/json.hpp`, `stout/jsonify.hpp`.
//!
//! Better than upstream: NaN is printed as the string `"NaN"` (and read back), where upstream prints a bare
//! `NaN`, which no JSON parser takes, and unsigned integers beyond 2⁶³ are kept exactly.

mod lexer;
mod number;
mod reader;
mod writer;

pub use number::write_f64;
pub use reader::JsonError;
pub use writer::{JsonObject, JsonWriter, write_str};

use crate::descriptor::Described;

/// A value that prints as JSON: every message, and the scalars that fields have.
pub trait ProtoJson {
    /// Appends the value.
    fn write_json(&self, out: &mut JsonWriter);
}

/// The message as JSON text without white space, fields in order of declaration.
pub fn to_string<M: ProtoJson + ?Sized>(message: &M) -> String {
    let mut out = JsonWriter::default();
    message.write_json(&mut out);
    out.into_string()
}

/// Reads a message from JSON text.
///
/// # Errors
/// If the text is not JSON, or does not fit the message type, or lacks required fields.
pub fn from_str<M: Described>(text: &str) -> Result<M, JsonError> {
    let encoded = reader::to_wire(M::DESCRIPTOR, text)?;
    M::decode(encoded.as_slice()).map_err(JsonError::Decode)
}

/// Reads a message from JSON text in UTF-8.
///
/// # Errors
/// As [`from_str`], and if the bytes are not UTF-8.
pub fn from_slice<M: Described>(bytes: &[u8]) -> Result<M, JsonError> {
    from_str(std::str::from_utf8(bytes)?)
}

#[allow(unused_mut, clippy::all)]
mod generated {
    use super::{JsonWriter, ProtoJson};
    use crate::descriptor::tables::*;

    include!(concat!(env!("OUT_DIR"), "/json.rs"));
}
