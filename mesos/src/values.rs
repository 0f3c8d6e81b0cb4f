//! Sizes and durations in the text forms that Mesos flags, endpoints and tools use.
//!
//! `512MB` and `1.5secs` are read and printed exactly as upstream's stout does
//! (`stout/bytes.hpp`, `stout/duration.hpp`), with one difference: what does not fit is an error, where
//! upstream wraps around.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use libprocess::duration::{self, DurationError};

/// Why a size or a duration could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The text is not digits followed by a unit of bytes.
    #[error("'{0}' is not a size: expected digits and a unit (B, KB, MB, GB or TB)")]
    Size(String),
    /// The text is not a duration.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// The size is larger than its type holds.
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

/// A span of time, written as `15secs` or `1.5hrs`, of at most 2⁶³−1 nanoseconds (292 years).
///
/// Dereferences to [`std::time::Duration`]. Upstream: `stout/duration.hpp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationValue(Duration);

impl DurationValue {
    /// The given span, cut to the longest one that the type holds.
    pub fn new(duration: Duration) -> Self {
        Self(duration.min(duration::MAX))
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
        Ok(Self(duration::parse(text)?))
    }
}

impl fmt::Display for DurationValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration::to_string(self.0))
    }
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
    fn durations_are_read_and_printed() {
        let duration: DurationValue = "90secs".parse().unwrap();
        assert_eq!(duration, DurationValue::from_secs(90));
        assert_eq!(duration.to_string(), "90secs");
        let error = "90".parse::<DurationValue>().unwrap_err();
        assert!(error.to_string().starts_with("'90' is not a duration"));
        assert_eq!(DurationValue::new(Duration::MAX).get(), duration::MAX);
    }

    proptest! {
        #[test]
        fn sizes_round_trip(bytes: u64) {
            let size = ByteSize::from_bytes(bytes);
            prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
        }
    }
}
