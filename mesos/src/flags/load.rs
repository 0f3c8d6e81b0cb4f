//! From arguments and environment to values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{ENVIRONMENT_PREFIX, FlagSpec, FlagValue, Flags, FlagsError, ValueSource, specs};

/// Which leniency [`Flags::load_with`] allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions {
    /// Ignore unknown flags.
    pub allow_unknown: bool,
    /// Let the last of several values for one flag win.
    pub allow_duplicates: bool,
}

/// Flags that were read.
#[derive(Debug, Clone)]
pub struct Loaded<F> {
    /// The flags.
    pub flags: F,
    /// What should be logged once logging works, such as the use of deprecated names.
    pub warnings: Vec<String>,
    /// The arguments that do not start with `--`, and everything after a bare `--`.
    pub positional: Vec<String>,
}

/// Which flags were given by a deprecated name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<&'static str, &'static str>);

impl Names {
    /// The name that was used for the flag with this current name.
    pub fn effective(&self, name: &'static str) -> &'static str {
        self.0.get(name).copied().unwrap_or(name)
    }
}

/// Stages of loading: problems of an earlier one are reported first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Read,
    Require,
    Validate,
}

/// A value as given.
#[derive(Debug, Clone)]
struct Given {
    /// The name that was used, without `no-`.
    name: String,
    /// The text as it was given, and after files were read.
    text: String,
    fetched: Option<String>,
}

/// The values of all flags before they are read. Used by the code that [`flags!`](crate::flags!) writes.
#[derive(Debug)]
pub struct Values {
    specs: Vec<FlagSpec>,
    given: BTreeMap<&'static str, Given>,
    names: Names,
    errors: Vec<(Stage, String, FlagsError)>,
    warnings: Vec<String>,
}

pub(super) fn load<F: Flags>(
    arguments: impl IntoIterator<Item = String>,
    environment: impl IntoIterator<Item = (String, String)>,
    options: LoadOptions,
) -> Result<Loaded<F>, FlagsError> {
    let mut values = Values {
        specs: specs::<F>(),
        given: BTreeMap::new(),
        names: Names::default(),
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let mut texts = values.environment(environment);
    let (words, positional) = command_line(arguments);
    values.merge(&mut texts, words, options);
    for (spelling, text) in texts {
        values.assign(spelling, text, options);
    }
    let help = values.take::<bool>("help").unwrap_or(false);
    let version = values.take::<bool>("version").unwrap_or(false);
    let flags = F::take(&mut values);

    values.errors.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let first = values.errors.into_iter().next();
    if help || version {
        let request = if help { "help" } else { "version" };
        match first {
            Some((Stage::Read, name, error)) if name.as_str() < request => return Err(error),
            _ if help => return Err(FlagsError::Help),
            _ => return Err(FlagsError::Version),
        }
    }
    match (flags, first) {
        (Some(flags), None) => Ok(Loaded {
            flags,
            warnings: values.warnings,
            positional,
        }),
        (_, Some((_, _, error))) => Err(error),
        (None, None) => Err(FlagsError::Refused),
    }
}

/// `(spelling, value)` of the arguments that are flags, and the other arguments.
fn command_line(
    arguments: impl IntoIterator<Item = String>,
) -> (Vec<(String, Option<String>)>, Vec<String>) {
    let mut words = Vec::new();
    let mut positional = Vec::new();
    let mut arguments = arguments.into_iter();
    for argument in arguments.by_ref() {
        let argument = argument.trim();
        match argument.strip_prefix("--") {
            Some("") => break,
            Some(flag) => {
                let (name, value) = match flag.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (flag, None),
                };
                words.push((name.to_lowercase(), value));
            }
            None => positional.push(argument.to_owned()),
        }
    }
    positional.extend(arguments);
    (words, positional)
}

impl Values {
    /// The variables that name a known flag; all others are none of our business.
    fn environment(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> BTreeMap<String, Option<String>> {
        environment
            .into_iter()
            .filter_map(|(variable, value)| {
                let spelling = variable.strip_prefix(ENVIRONMENT_PREFIX)?.to_lowercase();
                let known = self.find(&spelling).is_some()
                    || spelling
                        .strip_prefix("no-")
                        .is_some_and(|name| self.find(name).is_some());
                known.then_some((spelling, Some(value)))
            })
            .collect()
    }

    /// Lets the command line override what the environment says under the same spelling.
    fn merge(
        &mut self,
        texts: &mut BTreeMap<String, Option<String>>,
        words: Vec<(String, Option<String>)>,
        options: LoadOptions,
    ) {
        let mut seen = BTreeMap::new();
        for (spelling, value) in words {
            let earlier = seen.insert(spelling.clone(), value.clone());
            if let Some(spec) = self.find(spelling.strip_prefix("no-").unwrap_or(&spelling))
                && earlier.is_some()
                && !options.allow_duplicates
            {
                let error = FlagsError::Duplicate {
                    name: spec.name,
                    first: written(&spelling, earlier.flatten().as_deref()),
                    second: written(&spelling, value.as_deref()),
                };
                self.fail(Stage::Read, spelling.clone(), error);
            }
            texts.insert(spelling, value);
        }
    }

    fn find(&self, name: &str) -> Option<&FlagSpec> {
        self.specs
            .iter()
            .find(|spec| spec.name == name || spec.alias == Some(name))
    }

    fn fail(&mut self, stage: Stage, name: impl Into<String>, error: FlagsError) {
        self.errors.push((stage, name.into(), error));
    }

    /// Gives a text to the flag that its spelling (a name, an alias, either with `no-`) stands for.
    fn assign(&mut self, spelling: String, text: Option<String>, options: LoadOptions) {
        let negated = spelling.strip_prefix("no-");
        let name = negated.unwrap_or(&spelling).to_owned();
        let Some(spec) = self.find(&name).cloned() else {
            if !options.allow_unknown {
                let nearest = nearest(&name, &self.specs);
                self.fail(
                    Stage::Read,
                    spelling.clone(),
                    FlagsError::Unknown { name, nearest },
                );
            }
            return;
        };
        let value = match (negated.is_some(), spec.boolean, text) {
            (true, false, _) => Err(FlagsError::NotNegatable { name: name.clone() }),
            (true, true, Some(value)) if !value.is_empty() => Err(FlagsError::NegatedWithValue {
                name: name.clone(),
                value,
            }),
            (true, true, _) => Ok("false".to_owned()),
            (false, false, None) => Err(FlagsError::NoValue { name: name.clone() }),
            (false, _, text) => Ok(text.unwrap_or_default()),
        };
        match value {
            Ok(text) => self.give(&spec, &spelling, name, text, options),
            Err(error) => self.fail(Stage::Read, spelling, error),
        }
    }

    fn give(
        &mut self,
        spec: &FlagSpec,
        spelling: &str,
        name: String,
        text: String,
        options: LoadOptions,
    ) {
        if let Some(earlier) = self.given.get(spec.name)
            && !options.allow_duplicates
        {
            let error = FlagsError::Duplicate {
                name: spec.name,
                first: written(&earlier.name, Some(&earlier.text)),
                second: written(spelling, Some(&text)),
            };
            self.fail(Stage::Read, spelling, error);
            return;
        }
        if let Some(alias) = spec.alias.filter(|alias| *alias == name) {
            self.warnings.push(format!(
                "Loaded deprecated flag '{alias}': use '{}' instead",
                spec.name
            ));
            self.names.0.insert(spec.name, alias);
        }
        match self.fetch(spec, &name, &text) {
            Ok(fetched) => {
                let given = Given {
                    name,
                    text,
                    fetched,
                };
                self.given.insert(spec.name, given);
            }
            Err(error) => {
                self.fail(Stage::Read, spelling, error);
                // The flag counts as given: it must not be reported as missing too.
                let fetched = None;
                let given = Given {
                    name,
                    text,
                    fetched,
                };
                self.given.insert(spec.name, given);
            }
        }
    }

    /// The content of the file that a value names, if it names one.
    fn fetch(
        &mut self,
        spec: &FlagSpec,
        name: &str,
        text: &str,
    ) -> Result<Option<String>, FlagsError> {
        let path = match spec.source {
            ValueSource::Path => return Ok(None),
            ValueSource::Fetched => text.strip_prefix("file://").map(Path::new),
            ValueSource::FetchedOrAbsolutePath => match text.strip_prefix("file://") {
                Some(path) => Some(Path::new(path)),
                None if text.starts_with('/') => {
                    self.warnings.push(format!(
                        "Flag '{name}' was given an absolute path: use 'file://{text}' instead"
                    ));
                    Some(Path::new(text))
                }
                None => None,
            },
        };
        let Some(path) = path else {
            return Ok(None);
        };
        std::fs::read_to_string(path)
            .map(Some)
            .map_err(|source| FlagsError::File {
                name: name.to_owned(),
                path: PathBuf::from(path),
                source,
            })
    }

    /// Reads the value of a flag: what was given, else its default, else nothing if it is optional.
    ///
    /// A flag that is refused or missing yields `None` and is reported at the end.
    pub fn take<T: FlagValue>(&mut self, name: &'static str) -> Option<T> {
        let (given, text, fetched) = match self.given.get(name) {
            Some(given) => (
                given.name.clone(),
                given.text.clone(),
                given.fetched.clone(),
            ),
            None => match self.find(name).and_then(|spec| spec.default.clone()) {
                Some(default) => (name.to_owned(), default, None),
                None => {
                    let absent = T::absent();
                    if absent.is_none() {
                        self.fail(Stage::Require, name, FlagsError::Missing { name });
                    }
                    return absent;
                }
            },
        };
        let value = match &fetched {
            Some(content) => T::parse_fetched(&text, content),
            None => T::parse(&text),
        };
        match value {
            Ok(value) => Some(value),
            Err(reason) => {
                if !self.errors.iter().any(|(_, failed, _)| *failed == given) {
                    let error = FlagsError::Value {
                        name: given.clone(),
                        value: one_line(&text, QUOTED_MAX),
                        reason: one_line(&reason, REASON_MAX),
                    };
                    self.fail(Stage::Read, given, error);
                }
                None
            }
        }
    }

    /// Checks a value that was read.
    pub fn validate<T: FlagValue>(
        &mut self,
        name: &'static str,
        value: Option<&T>,
        validate: fn(&T) -> Result<(), String>,
    ) {
        let Some(value) = value else {
            return;
        };
        if let Err(reason) = validate(value) {
            let error = FlagsError::Invalid {
                name,
                value: one_line(&value.print().unwrap_or_default(), QUOTED_MAX),
                reason: one_line(&reason, REASON_MAX),
            };
            self.fail(Stage::Validate, name, error);
        }
    }

    /// Which flags were given by a deprecated name.
    pub fn names(&self) -> Names {
        self.names.clone()
    }
}

fn written(spelling: &str, value: Option<&str>) -> String {
    match value {
        Some(value) if !spelling.starts_with("no-") => {
            one_line(&format!("{spelling}={value}"), QUOTED_MAX)
        }
        _ => spelling.to_owned(),
    }
}

/// Longest piece of a value that an error quotes, in characters.
const QUOTED_MAX: usize = 120;

/// Longest reason that an error gives, in characters.
const REASON_MAX: usize = 1000;

/// The text with line breaks escaped, cut off after `max` characters.
fn one_line(text: &str, max: usize) -> String {
    let mut line: String = text.chars().take(max).collect();
    if line.len() < text.len() {
        line.push_str("...");
    }
    line.replace('\n', "\\n").replace('\r', "\\r")
}

/// The known name most like `name`, if any is close enough to be meant.
fn nearest(name: &str, specs: &[FlagSpec]) -> Option<&'static str> {
    let dashed = name.replace('-', "_");
    specs
        .iter()
        .map(|spec| (distance(&dashed, spec.name), spec.name))
        .min()
        .filter(|(distance, known)| {
            *distance < known.len() && *distance <= (known.len() / 3).max(2)
        })
        .map(|(_, known)| known)
}

/// How many characters have to be added, removed or replaced to turn one text into the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (above, to) in row.iter().skip(1).zip(b.chars()) {
            left = (diagonal + usize::from(from != to))
                .min(above + 1)
                .min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
