//! Where a field of an object stands in the document or the overlay's entry that gave it.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use kube_overlay::{MergingList, Table};
use kube_yaml::{Kind, Node};
use serde_json::Value;

use super::{overlay::resolve, trace::Cause};
use crate::{
    git::Source,
    manifest::{self, Origin},
};

/// One step on the way from an object to a field of it.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Field(&'a str),
    Item { at: usize, value: &'a Value },
}

/// An object, and how its lists merge.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    pub(super) object: &'a Value,
    pub(super) table: &'a Table,
}

impl Shape<'_> {
    /// The merging list at the end of a trail.
    pub(super) fn list(&self, trail: &[Step<'_>]) -> Option<MergingList<'_>> {
        let fields = trail.iter().filter_map(|step| if let Step::Field(name) = step { Some(*name) } else { None });
        self.table.merging_list(self.object, fields)
    }
}

/// Lines of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) path: Arc<str>,
    pub(super) line: u32,
    pub(super) last_line: u32,
    /// The field itself stands there, and not only something around it.
    pub(super) exact: bool,
}

/// A file, read for its lines.
struct TextFile {
    path: Arc<str>,
    text: String,
    documents: Vec<Node>,
}

/// The files that were asked for.
pub(super) struct Texts<'a> {
    source: &'a dyn Source,
    files: HashMap<String, Option<Rc<TextFile>>>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Self {
        Self { source, files: HashMap::new() }
    }

    /// Where the cause speaks of the field at the end of the trail.
    pub(super) fn spot(&mut self, cause: &Cause, trail: &[Step<'_>], shape: Shape<'_>) -> Spot {
        match cause {
            Cause::Document(origin) => self.in_document(origin, trail, shape),
            Cause::Entry { file, entry } => self.in_overlay(file, entry, trail, shape),
        }
    }

    fn in_document(&mut self, origin: &Origin, trail: &[Step<'_>], shape: Shape<'_>) -> Spot {
        let top = Spot { path: Arc::clone(&origin.path), line: origin.line, last_line: origin.line, exact: false };
        let Some(file) = self.file(&origin.path) else { return top };
        let document = file.documents.iter().find_map(|root| starting_at(root, origin));
        document.map_or(top, |document| file.spot(document, trail, shape, 0))
    }

    fn in_overlay(&mut self, path: &str, entry: &str, trail: &[Step<'_>], shape: Shape<'_>) -> Spot {
        let at = |path: Arc<str>, line| Spot { path, line, last_line: line, exact: false };
        let Some(file) = self.file(path) else { return at(path.into(), 1) };
        let (name, number) = entry.split_once('[').map_or((entry, None), |(name, rest)| (name, rest.trim_end_matches(']').parse().ok()));
        let pointer = number.map_or_else(|| format!("/{name}"), |number: usize| format!("/{name}/{number}"));
        let Some((node, position)) = file.documents.iter().find_map(|root| Some((root.at(&pointer)?, root.key_position(&pointer)?))) else {
            return at(Arc::clone(&file.path), 1);
        };
        let field = match trail.last() {
            Some(Step::Field(name)) => manifest::pointer("", name),
            _ => String::new(),
        };
        let line_of = |pointers: &[&str]| pointers.iter().find_map(|pointer| node.key_position(pointer)).unwrap_or(position).line;
        let line = match name {
            "images" => line_of(&["/newTag", "/digest", "/newName"]),
            "replicas" => line_of(&["/count"]),
            "labels" => line_of(&[&format!("/pairs{field}")]),
            "commonAnnotations" => line_of(&[&field]),
            "patches" => {
                let found = self.in_patch(&file, node, trail, shape);
                return found.unwrap_or_else(|| at(Arc::clone(&file.path), position.line));
            }
            _ => position.line,
        };
        at(Arc::clone(&file.path), line)
    }

    /// In the patch of an entry of `patches`; none if it says nothing that can be found of the field.
    fn in_patch(&mut self, overlay: &Rc<TextFile>, entry: &Node, trail: &[Step<'_>], shape: Shape<'_>) -> Option<Spot> {
        if let Some(relative) = entry.get("path").and_then(Node::as_str) {
            let file = self.file(&resolve(&overlay.path, relative)?)?;
            return file.patched(&file.documents, trail, shape, 0);
        }
        let patch = entry.get("patch")?;
        // Only in a literal block are the patch's lines those of the file.
        if !overlay.is_block(patch, &['|']) {
            return None;
        }
        let documents: Vec<Node> = kube_yaml::parse(patch.as_str()?).ok()?.into_iter().map(|document| document.root).collect();
        overlay.patched(&documents, trail, shape, patch.position.line)
    }

    fn file(&mut self, path: &str) -> Option<Rc<TextFile>> {
        if let Some(known) = self.files.get(path) {
            return known.clone();
        }
        let read = read(self.source, path).map(Rc::new);
        self.files.insert(path.to_owned(), read.clone());
        read
    }
}

fn read(source: &dyn Source, path: &str) -> Option<TextFile> {
    let text = manifest::text(path, source.blob(source.find(path)?).ok()?).ok()?;
    let documents = kube_yaml::parse(&text).ok()?.into_iter().map(|document| document.root).collect();
    Some(TextFile { path: path.into(), text, documents })
}

/// The object that begins there: a document, or an item of a List.
fn starting_at<'n>(node: &'n Node, origin: &Origin) -> Option<&'n Node> {
    if (node.position.line, node.position.column) == (origin.line, origin.column) {
        return Some(node);
    }
    match &node.get("items")?.value {
        Kind::Sequence(items) => items.iter().find_map(|item| starting_at(item, origin)),
        _ => None,
    }
}

impl TextFile {
    /// Where a document speaks of a field, or of the closest thing around it. `above` is the number of the file's lines above the
    /// document's text.
    fn spot(&self, document: &Node, trail: &[Step<'_>], shape: Shape<'_>, above: u32) -> Spot {
        // What is written as stringData of a Secret is data, and goes before what is written as that.
        if let [Step::Field("data"), rest @ ..] = trail {
            let written: Vec<Step<'_>> = [Step::Field("stringData")].into_iter().chain(rest.iter().copied()).collect();
            let spot = self.follow(document, &written, shape, above);
            if spot.exact {
                return spot;
            }
        }
        self.follow(document, trail, shape, above)
    }

    fn follow(&self, document: &Node, trail: &[Step<'_>], shape: Shape<'_>, above: u32) -> Spot {
        let (mut node, mut position) = (document, document.position);
        let mut passed = 0;
        for step in trail {
            let next = match (step, &node.value) {
                (Step::Field(name), Kind::Mapping(entries)) => {
                    entries.iter().find(|(key, _)| key.name == *name).map(|(key, node)| (key.position, node))
                }
                (Step::Item { at, value }, Kind::Sequence(items)) => {
                    let item = match shape.list(&trail[..passed]) {
                        Some(list) => items.iter().find(|item| list.is_same(&item.to_json(), value)),
                        None => items.get(*at),
                    };
                    item.map(|item| (item.position, item))
                }
                _ => None,
            };
            let Some(next) = next else { break };
            (position, node) = next;
            passed += 1;
        }
        let line = position.line + above;
        let is_key = matches!(trail.get(passed.wrapping_sub(1)), Some(Step::Field(_)));
        let last_line = if is_key && above == 0 && self.is_block(node, &['|', '>']) { self.block_end(line, position.column) } else { line };
        Spot { path: Arc::clone(&self.path), line, last_line, exact: passed == trail.len() }
    }

    /// Where a patch speaks of a field: one or more objects, or a list of operations.
    fn patched(&self, documents: &[Node], trail: &[Step<'_>], shape: Shape<'_>, above: u32) -> Option<Spot> {
        if let [Node { value: Kind::Sequence(operations), .. }] = documents {
            return operations.iter().rev().find_map(|operation| self.operated(operation, trail, shape, above));
        }
        let name = shape.object.pointer("/metadata/name").and_then(Value::as_str);
        let named = |document: &&Node| document.at("/metadata/name").and_then(Node::as_str) == name;
        let document = documents.iter().find(named).or(documents.first())?;
        let spot = self.spot(document, trail, shape, above);
        (spot.exact || spot.line > document.position.line + above).then_some(spot)
    }

    /// The line of an operation of RFC 6902 that sets the field or something around it.
    fn operated(&self, operation: &Node, trail: &[Step<'_>], shape: Shape<'_>, above: u32) -> Option<Spot> {
        let path = operation.get("path")?.as_str()?.strip_prefix('/')?;
        let tokens: Vec<String> = path.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
        let leads = |(token, step): (&String, &Step<'_>)| match step {
            Step::Field(name) => token == name,
            Step::Item { at, .. } => token == "-" || *token == at.to_string(),
        };
        if tokens.len() > trail.len() || !tokens.iter().zip(trail).all(leads) {
            return None;
        }
        let line = |pointer: &str| operation.key_position(pointer).map(|position| position.line + above);
        let start = line("/value").unwrap_or(operation.position.line + above);
        let mut inner = String::from("/value");
        let mut found = start;
        for step in &trail[tokens.len()..] {
            inner = match step {
                Step::Field(name) => manifest::pointer(&inner, name),
                Step::Item { at, .. } => format!("{inner}/{at}"),
            };
            found = line(&inner).unwrap_or(found);
        }
        // The list at the end of the trail is not given whole by what adds an item to it.
        let exact = shape.list(trail).is_none();
        Some(Spot { path: Arc::clone(&self.path), line: found, last_line: found, exact })
    }

    /// Whether a value is a block of text of one of these styles.
    fn is_block(&self, node: &Node, styles: &[char]) -> bool {
        let (line, column) = (node.position.line as usize, node.position.column as usize);
        let first = self.text.lines().nth(line.wrapping_sub(1)).and_then(|line| line.chars().nth(column.wrapping_sub(1)));
        first.is_some_and(|first| styles.contains(&first))
    }

    /// The last line of the block whose key stands there.
    fn block_end(&self, line: u32, column: u32) -> u32 {
        let mut last = line;
        for (number, text) in (line + 1..).zip(self.text.lines().skip(line as usize)) {
            let indentation = text.len() - text.trim_start_matches(' ').len();
            if text.trim().is_empty() {
                continue;
            }
            if indentation < column as usize {
                break;
            }
            last = number;
        }
        last
    }
}
