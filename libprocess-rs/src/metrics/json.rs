//! A snapshot as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::registry::Reading;

/// Integers up to this are exact as doubles.
const MAX_EXACT: i64 = 1 << 53;

/// Writes one flat object whose keys are sorted, from metrics that come in order of their names.
pub(super) struct Writer {
    json: String,
    /// Statistics whose keys come after names that are yet to come, such as `a-b` between `a` and `a/count`.
    later: BTreeMap<String, f64>,
}

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut json = String::with_capacity(bytes.max(2));
        json.push('{');
        Self {
            json,
            later: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, name: &str, reading: &Reading) {
        if !self.later.is_empty() {
            self.write_before(name);
        }
        // Statistics that are called like another metric hide it, as upstream; a key is there once.
        if self.later.is_empty() || !self.later.contains_key(name) {
            self.write(name, reading);
        }
        for (key, value) in reading.statistics() {
            self.later.insert(format!("{name}/{key}"), value);
        }
    }

    pub(super) fn finish(mut self) -> String {
        for (key, value) in std::mem::take(&mut self.later) {
            self.push_key(&key);
            push_double(&mut self.json, value);
        }
        self.json.push('}');
        self.json
    }

    fn write_before(&mut self, name: &str) {
        while let Some(first) = self.later.first_entry()
            && first.key().as_str() < name
        {
            let (key, value) = first.remove_entry();
            self.push_key(&key);
            push_double(&mut self.json, value);
        }
    }

    fn write(&mut self, name: &str, reading: &Reading) {
        match reading {
            Reading::Count(count, _) if (-MAX_EXACT..=MAX_EXACT).contains(count) => {
                self.push_key(name);
                let _ = write!(self.json, "{count}.0");
            }
            _ => {
                if let Some(value) = reading.value() {
                    self.push_key(name);
                    push_double(&mut self.json, value);
                }
            }
        }
    }

    fn push_key(&mut self, key: &str) {
        if self.json.len() > 1 {
            self.json.push(',');
        }
        let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if key.bytes().all(plain) {
            self.json.push('"');
            self.json.push_str(key);
            self.json.push_str("\":");
        } else {
            // A text is always representable; were it not, the empty key is still valid JSON.
            let key = serde_json::to_string(key).unwrap_or_else(|_| "\"\"".to_owned());
            self.json.push_str(&key);
            self.json.push(':');
        }
    }
}

/// Writes a double as upstream does: always with a fraction, in plain notation from 1e-6 up to 1e21.
pub(super) fn push_double(json: &mut String, value: f64) {
    let magnitude = value.abs();
    // Writing to memory cannot fail.
    let _ = if value.is_infinite() {
        let sign = if value < 0.0 { "-" } else { "" };
        write!(json, "\"{sign}Infinity\"")
    } else if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        let start = json.len();
        let written = write!(json, "{value}");
        if !json.get(start..).is_some_and(|text| text.contains('.')) {
            json.push_str(".0");
        }
        written
    } else {
        write!(json, "{value:e}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_print_like_upstream() {
        let check = |value: f64, expected: &str| {
            let mut json = String::new();
            push_double(&mut json, value);
            assert_eq!(json, expected);
        };
        check(0.0, "0.0");
        check(-0.0, "-0.0");
        check(42.0, "42.0");
        check(-1.5, "-1.5");
        check(0.1, "0.1");
        check(1e16, "10000000000000000.0");
        check(25276502016.0, "25276502016.0");
        check(1e21, "1e21");
        check(1.5e-7, "1.5e-7");
        check(0.000001, "0.000001");
        check(f64::INFINITY, "\"Infinity\"");
        check(f64::NEG_INFINITY, "\"-Infinity\"");
    }

    #[test]
    fn counts_print_as_doubles() {
        let check = |count: i64, expected: &str| {
            let mut writer = Writer::with_capacity(0);
            writer.add("a", &Reading::Count(count, None));
            assert_eq!(writer.finish(), format!("{{\"a\":{expected}}}"));
        };
        check(0, "0.0");
        check(-7, "-7.0");
        check(1 << 53, "9007199254740992.0");
        check((1 << 53) + 1, "9007199254740992.0");
        check(i64::MAX, "9223372036854776000.0");
    }

    #[test]
    fn keys_are_escaped() {
        let mut writer = Writer::with_capacity(0);
        for name in ["a\"b\\c\n", "é/\u{7f}"] {
            writer.add(name, &Reading::Gauge(0.5));
        }
        assert_eq!(writer.finish(), "{\"a\\\"b\\\\c\\n\":0.5,\"é/\u{7f}\":0.5}");
    }
}
