//! U+2028 and U+2029 break lines for go-yaml and are text for the parser used here. Both read them alike inside quotes, away from
//! blanks and line breaks; everywhere else they are refused.

use granit_parser::{ScalarStyle, Span};

/// Whether they stand where both readers agree.
pub(crate) struct Separators {
    total: usize,
    seen: usize,
}

impl Separators {
    pub(crate) const ADVICE: &str =
        "U+2028 or U+2029 breaks the line here for kubectl; write it as \"\\u2028\" or \"\\u2029\" in double quotes";

    pub(crate) fn of(text: &str) -> Self {
        Self { total: text.matches(is_separator).count(), seen: 0 }
    }

    /// Looks at a scalar.
    pub(crate) fn see(&mut self, style: ScalarStyle, text: &str, span: &Span, source: &str) -> Result<(), &'static str> {
        let raw = span.slice(source).unwrap_or_default();
        let count = raw.matches(is_separator).count();
        if count == 0 {
            return Ok(());
        }
        let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
        let alone = |text: &str| {
            let blank = |character: Option<char>| character.is_none_or(|character| character.is_whitespace() || character == '\\');
            text.match_indices(is_separator)
                .all(|(at, separator)| !blank(text[..at].chars().next_back()) && !blank(text[at + separator.len()..].chars().next()))
        };
        if !quoted || !alone(raw) || !text.contains(is_separator) {
            return Err(Self::ADVICE);
        }
        self.seen += count;
        Ok(())
    }

    /// Looks at a key, which has to be on one line.
    pub(crate) fn key(&self, span: &Span, source: &str) -> Result<(), &'static str> {
        let multi_line = self.total > 0 && span.slice(source).is_some_and(|raw| raw.contains(is_separator));
        if multi_line { Err(Self::ADVICE) } else { Ok(()) }
    }

    /// The offset of a separator, if one is in no scalar: in a comment or between values.
    pub(crate) fn unseen(&self, source: &str) -> Option<usize> {
        if self.seen == self.total { None } else { source.find(is_separator) }
    }
}

fn is_separator(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}')
}
