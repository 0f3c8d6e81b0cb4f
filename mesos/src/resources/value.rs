//! The value of a resource, and the text form that resources and attributes share.

use std::fmt;

use thiserror::Error;

use super::ranges::{Range, Ranges};
use super::scalar::{Scalar, ScalarError};
use super::set::Set;

/// How much of a resource there is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// An amount.
    Scalar(Scalar),
    /// Integers, such as ports.
    Ranges(Ranges),
    /// Named items.
    Set(Set),
}

impl Value {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Scalar(scalar) => scalar.is_zero(),
            Value::Ranges(ranges) => ranges.is_empty(),
            Value::Set(set) => set.is_empty(),
        }
    }

    /// Whether both values are of one type.
    #[must_use]
    pub fn same_type(&self, other: &Value) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether this value has all of `other`; never for values of different types.
    #[must_use]
    pub fn contains(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Scalar(left), Value::Scalar(right)) => left >= right,
            (Value::Ranges(left), Value::Ranges(right)) => left.contains(right),
            (Value::Set(left), Value::Set(right)) => left.contains(right),
            _ => false,
        }
    }

    /// Adds a value of the same type; does nothing for one of another type.
    pub(super) fn add(&mut self, other: &Value) {
        match (self, other) {
            (Value::Scalar(left), Value::Scalar(right)) => *left += *right,
            (Value::Ranges(left), Value::Ranges(right)) => left.add(right),
            (Value::Set(left), Value::Set(right)) => left.add(right),
            _ => {}
        }
    }

    /// Subtracts a value of the same type; does nothing for one of another type.
    pub(super) fn subtract(&mut self, other: &Value) {
        match (self, other) {
            (Value::Scalar(left), Value::Scalar(right)) => *left -= *right,
            (Value::Ranges(left), Value::Ranges(right)) => left.subtract(right),
            (Value::Set(left), Value::Set(right)) => left.subtract(right),
            _ => {}
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Scalar(scalar) => scalar.fmt(formatter),
            Value::Ranges(ranges) => ranges.fmt(formatter),
            Value::Set(set) => set.fmt(formatter),
        }
    }
}

/// Why the text of a value cannot be understood.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ValueError {
    /// There is no text.
    #[error("a value is missing; {ALLOWED}")]
    Empty,
    /// Opening and closing brackets do not pair up.
    #[error("'{0}' has brackets that do not match; {ALLOWED}")]
    Brackets(String),
    /// A bracket stands elsewhere than at the beginning or the end.
    #[error("'{0}' has a bracket in the middle; {ALLOWED}")]
    Misplaced(String),
    /// A list of ranges is not made of pairs.
    #[error("'{0}' is not a list of ranges like [1-10,20-30]")]
    Pairs(String),
    /// The bound of a range is not an integer below 2^64.
    #[error("'{bound}' in '{text}' is not an integer from 0 to 18446744073709551615")]
    Bound {
        /// The bound.
        bound: String,
        /// The whole value.
        text: String,
    },
    /// A range ends before it begins.
    #[error("range {0} ends before it begins")]
    Inverted(Range),
    /// An item of a set is listed twice.
    #[error("item '{0}' of the set is listed more than once")]
    DuplicateItem(String),
    /// The number is so small that it has lost precision.
    #[error("'{0}' is too small a number; quantities have three decimals")]
    Subnormal(String),
    /// The number is larger than a quantity can be.
    #[error(transparent)]
    Scalar(#[from] ScalarError),
}

/// What a value may look like, for error messages.
pub(super) const ALLOWED: &str =
    "allowed are a number, ranges like [1-10,20-30] or a set like {a,b}";

/// A value as found in a text: resources allow all but `Text`, attributes all but `Set`.
#[derive(Clone, PartialEq, Debug)]
pub enum TextValue {
    /// A number that is finite and not negative, not yet rounded.
    Scalar(f64),
    /// `[1-10,20-30]`.
    Ranges(Ranges),
    /// `{a,b}`.
    Set(Set),
    /// Anything else, with spaces removed.
    Text(String),
}

impl TextValue {
    /// Parses a value. Spaces have no meaning anywhere.
    ///
    /// # Errors
    /// Brackets that do not pair up, ranges that are none, numbers out of range.
    pub fn parse(text: &str) -> Result<TextValue, ValueError> {
        let text: String = text.trim().chars().filter(|&c| c != ' ').collect();
        if text.is_empty() {
            return Err(ValueError::Empty);
        }
        let balanced = [('[', ']'), ('{', '}'), ('(', ')')]
            .iter()
            .all(|&(open, close)| brackets_match(&text, open, close));
        if !balanced {
            return Err(ValueError::Brackets(text));
        }
        match (text.find('['), text.find('{')) {
            (Some(0), _) => parse_ranges(&text).map(TextValue::Ranges),
            (None, Some(0)) => parse_set(&text).map(TextValue::Set),
            (None, None) => parse_number_or_text(text),
            _ => Err(ValueError::Misplaced(text)),
        }
    }
}

/// Whether every `close` has an earlier `open` and the other way round.
fn brackets_match(text: &str, open: char, close: char) -> bool {
    let depth = text.chars().try_fold(0_usize, |depth, character| {
        if character == open {
            Some(depth + 1)
        } else if character == close {
            depth.checked_sub(1)
        } else {
            Some(depth)
        }
    });
    depth == Some(0)
}

// Upstream treats brackets, dashes, commas and line ends all as separators of a flat list of
// bounds, so that `[1,5]` is the range 1-5. Configurations rely on what was accepted.
fn parse_ranges(text: &str) -> Result<Ranges, ValueError> {
    let bounds = text
        .split(['[', ']', '-', ',', '\n'])
        .filter(|bound| !bound.is_empty())
        .map(|bound| {
            parse_bound(bound).ok_or_else(|| ValueError::Bound {
                bound: bound.to_owned(),
                text: text.to_owned(),
            })
        })
        .collect::<Result<Vec<u64>, ValueError>>()?;
    let (pairs, rest) = bounds.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ValueError::Pairs(text.to_owned()));
    }
    pairs
        .iter()
        .map(|&[begin, end]| {
            let range = Range { begin, end };
            (begin <= end)
                .then_some(range)
                .ok_or(ValueError::Inverted(range))
        })
        .collect()
}

/// Decimal, or hexadecimal after `0x`.
fn parse_bound(text: &str) -> Option<u64> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn parse_set(text: &str) -> Result<Set, ValueError> {
    let mut items = std::collections::BTreeSet::new();
    for item in text
        .split(['{', '}', ',', '\n'])
        .filter(|item| !item.is_empty())
    {
        if !items.insert(item) {
            return Err(ValueError::DuplicateItem(item.to_owned()));
        }
    }
    Ok(items.into_iter().collect())
}

fn parse_number_or_text(text: String) -> Result<TextValue, ValueError> {
    match text.parse::<f64>() {
        Ok(number) if number.is_subnormal() => Err(ValueError::Subnormal(text)),
        Ok(number) if number.is_finite() && number >= 0.0 => {
            Scalar::from_f64(number)?;
            Ok(TextValue::Scalar(number))
        }
        _ => Ok(TextValue::Text(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let actual = match TextValue::parse(text) {
            Ok(TextValue::Scalar(number)) => format!("scalar {number}"),
            Ok(TextValue::Ranges(ranges)) => format!("ranges {ranges}"),
            Ok(TextValue::Set(set)) => format!("set {set}"),
            Ok(TextValue::Text(text)) => format!("text {text}"),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(actual, expected, "value {text:?}");
    }

    #[test]
    fn values() {
        check("45.55", "scalar 45.55");
        check(" 4 5 ", "scalar 45");
        check("1e3", "scalar 1000");
        check("0", "scalar 0");
        check("-0", "scalar -0");
        check(
            "[10000-20000, 30000-50000]",
            "ranges [10000-20000, 30000-50000]",
        );
        check("[2-5,1-3]", "ranges [1-5]");
        check("[1,5]", "ranges [1-5]");
        check("[]", "ranges []");
        check("[0x10-0x20]", "ranges [16-32]");
        check("{sda1, sda2}", "set {sda1, sda2}");
        check("{}", "set {}");
        check("rack one", "text rackone");
        check("-1", "text -1");
        check("inf", "text inf");
        check("nan", "text nan");
        check("a(b)", "text a(b)");
    }

    #[test]
    fn errors() {
        check(
            "",
            "error: a value is missing; allowed are a number, ranges like [1-10,20-30] or a set like {a,b}",
        );
        check(
            "[1-2",
            "error: '[1-2' has brackets that do not match; allowed are a number, ranges like [1-10,20-30] or a set like {a,b}",
        );
        check(
            "x[1-2]",
            "error: 'x[1-2]' has a bracket in the middle; allowed are a number, ranges like [1-10,20-30] or a set like {a,b}",
        );
        check(
            "[1-2-3]",
            "error: '[1-2-3]' is not a list of ranges like [1-10,20-30]",
        );
        check(
            "[1-x]",
            "error: 'x' in '[1-x]' is not an integer from 0 to 18446744073709551615",
        );
        check("[5-3]", "error: range 5-3 ends before it begins");
        check(
            "{a,a}",
            "error: item 'a' of the set is listed more than once",
        );
        check(
            "1e-310",
            "error: '1e-310' is too small a number; quantities have three decimals",
        );
        check(
            "1e16",
            "error: 10000000000000000 is outside of the range -1e15 to 1e15",
        );
        assert!(TextValue::parse("]1-2[").is_err());
    }
}
