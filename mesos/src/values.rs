//! Sizes and durations in the text forms that Mesos flags, endpoints and tools use.
//!
//! `512MB` and `1.5secs` are read and printed exactly as upstream's stout does
//! (`stout/bytes.hpp`, `stout/duration.hpp`), with one difference: what does not fit is an error, where
//! upstream wraps around.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

/// Why a size or a duration could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The text is not digits followed by a unit of bytes.
    #[error("'{0}' is not a size: expected digits and a unit (B, KB, MB, GB or TB)")]
    Size(String),
    /// The text is not a decimal number followed by a unit of time.
    #[error(
        "'{0}' is not a duration: expected a number and a unit (ns, us, ms, secs, mins, hrs, days or weeks)"
    )]
    Duration(String),
    /// The value is larger than its type holds.
    #[error("'{0}' is too large")]
    TooLarge(String),
}

/// Units of [`ByteSize`], largest first.
const SIZE_UNITS: [(&str, u64); 5] = [
    ("TB", 1 << 40),
    ("GB", 1 << 30),
    ("MB", 1 << 20),
    ("KB", 1 << 10),
    ("B", 1),
];

/// A number of bytes, written as `512MB`. Units are powers of 1024. Upstream: `stout/bytes.hpp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A size of `count` bytes.
    pub const fn from_bytes(count: u64) -> Self {
        Self(count)
    }

    /// A size of `count` times 1024 bytes, or the largest size if that does not fit.
    pub const fn from_kilobytes(count: u64) -> Self {
        Self(count.saturating_mul(1 << 10))
    }

    /// A size of `count` times 1024² bytes, or the largest size if that does not fit.
    pub const fn from_megabytes(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// A size of `count` times 1024³ bytes, or the largest size if that does not fit.
    pub const fn from_gigabytes(count: u64) -> Self {
        Self(count.saturating_mul(1 << 30))
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of megabytes with its fraction, the unit of the resources `mem` and `disk`.
    pub fn megabytes(self) -> f64 {
        self.0 as f64 / (1u64 << 20) as f64
    }
}

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let malformed = || ValueError::Size(text.to_owned());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let scale = SIZE_UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map(|(_, scale)| *scale)
            .ok_or_else(malformed)?;
        if number.is_empty() {
            return Err(malformed());
        }
        number
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(scale))
            .map(Self)
            .ok_or_else(|| ValueError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = SIZE_UNITS
            .iter()
            .find(|(_, scale)| self.0 != 0 && self.0.is_multiple_of(*scale))
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

/// Units of durations in nanoseconds, smallest first.
const DURATION_UNITS: [(&str, u64); 8] = [
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
const DURATION_DIGITS: usize = 15;

/// A span of time, written as `15secs` or `1.5hrs`, of at most 2⁶³−1 nanoseconds (292 years).
///
/// Dereferences to [`std::time::Duration`]. Upstream: `stout/duration.hpp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationValue(Duration);

impl DurationValue {
    /// The given span, cut to the longest one that the type holds.
    pub fn new(duration: Duration) -> Self {
        Self(duration.min(Duration::from_nanos(i64::MAX as u64)))
    }

    /// A span of whole seconds.
    pub fn from_secs(seconds: u64) -> Self {
        Self::new(Duration::from_secs(seconds))
    }

    /// The span as the type of the standard library.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl Deref for DurationValue {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<Duration> for DurationValue {
    fn from(duration: Duration) -> Self {
        Self::new(duration)
    }
}

impl From<DurationValue> for Duration {
    fn from(value: DurationValue) -> Self {
        value.0
    }
}

impl FromStr for DurationValue {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let malformed = || ValueError::Duration(text.to_owned());
        let number_end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(malformed)?;
        let (number, unit) = text.split_at(number_end);
        let scale = DURATION_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, scale)| *scale)
            .ok_or_else(malformed)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(malformed());
        }
        scaled_nanos(whole, fraction, scale)
            .map(|nanos| Self(Duration::from_nanos(nanos)))
            .ok_or_else(|| ValueError::TooLarge(text.to_owned()))
    }
}

/// `whole.fraction` times `scale` in exact decimal arithmetic, rounded to the nearest nanosecond; `None` if it
/// does not fit an `i64`.
fn scaled_nanos(whole: &str, fraction: &str, scale: u64) -> Option<u64> {
    // The longest unit has 15 digits of nanoseconds: what follows the 18th decimal cannot change the result
    // by as much as half a nanosecond, except in a tie.
    const FRACTION_DIGITS: usize = 18;
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
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

impl fmt::Display for DurationValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration_to_string(self.0))
    }
}

/// A duration in the form Mesos prints: `0ns`, `1500ms`, `10days`, `1.23456789secs`.
///
/// Durations beyond 2⁶³−1 nanoseconds print as that longest one.
pub fn duration_to_string(duration: Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos())
        .unwrap_or(u64::MAX)
        .min(i64::MAX as u64);
    unsigned_nanos_to_string(nanos)
}

/// Like [`duration_to_string`] for the signed nanoseconds of a `DurationInfo`.
pub fn nanos_to_string(nanos: i64) -> String {
    let magnitude = unsigned_nanos_to_string(nanos.unsigned_abs().min(i64::MAX as u64));
    if nanos < 0 {
        format!("-{magnitude}")
    } else {
        magnitude
    }
}

fn unsigned_nanos_to_string(nanos: u64) -> String {
    let mut below = None;
    let mut bucket = DURATION_UNITS[0];
    for unit in DURATION_UNITS.into_iter().skip(1) {
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
    let decimals = DURATION_DIGITS.saturating_sub(whole_digits);
    let number = format!("{:.decimals$}", nanos as f64 / scale as f64);
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_parse() {
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(
                text.parse::<ByteSize>().ok().map(ByteSize::bytes),
                expected,
                "{text}"
            );
        }
        check("0B", Some(0));
        check("1B", Some(1));
        check("32kb", Some(32 * 1024));
        check("10MB", Some(10 << 20));
        check("1Gb", Some(1 << 30));
        check("3TB", Some(3 << 40));
        for bad in [
            "", "1", "B", "1.5MB", "-1MB", "+1MB", " 1MB", "1 MB", "1MBs", "1PB",
        ] {
            check(bad, None);
        }
        assert_eq!(
            "99999999TB".parse::<ByteSize>(),
            Err(ValueError::TooLarge("99999999TB".into()))
        );
    }

    #[test]
    fn sizes_print() {
        fn check(bytes: u64, expected: &str) {
            assert_eq!(ByteSize::from_bytes(bytes).to_string(), expected);
        }
        check(0, "0B");
        check(1536, "1536B");
        check(4096, "4KB");
        check(3 << 20, "3MB");
        check(2 << 30, "2GB");
        check(5 << 40, "5TB");
    }

    #[test]
    fn durations_parse() {
        fn check(text: &str, expected: Option<u64>) {
            let nanos = text.parse::<DurationValue>().ok();
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
        for bad in [
            "",
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
            "15251weeks",
            "99999999999999999999ns",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn durations_print() {
        fn check(nanos: i64, expected: &str) {
            assert_eq!(nanos_to_string(nanos), expected);
        }
        const SECOND: i64 = 1_000_000_000;
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
        check(-90 * SECOND, "-90secs");
        check(i64::MIN, "-15250.2844524715weeks");
        check(100_000_000_000_001, "1.15740740740742days");
    }

    proptest! {
        #[test]
        fn sizes_round_trip(bytes: u64) {
            let size = ByteSize::from_bytes(bytes);
            prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
        }

        #[test]
        fn durations_round_trip_to_fifteen_digits(nanos in 0..=i64::MAX as u64) {
            let duration = DurationValue::new(Duration::from_nanos(nanos));
            let read: DurationValue = duration.to_string().parse().unwrap();
            let error = read.abs_diff(*duration).as_nanos() as f64;
            prop_assert!(error <= 1.0 + nanos as f64 * 1e-14, "{} became {}", duration, read);
        }

        #[test]
        fn whole_durations_round_trip(count in 0u64..7, unit in 0usize..DURATION_UNITS.len()) {
            let duration = DurationValue::new(Duration::from_nanos(count * DURATION_UNITS[unit].1));
            prop_assert_eq!(duration.to_string().parse::<DurationValue>(), Ok(duration));
        }
    }
}
