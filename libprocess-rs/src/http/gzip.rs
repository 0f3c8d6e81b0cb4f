//! Compression of responses, only when asked for.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, ETAG, VARY};
use http::{HeaderValue, StatusCode};

use super::Response;
use super::response::Body;
use crate::runtime::Inner;

/// Smaller bodies are sent as they are.
pub(crate) const GZIP_MINIMUM_BODY_BYTES: usize = 1024;

/// Bodies from this size on are compressed on a thread of their own, so that other connections do not wait for it.
const COMPRESS_ELSEWHERE_BYTES: usize = 64 * 1024;

/// Compresses the body if it is worth it and the client accepts that. What could have been compressed says so by `Vary`.
pub(crate) async fn compressed(inner: &Inner, accepted: bool, response: Response) -> Response {
    let body = response.body();
    let large = body.is_some_and(|body| body.len() >= COMPRESS_ELSEWHERE_BYTES);
    if !large || !accepted {
        return compress_for(accepted, response);
    }
    let _busy = inner.busy();
    let compressed = tokio::task::spawn_blocking(move || compress_for(true, response)).await;
    compressed.unwrap_or_else(|error| {
        tracing::error!("Failed to compress a response: {error}");
        Response::status(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

fn compress_for(accepted: bool, mut response: Response) -> Response {
    if !is_compressible(&response) {
        return response;
    }
    response
        .headers
        .append(VARY, HeaderValue::from_static("Accept-Encoding"));
    match accepted {
        true => compress(response),
        false => response,
    }
}

fn is_compressible(response: &Response) -> bool {
    matches!(&response.body, Body::Bytes(body) if body.len() >= GZIP_MINIMUM_BODY_BYTES)
        && !response.headers.contains(CONTENT_ENCODING)
}

fn compress(mut response: Response) -> Response {
    let Body::Bytes(body) = &response.body else {
        return response;
    };
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::new(6));
    match encoder.write_all(body).and_then(|()| encoder.finish()) {
        Ok(compressed) => {
            response.body = Body::Bytes(Bytes::from(compressed));
            response
                .headers
                .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            weaken_tag(&mut response);
        }
        Err(error) => tracing::error!("Failed to compress a response: {error}"),
    }
    response
}

/// The compressed form is another one than the tag was made for, with the same meaning (RFC 9110, section 8.8.1).
fn weaken_tag(response: &mut Response) {
    let tag = response.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
    if let Some(tag) = tag.filter(|tag| !tag.starts_with("W/"))
        && let Ok(weak) = HeaderValue::from_str(&format!("W/{tag}"))
    {
        response.headers.insert(ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn compresses_from_1024_bytes_on() {
        let small = compress_for(true, Response::json_text(vec![b'x'; 1023]));
        assert!(small.headers().get(CONTENT_ENCODING).is_none());
        assert!(small.headers().get(VARY).is_none());

        let plain = compress_for(false, Response::json_text(vec![b'x'; 1024]));
        assert!(plain.headers().get(CONTENT_ENCODING).is_none());
        assert_eq!(plain.headers().get(VARY).unwrap(), "Accept-Encoding");

        let large = Response::json_text(vec![b'x'; 1024]).header(ETAG, "\"a\"");
        let large = compress_for(true, large);
        assert_eq!(large.headers().get(CONTENT_ENCODING).unwrap(), "gzip");
        assert_eq!(large.headers().get(VARY).unwrap(), "Accept-Encoding");
        assert_eq!(large.headers().get(ETAG).unwrap(), "W/\"a\"");
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&large.body().unwrap()[..])
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(plain, vec![b'x'; 1024]);
    }
}
