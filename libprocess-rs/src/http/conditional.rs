//! Conditional requests (RFC 9110, section 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use http::header::{
    ETAG, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, RANGE,
};

use super::Headers;

/// What a request makes its answer depend on, as the client wrote it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    if_match: Option<String>,
    if_unmodified_since: Option<SystemTime>,
    if_none_match: Option<String>,
    if_modified_since: Option<SystemTime>,
    range: Option<String>,
    if_range: Option<String>,
}

/// What the conditions make of an answer that would be 200.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Send,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl Conditions {
    /// The conditions of a request; none for most, and for all that do not just read.
    pub(crate) fn of(method: &Method, headers: &Headers) -> Option<Box<Self>> {
        let reads = *method == Method::GET || *method == Method::HEAD;
        // One look at each of the few headers costs less than a search for each of the names.
        if !reads || !headers.iter().any(|(name, _)| is_condition(name)) {
            return None;
        }
        let text = |name: HeaderName| -> Option<String> {
            let value = headers.get_all(name).next_back()?;
            Some(value.to_str().ok()?.to_owned())
        };
        // Entity tags may be spread over several headers.
        let list = |name: HeaderName| -> Option<String> {
            let values = headers.get_all(name);
            let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
            (!values.is_empty()).then(|| values.join(","))
        };
        let date = |name: HeaderName| text(name).and_then(|text| parse_date(&text));
        let conditions = Self {
            if_match: list(IF_MATCH),
            if_unmodified_since: date(IF_UNMODIFIED_SINCE),
            if_none_match: list(IF_NONE_MATCH),
            if_modified_since: date(IF_MODIFIED_SINCE),
            range: (*method == Method::GET).then(|| text(RANGE)).flatten(),
            if_range: text(IF_RANGE),
        };
        (conditions != Self::default()).then(|| Box::new(conditions))
    }

    /// Compares with the validators among the headers of the answer. A condition on a validator that the answer does not have
    /// is taken as if it were not there.
    pub(crate) fn evaluate(&self, answer: &Headers) -> Outcome {
        let tag = answer.get(ETAG).and_then(|tag| tag.to_str().ok());
        let modified = last_modified(answer);
        let failed = match (&self.if_match, self.if_unmodified_since) {
            (Some(wanted), _) => tag.is_some_and(|tag| !contains(wanted, tag, strong)),
            (None, Some(since)) => modified.is_some_and(|modified| modified > since),
            (None, None) => false,
        };
        if failed {
            return Outcome::Failed;
        }
        let unchanged = match (&self.if_none_match, self.if_modified_since) {
            (Some(known), _) => {
                is_any(known) && modified.is_some()
                    || tag.is_some_and(|tag| contains(known, tag, weak))
            }
            (None, Some(since)) => modified.is_some_and(|modified| modified <= since),
            (None, None) => false,
        };
        match unchanged {
            true => Outcome::NotModified,
            false => Outcome::Send,
        }
    }

    /// The `Range` header, unless `If-Range` says that the client has parts of something else.
    pub(crate) fn range(&self, answer: &Headers) -> Option<&str> {
        let range = self.range.as_deref()?;
        let Some(condition) = self.if_range.as_deref() else {
            return Some(range);
        };
        let holds = match condition.starts_with('"') {
            true => answer
                .get(ETAG)
                .is_some_and(|tag| strong(condition, tag.to_str().unwrap_or_default())),
            false => parse_date(condition)
                .is_some_and(|date| last_modified(answer) == Some(date) && is_over(date)),
        };
        holds.then_some(range)
    }
}

fn is_condition(name: &HeaderName) -> bool {
    matches!(
        *name,
        IF_MATCH | IF_UNMODIFIED_SINCE | IF_NONE_MATCH | IF_MODIFIED_SINCE | RANGE | IF_RANGE
    )
}

fn parse_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// Whether the second that a date names is over. Until then there may come further changes with the same date (RFC 9110, section
/// 8.8.2.2).
fn is_over(date: SystemTime) -> bool {
    let age = SystemTime::now().duration_since(date);
    age.is_ok_and(|age| age >= Duration::from_secs(1))
}

fn last_modified(answer: &Headers) -> Option<SystemTime> {
    parse_date(answer.get(LAST_MODIFIED)?.to_str().ok()?)
}

/// Whether a condition is on there being anything at all.
fn is_any(list: &str) -> bool {
    list.trim() == "*"
}

/// Whether a list of entity tags, or `*`, has one that is equal to `tag`.
fn contains(list: &str, tag: &str, equal: fn(&str, &str) -> bool) -> bool {
    is_any(list) || tags(list).any(|entry| equal(entry, tag))
}

/// The entity tags of a list. A tag may have commas between its quotes.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let opening = rest.find('"')?;
        let closing = opening + 1 + rest.get(opening + 1..)?.find('"')?;
        let (tag, after) = rest.split_at_checked(closing + 1)?;
        rest = after;
        Some(tag)
    })
}

fn weak(left: &str, right: &str) -> bool {
    left.trim_start_matches("W/") == right.trim_start_matches("W/")
}

fn strong(left: &str, right: &str) -> bool {
    left == right && !left.starts_with("W/")
}

/// Entity tag and `Last-Modified` of a file with this time and length.
pub(crate) fn validators(modified: SystemTime, length: u64) -> (String, String) {
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    // A file from the future must not stay fresh until then.
    let shown = (UNIX_EPOCH + Duration::from_secs(since.as_secs())).min(SystemTime::now());
    let tag = format!("\"{:x}-{length:x}\"", since.as_nanos());
    (tag, httpdate::fmt_http_date(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn map(headers: &[(HeaderName, &str)]) -> Headers {
        let mut map = Headers::default();
        for (name, value) in headers {
            map.append(name.clone(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn conditions() {
        let answer = map(&[(ETAG, "\"a,b\""), (LAST_MODIFIED, DATE)]);
        let check = |headers: &[(HeaderName, &str)], expected: Outcome| {
            let conditions = Conditions::of(&Method::GET, &map(headers));
            let outcome = conditions.map_or(Outcome::Send, |c| c.evaluate(&answer));
            assert_eq!(outcome, expected, "{headers:?}");
        };
        check(&[], Outcome::Send);
        check(&[(IF_NONE_MATCH, "\"a,b\"")], Outcome::NotModified);
        check(&[(IF_NONE_MATCH, "W/\"a,b\"")], Outcome::NotModified);
        check(&[(IF_NONE_MATCH, "\"x\", \"a,b\"")], Outcome::NotModified);
        check(&[(IF_NONE_MATCH, "*")], Outcome::NotModified);
        check(&[(IF_NONE_MATCH, "\"x\"")], Outcome::Send);
        check(&[(IF_NONE_MATCH, "a,b")], Outcome::Send);
        check(&[(IF_NONE_MATCH, "\"a,b")], Outcome::Send);
        check(
            &[(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a,b\"")],
            Outcome::NotModified,
        );
        check(&[(IF_MODIFIED_SINCE, DATE)], Outcome::NotModified);
        check(&[(IF_MODIFIED_SINCE, LATER)], Outcome::NotModified);
        check(&[(IF_MODIFIED_SINCE, "yesterday")], Outcome::Send);
        // The tag decides if there is one.
        check(
            &[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, LATER)],
            Outcome::Send,
        );
        check(&[(IF_MATCH, "\"a,b\"")], Outcome::Send);
        check(&[(IF_MATCH, "W/\"a,b\"")], Outcome::Failed);
        check(&[(IF_MATCH, "\"x\"")], Outcome::Failed);
        check(&[(IF_UNMODIFIED_SINCE, DATE)], Outcome::Send);
        check(
            &[(IF_UNMODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT")],
            Outcome::Failed,
        );
    }

    #[test]
    fn answers_with_a_date_alone() {
        let answer = map(&[(LAST_MODIFIED, DATE)]);
        let check = |name: HeaderName, value: &str, expected: Outcome| {
            let headers = map(&[(name, value)]);
            let conditions = Conditions::of(&Method::GET, &headers).unwrap();
            assert_eq!(conditions.evaluate(&answer), expected, "{value}");
        };
        check(IF_NONE_MATCH, "*", Outcome::NotModified);
        check(IF_NONE_MATCH, "\"a\"", Outcome::Send);
        check(IF_MATCH, "*", Outcome::Send);
    }

    #[test]
    fn a_date_is_no_condition_for_a_range_before_its_second_is_over() {
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
        let headers = map(&[(RANGE, "bytes=0-"), (IF_RANGE, &soon)]);
        let conditions = Conditions::of(&Method::GET, &headers).unwrap();
        let answer = map(&[(LAST_MODIFIED, &soon)]);
        assert_eq!(conditions.range(&answer), None);
    }

    #[test]
    fn only_reading_has_conditions() {
        let headers = map(&[(IF_NONE_MATCH, "*"), (RANGE, "bytes=0-")]);
        assert_eq!(Conditions::of(&Method::POST, &headers), None);
        let head = Conditions::of(&Method::HEAD, &headers).unwrap();
        assert_eq!(head.range(&Headers::default()), None);
        let none = map(&[(IF_NONE_MATCH, "*")]);
        let conditions = Conditions::of(&Method::GET, &none).unwrap();
        // Without validators there is nothing to compare.
        assert_eq!(conditions.evaluate(&Headers::default()), Outcome::Send);
    }

    #[test]
    fn ranges_under_a_condition() {
        let answer = map(&[(ETAG, "\"a\""), (LAST_MODIFIED, DATE)]);
        let check = |condition: &str, expected: bool| {
            let headers = map(&[(RANGE, "bytes=0-"), (IF_RANGE, condition)]);
            let conditions = Conditions::of(&Method::GET, &headers).unwrap();
            assert_eq!(conditions.range(&answer).is_some(), expected, "{condition}");
        };
        check("\"a\"", true);
        check("\"b\"", false);
        check("W/\"a\"", false);
        check(DATE, true);
        check(LATER, false);
        check("x", false);
    }

    #[test]
    fn files_have_validators() {
        let time = UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        let (tag, date) = validators(time, 255);
        assert_eq!(date, DATE);
        assert_eq!(tag, "\"ae1b981da166f00-ff\"");
    }
}
