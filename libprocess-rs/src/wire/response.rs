//! The head of a response.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::{HeaderMap, StatusCode, Version};

use super::ReadError;
use super::body::Decoder;
use super::head::{Framing, MAX_HEADERS, declared_framing, find_end, header_map, keep_alive};

/// Finds the heads of responses.
#[derive(Debug)]
pub(crate) struct ResponseParser {
    max_head_bytes: usize,
    /// How much of the buffer is known not to hold the end of the head.
    searched: usize,
}

/// The head of one response.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    /// False if the connection ends with this response.
    pub(crate) keep_alive: bool,
    /// `None` if the body ends with the connection.
    framing: Option<Framing>,
}

impl ResponseParser {
    pub(crate) fn new(max_head_bytes: usize) -> Self {
        Self {
            max_head_bytes,
            searched: 0,
        }
    }

    /// Takes the next head, which answers a HEAD request if `to_head`, from the buffer; `None` if it is not complete.
    pub(crate) fn next(
        &mut self,
        buffer: &mut BytesMut,
        to_head: bool,
    ) -> Result<Option<ResponseHead>, ReadError> {
        let end = find_end(buffer, self.searched);
        if end.unwrap_or(buffer.len()) > self.max_head_bytes {
            return Err(ReadError::HeadTooLarge);
        }
        let Some(end) = end else {
            self.searched = buffer.len();
            return Ok(None);
        };
        self.searched = 0;
        parse(&buffer.split_to(end), to_head).map(Some)
    }
}

impl ResponseHead {
    /// Of the body that follows.
    pub(crate) fn decoder(&self, limit: usize) -> Result<Decoder, ReadError> {
        match self.framing {
            Some(framing) => Ok(Decoder::new(framing, limit)?.skipping_trailers()),
            None => Ok(Decoder::until_close(limit)),
        }
    }
}

fn parse(bytes: &[u8], to_head: bool) -> Result<ResponseHead, ReadError> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut headers,
    );
    match parsed {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(ReadError::Malformed("incomplete head")),
        Err(httparse::Error::TooManyHeaders) => return Err(ReadError::HeadTooLarge),
        Err(_) => return Err(ReadError::Malformed("malformed head")),
    }
    let status = response.code.map(StatusCode::from_u16);
    let Some(Ok(status)) = status else {
        return Err(ReadError::Malformed("malformed status"));
    };
    let version = match response.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let bodiless = to_head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match bodiless {
        true => Some(Framing::Length(0)),
        false => declared_framing(response.headers)?,
    };
    Ok(ResponseHead {
        status,
        version,
        keep_alive: framing.is_some() && keep_alive(response.headers, version == Version::HTTP_10),
        headers: header_map(response.headers)?,
        framing,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Piece;
    use super::*;

    /// One response, in a form that is easy to compare, read in portions of any size.
    fn check(text: &str, to_head: bool, expected: &str) {
        for portion in [1, 7, text.len()] {
            let read = read(text.as_bytes().chunks(portion.max(1)), to_head);
            assert_eq!(read, expected, "{text:?} by {portion}");
        }
    }

    fn read<'a>(portions: impl Iterator<Item = &'a [u8]>, to_head: bool) -> String {
        let mut parser = ResponseParser::new(100);
        let mut buffer = BytesMut::new();
        let mut head: Option<(ResponseHead, Decoder)> = None;
        let mut body = BytesMut::new();
        for portion in portions {
            buffer.extend_from_slice(portion);
            if head.is_none() {
                head = match parser.next(&mut buffer, to_head) {
                    Ok(Some(head)) => match head.decoder(50) {
                        Ok(decoder) => Some((head, decoder)),
                        Err(error) => return error.to_string(),
                    },
                    Ok(None) => None,
                    Err(error) => return error.to_string(),
                };
            }
            let Some((head, decoder)) = &mut head else {
                continue;
            };
            loop {
                match decoder.next(&mut buffer, false) {
                    Ok(Piece::Data(data)) => body.extend_from_slice(&data),
                    Ok(Piece::Partial) => break,
                    Ok(Piece::End) => return show(head, &body, ""),
                    Err(error) => return error.to_string(),
                }
            }
        }
        match head {
            None => "partial head".to_owned(),
            Some((head, decoder)) if decoder.ends_at_close() => show(&head, &body, " at close"),
            Some((head, _)) => show(&head, &body, " partial"),
        }
    }

    fn show(head: &ResponseHead, body: &[u8], end: &str) -> String {
        let keep = if head.keep_alive { " keep" } else { "" };
        let body = String::from_utf8_lossy(body);
        format!("{}{keep} {body:?}{end}", head.status.as_u16())
    }

    #[test]
    fn framings() {
        let get = |text: &str, expected: &str| check(text, false, expected);
        get(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "200 keep \"hello\"",
        );
        get("HTTP/1.1 200\nContent-Length: 0\n\n", "200 keep \"\"");
        get(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "200 keep \"hell\" partial",
        );
        get("HTTP/1.1 200 OK\r\n\r\nhello", "200 \"hello\" at close");
        get("HTTP/1.1 200 OK\r\n\r\n", "200 \"\" at close");
        get("HTTP/1.1 200 OK\r\nX: y", "partial head");
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
        let chunks = |rest: &str, expected: &str| get(&format!("{chunked}{rest}"), expected);
        chunks("5\r\nhello\r\n0\r\n\r\n", "200 keep \"hello\"");
        chunks(
            "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
            "200 keep \"hello!\"",
        );
        chunks("0\r\nTrailer: x\r\nAnother: y\r\n\r\n", "200 keep \"\"");
        chunks("5\r\nhello\r\n0\r\n", "200 keep \"hello\" partial");
        chunks("5\r\nhelloX\r\n", "malformed chunk end");
        chunks("x\r\n", "malformed chunk size");
        chunks("33\r\n", "body too large");
    }

    #[test]
    fn some_responses_have_no_body() {
        let length = "Content-Length: 5\r\n\r\n";
        check(
            &format!("HTTP/1.1 200 OK\r\n{length}"),
            true,
            "200 keep \"\"",
        );
        check("HTTP/1.1 200 OK\r\n\r\n", true, "200 keep \"\"");
        let get =
            |line: &str, expected: &str| check(&format!("{line}\r\n{length}"), false, expected);
        get("HTTP/1.1 204 No Content", "204 keep \"\"");
        get("HTTP/1.1 304 Not Modified", "304 keep \"\"");
        get("HTTP/1.1 100 Continue", "100 keep \"\"");
    }

    #[test]
    fn connections_are_kept_as_said() {
        let get = |line: &str, connection: &str, expected: &str| {
            let text = format!("{line} 200 OK\r\nContent-Length: 0\r\n{connection}\r\n");
            check(&text, false, expected);
        };
        get("HTTP/1.1", "", "200 keep \"\"");
        get("HTTP/1.1", "Connection: Close\r\n", "200 \"\"");
        get("HTTP/1.1", "Connection: x, close\r\n", "200 \"\"");
        get(
            "HTTP/1.1",
            "Connection: x\r\nConnection: close\r\n",
            "200 \"\"",
        );
        get("HTTP/1.0", "", "200 \"\"");
        get("HTTP/1.0", "Connection: keep-alive\r\n", "200 keep \"\"");
    }

    #[test]
    fn broken_heads() {
        let get = |text: &str, expected: &str| check(text, false, expected);
        get("nonsense\r\n\r\n", "malformed head");
        get("HTTP/2.0 200 OK\r\n\r\n", "malformed head");
        get("HTTP/1.1 20 OK\r\n\r\n", "malformed head");
        get("HTTP/1.1 099 OK\r\n\r\n", "malformed status");
        get("HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "malformed head");
        let with = |headers: &str, expected: &str| {
            check(
                &format!("HTTP/1.1 200 OK\r\n{headers}\r\n"),
                false,
                expected,
            );
        };
        with("Content-Length: x\r\n", "malformed content length");
        with(
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "contradicting content lengths",
        );
        with(
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "both chunked and content length",
        );
        with(
            "Transfer-Encoding: gzip, chunked\r\n",
            "unknown transfer encoding",
        );
        with("Content-Length: 51\r\n", "body too large");
        let long = format!("X: {}\r\n", "y".repeat(100));
        with(&long, "head too large");
        check(&"x".repeat(101), false, "head too large");
    }

    /// Pieces of responses, so that random sequences of them get past the first checks.
    fn fragment() -> impl Strategy<Value = Vec<u8>> {
        let text = |text: &'static str| Just(text.as_bytes().to_vec());
        prop_oneof![
            4 => text("HTTP/1.1 200 OK\r\n"),
            2 => text("Transfer-Encoding: chunked\r\n\r\n"),
            2 => text("Content-Length: 5\r\n\r\n"),
            3 => text("5\r\nhello\r\n"),
            2 => text("0\r\n"),
            2 => text("hello"),
            3 => text("\r\n"),
            1 => prop::collection::vec(any::<u8>(), 0..120),
        ]
    }

    proptest! {
        #[test]
        fn portions_do_not_matter(
            fragments in prop::collection::vec(fragment(), 0..8),
            portion in 1_usize..20,
            to_head: bool,
        ) {
            let bytes = fragments.concat();
            let whole = read(std::iter::once(&bytes[..]), to_head);
            prop_assert_eq!(read(bytes.chunks(1), to_head), whole.clone());
            prop_assert_eq!(read(bytes.chunks(portion), to_head), whole);
        }
    }
}
