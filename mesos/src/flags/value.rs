//! The types that a flag can have.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use mesos_protos::{Described, ProtoJson};

use super::ValueSource;
use crate::json;
use crate::values::{ByteSize, DurationValue};

/// A type of flag values.
pub trait FlagValue: Sized {
    /// Whether the flag may be given without a value, or as `--no-name`.
    const BOOLEAN: bool = false;

    /// Whether the flag may be left out although it has no default.
    const OPTIONAL: bool = false;

    /// What happens to values that name a file.
    const SOURCE: ValueSource = ValueSource::Fetched;

    /// Reads the value.
    ///
    /// # Errors
    /// Why not, and what is allowed, as the rest of a sentence that begins with the quoted value.
    fn parse(text: &str) -> Result<Self, String>;

    /// Reads the value, knowing what was given (`file:///etc/secret`) before the file was read.
    ///
    /// # Errors
    /// As [`FlagValue::parse`].
    fn parse_fetched(_given: &str, text: &str) -> Result<Self, String> {
        Self::parse(text)
    }

    /// The value of a flag without default that was not given.
    fn absent() -> Option<Self> {
        None
    }

    /// The value as text that [`FlagValue::parse`] reads back; `None` if there is none.
    fn print(&self) -> Option<String>;
}

impl<T: FlagValue> FlagValue for Option<T> {
    const BOOLEAN: bool = T::BOOLEAN;
    const OPTIONAL: bool = true;
    const SOURCE: ValueSource = T::SOURCE;

    fn parse(text: &str) -> Result<Self, String> {
        T::parse(text).map(Some)
    }

    fn parse_fetched(given: &str, text: &str) -> Result<Self, String> {
        T::parse_fetched(given, text).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn print(&self) -> Option<String> {
        self.as_ref().and_then(FlagValue::print)
    }
}

impl FlagValue for bool {
    const BOOLEAN: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("is not a boolean (allowed: true, 1, false, 0)".into()),
        }
    }

    fn print(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl FlagValue for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn print(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl FlagValue for PathBuf {
    const SOURCE: ValueSource = ValueSource::Path;

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.strip_prefix("file://").unwrap_or(text).into())
    }

    fn print(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

/// Integers: decimal or, after `0x`, hexadecimal, with an optional sign.
macro_rules! integer_values {
    ($($Type:ty),*) => {$(
        impl FlagValue for $Type {
            fn parse(text: &str) -> Result<Self, String> {
                integer(text)
                    .and_then(|number| <$Type>::try_from(number).ok())
                    .ok_or_else(|| {
                        format!("is not a valid number (allowed: {}..{})", <$Type>::MIN, <$Type>::MAX)
                    })
            }

            fn print(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

integer_values!(u8, u16, u32, u64, usize, i32, i64);

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

impl FlagValue for f64 {
    fn parse(text: &str) -> Result<Self, String> {
        let finite = text.parse::<f64>().ok().filter(|number| number.is_finite());
        finite.ok_or_else(|| "is not a valid number (allowed: a decimal number)".into())
    }

    fn print(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl FlagValue for Ipv4Addr {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| "is not an IPv4 address (allowed: a.b.c.d)".into())
    }

    fn print(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl FlagValue for ByteSize {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            "is not a valid size (allowed: digits and one of B, KB, MB, GB, TB, up to 2^64-1 bytes)".into()
        })
    }

    fn print(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl FlagValue for DurationValue {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            "is not a valid duration (allowed: a number and one of ns, us, ms, secs, mins, hrs, days, weeks)"
                .into()
        })
    }

    fn print(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl FlagValue for BTreeSet<String> {
    fn parse(text: &str) -> Result<Self, String> {
        let mut set = BTreeSet::new();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            if !set.insert(item.to_owned()) {
                return Err(format!(
                    "names '{item}' twice (allowed: different names, separated by commas)"
                ));
            }
        }
        Ok(set)
    }

    fn print(&self) -> Option<String> {
        let items: Vec<&str> = self.iter().map(String::as_str).collect();
        Some(items.join(","))
    }
}

/// A JSON value: given as text, as `file://path`, or (deprecated) as an absolute path.
#[derive(Debug, Clone, PartialEq)]
pub struct Json(pub serde_json::Value);

impl FlagValue for Json {
    const SOURCE: ValueSource = ValueSource::FetchedOrAbsolutePath;

    fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map(Json).map_err(|error| {
            format!("is not valid JSON: {error} (allowed: JSON text or file:///path)")
        })
    }

    fn print(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

/// A protobuf message given as JSON: as text, as `file://path`, or (deprecated) as an absolute path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonMessage<M>(pub M);

impl<M: Described + ProtoJson> FlagValue for JsonMessage<M> {
    const SOURCE: ValueSource = ValueSource::FetchedOrAbsolutePath;

    fn parse(text: &str) -> Result<Self, String> {
        json::from_str(text).map(JsonMessage).map_err(|error| {
            format!(
                "is not valid: {error} (allowed: {} as JSON text or file:///path)",
                M::NAME
            )
        })
    }

    fn print(&self) -> Option<String> {
        Some(json::to_string(&self.0))
    }
}

/// A text that must not show: only the path it was read from is ever printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    path: Option<PathBuf>,
    text: String,
}

impl Secret {
    /// The secret itself, as it stands in the file.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The file that the secret was read from.
    pub fn path(&self) -> Option<&std::path::Path> {
        self.path.as_deref()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl FlagValue for Secret {
    const SOURCE: ValueSource = ValueSource::FetchedOrAbsolutePath;

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self {
            path: None,
            text: text.to_owned(),
        })
    }

    fn parse_fetched(given: &str, text: &str) -> Result<Self, String> {
        let path = given.strip_prefix("file://").unwrap_or(given);
        Ok(Self {
            path: Some(path.into()),
            text: text.to_owned(),
        })
    }

    fn print(&self) -> Option<String> {
        let path = self.path.as_ref()?;
        Some(path.display().to_string())
    }
}
