//! What can be wrong with flags.

use std::path::PathBuf;

/// Why flags could not be read, in one line that names the flag and the value.
#[derive(Debug, thiserror::Error)]
pub enum FlagsError {
    /// `--help` was given.
    #[error("Help was requested")]
    Help,
    /// `--version` was given.
    #[error("The version was requested")]
    Version,
    /// There is no such flag.
    #[error("Failed to load unknown flag '{name}'{}", suggestion(.nearest))]
    Unknown {
        /// The name that was given.
        name: String,
        /// The known name that is most like it.
        nearest: Option<&'static str>,
    },
    /// A flag was given more than once.
    #[error("Flag '{name}' is already loaded: '{first}' and '{second}' set it twice")]
    Duplicate {
        /// The flag's current name.
        name: &'static str,
        /// How it was given first.
        first: String,
        /// How it was given again.
        second: String,
    },
    /// A flag other than a boolean was given without `=value`.
    #[error("Failed to load non-boolean flag '{name}': missing value (use --{name}=VALUE)")]
    NoValue {
        /// The name that was given.
        name: String,
    },
    /// A flag other than a boolean was given with `no-`.
    #[error(
        "Failed to load non-boolean flag '{name}' via 'no-{name}': only a boolean can be negated"
    )]
    NotNegatable {
        /// The name that was given, without `no-`.
        name: String,
    },
    /// `--no-name` was given a value.
    #[error(
        "Failed to load boolean flag '{name}' via 'no-{name}': it takes no value, but got '{value}'"
    )]
    NegatedWithValue {
        /// The name that was given, without `no-`.
        name: String,
        /// The value.
        value: String,
    },
    /// The value cannot be read as the flag's type.
    #[error("Failed to load flag '{name}': '{value}' {reason}")]
    Value {
        /// The name that was given.
        name: String,
        /// The value.
        value: String,
        /// Why it was refused and what is allowed; continues a sentence that begins with the value.
        reason: String,
    },
    /// The file that holds the value cannot be read.
    #[error("Failed to load flag '{name}': cannot read file '{}': {source}", .path.display())]
    File {
        /// The name that was given.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A required flag was not given.
    #[error("Flag '{name}' is required, but it was not provided")]
    Missing {
        /// The flag.
        name: &'static str,
    },
    /// The value was refused by the flag's own check.
    #[error("Failed to load flag '{name}': '{value}' is not allowed: {reason}")]
    Invalid {
        /// The flag.
        name: &'static str,
        /// The value.
        value: String,
        /// What the check said.
        reason: String,
    },
    /// A set of flags that was not declared with `flags!` refused its values without saying why.
    #[error("The flags were refused")]
    Refused,
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean '{name}'?"),
        None => String::new(),
    }
}
