//! The reader of a connection: bytes in, messages and the heads of other requests out.

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, StatusCode};

use super::body::BodyReader;
use super::head::{Framing, Head, begins_with_text, find_end, with_head};
use crate::Upid;
use crate::http::{Headers, percent_decode};

/// What a reader accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) head_bytes: usize,
    pub(crate) body_bytes: usize,
}

/// One message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) from: Upid,
    /// The id of the receiver.
    pub(crate) to: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) body: Bytes,
}

/// The head of a request that is no message.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: Headers,
    /// How the body ends that follows in the buffer.
    pub(crate) framing: Framing,
    pub(crate) gzip: bool,
    /// The client waits to be asked for the body.
    pub(crate) expects_continue: bool,
}

/// A message that cannot be delivered but leaves the connection intact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) status: StatusCode,
    pub(crate) text: &'static str,
}

/// One request of the connection.
#[derive(Debug)]
pub(crate) enum Item {
    Message(Message),
    /// A message whose body is still compressed.
    Compressed(Message),
    Rejected(Rejection),
    /// Whoever gets it takes the body from the buffer before asking for the next item.
    Request(Box<RequestHead>),
}

/// Why a connection cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Malformed(&'static str),
    #[error("head too large")]
    HeadTooLarge,
    #[error("body too large")]
    BodyTooLarge,
}

impl ReadError {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

/// Incremental reader; feeding it the same bytes in other portions gives the same items.
pub(crate) struct Reader {
    limits: Limits,
    buffer: BytesMut,
    /// How much of the buffer is known not to hold the end of the head.
    searched: usize,
    message: Option<Pending>,
    /// Connections mostly carry the messages of one sender, whose address need not be parsed each time.
    last_sender: (Vec<u8>, Upid),
}

/// A message whose body is still being read.
struct Pending {
    kind: Kind,
    keep_alive: bool,
    body: BodyReader,
}

enum Kind {
    Message {
        from: Upid,
        to: Box<str>,
        name: Box<str>,
        gzip: bool,
    },
    Rejected(Rejection),
}

impl Reader {
    pub(crate) fn new(limits: Limits, buffer: BytesMut) -> Self {
        Self {
            limits,
            buffer,
            searched: 0,
            message: None,
            last_sender: (Vec::new(), Upid::default()),
        }
    }

    /// Where new bytes are appended.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// True if part of a request has been read that is not yet given.
    pub(crate) fn is_partial(&self) -> bool {
        self.message.is_some() || !self.buffer.is_empty()
    }

    /// True if the head of a message has been read and its body is not complete.
    pub(crate) fn in_body(&self) -> bool {
        self.message.is_some()
    }

    /// The next message or head, and whether the connection lives on after it; `None` if more bytes are needed. After an error
    /// the reader is of no more use.
    pub(crate) fn next(&mut self) -> Result<Option<(Item, bool)>, ReadError> {
        if self.message.is_none() {
            match self.head()? {
                Some(Begun::Message(message)) => self.message = Some(message),
                Some(Begun::Request(head, keep_alive)) => {
                    return Ok(Some((Item::Request(head), keep_alive)));
                }
                None => return Ok(None),
            }
        }
        let Some(pending) = &mut self.message else {
            return Ok(None);
        };
        let Some(body) = pending.body.feed(&mut self.buffer)? else {
            return Ok(None);
        };
        let pending = self.message.take();
        Ok(pending.map(|pending| (pending.kind.into_item(body), pending.keep_alive)))
    }

    fn head(&mut self) -> Result<Option<Begun>, ReadError> {
        self.skip_empty_lines();
        if !begins_with_text(&self.buffer) {
            return Err(ReadError::Malformed("not HTTP"));
        }
        let limit = self.limits.head_bytes;
        let Some(end) = find_end(&self.buffer, self.searched) else {
            self.searched = self.buffer.len();
            return match self.searched >= limit {
                true => Err(ReadError::HeadTooLarge),
                false => Ok(None),
            };
        };
        if end > limit {
            return Err(ReadError::HeadTooLarge);
        }
        self.searched = 0;
        let head = self.buffer.get(..end).unwrap_or_default();
        let (body_limit, last_sender) = (self.limits.body_bytes, &mut self.last_sender);
        let begun = with_head(head, |head| begin(&head, body_limit, last_sender))??;
        self.buffer.advance(end);
        Ok(Some(begun))
    }

    /// Some clients send an empty line after a body.
    fn skip_empty_lines(&mut self) {
        let empty = self
            .buffer
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        self.buffer.advance(empty);
        self.searched = self.searched.saturating_sub(empty);
    }
}

impl Kind {
    fn into_item(self, body: Bytes) -> Item {
        match self {
            Kind::Message {
                from,
                to,
                name,
                gzip,
            } => {
                let message = Message {
                    from,
                    to,
                    name,
                    body,
                };
                match gzip {
                    true => Item::Compressed(message),
                    false => Item::Message(message),
                }
            }
            Kind::Rejected(rejection) => Item::Rejected(rejection),
        }
    }
}

/// What a head begins.
enum Begun {
    Message(Pending),
    /// With whether the connection lives on after it.
    Request(Box<RequestHead>, bool),
}

fn begin(
    head: &Head<'_, '_>,
    body_limit: usize,
    last_sender: &mut (Vec<u8>, Upid),
) -> Result<Begun, ReadError> {
    let (framing, keep_alive) = (head.framing()?, head.keep_alive());
    if head.is_message() {
        return Ok(Begun::Message(Pending {
            kind: message(head, last_sender),
            keep_alive,
            body: BodyReader::new(framing, body_limit)?,
        }));
    }
    let request = RequestHead {
        method: head.parsed_method()?,
        target: head.target.to_owned(),
        headers: head.headers()?,
        framing,
        gzip: head.is_gzip(),
        expects_continue: head.expects_continue(),
    };
    Ok(Begun::Request(Box::new(request), keep_alive))
}

fn message(head: &Head<'_, '_>, last_sender: &mut (Vec<u8>, Upid)) -> Kind {
    let sender = head.sender();
    if last_sender.0 != sender {
        *last_sender = (sender.to_vec(), parse_sender(sender));
    }
    match parse_target(head.target) {
        Ok((to, name)) => Kind::Message {
            from: last_sender.1.clone(),
            to,
            name,
            gzip: head.is_gzip(),
        },
        Err(rejection) => Kind::Rejected(rejection),
    }
}

/// A sender that does not parse becomes the empty one, as upstream. Host names are not looked up.
pub(crate) fn parse_sender(sender: &[u8]) -> Upid {
    std::str::from_utf8(sender)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// Receiver id (decoded) and message name (as it is) from the target of the request.
pub(crate) fn parse_target(target: &str) -> Result<(Box<str>, Box<str>), Rejection> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let Some(path) = path.strip_prefix('/') else {
        return Err(Rejection {
            status: StatusCode::BAD_REQUEST,
            text: "Request URL path must be absolute",
        });
    };
    let (id, name) = path.split_once('/').unwrap_or((path, ""));
    match percent_decode(id) {
        Ok(id) => Ok((id.into(), name.into())),
        Err(_) => Err(Rejection {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            text: "Malformed escape in the receiver of the message",
        }),
    }
}
