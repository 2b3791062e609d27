//! overlay.yaml: reading it, and carrying it out on what the layers so far gave.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use kube_overlay::{Overlay, OverlayError, PatchSource, Report, Table};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    component::{Include, Included},
    generate::Made,
    layer::{HALVES_MIN, Piece},
    stack::Stack,
    trace::{self, Cause},
};
use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
    git::FILE_MAX,
    layout::API_VERSION,
    manifest::{self, Origin, place_of, pointer},
};

/// An overlay.yaml.
pub(super) struct LayerOverlay {
    /// The bundle whose folder it stands in; none in a layer's root.
    pub(super) bundle: Option<Arc<str>>,
    path: String,
    overlay: Overlay,
    /// What its generators make.
    made: Vec<Made>,
    /// What it includes.
    pub(super) components: Vec<Include>,
    /// Whether it says nothing.
    is_empty: bool,
    /// Where its entries stand, by the names that the engine gives them, such as `patches[2]`.
    places: HashMap<String, Place>,
}

const FIELDS: [&str; 10] = [
    "images",
    "replicas",
    "labels",
    "commonAnnotations",
    "namespace",
    "patches",
    "components",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
];

/// Reads a file of the layer by its path; none if there is no such file.
pub(super) type Load<'a> = dyn Fn(&str) -> Option<Result<Vec<u8>, Diagnostic>> + 'a;

impl LayerOverlay {
    /// Reads an overlay.yaml and the files that it names. The paths of those go into `named`: they are not manifests.
    pub(super) fn read(
        path: &str,
        text: &str,
        bundle: Option<Arc<str>>,
        load: &Load<'_>,
        named: &mut BTreeSet<String>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut documents = kube_yaml::parse(text).map_err(|error| {
            vec![Diagnostic::new(codes::YAML, Place::at(path, error.position.line, error.position.column), error.message)]
        })?;
        documents.retain(|document| !matches!(document.root.value, kube_yaml::Kind::Null));
        let [document] = documents.as_slice() else {
            return Err(vec![Diagnostic::new(codes::OWN_KIND, Place::file(path), "the file must hold one document, of kind: Overlay")]);
        };
        let mut reader = Reader { path, root: &document.root, places: HashMap::new(), problems: Vec::new() };
        let value = document.root.to_json();
        let is_empty = value.as_object().is_some_and(|fields| fields.iter().all(|(name, value)| is_head(name) || is_blank(value)));
        let mut overlay = reader.overlay(value);
        for (number, patch) in overlay.patches.iter_mut().enumerate() {
            patch.content = reader.patch(number, &patch.source, load, named);
        }
        let made = reader.generate(&overlay, bundle.as_ref(), load, named);
        let components = reader.includes(&overlay.components, bundle.as_ref());
        let Reader { places, problems, .. } = reader;
        if problems.is_empty() {
            Ok(Self { bundle, path: path.to_owned(), overlay, made, components, is_empty, places })
        } else {
            Err(problems)
        }
    }

    /// Carries it out on its bundle's objects, or on all, in Kustomize's order: generators, components, transformers.
    pub(super) fn apply(&self, stack: &mut Stack, included: &Included) {
        self.made.iter().for_each(|made| made.add(stack));
        for include in &self.components {
            if let Some(files) = included.files(include) {
                *stack.laid.entry(include.path.as_str().into()).or_default() += 1;
                stack.lay(files, included);
            }
        }
        if stack.trace.is_none() {
            return self.carry_out(&self.overlay, "", stack);
        }
        for (entry, part) in trace::entries(&self.overlay) {
            self.carry_out(&part, &entry, stack);
        }
    }

    /// Whether what it does to one object has nothing to do with any other.
    pub(super) fn is_by_object(&self) -> bool {
        self.made.is_empty() && self.components.is_empty() && self.overlay.namespace.is_empty()
    }

    /// Carries out the transformers of an overlay of this file: of the whole, or of that entry.
    fn carry_out(&self, overlay: &Overlay, entry: &str, stack: &mut Stack) {
        let concerned = |piece: &Piece| self.bundle.as_ref().is_none_or(|bundle| *bundle == piece.bundle);
        let positions: Vec<usize> = (0..stack.pieces.len()).filter(|at| concerned(&stack.pieces[*at])).collect();
        let mut values = take(stack, &positions);
        let report = self.transform(overlay, &mut values, &stack.table).unwrap_or_else(|error| {
            stack.problems.push(self.failed(&error));
            Report::default()
        });
        for (entries, why) in
            [(&report.unmatched, "finds no object to change"), (&report.idle, "changes nothing: what it sets is so already")]
        {
            stack.idle.extend(entries.iter().map(|entry| Diagnostic::new(codes::IDLE, self.place(entry), format!("{entry} {why}"))));
        }
        if self.is_empty {
            stack.idle.push(Diagnostic::new(codes::IDLE, Place::file(&*self.path), "the overlay has no entries"));
        }
        for (nth, value) in values.into_iter().enumerate() {
            let piece = &mut stack.pieces[positions[nth]];
            if !report.changed.contains(&nth) {
                give_back(piece, value);
                continue;
            }
            let before = stack.trace.as_ref().map(|_| Arc::clone(piece));
            match self.change(piece, value, may_rename(overlay)) {
                Ok(()) => {
                    if let Some(trace) = &mut stack.trace {
                        trace.note(before.as_ref(), piece, Cause::Entry { file: self.path.clone(), entry: entry.to_owned() });
                    }
                }
                Err(problems) => stack.problems.extend(problems),
            }
        }
        if report.deleted.is_empty() && !may_rename(overlay) {
            return;
        }
        let deleted: BTreeSet<usize> = report.deleted.iter().map(|at| positions[*at]).collect();
        let mut at = 0;
        stack.pieces.retain(|_| {
            at += 1;
            !deleted.contains(&(at - 1))
        });
        self.sort(stack);
    }

    /// Transforms the objects: two halves at once where what is done to one has nothing to do with any other.
    fn transform(&self, overlay: &Overlay, values: &mut Vec<Arc<Value>>, table: &Table) -> Result<Report, OverlayError> {
        if values.len() < HALVES_MIN || !self.is_by_object() {
            return overlay.apply(values, table);
        }
        let before = (!overlay.patches.is_empty()).then(|| values.clone());
        let middle = values.len() / 2;
        let (one, other) = values.split_at_mut(middle);
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(|| overlay.apply(other, table));
            (overlay.apply(one, table), other.join())
        });
        if let (Ok(one), Ok(Ok(other))) = (one, other) {
            return Ok(together(one, other, middle));
        }
        // What a patch must find in one of the halves may be in the other: only the whole can say that it is missing. Without patches, what
        // was done is done again to no effect, and the mistake that comes first is told.
        if let Some(before) = before {
            *values = before;
        }
        overlay.apply(values, table)
    }

    /// Gives an object the content that the overlay made of it. Its name and namespace may be others, if they are told to.
    fn change(&self, piece: &mut Arc<Piece>, mut value: Arc<Value>, renamed: bool) -> Result<(), Vec<Diagnostic>> {
        let refuse = |code, pointer: &str, message: &str| {
            Diagnostic::new(code, Place::file(&*self.path), format!("{} at {pointer}: {message}", piece.id))
        };
        let id = match renamed.then(|| manifest::identify(&value)).transpose() {
            Ok(id) => id.filter(|id| *id != piece.id),
            Err(error) => {
                let problem = refuse(error.code, error.pointer, &error.message);
                give_back(piece, value);
                return Err(vec![problem]);
            }
        };
        let problems = manifest::scrub(Arc::make_mut(&mut value), id.as_ref().unwrap_or(&piece.id));
        if !problems.is_empty() {
            let problems = problems.iter().map(|(code, pointer, message)| refuse(*code, pointer, message)).collect();
            give_back(piece, value);
            return Err(problems);
        }
        match Arc::get_mut(piece) {
            Some(own) => {
                own.value = value.into();
                own.renew();
            }
            None => *piece = Arc::new(piece.changed(value)),
        }
        if let (Some(id), Some(own)) = (id, Arc::get_mut(piece)) {
            let before = std::mem::replace(&mut own.id, id);
            own.written.get_or_insert(Box::new(before));
        }
        Ok(())
    }

    /// Sorts the objects again; two that have become one are a mistake.
    fn sort(&self, stack: &mut Stack) {
        stack.pieces.sort_by(|a, b| a.id.cmp(&b.id));
        let mut problems = Vec::new();
        stack.pieces.dedup_by(|later, kept| {
            let same = later.id == kept.id;
            if same {
                let message = format!("makes objects from {} and {} both {}", kept.origin.place(), later.origin.place(), kept.id);
                problems.push(Diagnostic::new(codes::DUPLICATE_OBJECT, Place::file(&*self.path), message));
            }
            same
        });
        stack.problems.extend(problems);
    }

    fn failed(&self, error: &OverlayError) -> Diagnostic {
        let object = error.object.as_ref().map(|object| format!("{object}: ")).unwrap_or_default();
        Diagnostic::new(codes::OVERLAY, self.place(&error.entry), format!("{object}{}", error.message))
    }

    fn place(&self, entry: &str) -> Place {
        self.places.get(entry).cloned().unwrap_or_else(|| Place::file(&*self.path))
    }
}

/// The objects' contents: those that nobody else holds are taken, so that they can be changed in place.
fn take(stack: &mut Stack, positions: &[usize]) -> Vec<Arc<Value>> {
    let is_traced = stack.trace.is_some();
    let take = |at: &usize| match Arc::get_mut(&mut stack.pieces[*at]).filter(|_| !is_traced) {
        Some(own) => own.value.take(),
        None => stack.pieces[*at].value.tree(),
    };
    positions.iter().map(take).collect()
}

/// Puts a content that stays as it was where it was taken from.
fn give_back(piece: &mut Arc<Piece>, value: Arc<Value>) {
    if let Some(own) = Arc::get_mut(piece) {
        own.value = value.into();
    }
}

/// Whether an object may have another identity behind this overlay.
fn may_rename(overlay: &Overlay) -> bool {
    !overlay.patches.is_empty() || !overlay.namespace.is_empty()
}

/// What two halves report, the second of which begins there.
fn together(one: Report, other: Report, middle: usize) -> Report {
    let beyond = |positions: BTreeSet<usize>| positions.into_iter().map(move |at| at + middle);
    let rests = |report: &Report, entry: &String| report.idle.contains(entry) || report.unmatched.contains(entry);
    let (unmatched, rest): (Vec<String>, Vec<String>) = one
        .unmatched
        .iter()
        .chain(&one.idle)
        .filter(|entry| rests(&other, entry))
        .cloned()
        .partition(|entry| one.unmatched.contains(entry) && other.unmatched.contains(entry));
    Report {
        changed: one.changed.into_iter().chain(beyond(other.changed)).collect(),
        deleted: one.deleted.into_iter().chain(beyond(other.deleted)).collect(),
        unmatched,
        idle: rest,
    }
}

fn is_head(field: &str) -> bool {
    matches!(field, "apiVersion" | "kind")
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

struct Reader<'a> {
    path: &'a str,
    root: &'a kube_yaml::Node,
    places: HashMap<String, Place>,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn refuse(&mut self, code: Code, at: &str, message: impl Into<String>) {
        self.problems.push(Diagnostic::new(code, place_of(self.path, self.root, at), message));
    }

    fn overlay(&mut self, value: Value) -> Overlay {
        let Value::Object(mut fields) = value else {
            self.refuse(codes::OWN_KIND, "", "not a mapping; it should hold kind: Overlay");
            return Overlay::default();
        };
        for (name, expected) in [("apiVersion", API_VERSION), ("kind", "Overlay")] {
            match fields.remove(name) {
                Some(Value::String(found)) if found == expected => {}
                Some(found) => self.refuse(codes::OWN_KIND, &pointer("", name), format!("{name} is {found}; here it must be {expected}")),
                None => self.refuse(codes::OWN_KIND, "", format!("{name}: {expected} is missing")),
            }
        }
        for name in fields.keys() {
            if !FIELDS.contains(&name.as_str()) {
                self.refuse(codes::OWN_KIND, &pointer("", name), format!("unknown field {name}; known here: {}", FIELDS.join(", ")));
            }
        }
        Overlay {
            images: self.list(&mut fields, "images"),
            replicas: self.list(&mut fields, "replicas"),
            labels: self.list(&mut fields, "labels"),
            common_annotations: self.one(&mut fields, "commonAnnotations"),
            namespace: self.one(&mut fields, "namespace"),
            patches: self.list(&mut fields, "patches"),
            config_map_generator: self.list(&mut fields, "configMapGenerator"),
            secret_generator: self.list(&mut fields, "secretGenerator"),
            generator_options: self.one(&mut fields, "generatorOptions"),
            components: self.list(&mut fields, "components"),
        }
    }

    fn one<T: DeserializeOwned + Default>(&mut self, fields: &mut Map<String, Value>, name: &str) -> T {
        let at = pointer("", name);
        self.places.insert(name.to_owned(), place_of(self.path, self.root, &at));
        match fields.remove(name) {
            None | Some(Value::Null) => T::default(),
            // Serde would take a list for a mapping, field by field.
            Some(Value::Array(_)) => {
                self.refuse(codes::OWN_KIND, &at, format!("{name} is not a list"));
                T::default()
            }
            Some(value) => serde_json::from_value(value).unwrap_or_else(|error| {
                self.refuse(codes::OWN_KIND, &at, format!("{name}: {error}"));
                T::default()
            }),
        }
    }

    fn list<T: DeserializeOwned>(&mut self, fields: &mut Map<String, Value>, name: &str) -> Vec<T> {
        let items = match fields.remove(name) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.refuse(codes::OWN_KIND, &pointer("", name), format!("{name} must be a list"));
                return Vec::new();
            }
        };
        let mut read = Vec::with_capacity(items.len());
        let count = items.len();
        for (number, item) in items.into_iter().enumerate() {
            let at = format!("/{name}/{number}");
            self.places.insert(format!("{name}[{number}]"), place_of(self.path, self.root, &at));
            match serde_json::from_value(item) {
                Ok(item) => read.push(item),
                Err(error) => self.refuse(codes::OWN_KIND, &at, format!("{name}: {}", without_values(&error))),
            }
        }
        // Places go by the number of an item: none is better than another's.
        if read.len() == count { read } else { Vec::new() }
    }

    /// What the overlay's generators make.
    fn generate(&mut self, overlay: &Overlay, bundle: Option<&Arc<str>>, load: &Load<'_>, named: &mut BTreeSet<String>) -> Vec<Made> {
        // A file that cannot be read has an error of its own.
        let mut unread = None;
        let mut file = |relative: &str| {
            let path = resolve(self.path, relative).ok_or_else(|| format!("`{relative}` leads out of the repository"))?;
            let content = load(&path).ok_or_else(|| format!("there is no file {path} in this layer"))?;
            let content = content.map_err(|problem| unread.insert(problem).message.clone())?;
            if content.len() > FILE_MAX {
                return Err(format!("{path} is larger than {} MiB", FILE_MAX >> 20));
            }
            named.insert(path);
            Ok(content)
        };
        let outcomes = overlay.generate(&mut file);
        self.problems.extend(unread);
        let mut all = Vec::new();
        for (entry, outcome) in outcomes {
            let Some(Place::File { path, line, column }) = self.places.get(&entry).cloned() else { continue };
            let origin = Origin { path: path.into(), line, column };
            let made = outcome.map_err(|message| vec![Diagnostic::new(codes::OVERLAY, origin.place(), message)]);
            match made.and_then(|generated| Made::new(generated, origin, entry, bundle.cloned())) {
                Ok(made) => all.push(made),
                Err(problems) => self.problems.extend(problems),
            }
        }
        all
    }

    /// The components that the overlay includes, as far as their paths can be ones.
    fn includes(&mut self, paths: &[String], bundle: Option<&Arc<str>>) -> Vec<Include> {
        let mut includes = Vec::new();
        for (number, relative) in paths.iter().enumerate() {
            let at = format!("/components/{number}");
            let path = resolve(self.path, relative).filter(|path| {
                let component = path.strip_prefix("components/");
                component.is_some_and(|name| !name.contains('/'))
            });
            match path {
                Some(path) => includes.push(Include { path, place: place_of(self.path, self.root, &at), bundle: bundle.cloned() }),
                None => self.refuse(codes::COMPONENT, &at, format!("`{relative}` is not a folder directly under components/")),
            }
        }
        includes
    }

    /// The documents of a patch, which stands in the overlay or in a file beside it.
    fn patch(&mut self, number: usize, source: &PatchSource, load: &Load<'_>, named: &mut BTreeSet<String>) -> Vec<Arc<Value>> {
        match source {
            PatchSource::Inline(text) => {
                let at = format!("/patches/{number}/patch");
                let documents = kube_yaml::parse(text);
                documents.map_or_else(
                    |error| {
                        let message = format!("{}, in line {} of the patch", error.message, error.position.line);
                        self.refuse(codes::YAML, &at, message);
                        Vec::new()
                    },
                    values,
                )
            }
            PatchSource::Path(relative) => {
                let at = format!("/patches/{number}/path");
                let Some(path) = resolve(self.path, relative) else {
                    self.refuse(codes::OVERLAY, &at, format!("`{relative}` leads out of the repository"));
                    return Vec::new();
                };
                let text = match load(&path).map(|bytes| manifest::text(&path, bytes?)) {
                    Some(Ok(text)) => text,
                    Some(Err(problem)) => {
                        self.problems.push(problem);
                        return Vec::new();
                    }
                    None => {
                        self.refuse(codes::OVERLAY, &at, format!("there is no file {path} in this layer"));
                        return Vec::new();
                    }
                };
                let documents = kube_yaml::parse(&text);
                let read = documents.map_or_else(
                    |error| {
                        let place = Place::at(&*path, error.position.line, error.position.column);
                        self.problems.push(Diagnostic::new(codes::YAML, place, error.message));
                        Vec::new()
                    },
                    values,
                );
                named.insert(path);
                read
            }
        }
    }
}

/// What serde says, less the value that it found: that may be a Secret's.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(", expected ") {
        Some((found, expected)) if found.starts_with("invalid ") => format!("expected {expected}"),
        _ => text,
    }
}

fn values(documents: Vec<kube_yaml::Document>) -> Vec<Arc<Value>> {
    documents.into_iter().map(|document| document.root.to_json()).filter(|value| !value.is_null()).map(Arc::new).collect()
}

/// Every path that an overlay.yaml may mean somewhere, rightly or not.
pub(super) fn mentioned(path: &str, text: &str) -> Vec<String> {
    let mut words = Vec::new();
    match kube_yaml::parse(text) {
        Ok(documents) => documents.into_iter().for_each(|document| gather_words(document.root.into_json(), &mut words)),
        Err(_) => words.extend(text.split(|c: char| c.is_whitespace() || "[]{},'\"".contains(c)).map(str::to_owned)),
    }
    // A generator names a file as it is, or behind the key that it gives it.
    let paths = words.iter().flat_map(|word| [Some(word.as_str()), word.split_once('=').map(|(_, path)| path)]).flatten();
    paths.filter_map(|relative| resolve(path, relative)).collect()
}

fn gather_words(value: Value, words: &mut Vec<String>) {
    match value {
        Value::String(word) => words.push(word),
        Value::Array(items) => items.into_iter().for_each(|item| gather_words(item, words)),
        Value::Object(fields) => {
            for (name, value) in fields {
                words.push(name);
                gather_words(value, words);
            }
        }
        _ => {}
    }
}

/// A path as a file names it, seen from the root; none if it leads out.
pub(super) fn resolve(file: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    (!relative.starts_with('/')).then(|| parts.join("/"))
}
