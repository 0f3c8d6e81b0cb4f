//! Several authenticators for one realm.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Authentication, Authenticator, CheckError, CheckFuture};
use crate::Request;

/// Tries authenticators in order: the first that knows the client decides.
///
/// If none does and any asks for authentication, the answer is one 401 with all challenges, joined by `,`; else if any forbids,
/// one 403. Either has the bodies of all that answered so, each under a line that names its scheme. If all fail that is an
/// error.
///
/// Upstream: `mesos::http::authentication::CombinedAuthenticator`.
pub struct CombinedAuthenticator {
    authenticators: Vec<Arc<dyn Authenticator>>,
}

/// What the authenticators that do not know the client have said, each with its scheme.
#[derive(Default)]
struct Refusals {
    challenges: Vec<String>,
    unauthorized: Vec<String>,
    forbidden: Vec<String>,
    errors: Vec<String>,
    any_forbidden: bool,
}

impl CombinedAuthenticator {
    /// An authenticator that tries these.
    pub fn new(authenticators: impl IntoIterator<Item = Arc<dyn Authenticator>>) -> Self {
        Self {
            authenticators: authenticators.into_iter().collect(),
        }
    }

    async fn check(&self, request: &Request) -> Result<Authentication, CheckError> {
        let mut refusals = Refusals::default();
        for authenticator in &self.authenticators {
            let scheme = authenticator.scheme();
            match authenticator.authenticate(request).await {
                Ok(known @ Authentication::Authenticated(_)) => return Ok(known),
                refusal => refusals.add(&scheme, refusal),
            }
        }
        refusals.combine()
    }
}

impl Refusals {
    fn add(&mut self, scheme: &str, refusal: Result<Authentication, CheckError>) {
        let (bodies, body) = match refusal {
            Ok(Authentication::Authenticated(_)) => return,
            Ok(Authentication::Unauthorized { challenges, body }) => {
                self.challenges.push(challenges.join(", "));
                (&mut self.unauthorized, body)
            }
            Ok(Authentication::Forbidden { body }) => {
                self.any_forbidden = true;
                (&mut self.forbidden, body)
            }
            Err(error) => (&mut self.errors, error.to_string()),
        };
        if !body.is_empty() {
            bodies.push(format!("\"{scheme}\" authenticator returned:\n{body}"));
        }
    }

    fn combine(self) -> Result<Authentication, CheckError> {
        let join = |bodies: Vec<String>| bodies.join("\n\n");
        if !self.challenges.is_empty() {
            return Ok(Authentication::Unauthorized {
                challenges: vec![self.challenges.join(",")],
                body: join(self.unauthorized),
            });
        }
        if self.any_forbidden {
            let body = join(self.forbidden);
            return Ok(Authentication::Forbidden { body });
        }
        Err(CheckError::new(match self.errors.is_empty() {
            true => "No authenticator is installed".to_owned(),
            false => join(self.errors),
        }))
    }
}

impl Authenticator for CombinedAuthenticator {
    fn scheme(&self) -> String {
        let schemes: BTreeSet<_> = self.authenticators.iter().map(|a| a.scheme()).collect();
        Vec::from_iter(schemes).join(" ")
    }

    fn authenticate<'a>(
        &'a self,
        request: &'a Request,
    ) -> CheckFuture<'a, Result<Authentication, CheckError>> {
        Box::pin(self.check(request))
    }
}

impl std::fmt::Debug for CombinedAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CombinedAuthenticator")
            .field("scheme", &self.scheme())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Principal;
    use futures::FutureExt;
    use http::Method;

    /// Says always the same.
    struct Fixed(&'static str, Result<Authentication, CheckError>);

    impl Authenticator for Fixed {
        fn scheme(&self) -> String {
            self.0.to_owned()
        }

        fn authenticate<'a>(
            &'a self,
            _: &'a Request,
        ) -> CheckFuture<'a, Result<Authentication, CheckError>> {
            Box::pin(std::future::ready(self.1.clone()))
        }
    }

    fn unauthorized(challenge: &str, body: &str) -> Result<Authentication, CheckError> {
        Ok(Authentication::Unauthorized {
            challenges: vec![challenge.to_owned()],
            body: body.to_owned(),
        })
    }

    fn forbidden(body: &str) -> Result<Authentication, CheckError> {
        let body = body.to_owned();
        Ok(Authentication::Forbidden { body })
    }

    fn known(name: &str) -> Result<Authentication, CheckError> {
        Ok(Authentication::Authenticated(Principal::named(name)))
    }

    #[test]
    fn combinations() {
        let check = |results: &[Result<Authentication, CheckError>],
                     expected: Result<Authentication, CheckError>| {
            let all = results.iter().zip(["A", "B", "C"]).map(|(result, scheme)| {
                Arc::new(Fixed(scheme, result.clone())) as Arc<dyn Authenticator>
            });
            let combined = CombinedAuthenticator::new(all);
            let request = Request::new(Method::GET, "/");
            let result = combined.authenticate(&request).now_or_never().unwrap();
            assert_eq!(result, expected, "{results:?}");
        };
        let failed = |text: &str| Err(CheckError::new(text));
        check(&[known("a"), known("b")], known("a"));
        check(
            &[unauthorized("x", "no"), failed("broken"), known("c")],
            known("c"),
        );
        check(
            &[
                unauthorized("Basic realm=\"r\"", "no"),
                forbidden("never"),
                unauthorized("Bearer realm=\"r\"", "not you"),
            ],
            unauthorized(
                "Basic realm=\"r\",Bearer realm=\"r\"",
                "\"A\" authenticator returned:\nno\n\n\"C\" authenticator returned:\nnot you",
            ),
        );
        check(&[unauthorized("x", ""), failed("y")], unauthorized("x", ""));
        check(
            &[failed("y"), forbidden("never"), forbidden("")],
            forbidden("\"B\" authenticator returned:\nnever"),
        );
        check(
            &[failed("x"), failed("y")],
            failed("\"A\" authenticator returned:\nx\n\n\"B\" authenticator returned:\ny"),
        );
        check(&[], failed("No authenticator is installed"));
    }

    #[test]
    fn schemes_are_listed() {
        let fixed = |scheme| Arc::new(Fixed(scheme, forbidden(""))) as Arc<dyn Authenticator>;
        let combined = CombinedAuthenticator::new([fixed("Bearer"), fixed("Basic")]);
        assert_eq!(combined.scheme(), "Basic Bearer");
    }
}
