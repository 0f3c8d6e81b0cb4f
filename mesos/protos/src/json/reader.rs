//! Reading: JSON text to the wire encoding of a message, guided by its table.
//!
//! From there the code of prost takes over, so that no code has to be generated for reading.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::lexer::{DEPTH_MAX, Lexer, Number};
use crate::descriptor::{FieldDescriptor, Kind, Label, MessageDescriptor};
use crate::wire::{Fields, MISSING_MAX, put_varint};

/// Base64 as upstream reads it: with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a JSON text is not the message it should be. Texts are upstream's where upstream has one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not UTF-8.
    #[error("not UTF-8: {0}")]
    NotUtf8(#[from] std::str::Utf8Error),
    /// The text is not JSON.
    #[error("syntax error at line {line} near: {near}")]
    Syntax {
        /// Where, counted from 1.
        line: usize,
        /// What stands there, up to the end of the line.
        near: String,
    },
    /// Objects and arrays are nested more than 200 deep.
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// The text is JSON, but not an object.
    #[error("Unexpected JSON type parsed")]
    NotAnObject,
    /// A field has a value of the wrong JSON type.
    #[error("Not expecting a JSON {json} for field '{field}'")]
    Type {
        /// The type: `string`, `object`, ...
        json: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A string holds neither the number nor the boolean that the field wants.
    #[error("Failed to parse '{value}' as a JSON {wanted} for field '{field}'")]
    Quoted {
        /// The string.
        value: String,
        /// `number` or `boolean`.
        wanted: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A string for a field of bytes is not base64.
    #[error("Failed to base64 decode bytes field '{field}': {source}")]
    Base64 {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: base64::DecodeError,
    },
    /// A required enum field has an unknown name.
    #[error("Failed to find enum for '{value}' of field '{field}'")]
    Enum {
        /// The name.
        value: String,
        /// The field.
        field: &'static str,
    },
    /// Required fields are not there.
    #[error("Missing required fields: {}", .fields.join(", "))]
    Missing {
        /// Paths of the fields: `tasks[1].agent_id.value`.
        fields: Vec<String>,
    },
    /// The message was refused after it was read: nested too deeply for protobuf.
    #[error("{0}")]
    Decode(prost::DecodeError),
}

impl JsonError {
    /// Whether the text is not even JSON, as opposed to JSON that does not fit the message.
    pub fn is_syntax(&self) -> bool {
        matches!(
            self,
            JsonError::NotUtf8(_) | JsonError::Syntax { .. } | JsonError::TooDeep
        )
    }
}

/// The wire encoding of the message that a JSON text describes.
pub(super) fn to_wire(
    message: &'static MessageDescriptor,
    text: &str,
) -> Result<Vec<u8>, JsonError> {
    let mut reader = Reader {
        lexer: Lexer::new(text),
        path: String::new(),
        missing: Vec::new(),
    };
    let mut out = Vec::with_capacity(text.len() / 2);
    if reader.lexer.peek() != Some(b'{') {
        reader.lexer.skip(DEPTH_MAX)?;
        reader.lexer.expect_end()?;
        return Err(JsonError::NotAnObject);
    }
    reader.message(message, DEPTH_MAX, &mut out)?;
    reader.lexer.expect_end()?;
    if !reader.missing.is_empty() {
        return Err(JsonError::Missing {
            fields: reader.missing,
        });
    }
    Ok(out)
}

struct Reader<'t> {
    lexer: Lexer<'t>,
    /// Where we are: `tasks[1].agent_id.`
    path: String,
    missing: Vec<String>,
}

impl Reader<'_> {
    /// Reads an object as a message.
    fn message(
        &mut self,
        message: &'static MessageDescriptor,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
        let start = out.len();
        let mut seen = 0u64;
        let mut superseded = Vec::new();
        self.lexer.expect(b'{')?;
        let mut more = !self.lexer.accept(b'}');
        while more {
            let key = self.lexer.string()?;
            let found = message.by_name(&key);
            self.lexer.expect(b':')?;
            match found {
                Some((index, field)) => {
                    let bit = 1 << index;
                    let before = out.len();
                    if seen & bit != 0 {
                        superseded.retain(|(number, _)| *number != field.number);
                        superseded.push((field.number, before));
                    }
                    self.member(field, depth, out)?;
                    seen = if out.len() > before {
                        seen | bit
                    } else {
                        seen & !bit
                    };
                }
                None => self.lexer.skip(depth)?,
            }
            more = self.lexer.more(b'}')?;
        }
        if !superseded.is_empty() {
            remove(&superseded, start, out);
        }
        for (index, field) in message.fields.iter().enumerate() {
            let missing = message.required & !seen & (1 << index) != 0;
            if missing && self.missing.len() < MISSING_MAX {
                self.missing.push(format!("{}{}", self.path, field.name));
            }
        }
        Ok(())
    }

    /// Reads the value of a field and adds the field, if the value is not null.
    fn member(
        &mut self,
        field: &'static FieldDescriptor,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let length = self.path.len();
        let result = match self.lexer.peek() {
            Some(b'[') if field.label == Label::Repeated => {
                self.elements(field, depth, &mut 0, out)
            }
            Some(b'{') if field.label == Label::Map => self.entries(field, depth, out),
            _ => {
                if let Kind::Message(_) = field.kind {
                    self.path.push_str(field.name);
                    self.path.push('.');
                }
                self.value(field, depth, out)
            }
        };
        self.path.truncate(length);
        result
    }

    /// Reads an array. Arrays in it are flattened, as upstream does.
    fn elements(
        &mut self,
        field: &'static FieldDescriptor,
        depth: usize,
        index: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
        self.lexer.expect(b'[')?;
        let mut more = !self.lexer.accept(b']');
        while more {
            if self.lexer.peek() == Some(b'[') {
                self.elements(field, depth, index, out)?;
            } else {
                let length = self.path.len();
                if let Kind::Message(_) = field.kind {
                    self.path.push_str(&format!("{}[{index}].", field.name));
                }
                self.value(field, depth, out)?;
                self.path.truncate(length);
                *index += 1;
            }
            more = self.lexer.more(b']')?;
        }
        Ok(())
    }

    /// Reads an object as a map.
    fn entries(
        &mut self,
        field: &'static FieldDescriptor,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
        let Kind::Message(entry) = field.kind else {
            return Err(unexpected("object", field));
        };
        let (Some((_, key)), Some((_, value))) = (entry.by_number(1), entry.by_number(2)) else {
            return Err(unexpected("object", field));
        };
        let length = self.path.len();
        self.lexer.expect(b'{')?;
        let mut more = !self.lexer.accept(b'}');
        while more {
            let name = self.lexer.string()?;
            self.lexer.expect(b':')?;
            self.path.push_str(&format!("{}[{name}].", field.name));
            let mut content = Vec::new();
            put_text(key, &name, &mut content)?;
            let before = content.len();
            self.value(value, depth, &mut content)?;
            self.path.truncate(length);
            // A null value leaves the entry out; of entries with one key, decoding keeps the last.
            if content.len() > before {
                put_bytes(field, &content, out);
            }
            more = self.lexer.more(b'}')?;
        }
        Ok(())
    }

    /// Reads one value, neither an array nor a map.
    fn value(
        &mut self,
        field: &'static FieldDescriptor,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        match self.lexer.peek() {
            Some(b'{') => match field.kind {
                Kind::Message(inner) if field.label != Label::Map => {
                    put_tag(field, 2, out);
                    let start = out.len();
                    out.push(0);
                    self.message(inner, depth, out)?;
                    put_length_at(start, out);
                    Ok(())
                }
                _ => Err(unexpected("object", field)),
            },
            Some(b'[') => {
                self.lexer.skip(depth)?;
                Err(unexpected("array", field))
            }
            Some(b'"') => {
                let text = self.lexer.string()?;
                put_text(field, &text, out)
            }
            Some(b't' | b'f') => {
                let boolean = self.lexer.boolean()?;
                put_bool(field, boolean, out)
            }
            Some(b'n') => self.lexer.literal("null"),
            _ => {
                let number = self.lexer.number()?;
                put_number(field, number, out)
            }
        }
    }
}

fn unexpected(json: &'static str, field: &'static FieldDescriptor) -> JsonError {
    let field = field.name;
    JsonError::Type { json, field }
}

fn put_tag(field: &FieldDescriptor, wire_type: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(field.number) << 3 | wire_type, out);
}

fn put_bytes(field: &FieldDescriptor, bytes: &[u8], out: &mut Vec<u8>) {
    put_tag(field, 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Sets the length of what follows the byte at `start`, which was kept free for it.
fn put_length_at(start: usize, out: &mut Vec<u8>) {
    let mut length = Vec::with_capacity(1);
    put_varint((out.len() - start - 1) as u64, &mut length);
    out.splice(start..start + 1, length);
}

fn put_bool(
    field: &'static FieldDescriptor,
    value: bool,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let Kind::Bool = field.kind else {
        return Err(unexpected("boolean", field));
    };
    put_tag(field, 0, out);
    out.push(u8::from(value));
    Ok(())
}

/// Numbers convert like casts in C++: fractions are cut off, integers wrap around. Doubles beyond the range
/// of an integer, undefined in C++, become its nearest end.
fn put_number(
    field: &'static FieldDescriptor,
    number: Number,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let float = match number {
        Number::Int(value) => value as f64,
        Number::Uint(value) => value as f64,
        Number::Float(value) => value,
    };
    let varint = match (field.kind, number) {
        (Kind::Double, _) => {
            put_tag(field, 1, out);
            out.extend_from_slice(&float.to_le_bytes());
            return Ok(());
        }
        (Kind::Float, _) => {
            put_tag(field, 5, out);
            out.extend_from_slice(&(float as f32).to_le_bytes());
            return Ok(());
        }
        (Kind::Int64 | Kind::Uint64, Number::Int(value)) => value as u64,
        (Kind::Int64, Number::Uint(_)) => i64::MAX as u64,
        (Kind::Uint64, Number::Uint(value)) => value,
        (Kind::Int64, Number::Float(value)) => value as i64 as u64,
        (Kind::Uint64, Number::Float(value)) => value as u64,
        (Kind::Int32, Number::Int(value)) => value as i32 as u64,
        (Kind::Int32, _) => float as i32 as u64,
        (Kind::Uint32, Number::Int(value)) => u64::from(value as u32),
        (Kind::Uint32, _) => u64::from(float as u32),
        _ => return Err(unexpected("number", field)),
    };
    put_tag(field, 0, out);
    put_varint(varint, out);
    Ok(())
}

fn put_text(
    field: &'static FieldDescriptor,
    text: &str,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let quoted = |wanted| JsonError::Quoted {
        value: text.to_owned(),
        wanted,
        field: field.name,
    };
    match field.kind {
        Kind::String => put_bytes(field, text.as_bytes(), out),
        Kind::Bytes => put_bytes(field, &base64(field.name, text)?, out),
        Kind::Enum(values) => match values.number(text) {
            Some(number) => {
                put_tag(field, 0, out);
                put_varint(number as u64, out);
            }
            None if field.label == Label::Required => {
                return Err(JsonError::Enum {
                    value: text.to_owned(),
                    field: field.name,
                });
            }
            // A name of a later version leaves the field unset.
            None => {}
        },
        Kind::Bool => {
            let mut lexer = Lexer::new(text);
            let value = lexer.boolean().and_then(|b| lexer.expect_end().map(|()| b));
            return put_bool(field, value.map_err(|_| quoted("boolean"))?, out);
        }
        Kind::Double | Kind::Float if matches!(text, "Infinity" | "-Infinity" | "NaN") => {
            let value = match text {
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                _ => f64::NAN,
            };
            return put_number(field, Number::Float(value), out);
        }
        Kind::Message(_) => return Err(unexpected("string", field)),
        _ => {
            let mut lexer = Lexer::new(text);
            let value = lexer.number().and_then(|n| lexer.expect_end().map(|()| n));
            return put_number(field, value.map_err(|_| quoted("number"))?, out);
        }
    }
    Ok(())
}

/// Bytes from base64: white space does not count, and all ends at the first `=`.
fn base64(field: &'static str, text: &str) -> Result<Vec<u8>, JsonError> {
    let digits: String = text
        .chars()
        .take_while(|c| *c != '=')
        .filter(|c| !c.is_ascii_whitespace())
        .collect();
    BASE64
        .decode(digits)
        .map_err(|source| JsonError::Base64 { field, source })
}

/// Takes superseded fields out of the message that begins at `start`: those with one of these numbers that
/// stand before the offset given with it. Of several members with one name, the last one counts.
fn remove(superseded: &[(u32, usize)], start: usize, out: &mut Vec<u8>) {
    let encoded = out.split_off(start);
    let mut offset = start;
    let mut fields = Fields::new(&encoded);
    while let Ok(Some(field)) = fields.next() {
        let mut numbers = superseded.iter();
        if !numbers.any(|(number, end)| *number == field.number && offset < *end) {
            out.extend_from_slice(field.whole);
        }
        offset += field.whole.len();
    }
}
