//! Our `.proto` files say what the table of wire facts says: all types and fields, their numbers, labels,
//! types, defaults and oneofs, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;

use mesos_protos::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Private to a plugin whose own definitions (CSI) come from elsewhere; left out until it is here.
const LEFT_OUT: &str = "mesos.resource_provider.DiskProfileMapping";

/// The facts of the table, one a line: kind, type, name, number, label, type of the field, oneof, options.
fn wanted() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fields.tsv");
    let table = std::fs::read_to_string(path).unwrap();
    let facts = table
        .lines()
        .skip(1)
        .map(|line| line.split_once('\t').unwrap().1);
    let facts = facts.filter(|fact| !fact.split('\t').any(|cell| cell.starts_with(LEFT_OUT)));
    facts.map(|fact| fact.trim_end().to_owned()).collect()
}

fn fact(cells: [&str; 8]) -> String {
    cells.join("\t").trim_end().to_owned()
}

/// The same facts from our files.
fn found() -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    for file in files
        .iter()
        .filter(|file| !file.package().starts_with("google"))
    {
        enums(file.package(), &file.enum_type, &mut out);
        for message in &file.message_type {
            messages(file.package(), message, &mut out);
        }
    }
    out
}

fn enums(scope: &str, enums: &[EnumDescriptorProto], out: &mut BTreeSet<String>) {
    for item in enums {
        let name = format!("{scope}.{}", item.name());
        out.insert(fact(["enum", &name, "", "", "", "", "", ""]));
        for value in &item.value {
            let deprecated = value.options.as_ref().is_some_and(|o| o.deprecated());
            let options = if deprecated { "deprecated" } else { "" };
            let number = value.number().to_string();
            out.insert(fact([
                "value",
                &name,
                value.name(),
                &number,
                "",
                "",
                "",
                options,
            ]));
        }
    }
}

fn messages(scope: &str, message: &DescriptorProto, out: &mut BTreeSet<String>) {
    let name = format!("{scope}.{}", message.name());
    out.insert(fact(["message", &name, "", "", "", "", "", ""]));
    for field in &message.field {
        let (label, kind) = label_and_type(&name, message, field);
        let oneof = field
            .oneof_index
            .map(|index| message.oneof_decl[index as usize].name());
        out.insert(fact([
            "field",
            &name,
            field.name(),
            &field.number().to_string(),
            &label,
            &kind,
            oneof.unwrap_or(""),
            &options(field),
        ]));
    }
    enums(&name, &message.enum_type, out);
    for inner in &message.nested_type {
        if !inner.options.as_ref().is_some_and(|o| o.map_entry()) {
            messages(&name, inner, out);
        }
    }
}

fn options(field: &FieldDescriptorProto) -> String {
    let default = field
        .default_value
        .as_ref()
        .map(|value| format!("default={value}"));
    let deprecated = field.options.as_ref().is_some_and(|o| o.deprecated());
    let deprecated = deprecated.then(|| "deprecated".to_owned());
    let options: Vec<String> = default.into_iter().chain(deprecated).collect();
    options.join(",")
}

fn label_and_type(
    scope: &str,
    message: &DescriptorProto,
    field: &FieldDescriptorProto,
) -> (String, String) {
    let kind = type_name(field);
    let entry = message.nested_type.iter().find(|inner| {
        inner.options.as_ref().is_some_and(|o| o.map_entry())
            && kind == format!("{scope}.{}", inner.name())
    });
    if let Some(entry) = entry {
        let [key, value] = entry.field.as_slice() else {
            panic!("{kind} is no entry of a map");
        };
        return (
            "map".into(),
            format!("map<{},{}>", type_name(key), type_name(value)),
        );
    }
    let label = match field.label() {
        Label::Optional => "optional",
        Label::Required => "required",
        Label::Repeated => "repeated",
    };
    (label.into(), kind)
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').into(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

#[test]
fn our_files_say_what_the_table_of_wire_facts_says() {
    let (wanted, found) = (wanted(), found());
    let missing: Vec<&String> = wanted.difference(&found).collect();
    let surplus: Vec<&String> = found.difference(&wanted).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing: {missing:#?}\nsurplus: {surplus:#?}"
    );
    assert!(wanted.len() > 5000);
}
