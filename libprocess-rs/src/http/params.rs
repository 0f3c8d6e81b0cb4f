//! Path and query parameters as typed values.

use std::fmt::{self, Display};

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::Response;

/// Where a parameter was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamPlace {
    /// A `{name}` segment of the route.
    Path,
    /// The part of the URL after the `?`.
    Query,
}

impl Display for ParamPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::Query => "query",
        })
    }
}

/// Why the parameters of a request are not what its route takes. As a [`Response`] it is a 400 with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// The request does not have it.
    #[error("Missing {place} parameter '{name}'.")]
    Missing {
        /// Where it was looked for.
        place: ParamPlace,
        /// Its name.
        name: String,
    },
    /// Its value is not allowed.
    #[error("Invalid {place} parameter '{name}': {problem}.")]
    Invalid {
        /// Where it was found.
        place: ParamPlace,
        /// Its name.
        name: String,
        /// What is wrong with it, and what is allowed.
        problem: String,
    },
    /// The route has no such parameter, and its type denies unknown ones.
    #[error("Unknown {place} parameter '{name}': {problem}.")]
    Unknown {
        /// Where it was found.
        place: ParamPlace,
        /// Its name.
        name: String,
        /// Which ones there are.
        problem: String,
    },
    /// All of them together are not allowed, or the type cannot be made from parameters.
    #[error("Invalid {place} parameters: {problem}.")]
    Together {
        /// Where they were found.
        place: ParamPlace,
        /// What is wrong.
        problem: String,
    },
}

impl From<ParamError> for Response {
    fn from(error: ParamError) -> Self {
        Self::text(http::StatusCode::BAD_REQUEST, format!("{error}\n"))
    }
}

/// Makes a `T` of named texts.
pub(super) fn from_pairs<'de, T: Deserialize<'de>>(
    place: ParamPlace,
    pairs: Vec<(&'de str, &'de str)>,
) -> Result<T, ParamError> {
    let pairs = Pairs {
        rest: pairs.into_iter(),
        value: None,
    };
    T::deserialize(MapAccessDeserializer::new(pairs)).map_err(|problem| match problem {
        Problem::Missing(name) => ParamError::Missing {
            place,
            name: name.to_owned(),
        },
        Problem::Named(name, problem) => ParamError::Invalid {
            place,
            name,
            problem,
        },
        Problem::Unknown(name, problem) => ParamError::Unknown {
            place,
            name,
            problem,
        },
        Problem::Other(problem) => ParamError::Together { place, problem },
    })
}

/// What deserializing stumbled over.
#[derive(Debug)]
enum Problem {
    Missing(&'static str),
    Unknown(String, String),
    Named(String, String),
    Other(String),
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "missing '{name}'"),
            Self::Unknown(name, problem) | Self::Named(name, problem) => {
                write!(f, "'{name}': {problem}")
            }
            Self::Other(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: Display>(problem: T) -> Self {
        Self::Other(problem.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown(field.to_owned(), one_of(expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::Other(format!("'{variant}' is not {}", one_of(expected)))
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [] => "there are none".to_owned(),
        [only] => format!("'{only}'"),
        names => format!("one of '{}'", names.join("', '")),
    }
}

struct Pairs<'de> {
    rest: std::vec::IntoIter<(&'de str, &'de str)>,
    value: Option<(&'de str, &'de str)>,
}

impl<'de> de::MapAccess<'de> for Pairs<'de> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        self.value = self.rest.next();
        let key = self.value.map(|(key, _)| Value(key));
        key.map(|key| seed.deserialize(key)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let (key, value) = self.value.take().unwrap_or_default();
        seed.deserialize(Value(value))
            .map_err(|problem| Problem::Named(key.to_owned(), problem.to_string()))
    }
}

/// One text.
struct Value<'de>(&'de str);

impl Value<'_> {
    fn parse<T: std::str::FromStr>(&self, expected: impl Display) -> Result<T, Problem> {
        let parsed = self.0.parse();
        parsed.map_err(|_| Problem::Other(format!("'{}' is not {expected}", self.0)))
    }
}

macro_rules! whole_numbers {
    ($($name:ident $visit:ident $kind:ty),*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            let expected = format!("a whole number from {} to {}", <$kind>::MIN, <$kind>::MAX);
            visitor.$visit(self.parse(expected)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Problem;

    whole_numbers!(
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_bool(self.parse("'true' or 'false'")?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_f32(self.parse("a number")?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_f64(self.parse("a number")?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let text: StrDeserializer<'_, Problem> = self.0.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Order {
        Asc,
        Desc,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Id(u32);

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        id: Id,
        limit: Option<u8>,
        #[serde(default)]
        all: bool,
        order: Option<Order>,
        ratio: Option<f64>,
        name: Option<String>,
    }

    fn page(pairs: &[(&str, &str)]) -> Result<Page, String> {
        from_pairs(ParamPlace::Query, pairs.to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn typed_values() {
        let expected = Page {
            id: Id(7),
            limit: Some(255),
            all: true,
            order: Some(Order::Desc),
            ratio: Some(0.5),
            name: Some(String::new()),
        };
        let all = [
            ("id", "7"),
            ("limit", "255"),
            ("all", "true"),
            ("order", "desc"),
            ("ratio", "0.5"),
            ("name", ""),
        ];
        assert_eq!(page(&all), Ok(expected));
        let map: BTreeMap<String, String> =
            from_pairs(ParamPlace::Path, vec![("a", "1"), ("b", "x")]).unwrap();
        assert_eq!(map["b"], "x");
    }

    #[test]
    fn errors_name_the_parameter_and_what_is_allowed() {
        let check = |pairs: &[(&str, &str)], expected: &str| {
            assert_eq!(page(pairs).unwrap_err(), expected);
        };
        check(&[], "Missing query parameter 'id'.");
        check(
            &[("id", "-1")],
            "Invalid query parameter 'id': '-1' is not a whole number from 0 to 4294967295.",
        );
        check(
            &[("limit", "256")],
            "Invalid query parameter 'limit': '256' is not a whole number from 0 to 255.",
        );
        check(
            &[("all", "yes")],
            "Invalid query parameter 'all': 'yes' is not 'true' or 'false'.",
        );
        check(
            &[("order", "up")],
            "Invalid query parameter 'order': 'up' is not one of 'asc', 'desc'.",
        );
        check(
            &[("ratio", "")],
            "Invalid query parameter 'ratio': '' is not a number.",
        );
        check(
            &[("x", "1")],
            "Unknown query parameter 'x': one of 'id', 'limit', 'all', 'order', 'ratio', 'name'.",
        );
    }
}
