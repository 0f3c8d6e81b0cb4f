//! Resources as operators write them: `cpus:2;mem:1024;ports:[31000-32000]`, or JSON.
//!
//! Upstream: `src/common/resources.cpp` (`Resources::parse`, `fromSimpleString`, `fromJSON`).

use std::collections::HashMap;

use serde_json::value::RawValue;
use thiserror::Error;

use super::collection::Resources;
use super::metadata::Reservation;
use super::resource::Resource;
use super::scalar::Scalar;
use super::validate::ValidationError;
use super::value::{ALLOWED, TextValue, Value, ValueError};
use crate::json::{self, JsonError};
use crate::{proto, roles};

/// Why a text is not a list of resources. The message names the part of the text and what is
/// allowed there.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ParseError {
    /// A token is not a name and a value.
    #[error(
        "'{0}' is not of the form name:value or name(role):value, such as cpus:2 or ports(web):[31000-32000]"
    )]
    Token(String),
    /// The name of a token is missing.
    #[error("'{0}' has no resource name before the ':'")]
    Name(String),
    /// The role of a token is not between one pair of parentheses.
    #[error("'{0}' has parentheses that do not match; a role is written name(role):value")]
    Parentheses(String),
    /// The role of a token is not a valid role.
    #[error("'{token}': {source}")]
    Role {
        /// The whole token.
        token: String,
        /// What is wrong with the role.
        source: roles::RoleError,
    },
    /// The value of a token cannot be understood.
    #[error("'{token}': {source}")]
    Value {
        /// The whole token.
        token: String,
        /// What is wrong with the value.
        source: ValueError,
    },
    /// The value of a token is a text or a negative number.
    #[error("'{token}': '{value}' is not a value of a resource; {ALLOWED}")]
    Text {
        /// The whole token.
        token: String,
        /// The value.
        value: String,
    },
    /// A text that begins like a JSON array is none.
    #[error("not a JSON array of resources: {0}")]
    Json(String),
    /// An element of the JSON array is not a resource.
    #[error("not a JSON array of resources: element {index}: {source}")]
    JsonElement {
        /// Its index in the array.
        index: usize,
        /// What is wrong with it.
        source: JsonError,
    },
    /// A resource breaks a rule.
    #[error(transparent)]
    Invalid(#[from] ValidationError),
    /// The same name is used for values of several types.
    #[error("Resources with the same name ('{0}') but different types are not allowed")]
    Types(String),
    /// Volumes come into being by operations only.
    #[error("Persistent volumes cannot be configured: remove 'persistence' of resource '{0}'")]
    PersistentVolume(String),
    /// Resources become revocable by the agent's estimate only.
    #[error("Revocable resources cannot be configured: remove 'revocable' of resource '{0}'")]
    Revocable(String),
    /// Dynamic reservations come into being by operations only.
    #[error(
        "Dynamic reservations cannot be configured: use a reservation of type STATIC for resource '{0}'"
    )]
    DynamicReservation(String),
}

impl Resources {
    /// Parses resources as an agent is configured with them, in either of two forms:
    ///
    /// * `name:value;name(role):value`, where a value is a number, ranges like `[1-10,20-30]` or a
    ///   set like `{a,b}`;
    /// * a JSON array of `Resource` messages.
    ///
    /// What names no role is reserved to `default_role`, unless that is `*`.
    ///
    /// # Errors
    /// The first part of the text that cannot be understood or breaks a rule.
    pub fn parse(text: &str, default_role: &str) -> Result<Resources, ParseError> {
        let list = Resources::parse_list(text, default_role)?;
        check_configurable(&list)?;
        Ok(list.into_iter().collect())
    }

    /// Like [`Resources::parse`], but keeps the list as it was written, including amounts of 0,
    /// which tell that a resource is not to be detected.
    ///
    /// # Errors
    /// The first part of the text that cannot be understood or breaks a rule.
    pub fn parse_list(text: &str, default_role: &str) -> Result<Vec<Resource>, ParseError> {
        if text.trim_start().starts_with('[') {
            return parse_json(text, default_role);
        }
        text.split(';')
            .filter(|token| !token.trim().is_empty())
            .map(|token| parse_token(token.trim(), default_role))
            .collect()
    }
}

fn parse_json(text: &str, default_role: &str) -> Result<Vec<Resource>, ParseError> {
    let elements: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| ParseError::Json(error.to_string()))?;
    let resources = elements.into_iter().enumerate().map(|(index, element)| {
        let mut resource: proto::Resource = json::from_str(element.get())
            .map_err(|source| ParseError::JsonElement { index, source })?;
        set_default_role(&mut resource, default_role);
        Ok(Resource::from_proto(&resource)?)
    });
    resources.collect()
}

fn set_default_role(resource: &mut proto::Resource, default_role: &str) {
    if resource.role.is_none() && resource.reservations.is_empty() {
        resource.role = Some(default_role.to_owned());
    }
}

fn parse_token(token: &str, default_role: &str) -> Result<Resource, ParseError> {
    let (head, value) = token
        .split_once(':')
        .filter(|(_, value)| !value.contains(':'))
        .ok_or_else(|| ParseError::Token(token.to_owned()))?;
    let (name, role) = parse_head(head, token)?;
    let name = name.trim();
    if name.is_empty() {
        return Err(ParseError::Name(token.to_owned()));
    }
    let role = role.map_or(default_role, str::trim);
    roles::validate(role).map_err(|source| ParseError::Role {
        token: token.to_owned(),
        source,
    })?;
    let resource = Resource::new(name, parse_value(value, token)?);
    Ok(if role == roles::STAR {
        resource
    } else {
        resource.with_reservation(Reservation::fixed(role))
    })
}

/// Splits `name(role)`; without parentheses there is no role.
fn parse_head<'a>(head: &'a str, token: &str) -> Result<(&'a str, Option<&'a str>), ParseError> {
    let mismatch = || ParseError::Parentheses(token.to_owned());
    let Some((name, rest)) = head.split_once('(') else {
        return if head.contains(')') {
            Err(mismatch())
        } else {
            Ok((head, None))
        };
    };
    let (role, rest) = rest.split_once(')').ok_or_else(mismatch)?;
    if role.contains('(') || !rest.trim().is_empty() {
        return Err(mismatch());
    }
    Ok((name, Some(role)))
}

fn parse_value(value: &str, token: &str) -> Result<Value, ParseError> {
    let error = |source| ParseError::Value {
        token: token.to_owned(),
        source,
    };
    match TextValue::parse(value).map_err(error)? {
        TextValue::Scalar(number) => {
            let scalar = Scalar::from_f64(number).map_err(|source| error(source.into()))?;
            if number != 0.0 && scalar.is_zero() {
                return Err(error(ValueError::Subnormal(value.trim().to_owned())));
            }
            Ok(Value::Scalar(scalar))
        }
        TextValue::Ranges(ranges) => Ok(Value::Ranges(ranges)),
        TextValue::Set(set) => Ok(Value::Set(set)),
        TextValue::Text(value) => Err(ParseError::Text {
            token: token.to_owned(),
            value,
        }),
    }
}

/// Refuses what only comes into being while the cluster runs, and names with several types.
fn check_configurable(list: &[Resource]) -> Result<(), ParseError> {
    let mut types = HashMap::new();
    for resource in list {
        let name = || resource.name().to_string();
        if resource.is_persistent_volume() {
            return Err(ParseError::PersistentVolume(name()));
        }
        if resource.is_revocable() {
            return Err(ParseError::Revocable(name()));
        }
        if resource.is_dynamically_reserved() {
            return Err(ParseError::DynamicReservation(name()));
        }
        let value_type = std::mem::discriminant(resource.value());
        if *types.entry(resource.name()).or_insert(value_type) != value_type {
            return Err(ParseError::Types(name()));
        }
    }
    Ok(())
}
