//! What go-yaml refuses and the parser used here reads: it follows YAML 1.2 and is more lenient in places. Reading more than kubectl
//! would let a repository pass here that no other tool can read.

use granit_parser::{ScalarStyle, Span};

/// Checks a scalar against its source. The error says what to do.
pub(crate) fn scalar(style: ScalarStyle, span: &Span, source: &str, in_flow: bool) -> Result<(), &'static str> {
    match style {
        ScalarStyle::Plain if in_flow => {
            let raw = span.slice(source).unwrap_or_default();
            if raw.contains('?') || raw.starts_with(':') {
                return Err("kubectl refuses `?`, or `:` at the start, in a value inside [] or {}; quote the value");
            }
            let behind = span.byte_range().map_or("", |range| &source[range.end..]);
            if behind.strip_prefix(':').is_some_and(|rest| !rest.starts_with([' ', '\t', '\n', '\r'])) {
                return Err("for kubectl this colon belongs to the key; a blank has to follow it");
            }
        }
        ScalarStyle::DoubleQuoted => escapes(span.slice(source).unwrap_or_default())?,
        _ => {}
    }
    Ok(())
}

/// YAML 1.1 has no `\/` and no pairs of surrogates.
fn escapes(raw: &str) -> Result<(), &'static str> {
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at + 1..];
        match escape.as_bytes() {
            [b'/', ..] => return Err("kubectl does not know the escape `\\/` in YAML; write `/`"),
            [b'u', b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..] => {
                return Err("kubectl does not know pairs of surrogates in YAML; write the character itself or `\\U` and eight digits");
            }
            _ => {}
        }
        let skipped = escape.chars().next().map_or(0, char::len_utf8);
        rest = &escape[skipped..];
    }
    Ok(())
}

/// Checks a key: go-yaml wants its colon on the line on which it begins, in braces too, unless the form is `? key`.
pub(crate) fn key(span: &Span, source: &str, in_flow: bool) -> Result<(), &'static str> {
    const ADVICE: &str = "a key and its colon have to be on one line";
    let Some(range) = span.byte_range() else { return Ok(()) };
    let raw = source.get(range.clone()).unwrap_or_default();
    if !in_flow {
        return Ok(());
    }
    let rest = &source[range.end..];
    let blank = rest.len() - rest.trim_start().len();
    let colon_below = rest[blank..].starts_with(':') && (raw.contains('\n') || rest[..blank].contains('\n'));
    let explicit = source[..range.start].trim_end().ends_with('?');
    if colon_below && !explicit { Err(ADVICE) } else { Ok(()) }
}

/// Where the `|` or `>` of a block of text stands in what precedes the text: behind a colon or dash, tags, anchors and comments.
pub(crate) fn block_header(gap: &str) -> Option<usize> {
    let mut comment = false;
    let mut after_blank = true;
    for (at, byte) in gap.bytes().enumerate() {
        match byte {
            b'\n' => comment = false,
            b'#' if after_blank => comment = true,
            b'|' | b'>' if after_blank && !comment => return Some(at),
            _ => {}
        }
        after_blank = matches!(byte, b' ' | b'\t' | b'\n');
    }
    None
}

/// Checks a block of text. `header` is the source from its `|` or `>` on.
pub(crate) fn block(text: &str, header: &str, column: usize) -> Result<(), &'static str> {
    if column == 0 && text.contains(|character| character != '\n') {
        return Err("kubectl takes a block of text that is not indented for empty; indent it");
    }
    let indentation_given =
        header.bytes().skip(1).take_while(|byte| matches!(byte, b'+' | b'-' | b'0'..=b'9')).any(|byte| byte.is_ascii_digit());
    if text.trim_start_matches('\n').starts_with('\t') && !indentation_given {
        return Err("kubectl refuses a block of text whose first line begins with a tab; give the indentation, as in `|2`");
    }
    Ok(())
}

/// Checks a tag: go-yaml wants the characters of a URI and, since brackets and commas are among them, a blank behind it.
pub(crate) fn tag(span: &Span, source: &str) -> Result<(), &'static str> {
    let Some(range) = span.tag_span().and_then(|tag| tag.byte_range()) else { return Ok(()) };
    let raw = source.get(range.clone()).unwrap_or_default();
    let raw = raw.strip_prefix("!<").and_then(|raw| raw.strip_suffix('>')).unwrap_or(raw);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_;/?:@&=+$,.!~*'()[]%".contains(&byte);
    if !raw.bytes().all(allowed) {
        return Err("a tag has a character that no URI has");
    }
    match source.as_bytes().get(range.end) {
        None | Some(b' ' | b'\t' | b'\n' | b'\r') => Ok(()),
        Some(_) => Err("a blank or a line break has to follow a tag"),
    }
}

/// Checks the name of an anchor: YAML 1.2 allows nearly all characters, go-yaml those of words.
pub(crate) fn anchor(name: &str) -> Result<(), &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.bytes().all(word) { Ok(()) } else { Err("the name of an anchor has letters, digits, `-` and `_` only") }
}

/// Whether a text that holds no value holds the end of a document.
pub(crate) fn ends_document(source: &str) -> bool {
    source.lines().any(|line| line.strip_prefix("...").is_some_and(|rest| rest.trim_start().len() < rest.len() || rest.is_empty()))
}

/// Tabs outside scalars. go-yaml allows them inside `[]` and `{}` and behind what stands on the line, but not before a place where a
/// key could begin.
pub(crate) struct Tabs {
    /// Where to look for the next tab: behind the last token seen.
    from: usize,
    /// If that token was plain text, to which go-yaml counts the blanks and empty lines behind it: the column, from 0, from which
    /// they may hold tabs.
    plain_indent: Option<usize>,
}

/// Where a token stands.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Inside brackets or braces.
    pub(crate) in_flow: bool,
    /// The column, from 0, from which plain text belongs to the innermost block; for plain text alone.
    pub(crate) plain_indent: Option<usize>,
}

impl Tabs {
    pub(crate) fn of(source: &str) -> Option<Self> {
        source.contains('\t').then_some(Self { from: 0, plain_indent: None })
    }

    /// Looks at the text up to a token and goes on behind it. The error is the offset of a tab.
    pub(crate) fn token(&mut self, span: &Span, source: &str, place: Place) -> Result<(), usize> {
        let Some(range) = span.byte_range() else { return Ok(()) };
        self.gap(range.start, source, place.in_flow)?;
        self.from = self.from.max(range.end);
        self.plain_indent = place.plain_indent;
        Ok(())
    }

    /// Looks at the text up to the end.
    pub(crate) fn end(&mut self, source: &str) -> Result<(), usize> {
        self.gap(source.len(), source, false)
    }

    fn gap(&mut self, until: usize, source: &str, in_flow: bool) -> Result<(), usize> {
        let from = self.from;
        self.from = from.max(until);
        let Some(gap) = source.get(from..until).filter(|gap| gap.contains('\t')) else { return Ok(()) };
        let behind_plain = self.plain_indent.map(|indent| (gap.len() - gap.trim_start_matches([' ', '\t', '\n', '\r']).len(), indent));
        // What precedes the tab on its line, without the token before the gap, behind which tabs may stand.
        let mut begins_line = from == 0 || source.as_bytes()[from - 1] == b'\n';
        let mut width = 0;
        let mut indicators_only = true;
        let mut indicators = 0;
        for (at, byte) in gap.bytes().enumerate() {
            match byte {
                b'\n' => {
                    (begins_line, width, indicators_only, indicators) = (true, 0, true, 0);
                    continue;
                }
                b'\t' => {
                    let refused = match behind_plain {
                        Some((blank, indent)) if at < blank => begins_line && width < indent,
                        _ => !in_flow && indicators_only && (begins_line || indicators > 0),
                    };
                    if refused {
                        return Err(from + at);
                    }
                }
                b'-' | b'?' => indicators += 1,
                b' ' => {}
                b':' if begins_line => {}
                _ => indicators_only = false,
            }
            width += 1;
        }
        Ok(())
    }
}
