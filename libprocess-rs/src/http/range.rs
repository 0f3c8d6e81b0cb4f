//! Byte ranges of a `Range` header (RFC 9110, section 14).

/// More ranges than this are not served one by one: the client gets the whole.
const MAX_RANGES: usize = 16;

/// Bytes of a body, from `start` up to but not including `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl ByteRange {
    pub(crate) fn len(self) -> u64 {
        self.end - self.start
    }
}

/// What a `Range` header asks of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// The whole: the header is malformed, of an unknown unit, or asks for more than the whole.
    Whole,
    /// These parts, in the order asked for.
    Parts(Vec<ByteRange>),
    /// Nothing that the body has.
    Unsatisfiable,
}

/// Reads a `Range` header for a body of `length` bytes.
pub(crate) fn parse_ranges(header: &str, length: u64) -> Ranges {
    let Some(list) = header.trim().strip_prefix("bytes=") else {
        return Ranges::Whole;
    };
    let specs = list.split(',').map(str::trim).filter(|s| !s.is_empty());
    let mut specs = specs.peekable();
    if specs.peek().is_none() {
        return Ranges::Whole;
    }
    let mut parts = Vec::new();
    for spec in specs {
        match parse_spec(spec, length) {
            Some(Some(range)) if parts.len() < MAX_RANGES => parts.push(range),
            Some(None) => {}
            _ => return Ranges::Whole,
        }
    }
    if parts.is_empty() {
        return Ranges::Unsatisfiable;
    }
    // Ranges that overlap could make a small file an answer without end.
    let asked = parts.iter().map(|part| part.len());
    match asked.fold(0, u64::saturating_add) > length {
        true => Ranges::Whole,
        false => Ranges::Parts(parts),
    }
}

/// One range: `None` if it is malformed, `Some(None)` if the body does not reach it.
fn parse_spec(spec: &str, length: u64) -> Option<Option<ByteRange>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        let start = length.saturating_sub(suffix);
        return Some((start < length).then_some(ByteRange { start, end: length }));
    }
    let start = number(first)?;
    let end = match last {
        "" => length,
        last => {
            let last = number(last)?;
            if last < start {
                return None;
            }
            last.saturating_add(1).min(length)
        }
    };
    Some((start < length).then_some(ByteRange { start, end }))
}

/// Digits only; a number too large for any file counts as the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let check = |header: &str, length: u64, expected: Option<&[(u64, u64)]>| {
            let expected = expected.map(|parts| {
                let parts = parts.iter();
                Ranges::Parts(
                    parts
                        .map(|&(start, end)| ByteRange { start, end })
                        .collect(),
                )
            });
            let found = parse_ranges(header, length);
            assert_eq!(found, expected.unwrap_or(Ranges::Whole), "{header:?}");
        };
        check("bytes=0-0", 10, Some(&[(0, 1)]));
        check("bytes=2-5", 10, Some(&[(2, 6)]));
        check("bytes=2-", 10, Some(&[(2, 10)]));
        check("bytes=-3", 10, Some(&[(7, 10)]));
        check("bytes=-30", 10, Some(&[(0, 10)]));
        check("bytes=5-99999999999999999999999", 10, Some(&[(5, 10)]));
        check("bytes=0-1, 4-5,-1", 10, Some(&[(0, 2), (4, 6), (9, 10)]));
        check("bytes=20-30,1-1", 10, Some(&[(1, 2)]));
        for whole in [
            "lines=0-1",
            "bytes",
            "bytes=",
            "bytes= ,",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=0-1,x",
            "bytes=-",
            "bytes=+1-2",
            "bytes=0-,0-",
        ] {
            check(whole, 10, None);
        }
        let many = format!("bytes={}", "0-0,".repeat(MAX_RANGES + 1));
        check(&many, 1000, None);
    }

    #[test]
    fn unsatisfiable() {
        let check = |header: &str, length: u64| {
            assert_eq!(parse_ranges(header, length), Ranges::Unsatisfiable);
        };
        check("bytes=10-", 10);
        check("bytes=10-20,99-", 10);
        check("bytes=-0", 10);
        check("bytes=0-", 0);
        check("bytes=-5", 0);
    }
}
