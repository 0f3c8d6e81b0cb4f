//! Doubles in the format of Mesos.

use std::fmt::Write;

/// Magnitudes from which a double is printed with an exponent.
const EXPONENT_FROM: f64 = 1e21;

/// Magnitudes below which a double is printed with an exponent.
const EXPONENT_BELOW: f64 = 1e-6;

/// Integral doubles below this magnitude are exact as `i64`, the quickest to print.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;

/// Appends a double: the fewest digits that read back as the same, with `.0` if it is integral, in fixed
/// notation from 1e-6 to 1e21. Infinities and NaN are strings.
pub fn write_f64(value: f64, out: &mut String) {
    let magnitude = value.abs();
    if value.is_nan() {
        out.push_str("\"NaN\"");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 {
            "\"Infinity\""
        } else {
            "\"-Infinity\""
        });
    } else if magnitude < EXACT_BELOW && value.fract() == 0.0 {
        if value.is_sign_negative() {
            out.push('-');
        }
        put(format_args!("{}.0", magnitude as i64), out);
    } else if (EXPONENT_BELOW..EXPONENT_FROM).contains(&magnitude) {
        put(format_args!("{value}"), out);
        if value.fract() == 0.0 {
            out.push_str(".0");
        }
    } else {
        put(format_args!("{value:e}"), out);
    }
}

/// Appends formatted text; that cannot fail for a `String`.
pub(super) fn put(arguments: std::fmt::Arguments<'_>, out: &mut String) {
    let _ = out.write_fmt(arguments);
}
