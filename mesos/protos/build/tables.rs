//! Writes the static tables of `src/descriptor.rs`.

use std::collections::HashSet;
use std::error::Error;
use std::fmt::Write;

use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FieldDescriptorProto};

use crate::names::{Enum, Message, is_repeated, is_required, map_entry, table, type_name};

/// Most fields of a message: one bit each in the set of fields that were seen.
const FIELDS_MAX: usize = 64;

/// Largest number of a field: numbers index a table.
const NUMBER_MAX: i32 = 254;

pub(crate) fn generate(
    messages: &[Message<'_>],
    enums: &[Enum<'_>],
) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    for item in enums {
        let mut seen = HashSet::new();
        let mut values: Vec<(i32, &str)> = item
            .descriptor
            .value
            .iter()
            .map(|value| (value.number(), value.name()))
            .collect();
        let mut names = values.clone();
        names.sort_by_key(|(_, name)| *name);
        // Of several names for one number, the one declared first is printed.
        values.retain(|(number, _)| seen.insert(*number));
        values.sort_unstable();
        writeln!(
            out,
            "pub static {}: EnumDescriptor = EnumDescriptor {{ name: {:?}, by_number: &{values:?}, by_name: &{names:?} }};",
            table(&item.name),
            item.name,
        )?;
    }
    for message in messages {
        write_message(&mut out, message)?;
    }
    let names = messages.iter().map(|message| message.name.as_str());
    write_list(&mut out, "MESSAGES: &[&MessageDescriptor]", names)?;
    let names = enums.iter().map(|item| item.name.as_str());
    write_list(&mut out, "ENUMS: &[&EnumDescriptor]", names)?;
    for message in messages {
        if let Some(rust) = &message.rust {
            writeln!(
                out,
                "impl Described for {rust} {{ const DESCRIPTOR: &'static MessageDescriptor = &{}; }}",
                table(&message.name)
            )?;
        }
    }
    Ok(out)
}

/// Writes a list of tables, sorted by full name.
fn write_list<'a>(
    out: &mut String,
    declaration: &str,
    names: impl Iterator<Item = &'a str>,
) -> std::fmt::Result {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    writeln!(out, "pub static {declaration} = &[")?;
    for name in names {
        writeln!(out, "    &{},", table(name))?;
    }
    writeln!(out, "];")
}

fn write_message(out: &mut String, message: &Message<'_>) -> Result<(), Box<dyn Error>> {
    let fields = &message.descriptor.field;
    let max = fields.iter().map(FieldDescriptorProto::number).max();
    if fields.len() > FIELDS_MAX || max.unwrap_or(0) > NUMBER_MAX {
        return Err(format!("{} has too many or too large fields", message.name).into());
    }
    let mut by_number = vec![0usize; usize::try_from(max.unwrap_or(0))? + 1];
    let mut required = 0u64;
    for (index, field) in fields.iter().enumerate() {
        by_number[usize::try_from(field.number())?] = index + 1;
        if is_required(field) {
            required |= 1 << index;
        }
    }
    writeln!(
        out,
        "pub static {}: MessageDescriptor = MessageDescriptor {{ name: {:?}, required: {required:#x}, by_number: &{by_number:?}, fields: &[",
        table(&message.name),
        message.name,
    )?;
    for field in fields {
        let label = label(message.descriptor, field);
        writeln!(
            out,
            "    FieldDescriptor {{ name: {:?}, number: {}, label: Label::{label}, kind: Kind::{} }},",
            field.name(),
            field.number(),
            kind(field)?,
        )?;
    }
    writeln!(out, "] }};")?;
    Ok(())
}

fn label(message: &DescriptorProto, field: &FieldDescriptorProto) -> &'static str {
    if map_entry(message, field).is_some() {
        "Map"
    } else if is_repeated(field) {
        "Repeated"
    } else if is_required(field) {
        "Required"
    } else {
        "Optional"
    }
}

fn kind(field: &FieldDescriptorProto) -> Result<String, Box<dyn Error>> {
    Ok(match field.r#type() {
        Type::Double => "Double".into(),
        Type::Float => "Float".into(),
        Type::Int32 => "Int32".into(),
        Type::Int64 => "Int64".into(),
        Type::Uint32 => "Uint32".into(),
        Type::Uint64 => "Uint64".into(),
        Type::Bool => "Bool".into(),
        Type::String => "String".into(),
        Type::Bytes => "Bytes".into(),
        Type::Enum => format!("Enum(&{})", table(type_name(field))),
        Type::Message => format!("Message(&{})", table(type_name(field))),
        other => return Err(format!("no field of Mesos is a {other:?}").into()),
    })
}
