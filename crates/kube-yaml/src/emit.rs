use std::borrow::Cow;

use serde_json::Value;

use crate::resolve::{self, Scalar};

/// Writes YAML that kubectl, and any reader of YAML 1.2, reads back to the same value.
///
/// The form is stable: keys are sorted by their characters, two spaces per level, lists at the indentation of their key, text of
/// several lines as a block (`|`). Text that YAML 1.1 or 1.2 would take for something else is in quotes. The result ends with a line
/// break and holds no `---`.
///
/// Whole floats come back as integers, as they do in Kubernetes.
pub fn emit(value: &Value) -> String {
    let mut writer = Writer { out: String::new() };
    writer.document(value);
    writer.out
}

/// Longer keys are written in the form `? key`: readers look at most 1,024 characters ahead for the colon.
const KEY_LENGTH: usize = 1000;

struct Writer {
    out: String,
}

impl Writer {
    fn document(&mut self, value: &Value) {
        match value {
            Value::Object(map) if !map.is_empty() => self.mapping(map, 0, true),
            Value::Array(items) if !items.is_empty() => self.sequence(items, 0, true),
            scalar => self.scalar(scalar, 0),
        }
    }

    /// The entries at this indentation. `at_margin`: the cursor is at the start of a line; else it is where the first key belongs.
    fn mapping(&mut self, map: &serde_json::Map<String, Value>, indent: usize, at_margin: bool) {
        let mut entries: Vec<_> = map.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        for (number, (key, value)) in entries.into_iter().enumerate() {
            if number > 0 || at_margin {
                self.spaces(indent);
            }
            let key = inline(key);
            if key.chars().count() > KEY_LENGTH {
                self.out.push_str("? ");
                self.out.push_str(&key);
                self.out.push('\n');
                self.spaces(indent);
            } else {
                self.out.push_str(&key);
            }
            self.out.push(':');
            self.entry_value(value, indent);
        }
    }

    fn entry_value(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                self.out.push('\n');
                self.mapping(map, indent + 2, true);
            }
            Value::Array(items) if !items.is_empty() => {
                self.out.push('\n');
                self.sequence(items, indent, true);
            }
            scalar => {
                self.out.push(' ');
                self.scalar(scalar, indent);
            }
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize, at_margin: bool) {
        for (number, item) in items.iter().enumerate() {
            if number > 0 || at_margin {
                self.spaces(indent);
            }
            self.out.push_str("- ");
            match item {
                Value::Object(map) if !map.is_empty() => self.mapping(map, indent + 2, false),
                Value::Array(items) if !items.is_empty() => self.sequence(items, indent + 2, false),
                scalar => self.scalar(scalar, indent),
            }
        }
    }

    /// A scalar or an empty collection, and the end of its line. A block of text stands two deeper than `indent`, the indentation of
    /// the collection around it.
    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Number(value) => self.out.push_str(&value.to_string()),
            Value::String(text) if suits_block(text) => return self.block(text, indent + 2),
            Value::String(text) => self.out.push_str(&inline(text)),
            Value::Array(_) => self.out.push_str("[]"),
            Value::Object(_) => self.out.push_str("{}"),
        }
        self.out.push('\n');
    }

    fn block(&mut self, text: &str, indent: usize) {
        self.out.push('|');
        // Where the first line begins with a blank the indentation cannot be guessed from it.
        if text.starts_with([' ', '\n']) {
            self.out.push('2');
        }
        let body = match text.strip_suffix('\n') {
            None => {
                self.out.push('-');
                text
            }
            Some(body) => {
                if body.ends_with('\n') {
                    self.out.push('+');
                }
                body
            }
        };
        self.out.push('\n');
        for line in body.split('\n') {
            if !line.is_empty() {
                self.spaces(indent);
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
    }

    fn spaces(&mut self, count: usize) {
        self.out.extend(std::iter::repeat_n(' ', count));
    }
}

/// Whether text can stand as a block: it has several lines, one at least is not blank, and every character can be written as it is.
fn suits_block(text: &str) -> bool {
    text.contains('\n')
        && text.chars().all(|character| is_printable(character) || matches!(character, '\n' | '\t'))
        && text.split('\n').find(|line| !line.is_empty()).is_some_and(|line| !line.starts_with('\t') && !line.trim().is_empty())
        && !text.split('\n').any(|line| line.starts_with('\t') && line.trim().is_empty())
}

/// Text on one line, quoted where that is needed.
fn inline(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        Cow::Borrowed(text)
    } else if text.chars().all(|character| is_printable(character) && character != '\'') {
        Cow::Owned(format!("'{text}'"))
    } else {
        Cow::Owned(double_quoted(text))
    }
}

/// Whether text needs no quotes for any reader of YAML 1.1 or 1.2, as a key and as a value.
fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let starts_well = first.is_alphanumeric() || matches!(first, '/' | '.' | '_' | '-' | '+' | '(' | '$' | '^' | '<' | ';' | '\\');
    starts_well
        && text.chars().all(is_printable)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.starts_with("- ")
        && !["-", "...", "<<", "="].contains(&text)
        // kubectl takes any line that begins so for the end of a document.
        && !text.starts_with("---")
        && !text.starts_with("... ")
        && matches!(resolve::plain(Cow::Borrowed(text)), Scalar::Text(_))
        && !looks_like_number(text)
}

/// Numbers of base 60, dates and numbers out of range, which other readers do not take for text.
fn looks_like_number(text: &str) -> bool {
    text.starts_with(|character: char| character.is_ascii_digit() || matches!(character, '+' | '-' | '.'))
        && text.bytes().all(|byte| byte.is_ascii_hexdigit() || b"+-.:_ TtZzxXoO".contains(&byte))
}

/// Characters that stand for themselves in quotes: neither control characters nor line breaks of YAML 1.1 nor invisible marks.
fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{A0}'..='\u{2027}' | '\u{202A}'..='\u{D7FF}' | '\u{E000}'..='\u{FEFE}' | '\u{FF00}'..='\u{FFFD}' | '\u{10000}'..)
}

fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            _ if is_printable(character) => out.push(character),
            _ => {
                let code = u32::from(character);
                let escape = if code <= 0xFF { format!("\\x{code:02x}") } else { format!("\\u{code:04x}") };
                out.push_str(&escape);
            }
        }
    }
    out.push('"');
    out
}
