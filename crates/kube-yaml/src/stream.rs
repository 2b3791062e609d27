//! The stream before the YAML parser sees it: parts, characters, line breaks.
//!
//! kubectl splits a stream at lines that begin with `---` and gives every part to go-yaml by itself
//! (`k8s.io/apimachinery/pkg/util/yaml`, `YAMLReader`). go-yaml reads YAML 1.1, in which more characters break lines than in the
//! YAML 1.2 of the parser used here.

use std::borrow::Cow;

use crate::{Error, Position};

/// A part of the stream that kubectl reads as one document.
#[derive(Debug, PartialEq)]
pub(crate) struct Part<'a> {
    pub(crate) text: &'a str,
    /// Lines of the stream above this part.
    pub(crate) lines_above: u32,
}

/// Splits the stream as kubectl does.
pub(crate) fn parts(stream: &str) -> Result<Vec<Part<'_>>, Error> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut lines_above = 0;
    for separator in separators(stream) {
        let line_end = stream[separator..].find('\n').map_or(stream.len(), |length| separator + length + 1);
        let lines_before = count_lines(&stream[start..separator]);
        let rest = stream[separator + 3..line_end].trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            let position = Position::new(lines_above + lines_before + 1, 4);
            let message = "kubectl refuses text behind `---`; begin the document on the next line";
            return Err(Error::new(position, message));
        }
        if separator > start {
            parts.push(Part { text: &stream[start..separator], lines_above });
            start = line_end;
            lines_above += lines_before + 1;
        }
    }
    if start < stream.len() {
        parts.push(Part { text: &stream[start..], lines_above });
    }
    Ok(parts)
}

/// Where lines begin with `---`.
fn separators(stream: &str) -> impl Iterator<Item = usize> + '_ {
    let first = stream.starts_with("---").then_some(0);
    first.into_iter().chain(stream.match_indices("\n---").map(|(at, _)| at + 1))
}

fn count_lines(text: &str) -> u32 {
    let lines = text.matches('\n').count();
    u32::try_from(lines).unwrap_or(u32::MAX)
}

/// A part with its line breaks as the YAML 1.2 parser understands them.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) text: Cow<'a, str>,
    /// The text has U+2028 or U+2029, which break lines in YAML 1.1 and are kept in the text.
    pub(crate) has_separators: bool,
}

/// Checks the characters as go-yaml does and turns the line breaks of YAML 1.1 into `\n`.
pub(crate) fn source<'a>(part: &Part<'a>) -> Result<Source<'a>, Error> {
    let bytes = part.text.as_bytes();
    let mut lone_breaks = false;
    let mut has_separators = false;
    for (at, &byte) in bytes.iter().enumerate() {
        if PLAIN[byte as usize] {
            continue;
        }
        match (byte, &bytes[at..]) {
            (b'\r', rest) => lone_breaks |= rest.get(1) != Some(&b'\n'),
            (0xC2, [_, 0x85, ..]) => lone_breaks = true,
            (0xEF, [_, 0xBB, 0xBF, ..]) => {
                if at > 0 && part.text[..at].ends_with(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}', '\u{FEFF}']) {
                    let message = "a byte order mark (U+FEFF) at the start of a line, which kubectl takes for text; remove it";
                    return Err(Error::new(place(part.text, at, part.lines_above), message));
                }
            }
            (0xC2, [_, 0xA0..=0xBF, ..]) | (0xEF, [_, 0x80..=0xBE, ..] | [_, 0xBF, 0x80..=0xBD, ..]) => {}
            (0xE2, rest) => has_separators |= matches!(rest, [_, 0x80, 0xA8 | 0xA9, ..]),
            _ => return Err(forbidden(part, at)),
        }
    }
    let mut text = Cow::Borrowed(part.text);
    if lone_breaks {
        // The reader of lines takes one `\r` off before go-yaml sees the rest.
        text = Cow::Owned(text.replace("\r\n", "\n").replace("\r\n", "\n").replace(['\r', '\u{85}'], "\n"));
    }
    if !text.ends_with('\n') {
        // The reader of lines ends the last one. Without that, blanks at the end of a block of text would count otherwise.
        text.to_mut().push('\n');
    }
    Ok(Source { text, has_separators })
}

/// Bytes that need no look: all but the control characters and the first bytes of what can be one, or break a line.
const PLAIN: [bool; 256] = {
    let mut table = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = byte == b'\t' as usize || byte == b'\n' as usize;
        byte += 1;
    }
    table[0x7F] = false;
    table[0xC2] = false;
    table[0xE2] = false;
    table[0xEF] = false;
    table
};

fn forbidden(part: &Part<'_>, at: usize) -> Error {
    let code = part.text[at..].chars().next().map_or(0, u32::from);
    let message = format!("the control character U+{code:04X} is not allowed; write it as \"\\u{code:04x}\" in double quotes");
    Error::new(place(part.text, at, part.lines_above), message)
}

/// The position of an offset.
pub(crate) fn place(text: &str, at: usize, lines_above: u32) -> Position {
    let before = &text[..at];
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    Position::new(lines_above.saturating_add(count_lines(before)).saturating_add(1), u32::try_from(column).unwrap_or(u32::MAX))
}
