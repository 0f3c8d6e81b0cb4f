//! User names and passwords.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Authentication, Authenticator, CheckError, CheckFuture, Principal, scheme_and_token};
use crate::Request;

/// HTTP basic authentication: the header is exactly `Authorization: Basic <base64 of name:password>`.
///
/// A password may contain colons, a name may not. What fails, in whatever way, gets the same 401 with the challenge
/// `Basic realm="<realm>"`.
///
/// ```
/// use libprocess::BasicAuthenticator;
///
/// let authenticator = BasicAuthenticator::new("mesos-master-readonly", [("ops", "a:secret")]);
/// ```
///
/// Upstream: `process::http::authentication::BasicAuthenticator`, for which passwords with a colon never match.
pub struct BasicAuthenticator {
    challenge: String,
    /// Digests of the passwords: those of equal length are compared, whatever a client sends.
    credentials: HashMap<String, [u8; 32]>,
}

impl BasicAuthenticator {
    /// An authenticator for these names and passwords.
    pub fn new(
        realm: impl AsRef<str>,
        credentials: impl IntoIterator<Item = (impl Into<String>, impl AsRef<str>)>,
    ) -> Self {
        let credentials = credentials.into_iter();
        Self {
            challenge: format!("Basic realm=\"{}\"", realm.as_ref()),
            credentials: credentials
                .map(|(name, password)| (name.into(), digest(password.as_ref().as_bytes())))
                .collect(),
        }
    }

    fn check(&self, header: &str) -> Option<Principal> {
        let (scheme, token) = scheme_and_token(header)?;
        if scheme != "Basic" {
            return None;
        }
        let decoded = STANDARD.decode(token).ok()?;
        let decoded = std::str::from_utf8(&decoded).ok()?;
        let (name, password) = decoded.split_once(':')?;
        // An unknown name takes as long as a known one.
        let known = self.credentials.get(name);
        let expected = known.unwrap_or(&[0; 32]);
        let equal: bool = digest(password.as_bytes()).ct_eq(expected).into();
        (equal && known.is_some()).then(|| Principal::named(name))
    }
}

fn digest(password: &[u8]) -> [u8; 32] {
    Sha256::digest(password).into()
}

impl Authenticator for BasicAuthenticator {
    fn scheme(&self) -> String {
        "Basic".to_owned()
    }

    fn authenticate<'a>(
        &'a self,
        request: &'a Request,
    ) -> CheckFuture<'a, Result<Authentication, CheckError>> {
        let principal = request.header("Authorization").and_then(|h| self.check(h));
        Box::pin(std::future::ready(Ok(match principal {
            Some(principal) => Authentication::Authenticated(principal),
            None => Authentication::unauthorized([self.challenge.as_str()]),
        })))
    }
}

impl std::fmt::Debug for BasicAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BasicAuthenticator")
            .field("challenge", &self.challenge)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let authenticator =
            BasicAuthenticator::new("r", [("me", "pass"), ("colon", "a:b:"), ("none", "")]);
        let check = |header: &str, expected: Option<&str>| {
            let principal = authenticator.check(header);
            assert_eq!(principal, expected.map(Principal::named), "{header}");
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        check(&basic("me:pass"), Some("me"));
        check(&basic("colon:a:b:"), Some("colon"));
        check(&basic("none:"), Some("none"));
        check(&basic("me:"), None);
        check(&basic("me:pass:"), None);
        check(&basic("me"), None);
        check(&basic("you:pass"), None);
        check(&basic(":"), None);
        check(&basic("me:pass").replace("Basic ", "basic "), None);
        check(&basic("me:pass").replace(' ', "  "), None);
        check(&format!("{} ", basic("me:pass")), None);
        check("Basic ?", None);
        check("Basic /w==", None);
        check("Bearer x", None);
        check("", None);
    }
}
