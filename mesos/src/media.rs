//! Media types of the HTTP APIs: which one a request has, which one its answer gets.

use bytes::Bytes;

use crate::json::{self, JsonError};
use mesos_protos::{DecodeError, Described, ProtoJson};

/// `Content-Type` of JSON bodies.
pub const APPLICATION_JSON: &str = "application/json";

/// `Content-Type` of protobuf bodies.
pub const APPLICATION_PROTOBUF: &str = "application/x-protobuf";

/// `Content-Type` of streams whose record type is said elsewhere (`Message-Content-Type`).
pub const APPLICATION_RECORDIO: &str = "application/recordio";

/// How messages are encoded in a body, or in each record of a streaming body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// Protobuf-JSON.
    Json,
    /// Protobuf.
    Protobuf,
}

/// Why a body is not the message it should be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// The body is not JSON.
    #[error("Failed to parse body into JSON: {0}")]
    Syntax(JsonError),
    /// The body is JSON, but not such a message.
    #[error("Failed to convert JSON into {message} protobuf: {error}")]
    Json {
        /// Short name of the message type: `Call`.
        message: &'static str,
        /// Why not.
        error: JsonError,
    },
    /// The body is not such a protobuf message.
    #[error("Failed to parse body into {message} protobuf")]
    Protobuf {
        /// Short name of the message type: `Call`.
        message: &'static str,
        /// Why not.
        source: DecodeError,
    },
}

impl ContentType {
    /// The type that a `Content-Type` header names. As upstream compares: exactly, in lower case, without
    /// parameters.
    pub fn parse(header: &str) -> Option<Self> {
        match header {
            APPLICATION_JSON => Some(ContentType::Json),
            APPLICATION_PROTOBUF => Some(ContentType::Protobuf),
            _ => None,
        }
    }

    /// The `Content-Type` header.
    pub fn as_str(self) -> &'static str {
        match self {
            ContentType::Json => APPLICATION_JSON,
            ContentType::Protobuf => APPLICATION_PROTOBUF,
        }
    }

    /// The type for an answer under an `Accept` header: JSON if it is accepted, else protobuf if that is.
    /// Without the header everything is accepted.
    pub fn negotiate(accept: Option<&str>) -> Option<Self> {
        [ContentType::Json, ContentType::Protobuf]
            .into_iter()
            .find(|candidate| accepts(accept, candidate.as_str()))
    }

    /// The body for a message.
    pub fn encode<M: Described + ProtoJson>(self, message: &M) -> Bytes {
        match self {
            ContentType::Json => json::to_string(message).into(),
            ContentType::Protobuf => message.encode_to_vec().into(),
        }
    }

    /// The message in a body.
    ///
    /// # Errors
    /// If there is no such message in it, in the words of upstream's answers.
    pub fn decode<M: Described>(self, body: &[u8]) -> Result<M, BodyError> {
        let message = M::NAME;
        match self {
            ContentType::Json => json::from_slice(body).map_err(|error| {
                if error.is_syntax() {
                    BodyError::Syntax(error)
                } else {
                    BodyError::Json { message, error }
                }
            }),
            ContentType::Protobuf => crate::decode::decode(body)
                .map_err(|source| BodyError::Protobuf { message, source }),
        }
    }
}

/// Whether an `Accept` header allows a media type. The most specific entry decides; the order of preference of
/// the client does not count, as upstream.
pub fn accepts(accept: Option<&str>, media_type: &str) -> bool {
    let Some(accept) = accept else {
        return true;
    };
    let accept: String = accept
        .chars()
        .filter(|c| !matches!(c, ' ' | '\t' | '\n'))
        .collect();
    let family = media_type.split('/').next().unwrap_or("");
    for candidate in [media_type, &format!("{family}/*"), "*/*"] {
        for entry in accept.split(',') {
            let mut parts = entry.split(';');
            if parts
                .next()
                .is_some_and(|t| t.eq_ignore_ascii_case(candidate))
            {
                let quality = parts.find_map(|parameter| parameter.strip_prefix("q="));
                return quality.is_none_or(|q| q.parse::<f64>().is_ok_and(|q| q > 0.0));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::master::Call;

    #[test]
    fn negotiation() {
        fn check(accept: Option<&str>, expected: Option<ContentType>) {
            assert_eq!(ContentType::negotiate(accept), expected, "{accept:?}");
        }
        check(None, Some(ContentType::Json));
        check(Some("*/*"), Some(ContentType::Json));
        check(Some("application/*"), Some(ContentType::Json));
        check(Some("Application/JSON"), Some(ContentType::Json));
        check(Some("application/x-protobuf"), Some(ContentType::Protobuf));
        check(
            Some("application/x-protobuf, application/json"),
            Some(ContentType::Json),
        );
        check(
            Some("application/json;q=0, */*"),
            Some(ContentType::Protobuf),
        );
        check(
            Some("application/json; q=0.0,application/x-protobuf;q=0.5"),
            Some(ContentType::Protobuf),
        );
        check(Some("application/json;q=bad"), None);
        check(Some("text/html"), None);
        check(Some(""), None);
    }

    #[test]
    fn content_types_compare_exactly() {
        assert_eq!(
            ContentType::parse("application/json"),
            Some(ContentType::Json)
        );
        assert_eq!(
            ContentType::parse("application/x-protobuf"),
            Some(ContentType::Protobuf)
        );
        for other in [
            "Application/json",
            "application/json; charset=utf-8",
            "",
            "text/plain",
        ] {
            assert_eq!(ContentType::parse(other), None);
        }
    }

    #[test]
    fn bodies_that_do_not_parse() {
        fn check(kind: ContentType, body: &str, expected: &str) {
            let error = kind.decode::<Call>(body.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let json = ContentType::Json;
        check(
            json,
            "nope",
            "Failed to parse body into JSON: syntax error at line 1 near: nope",
        );
        check(
            json,
            "",
            "Failed to parse body into JSON: syntax error at line 1 near: ",
        );
        check(
            json,
            "[]",
            "Failed to convert JSON into Call protobuf: Unexpected JSON type parsed",
        );
        check(
            json,
            r#"{"type": 5}"#,
            "Failed to convert JSON into Call protobuf: Not expecting a JSON number for field 'type'",
        );
        check(
            ContentType::Protobuf,
            "nope",
            "Failed to parse body into Call protobuf",
        );
    }
}
