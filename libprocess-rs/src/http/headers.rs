//! The headers of requests and responses.

use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Headers in the order in which they were added. Names are equal whatever their case.
///
/// Most requests and responses have so few of them that a look at each takes less time than hashing names would, and a single
/// one takes no allocation.
///
/// ```
/// use http::{HeaderName, HeaderValue, header};
/// use libprocess::Headers;
///
/// let mut headers = Headers::default();
/// headers.append(header::VARY, HeaderValue::from_static("Accept"));
/// headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
/// assert_eq!(headers.get("vary"), Some(&HeaderValue::from_static("Accept")));
/// assert_eq!(headers.get_all(header::VARY).count(), 2);
///
/// headers.insert(header::VARY, HeaderValue::from_static("*"));
/// assert_eq!(headers.get_all("Vary").collect::<Vec<_>>(), ["*"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    entries: SmallVec<[(HeaderName, HeaderValue); 1]>,
}

impl Headers {
    /// Headers with room for this many.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            entries: SmallVec::with_capacity(capacity),
        }
    }

    /// The value of a header; of several with this name the first one.
    pub fn get(&self, name: impl AsRef<str>) -> Option<&HeaderValue> {
        let name = name.as_ref();
        let found = self.entries.iter().find(|(known, _)| is(known, name));
        found.map(|(_, value)| value)
    }

    /// The values of all headers of this name.
    pub fn get_all(&self, name: impl AsRef<str>) -> impl DoubleEndedIterator<Item = &HeaderValue> {
        let found = self
            .entries
            .iter()
            .filter(move |(known, _)| is(known, name.as_ref()));
        found.map(|(_, value)| value)
    }

    /// True if there is a header of this name.
    pub fn contains(&self, name: impl AsRef<str>) -> bool {
        self.get(name).is_some()
    }

    /// Adds a header beside those of the same name.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.entries.push((name, value));
    }

    /// Adds a header in place of those of the same name.
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        self.entries.retain(|(known, _)| *known != name);
        self.append(name, value);
    }

    /// Removes the headers of a name and returns the value of the first one.
    pub fn remove(&mut self, name: impl AsRef<str>) -> Option<HeaderValue> {
        let name = name.as_ref();
        let removed = self.get(name).cloned();
        self.entries.retain(|(known, _)| !is(known, name));
        removed
    }

    /// All names and values.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&HeaderName, &HeaderValue)> {
        self.entries.iter().map(|(name, value)| (name, value))
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn is(known: &HeaderName, name: &str) -> bool {
    known.as_str().eq_ignore_ascii_case(name)
}

impl FromIterator<(HeaderName, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(headers: I) -> Self {
        Self {
            entries: headers.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{CONTENT_TYPE, ETAG};

    #[test]
    fn names_have_no_case() {
        let x = HeaderName::from_static("x-other");
        let headers: Headers = [
            (CONTENT_TYPE, HeaderValue::from_static("a")),
            (x, HeaderValue::from_static("b")),
            (CONTENT_TYPE, HeaderValue::from_static("c")),
        ]
        .into_iter()
        .collect();
        let check = |name: &str, expected: &[&str]| {
            let values: Vec<_> = headers.get_all(name).collect();
            assert_eq!(values, expected, "{name}");
            assert_eq!(headers.get(name), values.first().copied(), "{name}");
            assert_eq!(headers.contains(name), !expected.is_empty(), "{name}");
        };
        check("Content-Type", &["a", "c"]);
        check("content-type", &["a", "c"]);
        check("X-OTHER", &["b"]);
        check("ETag", &[]);
        check("", &[]);
    }

    #[test]
    fn changes() {
        let mut headers = Headers::default();
        assert!(headers.is_empty());
        assert_eq!(headers.remove(ETAG), None);
        headers.append(ETAG, HeaderValue::from_static("1"));
        headers.append(CONTENT_TYPE, HeaderValue::from_static("a"));
        headers.append(ETAG, HeaderValue::from_static("2"));
        assert_eq!(headers.remove("etag").unwrap(), "1");
        assert_eq!(headers.get(ETAG), None);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("b"));
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(all, [(&CONTENT_TYPE, &HeaderValue::from_static("b"))]);
    }
}
