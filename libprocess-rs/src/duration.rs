//! Durations as text, such as `15secs`.

use std::time::Duration;

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a duration: expected a number and one of ns, us, ms, secs, mins, hrs, days, weeks"
)]
pub struct DurationError(String);

/// Nanoseconds per unit.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("ms", 1e6),
    ("secs", 1e9),
    ("mins", 60e9),
    ("hrs", 3600e9),
    ("days", 86_400e9),
    ("weeks", 604_800e9),
];

/// Parses a decimal number followed by exactly one of `ns us ms secs mins hrs days weeks`, without sign or spaces. It must fit
/// 2^63 nanoseconds.
///
/// Upstream: `Duration::parse` in `3rdparty/stout/include/stout/duration.hpp`.
///
/// # Errors
/// Anything else.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError(text.to_owned());
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(error)?;
    let factor = UNITS
        .iter()
        .find_map(|(name, factor)| (*name == unit).then_some(*factor))
        .ok_or_else(error)?;
    // Whole numbers are exact beyond what a double can hold.
    if let (Ok(number), true) = (number.parse::<u64>(), factor < 9e15) {
        let nanoseconds = number.checked_mul(factor as u64);
        return nanoseconds
            .filter(|nanoseconds| i64::try_from(*nanoseconds).is_ok())
            .map(Duration::from_nanos)
            .ok_or_else(error);
    }
    let nanoseconds = number.parse::<f64>().map_err(|_| error())? * factor;
    match nanoseconds < i64::MAX as f64 {
        true => Ok(Duration::from_nanos(nanoseconds as u64)),
        false => Err(error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_durations() {
        let check = |text: &str, nanoseconds: Option<u64>| {
            let parsed = parse(text).ok();
            assert_eq!(parsed, nanoseconds.map(Duration::from_nanos), "{text:?}");
        };
        check("0ns", Some(0));
        check("2secs", Some(2_000_000_000));
        check("1.5secs", Some(1_500_000_000));
        check(".5ms", Some(500_000));
        check("1mins", Some(60_000_000_000));
        check("2hrs", Some(7_200_000_000_000));
        check("1days", Some(86_400_000_000_000));
        check("1weeks", Some(604_800_000_000_000));
        check("9223372036854775807ns", Some(i64::MAX as u64));
        check("9223372036854775808ns", None);
        check("15251weeks", None);
        check("15250.9weeks", None);
        check("", None);
        check("0", None);
        check("secs", None);
        check("1sec", None);
        check("1m", None);
        check("-1secs", None);
        check("+1secs", None);
        check("1 secs", None);
        check("1.2.3secs", None);
        check("1e3secs", None);
        check("é", None);
    }
}
