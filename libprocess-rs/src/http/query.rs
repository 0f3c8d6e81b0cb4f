//! Query strings and percent-encoding.

use std::borrow::Cow;
use std::collections::HashMap;

use memchr::memchr2;

/// A bad escape in a path or query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed percent-encoding in '{0}'")]
pub struct QueryError(String);

/// The decoded query of a URL.
///
/// Pairs are separated by `&` or `;`, keys from values by the first `=`; a missing value is empty and of equal keys the last
/// one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: HashMap<String, String>,
}

impl Query {
    /// Parses the part of a URL after the `?`.
    ///
    /// # Errors
    /// A `%` that is not followed by two hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut pairs = HashMap::new();
        for pair in text.split(['&', ';']).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (percent_decode(key)?, percent_decode(value)?);
            pairs.insert(key.into_owned(), value.into_owned());
        }
        Ok(Self { pairs })
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(String::as_str)
    }

    /// True if there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// All pairs in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Decodes `%XX` escapes; `+` is a space, in paths too. Bytes that are not UTF-8 are replaced by U+FFFD.
pub(crate) fn percent_decode(text: &str) -> Result<Cow<'_, str>, QueryError> {
    if memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let high = bytes.next().and_then(hex_digit);
                let low = bytes.next().and_then(hex_digit);
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(QueryError(text.to_owned()));
                };
                decoded.push(high << 4 | low);
            }
            other => decoded.push(other),
        }
    }
    let text = String::from_utf8(decoded)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Ok(Cow::Owned(text))
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_escapes() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(percent_decode(text).ok().as_deref(), expected, "{text:?}");
        };
        check("", Some(""));
        check("slave(1)", Some("slave(1)"));
        check("slave%281%29", Some("slave(1)"));
        check("a+b%20c", Some("a b c"));
        check("%2f%2F", Some("//"));
        check("%C3%A9", Some("é"));
        check("%FF", Some("\u{fffd}"));
        check("%", None);
        check("%4", None);
        check("%4x", None);
        check("é", Some("é"));
    }

    #[test]
    fn parses_queries() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let query = Query::parse(text).unwrap();
            let mut pairs: Vec<_> = query.iter().collect();
            pairs.sort_unstable();
            assert_eq!(pairs, expected, "{text:?}");
        };
        check("", &[]);
        check("a=1&b=2;c=3", &[("a", "1"), ("b", "2"), ("c", "3")]);
        check("a=1&a=2", &[("a", "2")]);
        check("a&b=", &[("a", ""), ("b", "")]);
        check("a=b=c", &[("a", "b=c")]);
        check("path=%2Ftmp+x", &[("path", "/tmp x")]);
        check("&&;", &[]);
        assert!(Query::parse("a=%zz").is_err());
    }
}
