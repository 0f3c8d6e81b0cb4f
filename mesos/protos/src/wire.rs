//! Reading encoded messages field by field, without types.

use crate::descriptor::{FieldDescriptor, Kind, Label, MessageDescriptor};

/// Deepest nesting of messages, as in prost and the C++ library.
pub(crate) const DEPTH_MAX: usize = 100;

/// Most missing fields that an error lists.
pub(crate) const MISSING_MAX: usize = 100;

/// The bytes are no protobuf encoding: cut off, a length beyond the end, an impossible tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The value of one field as it stands on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Varint(u64),
    /// Four or eight bytes.
    Fixed,
    Length(&'a [u8]),
    Group,
}

/// One field: its number, its value, and all of its bytes including the tag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
    pub(crate) whole: &'a [u8],
}

/// The fields of an encoded message, in order.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field, `None` at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = self.rest;
        let (number, wire_type) = self.tag()?;
        let value = self.value(number, wire_type, DEPTH_MAX)?;
        let length = start.len() - self.rest.len();
        let whole = start.get(..length).ok_or(Malformed)?;
        Ok(Some(Field {
            number,
            value,
            whole,
        }))
    }

    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let tag = u32::try_from(varint(&mut self.rest)?).map_err(|_| Malformed)?;
        let number = tag >> 3;
        if number == 0 {
            return Err(Malformed);
        }
        Ok((number, (tag & 7) as u8))
    }

    #[inline]
    fn value(&mut self, number: u32, wire_type: u8, depth: usize) -> Result<Value<'a>, Malformed> {
        match wire_type {
            0 => Ok(Value::Varint(varint(&mut self.rest)?)),
            1 => self.take(8).map(|_| Value::Fixed),
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| Malformed)?;
                self.take(length).map(Value::Length)
            }
            3 => self.group(number, depth),
            5 => self.take(4).map(|_| Value::Fixed),
            _ => Err(Malformed),
        }
    }

    /// Steps over a group, which no message of Mesos has.
    #[cold]
    fn group(&mut self, number: u32, depth: usize) -> Result<Value<'a>, Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed)?;
        loop {
            let (inner, wire_type) = self.tag()?;
            if wire_type != 4 {
                self.value(inner, wire_type, depth)?;
            } else if inner == number {
                return Ok(Value::Group);
            } else {
                return Err(Malformed);
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Reads a varint of at most ten bytes off the front.
#[inline]
pub(crate) fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    // Tags, most lengths and most enum numbers are one byte.
    match bytes.split_first() {
        Some((first, rest)) if *first < 0x80 => {
            *bytes = rest;
            Ok(u64::from(*first))
        }
        _ => long_varint(bytes),
    }
}

fn long_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *bytes = bytes.get(index + 1..).ok_or(Malformed)?;
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// Appends a varint.
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Whether a value can be one of the field: its wire type fits.
pub(crate) fn fits(field: &FieldDescriptor, value: Value<'_>) -> bool {
    let packable = field.label == Label::Repeated;
    match (field.kind, value) {
        (Kind::String | Kind::Bytes | Kind::Message(_), Value::Length(_)) => true,
        (Kind::String | Kind::Bytes | Kind::Message(_), _) => false,
        (_, Value::Length(_)) => packable,
        (Kind::Double | Kind::Float, Value::Fixed) => true,
        (Kind::Double | Kind::Float, _) => false,
        (_, Value::Varint(_)) => true,
        _ => false,
    }
}

/// What a look through an encoded message found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// A required field is not there.
    pub(crate) missing: bool,
    /// There is something that prost would refuse or keep, but proto2 drops or merges: an unknown enum number,
    /// a known field with another wire type, a message in several pieces.
    pub(crate) unusual: bool,
}

/// Looks through an encoded message. Allocates nothing.
pub(crate) fn scan(
    message: &MessageDescriptor,
    bytes: &[u8],
    depth: usize,
    findings: &mut Findings,
) -> Result<(), Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed)?;
    let mut seen = 0u64;
    let mut fields = Fields::new(bytes);
    while let Some(found) = fields.next()? {
        let Some((index, field)) = message.by_number(found.number) else {
            continue;
        };
        if !fits(field, found.value) {
            findings.unusual = true;
            continue;
        }
        let bit = 1 << index;
        match (field.kind, found.value) {
            (Kind::Message(inner), Value::Length(bytes)) => {
                let singular = matches!(field.label, Label::Optional | Label::Required);
                findings.unusual |= singular && seen & bit != 0;
                scan(inner, bytes, depth, findings)?;
            }
            (Kind::Enum(values), Value::Varint(number)) if values.name(number as i32).is_none() => {
                findings.unusual = true;
                continue;
            }
            (Kind::Enum(values), Value::Length(mut packed)) => {
                while !packed.is_empty() {
                    let number = varint(&mut packed)? as i32;
                    findings.unusual |= values.name(number).is_none();
                }
            }
            _ => {}
        }
        seen |= bit;
    }
    findings.missing |= message.required & !seen != 0;
    Ok(())
}

/// Adds the paths of required fields that are not there: `task_info.agent_id.value`.
pub(crate) fn missing(
    message: &MessageDescriptor,
    bytes: &[u8],
    path: &str,
    out: &mut Vec<String>,
) -> Result<(), Malformed> {
    let mut seen = 0u64;
    let mut nested = Vec::new();
    let mut counts = [0usize; u64::BITS as usize];
    let mut fields = Fields::new(bytes);
    while let Some(found) = fields.next()? {
        let Some((index, field)) = message.by_number(found.number) else {
            continue;
        };
        if !fits(field, found.value) {
            continue;
        }
        seen |= 1 << index;
        if let (Kind::Message(inner), Value::Length(bytes)) = (field.kind, found.value) {
            let place = match (field.label, counts.get_mut(index)) {
                (Label::Repeated | Label::Map, Some(count)) => {
                    *count += 1;
                    format!("{path}{}[{}].", field.name, *count - 1)
                }
                _ => format!("{path}{}.", field.name),
            };
            nested.push((inner, bytes, place));
        }
    }
    for (index, field) in message.fields.iter().enumerate() {
        if message.required & !seen & (1 << index) != 0 && out.len() < MISSING_MAX {
            out.push(format!("{path}{}", field.name));
        }
    }
    for (inner, bytes, place) in nested {
        if out.len() >= MISSING_MAX {
            break;
        }
        missing(inner, bytes, &place, out)?;
    }
    Ok(())
}
