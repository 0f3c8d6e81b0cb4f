//! What a request says about the form of its answer.

use http::Method;
use http::header::ACCEPT_ENCODING;

use super::Headers;
use super::accept::accepts_gzip;
use super::conditional::Conditions;

/// What a request says about the form of its answer, kept while the request itself is on its way.
#[derive(Debug, Default)]
pub(crate) struct Preferences {
    /// The client wants the head only.
    pub(crate) head_only: bool,
    pub(crate) gzip: bool,
    pub(crate) conditions: Option<Box<Conditions>>,
}

impl Preferences {
    /// For the answer to a request that cannot be served.
    pub(crate) fn none(head_only: bool) -> Self {
        Self {
            head_only,
            ..Self::default()
        }
    }

    pub(crate) fn of(method: &Method, headers: &Headers) -> Self {
        let encodings = headers.get_all(ACCEPT_ENCODING).next_back();
        let encodings = encodings.and_then(|value| value.to_str().ok());
        Self {
            head_only: *method == Method::HEAD,
            gzip: encodings.is_some_and(accepts_gzip),
            conditions: Conditions::of(method, headers),
        }
    }
}
