//! Agent attributes: parsing, printing, protobuf.
//!
//! Attributes are names and values by which frameworks choose agents; they are not consumed.
//! Upstream: `src/common/attributes.cpp`.

use std::fmt;

use thiserror::Error;

use crate::proto;
use crate::resources::{
    Ranges, Scalar, ScalarError, TextValue, ValueError, read_ranges, write_ranges,
};
use proto::value::Type;

/// Why a text or message is not a list of attributes.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum AttributeError {
    /// A token is not a name and a value.
    #[error("'{0}' is not of the form name:value, such as rack:r1")]
    Token(String),
    /// The value of a token cannot be understood.
    #[error("'{token}': {source}")]
    Value {
        /// The whole token.
        token: String,
        /// What is wrong with the value.
        source: ValueError,
    },
    /// The value of a token is a set.
    #[error(
        "'{0}': sets are not allowed; allowed are a number, ranges like [1-10,20-30] or a text"
    )]
    Set(String),
    /// A message has no name, or no value of its type.
    #[error("Attribute '{0}' has no value of its type; allowed types are SCALAR, RANGES and TEXT")]
    Message(String),
    /// The number of a message cannot be counted with.
    #[error("Attribute '{name}': {source}")]
    Scalar {
        /// The name of the attribute.
        name: String,
        /// What is wrong with the number.
        source: ScalarError,
    },
}

/// The value of an attribute.
#[derive(Clone, Debug)]
pub enum AttributeValue {
    /// A finite number, shown as it was given and compared to three decimals.
    Scalar(f64),
    /// Integers.
    Ranges(Ranges),
    /// Anything else.
    Text(String),
}

impl PartialEq for AttributeValue {
    fn eq(&self, other: &AttributeValue) -> bool {
        match (self, other) {
            (AttributeValue::Scalar(left), AttributeValue::Scalar(right)) => {
                Scalar::from_f64(*left) == Scalar::from_f64(*right)
            }
            (AttributeValue::Ranges(left), AttributeValue::Ranges(right)) => left == right,
            (AttributeValue::Text(left), AttributeValue::Text(right)) => left == right,
            _ => false,
        }
    }
}

/// One attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// The name; several attributes may have the same one.
    pub name: String,
    /// The value.
    pub value: AttributeValue,
}

/// The attributes of an agent, in the order in which they were given.
///
/// Equality ignores order and repetition.
#[derive(Clone, Debug, Default)]
pub struct Attributes(Vec<Attribute>);

impl Attributes {
    /// Parses the value of the agent's `--attributes` flag: `rack:r1;slots:4;ports:[1-9]`, with
    /// `;` or line ends between attributes. The value begins after the first `:`.
    ///
    /// # Errors
    /// The first token that is not a name and an allowed value.
    pub fn parse(text: &str) -> Result<Attributes, AttributeError> {
        text.split([';', '\n'])
            .filter(|token| !token.trim().is_empty())
            .map(parse_token)
            .collect::<Result<_, _>>()
            .map(Attributes)
    }

    /// Reads messages.
    ///
    /// # Errors
    /// The first message without name or without a value of its type.
    pub fn from_protos(attributes: &[proto::Attribute]) -> Result<Attributes, AttributeError> {
        attributes
            .iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Attributes)
    }

    /// Reads messages, leaving out those without name or without a value of their type.
    #[must_use]
    pub fn from_valid_protos(attributes: &[proto::Attribute]) -> Attributes {
        Attributes(
            attributes
                .iter()
                .filter_map(|item| read(item).ok())
                .collect(),
        )
    }

    /// Writes messages.
    #[must_use]
    pub fn to_protos(&self) -> Vec<proto::Attribute> {
        self.0.iter().map(write).collect()
    }

    /// The attributes in the order in which they were given.
    pub fn iter(&self) -> std::slice::Iter<'_, Attribute> {
        self.0.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first attribute of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.iter()
            .find(|attribute| attribute.name == name)
            .map(|attribute| &attribute.value)
    }

    /// Whether an equal attribute is there.
    #[must_use]
    pub fn contains(&self, attribute: &Attribute) -> bool {
        self.0.contains(attribute)
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Attributes) -> bool {
        self.iter().all(|attribute| other.contains(attribute))
            && other.iter().all(|attribute| self.contains(attribute))
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = &'a Attribute;
    type IntoIter = std::slice::Iter<'a, Attribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn parse_token(token: &str) -> Result<Attribute, AttributeError> {
    let (name, value) = token
        .split_once(':')
        .map(|(name, value)| (name.trim(), value))
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .ok_or_else(|| AttributeError::Token(token.trim().to_owned()))?;
    let error = |source| AttributeError::Value {
        token: token.trim().to_owned(),
        source,
    };
    let value = match TextValue::parse(value).map_err(error)? {
        TextValue::Scalar(number) => AttributeValue::Scalar(number),
        TextValue::Ranges(ranges) => AttributeValue::Ranges(ranges),
        TextValue::Text(text) => AttributeValue::Text(text),
        TextValue::Set(_) => return Err(AttributeError::Set(token.trim().to_owned())),
    };
    Ok(Attribute {
        name: name.to_owned(),
        value,
    })
}

fn read(attribute: &proto::Attribute) -> Result<Attribute, AttributeError> {
    let error = || AttributeError::Message(attribute.name.clone());
    if attribute.name.is_empty() {
        return Err(error());
    }
    let value = match Type::try_from(attribute.r#type) {
        Ok(Type::Scalar) => {
            let scalar = attribute.scalar.as_ref().ok_or_else(error)?;
            // Only numbers that can be compared are let in.
            Scalar::from_f64(scalar.value).map_err(|source| AttributeError::Scalar {
                name: attribute.name.clone(),
                source,
            })?;
            AttributeValue::Scalar(scalar.value)
        }
        Ok(Type::Ranges) => {
            let ranges = attribute.ranges.as_ref().ok_or_else(error)?;
            AttributeValue::Ranges(read_ranges(Some(ranges)))
        }
        Ok(Type::Text) => {
            let text = attribute.text.as_ref().ok_or_else(error)?;
            AttributeValue::Text(text.value.clone())
        }
        Ok(Type::Set) | Err(_) => return Err(error()),
    };
    Ok(Attribute {
        name: attribute.name.clone(),
        value,
    })
}

fn write(attribute: &Attribute) -> proto::Attribute {
    let mut message = proto::Attribute {
        name: attribute.name.clone(),
        ..Default::default()
    };
    match &attribute.value {
        AttributeValue::Scalar(value) => {
            message.set_type(Type::Scalar);
            message.scalar = Some(proto::value::Scalar { value: *value });
        }
        AttributeValue::Ranges(ranges) => {
            message.set_type(Type::Ranges);
            message.ranges = Some(write_ranges(ranges));
        }
        AttributeValue::Text(text) => {
            message.set_type(Type::Text);
            message.text = Some(proto::value::Text {
                value: text.clone(),
            });
        }
    }
    message
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttributeValue::Scalar(number) => number.fmt(formatter),
            AttributeValue::Ranges(ranges) => ranges.fmt(formatter),
            AttributeValue::Text(text) => formatter.write_str(text),
        }
    }
}

/// `rack=r1; slots=4`
impl fmt::Display for Attributes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attribute) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(
                formatter,
                "{separator}{}={}",
                attribute.name, attribute.value
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let actual = match Attributes::parse(text) {
            Ok(attributes) => attributes.to_string(),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(actual, expected, "attributes {text:?}");
    }

    #[test]
    fn parsing() {
        check("", "");
        check("rack:r1", "rack=r1");
        check(
            "rack:abc;zone:west\nlevel:10.5;keys:[1000-1500, 2-3]",
            "rack=abc; zone=west; level=10.5; keys=[2-3, 1000-1500]",
        );
        check("url:http://a:80;", "url=http://a:80");
        check("a:1;a:2", "a=1; a=2");
        check("level:-5", "level=-5");
    }

    #[test]
    fn errors() {
        check(
            "rack",
            "error: 'rack' is not of the form name:value, such as rack:r1",
        );
        check(
            ":r1",
            "error: ':r1' is not of the form name:value, such as rack:r1",
        );
        check(
            "rack:",
            "error: 'rack:' is not of the form name:value, such as rack:r1",
        );
        check(
            "x:{a,b}",
            "error: 'x:{a,b}': sets are not allowed; allowed are a number, ranges like [1-10,20-30] or a text",
        );
        check(
            "x:[1-2",
            "error: 'x:[1-2': '[1-2' has brackets that do not match; allowed are a number, ranges like [1-10,20-30] or a set like {a,b}",
        );
    }

    #[test]
    fn messages() {
        let attributes = Attributes::parse("rack:r1;n:7;rg:[1-5]").unwrap();
        let messages = attributes.to_protos();
        assert_eq!(Attributes::from_protos(&messages).unwrap(), attributes);
        assert_eq!(attributes.get("n"), Some(&AttributeValue::Scalar(7.0)));
        assert_eq!(attributes.get("m"), None);

        let mut broken = messages[0].clone();
        broken.text = None;
        assert!(Attributes::from_protos(&[broken.clone()]).is_err());
        let valid = Attributes::from_valid_protos(&[broken, messages[1].clone()]);
        assert_eq!(valid.to_string(), "n=7");
        let mut set = messages[0].clone();
        set.set_type(Type::Set);
        assert!(Attributes::from_protos(&[set]).is_err());
    }

    #[test]
    fn equality_ignores_order_and_repetition() {
        let parse = |text| Attributes::parse(text).unwrap();
        assert_eq!(parse("a:1;b:2"), parse("b:2;a:1;a:1.0000001"));
        assert_ne!(parse("a:1"), parse("a:2"));
        assert_ne!(parse("a:1"), parse("a:1;b:1"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC*|[a-z:;{}()\\[\\]0-9,. \n-]*") {
            let _ = Attributes::parse(&text);
        }
    }
}
