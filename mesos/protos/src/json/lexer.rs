//! JSON text as tokens.

use std::borrow::Cow;

use super::JsonError;

/// Deepest nesting of objects and arrays.
pub(super) const DEPTH_MAX: usize = 200;

/// Longest piece of text that a syntax error quotes, in characters.
const NEAR_MAX: usize = 100;

/// A JSON number. Integers stay exact as far as they fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Int(i64),
    /// An integer above `i64::MAX`.
    Uint(u64),
    Float(f64),
}

/// A place in a JSON text.
#[derive(Debug)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    position: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, position: 0 }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.position..).unwrap_or("")
    }

    /// The error that the text goes wrong here.
    pub(super) fn error(&self) -> JsonError {
        let before = self.text.get(..self.position).unwrap_or("");
        let line = self.rest().lines().next().unwrap_or("");
        JsonError::Syntax {
            line: before.matches('\n').count() + 1,
            near: line.chars().take(NEAR_MAX).collect(),
        }
    }

    /// The first byte of what comes after white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let rest = self.rest().as_bytes();
        let space = rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
            .count();
        self.position += space;
        rest.get(space).copied()
    }

    /// Steps over the byte if it comes next.
    pub(super) fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.position += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.accept(byte) {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// Nothing but white space is left.
    pub(super) fn expect_end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error()),
        }
    }

    /// After an element: whether another one follows, rather than `close`.
    pub(super) fn more(&mut self, close: u8) -> Result<bool, JsonError> {
        if self.accept(b',') {
            return Ok(true);
        }
        self.expect(close).map(|()| false)
    }

    /// `true`, `false` or `null`.
    pub(super) fn literal(&mut self, literal: &str) -> Result<(), JsonError> {
        self.peek();
        if !self.rest().starts_with(literal) {
            return Err(self.error());
        }
        self.position += literal.len();
        Ok(())
    }

    pub(super) fn boolean(&mut self) -> Result<bool, JsonError> {
        if self.peek() == Some(b't') {
            self.literal("true").map(|()| true)
        } else {
            self.literal("false").map(|()| false)
        }
    }

    pub(super) fn number(&mut self) -> Result<Number, JsonError> {
        self.peek();
        let bytes = self.rest().as_bytes();
        let digits = |from: usize| {
            let tail = bytes.get(from..).unwrap_or(&[]);
            from + tail.iter().take_while(|b| b.is_ascii_digit()).count()
        };
        let start = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(start);
        let mut end = whole;
        if bytes.get(end) == Some(&b'.') {
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = end + 1 + sign;
            end = digits(exponent);
            if end == exponent {
                return Err(self.error());
            }
        }
        let text = self.rest().get(..end).unwrap_or("");
        if whole == start {
            return Err(self.error());
        }
        let number = if end == whole
            && let Some(integer) = parse_integer(text)
        {
            integer
        } else {
            let finite = text.parse().ok().filter(|number: &f64| number.is_finite());
            Number::Float(finite.ok_or_else(|| self.error())?)
        };
        self.position += end;
        Ok(number)
    }

    /// The string that begins here, without its escapes.
    pub(super) fn string(&mut self) -> Result<Cow<'t, str>, JsonError> {
        self.expect(b'"')?;
        let plain = self.plain()?;
        if self.accept_now(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut string = plain.to_owned();
        while self.accept_now(b'\\') {
            string.push(self.escape()?);
            string.push_str(self.plain()?);
        }
        if self.accept_now(b'"') {
            Ok(Cow::Owned(string))
        } else {
            Err(self.error())
        }
    }

    /// The characters up to the next quote, backslash or control character.
    fn plain(&mut self) -> Result<&'t str, JsonError> {
        let rest = self.rest();
        let length = rest
            .bytes()
            .position(|byte| byte == b'"' || byte == b'\\' || byte < 0x20)
            .unwrap_or(rest.len());
        self.position += length;
        rest.get(..length).ok_or_else(|| self.error())
    }

    fn accept_now(&mut self, byte: u8) -> bool {
        let found = self.rest().as_bytes().first() == Some(&byte);
        self.position += usize::from(found);
        found
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, JsonError> {
        let kind = self.rest().as_bytes().first().copied();
        let character = match kind {
            Some(quoted @ (b'"' | b'\\' | b'/')) => char::from(quoted),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.position += 1;
                return self.code_point();
            }
            _ => return Err(self.error()),
        };
        self.position += 1;
        Ok(character)
    }

    /// The hexadecimal digits after `\u`, and a second escape if they are half of a surrogate pair.
    fn code_point(&mut self) -> Result<char, JsonError> {
        let high = self.hex()?;
        let code = if (0xd800..0xdc00).contains(&high) {
            if !self.rest().starts_with("\\u") {
                return Err(self.error());
            }
            self.position += 2;
            let low = self.hex()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.error());
            }
            0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
        } else {
            high
        };
        char::from_u32(code).ok_or_else(|| self.error())
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self
            .rest()
            .get(..4)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| self.error())?;
        self.position += 4;
        Ok(code)
    }

    /// Steps over any value; `depth` more levels may open.
    pub(super) fn skip(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => {
                let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
                self.position += 1;
                if self.accept(b'}') {
                    return Ok(());
                }
                loop {
                    self.string()?;
                    self.expect(b':')?;
                    self.skip(depth)?;
                    if !self.more(b'}')? {
                        return Ok(());
                    }
                }
            }
            Some(b'[') => {
                let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
                self.position += 1;
                if self.accept(b']') {
                    return Ok(());
                }
                loop {
                    self.skip(depth)?;
                    if !self.more(b']')? {
                        return Ok(());
                    }
                }
            }
            Some(b'"') => self.string().map(drop),
            Some(b't' | b'f') => self.boolean().map(drop),
            Some(b'n') => self.literal("null"),
            _ => self.number().map(drop),
        }
    }
}

fn parse_integer(text: &str) -> Option<Number> {
    let signed = text.parse().map(Number::Int);
    signed.or_else(|_| text.parse().map(Number::Uint)).ok()
}
