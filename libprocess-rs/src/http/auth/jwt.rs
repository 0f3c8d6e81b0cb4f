//! JSON web tokens signed with a shared secret.

use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;

use super::{Authentication, Authenticator, CheckError, CheckFuture, Principal, scheme_and_token};
use crate::{Clock, Request};

/// Tokens are unpadded (RFC 7515), but padding does no harm.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bearer tokens (RFC 6750) that are JSON web tokens signed by HMAC-SHA256 (RFC 7519, `HS256`).
///
/// A token is good if `alg` is `HS256`, `typ` is a string if it is there, there is no `crit`, the signature is right, and `exp`,
/// if it is there, is a number not less than the time in whole seconds. Other registered claims are not looked at. The
/// principal has no value; its claims are those of the token, strings as they are and other values as JSON.
///
/// Upstream: `process::http::authentication::JWTAuthenticator`. It looks at the claims before the signature, so for a token
/// with several faults the description of the error may differ.
pub struct JwtAuthenticator {
    realm: String,
    mac: Hmac<Sha256>,
    clock: Clock,
}

/// What is wrong with a token. The texts go into a quoted string of a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum TokenError {
    #[error("Malformed 'Authorization' header")]
    Header,
    #[error("Scheme is not 'Bearer'")]
    Scheme,
    #[error("Invalid JWT: expected 3 parts, got {0}")]
    Parts(usize),
    #[error("Invalid JWT: {0} is not a base64url-encoded JSON object")]
    Encoding(&'static str),
    #[error("Invalid JWT: 'alg' is not 'HS256'")]
    Algorithm,
    #[error("Invalid JWT: 'typ' is not a string")]
    Type,
    #[error("Invalid JWT: 'crit' is not supported")]
    Critical,
    #[error("Invalid JWT: signature does not match")]
    Signature,
    #[error("Invalid JWT: 'exp' is not a number")]
    Expiry,
    #[error("Invalid JWT: expired: exp({exp}) < now({now})")]
    Expired { exp: i64, now: i64 },
    #[error("JWT claims missing")]
    NoClaims,
}

impl JwtAuthenticator {
    /// An authenticator for tokens signed with `secret`; `clock` decides when they expire.
    pub fn new(realm: impl Into<String>, secret: impl AsRef<[u8]>, clock: Clock) -> Self {
        let secret = secret.as_ref();
        // HMAC takes keys of any length (RFC 2104): the error cannot come, and an empty key would be no worse than the one given.
        let mac = Hmac::new_from_slice(secret).unwrap_or_else(|_| Hmac::new(&Default::default()));
        Self {
            realm: realm.into(),
            mac,
            clock,
        }
    }

    fn check(&self, header: &str) -> Result<Principal, TokenError> {
        let (scheme, token) = scheme_and_token(header).ok_or(TokenError::Header)?;
        if scheme != "Bearer" {
            return Err(TokenError::Scheme);
        }
        let parts: Vec<&str> = token.split('.').collect();
        let &[header, payload, signature] = parts.as_slice() else {
            return Err(TokenError::Parts(parts.len()));
        };
        check_header(&object(header, "header")?)?;
        self.verify(header, payload, signature)?;
        let payload = object(payload, "payload")?;
        self.check_expiry(&payload)?;
        if payload.is_empty() {
            return Err(TokenError::NoClaims);
        }
        let claims = payload.into_iter().map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        });
        Ok(Principal::with_claims(BTreeMap::from_iter(claims)))
    }

    /// Compares in constant time.
    fn verify(&self, header: &str, payload: &str, signature: &str) -> Result<(), TokenError> {
        let signature = BASE64URL
            .decode(signature)
            .map_err(|_| TokenError::Signature)?;
        let mut mac = self.mac.clone();
        mac.update(header.as_bytes());
        mac.update(b".");
        mac.update(payload.as_bytes());
        mac.verify_slice(&signature)
            .map_err(|_| TokenError::Signature)
    }

    fn check_expiry(&self, payload: &Map<String, Value>) -> Result<(), TokenError> {
        let Some(exp) = payload.get("exp") else {
            return Ok(());
        };
        let exp = exp.as_i64().or_else(|| exp.as_f64().map(|exp| exp as i64));
        let exp = exp.ok_or(TokenError::Expiry)?;
        let now = i64::try_from(self.clock.now().unix().as_secs()).unwrap_or(i64::MAX);
        match exp < now {
            true => Err(TokenError::Expired { exp, now }),
            false => Ok(()),
        }
    }
}

fn object(part: &str, what: &'static str) -> Result<Map<String, Value>, TokenError> {
    let bytes = BASE64URL.decode(part).ok();
    let object = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    object.ok_or(TokenError::Encoding(what))
}

fn check_header(header: &Map<String, Value>) -> Result<(), TokenError> {
    if header.get("typ").is_some_and(|typ| !typ.is_string()) {
        return Err(TokenError::Type);
    }
    if header.get("alg").and_then(Value::as_str) != Some("HS256") {
        return Err(TokenError::Algorithm);
    }
    // It lists extensions that must be understood, and none is.
    match header.contains_key("crit") {
        true => Err(TokenError::Critical),
        false => Ok(()),
    }
}

impl Authenticator for JwtAuthenticator {
    fn scheme(&self) -> String {
        "Bearer".to_owned()
    }

    fn authenticate<'a>(
        &'a self,
        request: &'a Request,
    ) -> CheckFuture<'a, Result<Authentication, CheckError>> {
        let realm = &self.realm;
        let result = match request.headers.contains("Authorization") {
            // A client that has not tried is not told of an error (RFC 6750, section 3.1).
            false => Authentication::unauthorized([format!("Bearer realm=\"{realm}\"")]),
            true => match self.check(request.header("Authorization").unwrap_or_default()) {
                Ok(principal) => Authentication::Authenticated(principal),
                Err(error) => Authentication::unauthorized([format!(
                    "Bearer realm=\"{realm}\", error=\"invalid_token\", error_description=\"{error}\""
                )]),
            },
        };
        Box::pin(std::future::ready(Ok(result)))
    }
}

impl std::fmt::Debug for JwtAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtAuthenticator")
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Instant;

    fn sign(header: &str, payload: &str) -> String {
        let text = format!("{}.{}", encode(header), encode(payload));
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
        mac.update(text.as_bytes());
        format!("{text}.{}", BASE64URL.encode(mac.finalize().into_bytes()))
    }

    fn encode(text: &str) -> String {
        BASE64URL.encode(text).trim_end_matches('=').to_owned()
    }

    fn check(token: &str, expected: Result<&[(&str, &str)], TokenError>) {
        let now = Instant::from_unix(Duration::from_millis(1_000_900));
        let authenticator = JwtAuthenticator::new("r", "secret", Clock::paused_at(now));
        let expected = expected.map(|claims| {
            let claims = claims.iter();
            let claims = claims.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            Principal::with_claims(claims.collect())
        });
        assert_eq!(authenticator.check(token), expected, "{token}");
    }

    const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    #[test]
    fn good_tokens() {
        let bearer = |header: &str, payload: &str| format!("Bearer {}", sign(header, payload));
        check(
            &bearer(HS256, r#"{"sub":"me","n":1,"o":{"a":[true]}}"#),
            Ok(&[("sub", "me"), ("n", "1"), ("o", r#"{"a":[true]}"#)]),
        );
        check(
            &bearer(r#"{"alg":"HS256"}"#, r#"{"exp":1000}"#),
            Ok(&[("exp", "1000")]),
        );
        check(
            &bearer(HS256, r#"{"exp":1000.9,"nbf":5000}"#),
            Ok(&[("exp", "1000.9"), ("nbf", "5000")]),
        );
        // From the example of RFC 7519, section 3.1, with the key of RFC 7515, appendix A.1.
        let key = BASE64URL.decode(
            "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        );
        let clock = Clock::paused_at(Instant::from_unix(Duration::from_secs(1_300_819_380)));
        let authenticator = JwtAuthenticator::new("r", key.unwrap(), clock.clone());
        let token = "Bearer eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                     eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                     dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(authenticator.check(token).unwrap().claims["iss"], "joe");
        clock.advance(Duration::from_secs(1));
        let expired = authenticator.check(token).unwrap_err();
        assert_eq!(
            expired.to_string(),
            "Invalid JWT: expired: exp(1300819380) < now(1300819381)"
        );
    }

    #[test]
    fn bad_tokens() {
        let bearer = |header: &str, payload: &str| format!("Bearer {}", sign(header, payload));
        let good = sign(HS256, r#"{"a":"b"}"#);
        check("", Err(TokenError::Header));
        check("Bearer a b", Err(TokenError::Header));
        check(&format!("bearer {good}"), Err(TokenError::Scheme));
        check("Bearer a.b", Err(TokenError::Parts(2)));
        check("Bearer a.b.c.d", Err(TokenError::Parts(4)));
        check("Bearer ?.b.c", Err(TokenError::Encoding("header")));
        check(&bearer("[]", "{}"), Err(TokenError::Encoding("header")));
        check(&bearer(HS256, "1"), Err(TokenError::Encoding("payload")));
        check(&bearer("{}", "{}"), Err(TokenError::Algorithm));
        for alg in ["none", "RS256", "hs256"] {
            let header = format!(r#"{{"alg":"{alg}"}}"#);
            check(&bearer(&header, "{}"), Err(TokenError::Algorithm));
        }
        check(&bearer(r#"{"alg":1}"#, "{}"), Err(TokenError::Algorithm));
        check(
            &bearer(r#"{"alg":"HS256","typ":null}"#, "{}"),
            Err(TokenError::Type),
        );
        check(
            &bearer(r#"{"alg":"HS256","crit":[]}"#, "{}"),
            Err(TokenError::Critical),
        );
        check(&bearer(HS256, "{}"), Err(TokenError::NoClaims));
        check(&bearer(HS256, r#"{"exp":"1"}"#), Err(TokenError::Expiry));
        check(
            &bearer(HS256, r#"{"exp":999}"#),
            Err(TokenError::Expired {
                exp: 999,
                now: 1000,
            }),
        );
        check(&format!("Bearer {good}x"), Err(TokenError::Signature));
        check(&format!("Bearer {good}?"), Err(TokenError::Signature));
        let unsigned = good.rsplit_once('.').unwrap().0;
        check(&format!("Bearer {unsigned}."), Err(TokenError::Signature));
        let other = sign(HS256, r#"{"a":"c"}"#);
        let swapped = other.rsplit_once('.').unwrap().1;
        check(
            &format!("Bearer {unsigned}.{swapped}"),
            Err(TokenError::Signature),
        );
    }
}
