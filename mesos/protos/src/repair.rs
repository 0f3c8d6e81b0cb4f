//! Turning what proto2 accepts and prost does not into what prost accepts.

use crate::descriptor::{FieldDescriptor, Kind, Label, MessageDescriptor};
use crate::wire::{Field, Fields, Malformed, Value, fits, put_varint, varint};

/// Encodes the message anew as a proto2 parser would have understood it: without unknown fields, fields of
/// another wire type and unknown enum numbers, with the pieces of singular messages put together. Strings that
/// are not UTF-8, which C++ lets pass, get replacement characters.
///
/// The nesting of the message must have been checked by [`crate::wire::scan`].
pub(crate) fn repair(
    message: &MessageDescriptor,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut fields = Fields::new(bytes);
    let mut merged = 0u64;
    while let Some(found) = fields.next()? {
        let Some((index, field)) = message.by_number(found.number) else {
            continue;
        };
        if !fits(field, found.value) {
            continue;
        }
        match (field.kind, found.value) {
            (Kind::Message(inner), Value::Length(piece)) => {
                if matches!(field.label, Label::Repeated | Label::Map) {
                    put_message(inner, field, piece, out)?;
                } else if merged & (1 << index) == 0 {
                    merged |= 1 << index;
                    put_message(inner, field, &pieces(bytes, field)?, out)?;
                }
            }
            _ => put_scalar(field, found, out)?,
        }
    }
    Ok(())
}

/// All pieces of a singular message, one after the other: that is how protobuf merges.
fn pieces(bytes: &[u8], field: &FieldDescriptor) -> Result<Vec<u8>, Malformed> {
    let mut whole = Vec::new();
    let mut fields = Fields::new(bytes);
    while let Some(found) = fields.next()? {
        if let Value::Length(piece) = found.value
            && found.number == field.number
        {
            whole.extend_from_slice(piece);
        }
    }
    Ok(whole)
}

fn put_message(
    inner: &MessageDescriptor,
    field: &FieldDescriptor,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut content = Vec::with_capacity(bytes.len());
    repair(inner, bytes, &mut content)?;
    put_length(field, &content, out);
    Ok(())
}

fn put_length(field: &FieldDescriptor, content: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(field.number) << 3 | 2, out);
    put_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

fn put_scalar(
    field: &FieldDescriptor,
    found: Field<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    match (field.kind, found.value) {
        (Kind::Enum(values), Value::Varint(number)) if values.name(number as i32).is_none() => {}
        (Kind::Enum(values), Value::Length(mut packed)) => {
            while !packed.is_empty() {
                let number = varint(&mut packed)?;
                if values.name(number as i32).is_some() {
                    put_varint(u64::from(field.number) << 3, out);
                    put_varint(number, out);
                }
            }
        }
        (Kind::String, Value::Length(text)) => {
            put_length(field, String::from_utf8_lossy(text).as_bytes(), out);
        }
        _ => out.extend_from_slice(found.whole),
    }
    Ok(())
}
