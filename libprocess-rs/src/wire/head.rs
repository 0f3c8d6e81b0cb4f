//! The head of a request: the lines up to the first empty one.

use std::mem::MaybeUninit;

use http::{HeaderName, HeaderValue, Method};
use memchr::memchr;

use super::ReadError;
use crate::http::Headers;

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

/// What kind of connection a first request opens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Classified {
    /// The head is not complete.
    Partial,
    /// A message, or a request that actix-http would refuse for want of a `Host`: the connection is for our own reader.
    Own,
    /// Anything else: the connection is for actix-web.
    Web,
}

/// Looks at the first head of a connection. Its end is known not to be within the first `searched` bytes.
pub(crate) fn classify(
    buffer: &[u8],
    searched: usize,
    max_head_bytes: usize,
) -> Result<Classified, ReadError> {
    match find_end(buffer, searched) {
        Some(end) if end > max_head_bytes => Err(ReadError::HeadTooLarge),
        None if buffer.len() >= max_head_bytes => Err(ReadError::HeadTooLarge),
        // A TLS handshake, say: its sender would wait for an answer and never end the head.
        None if !begins_with_text(buffer) => Err(ReadError::Malformed("not HTTP")),
        None => Ok(Classified::Partial),
        Some(end) => {
            let bytes = buffer.get(..end).unwrap_or_default();
            with_head(bytes, |head| {
                let hostless = !head.http10 && head.header("Host").is_none();
                match head.is_message() || hostless {
                    true => Classified::Own,
                    false => Classified::Web,
                }
            })
        }
    }
}

/// How the body of a request with this complete head is delimited. `None` if the head is malformed, or turns the connection into
/// something else.
pub(crate) fn framing_of(head: &[u8]) -> Option<Framing> {
    let framing = with_head(head, |head| {
        let upgrade = head.method == "CONNECT" || head.header("Upgrade").is_some();
        (!upgrade).then(|| head.framing().ok()).flatten()
    });
    framing.ok().flatten()
}

/// The length of the head with which `buffer` begins if it is complete, sound and like that of most requests: a GET without a
/// header that says something about a body or an upgrade. Saying so takes a fraction of the time that parsing does.
pub(crate) fn bodiless_head(buffer: &[u8]) -> Option<usize> {
    let mut end = memchr(b'\n', buffer)? + 1;
    let line = buffer.get(..end)?;
    let target = line.strip_prefix(b"GET ")?.strip_suffix(b" HTTP/1.1\r\n")?;
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    for _ in 0..=MAX_HEADERS {
        let rest = buffer.get(end..)?;
        let line = rest.get(..memchr(b'\n', rest)?)?;
        end += line.len() + 1;
        let line = line.strip_suffix(b"\r")?;
        if line.is_empty() {
            return Some(end);
        }
        let (name, value) = line.split_at_checked(memchr(b':', line)?)?;
        let is_decisive = |known: &&[u8]| name.eq_ignore_ascii_case(known);
        if DECISIVE.iter().any(is_decisive) || !is_token(name) || !value.iter().all(is_text) {
            return None;
        }
    }
    None
}

fn is_token(name: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.iter().all(is_plain)
}

fn is_text(byte: &u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~')
}

/// Headers by which a request may have a body, or turn the connection into something else.
const DECISIVE: [&[u8]; 3] = [b"Content-Length", b"Transfer-Encoding", b"Upgrade"];

fn begins_with_text(buffer: &[u8]) -> bool {
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

    /// HTTP/1.1 keeps the connection unless told otherwise, HTTP/1.0 only if told so.
    pub(super) fn keep_alive(&self) -> bool {
        let connection = self.header("Connection").unwrap_or_default().trim_ascii();
        match self.http10 {
            true => connection.eq_ignore_ascii_case(b"keep-alive"),
            false => !connection.eq_ignore_ascii_case(b"close"),
        }
    }

    pub(super) fn is_gzip(&self) -> bool {
        self.header("Content-Encoding")
            .is_some_and(|value| value.trim_ascii() == b"gzip")
    }

    pub(super) fn framing(&self) -> Result<Framing, ReadError> {
        Ok(declared_framing(self.headers)?.unwrap_or(Framing::Length(0)))
    }

    pub(super) fn parsed_method(&self) -> Result<Method, ReadError> {
        Method::from_bytes(self.method.as_bytes())
            .map_err(|_| ReadError::Malformed("malformed method"))
    }

    pub(super) fn headers(&self) -> Result<Headers, ReadError> {
        collect(self.headers)
    }
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

pub(super) fn collect<C: FromIterator<(HeaderName, HeaderValue)>>(
    headers: &[httparse::Header<'_>],
) -> Result<C, ReadError> {
    let pairs = headers.iter().map(|header| {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| ReadError::Malformed("malformed header name"))?;
        let value = HeaderValue::from_bytes(header.value)
            .map_err(|_| ReadError::Malformed("malformed header value"))?;
        Ok((name, value))
    });
    pairs.collect()
}

fn parse_length(value: &[u8]) -> Result<usize, ReadError> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .ok_or(ReadError::Malformed("malformed content length"))
}
