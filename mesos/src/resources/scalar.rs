//! Fixed-point quantities.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use thiserror::Error;

/// Thousandths in one unit.
const MILLIS_PER_UNIT: i64 = 1_000;

/// The largest quantity that one resource may have, in units. The sum of several thousand such
/// quantities would exceed the range of [`Scalar`]; sums saturate rather than wrap.
pub const SCALAR_UNITS_MAX: f64 = 1e15;

/// A number that cannot be a quantity of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum ScalarError {
    /// Infinite or not a number.
    #[error("{0} is not a finite number")]
    NotFinite(f64),
    /// Beyond [`SCALAR_UNITS_MAX`] in either direction.
    #[error("{0} is outside of the range -{SCALAR_UNITS_MAX:e} to {SCALAR_UNITS_MAX:e}")]
    OutOfRange(f64),
}

/// A quantity in thousandths of a unit.
///
/// On the wire a quantity is a `double`. All arithmetic is done on three decimal digits, so that
/// no sequence of operations loses or creates resources: 0.1 + 0.2 is 0.3.
/// Upstream: `src/common/values.cpp`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scalar(i64);

impl Scalar {
    /// Nothing.
    pub const ZERO: Scalar = Scalar(0);
    /// The largest sum that can be represented.
    pub const MAX: Scalar = Scalar(i64::MAX);

    /// A quantity from thousandths of a unit.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Scalar {
        Scalar(millis)
    }

    /// The quantity in thousandths of a unit.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Rounds a number to three decimals, halves away from zero.
    ///
    /// # Errors
    /// The number is not finite or its magnitude exceeds [`SCALAR_UNITS_MAX`].
    pub fn from_f64(value: f64) -> Result<Scalar, ScalarError> {
        if !value.is_finite() {
            return Err(ScalarError::NotFinite(value));
        }
        if value.abs() > SCALAR_UNITS_MAX {
            return Err(ScalarError::OutOfRange(value));
        }
        Ok(Scalar((value * MILLIS_PER_UNIT as f64).round() as i64))
    }

    /// The quantity as a floating point number of units, as it goes on the wire.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        // Dividing only the remainder keeps the quotient exact for large quantities; peers compare
        // the resulting bits.
        let quotient = (self.0 / MILLIS_PER_UNIT) as f64;
        let remainder = (self.0 % MILLIS_PER_UNIT) as f64 / MILLIS_PER_UNIT as f64;
        quotient + remainder
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether this is more than nothing.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// The sum, or nothing if it is out of range.
    #[must_use]
    pub fn checked_add(self, other: Scalar) -> Option<Scalar> {
        self.0.checked_add(other.0).map(Scalar)
    }
}

// Sums of what agents report saturate: a wrapped total would turn abundance into debt.
impl Add for Scalar {
    type Output = Scalar;

    fn add(self, other: Scalar) -> Scalar {
        Scalar(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Scalar {
    fn add_assign(&mut self, other: Scalar) {
        *self = *self + other;
    }
}

impl Sub for Scalar {
    type Output = Scalar;

    fn sub(self, other: Scalar) -> Scalar {
        Scalar(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Scalar {
    fn sub_assign(&mut self, other: Scalar) {
        *self = *self - other;
    }
}

impl Sum for Scalar {
    fn sum<I: Iterator<Item = Scalar>>(iter: I) -> Scalar {
        iter.fold(Scalar::ZERO, Add::add)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.unsigned_abs();
        let (units, fraction) = (
            millis / MILLIS_PER_UNIT.unsigned_abs(),
            millis % MILLIS_PER_UNIT.unsigned_abs(),
        );
        if self.0 < 0 {
            formatter.write_str("-")?;
        }
        if fraction == 0 {
            return write!(formatter, "{units}");
        }
        let digits = format!("{fraction:03}");
        write!(formatter, "{units}.{}", digits.trim_end_matches('0'))
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: f64, millis: i64, text: &str) {
        let scalar = Scalar::from_f64(value).unwrap();
        assert_eq!(scalar.millis(), millis, "{value}");
        assert_eq!(scalar.to_string(), text, "{value}");
    }

    #[test]
    fn rounding_and_printing() {
        check(0.0, 0, "0");
        check(-0.0, 0, "0");
        check(1.0, 1_000, "1");
        check(0.1, 100, "0.1");
        check(0.0004, 0, "0");
        check(0.0005, 1, "0.001");
        check(1.2345, 1_235, "1.235");
        check(-0.0005, -1, "-0.001");
        check(-2.5, -2_500, "-2.5");
        check(10.01, 10_010, "10.01");
        check(1e15, 1_000_000_000_000_000_000, "1000000000000000");
    }

    #[test]
    fn refused_numbers() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(
                Scalar::from_f64(value),
                Err(ScalarError::NotFinite(_))
            ));
        }
        assert_eq!(
            Scalar::from_f64(2e15).unwrap_err().to_string(),
            "2000000000000000 is outside of the range -1e15 to 1e15"
        );
    }

    #[test]
    fn arithmetic_saturates() {
        let tenth = Scalar::from_f64(0.1).unwrap();
        let fifth = Scalar::from_f64(0.2).unwrap();
        assert_eq!(tenth + fifth, Scalar::from_f64(0.3).unwrap());
        assert_eq!((tenth + fifth).to_f64(), 0.3);
        assert_eq!(Scalar::MAX + tenth, Scalar::MAX);
        assert_eq!(Scalar::MAX.checked_add(tenth), None);
        assert!(Scalar::ZERO - tenth < Scalar::ZERO);
    }
}
