//! Command line flags and environment variables by the rules of Mesos.
//!
//! A set of flags is a struct declared with [`flags!`](crate::flags!); the doc comment of a field is the
//! flag's help text:
//!
//! ```
//! use mesos::flags::Flags;
//! use mesos::values::DurationValue;
//!
//! mesos::flags! {
//!     /// Flags of the example.
//!     pub struct ExampleFlags {
//!         /// Port to listen on.
//!         pub port: u16 = 5050,
//!         /// Interval between pings of an agent.
//!         pub agent_ping_timeout (slave_ping_timeout): DurationValue = "15secs" => positive,
//!         /// Name shown in the web UI.
//!         pub cluster: Option<String>,
//!     }
//! }
//!
//! fn positive(timeout: &DurationValue) -> Result<(), String> {
//!     if timeout.is_zero() {
//!         return Err("must be positive".into());
//!     }
//!     Ok(())
//! }
//!
//! let arguments = ["--port=0x10".to_owned()];
//! let environment = [("MESOS_CLUSTER".to_owned(), "east".to_owned())];
//! let loaded = ExampleFlags::load(arguments, environment)?;
//! assert_eq!(loaded.flags.port, 16);
//! assert_eq!(loaded.flags.cluster.as_deref(), Some("east"));
//! # Ok::<(), mesos::flags::FlagsError>(())
//! ```
//!
//! - `name: T = default` has a default, given as text or as anything that displays as such text.
//! - `name: Option<T>` has none; `name: T` without default must be given.
//! - `name (old_name): T` also accepts `old_name`, with a warning that it is deprecated.
//! - `=> function` calls `fn(&T) -> Result<(), String>` once all flags are read; a field of type `Option<T>`
//!   passes the `Option`.
//! - `include name: OtherFlags` takes in all flags of another such struct.
//!
//! Every set also has the boolean flags `help` and `version`. Upstream: `stout/flags/*.hpp`.

mod error;
mod load;
mod usage;
mod value;

pub use error::FlagsError;
pub use load::{LoadOptions, Loaded, Names, Values};
pub use value::{FlagValue, Json, JsonMessage, Secret};

use std::io::Write;
use std::process::ExitCode;

use crate::version;

/// Prefix of the environment variables that set flags of Mesos programs.
pub const ENVIRONMENT_PREFIX: &str = "MESOS_";

/// What is known about a flag before its value: everything that usage text and name resolution need.
#[derive(Debug, Clone)]
pub struct FlagSpec {
    /// The current name, as written after `--`.
    pub name: &'static str,
    /// The deprecated name that is still accepted.
    pub alias: Option<&'static str>,
    /// The help text, without indentation.
    pub help: String,
    /// The default in text form.
    pub default: Option<String>,
    /// Whether the flag must be given.
    pub required: bool,
    /// Whether the flag may be given without a value and with a leading `no-`.
    pub boolean: bool,
    /// What happens to `file://` values.
    pub source: ValueSource,
}

/// How the text of a flag's value is found when the value names a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueSource {
    /// The value is itself a path and is never opened.
    Path,
    /// `file://<path>` is replaced by the content of that file.
    Fetched,
    /// Like [`ValueSource::Fetched`], and a bare absolute path is replaced as well (deprecated, with a warning).
    FetchedOrAbsolutePath,
}

/// A set of flags. Implemented by [`flags!`](crate::flags!), not by hand.
pub trait Flags: Sized {
    /// Adds what is known about each flag, in order of declaration.
    fn specs(out: &mut Vec<FlagSpec>);

    /// Takes the flags' values; `None` if any of them was refused, which `values` then remembers.
    fn take(values: &mut Values) -> Option<Self>;

    /// Adds `(current name, printed value)` of each flag that has a value.
    fn collect(&self, out: &mut Vec<(&'static str, String)>);

    /// Which deprecated names were used for the flags of this struct itself.
    fn names(&self) -> &Names;

    /// Reads flags from arguments (without the program's name) and environment variables.
    ///
    /// # Errors
    /// The first problem in order of stage (reading, required flags, validation), then of name. `--help` and
    /// `--version` come back as errors too, see [`load_or_exit`](Self::load_or_exit).
    fn load(
        arguments: impl IntoIterator<Item = String>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded<Self>, FlagsError> {
        Self::load_with(arguments, environment, LoadOptions::default())
    }

    /// Like [`Flags::load`], with leniency as chosen.
    ///
    /// # Errors
    /// As [`Flags::load`].
    fn load_with(
        arguments: impl IntoIterator<Item = String>,
        environment: impl IntoIterator<Item = (String, String)>,
        options: LoadOptions,
    ) -> Result<Loaded<Self>, FlagsError> {
        load::load(arguments, environment, options)
    }

    /// Reads flags from arguments alone, for tests and embedding.
    ///
    /// # Errors
    /// As [`Flags::load`].
    fn from_args<S: Into<String>>(
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, FlagsError> {
        let arguments = arguments.into_iter().map(Into::into);
        Ok(Self::load(arguments, [])?.flags)
    }

    /// Reads the flags of a program from its arguments and environment; if that ends the program (help,
    /// version, an error), prints what is due and returns the exit code.
    ///
    /// # Errors
    /// The code to exit with.
    fn load_or_exit(
        program: &str,
        arguments: impl IntoIterator<Item = String>,
    ) -> Result<Loaded<Self>, ExitCode> {
        Self::load(arguments, environment()).map_err(|error| Self::exit(program, &error))
    }

    /// Prints what is due when flags end a program (help, the version, an error); the code to exit with.
    fn exit(program: &str, error: &FlagsError) -> ExitCode {
        match error {
            FlagsError::Help => {
                // Whoever closed stdout does not want the text.
                let _ = write!(std::io::stdout(), "{}", Self::usage(program));
                ExitCode::SUCCESS
            }
            FlagsError::Version => {
                let _ = writeln!(std::io::stdout(), "mesos {}", version::VERSION);
                ExitCode::SUCCESS
            }
            error => {
                eprintln!("{program}: {error} (see `{program} --help`)");
                ExitCode::FAILURE
            }
        }
    }

    /// The usage text: every flag with its help, sorted by name.
    fn usage(program: &str) -> String {
        usage::usage(program, specs::<Self>())
    }

    /// `(name, value)` of every flag that has a value, sorted by current name. For `/flags`.
    ///
    /// A flag that was given by its deprecated name is listed under its current one; see
    /// [`Flags::effective_entries`].
    fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = Vec::new();
        self.collect(&mut entries);
        entries.push(("help", "false".into()));
        entries.push(("version", "false".into()));
        entries.sort_unstable();
        entries
    }

    /// Like [`Flags::entries`], under the names that were used to set the flags, as upstream prints and
    /// forwards them.
    fn effective_entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = self.entries();
        for entry in &mut entries {
            entry.0 = self.names().effective(entry.0);
        }
        entries.sort_unstable();
        entries
    }

    /// The flags as one line of arguments: `--name="value"` joined by spaces, sorted.
    fn to_line(&self) -> String {
        let entries = self.effective_entries();
        let words: Vec<String> = entries
            .iter()
            .map(|(name, value)| format!("--{name}=\"{value}\""))
            .collect();
        words.join(" ")
    }
}

/// The environment of this process, without variables that are not Unicode.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// All flags of `F` sorted by name, with those that every set has.
fn specs<F: Flags>() -> Vec<FlagSpec> {
    let mut specs = Vec::new();
    F::specs(&mut specs);
    for (name, help) in [
        ("help", "Prints this help message and exits."),
        ("version", "Shows the version and exits."),
    ] {
        specs.push(FlagSpec {
            name,
            alias: None,
            help: help.into(),
            default: Some("false".into()),
            required: false,
            boolean: true,
            source: ValueSource::Fetched,
        });
    }
    specs.sort_by_key(|spec| spec.name);
    specs
}

/// Declares a struct of flags, see the [module documentation](mod@crate::flags).
#[macro_export]
macro_rules! flags {
    ($(#[doc = $doc:expr])* $vis:vis struct $Name:ident { $($fields:tt)* }) => {
        $crate::flags!(@fields [$($doc)*] [$vis] $Name [] [] $($fields)*);
    };

    (@fields $head:tt $vis:tt $Name:ident $fields:tt [$($includes:tt)*]
        $(#[doc = $doc:expr])* $fvis:vis include $name:ident : $Type:ty, $($rest:tt)*
    ) => {
        $crate::flags!(@fields $head $vis $Name $fields
            [$($includes)* { [$($doc)*] [$fvis] $name [$Type] }] $($rest)*);
    };

    (@fields $head:tt $vis:tt $Name:ident [$($fields:tt)*] $includes:tt
        $(#[doc = $doc:expr])* $fvis:vis $name:ident $(($alias:ident))? : $Type:ty
        $(= $default:expr)? $(=> $validate:expr)?, $($rest:tt)*
    ) => {
        $crate::flags!(@fields $head $vis $Name
            [$($fields)* { [$($doc)*] [$fvis] $name [$($alias)?] [$Type] [$($default)?] [$($validate)?] }]
            $includes $($rest)*);
    };

    (@fields [$($doc:expr)*] [$vis:vis] $Name:ident
        [$({ [$($fdoc:expr)*] [$fvis:vis] $name:ident [$($alias:ident)?] [$Type:ty] [$($default:expr)?] [$($validate:expr)?] })*]
        [$({ [$($idoc:expr)*] [$ivis:vis] $include:ident [$Include:ty] })*]
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone)]
        $vis struct $Name {
            $($(#[doc = $fdoc])* $fvis $name: $Type,)*
            $($(#[doc = $idoc])* $ivis $include: $Include,)*
            /// Which flags were given by a deprecated name.
            pub names: $crate::flags::Names,
        }

        impl $crate::flags::Flags for $Name {
            fn specs(out: &mut ::std::vec::Vec<$crate::flags::FlagSpec>) {
                $(<$Include as $crate::flags::Flags>::specs(out);)*
                $(
                    #[allow(unused_mut, unused_assignments)]
                    let mut default: ::std::option::Option<::std::string::String> = None;
                    $(default = Some(::std::string::ToString::to_string(&$default));)?
                    #[allow(unused_mut, unused_assignments)]
                    let mut alias = None;
                    $(alias = Some($crate::flags::flag_name(stringify!($alias)));)?
                    out.push($crate::flags::FlagSpec {
                        name: $crate::flags::flag_name(stringify!($name)),
                        alias,
                        help: $crate::flags::help_text(&[$($fdoc),*]),
                        required: default.is_none() && !<$Type as $crate::flags::FlagValue>::OPTIONAL,
                        default,
                        boolean: <$Type as $crate::flags::FlagValue>::BOOLEAN,
                        source: <$Type as $crate::flags::FlagValue>::SOURCE,
                    });
                )*
            }

            fn take(values: &mut $crate::flags::Values) -> ::std::option::Option<Self> {
                // Every flag is taken before the first `?`, so that all problems are known.
                $(let $include = <$Include as $crate::flags::Flags>::take(values);)*
                $(
                    let $name = values.take::<$Type>($crate::flags::flag_name(stringify!($name)));
                    $(
                        let validate: fn(&$Type) -> ::std::result::Result<(), ::std::string::String> = $validate;
                        values.validate($crate::flags::flag_name(stringify!($name)), $name.as_ref(), validate);
                    )?
                )*
                Some(Self {
                    $($name: $name?,)*
                    $($include: $include?,)*
                    names: values.names(),
                })
            }

            fn collect(&self, out: &mut ::std::vec::Vec<(&'static str, ::std::string::String)>) {
                $($crate::flags::Flags::collect(&self.$include, out);)*
                $(
                    if let Some(value) = $crate::flags::FlagValue::print(&self.$name) {
                        out.push(($crate::flags::flag_name(stringify!($name)), value));
                    }
                )*
            }

            fn names(&self) -> &$crate::flags::Names {
                &self.names
            }
        }
    };
}

#[doc(inline)]
pub use crate::flags;

/// The name of a flag from the identifier of its field: fields named like a keyword are raw identifiers.
#[doc(hidden)]
pub fn flag_name(identifier: &'static str) -> &'static str {
    identifier.strip_prefix("r#").unwrap_or(identifier)
}

/// The help text from the lines of a doc comment.
#[doc(hidden)]
pub fn help_text(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines
        .iter()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests;
