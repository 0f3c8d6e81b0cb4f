//! Durations as text, such as `15secs` or `1.5hrs`, read and printed exactly as upstream does; but what does not fit is an error,
//! where upstream wraps around.
//!
//! Upstream: `3rdparty/stout/include/stout/duration.hpp`.

use std::time::Duration;

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text is not a decimal number followed by a unit of time.
    #[error(
        "'{0}' is not a duration: expected a number and one of ns, us, ms, secs, mins, hrs, days, weeks"
    )]
    Malformed(String),
    /// It is longer than [`MAX`].
    #[error("'{0}' is too large")]
    TooLarge(String),
}

/// The longest duration: 2⁶³−1 nanoseconds, which are 292 years.
pub const MAX: Duration = Duration::from_nanos(i64::MAX as u64);

/// Units in nanoseconds, smallest first.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("secs", 1_000_000_000),
    ("mins", 60_000_000_000),
    ("hrs", 3_600_000_000_000),
    ("days", 86_400_000_000_000),
    ("weeks", 604_800_000_000_000),
];

/// Digits that a printed duration keeps, as many as a double holds for certain.
const DIGITS: usize = 15;

/// Parses a decimal number followed by exactly one of `ns us ms secs mins hrs days weeks`, without sign or spaces. What is smaller
/// than a nanosecond is rounded to the nearest one.
///
/// # Errors
/// Anything else, and what is longer than [`MAX`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(malformed)?;
    let (number, unit) = text.split_at(number_end);
    let scale = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| *scale)
        .ok_or_else(malformed)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(malformed());
    }
    scaled_nanos(whole, fraction, scale)
        .map(Duration::from_nanos)
        .ok_or_else(|| DurationError::TooLarge(text.to_owned()))
}

/// `whole.fraction` times `scale` in exact decimal arithmetic, rounded to the nearest nanosecond; `None` if it
/// does not fit an `i64`.
fn scaled_nanos(whole: &str, fraction: &str, scale: u64) -> Option<u64> {
    // The longest unit has 15 digits of nanoseconds: what follows the 18th decimal cannot change the result
    // by as much as half a nanosecond, except in a tie.
    const FRACTION_DIGITS: usize = 18;
    let whole: u64 = match whole {
        "" => 0,
        digits => digits.parse().ok()?,
    };
    let fraction = fraction.get(..FRACTION_DIGITS).unwrap_or(fraction);
    let mut fraction_nanos = 0;
    if !fraction.is_empty() {
        let denominator = 10u128.pow(u32::try_from(fraction.len()).ok()?);
        let numerator = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale);
        fraction_nanos = u64::try_from((numerator + denominator / 2) / denominator).ok()?;
    }
    let nanos = whole.checked_mul(scale)?.checked_add(fraction_nanos)?;
    i64::try_from(nanos).is_ok().then_some(nanos)
}

/// A duration in the form Mesos prints: `0ns`, `1500ms`, `10days`, `1.23456789secs`. One that is longer than [`MAX`] prints as that.
pub fn to_string(duration: Duration) -> String {
    let nanos = u64::try_from(duration.min(MAX).as_nanos()).unwrap_or(u64::MAX);
    let mut below = None;
    let [mut bucket, larger @ ..] = UNITS;
    for unit in larger {
        if nanos < unit.1 {
            break;
        }
        below = Some(bucket);
        bucket = unit;
    }
    // 36 hours read better as `36hrs` than as `1.5days`.
    if !nanos.is_multiple_of(bucket.1)
        && let Some(below) = below
        && nanos.is_multiple_of(below.1)
    {
        bucket = below;
    }
    let (unit, scale) = bucket;
    if nanos.is_multiple_of(scale) {
        return format!("{}{unit}", nanos / scale);
    }
    let whole_digits = (nanos / scale).to_string().len();
    let decimals = DIGITS.saturating_sub(whole_digits);
    let number = format!("{:.decimals$}", nanos as f64 / scale as f64);
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses() {
        fn check(text: &str, expected: Option<u64>) {
            let nanos = parse(text).ok();
            assert_eq!(nanos.map(|d| d.as_nanos() as u64), expected, "{text}");
        }
        check("0ns", Some(0));
        check("1us", Some(1_000));
        check("1.5secs", Some(1_500_000_000));
        check(".5ms", Some(500_000));
        check("5.mins", Some(300_000_000_000));
        check("1.23456789secs", Some(1_234_567_890));
        check("15days", Some(15 * 86_400_000_000_000));
        check("2weeks", Some(2 * 604_800_000_000_000));
        check("15250weeks", Some(15250 * 604_800_000_000_000));
        check("1.5ns", Some(2));
        check("9223372036854775807ns", Some(i64::MAX as u64));
        for bad in [
            "",
            "é",
            "0",
            "1m",
            "1sec",
            "-1secs",
            "+1secs",
            "1 secs",
            " 1secs",
            "1secs ",
            "1.2.3secs",
            ".secs",
            "secs",
            "1e3secs",
            "1SECS",
            "9223372036854775808ns",
            "15250.9weeks",
            "15251weeks",
            "99999999999999999999ns",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn prints() {
        fn check(nanos: u64, expected: &str) {
            assert_eq!(to_string(Duration::from_nanos(nanos)), expected);
        }
        const SECOND: u64 = 1_000_000_000;
        check(0, "0ns");
        check(1_500, "1500ns");
        check(3_000, "3us");
        check(1_500_000_000, "1500ms");
        check(60 * SECOND, "1mins");
        check(90 * SECOND, "90secs");
        check(36 * 3600 * SECOND, "36hrs");
        check(10 * 86_400 * SECOND, "10days");
        check(7 * 86_400 * SECOND, "1weeks");
        check(1_234_567_890, "1.23456789secs");
        check(u64::MAX, "15250.2844524715weeks");
        check(100_000_000_000_001, "1.15740740740742days");
    }

    proptest! {
        #[test]
        fn durations_round_trip_to_fifteen_digits(nanos in 0..=i64::MAX as u64) {
            let duration = Duration::from_nanos(nanos);
            let read = parse(&to_string(duration)).unwrap();
            let error = read.abs_diff(duration).as_nanos() as f64;
            prop_assert!(error <= 1.0 + nanos as f64 * 1e-14, "{:?} became {:?}", duration, read);
        }

        #[test]
        fn whole_durations_round_trip(count in 0u64..7, unit in 0usize..UNITS.len()) {
            let duration = Duration::from_nanos(count * UNITS[unit].1);
            prop_assert_eq!(parse(&to_string(duration)), Ok(duration));
        }
    }
}
