//! Printing.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::ProtoJson;
use super::number::{put, write_f64};
use crate::descriptor::EnumDescriptor;

/// JSON text in the making.
#[derive(Debug, Default)]
pub struct JsonWriter {
    text: String,
}

impl JsonWriter {
    /// A writer that continues a text.
    pub fn append_to(text: String) -> Self {
        Self { text }
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.text
    }

    /// Opens an object.
    pub fn object(&mut self) -> JsonObject<'_> {
        self.text.push('{');
        JsonObject {
            out: self,
            empty: true,
        }
    }

    fn array<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.text.push('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            write(self, item);
        }
        self.text.push(']');
    }
}

/// An object that is open: takes members until [`JsonObject::end`].
#[derive(Debug)]
pub struct JsonObject<'a> {
    out: &'a mut JsonWriter,
    empty: bool,
}

impl JsonObject<'_> {
    fn key(&mut self, name: &str) -> &mut JsonWriter {
        self.out
            .text
            .push_str(if self.empty { "\"" } else { ",\"" });
        self.empty = false;
        // Names of fields need no escapes.
        self.out.text.push_str(name);
        self.out.text.push_str("\":");
        self.out
    }

    /// A member.
    pub fn field<T: ProtoJson + ?Sized>(&mut self, name: &str, value: &T) {
        value.write_json(self.key(name));
    }

    /// A member, unless it is unset.
    pub fn opt<T: ProtoJson>(&mut self, name: &str, value: &Option<T>) {
        if let Some(value) = value {
            value.write_json(self.key(name));
        }
    }

    /// A member of a proto3 message, which counts as unset when it is zero.
    pub fn unless_zero<T: ProtoJson + Default + PartialEq>(&mut self, name: &str, value: &T) {
        if *value != T::default() {
            value.write_json(self.key(name));
        }
    }

    /// An array, unless it is empty.
    pub fn list<T: ProtoJson>(&mut self, name: &str, values: &[T]) {
        if !values.is_empty() {
            self.field(name, values);
        }
    }

    /// The name of an enum value, unless the number is unknown.
    pub fn enumeration(&mut self, name: &str, values: &EnumDescriptor, number: i32) {
        if let Some(value) = values.name(number) {
            self.field(name, value);
        }
    }

    /// The name of an enum value, unless it is unset or unknown.
    pub fn opt_enumeration(&mut self, name: &str, values: &EnumDescriptor, number: Option<i32>) {
        if let Some(number) = number {
            self.enumeration(name, values, number);
        }
    }

    /// The names of enum values, unless there are none.
    pub fn enums(&mut self, name: &str, values: &EnumDescriptor, numbers: &[i32]) {
        let names = numbers.iter().filter_map(|number| values.name(*number));
        let names: Vec<&str> = names.collect();
        self.list(name, &names);
    }

    /// An object of the entries of a map, unless it is empty.
    pub fn map<T: ProtoJson>(&mut self, name: &str, entries: &BTreeMap<String, T>) {
        if entries.is_empty() {
            return;
        }
        let out = self.key(name);
        for (index, (key, value)) in entries.iter().enumerate() {
            out.text.push(if index == 0 { '{' } else { ',' });
            write_str(key, &mut out.text);
            out.text.push(':');
            value.write_json(out);
        }
        out.text.push('}');
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.text.push('}');
    }
}

impl<T: ProtoJson + ?Sized> ProtoJson for Box<T> {
    fn write_json(&self, out: &mut JsonWriter) {
        (**self).write_json(out);
    }
}

impl<T: ProtoJson + ?Sized> ProtoJson for &T {
    fn write_json(&self, out: &mut JsonWriter) {
        (**self).write_json(out);
    }
}

impl<T: ProtoJson> ProtoJson for [T] {
    fn write_json(&self, out: &mut JsonWriter) {
        out.array(self, |out, item| item.write_json(out));
    }
}

macro_rules! displayed {
    ($($Type:ty),*) => {$(
        impl ProtoJson for $Type {
            fn write_json(&self, out: &mut JsonWriter) {
                put(format_args!("{self}"), &mut out.text);
            }
        }
    )*};
}

displayed!(bool, i32, i64, u32, u64);

impl ProtoJson for f64 {
    fn write_json(&self, out: &mut JsonWriter) {
        write_f64(*self, &mut out.text);
    }
}

impl ProtoJson for f32 {
    fn write_json(&self, out: &mut JsonWriter) {
        write_f64(f64::from(*self), &mut out.text);
    }
}

impl ProtoJson for str {
    fn write_json(&self, out: &mut JsonWriter) {
        write_str(self, &mut out.text);
    }
}

impl ProtoJson for String {
    fn write_json(&self, out: &mut JsonWriter) {
        write_str(self, &mut out.text);
    }
}

impl ProtoJson for Bytes {
    fn write_json(&self, out: &mut JsonWriter) {
        out.text.push('"');
        STANDARD.encode_string(self, &mut out.text);
        out.text.push('"');
    }
}

/// Appends a string in quotes with the escapes that JSON demands, and no others.
pub fn write_str(value: &str, out: &mut String) {
    out.push('"');
    let mut rest = value;
    while let Some(index) = rest
        .bytes()
        .position(|b| b < 0x20 || b == b'"' || b == b'\\')
    {
        let (plain, tail) = rest.split_at(index);
        out.push_str(plain);
        let mut characters = tail.chars();
        match characters.next().unwrap_or_default() {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control => put(format_args!("\\u{:04X}", u32::from(control)), out),
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}
