//! Events of the YAML parser to nodes.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, StructureStyle, Tag};

use crate::aliasing::Aliasing;
use crate::mapping::{Entries, PendingKey, WARNINGS_MAX};
use crate::resolve::{self, Scalar};
use crate::separators::Separators;
use crate::stream::{self, Part, Source};
use crate::strictness::{self, Place, Tabs};
use crate::{Document, Error, Key, Kind, Limits, Node, Position, Warning, WarningKind, number};

/// Reads one part of a stream. None if it is empty or null.
pub(crate) fn document(part: &Part<'_>, source: &Source<'_>, limits: &Limits) -> Result<Option<Document>, Error> {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_anchor_events: true,
        bom_inside_document_as_content: true,
        flow_nesting_limit: limits.depth + 1,
        block_nesting_limit: limits.depth + 1,
    };
    let mut builder = Builder {
        lines_above: part.lines_above,
        limits,
        tabs: Tabs::of(&source.text),
        separators: source.has_separators.then(|| Separators::of(&source.text)),
        source: &source.text,
        flow_depth: 0,
        last_end: 0,
        stack: Vec::new(),
        anchors: HashMap::new(),
        aliasing: Aliasing::default(),
        root: None,
        warnings: Vec::new(),
    };
    let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str_with_options(&source.text, options);
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| builder.syntax(&error, documents))?;
        match event {
            Event::DocumentStart(..) if documents > 0 => return Err(builder.trailing(span.start)),
            Event::DocumentStart(..) => builder.begin(&span)?,
            Event::DocumentEnd => documents += 1,
            event => builder.event(event, &span)?,
        }
    }
    builder.finish()
}

struct Builder<'a> {
    lines_above: u32,
    limits: &'a Limits,
    source: &'a str,
    tabs: Option<Tabs>,
    separators: Option<Separators>,
    /// How many of the open collections are in brackets or braces.
    flow_depth: usize,
    /// Where the last token of a scalar or of brackets ended.
    last_end: usize,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    aliasing: Aliasing,
    root: Option<Node>,
    warnings: Vec<Warning>,
}

/// A collection that is being read.
struct Frame {
    collection: Collection,
    style: StructureStyle,
    position: Position,
    anchor: usize,
    /// What was counted when it began, itself not included.
    counted: usize,
}

enum Collection {
    Sequence(Vec<Node>),
    Mapping { entries: Entries, key: Option<PendingKey> },
}

/// What an alias stands for.
enum Anchored {
    /// The anchored collection has not ended.
    Open,
    Complete {
        node: Node,
        /// The name as a key, if it can be one.
        name: Option<String>,
        counted: usize,
        /// Bytes of the texts in it.
        bytes: usize,
    },
}

impl Builder<'_> {
    fn begin(&mut self, span: &Span) -> Result<(), Error> {
        self.aliasing.count();
        self.check_no_end(span.start.byte_offset().unwrap_or_default())
    }

    /// What precedes the document has to be blank or comments.
    fn check_no_end(&self, start: usize) -> Result<(), Error> {
        if strictness::ends_document(&self.source[..start]) {
            let position = Position::new(self.lines_above + 1, 1);
            return Err(Error::new(position, "`...` ends a document that has not begun; kubectl refuses it"));
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Error> {
        match event {
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag.as_deref(), span),
            Event::SequenceStart(style, anchor, tag) => {
                self.check_collection(style, tag.is_some(), span)?;
                self.open(Collection::Sequence(Vec::new()), style, anchor, span)
            }
            Event::MappingStart(style, anchor, tag) => {
                self.check_collection(style, tag.is_some(), span)?;
                self.open(Collection::Mapping { entries: Entries::default(), key: None }, style, anchor, span)
            }
            Event::Anchor(_, name) => strictness::anchor(&name).map_err(|message| Error::new(self.position(span.start), message)),
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => self.alias(id, span),
            _ => Ok(()),
        }
    }

    fn check_collection(&mut self, style: StructureStyle, tagged: bool, span: &Span) -> Result<(), Error> {
        if tagged {
            strictness::tag(span, self.source).map_err(|message| Error::new(self.position(span.start), message))?;
        }
        // A block begins where its first key or item does; tabs before that are looked at then.
        if style == StructureStyle::Flow { self.check_tabs(span, false) } else { Ok(()) }
    }

    fn check_tabs(&mut self, span: &Span, plain: bool) -> Result<(), Error> {
        let Some(tabs) = &mut self.tabs else { return Ok(()) };
        let plain_indent = plain.then(|| {
            let block = self.stack.iter().rev().find(|frame| frame.style == StructureStyle::Block);
            block.map_or(0, |frame| frame.position.column as usize)
        });
        tabs.token(span, self.source, Place { in_flow: self.flow_depth > 0, plain_indent }).map_err(|at| self.tab(at))
    }

    fn tab(&self, at: usize) -> Error {
        Error::new(self.place_of(at), "a tab where a key or item could begin; use spaces")
    }

    fn place_of(&self, at: usize) -> Position {
        stream::place(self.source, at, self.lines_above)
    }

    fn open(&mut self, collection: Collection, style: StructureStyle, anchor: usize, span: &Span) -> Result<(), Error> {
        let position = match collection {
            Collection::Sequence(_) if style == StructureStyle::Block => self.position(self.dash(span.start)),
            _ => self.position(span.start),
        };
        if self.expects_key() {
            return Err(Error::new(position, "a list or map cannot be a key; kubectl refuses it"));
        }
        if self.stack.len() >= self.limits.depth {
            let message = format!("nested more than {} levels deep", self.limits.depth);
            return Err(Error::new(position, message));
        }
        let counted = self.aliasing.counted();
        self.count(position)?;
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored::Open);
        }
        self.flow_depth += usize::from(style == StructureStyle::Flow);
        self.stack.push(Frame { collection, style, position, anchor, counted });
        Ok(())
    }

    /// The first dash of a block sequence. The events of one at the column of its key begin behind the dash.
    fn dash(&self, start: Marker) -> Marker {
        let offset = start.byte_offset().unwrap_or_default();
        if self.source[offset..].starts_with('-') {
            return start;
        }
        let line_start = self.source[..offset].rfind('\n').map_or(0, |line_break| line_break + 1);
        let line = &self.source[line_start..offset];
        let column = line.len() - line.trim_start_matches(' ').len();
        if line[column..].starts_with('-') { Marker::new(line_start + column, start.line(), column) } else { start }
    }

    fn close(&mut self, span: &Span) -> Result<(), Error> {
        let Some(frame) = self.stack.pop() else {
            return Err(Error::new(self.position(span.start), "the end of a collection that did not begin"));
        };
        if frame.style == StructureStyle::Flow {
            self.check_tabs(span, false)?;
            self.flow_depth -= 1;
        }
        let value = match frame.collection {
            Collection::Sequence(items) => Kind::Sequence(items),
            Collection::Mapping { entries, .. } => Kind::Mapping(entries.finish(&mut self.warnings)),
        };
        let node = Node { value, position: frame.position };
        if frame.anchor > 0 {
            self.anchor(frame.anchor, &node, None, frame.counted)?;
        }
        self.place(node)
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, anchor: usize, tag: Option<&Tag>, span: &Span) -> Result<(), Error> {
        let position = match style {
            ScalarStyle::Literal | ScalarStyle::Folded => self.block(&text, span)?,
            _ => self.position(span.start),
        };
        self.check_scalar(&text, style, tag.is_some(), span).map_err(|message| Error::new(position, message))?;
        self.check_tabs(span, style == ScalarStyle::Plain && span.byte_range().is_some_and(|range| !range.is_empty()))?;
        self.last_end = span.end.byte_offset().unwrap_or(self.last_end);
        let tag = tag.map(full_tag);
        let implicit = tag.is_none() && style == ScalarStyle::Plain;
        let is_key = self.expects_key();
        if is_key && text == "<<" && (implicit || tag.as_deref().is_some_and(resolve::is_merge_tag)) {
            if anchor > 0 {
                let node = Node { value: Kind::String(text.into_owned()), position };
                self.anchor(anchor, &node, Some("<<".to_owned()), self.aliasing.counted())?;
            }
            self.key(PendingKey::Merge(position));
            return Ok(());
        }
        let counted = self.aliasing.counted();
        self.count(position)?;
        let bare_word = is_key && implicit && is_surprising_key(&text);
        let scalar = match tag {
            _ if implicit => resolve::plain(text),
            None => Scalar::Text(text),
            Some(tag) => resolve::tagged(&tag, text).map_err(|message| Error::new(position, message))?,
        };
        if anchor > 0 {
            let name = key_name(&scalar);
            let node = Node { value: Self::value(clone_scalar(&scalar), position)?, position };
            self.anchor(anchor, &node, name, counted)?;
        }
        if is_key {
            let Some(name) = key_name(&scalar) else { return Err(Error::new(position, key_problem(&scalar))) };
            if bare_word && self.warnings.len() < WARNINGS_MAX {
                self.warn_boolean_key(position, &name);
            }
            self.key(PendingKey::Named(Key { name, position }));
            return Ok(());
        }
        let value = Self::value(scalar, position)?;
        self.place(Node { value, position })
    }

    /// The position of the `|` or `>` of a block of text, whose span begins with the first line of the text.
    fn block(&self, text: &str, span: &Span) -> Result<Position, Error> {
        let start = span.start.byte_offset().unwrap_or_default();
        let gap = self.source.get(self.last_end..start).unwrap_or_default();
        let Some(at) = strictness::block_header(gap) else { return Ok(self.position(span.start)) };
        let lines_below = gap[at..].matches('\n').count();
        let at = self.last_end + at;
        let line_start = self.source[..at].rfind('\n').map_or(0, |line_break| line_break + 1);
        let column = self.source[line_start..at].chars().count();
        let marker = Marker::new(at, span.start.line().saturating_sub(lines_below), column);
        let position = self.position(marker);
        strictness::block(text, &self.source[at..], span.start.col()).map_err(|message| Error::new(position, message))?;
        Ok(position)
    }

    fn check_scalar(&mut self, text: &str, style: ScalarStyle, tagged: bool, span: &Span) -> Result<(), &'static str> {
        if tagged {
            strictness::tag(span, self.source)?;
        }
        if let Some(separators) = &mut self.separators {
            separators.see(style, text, span, self.source)?;
        }
        if self.expects_key() {
            if let Some(separators) = &self.separators {
                separators.key(span, self.source)?;
            }
            strictness::key(span, self.source, self.flow_depth > 0)?;
        }
        strictness::scalar(style, span, self.source, self.flow_depth > 0)
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<(), Error> {
        let position = self.position(span.start);
        self.check_tabs(span, false)?;
        self.last_end = span.end.byte_offset().unwrap_or(self.last_end);
        let (mut node, name, counted) = match self.anchors.get(&id) {
            Some(Anchored::Complete { node, name, counted, bytes }) => {
                if self.aliasing.counted().saturating_add(*counted) > self.limits.nodes {
                    return Err(self.too_many(position));
                }
                if !self.aliasing.copy(*bytes, self.limits.bytes) {
                    return Err(self.too_much_text(position));
                }
                (node.clone(), name.clone(), *counted)
            }
            Some(Anchored::Open) => return Err(Error::new(position, "an alias inside the value that it stands for")),
            None => return Err(Error::new(position, "an alias for an anchor that does not exist")),
        };
        self.count(position)?;
        if !self.aliasing.expand(counted) {
            return Err(Error::new(position, "too much of the document comes from aliases; kubectl refuses it"));
        }
        if self.expects_key() {
            let Some(name) = name else {
                return Err(Error::new(position, "the alias stands for a value that cannot be a key"));
            };
            self.key(PendingKey::Named(Key { name, position }));
            return Ok(());
        }
        if self.expects_merge() && !matches!(node.value, Kind::Mapping(_)) {
            return Err(Error::new(position, "an alias behind the merge key `<<` has to stand for a map"));
        }
        node.position = position;
        if self.stack.len() + depth(&node) > self.limits.depth {
            return Err(Error::new(position, format!("nested more than {} levels deep", self.limits.depth)));
        }
        self.place(node)
    }

    /// Puts a complete value where it belongs.
    fn place(&mut self, node: Node) -> Result<(), Error> {
        match self.stack.last_mut().map(|frame| &mut frame.collection) {
            None => self.root = Some(node),
            Some(Collection::Sequence(items)) => items.push(node),
            Some(Collection::Mapping { entries, key }) => {
                let position = node.position;
                let Some(key) = key.take() else {
                    return Err(Error::new(position, "a list or map cannot be a key; kubectl refuses it"));
                };
                entries.add(key, node)?;
            }
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { collection: Collection::Mapping { key: None, .. }, .. }))
    }

    fn expects_merge(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { collection: Collection::Mapping { key: Some(PendingKey::Merge(_)), .. }, .. }))
    }

    fn key(&mut self, pending: PendingKey) {
        if let Some(Frame { collection: Collection::Mapping { key, .. }, .. }) = self.stack.last_mut() {
            *key = Some(pending);
        }
    }

    fn anchor(&mut self, id: usize, node: &Node, name: Option<String>, counted_before: usize) -> Result<(), Error> {
        let counted = self.aliasing.counted() - counted_before;
        // The copy costs as much memory as the value.
        if !self.aliasing.keep(counted, self.limits.nodes) {
            return Err(self.too_many(node.position));
        }
        let bytes = text_bytes(node);
        if !self.aliasing.copy(bytes, self.limits.bytes) {
            return Err(self.too_much_text(node.position));
        }
        self.anchors.insert(id, Anchored::Complete { node: node.clone(), name, counted, bytes });
        Ok(())
    }

    fn count(&mut self, position: Position) -> Result<(), Error> {
        self.aliasing.count();
        if self.aliasing.counted() > self.limits.nodes {
            return Err(self.too_many(position));
        }
        if self.aliasing.is_excessive() {
            return Err(Error::new(position, "too much of the document comes from aliases; kubectl refuses it"));
        }
        Ok(())
    }

    fn too_many(&self, position: Position) -> Error {
        Error::new(position, format!("more than {} values, those that aliases bring included", self.limits.nodes))
    }

    fn too_much_text(&self, position: Position) -> Error {
        Error::new(position, format!("anchors and aliases copy more than {} bytes of text", self.limits.bytes))
    }

    fn value(scalar: Scalar<'_>, position: Position) -> Result<Kind, Error> {
        Ok(match scalar {
            Scalar::Null => Kind::Null,
            Scalar::Bool(value) => Kind::Bool(value),
            Scalar::Integer(value) => Kind::Number(value),
            Scalar::Float(value) => {
                Kind::Number(number::json_number(value).ok_or_else(|| {
                    Error::new(position, "infinity and not-a-number cannot stand in JSON; quote the value if text is meant")
                })?)
            }
            Scalar::Text(text) => Kind::String(text.into_owned()),
        })
    }

    fn warn_boolean_key(&mut self, position: Position, name: &str) {
        let message = format!("this bare key is a boolean of YAML 1.1 and becomes \"{name}\"; quote it");
        self.warnings.push(Warning { position, kind: WarningKind::BooleanKey, message });
    }

    fn finish(mut self) -> Result<Option<Document>, Error> {
        if let Some(separators) = &self.separators
            && let Some(at) = separators.unseen(self.source)
        {
            return Err(Error::new(self.place_of(at), Separators::ADVICE));
        }
        if let Some(tabs) = &mut self.tabs {
            tabs.end(self.source).map_err(|at| self.tab(at))?;
        }
        if self.root.is_none() {
            self.check_no_end(self.source.len())?;
        }
        let Some(root) = self.root.filter(|root| root.value != Kind::Null) else { return Ok(None) };
        Ok(Some(Document { root, warnings: self.warnings }))
    }

    fn position(&self, marker: Marker) -> Position {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Position::new(number(marker.line()).saturating_add(self.lines_above), number(marker.col() + 1))
    }

    fn trailing(&self, marker: Marker) -> Error {
        let message = "text behind the end of the document, which kubectl drops without a word; separate documents with a line `---`";
        Error::new(self.position(marker), message)
    }

    fn syntax(&self, error: &ScanError, documents: usize) -> Error {
        if documents > 0 {
            return self.trailing(*error.marker());
        }
        let message = match error.kind() {
            ErrorKind::RecursionLimitExceeded => format!("nested more than {} levels deep", self.limits.depth),
            ErrorKind::UnknownAnchor => "an alias for an anchor that does not exist".to_owned(),
            ErrorKind::TabInIndentation | ErrorKind::TabInBlockIndentation | ErrorKind::TabNotAllowed => {
                "a tab in the indentation; YAML allows spaces alone".to_owned()
            }
            ErrorKind::ExpectedDocumentStart if documents == 0 && self.root.is_none() => {
                "kubectl does not read YAML directives (lines that begin with %); remove them".to_owned()
            }
            ErrorKind::MappingValueNotAllowed => {
                "`: ` inside a plain value, or a wrong indentation; quote the value or align the key".to_owned()
            }
            kind => kind.to_string(),
        };
        let message = if self.separators.is_some() { format!("{message} ({})", Separators::ADVICE) } else { message };
        Error::new(self.position(*error.marker()), message)
    }
}

fn full_tag(tag: &Tag) -> Cow<'_, str> {
    match tag.parts() {
        ("", suffix) => Cow::Borrowed(suffix),
        (handle, "") => Cow::Borrowed(handle),
        (handle, suffix) => Cow::Owned(format!("{handle}{suffix}")),
    }
}

/// Words that are booleans for go-yaml and that few people mean so.
fn is_surprising_key(text: &str) -> bool {
    text.len() <= 3 && matches!(text.to_ascii_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off")
}

/// The key that sigs.k8s.io/yaml makes of a scalar; none for null and for integers beyond 63 bits.
fn key_name(scalar: &Scalar<'_>) -> Option<String> {
    match scalar {
        Scalar::Null => None,
        Scalar::Bool(value) => Some(value.to_string()),
        Scalar::Integer(value) => value.as_i64().map(|value| value.to_string()),
        Scalar::Float(value) => Some(number::float_key(*value)),
        Scalar::Text(text) => Some(text.clone().into_owned()),
    }
}

fn key_problem(scalar: &Scalar<'_>) -> &'static str {
    match scalar {
        Scalar::Null => "a key is missing or null; quote it if text is meant",
        _ => "this number is too large to be a key; quote it",
    }
}

fn clone_scalar<'a>(scalar: &Scalar<'a>) -> Scalar<'a> {
    match scalar {
        Scalar::Null => Scalar::Null,
        Scalar::Bool(value) => Scalar::Bool(*value),
        Scalar::Integer(value) => Scalar::Integer(value.clone()),
        Scalar::Float(value) => Scalar::Float(*value),
        Scalar::Text(text) => Scalar::Text(text.clone()),
    }
}

/// The bytes of all texts and keys in a value.
fn text_bytes(node: &Node) -> usize {
    match &node.value {
        Kind::String(text) => text.len(),
        Kind::Sequence(items) => items.iter().map(text_bytes).sum(),
        Kind::Mapping(entries) => entries.iter().map(|(key, node)| key.name.len() + text_bytes(node)).sum(),
        _ => 0,
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Kind::Sequence(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Kind::Mapping(entries) => 1 + entries.iter().map(|(_, node)| depth(node)).max().unwrap_or(0),
        _ => 0,
    }
}
