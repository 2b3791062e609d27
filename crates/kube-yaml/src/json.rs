//! JSON with positions.
//!
//! kubectl reads a stream that begins with `{` as JSON, one value after the other, and as YAML only when that fails. Nearly all JSON
//! is YAML, but not `"\/"`, `"\ud83d\ude00"` or `{}{}`.

use std::borrow::Cow;

use serde_json::Number;

use crate::mapping::{Entries, PendingKey};
use crate::{Document, Error, Key, Kind, Limits, Node, Position, Warning, number};

/// Why a stream was not read as JSON.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is no JSON and may be YAML.
    NotJson,
    /// It is JSON that cannot be used.
    Refused(Error),
}

/// Whether kubectl tries JSON first.
pub(crate) fn looks_like(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Every value of a stream of JSON values; those that are null are left out.
pub(crate) fn documents(text: &str, limits: &Limits) -> Result<Vec<Document>, Failure> {
    let mut reader = Reader { text, at: 0, marked: 0, line: 1, column: 1, depth: 0, nodes: 0, limits, warnings: Vec::new() };
    let mut documents = Vec::new();
    loop {
        reader.skip_blank();
        if reader.at == text.len() {
            return Ok(documents);
        }
        reader.nodes = 0;
        let root = reader.value()?;
        let warnings = std::mem::take(&mut reader.warnings);
        if root.value != Kind::Null {
            documents.push(Document { root, warnings });
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The offset that `line` and `column` describe. It follows `at`, so that positions cost one pass in all.
    marked: usize,
    line: u32,
    column: u32,
    depth: usize,
    nodes: usize,
    limits: &'a Limits,
    warnings: Vec<Warning>,
}

impl<'a> Reader<'a> {
    fn position(&mut self) -> Position {
        for character in self.text[self.marked..self.at].chars() {
            if character == '\n' {
                self.line = self.line.saturating_add(1);
                self.column = 1;
            } else {
                self.column = self.column.saturating_add(1);
            }
        }
        self.marked = self.at;
        Position::new(self.line, self.column)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Failure> {
        if self.peek() != Some(byte) {
            return Err(Failure::NotJson);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes the byte if it comes next, blanks before and after it aside.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_blank();
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
            self.skip_blank();
        }
        found
    }

    fn value(&mut self) -> Result<Node, Failure> {
        let position = self.position();
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            return Err(Failure::Refused(Error::new(position, format!("more than {} values", self.limits.nodes))));
        }
        let value = match self.peek() {
            Some(b'{') => self.nested(position, Self::object)?,
            Some(b'[') => self.nested(position, Self::array)?,
            Some(b'"') => Kind::String(self.string()?.into_owned()),
            Some(b'-' | b'0'..=b'9') => Kind::Number(self.number(position)?),
            Some(b't') => self.word("true", Kind::Bool(true))?,
            Some(b'f') => self.word("false", Kind::Bool(false))?,
            Some(b'n') => self.word("null", Kind::Null)?,
            _ => return Err(Failure::NotJson),
        };
        Ok(Node { value, position })
    }

    fn nested(&mut self, position: Position, read: fn(&mut Self) -> Result<Kind, Failure>) -> Result<Kind, Failure> {
        if self.depth == self.limits.depth {
            let message = format!("nested more than {} levels deep", self.limits.depth);
            return Err(Failure::Refused(Error::new(position, message)));
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn array(&mut self) -> Result<Kind, Failure> {
        self.expect(b'[')?;
        let mut items = Vec::new();
        if !self.take(b']') {
            loop {
                items.push(self.value()?);
                if !self.take(b',') {
                    break;
                }
            }
            self.expect(b']')?;
        }
        Ok(Kind::Sequence(items))
    }

    fn object(&mut self) -> Result<Kind, Failure> {
        self.expect(b'{')?;
        let mut entries = Entries::default();
        if !self.take(b'}') {
            loop {
                let position = self.position();
                self.nodes += 1;
                let name = self.string()?.into_owned();
                self.skip_blank();
                self.expect(b':')?;
                self.skip_blank();
                let node = self.value()?;
                entries.add(PendingKey::Named(Key { name, position }), node).map_err(Failure::Refused)?;
                if !self.take(b',') {
                    break;
                }
            }
            self.expect(b'}')?;
        }
        Ok(Kind::Mapping(entries.finish(&mut self.warnings)))
    }

    fn word(&mut self, word: &str, value: Kind) -> Result<Kind, Failure> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Failure::NotJson);
        }
        self.at += word.len();
        Ok(value)
    }

    /// RFC 8259 section 6.
    fn number(&mut self, position: Position) -> Result<Number, Failure> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).count();
        let literal = &rest[..length];
        let unsigned = literal.strip_prefix('-').unwrap_or(literal);
        let whole = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        let fraction = unsigned[whole..].strip_prefix('.').map(|fraction| fraction.bytes().take_while(u8::is_ascii_digit).count());
        if whole == 0 || (whole > 1 && unsigned.starts_with('0')) || fraction == Some(0) {
            return Err(Failure::NotJson);
        }
        self.at += length;
        if whole == unsigned.len()
            && let Some(integer) = number::integer(literal)
        {
            return Ok(integer);
        }
        match literal.parse::<f64>() {
            Ok(value) => number::json_number(value)
                .ok_or_else(|| Failure::Refused(Error::new(position, "the number is out of the range of 64-bit floats"))),
            Err(_) => Err(Failure::NotJson),
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Failure> {
        self.expect(b'"')?;
        let mut unescaped = String::new();
        loop {
            let rest = &self.text[self.at..];
            let length = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).ok_or(Failure::NotJson)?;
            self.at += length + 1;
            match rest.as_bytes()[length] {
                b'"' if unescaped.is_empty() => return Ok(Cow::Borrowed(&rest[..length])),
                b'"' => {
                    unescaped.push_str(&rest[..length]);
                    return Ok(Cow::Owned(unescaped));
                }
                b'\\' => {
                    unescaped.push_str(&rest[..length]);
                    unescaped.push(self.escape()?);
                }
                _ => return Err(Failure::NotJson),
            }
        }
    }

    /// What follows a backslash. Go replaces halves of surrogate pairs that stand alone.
    fn escape(&mut self) -> Result<char, Failure> {
        let character = match self.peek().ok_or(Failure::NotJson)? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(Failure::NotJson),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode(&mut self) -> Result<char, Failure> {
        let first = self.code_unit(self.at).ok_or(Failure::NotJson)?;
        self.at += 5;
        if !(0xD800..0xDC00).contains(&first) {
            return Ok(char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if self.peek() == Some(b'\\')
            && let Some(second @ 0xDC00..=0xDFFF) = self.code_unit(self.at + 1)
        {
            self.at += 6;
            let code = 0x10000 + ((u32::from(first) & 0x3FF) << 10) + (u32::from(second) & 0x3FF);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    /// The code unit of `uXXXX` at this offset.
    fn code_unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 5)?.strip_prefix('u')?;
        if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) { u16::from_str_radix(digits, 16).ok() } else { None }
    }
}
