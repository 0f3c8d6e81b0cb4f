//! How far the bytes of a connection may go to actix-http.
//!
//! When actix-http answers a request while the body of a later one is incomplete, it says that it closes the connection and, if
//! the answer has no body, does so and forgets what it has read; and when the client closes its side, it gives up requests that
//! it has not parsed. So a request with a body
//! goes to it only when all before it are answered, and requests without one only so many at a time.

use crate::wire::{Framing, bodiless_head, find_end, framing_of};

/// Requests given to actix-http that it has not answered. It keeps up to 16 in a queue.
const MAX_UNANSWERED: usize = 8;

/// Follows the requests of one connection.
pub(crate) struct Pipeline {
    state: State,
    max_head_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before or in a head, whose end is not within the first `searched` bytes.
    Head {
        searched: usize,
    },
    /// Before a request that must wait.
    Held,
    /// In a body of which this much is left.
    Length(usize),
    Chunked(Chunked),
    /// What comes is not understood; actix-http has the last word on it.
    Opaque,
}

/// Where in a chunked body. Whether the framing is right is for actix-http to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunked {
    Size(usize),
    /// Behind the digits of a size, up to the end of the line.
    Extension(usize),
    Data(usize),
    DataEnd,
    /// In the lines after the last chunk; `empty` if the current one is so far.
    Trailer {
        empty: bool,
    },
}

impl Pipeline {
    pub(crate) fn new(max_head_bytes: usize) -> Self {
        Self {
            state: BETWEEN,
            max_head_bytes,
        }
    }

    /// True if there is no body of which a part has gone on and a part has not.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.state, State::Head { .. } | State::Held)
    }

    /// True if a head has begun and its end has not come.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head { searched } if searched > 0)
    }

    /// True if a complete request waits for the answers of those before it.
    pub(super) fn is_held(&self) -> bool {
        self.state == State::Held
    }

    /// How many of `bytes`, which begin where those that went on before ended, may go on. Counts the requests among them in
    /// `unanswered`.
    pub(crate) fn admit(&mut self, bytes: &[u8], unanswered: &mut usize) -> usize {
        let mut passed = 0;
        while let Some(rest) = bytes.get(passed..).filter(|rest| !rest.is_empty()) {
            let step = match self.state {
                State::Head { searched } => self.head(rest, searched, unanswered),
                State::Held => self.head(rest, 0, unanswered),
                State::Length(left) => {
                    let part = left.min(rest.len());
                    self.state = length(left - part);
                    part
                }
                State::Chunked(chunked) => {
                    let (part, state) = chunked.follow(rest);
                    self.state = state;
                    part
                }
                State::Opaque => rest.len(),
            };
            if step == 0 {
                break;
            }
            passed += step;
        }
        passed
    }

    fn head(&mut self, bytes: &[u8], searched: usize, unanswered: &mut usize) -> usize {
        // Some clients send an empty line after a body.
        let empty = bytes
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'));
        let empty = empty.count();
        if empty > 0 {
            self.state = BETWEEN;
            return empty;
        }
        if searched == 0
            && let Some(end) = bodiless_head(bytes)
            && end <= self.max_head_bytes
        {
            return self.begin(BETWEEN, end, unanswered);
        }
        let end = match find_end(bytes, searched) {
            Some(end) if end <= self.max_head_bytes => Some(end),
            None if bytes.len() < self.max_head_bytes => {
                let searched = bytes.len();
                self.state = State::Head { searched };
                return 0;
            }
            _ => None,
        };
        let head = end.and_then(|end| bytes.get(..end));
        let state = match head.and_then(framing_of) {
            Some(Framing::Length(left)) => length(left),
            Some(Framing::Chunked) => State::Chunked(Chunked::Size(0)),
            None => State::Opaque,
        };
        self.begin(state, end.unwrap_or(bytes.len()), unanswered)
    }

    /// Lets the `length` bytes of a head go on, after which comes `state`, unless it must wait.
    fn begin(&mut self, state: State, length: usize, unanswered: &mut usize) -> usize {
        let room = match state == BETWEEN {
            true => MAX_UNANSWERED,
            false => 1,
        };
        if *unanswered >= room {
            self.state = State::Held;
            return 0;
        }
        *unanswered += 1;
        self.state = state;
        length
    }
}

const BETWEEN: State = State::Head { searched: 0 };

fn length(left: usize) -> State {
    match left {
        0 => BETWEEN,
        left => State::Length(left),
    }
}

impl Chunked {
    /// How many of `bytes` belong to the body, and the state behind them.
    fn follow(mut self, bytes: &[u8]) -> (usize, State) {
        let mut passed = 0;
        while let Some(&byte) = bytes.get(passed) {
            if let Self::Data(left) = self {
                let part = left.min(bytes.len() - passed);
                passed += part;
                self = match left - part {
                    0 => Self::DataEnd,
                    left => Self::Data(left),
                };
                continue;
            }
            passed += 1;
            self = match (self, byte) {
                (Self::Size(0) | Self::Extension(0), b'\n') => Self::Trailer { empty: true },
                (Self::Size(size) | Self::Extension(size), b'\n') => Self::Data(size),
                (Self::Size(size), digit) => match (digit as char).to_digit(16) {
                    Some(digit) => {
                        Self::Size(size.saturating_mul(16).saturating_add(digit as usize))
                    }
                    None => Self::Extension(size),
                },
                (Self::DataEnd, b'\n') => Self::Size(0),
                (Self::Trailer { empty: true }, b'\n') => return (passed, BETWEEN),
                (Self::Trailer { .. }, b'\n') => Self::Trailer { empty: true },
                (Self::Trailer { empty }, other) => Self::Trailer {
                    empty: empty && other == b'\r',
                },
                (same, _) => same,
            };
        }
        (passed, State::Chunked(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\n\r\n";
    const POST: &str = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                           a;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n";

    /// Feeds all in one portion, then byte by byte, answering all that went on whenever nothing more does; the portions that
    /// went on together.
    fn portions(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        for size in [text.len(), 1] {
            let mut pipeline = Pipeline::new(1000);
            let (mut waiting, mut passed, mut unanswered) = (Vec::new(), Vec::new(), 0);
            let mut portions = Vec::new();
            for portion in text.as_bytes().chunks(size) {
                waiting.extend_from_slice(portion);
                let step = pipeline.admit(&waiting, &mut unanswered);
                passed.extend(waiting.drain(..step));
            }
            while !passed.is_empty() {
                portions.push(String::from_utf8(std::mem::take(&mut passed)).unwrap());
                unanswered = 0;
                let step = pipeline.admit(&waiting, &mut unanswered);
                passed.extend(waiting.drain(..step));
            }
            assert!(waiting.is_empty() || !pipeline.is_held());
            all.push(portions);
        }
        assert_eq!(all[0], all[1], "{text:?}");
        all.remove(0)
    }

    #[test]
    fn a_request_with_a_body_waits_for_those_before_it() {
        let check = |parts: &[&str]| {
            assert_eq!(portions(&parts.concat()), parts);
        };
        check(&[GET]);
        check(&[POST]);
        check(&[CHUNKED]);
        check(&[&[GET, GET].concat(), POST, &[POST, GET].concat()]);
        check(&[&[CHUNKED, GET, "\r\n", GET].concat(), CHUNKED]);
        check(&[&GET.repeat(MAX_UNANSWERED), &GET.repeat(2), POST]);
        check(&["POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"]);
    }

    #[test]
    fn what_is_not_understood_goes_on() {
        for head in [
            "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "nonsense\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            &"x".repeat(1000),
        ] {
            let text = format!("{head}whatever follows");
            assert_eq!(portions(&text), [text]);
        }
    }

    #[test]
    fn an_incomplete_head_is_kept_back() {
        let mut pipeline = Pipeline::new(1000);
        assert_eq!(pipeline.admit(b"GET / HTTP/1.1\r\nHost: ", &mut 0), 0);
        assert!(pipeline.is_in_head() && pipeline.is_between());
        assert_eq!(
            pipeline.admit(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &mut 0),
            27
        );
        assert!(!pipeline.is_in_head() && pipeline.is_between());
    }
}
