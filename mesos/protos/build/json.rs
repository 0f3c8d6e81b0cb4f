//! Writes, for each message, the code that prints it as JSON.

use std::error::Error;
use std::fmt::Write;

use prost_types::FieldDescriptorProto;
use prost_types::field_descriptor_proto::Type;

use crate::names::{
    Message, identifier, is_repeated, is_required, map_entry, table, type_identifier, type_name,
};

/// Lists that are printed even when they are empty: upstream writes these answers of its read-only calls by
/// hand, not by its general rule.
const PRINTED_WHEN_EMPTY: [(&str, &[&str]); 7] = [
    ("GetAgents", &["agents", "recovered_agents"]),
    ("GetFrameworks", &["frameworks", "completed_frameworks"]),
    ("master.Response.GetExecutors", &["executors"]),
    (
        "agent.Response.GetExecutors",
        &["executors", "completed_executors"],
    ),
    (
        "master.Response.GetTasks",
        &["tasks", "unreachable_tasks", "completed_tasks"],
    ),
    (
        "agent.Response.GetTasks",
        &[
            "pending_tasks",
            "queued_tasks",
            "launched_tasks",
            "terminated_tasks",
            "completed_tasks",
        ],
    ),
    ("master.Response.GetMetrics", &["metrics"]),
];

fn printed_when_empty(message: &str, field: &str) -> bool {
    message.contains(".Response.")
        && PRINTED_WHEN_EMPTY
            .iter()
            .any(|(suffix, fields)| message.ends_with(suffix) && fields.contains(&field))
}

pub(crate) fn generate(messages: &[Message<'_>]) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    for message in messages {
        let Some(rust) = &message.rust else {
            continue;
        };
        writeln!(out, "impl ProtoJson for {rust} {{")?;
        writeln!(out, "    fn write_json(&self, out: &mut JsonWriter) {{")?;
        writeln!(out, "        let mut o = out.object();")?;
        for field in &message.descriptor.field {
            match field.oneof_index {
                Some(index) if !field.proto3_optional() => {
                    write_oneof_field(&mut out, message, usize::try_from(index)?, field)?;
                }
                _ => write_field(&mut out, message, field)?,
            }
        }
        writeln!(out, "        o.end();\n    }}\n}}")?;
    }
    Ok(out)
}

fn write_field(
    out: &mut String,
    message: &Message<'_>,
    field: &FieldDescriptorProto,
) -> Result<(), Box<dyn Error>> {
    let name = field.name();
    let access = format!("self.{}", identifier(name));
    let is_enum = field.r#type() == Type::Enum;
    let enumeration = table(type_name(field));
    let call = if map_entry(message.descriptor, field).is_some() {
        format!("map({name:?}, &{access})")
    } else if is_repeated(field) && is_enum {
        format!("enums({name:?}, &{enumeration}, &{access})")
    } else if printed_when_empty(&message.name, name) {
        format!("field({name:?}, {access}.as_slice())")
    } else if is_repeated(field) {
        format!("list({name:?}, &{access})")
    } else if is_required(field) && is_enum {
        format!("enumeration({name:?}, &{enumeration}, {access})")
    } else if is_required(field) {
        format!("field({name:?}, &{access})")
    } else if message.implicit_presence && field.r#type() != Type::Message {
        format!("unless_zero({name:?}, &{access})")
    } else if let Some(default) = printed_default(field) {
        match field.r#type() {
            Type::Enum => format!(
                "enumeration({name:?}, &{enumeration}, {access}.unwrap_or({enumeration}.number({default:?}).unwrap_or(0)))"
            ),
            Type::String => format!("field({name:?}, {access}.as_deref().unwrap_or({default:?}))"),
            Type::Double if !default.contains('.') => {
                format!("field({name:?}, &{access}.unwrap_or({default}.0))")
            }
            _ => format!("field({name:?}, &{access}.unwrap_or({default}))"),
        }
    } else if is_enum {
        format!("opt_enumeration({name:?}, &{enumeration}, {access})")
    } else {
        format!("opt({name:?}, &{access})")
    };
    writeln!(out, "        o.{call};")?;
    Ok(())
}

fn write_oneof_field(
    out: &mut String,
    message: &Message<'_>,
    oneof: usize,
    field: &FieldDescriptorProto,
) -> Result<(), Box<dyn Error>> {
    let oneof = message.descriptor.oneof_decl[oneof].name();
    let variant = format!(
        "{}::{}::{}",
        message.module,
        type_identifier(oneof),
        type_identifier(field.name())
    );
    let name = field.name();
    let call = if field.r#type() == Type::Enum {
        format!("enumeration({name:?}, &{}, *v)", table(type_name(field)))
    } else {
        format!("field({name:?}, v)")
    };
    writeln!(
        out,
        "        if let Some({variant}(v)) = &self.{} {{ o.{call}; }}",
        identifier(oneof)
    )?;
    Ok(())
}

/// The default that is printed for an unset field: an explicit one, unless the field is deprecated.
fn printed_default(field: &FieldDescriptorProto) -> Option<&str> {
    let deprecated = field.options.as_ref().is_some_and(|o| o.deprecated());
    field.default_value.as_deref().filter(|_| !deprecated)
}
