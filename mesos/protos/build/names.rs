//! All messages and enums of the descriptor set, with the names that prost gives them in Rust.

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_types::field_descriptor_proto::Type;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

/// A message and where it stands.
pub(crate) struct Message<'a> {
    /// Full name: `mesos.v1.scheduler.Call.Subscribe`.
    pub(crate) name: String,
    pub(crate) descriptor: &'a DescriptorProto,
    /// Whether unset scalars cannot be told from zero (proto3).
    pub(crate) implicit_presence: bool,
    /// Rust path of the type; none for the entries of maps, for which prost has no type.
    pub(crate) rust: Option<String>,
    /// Rust path of the module of types nested in the message.
    pub(crate) module: String,
}

/// An enum and its full name.
pub(crate) struct Enum<'a> {
    pub(crate) name: String,
    pub(crate) descriptor: &'a EnumDescriptorProto,
}

pub(crate) fn messages(files: &[FileDescriptorProto]) -> Vec<Message<'_>> {
    let mut out = Vec::new();
    for file in files {
        let mut module = "crate".to_owned();
        for part in file.package().split('.') {
            module = format!("{module}::{}", identifier(part));
        }
        let implicit_presence = file.syntax() == "proto3";
        for message in &file.message_type {
            add(
                message,
                file.package(),
                &module,
                implicit_presence,
                &mut out,
            );
        }
    }
    out
}

fn add<'a>(
    message: &'a DescriptorProto,
    scope: &str,
    module: &str,
    implicit_presence: bool,
    out: &mut Vec<Message<'a>>,
) {
    let name = format!("{scope}.{}", message.name());
    let is_entry = message.options.as_ref().is_some_and(|o| o.map_entry());
    let nested = format!("{module}::{}", identifier(message.name()));
    for inner in &message.nested_type {
        add(inner, &name, &nested, implicit_presence, out);
    }
    out.push(Message {
        rust: (!is_entry).then(|| format!("{module}::{}", message.name().to_upper_camel_case())),
        name,
        descriptor: message,
        implicit_presence,
        module: nested,
    });
}

pub(crate) fn enums(files: &[FileDescriptorProto]) -> Vec<Enum<'_>> {
    fn nested<'a>(message: &'a DescriptorProto, scope: &str, out: &mut Vec<Enum<'a>>) {
        let scope = format!("{scope}.{}", message.name());
        direct(&message.enum_type, &scope, out);
        for inner in &message.nested_type {
            nested(inner, &scope, out);
        }
    }
    fn direct<'a>(enums: &'a [EnumDescriptorProto], scope: &str, out: &mut Vec<Enum<'a>>) {
        out.extend(enums.iter().map(|descriptor| Enum {
            name: format!("{scope}.{}", descriptor.name()),
            descriptor,
        }));
    }
    let mut out = Vec::new();
    for file in files {
        direct(&file.enum_type, file.package(), &mut out);
        for message in &file.message_type {
            nested(message, file.package(), &mut out);
        }
    }
    out
}

/// The name of the static table of a message or enum: dots become underscores, with the case kept apart from
/// the package by doubling.
pub(crate) fn table(full_name: &str) -> String {
    full_name.trim_start_matches('.').replace('.', "__")
}

/// The full name of the type of a message or enum field.
pub(crate) fn type_name(field: &FieldDescriptorProto) -> &str {
    field.type_name().trim_start_matches('.')
}

pub(crate) fn is_required(field: &FieldDescriptorProto) -> bool {
    field.label() == prost_types::field_descriptor_proto::Label::Required
}

pub(crate) fn is_repeated(field: &FieldDescriptorProto) -> bool {
    field.label() == prost_types::field_descriptor_proto::Label::Repeated
}

/// The entry type if the field is a map.
pub(crate) fn map_entry<'a>(
    message: &'a DescriptorProto,
    field: &FieldDescriptorProto,
) -> Option<&'a DescriptorProto> {
    if !is_repeated(field) || field.r#type() != Type::Message {
        return None;
    }
    let short = field.type_name().rsplit('.').next()?;
    message
        .nested_type
        .iter()
        .find(|inner| inner.name() == short)
        .filter(|inner| inner.options.as_ref().is_some_and(|o| o.map_entry()))
}

/// The Rust identifier of a field or module, as prost-build makes it.
pub(crate) fn identifier(name: &str) -> String {
    const KEYWORDS: [&str; 46] = [
        "as", "break", "const", "continue", "else", "enum", "false", "fn", "for", "if", "impl",
        "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "static",
        "struct", "trait", "true", "type", "unsafe", "use", "where", "while", "dyn", "abstract",
        "become", "box", "do", "final", "macro", "override", "priv", "typeof", "unsized",
        "virtual", "yield", "async", "await", "try",
    ];
    let snake = name.to_snake_case();
    match snake.as_str() {
        "self" | "super" | "extern" | "crate" => format!("{snake}_"),
        keyword if KEYWORDS.contains(&keyword) => format!("r#{snake}"),
        _ => snake,
    }
}

/// The Rust identifier of an enum variant or type, as prost-build makes it.
pub(crate) fn type_identifier(name: &str) -> String {
    name.to_upper_camel_case()
}
