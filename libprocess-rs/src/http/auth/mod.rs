//! Who may use a route: authenticators, authorization hooks and the firewall.
//!
//! A request passes three checks before its handler sees it: the [firewall](FirewallRule), the [`Authenticator`] of the realm
//! of its route, and the [authorization hook](Runtime::set_authorization) of its route. Actor messages pass none of them, as
//! upstream.

mod basic;
mod combined;
mod firewall;
mod gatekeeper;
mod jwt;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

use super::{Request, Response};

pub use basic::BasicAuthenticator;
pub use combined::CombinedAuthenticator;
pub use firewall::{DisabledEndpoints, Endpoint, FirewallRule};
pub use jwt::JwtAuthenticator;

pub(crate) use gatekeeper::{Gatekeeper, Lane};

/// A check that takes its time.
pub type CheckFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Finds out who sent a request.
///
/// An authenticator is installed for a realm with [`Runtime::set_authenticator`](crate::Runtime::set_authenticator); other
/// crates may bring their own.
///
/// ```
/// use libprocess::{Authentication, Authenticator, CheckError, CheckFuture, Principal, Request};
///
/// /// Believes what a trusted proxy says.
/// struct ProxyAuthenticator;
///
/// impl Authenticator for ProxyAuthenticator {
///     fn scheme(&self) -> String {
///         "Proxy".to_owned()
///     }
///
///     fn authenticate<'a>(
///         &'a self,
///         request: &'a Request,
///     ) -> CheckFuture<'a, Result<Authentication, CheckError>> {
///         Box::pin(async move {
///             Ok(match request.header("X-Forwarded-User") {
///                 Some(user) => Authentication::Authenticated(Principal::named(user)),
///                 None => Authentication::unauthorized(["Proxy"]),
///             })
///         })
///     }
/// }
/// ```
///
/// Upstream: `process::http::authentication::Authenticator`.
pub trait Authenticator: Send + Sync {
    /// The name of the scheme, such as `Basic`; several are separated by spaces.
    fn scheme(&self) -> String;

    /// Checks a request. Its body has been read completely unless its route streams bodies; the path is the delegated one.
    ///
    /// # Errors
    /// The check itself failed; the client gets a 500 with the text of the error.
    fn authenticate<'a>(
        &'a self,
        request: &'a Request,
    ) -> CheckFuture<'a, Result<Authentication, CheckError>>;
}

/// What an [`Authenticator`] has found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// Who it is. A principal with neither a value nor a claim is a fault of the authenticator and gives 500.
    Authenticated(Principal),
    /// 401: the client has to say who it is, or to say it otherwise.
    Unauthorized {
        /// The challenges of the `WWW-Authenticate` header, which are joined by `, `.
        challenges: Vec<String>,
        /// The body.
        body: String,
    },
    /// 403: the client is known and not wanted.
    Forbidden {
        /// The body.
        body: String,
    },
}

impl Authentication {
    /// 401 with the default body.
    pub fn unauthorized(challenges: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Unauthorized {
            challenges: challenges.into_iter().map(Into::into).collect(),
            body: super::response::default_body(http::StatusCode::UNAUTHORIZED),
        }
    }

    /// 403 with the default body.
    pub fn forbidden() -> Self {
        Self::Forbidden {
            body: super::response::default_body(http::StatusCode::FORBIDDEN),
        }
    }

    /// The principal, or the response that refuses the request.
    fn into_result(self) -> Result<Principal, Box<Response>> {
        let refusal = match self {
            Self::Authenticated(principal) if principal.is_empty() => Response::text(
                http::StatusCode::INTERNAL_SERVER_ERROR,
                "The authenticator returned a principal with neither a value nor a claim",
            ),
            Self::Authenticated(principal) => return Ok(principal),
            Self::Unauthorized { challenges, body } => Response::unauthorized(&challenges, body),
            Self::Forbidden { body } => Response::text(http::StatusCode::FORBIDDEN, body),
        };
        Err(Box::new(refusal))
    }
}

/// An authenticator or an authorization hook could not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CheckError(String);

impl CheckError {
    /// An error with this text, which the client gets to see.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// An authenticated client.
///
/// It prints as its bare value or, if it has claims, as a JSON object with `value` and `claims`.
///
/// Upstream: `process::http::authentication::Principal`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Principal {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What else is known, such as the claims of a token.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
}

impl Principal {
    /// A principal with a name and no claims.
    pub fn named(value: impl Into<String>) -> Self {
        Self {
            value: Some(value.into()),
            claims: BTreeMap::new(),
        }
    }

    /// A principal with claims and no name.
    pub fn with_claims(claims: BTreeMap<String, String>) -> Self {
        Self {
            value: None,
            claims,
        }
    }

    fn is_empty(&self) -> bool {
        self.value.is_none() && self.claims.is_empty()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) if self.claims.is_empty() => f.write_str(value),
            _ => f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?),
        }
    }
}

/// The parts of an `Authorization` header, if it is a scheme and one token with a single space between.
fn scheme_and_token(header: &str) -> Option<(&str, &str)> {
    let (scheme, token) = header.split_once(' ')?;
    (!token.contains(' ')).then_some((scheme, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_print_as_upstream() {
        let check = |principal: Principal, expected: &str| {
            assert_eq!(principal.to_string(), expected);
        };
        let claims = || BTreeMap::from([("a".to_owned(), "b\"".to_owned())]);
        check(Principal::named("me"), "me");
        check(
            Principal::with_claims(claims()),
            r#"{"claims":{"a":"b\""}}"#,
        );
        let both = Principal {
            value: Some("me".to_owned()),
            claims: claims(),
        };
        check(both, r#"{"value":"me","claims":{"a":"b\""}}"#);
        check(Principal::default(), "{}");
    }

    #[test]
    fn results_become_responses() {
        let check = |result: Authentication, expected: Result<&str, (u16, &str)>| {
            let result = result.into_result().map_err(|response| {
                let body = String::from_utf8_lossy(response.body().unwrap()).into_owned();
                (response.status_code().as_u16(), body)
            });
            let expected = expected
                .map(Principal::named)
                .map_err(|(code, body)| (code, body.to_owned()));
            assert_eq!(result, expected);
        };
        check(
            Authentication::Authenticated(Principal::named("a")),
            Ok("a"),
        );
        check(
            Authentication::Authenticated(Principal::default()),
            Err((
                500,
                "The authenticator returned a principal with neither a value nor a claim",
            )),
        );
        check(
            Authentication::unauthorized(["x"]),
            Err((401, "401 Unauthorized.")),
        );
        check(Authentication::forbidden(), Err((403, "403 Forbidden.")));
    }

    #[test]
    fn authorization_headers() {
        let check = |header: &str, expected: Option<(&str, &str)>| {
            assert_eq!(scheme_and_token(header), expected, "{header:?}");
        };
        check("Basic abc", Some(("Basic", "abc")));
        check("Basic", None);
        check("Basic  abc", None);
        check("Basic a b", None);
        check("", None);
    }
}
