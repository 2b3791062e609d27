//! `patches`: strategic merge and JSON 6902, on a target or on the object that the patch names.

use super::target::Target;
use super::{OverlayError, Run, Slot};
use crate::identity;
use crate::json6902;
use crate::merge::{Merged, strategic_merge};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// One entry of `patches`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Form")]
pub struct Patch {
    /// Where the text is.
    pub source: PatchSource,
    /// The objects that it is for; without it, a strategic patch is for the object that it names.
    pub target: Option<Target>,
    /// What else it may change.
    pub options: PatchOptions,
    /// The documents of the text, for the caller to load: one or more objects, or one list of JSON patch operations.
    pub content: Vec<Arc<Value>>,
}

/// Where the text of a patch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchSource {
    /// In this file.
    Path(String),
    /// Here.
    Inline(String),
}

/// What a strategic patch may change besides the rest: without these, an object keeps its name and kind.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PatchOptions {
    /// The patch's `metadata.name` becomes the object's.
    pub allow_name_change: bool,
    /// The patch's `kind` becomes the object's.
    pub allow_kind_change: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Form {
    path: Option<String>,
    patch: Option<String>,
    target: Option<Target>,
    #[serde(default)]
    options: PatchOptions,
}

impl TryFrom<Form> for Patch {
    type Error = &'static str;

    fn try_from(form: Form) -> Result<Self, Self::Error> {
        let source = match (form.path, form.patch) {
            (Some(path), None) if !path.is_empty() => PatchSource::Path(path),
            (None, Some(text)) if !text.trim().is_empty() => PatchSource::Inline(text),
            (Some(_), Some(_)) => return Err("a patch has either path or patch, not both"),
            _ => return Err("a patch needs path or patch"),
        };
        Ok(Self { source, target: form.target, options: form.options, content: Vec::new() })
    }
}

pub(super) fn apply<S: Slot>(patches: &[Patch], run: &mut Run<'_, S>) -> Result<(), OverlayError> {
    let mut index = None;
    for (nth, patch) in patches.iter().enumerate() {
        let entry = format!("patches[{nth}]");
        let edits_before = run.edits;
        let fail = |message: &str| Err(OverlayError::new(entry.clone(), None, message));
        match (patch.content.as_slice(), &patch.target) {
            ([], _) => return fail("the patch is empty"),
            ([operations], Some(target)) if operations.is_array() => json_patch(&entry, operations, target, run)?,
            ([operations], None) if operations.is_array() => return fail("a JSON patch needs a target"),
            ([patch_value], Some(target)) if patch_value.is_object() => {
                let patch_value = Prepared::new(patch_value, patch.options);
                let selected: Vec<usize> = run.positions().filter(|at| target.matches(run.object(*at), run.schema)).collect();
                if selected.is_empty() {
                    run.report.unmatched.push(entry.clone());
                }
                for at in selected {
                    patch_value.merge(&entry, at, run)?;
                }
            }
            (documents, None) if documents.iter().all(|document| document.is_object()) => {
                for document in documents {
                    let index = index.get_or_insert_with(|| Index::new(run));
                    let at = index.find(document, run).map_err(|message| OverlayError::new(entry.clone(), None, message))?;
                    Prepared::new(document, patch.options).merge(&entry, at, run)?;
                }
            }
            (_, Some(_)) => return fail("with a target there can be only one patch: an object or a list of JSON patch operations"),
            (_, None) => return fail("a patch is an object or a list of JSON patch operations"),
        }
        run.note_idle(&entry, edits_before);
        // What can rename makes the index wrong.
        if patch.options != PatchOptions::default() || patch.content[0].is_array() {
            index = None;
        }
    }
    Ok(())
}

fn json_patch<S: Slot>(entry: &str, operations: &Value, target: &Target, run: &mut Run<'_, S>) -> Result<(), OverlayError> {
    let operations = json6902::read(operations).map_err(|error| OverlayError::new(entry.to_owned(), None, error.to_string()))?;
    let selected: Vec<usize> = run.positions().filter(|at| target.matches(run.object(*at), run.schema)).collect();
    if selected.is_empty() {
        run.report.unmatched.push(entry.to_owned());
    }
    for at in selected {
        let before = Arc::clone(run.objects[at].object());
        run.edit(at, |value| {
            json_patch::patch(value, &operations).map_err(|error| error.to_string())?;
            if !value.is_object() {
                return Err("the patch leaves something that is not an object; to delete it, use `$patch: delete`".to_owned());
            }
            Ok(if *value == *before { Merged::Unchanged } else { Merged::Changed })
        })
        .map_err(|message| OverlayError::new(entry.to_owned(), Some(&before), message))?;
    }
    Ok(())
}

/// A strategic patch without the fields that it must not change.
struct Prepared {
    patch: Value,
    options: PatchOptions,
}

impl Prepared {
    fn new(patch: &Value, options: PatchOptions) -> Self {
        let mut patch = patch.clone();
        if let Some(fields) = patch.as_object_mut() {
            fields.remove("apiVersion");
            if !options.allow_kind_change {
                fields.remove("kind");
            }
            if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("namespace");
                if !options.allow_name_change {
                    metadata.remove("name");
                }
                // An empty one would add `metadata: {}` to what a replacement leaves.
                if metadata.is_empty() {
                    fields.remove("metadata");
                }
            }
        }
        Self { patch, options }
    }

    fn merge<S: Slot>(&self, entry: &str, at: usize, run: &mut Run<'_, S>) -> Result<(), OverlayError> {
        let schema = run.schema;
        let before = Arc::clone(run.objects[at].object());
        run.edit(at, |value| {
            let kept = Kept::of(value);
            let merged = strategic_merge(value, &self.patch, schema)?;
            if merged == Merged::Changed {
                kept.restore(value, self.options);
                // What is kept may undo what the patch did.
                return Ok(if *value == *before { Merged::Unchanged } else { Merged::Changed });
            }
            Ok(merged)
        })
        .map_err(|error: crate::MergeError| OverlayError::new(entry.to_owned(), Some(&before), error.to_string()))
    }
}

/// The fields that a strategic patch cannot take away, even where it replaces all.
struct Kept {
    api_version: Option<Value>,
    kind: Option<Value>,
    name: Option<Value>,
    namespace: Option<Value>,
}

impl Kept {
    fn of(object: &Value) -> Self {
        let metadata = &object["metadata"];
        Self {
            api_version: object.get("apiVersion").cloned(),
            kind: object.get("kind").cloned(),
            name: metadata.get("name").cloned(),
            namespace: metadata.get("namespace").cloned(),
        }
    }

    fn restore(self, object: &mut Value, options: PatchOptions) {
        let put = |fields: &mut Map<String, Value>, key: &str, value: Option<Value>| {
            if let (None, Some(value)) = (fields.get(key), value) {
                fields.insert(key.to_owned(), value);
            }
        };
        let Some(fields) = object.as_object_mut() else { return };
        put(fields, "apiVersion", self.api_version);
        put(fields, "kind", self.kind);
        if self.name.is_none() && self.namespace.is_none() {
            return;
        }
        let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            if !options.allow_name_change {
                put(metadata, "name", self.name);
            }
            put(metadata, "namespace", self.namespace);
        }
    }
}

/// Positions of the objects by a hash of group, kind and name.
struct Index {
    hasher: RandomState,
    positions: HashMap<u64, Vec<usize>>,
}

impl Index {
    fn new<S: Slot>(run: &Run<'_, S>) -> Self {
        let mut index = Self { hasher: RandomState::new(), positions: HashMap::new() };
        for at in run.positions() {
            let hash = index.hash(run.object(at));
            index.positions.entry(hash).or_default().push(at);
        }
        index
    }

    fn hash(&self, object: &Value) -> u64 {
        self.hasher.hash_one((identity::group(object), identity::kind(object), identity::name(object)))
    }

    /// The one object that a patch names. Without a namespace in the patch it may be in any, as long as there is only one.
    fn find<S: Slot>(&self, patch: &Value, run: &Run<'_, S>) -> Result<usize, String> {
        let (kind, name, namespace) = (identity::kind(patch), identity::name(patch), identity::namespace(patch));
        if kind.is_empty() || name.is_empty() {
            return Err("a patch without a target needs kind and metadata.name".to_owned());
        }
        let is_named = |at: &usize| {
            let object = run.object(*at);
            identity::kind(object) == kind && identity::name(object) == name && identity::group(object) == identity::group(patch)
        };
        let same: Vec<usize> = self.positions.get(&self.hash(patch)).into_iter().flatten().copied().filter(is_named).collect();
        let is_default = |namespace: &str| matches!(namespace, "" | "default");
        let in_namespace = |at: &&usize| {
            let found = identity::namespace(run.object(**at));
            found == namespace || is_default(found) && is_default(namespace)
        };
        let exact: Vec<usize> = same.iter().filter(in_namespace).copied().collect();
        match (exact.as_slice(), same.as_slice()) {
            ([at], _) => Ok(*at),
            ([], [at]) if namespace.is_empty() => Ok(*at),
            ([], [_, _, ..]) if namespace.is_empty() => {
                Err(format!("{} is in several namespaces; the patch must say which", identity::describe(patch)))
            }
            ([], _) => Err(format!("no object is {} of group {:?}", identity::describe(patch), identity::group(patch))),
            _ => Err(format!("{} is there more than once", identity::describe(patch))),
        }
    }
}
