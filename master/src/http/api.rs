//! What the two v1 APIs have in common.

use http::StatusCode;
use libprocess::{Request, Response};
use mesos::decode::Described;
use mesos::media::ContentType;

use super::Refusal;
use crate::actor::MasterProcess;
use crate::core::Leadership;

/// Checks that this master can answer calls now, and that the request is one.
///
/// # Errors
/// The response to give instead.
pub(super) fn admit(master: &MasterProcess, request: &Request) -> Result<(), Refusal> {
    if let Some(elsewhere) = super::elsewhere(master, request) {
        return Err(elsewhere.into());
    }
    recovered(master)?;
    if request.method != http::Method::POST {
        return Err(super::only_post(request).into());
    }
    Ok(())
}

/// Checks that a leading master has read the registry.
///
/// # Errors
/// The response to give instead.
pub(super) fn recovered(master: &MasterProcess) -> Result<(), Refusal> {
    if master.leadership() == Leadership::Recovering {
        let text = "Master has not finished recovery";
        return Err(Response::text(StatusCode::SERVICE_UNAVAILABLE, text).into());
    }
    Ok(())
}

/// Reads the call in the body.
///
/// # Errors
/// The response to give instead.
pub(super) fn parse<M: Described>(request: &Request) -> Result<(M, ContentType), Refusal> {
    let Some(header) = request.header("Content-Type") else {
        return Err(bad_request("Expecting 'Content-Type' to be present"));
    };
    let Some(content_type) = ContentType::parse(header) else {
        let text = "Expecting 'Content-Type' of application/json or application/x-protobuf";
        return Err(Response::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into());
    };
    let call = content_type
        .decode(&request.body)
        .map_err(|error| bad_request(error.to_string()))?;
    Ok((call, content_type))
}

/// The media type of the answer.
///
/// # Errors
/// The response to give instead.
pub(super) fn negotiate(request: &Request) -> Result<ContentType, Refusal> {
    ContentType::negotiate(request.header("Accept")).ok_or_else(|| {
        Response::text(
            StatusCode::NOT_ACCEPTABLE,
            "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
        )
        .into()
    })
}

/// 400 with a text.
pub(super) fn bad_request(text: impl Into<String>) -> Refusal {
    Response::text(StatusCode::BAD_REQUEST, text).into()
}
