//! Tables of the fields of all messages.

pub use tables::{ENUMS, MESSAGES};

/// A message type that has a table.
pub trait Described: prost::Message + prost::Name + Default {
    /// The table.
    const DESCRIPTOR: &'static MessageDescriptor;
}

/// What there is to know about a message type.
#[derive(Debug)]
pub struct MessageDescriptor {
    /// Full name: `mesos.v1.scheduler.Call.Subscribe`.
    pub name: &'static str,
    /// The fields, in order of declaration.
    pub fields: &'static [FieldDescriptor],
    /// The set of indices in `fields` of required fields.
    pub(crate) required: u64,
    /// For each number of a field, its index in `fields` plus one; 0 where there is none.
    pub(crate) by_number: &'static [u8],
}

impl MessageDescriptor {
    /// The message type of this full name.
    pub fn find(name: &str) -> Option<&'static MessageDescriptor> {
        let index = MESSAGES.binary_search_by_key(&name, |message| message.name);
        MESSAGES.get(index.ok()?).copied()
    }

    /// The index and the field of this number.
    pub(crate) fn by_number(&self, number: u32) -> Option<(usize, &'static FieldDescriptor)> {
        let slot = *self.by_number.get(usize::try_from(number).ok()?)?;
        let index = usize::from(slot).checked_sub(1)?;
        Some((index, self.fields.get(index)?))
    }

    /// The index and the field of this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<(usize, &'static FieldDescriptor)> {
        let mut fields = self.fields.iter().enumerate();
        fields.find(|(_, field)| field.name == name)
    }
}

/// What there is to know about a field.
#[derive(Debug)]
pub struct FieldDescriptor {
    /// Name in the `.proto` file and in JSON.
    pub name: &'static str,
    /// Number on the wire.
    pub number: u32,
    /// How often the field may and must occur.
    pub label: Label,
    /// The type.
    pub kind: Kind,
}

/// How often a field may and must occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// At most once.
    Optional,
    /// Once.
    Required,
    /// Any number of times.
    Repeated,
    /// Any number of times; each is a message of a key (field 1) and a value (field 2).
    Map,
}

/// The type of a field.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "named as in .proto files")]
pub enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Bool,
    String,
    Bytes,
    Enum(&'static EnumDescriptor),
    Message(&'static MessageDescriptor),
}

/// What there is to know about an enum.
#[derive(Debug)]
pub struct EnumDescriptor {
    /// Full name: `mesos.TaskState`.
    pub name: &'static str,
    pub(crate) by_number: &'static [(i32, &'static str)],
    pub(crate) by_name: &'static [(i32, &'static str)],
}

impl EnumDescriptor {
    /// The enum of this full name.
    pub fn find(name: &str) -> Option<&'static EnumDescriptor> {
        let index = ENUMS.binary_search_by_key(&name, |item| item.name);
        ENUMS.get(index.ok()?).copied()
    }

    /// The name of the value with this number.
    pub fn name(&self, number: i32) -> Option<&'static str> {
        // Most enums count from 0.
        let guess = usize::try_from(number).ok();
        let guess = guess.and_then(|index| self.by_number.get(index));
        if let Some((_, name)) = guess.filter(|(found, _)| *found == number) {
            return Some(name);
        }
        let index = self
            .by_number
            .binary_search_by_key(&number, |value| value.0);
        self.by_number.get(index.ok()?).map(|(_, name)| *name)
    }

    /// The number of the value with this name.
    pub fn number(&self, name: &str) -> Option<i32> {
        let index = self.by_name.binary_search_by_key(&name, |value| value.1);
        self.by_name.get(index.ok()?).map(|(number, _)| *number)
    }
}

/// The tables, as the build script writes them; the code that prints messages refers to those of enums.
#[allow(missing_docs, non_upper_case_globals, unreachable_pub, clippy::all)]
pub(crate) mod tables {
    use super::{Described, EnumDescriptor, FieldDescriptor, Kind, Label, MessageDescriptor};

    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}
