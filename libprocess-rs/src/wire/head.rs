//! The head of a request: the lines up to the first empty one.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use memchr::memchr;

use super::ReadError;
use crate::http::{Headers, is_gzip};

/// More headers than this are too many.
pub(super) const MAX_HEADERS: usize = 128;

/// How a body says where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
}

/// A parsed head, borrowed from the buffer.
pub(super) struct Head<'h, 'b> {
    pub(super) method: &'b str,
    pub(super) target: &'b str,
    headers: &'h [httparse::Header<'b>],
    pub(super) http10: bool,
}

/// False for the first byte of a TLS handshake, say: its sender would wait for an answer and never end the head.
pub(super) fn begins_with_text(buffer: &[u8]) -> bool {
    let first = buffer.first();
    first.is_none_or(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

/// The length of the head if its end is in `buffer`; the search begins at `from`, where an earlier one gave up.
pub(crate) fn find_end(buffer: &[u8], from: usize) -> Option<usize> {
    // The end may straddle what was there before.
    let mut at = from.saturating_sub(3);
    loop {
        let rest = buffer.get(at..)?;
        let newline = at + memchr(b'\n', rest)?;
        match buffer.get(newline + 1..)? {
            [b'\n', ..] => return Some(newline + 2),
            [b'\r', b'\n', ..] => return Some(newline + 3),
            _ => at = newline + 1,
        }
    }
}

/// Parses a complete head and hands it to `f`.
pub(super) fn with_head<R>(
    bytes: &[u8],
    f: impl FnOnce(Head<'_, '_>) -> R,
) -> Result<R, ReadError> {
    // Most requests have few headers: clearing room for the most would cost more than parsing them.
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(_)) => {}
        // The caller has seen the end of the head; only leading empty lines can make it incomplete.
        Ok(httparse::Status::Partial) => return Err(ReadError::Malformed("incomplete head")),
        Err(httparse::Error::TooManyHeaders) => return Err(ReadError::HeadTooLarge),
        Err(_) => return Err(ReadError::Malformed("malformed head")),
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(ReadError::Malformed("malformed request line"));
    };
    Ok(f(Head {
        method,
        target,
        headers: request.headers,
        http10: version == 0,
    }))
}

impl<'b> Head<'_, 'b> {
    /// The value of a header; of several with this name the last one.
    pub(super) fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.headers
            .iter()
            .rev()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    fn user_agent_sender(&self) -> Option<&'b [u8]> {
        self.header("User-Agent")?.strip_prefix(b"libprocess/")
    }

    /// A message is a POST with a `Libprocess-From` header or a user agent that begins with `libprocess/`.
    pub(super) fn is_message(&self) -> bool {
        self.method == "POST"
            && (self.header("Libprocess-From").is_some() || self.user_agent_sender().is_some())
    }

    /// The sender as the message says it; the header wins over the user agent.
    pub(super) fn sender(&self) -> &'b [u8] {
        self.header("Libprocess-From")
            .or_else(|| self.user_agent_sender())
            .unwrap_or_default()
            .trim_ascii()
    }

    pub(super) fn keep_alive(&self) -> bool {
        keep_alive(self.headers, self.http10)
    }

    /// True if the client waits to be asked for the body.
    pub(super) fn expects_continue(&self) -> bool {
        let expected = self.header("Expect").unwrap_or_default();
        !self.http10 && expected.trim_ascii().eq_ignore_ascii_case(b"100-continue")
    }

    pub(super) fn is_gzip(&self) -> bool {
        self.header("Content-Encoding").is_some_and(is_gzip)
    }

    pub(super) fn framing(&self) -> Result<Framing, ReadError> {
        Ok(declared_framing(self.headers)?.unwrap_or(Framing::Length(0)))
    }

    pub(super) fn parsed_method(&self) -> Result<Method, ReadError> {
        Method::from_bytes(self.method.as_bytes())
            .map_err(|_| ReadError::Malformed("malformed method"))
    }

    pub(super) fn headers(&self) -> Result<Headers, ReadError> {
        let length = self.headers.iter().map(|header| header.value.len()).sum();
        let mut values = Vec::with_capacity(length);
        for header in self.headers {
            values.extend_from_slice(header.value);
        }
        // One copy of all values takes one allocation, or two.
        let mut values = Bytes::from(values);
        let mut headers = Headers::with_capacity(self.headers.len());
        for header in self.headers {
            let value = values.split_to(header.value.len());
            let value = HeaderValue::from_maybe_shared(value).map_err(|_| BAD_VALUE)?;
            headers.append(header_name(header)?, value);
        }
        Ok(headers)
    }
}

const BAD_VALUE: ReadError = ReadError::Malformed("malformed header value");

fn header_name(header: &httparse::Header<'_>) -> Result<HeaderName, ReadError> {
    HeaderName::from_bytes(header.name.as_bytes())
        .map_err(|_| ReadError::Malformed("malformed header name"))
}

pub(super) fn header_map(headers: &[httparse::Header<'_>]) -> Result<HeaderMap, ReadError> {
    let pairs = headers.iter().map(|header| {
        let value = HeaderValue::from_bytes(header.value).map_err(|_| BAD_VALUE)?;
        Ok((header_name(header)?, value))
    });
    pairs.collect()
}

/// HTTP/1.1 keeps the connection unless told otherwise, HTTP/1.0 only if told so.
pub(super) fn keep_alive(headers: &[httparse::Header<'_>], http10: bool) -> bool {
    let says = |word: &[u8]| {
        let lines = headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("Connection"));
        let mut words = lines.flat_map(|line| line.value.split(|byte| *byte == b','));
        words.any(|found| found.trim_ascii().eq_ignore_ascii_case(word))
    };
    !says(b"close") && (!http10 || says(b"keep-alive"))
}

/// What the headers say about the length of the body. Ambiguous framing is refused: what follows it could be taken for another
/// request.
pub(super) fn declared_framing(
    headers: &[httparse::Header<'_>],
) -> Result<Option<Framing>, ReadError> {
    let mut length = None;
    let mut chunked = false;
    for header in headers {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("Transfer-Encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(ReadError::Malformed("unknown transfer encoding"));
            }
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("Content-Length") {
            let parsed = parse_length(value)?;
            if length.is_some_and(|length| length != parsed) {
                return Err(ReadError::Malformed("contradicting content lengths"));
            }
            length = Some(parsed);
        }
    }
    match (chunked, length) {
        (true, Some(_)) => Err(ReadError::Malformed("both chunked and content length")),
        (true, None) => Ok(Some(Framing::Chunked)),
        (false, length) => Ok(length.map(Framing::Length)),
    }
}

fn parse_length(value: &[u8]) -> Result<usize, ReadError> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .ok_or(ReadError::Malformed("malformed content length"))
}
