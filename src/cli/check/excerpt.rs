//! The line that a finding is about, with a mark below its column; never one that may hold a Secret's value.

use serde_json::Value;
use unicode_width::UnicodeWidthChar as _;

use super::overlays::Overlays;
use crate::{
    diagnostic::Place,
    git::{Node, Source},
    manifest,
};

/// How wide a tab is shown.
const TAB: &str = "    ";
/// Most characters that are shown of a line, and how many of them before the mark.
const SHOWN_MAX: usize = 200;
const BEFORE_MAX: usize = 120;

/// Reads lines of a repository.
pub(super) struct Excerpts<'a> {
    source: &'a dyn Source,
    overlays: &'a Overlays,
}

/// A line as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// From 1.
    pub(super) number: u32,
    /// Without control characters.
    pub(super) line: String,
    /// How many columns of a terminal lie before the one that is meant.
    pub(super) indent: usize,
}

impl<'a> Excerpts<'a> {
    pub(super) fn new(source: &'a dyn Source, overlays: &'a Overlays) -> Self {
        Self { source, overlays }
    }

    /// The line at a place; none where only the file is meant, it cannot be read, or it may be part of a Secret.
    pub(super) fn at(&self, place: &Place) -> Option<Excerpt> {
        let Place::File { path, line: number @ 1.., column } = place else { return None };
        let text = self.text(path)?;
        if self.overlays.guards(path) || !may_be_shown(path, &text) {
            return None;
        }
        let line = text.split('\n').nth(usize::try_from(*number).ok()?.checked_sub(1)?)?;
        Some(excerpt(*number, line, usize::try_from(*column).ok()?))
    }

    fn text(&self, path: &str) -> Option<String> {
        let mut node = Node::Folder(self.source.root());
        for name in path.split('/') {
            let Node::Folder(tree) = node else { return None };
            node = self.source.folder(tree).ok()?.get(name)?.node;
        }
        let Node::File(blob) = node else { return None };
        manifest::text(path, self.source.blob(blob).ok()?).ok()
    }
}

fn excerpt(number: u32, line: &str, column: usize) -> Excerpt {
    let cells: Vec<String> = line.trim_end_matches('\r').chars().map(shown).collect();
    let at = column.saturating_sub(1).min(cells.len());
    let from = if cells.len() > SHOWN_MAX { at.saturating_sub(BEFORE_MAX) } else { 0 };
    let to = (from + SHOWN_MAX).min(cells.len());
    let head = if from > 0 { "…" } else { "" };
    let tail = if to < cells.len() { "…" } else { "" };
    let width = |text: &str| text.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>();
    let indent = width(head) + cells[from..at].iter().map(|cell| width(cell)).sum::<usize>();
    Excerpt { number, line: format!("{head}{}{tail}", cells[from..to].concat()), indent }
}

fn shown(c: char) -> String {
    match c {
        '\t' => TAB.to_owned(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    }
}

/// Whether a file surely has no part of a Secret in it: it speaks of none, and says of everything in it what it is.
fn may_be_shown(path: &str, text: &str) -> bool {
    // A patch in an overlay need not say which kinds it is for.
    if speaks_of_secrets(text) || (path.ends_with("/overlay.yaml") && text.replace("metadata", "").contains("data")) {
        return false;
    }
    is_settings(path)
        || match kube_yaml::parse(text) {
            Ok(documents) => {
                documents.into_iter().map(|document| document.root.into_json()).all(|value| value.is_null() || is_open(&value))
            }
            // What a broken file says can only be guessed: escapes may spell anything.
            Err(_) => text.lines().any(|line| line.trim_start().starts_with(['k', '"']) && line.contains("kind")) && !text.contains('\\'),
        }
}

/// Whether the layout reads the file for what it says of the fleet; a file of the same name elsewhere is a manifest.
fn is_settings(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["evenkeel.yaml" | ".evenkeelignore"] | ["environments", _, "environment.yaml"] | [.., "bundle.yaml"] => true,
        ["environments", _, folder, "region.yaml"] | ["environments", _, _, folder, "cluster.yaml"] => *folder != "base",
        _ => false,
    }
}

/// Whether a document has a kind and no Secret in it.
fn is_open(value: &Value) -> bool {
    fn has_secret(value: &Value) -> bool {
        match value {
            Value::String(text) => speaks_of_secrets(text),
            Value::Array(items) => items.iter().any(has_secret),
            Value::Object(fields) => fields.iter().any(|(name, value)| speaks_of_secrets(name) || has_secret(value)),
            _ => false,
        }
    }
    value["kind"].is_string() && !has_secret(value)
}

/// Whether a text has a word that begins with Secret, or a field of Secrets. `secretKeyRef` and `ExternalSecret` only refer to one.
fn speaks_of_secrets(text: &str) -> bool {
    let starts_word = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric());
    text.match_indices("Secret").any(|(at, _)| starts_word(at)) || text.contains("stringData") || text.contains("secretGenerator")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::git::MemorySource;

    #[test]
    fn the_mark_stands_below_the_column() {
        for (line, column, shown, indent) in [
            ("a: [", 4, "a: [", 3),
            ("\ta: b\r", 2, "    a: b", 4),
            ("名前: x", 5, "名前: x", 6),
            ("e\u{301}: x", 4, "e\u{301}: x", 2),
            ("a\u{1b}[2J: x", 3, "a\\u{1b}[2J: x", 7),
            ("", 1, "", 0),
            ("ab", 9, "ab", 2),
        ] {
            assert_eq!(excerpt(7, line, column), Excerpt { number: 7, line: shown.to_owned(), indent }, "{line:?}");
        }
        let long = format!("{}X{}", "a".repeat(1000), "b".repeat(1000));
        let Excerpt { line, indent, .. } = excerpt(1, &long, 1001);
        assert_eq!((line.chars().count(), line.chars().nth(indent)), (202, Some('X')));
    }

    #[test]
    fn no_line_that_may_be_of_a_secret() {
        let config = "apiVersion: v1\nkind: ConfigMap\n";
        for (path, text, shown) in [
            ("a.yaml", config, true),
            ("a.yaml", "apiVersion: v1\nkind: ConfigMap\na: [\n", true),
            ("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nsecretKeyRef: {}\n", true),
            ("a.yaml", "apiVersion: v1\nkind: Secret\n", false),
            ("a.yaml", "apiVersion: v1\nkind: Secret\na: [\n", false),
            ("a.yaml", "{\"apiVersion\": \"v1\", \"kind\": \"S\\u0065cret\"}", false),
            ("a.yaml", "{\"apiVersion\": \"v1\", \"kind\": \"S\\u0065cret\", [}", false),
            ("a.yaml", "apiVersion: v1\nkind: ConfigMap\n---\napiVersion: v1\nkind: SecretList\n", false),
            ("a.yaml", "apiVersion: v1\nkind: List\nitems: [{kind: Secret}]\n", false),
            ("a.yaml", "- {op: add, path: /data/password, value: eA==}\n", false),
            ("a.yaml", "a: [\n", false),
            ("a.patch.yaml", "metadata: {name: a}\nstringData: {a: b}\n", false),
            ("x/overlay.yaml", "kind: Overlay\nmetadata: {}\n", true),
            ("x/overlay.yaml", "kind: Overlay\nsecretGenerator: []\n", false),
            ("x/overlay.yaml", "kind: Overlay\npatches: [{target: {name: a}, patch: '[{path: /data/a}]'}]\n", false),
            ("environments/a/b/c/cluster.yaml", "a: [", true),
            ("environments/a/b/base/cluster.yaml", "a: [", false),
            ("base/shop/environment.yaml", "a: [", false),
            (".evenkeelignore", "[", true),
        ] {
            assert_eq!(may_be_shown(path, text), shown, "{path}: {text}");
        }
    }

    #[test]
    fn lines_are_found_by_their_place() {
        let source = MemorySource::new([("base/a.yaml", "kind: ConfigMap\n  b: c\n")]).unwrap();
        let overlays = Overlays::default();
        let excerpts = Excerpts::new(&source, &overlays);
        let line = |place: Place| excerpts.at(&place).map(|excerpt| excerpt.line);
        assert_eq!(line(Place::at("base/a.yaml", 2, 3)).as_deref(), Some("  b: c"));
        for place in
            [Place::file("base/a.yaml"), Place::at("base/a.yaml", 9, 1), Place::at("base", 1, 1), Place::at("x", 1, 1), Place::Nowhere]
        {
            assert_eq!(line(place), None);
        }
    }
}
