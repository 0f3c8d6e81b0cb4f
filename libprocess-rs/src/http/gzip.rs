//! Compression of responses, only when asked for.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue};

use super::Response;
use super::response::Body;

/// Smaller bodies are sent as they are.
const GZIP_MINIMUM_BODY_BYTES: usize = 1024;

/// Compresses the body if the request headers allow it and it is worth it.
pub(crate) fn compress_for(request: &HeaderMap, response: Response) -> Response {
    match &response.body {
        Body::Bytes(body)
            if body.len() >= GZIP_MINIMUM_BODY_BYTES
                && !response.headers.contains_key(CONTENT_ENCODING)
                && accepts_gzip(request) =>
        {
            compress(response)
        }
        _ => response,
    }
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
        }
        Err(error) => tracing::error!("Failed to compress a response: {error}"),
    }
    response
}

/// An entry for gzip decides, else one for `*`; a quality of zero, or one that is no number, refuses.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let Some(accepted) = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .next_back()
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let quality_of = |wanted: &str| {
        accepted.split(',').find_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            (parts.next()? == wanted).then(|| {
                parts
                    .find_map(|part| part.strip_prefix("q="))
                    .is_none_or(|q| q.trim().parse::<f64>().is_ok_and(|q| q > 0.0))
            })
        })
    };
    quality_of("gzip")
        .or_else(|| quality_of("*"))
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn accept_encoding() {
        let check = |value: Option<&str>, expected: bool| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(ACCEPT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(accepts_gzip(&headers), expected, "{value:?}");
        };
        check(None, false);
        check(Some(""), false);
        check(Some("gzip"), true);
        check(Some("deflate, gzip;q=0.5"), true);
        check(Some("gzip;q=0"), false);
        check(Some("gzip;q=x"), false);
        check(Some("gzip;q=0, *"), false);
        check(Some("*"), true);
        check(Some("*;q=0.0"), false);
        check(Some("deflate"), false);
    }

    #[test]
    fn compresses_from_1024_bytes_on() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let small = Response::json_text(vec![b'x'; 1023]);
        let small = compress_for(&headers, small);
        assert!(small.headers().get(CONTENT_ENCODING).is_none());

        let large = compress_for(&headers, Response::json_text(vec![b'x'; 1024]));
        assert_eq!(large.headers()[CONTENT_ENCODING], "gzip");
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&large.body().unwrap()[..])
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(plain, vec![b'x'; 1024]);
    }
}
