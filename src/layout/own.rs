//! Reading Evenkeel's own kinds: every field is known, known to come later, or a mistake with its place.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{API_VERSION, is_label, notifications, rollout::DAY_WORDS, span};
use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
    manifest::{Drift, place_of, pointer},
};

/// What a field may hold.
pub(crate) enum Shape {
    Flag,
    /// `true`, and nothing else.
    True,
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of names that bundles can have.
    Names,
    /// A list of these words.
    Words(&'static [&'static str]),
    /// A span of time such as `10m`.
    Span,
    /// A whole number from 0 to this.
    Count(u64),
    Fields(&'static [(&'static str, Shape)]),
    /// Every one of these fields.
    All(&'static [(&'static str, Shape)]),
    /// A list of mappings of these fields, of which those named first must be there.
    List(&'static [&'static str], &'static [(&'static str, Shape)]),
    /// Exactly one of these fields.
    OneOf(&'static [(&'static str, Shape)]),
    /// A field of the design that this version does not have.
    Later,
}

/// One of Evenkeel's kinds.
pub(crate) struct Kind {
    name: &'static str,
    /// The code of a mistake in it.
    code: Code,
    spec: &'static [(&'static str, Shape)],
}

use Shape::{All, Count, Fields, Flag, Later, List, Names, OneOf, Span, Text, True, Word, Words};

const DRIFT: Shape = Word(Drift::WORDS);
const VALIDATE: Shape = Word(&["dryRun", "none"]);
/// What becomes of the objects of a cluster that leaves the repository.
const ON_REMOVAL: Shape = Word(&["keep", "prune"]);
const ALLOWANCE: Shape = All(&[("objects", Count(1_000_000)), ("percent", Count(100))]);

const HEALTH: Shape = List(
    &["apiVersion", "kind", "current"],
    &[("apiVersion", Text), ("kind", Text), ("current", Text), ("inProgress", Text), ("failed", Text), ("suspended", Text)],
);

const FREEZES: Shape = List(&["from", "to"], &[("from", Text), ("to", Text), ("timezone", Text), ("reason", Text)]);

const WINDOWS: Shape = List(&["from", "to"], &[("days", Words(DAY_WORDS)), ("from", Text), ("to", Text), ("timezone", Text)]);

const WAVES: Shape = List(
    &["name", "selector"],
    &[
        ("name", Text),
        ("selector", Text),
        ("soak", Span),
        ("maxParallel", Count(1_000_000)),
        ("maxUnavailable", Count(1_000_000)),
        ("requireApproval", Flag),
        ("windows", WINDOWS),
        ("freezes", FREEZES),
    ],
);

const ROLLOUT: Shape = Fields(&[
    ("onFailure", Word(&["hold", "return"])),
    ("preempt", Word(&["now", "finishWave"])),
    ("skipUnreachableAfter", Span),
    ("waves", WAVES),
    ("freezes", FREEZES),
]);

/// evenkeel.yaml
pub(super) const FLEET: Kind = Kind {
    name: "Fleet",
    code: codes::FLEET_FILE,
    spec: &[
        ("paused", Flag),
        ("drift", DRIFT),
        ("validate", VALIDATE),
        ("adopt", Word(&["refuse", "allow"])),
        ("budget", Fields(&[("cluster", ALLOWANCE), ("fleet", ALLOWANCE)])),
        ("onRemoval", ON_REMOVAL),
        ("health", HEALTH),
        ("defaults", Later),
        ("rollout", ROLLOUT),
        ("notifications", notifications::FORM),
    ],
};

/// What an environment and its regions may say of their clusters.
const LEVEL: &[(&str, Shape)] =
    &[("paused", Flag), ("drift", DRIFT), ("validate", VALIDATE), ("onRemoval", ON_REMOVAL), ("vars", Later), ("settings", Later)];

/// environment.yaml
pub(super) const ENVIRONMENT: Kind = Kind { name: "Environment", code: codes::OWN_KIND, spec: LEVEL };

/// region.yaml
pub(super) const REGION: Kind = Kind { name: "Region", code: codes::OWN_KIND, spec: LEVEL };

/// cluster.yaml
pub(super) const CLUSTER: Kind = Kind {
    name: "Cluster",
    code: codes::OWN_KIND,
    spec: &[
        ("paused", Flag),
        ("drift", DRIFT),
        ("validate", VALIDATE),
        ("onRemoval", ON_REMOVAL),
        ("connection", OneOf(&[("context", Text), ("kubeconfig", Text), ("secret", Later), ("inCluster", True)])),
        ("vars", Later),
        ("settings", Later),
    ],
};

/// bundle.yaml
pub(crate) const BUNDLE: Kind = Kind {
    name: "Bundle",
    code: codes::OWN_KIND,
    spec: &[
        ("paused", Flag),
        ("targets", Text),
        ("drift", DRIFT),
        ("dependsOn", Names),
        ("deadline", Span),
        ("health", HEALTH),
        ("prune", Later),
        ("atomic", Later),
        ("serviceAccount", Later),
        ("vars", Later),
        ("substitute", Later),
    ],
};

/// A file of one of Evenkeel's own kinds, checked.
#[derive(Default)]
pub(crate) struct Own {
    pub(crate) name: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    spec: Map<String, Value>,
    path: String,
    root: Option<kube_yaml::Node>,
}

impl Own {
    /// Reads a file of that kind, noting every mistake. What is right is kept, so that the rest of the fleet can be read on.
    /// `folder` is the name that metadata.name must repeat if it is there.
    pub(crate) fn read(path: &str, text: &str, kind: &'static Kind, folder: Option<&str>, problems: &mut Vec<Diagnostic>) -> Self {
        let mut documents = match kube_yaml::parse(text) {
            Ok(documents) => documents,
            Err(error) => {
                problems.push(Diagnostic::new(codes::YAML, Place::at(path, error.position.line, error.position.column), error.message));
                return Self::default();
            }
        };
        documents.retain(|document| !matches!(document.root.value, kube_yaml::Kind::Null));
        let Some(document) = documents.first() else {
            problems.push(Diagnostic::new(kind.code, Place::file(path), format!("the file is empty; it should hold kind: {}", kind.name)));
            return Self::default();
        };
        let mut reader = Reader { path, root: &document.root, code: kind.code, problems };
        if let Some(second) = documents.get(1) {
            let place = Place::at(path, second.root.position.line, second.root.position.column);
            reader.problems.push(Diagnostic::new(kind.code, place, "a second document; this file holds one"));
        }
        let mut own = reader.whole(document.root.to_json(), kind);
        if let (Some(name), Some(folder)) = (&own.name, folder)
            && name != folder
        {
            reader.refuse_as(codes::NAME_MISMATCH, "/metadata/name", format!("metadata.name is {name}, the folder is {folder}"));
        }
        path.clone_into(&mut own.path);
        own.root = documents.into_iter().next().map(|document| document.root);
        own
    }

    /// Notes a mistake that only the reader of a field can see.
    pub(crate) fn refuse(&self, code: Code, pointer: &str, message: impl Into<String>, problems: &mut Vec<Diagnostic>) {
        problems.push(Diagnostic::new(code, self.place(pointer), message));
    }

    /// Where the field at a JSON pointer stands.
    pub(crate) fn place(&self, pointer: &str) -> Place {
        self.root.as_ref().map_or_else(|| Place::file(&*self.path), |root| place_of(&self.path, root, pointer))
    }

    /// One field of the spec, where it is there and right.
    pub(crate) fn field<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.spec.get(name).and_then(|value| serde_json::from_value(value.clone()).ok())
    }

    /// `spec.drift`
    pub(crate) fn drift(&self) -> Option<Drift> {
        if self.spec.get("drift") == Some(&Value::Bool(false)) { Some(Drift::Off) } else { self.field("drift") }
    }

    /// Whether `spec.paused` is true.
    pub(crate) fn paused(&self) -> bool {
        self.field("paused").unwrap_or(false)
    }
}

struct Reader<'a> {
    path: &'a str,
    root: &'a kube_yaml::Node,
    code: Code,
    problems: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn refuse(&mut self, pointer: &str, message: impl Into<String>) {
        self.refuse_as(self.code, pointer, message);
    }

    fn refuse_as(&mut self, code: Code, pointer: &str, message: impl Into<String>) {
        self.problems.push(Diagnostic::new(code, place_of(self.path, self.root, pointer), message));
    }

    fn whole(&mut self, value: Value, kind: &'static Kind) -> Own {
        let Value::Object(mut fields) = value else {
            self.refuse("", format!("not a mapping; it should hold kind: {}", kind.name));
            return Own::default();
        };
        for (name, expected) in [("apiVersion", API_VERSION), ("kind", kind.name)] {
            match fields.remove(name) {
                Some(Value::String(found)) if found == expected => {}
                Some(found) => self.refuse(&format!("/{name}"), format!("{name} is {found}; here it must be {expected}")),
                None => self.refuse("", format!("{name}: {expected} is missing")),
            }
        }
        let mut own = Own::default();
        match fields.remove("metadata") {
            Some(Value::Object(metadata)) => self.metadata(metadata, &mut own),
            None | Some(Value::Null) => {}
            Some(_) => self.refuse("/metadata", "metadata must be a mapping"),
        }
        match fields.remove("spec") {
            Some(Value::Object(spec)) => {
                self.fields("/spec", &spec, kind.spec);
                own.spec = spec;
            }
            None | Some(Value::Null) => {}
            Some(_) => self.refuse("/spec", "spec must be a mapping"),
        }
        for name in fields.keys() {
            self.refuse(&pointer("", name), format!("unknown field {name}; a {} has metadata and spec", kind.name));
        }
        own
    }

    fn metadata(&mut self, metadata: Map<String, Value>, own: &mut Own) {
        for (field, value) in metadata {
            match (field.as_str(), value) {
                ("name", Value::String(name)) => own.name = Some(name),
                ("labels", Value::Object(labels)) => self.labels(labels, own),
                ("annotations", Value::Object(_)) | ("labels" | "annotations", Value::Null) => {}
                ("name", _) => self.refuse("/metadata/name", "metadata.name must be a string"),
                ("labels" | "annotations", _) => self.refuse(&pointer("/metadata", &field), format!("metadata.{field} must be a mapping")),
                _ => self.refuse(&pointer("/metadata", &field), format!("unknown field metadata.{field}")),
            }
        }
    }

    fn labels(&mut self, labels: Map<String, Value>, own: &mut Own) {
        for (label, value) in labels {
            let at = pointer("/metadata/labels", &label);
            match value {
                _ if matches!(label.as_str(), "environment" | "region" | "cluster") => {
                    self.refuse(&at, format!("the label {label} is given by the folder and cannot be set"));
                }
                Value::String(text) if text.is_empty() || is_label(&text) => {
                    own.labels.insert(label, text);
                }
                Value::String(text) => self.refuse(&at, format!("`{text}` is not a label's value")),
                _ => self.refuse(&at, format!("the label {label} must be a string; put its value in quotes")),
            }
        }
    }

    fn fields(&mut self, at: &str, found: &Map<String, Value>, known: &'static [(&'static str, Shape)]) {
        for (name, value) in found {
            let at = pointer(at, name);
            match known.iter().find(|(field, _)| field == name) {
                Some((_, shape)) => self.field(&at, name, value, shape),
                None => {
                    self.refuse(&at, format!("unknown field {name}; known here: {}", names(known).join(", ")));
                }
            }
        }
    }

    fn field(&mut self, at: &str, name: &str, value: &Value, shape: &'static Shape) {
        let expected = match (shape, value) {
            (Later, _) => return self.refuse_as(codes::NOT_BUILT_YET, at, format!("{name} is not built yet")),
            (Flag, Value::Bool(_)) | (True, Value::Bool(true)) => return,
            (Text, Value::String(text)) if !text.is_empty() => return,
            (Names, Value::Array(items)) if items.iter().all(|item| item.as_str().is_some_and(is_label)) => return,
            (Words(words), Value::Array(items)) if items.iter().all(|item| item.as_str().is_some_and(|item| words.contains(&item))) => {
                return;
            }
            (Span, Value::String(text)) if span::span(text).is_some() => return,
            (Word(words), Value::String(word)) if words.contains(&word.as_str()) => return,
            // YAML 1.1 reads the word so, unless it stands in quotes.
            (Word(words), Value::Bool(false)) if words.contains(&"off") => return,
            (Count(most), Value::Number(number)) if number.as_u64().is_some_and(|number| number <= *most) => return,
            (Fields(known), Value::Object(found)) => return self.fields(at, found, known),
            (All(known), Value::Object(found)) if known.iter().all(|(name, _)| found.contains_key(*name)) => {
                return self.fields(at, found, known);
            }
            (List(required, known), Value::Array(items)) => return self.items(at, items, required, known),
            (OneOf(known), Value::Object(found)) if found.len() == 1 => return self.fields(at, found, known),
            (Flag, _) => "true or false".to_owned(),
            (True, _) => "true, or left out".to_owned(),
            (Text, _) => "a string that is not empty".to_owned(),
            (Words(words), _) => format!("a list of {}", words.join(", ")),
            (Names, _) => "a list of bundles' names".to_owned(),
            (Span, _) => span::EXPECTED.to_owned(),
            (Word(words), _) => words.join(" or "),
            (Count(most), _) => format!("a whole number from 0 to {most}"),
            (Fields(_), _) => "a mapping".to_owned(),
            (All(known), _) => format!("a mapping of {}", names(known).join(" and ")),
            (List(..), _) => "a list of mappings".to_owned(),
            (OneOf(known), _) => format!("exactly one of {}", names(known).join(", ")),
        };
        self.refuse(at, format!("{name} must be {expected}"));
    }

    fn items(&mut self, at: &str, items: &[Value], required: &[&str], known: &'static [(&'static str, Shape)]) {
        for (nth, item) in items.iter().enumerate() {
            let at = format!("{at}/{nth}");
            match item {
                Value::Object(found) => {
                    self.fields(&at, found, known);
                    for missing in required.iter().filter(|name| !found.contains_key(**name)) {
                        self.refuse(&at, format!("{missing} is missing"));
                    }
                }
                _ => self.refuse(&at, format!("this must be a mapping of {}", names(known).join(", "))),
            }
        }
    }
}

/// The names of the fields that this version has.
fn names(known: &[(&'static str, Shape)]) -> Vec<&'static str> {
    known.iter().filter(|(_, shape)| !matches!(shape, Later)).map(|(name, _)| *name).collect()
}
